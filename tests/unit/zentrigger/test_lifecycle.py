"""Decisions on runs: from a record, from what ECS says of its task, and from the time."""

from datetime import timedelta
from typing import Any

import pytest

from tests.factories import MOMENT, TASK, run, stopped_task
from zentrigger.lifecycle import (
    CANCEL_SETTLES_AFTER,
    HEARTBEAT_LOST_AFTER,
    LAUNCH_SETTLES_AFTER,
    LAUNCH_TOKEN_LASTS,
    RUN_DEADLINE_GRACE,
    STOP_IS_LATE_AFTER,
    TASK_MAY_BE_UNSEEN,
    AdoptTask,
    Announce,
    Decision,
    End,
    FindTask,
    NextAttempt,
    Requeue,
    SendAgain,
    StartWaiting,
    StopTask,
    decide,
    decide_found,
    decide_missing,
    decide_overdue,
    decide_silent,
    decide_stopped,
    stop_is_late,
)
from zentrigger.retries import RetryPolicy, launch_backoff
from zentrigger.runs import LEGAL_MOVES, START_TIMEOUT_SECONDS, Overdue, Refusal, Run, RunStatus, Verdict

SUCCESS = Verdict(outcome="succeeded")
THROTTLED = Refusal(launch=1, transient=True, reason="throttled", message="slow down")
FORBIDDEN = Refusal(launch=1, transient=False, reason="launch_refused", message="no such subnet")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"status": "queued"}, StartWaiting(), id="a waiting run is to be started"),
        pytest.param({"status": "queued", "not_before": MOMENT + timedelta(seconds=1)}, None, id="unless it backs off"),
        pytest.param({"status": "queued", "not_before": MOMENT}, StartWaiting(), id="and has not done so long enough"),
        pytest.param({"status": "starting"}, None, id="a launch under way is left alone"),
        pytest.param(
            {"status": "starting", "status_at": MOMENT - LAUNCH_SETTLES_AFTER}, FindTask(), id="until it is old"
        ),
        pytest.param(
            {"status": "starting", "task_arn": TASK, "status_at": MOMENT - timedelta(minutes=19)}, None, id="slow"
        ),
        pytest.param(
            {"run_id": "r", "status": "starting", "refusal": THROTTLED},
            Requeue(MOMENT + launch_backoff(1, "r/1/1")),
            id="a passing refusal sends it back to waiting",
        ),
        pytest.param(
            {"run_id": "r", "status": "starting", "launch": 30, "refusal": THROTTLED.model_copy(update={"launch": 30})},
            Requeue(MOMENT + launch_backoff(30, "r/1/30")),
            id="for a bounded time",
        ),
        pytest.param(
            {"status": "starting", "refusal": FORBIDDEN},
            End(RunStatus.FAILED, "launch_refused", "no such subnet"),
            id="a lasting refusal ends it",
        ),
        pytest.param({"status": "starting", "launch": 2, "refusal": FORBIDDEN}, None, id="not that of an older launch"),
        pytest.param({"status": "running", "task_arn": TASK}, None, id="a running run is left alone"),
        pytest.param(
            {"status": "running", "task_arn": TASK, "report": SUCCESS},
            End(RunStatus.SUCCEEDED, None, None),
            id="until it reports",
        ),
        pytest.param({"status": "succeeded"}, Announce(), id="an end is announced"),
        pytest.param({"status": "succeeded", "announced_at": MOMENT}, None, id="once"),
    ],
)
def test_a_record_decides(values: dict[str, Any], expected: Decision | None) -> None:
    """What a record alone asks for."""
    assert decide(run(**values), MOMENT) == expected


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"status": "queued"}, End),
        ({"status": "starting", "task_arn": TASK}, StopTask),
        ({"status": "running", "task_arn": TASK}, StopTask),
        ({"status": "starting", "refusal": THROTTLED}, End),
        ({"status": "running", "task_arn": TASK, "report": SUCCESS}, End),
    ],
)
def test_a_cancelled_run_never_succeeds(values: dict[str, Any], kind: type[Decision]) -> None:
    """A request to cancel wins over waiting, backing off and a report of success."""
    decision = decide(run(**values, cancel_requested_at=MOMENT), MOMENT)

    assert isinstance(decision, kind)
    assert not isinstance(decision, End) or decision.status == RunStatus.CANCELLED


