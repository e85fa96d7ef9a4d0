"""Globs over S3 keys."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentrigger.globs import matches


@pytest.mark.parametrize(
    ("glob", "key", "expected"),
    [
        ("*.csv", "a.csv", True),
        ("*.csv", "in/a.csv", False),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "in/deep/a.csv", True),
        ("in/**", "in/a/b", True),
        ("in/**", "in/", True),
        ("in/**/x", "in/x", True),
        ("in/**/x", "in/a/b/x", True),
        ("in/**/x", "in/ax", False),
        ("a**b", "axx/yb", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("?", "ü", True),
        ("in/*/part-*.csv", "in/2026/part-01.csv", True),
        ("in/*/part-*.csv", "in/2026/11/part-01.csv", False),
        ("[a].csv", "a.csv", False),
        ("[a].csv", "[a].csv", True),
        ("a.csv", "abcsv", False),
        ("..", "..", True),
    ],
)
def test_stars_stay_in_folders_and_two_of_them_do_not(glob: str, key: str, expected: bool) -> None:
    """Nothing else is special."""
    assert matches(glob, key) is expected


def _as_expression(glob: str) -> str:
    """Say the same as a regular expression."""
    parts = re.split(r"((?<![^/])\*\*/|\*\*|\*|\?)", glob)
    said = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(said.get(part, re.escape(part)) for part in parts)


@given(st.text("ab/*?", max_size=8), st.text("ab/", max_size=8))
def test_globs_mean_what_a_regular_expression_would(glob: str, key: str) -> None:
    """Held to another way to say the same."""
    assert matches(glob, key) is (re.fullmatch(_as_expression(glob), key, re.DOTALL) is not None)


def test_no_glob_takes_long() -> None:
    """Not even one that would have an expression try each way to divide a key."""
    started = time.perf_counter()

    assert not matches("*a" * 127 + "b", "a" * 1024)

    assert time.perf_counter() - started < 2
