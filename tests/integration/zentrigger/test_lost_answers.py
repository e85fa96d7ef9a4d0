"""Writes whose answers are lost, that meet other transactions or are throttled, on moto and on DynamoDB Local.

Each transition is done once as it should be, and once on a store that fails: what is said of it, the run's record and
the counts must come out the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from local.faults import Faults
from tests.factories import MOMENT, TASK, Runs, run
from tests.integration.zentrigger.bench import (
    TABLE,
    Clock,
    Forgetful,
    claimed,
    counts,
    create,
    head,
    items,
    keyed,
    on_dynamodb_local,
    queued,
    with_faults,
)
from zentrigger.attempts import following, story
from zentrigger.capacity_store import CapacityStore
from zentrigger.errors import BusyError
from zentrigger.lifecycle import NextAttempt
from zentrigger.retries import Failure
from zentrigger.run_store import Creation
from zentrigger.runs import Assignment, Progress, Refusal, Report, Run, RunStatus, StepProgress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

GROUPS = ("all", "pipeline#training_pipeline", "key#k")
REFUSAL = Refusal(launch=1, transient=True, reason="throttled", message="slow down")
REPORT = Report(outcome="failed", reason="pipeline_failed", steps=(StepProgress(name="load", status="failed"),))


@dataclass(frozen=True)
class Transition:
    """A transition, and the run that it begins with; `before` is how many transactions are refused before its own."""

    name: str
    prepare: Callable[[Runs], Run]
    act: Callable[[Runs, Run], Any]
    before: int = 0

    @property
    def action(self) -> str:
        """Which action of DynamoDB it is."""
        single = {"record_task", "record_refusal", "request_cancel", "mark_overdue", "mark_announced", "save_progress"}
        return "UpdateItem" if self.name in single else "TransactWriteItems"


def _new(_: Runs) -> Run:
    return keyed("k")


def _starting(store: Runs) -> Run:
    return create(store, keyed("k"), max_active=100).run


def _queued(store: Runs) -> Run:
    return queued(store, keyed("k"))


def _refused(store: Runs) -> Run:
    starting = _starting(store)
    store.record_refusal(starting, REFUSAL)
    return head(store, starting.run_id)


def _running(store: Runs) -> Run:
    return claimed(store, keyed("k"))


def _ended(store: Runs) -> Run:
    ended = store.end(_starting(store), RunStatus.FAILED, "why", "because")
    assert ended is not None
    return ended


def _crowded(store: Runs) -> Run:
    create(store, run(pipeline="blocking"), max_active=100)
    return keyed("k")


def _skipping(store: Runs) -> Run:
    create(store, keyed("k"), max_active=100)
    return keyed("k", on_conflict="skip")


def _retrying(store: Runs) -> Run:
    return keyed("k", retry_of=_ended(store).run_id)


def _next_attempt(store: Runs, of: Run) -> Run | None:
    decision = NextAttempt(Failure("spot_interrupted", None, "infrastructure"), "infrastructure", MOMENT)
    return store.next_attempt(of, following(of, MOMENT, decision), story(of, MOMENT, decision))


def _progress(store: Runs, of: Run) -> bool:
    return store.save_progress(of.run_id, 1, Progress(heartbeat_at=MOMENT, zenml_run_id="z"))


def _overdue(store: Runs, of: Run) -> Run | None:
    return store.mark_overdue(of, "timed_out", "The run's time was up.")


TRANSITIONS = [
    Transition("create_starting", _new, partial(create, max_active=100)),
    Transition("create_queued", _crowded, partial(create, max_active=1), before=1),
    Transition("create_skipped", _skipping, partial(create, max_active=100), before=1),
    Transition("create_retry", _retrying, partial(create, max_active=100)),
    Transition("start", _queued, lambda store, of: store.start(of, max_active=100)),
    Transition("record_task", _starting, lambda store, of: store.record_task(of, TASK)),
    Transition("record_refusal", _starting, lambda store, of: store.record_refusal(of, REFUSAL)),
    Transition("requeue", _refused, lambda store, of: store.requeue(of, not_before=MOMENT)),
    Transition("claim", _starting, lambda store, of: store.claim(of.run_id, 1, TASK)),
    Transition("save_progress", _running, _progress),
    Transition("report", _running, lambda store, of: store.report(of.run_id, 1, TASK, REPORT)),
    Transition("next_attempt", _running, _next_attempt),
    Transition("end", _running, lambda store, of: store.end(of, RunStatus.FAILED, "why", "because")),
    Transition("end_waiting", _queued, lambda store, of: store.end(of, RunStatus.CANCELLED, None, None)),
    Transition("request_cancel", _running, lambda store, of: store.request_cancel(of)),
    Transition("mark_overdue", _running, _overdue),
    Transition("mark_announced", _ended, lambda store, of: store.mark_announced(of)),
]


def said(answer: object) -> object:
    """Give what an answer says, without the ids that differ from run to run."""
    match answer:
        case Creation(created, replayed):
            return replayed, said(created)
        case Run():
            # The id of the write is the answer's business only as far as it is the record's.
            return _without(answer.model_dump(), "run_id", "written_by", "retry_of")
        case Assignment():
            return _without(answer.model_dump(), "run_id")
    return answer


def record(client: "DynamoDBClient", run_id: str) -> object:
    """Give all that is kept of a run, without the ids that differ from run to run."""
    return {
        part: _without(item, "run_id", "written_by", "created", "retry_of")
        for part, item in items(client, run_id).items()
    }


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def outcome(client: "DynamoDBClient", store: Runs, of: Run, act: Callable[[Runs, Run], Any]) -> object:
    """Do it, and give what is said of it, what is kept of it, and by how much it changed the counts."""
    before = [counts(client, group) for group in GROUPS]
    answer = act(store, of)
    after = [counts(client, group) for group in GROUPS]
    if isinstance(answer, Run):
        assert answer.written_by == items(client, of.run_id)["head"]["written_by"]
    linked = of.retry_of is None or items(client, of.retry_of)["head"]["retried_by"] == of.run_id
    changes = [(now[0] - then[0], now[1] - then[1]) for then, now in zip(before, after, strict=True)]
    return said(answer), record(client, of.run_id), changes, linked


def make_room(store: Runs) -> None:
    """End what there is, so that nobody waits and the key is free."""
    for status in (RunStatus.STARTING, RunStatus.RUNNING, RunStatus.QUEUED):
        for found in store.active(status, 10):
            assert store.end(head(store, found.run_id), RunStatus.FAILED, None, None)


@pytest.fixture
def sound(dynamodb: "DynamoDBClient") -> Runs:
    """Give a store to which nothing happens."""
    return Runs(TABLE, dynamodb, Clock())


@pytest.fixture
def faults() -> Faults:
    """Give what happens to the calls of the store `failing`."""
    return Faults()


@pytest.fixture
def failing(dynamodb: "DynamoDBClient", faults: Faults, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Give a store whose calls fail, and which does not pause before it tries again."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    return Runs(TABLE, with_faults(dynamodb, faults), Clock())


each_transition = pytest.mark.parametrize("transition", TRANSITIONS, ids=lambda transition: transition.name)


@each_transition
def test_a_repeated_write_is_a_success(
    transition: Transition, sound: Runs, failing: Runs, faults: Faults, dynamodb: "DynamoDBClient"
) -> None:
    """Its answer was lost, or was an error that was none; then others were in the way, and DynamoDB throttled."""
    expected = outcome(dynamodb, sound, transition.prepare(sound), transition.act)
    forgetful = Runs(TABLE, Forgetful(dynamodb), Clock())  # type: ignore[arg-type]
    for names in ([], ["lost_answer"], ["false_error", "conflict", "throughput", "throttle"]):
        make_room(sound)
        of = transition.prepare(sound)
        for number, name in enumerate(names):
            faults.next(f"dynamodb.{transition.action}.{name}", after=transition.before + number)

        assert outcome(dynamodb, failing if names else forgetful, of, transition.act) == expected, names

    happened = {name.rpartition(".")[2]: count for name, count in faults.counts.items()}
    assert happened == {"lost_answer": 1, "false_error": 1, "conflict": 1, "throughput": 1, "throttle": 1}


@each_transition
@on_dynamodb_local
def test_what_could_not_be_written_can_be_done_again(
    transition: Transition, sound: Runs, failing: Runs, faults: Faults, dynamodb: "DynamoDBClient"
) -> None:
    """Where others are in the way for good, or DynamoDB throttles, the store is busy and nothing is written."""
    expected = outcome(dynamodb, sound, transition.prepare(sound), transition.act)
    make_room(sound)
    of = transition.prepare(sound)
    before = record(dynamodb, of.run_id), [counts(dynamodb, group) for group in GROUPS]
    for name in ("throttle", "throughput", "conflict"):
        faults.always(f"dynamodb.{transition.action}.{name}")
        with pytest.raises(BusyError, match="try again"):
            transition.act(failing, of)
        assert (record(dynamodb, of.run_id), [counts(dynamodb, group) for group in GROUPS]) == before, name
        faults.clear()

    assert outcome(dynamodb, failing, of, transition.act) == expected


RECORDING = [transition for transition in TRANSITIONS if transition.name.startswith("create_")]


@pytest.mark.parametrize("transition", RECORDING, ids=lambda transition: transition.name)
def test_a_run_that_was_recorded_is_found_though_the_store_is_busy(
    transition: Transition, sound: Runs, failing: Runs, faults: Faults, dynamodb: "DynamoDBClient"
) -> None:
    """The first send was done and its answer lost, and no other came through: it is this caller's, as good as new."""
    expected = outcome(dynamodb, sound, transition.prepare(sound), transition.act)
    for busy in ("throttle", "conflict"):
        make_room(sound)
        of = transition.prepare(sound)
        faults.next("dynamodb.TransactWriteItems.lost_answer", after=transition.before)
        faults.next(f"dynamodb.TransactWriteItems.{busy}", after=transition.before + 1, times=100)

        assert outcome(dynamodb, failing, of, transition.act) == expected, busy
        faults.clear()


