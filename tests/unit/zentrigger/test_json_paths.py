"""Where paths lead, what is said of those that lead nowhere, and what passes a filter."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from zentrigger.json_paths import MissingPathError, check_path, find, passes

EVENT: dict[str, JsonValue] = {
    "body": {
        "ref": "refs/heads/main",
        "repository": {"id": 7, "name": "hello", "0": "zero", "a.b": 1},
        "commits": [{"id": "c0"}, {"id": "c1"}],
        "forced": False,
        "base": None,
        "size": 1.0,
        "labels": {},
    },
    "header": {"x-github-event": "push"},
}

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("body.ref", "refs/heads/main"),
        ("body.repository.id", 7),
        ("body.repository.0", "zero"),
        ("body.commits.1.id", "c1"),
        ("body.commits", [{"id": "c0"}, {"id": "c1"}]),
        ("body.forced", False),
        ("body.base", None),
        ("body.labels", {}),
        ("header.x-github-event", "push"),
    ],
)
def test_paths(path: str, found: JsonValue) -> None:
    """Names in objects, also those of digits; indexes in lists; to a value of any kind, null as well."""
    assert find(EVENT, path) == found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("bdy.ref", 'the event has no "bdy"; it has: body, header'),
        ("body.repository.fullname", 'body.repository has no "fullname"; it has: id, name, 0, a.b'),
        ("body.repository.a.b", 'body.repository has no "a"; it has: id, name, 0, a.b'),
        ("body.labels.x", 'body.labels has no "x"; it is empty'),
        ("body.commits.2.id", 'body.commits has no "2"; it is a list of 2'),
        ("body.commits.-1", 'body.commits has no "-1"; it is a list of 2'),
        ("body.commits.01", 'body.commits has no "01"; it is a list of 2'),
        ("body.commits.id", 'body.commits has no "id"; it is a list of 2'),
        ("body.commits.²", 'body.commits has no "²"; it is a list of 2'),
        ("body.ref.0", 'body.ref has no "0"; it is a text'),
        ("body.forced.x", 'body.forced has no "x"; it is true or false'),
        ("body.base.x", 'body.base has no "x"; it is null'),
        ("body.size.x", 'body.size has no "x"; it is a number'),
        ("body.repository.id.x.y", 'body.repository.id has no "x"; it is a number'),
        ("body.a\nb", 'body has no "a\\nb"; it has: ref, repository, commits, forced, base, size, labels'),
        ("", 'the path "" has an empty part: names stand with one full stop between them'),
        ("body..ref", 'the path "body..ref" has an empty part: names stand with one full stop between them'),
    ],
)
def test_a_path_that_leads_nowhere(path: str, text: str) -> None:
    """The sentence says how far it went, and which names there are, or what stands there instead of an object."""
    with pytest.raises(MissingPathError) as caught:
        find(EVENT, path)
    assert str(caught.value) == text


def test_paths_are_bounded() -> None:
    """20 parts lead somewhere, 21 never do; also a path that is very long is soon done with."""
    value: JsonValue = "end"
    for _ in range(21):
        value = {"a": value}

    assert find(value, ".".join("a" * 20)) == {"a": "end"}
    for path in (".".join("a" * 21), "a." * 1_000_000):
        with pytest.raises(MissingPathError, match="20 parts at most"):
            find(value, path)
        with pytest.raises(ValueError, match="20 parts at most"):
            check_path(path)


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b"])
def test_empty_parts_are_refused_when_saved(path: str) -> None:
    """No value has them, so no event needs to come for it."""
    check_path("body.commits.0.id")
    with pytest.raises(ValueError, match="empty part"):
        check_path(path)


def test_an_index_longer_than_any_list_is_none() -> None:
    """Nor does it become a number: Python refuses thousands of digits."""
    with pytest.raises(MissingPathError, match="it is a list of 2"):
        find(EVENT, "body.commits." + "9" * 10)
    with pytest.raises(MissingPathError):
        find(EVENT, "body.commits." + "9" * 5000)


@pytest.mark.parametrize(
    "here",
    [
        {f"name{number}": number for number in range(100_000)},
        {"n" * 1_000_000: 1, "\ud800\u202e\n": 2},
        {"\ud800\u202e\n" * 1000: 2},
    ],
    ids=["many names", "a long name", "names that cannot be shown"],
)
def test_what_is_said_is_bounded(here: dict[str, JsonValue]) -> None:
    """At 200 characters, all of which can be shown and encoded."""
    with pytest.raises(MissingPathError) as caught:
        find({"body": here}, "body.x")
    text = str(caught.value)
    assert text.startswith('body has no "x"; it has: ')
    assert len(text) == 200
    assert text.endswith("…")
    assert text.isprintable()
    assert text.encode()


@given(value=st.text("0123456789abcdef", min_size=20), path=st.sampled_from(["v.x", "w", "l.1", "o.x"]))
def test_no_value_is_ever_shown(value: str, path: str) -> None:
    """Neither when a path leads nowhere, nor when a value does not pass."""
    event: dict[str, JsonValue] = {"v": value, "l": [value], "o": {"name": value}}
    with pytest.raises(MissingPathError) as caught:
        find(event, path)
    assert value not in str(caught.value)
    why = passes(event, {"v": ["another"]})
    assert why is not None
    assert value not in why


@pytest.mark.parametrize(
    ("allowed", "why"),
    [
        ({}, None),
        ({"body.ref": ["refs/heads/main"]}, None),
        ({"body.ref": ["x", "refs/heads/main"], "header.x-github-event": ["push"]}, None),
        ({"body.size": [1]}, None),
        ({"body.size": [True]}, "body.size is not among the values that pass: true"),
        ({"body.forced": [False]}, None),
        ({"body.forced": [0]}, "body.forced is not among the values that pass: 0"),
        ({"body.base": [None]}, None),
        ({"body.base": [False, "", 0]}, 'body.base is not among the values that pass: false, "", 0'),
        ({"body.commits": [[{"id": "c0"}, {"id": "c1"}]]}, None),
        (
            {"body.commits": [[{"id": "c0"}]]},
            'body.commits is not among the values that pass: [{"id": "c0"}]',
        ),
        ({"body.ref": ["refs/heads/Main"]}, 'body.ref is not among the values that pass: "refs/heads/Main"'),
        ({"body.ref": []}, "body.ref is not among the values that pass: "),
        ({"body.ref": ["refs/heads/main"], "body.commits.x": [1]}, 'body.commits has no "x"; it is a list of 2'),
        ({"body.size": ["\ud800"]}, 'body.size is not among the values that pass: "\\ud800"'),
    ],
)
def test_filters(allowed: dict[str, list[JsonValue]], why: str | None) -> None:
    """All paths must lead to one of their values; the first that does not is named. Values are compared as JSON."""
    assert passes(EVENT, allowed) == why


def test_what_is_said_of_a_filter_is_bounded() -> None:
    """At 200 characters, however many values pass."""
    why = passes(EVENT, {"body.ref": [f"refs/heads/{number}" for number in range(1000)]})
    assert why is not None
    assert why.startswith('body.ref is not among the values that pass: "refs/heads/0", ')
    assert len(why) == 200


@given(JSON)
def test_what_json_makes_of_a_value_is_equal_to_it(value: Any) -> None:
    """Written and read again, or with its keys in another order, it passes."""
    again = json.loads(json.dumps(value, sort_keys=True)) if isinstance(value, dict) else json.loads(json.dumps(value))
    assert passes({"v": value}, {"v": [again]}) is None


def normal(value: Any) -> Any:
    """Give a value as it is compared: kinds apart, numbers of one value together."""
    match value:
        case bool() | None | str():
            return (type(value).__name__, value)
        case list():
            return ("list", tuple(normal(one) for one in value))
        case dict():
            return ("dict", frozenset((name, normal(one)) for name, one in value.items()))
        case _:
            return ("number", value)


NEAR = st.recursive(
    st.sampled_from([0, 1, 0.0, 1.0, False, True, None, "", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["", "a"]), inner, max_size=2),
    max_leaves=4,
)


@given(NEAR, NEAR)
def test_values_are_equal_as_json(one: Any, other: Any) -> None:
    """Kinds are told apart, however deep: a number is never true, and an empty list is no empty object."""
    assert (passes({"v": one}, {"v": [other]}) is None) == (normal(one) == normal(other))


def test_values_may_be_deep() -> None:
    """Deeper than Python's calls may be."""
    one: JsonValue = 1
    other: JsonValue = 1.0
    for _ in range(5000):
        one, other = [one], [other]
    assert passes({"v": one}, {"v": [other]}) is None
