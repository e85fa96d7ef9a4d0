"""Which parameters of steps are parameters of the pipeline, handed on unchanged.

ZenML knows only the values that a pipeline's body passes. So the body is called again with other values, all of them
changed, to see which of the steps' values follow: a constant that merely equals a default does not, nor does
`load(prefix + url)`. Parameters that a body does not take other values of (it may look them up), or that decide which
steps there are, keep their values, but as other objects: what counts is that this very object arrives. Nothing but a
static pipeline's body is called, and no longer than `MAX_SECONDS` altogether.
"""

import copy
import time
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from zenml.pipelines.pipeline_definition import Pipeline

MAX_SECONDS = 5.0
"""A body that takes longer, times the calls that are needed, is not called again: then nothing counts as passed."""


class NoOtherValueError(LookupError):
    """No other value of a type can be made up."""


class Place(NamedTuple):
    """A parameter of a step."""

    step: str
    name: str


def passed_parameters(
    pipeline: Pipeline,
    annotations: Mapping[str, Any],
    *,
    took_seconds: float = 0.0,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, dict[str, str]]:
    """Return step -> the step's name for a parameter -> the pipeline's name for it; both names are the same today.

    Args:
        pipeline: A static pipeline that was prepared.
        annotations: The types of its parameters.
        took_seconds: How long preparing it took.
        clock: Tells seconds.

    """
    if pipeline.is_dynamic:
        return {}
    given = _arguments(pipeline)
    candidates = {
        Place(step, name)
        for step, invocation in pipeline.invocations.items()
        for name, value in invocation.parameters.items()
        if name in given and _same(value, given[name])
    }
    if not candidates:
        return {}
    deadline = clock() + MAX_SECONDS
    others = dict(_others(given, annotations))
    steps = {place.step for place in candidates}
    found: dict[Place, bool] = {}

    def probe(changed: Mapping[str, Any]) -> Pipeline | None:
        in_time = clock() + took_seconds <= deadline
        return _prepared(pipeline, {**_copies(given), **changed}) if in_time else None

    found.update(_followers(probe(others), given, others, candidates))
    if open_places := candidates - set(found):
        steady = {
            name: other
            for name, other in others.items()
            if (alone := probe({name: other})) is not None and steps <= set(alone.invocations)
        }
        found.update(_followers(probe(steady), given, steady, open_places))
    passed: dict[str, dict[str, str]] = {}
    for place in sorted(place for place, follows in found.items() if follows):
        passed.setdefault(place.step, {})[place.name] = place.name
    return passed


def _others(given: Mapping[str, Any], annotations: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        with suppress(NoOtherValueError):
            yield name, another(value, annotations.get(name, Any))


def _copies(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) for name, value in given.items()}


def _followers(
    probe: Pipeline | None, given: Mapping[str, Any], changed: Mapping[str, Any], places: Collection[Place]
) -> dict[Place, bool]:
    """Say which places follow, of those about which the probe tells something."""
    if probe is None:
        return {}
    handed = _arguments(probe)
    found: dict[Place, bool] = {}
    for place in places:
        if place.step not in probe.invocations:
            continue
        arrived = probe.invocations[place.step].parameters.get(place.name)
        value = handed[place.name]
        if place.name in changed and not _same(value, given[place.name]):
            found[place] = _same(arrived, value)
        elif value is not given[place.name] and not _is_shared(value):
            found[place] = arrived is value
    return found


def _is_shared(value: object) -> bool:
    """Tell whether the code of the pipeline may hold this very object, although it was made here."""
    return _copied(value) is value


def _prepared(pipeline: Pipeline, arguments: Mapping[str, Any]) -> Pipeline | None:
    probe = pipeline.copy()
    try:
        probe.prepare(**arguments)
    except (Exception, SystemExit):  # noqa: BLE001 - the body is user code, and these values are none of its user's
        return None
    return probe


def _arguments(pipeline: Pipeline) -> Mapping[str, Any]:
    return pipeline._parameters  # noqa: SLF001 - what ZenML has made of the arguments, defaults among them


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _copied(value: Any) -> Any:  # noqa: ANN401 - a parameter of any type
    """Return another object of the same value, or the object itself where Python has only one."""
    if isinstance(value, bool | Enum):
        return value
    if isinstance(value, str):
        return "".join(list(value))
    if isinstance(value, int):
        return value + 1 - 1
    if isinstance(value, float):
        return float(repr(value))
    return copy.deepcopy(value)


def another(value: Any, annotation: Any) -> Any:  # noqa: ANN401 - a parameter of any type
    """Return another value that the type takes. Raises NoOtherValueError if none can be made up."""
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    for candidate in _candidates(value, annotation):
        try:
            validated = adapter.validate_python(candidate)
        except ValidationError:
            continue
        if not _same(validated, value):
            return validated
    raise NoOtherValueError


def _candidates(value: Any, annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - a parameter of any type
    yield from _choices(annotation)
    match value:
        case Enum():
            yield from type(value)
        case bool():
            yield not value
        case str():
            # Capitals: a body that passes url.lower() is not one that passes url.
            yield from (f"{value}-Other", f"{value}X", "Other", "X")
        case int():
            yield from (value + 1, value - 1, value * 2)
        case float():
            yield from (value + 1, value / 2, value * 2, value - 1)
        case None:
            yield from ("Other", 2, 2.5, True)
        case _:
            pass
    yield None


def _choices(annotation: Any) -> Iterator[Any]:  # noqa: ANN401 - a type
    """Give the values of the literals in a type."""
    origin = get_origin(annotation)
    if origin is Literal:
        yield from get_args(annotation)
    elif origin in {Union, types.UnionType}:
        for option in get_args(annotation):
            yield from _choices(option)
    elif origin is Annotated:
        yield from _choices(get_args(annotation)[0])
