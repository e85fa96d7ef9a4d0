"""The order of the tests, and which of them belong together where several processes share the work."""

import sys

import pytest

# ZenML looks for the sources beside the program's file; a process of pytest-xdist has none.
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = pytest.__file__


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the end-to-end tests first, for they take longest; the order within is kept.

    Each file stays in one process, and so do all end-to-end tests, which share one running product.
    """
    items.sort(key=lambda item: item.get_closest_marker("end_to_end") is None)
    for item in items:
        whole_product = item.get_closest_marker("end_to_end") is not None
        item.add_marker(pytest.mark.xdist_group("end_to_end" if whole_product else item.nodeid.partition("::")[0]))
