"""The command ``zentrigger publish``."""

# ruff: noqa: T201 - a command line prints

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zentrigger_client import publish, rendering
from zentrigger_client.api import Json, Unreachable
from zentrigger_client.assignments import nested_assignments, resources, secret_references
from zentrigger_client.console import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_UNREACHABLE,
    Context,
    UsageError,
    complain,
    problem_of,
)
from zentrigger_client.errors import redact
from zentrigger_client.publish import Compilation, Published

_HEADINGS = ("pipeline", "snapshot", "", "name", "tags", "image", "changes", "parameters")


def add_options(sub: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    what = sub.add_argument_group("what to publish")
    what.add_argument(
        "modules", nargs="*", metavar="MODULE", help="as imported from here; a package stands for all its modules"
    )
    what.add_argument("--module", action="append", default=[], metavar="MODULE", dest="more_modules", help="the same")
    what.add_argument(
        "--pipeline", action="append", default=[], metavar="NAME", help="only this one of the pipelines found"
    )
    what.add_argument(
        "--zenml-snapshot",
        metavar="NAME",
        help="instead of modules: a snapshot, by name or id, of --pipeline in your own ZenML store",
    )
    what.add_argument(
        "--config", metavar="FILE.yaml", type=Path, help="a ZenML run configuration; its parameters become defaults"
    )
    what.add_argument(
        "--sample",
        action="append",
        default=[],
        metavar="PIPELINE.NAME=VALUE",
        help="value of a parameter without a default, used only to find the steps",
    )
    what.add_argument(
        "--use-my-zenml", action="store_true", help="compile on your own active ZenML stack instead of a local one"
    )
    found_by = sub.add_argument_group("what to find it by")
    found_by.add_argument("--name", help="a name for the snapshot, unique per pipeline")
    found_by.add_argument("--replace", action="store_true", help="move the name if another snapshot has it")
    found_by.add_argument("--tag", action="append", default=[])
    found_by.add_argument("--description", metavar="TEXT", help="default: the pipeline's docstring")
    tasks = sub.add_argument_group("what its tasks get")
    tasks.add_argument(
        "--image", metavar="REPOSITORY@sha256:…", help="default: the image that the stack was deployed with"
    )
    tasks.add_argument("--architecture", choices=["ARM64", "X86_64"], help="what the image was built for")
    tasks.add_argument("--stack", metavar="NAME", help="the ZenML stack that its runs use")
    tasks.add_argument(
        "--secret", action="append", default=[], metavar="VARIABLE=ARN", help="a secret of AWS Secrets Manager"
    )
    tasks.add_argument("--cpu", type=int, metavar="UNITS", help="1024 is one vCPU; with --memory")
    tasks.add_argument("--memory", type=int, metavar="MIB")
    tasks.add_argument("--timeout-seconds", type=int, metavar="N")
    tasks.add_argument(
        "--writes",
        action="append",
        default=[],
        metavar="s3://BUCKET/PREFIX",
        help="where the pipeline itself writes: no trigger of its own may watch that",
    )
    how = sub.add_argument_group("how")
    how.add_argument(
        "--allow-breaking", action="store_true", help="publish although triggers would no longer fit the parameters"
    )
    how.add_argument("--keep-going", action="store_true", help="publish the others when one cannot be published")
    how.add_argument("--dry-run", action="store_true", help="print what would be published, as JSON; needs no API")


def run(options: argparse.Namespace, context: Context) -> int:
    """Compile, publish, and show what became of it."""
    modules = [*options.modules, *options.more_modules]
    beside = _beside(options)
    samples = nested_assignments(options.sample, "pipeline")
    _check(options, modules)
    client = None if options.dry_run else context.client()
    compilation = _compilation(options, modules, samples)
    for failure in compilation.failures:
        print(rendering.plain(redact(str(failure))), file=sys.stderr)
    if compilation.failures and not options.keep_going:
        if compilation.snapshots:
            names = ", ".join(snapshot["pipeline"] for snapshot in compilation.snapshots)
            print(f"Nothing was published. With --keep-going these would have been: {names}", file=sys.stderr)
        return EXIT_FAILED
    snapshots = [{**snapshot, **beside} for snapshot in compilation.snapshots]
    if client is None:
        print(json.dumps(snapshots, indent=2))
        return EXIT_FAILED if compilation.failures else EXIT_OK
    with client:
        published = list(publish.publish(client, snapshots, keep_going=options.keep_going))
    _show(published, as_json=options.json)
    _tell_what_is_left(snapshots[len(published) :])
    if any(isinstance(item.error, Unreachable) for item in published):
        return EXIT_UNREACHABLE
    return EXIT_FAILED if compilation.failures or any(item.error for item in published) else EXIT_OK


def _check(options: argparse.Namespace, modules: Sequence[str]) -> None:
    if options.zenml_snapshot is None:
        if not modules:
            raise UsageError("publish what? Name a module, or --zenml-snapshot")
        return
    if len(options.pipeline) != 1:
        raise UsageError("--zenml-snapshot takes one --pipeline: the one that it is a snapshot of")
    if modules or options.config or options.sample:
        raise UsageError("--zenml-snapshot is compiled already: it goes without MODULE, --config and --sample")


def _beside(options: argparse.Namespace) -> Json:
    """Return what of a body does not come from compiling."""
    given = {
        "image": options.image,
        "architecture": options.architecture,
        "stack": options.stack,
        "secrets": secret_references(options.secret) or None,
        "resources": resources(options.cpu, options.memory),
        "timeout_seconds": options.timeout_seconds,
        "writes": options.writes or None,
        "name": options.name,
        "replace": options.replace or None,
        "tags": options.tag or None,
        "description": options.description,
        "allow_breaking": options.allow_breaking or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _compilation(
    options: argparse.Namespace, modules: Sequence[str], samples: Mapping[str, Mapping[str, Any]]
) -> Compilation:
    if options.zenml_snapshot is not None:
        return publish.describe_stored(options.zenml_snapshot, options.pipeline[0])
    return publish.compile_modules(
        modules,
        pipelines=options.pipeline,
        samples=samples,
        config=options.config,
        use_my_zenml=options.use_my_zenml,
        stack=options.stack,
    )


# --------------------------------------------------------------------------------------------------------- printing


def _show(published: Sequence[Published], *, as_json: bool) -> None:
    """Print what was published as a table with the changes below it, and then what was refused."""
    done = [(item.snapshot, item.answer) for item in published if item.answer is not None]
    refused = [(item.snapshot, item.error) for item in published if item.error is not None]
    if as_json:
        content: Json = {"snapshots": [answer for _, answer in done]}
        if refused:
            content["failures"] = [
                {"pipeline": snapshot["pipeline"], "problem": problem_of(error)} for snapshot, error in refused
            ]
        print(redact(json.dumps(content, indent=2)))
        return
    if done:
        print(rendering.table(_HEADINGS, [_row(snapshot, answer) for snapshot, answer in done]))
        for snapshot, answer in done:
            for line in change_lines(answer):
                print(rendering.plain(f"{snapshot['pipeline']}: {line}"))
    for snapshot, error in refused:
        print(rendering.plain(f"{snapshot['pipeline']} was not published."), file=sys.stderr)
        complain(error, may_break=True)


def _tell_what_is_left(snapshots: Sequence[Json]) -> None:
    if snapshots:
        names = ", ".join(snapshot["pipeline"] for snapshot in snapshots)
        print(rendering.plain(f"Not tried any more: {names}"), file=sys.stderr)


def _row(snapshot: Json, answer: Json) -> tuple[str, ...]:
    return (
        snapshot["pipeline"],
        str(answer["number"]),
        "new" if answer["created"] else "unchanged",
        answer["name"] or "",
        ", ".join(answer["tags"]),
        rendering.digest(answer["image"]),
        _counted(answer["changes"]),
        ", ".join(_parameters(snapshot["parameters_schema"])),
    )


def _counted(changes: Sequence[Json]) -> str:
    if not changes:
        return ""
    breaking = sum(1 for change in changes if change["breaking"])
    return f"{len(changes)} change{'s' if len(changes) > 1 else ''}" + (f", {breaking} breaking" if breaking else "")


def change_lines(answer: Json) -> list[str]:
    """Return what a publication or an update changed, one line a change, and what it broke."""
    broken = {
        "triggers that no longer fit": answer["breaks"]["triggers"],
        "names that have these changes now": answer["breaks"]["snapshots"],
    }
    return [
        *(rendering.change(change) for change in answer["changes"]),
        *(f"{told}: {', '.join(names)}" for told, names in broken.items() if names),
    ]


def _parameters(schema: Mapping[str, Any]) -> list[str]:
    required = set(schema.get("required", []))
    return [
        name
        if name in required
        else f"{name}={rendering.one_line(json.dumps(declared['default']), 40)}"
        if "default" in declared
        else f"{name}?"
        for name, declared in schema.get("properties", {}).items()
    ]
