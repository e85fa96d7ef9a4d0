"""What applying a file would change, as text."""

from typing import Any

import pytest

from zentrigger_client.trigger_changes import changed, deleted, diff, differences

S3: dict[str, Any] = {"type": "s3", "pipeline": "training", "snapshot": None, "prefix": "", "parameters": {}}


def change(name: str, kind: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, Any]:
    """Give a change as the API shows it."""
    target = {name: (after or before or {}).get(name) for name in ("type", "pipeline")}
    return {"name": name, "change": kind, **target, "before": before, "after": after}


CHANGES = [
    change("same", "unchanged", S3, S3),
    change("old", "delete", S3, None),
    change("arrivals", "update", S3, {**S3, "prefix": "in/", "parameters": {"rows": 5}}),
    change("new", "create", None, {**S3, "prefix": "in/", "parameters": {"a": 1, "b": {"c": "\x1b[31m"}}}),
]


def test_shows_each_change_by_name_and_counts_them_all() -> None:
    """Of a new trigger what the file gives, without defaults; nothing in it steers the terminal."""
    given = {"new": {"type": "s3", "pipeline": "training", "parameters": {}}, "arrivals": {}, "same": {}}
    assert diff(CHANGES, given).splitlines() == [
        "~ arrivals (s3, training)",
        '    prefix: "" -> "in/"',
        "    parameters.rows: (none) -> 5",
        "",
        "+ new (s3, training)",
        '    type: "s3"',
        '    pipeline: "training"',
        "    parameters.a: 1",
        '    parameters.b.c: "\\u001b[31m"',
        "",
        "- old (s3, training)",
        "",
        "1 to create, 1 to change, 1 to delete, 1 unchanged.",
    ]
    assert [one["name"] for one in changed(CHANGES)] == ["old", "arrivals", "new"]
    assert deleted(CHANGES) == ["old"]


def test_what_the_api_does_not_show_is_said() -> None:
    """Definitions that are too large together, and one that stands and cannot be read: the name, and what is known."""
    bare: list[dict[str, Any]] = [
        {"name": "a", "change": "create", "type": "s3", "pipeline": "training"},
        {"name": "b", "change": "update", "type": "s3", "pipeline": "training"},
        {"name": "c", "change": "update", "type": "s3", "pipeline": "training", "after": S3},
        {"name": "d", "change": "delete", "type": None, "pipeline": None, "after": None},
    ]
    assert diff(bare, {"a": S3}).splitlines() == [
        "+ a (s3, training)",
        "    (too large to be shown)",
        "",
        "~ b (s3, training)",
        "    (too large to be shown)",
        "",
        "~ c (s3, training)",
        "    (what stands cannot be read)",
        "",
        "- d (?, ?)",
        "",
        "1 to create, 2 to change, 1 to delete, 0 unchanged.",
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": None}, {}, []),
        ({"a": None}, {"a": 1}, ["a: (none) -> 1"]),
        ({"parameters": {"a": None}}, {"parameters": {}}, ["parameters.a: null -> (none)"]),
        ({"a": 1}, {"a": True}, ["a: 1 -> true"]),
        ({"a": 1}, {"a": "1"}, ['a: 1 -> "1"']),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a: [1, 2] -> [2, 1]"]),
        ({"filter": {"body.ref": ["x"]}}, {"filter": {}}, ['filter."body.ref": ["x"] -> (none)']),
        ({"of": {"tag": "a"}}, {"of": "ü\n"}, ['of: {"tag": "a"} -> "ü\\n"']),
    ],
)
def test_a_field_is_shown_before_and_after(before: dict[str, Any], after: dict[str, Any], expected: list[str]) -> None:
    """As JSON, so that 1, true and a text differ. A field that is null is not there; within one, null is a value."""
    assert differences(before, after) == expected


def test_long_values_are_shown_where_they_differ() -> None:
    """Not cut before the difference."""
    (line,) = differences({"a": "x" * 1000 + "1"}, {"a": "x" * 1000 + "2" + "y" * 1000})
    one, other = line.removeprefix("a: ").split(" -> ")
    assert one == "…" + "x" * 20 + '1"'
    assert other.startswith("…" + "x" * 20 + "2yyy")
    assert len(other) == 200
