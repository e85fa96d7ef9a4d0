"""Event patterns: EventBridge rules and Lambda's event filters share this language.

Rules: Amazon EventBridge User Guide, "Comparison operators" and "Creating event patterns". A pattern is compiled
once; an operator that is not known here is an error then, and never a match that fails in silence.
"""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Matcher = Callable[[Any], bool]
"""Takes a list of leaf values found at one path (empty: the path is absent)."""

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    "=": lambda left, right: left == right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


class PatternError(ValueError):
    """A pattern that EventBridge would refuse, or that the embedded AWS does not know."""


def compile_pattern(pattern: Any) -> Callable[[Mapping[str, Any]], bool]:
    """Return a function that says whether an event matches; raises PatternError."""
    if not isinstance(pattern, dict) or not pattern:
        raise PatternError("An event pattern is an object with at least one field.")
    return _object(pattern, "")


def _object(pattern: Mapping[str, Any], path: str) -> Callable[[Mapping[str, Any]], bool]:
    checks = [_member(name, value, path) for name, value in pattern.items()]
    if not checks:
        raise PatternError(f"{path or 'The pattern'} is an empty object.")
    return lambda event: all(check(event) for check in checks)


def _member(name: str, value: Any, path: str) -> Callable[[Mapping[str, Any]], bool]:
    where = f"{path}.{name}" if path else name
    if name == "$or":
        if not isinstance(value, list) or len(value) < 2:  # noqa: PLR2004 - a choice has two sides
            raise PatternError(f"{where} is a list of at least two patterns.")
        choices = [_object(choice, where) for choice in value]
        return lambda event: any(choice(event) for choice in choices)
    if isinstance(value, dict):
        inner = _object(value, where)
        return lambda event: any(inner(child) for child in _children(event.get(name)))
    if isinstance(value, list):
        if not value:
            raise PatternError(f"{where} is an empty list, which nothing matches.")
        matchers = [_matcher(item, where) for item in value]
        return lambda event: any(matcher(_leaves(event, name)) for matcher in matchers)
    raise PatternError(f"{where} must be an object or a list, not {value!r}.")


