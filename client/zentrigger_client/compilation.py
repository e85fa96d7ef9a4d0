"""Finds the ZenML pipelines of a module and compiles each into the body of ``POST /snapshots``.

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
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import zenml
from pydantic import BaseModel, ConfigDict, Field, create_model
from zenml.client import Client
from zenml.config.compiler import Compiler
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
from zenml.execution.pipeline.utils import prevent_pipeline_execution
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.steps.entrypoint_function_utils import validate_entrypoint_function
from zenml.steps.step_invocation import StepInvocation

from zentrigger_client.samples import NoSampleError, sample_of

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


def compile_pipeline(found: Found, samples: Mapping[str, Any]) -> Json:
    """Compile the pipeline on the active stack and describe it as ``POST /snapshots`` wants it.

    ZenML finds the steps by calling the pipeline's function. Parameters without a default are given ``samples`` for
    that, or values made up from their types; the schemas are made from the signature, so no sample gets into them. A
    body with conditions is described as it goes with the defaults; ZenML itself checks the values of a run again.
    """
    pipeline = found.pipeline
    inputs = validate_entrypoint_function(pipeline.entrypoint).inputs
    schema = parameters_schema(inputs, defaults=pipeline.configuration.parameters or {})
    unknown = sorted(set(samples) - set(inputs))
    if unknown:
        raise ValueError(f"a sample is given for {', '.join(unknown)}, which the pipeline does not take")
    arguments = dict(samples)
    made_up: Json = {}
    for name in schema.get("required", []):
        if name not in arguments:
            made_up[name] = sample_of(schema["properties"][name], schema.get("$defs", {}))
    try:
        pipeline.prepare(**arguments, **made_up)
        snapshot = Compiler().compile(
            pipeline=pipeline, stack=Client().active_stack, run_configuration=PipelineRunConfiguration()
        )
    except Exception as error:
        if made_up:
            listed = ", ".join(f"{name}={value!r}" for name, value in made_up.items())
            error.add_note(
                f"These parameters have no default, so made-up values were passed to find the steps: {listed}. If the "
                f"pipeline needs better ones, publish with --sample {pipeline.name}.{next(iter(made_up))}=VALUE."
            )
        raise
    steps: Json = {}
    if not pipeline.is_dynamic:  # a dynamic pipeline has no steps before it runs, and ignores parameters of steps
        for name, step in snapshot.step_configurations.items():
            invocation = pipeline.invocations[name]
            fixed = sorted(invocation.parameters)
            steps[name] = {
                "upstream": sorted(step.spec.upstream_steps),
                "parameters_schema": _step_schema(invocation, step.config.parameters, fixed),
                "fixed": fixed,
            }
    return {
        "pipeline": pipeline.name,
        "source": found.source,
        "description": (inspect.getdoc(pipeline.entrypoint) or "").strip()[:_MAX_DESCRIPTION],
        "dynamic": pipeline.is_dynamic,
        "zenml_version": zenml.__version__,
        "parameters_schema": schema,
        "steps": steps,
        "configuration": {
            "enable_cache": pipeline.configuration.enable_cache,
            "tags": [tag if isinstance(tag, str) else tag.name for tag in pipeline.configuration.tags or []],
        },
    }


def parameters_schema(inputs: Mapping[str, inspect.Parameter], defaults: Mapping[str, Any]) -> Json:
    """Return the JSON Schema of a function's parameters: one property each, defaults included, nothing else allowed.

    What pydantic accepts beyond its own JSON Schema (``"5"`` for an int) is refused here. Fields that a nested model
    would ignore are refused too, unless the model says ``extra="allow"``.
    """
    fields: dict[str, Any] = {}
    for position, (name, parameter) in enumerate(inputs.items()):
        default = defaults.get(name, ... if parameter.default is inspect.Parameter.empty else parameter.default)
        # Pydantic takes a leading underscore for a private attribute: the field is numbered, the alias is the name.
        fields[f"parameter_{position}"] = (parameter.annotation, Field(default=default, alias=name))
    model: type[BaseModel] = create_model("Parameters", __config__=ConfigDict(extra="forbid"), **fields)
    schema = model.model_json_schema(by_alias=True)
    schema.pop("title", None)
    for definition in [schema, *schema.get("$defs", {}).values()]:
        if "properties" in definition or definition.get("type") == "object":
            definition.setdefault("additionalProperties", False)
        for property_schema in definition.get("properties", {}).values():
            property_schema.pop("title", None)
    schema.setdefault("properties", {})
    json.dumps(schema, allow_nan=False)
    return schema


def _step_schema(invocation: StepInvocation, configured: Mapping[str, Any], fixed: list[str]) -> Json:
    """Return the schema of what a caller may override of this step.

    Artifacts are no parameters; what the pipeline's body passes itself (``fixed``) is refused by ZenML; a parameter
    whose type has no JSON Schema cannot be sent.
    """
    inputs = invocation.step.entrypoint_definition.inputs
    open_inputs: dict[str, inspect.Parameter] = {}
    for name, parameter in inputs.items():
        if name in configured and name not in fixed:
            try:
                parameters_schema({name: parameter}, {name: configured[name]})
            except Exception as error:  # noqa: BLE001 - pydantic raises many kinds for a type it knows no schema of
                print(f"  step {invocation.id}: {name} cannot be overridden: {error}".splitlines()[0], file=sys.stderr)
            else:
                open_inputs[name] = parameter
    return parameters_schema(open_inputs, configured)


# ---------------------------------------------------------------------------------------------------------- process


def run(request: Mapping[str, Any], say: Callable[[str], None]) -> Json:
    """Do what the request asks: ``{"modules": [...], "samples": {pipeline: {parameter: value}}}``."""
    failures: list[Failure] = []
    modules: dict[str, ModuleType] = {}
    for name in request["modules"]:
        say(f"importing {name}")
        modules.update((module.__name__, module) for module in import_all(name, failures.append))
    found, clashes = find_pipelines(list(modules.values()))
    failures.extend(clashes)
    if not found and not failures:
        failures.append(
            Failure(
                f"module {', '.join(request['modules'])}",
                "defines no pipeline: it takes a function decorated with @pipeline at the module's top level",
            )
        )
    snapshots: list[Json] = []
    samples: Mapping[str, Mapping[str, Any]] = request.get("samples", {})
    for item in found:
        say(f"compiling {item.pipeline.name} ({item.source})")
        try:
            snapshots.append(compile_pipeline(item, samples.get(item.pipeline.name, {})))
        except KeyboardInterrupt:
            raise
        except NoSampleError as error:
            failures.append(Failure(f"pipeline {item.pipeline.name}", str(error)))
        except BaseException as error:  # noqa: BLE001 - the pipeline's body is user code and may raise anything
            failures.append(Failure(f"pipeline {item.pipeline.name}", f"cannot be compiled\n{_tail(error)}"))
    failures.extend(
        Failure(f"pipeline {name}", "a sample is given for it, but it is not among those found")
        for name in sorted(set(samples) - {item.pipeline.name for item in found})
    )
    return {"snapshots": snapshots, "failures": [failure._asdict() for failure in failures]}


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
