"""What of a batch has failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.sources import failed_items
from local.workers import Answer


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, {"a", "b"}),
        ({"batchItemFailures": [{"wrong": "a"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": "x"}]}, {"a", "b"}),
        ({"batchItemFailures": "a"}, {"a", "b"}),
        ("done", {"a", "b"}),
    ],
)
def test_partial_answers(answer: Any, failed: set[str]) -> None:
    """Lambda's rules for partial batch responses."""
    assert failed_items(Answer(json.dumps(answer).encode()), {"a", "b"}, partial=True) == failed


def test_without_partial_answers_only_an_error_fails() -> None:
    """The answer is not looked at then."""
    answer = json.dumps({"batchItemFailures": [{"itemIdentifier": "a"}]}).encode()
    assert failed_items(Answer(answer), {"a"}, partial=False) == set()
    assert failed_items(Answer(b"{}", "Unhandled"), {"a"}, partial=False) == {"a"}
    assert failed_items(Answer(b"{}", "Unhandled"), {"a"}, partial=True) == {"a"}
