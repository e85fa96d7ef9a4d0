"""Templates over events: which fields there are, and how their values are filled in."""

import tracemalloc
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zentrigger.event_fields import FieldError, TriggerType, fields_in, known_fields, render, unknown_fields

DOCUMENT: dict[str, Any] = {
    "trigger": "t",
    "event": {"id": "1"},
    "bucket": {"name": "data"},
    "object": {"key": "in/{bucket.name}.csv", "size": 7, "version-id": None},
    "body": {"a": [{"b": True}, {"b": {"c": [1, 2.5]}}], "text": "ü"},
}

MOST = 10**9

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("s3://{bucket.name}/{object.key}", "s3://data/in/{bucket.name}.csv"),
        ("{object.size}", 7),
        ("{object.size} bytes", "7 bytes"),
        ("{object.version-id}", None),
        ("{body.a.0.b}", True),
        ("{body.a.0.b}!", "true!"),
        ("{body.a.1}", {"b": {"c": [1, 2.5]}}),
        ("{body.a.1.b.c} {body.text}", "[1, 2.5] ü"),
        (" {object.size}", " 7"),
        ("{{object.size}}", "{7}"),
        ("{object.size}{object.size}", "77"),
        ({"{object.size}": ["{object.size}", {"x": "{trigger}"}]}, {"{object.size}": [7, {"x": "t"}]}),
        (("{trigger}",), ["t"]),
        ("{}", "{}"),
        ("{ trigger }", "{ trigger }"),
        ("{0}", "{0}"),
        (7, 7),
        (None, None),
        (True, True),
    ],
)
def test_values_are_filled_in(template: Any, expected: Any) -> None:
    """A field alone keeps its type; within a text it is text; names of members and all else stay as they are."""
    filled = render(template, DOCUMENT, max_bytes=1000)

    assert filled == expected
    assert type(filled) is type(expected)


@pytest.mark.parametrize("template", ["{object.etag}", "x{body.a.2.b}", ["{body.a.b}"], {"a": {"b": "{body.text.x}"}}])
def test_a_missing_field_is_named(template: Any) -> None:
    """With how far the way led, and nothing of the event's values."""
    with pytest.raises(FieldError, match=r"The event has no field \{") as caught:
        render(template, DOCUMENT, max_bytes=1000)
    assert "ü" not in str(caught.value)


def test_null_is_a_value_but_no_part_of_a_text() -> None:
    """`None` or `null` in an object's URL would be a wrong one."""
    with pytest.raises(FieldError, match=r"null for \{object.version-id\}"):
        render("s3://data/x?versionId={object.version-id}", DOCUMENT, max_bytes=1000)


@given(json_values)
def test_what_an_event_holds_is_copied_never_read(value: Any) -> None:
    """No value is looked at as a template, whatever braces it holds, and a lone field gives it unchanged."""
    event = {"body": {"x": value}}

    assert render("{body.x}", event, max_bytes=MOST) == value
    if isinstance(value, str):
        assert render("<{body.x}{body.x}>", event, max_bytes=MOST) == f"<{value}{value}>"


@given(json_values)
def test_without_fields_a_template_is_what_it_says(template: Any) -> None:
    """Whatever JSON it is."""
    if not fields_in(template):
        assert render(template, {}, max_bytes=0) == template


LARGE: dict[str, Any] = {"body": {"text": "é" * 50, "list": ["é" * 48], "half": "\ud800"}}


@pytest.mark.parametrize(
    ("template", "size"),
    [
        ("{body.text}", 102),
        ("<{body.text}>", 100),
        ("{body.list}", 102 - 4 + 2),
        ("{body.list}.", 100),
        ({"a": ["{body.text}", "<{body.text}{body.text}>"], "b": {"c": "{body.text}"}}, 2 * 102 + 2 * 100),
        (["{body.half}", "<{body.half}>"], 5 + 3),
        ("no field, however long: " * 100, 0),
    ],
)
def test_what_is_filled_in_has_a_limit(template: Any, size: int) -> None:
    """By its bytes, all of it together; the template's own do not count."""
    assert render(template, LARGE, max_bytes=size) is not None
    with pytest.raises(FieldError, match=f"over {size - 1} bytes") if size else nullcontext():
        render(template, LARGE, max_bytes=size - 1)


def test_a_template_that_would_be_enormous_is_never_made() -> None:
    """A large field that is named a thousand times, in one text or in many: 200 MB would be more than there is."""
    event: dict[str, Any] = {"body": {"text": "x" * 200_000}}
    tracemalloc.start()
    try:
        for template in ("<{body.text}>" * 1000, ["<{body.text}>"] * 1000, ["{body}"] * 1000):
            with pytest.raises(FieldError, match="bytes"):
                render(template, event, max_bytes=262_144)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize(
    ("kind", "known", "unknown"),
    [
        ("s3", "{bucket.name}{object.key}{object.version-id}{event.reason}{trigger}", "{object.name}{run.id}{body.x}"),
        ("schedule", "{event.id}{event.time}{trigger}", "{event.reason}{bucket.name}"),
        ("run", "{run.id}{run.outputs.train.model.uri}{run.parameters.x}{run.tags}", "{run.outputs}{run.uri}{body}"),
        ("webhook", "{body}{body.a.0.b}{header.x-github-event}{event.delivery}", "{headers.x}{header}{header.X-Id}"),
    ],
)
def test_fields_that_no_event_has_are_known_beforehand(kind: TriggerType, known: str, unknown: str) -> None:
    """As far as its type tells; a header's name has small letters, whatever its sender wrote."""
    assert unknown_fields(kind, {"deep": [known]}) == []
    assert unknown_fields(kind, [{"deep": unknown}, unknown]) == sorted(fields_in(unknown))


def test_what_there_is_can_be_shown() -> None:
    """For the text of an error."""
    assert {"body", "body.*", "event.delivery", "event.id"} <= set(known_fields("webhook"))
    assert "small letters" in " ".join(known_fields("webhook"))
