"""A template's Rules: what CloudFormation checks of its parameters together, before it makes anything.

Rules: AWS CloudFormation User Guide, "Rules section" and "Rule-specific intrinsic functions". A function that is not
known here is an error.
"""

# ruff: noqa: ANN401 - templates hold values of any shape

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.errors import TemplateError

if TYPE_CHECKING:
    from collections.abc import Mapping


def check_rules(rules: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raise TemplateError with the description of the first assertion that does not hold."""
    for name, rule in rules.items():
        where = f"Rules.{name}"
        if "RuleCondition" in rule and not _holds(rule["RuleCondition"], parameters, where):
            continue
        for assertion in rule["Assertions"]:
            if not _holds(assertion["Assert"], parameters, where):
                raise TemplateError(f"{where}: {assertion.get('AssertDescription', 'an assertion does not hold.')}")


def _holds(expression: Any, parameters: Mapping[str, Any], where: str) -> bool:
    match expression:
        case {"Fn::Equals": [left, right]}:
            return _value(left, parameters, where) == _value(right, parameters, where)
        case {"Fn::Not": [inner]}:
            return not _holds(inner, parameters, where)
        case {"Fn::And": [*inner]}:
            return all(_holds(one, parameters, where) for one in inner)
        case {"Fn::Or": [*inner]}:
            return any(_holds(one, parameters, where) for one in inner)
        case {"Fn::Contains": [[*texts], text]}:
            return _value(text, parameters, where) in [_value(one, parameters, where) for one in texts]
    raise TemplateError(f"{where}: the embedded AWS cannot judge {expression!r}.")


def _value(expression: Any, parameters: Mapping[str, Any], where: str) -> str:
    if isinstance(expression, dict):
        if list(expression) != ["Ref"] or expression["Ref"] not in parameters:
            raise TemplateError(f"{where}: {expression!r} names no parameter.")
        return str(parameters[expression["Ref"]])
    return str(expression)
