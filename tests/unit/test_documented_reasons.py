"""Every reason that a run can have stands in docs/operations.md, and every alarm, metric and reason there is one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.unit.template.checks import own_metrics
from tests.unit.template.view import whole

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
SOURCES = (*(ROOT / "layers" / "zentrigger" / "zentrigger").glob("*.py"), *(ROOT / "runner").glob("*.py"))
BY_POSITION = {"Failure": 0, "MarkOverdue": 0, "End": 1}
"""Where the reason stands in calls of the functions' side; the runner's `Refused` has it first, too."""


def test_every_reason_is_documented() -> None:
    """What a run's record may say is what an operator can look up."""
    said = {reason for source in SOURCES for reason in reasons_of(source)}
    assert len(said) > 30
    assert said == set(column("Reasons"))


def test_every_alarm_and_metric_is_documented() -> None:
    """By its name in the template, or in CloudWatch."""
    assert {f"{name}Alarm" for name in column("Alarms")} == {name for name, _ in whole().of("AWS::CloudWatch::Alarm")}
    assert set(column("Metrics")) == {name for name, _ in own_metrics()}


def column(section: str) -> list[str]:
    """Give the names in the first column of a section's table."""
    text = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([A-Za-z_]+)`", row)]


def reasons_of(source: Path) -> Iterator[str]:
    """Give the reasons that a module names: in calls, by position or by name, in what verdicts return, in SKIPPED."""
    positions = BY_POSITION | ({"Refused": 0} if source.parent.name == "runner" else {})
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        found: list[ast.expr] = []
        if isinstance(node, ast.Call):
            position = positions.get(ast.unparse(node.func))
            found += node.args[position : position + 1] if position is not None else []
            found += [word.value for word in node.keywords if word.arg == "reason"]
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and source.stem == "verdicts":
            found.append(node.value.elts[0])
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SKIPPED":
            found.append(node.value)
        for value in found:
            yield from texts(value)


def texts(value: ast.expr) -> Iterator[str]:
    """Give the texts that an expression may be: one, `this or that`, `this if so else that`."""
    match value:
        case ast.Constant(str() as text):
            yield text
        case ast.BoolOp(values=values):
            for one in values:
                yield from texts(one)
        case ast.IfExp(body=body, orelse=other):
            yield from texts(body)
            yield from texts(other)
