"""The command ``zentrigger apply``: make the triggers what a file says, after showing what that changes."""

# ruff: noqa: T201 - a command line prints

import argparse
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from zentrigger_client import rendering, trigger_changes, trigger_rendering
from zentrigger_client.api import Client, Json, ZentriggerError
from zentrigger_client.console import EXIT_FAILED, EXIT_OK, EXIT_USAGE, Context, UsageError
from zentrigger_client.documents import STDIN, Document, DocumentError, read
from zentrigger_client.trigger_file import TriggerFileError, triggers_of

EXIT_WOULD_CHANGE = 2
"""With --exit-code, as of ``terraform plan -detailed-exitcode``: 0 no changes, 1 an error, 2 changes."""

_CHANGED = "The triggers have changed since they were read, so nothing was applied. Run apply again to see what is new."


def add_options(sub: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sub.add_argument("file", metavar="FILE", help="YAML or JSON: triggers: {name: definition}; - for stdin")
    sub.add_argument("--dry-run", action="store_true", help="write nothing; show what would change")
    sub.add_argument("--prune", action="store_true", help="delete the triggers that are not in the file")
    sub.add_argument("--yes", action="store_true", help="do not ask before triggers are deleted")
    sub.add_argument(
        "--exit-code",
        action="store_true",
        help="with --dry-run: exit status 0 if nothing would change, 2 if something would; errors have 1 and 3",
    )


def run(options: argparse.Namespace, context: Context) -> int:
    """Show what the file changes, and do it."""
    try:
        return _run(options, context)
    except UsageError as error:
        # Status 2 has another meaning here. A missing variable must not look like changes to come.
        print(f"zentrigger: {error}", file=sys.stderr)
        return EXIT_FAILED if options.exit_code else EXIT_USAGE


def _run(options: argparse.Namespace, context: Context) -> int:
    if options.exit_code and not options.dry_run:
        raise UsageError("--exit-code goes with --dry-run")
    asks = options.prune and not options.yes and not options.dry_run
    if asks and (options.file == STDIN or not sys.stdin.isatty()):
        raise UsageError("--prune deletes triggers, and there is no terminal to ask on: give --yes, or --dry-run")
    document, triggers = _triggers(options.file)
    with context.client() as client:
        try:
            return _apply(client, triggers, options, context, asks=asks)
        except ZentriggerError as error:
            if not options.json and _is_other_plan(error):
                print(_CHANGED, file=sys.stderr)
                return EXIT_FAILED
            if options.json or error.status != HTTPStatus.UNPROCESSABLE_ENTITY or not error.errors:
                raise
            print(_refusal(error, document), file=sys.stderr)
            return EXIT_FAILED


def _triggers(file: str) -> tuple[Document, dict[str, Json]]:
    """Read the file. Raises ZentriggerError with all that is wrong with it, and where."""
    try:
        document = read(file)
        return document, triggers_of(document)
    except DocumentError as error:
        raise _unusable(file, [(error.place, error.detail)]) from error
    except TriggerFileError as error:
        raise _unusable(file, [(problem.place, problem.detail) for problem in error.problems]) from error


def _unusable(file: str, problems: Sequence[tuple[str, str]]) -> ZentriggerError:
    title = f"{'stdin' if file == STDIN else file} cannot be applied"
    errors = [{"pointer": place, "detail": detail} for place, detail in problems]
    shown: Json = {"title": title, "errors": [{"place": place, "detail": detail} for place, detail in problems]}
    return ZentriggerError(title, errors=errors, problem=shown)


def _apply(
    client: Client, triggers: Mapping[str, Json], options: argparse.Namespace, context: Context, *, asks: bool
) -> int:
    # What is for people goes where JSON does not.
    stream = sys.stderr if options.json else sys.stdout
    planned = client.put_triggers(triggers, prune=options.prune, dry_run=True)
    changes = planned["changes"]
    some = bool(trigger_changes.changed(changes))
    print(trigger_changes.diff(changes, triggers), file=stream)
    if options.dry_run or not some:
        if options.json:
            context.show(planned, str)
        return EXIT_WOULD_CHANGE if some and options.exit_code else EXIT_OK
    gone = trigger_changes.deleted(changes)
    if asks and gone and not _confirmed(gone):
        print("Nothing was applied.", file=sys.stderr)
        return EXIT_FAILED
    done = client.put_triggers(triggers, prune=options.prune, plan=planned["plan"])
    if options.json:
        context.show(done, str)
    else:
        print("Applied.")
    return EXIT_OK


def _is_other_plan(error: ZentriggerError) -> bool:
    """Whether what was shown is not what would be done any more."""
    return error.status == HTTPStatus.CONFLICT and any(pointer == "/plan" for pointer, _ in error.errors)


def _confirmed(gone: Sequence[str]) -> bool:
    number = "1 trigger" if len(gone) == 1 else f"{len(gone)} triggers"
    names = rendering.plain(", ".join(gone))
    print(f"Delete {number} ({names})? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _refusal(error: ZentriggerError, document: Document) -> str:
    places = {
        pointer: document.place(pointer) for pointer, _ in error.errors if document.lines and pointer.count("/") > 1
    }
    said = f": {error.detail}" if error.detail and error.detail != error.title else ""
    heading = rendering.plain(f"{document.name} is refused, and nothing was written. {error.title}{said}")
    return f"{heading}\n{trigger_rendering.refusal(error.errors, places)}"
