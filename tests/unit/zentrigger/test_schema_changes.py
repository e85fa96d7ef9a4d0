"""What changes for callers between two snapshots: no break is missed, and no harmless change is called one."""

import copy
import itertools
import json
import random
import time
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from tests.factories import TRAINING
from zentrigger.catalogue import SnapshotContent, StepSpec
from zentrigger.parameters import check, check_schemas
from zentrigger.schema_changes import Change, compare

Json = dict[str, Any]

NAMES = ("a", "b", "c/~")
TEXTS = ("", "a", "ab", "abc", "1", "11")
PATTERNS = ("^a", "^[ab]+$", "b$", "^[0-9]+$")
CONSTANTS: tuple[Any, ...] = (None, True, False, 0, 1, 2, 1.0, 1.5, -1, *TEXTS, [], [1], {}, {"a": 1})
FEW = settings(max_examples=50, deadline=None, derandomize=True)
"""Enough to notice that a rule is gone; when the rules change, raise it by hand to some ten thousand."""


def content(parameters: Json, **values: Any) -> SnapshotContent:
    """Make a content whose pipeline takes such parameters."""
    return TRAINING.model_copy(update={"parameters_schema": parameters, "steps": {}} | values)


def of_rules(*rules: Json, **outer: Any) -> Json:
    """Make a schema of parameters with such rules."""
    return {"type": "object", "properties": {f"p{number}": rule for number, rule in enumerate(rules)}} | outer


# -------------------------------------------------------------------------------------------------- random schemas


@st.composite
def numbers(draw: st.DrawFn) -> Json:
    bounds = st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
    return {
        "type": draw(st.sampled_from(["integer", "number"])),
        **draw(st.dictionaries(bounds, st.sampled_from([-1, 0, 1, 2, 0.5, 1.0, 1.5]), max_size=2)),
        **draw(st.sampled_from([{}, {}, {}, {"multipleOf": 1}, {"multipleOf": 2}, {"multipleOf": 0.5}])),
    }


@st.composite
def texts(draw: st.DrawFn) -> Json:
    return {"type": "string"} | draw(
        st.fixed_dictionaries(
            {},
            optional={
                "minLength": st.integers(0, 3),
                "maxLength": st.integers(0, 3),
                "pattern": st.sampled_from(PATTERNS),
            },
        )
    )


@st.composite
def choices(draw: st.DrawFn) -> Json:
    if draw(st.booleans()):
        return {"const": draw(st.sampled_from(CONSTANTS))}
    enum = {"enum": draw(st.lists(st.sampled_from(CONSTANTS), min_size=1, max_size=4))}
    return enum | draw(st.sampled_from([{}, {"type": "string"}, {"type": "integer"}]))


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Json:
    return {"type": "array"} | draw(
        st.fixed_dictionaries(
            {},
            optional={
                "items": inner | st.just(value=False),
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "minItems": st.integers(0, 2),
                "maxItems": st.integers(0, 3),
                "uniqueItems": st.booleans(),
            },
        )
    )


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Json:
    names = st.sampled_from(NAMES)
    rule = {"type": "object"} | draw(
        st.fixed_dictionaries(
            {"properties": st.dictionaries(names, inner, max_size=3)},
            optional={
                "required": st.lists(names, max_size=2, unique=True),
                "additionalProperties": inner | st.booleans(),
                "minProperties": st.integers(0, 2),
                "maxProperties": st.integers(0, 2),
            },
        )
    )
    rare = draw(
        st.sampled_from(
            ["", "", "", "", "", "patternProperties", "propertyNames", "dependentRequired", "dependentSchemas"]
        )
    )
    if rare == "patternProperties":
        rule[rare] = draw(st.dictionaries(st.sampled_from(PATTERNS[:3]), inner, min_size=1, max_size=2))
    elif rare == "propertyNames":
        rule[rare] = draw(texts() | st.just({"enum": ["a", "b"]}))
    elif rare == "dependentRequired":
        rule[rare] = draw(st.dictionaries(names, st.lists(names, max_size=1), min_size=1, max_size=1))
    elif rare == "dependentSchemas":
        rule[rare] = draw(st.dictionaries(names, inner, min_size=1, max_size=1))
    return rule


@st.composite
def tagged(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Json:
    """Make a discriminated union, as pydantic does."""
    tags = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True))
    branches = [
        {
            "type": "object",
            "properties": {"kind": {"const": tag, "type": "string"}, "a": draw(inner)},
            "required": ["kind"] if draw(st.integers(0, 4)) else [],
            "additionalProperties": False,
        }
        for tag in tags
    ]
    return {"oneOf": branches, "discriminator": {"propertyName": "kind"}}