def _children(value: Any) -> Iterator[Mapping[str, Any]]:
    """Objects at a path; a list of objects counts as each of them. Absent ones count as empty, for `exists: false`."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, Mapping))
    elif isinstance(value, Mapping):
        yield value
    elif value is None:
        yield {}


def _leaves(event: Mapping[str, Any], name: str) -> list[Any]:
    if name not in event:
        return []
    value = event[name]
    if isinstance(value, list):
        return [item for item in value if not isinstance(item, Mapping | list)]
    return [] if isinstance(value, Mapping) else [value]


def _matcher(item: Any, where: str) -> Matcher:
    if item is None or isinstance(item, str | bool | int | float):
        return lambda leaves: any(_equal(leaf, item) for leaf in leaves)
    if not isinstance(item, dict) or len(item) != 1:
        raise PatternError(f"{where}: {item!r} is neither a value nor one operator.")
    operator, argument = next(iter(item.items()))
    if operator == "exists":
        if not isinstance(argument, bool):
            raise PatternError(f"{where}: exists takes true or false.")
        return lambda leaves: bool(leaves) == argument
    if operator == "anything-but":
        test = _anything_but(argument, where)
        return lambda leaves: bool(leaves) and not any(test(leaf) for leaf in leaves)
    test = _test(operator, argument, where)
    return lambda leaves: any(test(leaf) for leaf in leaves)


def _equal(leaf: Any, wanted: Any) -> bool:
    if isinstance(leaf, bool) or isinstance(wanted, bool):
        return leaf is wanted
    return (type(leaf) is type(wanted) and bool(leaf == wanted)) or (
        _number(leaf) and _number(wanted) and leaf == wanted
    )


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _anything_but(argument: Any, where: str) -> Callable[[Any], bool]:
    if isinstance(argument, dict):
        if len(argument) != 1:
            raise PatternError(f"{where}: anything-but takes one operator.")
        operator, inner = next(iter(argument.items()))
        if operator not in {"prefix", "suffix", "equals-ignore-case", "wildcard"}:
            raise PatternError(f"{where}: anything-but does not know the operator {operator!r}.")
        tests = [_test(operator, one, where) for one in (inner if isinstance(inner, list) else [inner])]
        return lambda leaf: any(test(leaf) for test in tests)
    values = argument if isinstance(argument, list) else [argument]
    if not values or not all(isinstance(value, str) or _number(value) for value in values):
        raise PatternError(f"{where}: anything-but takes texts or numbers.")
    return lambda leaf: any(_equal(leaf, value) for value in values)


def _test(operator: str, argument: Any, where: str) -> Callable[[Any], bool]:
    make = _OPERATORS.get(operator)
    if make is None:
        raise PatternError(f"{where}: {operator!r} is no operator of event patterns.")
    return make(argument, where)


def _affix(argument: Any, where: str, *, prefix: bool) -> Callable[[Any], bool]:
    fold = isinstance(argument, dict) and list(argument) == ["equals-ignore-case"]
    text = argument["equals-ignore-case"] if fold else argument
    if not isinstance(text, str) or not text:
        raise PatternError(f"{where}: prefix and suffix take a text.")
    wanted = text.lower() if fold else text

    def test(leaf: Any) -> bool:
        if not isinstance(leaf, str):
            return False
        value = leaf.lower() if fold else leaf
        return value.startswith(wanted) if prefix else value.endswith(wanted)

    return test


def _prefix(argument: Any, where: str) -> Callable[[Any], bool]:
    return _affix(argument, where, prefix=True)


def _suffix(argument: Any, where: str) -> Callable[[Any], bool]:
    return _affix(argument, where, prefix=False)


def _equals_ignore_case(argument: Any, where: str) -> Callable[[Any], bool]:
    if not isinstance(argument, str):
        raise PatternError(f"{where}: equals-ignore-case takes a text.")
    return lambda leaf: isinstance(leaf, str) and leaf.lower() == argument.lower()


def _wildcard(argument: Any, where: str) -> Callable[[Any], bool]:
    r"""Match `*` with any number of characters; `\*` and `\\` are literal."""
    if not isinstance(argument, str) or "**" in argument:
        raise PatternError(f"{where}: wildcard takes a text without two stars in a row.")
    parts = re.findall(r"\\[*\\]|\*|[^*\\]+|\\", argument)
    if "\\" in parts:
        raise PatternError(f"{where}: a backslash in a wildcard must stand before a star or a backslash.")
    expression = re.compile(
        "".join(".*" if part == "*" else re.escape(part.removeprefix("\\")) for part in parts), re.DOTALL
    )
    return lambda leaf: isinstance(leaf, str) and expression.fullmatch(leaf) is not None


def _numeric(argument: Any, where: str) -> Callable[[Any], bool]:
    if not isinstance(argument, list) or len(argument) not in {2, 4}:
        raise PatternError(f"{where}: numeric takes one or two comparisons.")
    pairs = [(argument[index], argument[index + 1]) for index in range(0, len(argument), 2)]
    for sign, bound in pairs:
        if sign not in _COMPARISONS or not _number(bound):
            raise PatternError(f"{where}: {sign!r} {bound!r} is no numeric comparison.")
    return lambda leaf: _number(leaf) and all(_COMPARISONS[sign](leaf, bound) for sign, bound in pairs)


def _cidr(argument: Any, where: str) -> Callable[[Any], bool]:
    try:
        network = ipaddress.ip_network(argument, strict=False)
    except ValueError as error:
        raise PatternError(f"{where}: {argument!r} is no range of addresses.") from error

    def test(leaf: Any) -> bool:
        try:
            return isinstance(leaf, str) and ipaddress.ip_address(leaf) in network
        except ValueError:
            return False

    return test


_OPERATORS: dict[str, Callable[[Any, str], Callable[[Any], bool]]] = {
    "cidr": _cidr,
    "equals-ignore-case": _equals_ignore_case,
    "numeric": _numeric,
    "prefix": _prefix,
    "suffix": _suffix,
    "wildcard": _wildcard,
}
