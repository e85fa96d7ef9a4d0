"""Slots, limits and concurrency keys, and the recount of all that, on moto and on DynamoDB Local."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import MOMENT, TASK, Runs, run
from tests.integration.zentrigger.bench import (
    TABLE,
    Clock,
    Interrupted,
    claimed,
    counts,
    create,
    head,
    items,
    keyed,
    queued,
)
from zentrigger.attempts import following, story
from zentrigger.capacity import Capacity, PipelineCapacity
from zentrigger.capacity_counts import KEY_COUNTS_KEPT, capacity_key
from zentrigger.capacity_store import COMPARED_SINCE, INDEX_SETTLES_AFTER, REPAIRED_AFTER, CapacityStore, Drift
from zentrigger.errors import ConflictError, NotFoundError, QueueFullError
from zentrigger.items import from_item, to_item
from zentrigger.lifecycle import NextAttempt
from zentrigger.retries import Failure
from zentrigger.run_items import ENDED
from zentrigger.run_store import NoFreeSlotError
from zentrigger.runs import SKIPPED, Run, RunStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PIPELINE = "pipeline#training_pipeline"


def status(store: Runs, of: Run, *, max_active: int = 50) -> str:
    """Record a run and give its status."""
    return create(store, of, max_active=max_active).run.status.value


def full(store: Runs, waiting: Run, *, max_active: int = 50) -> tuple[str, ...]:
    """Give which groups keep a waiting run from starting; if none does, it has started."""
    try:
        assert store.start(waiting, max_active=max_active) is not None
    except NoFreeSlotError as refused:
        return refused.groups
    return ()


def end(store: Runs, of: Run) -> None:
    """End a run."""
    assert store.end(head(store, of.run_id), RunStatus.FAILED, None, None)


# ------------------------------------------------------------ limits of pipelines


def test_a_pipelines_limit_holds_for_whoever_starts_its_runs(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient"
) -> None:
    """A new run of it waits though the stack has slots; so does it later, and one of another pipeline does not."""
    capacity.set_limit("training_pipeline", 1)
    first, second = run(), run()
    assert (status(store, first), status(store, second)) == ("starting", "queued")
    other = create(store, run(pipeline="other"), max_active=50).run

    assert full(store, head(store, second.run_id)) == (PIPELINE,)
    assert full(store, other) == ()
    assert capacity.of_pipeline("training_pipeline") == PipelineCapacity(1, 1, 1)
    assert (counts(dynamodb), counts(dynamodb, "pipeline#other")) == ((2, 1), (1, 0))
    end(store, first)
    assert full(store, head(store, second.run_id)) == ()
    assert store.capacity() == Capacity(2, 0)


def test_a_limit_of_none_pauses_a_pipeline_also_one_that_never_ran(store: Runs, capacity: CapacityStore) -> None:
    """Until it is taken away: nothing starts, not even the first run of all."""
    capacity.set_limit("training_pipeline", 0)

    waiting = create(store, run(), max_active=50).run

    assert waiting.status == RunStatus.QUEUED
    assert full(store, waiting) == (PIPELINE,)
    capacity.set_limit("training_pipeline", None)
    assert capacity.of_pipeline("training_pipeline") == PipelineCapacity(0, 1, None)
    assert full(store, waiting) == ()
    capacity.set_limit("training_pipeline", 0)
    assert status(store, run()) == "queued"


def test_a_lower_limit_holds_for_those_that_start(store: Runs, capacity: CapacityStore) -> None:
    """Who is active stays so; a slot that is given back is nobody's while there are more than may be."""
    active = [create(store, run(), max_active=50).run for _ in range(3)]
    capacity.set_limit("training_pipeline", 2)
    waiting = create(store, run(), max_active=50).run
    assert waiting.status == RunStatus.QUEUED

    end(store, active[0])
    assert full(store, waiting) == (PIPELINE,)
    end(store, active[1])
    assert full(store, waiting) == ()

    assert capacity.of_pipeline("training_pipeline") == PipelineCapacity(2, 0, 2)


