"""Fields of events in templates: what of an event a trigger's parameters may name, and how its values are filled in.

A template is JSON; text in it may hold fields in braces, as in `s3://{bucket.name}/{object.key}`. Values are copied,
never evaluated: nothing that an event holds is looked at as a template or as code.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import JsonValue

from zentrigger.json_paths import MissingPathError, find

TriggerType = Literal["run", "s3", "schedule", "webhook"]

_COMMON = frozenset({"event.id", "event.time", "trigger"})

_KNOWN: Mapping[TriggerType, frozenset[str]] = {
    "s3": _COMMON
    | {
        "bucket.name",
        "event.reason",
        "object.etag",
        "object.key",
        "object.sequencer",
        "object.size",
        "object.version-id",
    },
    "schedule": _COMMON,
    "run": _COMMON
    | {
        "run.attempt",
        "run.ended_at",
        "run.id",
        "run.message",
        "run.pipeline",
        "run.reason",
        "run.snapshot",
        "run.status",
        "run.tags",
        "run.trigger",
        "run.zenml_run_id",
    },
    "webhook": _COMMON | {"body", "event.delivery"},
}
"""The fields that every event of a type has, whatever they hold."""

_OPEN: Mapping[TriggerType, tuple[str, ...]] = {
    "s3": (),
    "schedule": (),
    "run": ("run.outputs.", "run.parameters."),
    "webhook": ("body.", "header."),
}
"""What the fields begin with that only some events have: whether they are there, only an event can tell."""

_FIELD = re.compile(r"\{([A-Za-z][\w.\-]*)\}")


class FieldError(Exception):
    """A field that a template names is not in the event, or cannot stand in a text; the error's text says which."""


def unknown_fields(kind: TriggerType, template: Any) -> list[str]:  # noqa: ANN401 - JSON of any shape
    """Give the fields that a template names and no event of this type has."""
    return sorted({name for name in fields_in(template) if not _is_known(kind, name)})


def _is_known(kind: TriggerType, name: str) -> bool:
    if name.startswith("header.") and name != name.lower():
        # HTTP does not tell them apart by case (RFC 9110, section 5.1), and here they come in small letters.
        return False
    return name in _KNOWN[kind] or name.startswith(_OPEN[kind])


def known_fields(kind: TriggerType) -> list[str]:
    """Give what fields events of this type have, for people; an asterisk stands for what only an event can tell."""
    small = {"header.": " (in small letters)"}
    return sorted([*_KNOWN[kind], *(f"{prefix}*{small.get(prefix, '')}" for prefix in _OPEN[kind])])


def fields_in(template: Any) -> list[str]:  # noqa: ANN401 - JSON of any shape
    """Give the fields that a template names, however deep."""
    if isinstance(template, Mapping):
        return [field for value in template.values() for field in fields_in(value)]
    if isinstance(template, list | tuple):
        return [field for value in template for field in fields_in(value)]
    return _FIELD.findall(template) if isinstance(template, str) else []


def render(template: Any, document: Mapping[str, JsonValue]) -> Any:  # noqa: ANN401 - JSON of any shape
    """Fill an event's values into a template, however deep; a text that is one field and nothing else keeps its type.

    Raises:
        FieldError: the event lacks a field, or has null for one that is part of a longer text.

    """
    if isinstance(template, Mapping):
        return {name: render(value, document) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [render(value, document) for value in template]
    if not isinstance(template, str):
        return template
    whole = _FIELD.fullmatch(template)
    if whole:
        return _value(whole[1], document)
    # One pass: what an event's field holds is never looked at again, also when it holds braces.
    return _FIELD.sub(lambda field: _text(field[1], document), template)


def _value(field: str, document: Mapping[str, JsonValue]) -> JsonValue:
    try:
        return find(document, field)
    except MissingPathError as error:
        raise FieldError(f"The event has no field {{{field}}}: {error}") from error


def _text(field: str, document: Mapping[str, JsonValue]) -> str:
    value = _value(field, document)
    if value is None:
        raise FieldError(f"The event has null for {{{field}}}, which is part of a longer text.")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
