"""Lines of the summary at the end of the tests: how much was tried."""

from collections.abc import Callable

import pytest


class _Told:
    def __init__(self, what: str, told: Callable[[], str]) -> None:
        self._what = what
        self._told = told

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section(self._what)
        terminalreporter.write_line(f"{self._what}: {self._told()}")


def tell(config: pytest.Config, what: str, told: Callable[[], str]) -> None:
    """Have the summary say something about some tests: it is asked for when all of them are done."""
    config.pluginmanager.register(_Told(what, told), f"summary of {what}")