@pytest.mark.parametrize(
    ("status", "task", "reason"),
    [
        ("running", {"exit_code": 137}, "task_killed"),
        ("running", {"exit_code": 137, "reason": "OutOfMemoryError: Container killed"}, "out_of_memory"),
        ("running", {"exit_code": 0}, "result_missing"),
        ("starting", {"exit_code": 1}, "not_claimed"),
        ("running", {"exit_code": None}, "infrastructure"),
        ("running", {"stop_code": "SpotInterruption", "exit_code": 143}, "spot_interrupted"),
        ("running", {"stop_code": "UserInitiated", "exit_code": 143}, "task_stopped"),
        (
            "starting",
            {
                "stop_code": "TaskFailedToStart",
                "stopped_reason": "CannotPullContainerError: not found",
                "exit_code": None,
            },
            "image_pull_failed",
        ),
        (
            "starting",
            {
                "stop_code": "TaskFailedToStart",
                "stopped_reason": "ResourceInitializationError: unable to pull secrets or registry auth",
                "containers": (),
            },
            "secrets_unreadable",
        ),
        (
            "starting",
            {"stop_code": "TaskFailedToStart", "stopped_reason": "Timeout", "containers": ()},
            "task_failed_to_start",
        ),
    ],
)
def test_every_death_has_its_reason(status: str, task: dict[str, Any], reason: str) -> None:
    """The true reason, and a sentence, whether another attempt follows or not."""
    standing = run(status=status, task_arn=TASK)

    decision = decide_stopped(standing, stopped_task(standing, **task), MOMENT)

    assert isinstance(decision, End | NextAttempt)
    told = decision.failure if isinstance(decision, NextAttempt) else decision
    assert told.reason == reason
    assert told.message


def test_a_stop_of_another_attempt_or_launch_or_run_changes_nothing() -> None:
    """All three parts of `startedBy` must match, and the task must be the one that is known."""
    standing = run(status="running", task_arn=TASK, attempt=2)
    for other in (run(), standing.model_copy(update={"attempt": 1}), standing.model_copy(update={"launch": 2})):
        assert decide_stopped(standing, stopped_task(other), MOMENT) is None
    assert decide_stopped(standing, stopped_task(standing, task_arn=TASK + "f"), MOMENT) is None


def test_a_stop_ends_by_the_report_where_there_is_one() -> None:
    """The event of a stop may overtake the stream with the report."""
    standing = run(status="running", task_arn=TASK, report=SUCCESS)

    assert decide_stopped(standing, stopped_task(standing, exit_code=137), MOMENT) == End(
        RunStatus.SUCCEEDED, None, None
    )


def test_a_task_that_ecs_does_not_know_is_lost_only_after_a_while() -> None:
    """ECS is eventually consistent: a new task may be unknown for a moment."""
    standing = run(status="running", task_arn=TASK, status_at=MOMENT)

    assert decide_missing(standing, None, MOMENT + TASK_MAY_BE_UNSEEN - timedelta(seconds=1)) is None
    decision = decide_missing(standing, None, MOMENT + TASK_MAY_BE_UNSEEN)
    assert isinstance(decision, End)
    assert decision.reason == "task_lost"


def test_a_task_that_beats_is_not_lost() -> None:
    """Whatever DescribeTasks says."""
    standing = run(status="running", task_arn=TASK, status_at=MOMENT)
    later = MOMENT + timedelta(hours=1)

    assert decide_missing(standing, later - timedelta(seconds=15), later) is None
    assert decide_missing(standing, later - TASK_MAY_BE_UNSEEN, later) is not None


