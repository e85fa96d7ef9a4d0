"""What of a run's outputs goes into its record."""

import json
import math

import pytest

from runner.artifacts import ArtifactCopies, is_local
from runner.outputs import MAX_VALUE_BYTES, small_value


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "", "Ångström", [], [1, "a", None], {"a": {"b": [1.0]}}])
def test_json_values_are_kept_as_they_are(value: object) -> None:
    """Whatever JSON knows."""
    found = small_value(json.dumps(value).encode(), 100)
    assert found is not None
    assert found.value == value


def test_nan_and_infinities_become_null() -> None:
    """JSON has no such numbers."""
    found = small_value(json.dumps({"a": math.nan, "b": [math.inf, -math.inf, 1.0]}).encode(), 100)
    assert found is not None
    assert found.value == {"a": None, "b": [None, None, 1.0]}


def test_the_limit_is_of_the_compact_form() -> None:
    """Indentation does not count, and bytes do: not characters."""
    value = ["ä" * 10]
    found = small_value(json.dumps(value, indent=8).encode(), 24)
    assert found is not None
    assert found.size == 24
    assert small_value(json.dumps(value).encode(), 23) is None


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04K\x01.", b"{'a': 1}", b'["\\ud800"]', b"1e999", b"[" * 5000 + b"]" * 5000]
)
def test_what_is_no_json_is_kept_as_an_artifact(content: bytes) -> None:
    """Pickles, Python's own text form, half characters, numbers too large, nesting without end."""
    assert small_value(content, MAX_VALUE_BYTES) is None


def test_without_a_bucket_nothing_is_copied() -> None:
    """There is no URI that would outlive the task."""
    assert ArtifactCopies(None, run_id="r", execution="t").copy("/stores/a", step="s", output="o") is None


@pytest.mark.parametrize(
    ("uri", "local"), [("/a/b", True), ("file:///a", True), ("s3://b/k", False), ("gs://b", False)]
)
def test_local_uris_are_told_from_others(uri: str, local: bool) -> None:
    """Only what lies on the task's own disk needs a copy."""
    assert is_local(uri) is local