@st.composite
def combinations(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Json:
    kind = draw(st.sampled_from(["anyOf", "anyOf", "anyOf", "oneOf", "allOf", "not", "if", "contains", "tagged"]))
    if kind == "tagged":
        return draw(tagged(inner))
    if kind == "not":
        return draw(texts() | numbers()) | {"not": draw(inner)}
    if kind == "if":
        return draw(st.fixed_dictionaries({"if": inner}, optional={"then": inner, "else": inner}))
    if kind == "contains":
        return {"type": "array", "contains": draw(inner), "minContains": draw(st.integers(0, 2))}
    return {kind: draw(st.lists(inner, min_size=1, max_size=3))}


@st.composite
def references(draw: st.DrawFn) -> Json:
    return {"$ref": f"#/$defs/{draw(st.sampled_from(['D0', 'D1']))}"} | draw(
        st.sampled_from([{}, {}, {"title": "T"}, {"minLength": 1}, {"type": "object"}])
    )


LEAVES = (
    numbers()
    | texts()
    | choices()
    | st.sampled_from([{}, {"type": "boolean"}, {"type": "null"}, {"type": ["integer", "null"]}])
)
RULES: st.SearchStrategy[Any] = st.recursive(
    LEAVES | references(),
    lambda inner: arrays(inner) | objects(inner) | combinations(inner),
    max_leaves=5,
)


@st.composite
def schemas(draw: st.DrawFn) -> Json:
    """Make a schema of one or two parameters that check_schemas lets pass."""
    names = draw(st.sampled_from([["x"], ["x", "y"]]))
    schema = {
        "type": "object",
        "properties": {name: draw(RULES) for name in names},
        "$defs": {"D0": draw(RULES), "D1": draw(RULES)},
    }
    schema |= draw(
        st.sampled_from(
            [
                {},
                {},
                {"required": ["x"]},
                {"minProperties": 1},
                {"dependentRequired": {"y": ["x"]}},
                {"allOf": [{"required": ["y"]}]},
            ]
        )
    )
    if check_schemas(content(schema)):  # references in a circle: no content has them
        schema["$defs"] = {"D0": {"type": "integer"}, "D1": {"type": "array", "items": {"$ref": "#/$defs/D1"}}}
    return schema


def places(schema: Any) -> list[Json]:
    """Give all schemas in a schema, and some that are none."""
    found = [schema] if isinstance(schema, dict) else []
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else []:
        found += places(value)
    return found


@st.composite
def versions(draw: st.DrawFn) -> tuple[Json, Json]:
    """Make a schema and one that it may have become: changed in a few places, or another one altogether."""
    old = draw(schemas())
    if not draw(st.integers(0, 5)):
        return old, draw(schemas())
    new = copy.deepcopy(old)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(places(new["properties"]) + places(new["$defs"])))
        change = draw(st.sampled_from(["drop", "replace", "merge", "wrap", "null"]))
        if change == "drop" and place:
            del place[draw(st.sampled_from(sorted(place)))]
            continue
        other = copy.deepcopy(draw(RULES))
        whole = copy.deepcopy(place)
        if change in {"replace", "wrap", "null"}:
            place.clear()
        if change == "wrap":
            place["anyOf"] = [other, whole]
        elif change == "null":
            place["anyOf"] = [whole, {"type": "null"}]
        else:
            place |= other
    valid = not check_schemas(content(new))
    return old, new if valid else draw(schemas())


# ------------------------------------------------------------------------------------------------ random instances


def values_for(rule: Any, whole: Json, depth: int = 3) -> list[Any]:
    """Give values at and around what a rule says."""
    if not isinstance(rule, dict) or depth == 0:
        return [0, "a"]
    found: list[Any] = [*rule.get("enum", ()), *([rule["const"]] if "const" in rule else [])]
    for keyword in sorted(rule.keys() & {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}):
        found += [rule[keyword] - 1, rule[keyword], rule[keyword] + 1, rule[keyword] + 0.25]
    for keyword in sorted(rule.keys() & {"minLength", "maxLength"}):
        found += ["a" * rule[keyword], "1" * (rule[keyword] + 1)]
    if "$ref" in rule:
        found += values_for(whole["$defs"].get(rule["$ref"].split("/")[-1]), whole, depth - 1)
    for branch in (branch for keyword in ("anyOf", "oneOf", "allOf") for branch in rule.get(keyword, ())):
        found += values_for(branch, whole, depth)
    for keyword in sorted(rule.keys() & {"not", "if", "then", "else"}):
        found += values_for(rule[keyword], whole, depth - 1)
    return found + array_values(rule, whole, depth) + object_values(rule, whole, depth)


def array_values(rule: Json, whole: Json, depth: int) -> list[Any]:
    inner = [values_for(part, whole, depth - 1)[:6] for part in rule.get("prefixItems", ())]
    rest = [*values_for(rule.get("items"), whole, depth - 1), *values_for(rule.get("contains"), whole, depth - 1)][:8]
    if not {"prefixItems", "items", "contains", "minItems", "maxItems", "uniqueItems"} & rule.keys():
        return []
    found: list[Any] = [[], [1, 1]]
    for length in (1, 2, 3):
        options = [inner[index] if index < len(inner) else rest for index in range(length)]
        found += [list(pick) for pick in itertools.islice(zip(*map(itertools.cycle, options), strict=False), 8)]
        found += [list(pick) for pick in itertools.islice(itertools.product(*options), 12)]
    return found


def object_values(rule: Json, whole: Json, depth: int) -> list[Any]:
    properties = {name: values_for(part, whole, depth - 1)[:8] for name, part in rule.get("properties", {}).items()}
    for part in rule.get("patternProperties", {}).values():
        for name in ("a", "ab"):
            properties.setdefault(name, []).extend(values_for(part, whole, depth - 1)[:4])
    if isinstance(rule.get("additionalProperties"), dict):
        properties.setdefault("z", []).extend(values_for(rule["additionalProperties"], whole, depth - 1)[:6])
    for part in rule.get("dependentSchemas", {}).values():
        return object_values({**rule, "dependentSchemas": {}}, whole, depth) + values_for(part, whole, depth - 1)
    if not properties and rule.get("type") != "object":
        return []
    found: list[Any] = [{}, {"z": 1}, {"a": 1, "b": 1}]
    names = sorted(properties)
    for size in range(1, len(names) + 1):
        for some in itertools.combinations(names, size):
            options = [properties[name] or [0] for name in some]
            picks = [*itertools.islice(itertools.product(*options), 12)]
            picks += itertools.islice(zip(*map(itertools.cycle, options), strict=False), 8)
            found += [dict(zip(some, pick, strict=True)) for pick in picks]
            found += [dict(zip(some, pick, strict=True)) | {"z": 1} for pick in picks[:2]]
    return found


def requests_for(old: Json, new: Json, seed: int) -> list[Json]:
    """Give parameters that may show a difference."""
    each: dict[str, list[Any]] = {}
    chosen = random.Random(seed)  # noqa: S311 - nothing secret
    for name in {**old["properties"], **new["properties"]}:
        values = [*CONSTANTS, 3, ["a"], ["a", "ab"], {"a": "a", "b": 1}, {"kind": "a"}, {"kind": "a", "a": 1}]
        for schema in (old, new):
            values += values_for(schema["properties"].get(name), schema)
        unique = list({json.dumps(value, sort_keys=True): value for value in values}.values())
        each[name] = chosen.sample(unique, min(len(unique), 60))
    found: list[Json] = [{}]
    for name, values in each.items():
        found += [{name: value} for value in values]
    if len(each) > 1:
        found += [dict(zip(each, pick, strict=True)) for pick in zip(*each.values(), strict=False)]
    return found


