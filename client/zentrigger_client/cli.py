"""The command line: ``zentrigger``. One subcommand a call of the API.

Exit status: 0 done, and the followed run succeeded; 1 refused, or the followed run failed or was cancelled; 2 wrong
usage, or (apply --dry-run --exit-code) triggers would change; 3 nobody answers; 130 interrupted.
"""

# ruff: noqa: T201 - a command line prints

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from zentrigger_client import apply_command, publish_command, rendering, snapshot_commands, trigger_commands
from zentrigger_client.api import Client, Json, RunOptions, Unreachable, ZentriggerError
from zentrigger_client.assignments import assignments, concurrency, nested_assignments, resources, retry
from zentrigger_client.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Command,
    Context,
    UsageError,
    complain,
)
from zentrigger_client.follow import FINAL, display_for, follow, headline, print_end, run_id_of, steps_of

_LOG_POLL_SECONDS = 2.0

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - it has no public name


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run one command and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal gets "?" instead of a traceback
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options, Context(options, os.environ if environment is None else environment)))
    except UsageError as error:
        print(f"zentrigger: {error}", file=sys.stderr)
        return EXIT_USAGE
    except ZentriggerError as error:
        complain(error, as_json=options.json, may_break=getattr(options, "may_break", False))
        return EXIT_UNREACHABLE if isinstance(error, Unreachable) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (`zentrigger logs ... | head`): nothing to say, and nobody to say it to.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the flush at exit
        return EXIT_OK


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
    add = _adder(commands, common)

    def group(name: str, text: str, *aliases: str) -> "_Add":
        own = commands.add_parser(name, help=text, aliases=aliases)
        return _adder(own.add_subparsers(required=True, metavar="COMMAND"), common)

    publish_command.add_options(
        add("publish", publish_command.run, "Compile the pipelines of Python modules and publish them.")
    )
    _add_runs(add)
    snapshot_commands.add_commands(add, group)
    apply_command.add_options(
        add("apply", apply_command.run, "Make the triggers what a file says, after showing what that changes.")
    )
    trigger_commands.add_commands(group("trigger", "Manage what starts runs by itself.", "triggers"))
    _add_keys(group("keys", "Manage API keys."))
    return top


_Add = Callable[[str, Command, str], argparse.ArgumentParser]


def _adder(commands: "_Commands", common: argparse.ArgumentParser) -> _Add:
    """Return what adds a command: its name, what it does, and what it is for."""

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=[common], help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    return add


def _add_runs(add: _Add) -> None:
    sub = add("run", _run, "Start a run of a pipeline.")
    sub.add_argument("pipeline")
    sub.add_argument(
        "--snapshot", metavar="CHOICE", help="a number, an id, a name or tag:TAG; default: the one published last"
    )
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
    sub.add_argument("--cpu", type=int, metavar="UNITS", help="size of the task; 1024 is one vCPU; with --memory")
    sub.add_argument("--memory", type=int, metavar="MIB")
    sub.add_argument("--timeout-seconds", type=int, metavar="N", help="end the run when it takes longer")
    _add_waiting(sub)
    _add_retries(sub)
    sub.add_argument("--idempotency-key", metavar="KEY", help="the same key starts the same run once")
    ending = sub.add_mutually_exclusive_group()
    ending.add_argument(
        "--follow", action="store_true", help="show progress to the end; exit status 1 unless it succeeds"
    )
    ending.add_argument(
        "--dry-run", action="store_true", help="start nothing; say what would run, and all that is wrong"
    )

    sub = add("retry", _retry, "Run again what an ended run was: same snapshot, image and parameters.")
    sub.add_argument("run_id", metavar="RUN_ID")
    sub.add_argument("--idempotency-key", metavar="KEY", help="the same key starts the same run once")
    sub.add_argument("--follow", action="store_true", help="show progress to the end; exit status 1 unless it succeeds")

    commands: tuple[tuple[str, Command, str], ...] = (
        ("status", _status, "Show a run."),
        ("follow", _follow, "Show a run's progress to its end."),
        ("cancel", _cancel, "Cancel a run."),
    )
    for name, command, text in commands:
        add(name, command, text).add_argument("run_id", metavar="RUN_ID")
    sub = add("logs", _logs, "Print a run's log.")
    sub.add_argument("run_id", metavar="RUN_ID")
    sub.add_argument("--attempt", type=int, metavar="N", help="the log of this attempt; default: the present one")
    sub.add_argument("--follow", action="store_true", help="go on until the run has ended")

    sub = add("list", _list, "List runs, newest first.")
    for option in ("--pipeline", "--status", "--trigger", "--tag", "--cursor"):
        sub.add_argument(option)
    sub.add_argument("--limit", type=int)


def _add_waiting(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--priority",
        type=int,
        metavar="N",
        help="-10 to 10; each point lets the run pass those that have waited up to 10 minutes longer",
    )
    sub.add_argument("--concurrency-key", metavar="KEY", help="runs with the same key do not run at once")
    sub.add_argument("--concurrency-limit", type=int, metavar="N", help="so many of them may; default: 1")
    sub.add_argument(
        "--on-conflict",
        choices=["queue", "skip", "reject"],
        help="what becomes of this run if they do: it waits (default), is recorded as cancelled, or is refused",
    )


