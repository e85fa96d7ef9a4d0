"""The commands about what starts runs by itself: ``zentrigger trigger …``."""

# ruff: noqa: T201 - a command line prints

import argparse
import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zentrigger_client import rendering, trigger_rendering
from zentrigger_client.api import Client, Json
from zentrigger_client.console import EXIT_FAILED, EXIT_OK, Command, Context, UsageError
from zentrigger_client.documents import STDIN, DocumentError, read
from zentrigger_client.trigger_file import exported, to_yaml

_AT_ONCE = 100
"""The most triggers that the API gives in one page."""

_NOT_TO_BE_STARTED = frozenset({"not_matched", "rejected", "error"})


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    """Add the commands to their group; ``add`` takes a name, what it does, and what it is for."""
    sub = add("put", _put, "Create or replace a trigger.")
    sub.add_argument("name")
    sub.add_argument("file", nargs="?", metavar="FILE", help="JSON file, - for stdin")
    sub.add_argument("--body", metavar="JSON", help="the trigger itself instead of a file")
    add("list", _list, "List triggers.")
    add("show", _show, "Show a trigger, and when its schedule fires next.").add_argument("name")
    add("delete", _delete, "Delete a trigger.").add_argument("name")
    add("export", _export, "Print all triggers as a file for zentrigger apply.")

    sub = add("receipts", _receipts, "Show what became of the events at a trigger, newest first.")
    sub.add_argument("name")
    sub.add_argument("--outcome", help="only these: started, duplicate, rejected, skipped_overlap, …")
    _add_paging(sub)
    sub = add("unmatched", _unmatched, "Show the last day's events that no trigger took, and why not.")
    sub.add_argument("--bucket", help="only events of this bucket")
    sub.add_argument("--key", help="only events of the object with this key")
    _add_paging(sub)

    sub = add(
        "test",
        _test,
        "Show what a trigger would do with an event; nothing is started. Exit status 1: no match, or rejected.",
    )
    sub.add_argument("name")
    events = sub.add_mutually_exclusive_group()
    events.add_argument("--event", metavar="FILE", help="YAML or JSON file, - for stdin; default: a sample event")
    events.add_argument("--recent", action="store_true", help="the events of the last receipts")

    sub = add(
        "secret",
        _secret,
        "Make a new secret for a webhook trigger and print it, once; the one before stays good for 24 hours.",
    )
    sub.add_argument("name")
    # No argument is the secret itself: the machine's other users see command lines (ps), and shells remember them. What
    # looks like one is caught here, because argparse cites what it does not know.
    sub.add_argument("typed", nargs="*", help=argparse.SUPPRESS)
    sub.add_argument("--secret", action="append", dest="typed_option", help=argparse.SUPPRESS)
    sub.add_argument("--secret-file", metavar="FILE", help="take the secret from here instead; - for stdin")


def _add_paging(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--limit", type=int, metavar="N")
    sub.add_argument("--cursor")


def _put(options: argparse.Namespace, context: Context) -> int:
    if (options.file is None) == (options.body is None):
        raise UsageError("give the trigger either as FILE or with --body")
    try:
        text = options.body or (
            sys.stdin.read() if options.file == STDIN else Path(options.file).read_text(encoding="utf-8")
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


def _list(_: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        context.show(_all(client), trigger_rendering.triggers)
    return EXIT_OK


def _all(client: Client) -> Json:
    """Return all triggers as one page; those that the API cannot read are apart."""
    items: list[Any] = []
    unreadable: list[Any] = []
    cursor: str | None = None
    while True:
        page = client.triggers(limit=_AT_ONCE, cursor=cursor)
        items += page["items"]
        unreadable += page.get("unreadable") or []
        following = page.get("next")
        if following is None or following == cursor:
            return {"items": items, "next": None, "unreadable": unreadable}
        cursor = following


def _show(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        context.show(client.trigger(options.name), trigger_rendering.trigger)
    return EXIT_OK


def _delete(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        client.delete_trigger(options.name)
    context.show({}, lambda _: f"deleted {options.name}")
    return EXIT_OK


def _export(_: argparse.Namespace, context: Context) -> int:
    """Print the file; the exit status is 1 if a trigger is missing in it, which `apply --prune` would delete."""
    with context.client() as client:
        found = _all(client)
    context.show(exported(found["items"]), lambda exported_triggers: to_yaml(exported_triggers).rstrip("\n"))
    for trigger in found["unreadable"]:
        print(rendering.plain(f"{trigger['name']} is not in it: {trigger['detail']}"), file=sys.stderr)
    return EXIT_FAILED if found["unreadable"] else EXIT_OK


def _receipts(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        page = client.receipts(options.name, outcome=options.outcome, limit=options.limit, cursor=options.cursor)
    context.show(page, trigger_rendering.receipts)
    return EXIT_OK


def _unmatched(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        page = client.unmatched_events(
            bucket=options.bucket, key=options.key, limit=options.limit, cursor=options.cursor
        )
    context.show(page, trigger_rendering.unmatched)
    return EXIT_OK


def _test(options: argparse.Namespace, context: Context) -> int:
    """Show the answer; the exit status is 1 if an event does not match or would be rejected."""
    event = None if options.event is None else _event(options.event)
    with context.client() as client:
        answer = client.test_trigger(options.name, event, recent=options.recent)
    context.show(answer, trigger_rendering.test)
    return EXIT_FAILED if any(item["outcome"] in _NOT_TO_BE_STARTED for item in answer["items"]) else EXIT_OK


def _event(file: str) -> Json:
    try:
        document = read(file)
    except DocumentError as error:
        raise UsageError(str(error)) from error
    if not isinstance(document.content, dict):
        raise UsageError(f"{document.name}: the event has to be a mapping")
    return document.content


def _secret(options: argparse.Namespace, context: Context) -> int:
    if options.typed or options.typed_option:
        raise UsageError("a secret does not belong on the command line, where others see it: use --secret-file")
    secret = None if options.secret_file is None else _secret_in(options.secret_file)
    with context.client() as client:
        answer = client.set_trigger_secret(options.name, secret)
    if options.json:
        context.show(answer, str)
    elif answer.get("secret"):
        # Alone on stdout, for a pipe: its only copy.
        print(answer["secret"])
    print(rendering.plain(_secret_set(answer, made=secret is None)), file=sys.stderr)
    return EXIT_OK


def _secret_in(file: str) -> str:
    """Return the secret in a file, without the line break that editors put at its end.

    No error cites it, nor the file's name: who mistakes the option has typed the secret there.
    """
    try:
        if file == STDIN and sys.stdin.isatty():
            secret = getpass.getpass("Secret: ")
        else:
            text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
            secret = text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise UsageError(f"the file of --secret-file cannot be read: {error.strerror}") from error
    except EOFError as error:
        raise UsageError("no secret was given") from error
    except UnicodeDecodeError:
        # Without its cause: a decoding error holds what could not be decoded.
        raise UsageError("the file of --secret-file is no text in UTF-8") from None
    if not secret.strip():
        raise UsageError("the file of --secret-file holds no secret")
    return secret


def _secret_set(answer: Json, *, made: bool) -> str:
    until = answer.get("previous_valid_until")
    before = f" The one before stays good until {until}." if until else ""
    return f"{answer['name']} has {'a new secret, shown this once' if made else 'the given secret'}.{before}"
