"""Event patterns, operator by operator."""

from __future__ import annotations

from typing import Any

import pytest

from local.patterns import PatternError, compile_pattern

EVENT: dict[str, Any] = {
    "source": "aws.s3",
    "detail-type": "Object Created",
    "detail": {
        "bucket": {"name": "data"},
        "object": {"key": "incoming/a.CSV", "size": 42},
        "list": ["x", "y"],
        "items": [{"kind": "a", "n": 1}, {"kind": "b", "n": 2}],
        "null": None,
        "flag": True,
        "address": "10.0.0.7",
    },
}


@pytest.mark.parametrize(
    "detail",
    [
        {"object": {"key": [{"prefix": "incoming/"}]}},
        {"object": {"key": [{"suffix": {"equals-ignore-case": ".csv"}}]}},
        {"object": {"key": ["other", {"equals-ignore-case": "INCOMING/A.csv"}]}},
        {"object": {"key": [{"wildcard": "in*/*.CSV"}]}},
        {"object": {"key": [{"anything-but": {"prefix": "outgoing/"}}]}},
        {"object": {"key": [{"anything-but": ["a", "b"]}]}},
        {"object": {"key": [{"anything-but": {"wildcard": "*.txt"}}]}},
        {"object": {"size": [42]}},
        {"object": {"size": [42.0]}},
        {"object": {"size": [{"numeric": [">", 41, "<=", 42]}]}},
        {"object": {"version-id": [{"exists": False}]}},
        {"object": {"key": [{"exists": True}]}},
        {"nothing": {"deep": [{"exists": False}]}},
        {"list": ["y"]},
        {"items": {"kind": ["b"]}},
        {"null": [None]},
        {"flag": [True]},
        {"address": [{"cidr": "10.0.0.0/24"}]},
        {"$or": [{"object": {"size": [1]}}, {"bucket": {"name": ["data"]}}]},
    ],
)
def test_matches(detail: dict[str, Any]) -> None:
    """Each of these holds for the event."""
    assert compile_pattern({"source": ["aws.s3"], "detail": detail})(EVENT)


@pytest.mark.parametrize(
    "detail",
    [
        {"object": {"key": [{"prefix": "Incoming/"}]}},
        {"object": {"key": [{"suffix": ".csv"}]}},
        {"object": {"key": [{"wildcard": "*.csv"}]}},
        {"object": {"key": [{"anything-but": "incoming/a.CSV"}]}},
        {"object": {"size": ["42"]}},
        {"object": {"size": [{"numeric": [">", 42]}]}},
        {"object": {"size": [{"anything-but": 42}]}},
        {"object": {"key": [{"exists": False}]}},
        {"object": {"version-id": [{"anything-but": "x"}]}},
        {"list": ["z"]},
        {"items": {"kind": ["b"], "n": [1]}},
        {"flag": [1]},
        {"address": [{"cidr": "10.0.1.0/24"}]},
        {"bucket": {"name": ["data"]}, "object": {"size": [1]}},
    ],
)
def test_does_not_match(detail: dict[str, Any]) -> None:
    """Each of these does not hold for the event."""
    assert not compile_pattern({"detail": detail})(EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        {},
        [],
        {"source": "aws.s3"},
        {"source": []},
        {"source": {}},
        {"source": [{"sufix": "x"}]},
        {"source": [{"prefix": 1}]},
        {"source": [{"prefix": "a", "suffix": "b"}]},
        {"source": [{"numeric": [">"]}]},
        {"source": [{"numeric": ["=>", 1]}]},
        {"source": [{"exists": "yes"}]},
        {"source": [{"anything-but": {"numeric": ["=", 1]}}]},
        {"source": [{"wildcard": "a**b"}]},
        {"source": [{"cidr": "10.0.0.0/99"}]},
        {"$or": [{"source": ["a"]}]},
    ],
)
def test_a_wrong_pattern_is_an_error(pattern: Any) -> None:
    """What EventBridge refuses, or what is not known here, never becomes a pattern that matches nothing."""
    with pytest.raises(PatternError):
        compile_pattern(pattern)
