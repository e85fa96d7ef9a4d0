"""The stack under hardship: a clock that runs faster, stub tasks, and nothing that is spared."""

from collections.abc import Iterator

import pytest

from benchmarks.soak.stand import Stand, stand
from benchmarks.soak.tasks import StubTasks
from local.faults import Faults

SPEED = 20
"""90 s, after which an unanswered launch is looked for, are 4.5 s; the template's sweep comes every 3 s."""
SEED = 7
SLOTS = 12

_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="module")
def hard() -> Iterator[Stand]:
    """Run the stack; faults are up to the test."""
    with stand(StubTasks(), Faults(seed=SEED), speed=SPEED, slots=SLOTS, places=30) as made:
        yield made


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> list[str]:
    """Take lines that are shown when all tests have run."""
    return request.config.stash.setdefault(_FIGURES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show them."""
    for line in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(f"soak: {line}")