def test_a_run_that_moved_on_while_the_store_was_busy_is_given_as_it_stands(
    sound: Runs, failing: Runs, faults: Faults
) -> None:
    """Others launch it then, or end it: to who recorded it, it is one that was there."""
    of = run()
    faults.next("dynamodb.TransactWriteItems.lost_answer")
    faults.next("dynamodb.TransactWriteItems.throttle", after=1, times=100)
    seen = failing._recorded  # noqa: SLF001 - what happens just before it

    def cancelled_first(run_id: str) -> dict[str, Any] | None:
        assert sound.request_cancel(head(sound, run_id))
        return seen(run_id)

    failing._recorded = cancelled_first  # type: ignore[method-assign] # noqa: SLF001

    created = create(failing, of, max_active=5)

    assert created == Creation(head(sound, of.run_id), replayed=True)
    assert created.run.cancel_requested_at


def test_whether_a_run_was_recorded_is_not_said_where_it_is_not_known(
    sound: Runs, failing: Runs, faults: Faults, dynamodb: "DynamoDBClient"
) -> None:
    """Neither is an expired record taken for it."""
    for name in ("throttle", "server_error"):
        of = run()
        faults.next("dynamodb.TransactWriteItems.lost_answer")
        faults.next("dynamodb.TransactWriteItems.throttle", after=1, times=2)
        faults.next(f"dynamodb.Query.{name}", times=3)
        with pytest.raises(BusyError, match="does not say whether the run was recorded"):
            create(failing, of, max_active=5)
        assert "head" in items(dynamodb, of.run_id)

    old = create(sound, run(retention_days=1), max_active=5).run
    assert sound.end(old, RunStatus.FAILED, None, None)
    failing._clock.passes(days=2)  # type: ignore[attr-defined] # noqa: SLF001
    faults.clear()
    faults.always("dynamodb.TransactWriteItems.throttle")
    with pytest.raises(BusyError, match="just now; try again"):
        create(failing, run(run_id=old.run_id), max_active=5)


