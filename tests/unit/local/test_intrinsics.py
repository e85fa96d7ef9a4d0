"""CloudFormation's intrinsic functions, whole and in part."""

from __future__ import annotations

from typing import Any

import pytest

from local.errors import TemplateError
from local.intrinsics import UNRESOLVED, Evaluator, Scope, is_concrete, references

SCOPE = Scope(
    names={"Stage": "dev", "Empty": [""], "Subnets": ["a", "b"], "Count": 3, "AWS::Region": "eu-west-1"},
    mappings={"Sizes": {"dev": {"cpu": "256"}}},
    conditions={
        "IsDev": {"Fn::Equals": [{"Ref": "Stage"}, "dev"]},
        "HasSubnets": {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Subnets"}]}, ""]}]},
        "Both": {"Fn::And": [{"Condition": "IsDev"}, {"Condition": "HasSubnets"}]},
        "Neither": {"Fn::Not": [{"Fn::Or": [{"Condition": "IsDev"}, {"Condition": "HasSubnets"}]}]},
        "Three": {"Fn::Equals": [{"Ref": "Count"}, "3"]},
        "Loop": {"Fn::Not": [{"Condition": "Loop"}]},
        "OnResource": {"Fn::Equals": [{"Ref": "Queue"}, ""]},
    },
    zones=("eu-west-1a", "eu-west-1b"),
)


def _made(logical_id: str, attribute: str | None) -> Any:
    return {"Queue": {None: "https://queue", "Arn": "arn:queue"}}[logical_id][attribute]


def _later(logical_id: str, attribute: str | None) -> Any:
    if logical_id != "Queue":
        raise KeyError(logical_id)
    del attribute
    return UNRESOLVED


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"Ref": "Stage"}, "dev"),
        ({"Ref": "Queue"}, "https://queue"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:queue"),
        ({"Fn::GetAtt": "Queue.Arn"}, "arn:queue"),
        (
            {"Fn::Sub": "${Stage}/${Queue.Arn}/${!Literal}/${AWS::Region}/${Count}"},
            "dev/arn:queue/${Literal}/eu-west-1/3",
        ),
        ({"Fn::Sub": ["${X}-${Stage}", {"X": {"Ref": "Queue"}}]}, "https://queue-dev"),
        ({"Fn::Join": [",", {"Ref": "Subnets"}]}, "a,b"),
        ({"Fn::Join": ["-", ["x", {"Ref": "Count"}, {"Ref": "AWS::NoValue"}]]}, "x-3"),
        ({"Fn::Select": ["1", {"Ref": "Subnets"}]}, "b"),
        ({"Fn::Select": [0, {"Fn::GetAZs": ""}]}, "eu-west-1a"),
        ({"Fn::Split": [":", {"Fn::GetAtt": ["Queue", "Arn"]}]}, ["arn", "queue"]),
        ({"Fn::FindInMap": ["Sizes", {"Ref": "Stage"}, "cpu"]}, "256"),
        ({"Fn::If": ["Both", 1, 2]}, 1),
        ({"Fn::If": ["Neither", 1, {"Fn::If": ["Three", "three", "other"]}]}, "three"),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Fn::If": ["IsDev", {"Ref": "AWS::NoValue"}, 1]}, 2]}, {"b": [2]}),
        ({"Fn::Base64": "a"}, "YQ=="),
        ({"Fn::ToJsonString": {"a": {"Ref": "Stage"}}}, '{"a": "dev"}'),
        ({"Condition": {"StringEquals": {"a": {"Ref": "Stage"}}}}, {"Condition": {"StringEquals": {"a": "dev"}}}),
    ],
)
def test_evaluate(value: Any, expected: Any) -> None:
    """Everything is resolved when the resources exist."""
    assert Evaluator(SCOPE, _made).evaluate(value, "X") == expected


def test_what_waits_for_a_resource_stays() -> None:
    """Before the resources exist, parameters are put in and references stay; afterwards the rest is finished."""
    draft = Evaluator(SCOPE, _later).evaluate(
        {"a": {"Fn::Sub": "${Stage}-${Queue}-${Count}"}, "b": {"Fn::Split": [":", {"Fn::GetAtt": "Queue.Arn"}]}}, "X"
    )
    assert draft["a"] == {"Fn::Join": ["", ["dev", "-", {"Ref": "Queue"}, "-", "3"]]}
    assert not is_concrete(draft)
    assert references(draft) == {"Queue"}
    assert Evaluator(SCOPE, _made).evaluate(draft, "X") == {"a": "dev-https://queue-3", "b": ["arn", "queue"]}


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "Nothing"},
        {"Fn::GetAtt": ["Queue", "Nothing"]},
        {"Fn::GetAtt": ["Nothing", "Arn"]},
        {"Fn::GetAtt": "Queue"},
        {"Fn::Sub": "${Nothing}"},
        {"Fn::Sub": "${AWS::NoValue}"},
        {"Fn::If": ["Nothing", 1, 2]},
        {"Fn::If": ["IsDev", 1]},
        {"Fn::If": ["Loop", 1, 2]},
        {"Fn::Join": [",", "text"]},
        {"Fn::Select": [7, {"Ref": "Subnets"}]},
        {"Fn::FindInMap": ["Sizes", "prod", "cpu"]},
        {"Fn::ImportValue": "other"},
        {"Fn::Cidr": ["10.0.0.0/16", 2, 8]},
    ],
)
def test_what_cannot_be_resolved_is_an_error_that_says_where(value: Any) -> None:
    """The place stands in the sentence."""
    with pytest.raises(TemplateError, match=r"Thing\.Properties|Conditions\.Loop"):
        Evaluator(SCOPE, _made).evaluate(value, "Thing.Properties")


def test_a_condition_must_not_depend_on_a_resource() -> None:
    """CloudFormation's rule."""
    with pytest.raises(TemplateError, match="must not depend on a resource"):
        Evaluator(SCOPE, _later).condition("OnResource", "X")
