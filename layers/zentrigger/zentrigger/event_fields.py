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
    """What a template names is not in the event, cannot stand in a text or is too much; the error's text says which."""


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


def render(template: Any, document: Mapping[str, JsonValue], *, max_bytes: int) -> Any:  # noqa: ANN401 - JSON of any shape
    """Fill an event's values into a template, however deep; a text that is one field and nothing else keeps its type.

    A template may name a large field many times, so what is filled in is added up before it is made.

    Args:
        template: The template.
        document: The event's values.
        max_bytes: How much may be filled in, as JSON in UTF-8; what the template itself holds does not count.

    Raises:
        FieldError: the event lacks a field, has null for one that is part of a longer text, or fills in too much.

    """
    return _Rendering(document, max_bytes).filled(template)


class _Rendering:
    """One filling in of a template; each field is looked up once."""

    def __init__(self, document: Mapping[str, JsonValue], max_bytes: int) -> None:
        self._document = document
        self._max_bytes = max_bytes
        self._room = max_bytes
        self._values: dict[str, tuple[JsonValue, int]] = {}
        self._texts: dict[str, tuple[str, int]] = {}

    def filled(self, template: Any) -> Any:  # noqa: ANN401 - JSON of any shape
        if isinstance(template, Mapping):
            return {name: self.filled(value) for name, value in template.items()}
        if isinstance(template, list | tuple):
            return [self.filled(value) for value in template]
        if not isinstance(template, str):
            return template
        whole = _FIELD.fullmatch(template)
        if whole:
            return self._value(whole[1])
        # One pass: what an event's field holds is never looked at again, also when it holds braces.
        return _FIELD.sub(lambda field: self._text(field[1]), template)

    def _value(self, field: str) -> JsonValue:
        if field not in self._values:
            value = _value(field, self._document)
            self._values[field] = value, _size(_json(value))
        value, size = self._values[field]
        self._take(size)
        return value

    def _text(self, field: str) -> str:
        if field not in self._texts:
            text = _text(field, self._document)
            self._texts[field] = text, _size(text)
        text, size = self._texts[field]
        self._take(size)
        return text

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise FieldError(
                f"With the event's values filled in, the parameters are over {self._max_bytes} bytes, the most of any"
                " run. Have a smaller part of the event filled in, or put the data in S3 and hand on its URL."
            )


def _size(text: str) -> int:
    # Half a surrogate pair is no UTF-8, and some event may have one all the same.
    return len(text.encode(errors="surrogatepass"))


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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
