"""Schemas that no parameters could be checked against are refused when they are published."""

import json
import time
from typing import Any

import pytest
from pydantic import BaseModel

from tests.factories import TRAINING
from zentrigger.errors import Problem
from zentrigger.parameters import check_schemas

METASCHEMA = "https://json-schema.org/draft/2020-12/schema"


class Node(BaseModel):
    """A model that holds itself, in every way that pydantic knows."""

    next: "Node | None" = None
    children: list["Node"] = []
    by_name: dict[str, "Node"] = {}
    pair: tuple["Node", "Node"] | None = None


def problems_of(schema: dict[str, Any]) -> list[Problem]:
    """Give what is wrong with a schema of the pipeline's parameters."""
    return check_schemas(TRAINING.model_copy(update={"parameters_schema": schema}))


@pytest.mark.parametrize(
    ("schema", "pointer", "said"),
    [
        ({"type": "nonsense"}, "", "nonsense"),
        ({"properties": {"a": {"pattern": "("}}}, "", "JSON Schema"),
        ({"$ref": 5}, "", "JSON Schema"),
        ({"properties": {"a": {"items": [{"type": "string"}]}}}, "", "JSON Schema"),
        ({"$ref": "https://example.com/schema"}, "/$ref", "only point into the schema itself"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "/properties/a/$ref", "'file:///etc/passwd'"),
        ({"$ref": "#/x/a", "x": {"a": {"$ref": "http://169.254.169.254/"}}}, "/x/a/$ref", "itself"),
        ({"properties": {"a": {"$ref": METASCHEMA}}}, "/properties/a/$ref", "itself"),
        ({"$schema": "http://169.254.169.254/", "type": "object"}, "/$schema", METASCHEMA),
        ({"properties": {"a/b": {"$schema": "urn:x"}}}, "/properties/a~1b/$schema", "2020-12"),
        ({"properties": {"a": {"$id": "https://example.com/a"}}}, "/properties/a/$id", "not supported"),
        ({"$defs": {"a": {"$anchor": "a"}}}, "/$defs/a/$anchor", "not supported"),
        ({"$dynamicRef": "#a"}, "/$dynamicRef", "not supported"),
        ({"properties": {"a": {"$ref": "#/$defs/missing"}}}, "/properties/a/$ref", "nothing at '#/$defs/missing'"),
        ({"$defs": {"a": {"$ref": "#/$defs/b/0"}, "b": {"type": "string"}}}, "/$defs/a/$ref", "nothing at"),
        ({"allOf": [{"$ref": "#/allOf/1"}]}, "/allOf/0/$ref", "nothing at"),
        ({"properties": {"a": {"$ref": "#name"}}}, "/properties/a/$ref", "like '#/$defs/name'"),
    ],
)
def test_schemas_that_cannot_be_used_are_refused(schema: dict[str, Any], pointer: str, said: str) -> None:
    """Whoever publishes one is told where it is wrong, and nothing is fetched."""
    (problem,) = problems_of(schema)

    assert problem.pointer == "/parameters_schema" + pointer
    assert said in problem.detail


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"$ref": "#"}, ""),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "/properties/a"),
        ({"properties": {"a": {"$ref": "#/properties/b"}, "b": {"$ref": "#/properties/a"}}}, "/properties/b"),
        ({"properties": {"a": {"allOf": [{"type": "object"}, {"$ref": "#/properties/a"}]}}}, "/properties/a"),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/properties/a"}]}}}, "/properties/a"),
        ({"properties": {"a": {"oneOf": [{"type": "null"}, {"$ref": "#/properties/a"}]}}}, "/properties/a"),
        ({"properties": {"a": {"not": {"$ref": "#/properties/a"}}}}, "/properties/a"),
        ({"properties": {"a": {"if": {"$ref": "#/properties/a"}, "then": False}}}, "/properties/a"),
        ({"properties": {"a": {"if": True, "then": {"$ref": "#/properties/a"}}}}, "/properties/a"),
        ({"properties": {"a": {"if": False, "else": {"$ref": "#/properties/a"}}}}, "/properties/a"),
        ({"properties": {"a": {"dependentSchemas": {"b": {"$ref": "#/properties/a"}}}}}, "/properties/a"),
        ({"properties": {"a": {"$ref": "#/x"}}, "x": {"allOf": [{"$ref": "#/properties/a"}]}}, "/properties/a"),
    ],
)
def test_a_schema_that_is_only_itself_is_refused(schema: dict[str, Any], pointer: str) -> None:
    """It says nothing about any value, and checking one would not end."""
    (problem,) = problems_of(schema)

    assert problem.pointer.startswith("/parameters_schema" + pointer)
    assert "without end: '#" in problem.detail


