"""Examples are for copying: what they say must be taken as it is."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    UUID5,
    AnyUrl,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    NonNegativeFloat,
    PositiveInt,
    RootModel,
    SecretStr,
    TypeAdapter,
    conset,
)

from tests.factories import TRAINING
from zentrigger.catalogue import SnapshotContent, StepSpec
from zentrigger.examples import curl_line, example_parameters, example_request
from zentrigger.parameters import check
from zentrigger.pattern_texts import matching_text
from zentrigger.run_requests import RunRequest


class Plain(BaseModel):
    flag: bool
    count: int
    share: float
    name: str
    nothing: None
    anything: Any
    items: list[str]
    table: dict[str, float]
    blob: bytes


class Bounded(BaseModel):
    positive: PositiveInt
    not_negative: NonNegativeFloat
    share: Annotated[float, Field(gt=0, lt=1)]
    small: Annotated[float, Field(gt=0, le=1e-6)]
    below: Annotated[float, Field(lt=-3)]
    large: Annotated[int, Field(ge=1_000_000)]
    negative: Annotated[int, Field(lt=0)]
    window: Annotated[int, Field(gt=3, lt=5)]
    even: Annotated[int, Field(ge=3, multiple_of=4)]
    quarter: Annotated[float, Field(ge=2, le=3, multiple_of=0.25)]
    long: Annotated[str, Field(min_length=12)]
    short: Annotated[str, Field(max_length=2)]
    empty: Annotated[str, Field(max_length=0)]
    several: Annotated[list[int], Field(min_length=3, max_length=4)]
    none: Annotated[list[int], Field(max_length=0)]
    amount: Decimal
    price: Annotated[Decimal, Field(ge=10, max_digits=5, decimal_places=2)]


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 3
    HIGH = 4


class Chosen(BaseModel):
    colour: Colour
    level: Level
    colours: set[Colour]
    literal: Literal["x"]
    either: Literal[2, "two"]
    table: dict[Colour, int]


class Patterned(BaseModel):
    month: Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    bucket: Annotated[str, Field(pattern=r"^s3://[a-z0-9.-]+/.+$")]
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}[^A-Z]?\.(csv|parquet)$")]
    slug: Annotated[str, Field(pattern="^[a-z]+$", min_length=5, max_length=6)]
    group: Annotated[str, Field(pattern=r"^(?:(?P<a>x)|y)+\s\w{2,}[\]\-]$")]
    names: dict[Annotated[str, Field(pattern="^k_[0-9]+$")], int]
    unlike: Annotated[str, Field(pattern=r"^[^a-z]\x41\u00e4$")]


class Formatted(BaseModel):
    day: date
    moment: datetime
    aware: AwareDatetime
    clock: time
    duration: timedelta
    uuid: UUID
    uuid5: UUID5
    url: AnyUrl
    address: IPv4Address
    network: IPv6Network
    path: Path
    secret: SecretStr
    code: Json[list[int]]
    pattern: re.Pattern[str]
    days: Annotated[list[date], Field(min_length=2)]
    ids: conset(UUID, min_length=3)  # type: ignore[valid-type]


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")
    units: Annotated[int, Field(ge=8)]
    activation: Literal["relu", "tanh"] = "relu"


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid")
    leaf: Leaf
    leaves: Annotated[list[Leaf], Field(min_length=2)]
    by_name: dict[str, Leaf]
    maybe: Leaf | None
    pair: tuple[Leaf, int]
    many: tuple[int, ...]
    described: Annotated[Leaf, Field(description="Next to a reference.")]


class Tree(BaseModel):
    value: int
    left: "Tree | None"
    children: list["Tree"]
    table: dict[str, "Tree"]


class Forest(BaseModel):
    tree: Tree
    trees: list[Tree]


class Square(BaseModel):
    kind: Literal["square"]
    side: float


class Circle(BaseModel):
    kind: Literal["circle"] = "circle"
    radius: PositiveInt


class United(BaseModel):
    shape: Annotated[Square | Circle, Field(discriminator="kind")]
    loose: Circle | Square | None
    scalars: int | str | None
    number: Annotated[int, Field(ge=5)] | None
    lists: list[int | None]


class Same(BaseModel):
    model_config = ConfigDict(extra="allow")
    numbers: Annotated[set[int], Field(min_length=3)]
    texts: Annotated[set[str], Field(min_length=2)]
    one_letter: Annotated[set[Annotated[str, Field(max_length=1)]], Field(min_length=4)]
    codes: Annotated[set[Annotated[str, Field(pattern="^[a-c][0-9]$")]], Field(min_length=3)]
    limited: Annotated[set[Annotated[int, Field(ge=0, le=2)]], Field(min_length=3)]
    shares: Annotated[set[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=3)]


class Told(BaseModel):
    by_example: Annotated[str, Field(examples=["as the author says"])]
    by_default: int = 7
    nested: Leaf = Leaf(units=9)


class Aliased(BaseModel):
    value: Annotated[int, Field(alias="a/b~c ü")]
    generic: RootModel[list[PositiveInt]]


MODELS: list[type[BaseModel]] = [
    Plain, Bounded, Chosen, Patterned, Formatted, Leaf, Nested, Forest, Square, Circle, United, Same, Told, Aliased,
]  # fmt: skip


def content(schema: Any, **values: Any) -> SnapshotContent:
    """Make a content whose pipeline takes such parameters."""
    return TRAINING.model_copy(update={"parameters_schema": schema, "steps": {}} | values)


@pytest.mark.parametrize("model", MODELS)
def test_examples_fit_what_pydantic_makes(model: type[BaseModel]) -> None:
    """As the schema says, as `POST /runs` checks it, and as the pipeline's own types have it."""
    schema = model.model_json_schema()

    example = example_parameters(schema)

    assert check(content(schema), example, {}) == []
    model.model_validate_json(json.dumps(example))
    assert set(schema.get("required", [])) <= example.keys()


