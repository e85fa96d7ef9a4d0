"""What one more run gets is what was told beforehand: by the stack's slots, its pipeline's limit and its key."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import Runs, run
from tests.integration.zentrigger.bench import create, keyed
from tests.publishers import publish
from zentrigger.capacity import Limits, PipelineCapacity, slot_for
from zentrigger.capacity_store import CapacityStore
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.errors import ConflictError, NotFoundError, QueueFullError
from zentrigger.pipeline_limit import limit_pipeline
from zentrigger.runs import SKIPPED, Run, RunStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LIMITS = Limits(max_active=2, max_waiting=1, retention_days=1)
PIPELINE = "training_pipeline"
OTHER: dict[str, Any] = {"pipeline": "other"}

CASES: dict[str, tuple[list[tuple[str, int | None]], list[Run], Run, str]] = {
    "nobody is there": ([], [], run(), "start"),
    "a slot is free": ([], [run()], run(), "start"),
    "all slots are taken": ([], [run(), run(**OTHER)], run(), "queue"),
    "the queue is full": ([], [run(), run(), run()], run(), "refuse"),
    "somebody waits": ([("other", 0)], [run(**OTHER)], run(), "refuse"),
    "the pipeline is paused": ([(PIPELINE, 0)], [], run(), "queue"),
    "another pipeline is paused": ([("other", 0)], [], run(), "start"),
    "the pipeline is full": ([(PIPELINE, 1)], [run()], run(), "queue"),
    "the pipeline has room": ([(PIPELINE, 2)], [run()], run(), "start"),
    "the limit was taken away": ([(PIPELINE, 0), (PIPELINE, None)], [run()], run(), "start"),
    "the key is free": ([], [keyed("another")], keyed(on_conflict="skip"), "start"),
    "the key is taken": ([], [keyed()], keyed(), "queue"),
    "the key is taken: skip": ([], [keyed()], keyed(on_conflict="skip"), "skip"),
    "the key is taken: reject": ([], [keyed()], keyed(on_conflict="reject"), "reject"),
    "one of the key waits: skip": ([("other", 0)], [keyed(**OTHER)], keyed(on_conflict="skip"), "skip"),
    "one of the key waits: reject": ([("other", 0)], [keyed(**OTHER)], keyed(on_conflict="reject"), "reject"),
    "the key has room": ([], [keyed()], keyed(limit=2, on_conflict="reject"), "start"),
    "the key is taken and all is full": ([], [keyed(), run(), run()], keyed(on_conflict="skip"), "skip"),
    "the key is free and all is full": ([], [run(), run(), run()], keyed(on_conflict="skip"), "refuse"),
}


def becomes(store: Runs, of: Run) -> str:
    """Record a run and say what became of it."""
    try:
        created = create(store, of, max_active=LIMITS.max_active, max_waiting=LIMITS.max_waiting).run
    except ConflictError:
        return "reject"
    except QueueFullError:
        return "refuse"
    if created.reason == SKIPPED:
        return "skip"
    return {RunStatus.STARTING: "start", RunStatus.QUEUED: "queue"}[created.status]


@pytest.mark.parametrize("case", CASES)
def test_a_run_gets_what_it_would_have_got(store: Runs, capacity: CapacityStore, case: str) -> None:
    """A dry run's word and the store's deed are one rule."""
    limits, before, wanted, expected = CASES[case]
    for pipeline, limit in limits:
        capacity.set_limit(pipeline, limit)
    for other in before:
        create(store, other, max_active=LIMITS.max_active, max_waiting=None)

    told = slot_for(store.standing(wanted.pipeline, wanted.concurrency), LIMITS, wanted.concurrency)

    assert (told, becomes(store, wanted)) == (expected, expected)


def test_a_limit_is_set_beside_the_counts_and_taken_away(store: Runs, capacity: CapacityStore) -> None:
    """Whichever of them is written first; runs that are active stay so."""
    assert capacity.set_limit(PIPELINE, 3) == PipelineCapacity(0, 0, 3)
    for _ in range(2):
        create(store, run(), max_active=9)
    assert capacity.set_limit(PIPELINE, 1) == PipelineCapacity(2, 0, 1)
    create(store, run(), max_active=9)
    assert capacity.of_pipeline(PIPELINE) == PipelineCapacity(2, 1, 1)
    assert capacity.set_limit(PIPELINE, None) == PipelineCapacity(2, 1, None)
    assert capacity.of_pipeline("nobody") == capacity.set_limit("nobody", None) == PipelineCapacity(0, 0, None)


def test_only_a_published_pipeline_is_limited(dynamodb_moto: "DynamoDBClient") -> None:
    """A name with a typo is told of, and nothing is written under it."""
    catalogue, capacity = CatalogueStore("CatalogueTable", dynamodb_moto), CapacityStore("RunsTable", dynamodb_moto)
    publish(dynamodb_moto)
    assert limit_pipeline(PIPELINE, 0, catalogue=catalogue, capacity=capacity).max_active_runs == 0
    with pytest.raises(NotFoundError, match="traning"):
        limit_pipeline("traning_pipeline", 1, catalogue=catalogue, capacity=capacity)
    assert capacity.of_pipeline("traning_pipeline").max_active_runs is None
