"""What a target of a rule is given: the event, a part of it, a constant, or a transformed text.

Rules: Amazon EventBridge User Guide, "Amazon EventBridge input transformation".
"""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from local.errors import invalid
from local.resources import check_keys

if TYPE_CHECKING:
    from local.deploy import Resource

Event = Mapping[str, Any]
_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.-]+)>")
_PATH_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[(\d+)\]|\['([^']+)'\]|\[\"([^\"]+)\"\]")
_RESERVED = frozenset({
    "aws.events.rule-arn", "aws.events.rule-name", "aws.events.event.ingestion-time", "aws.events.event",
    "aws.events.event.json",
})  # fmt: skip


def input_of(rule: Resource, rule_arn: str, target: Mapping[str, Any]) -> Callable[[Event], str]:
    """Return a function from the event to the text that the target gets; raises TemplateError."""
    given = [name for name in ("Input", "InputPath", "InputTransformer") if name in target]
    if len(given) > 1:
        raise invalid(rule.logical_id, f"a target may have only one of {' and '.join(given)}.")
    if "Input" in target:
        text = str(target["Input"])
        try:
            json.loads(text)
        except ValueError as error:
            raise invalid(rule.logical_id, "the Input of a target is no JSON.") from error
        return lambda _: text
    if "InputPath" in target:
        steps = _steps(rule, str(target["InputPath"]))
        return lambda event: json.dumps(_find(event, steps))
    if "InputTransformer" in target:
        return _transformer(rule, rule_arn, target["InputTransformer"])
    return json.dumps


def _transformer(rule: Resource, rule_arn: str, transformer: Mapping[str, Any]) -> Callable[[Event], str]:
    check_keys(rule.logical_id, "InputTransformer", transformer, frozenset({"InputPathsMap", "InputTemplate"}))
    paths = {name: _steps(rule, str(path)) for name, path in transformer.get("InputPathsMap", {}).items()}
    template = str(transformer.get("InputTemplate", ""))
    for name in _PLACEHOLDER.findall(template):
        if name not in paths and name not in _RESERVED:
            raise invalid(rule.logical_id, f"its InputTemplate names <{name}>, which its InputPathsMap does not have.")
    marks = [(match, _inside_text(template, match.start())) for match in _PLACEHOLDER.finditer(template)]

    def transform(event: Event) -> str:
        values: dict[str, Any] = {name: _find(event, steps) for name, steps in paths.items()}
        values |= {
            "aws.events.rule-arn": rule_arn,
            "aws.events.rule-name": rule_arn.rpartition("/")[2],
            "aws.events.event.ingestion-time": event.get("time"),
            "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
            "aws.events.event.json": event,
        }
        written: list[str] = []
        end = 0
        for match, inside in marks:
            written += [template[end : match.start()], _written(values[match[1]], inside=inside)]
            end = match.end()
        return "".join([*written, template[end:]])

    return transform


def _written(value: Any, *, inside: bool) -> str:
    """Write a variable: within quotes as text, elsewhere as JSON."""
    if not inside:
        return json.dumps(value)
    return json.dumps(value if isinstance(value, str) else json.dumps(value) if value is not None else "")[1:-1]


def _inside_text(template: str, position: int) -> bool:
    """Whether a position of a JSON template lies within quotes."""
    return len(re.findall(r'(?<!\\)"', template[:position])) % 2 == 1


def _steps(rule: Resource, path: str) -> list[str | int]:
    """Parse the part of JSONPath that EventBridge knows: $.a.b[0]['c']."""
    if not path.startswith("$"):
        raise invalid(rule.logical_id, f"{path!r} is no path into an event: it must begin with $.")
    steps: list[str | int] = []
    position = 1
    while position < len(path):
        match = _PATH_STEP.match(path, position)
        if match is None:
            raise invalid(rule.logical_id, f"{path!r} is no path into an event.")
        steps.append(int(match[2]) if match[2] else match[1] or match[3] or match[4])
        position = match.end()
    return steps


def _find(event: Any, steps: list[str | int]) -> Any:
    found = event
    for step in steps:
        if isinstance(step, int):
            found = found[step] if isinstance(found, list) and step < len(found) else None
        else:
            found = found.get(step) if isinstance(found, Mapping) else None
    return found