SCALARS: list[Any] = [
    int, float, str, bool, date, datetime, UUID, Colour, Leaf, Tree, Literal["a", 1], Annotated[int, Field(gt=2, le=9)],
    Annotated[str, Field(min_length=6)], Annotated[str, Field(pattern="^[ab]{2,3}$")],
]  # fmt: skip
INWARD: list[Callable[[Any], Any]] = [
    lambda inner: list[inner],  # type: ignore[valid-type]
    lambda inner: inner | None,
    lambda inner: dict[str, inner],  # type: ignore[valid-type]
    lambda inner: tuple[inner, inner],  # type: ignore[valid-type]
    lambda inner: Annotated[list[inner], Field(min_length=2)],  # type: ignore[valid-type]
    lambda inner: inner | dict[str, inner] | None,  # type: ignore[valid-type]
]
TYPES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.builds(lambda wrap, of: wrap(of), st.sampled_from(INWARD), inner),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(TYPES)
def test_examples_fit_whatever_types_are_put_together(annotation: Any) -> None:
    """Lists of optional models of … as people write them."""
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    rule = adapter.json_schema()
    definitions = rule.pop("$defs", {})
    schema = {"type": "object", "properties": {"p": rule}, "required": ["p"], "$defs": definitions}

    example = example_parameters(schema)

    assert check(content(schema), example, {}) == []
    adapter.validate_json(json.dumps(example["p"]))


def test_what_an_example_shows() -> None:
    """Defaults and the author's own examples; a list with something in it rather than an empty one."""
    assert example_parameters(Told.model_json_schema()) == {
        "by_example": "as the author says",
        "by_default": 7,
        "nested": {"units": 9, "activation": "relu"},
    }
    assert example_parameters(TRAINING.parameters_schema) == {
        "data_url": "data.csv",
        "model_type": "random_forest",
        "test_size": 0.2,
    }
    assert example_parameters(Nested.model_json_schema())["by_name"] == {"key": {"units": 8}}
    tree: Any = {"value": 1, "left": None, "children": [], "table": {}}
    assert example_parameters(Forest.model_json_schema()) == {"tree": tree, "trees": [tree]}
    assert example_parameters({}) == {}


def test_of_many_parameters_few_are_shown() -> None:
    """All that must be given, and ten others."""
    properties: dict[str, Any] = {f"p{number}": {"type": "integer", "default": number} for number in range(200)}
    properties |= {"needed": {"type": "string"}}

    example = example_parameters({"properties": properties, "required": ["needed", "p150"]})

    assert list(example) == [*(f"p{number}" for number in range(10)), "p150", "needed"]


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "string", "default": "x" * 5_000},
        {"type": "string", "default": "${HOME}/data"},
        {"type": "integer", "default": "no integer"},
        {"type": "string", "pattern": r"^(?=a)b$"},
        {"type": "string", "pattern": "^(a{200}){100}$"},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "items": {"type": "string"}, "minItems": 10**9},
        {"type": "object", "minProperties": 10**9},
        {"$ref": "#/$defs/endless"},
        {"allOf": [{"type": "integer"}, {"type": "string"}]},
        False,
    ],
)
def test_what_cannot_be_shown_is_left_out(rule: Any) -> None:
    """If it may be; if it must be given, whoever reads the example has to find a value."""
    endless = {"type": "object", "properties": {"next": {"$ref": "#/$defs/endless"}}, "required": ["next"]}
    schema: Any = {"properties": {"p": rule, "q": {"type": "integer"}}, "$defs": {"endless": endless}}

    assert example_parameters(schema) == {"q": 1}
    assert set(example_parameters({**schema, "required": ["p"]})) == {"p", "q"}


