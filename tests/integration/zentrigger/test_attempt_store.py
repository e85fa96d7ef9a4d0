"""The attempts of runs, as their tasks write them and as one follows another, on moto and on DynamoDB Local."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import MOMENT, TASK, Runs, run, stopped_task
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
    on_dynamodb_local,
)
from zentrigger.attempt_store import NotClaimableError
from zentrigger.attempts import following, story
from zentrigger.capacity_counts import capacity_key
from zentrigger.items import from_item
from zentrigger.lifecycle import End, NextAttempt, StopTask, decide, decide_stopped
from zentrigger.retries import Failure
from zentrigger.runs import (
    CONTRACT_VERSION,
    OF_AN_ATTEMPT,
    Progress,
    Refusal,
    Report,
    Run,
    RunInput,
    RunStatus,
    StepProgress,
    Timings,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SUCCESS = Report(outcome="succeeded", steps=(StepProgress(name="load", status="completed"),))
INTERRUPTED = Failure("spot_interrupted", "AWS took the capacity back.", "infrastructure")


def test_a_claim_proves_a_refusal_wrong(store: Runs) -> None:
    """The task that claims was started, whatever a repetition of its launch was told."""
    created = create(store, run()).run
    store.record_refusal(created, Refusal(launch=1, transient=False, reason="r", message="m"))

    store.claim(created.run_id, 1, TASK)

    assert head(store, created.run_id).refusal is None


def test_a_record_of_a_later_contract_is_not_claimed(store: Runs) -> None:
    """An old image does not guess what a newer record means, and says what to do. One of its own time is claimed."""
    later, own = (create(store, run(contract=CONTRACT_VERSION + more), max_active=2).run for more in (1, 0))
    with pytest.raises(NotClaimableError, match=f"contract .* publish {later.pipeline} again with an image of now"):
        store.claim(later.run_id, 1, TASK)
    assert store.claim(own.run_id, 1, TASK).run_id == own.run_id


def test_what_an_assignment_holds_is_of_this_contract() -> None:
    """A field that comes or goes raises the version: a runner of the one before would silently drop what it carries."""
    assert (CONTRACT_VERSION, sorted(set(RunInput.model_fields))) == (
        2,
        [
            "architecture", "configured_steps", "enable_cache", "image", "options", "parameters", "secrets", "source",
            "stack", "steps", "tags", "timeout_seconds", "zenml_snapshot",
        ],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda store, of: store.end(of, RunStatus.FAILED, None, None), "failed"),
        (lambda store, of: store.request_cancel(of), "cancellation"),
        (lambda store, of: store.claim(of.run_id, 1, TASK + "0"), "running"),
        (lambda store, of: store.mark_overdue(of, "start_timeout", "It took too long."), r"overdue \(start_timeout\)"),
        (lambda store, of: store.requeue(of, not_before=MOMENT), "queued"),
    ],
)
def test_what_is_not_to_be_claimed(store: Runs, prepare: Callable[[Runs, Run], Any], said: str) -> None:
    """A run that has ended, is cancelled, overdue, waiting or somebody else's is not claimed, and stays as it is."""
    created = create(store, run()).run
    prepare(store, created)
    before = head(store, created.run_id)

    with pytest.raises(NotClaimableError, match=said):
        store.claim(created.run_id, 1, TASK)

    assert head(store, created.run_id) == before


def test_claims_of_unknown_runs_and_other_attempts(store: Runs) -> None:
    """Are refused with their reason."""
    created = create(store, run()).run
    with pytest.raises(NotClaimableError, match="no run"):
        store.claim("nobody", 1, TASK)
    with pytest.raises(NotClaimableError, match="attempt 2"):
        store.claim(created.run_id, 2, TASK)


def test_what_was_done_can_be_done_again(store: Runs) -> None:
    """A claim and a report whose answers were lost succeed when repeated."""
    running = claimed(store)

    assert store.claim(running.run_id, 1, TASK).attempt == 1
    assert store.report(running.run_id, 1, TASK, SUCCESS)
    assert store.report(running.run_id, 1, TASK, SUCCESS)