def missed(old: SnapshotContent, new: SnapshotContent, requests: list[Json]) -> list[Json]:
    """Give the requests that the old content takes and the new one refuses."""
    return [request for request in requests if not check(old, request, {}) and check(new, request, {})]


@FEW
@given(versions(), st.integers(0, 1000))
def test_no_break_is_missed(pair: tuple[Json, Json], seed: int) -> None:
    """What the old snapshot takes and the new one refuses is told as a breaking change, whatever the schemas are."""
    old, new = (content(schema) for schema in pair)
    if not any(change.breaking for change in compare(old, new)):
        assert missed(old, new, requests_for(*pair, seed)) == []


def shuffled(value: Any, chosen: random.Random) -> Any:
    """Give the same with keys in another order."""
    if isinstance(value, dict):
        names = chosen.sample(sorted(value), len(value))
        return {name: shuffled(value[name], chosen) for name in names}
    return [shuffled(inner, chosen) for inner in value] if isinstance(value, list) else value


@FEW
@given(schemas(), st.integers(0, 1000))
def test_the_same_in_other_words_is_no_change(schema: Json, seed: int) -> None:
    """The order of keys, titles, descriptions and the names of definitions do not count."""
    text = json.dumps(shuffled(schema, random.Random(seed))).replace("D0", "Renamed")  # noqa: S311 - nothing secret
    other = json.loads(text)
    for rule in other["properties"].values():
        rule |= {"title": "T", "description": "Says nothing of values.", "examples": [1], "x-unit": "mm"}

    assert compare(content(schema), content(other)) == ()


@FEW
@given(schemas(), RULES)
def test_more_alternatives_are_no_break(schema: Json, other: Json) -> None:
    """Whatever a parameter takes, it takes it still if something else will do, too."""
    wider = copy.deepcopy(schema)
    for name, rule in schema["properties"].items():
        wider["properties"][name] = {"anyOf": [other, {"type": "null"}, rule]}
    if check_schemas(content(wider)):
        return
    wider.pop("required", None)

    assert [change for change in compare(content(schema), content(wider)) if change.breaking] == []


# ------------------------------------------------------------------------------------------- one parameter at a time


class Leaf(BaseModel):
    """A model as people write them."""

    units: int = Field(default=8, ge=1)
    activation: Literal["relu", "tanh"] = "relu"


class WiderLeaf(Leaf):
    """It takes all that Leaf takes."""

    units: float = Field(default=8, ge=0)  # type: ignore[assignment]
    activation: Literal["relu", "tanh", "gelu"] | None = "relu"  # type: ignore[assignment]
    dropout: float = 0.1


class Tree(BaseModel):
    """A model that holds itself."""

    model_config = ConfigDict(extra="forbid")
    name: str
    children: list["Tree"] = []


class WiderTree(BaseModel):
    """It takes all that Tree takes."""

    model_config = ConfigDict(extra="forbid")
    name: str | None
    children: list["WiderTree"] = []
    weight: int = 1


class Square(BaseModel):
    """One kind of two, told by its tag."""

    kind: Literal["square"]
    side: int


class Circle(BaseModel):
    """The other kind."""

    kind: Literal["circle"]
    radius: int


class WiderCircle(Circle):
    """It takes all that Circle takes."""

    radius: float  # type: ignore[assignment]


class Point(BaseModel):
    """A third kind."""

    kind: Literal["point"]


Two = Annotated[Square | Circle, Field(discriminator="kind")]
Three = Annotated[Point | WiderCircle | Square, Field(discriminator="kind")]


class Of(BaseModel):
    """Parameters: their schemas are made as `publish` makes them."""

    model_config = ConfigDict(extra="forbid")


def rule_of(annotation: Any) -> Json:
    """Give a schema of parameters with one parameter p0 of that type."""
    made = type("Parameters", (Of,), {"__annotations__": {"p0": annotation}, "__module__": __name__})
    schema: Json = made.model_json_schema()  # type: ignore[attr-defined]
    for definition in schema.get("$defs", {}).values():
        definition.setdefault("additionalProperties", False)
    return schema


WIDER: list[tuple[Any, Any]] = [
    (int, float),
    (int, int | None),
    (int, int | str),
    (int, Any),
    (bool, bool | int),
    (Literal["a"], Literal["a", "b"]),
    (Literal["a", "b"], str),
    (Literal[1, 2], int),
    (Literal[1, 2], float | str),
    (Annotated[int, Field(gt=0, lt=10)], Annotated[int, Field(ge=1, le=10)]),
    (Annotated[int, Field(ge=1)], Annotated[float, Field(gt=0)]),
    (Annotated[float, Field(gt=0)], Annotated[float, Field(ge=0)]),
    (Annotated[int, Field(multiple_of=6)], Annotated[int, Field(multiple_of=3)]),
    (Annotated[str, Field(min_length=2, max_length=5)], Annotated[str, Field(min_length=1, max_length=6)]),
    (Annotated[str, Field(pattern="^a")], str),
    (UUID, str),
    (list[int], list[float]),
    (list[Annotated[int, Field(ge=2)]], list[Annotated[int, Field(ge=1)]] | None),
    (set[int], list[int]),
    (Annotated[list[int], Field(min_length=1, max_length=3)], Annotated[list[int], Field(max_length=4)]),
    (tuple[int, str], tuple[int | None, str]),
    (tuple[int, int], list[int]),
    (tuple[int, int], tuple[float, ...]),
    (dict[str, int], dict[str, float]),
    (dict[Literal["a"], int], dict[Literal["a", "b"], int]),
    (Tree, WiderTree),
    (Leaf, WiderLeaf),
    (Leaf | None, None | WiderLeaf),
    (list[Leaf], list[WiderLeaf | int]),
    (Leaf, dict[str, Any]),
    (Square | Circle, Point | WiderCircle | Square),
    (Two, Three),
    (Two | None, Three | str | None),
]


