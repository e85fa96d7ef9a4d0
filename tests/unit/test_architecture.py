"""Who may know whom (DESIGN section 3), where import-linter cannot see it: handlers, and the places of boto3."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HANDLERS = sorted((ROOT / "functions").glob("*/*.py"))
DOMAIN = sorted((ROOT / "layers" / "zentrigger" / "zentrigger").rglob("*.py"))

ADAPTERS = {
    "run_store",
    "attempt_store",
    "run_listing",
    "run_reader",
    "catalogue_store",
    "trigger_store",
    "key_store",
    "launcher",
    "task_definitions",
    "log_reader",
    "scheduler",
    "event_publisher",
    "items",  # what the stores share: DynamoDB's own way of writing values
    "wiring",  # makes the clients
}


def imports(file: Path) -> Iterator[str]:
    """Give every module that the file imports, at its top or anywhere inside; not what only type checkers read."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), filename=str(file))):
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            skipped.update(inner for statement in node.body for inner in ast.walk(statement))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def name_of(file: Path) -> str:
    """Name a file by its path from the repository's root."""
    return str(file.relative_to(ROOT))


def test_there_is_something_to_look_at() -> None:
    """A moved folder must not make these tests pass by finding nothing."""
    assert len(HANDLERS) >= 5
    assert len(DOMAIN) >= 10
    assert {file.stem for file in DOMAIN} >= ADAPTERS


@pytest.mark.parametrize("file", HANDLERS, ids=name_of)
def test_a_handler_knows_the_domain_and_powertools_only(file: Path) -> None:
    """Parse, one call into `zentrigger`, map the answer: no boto3, no ZenML, no other handler."""
    allowed = {"zentrigger", "aws_lambda_powertools", *sys.stdlib_module_names}
    assert {module for module in imports(file) if module.split(".")[0] not in allowed} == set()


@pytest.mark.parametrize("file", DOMAIN, ids=name_of)
def test_boto3_stays_in_the_adapters(file: Path) -> None:
    """Decisions are pure functions over typed values."""
    found = {module for module in imports(file) if module.split(".")[0] in {"boto3", "botocore"}}
    assert file.stem in ADAPTERS or found == set()


@pytest.mark.parametrize("file", DOMAIN, ids=name_of)
def test_the_domain_holds_no_zenml(file: Path) -> None:
    """A Lambda could not hold it: with scikit-learn it is over 250 MB."""
    assert not any(module.split(".")[0] == "zenml" for module in imports(file))
