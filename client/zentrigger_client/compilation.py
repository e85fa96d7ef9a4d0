"""Finds the ZenML pipelines of a module and compiles each into a body of ``POST /snapshots``.

Runs as a process of its own (``python -m zentrigger_client.compilation``), started by `zentrigger_client.publish`:
importing user code and ZenML may print, change global state, or end the process. Reads a request as JSON from stdin
and writes the result as JSON to the file that the request names.
"""

# ruff: noqa: T201 - its progress goes to the terminal of whoever publishes

import importlib
import inspect
import json
import os
import pkgutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import zenml
from pydantic_core import to_jsonable_python
from zenml.client import Client
from zenml.config.compiler import Compiler
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
from zenml.execution.pipeline.utils import prevent_pipeline_execution
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.stack import Stack
from zenml.steps.entrypoint_function_utils import validate_entrypoint_function

from zentrigger_client import run_configuration, stored_snapshot
from zentrigger_client.git_state import git_state
from zentrigger_client.passed_parameters import passed_parameters
from zentrigger_client.run_configuration import ConfigurationError, RunConfiguration
from zentrigger_client.samples import NoSampleError, sample_of
from zentrigger_client.schemas import parameters_schema, step_schema

Json = dict[str, Any]

_MAX_DESCRIPTION = 2000
_TRACEBACK_LINES = 12


class Found(NamedTuple):
    """A pipeline and where to import it from."""

    pipeline: Pipeline
    source: str


class Failure(NamedTuple):
    """What could not be published and why, in full sentences."""

    subject: str
    message: str


# ---------------------------------------------------------------------------------------------------------- finding


def import_all(name: str, fail: Callable[[Failure], None]) -> Iterator[ModuleType]:
    """Import the module and, if it is a package, all its submodules; report those that raise and go on."""
    try:
        # A module that runs its pipeline when it is imported only compiles it here.
        with prevent_pipeline_execution():
            module = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit too
        fail(Failure(f"module {name}", f"cannot be imported\n{_tail(error)}"))
        return
    yield module
    for submodule in pkgutil.iter_modules(getattr(module, "__path__", [])):
        if submodule.name != "__main__":
            yield from import_all(f"{name}.{submodule.name}", fail)


def find_pipelines(modules: list[ModuleType]) -> tuple[list[Found], list[Failure]]:
    """Return the pipelines that are defined in the modules, each once, and the names that two of them claim.

    A pipeline that a module merely imports belongs to the module of its function; when that is none of ``modules``,
    it is left out.
    """
    walked = {module.__name__ for module in modules}
    places: dict[int, list[tuple[str, str]]] = {}
    pipelines: dict[int, Pipeline] = {}
    for module in modules:
        for attribute, member in list(vars(module).items()):
            if isinstance(member, Pipeline):
                pipelines[id(member)] = member
                places.setdefault(id(member), []).append((module.__name__, attribute))

    by_name: dict[str, list[Found]] = {}
    for key, pipeline in pipelines.items():
        home = pipeline.entrypoint.__module__
        if home not in walked and _holds(sys.modules.get(home), pipeline):
            continue
        module_name, attribute = min(
            places[key], key=lambda place: (place[0] != home, place[1] != pipeline.entrypoint.__name__, place)
        )
        by_name.setdefault(pipeline.name, []).append(Found(pipeline, f"{module_name}:{attribute}"))

    found = [candidates[0] for _, candidates in sorted(by_name.items()) if len(candidates) == 1]
    clashes = [
        Failure(
            f"pipeline {name}",
            f"is defined more than once, at {' and '.join(sorted(item.source for item in candidates))}; "
            "give each a name of its own: @pipeline(name=...)",
        )
        for name, candidates in sorted(by_name.items())
        if len(candidates) > 1
    ]
    return found, clashes


def _holds(module: ModuleType | None, pipeline: Pipeline) -> bool:
    return module is not None and any(member is pipeline for member in vars(module).values())


# -------------------------------------------------------------------------------------------------------- compiling


