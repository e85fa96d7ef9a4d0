"""Stores on each DynamoDB in turn, and what the tests under threads have counted."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.factories import Runs
from tests.integration.zentrigger.bench import TABLE, Clock
from zentrigger.capacity_store import CapacityStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def clock() -> Clock:
    """Give the stores' clock."""
    return Clock()


@pytest.fixture
def store(dynamodb: "DynamoDBClient", clock: Clock) -> Runs:
    """Give the runs on each DynamoDB in turn."""
    return Runs(TABLE, dynamodb, clock)


@pytest.fixture
def capacity(dynamodb: "DynamoDBClient", clock: Clock) -> CapacityStore:
    """Give the capacity counts of the same table."""
    return CapacityStore(TABLE, dynamodb, clock)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Give what keeps a line with figures for the end of the tests' output."""
    return request.config.stash.setdefault(FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures."""
    lines = config.stash.get(FIGURES, [])
    if lines:
        terminalreporter.section("at once, on DynamoDB Local")
        for line in lines:
            terminalreporter.write_line(line)
