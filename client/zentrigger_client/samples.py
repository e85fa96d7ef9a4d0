"""Values made up from a JSON Schema: to call a pipeline's function for its steps when a parameter has no default."""

import math
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"

_MAX_DEPTH = 20
_FORMATS = {
    "date-time": "2000-01-01T00:00:00Z",
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "sample@example.com",
    "uri": "https://example.com/sample",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "path": "sample",
}


class NoSampleError(ValueError):
    """No value can be made up for this schema."""


def sample_of(  # noqa: C901, PLR0911 - one case for each kind of schema
    schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int = 0
) -> JsonValue:
    """Return a value that the schema accepts, as plain as possible.

    Raises NoSampleError for a schema it cannot satisfy (a regular expression, a schema that contains itself).
    """
    if depth > _MAX_DEPTH:
        raise NoSampleError("a parameter's type contains itself; give a sample: --sample PIPELINE.NAME=VALUE")
    for choices in ([schema[word]] if word in schema else [] for word in ("default", "const")):
        if choices:
            return cast("JsonValue", choices[0])
    for choices in (schema.get(word) or [] for word in ("examples", "enum")):
        if choices:
            return cast("JsonValue", choices[0])
    if "$ref" in schema:
        return sample_of(definitions[schema["$ref"].rpartition("/")[2]], definitions, depth + 1)
    for options in (schema[word] for word in ("anyOf", "oneOf", "allOf") if word in schema):
        usable = [option for option in options if option.get("type") != "null"]
        return sample_of(usable[0], definitions, depth + 1) if usable else None
    kind = schema.get("type", "string")
    if kind == "array":
        return _array(schema, definitions, depth)
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: sample_of(properties[name], definitions, depth + 1) for name in schema.get("required", [])}
    if kind in {"integer", "number"}:
        return _number(schema, whole=kind == "integer")
    return {"boolean": False, "null": None}[kind] if kind in {"boolean", "null"} else _string(schema)


def _array(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> list[JsonValue]:
    first = schema.get("prefixItems", [])
    further = [schema.get("items") or {}] * (schema.get("minItems", 0) - len(first))
    return [sample_of(item, definitions, depth + 1) for item in (*first, *further)]


def _string(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        raise NoSampleError(
            f"a parameter without a default must match {schema['pattern']!r}; "
            "give a sample to find the steps with: --sample PIPELINE.NAME=VALUE"
        )
    text = _FORMATS.get(schema.get("format", ""), "sample")
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]


def _number(schema: Mapping[str, Any], *, whole: bool) -> float:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + (1 if whole else _margin(schema)))
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - (1 if whole else _margin(schema)))
    multiple = schema.get("multipleOf")
    number = min(max(multiple or 1, low), high)
    if multiple:
        number = math.ceil(number / multiple) * multiple
    return math.ceil(number) if whole else float(number)


def _margin(schema: Mapping[str, Any]) -> float:
    """Return a step that stays inside the open interval."""
    width = schema.get("exclusiveMaximum", schema.get("maximum", math.inf)) - schema.get(
        "exclusiveMinimum", schema.get("minimum", -math.inf)
    )
    return float(width) / 4 if math.isfinite(width) else 1.0