def compile_pipeline(
    found: Found, samples: Mapping[str, Any], configuration: RunConfiguration, stack: Stack, *, tasks_own_stack: bool
) -> Json:
    """Compile the pipeline on a stack and describe it as ``POST /snapshots`` wants it.

    ZenML finds the steps by calling the pipeline's function. Parameters without a default are given ``samples`` for
    that, or values made up from their types; the schemas are made from the signature, so no sample gets into them. A
    body with conditions is described as it goes with the defaults; ZenML itself checks the values of a run again.

    Raises:
        ConfigurationError: The run configuration does not fit the pipeline; with all that was found wrong with it
            before, too.

    """
    inputs = validate_entrypoint_function(found.pipeline.entrypoint).inputs
    configured = configuration.arguments(inputs)
    unknown = sorted(set(samples) - set(inputs))
    if unknown:
        raise ValueError(f"a sample is given for {', '.join(unknown)}, which the pipeline does not take")
    try:
        pipeline = found.pipeline.with_options(**configuration.pipeline_options)
        schema = parameters_schema(inputs, defaults={**(pipeline.configuration.parameters or {}), **configured})
        arguments = {**configured, **samples}
        began = time.monotonic()
        _prepare(pipeline, arguments, _made_up(schema, arguments))
        took = time.monotonic() - began
    except Exception as error:
        if configuration.problems:
            raise ConfigurationError(configuration.problems) from error
        raise
    of_steps = configuration.check_steps(pipeline)
    configuration.check_settings(stack, is_the_tasks_own=tasks_own_stack)
    if configuration.problems:
        raise ConfigurationError(configuration.problems)
    snapshot = Compiler().compile(
        pipeline=pipeline, stack=stack, run_configuration=PipelineRunConfiguration(steps=configuration.step_options)
    )
    passed = passed_parameters(
        pipeline, {name: parameter.annotation for name, parameter in inputs.items()}, took_seconds=took
    )
    steps: Json = {}
    if not pipeline.is_dynamic:  # a dynamic pipeline has no steps before it runs, and ignores parameters of steps
        for name, step in snapshot.step_configurations.items():
            invocation = pipeline.invocations[name]
            fixed = sorted(invocation.parameters)
            steps[name] = {
                "upstream": sorted(step.spec.upstream_steps),
                "parameters_schema": step_schema(
                    invocation, {**step.config.parameters, **of_steps.get(name, {})}, fixed
                ),
                "fixed": fixed,
                "passed": passed.get(name, {}),
            }
    own = pipeline.configuration
    return {
        "pipeline": pipeline.name,
        "source": found.source,
        "description": (inspect.getdoc(pipeline.entrypoint) or "").strip()[:_MAX_DESCRIPTION],
        "dynamic": pipeline.is_dynamic,
        "zenml_version": zenml.__version__,
        "parameters_schema": schema,
        "steps": steps,
        "configuration": {
            "parameters": _as_json(configured),
            "steps": {
                name: {**update, **({"parameters": _as_json(of_steps[name])} if of_steps.get(name) else {})}
                for name, update in configuration.steps.items()
            },
            # Not the code's own, which the image has and ZenML weighs against that of each step.
            "enable_cache": configuration.enable_cache,
            "tags": list(
                dict.fromkeys(
                    [*(tag if isinstance(tag, str) else tag.name for tag in own.tags or []), *configuration.tags]
                )
            ),
            "options": configuration.options,
        },
        "git": _git_state(found),
    }


def _made_up(schema: Json, given: Mapping[str, Any]) -> Json:
    """Make up values for the parameters that have none."""
    return {
        name: sample_of(schema["properties"][name], schema.get("$defs", {}))
        for name in schema.get("required", [])
        if name not in given
    }


def _prepare(pipeline: Pipeline, arguments: Mapping[str, Any], made_up: Mapping[str, Any]) -> None:
    try:
        pipeline.prepare(**arguments, **made_up)
    except Exception as error:
        if made_up:
            listed = ", ".join(f"{name}={value!r}" for name, value in made_up.items())
            error.add_note(
                f"These parameters have no default, so made-up values were passed to find the steps: {listed}. If the "
                f"pipeline needs better ones, publish with --sample {pipeline.name}.{next(iter(made_up))}=VALUE."
            )
        raise


def _as_json(values: Mapping[str, Any]) -> Json:
    return dict(to_jsonable_python(values))


def _git_state(found: Found) -> Json | None:
    file = getattr(sys.modules.get(found.source.partition(":")[0]), "__file__", None)
    return None if file is None else git_state(Path(file))


# ---------------------------------------------------------------------------------------------------------- process


def run(request: Mapping[str, Any], say: Callable[[str], None]) -> Json:
    """Do what the request asks for: see `zentrigger_client.publish`, which makes it."""
    if request.get("zenml_snapshot"):
        name, pipeline = request["zenml_snapshot"], request["pipelines"][0]
        say(f"reading the snapshot {name} of {pipeline} from the ZenML store")
        try:
            return _result([stored_snapshot.describe(name, pipeline)], [])
        except stored_snapshot.NoSuchSnapshotError as error:
            return _result([], [Failure(f"pipeline {pipeline}", str(error))])
        except Exception as error:  # noqa: BLE001 - a store raises errors of many kinds
            return _result([], [Failure(f"pipeline {pipeline}", f"its snapshot cannot be read\n{_tail(error)}")])
    return _compile_modules(request, say)


