"""CloudFormation's intrinsic functions, evaluated over a transformed template.

Rules: AWS CloudFormation User Guide, "Intrinsic function reference". Evaluation may be partial: references for which
the lookup returns `UNRESOLVED` stay in the result as `Ref`, `Fn::GetAtt` or `Fn::Join`, so that a value can be
finished once the resources exist. `Fn::Sub` is always turned into a join; `Fn::If` and conditions never depend on
resources.
"""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from local.errors import TemplateError

_VARIABLE = re.compile(r"\$\{(!?)([^}]*)\}")


class _Marker:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


UNRESOLVED: Final = _Marker("UNRESOLVED")
NO_VALUE: Final = _Marker("NO_VALUE")

Lookup = Callable[[str, str | None], Any]
"""(logical id, attribute or None for Ref) -> value or UNRESOLVED; raises KeyError for what does not exist."""


@dataclass(frozen=True)
class Scope:
    """What references may name besides resources: parameters and pseudo parameters, mappings and conditions."""

    names: Mapping[str, Any]
    mappings: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)
    zones: tuple[str, ...] = ()


class Evaluator:
    """Evaluates values of one template in one scope."""

    def __init__(self, scope: Scope, lookup: Lookup) -> None:
        self._scope = scope
        self._lookup = lookup
        self._conditions: dict[str, bool] = {}
        self._under_way: list[str] = []

    def evaluate(self, value: Any, where: str) -> Any:
        """Return `value` with every intrinsic function applied; `where` names it in errors."""
        result = self._evaluate(value, where)
        return None if result is NO_VALUE else result

    def condition(self, name: str, where: str) -> bool:
        """Return whether the named condition holds."""
        if name not in self._scope.conditions:
            raise TemplateError(f"{where}: the condition {name!r} is not defined.")
        if name in self._under_way:
            raise TemplateError(f"{where}: the condition {name!r} depends on itself.")
        if name not in self._conditions:
            self._under_way.append(name)
            self._conditions[name] = self._condition(self._scope.conditions[name], f"Conditions.{name}")
            self._under_way.pop()
        return self._conditions[name]

    def _condition(self, value: Any, where: str) -> bool:
        function, argument = _function_of(value) or (None, None)
        if function == "Condition":
            return self.condition(str(argument), where)
        if function == "Fn::Equals" and isinstance(argument, list) and len(argument) == 2:  # noqa: PLR2004 - two sides
            left, right = (self._concrete(side, where) for side in argument)
            return _text(left) == _text(right)
        if function == "Fn::Not" and isinstance(argument, list) and len(argument) == 1:
            return not self._condition(argument[0], where)
        if function in {"Fn::And", "Fn::Or"} and isinstance(argument, list):
            results = [self._condition(item, where) for item in argument]
            return all(results) if function == "Fn::And" else any(results)
        raise TemplateError(f"{where}: {json.dumps(value, default=str)} is no condition.")

    def _concrete(self, value: Any, where: str) -> Any:
        result = self._evaluate(value, where)
        if not is_concrete(result):
            raise TemplateError(f"{where}: {json.dumps(value, default=str)} must not depend on a resource.")
        return result

    def _evaluate(self, value: Any, where: str) -> Any:
        if isinstance(value, list):
            items = (self._evaluate(item, f"{where}[{index}]") for index, item in enumerate(value))
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        call = _function_of(value)
        if call is None or call[0] == "Condition":  # "Condition" is also a word of IAM policies
            results = {key: self._evaluate(item, f"{where}.{key}") for key, item in value.items()}
            return {key: item for key, item in results.items() if item is not NO_VALUE}
        function, argument = call
        method = _FUNCTIONS.get(function)
        if method is None:
            raise TemplateError(f"{where}: the embedded AWS does not know {function}.")
        return method(self, argument, where)

    def _ref(self, argument: Any, where: str) -> Any:
        if argument == "AWS::NoValue":
            return NO_VALUE
        if argument in self._scope.names:
            return self._scope.names[argument]
        value = self._resource(argument, None, where)
        return {"Ref": argument} if value is UNRESOLVED else value

    def _get_att(self, argument: Any, where: str) -> Any:
        parts = argument.split(".", 1) if isinstance(argument, str) else argument
        if not isinstance(parts, list) or len(parts) != 2:  # noqa: PLR2004 - resource and attribute
            raise TemplateError(f"{where}: Fn::GetAtt takes a resource and an attribute, not {argument!r}.")
        value = self._resource(parts[0], parts[1], where)
        return {"Fn::GetAtt": parts} if value is UNRESOLVED else value

    def _resource(self, name: Any, attribute: str | None, where: str) -> Any:
        try:
            return self._lookup(str(name), attribute)
        except KeyError as error:
            if attribute is None:
                raise TemplateError(
                    f"{where}: Ref names {name!r}, which is neither a parameter nor a resource."
                ) from error
            raise TemplateError(f"{where}: Fn::GetAtt asks for {name}.{attribute}, which does not exist.") from error

    def _if(self, argument: Any, where: str) -> Any:
        if not isinstance(argument, list) or len(argument) != 3:  # noqa: PLR2004 - condition and two values
            raise TemplateError(f"{where}: Fn::If takes a condition and two values.")
        return self._evaluate(argument[1] if self.condition(str(argument[0]), where) else argument[2], where)

    def _join(self, argument: Any, where: str) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:  # noqa: PLR2004 - delimiter and list
            raise TemplateError(f"{where}: Fn::Join takes a delimiter and a list.")
        items = self._evaluate(argument[1], where)
        if not isinstance(items, list):
            if is_concrete(items):
                raise TemplateError(f"{where}: Fn::Join joins a list, and {items!r} is none.")
            return {"Fn::Join": [argument[0], items]}
        return _joined(str(argument[0]), items)

    def _sub(self, argument: Any, where: str) -> Any:
        text, variables = argument if isinstance(argument, list) else (argument, {})
        if not isinstance(text, str) or not isinstance(variables, dict):
            raise TemplateError(f"{where}: Fn::Sub takes a text, or a text and a map.")
        parts: list[Any] = []
        end = 0
        for match in _VARIABLE.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            name = match[2].strip()
            if match[1]:
                parts.append("${" + match[2] + "}")
            elif name in variables:
                parts.append(self._evaluate(variables[name], where))
            elif "." in name:
                parts.append(self._get_att(name, where))
            else:
                parts.append(self._ref(name, where))
        parts.append(text[end:])
        if any(part is NO_VALUE for part in parts):
            raise TemplateError(f"{where}: Fn::Sub cannot put AWS::NoValue into a text.")
        return _joined("", [part for part in parts if part != ""])

    def _select(self, argument: Any, where: str) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:  # noqa: PLR2004 - index and list
            raise TemplateError(f"{where}: Fn::Select takes an index and a list.")
        index, items = self._concrete(argument[0], where), self._evaluate(argument[1], where)
        if not isinstance(items, list):
            return {"Fn::Select": [index, items]}
        try:
            return items[int(index)]
        except (IndexError, ValueError) as error:
            raise TemplateError(f"{where}: Fn::Select cannot take item {index!r} of {len(items)}.") from error

    def _split(self, argument: Any, where: str) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:  # noqa: PLR2004 - delimiter and text
            raise TemplateError(f"{where}: Fn::Split takes a delimiter and a text.")
        text = self._evaluate(argument[1], where)
        if not is_concrete(text):
            return {"Fn::Split": [argument[0], text]}
        return _text(text).split(str(argument[0]))

    def _find_in_map(self, argument: Any, where: str) -> Any:
        keys = [self._concrete(key, where) for key in argument[:3]]
        found: Any = self._scope.mappings
        for key in keys:
            if not isinstance(found, Mapping) or str(key) not in found:
                raise TemplateError(f"{where}: Fn::FindInMap finds nothing under {'.'.join(map(str, keys))}.")
            found = found[str(key)]
        return found

    def _get_azs(self, argument: Any, where: str) -> Any:
        self._concrete(argument, where)
        return list(self._scope.zones)

    def _base64(self, argument: Any, where: str) -> Any:
        return base64.b64encode(_text(self._concrete(argument, where)).encode()).decode()

    def _to_json_string(self, argument: Any, where: str) -> Any:
        value = self._evaluate(argument, where)
        return json.dumps(value) if is_concrete(value) else {"Fn::ToJsonString": value}