def test_the_circle_is_shown() -> None:
    """So that it can be found in a schema that somebody else has made."""
    (problem,) = problems_of({"$defs": {name: {"$ref": f"#/$defs/{after}"} for name, after in ("ab", "bc", "ca")}})

    names = [part.strip("'.") for part in problem.detail.split(": ")[1].split(" → ")]
    assert names in [[f"#/$defs/{name}" for name in circle] for circle in ("abca", "bcab", "cabc")]


@pytest.mark.parametrize(
    "schema",
    [
        TRAINING.parameters_schema,
        Node.model_json_schema(),
        {"$schema": METASCHEMA, "$id": "https://example.com/whole", "$ref": "#/$defs/a", "$defs": {"a": True}},
        {"$ref": "#/$defs/a%20b~1~0", "$defs": {"a b/~": {"type": "string"}}},
        {"allOf": [{"type": "object"}], "properties": {"a": {"$ref": "#/allOf/0"}}},
        {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}, "not": {"$ref": "#/properties/$id"}}},
        {"properties": {"a": {"default": {"$ref": "https://example.com"}, "enum": [{"$ref": "#/a"}]}}},
        {"$defs": {"tree": {"contains": {"$ref": "#/$defs/tree"}, "propertyNames": {"$ref": "#/$defs/tree"}}}},
        {"$defs": {"tree": {"additionalProperties": {"$ref": "#/$defs/tree"}, "items": {"$ref": "#/$defs/tree"}}}},
        {"$defs": {"tree": {"allOf": [{"properties": {"next": {"anyOf": [{"$ref": "#/$defs/tree"}]}}}]}}},
    ],
)
def test_good_schemas_pass(schema: dict[str, Any]) -> None:
    """Also those that hold themselves, and parameters that are named like keywords."""
    assert problems_of(schema) == []


def test_steps_have_schemas_too() -> None:
    """The pointer says which step's."""
    step = TRAINING.steps["train_model"].model_copy(update={"parameters_schema": {"$ref": "#/$defs/x"}})

    (problem,) = check_schemas(TRAINING.model_copy(update={"steps": {"a/b": step}}))

    assert problem.pointer == "/steps/a~1b/parameters_schema/$ref"


def test_all_is_told_at_once_but_not_without_end() -> None:
    """A schema can be wrong in many places; an answer has a size that somebody reads."""
    assert len(problems_of({"properties": {f"p{n}": {"$ref": f"#/$defs/{n}"} for n in range(3)}})) == 3
    assert len(problems_of({"properties": {f"p{n}": {"$ref": f"#/$defs/{n}"} for n in range(300)}})) == 20


@pytest.mark.parametrize("circle", [False, True])
def test_a_megabyte_of_references_is_no_trouble(circle: bool) -> None:
    """Neither time nor the depth of calls depends on how they are strung together."""
    last = {"$ref": "#/$defs/d0"} if circle else {"type": "string"}
    links: dict[str, Any] = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(25_000)}
    schema = {"$ref": "#/$defs/d0", "$defs": links | {"d25000": last}}
    assert len(json.dumps(schema)) > 900_000

    started = time.process_time()
    problems = problems_of(schema)

    assert len(problems) == circle
    assert all(len(problem.detail) < 300 for problem in problems)
    assert time.process_time() - started < 5


def test_deep_schemas_are_no_trouble() -> None:
    """Bodies are nested 64 deep at most; this does not lean on that."""
    schema: dict[str, Any] = {"$ref": "#"}
    for _ in range(30):
        schema = {"properties": {"a": {"allOf": [schema]}}}

    assert problems_of(schema) == []


def test_branches_that_multiply_are_refused() -> None:
    """What doubles at each level would take a function's whole time to check one value; many branches alone do not."""
    levels: dict[str, Any] = {"d0": {"type": "integer"}}
    for number in range(1, 16):
        below = {"$ref": f"#/$defs/d{number - 1}"}
        levels[f"d{number}"] = {"anyOf": [below, {"allOf": [below, below]}]}
    (problem,) = problems_of({"properties": {"a": {"$ref": "#/$defs/d15"}}, "$defs": levels})
    assert "ways" in problem.detail
    assert problems_of({"properties": {"a": {"anyOf": [{"const": number} for number in range(500)]}}}) == []


def test_an_index_of_5000_digits_points_to_nothing() -> None:
    """Python refuses to read such a number."""
    (problem,) = problems_of({"anyOf": [{}], "properties": {"a": {"$ref": "#/anyOf/" + "9" * 5000}}})
    assert "nothing" in problem.detail