def _compile_modules(request: Mapping[str, Any], say: Callable[[str], None]) -> Json:
    failures: list[Failure] = []
    try:
        configuration = run_configuration.read(request["config"] or "")
    except ConfigurationError as error:
        return _result([], [_misfit(request, error)])
    found = _find(request, say, failures.append)
    if request["config"] is not None and len(found) > 1:
        listed = ", ".join(item.pipeline.name for item in found)
        detail = f"is for one pipeline, and here are {listed}. Say which: --pipeline NAME"
        return _result([], [*failures, Failure(f"configuration {request['config_name']}", detail)])
    if not found:
        misfits = [_misfit(request, ConfigurationError(configuration.problems))] if configuration.problems else []
        return _result([], [*failures, *misfits])
    try:
        stack = _stack(request["stack"] if request["use_my_zenml"] else None)
    except Exception as error:  # noqa: BLE001 - a store, and an integration that is missing, raise in many ways
        return _result([], [*failures, Failure("the ZenML stack", f"cannot be used\n{_tail(error)}")])
    snapshots: list[Json] = []
    for item in found:
        say(f"compiling {item.pipeline.name} ({item.source})")
        subject = f"pipeline {item.pipeline.name}"
        try:
            snapshots.append(
                compile_pipeline(
                    item,
                    request["samples"].get(item.pipeline.name, {}),
                    configuration,
                    stack,
                    tasks_own_stack=request["use_my_zenml"] and request["stack"] is not None,
                )
            )
        except KeyboardInterrupt:
            raise
        except ConfigurationError as error:
            failures.append(_misfit(request, error, item.pipeline.name))
        except NoSampleError as error:
            failures.append(Failure(subject, str(error)))
        except BaseException as error:  # noqa: BLE001 - the pipeline's body is user code and may raise anything
            failures.append(Failure(subject, f"cannot be compiled\n{_tail(error)}"))
    return _result(snapshots, failures)


def _find(request: Mapping[str, Any], say: Callable[[str], None], fail: Callable[[Failure], None]) -> list[Found]:
    """Import the modules of a request and return the pipelines that are wanted of them."""
    walked: dict[str, list[ModuleType]] = {}
    for name in request["modules"]:
        say(f"importing {name}")
        walked[name] = list(import_all(name, fail))
    found, clashes = find_pipelines(list({module.__name__: module for of in walked.values() for module in of}.values()))
    known = {item.pipeline.name for item in found} | {clash.subject.removeprefix("pipeline ") for clash in clashes}
    for name, of in walked.items():
        members = [member for module in of for member in vars(module).values()]
        if of and not any(isinstance(member, Pipeline) and member.name in known for member in members):
            needs = "it takes a function decorated with @pipeline at the module's top level"
            fail(Failure(f"module {name}", f"defines no pipeline: {needs}"))
    wanted, left_out = _wanted(found, clashes, request["pipelines"])
    for failure in left_out:
        fail(failure)
    for name in sorted(set(request["samples"]) - {item.pipeline.name for item in wanted}):
        fail(Failure(f"pipeline {name}", "a sample is given for it, but it is not among those found"))
    return wanted


def _result(snapshots: list[Json], failures: list[Failure]) -> Json:
    return {"snapshots": snapshots, "failures": [failure._asdict() for failure in failures]}


def _misfit(request: Mapping[str, Any], error: ConfigurationError, pipeline: str | None = None) -> Failure:
    what = "cannot be used" if pipeline is None else f"does not fit {pipeline}"
    return Failure(f"configuration {request['config_name']}", f"{what}\n{error}")


def _wanted(found: list[Found], clashes: list[Failure], names: Sequence[str]) -> tuple[list[Found], list[Failure]]:
    """Choose the pipelines of these names, all without any; tell which names are none, or stand for two."""
    if not names:
        return found, clashes
    known = {item.pipeline.name for item in found}
    clashing = {clash.subject.removeprefix("pipeline "): clash for clash in clashes}
    listed = ", ".join(sorted(known | set(clashing))) or "none"
    missing = [
        clashing.get(name) or Failure(f"pipeline {name}", f"is not among those found: {listed}")
        for name in dict.fromkeys(names)
        if name not in known
    ]
    return [item for item in found if item.pipeline.name in names], missing


def _stack(name_or_id: str | None) -> Stack:
    """Return the stack to compile on: that of this name, or the active one."""
    client = Client()
    return client.active_stack if name_or_id is None else Stack.from_model(client.get_stack(name_or_id))


def _tail(error: BaseException) -> str:
    """Return the last lines of the traceback: the frames of user code, not those of ZenML and the import machinery."""
    hidden = (__file__, str(Path(zenml.__file__).parent), str(Path(importlib.__file__).parent), "<frozen ")
    formatted = traceback.TracebackException.from_exception(error)
    current: traceback.TracebackException | None = formatted
    while current is not None:
        current.stack = traceback.StackSummary.from_list(
            [frame for frame in current.stack if not frame.filename.startswith(hidden)]
        )
        current = current.__cause__ or current.__context__
    lines = "".join(formatted.format()).rstrip().splitlines()
    return "\n".join(f"    {line}" for line in lines[-_TRACEBACK_LINES:])


def main() -> None:
    """Read the request from stdin, write the result to ``request["result"]``."""
    request = json.load(sys.stdin)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path holds strings
    result = run(request, lambda line: print(line, file=sys.stderr, flush=True))
    Path(request["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
