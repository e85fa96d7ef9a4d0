"""The order of the tests: those with the whole product come last, for only one embedded AWS can run in a process."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the end-to-end tests last; the order within is kept."""
    items.sort(key=lambda item: item.get_closest_marker("end_to_end") is not None)