@pytest.mark.parametrize(("narrow", "wide"), WIDER)
def test_widened_parameters_are_told_from_narrowed_ones(narrow: Any, wide: Any) -> None:
    """As pydantic writes them: what takes more is harmless, the way back is not."""
    (change,) = compare(content(rule_of(narrow)), content(rule_of(wide)))
    assert (change.kind, change.breaking) == ("widened", False), change.detail

    (change,) = compare(content(rule_of(wide)), content(rule_of(narrow)))
    assert (change.kind, change.breaking) == ("narrowed", True)
    assert change.pointer == "/parameters/p0"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Annotated[int, Field(ge=1)], Annotated[int, Field(gt=0)]),
        (Literal["a", "b"], Literal["b"] | Literal["a"]),  # noqa: PYI030 - written in another way is the point
        (int | None, None | int),
        (bool, Literal[True, False]),
        (Two, Square | Circle),
        (Annotated[Leaf, Field(title="T", description="D", examples=[{}])], Leaf),
    ],
)
def test_the_same_values_in_another_way_are_no_change(one: Any, other: Any) -> None:
    """What counts is which values are taken."""
    assert compare(content(rule_of(one)), content(rule_of(other))) == ()
    assert compare(content(rule_of(other)), content(rule_of(one))) == ()


def test_a_new_field_of_an_open_model_is_a_break() -> None:
    """It took a field of that name with any value before; a closed model, as `publish` makes them, refused it."""
    old = {"$ref": "#/$defs/Leaf", "$defs": {"Leaf": {"type": "object", "properties": {"units": {"type": "integer"}}}}}
    new = copy.deepcopy(old)
    new["$defs"]["Leaf"]["properties"]["dropout"] = {"type": "number"}  # type: ignore[index]

    def around(rule: Json) -> SnapshotContent:
        return content(of_rules({"$ref": "#/$defs/Leaf"}, **{"$defs": rule["$defs"]}))

    (change,) = compare(around(old), around(new))

    assert change.breaking
    assert "/dropout" in change.detail


@pytest.mark.parametrize(
    ("old", "new", "kind", "said"),
    [
        (int, str, "retyped", "takes string now, and no longer integer"),
        (int | None, list[int] | str, "retyped", "takes array or string now, and no longer integer or null"),
        (float, int, "narrowed", "a number that is no integer can no longer be given"),
        (int | None, int, "narrowed", "null can no longer be given"),
        (Literal["a", "b"], Literal["b", "c"], "narrowed", "'a' can no longer be given"),
        (int, Annotated[int, Field(ge=1)], "narrowed", "it must be at least 1"),
        (str, Annotated[str, Field(pattern="^a")], "narrowed", "it must match '^a'"),
        (str, UUID, "narrowed", "it must be of the format 'uuid'"),
        (list[int], list[str], "narrowed", "at /*: an integer can no longer be given"),
        (tuple[int, int], tuple[int, str], "narrowed", "at /1: an integer can no longer be given"),
        (list[int], set[int], "narrowed", "its items must differ"),
        (Tree, Tree | None, "widened", "takes more"),
        (WiderTree, Tree, "narrowed", "at /name: null can no longer be given"),
        (list[WiderLeaf], list[Leaf], "narrowed", "at /*/units"),
        (dict[str, Any], Leaf, "narrowed", "at /units: "),
        (Leaf, Square, "narrowed", "'kind', 'side' must be given"),
        (Square | Leaf, Leaf, "narrowed", "at /kind: it can no longer be given"),
        (Three, Two, "narrowed", "'point' can no longer be given"),
    ],
)
def test_the_reason_can_be_read(old: Any, new: Any, kind: str, said: str) -> None:
    """Whoever publishes is told what is refused now, and where in the value."""
    (change,) = compare(content(rule_of(old)), content(rule_of(new)))

    assert change.kind == kind
    assert said in change.detail


ARRAY: Json = {"type": "array"}
OBJECT: Json = {"type": "object"}
FIRST: Json = {"type": "array", "prefixItems": [{}]}
KIND_A: Json = {"type": "object", "properties": {"kind": {"const": "a"}}}
ONLY_A: Json = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
POSITIVE_OR_EVEN = [{"type": "integer", "minimum": 0}, {"type": "integer", "multipleOf": 2}]
NEITHER_BOTH = {"type": "integer", "not": {"minimum": 0, "multipleOf": 2}}


