"""Requests that fit a snapshot, made from its schemas: for people to copy."""

import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jsonschema_rs

from zentrigger.catalogue import JsonSchema, SnapshotContent
from zentrigger.pattern_texts import matching_text
from zentrigger.schema_references import referred

_MOST_OPTIONAL = 10
"""So many parameters that may be left out are shown: enough to see how, and still a line that can be read."""

_LONGEST = 2_000
"""Characters of JSON that a parameter that may be left out may take."""

_MOST_PARTS = 1_000
_DEEPEST = 40

_FORMATS = {
    "date": "2026-01-0{}",
    "date-time": "2026-01-0{}T12:00:00Z",
    "time": "12:0{}:00Z",
    "duration": "P{}D",
    "time-delta": "P{}D",
    "email": "name{}@example.com",
    "idn-email": "name{}@example.com",
    "name-email": "Name <name{}@example.com>",
    "hostname": "host{}.example.com",
    "idn-hostname": "host{}.example.com",
    "uri": "https://example.com/{}",
    "uri-reference": "https://example.com/{}",
    "iri": "https://example.com/{}",
    "iri-reference": "https://example.com/{}",
    "multi-host-uri": "postgres://host{}.example.com:5432/name",
    "uuid": "3fa85f64-5717-4562-b3fc-2c963f66afa{}",
    "uuid1": "5c1f2f3e-0c3b-11ef-9262-0242ac12000{}",
    "uuid3": "6fa459ea-ee8a-3ca4-894e-db77e160355{}",
    "uuid4": "3fa85f64-5717-4562-b3fc-2c963f66afa{}",
    "uuid5": "886313e1-3b8a-5372-9b90-0c9aee199e5{}",
    "ipv4": "192.0.2.{}",
    "ipv6": "2001:db8::{}",
    "ipvanyaddress": "192.0.2.{}",
    "ipv4network": "192.0.2.{}/32",
    "ipv6network": "2001:db8::{}/128",
    "ipvanynetwork": "192.0.2.{}/32",
    "ipv4interface": "192.0.2.{}/24",
    "ipv6interface": "2001:db8::{}/64",
    "ipvanyinterface": "192.0.2.{}/24",
    "json-pointer": "/{}",
    "regex": "[a-z]{}",
    "json-string": "{}",
    "byte": "dGV4dA==",
    "base64": "dGV4dA==",
    "base64url": "dGV4dA==",
}
"""Texts by `format`: those of JSON Schema, and those that pydantic writes. With a figure from 1 to 9."""

_GREATEST = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_LEAST = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})

_TYPE_BY_KEYWORD = {
    "properties": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
}


def example_request(content: SnapshotContent, *, snapshot: str | int | None = None) -> dict[str, Any]:
    """Give a body of `POST /runs` that fits a snapshot.

    Where the pipeline takes no parameters, those of the first step that takes some are shown.

    Args:
        content: The snapshot's content.
        snapshot: How the request chooses it; None for the newest.

    """
    request: dict[str, Any] = {"pipeline": content.pipeline}
    if snapshot is not None:
        request["snapshot"] = snapshot
    request["parameters"] = example_parameters(content.parameters_schema)
    if not _properties(content.parameters_schema) and not content.dynamic:
        for name, step in content.steps.items():
            free = [own for own in _properties(step.parameters_schema) if own not in (*step.fixed, *step.passed)]
            if free:
                return request | {"steps": {name: {"parameters": _examples(step.parameters_schema, free, required=())}}}
    return request


