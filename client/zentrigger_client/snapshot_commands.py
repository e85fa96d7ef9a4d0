"""The commands about what is published: ``pipelines``, ``pipeline``, ``limit``, ``snapshots …``, ``changes``."""

# ruff: noqa: T201 - a command line prints

import argparse
import json
from collections.abc import Callable, Sequence

from zentrigger_client import rendering
from zentrigger_client.api import Json
from zentrigger_client.console import EXIT_OK, Command, Context, UsageError
from zentrigger_client.publish_command import change_lines

_PERCENT = 100
_SNAPSHOT_HEADINGS = (
    "snapshot", "name", "tags", "", "image", "commit", "published at", "by", "last run", "succeeded", "description",
)  # fmt: skip


def add_commands(
    add: Callable[[str, Command, str], argparse.ArgumentParser],
    group: Callable[[str, str], Callable[[str, Command, str], argparse.ArgumentParser]],
) -> None:
    """Add the commands.

    Args:
        add: Adds a command: name, what it does, what it is for.
        group: Makes a group of commands, and gives what adds to it.

    """
    sub = add("pipelines", _pipelines, "List the published pipelines.")
    sub.add_argument("--name", help="only the pipeline of this name")
    sub.add_argument("--tag", help="only pipelines whose newest snapshot has this tag")
    _add_paging(sub)
    add("pipeline", _pipeline, "Show a pipeline and its parameters.").add_argument("name")
    sub = add("limit", _limit, "Limit how many runs of a pipeline are active at once.")
    sub.add_argument("name")
    sub.add_argument("runs", type=_limited_to, metavar="N", help="0 pauses the pipeline; none takes the limit away")
    sub = add("changes", _changes, "Show what each publication of a pipeline changed, newest first.")
    sub.add_argument("pipeline")
    _add_paging(sub)

    add_snapshots = group("snapshots", "Find, show, change and delete snapshots.")
    sub = add_snapshots("list", _list, "List the snapshots of a pipeline, newest first.")
    sub.add_argument("pipeline")
    sub.add_argument("--name", help="only the snapshot of this name")
    sub.add_argument("--tag", help="only snapshots with this tag")
    _add_paging(sub)
    sub = add_snapshots("show", _show, "Show a snapshot with everything in it.")
    sub.add_argument("snapshot", metavar="ID", help="like training_pipeline:3")
    sub = add_snapshots("update", _update, "Change name, description or tags of a snapshot.")
    sub.set_defaults(may_break=True)
    sub.add_argument("snapshot", metavar="ID")
    named = sub.add_mutually_exclusive_group()
    named.add_argument("--name")
    named.add_argument("--no-name", action="store_true", help="take the name away")
    sub.add_argument("--replace", action="store_true", help="move the name if another snapshot has it")
    sub.add_argument("--description", metavar="TEXT")
    tagged = sub.add_mutually_exclusive_group()
    tagged.add_argument("--tag", action="append", help="once for each; instead of those that it has")
    tagged.add_argument("--no-tags", action="store_true", help="take all tags away")
    sub.add_argument(
        "--allow-breaking", action="store_true", help="do it although triggers would no longer fit the parameters"
    )
    sub = add_snapshots("delete", _delete, "Delete a snapshot that nothing uses.")
    sub.add_argument("snapshot", metavar="ID")


