"""Comparing counts with runs: in how many calls, in which order, and what is left for the next time."""

from datetime import timedelta
from typing import Any

import pytest

from tests.factories import MOMENT, run
from tests.simulation.table import Table
from zentrigger.capacity import Concurrency
from zentrigger.capacity_counts import capacity_key
from zentrigger.capacity_store import CapacityStore, Drift
from zentrigger.items import from_item
from zentrigger.runs import Run

TABLE = "runs"
KEYS = 1500


class Counting:
    """A table whose batches are counted, and which is too busy for the groups that it is told of."""

    def __init__(self) -> None:
        self.table = Table(lambda: MOMENT)
        self.batches: list[list[str]] = []
        self.busy: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        assert name not in {"get_item", "scan"}, "one call a group, or for all that there is"
        return getattr(self.table, name)

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        asked = RequestItems[TABLE]
        assert asked["ConsistentRead"]
        groups = [from_item(key)["run_id"].removeprefix("capacity#") for key in asked["Keys"]]
        self.batches.append(groups)
        left = [key for group, key in zip(groups, asked["Keys"], strict=True) if group in self.busy]
        keys = [key for key in asked["Keys"] if key not in left]
        answer = self.table.batch_get_item(RequestItems={TABLE: {"Keys": keys}})
        return answer | {"UnprocessedKeys": {TABLE: {"Keys": left}} if left else {}}


@pytest.fixture
def client() -> Counting:
    return Counting()


def waiting(count: int) -> list[Run]:
    """Make runs that wait, each with a key of its own; nobody has counted them."""
    return [run(status="queued", concurrency=Concurrency(key=str(number))) for number in range(count)]


def store(client: Counting) -> CapacityStore:
    return CapacityStore(TABLE, client, lambda: MOMENT)  # type: ignore[arg-type]


def test_many_groups_are_read_a_hundred_at_a_time(client: Counting) -> None:
    """All runs, their pipeline and their keys: in 16 calls."""
    drifts = store(client).compare(waiting(KEYS), MOMENT)

    assert len(drifts) == KEYS + 2
    assert [len(batch) for batch in client.batches] == [100] * 15 + [2]
    assert client.batches[0][0] == "all"


def test_what_there_is_no_time_for_is_left_to_the_next_sweep(client: Counting) -> None:
    """All runs' counts are compared each time; which others are is a matter of luck."""
    runs = waiting(KEYS)
    for _ in range(2):
        drifts = store(client).compare(runs, MOMENT, in_time=iter((True, True, False)).__next__)
        assert len(drifts) == 200

    assert [len(batch) for batch in client.batches] == [100] * 4
    assert [client.batches[number][0] for number in (0, 2)] == ["all", "all"]
    seen = [set(client.batches[number]) | set(client.batches[number + 1]) for number in (0, 2)]
    assert seen[0] != seen[1]
    store(client).compare(runs, MOMENT, in_time=lambda: False)
    assert len(client.batches) == 4


def test_counts_that_could_not_be_read_are_not_compared(client: Counting) -> None:
    """They are not none: DynamoDB was busy. The next look has them."""
    client.busy = {"all", "key#0"}
    assert {drift.group for drift in store(client).compare(waiting(2), MOMENT)} == {
        "pipeline#training_pipeline",
        "key#1",
    }
    for group in client.busy:
        assert "Item" not in client.table.get_item(TableName=TABLE, Key=capacity_key(group))

    client.busy = set()
    later = store(client).compare(waiting(2), MOMENT + timedelta(minutes=1))
    assert Drift("all", 0, -2, repaired=False) in later