def curl_line(request: Mapping[str, Any]) -> str:
    """Give the line for a shell that sends a request to `POST /runs`; address and key come from the environment.

    What cannot be seen in a terminal is written as JSON's escapes, so that the line is what it looks like.
    """
    text = json.dumps(request, ensure_ascii=False)
    body = "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)
    return (
        'curl -sS -X POST "$ZENTRIGGER_API_URL/runs" -H "X-API-Key: $ZENTRIGGER_API_KEY"'
        f" -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )


def example_parameters(schema: JsonSchema) -> dict[str, Any]:
    """Give parameters that fit a schema: all that must be given, and a few of the others.

    Values are the schema's own defaults and examples where there are some. What may be left out and is long, or for
    which no value is found, is left out. If no value is found for what must be given, it is None.
    """
    required = schema.get("required")
    return _examples(schema, list(_properties(schema)), required if isinstance(required, list) else ())


def _properties(schema: JsonSchema) -> Mapping[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, dict) else {}


def _examples(schema: JsonSchema, names: list[str], required: Iterable[Any]) -> dict[str, Any]:
    needed = {name for name in required if name in names}
    chosen = needed | set([name for name in names if name not in needed][:_MOST_OPTIONAL])
    found: dict[str, Any] = {}
    for name in names:
        if name not in chosen:
            continue
        try:
            found[name] = _Maker(schema).value(_properties(schema)[name])
        except _NoExampleError:
            if name in needed:
                found[name] = None
    validator = jsonschema_rs.Draft202012Validator(
        {name: rule for name, rule in schema.items() if name != "required"}, offline=True
    )
    unfit = {error.instance_path[0] for error in validator.iter_errors(found) if error.instance_path}
    return {
        name: value for name, value in found.items() if name in needed or not (name in unfit or _is_unwanted(value))
    }


def _is_unwanted(value: Any) -> bool:  # noqa: ANN401 - JSON of any shape
    """Tell whether a value is too long, or has in it what ZenML would replace, so that it would be refused."""
    text = json.dumps(value, ensure_ascii=False)
    return len(text) > _LONGEST or "${" in text


class _NoExampleError(Exception):
    """No value was found."""


class _Maker:
    """Makes values that fit parts of one schema."""

    def __init__(self, whole: JsonSchema) -> None:
        self._whole = whole
        self._parts = 0

    def value(self, rule: Any, number: int = 0, within: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 - JSON
        """Give a value that fits a rule.

        Args:
            rule: A schema.
            number: Others give other values, as far as there are others.
            within: References that were followed to come here: none is followed again.

        Raises:
            _NoExampleError: none was found.

        """
        self._parts += 1
        if self._parts > _MOST_PARTS or len(within) > _DEEPEST or rule is False:
            raise _NoExampleError
        flat, within = self._flat(rule, within)
        if "default" in flat or "const" in flat:
            return flat.get("default", flat.get("const"))
        for keyword in ("examples", "enum"):
            if isinstance(flat.get(keyword), list) and flat[keyword]:
                return flat[keyword][number % len(flat[keyword])]
        for keyword in ("anyOf", "oneOf"):
            if keyword in flat:
                rest = {name: value for name, value in flat.items() if name != keyword}
                return self._first(flat[keyword], rest, number, within)
        kind = _kind(flat)
        if kind == "array":
            return self._array(flat, number, within)
        if kind == "string" and flat.get("contentMediaType") == "application/json":
            return json.dumps(self.value(flat.get("contentSchema", {}), number, within))
        return self._object(flat, number, within) if kind == "object" else _scalar(kind, flat, number)

    def _flat(self, rule: Any, within: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:  # noqa: ANN401
        """Give a rule with what `$ref` and `allOf` say put together."""
        flat: dict[str, Any] = {}
        waiting = [rule]
        while waiting:
            part = waiting.pop(0)
            if not isinstance(part, dict):
                continue
            if "$ref" in part:
                if part["$ref"] in within:
                    raise _NoExampleError
                within = (*within, part["$ref"])
                waiting.append(referred(self._whole, part["$ref"]))
            waiting += part.get("allOf", ())
            for keyword, value in part.items():
                if keyword not in {"$ref", "allOf"}:
                    flat[keyword] = _both(keyword, flat[keyword], value) if keyword in flat else value
        return flat, within

    def _first(self, branches: list[Any], rest: dict[str, Any], number: int, within: tuple[str, ...]) -> Any:  # noqa: ANN401
        """Give a value for the first branch for which there is one; null only if there is nothing else."""
        for branch in sorted(branches, key=lambda branch: isinstance(branch, dict) and branch.get("type") == "null"):
            try:
                return self.value({"allOf": [branch, rest]}, number, within)
            except _NoExampleError:
                continue
        raise _NoExampleError

    def _array(self, rule: dict[str, Any], number: int, within: tuple[str, ...]) -> list[Any]:
        first = [*rule.get("prefixItems", ()), *([rule["contains"]] if "contains" in rule else [])]
        least = rule.get("minItems", 0)
        count = min(max(least, len(first), 1 if rule.get("items") else 0), max(rule.get("maxItems", math.inf), least))
        found: list[Any] = []
        while len(found) < count:
            index = len(found)
            inner = first[index] if index < len(first) else rule.get("items", {})
            try:
                found.append(self.value(inner, index if rule.get("uniqueItems") else number, within))
            except _NoExampleError:
                if index < least:
                    raise
                break
        return found

    def _object(self, rule: dict[str, Any], number: int, within: tuple[str, ...]) -> dict[str, Any]:
        properties, required = rule.get("properties", {}), rule.get("required", [])
        others = self._others(rule, within)
        found = {name: self.value(properties.get(name, {}), number, within) for name in required}
        least = rule.get("minProperties", 0)
        for name in properties:
            if name not in found and len(found) < least:
                found[name] = self.value(properties[name], number, within)
        if others is not None:
            most = rule.get("maxProperties", math.inf)
            while len(found) < max(least, 0 if properties else min(1, most)):
                before = len(found)
                try:
                    name, inner = others(before)
                    found[name] = self.value(inner, number, within)
                except _NoExampleError:
                    if before < least:
                        raise
                    break
                if len(found) == before:
                    raise _NoExampleError
        return found

    def _others(self, rule: dict[str, Any], within: tuple[str, ...]) -> Callable[[int], tuple[str, Any]] | None:
        """Give what gives names and rules of properties that are not listed; None if the schema speaks of none."""
        patterns, names = rule.get("patternProperties"), rule.get("propertyNames")
        if patterns:
            pattern, inner = next(iter(patterns.items()))
            return lambda number: (self.value({"type": "string", "pattern": pattern}, number), inner)
        inner = rule.get("additionalProperties", {} if rule.get("minProperties") else False)
        if inner is False or inner is True:
            return None
        if names is None:
            return lambda number: (f"key{number + 1}" if number else "key", inner)
        return lambda number: (self.value({"type": "string", "allOf": [names]}, number, within), inner)


def _both(keyword: str, one: Any, other: Any) -> Any:  # noqa: ANN401 - JSON of any shape
    """Give what two schemas say together with a keyword that both have."""
    if keyword in _GREATEST:
        return max(one, other)
    if keyword in _LEAST:
        return min(one, other)
    if keyword == "required":
        return [*one, *(name for name in other if name not in one)]
    if keyword == "enum":
        return [value for value in one if value in other]
    if keyword == "properties":
        return one | {name: {"allOf": [one[name], rule]} if name in one else rule for name, rule in other.items()}
    return "integer" if keyword == "type" and {"integer", "number"} == {str(one), str(other)} else one


def _kind(rule: Mapping[str, Any]) -> str:
    kind = rule.get("type")
    if isinstance(kind, list):
        return next((name for name in kind if name != "null"), "null")
    spoken_of = (_TYPE_BY_KEYWORD[name] for name in rule if name in _TYPE_BY_KEYWORD)
    return kind if isinstance(kind, str) else next(spoken_of, "string")


def _scalar(kind: str, rule: Mapping[str, Any], number: int) -> Any:  # noqa: ANN401 - JSON of any shape
    if kind == "boolean":
        return number % 2 == 0
    if kind == "null":
        return None
    return _text(rule, number) if kind == "string" else _number(rule, number, whole=kind == "integer")


def _text(rule: Mapping[str, Any], number: int) -> str:
    least, most = rule.get("minLength", 0), rule.get("maxLength", math.inf)
    text = str(_FORMATS.get(str(rule.get("format")), "")).format(number % 9 + 1)
    if not text and "pattern" not in rule:
        text = f"text{number + 1}" if number else "text"
        if len(text) > most:
            text = "abcdefghijklmnopqrstuvwxyz"[number % 26][:most]
        return text.ljust(min(least, _LONGEST), "x")
    found = text or matching_text(rule, number)
    if found is None:
        raise _NoExampleError
    return found


def _number(rule: Mapping[str, Any], number: int, *, whole: bool) -> float:
    """Give a number: 1 and those after it if they fit, else what does."""
    low: float = max(rule.get("minimum", -math.inf), rule.get("exclusiveMinimum", -math.inf))
    high: float = min(rule.get("maximum", math.inf), rule.get("exclusiveMaximum", math.inf))
    step = rule.get("multipleOf", 1 if whole else None)
    if step is None:
        return _between(low, high, number)
    if whole:
        step = step if step == int(step) else 1
        low = math.floor(low) + 1 if low == rule.get("exclusiveMinimum") else low
        high = math.ceil(high) - 1 if high == rule.get("exclusiveMaximum") else high
    start = 1 if low <= 1 <= high else low if math.isfinite(low) else high
    found = (math.ceil(start / step) + number) * step
    if found > high:
        found = (math.floor(high / step) - number) * step
    return int(found) if whole else found


def _between(low: float, high: float, number: int) -> float:
    if low < 1 + number < high:
        return 1.0 + number
    if math.isfinite(low) and math.isfinite(high):
        return low + (high - low) * (number + 1) / (number + 2)
    return low + 1 + number if math.isfinite(low) else high - 1 - number
