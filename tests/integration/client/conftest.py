"""Fixtures of the client's tests."""

from collections.abc import Iterator

import pytest

from tests.integration.client.fake_api import FakeApi


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Give a fresh API for one test."""
    fake = FakeApi()
    yield fake
    fake.close()