def test_models_that_hold_others_often_take_no_time() -> None:
    """Two of each, thirty deep, would be a thousand million."""
    models: dict[str, Any] = {
        f"M{number}": {
            "type": "object",
            "properties": {name: {"$ref": f"#/$defs/M{number + 1}"} for name in "ab"},
            "required": ["a", "b"],
        }
        for number in range(30)
    }
    schema: Any = {"properties": {"p": {"$ref": "#/$defs/M0"}}, "$defs": models | {"M30": {"type": "integer"}}}

    assert example_parameters(schema) == {}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("^a$", "a"), ("^x[0-9]{3}$", "x000"), (r"^v\d+(\.\d+)*$", "v11.11"), ("", "text"), ("^(b|c)?d{2,}?$", "bddd")],
)
def test_texts_that_match(pattern: str, expected: str) -> None:
    """Simple ones, as somebody would write them."""
    assert matching_text({"pattern": pattern}) == expected


@pytest.mark.parametrize("pattern", [r"^(?i:b{9})$", r"^(?=b)a$", r"^(x)\1$", "^(?<!a)$b", "^[^ -~]$"])
def test_texts_that_are_not_found(pattern: str) -> None:
    """No error, and nothing that does not match: an example is not worth one."""
    assert matching_text({"pattern": pattern, "minLength": 1}) is None


# -------------------------------------------------------------------------------------------------------- requests


def test_a_request_says_pipeline_and_parameters() -> None:
    """And the snapshot, if it is not the newest that is meant."""
    request = example_request(TRAINING)
    assert request == {"pipeline": "training_pipeline", "parameters": example_parameters(TRAINING.parameters_schema)}
    assert RunRequest.model_validate(request).pipeline == "training_pipeline"

    assert list(example_request(TRAINING, snapshot=3)) == ["pipeline", "snapshot", "parameters"]
    assert example_request(TRAINING, snapshot="tag:good")["snapshot"] == "tag:good"


def test_a_pipeline_without_parameters_shows_those_of_a_step() -> None:
    """The first that takes some; what the pipeline's body sets cannot be given, and nothing is required."""
    properties = {"url": {"type": "string"}, "trees": {"type": "integer", "minimum": 5}, "p": {}}
    taken = StepSpec(parameters_schema={"properties": properties, "required": ["p"]}, fixed=("url",), passed={"p": "p"})
    steps = {"first": StepSpec(), "second": StepSpec(parameters_schema={"properties": {"a": {}}}, fixed=("a",))}

    made = content({}, steps={**steps, "third": taken, "fourth": taken})
    request = example_request(made)

    assert request == {
        "pipeline": "training_pipeline",
        "parameters": {},
        "steps": {"third": {"parameters": {"trees": 5}}},
    }
    assert check(made, {}, {"third": {"trees": 5}}) == []
    assert "steps" not in example_request(made.model_copy(update={"dynamic": True}))
    assert "steps" not in example_request(content({}, steps=steps))
    assert "steps" not in example_request(made.model_copy(update={"parameters_schema": {"properties": {"q": {}}}}))


@pytest.fixture
def sent(tmp_path: Path) -> Callable[[str], list[str]]:
    """Give what runs a line in a shell and says what curl was called with."""
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    curl.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    environment |= {"ZENTRIGGER_API_URL": "https://api.example.com/v1", "ZENTRIGGER_API_KEY": "zt_$x 'y'"}

    def run(line: str) -> list[str]:
        done = subprocess.run(["/bin/sh", "-c", line], env=environment, capture_output=True, check=True, timeout=20)
        return done.stdout.decode().split("\0")[:-1]

    return run


@pytest.mark.parametrize(
    "value",
    [
        "plain", "it's \"quoted\"", "$HOME `id` $(id) ${PATH}", "Grüße, 東京 🎉", "one\ntwo\r\n\tthree",
        "@file", "%s%n", "back\\slash! #x;&|<>*?", "\u2028\u202e\x1b[31m\x7f\x9b",
    ],
)  # fmt: skip
def test_the_curl_line_sends_the_request(sent: Callable[[str], list[str]], value: str) -> None:
    """Whatever is in it: a shell takes nothing of it for its own, and a terminal shows it as it is."""
    request = {"pipeline": "ein 'Name'", "parameters": {value: value}}

    line = curl_line(request)

    assert line.isprintable()  # so it is one line, too
    *arguments, body = sent(line)
    assert arguments == [
        "-sS", "-X", "POST", "https://api.example.com/v1/runs", "-H", "X-API-Key: zt_$x 'y'",
        "-H", "Content-Type: application/json", "-d",
    ]  # fmt: skip
    assert json.loads(body) == request


def test_the_curl_line_can_be_read() -> None:
    """Letters of any script stay as they are."""
    line = curl_line({"pipeline": "p", "parameters": {"city": "Köln"}})

    assert line == (
        'curl -sS -X POST "$ZENTRIGGER_API_URL/runs" -H "X-API-Key: $ZENTRIGGER_API_KEY"'
        """ -H 'Content-Type: application/json' -d '{"pipeline": "p", "parameters": {"city": "Köln"}}'"""
    )