_FUNCTIONS: dict[str, Callable[[Evaluator, Any, str], Any]] = {
    "Ref": Evaluator._ref,  # noqa: SLF001 - a table of this class's own methods
    "Fn::GetAtt": Evaluator._get_att,  # noqa: SLF001
    "Fn::If": Evaluator._if,  # noqa: SLF001
    "Fn::Join": Evaluator._join,  # noqa: SLF001
    "Fn::Sub": Evaluator._sub,  # noqa: SLF001
    "Fn::Select": Evaluator._select,  # noqa: SLF001
    "Fn::Split": Evaluator._split,  # noqa: SLF001
    "Fn::FindInMap": Evaluator._find_in_map,  # noqa: SLF001
    "Fn::GetAZs": Evaluator._get_azs,  # noqa: SLF001
    "Fn::Base64": Evaluator._base64,  # noqa: SLF001
    "Fn::ToJsonString": Evaluator._to_json_string,  # noqa: SLF001
}


def _function_of(value: Any) -> tuple[str, Any] | None:
    """Return (name, argument) if `value` is a call of an intrinsic function."""
    if isinstance(value, dict) and len(value) == 1:
        name, argument = next(iter(value.items()))
        if name in {"Ref", "Condition"} and isinstance(argument, str):
            return name, argument
        if isinstance(name, str) and name.startswith("Fn::"):
            return name, argument
    return None


def is_concrete(value: Any) -> bool:
    """Return whether no intrinsic function is left in `value`."""
    if isinstance(value, list):
        return all(is_concrete(item) for item in value)
    if isinstance(value, dict):
        call = _function_of(value)
        return (call is None or call[0] == "Condition") and all(is_concrete(item) for item in value.values())
    return True


def references(value: Any) -> set[str]:
    """Return the logical ids that an evaluated value still waits for."""
    call = _function_of(value)
    if call is not None and call[0] == "Ref":
        return {str(call[1])}
    if call is not None and call[0] == "Fn::GetAtt":
        return {str(call[1][0])}
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for child in children for name in references(child)}


def _joined(delimiter: str, items: list[Any]) -> Any:
    if all(is_concrete(item) for item in items):
        return delimiter.join(_text(item) for item in items)
    return {"Fn::Join": [delimiter, [_text(item) if is_concrete(item) else item for item in items]]}


def _text(value: Any) -> str:
    """Write a scalar as CloudFormation does when it stands in a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return str(value)
