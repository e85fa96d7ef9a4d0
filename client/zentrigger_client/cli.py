"""The command line: ``zentrigger``. One subcommand a call of the API.

Exit status: 0 done, and the followed run succeeded; 1 refused, or the followed run failed or was cancelled; 2 wrong
usage; 3 nobody answers; 130 interrupted.
"""

# ruff: noqa: T201 - a command line prints

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zentrigger_client import publish, rendering
from zentrigger_client.api import Client, Json, Unreachable, ZentriggerError
from zentrigger_client.errors import redact
from zentrigger_client.follow import FINAL, display_for, follow, headline, print_end, run_id_of, steps_of

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

_LOG_POLL_SECONDS = 2.0

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name


class UsageError(Exception):
    """The command line makes no sense; the text says what to change."""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run one command and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets "?" instead of a traceback
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options, _Context(options, os.environ if environment is None else environment)))
    except UsageError as error:
        print(f"zentrigger: {error}", file=sys.stderr)
        return EXIT_USAGE
    except ZentriggerError as error:
        _complain(error, as_json=options.json)
        return EXIT_UNREACHABLE if isinstance(error, Unreachable) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`zentrigger logs ... | head`): nothing to say, and nobody to say it to.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the flush at exit
        return EXIT_OK


class _Context:
    """What a command needs from outside: the client, made when first asked for, and how to print."""

    def __init__(self, options: argparse.Namespace, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment

    def client(self) -> Client:
        """Return a client of the API that the options or the environment name."""
        url = self._options.api_url or self._environment.get("ZENTRIGGER_API_URL")
        if not url:
            raise UsageError("which API? Set ZENTRIGGER_API_URL or give --api-url")
        key = self._environment.get("ZENTRIGGER_API_KEY")
        if not key:
            raise UsageError("which API key? Set ZENTRIGGER_API_KEY")
        try:
            return Client(url, key)
        except ValueError as error:
            raise UsageError(str(error)) from error

    def show(self, content: Json, text: Callable[[Json], str]) -> None:
        """Print the answer: as JSON if asked for, otherwise as text."""
        print(json.dumps(content, indent=2) if self._options.json else text(content))


# -------------------------------------------------------------------------------------------------------- arguments


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the API's answer as JSON")
    common.add_argument("--api-url", metavar="URL", help="default: $ZENTRIGGER_API_URL")
    top = argparse.ArgumentParser(
        prog="zentrigger",
        description="Publish and run ZenML pipelines.",
        epilog="Environment: ZENTRIGGER_API_URL, ZENTRIGGER_API_KEY. "
        "Exit status: 0 done or run succeeded, 1 refused or run failed, 2 wrong usage, 3 nobody answers.",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace, _Context], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=[common], help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    sub = add("publish", _publish, "Compile the pipelines of Python modules and publish them.")
    sub.add_argument(
        "modules", nargs="+", metavar="MODULE", help="as imported from here; a package stands for all its modules"
    )
    sub.add_argument(
        "--sample",
        action="append",
        default=[],
        metavar="PIPELINE.NAME=VALUE",
        help="value of a parameter without a default, used only to find the steps",
    )
    sub.add_argument("--keep-going", action="store_true", help="publish the others when one cannot be compiled")
    sub.add_argument("--dry-run", action="store_true", help="print what would be published, as JSON; needs no API")
    sub.add_argument(
        "--use-my-zenml", action="store_true", help="compile on your own active ZenML stack instead of a local one"
    )

    sub = add("run", _run, "Start a run of a pipeline.")
    sub.add_argument("pipeline")
    sub.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="VALUE is JSON if it parses, else text; NAME:=TEXT is always text",
    )
    sub.add_argument("--step", action="append", default=[], metavar="STEP.NAME=VALUE", help="parameter of one step")
    sub.add_argument("--tag", action="append", default=[])
    sub.add_argument(
        "--cache", action=argparse.BooleanOptionalAction, help="override the pipeline's use of ZenML's cache"
    )
    sub.add_argument("--idempotency-key", metavar="KEY", help="the same key starts the same run once")
    sub.add_argument("--follow", action="store_true", help="show progress to the end; exit status 1 unless it succeeds")

    for name, command, text in (
        ("status", _status, "Show a run."),
        ("follow", _follow, "Show a run's progress to its end."),
        ("cancel", _cancel, "Cancel a run."),
    ):
        add(name, command, text).add_argument("run_id", metavar="RUN_ID")
    sub = add("logs", _logs, "Print a run's log.")
    sub.add_argument("run_id", metavar="RUN_ID")
    sub.add_argument("--follow", action="store_true", help="go on until the run has ended")

    sub = add("list", _list, "List runs, newest first.")
    for option in ("--pipeline", "--status", "--trigger", "--tag", "--cursor"):
        sub.add_argument(option)
    sub.add_argument("--limit", type=int)
    add("pipelines", _pipelines, "List the published pipelines.")
    add("pipeline", _pipeline, "Show a pipeline and its parameters.").add_argument("name")

    _add_triggers(commands, common)
    _add_keys(commands, common)
    return top


