"""What a pipeline's body hands on unchanged, told from what merely looks so."""

import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from zenml import pipeline, step
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.steps.entrypoint_function_utils import validate_entrypoint_function

from zentrigger_client.passed_parameters import NoOtherValueError, another, passed_parameters


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Options(BaseModel):
    depth: int = 3


@step
def take(value: Any, second: Any = None) -> None:
    """Take anything."""


@step
def use(url: str, kind: str = "a", rows: int = 1) -> None:
    """Take what pipelines usually have."""


def passed(made: Pipeline, **options: Any) -> dict[str, dict[str, str]]:
    made.prepare()
    inputs = validate_entrypoint_function(made.entrypoint).inputs
    return passed_parameters(made, {name: parameter.annotation for name, parameter in inputs.items()}, **options)


def handing_on(annotation: Any, default: Any) -> Pipeline:
    """Make a pipeline that hands its one parameter on."""

    def body(value: Any = default) -> None:
        take(value)

    body.__annotations__["value"] = annotation
    return pipeline(body)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (str, "s3://a/b"),
        (str, ""),
        (int, 3),
        (float, 0.5),
        (bool, False),
        (str | None, None),
        (Literal["a", "b"], "a"),
        (Literal["a"] | None, "a"),
        (Colour, Colour.RED),
        (Annotated[int, Field(le=3)], 3),
        (Annotated[float, Field(gt=0, lt=1)], 0.9),
        (list[int], [1, 2]),
        (dict[str, int], {"a": 1}),
        (Options, Options()),
    ],
)
def test_values_of_all_types_are_followed(annotation: Any, default: Any) -> None:
    assert passed(handing_on(annotation, default)) == {"take": {"value": "value"}}


def test_what_equals_by_chance_is_not_passed() -> None:
    """A constant, something made of parameters, and a parameter under another name."""

    @pipeline
    def lookalikes(url: str = "s3://a", prefix: str = "", kind: str = "a", rows: int = 3, rate: float = 0.5) -> None:
        use(prefix + url, kind="a", rows=3)
        use(url.lower(), kind=kind or "b", rows=int(rows))
        take(rate)

    assert passed(lookalikes) == {"use_2": {"kind": "kind", "rows": "rows"}}


def test_a_body_that_takes_no_other_values() -> None:
    """What it looks up is followed as an object, so that constants beside it are still told apart."""

    @pipeline
    def picky(kind: str = "random_forest", url: str = "s3://a", prefix: str = "", rows: int = 1) -> None:
        if kind != "random_forest":
            raise SystemExit(2)
        use(prefix + url, kind, rows)
        use(url, "random_forest", 1)

    assert passed(picky) == {"use": {"kind": "kind", "rows": "rows"}, "use_2": {"url": "url"}}


def test_steps_that_hang_on_a_parameter() -> None:
    """What decides which steps there are keeps its value while the others change."""

    @pipeline
    def branching(deep: bool = True, url: str = "s3://a") -> None:
        if deep:
            use(url)

    assert passed(branching) == {"use": {"url": "url"}}


def test_nothing_is_looked_at_twice_that_takes_long() -> None:
    """A body of minutes is called once, by ZenML."""
    made = handing_on(str, "s3://a")
    assert passed(made, took_seconds=10) == {}
    late = iter([0.0, 9.0, 9.0, 9.0])
    assert passed(made, clock=lambda: next(late)) == {}


def test_no_body_of_a_dynamic_pipeline_is_called() -> None:
    calls: list[int] = []

    @pipeline(dynamic=True)
    def dynamic(count: int = 2) -> None:
        calls.append(count)

    assert passed(dynamic) == {}
    assert calls == []


def test_there_may_be_no_other_value() -> None:
    for value, annotation in (("a", Literal["a"]), (Options(), Options), ("", Annotated[str, Field(max_length=0)])):
        with pytest.raises(NoOtherValueError):
            another(value, annotation)
