"""Checking a run's parameters against the schemas of its snapshot: all that is wrong, at once, before anything starts.

ZenML ignores unknown steps and keys silently; here they are errors.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jsonschema_rs

from zentrigger.catalogue import JsonSchema, SnapshotContent
from zentrigger.errors import Problem, UnknownName

MAX_PARAMETERS_BYTES = 256 * 1024
"""Size limit of parameters and steps' parameters together, as JSON (DynamoDB: an item is 400 KB at most)."""

_SHOWN = 200

_SUBSTITUTION = re.compile(r"\$\{")
"""Start of what ZenML takes for a variable of the environment."""


def check(
    content: SnapshotContent, parameters: Mapping[str, Any], steps: Mapping[str, Mapping[str, Any]]
) -> list[Problem]:
    """Give everything that is wrong with the parameters of a request; an empty list means they fit."""
    problems = _against(content.parameters_schema, parameters, "/parameters", f"pipeline {content.pipeline}")
    problems += _substitutions(parameters, "/parameters")
    for name, values in steps.items():
        pointer = f"/steps/{_escaped(name)}"
        problems += _substitutions(values, f"{pointer}/parameters")
        if content.dynamic:
            problems.append(
                Problem(
                    pointer, f"{content.pipeline} is a dynamic pipeline: its steps take no parameters from outside."
                )
            )
            continue
        step = content.steps.get(name)
        if step is None:
            problems.append(UnknownName(pointer, f"There is no step {name!r}.{_meant(name, content.steps)}"))
            continue
        for parameter in step.fixed:
            if parameter in values:
                problems.append(
                    Problem(
                        f"{pointer}/parameters/{_escaped(parameter)}",
                        f"The pipeline passes {parameter!r} to step {name!r} itself, so ZenML does not let it be set"
                        " here. Set the pipeline's own parameter under `parameters` instead.",
                    )
                )
        free = {key: value for key, value in values.items() if key not in step.fixed}
        problems += _against(step.parameters_schema, free, f"{pointer}/parameters", f"step {name}", required=False)
    return problems


def check_schemas(content: SnapshotContent) -> list[Problem]:
    """Give what is wrong with the schemas of a snapshot: those that no parameters could be checked against.

    References may only point into the schema itself; a schema must not make a function fetch anything.
    """
    schemas = {"/parameters_schema": content.parameters_schema} | {
        f"/steps/{_escaped(name)}/parameters_schema": step.parameters_schema for name, step in content.steps.items()
    }
    problems = []
    for pointer, schema in schemas.items():
        outside = [reference for reference in _references(schema) if not reference.startswith("#")]
        if outside:
            problems.append(
                Problem(pointer, f"References may only point into the schema itself, not to {outside[0]!r}.")
            )
            continue
        try:
            jsonschema_rs.Draft202012Validator(schema)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            problems.append(Problem(pointer, f"This is no JSON Schema: {str(error)[:_SHOWN]}"))
    return problems


def _references(schema: Any) -> Iterator[str]:  # noqa: ANN401 - JSON of any shape
    if isinstance(schema, Mapping):
        for name, value in schema.items():
            if name in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _substitutions(values: Any, pointer: str) -> Iterator[Problem]:  # noqa: ANN401 - JSON of any shape
    """Refuse text in which ZenML would put a variable of the task's environment, which holds its secrets."""
    if isinstance(values, str) and _SUBSTITUTION.search(values):
        yield Problem(
            pointer, "Text like ${NAME} is not allowed: ZenML would replace it by what the task's environment has."
        )
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from _substitutions(name, pointer)
            yield from _substitutions(value, f"{pointer}/{_escaped(str(name))}")
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values):
            yield from _substitutions(value, f"{pointer}/{number}")


def _against(
    schema: JsonSchema, values: Mapping[str, Any], pointer: str, owner: str, *, required: bool = True
) -> list[Problem]:
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    problems: list[Problem] = [
        UnknownName(f"{pointer}/{_escaped(name)}", f"The {owner} has no parameter {name!r}.{_meant(name, known)}")
        for name in values
        if name not in known
    ]
    validator = jsonschema_rs.Draft202012Validator(
        {name: rule for name, rule in schema.items() if required or name != "required"}
    )
    for error in validator.iter_errors({name: value for name, value in values.items() if name in known}):
        path = "".join(f"/{_escaped(str(part))}" for part in error.instance_path)
        message = error.message if len(error.message) <= _SHOWN else error.message[:_SHOWN] + " …"
        problems.append(Problem(pointer + path, message))
    return problems


def _meant(name: str, known: Iterable[str]) -> str:
    """Suggest what a name may have been meant for."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f" Did you mean {near[0]!r}?"
    return f" Known: {', '.join(sorted(names)[:20])}." if names else " It takes none."


def _escaped(name: str) -> str:
    """Give a name as a segment of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
