"""Requests to EventBridge Scheduler: which operation, and with which parameters, by botocore's model of the service.

The protocol is REST with JSON: the operation is told by method and path. Errors and their wording: API reference,
"Common errors"; and how AWS's services write failed constraints.
"""

# ruff: noqa: ANN401 - parameters are of any shape

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

import botocore.session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import ServiceModel

    from local.http_server import Request

_STATUS: Final = {"ConflictException": 409, "ResourceNotFoundException": 404, "UnknownOperationException": 404}
_TYPES: Final[Mapping[str, Any]] = {
    "boolean": bool,
    "integer": int,
    "list": list,
    "map": dict,
    "string": str,
    "structure": dict,
    "timestamp": (int, float, str),
}


class SchedulerError(Exception):
    """An answer of AWS's that is an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = _STATUS.get(code, 400)


def not_valid(message: str) -> SchedulerError:
    """Return the error for a request that is wrong in itself."""
    return SchedulerError("ValidationException", message)


@dataclass(frozen=True)
class Route:
    """What method and path say of a request."""

    operation: str
    in_path: Mapping[str, str]


def route_of(request: Request) -> Route | None:
    """Return the operation that is asked for, if it is one of the service's."""
    for method, path, operation in _routes():
        match = path.fullmatch(request.path)
        if match is not None and method == request.method:
            return Route(operation, {name: unquote(value) for name, value in match.groupdict().items()})
    return None


def parameters_of(request: Request, route: Route) -> dict[str, Any]:
    """Return the parameters by their names in the model, as they came; raises SchedulerError for a body of no use."""
    shape: Any = _model().operation_model(route.operation).input_shape
    try:
        body = json.loads(request.body or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise SchedulerError("SerializationException", "The body is no JSON object.")
    given = {**body, **route.in_path}
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    for name, member in shape.members.items():
        place = member.serialization
        if place.get("location") == "querystring":
            given.pop(name, None)
            text = query.get(place["name"])
            if text is not None:
                given[name] = int(text) if member.type_name == "integer" and text.lstrip("-").isdigit() else text
    return given


def checked(operation: str, parameters: Mapping[str, Any], *, strict: bool = False) -> dict[str, Any]:
    """Return the parameters with times as datetimes; raises SchedulerError for all that the model forbids.

    What the model does not know is left out, as AWS does, or, if `strict`, an error.
    """
    problems: list[str] = []
    shape: Any = _model().operation_model(operation).input_shape
    read: dict[str, Any] = _read(shape, dict(parameters), "", problems, strict=strict)
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
        raise not_valid(count + "; ".join(problems))
    return read


def _read(shape: Any, value: Any, where: str, problems: list[str], *, strict: bool) -> Any:
    kind = shape.type_name
    if not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
        raise SchedulerError("SerializationException", f"{where or 'The body'} is not of type {kind}.")
    if kind == "structure":
        return _read_members(shape, value, where, problems, strict=strict)
    if kind == "list":
        return [_read(shape.member, one, f"{where}.member", problems, strict=strict) for one in value]
    if kind == "timestamp":
        return _moment(value, where)
    problems += [f"Value '{value}' at '{where}' failed to satisfy constraint: {rule}" for rule in _broken(shape, value)]
    return value


def _read_members(
    shape: Any, value: dict[str, Any], where: str, problems: list[str], *, strict: bool
) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for name, member in shape.members.items():
        path = f"{where}.{_lowered(name)}" if where else _lowered(name)
        if value.get(name) is not None:
            read[name] = _read(member, value[name], path, problems, strict=strict)
        elif name in shape.required_members:
            problems.append(f"Value null at '{path}' failed to satisfy constraint: Member must not be null")
    if strict:
        unknown = [f"'{name}' at '{where}' is not known" for name in value if name not in shape.members]
        problems += unknown
    return read


def _broken(shape: Any, value: Any) -> list[str]:
    """Say which constraints a text or a number does not satisfy."""
    rules = shape.metadata
    text = isinstance(value, str)
    size, what = (len(value), "length") if text else (value, "value")
    broken: list[str] = []
    if "min" in rules and size < rules["min"]:
        broken.append(f"Member must have {what} greater than or equal to {rules['min']}")
    if "max" in rules and size > rules["max"]:
        broken.append(f"Member must have {what} less than or equal to {rules['max']}")
    if "enum" in rules and value not in rules["enum"]:
        broken.append(f"Member must satisfy enum value set: [{', '.join(rules['enum'])}]")
    if text and "pattern" in rules and re.fullmatch(rules["pattern"], value) is None:
        broken.append(f"Member must satisfy regular expression pattern: {rules['pattern']}")
    return broken


def _moment(value: float | str, where: str) -> datetime:
    """Read a time: seconds since 1970, or a text of ISO 8601 as templates have it."""
    try:
        if not isinstance(value, str):
            return datetime.fromtimestamp(value, UTC)
        read = datetime.fromisoformat(value)
    except (OverflowError, ValueError) as error:
        raise SchedulerError("SerializationException", f"{where} is no time: {value!r}.") from error
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def _lowered(name: str) -> str:
    return name[:1].lower() + name[1:]


@cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("scheduler")


@cache
def _routes() -> tuple[tuple[str, re.Pattern[str], str], ...]:
    return tuple(
        (http["method"], re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", http["requestUri"])), name)
        for name in _model().operation_names
        for http in [_model().operation_model(name).http]
    )