@pytest.mark.parametrize(
    ("old", "new", "breaking"),
    [
        ({"oneOf": POSITIVE_OR_EVEN}, NEITHER_BOTH, False),
        ({"anyOf": POSITIVE_OR_EVEN}, NEITHER_BOTH, True),
        ({"type": "integer"}, {"oneOf": [{"type": "integer"}, {"type": "number"}]}, True),
        ({"type": "integer"}, {"oneOf": [{"type": "integer"}, {"type": "string"}, {"const": "a"}]}, False),
        ({"type": "string"}, {"oneOf": [{"type": "integer"}, {"type": "string"}, {"const": "a"}]}, True),
        ({"type": "integer"}, {"type": "integer", "not": {"const": 1}}, True),
        ({"type": "integer"}, {"type": "integer", "not": {"type": "string"}}, False),
        ({"type": "integer"}, {"not": {"anyOf": [{"type": "string"}, {"minimum": 1}]}}, True),
        ({"type": "integer"}, {"not": {"allOf": [{"type": "string"}, {"minimum": 1}]}}, False),
        ({"enum": ["a"]}, {"not": {"const": "a"}}, True),
        ({"enum": ["a"]}, {"not": {"const": "b"}}, False),
        ({"not": {"type": "string"}}, {"not": {"type": "string", "minLength": 1}}, False),
        ({"not": {"type": "string", "minLength": 1}}, {"not": {"type": "string"}}, True),
        (
            {"type": ["array", "object"], "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"not": {"properties": {"a": {"type": "string"}}}},
            True,
        ),
        ({}, {"if": {"type": "integer"}, "then": {"minimum": 1}}, True),
        ({}, {"if": {"type": "integer"}}, False),
        ({"enum": [1, 2, 3], "minimum": 2}, {"minimum": 2}, False),
        ({"enum": [1, 2, 3]}, {"minimum": 2}, True),
        ({"enum": [[1], [2]]}, ARRAY | {"items": {"minimum": 1}}, False),
        ({"enum": [[1], [2]]}, ARRAY | {"items": {"minimum": 2}}, True),
        ({"type": "boolean"}, {"enum": [False, True]}, False),
        ({"type": "boolean"}, {"enum": [True]}, True),
        ({"type": "boolean"}, {"enum": [0, 1]}, True),
        ({"type": "string", "pattern": "^a"}, {"type": "string", "pattern": "^b"}, True),
        ({"type": "string"}, {"type": "string", "contentMediaType": "application/json"}, True),
        (
            {"type": "string", "contentSchema": {"type": "integer"}},
            {"type": "string", "contentSchema": {"type": "number"}},
            True,
        ),
        (FIRST | {"items": {"type": "string"}}, ARRAY | {"prefixItems": [{}, {"minLength": 0}]}, False),
        (FIRST | {"items": {"type": "string"}}, ARRAY | {"prefixItems": [{}, {"minLength": 1}]}, True),
        (FIRST | {"maxItems": 1}, ARRAY | {"prefixItems": [{}, False]}, False),
        (FIRST | {"items": False}, ARRAY | {"maxItems": 1, "uniqueItems": True}, False),
        (ARRAY, ARRAY | {"contains": {}}, True),
        (ARRAY, ARRAY | {"contains": {}, "minContains": 0, "maxContains": 2}, True),
        (ARRAY | {"contains": {"minimum": 2}}, ARRAY | {"contains": {"minimum": 2}, "minContains": 2}, True),
        (ARRAY | {"contains": {"minimum": 2}, "minContains": 2}, ARRAY | {"contains": {"minimum": 2}}, False),
        (ARRAY, ARRAY | {"unevaluatedItems": False}, True),
        (OBJECT, OBJECT | {"unevaluatedProperties": False}, True),
        (OBJECT | {"unevaluatedProperties": False}, OBJECT, False),
        (OBJECT | {"properties": {"a": False}}, OBJECT | {"properties": {"a": {}}}, False),
        (OBJECT | {"properties": {"a": {}}}, OBJECT | {"properties": {"a": False}}, True),
        (OBJECT, OBJECT | {"additionalProperties": False}, True),
        (OBJECT, OBJECT | {"patternProperties": {"^a": {"type": "string"}}}, True),
        (OBJECT | {"additionalProperties": {"const": 1}}, OBJECT | {"patternProperties": {"^a": {"const": 1}}}, False),
        (
            OBJECT | {"properties": {"ab": {"type": "integer"}}, "additionalProperties": False},
            OBJECT | {"patternProperties": {"^b": {"type": "string"}}},
            False,
        ),
        (
            OBJECT | {"properties": {"ab": {"type": "integer"}}, "additionalProperties": False},
            OBJECT | {"patternProperties": {"^a": {"type": "string"}}},
            True,
        ),
        (
            OBJECT | {"patternProperties": {"^a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
            OBJECT | {"additionalProperties": {"type": ["integer", "string"]}},
            False,
        ),
        (
            OBJECT | {"patternProperties": {"^a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
            OBJECT | {"additionalProperties": {"type": "integer"}},
            True,
        ),
        (ONLY_A | {"patternProperties": {"^a": {}}}, OBJECT | {"maxProperties": 1}, True),
        (ONLY_A, OBJECT | {"maxProperties": 1}, False),
        (OBJECT | {"required": ["a"]}, OBJECT | {"minProperties": 1}, False),
        (OBJECT | {"required": ["a"]}, OBJECT | {"minProperties": 2}, True),
        (OBJECT, OBJECT | {"propertyNames": {"minLength": 1}}, True),
        (OBJECT | {"propertyNames": {"minLength": 2}}, OBJECT | {"propertyNames": {"minLength": 1}}, False),
        (OBJECT, OBJECT | {"dependentRequired": {"a": ["b"]}}, True),
        (OBJECT | {"required": ["b"]}, OBJECT | {"dependentRequired": {"a": ["b"]}}, False),
        (OBJECT | {"properties": {"a": False}}, OBJECT | {"dependencies": {"a": ["b"]}}, False),
        (OBJECT, OBJECT | {"dependencies": {"a": {"required": ["b"]}}}, True),
        (OBJECT | {"dependencies": {"a": ["b"]}}, OBJECT | {"dependencies": {"a": ["c"]}}, True),
        (OBJECT, OBJECT | {"dependentSchemas": {"a": {"required": ["b"]}}}, True),
        (
            OBJECT | {"dependentSchemas": {"a": {"required": ["b"]}}, "minProperties": 1},
            OBJECT | {"dependentSchemas": {"a": {"required": ["b"]}}},
            False,
        ),
        (KIND_A | {"required": ["kind"]}, {"oneOf": [KIND_A, {"properties": {"kind": {"const": "b"}}}]}, False),
        (KIND_A | {"required": ["kind"]}, {"oneOf": [KIND_A, {"properties": {"kind": {"enum": ["b", "a"]}}}]}, True),
        (KIND_A, {"oneOf": [KIND_A, {"properties": {"kind": {"const": "b"}}}]}, True),
        (False, {"type": "string"}, False),
        ({"enum": [["bool", 1]]}, {"enum": [True]}, True),
        ({"enum": [1]}, {"enum": [1.0]}, False),
        ({"enum": [1]}, {"enum": [True]}, True),
    ],
)  # fmt: skip
def test_every_keyword_counts(old: Any, new: Any, breaking: bool) -> None:
    """Also those that pydantic never writes."""
    found = [change.breaking for change in compare(content(of_rules(old)), content(of_rules(new)))]

    assert any(found) == breaking


def test_what_holds_itself_is_compared_in_all_its_parts() -> None:
    """A proof that rested on what then turned out wrong is not used again, and one that was given up neither."""

    def made(last: str) -> SnapshotContent:
        node = {"properties": {"next": {"$ref": "#/$defs/W"}, "value": {"type": last}}}
        inner: Json = {"$ref": "#/$defs/B", "minimum": 0}
        definitions = {"A": node, "W": {"properties": {"a": {"$ref": "#/$defs/A"}}}, "B": {"type": last}}
        rules: list[Json] = [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/W"}, inner]
        return content(of_rules(*rules, **{"$defs": definitions}))

    assert compare(made("integer"), made("integer")) == ()
    assert {change.kind for change in compare(made("integer"), made("number"))} == {"widened"}
    changes = compare(made("number"), made("integer"))
    assert [(change.kind, change.pointer) for change in changes] == [
        ("narrowed", f"/parameters/p{number}") for number in range(3)
    ]

    def deep(last: str) -> SnapshotContent:
        links: Json = {f"d{number}": {"items": {"$ref": f"#/$defs/d{number + 1}"}} for number in range(70)}
        rules = [{"$ref": "#/$defs/d0"}, {"$ref": "#/$defs/d1"}]
        return content(of_rules(*rules, **{"$defs": links | {"d70": {"type": last}}}))

    changes = compare(deep("integer"), deep("string"))
    assert [change.kind for change in changes] == ["narrowed", "narrowed"]


# ----------------------------------------------------------------------------------------------- parameters by name


def kinds(changes: tuple[Change, ...]) -> list[tuple[str, str, bool]]:
    """Give what counts of changes, but for the words."""
    return [(change.kind, change.pointer, change.breaking) for change in changes]


def named(required: tuple[str, ...] = (), **rules: Any) -> SnapshotContent:
    """Make a content whose pipeline takes parameters of these names."""
    return content({"type": "object", "properties": rules, "required": list(required), "additionalProperties": False})


INTEGER: Json = {"type": "integer"}
TEXT: Json = {"type": "string"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (named(a=INTEGER), named(a=INTEGER), []),
        (named(), named(a=INTEGER), [("added", "/parameters/a", False)]),
        (named(), named(("a",), a=INTEGER), [("required", "/parameters/a", True)]),
        (named(a=INTEGER), named(), [("removed", "/parameters/a", True)]),
        (named(a=INTEGER), named(b=TEXT), [("removed", "/parameters/a", True), ("added", "/parameters/b", False)]),
        (named(a=INTEGER), named(("a",), a=INTEGER), [("required", "/parameters/a", True)]),
        (named(("a",), a=INTEGER), named(a=INTEGER | {"default": 1}), [("optional", "/parameters/a", False)]),
        (named(a={"default": 1}), named(a={"default": True}), [("default", "/parameters/a", False)]),
        (named(a={"default": 1}), named(a={"default": 1.0}), []),
        (named(a={"default": 1}), named(a={}), [("default", "/parameters/a", False)]),
        (named(a={}), named(a={"default": None}), [("default", "/parameters/a", False)]),
        (content(of_rules()), content({"properties": {"a/b": {}}}), [("added", "/parameters/a~1b", False)]),
        (content({"properties": {"a/b": {}}}), content(of_rules()), [("removed", "/parameters/a~1b", True)]),
        (
            named(a=INTEGER | {"default": 1}),
            named(("a",), a=TEXT),
            [("required", "/parameters/a", True), ("retyped", "/parameters/a", True)],
        ),
        (named(a={}), named(a=False), [("narrowed", "/parameters/a", True)]),
        (named(a={}), named(("b",), a={}), [("required", "/parameters/b", True)]),
        (named(a=INTEGER), content({}), [("removed", "/parameters/a", True)]),
        (content({}), content({"type": "object", "required": "nonsense"}), []),
    ],
)
def test_parameters_come_and_go(old: SnapshotContent, new: SnapshotContent, expected: list[Any]) -> None:
    """Breaking changes come first."""
    assert kinds(compare(old, new)) == expected


def test_a_renamed_parameter_is_recognised() -> None:
    """By what it takes, where nothing else was meant or by its name; a description may have come with it."""
    changes = compare(named(data_url=TEXT | {"default": "x"}), named(("source",), source=TEXT | {"description": "D"}))
    assert kinds(changes) == [("renamed", "/parameters/data_url", True)]
    assert "'data_url'" in changes[0].detail
    assert "'source'" in changes[0].detail

    old, new = named(trees=INTEGER, depth=INTEGER, seed=INTEGER), named(n_trees=INTEGER, max_depth=INTEGER, x=INTEGER)
    changes = compare(old, new)
    assert kinds(changes) == [
        ("renamed", "/parameters/depth", True),
        ("removed", "/parameters/seed", True),
        ("renamed", "/parameters/trees", True),
        ("added", "/parameters/x", False),
    ]
    assert "'max_depth'" in changes[0].detail
    assert "'n_trees'" in changes[2].detail


def test_what_is_said_of_parameters_together_counts() -> None:
    """Pydantic writes none of it; whoever publishes by hand may."""
    old = {"type": "object", "properties": {"a": INTEGER, "b": INTEGER}}
    for together in (
        {"dependentRequired": {"a": ["b"]}},
        {"minProperties": 1},
        {"allOf": [{"required": ["a"]}]},
        {"propertyNames": {"maxLength": 0}},
        {"type": "array"},
    ):
        assert kinds(compare(content(old), content(old | together))) == [("narrowed", "/parameters", True)]
        assert compare(content(old | together), content(old)) == ()
        assert compare(content(old | together), content(old | together)) == ()
    assert compare(content(old), content(old | {"propertyNames": {"maxLength": 1}, "maxProperties": 2})) == ()


def test_what_is_told_has_a_length_that_somebody_reads() -> None:
    """Schemas hold what they like: patterns, lists of choices, defaults."""
    old = {"enum": [f"choice {number}" for number in range(1_000)], "default": ["x" * 1_000]}
    new = {"type": "string", "pattern": "^" + "choice" * 1_000, "default": {"y": "y" * 1_000}}

    for changes in (
        compare(named(a=old), named(a=new)),
        compare(named(a=new), named(a=old)),
        compare(named(), named(a=new)),
    ):
        assert changes
        assert all(len(change.detail) < 500 for change in changes)


# ---------------------------------------------------------------------------------------------------------- steps


def with_steps(steps: dict[str, StepSpec], dynamic: bool = False, **rules: Any) -> SnapshotContent:
    """Make a content with steps."""
    return named(**rules).model_copy(update={"steps": steps, "dynamic": dynamic})


def step(fixed: tuple[str, ...] = (), passed: dict[str, str] | None = None, **rules: Any) -> StepSpec:
    """Make a step that takes parameters of these names."""
    schema: Json = {"properties": rules, "required": list(rules)}
    return StepSpec(parameters_schema=schema, fixed=(*fixed, *(passed or {})), passed=passed or {})


ONE = with_steps({"s": step(x=INTEGER)}, p=INTEGER)
X = "/steps/s/parameters/x"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (ONE, ONE, []),
        (ONE, with_steps({}, p=INTEGER), [("step_removed", "/steps/s", True)]),
        (with_steps({}, p=INTEGER), ONE, [("step_added", "/steps/s", False)]),
        (ONE, ONE.model_copy(update={"dynamic": True}), [("step_removed", "/steps/s", True)]),
        (ONE.model_copy(update={"dynamic": True}), ONE, [("step_added", "/steps/s", False)]),
        (ONE, with_steps({"s": step()}, p=INTEGER), [("removed", X, True)]),
        (ONE, with_steps({"s": step(y=INTEGER)}, p=INTEGER), [("renamed", X, True)]),
        (ONE, with_steps({"s": step(x=INTEGER, y=TEXT)}, p=INTEGER), [("added", "/steps/s/parameters/y", False)]),
        (ONE, with_steps({"s": step(x={"type": "number"})}, p=INTEGER), [("widened", X, False)]),
        (ONE, with_steps({"s": step(x={"enum": [1]})}, p=INTEGER), [("narrowed", X, True)]),
        (ONE, with_steps({"s": step(x=TEXT)}, p=INTEGER), [("retyped", X, True)]),
        (ONE, with_steps({"s": step(x=INTEGER | {"default": 1})}, p=INTEGER), [("default", X, False)]),
        (ONE, with_steps({"s": step(("x",), x=INTEGER)}, p=INTEGER), [("fixed", X, True)]),
        (with_steps({"s": step(("x",), x=INTEGER)}, p=INTEGER), ONE, [("freed", X, False)]),
        (with_steps({"s": step(("x",))}, p=INTEGER), with_steps({"s": step()}, p=INTEGER), []),
        # x is handed on from p, which may now be given two values at once
        (ONE, with_steps({"s": step(passed={"x": "p"})}, p=INTEGER), [("fixed", X, True)]),
        # … but not if there was no p
        (
            with_steps({"s": step(x=INTEGER)}),
            with_steps({"s": step(passed={"x": "p"})}, p=INTEGER),
            [("added", "/parameters/p", False), ("fixed", X, False)],
        ),
        (
            with_steps({"s": step(x=INTEGER)}),
            with_steps({"s": step(passed={"x": "p"}), "t": step(passed={"x": "p"})}, p=INTEGER),
            [("fixed", X, True), ("added", "/parameters/p", False), ("step_added", "/steps/t", False)],
        ),
        (with_steps({"s": step(passed={"x": "p"})}, p=INTEGER), ONE, [("freed", X, False)]),
        (
            with_steps({"s": step(passed={"x": "p"})}, p=INTEGER),
            with_steps({"s": step(x=TEXT)}, p=INTEGER),
            [("retyped", X, True), ("freed", X, False)],
        ),
        # another step gets p, too, and has to be given the same
        (
            with_steps({"s": step(passed={"x": "p"}), "t": step()}, p=INTEGER),
            with_steps({"s": step(passed={"x": "p"}), "t": step(passed={"y": "p"})}, p=INTEGER),
            [("fixed", X, True), ("added", "/steps/t/parameters/y", False)],
        ),
        (
            with_steps({"s": step(passed={"x": "p"})}, p=INTEGER),
            with_steps({"s": step(y=INTEGER)}, p=INTEGER),
            [("removed", X, True), ("added", "/steps/s/parameters/y", False)],
        ),
        # what p takes is told once, of p
        (
            with_steps({"s": step(passed={"x": "p"})}, p=INTEGER),
            with_steps({"s": step(passed={"x": "p"})}, p=TEXT),
            [("retyped", "/parameters/p", True)],
        ),
        # p was given at the step alone
        (
            named(("p",), p=INTEGER).model_copy(update={"steps": {"s": step(passed={"x": "p"})}}),
            named(("p",), p=INTEGER).model_copy(update={"steps": {"s": step(x=INTEGER)}}),
            [("freed", X, True)],
        ),
    ],
)
def test_steps_parameters_come_and_go(old: SnapshotContent, new: SnapshotContent, expected: list[Any]) -> None:
    """None is ever required; what the pipeline's body sets itself cannot be given, or is the pipeline's parameter."""
    assert kinds(compare(old, new)) == expected


def test_what_a_step_no_longer_hands_up_may_be_missed_there() -> None:
    """The pipeline's parameter was counted among the pipeline's, though it was given at the step."""
    schema = {"properties": {"p": INTEGER, "q": INTEGER}, "minProperties": 1}
    old, new = (content(schema, steps={"s": spec}) for spec in (step(passed={"x": "p"}), step(x=INTEGER)))
    assert check(old, {}, {"s": {"x": 1}}) == []
    assert check(new, {}, {"s": {"x": 1}}) != []

    assert kinds(compare(old, new)) == [("narrowed", "/parameters", True), ("freed", X, False)]


@st.composite
def pipelines(draw: st.DrawFn) -> SnapshotContent:
    """Make a pipeline with parameters p and q and steps s and t, which set some themselves and hand on others."""
    rules = st.sampled_from([INTEGER, INTEGER, {"enum": [1, 2]}, {"enum": [2]}, {"type": "integer", "maximum": 1}])
    whole = draw(st.dictionaries(st.sampled_from(["p", "q"]), rules))
    outer: Json = draw(st.sampled_from([{}, {}, {}, {"minProperties": 1}, {"dependentRequired": {"p": ["q"]}}]))
    steps = {}
    for name in draw(st.sampled_from([("s",), ("s", "t"), ("s", "t")])):
        own = draw(st.dictionaries(st.sampled_from(["x", "y"]), rules))
        places = st.sampled_from(["x", "y"])
        own_outer: Json = draw(st.sampled_from([{}, {}, {"maxProperties": 1}]))
        steps[name] = StepSpec(
            parameters_schema={"properties": own, "required": sorted(own), **own_outer},
            fixed=tuple(draw(st.sets(places, max_size=1))),
            passed=draw(st.dictionaries(places, st.sampled_from(["p", "p", "q"]), max_size=1)),
        )
    required = draw(st.sampled_from([[], [], ["p"]]))
    schema = {"properties": whole, "required": [name for name in required if name in whole], **outer}
    return content(schema, steps=steps, dynamic=draw(st.integers(0, 9)) == 0)


@st.composite
def pipeline_versions(draw: st.DrawFn) -> tuple[SnapshotContent, SnapshotContent]:
    """Make a pipeline and what it may have become: some of it is another one's."""
    old, other = draw(pipelines()), draw(pipelines())
    steps = {
        name: other.steps.get(name, spec) if draw(st.integers(0, 2)) == 0 else spec for name, spec in old.steps.items()
    }
    schema = other.parameters_schema if draw(st.integers(0, 2)) == 0 else old.parameters_schema
    return old, old.model_copy(update={"steps": steps, "parameters_schema": schema})


GIVEN = [
    ({name: value for name, value in (("p", p), ("q", q)) if value}, {"s": s, "t": t})
    for p, q, s, t in itertools.product(
        (0, 1, 2),
        (0, 1, 2),
        ({}, {"x": 1}, {"x": 2}, {"y": 1}, {"x": 1, "y": 1}, {"x": 1, "y": 2}),
        ({}, {"x": 1}, {"x": 2}, {"x": 1, "y": 1}),
    )
]


def missed_at_steps(old: SnapshotContent, new: SnapshotContent, given: list[Any]) -> list[Any]:
    """Give the requests that the old content takes and the new one refuses."""
    named_ = [(parameters, {name: values for name, values in steps.items() if values}) for parameters, steps in given]
    return [request for request in named_ if not check(old, *request) and check(new, *request)]


@FEW
@given(pipeline_versions(), st.integers(0, 1000))
def test_no_break_at_steps_is_missed(pair: tuple[SnapshotContent, SnapshotContent], seed: int) -> None:
    """Whatever is handed on to whichever steps."""
    old, new = pair
    if not any(change.breaking for change in compare(old, new)):
        some = random.Random(seed).sample(GIVEN, 40)  # noqa: S311 - nothing secret
        assert missed_at_steps(old, new, some) == []


# ----------------------------------------------------------------------------------------------------------- size


def test_large_schemas_are_compared() -> None:
    """Two hundred parameters with twenty fields each are nothing unusual."""
    rows = {f"q{number}": {"anyOf": [{"type": "integer", "minimum": number}, {"type": "null"}]} for number in range(20)}
    old = of_rules(*[{"type": "object", "properties": rows} for _ in range(200)])
    wide = json.loads(json.dumps(old).replace('"minimum": 3', '"minimum": 2'))

    assert {change.kind for change in compare(content(old), content(wide))} == {"widened"}
    assert {change.kind for change in compare(content(wide), content(old))} == {"narrowed"}


def test_what_cannot_be_compared_in_time_is_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alternatives in great number, and models that go ever deeper: nobody waits for all of them."""
    monkeypatch.setattr("zentrigger.schema_inclusion._MOST_LOOKS", 10_000)
    many = [{"anyOf": [{"properties": {f"{name}{number}": INTEGER}} for name in "ab"]} for number in range(30)]
    more = json.loads(json.dumps(many).replace("integer", "number"))
    neither: Json = {"anyOf": [TEXT, INTEGER]}
    links: Json = {f"d{number}": {"items": {"$ref": f"#/$defs/d{number + 1}"}} for number in range(5_000)}
    pairs = [
        [of_rules({"type": "object", "allOf": [first, *them]}) for them in (many, more)] for first in ({}, neither)
    ]
    pairs.append(
        [of_rules({"$ref": "#/$defs/d0"}, **{"$defs": links | {"d5000": last}}) for last in (INTEGER, {"const": 1})]
    )

    for pair in pairs:
        started = time.process_time()
        (change,) = compare(*map(content, pair))
        assert change.breaking
        assert "too large" in change.detail
        assert time.process_time() - started < 5


def test_what_is_referred_to_often_is_compared_once() -> None:
    """Models that hold models twice, twenty deep, would be a million otherwise."""

    def model(number: int, least: int) -> Json:
        inner: Json = {"$ref": f"#/$defs/M{number + 1}"} if number < 20 else INTEGER | {"minimum": least}
        return {"type": "object", "properties": {"a": inner, "b": inner}, "additionalProperties": False}

    old, new = (
        of_rules({"$ref": "#/$defs/M0"}, **{"$defs": {f"M{number}": model(number, least) for number in range(21)}})
        for least in (1, 0)
    )

    assert kinds(compare(content(old), content(new))) == [("widened", "/parameters/p0", False)]
    assert kinds(compare(content(new), content(old))) == [("narrowed", "/parameters/p0", True)]