def test_what_becomes_of_an_unanswered_launch() -> None:
    """Found: adopted. Not found: the same token again, while it lasts. Cancelled: never sent again."""
    young = MOMENT + LAUNCH_SETTLES_AFTER
    standing = run(status="starting", status_at=MOMENT)
    cancelled = standing.model_copy(update={"cancel_requested_at": MOMENT})

    assert decide_found(standing, TASK, young) == AdoptTask(TASK)
    assert decide_found(cancelled, TASK, young) == AdoptTask(TASK)
    assert decide_found(standing, None, young) == SendAgain()
    assert decide_found(cancelled, None, young) is None
    ended = decide_found(cancelled, None, MOMENT + CANCEL_SETTLES_AFTER)
    assert isinstance(ended, End)
    assert ended.status == RunStatus.CANCELLED
    unknown = decide_found(standing, None, MOMENT + LAUNCH_TOKEN_LASTS)
    assert isinstance(unknown, End)
    assert unknown.reason == "launch_unknown"


def test_the_task_that_claimed_is_the_runs_task_whatever_was_launched_since() -> None:
    """A second launch of the same attempt may have been recorded; its end is not the run's, the claimer's is."""
    standing = run(status="running", launch=2, claimed_by=TASK, task_arn=TASK)
    first_launch = standing.model_copy(update={"launch": 1})

    assert decide_stopped(standing, stopped_task(standing, task_arn=TASK + "0"), MOMENT) is None
    assert isinstance(decide_stopped(standing, stopped_task(first_launch), MOMENT), End)


def test_a_refusal_of_a_launch_that_has_a_task_is_nothing() -> None:
    """Neither before nor after the claim."""
    assert decide(run(status="running", task_arn=TASK, refusal=FORBIDDEN), MOMENT) is None
    assert decide(run(status="starting", task_arn=TASK, refusal=THROTTLED), MOMENT) is None


def test_final_statuses_have_no_way_out() -> None:
    """No legal move leaves a final status, and every status but the first is reached by one."""
    assert {status for status in RunStatus if status.final} == {"succeeded", "failed", "cancelled"}
    assert set().union(*LEGAL_MOVES.values()) == set(RunStatus)


# ------------------------------------------------------------ attempts, deadlines, causes

STOPPED = Verdict(outcome="failed", reason="stopped", message="The task was told to stop.")
RAISED = Verdict(outcome="failed", reason="pipeline_failed", message="no", error_type="sources.Unreachable")


def failing(**values: Any) -> Run:
    """Make a run whose pipeline has raised."""
    return run(status="running", task_arn=TASK, claimed_by=TASK, report=RAISED, **values)


def test_a_pipeline_that_raised_is_attempted_again_as_often_as_was_asked() -> None:
    """And not once more; without being asked, never."""
    policy = RetryPolicy(max_attempts=3, backoff_seconds=60)
    assert isinstance(decide(failing(), MOMENT), End)

    decisions = [decide(failing(retry=policy, pipeline_retries=spent), MOMENT) for spent in range(3)]

    assert [type(decision) for decision in decisions] == [NextAttempt, NextAttempt, End]
    pauses = [decision.not_before - MOMENT for decision in decisions if isinstance(decision, NextAttempt)]
    assert timedelta(seconds=60) <= pauses[0] <= timedelta(seconds=75)
    assert timedelta(seconds=120) <= pauses[1] <= timedelta(seconds=150)


@pytest.mark.parametrize(
    ("on", "again"),
    [
        ((), True),
        (("Unreachable",), True),
        (("sources.Unreachable",), True),
        (("pipeline_failed",), True),
        (("ValueError",), False),
        (("reachable",), False),
    ],
)
def test_only_the_named_exceptions_are_attempted_again(on: tuple[str, ...], again: bool) -> None:
    """By class name with or without its module, or by reason."""
    decision = decide(failing(retry=RetryPolicy(max_attempts=2, on=on)), MOMENT)

    assert isinstance(decision, NextAttempt) == again


def test_what_another_attempt_would_meet_again_is_not_repeated_unless_it_was_named() -> None:
    """Parameters do not change between attempts."""
    refused = Verdict(outcome="failed", reason="parameters_refused", message="no such parameter")
    standing = run(status="running", task_arn=TASK, report=refused)

    for policy, kind in (
        (RetryPolicy(max_attempts=2), End),
        (RetryPolicy(max_attempts=2, on=(refused.reason,)), NextAttempt),
    ):
        assert isinstance(decide(standing.model_copy(update={"retry": policy}), MOMENT), kind)


