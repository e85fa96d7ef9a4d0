"""JSON paths: names and list indexes with full stops between them, as in `body.commits.0.id`.

A key that holds a full stop, or is empty, cannot be named.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice

from pydantic import JsonValue

MAX_PARTS = 20
"""Of a path: far more than any event is deep."""

_MAX_TEXT = 200
"""Characters of a sentence about a path."""

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


class MissingPathError(LookupError):
    """A path leads nowhere. The text says how far it went and what there is; names alone, never values."""


def check_path(path: str) -> None:
    """Check that a path could lead somewhere in some value.

    Raises:
        ValueError: it has a part that is empty, or too many.

    """
    _parts(path)


def find(value: Mapping[str, JsonValue] | JsonValue, path: str) -> JsonValue:
    """Give what stands at a path.

    A part is a name in an object, and an index, from 0, in a list: digits, without further zeros before them.

    Raises:
        MissingPathError: nothing stands there, or the path is none.

    """
    try:
        parts = _parts(path)
    except ValueError as error:
        raise MissingPathError(str(error)) from error
    here = value
    for depth, part in enumerate(parts):
        if isinstance(here, dict) and part in here:
            here = here[part]
        elif isinstance(here, list) and _INDEX.fullmatch(part) and int(part) < len(here):
            here = here[int(part)]
        else:
            raise MissingPathError(_short(f"{_shown('.'.join(parts[:depth])) or 'the event'} {_lacks(here, part)}"))
    return dict(here) if isinstance(here, Mapping) else here


def passes(values: Mapping[str, JsonValue], allowed: Mapping[str, Sequence[JsonValue]]) -> str | None:
    """Tell why values do not pass a filter; None: they pass.

    Args:
        values: What the paths lead into.
        allowed: For each path, the values of which one must stand there. They are compared as JSON: `1` and `1.0` are
            the same number, `1` and `true` are not the same.

    Returns:
        A sentence about the first path that does not pass. It has nothing of the event's values, but may have what is
        allowed.

    """
    event = dict(values)
    for path, choices in allowed.items():
        try:
            found = find(event, path)
        except MissingPathError as error:
            return str(error)
        if not any(_equal(found, choice) for choice in choices):
            texts = ", ".join(_json(choice) for choice in choices)
            return _short(f"{path} is not among the values that pass: {texts}")
    return None


def _parts(path: str) -> list[str]:
    # One part more than is allowed, however long the path is.
    parts = path.split(".", MAX_PARTS)
    if len(parts) > MAX_PARTS:
        raise ValueError(f"a path has {MAX_PARTS} parts at most")
    if not all(parts):
        raise ValueError(
            _short(f'the path "{_shown(path)}" has an empty part: names stand with one full stop between them')
        )
    return parts


def _lacks(here: Mapping[str, JsonValue] | JsonValue, part: str) -> str:
    match here:
        case dict():
            # As many names as can be shown, and a little of each: an event may have any number, of any length.
            names = ", ".join(_shown(name) for name in islice(here, _MAX_TEXT))
            return f'has no "{_shown(part)}"; it has: {names}' if names else f'has no "{_shown(part)}"; it is empty'
        case list():
            return f'has no "{_shown(part)}"; it is a list of {len(here)}'
        case None:
            kind = "null"
        case bool():
            kind = "true or false"
        case str():
            kind = "a text"
        case _:
            kind = "a number"
    return f'has no "{_shown(part)}"; it is {kind}'


def _shown(name: str) -> str:
    name = name[:_MAX_TEXT]
    return name if name.isprintable() else json.dumps(name)[1:-1]


def _json(value: JsonValue) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _equal(one: JsonValue, other: JsonValue) -> bool:
    """Tell whether two values are the same JSON. Not recursive: an event may be deeper than calls may."""
    pending: list[tuple[JsonValue, JsonValue]] = [(one, other)]
    while pending:
        left, right = pending.pop()
        if isinstance(left, dict) and isinstance(right, dict):
            if left.keys() != right.keys():
                return False
            pending += [(value, right[name]) for name, value in left.items()]
        elif isinstance(left, list) and isinstance(right, list):
            if len(left) != len(right):
                return False
            pending += zip(left, right, strict=True)
        # To Python, true is 1.
        elif isinstance(left, bool) is not isinstance(right, bool) or left != right:
            return False
    return True
