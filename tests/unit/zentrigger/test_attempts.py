"""The story of an attempt, and the run as it goes into the next."""

from datetime import timedelta

import pytest

from tests.factories import MOMENT, TASK, run
from zentrigger.attempts import following, present_attempt, story
from zentrigger.capacity import Concurrency
from zentrigger.lifecycle import NextAttempt
from zentrigger.retries import Failure, Kind, RetryPolicy
from zentrigger.runs import Attempt, Overdue, Refusal, Run, RunStatus, Timings, Verdict

PULLED = Timings(pulled_at=MOMENT - timedelta(minutes=3), container_started_at=MOMENT - timedelta(minutes=2))
RAISED = Failure("pipeline_failed", "It raised.", "pipeline", "ValueError")
RUNNING = run(
    status="running",
    attempt=2,
    launch=3,
    spot=True,
    task_arn=TASK,
    claimed_by=TASK,
    launched_at=MOMENT - timedelta(minutes=4),
    started_at=MOMENT - timedelta(minutes=1),
    timings=PULLED,
    refusal=Refusal(attempt=2, launch=2, transient=True, reason="capacity", message="none left"),
    report=Verdict(outcome="failed", reason="pipeline_failed", error_type="ValueError"),
    overdue=Overdue(reason="timed_out", message="m", at=MOMENT),
    pipeline_retries=1,
    infrastructure_retries=1,
    priority=3,
    concurrency=Concurrency(key="k"),
    retry=RetryPolicy(max_attempts=5),
    timeout_seconds=60,
)


def decision(failure: Failure = RAISED, budget: Kind = "pipeline", timings: Timings | None = None) -> NextAttempt:
    """Decide on another attempt."""
    return NextAttempt(failure, budget, MOMENT + timedelta(minutes=1), timings)


def test_a_story_tells_which_task_it_was_when_and_how_it_failed() -> None:
    """All that the next attempt takes off the record."""
    assert story(RUNNING, MOMENT, decision()) == Attempt(
        number=2,
        launches=3,
        spot=False,
        task_arn=TASK,
        launched_at=MOMENT - timedelta(minutes=4),
        timings=PULLED,
        claimed_at=MOMENT - timedelta(minutes=1),
        ended_at=MOMENT,
        outcome="failed",
        reason="pipeline_failed",
        message="It raised.",
        error_type="ValueError",
    )


def test_a_task_that_claimed_nothing_tells_its_times_itself() -> None:
    """ECS says when it had the image."""
    unclaimed = RUNNING.model_copy(update={"timings": None, "started_at": None})

    assert story(unclaimed, MOMENT, decision(timings=PULLED)).timings == PULLED
    assert story(unclaimed, MOMENT, decision()).timings is None


def test_the_first_launch_alone_was_on_spot() -> None:
    """A story says what it really ran on."""
    first = RUNNING.model_copy(update={"attempt": 1, "launch": 1})

    assert story(first, MOMENT, decision()).spot
    assert not story(first.model_copy(update={"launch": 2}), MOMENT, decision()).spot


@pytest.mark.parametrize(("budget", "pipeline", "infrastructure"), [("pipeline", 2, 1), ("infrastructure", 1, 2)])
def test_the_next_attempt_waits_and_has_nothing_of_the_last_but_what_was_spent(
    budget: Kind, pipeline: int, infrastructure: int
) -> None:
    """And why it is repeated; all that was asked for stays, and its place in line."""
    next_one = following(RUNNING, MOMENT, decision(budget=budget))

    expected = RUNNING.model_dump() | {
        "status": RunStatus.QUEUED,
        "status_at": MOMENT,
        "attempt": 3,
        "launch": 1,
        "not_before": MOMENT + timedelta(minutes=1),
        "pipeline_retries": pipeline,
        "infrastructure_retries": infrastructure,
        "reason": "pipeline_failed",
        "message": "Attempt 2 failed and is repeated. It raised.",
        "task_arn": None,
        "launched_at": None,
        "claimed_by": None,
        "started_at": None,
        "timings": None,
        "refusal": None,
        "report": None,
        "overdue": None,
    }
    assert next_one.model_dump() == expected
    assert Run.model_validate(next_one.model_dump()) == next_one


def test_a_failure_without_words_needs_none() -> None:
    """The sentence ends where it ends."""
    silent = following(RUNNING, MOMENT, decision(Failure("killed", None, "pipeline")))

    assert (silent.reason, silent.message) == ("killed", "Attempt 2 failed and is repeated.")


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_the_attempt_that_ended_a_run_has_its_story_in_the_record(status: str) -> None:
    """With the run's own end and reason."""
    ended = RUNNING.model_copy(
        update={"status": RunStatus(status), "ended_at": MOMENT, "reason": "why", "message": "because"}
    )

    told = present_attempt(ended)

    assert told is not None
    assert (told.number, told.outcome, told.reason, told.message) == (2, status, "why", "because")
    assert (told.ended_at, told.error_type, told.timings) == (MOMENT, "ValueError", PULLED)


def test_an_attempt_that_is_under_way_or_was_never_launched_has_no_story() -> None:
    """A run that was skipped, or cancelled in the queue, had none; one that ECS refused had."""
    assert present_attempt(RUNNING) is None
    assert present_attempt(run(status="cancelled", ended_at=MOMENT)) is None
    refused = run(
        status="failed",
        ended_at=MOMENT,
        reason="launch_refused",
        refusal=Refusal(launch=1, transient=False, reason="launch_refused", message="m"),
    )
    told = present_attempt(refused)
    assert told is not None
    assert (told.task_arn, told.launches, told.reason, told.error_type) == (None, 1, "launch_refused", None)
