"""What ZenML would silently ignore, or fail on half way: found before anything runs, all of it at once."""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python
from zenml.exceptions import StepInterfaceError
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.steps import BaseStep
from zenml.steps.step_invocation import StepInvocation

from runner.failures import Refused
from runner.run_configuration import RunConfiguration
from zentrigger.runs import Assignment

_PLACEHOLDER = re.compile(r"\$\{[a-zA-Z0-9_]+\}")
_SHOWN = 20


def prepare(pipeline: Pipeline, assignment: Assignment, configuration: RunConfiguration) -> tuple[str, ...]:
    """Compile the pipeline with the run's parameters and give the names of its steps, in their order.

    The steps of a dynamic pipeline are not known before it runs: none are given.

    Raises:
        Refused: `parameters_refused`, with everything that is wrong.

    """
    own = {**_defaults(pipeline), **(pipeline.configuration.parameters or {})}
    check(
        [
            *placeholders(assignment, own),
            *_pipeline_problems(pipeline, assignment.parameters),
        ]
    )
    try:
        pipeline.prepare(**arguments(pipeline, assignment.parameters))
    except ValueError as error:
        # ZenML wraps what pydantic says of the arguments; any other ValueError is of the pipeline's own body.
        if isinstance(error.__cause__, ValidationError):
            check(_validation_problems(error.__cause__))
        raise
    check(_step_problems(pipeline, configuration))
    return () if pipeline.is_dynamic else tuple(pipeline.invocations)


def arguments(pipeline: Pipeline, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a pipeline is called with: not what its own configuration sets, to the same value as JSON.

    ZenML would take a list and the tuple that is configured for two values.
    """
    return _without(parameters, pipeline.configuration.parameters or {})


def without_passed(pipeline: Pipeline, configuration: RunConfiguration) -> RunConfiguration:
    """Leave out what a prepared pipeline's code passes to its steps itself, to the same values: see `arguments`."""
    steps = {
        name: {**step, "parameters": _without(step["parameters"], pipeline.invocations[name].parameters)}
        if step.get("parameters") and name in pipeline.invocations
        else step
        for name, step in configuration.steps.items()
    }
    return replace(configuration, steps=steps)


def check(problems: Iterable[str]) -> None:
    """Refuse what has problems.

    Raises:
        Refused: `parameters_refused`, naming them.

    """
    found = list(problems)
    if found:
        shown = "; ".join(found[:_SHOWN]) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        raise Refused("parameters_refused", f"Nothing was run: {shown}.")


def placeholders(assignment: Assignment, own: Mapping[str, Any]) -> Iterable[str]:
    """Find `${NAME}`: ZenML would put the value of the task's environment variable there, secrets too.

    A parameter that has its `own` value, out of the pipeline's code, is as whoever wrote that code wants it.
    """
    given = {
        "parameters": {
            name: value
            for name, value in assignment.parameters.items()
            if name not in own or not same(own[name], value)
        },
        "steps": assignment.steps,
        "tags": list(assignment.tags),
        "configuration.steps": assignment.configured_steps,
        "configuration": assignment.options,
    }
    for name, value in given.items():
        for place in _find_placeholders(value, name):
            yield f"{place} holds ${{…}}, which ZenML would replace by an environment variable of the task"


def same(own: object, given: object) -> bool:
    """Whether a value out of Python code and one out of JSON are the same: a tuple and a list, a date and its text."""
    try:
        return own == given or bool(to_jsonable_python(own) == given)
    except PydanticSerializationError:
        return False


def listed(names: Iterable[str]) -> str:
    """List names for a person."""
    return ", ".join(names) or "none"


def has_type_of(step: BaseStep, name: str, value: object) -> bool:
    """Whether a step takes a value for a parameter."""
    try:
        step.entrypoint_definition.validate_input(key=name, value=value)
    except (RuntimeError, StepInterfaceError, TypeError, ValueError):
        # ZenML's text repeats the value, which is not ours to show.
        return False
    return True


def _without(parameters: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in known}


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


def _defaults(pipeline: Pipeline) -> dict[str, Any]:
    known = inspect.signature(pipeline.entrypoint).parameters
    return {
        name: parameter.default for name, parameter in known.items() if parameter.default is not inspect.Parameter.empty
    }


def _pipeline_problems(pipeline: Pipeline, parameters: Mapping[str, Any]) -> Iterable[str]:
    known = inspect.signature(pipeline.entrypoint).parameters
    if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in known.values()):
        for name in parameters:
            if name not in known:
                yield f"parameters.{name}: the pipeline has no such parameter, it has {listed(known)}"
    configured = pipeline.configuration.parameters or {}
    for name, value in parameters.items():
        if name in configured and not same(configured[name], value):
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


def _step_problems(pipeline: Pipeline, configuration: RunConfiguration) -> Iterable[str]:
    for name in configuration.steps:
        parameters = configuration.parameters(name)
        if pipeline.is_dynamic and parameters:
            yield f"steps.{name}: the pipeline is dynamic, where ZenML ignores parameters of steps; use the pipeline's"
        elif name in pipeline.invocations:
            yield from _parameter_problems(name, pipeline.invocations[name], parameters)
        elif pipeline.is_dynamic:
            known = listed(pipeline.invocations)
            yield f"steps.{name}: of a dynamic pipeline, only steps that it `depends_on` can be configured: {known}"
        else:
            yield f"steps.{name}: the pipeline has no such step, it has {listed(pipeline.invocations)}"


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
            yield f"{place}: the step has no such parameter, it has {listed(free)}"
        elif name in fed:
            yield f"{place}: the step gets this from another step or artifact"
        elif name in invocation.parameters and not same(invocation.parameters[name], value):
            yield f"{place}: the pipeline sets this itself; use a parameter of the pipeline"
        elif not has_type_of(invocation.step, name, value):
            yield f"{place}: is not of the type that the step takes"
