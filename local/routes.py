"""The routes of an HTTP API and the choice among them.

Rules: Amazon API Gateway Developer Guide, "Create routes for HTTP APIs in API Gateway": a full match before a greedy
one before $default; of full matches the one with more fixed segments; a method before ANY.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from local.errors import invalid
from local.permissions import require_invoke_permission

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from local.deploy import Resource, Stack

DEFAULT: Final = "$default"
_FIXED, _ONE_SEGMENT, _GREEDY = range(3)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_ANY_KEY = "x-amazon-apigateway-any-method"
_INTEGRATION_KEY = "x-amazon-apigateway-integration"
_VARIABLE = re.compile(r"\{([A-Za-z0-9._:-]+)(\+?)\}")
_FUNCTION_URI = re.compile(r":lambda:path/2015-03-31/functions/(arn:[^/]+)/invocations$")


@dataclass(frozen=True)
class Route:
    """One route: `method` is a method or ANY, `path` as in the template ($default for the catch-all)."""

    method: str
    path: str
    function_arn: str

    @property
    def key(self) -> str:
        """The route key, as events have it."""
        return DEFAULT if self.path == DEFAULT else f"{self.method} {self.path}"

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """Return the path parameters if the (still encoded) segments match this route's path."""
        mine = self.path[1:].split("/")
        found: dict[str, str] = {}
        for index, part in enumerate(mine):
            variable = _VARIABLE.fullmatch(part)
            if variable is not None and variable[2]:
                rest = "/".join(segments[index:])
                return {**found, variable[1]: unquote(rest)} if rest else None
            if index >= len(segments):
                return None
            if variable is not None:
                if not segments[index]:
                    return None
                found[variable[1]] = unquote(segments[index])
            elif part != unquote(segments[index]):
                return None
        return found if len(segments) == len(mine) else None

    @property
    def rank(self) -> tuple[tuple[int, ...], int]:
        """Smaller is more specific."""
        kinds = []
        for part in self.path[1:].split("/"):
            variable = _VARIABLE.fullmatch(part)
            kinds.append(_FIXED if variable is None else _GREEDY if variable[2] else _ONE_SEGMENT)
        return ((int(_GREEDY in kinds), *kinds), int(self.method == "ANY"))


class Router:
    """Chooses a route for a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._default = next((route for route in routes if route.path == DEFAULT), None)
        self._routes = sorted((route for route in routes if route.path != DEFAULT), key=lambda route: route.rank)

    def choose(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """Return the route and its path parameters; None if nothing matches and there is no $default."""
        segments = path[1:].split("/")
        for route in self._routes:
            if route.method in {method, "ANY"}:
                parameters = route.match(segments)
                if parameters is not None:
                    return route, parameters
        return None if self._default is None else (self._default, {})


def read_routes(stack: Stack, api: Resource, stage_name: str) -> tuple[Route, ...]:
    """Read the routes of an API from its OpenAPI body; raises TemplateError."""
    routes = tuple(_routes(stack, api))
    if not routes:
        raise invalid(api.logical_id, "it has no routes.")
    seen: set[str] = set()
    for route in routes:
        if route.key in seen:
            raise invalid(api.logical_id, f"the route {route.key} is there twice.")
        seen.add(route.key)
        function = stack.by_arn(route.function_arn)
        if function is None or function.kind != "AWS::Lambda::Function":
            raise invalid(api.logical_id, f"the function of {route.key} is not of this stack.")
        execution = f"arn:aws:execute-api:{stack.region}:{stack.account_id}:{api.physical_id}/{stage_name}"
        # The ARN has the route's own path, variables and all; the permissions' stars match them.
        called = "/$default" if route.path == DEFAULT else f"/{route.method}{route.path}"
        require_invoke_permission(
            stack, function, service="apigateway.amazonaws.com", source_arn=f"{execution}{called}",
            needed_by=f"{api.logical_id} route {route.key}",
        )  # fmt: skip
    return routes


def _routes(stack: Stack, api: Resource) -> Iterator[Route]:
    body: Mapping[str, Any] = api["Body"]
    for path, methods in body.get("paths", {}).items():
        plain = DEFAULT if path in {"/$default", DEFAULT} else str(path)
        if not plain.startswith("/") and plain != DEFAULT:
            raise invalid(api.logical_id, f"the path {path!r} must begin with a slash.")
        for method, operation in methods.items():
            name = "ANY" if method == _ANY_KEY else str(method).upper()
            if name != "ANY" and name not in _METHODS:
                raise invalid(api.logical_id, f"{method!r} of {path} is no HTTP method.")
            integration = operation.get(_INTEGRATION_KEY, {})
            function = _FUNCTION_URI.search(str(integration.get("uri")))
            if integration.get("type") != "aws_proxy" or function is None:
                raise invalid(api.logical_id, f"{name} {path} is not integrated with a function.")
            if integration.get("payloadFormatVersion") != "2.0":
                raise invalid(api.logical_id, f"{name} {path}: the embedded AWS speaks payload format 2.0 only.")
            if "security" in operation:
                raise invalid(api.logical_id, f"{name} {path}: the embedded AWS has no authorizers.")
            yield Route(method=name, path=plain, function_arn=function[1])
    del stack