@pytest.mark.parametrize(
    ("values", "again"),
    [
        ({"status": "starting"}, True),
        ({"status": "starting", "infrastructure_retries": 3}, False),
        ({"status": "running", "claimed_by": TASK}, False),
        ({"status": "running", "claimed_by": TASK, "spot": True}, True),
        ({"status": "running", "claimed_by": TASK, "retry": RetryPolicy(max_attempts=1)}, False),
        ({"status": "running", "claimed_by": TASK, "spot": True, "infrastructure_retries": 3}, False),
    ],
)
def test_what_infrastructure_did_is_repeated_on_a_budget_of_its_own(values: dict[str, Any], again: bool) -> None:
    """Before the claim always; after it only if the run is one on Spot."""
    standing = run(task_arn=TASK, **values)
    task = stopped_task(standing, stop_code="InfrastructureHealth", exit_code=None)

    decision = decide_stopped(standing, task, MOMENT)

    assert isinstance(decision, NextAttempt) == again
    assert not isinstance(decision, NextAttempt) or decision.budget == "infrastructure"


@pytest.mark.parametrize(
    ("stop_code", "reason"),
    [
        ("SpotInterruption", "spot_interrupted"),
        ("UserInitiated", "task_stopped"),
        ("TerminationNotice", "infrastructure"),
        ("EssentialContainerExited", "stopped"),
    ],
)
def test_a_stop_that_nobody_here_asked_for_waits_for_its_cause(stop_code: str, reason: str) -> None:
    """The runner knows of a SIGTERM only; ECS knows who sent it."""
    standing = run(status="running", task_arn=TASK, claimed_by=TASK, report=STOPPED, spot=True, attempt=2)
    assert decide(standing, MOMENT) is None

    decision = decide_stopped(standing, stopped_task(standing, stop_code=stop_code, exit_code=1), MOMENT)

    assert isinstance(decision, End | NextAttempt)
    assert (decision.failure.reason if isinstance(decision, NextAttempt) else decision.reason) == reason


def test_a_stop_that_was_asked_for_needs_no_other_cause() -> None:
    """Neither a cancelled run's nor an overdue one's."""
    standing = run(status="running", task_arn=TASK, claimed_by=TASK, report=STOPPED)
    overdue = Overdue(reason="timed_out", message="too late", at=MOMENT)

    cancelled = decide(standing.model_copy(update={"cancel_requested_at": MOMENT}), MOMENT)
    timed_out = decide(standing.model_copy(update={"overdue": overdue}), MOMENT)

    assert isinstance(cancelled, End)
    assert cancelled.status == RunStatus.CANCELLED
    assert isinstance(timed_out, End)
    assert (timed_out.status, timed_out.reason) == (RunStatus.FAILED, "timed_out")


def test_a_success_after_the_deadline_was_declared_missed_is_none() -> None:
    """Whoever was told that the run timed out is not told otherwise; a cancel goes before both."""
    overdue = Overdue(reason="timed_out", message="too late", at=MOMENT)
    standing = run(status="running", task_arn=TASK, claimed_by=TASK, report=SUCCESS, overdue=overdue)

    late = decide(standing, MOMENT)
    cancelled = decide(standing.model_copy(update={"cancel_requested_at": MOMENT}), MOMENT)

    assert isinstance(late, End)
    assert late.reason == "timed_out"
    assert isinstance(cancelled, End)
    assert cancelled.status == RunStatus.CANCELLED


LAUNCHED = {"status": "starting", "task_arn": TASK, "launched_at": MOMENT}
RUNNING = {"status": "running", "task_arn": TASK, "claimed_by": TASK, "started_at": MOMENT, "timeout_seconds": 60}