def test_older_attempts_change_nothing(store: Runs) -> None:
    """A writer of another attempt or task is fenced off."""
    running = claimed(store)

    assert store.save_progress(running.run_id, 2, Progress(heartbeat_at=MOMENT)) is False
    assert store.report(running.run_id, 2, TASK, SUCCESS) is False
    assert store.report(running.run_id, 1, TASK + "0", SUCCESS) is False
    store.record_task(running.model_copy(update={"attempt": 2}), "another")
    store.record_refusal(
        running.model_copy(update={"launch": 2}), Refusal(launch=2, transient=True, reason="r", message="m")
    )

    assert store.head(running.run_id) == running


def test_progress_that_is_gone_is_made_anew(store: Runs, dynamodb: "DynamoDBClient", clock: Clock) -> None:
    """It expired, or somebody deleted it: that is no reason to stop a pipeline that runs."""
    running = claimed(store)
    before = items(dynamodb, running.run_id)["progress"]
    _lose_progress(dynamodb, running)
    clock.passes(minutes=1)

    assert store.save_progress(running.run_id, 1, Progress(heartbeat_at=clock(), zenml_run_id="z"))

    after = items(dynamodb, running.run_id)["progress"]
    assert after | {"body": None} == before | {"body": None}
    record = store.get(running.run_id)
    assert record is not None
    assert record.progress == Progress(heartbeat_at=clock(), zenml_run_id="z")
    assert store.heartbeats([running]) == {running.run_id: clock()}


@pytest.mark.parametrize(
    "since",
    [
        lambda store, of: another_attempt(store, of),  # noqa: PLW0108 - it stands below
        lambda store, of: store.end(of, RunStatus.FAILED, None, None),
    ],
)
def test_progress_that_is_gone_is_nobodys_but_the_running_attempts(
    store: Runs, dynamodb: "DynamoDBClient", since: Callable[[Runs, Run], Any]
) -> None:
    """A task that was given up is told so, whatever is missing."""
    running = claimed(store)
    assert since(store, running)
    _lose_progress(dynamodb, running)

    assert store.save_progress(running.run_id, 1, Progress(heartbeat_at=MOMENT)) is False
    assert store.save_progress("nobody", 1, Progress(heartbeat_at=MOMENT)) is False

    assert "progress" not in items(dynamodb, running.run_id)
    assert items(dynamodb, "nobody") == {}


