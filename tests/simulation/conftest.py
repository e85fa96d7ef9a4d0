"""Simulations open no socket, sleep nowhere and write no log."""

from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket

from tests.simulation.world import standstill


@pytest.fixture(autouse=True)
def _no_sockets() -> None:
    disable_socket(allow_unix_socket=True)


@pytest.fixture(autouse=True)
def _standstill() -> Iterator[None]:
    with standstill():
        yield