@pytest.mark.parametrize(
    ("values", "after", "reason"),
    [
        (LAUNCHED, timedelta(seconds=START_TIMEOUT_SECONDS - 1), None),
        (LAUNCHED, timedelta(seconds=START_TIMEOUT_SECONDS), "start_timeout"),
        (LAUNCHED | {"cancel_requested_at": MOMENT}, timedelta(hours=1), None),
        ({"status": "starting"}, timedelta(hours=1), None),
        (RUNNING, timedelta(seconds=59) + RUN_DEADLINE_GRACE, None),
        (RUNNING, timedelta(seconds=60) + RUN_DEADLINE_GRACE, "timed_out"),
        (RUNNING | {"report": SUCCESS}, timedelta(hours=1), None),
        (RUNNING | {"timeout_seconds": None}, timedelta(days=9), None),
        ({"status": "queued"}, timedelta(days=9), None),
    ],
)
def test_deadlines(values: dict[str, Any], after: timedelta, reason: str | None) -> None:
    """Of a launch without a task there is none here: its token has a deadline of its own."""
    decision = decide_overdue(run(**values), MOMENT + after)

    assert (decision.reason if decision else None) == reason


def test_a_silent_task_is_stopped_before_it_is_lost() -> None:
    """It may still run; only ECS can say that it does not."""
    standing = run(status="running", task_arn=TASK, claimed_by=TASK, status_at=MOMENT)
    beat = MOMENT + timedelta(hours=1)
    assert decide_silent(standing, beat, beat + HEARTBEAT_LOST_AFTER - timedelta(seconds=1)) is None
    decision = decide_silent(standing, beat, beat + HEARTBEAT_LOST_AFTER)
    assert decision is not None
    assert decision.reason == "heartbeat_lost"

    overdue = standing.model_copy(
        update={"overdue": Overdue(reason=decision.reason, message=decision.message, at=MOMENT)}
    )
    assert isinstance(decide(overdue, MOMENT), StopTask)
    assert decide_silent(overdue, beat, beat + timedelta(days=1)) is None
    ended = decide_stopped(overdue, stopped_task(overdue, stop_code="UserInitiated", exit_code=137), MOMENT)
    assert isinstance(ended, End)
    assert ended.reason == "heartbeat_lost"


def test_a_stop_without_effect_is_late() -> None:
    """For whoever is on call; the run holds its slot until ECS says that the task has stopped."""
    standing = run(status="running", task_arn=TASK, cancel_requested_at=MOMENT)

    assert not stop_is_late(standing, MOMENT + STOP_IS_LATE_AFTER - timedelta(seconds=1))
    assert stop_is_late(standing, MOMENT + STOP_IS_LATE_AFTER)
    assert not stop_is_late(run(status="running", task_arn=TASK), MOMENT + timedelta(days=1))
    assert not stop_is_late(run(status="queued", cancel_requested_at=MOMENT), MOMENT + timedelta(days=1))


@pytest.mark.parametrize(
    ("retry", "spent", "again"),
    [
        (RetryPolicy(max_attempts=2), 0, True),
        (RetryPolicy(max_attempts=2), 1, False),
        (RetryPolicy(max_attempts=2, on=("ValueError",)), 0, False),
        (RetryPolicy(max_attempts=2, on=("infrastructure",)), 0, True),
    ],
)
def test_a_pipeline_that_infrastructure_ended_begins_as_often_as_was_asked(
    retry: RetryPolicy, spent: int, again: bool
) -> None:
    """Who says how many attempts there are at most, and for what, means it, whoever is to blame."""
    standing = run(status="running", task_arn=TASK, claimed_by=TASK, retry=retry, pipeline_retries=spent)

    decision = decide_stopped(standing, stopped_task(standing, exit_code=None), MOMENT)

    assert isinstance(decision, NextAttempt) == again
    assert not isinstance(decision, NextAttempt) or decision.budget == "pipeline"


def test_the_end_says_what_came_before() -> None:
    """Whoever reads only the last sentence learns that the pipeline had begun before."""
    waiting = decide(run(status="queued", attempt=2, cancel_requested_at=MOMENT), MOMENT)
    given_up = decide(failing(attempt=3), MOMENT)

    assert isinstance(waiting, End)
    assert waiting.message == "The run was cancelled before attempt 2 started. Attempt 1 had failed; see `attempts`."
    assert isinstance(given_up, End)
    assert given_up.message == "no This was attempt 3, and the last."
