"""Decisions on runs: from a record, from what ECS says of its task, and from the time."""

from datetime import timedelta
from typing import Any

import pytest

from tests.factories import MOMENT, TASK, run, stopped_task
from zentrigger.lifecycle import (
    CANCEL_SETTLES_AFTER,
    LAUNCH_SETTLES_AFTER,
    LAUNCH_TOKEN_LASTS,
    LONGEST_BACKOFF,
    TASK_MAY_BE_UNSEEN,
    AdoptTask,
    Announce,
    Decision,
    End,
    FindTask,
    Requeue,
    SendAgain,
    StartWaiting,
    StopTask,
    decide,
    decide_found,
    decide_missing,
    decide_stopped,
)
from zentrigger.runs import LEGAL_MOVES, Refusal, RunStatus, Verdict

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
            {"status": "starting", "task_arn": TASK, "status_at": MOMENT - timedelta(hours=1)}, None, id="slow"
        ),
        pytest.param(
            {"status": "starting", "refusal": THROTTLED},
            Requeue(MOMENT + timedelta(seconds=10)),
            id="a passing refusal sends it back to waiting",
        ),
        pytest.param(
            {"status": "starting", "launch": 30, "refusal": THROTTLED.model_copy(update={"launch": 30})},
            Requeue(MOMENT + LONGEST_BACKOFF),
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
        ("running", {"stop_code": "SpotInterruption", "exit_code": 143}, "infrastructure"),
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
    """A task that stopped without a report ends its run as failed, with the true reason and a sentence."""
    standing = run(status=status, task_arn=TASK)

    decision = decide_stopped(standing, stopped_task(standing, **task))

    assert isinstance(decision, End)
    assert (decision.status, decision.reason) == (RunStatus.FAILED, reason)
    assert decision.message


def test_a_stop_of_another_attempt_or_launch_or_run_changes_nothing() -> None:
    """All three parts of `startedBy` must match, and the task must be the one that is known."""
    standing = run(status="running", task_arn=TASK, attempt=2)
    for other in (run(), standing.model_copy(update={"attempt": 1}), standing.model_copy(update={"launch": 2})):
        assert decide_stopped(standing, stopped_task(other)) is None
    assert decide_stopped(standing, stopped_task(standing, task_arn=TASK + "f")) is None


def test_a_stop_ends_by_the_report_where_there_is_one() -> None:
    """The event of a stop may overtake the stream with the report."""
    standing = run(status="running", task_arn=TASK, report=SUCCESS)

    assert decide_stopped(standing, stopped_task(standing, exit_code=137)) == End(RunStatus.SUCCEEDED, None, None)


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

    assert decide_stopped(standing, stopped_task(standing, task_arn=TASK + "0")) is None
    assert isinstance(decide_stopped(standing, stopped_task(first_launch)), End)


def test_a_refusal_of_a_launch_that_has_a_task_is_nothing() -> None:
    """Neither before nor after the claim."""
    assert decide(run(status="running", task_arn=TASK, refusal=FORBIDDEN), MOMENT) is None
    assert decide(run(status="starting", task_arn=TASK, refusal=THROTTLED), MOMENT) is None


def test_final_statuses_have_no_way_out() -> None:
    """No legal move leaves a final status, and every status but the first is reached by one."""
    assert {status for status in RunStatus if status.final} == {"succeeded", "failed", "cancelled"}
    assert set().union(*LEGAL_MOVES.values()) == set(RunStatus)