def _add_retries(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--retries", type=int, metavar="N", help="attempt the pipeline again, so often, if it fails")
    sub.add_argument(
        "--retry-backoff",
        type=int,
        metavar="SECONDS",
        help="pause before the second attempt; each further one is twice as long; default: 60",
    )
    sub.add_argument(
        "--retry-on",
        action="append",
        default=[],
        metavar="NAME",
        help="only for this exception (its class) or reason; once for each",
    )
    sub.add_argument(
        "--spot",
        action="store_true",
        default=None,
        help="try Spot capacity first; AWS may take it back, and the pipeline is repeated then",
    )


def _add_keys(add: _Add) -> None:
    sub = add("create", _keys_create, "Create an API key and print it; it is shown this once.")
    sub.add_argument("--name", required=True)
    sub.add_argument("--scope", action="append", required=True, choices=["run", "read", "admin"])
    add("list", _keys_list, "List API keys, without their secrets.")
    add("delete", _keys_delete, "Revoke an API key.").add_argument("key_id", metavar="KEY_ID")


# --------------------------------------------------------------------------------------------------------- commands


def _run(options: argparse.Namespace, context: Context) -> int:
    asked: RunOptions = {
        "snapshot": options.snapshot,
        "parameters": assignments(options.parameter, "parameter"),
        "steps": nested_assignments(options.step, "step"),
        "enable_cache": options.cache,
        "tags": options.tag,
        "resources": resources(options.cpu, options.memory),
        "timeout_seconds": options.timeout_seconds,
        "priority": options.priority,
        "concurrency": concurrency(options.concurrency_key, options.concurrency_limit, options.on_conflict),
        "retry": retry(options.retries, options.retry_backoff, options.retry_on),
        "spot": options.spot,
    }
    key = options.idempotency_key
    with context.client() as client:
        if options.dry_run:
            return _tried(client.dry_run(options.pipeline, idempotency_key=key, **asked), context)
        return _started(client, client.start(options.pipeline, idempotency_key=key, **asked), options, context)


def _retry(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        run = client.retry(options.run_id, idempotency_key=options.idempotency_key)
        return _started(client, run, options, context)


def _started(client: Client, run: Json, options: argparse.Namespace, context: Context) -> int:
    if options.follow:
        return _followed(client, run_id_of(run), options, context)
    context.show(run, _accepted)
    return EXIT_OK


def _accepted(run: Json) -> str:
    said = f": {rendering.one_line(run['message'], 200)}" if run.get("message") else ""
    return f"{run_id_of(run)}  {run['status']}{said}"


def _tried(answer: Json, context: Context) -> int:
    """Show what a run would be; the exit status is 1 if it would be refused."""
    context.show(answer, rendering.dry_run)
    return EXIT_FAILED if answer["would"] == "refuse" or answer["problems"] else EXIT_OK


def _follow(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        return _followed(client, options.run_id, options, context)


def _followed(client: Client, run_id: str, options: argparse.Namespace, context: Context) -> int:
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


def _status(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        run = client.run(options.run_id)
    if options.json:
        context.show(run, str)
        return EXIT_OK
    print(rendering.plain(headline(run)))
    if run["status"] == "queued":
        print(rendering.waiting(run))
    for step in steps_of(run):
        taken = rendering.duration(rendering.seconds_between(step.get("started_at"), step.get("finished_at")))
        print(rendering.plain(f"  {step['name']}  {step['status']}  {taken}".rstrip()))
    for table in (rendering.phases(run.get("timings") or {}), rendering.attempts(run.get("attempts") or [])):
        if table:
            print(table)
    print_end(run)
    return EXIT_OK


def _cancel(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        context.show(client.cancel(options.run_id), lambda run: f"cancel requested: {headline(run)}")
    return EXIT_OK


def _logs(options: argparse.Namespace, context: Context) -> int:
    attempt: int | None = options.attempt
    cursor: str | None = None
    with context.client() as client:
        while True:
            # Asked before the page is read: what is written until the end is then on a later page.
            run = client.run(options.run_id) if options.follow else None
            if run is not None and attempt is None:
                attempt = run["attempt"]
            page = client.logs(options.run_id, attempt=attempt, cursor=cursor)
            lines = page["items"]
            for line in lines:
                print(json.dumps(line) if options.json else rendering.plain(line["line"].rstrip("\n")))
            following = page["next"]
            exhausted = following is None or following == cursor or not lines
            cursor = following or cursor
            if not exhausted:
                continue
            over = run is not None and attempt is not None and run["attempt"] > attempt
            if over and options.attempt is None and attempt is not None:
                attempt, cursor = attempt + 1, None
            elif over or run is None or run["status"] in FINAL:
                return EXIT_OK
            else:
                sys.stdout.flush()
                time.sleep(_LOG_POLL_SECONDS)


def _list(options: argparse.Namespace, context: Context) -> int:
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
    return text + rendering.more(page)


def _keys_create(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        answer = client.create_key(options.name, options.scope)
    # The one place where a secret is printed: its only copy.
    context.show(answer, lambda content: str(content["key"]))
    return EXIT_OK


def _keys_list(_: argparse.Namespace, context: Context) -> int:
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


def _keys_delete(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        client.delete_key(options.key_id)
    context.show({}, lambda _: f"deleted {options.key_id}")
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
