"""What of a JSON Schema is a schema again, where its references lead, and which references cannot be used."""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final
from urllib.parse import unquote

from zentrigger.catalogue import JsonSchema
from zentrigger.errors import Problem

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_HOLDS_ONE = frozenset(
    {
        "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
_HOLDS_LIST = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_HOLDS_NAMED = frozenset(
    {"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)
"""Keywords that hold schemas (JSON Schema 2020-12 core, chapter 10; two are of older drafts and still understood)."""

_SAME_VALUE = frozenset({"allOf", "anyOf", "dependencies", "dependentSchemas", "else", "if", "not", "oneOf", "then"})
"""Those whose schemas judge the very value that the schema around them does, and no part of it."""

_UNSUPPORTED = ("$anchor", "$dynamicAnchor", "$dynamicRef", "$id", "$recursiveRef", "$schema")
"""Keywords that change what a reference, or a keyword, means. Pydantic makes none of them."""

_SHOWN = 5

_INDEX_DIGITS = 9

_MOST_WAYS = 10_000
"""In so many ways a schema may judge one value. Branches of branches that meet again double them at each level, and
checking a value takes as many steps as there are ways."""


def subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Give the schemas right inside a schema: keyword, JSON pointer from here, and schema."""
    for keyword, value in schema.items():
        if keyword in _HOLDS_ONE:
            yield keyword, f"/{keyword}", value
        elif keyword in _HOLDS_LIST and isinstance(value, list):
            yield from ((keyword, f"/{keyword}/{number}", inner) for number, inner in enumerate(value))
        elif keyword in _HOLDS_NAMED and isinstance(value, Mapping):
            yield from ((keyword, f"/{keyword}/{escaped(name)}", inner) for name, inner in value.items())


def referred(schema: JsonSchema, reference: str) -> Any:  # noqa: ANN401 - JSON of any shape
    """Give what a reference in a schema points to: a JSON pointer as a URI's fragment (RFC 6901, chapter 6).

    Raises:
        LookupError: Nothing is there, or the reference is none into the schema itself.

    """
    pointer = unquote(reference.removeprefix("#"))
    if not reference.startswith("#") or (pointer and not pointer.startswith("/")):
        raise LookupError(reference)
    found: Any = schema
    for part in pointer.split("/")[1:]:
        if isinstance(found, list) and part.isdecimal() and len(part) <= _INDEX_DIGITS:
            found = found[int(part)]
        elif isinstance(found, Mapping):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        else:
            raise LookupError(reference)
    return found


def wrong_references(schema: JsonSchema) -> list[Problem]:
    """Give the references that no value could be checked with, by JSON pointers into the schema.

    References may only point into the schema itself (a schema must not make a function fetch anything), to something
    that is there, and must not come round to themselves without having gone into a part of the value. So a tree's
    node may hold nodes, but no schema is just itself.
    """
    problems: list[Problem] = []
    pointers: dict[int, str] = {}
    """Identity of each schema seen -> where it is."""
    onward: dict[int, list[int]] = {}
    """Each schema -> those that judge the same value."""
    waiting: list[tuple[Any, str]] = [(schema, "")]
    while waiting:
        place, pointer = waiting.pop()
        if not isinstance(place, Mapping) or id(place) in pointers:
            continue
        pointers[id(place)], onward[id(place)] = pointer, []
        problems += _unsupported(place, pointer)
        for keyword, inside, inner in subschemas(place):
            waiting.append((inner, pointer + inside))
            if keyword in _SAME_VALUE:
                onward[id(place)].append(id(inner))
        reference = place.get("$ref")
        if not isinstance(reference, str):
            continue  # if it is there, it is no JSON Schema, which others find out
        try:
            target = referred(schema, reference)
        except LookupError:
            problems.append(Problem(f"{pointer}/$ref", _wrong_target(reference)))
        else:
            # It may stand where no keyword says that there is a schema.
            waiting.append((target, unquote(reference.removeprefix("#"))))
            onward[id(place)].append(id(target))
    return problems or _endless(onward, pointers) or _too_many_ways(onward, pointers)


def _too_many_ways(onward: Mapping[int, list[int]], pointers: Mapping[int, str]) -> list[Problem]:
    ways: dict[int, int] = {}
    for place in TopologicalSorter(onward).static_order():
        ways[place] = sum(ways[inner] for inner in onward.get(place, ())) or 1
        if ways[place] > _MOST_WAYS:
            detail = (
                f"This schema judges one value in more than {_MOST_WAYS} ways, by branches of branches: simplify it."
            )
            return [Problem(pointers[place], detail)]
    return []


def escaped(name: str) -> str:
    """Give a name as a segment of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _wrong_target(reference: str) -> str:
    shown = repr(reference[:200])
    if not reference.startswith("#"):
        return f"References may only point into the schema itself, not to {shown}."
    if reference.startswith("#/"):
        return f"There is nothing at {shown} in this schema."
    return f"A reference is a JSON pointer into the schema, like '#/$defs/name', not {shown}."


def _unsupported(schema: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
    for keyword in _UNSUPPORTED:
        if keyword not in schema or (keyword == "$schema" and schema[keyword] == DIALECT):
            continue
        if keyword == "$id" and not pointer:
            continue  # the whole schema's own name: references into it mean the same
        detail = (
            f"Schemas are JSON Schema 2020-12, {DIALECT!r}."
            if keyword == "$schema"
            else f"{keyword!r} is not supported here: refer with '$ref' and a JSON pointer, like '#/$defs/name'."
        )
        yield Problem(f"{pointer}/{keyword}", detail)


def _endless(onward: Mapping[int, list[int]], pointers: Mapping[int, str]) -> list[Problem]:
    try:
        TopologicalSorter(onward).prepare()
    except CycleError as error:
        circle = [pointers[node] for node in reversed(error.args[1])]
        shown = [f"'#{pointer}'" for pointer in circle]
        if len(shown) > _SHOWN:
            shown = [*shown[: _SHOWN - 1], "…", shown[-1]]
        return [
            Problem(circle[0], f"This schema refers to itself and to nothing else, without end: {' → '.join(shown)}.")
        ]
    return []
