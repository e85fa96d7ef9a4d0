"""What ZenML would silently ignore, or fail on half way: found before anything runs, all of it at once."""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from zenml.exceptions import StepInterfaceError
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.steps.step_invocation import StepInvocation

from runner.failures import Refused
from zentrigger.runs import Assignment

_PLACEHOLDER = re.compile(r"\$\{[a-zA-Z0-9_]+\}")
_SHOWN = 20


def prepare(pipeline: Pipeline, assignment: Assignment) -> tuple[str, ...]:
    """Compile the pipeline with the run's parameters and give the names of its steps, in their order.

    The steps of a dynamic pipeline are not known before it runs: none are given.

    Raises:
        Refused: `parameters_refused`, with everything that is wrong.

    """
    problems = [
        *_placeholders(assignment),
        *_pipeline_problems(pipeline, assignment.parameters),
    ]
    if problems:
        raise _refused(problems)
    try:
        pipeline.prepare(**assignment.parameters)
    except ValueError as error:
        # ZenML wraps what pydantic says of the arguments; any other ValueError is of the pipeline's own body.
        if isinstance(error.__cause__, ValidationError):
            raise _refused(_validation_problems(error.__cause__)) from None
        raise
    problems = list(_step_problems(pipeline, assignment.steps))
    if problems:
        raise _refused(problems)
    return () if pipeline.is_dynamic else tuple(pipeline.invocations)


def _refused(problems: Iterable[str]) -> Refused:
    found = list(problems)
    shown = "; ".join(found[:_SHOWN]) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    return Refused("parameters_refused", f"Nothing was run: {shown}.")


def _placeholders(assignment: Assignment) -> Iterable[str]:
    """Find `${NAME}`: ZenML would put the value of the task's environment variable there, secrets too."""
    given = {
        "parameters": assignment.parameters,
        "steps": assignment.steps,
        "tags": list(assignment.tags),
    }
    for name, value in given.items():
        for place in _find_placeholders(value, name):
            yield f"{place} holds ${{…}}, which ZenML would replace by an environment variable of the task"


def _find_placeholders(value: object, place: str) -> Iterable[str]:
    match value:
        case str():
            if _PLACEHOLDER.search(value):
                yield place
        case Mapping():
            for key, inner in value.items():
                yield from _find_placeholders(key, place)
                yield from _find_placeholders(inner, f"{place}.{key}")
        case list() | tuple():
            for number, inner in enumerate(value):
                yield from _find_placeholders(inner, f"{place}.{number}")
        case _:
            pass


def _pipeline_problems(pipeline: Pipeline, parameters: Mapping[str, Any]) -> Iterable[str]:
    known = inspect.signature(pipeline.entrypoint).parameters
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        for name in parameters:
            if name not in known:
                yield f"parameters.{name}: the pipeline has no such parameter, it has {_listed(known)}"
    configured = pipeline.configuration.parameters or {}
    for name, value in parameters.items():
        if name in configured and configured[name] != value:
            yield f"parameters.{name}: the pipeline's own configuration sets it to another value"
    for name, parameter in known.items():
        required = parameter.default is inspect.Parameter.empty and parameter.kind in {
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.KEYWORD_ONLY,
        }
        if required and name not in parameters and name not in configured:
            yield f"parameters.{name}: is missing"


def _validation_problems(error: ValidationError) -> Iterable[str]:
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        place = ".".join(str(part) for part in problem["loc"])
        yield f"parameters.{place}: {problem['msg']}"


def _step_problems(pipeline: Pipeline, steps: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    for name, parameters in steps.items():
        if not parameters:
            continue
        if pipeline.is_dynamic:
            yield f"steps.{name}: the pipeline is dynamic, where ZenML ignores parameters of steps; use the pipeline's"
        elif name not in pipeline.invocations:
            yield f"steps.{name}: the pipeline has no such step, it has {_listed(pipeline.invocations)}"
        else:
            yield from _parameter_problems(name, pipeline.invocations[name], parameters)


def _parameter_problems(step: str, invocation: StepInvocation, parameters: Mapping[str, Any]) -> Iterable[str]:
    definition = invocation.step.entrypoint_definition
    fed = {
        *invocation.input_artifacts,
        *invocation.external_artifacts,
        *invocation.model_artifacts_or_metadata,
        *invocation.client_lazy_loaders,
    }
    for name, value in parameters.items():
        place = f"steps.{step}.parameters.{name}"
        if name not in definition.inputs:
            free = [known for known in definition.inputs if known not in fed]
            yield f"{place}: the step has no such parameter, it has {_listed(free)}"
        elif name in fed:
            yield f"{place}: the step gets this from another step or artifact"
        elif name in invocation.parameters and invocation.parameters[name] != value:
            yield f"{place}: the pipeline sets this itself; use a parameter of the pipeline"
        else:
            try:
                definition.validate_input(key=name, value=value)
            except (RuntimeError, StepInterfaceError, TypeError, ValueError):
                # ZenML's text repeats the value, which is not ours to show.
                yield f"{place}: is not of the type that the step takes"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
