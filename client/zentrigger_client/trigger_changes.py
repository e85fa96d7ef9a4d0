"""What applying a file would change, as text.

``+`` is created, ``~`` changed, with each field before and after, ``-`` deleted.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zentrigger_client import rendering

_MARKS = {"create": "+", "update": "~", "delete": "-"}
_COUNTED = {"create": "to create", "update": "to change", "delete": "to delete", "unchanged": "unchanged"}
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MISSING = "(none)"
_MAX_SHOWN = 200
_KEPT_BEFORE = 20
"""Of what two long values have in common at their beginning, this many characters are shown."""


def changed(changes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the changes that are any."""
    return [change for change in changes if change["change"] != "unchanged"]


def deleted(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of the triggers that would be deleted."""
    return [change["name"] for change in changes if change["change"] == "delete"]


def diff(changes: Sequence[Mapping[str, Any]], given: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the changes for a person, by trigger, and then how many there are of each kind.

    Of a trigger that is created, the fields are shown that the file gives (``given``), as the API understood them.
    """
    lines: list[str] = []
    for change in sorted(changed(changes), key=lambda change: str(change["name"])):
        lines.append(_heading(change))
        match change["change"]:
            case "create" | "update" if "after" not in change:
                lines.append("    (too large to be shown)")
            case "update" if "before" not in change:
                lines.append("    (what stands cannot be read)")
            case "create":
                wanted = given.get(change["name"], {})
                shown = {name: value for name, value in (change["after"] or {}).items() if name in wanted}
                lines += [f"    {path}: {_cut(_json(value))}" for path, value in flattened(shown)]
            case "update":
                lines += [f"    {line}" for line in differences(change["before"] or {}, change["after"] or {})]
        lines.append("")
    return rendering.plain("\n".join([*lines, counts(changes)]))


def counts(changes: Sequence[Mapping[str, Any]]) -> str:
    """Return how many changes there are of each kind, in one line."""
    kinds = [change["change"] for change in changes]
    return ", ".join(f"{kinds.count(kind)} {said}" for kind, said in _COUNTED.items()) + "."


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return ``field: before -> after`` for each field that differs, however deep. A field that is null is none."""
    return [
        f"{path}: {one} -> {other}"
        for path, first, second in _differing(_given(before), _given(after), "")
        for one, other in [_pair(first, second)]
    ]


def flattened(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Give each value with the path to it: ``parameters.rows``; what is empty or no mapping is a value."""
    for name, value in content.items():
        below = _joined(path, name)
        if isinstance(value, Mapping) and value:
            yield from flattened(value, below)
        else:
            yield below, value


class _Nothing:
    """Stands for a field that is not there: null is a value."""


_NOTHING = _Nothing()


def _given(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in definition.items() if value is not None}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], path: str) -> Iterator[tuple[str, object, object]]:
    for name in {**before, **after}:
        first, second = before.get(name, _NOTHING), after.get(name, _NOTHING)
        below = _joined(path, name)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            yield from _differing(first, second, below)
        elif _json(first) != _json(second):  # in Python, 1, 1.0 and True are equal
            yield below, first, second


def _joined(path: str, name: str) -> str:
    shown = name if _PLAIN_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    return f"{path}.{shown}" if path else shown


def _json(value: object) -> str:
    return _MISSING if isinstance(value, _Nothing) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _pair(before: object, after: object) -> tuple[str, str]:
    """Return both as JSON; of long ones, what stands around the first place where they differ."""
    first, second = _json(before), _json(after)
    if max(len(first), len(second)) > _MAX_SHOWN:
        pairs = enumerate(zip(first, second, strict=False))
        common = next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))
        start = max(0, common - _KEPT_BEFORE)
        if start:
            first, second = f"…{first[start:]}", f"…{second[start:]}"
    return _cut(first), _cut(second)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def _heading(change: Mapping[str, Any]) -> str:
    return f"{_MARKS[change['change']]} {change['name']} ({change['type'] or '?'}, {change['pipeline'] or '?'})"
