"""Checking a run's parameters against the schemas of its snapshot: all that is wrong, at once, before anything starts.

ZenML ignores unknown steps and keys silently; here they are errors.
"""

import difflib
import itertools
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from zentrigger.catalogue import JsonSchema, SnapshotContent
from zentrigger.errors import NotSettable, Problem, UnknownName
from zentrigger.run_requests import canonical
from zentrigger.schema_references import escaped, wrong_references

MAX_PARAMETERS_BYTES = 256 * 1024
"""Size limit of parameters and steps' parameters together, as JSON (DynamoDB: an item is 400 KB at most)."""

_SHOWN = 200

_MOST = 20
"""So many problems of one schema are told at once."""

_MOST_EFFORT = 20_000_000
"""How much describing an error may cost, in characters. The validator describes every branch of every `anyOf` on the
way down, so it grows with the branches to the power of the value's depth."""

_SUBSTITUTION = re.compile(r"\$\{")
"""Start of what ZenML takes for a variable of the environment."""


OPTIONS = frozenset(
    {
        "cache_policy", "cleanup_hook_source", "enable_artifact_metadata", "enable_artifact_visualization",
        "enable_heartbeat", "enable_pipeline_logs", "enable_step_logs", "end_hook_source", "environment",
        "execution_mode", "extra", "failure_hook_source", "init_hook_kwargs", "init_hook_source", "model",
        "pause_hook_source", "resume_hook_source", "retry", "secrets", "settings", "start_hook_source", "substitutions",
        "success_hook_source",
    }
)  # fmt: skip
"""What of a run configuration is handed on to ZenML as it is: the fields of ZenML 0.98's PipelineRunConfiguration, but
for `OWN_FIELDS` and `NOT_OPTIONS`. What they may say, the runner has ZenML check."""

OWN_FIELDS = frozenset({"parameters", "steps", "enable_cache", "tags"})
"""Those that stand beside `options`."""

NOT_OPTIONS = {
    "run_name": "runs are named after their ids",
    "schedule": "make a trigger of type schedule",
    "build": "the image is the snapshot's",
}
"""Those that make no sense here -> why."""


@dataclass(frozen=True)
class Fit:
    """A request's parameters as ZenML takes them, and everything that is wrong with them."""

    parameters: dict[str, Any]
    """The pipeline's, with those that were given at the steps that the pipeline hands them on to."""
    steps: dict[str, dict[str, Any]]
    """What is left for the steps themselves."""
    problems: tuple[Problem, ...]


def fit(content: SnapshotContent, parameters: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]) -> Fit:
    """Check the parameters of a request and put each where ZenML takes it.

    ZenML refuses a step's parameter that the pipeline's body passes itself. Where the body only hands on a parameter of
    its own, the value is taken at the step and set on the pipeline; all steps that the parameter is handed on to must
    then be given the same value, for they cannot have two.
    """
    problems = [*_substitutions(parameters, "/parameters")]
    kept: dict[str, dict[str, Any]] = {}
    handed_on: dict[str, dict[str, Any]] = {}
    for name, values in steps.items():
        pointer = f"/steps/{escaped(name)}"
        problems += _substitutions(values, f"{pointer}/parameters")
        step = content.steps.get(name)
        if content.dynamic:
            detail = f"{content.pipeline} is a dynamic pipeline: its steps take no parameters from outside."
            problems.append(NotSettable(pointer, detail))
        elif step is None:
            problems.append(UnknownName(pointer, f"There is no step {name!r}.{_meant(name, content.steps)}"))
        else:
            own = {
                parameter: value for parameter, value in values.items() if parameter not in (*step.fixed, *step.passed)
            }
            problems += _against(step.parameters_schema, own, f"{pointer}/parameters", f"step {name}", required=False)
            problems += _sort_out(content, name, values, handed_on)
            if own:
                kept[name] = own
    whole = {parameter: next(iter(places.values())) for parameter, places in handed_on.items()} | dict(parameters)
    schema = content.parameters_schema
    problems += _against(schema, whole, "/parameters", f"pipeline {content.pipeline}", leave_out=handed_on)
    values_alone = _validator(schema, required=False)
    for parameter, places in handed_on.items():
        if parameter in parameters:
            places[f"/parameters/{escaped(parameter)}"] = parameters[parameter]
        problems += _disagreements(content, parameter, places)
        problems += [
            Problem(place + path, detail)
            for place, value in places.items()
            for path, detail in _wrong_value(values_alone, schema, parameter, value)
        ]
    return Fit(whole, kept, tuple(problems))


def _sort_out(
    content: SnapshotContent, name: str, values: Mapping[str, Any], handed_on: dict[str, dict[str, Any]]
) -> Iterator[Problem]:
    """Put what is given at a step and set by the pipeline's body under the pipeline's parameter, by JSON pointer."""
    step = content.steps[name]
    for parameter, value in values.items():
        target = step.passed.get(parameter)
        place = step_pointer(name, parameter)
        if target in _properties(content.parameters_schema):
            handed_on.setdefault(target, {})[place] = value
        elif parameter in (*step.fixed, *step.passed):
            yield NotSettable(
                place,
                f"The pipeline's code sets {parameter!r} of step {name!r} itself, so ZenML does not let it be set here."
                " What can be set of the pipeline goes under `parameters`.",
            )