def _add_paging(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--limit", type=int)
    sub.add_argument("--cursor")


def _pipelines(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        page = client.pipelines(name=options.name, tag=options.tag, limit=options.limit, cursor=options.cursor)
    context.show(
        page,
        lambda content: _table(
            ("pipeline", "newest snapshot", "name", "tags", "last run", "succeeded", "description"),
            [(item["name"], *_named(item["snapshot"]), *_runs(item), _first_line(item)) for item in content["items"]],
            content,
        ),
    )
    return EXIT_OK


def _pipeline(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        print(json.dumps(client.pipeline(options.name), indent=2))
    return EXIT_OK


def _limit(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        context.show(client.limit_pipeline(options.name, options.runs), rendering.capacity)
    return EXIT_OK


def _limited_to(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"a number or none, not {text!r}")
    return int(text)


def _list(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        page = client.snapshots(
            options.pipeline, name=options.name, tag=options.tag, limit=options.limit, cursor=options.cursor
        )
    context.show(
        page,
        lambda content: _table(
            _SNAPSHOT_HEADINGS,
            [
                (
                    *_named(item),
                    "newest" if item["newest"] else "",
                    rendering.digest(item["image"]),
                    _commit(item["git"]),
                    item["published_at"],
                    item["published_by"],
                    *_runs(item),
                    _first_line(item),
                )
                for item in content["items"]
            ],
            content,
        ),
    )
    return EXIT_OK


def _show(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        print(json.dumps(client.snapshot(options.snapshot), indent=2))
    return EXIT_OK


def _update(options: argparse.Namespace, context: Context) -> int:
    changes: Json = {}
    if options.name is not None or options.no_name:
        changes["name"] = options.name
    if options.description is not None:
        changes["description"] = options.description
    if options.tag or options.no_tags:
        changes["tags"] = options.tag or []
    if not changes:
        raise UsageError("update what? Give --name, --no-name, --description, --tag or --no-tags")
    for flag in ("replace", "allow_breaking"):
        if getattr(options, flag):
            changes[flag] = True
    with context.client() as client:
        answer = client.update_snapshot(options.snapshot, changes)
    context.show(answer, _updated)
    return EXIT_OK


def _updated(answer: Json) -> str:
    name = f", name {answer['name']!r}" if answer["name"] else ", no name"
    tags = f", tags {', '.join(answer['tags'])}" if answer["tags"] else ", no tags"
    return rendering.plain("\n".join([f"{answer['id']}{name}{tags}", *change_lines(answer)]))


def _delete(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        client.delete_snapshot(options.snapshot)
    context.show({}, lambda _: f"deleted {options.snapshot}")
    return EXIT_OK


def _changes(options: argparse.Namespace, context: Context) -> int:
    with context.client() as client:
        page = client.changes(options.pipeline, limit=options.limit, cursor=options.cursor)
    context.show(page, _history)
    return EXIT_OK


def _history(page: Json) -> str:
    lines = []
    for entry in page["items"]:
        moved = "" if entry["newest"] == entry["snapshot"] else f"; the newest is {entry['newest'] or 'none'}"
        lines.append(f"{entry['at']}  {entry['snapshot']}  {entry['action'].replace('_', ' ')} by {entry['by']}{moved}")
        lines += [f"  {one['choice']}: {one['from'] or 'none'} -> {one['to'] or 'none'}" for one in entry["moved"]]
        lines += [f"  {line}" for line in change_lines(entry)]
        if entry["omitted_triggers"]:
            lines.append(f"  and {entry['omitted_triggers']} more triggers, which are not kept")
        if entry["omitted"]:
            lines.append(f"  and {entry['omitted']} more changes, which are not kept")
    return rendering.plain("\n".join(lines)) + rendering.more(page)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], page: Json) -> str:
    return rendering.table(headings, rows) + rendering.more(page)


def _named(snapshot: Json | None) -> tuple[str, str, str]:
    """Return by what a snapshot is chosen: its id, name and tags; nothing for a pipeline that has none any more."""
    return ("", "", "") if snapshot is None else (snapshot["id"], snapshot["name"] or "", ", ".join(snapshot["tags"]))


def _runs(item: Json) -> tuple[str, str]:
    """Return how the last run stands, and which part of the last ones succeeded."""
    last, rate = item["runs"]["last"], item["runs"]["success_rate"]
    return "" if last is None else last["status"], "" if rate is None else f"{rate * _PERCENT:.0f} %"


def _first_line(item: Json) -> str:
    return rendering.one_line(item["description"])


def _commit(git: Json | None) -> str:
    return "" if git is None else git["commit"][:12] + (" (dirty)" if git["dirty"] else "")
