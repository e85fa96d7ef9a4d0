"""What an IAM policy says of a call: the part of IAM that roles in templates use, and an error for the rest.

Rules: IAM User Guide, "Policy evaluation logic" (a matching Deny wins, otherwise a matching Allow is needed) and
"IAM JSON policy elements". Whatever is not understood here (NotAction, variables, further operators) is an error,
never a yes.
"""

# ruff: noqa: ANN401 - policies hold values of any shape

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

_ELEMENTS: Final = frozenset({"Action", "Condition", "Effect", "Resource", "Sid"})
_OPERATORS: Final = frozenset({"ArnEquals", "ArnLike", "StringEquals", "StringLike"})
_FOR_ALL: Final = "ForAllValues:"
_MULTIVALUED: Final = frozenset({"dynamodb:LeadingKeys"})
"""Keys that a call may have with several values (Service Authorization Reference: ArrayOfString)."""
_VARIABLE = re.compile(r"\$\{[^}]*\}")


class PolicyError(Exception):
    """A policy has something that this module does not judge."""


@dataclass(frozen=True, order=True)
class Call:
    """One thing that a request does, as IAM judges it: action, resource and the condition keys it comes with.

    A key that has several values stands there once for each.
    """

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, order=True)
class Grant:
    """One action on one resource of one Allow statement, as they are written there."""

    statement: int
    action: str
    resource: str


Statement = Mapping[str, Any]


def role_statements(role: Mapping[str, Any]) -> tuple[Statement, ...]:
    """Return the statements of a role's own policies, in the template's order."""
    return tuple(
        statement for policy in role.get("Policies", ()) for statement in listed(policy["PolicyDocument"]["Statement"])
    )


def grants_of(statements: Sequence[Statement]) -> tuple[Grant, ...]:
    """Return everything that the statements allow."""
    return tuple(
        Grant(number, str(action), str(resource))
        for number, statement in enumerate(statements)
        if statement["Effect"] == "Allow"
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    )


def granting(statements: Sequence[Statement], call: Call) -> frozenset[Grant]:
    """Return what allows the call; nothing if it is not allowed. Raises PolicyError for what cannot be judged."""
    found: set[Grant] = set()
    for number, statement in enumerate(statements):
        matching = _matching(statement, call)
        if matching and statement["Effect"] == "Deny":
            return frozenset()
        found.update(Grant(number, action, resource) for action, resource in matching)
    return frozenset(found)


def statement_applies(statement: Statement, call: Call) -> bool:
    """Return whether action, resource and conditions of the statement match the call."""
    return bool(_matching(statement, call))


def check_statement(statement: Statement) -> None:
    """Raise PolicyError if a role's statement has something that this module does not judge, or lacks something."""
    for element in statement:
        if element not in _ELEMENTS:
            raise PolicyError(f"the element {element} of a statement cannot be judged.")
    for element in ("Action", "Resource"):
        if not listed(statement.get(element, [])):
            raise PolicyError(f"a statement has no {element}.")
        for text in listed(statement[element]):
            if _VARIABLE.search(str(text)):
                raise PolicyError(f"the policy variable in {text} cannot be judged.")
    if statement.get("Effect") not in {"Allow", "Deny"}:
        raise PolicyError(f"the Effect {statement.get('Effect')!r} is neither Allow nor Deny.")
    _check_conditions(statement["Effect"], statement.get("Condition", {}))


def _check_conditions(effect: str, conditions: Mapping[str, Mapping[str, Any]]) -> None:
    for operator, pairs in conditions.items():
        for key, wanted in pairs.items():
            _check_condition(operator, key, wanted)
            if key not in _MULTIVALUED:
                continue
            # Which keys a call has is not always known here: by that, nothing is allowed and nothing escapes a Deny.
            if effect == "Deny":
                raise PolicyError(f"a Deny by {key} cannot be judged.")
            if conditions.get("Null", {}).get(key) != "false":
                raise PolicyError(
                    f'{operator} may be true of a call without {key}: put "Null": {{{key}: "false"}} beside it.'
                )


def _check_condition(operator: str, key: str, wanted: Any) -> None:
    if operator == "Null":
        if wanted not in {"true", "false"}:
            raise PolicyError(f"Null of {key} is neither true nor false, as texts.")
        return
    if operator.removeprefix(_FOR_ALL) not in _OPERATORS:
        raise PolicyError(f"the condition operator {operator} cannot be judged.")
    if operator.startswith(_FOR_ALL) is not (key in _MULTIVALUED):
        raise PolicyError(f"{operator} of {key} cannot be judged: ForAllValues is for keys with several values.")


def _matching(statement: Statement, call: Call) -> list[tuple[str, str]]:
    pairs = [
        (str(action), str(resource))
        for action in listed(statement.get("Action", []))
        if matches(call.action.lower(), str(action).lower())
        for resource in listed(statement.get("Resource", []))
        if matches(call.resource, str(resource))
    ]
    return pairs if pairs and _conditions_hold(statement.get("Condition", {}), call.context) else []


def _conditions_hold(conditions: Mapping[str, Mapping[str, Any]], context: Sequence[tuple[str, str]]) -> bool:
    return all(
        _condition_holds(operator, key, wanted, [value for name, value in context if name == key])
        for operator, pairs in conditions.items()
        for key, wanted in pairs.items()
    )


def _condition_holds(operator: str, key: str, wanted: Any, values: Sequence[str]) -> bool:
    """Judge one condition.

    A key that the call does not have fulfils ForAllValues and Null of true, and none of the others (IAM User Guide,
    "Set operators for multivalued context keys" and "Condition operators").
    """
    _check_condition(operator, key, wanted)
    if operator == "Null":
        return (wanted == "true") is not bool(values)
    texts = [str(one) for one in listed(wanted)]
    exact = operator.removeprefix(_FOR_ALL) == "StringEquals"
    found = [value in texts if exact else any(matches(value, text) for text in texts) for value in values]
    return all(found) and (bool(found) or operator.startswith(_FOR_ALL))


def matches(text: str, pattern: str) -> bool:
    """Return whether a text matches a pattern, where `*` is any text and `?` any character."""
    return _compiled(pattern).fullmatch(text) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    wildcards = {"*": ".*", "?": "."}
    return re.compile("".join(wildcards.get(character, re.escape(character)) for character in pattern), re.DOTALL)


def listed(value: Any) -> list[Any]:
    """Return a policy's value as a list: one value may stand without brackets."""
    return [*value] if isinstance(value, list | tuple) else [value]


def described(calls: Iterable[Call]) -> str:
    """Say calls in a sentence."""
    return ", ".join(f"{call.action} on {call.resource}" for call in calls)