def _disagreements(content: SnapshotContent, parameter: str, places: Mapping[str, Any]) -> list[Problem]:
    """Give what speaks against setting a parameter of the pipeline from the places where it is given."""
    texts = {place: canonical(value) for place, value in places.items()}
    if len(set(texts.values())) > 1:
        return [
            NotSettable(
                place,
                f"This is the pipeline's parameter {parameter!r}, which has another value at"
                f" {', '.join(other for other in places if texts[other] != text)}. It can have only one.",
            )
            for place, text in texts.items()
        ]
    others = {
        step_pointer(name, own)
        for name, step in content.steps.items()
        for own, of in step.passed.items()
        if of == parameter
    } - set(places)
    if not others or f"/parameters/{escaped(parameter)}" in places:
        return []
    return [
        NotSettable(
            place,
            f"This is the pipeline's parameter {parameter!r}, which is also {', '.join(sorted(others))}. Give all of"
            f" them the same value, or set {parameter!r} under `parameters`.",
        )
        for place in places
    ]


def check(
    content: SnapshotContent, parameters: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]
) -> list[Problem]:
    """Give everything that is wrong with the parameters of a request; an empty list means they fit."""
    return list(fit(content, parameters, steps).problems)


def effective(content: SnapshotContent, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Give the pipeline's parameters with the snapshot's configuration and the defaults of its code filled in.

    A default that does not fit its own schema, or in which ZenML would put a variable of the environment, is left to
    the code: said from outside, it would not mean the same.
    """
    validator = _validator(content.parameters_schema, required=False)
    defaults = {
        name: rule["default"]
        for name, rule in _properties(content.parameters_schema).items()
        if isinstance(rule, dict) and "default" in rule
    }
    fitting = {
        name: value
        for name, value in defaults.items()
        if validator.is_valid({name: value}) and not any(_substitutions(value, ""))
    }
    return {**fitting, **content.configuration.parameters, **parameters}


def check_schemas(content: SnapshotContent) -> list[Problem]:
    """Give what is wrong with the schemas of a snapshot: those that no parameters could be checked against."""
    schemas = {"/parameters_schema": content.parameters_schema} | {
        f"/steps/{escaped(name)}/parameters_schema": step.parameters_schema for name, step in content.steps.items()
    }
    problems = []
    for pointer, schema in schemas.items():
        wrong = wrong_references(schema)
        if not wrong:
            try:
                jsonschema_rs.Draft202012Validator(schema, offline=True)
            except (ValueError, jsonschema_rs.ReferencingError) as error:
                wrong = [Problem("", f"This is no JSON Schema: {str(error)[:_SHOWN]}")]
        problems += [Problem(pointer + problem.pointer, problem.detail) for problem in wrong[:_MOST]]
    return problems


def check_configuration(content: SnapshotContent) -> list[Problem]:
    """Give what of a snapshot's configuration no run could use. Its schemas have to be right (`check_schemas`)."""
    configuration = content.configuration
    owner = f"pipeline {content.pipeline}"
    return [
        *_substitutions(configuration.model_dump(), "/configuration"),
        *_against(
            content.parameters_schema, configuration.parameters, "/configuration/parameters", owner, required=False
        ),
        *(problem for name, step in configuration.steps.items() for problem in _wrong_step(content, name, step)),
        *(problem for name in configuration.options for problem in _wrong_option(name)),
    ]


def _wrong_step(content: SnapshotContent, name: str, configured: Mapping[str, Any]) -> Iterator[Problem]:
    """Look at what is configured for a step: whether there is one, and its parameters."""
    pointer = f"/configuration/steps/{escaped(name)}"
    parameters = configured.get("parameters") or {}
    step = content.steps.get(name)
    if not isinstance(parameters, Mapping):
        yield Problem(f"{pointer}/parameters", "Parameters are an object.")
    elif content.dynamic:
        # Which steps it has is only known when it runs.
        if parameters:
            detail = f"{content.pipeline} is a dynamic pipeline: its steps take no parameters from outside."
            yield NotSettable(f"{pointer}/parameters", detail)
    elif step is None:
        yield UnknownName(pointer, f"There is no step {name!r}.{_meant(name, content.steps)}")
    else:
        fixed = {*step.fixed, *step.passed} & set(parameters)
        for parameter in sorted(fixed):
            yield NotSettable(
                f"{pointer}/parameters/{escaped(parameter)}",
                f"The pipeline's code sets {parameter!r} of step {name!r} itself, so ZenML does not let it be set.",
            )
        own = {parameter: value for parameter, value in parameters.items() if parameter not in fixed}
        yield from _against(step.parameters_schema, own, f"{pointer}/parameters", f"step {name}", required=False)


def _wrong_option(name: str) -> Iterator[Problem]:
    pointer = f"/configuration/options/{escaped(name)}"
    if name in OWN_FIELDS:
        yield Problem(pointer, f"This stands beside the options: /configuration/{name}.")
    elif name in NOT_OPTIONS:
        yield Problem(pointer, f"This has no place in a run's configuration: {NOT_OPTIONS[name]}.")
    elif name not in OPTIONS:
        yield UnknownName(pointer, f"A run configuration of ZenML has no {name!r}.{_meant(name, OPTIONS)}")


def _substitutions(values: Any, pointer: str) -> Iterator[Problem]:  # noqa: ANN401 - JSON of any shape
    """Refuse text in which ZenML would put a variable of the task's environment, which holds its secrets."""
    if isinstance(values, str) and _SUBSTITUTION.search(values):
        yield Problem(
            pointer, "Text like ${NAME} is not allowed: ZenML would replace it by what the task's environment has."
        )
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from _substitutions(name, pointer)
            yield from _substitutions(value, f"{pointer}/{escaped(str(name))}")
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values):
            yield from _substitutions(value, f"{pointer}/{number}")