def test_a_limit_is_set_though_a_run_is_just_being_counted(
    dynamodb: "DynamoDBClient", failing: Runs, faults: Faults
) -> None:
    """The limit stands beside the counts that every run of the pipeline changes."""
    capacity = CapacityStore(TABLE, with_faults(dynamodb, faults))
    faults.next("dynamodb.UpdateItem.conflict", 5)

    capacity.set_limit("training_pipeline", 0)

    assert create(failing, run(), max_active=5).run.status == RunStatus.QUEUED
    faults.always("dynamodb.UpdateItem.conflict")
    with pytest.raises(BusyError):
        capacity.set_limit("training_pipeline", None)


@pytest.mark.parametrize(
    ("transition", "since"),
    [
        ("start", lambda store, of: store.request_cancel(of)),
        ("request_cancel", lambda store, of: store.end(of, RunStatus.CANCELLED, None, None)),
        ("mark_overdue", lambda store, of: store.request_cancel(of)),
        ("end", lambda store, of: store.mark_announced(of)),
    ],
)
def test_a_write_that_another_one_followed(
    sound: Runs, dynamodb: "DynamoDBClient", transition: str, since: Callable[[Runs, Run], Any]
) -> None:
    """Its repetition changes nothing of that: at worst it is told to look again, where it stands."""
    wanted = next(one for one in TRANSITIONS if one.name == transition)
    of = wanted.prepare(sound)
    forgetful = Forgetful(dynamodb, lambda: since(sound, head(sound, of.run_id)))

    answer = wanted.act(Runs(TABLE, forgetful, Clock()), of)  # type: ignore[arg-type]

    standing = head(sound, of.run_id)
    assert answer is None or answer.status == standing.status
    assert standing.cancel_requested_at or standing.announced_at or standing.overdue
    assert counts(dynamodb) == ((1, 0) if standing.status.holds_slot else (0, 0))