def test_whoever_is_refused_a_slot_hears_of_all_that_is_full(store: Runs, capacity: CapacityStore) -> None:
    """So that nobody else of those groups need try."""
    capacity.set_limit("training_pipeline", 1)
    assert status(store, keyed("k"), max_active=1) == "starting"
    waiting = create(store, keyed("k"), max_active=1).run

    assert full(store, waiting, max_active=1) == ("all", PIPELINE, "key#k")
    assert full(store, waiting) == (PIPELINE, "key#k")


# ------------------------------------------------------------ concurrency keys


def test_a_run_waits_for_its_key(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Though there are slots; those with other keys, or none, are not concerned."""
    first, second, other, free = keyed("k"), keyed("k"), keyed("l"), run()
    assert status(store, first) == "starting"
    assert [status(store, of) for of in (second, other, free)] == ["queued"] * 3, "nobody overtakes who waits"

    assert full(store, head(store, second.run_id)) == ("key#k",)
    assert (full(store, head(store, other.run_id)), full(store, head(store, free.run_id))) == ((), ())
    assert counts(dynamodb, "key#k") == (1, 1)
    end(store, first)
    assert full(store, head(store, second.run_id)) == ()
    assert (counts(dynamodb, "key#k"), counts(dynamodb)) == ((1, 0), (3, 0))


def test_every_run_brings_its_own_limit_of_its_key(store: Runs) -> None:
    """One that may be the second of two starts where one that wants to be alone does not."""
    assert status(store, keyed("k", limit=1)) == "starting"
    assert status(store, keyed("k", limit=2)) == "starting"
    alone = create(store, keyed("k", limit=1), max_active=50).run
    third = create(store, keyed("k", limit=3), max_active=50).run

    assert full(store, alone) == ("key#k",)
    assert full(store, third) == ()


def _active(store: Runs, of: Run) -> None:
    assert status(store, of) == "starting"


def _waiting(store: Runs, of: Run) -> None:
    assert queued(store, of)


@pytest.mark.parametrize("limit", [1, 2])
@pytest.mark.parametrize("takes", [_active, _waiting])
def test_a_run_that_skips_is_recorded_as_cancelled_and_stays_so(
    store: Runs, dynamodb: "DynamoDBClient", limit: int, takes: Callable[[Runs, Run], None]
) -> None:
    """Where its key is taken, be it by runs that wait. It counts nowhere, its end is announced, its replay the same."""
    for _ in range(limit):
        takes(store, keyed("k", limit=limit))
    before = counts(dynamodb), counts(dynamodb, PIPELINE), counts(dynamodb, "key#k")
    asked = keyed("k", limit=limit, on_conflict="skip")

    created = create(store, asked, max_active=50)

    assert (created.replayed, created.run.status, created.run.reason) == (False, RunStatus.CANCELLED, SKIPPED)
    assert created.run.message is not None
    assert created.run.message.endswith("so this one was skipped.")
    assert (counts(dynamodb), counts(dynamodb, PIPELINE), counts(dynamodb, "key#k")) == before
    assert asked.run_id in [found.run_id for found in store.active(ENDED, 5)]
    again = create(store, asked.model_copy(update={"accepted_at": MOMENT + timedelta(days=1)}), max_active=50)
    assert (again.replayed, again.run) == (True, created.run)
    record = store.get(asked.run_id)
    assert record is not None
    assert record.input.parameters == {"rate": 0.1}


@pytest.mark.parametrize("takes", [_active, _waiting])
def test_a_run_that_rejects_is_not_recorded(
    store: Runs, dynamodb: "DynamoDBClient", takes: Callable[[Runs, Run], None]
) -> None:
    """But the replay of one that was is given all the same."""
    first = keyed("k", on_conflict="reject")
    takes(store, first)
    before = counts(dynamodb), counts(dynamodb, "key#k")
    refused = keyed("k", on_conflict="reject")

    with pytest.raises(ConflictError, match="Nothing was recorded"):
        create(store, refused, max_active=50)

    assert items(dynamodb, refused.run_id) == {}
    assert (counts(dynamodb), counts(dynamodb, "key#k")) == before
    assert create(store, first, max_active=50).replayed


@pytest.mark.parametrize("on_conflict", ["skip", "reject"])
def test_a_run_that_does_not_wait_for_its_key_waits_for_a_slot(
    store: Runs, dynamodb: "DynamoDBClient", on_conflict: str
) -> None:
    """If its key is free; then it has it."""
    assert status(store, run(), max_active=1) == "starting"

    waiting = create(store, keyed("k", on_conflict=on_conflict), max_active=1).run

    assert waiting.status == RunStatus.QUEUED
    assert counts(dynamodb, "key#k") == (0, 1)
    assert status(store, keyed("k", on_conflict="skip"), max_active=50) == "cancelled"
    assert full(store, waiting) == ()
    with pytest.raises(QueueFullError):
        create(store, keyed("l", on_conflict=on_conflict), max_active=1, max_waiting=0)


def _to_the_end(store: Runs, of: Run) -> None:
    end(store, of)


def _back_to_waiting(store: Runs, of: Run) -> None:
    assert store.requeue(of, not_before=MOMENT)


def _to_the_next_attempt(store: Runs, of: Run) -> None:
    decision = NextAttempt(Failure("spot_interrupted", None, "infrastructure"), "infrastructure", MOMENT)
    assert store.next_attempt(of, following(of, MOMENT, decision), story(of, MOMENT, decision))


@pytest.mark.parametrize(("leave", "still_waits"), [(_to_the_end, 0), (_back_to_waiting, 1), (_to_the_next_attempt, 1)])
def test_a_key_is_given_back_with_the_slot(
    store: Runs, dynamodb: "DynamoDBClient", leave: Callable[[Runs, Run], None], still_waits: int
) -> None:
    """At the end, and by a run that goes back to waiting: another starts meanwhile."""
    first = create(store, keyed("k"), max_active=50).run
    second = create(store, keyed("k"), max_active=50).run
    assert full(store, second) == ("key#k",)

    leave(store, first)

    assert counts(dynamodb, "key#k") == (0, 1 + still_waits)
    assert full(store, second) == ()
    if still_waits:
        assert full(store, head(store, first.run_id)) == ("key#k",)
    assert status(store, keyed("k", on_conflict="skip")) == "cancelled"
    end(store, second)
    assert counts(dynamodb, "key#k") == (0, still_waits)


@pytest.mark.parametrize(("on_conflict", "answer"), [("skip", "cancelled"), ("reject", "refused")])
def test_a_key_that_is_taken_meanwhile_is_taken(
    store: Runs, dynamodb: "DynamoDBClient", on_conflict: str, answer: str
) -> None:
    """Between the look for a slot and the place in the queue."""
    assert status(store, run(), max_active=1) == "starting"
    between = Interrupted(dynamodb, "transact_write_items", 2, lambda: status(store, keyed("k"), max_active=1))
    interrupted = Runs(TABLE, between, lambda: MOMENT)  # type: ignore[arg-type]
    asked = keyed("k", on_conflict=on_conflict)

    try:
        became = status(interrupted, asked, max_active=1)
    except ConflictError:
        became = "refused"

    assert became == answer
    assert counts(dynamodb, "key#k") == (0, 1)


def test_a_retry_is_subject_to_its_key(store: Runs) -> None:
    """One that is skipped is linked as any other; where there is nothing to repeat, that is what is said."""
    ended = claimed(store)
    end(store, ended)
    assert status(store, keyed("k")) == "starting"

    skipped = create(store, keyed("k", on_conflict="skip", retry_of=ended.run_id), max_active=50).run

    assert skipped.status == RunStatus.CANCELLED
    assert head(store, ended.run_id).retried_by == skipped.run_id
    for on_conflict in ("queue", "skip", "reject"):
        with pytest.raises(NotFoundError):
            create(store, keyed("k", on_conflict=on_conflict, retry_of="nobody"), max_active=50)


def test_only_the_counts_of_keys_are_forgotten(store: Runs, dynamodb: "DynamoDBClient", clock: Clock) -> None:
    """There may be a key a customer, or a day; they are kept long after a run can still count in them."""
    create(store, keyed("k"), max_active=50)

    expires = {group: counts_item(dynamodb, group).get("expires_at") for group in ("all", PIPELINE, "key#k")}

    assert expires == {"all": None, PIPELINE: None, "key#k": int((clock() + KEY_COUNTS_KEPT).timestamp())}


# ------------------------------------------------------------ the recount


def counts_item(client: "DynamoDBClient", group: str) -> dict[str, Any]:
    """Give the item of a group's counts."""
    return from_item(client.get_item(TableName=TABLE, Key=capacity_key(group)).get("Item", {}))


def shift(client: "DynamoDBClient", group: str, *, active: int = 0, waiting: int = 0, live: int | None = None) -> None:
    """Falsify counts by hand."""
    changes = {":active": active, ":waiting": waiting, ":live": active + waiting if live is None else live}
    client.update_item(
        TableName=TABLE,
        Key=capacity_key(group),
        UpdateExpression="ADD active_runs :active, waiting_runs :waiting, live_runs :live",
        ExpressionAttributeValues=to_item(changes),
    )


def compare(store: Runs, capacity: CapacityStore, clock: Clock) -> list[Drift]:
    """Compare the counts with the runs, as a sweep does; gives what it finds by the names of the groups."""
    looked_at = clock()
    active = [found for status in ("starting", "running") for found in store.active(status, 100)]
    return sorted(capacity.compare([*active, *store.waiting(100)], looked_at), key=lambda drift: drift.group)


@pytest.fixture
def settled(store: Runs, clock: Clock) -> Run:
    """Give a run that is claimed, beside one that waits, both with the key `k`; the counts have not changed lately."""
    running = claimed(store, keyed("k"))
    assert status(store, keyed("k")) == "queued"
    clock.passes(minutes=5)
    return running


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("by", [{"active": 1}, {"waiting": 2}, {"active": -1, "waiting": 1}, {"live": 1}])
def test_counts_that_are_wrong_for_long_are_repaired_once(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient", clock: Clock, by: dict[str, int]
) -> None:
    """The first time it is kept in mind; a quarter of an hour later the same is taken off; then all is said."""
    groups = ["all", "key#k", PIPELINE]
    active, waiting = by.get("active", 0), by.get("waiting", 0)
    assert compare(store, capacity, clock) == []
    for group in groups:
        shift(dynamodb, group, **by)
    wrong = [counts_item(dynamodb, group) for group in groups]
    assert compare(store, capacity, clock) == [Drift(group, active, waiting, repaired=False) for group in groups]
    assert all(item.items() < counts_item(dynamodb, group).items() for group, item in zip(groups, wrong, strict=True))
    clock.passes(seconds=REPAIRED_AFTER.total_seconds())

    assert compare(store, capacity, clock) == [Drift(group, active, waiting, repaired=True) for group in groups]

    assert [counts(dynamodb, group) for group in groups] == [(1, 1)] * 3
    assert [counts_item(dynamodb, group).keys() for group in groups] == [item.keys() for item in wrong]
    assert compare(store, capacity, clock) == []


@pytest.mark.usefixtures("settled")
def test_two_sweeps_at_once_repair_once(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """Neither does the second of them take the first one's note for an older one, nor repair what it repaired."""
    shift(dynamodb, "all", active=3)
    seen = Drift("all", 3, 0, repaired=False)
    assert compare(store, capacity, clock) == [seen]
    clock.passes(seconds=REPAIRED_AFTER.total_seconds() - 1)
    assert compare(store, capacity, clock) == [seen]
    clock.passes(seconds=1)
    other: list[Drift] = []
    first = CapacityStore(
        TABLE,
        Interrupted(dynamodb, "update_item", 1, lambda: other.extend(compare(store, capacity, clock))),  # type: ignore[arg-type]
        clock,
    )

    assert compare(store, first, clock) == [seen]

    assert other == [Drift("all", 3, 0, repaired=True)]
    assert counts(dynamodb) == (1, 1)
    assert compare(store, capacity, clock) == []


@pytest.mark.usefixtures("settled")
def test_another_disagreement_is_not_the_same(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """It is kept in mind instead of the one before."""
    for by, found in ((1, 1), (1, 2), (-1, 1), (1, 2)):
        shift(dynamodb, "all", active=by)
        assert compare(store, capacity, clock) == [Drift("all", found, 0, repaired=False)]
        clock.passes(seconds=REPAIRED_AFTER.total_seconds())

    assert compare(store, capacity, clock) == [Drift("all", 2, 0, repaired=True)]
    assert counts(dynamodb) == (1, 1)


def test_counts_that_changed_are_not_repaired_for_long(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient", clock: Clock, settled: Run
) -> None:
    """The index may be behind them: for a moment nothing is said of them, and what was seen before counts anew."""
    shift(dynamodb, "all", active=1)
    assert compare(store, capacity, clock) == [Drift("all", 1, 0, repaired=False)]
    clock.passes(seconds=REPAIRED_AFTER.total_seconds())
    end(store, settled)
    clock.passes(seconds=INDEX_SETTLES_AFTER.total_seconds() - 1)
    assert capacity.compare([settled, *store.waiting(5)], clock()) == [], "as if the index were behind"

    clock.passes(seconds=1)
    assert compare(store, capacity, clock) == [Drift("all", 1, 0, repaired=False)]
    clock.passes(seconds=REPAIRED_AFTER.total_seconds() - 1)
    assert compare(store, capacity, clock) == [Drift("all", 1, 0, repaired=False)]
    clock.passes(seconds=1)
    assert compare(store, capacity, clock) == [Drift("all", 1, 0, repaired=True)]
    assert counts(dynamodb) == (0, 1)


@pytest.mark.usefixtures("settled")
def test_a_disagreement_that_vanishes_is_forgotten(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """The same again, later, is one that is seen for the first time."""
    for _ in range(2):
        shift(dynamodb, "key#k", waiting=1)
        assert compare(store, capacity, clock) == [Drift("key#k", 0, 1, repaired=False)]
        shift(dynamodb, "key#k", waiting=-1)
        clock.passes(minutes=1)
        assert compare(store, capacity, clock) == []
        assert counts_item(dynamodb, "key#k").keys().isdisjoint({"drift", "drift_at"})


def test_counts_in_which_no_run_is_left_are_found(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """By the index of what changed within days: a slot of a pipeline that nobody runs any more must not stay taken."""
    end(store, create(store, keyed("k", pipeline="gone"), max_active=50).run)
    groups = ["pipeline#gone", "key#k"]
    for group in groups:
        shift(dynamodb, group, active=1)
    clock.passes(seconds=(COMPARED_SINCE - REPAIRED_AFTER).total_seconds() - 1)

    assert compare(store, capacity, clock) == [Drift(group, 1, 0, repaired=False) for group in sorted(groups)]
    clock.passes(seconds=REPAIRED_AFTER.total_seconds())
    assert [drift.repaired for drift in compare(store, capacity, clock)] == [True, True]
    assert (counts(dynamodb, "pipeline#gone"), counts(dynamodb, "key#k")) == ((0, 0), (0, 0))
    shift(dynamodb, "pipeline#gone", active=1)
    clock.passes(seconds=1)
    assert compare(store, capacity, clock) == [], "it has not changed for days"
    assert status(store, run(pipeline="gone")) == "starting"
    clock.passes(minutes=1)
    assert compare(store, capacity, clock) == [Drift("pipeline#gone", 1, 0, repaired=False)]


@pytest.mark.usefixtures("settled")
def test_counts_that_are_gone_are_made_anew(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """From the runs that there are."""
    groups = ["all", "key#k", PIPELINE]
    for group in groups:
        dynamodb.delete_item(TableName=TABLE, Key=capacity_key(group))

    assert compare(store, capacity, clock) == [Drift(group, -1, -1, repaired=False) for group in groups]
    clock.passes(seconds=REPAIRED_AFTER.total_seconds())
    assert compare(store, capacity, clock) == [Drift(group, -1, -1, repaired=True) for group in groups]

    assert [counts(dynamodb, group) for group in groups] == [(1, 1)] * 3


def test_a_table_without_runs_agrees(store: Runs, capacity: CapacityStore, clock: Clock) -> None:
    """Nothing was counted, and nothing is there."""
    assert compare(store, capacity, clock) == []


def test_a_run_that_the_index_shows_twice_counts_once(
    store: Runs, capacity: CapacityStore, clock: Clock, settled: Run
) -> None:
    """It was claimed between the looks for those that start and those that run."""
    starting = settled.model_copy(update={"status": RunStatus.STARTING})

    assert capacity.compare([starting, settled, *store.waiting(5)], clock()) == []


def test_a_task_that_claims_changes_no_count(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Starting or running, it is one slot."""
    created = create(store, keyed("k"), max_active=50).run
    store.claim(created.run_id, 1, TASK)

    assert [counts(dynamodb, group) for group in ("all", PIPELINE, "key#k")] == [(1, 0)] * 3