def _against(  # noqa: PLR0913 - private
    schema: JsonSchema,
    values: Mapping[str, Any],
    pointer: str,
    owner: str,
    *,
    required: bool = True,
    leave_out: Container[str] = (),
) -> list[Problem]:
    """Give what is wrong with values, but for those of names in `leave_out`, which are only seen to be there."""
    known = _properties(schema)
    problems: list[Problem] = [
        UnknownName(f"{pointer}/{escaped(name)}", f"The {owner} has no parameter {name!r}.{_meant(name, known)}")
        for name in values
        if name not in known
    ]
    values_alone = _validator(schema, required=False)
    fitting = True
    for name, value in values.items():
        if name in known:
            wrong = [
                Problem(f"{pointer}/{escaped(name)}{path}", detail)
                for path, detail in _wrong_value(values_alone, schema, name, value)
            ]
            problems += [] if name in leave_out else wrong
            fitting = fitting and not wrong
    if fitting:
        # What is said of all of them together: which must be there, above all.
        together = {name: value for name, value in values.items() if name in known}
        validator = _validator(schema, required=True) if required else values_alone
        errors = validator.iter_errors(together)
        problems += [
            Problem(pointer + _path(error.instance_path), _shown(error.message))
            for error in itertools.islice(errors, _MOST)
        ]
    elif required:
        names = [name for name in _required(schema) if name in known and name not in values]
        problems += [Problem(pointer, f'"{name}" is a required property') for name in names]
    return problems


def _required(schema: JsonSchema) -> list[str]:
    names = schema.get("required")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _wrong_value(
    validator: jsonschema_rs.Draft202012Validator,
    schema: JsonSchema,
    name: str,
    value: Any,  # noqa: ANN401 - JSON of any shape
) -> Iterator[tuple[str, str]]:
    """Give what is wrong with one parameter's value: where in it, as a JSON pointer, and what.

    The validator is of the schema, without what must be there: compiling it costs more than checking a value.
    """
    if validator.is_valid({name: value}):
        return
    depth = _depth(value)
    if _most_branches(schema) ** depth * (len(canonical(value)) + _SHOWN) > _MOST_EFFORT:
        yield "", f"This does not fit the parameter's schema, somewhere in its {depth} levels."
        return
    for error in itertools.islice(validator.iter_errors({name: value}), _MOST):
        yield _path(error.instance_path[1:]), _shown(error.message)


def _most_branches(schema: Any) -> int:  # noqa: ANN401 - JSON of any shape
    """Give how many branches the widest `anyOf` or `oneOf` anywhere in a schema has; at least one."""
    if isinstance(schema, Mapping):
        own = [len(schema[keyword]) for keyword in ("anyOf", "oneOf") if isinstance(schema.get(keyword), list)]
        return max([1, *own, *map(_most_branches, schema.values())])
    return max([1, *map(_most_branches, schema)]) if isinstance(schema, list) else 1


def _depth(value: Any) -> int:  # noqa: ANN401 - JSON of any shape
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return 1 + max(map(_depth, inner), default=0)


def _properties(schema: JsonSchema) -> dict[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _validator(schema: JsonSchema, *, required: bool) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        {name: rule for name, rule in schema.items() if required or name != "required"}, offline=True
    )


def _path(parts: Iterable[str | int]) -> str:
    return "".join(f"/{escaped(str(part))}" for part in parts)


def step_pointer(step: str, parameter: str) -> str:
    """Give the JSON pointer of a step's parameter in a request."""
    return f"/steps/{escaped(step)}/parameters/{escaped(parameter)}"


def _shown(message: str) -> str:
    return message if len(message) <= _SHOWN else message[:_SHOWN] + " …"


def _meant(name: str, known: Iterable[str]) -> str:
    """Suggest what a name may have been meant for."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(sorted(names)[:20])}." if names else " It takes none."
