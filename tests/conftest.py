"""The order of the tests, and what all of them share."""

from collections.abc import Iterator
from functools import cache

import pytest
from botocore import session as botocore_session


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those with the whole product last, for only one embedded AWS can run in a process; keep the order within."""
    items.sort(key=lambda item: item.get_closest_marker("end_to_end") is not None)


@pytest.fixture(scope="session", autouse=True)
def _service_descriptions_are_read_once() -> Iterator[None]:
    """Let all sessions of boto3 share one loader: each would read megabytes of JSON again for its first clients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore_session, "create_loader", cache(botocore_session.create_loader))
        yield