def _add_triggers(commands: "_Commands", common: argparse.ArgumentParser) -> None:
    group = commands.add_parser("trigger", help="Manage what starts runs by itself.").add_subparsers(
        required=True, metavar="COMMAND"
    )
    sub = group.add_parser("put", parents=[common], help="Create or replace a trigger.")
    sub.add_argument("name")
    sub.add_argument("file", nargs="?", metavar="FILE", help="JSON file, - for stdin")
    sub.add_argument("--body", metavar="JSON", help="the trigger itself instead of a file")
    sub.set_defaults(command=_trigger_put)
    sub = group.add_parser("list", parents=[common], help="List triggers.")
    sub.set_defaults(command=_trigger_list)
    for name, command, text in (
        ("show", _trigger_show, "Show a trigger."),
        ("delete", _trigger_delete, "Delete a trigger."),
        ("receipts", _trigger_receipts, "Show what became of the events at a trigger."),
    ):
        sub = group.add_parser(name, parents=[common], help=text)
        sub.add_argument("name")
        sub.set_defaults(command=command)


def _add_keys(commands: "_Commands", common: argparse.ArgumentParser) -> None:
    group = commands.add_parser("keys", help="Manage API keys.").add_subparsers(required=True, metavar="COMMAND")
    sub = group.add_parser("create", parents=[common], help="Create an API key and print it; it is shown this once.")
    sub.add_argument("--name", required=True)
    sub.add_argument("--scope", action="append", required=True, choices=["run", "read", "admin"])
    sub.set_defaults(command=_keys_create)
    sub = group.add_parser("list", parents=[common], help="List API keys, without their secrets.")
    sub.set_defaults(command=_keys_list)
    sub = group.add_parser("delete", parents=[common], help="Revoke an API key.")
    sub.add_argument("key_id", metavar="KEY_ID")
    sub.set_defaults(command=_keys_delete)


