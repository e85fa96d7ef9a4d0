"""Stack parameters: defaults, the caller's values, and the checks that CloudFormation makes."""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Mapping


def parameter_values(declared: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Return the value of every declared parameter, typed as Ref returns it.

    Raises TemplateError for an unknown, missing or inadmissible value.
    """
    for name in given:
        if name not in declared:
            raise TemplateError(f"Parameter {name}: the template has no such parameter.")
    return {name: _value(name, declaration, given.get(name)) for name, declaration in declared.items()}


def _value(name: str, declaration: Mapping[str, Any], given: str | None) -> Any:
    if given is None and "Default" not in declaration:
        raise TemplateError(f"Parameter {name}: it has no default, so it needs a value.")
    text = str(declaration["Default"] if given is None else given)
    kind = str(declaration.get("Type"))
    if kind == "CommaDelimitedList":
        items = [item.strip() for item in text.split(",")]
        for item in items:
            _check(name, declaration, item)
        return items
    if kind not in {"String", "Number"}:
        raise TemplateError(f"Parameter {name}: the embedded AWS has no parameters of type {kind}.")
    _check(name, declaration, text)
    return _number(name, declaration, text) if kind == "Number" else text


def _check(name: str, declaration: Mapping[str, Any], text: str) -> None:
    allowed = declaration.get("AllowedValues")
    if allowed is not None and text not in [str(value) for value in allowed]:
        raise TemplateError(f"Parameter {name}: {text!r} is none of {', '.join(map(str, allowed))}.")
    pattern = declaration.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(str(pattern), text):
        raise TemplateError(f"Parameter {name}: {text!r} does not match {pattern}.")
    if not int(declaration.get("MinLength", 0)) <= len(text) <= int(declaration.get("MaxLength", 4096)):
        raise TemplateError(f"Parameter {name}: {text!r} is too short or too long.")


def _number(name: str, declaration: Mapping[str, Any], text: str) -> int | float:
    try:
        number = int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError as error:
        raise TemplateError(f"Parameter {name}: {text!r} is not a number.") from error
    if "MinValue" in declaration and number < float(declaration["MinValue"]):
        raise TemplateError(f"Parameter {name}: {text} is less than {declaration['MinValue']}.")
    if "MaxValue" in declaration and number > float(declaration["MaxValue"]):
        raise TemplateError(f"Parameter {name}: {text} is more than {declaration['MaxValue']}.")
    return number