def test_progress_is_not_made_anew_over_another_attempts(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """The next attempt claims between the look at the head and the write; the beat after this one is told."""
    running = claimed(store)
    _lose_progress(dynamodb, running)

    def follow() -> None:
        waiting = another_attempt(store, running)
        assert waiting is not None
        assert store.start(waiting, max_active=1)
        store.claim(running.run_id, 2, TASK + "2")

    late = Runs(TABLE, Interrupted(dynamodb, "update_item", 2, follow), lambda: MOMENT)  # type: ignore[arg-type]
    late.save_progress(running.run_id, 1, Progress(heartbeat_at=MOMENT, zenml_run_id="old"))

    assert store.save_progress(running.run_id, 1, Progress(heartbeat_at=MOMENT)) is False
    record = store.get(running.run_id)
    assert record is not None
    assert record.progress == Progress(heartbeat_at=MOMENT)


def _lose_progress(dynamodb: "DynamoDBClient", of: Run) -> None:
    dynamodb.delete_item(TableName=TABLE, Key={"run_id": {"S": of.run_id}, "part": {"S": "progress"}})


def test_a_run_keeps_its_parts_for_as_long_as_it_lives(store: Runs, dynamodb: "DynamoDBClient", clock: Clock) -> None:
    """Over a year of waiting for a paused pipeline, or of running without a time limit, whatever the retention is."""
    created = create(store, keyed("k", retention_days=1)).run
    clock.passes(days=399)
    store.claim(created.run_id, 1, TASK)

    until: dict[str, Any] = {name: part.get("expires_at") for name, part in items(dynamodb, created.run_id).items()}
    until["counts"] = from_item(dynamodb.get_item(TableName=TABLE, Key=capacity_key("key#k"))["Item"])["expires_at"]

    assert until.pop("head") is None
    assert all(moment > clock().timestamp() for moment in until.values()), until


def test_a_claim_keeps_what_came_before_it(store: Runs, clock: Clock) -> None:
    """When the task's image was there and its container ran; the claim itself is the attempt's start and first beat."""
    created = create(store, run()).run
    timings = Timings(pulled_at=MOMENT - timedelta(seconds=20), container_started_at=MOMENT - timedelta(seconds=5))
    clock.passes(seconds=40)

    store.claim(created.run_id, 1, TASK, timings)

    running = head(store, created.run_id)
    assert (running.timings, running.claimed_by, running.task_arn) == (timings, TASK, TASK)
    assert running.started_at == running.status_at == clock()
    assert store.heartbeats([running]) == {created.run_id: clock()}


# ------------------------------------------------------------ one attempt after another


def another_attempt(store: Runs, of: Run, failure: Failure = INTERRUPTED) -> Run | None:
    """Send a run back to waiting for its next attempt."""
    decision = NextAttempt(failure, "infrastructure", MOMENT + timedelta(seconds=10))
    return store.next_attempt(of, following(of, MOMENT, decision), story(of, MOMENT, decision))


def test_the_next_attempt_waits_with_nothing_of_the_last(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """The transaction that keeps the story gives its slots back; progress and result of the last show no more."""
    created = create(store, keyed("k", spot=True)).run
    store.record_task(created, TASK)
    store.claim(created.run_id, 1, TASK)
    store.save_progress(created.run_id, 1, Progress(heartbeat_at=MOMENT, steps=SUCCESS.steps))
    store.report(created.run_id, 1, TASK, Report(outcome="failed", reason="stopped"))

    waiting = another_attempt(store, head(store, created.run_id))

    assert waiting is not None
    for group in ("all", f"pipeline#{created.pipeline}", "key#k"):
        assert counts(dynamodb, group) == (0, 1)
    assert items(dynamodb, created.run_id).keys() == {"attempt#001", "head", "input", "progress", "result"}
    record = store.get(created.run_id)
    assert record is not None
    assert record.run == waiting
    assert (waiting.status, waiting.attempt, waiting.launch) == (RunStatus.QUEUED, 2, 1)
    assert (waiting.infrastructure_retries, waiting.pipeline_retries) == (1, 0)
    gone = ("task_arn", "launched_at", "claimed_by", "started_at", "timings", "refusal", "report", "overdue")
    assert [getattr(waiting, name) for name in gone] == [None] * len(gone)
    assert (record.progress, record.result) == (None, None)
    assert [attempt.model_dump(exclude_none=True) for attempt in record.earlier_attempts] == [
        {
            "number": 1,
            "launches": 1,
            "spot": True,
            "task_arn": TASK,
            "launched_at": MOMENT,
            "claimed_at": MOMENT,
            "ended_at": MOMENT,
            "outcome": "failed",
            "reason": "spot_interrupted",
            "message": "AWS took the capacity back.",
        }
    ]


def test_the_task_of_the_last_attempt_changes_nothing(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Neither while the next attempt waits, nor when it is launched, nor when it runs."""
    old = claimed(store)
    waiting = another_attempt(store, old)
    assert waiting is not None

    def meddles() -> None:
        before = items(dynamodb, old.run_id)["head"]
        with pytest.raises(NotClaimableError, match="attempt 1 is not the current one, which is 2"):
            store.claim(old.run_id, 1, TASK)
        assert store.report(old.run_id, 1, TASK, SUCCESS) is False
        store.record_task(old, TASK)
        store.record_refusal(old, Refusal(launch=1, transient=True, reason="r", message="m"))
        assert store.request_cancel(old) is None
        assert store.mark_overdue(old, "timed_out", "m") is None
        assert store.requeue(old, not_before=MOMENT) is None
        assert store.end(old, RunStatus.SUCCEEDED, None, None) is None
        assert another_attempt(store, old) is None
        assert items(dynamodb, old.run_id)["head"] == before

    meddles()
    store.save_progress(old.run_id, 1, Progress(heartbeat_at=MOMENT, steps=SUCCESS.steps))
    record = store.get(old.run_id)
    assert record is not None
    assert record.progress is None
    starting = store.start(waiting, max_active=1)
    assert starting is not None
    meddles()
    store.record_task(starting, TASK + "2")
    store.claim(old.run_id, 2, TASK + "2")
    meddles()
    assert store.save_progress(old.run_id, 1, Progress(heartbeat_at=MOMENT, steps=SUCCESS.steps)) is False
    record = store.get(old.run_id)
    assert record is not None
    assert record.progress is not None
    assert record.progress.steps == ()
    assert counts(dynamodb) == (1, 0)


def test_an_attempt_that_follows_meanwhile_is_not_the_one_that_was_looked_at(
    store: Runs, dynamodb: "DynamoDBClient"
) -> None:
    """Between the look at the record and the write: another attempt may stand there in the same status."""
    created = create(store, run()).run

    def follow() -> None:
        waiting = another_attempt(store, head(store, created.run_id))
        assert waiting is not None
        assert store.start(waiting, max_active=1)

    def follow_and_run() -> None:
        follow()
        store.claim(created.run_id, head(store, created.run_id).attempt, TASK + "3")

    def interrupted(meanwhile: Callable[[], None]) -> Runs:
        client = Interrupted(dynamodb, "transact_write_items", 1, meanwhile)
        return Runs(TABLE, client, lambda: MOMENT)  # type: ignore[arg-type]

    with pytest.raises(NotClaimableError, match="not to be claimed"):
        interrupted(follow).claim(created.run_id, 1, TASK)
    assert head(store, created.run_id).claimed_by is None
    store.claim(created.run_id, 2, TASK)
    assert interrupted(follow_and_run).report(created.run_id, 2, TASK, SUCCESS) is False

    standing = head(store, created.run_id)
    assert (standing.attempt, standing.claimed_by, standing.report) == (3, TASK + "3", None)


def test_what_a_launch_keeps_late_is_not_left_on_the_next_attempt(
    store: Runs, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """Between the look at the record and the write: the ARN of the task, whose end the move is about."""
    created = create(store, run()).run
    late = Interrupted(dynamodb, "transact_write_items", 1, lambda: store.record_task(created, TASK))

    waiting = another_attempt(Runs(TABLE, late, clock), created)  # type: ignore[arg-type]

    assert waiting is not None
    assert head(store, created.run_id) == waiting
    assert items(dynamodb, created.run_id)["head"].keys().isdisjoint(OF_AN_ATTEMPT)
    starting = store.start(waiting, max_active=1)
    assert starting is not None
    clock.passes(minutes=25)
    store.record_task(starting, TASK + "2")
    assert (head(store, created.run_id).task_arn, head(store, created.run_id).launched_at) == (TASK + "2", clock())


def test_a_launch_that_had_started_a_task_is_not_made_again(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """Its refusal is proven wrong between the look at the record and the write."""
    created = create(store, run()).run
    store.record_refusal(created, Refusal(launch=1, transient=True, reason="throttled", message="slow down"))
    refused = head(store, created.run_id)
    late = Interrupted(dynamodb, "transact_write_items", 1, lambda: store.record_task(created, TASK))

    assert Runs(TABLE, late, lambda: MOMENT).requeue(refused, not_before=MOMENT) is None  # type: ignore[arg-type]

    standing = head(store, created.run_id)
    assert (standing.status, standing.launch, standing.task_arn) == (RunStatus.STARTING, 1, TASK)
    assert counts(dynamodb) == (1, 0)
    assert decide(standing, MOMENT) is None, "its task is awaited"


@on_dynamodb_local
def test_every_attempt_has_its_story(store: Runs, dynamodb: "DynamoDBClient") -> None:
    """In their order, also where there are more than nine."""
    standing = claimed(store)
    for number in range(1, 12):
        waiting = another_attempt(store, standing, Failure(f"reason-{number}", None, "infrastructure"))
        assert waiting is not None
        assert store.start(waiting, max_active=1)
        store.claim(standing.run_id, number + 1, f"{TASK}-{number}")
        standing = head(store, standing.run_id)

    record = store.get(standing.run_id)
    assert record is not None
    assert [told.reason for told in record.earlier_attempts] == [f"reason-{number}" for number in range(1, 12)]
    assert [told.number for told in record.earlier_attempts] == [*range(1, 12)]
    assert counts(dynamodb) == (1, 0)


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda store, of: store.report(of.run_id, 1, TASK, SUCCESS),
        lambda store, of: store.request_cancel(of),
        lambda store, of: store.mark_overdue(of, "timed_out", "m"),
        lambda store, of: store.end(of, RunStatus.FAILED, "first", None),
    ],
)
def test_what_came_meanwhile_is_looked_at_first(
    store: Runs, dynamodb: "DynamoDBClient", meanwhile: Callable[[Runs, Run], Any]
) -> None:
    """A report, a request to cancel, a missed deadline or an end is a reason not to begin another attempt."""
    stale = claimed(store)
    assert meanwhile(store, stale)
    before, counted = items(dynamodb, stale.run_id), counts(dynamodb)

    assert another_attempt(store, stale) is None

    assert (items(dynamodb, stale.run_id), counts(dynamodb)) == (before, counted)


# ------------------------------------------------------------ deadlines


def test_a_run_is_overdue_once_and_ends_for_that(store: Runs, dynamodb: "DynamoDBClient", clock: Clock) -> None:
    """Whatever its task reports since, and whoever has not seen the deadline pass."""
    stale = claimed(store)
    marked = store.mark_overdue(stale, "timed_out", "The run's time was up.")
    assert marked is not None
    assert marked == head(store, stale.run_id)
    assert decide(marked, clock()) == StopTask(TASK, "The run's time was up.")

    assert store.mark_overdue(marked, "heartbeat_lost", "m") is None
    assert store.report(stale.run_id, 1, TASK, SUCCESS)
    assert store.end(stale, RunStatus.SUCCEEDED, None, None) is None
    assert store.end(marked, RunStatus.SUCCEEDED, None, None) is None, "it has not seen the report"

    reported = head(store, stale.run_id)
    decision = decide(reported, clock())
    assert decision == End(RunStatus.FAILED, "timed_out", "The run's time was up.")
    assert store.end(reported, decision.status, decision.reason, decision.message)
    ended = head(store, stale.run_id)
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "timed_out")
    assert counts(dynamodb) == (0, 0)


def test_a_launch_that_is_overdue_is_followed_by_another_attempt(store: Runs, clock: Clock) -> None:
    """For that reason, when ECS says that its task has stopped."""
    created = create(store, run()).run
    store.record_task(created, TASK)
    marked = store.mark_overdue(head(store, created.run_id), "start_timeout", "It took too long.")
    assert marked is not None

    decision = decide_stopped(marked, stopped_task(marked, exit_code=143), clock())

    assert isinstance(decision, NextAttempt)
    waiting = store.next_attempt(marked, following(marked, clock(), decision), story(marked, clock(), decision))
    assert waiting is not None
    assert waiting.overdue is None
    assert (waiting.reason, waiting.message) == (
        "start_timeout",
        "Attempt 1 failed and is repeated. It took too long.",
    )
    starting = store.start(waiting, max_active=1)
    assert starting is not None
    assert store.claim(created.run_id, 2, TASK + "2").attempt == 2


@pytest.mark.parametrize(
    "prepare",
    [
        lambda store, of: store.report(of.run_id, 1, TASK, SUCCESS),
        lambda store, of: store.request_cancel(of),
        lambda store, of: store.end(of, RunStatus.FAILED, None, None),
    ],
)
def test_what_ends_anyway_is_not_overdue(store: Runs, prepare: Callable[[Runs, Run], Any]) -> None:
    """A report, a request to cancel or an end came first."""
    running = claimed(store)
    assert prepare(store, running)

    assert store.mark_overdue(running, "timed_out", "m") is None

    assert head(store, running.run_id).overdue is None


def test_an_overdue_run_can_be_cancelled(store: Runs, clock: Clock) -> None:
    """And is cancelled then: that is what somebody asked for."""
    marked = store.mark_overdue(claimed(store), "heartbeat_lost", "m")
    assert marked is not None
    asked = store.request_cancel(marked)
    assert asked is not None

    assert decide_stopped(asked, stopped_task(asked), clock()) == End(
        RunStatus.CANCELLED, "cancelled", "The run was cancelled and its task has stopped.", Timings()
    )