def assignment(text: str, what: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``: the value is JSON if it parses as such, otherwise text; ``NAME:=TEXT`` is always text.

    NaN and Infinity are no JSON (RFC 8259) and stay text. Raises UsageError without a name or an ``=``.
    """
    name, separator, raw = text.partition("=")
    if not separator or not name.rstrip(":"):
        raise UsageError(f"{what} has to look like NAME=VALUE, not {text!r}")
    if name.endswith(":"):
        return name[:-1], raw
    try:
        return name, json.loads(raw, parse_constant=_no_constant)
    except ValueError:
        return name, raw


def assignments(texts: Sequence[str], what: str) -> Json:
    """Read several ``NAME=VALUE``. Raises UsageError for a name given twice."""
    pairs: Json = {}
    for text in texts:
        name, content = assignment(text, what)
        if name in pairs:
            raise UsageError(f"{what} {name} is given twice")
        pairs[name] = content
    return pairs


def nested_assignments(texts: Sequence[str], what: str) -> dict[str, Json]:
    """Read several ``GROUP.NAME=VALUE`` into a mapping of mappings."""
    groups: dict[str, Json] = {}
    for path, content in assignments(texts, what).items():
        group, separator, name = path.partition(".")
        if not separator or not group or not name:
            raise UsageError(f"{what} has to look like {what.upper()}.NAME=VALUE, not {path!r}")
        groups.setdefault(group, {})[name] = content
    return groups


def _no_constant(name: str) -> None:
    raise ValueError(name)


# --------------------------------------------------------------------------------------------------------- commands


def _publish(options: argparse.Namespace, context: _Context) -> int:
    samples = nested_assignments(options.sample, "pipeline")
    client = None if options.dry_run else context.client()
    compilation = publish.compile_modules(options.modules, samples=samples, use_my_zenml=options.use_my_zenml)
    for failure in compilation.failures:
        print(rendering.plain(redact(str(failure))), file=sys.stderr)
    if compilation.failures and not options.keep_going:
        if compilation.snapshots:
            names = ", ".join(snapshot["pipeline"] for snapshot in compilation.snapshots)
            print(f"Nothing was published. With --keep-going these would have been: {names}", file=sys.stderr)
        return EXIT_FAILED
    if client is None:
        print(json.dumps(list(compilation.snapshots), indent=2))
    else:
        with client:
            answers = publish.publish(client, compilation.snapshots)
        rows = [
            (
                snapshot["pipeline"],
                str(answer["number"]),
                "created" if answer.get("created") else "unchanged",
                ", ".join(_parameters(snapshot["parameters_schema"])),
            )
            for snapshot, answer in zip(compilation.snapshots, answers, strict=True)
        ]
        context.show(
            {"snapshots": answers}, lambda _: rendering.table(("pipeline", "snapshot", "", "parameters"), rows)
        )
    return EXIT_FAILED if compilation.failures else EXIT_OK


def _run(options: argparse.Namespace, context: _Context) -> int:
    parameters = assignments(options.parameter, "parameter")
    steps = nested_assignments(options.step, "step")
    with context.client() as client:
        run = client.start(
            options.pipeline,
            parameters=parameters,
            steps=steps,
            enable_cache=options.cache,
            tags=options.tag,
            idempotency_key=options.idempotency_key,
        )
        if not options.follow:
            context.show(run, lambda content: f"{run_id_of(content)}  {content['status']}")
            return EXIT_OK
        return _followed(client, run_id_of(run), options, context)


def _follow(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        return _followed(client, options.run_id, options, context)


def _followed(client: Client, run_id: str, options: argparse.Namespace, context: _Context) -> int:
    # Progress goes where JSON does not.
    with display_for(sys.stderr if options.json else sys.stdout) as display:
        try:
            run = follow(client, run_id, display)
        except KeyboardInterrupt:
            print(
                f"\nThe run goes on. See it again: zentrigger follow {run_id}; end it: zentrigger cancel {run_id}",
                file=sys.stderr,
            )
            raise
    if options.json:
        context.show(run, str)
    else:
        print_end(run)
    return EXIT_OK if run["status"] == "succeeded" else EXIT_FAILED


def _status(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        run = client.run(options.run_id)
    if options.json:
        context.show(run, str)
        return EXIT_OK
    print(rendering.plain(headline(run)))
    for step in steps_of(run):
        taken = rendering.duration(rendering.seconds_between(step.get("started_at"), step.get("finished_at")))
        print(rendering.plain(f"  {step['name']}  {step['status']}  {taken}".rstrip()))
    print_end(run)
    return EXIT_OK


def _cancel(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        context.show(client.cancel(options.run_id), lambda run: f"cancel requested: {headline(run)}")
    return EXIT_OK


def _logs(options: argparse.Namespace, context: _Context) -> int:
    cursor: str | None = None
    with context.client() as client:
        while True:
            # Asked before the page is read: what is written until the end is then on a later page.
            ended = not options.follow or client.run(options.run_id)["status"] in FINAL
            page = client.logs(options.run_id, cursor=cursor)
            lines = page["items"]
            for line in lines:
                print(json.dumps(line) if options.json else rendering.plain(line["line"].rstrip("\n")))
            following = page["next"]
            exhausted = following is None or following == cursor or not lines
            cursor = following or cursor
            if exhausted and ended:
                return EXIT_OK
            if exhausted:
                sys.stdout.flush()
                time.sleep(_LOG_POLL_SECONDS)


def _list(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        page = client.runs(
            pipeline=options.pipeline,
            status=options.status,
            trigger=options.trigger,
            tag=options.tag,
            limit=options.limit,
            cursor=options.cursor,
        )
    context.show(page, _runs_table)
    return EXIT_OK


def _runs_table(page: Json) -> str:
    rows = [
        (
            run_id_of(run),
            run["pipeline"],
            run["status"],
            str(run.get("accepted_at", "")),
            rendering.duration(rendering.seconds_between(run.get("started_at"), run.get("ended_at"))),
            str((run.get("source") or {}).get("type", "")),
        )
        for run in page["items"]
    ]
    text = rendering.table(("run", "pipeline", "status", "accepted at", "took", "source"), rows)
    return text + (f"\nmore: --cursor {page['next']}" if page.get("next") else "")


def _pipelines(_: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        answer = client.pipelines()
    context.show(
        answer,
        lambda content: rendering.table(
            ("pipeline", "newest snapshot", "description"),
            [
                (
                    pipeline["name"],
                    pipeline["snapshot"]["id"],
                    rendering.one_line(pipeline.get("description") or ""),
                )
                for pipeline in content["items"]
            ],
        ),
    )
    return EXIT_OK


def _pipeline(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        print(json.dumps(client.pipeline(options.name), indent=2))
    return EXIT_OK


def _trigger_put(options: argparse.Namespace, context: _Context) -> int:
    if (options.file is None) == (options.body is None):
        raise UsageError("give the trigger either as FILE or with --body")
    try:
        text = options.body or (
            sys.stdin.read() if options.file == "-" else Path(options.file).read_text(encoding="utf-8")
        )
        trigger = json.loads(text)
    except OSError as error:
        raise UsageError(f"{options.file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"the trigger is no JSON: {error}") from error
    if not isinstance(trigger, dict):
        raise UsageError("the trigger has to be a JSON object")
    with context.client() as client:
        context.show(client.put_trigger(options.name, trigger), lambda content: json.dumps(content, indent=2))
    return EXIT_OK


def _trigger_list(_: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        answer = client.triggers()
    context.show(
        answer,
        lambda content: rendering.table(
            ("trigger", "type", "pipeline"),
            [(str(item.get("name")), str(item.get("type")), str(item.get("pipeline"))) for item in content["items"]],
        ),
    )
    return EXIT_OK


def _trigger_show(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        print(json.dumps(client.trigger(options.name), indent=2))
    return EXIT_OK


def _trigger_delete(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        client.delete_trigger(options.name)
    context.show({}, lambda _: f"deleted {options.name}")
    return EXIT_OK


def _trigger_receipts(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        print(json.dumps(client.receipts(options.name), indent=2))
    return EXIT_OK


def _keys_create(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        answer = client.create_key(options.name, options.scope)
    # The one place where a secret is printed: its only copy.
    context.show(answer, lambda content: str(content["key"]))
    return EXIT_OK


def _keys_list(_: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        answer = client.keys()
    context.show(
        answer,
        lambda content: rendering.table(
            ("key", "name", "scopes", "created at"),
            [
                (str(key["id"]), str(key.get("name")), ", ".join(key.get("scopes", [])), str(key.get("created_at", "")))
                for key in content["items"]
            ],
        ),
    )
    return EXIT_OK


def _keys_delete(options: argparse.Namespace, context: _Context) -> int:
    with context.client() as client:
        client.delete_key(options.key_id)
    context.show({}, lambda _: f"deleted {options.key_id}")
    return EXIT_OK


# --------------------------------------------------------------------------------------------------------- printing


def _parameters(schema: Mapping[str, Any]) -> list[str]:
    required = set(schema.get("required", []))
    return [
        name
        if name in required
        else f"{name}={json.dumps(declared['default'])}"
        if "default" in declared
        else f"{name}?"
        for name, declared in schema.get("properties", {}).items()
    ]


def _complain(error: ZentriggerError, *, as_json: bool) -> None:
    if as_json:
        problem = error.problem or {"title": error.title, "detail": error.detail, "status": error.status}
        print(redact(json.dumps(problem, indent=2)))
        return
    print(rendering.plain("\n".join([str(error), *getattr(error, "__notes__", [])])), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
