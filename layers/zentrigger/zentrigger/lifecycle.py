"""What becomes of a run: pure decisions from a record, what ECS says of its task, and the time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from zentrigger.diagnosis import diagnose, lost, never_known
from zentrigger.events import TaskState
from zentrigger.retries import Failure, Kind, backoff, budget_for, launch_backoff
from zentrigger.runs import Run, RunStatus, Timings

LAUNCH_SETTLES_AFTER = timedelta(seconds=90)
"""How old an unanswered launch is before it is looked for: the function that sent it has ended by then."""

CANCEL_SETTLES_AFTER = timedelta(minutes=5)
"""How old a cancelled launch without a task is before it ends: ECS would have shown its task by then, and no task of a
cancelled run can claim it."""

LAUNCH_TOKEN_LASTS = timedelta(minutes=50)
"""How long after the first send a token may be sent again: ECS may forget it an hour after a task's end."""

TASK_MAY_BE_UNSEEN = timedelta(minutes=5)
"""How long DescribeTasks may not know a task that was just started (ECS is eventually consistent)."""

RUN_DEADLINE_GRACE = timedelta(minutes=5)
"""How long after a run's time is up its runner may still be ending it: 100 s of grace, the report's retries."""

HEARTBEAT_LOST_AFTER = timedelta(minutes=10)
"""How long a runner may be silent; it beats every 15 s, and a table that is away for minutes must not kill runs."""

STOP_IS_LATE_AFTER = timedelta(minutes=10)
"""How long ECS may take to stop a task that it was told to stop: SIGKILL comes 2 minutes after SIGTERM."""


@dataclass(frozen=True)
class End:
    """End the run."""

    status: RunStatus
    reason: str | None
    message: str | None
    timings: Timings | None = None


@dataclass(frozen=True)
class Requeue:
    """Send the run back to waiting, for a further launch."""

    not_before: datetime


@dataclass(frozen=True)
class NextAttempt:
    """Send the run back to waiting, for a further attempt; a budget pays for it."""

    failure: Failure
    budget: Kind
    not_before: datetime
    timings: Timings | None = None


@dataclass(frozen=True)
class MarkOverdue:
    """Keep that a deadline has passed; the task is stopped then."""

    reason: str
    message: str


@dataclass(frozen=True)
class StopTask:
    """Have ECS stop the run's task; its end follows when ECS says that it has stopped."""

    task_arn: str
    reason: str


@dataclass(frozen=True)
class FindTask:
    """Find out whether an unanswered launch started a task; `decide_found` says what follows."""


@dataclass(frozen=True)
class AdoptTask:
    """Keep the task that an unanswered launch started; one whose run is to end is stopped then."""

    task_arn: str


@dataclass(frozen=True)
class SendAgain:
    """Send an unanswered launch again, with the same token: ECS starts no second task for it."""


@dataclass(frozen=True)
class StartWaiting:
    """Start waiting runs, as far as slots are free."""


@dataclass(frozen=True)
class Announce:
    """Publish the run's end."""


Decision = (
    End | Requeue | NextAttempt | MarkOverdue | StopTask | FindTask | AdoptTask | SendAgain | StartWaiting | Announce
)


def decide(run: Run, now: datetime) -> Decision | None:  # noqa: PLR0911 - one return a rule
    """Say what a run's record alone asks for; None: nothing, something else will happen to it first."""
    if run.status.final:
        return Announce() if run.announced_at is None else None
    if run.status == RunStatus.QUEUED:
        if run.cancel_requested_at:
            return _cancelled_waiting(run)
        return StartWaiting() if run.not_before is None or run.not_before <= now else None
    if run.report is not None and not _waits_for_cause(run):
        return _reported_end(run, now)
    if run.task_arn is None:
        return _without_task(run, now)
    if run.cancel_requested_at:
        return StopTask(run.task_arn, "The run was cancelled.")
    if run.overdue:
        return StopTask(run.task_arn, run.overdue.message)
    return None


def decide_found(run: Run, task_arn: str | None, now: datetime) -> Decision | None:
    """Say what becomes of an unanswered launch, for which a live task was found or not."""
    if task_arn is not None:
        return AdoptTask(task_arn)
    age = now - run.status_at
    if run.cancel_requested_at:
        cancelled = End(RunStatus.CANCELLED, "cancelled", "The run was cancelled before its task was seen.")
        return cancelled if age >= CANCEL_SETTLES_AFTER else None
    if age < LAUNCH_TOKEN_LASTS:
        return SendAgain()
    return _after(run, never_known(), now)


def decide_stopped(run: Run, task: TaskState, now: datetime) -> Decision | None:  # noqa: PLR0911 - one return a rule
    """Say what a run becomes whose task has stopped; None where the task is not the run's present one.

    Once a task has claimed the run it is that one, whatever else was launched; before, it is the one of this launch.
    """
    if not run.status.holds_slot or not task.stopped:
        return None
    if run.claimed_by is not None:
        if task.task_arn != run.claimed_by:
            return None
    elif task.started_by != run.started_by or run.task_arn not in (None, task.task_arn):
        return None
    if run.report is not None and not _waits_for_cause(run):
        return _reported_end(run, now)
    timings = run.timings or Timings(
        pull_started_at=task.pull_started_at, pulled_at=task.pulled_at, container_started_at=task.started_at
    )
    if run.cancel_requested_at:
        return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled and its task has stopped.", timings)
    if run.overdue:
        return _after(run, _overdue(run), now, timings)
    return _after(run, diagnose(run, task), now, timings)


def decide_missing(run: Run, last_heartbeat: datetime | None, now: datetime) -> Decision | None:
    """Say what a run becomes whose task ECS does not know; nothing, while the task still beats."""
    if now - max(run.launched_at or run.status_at, last_heartbeat or run.status_at) < TASK_MAY_BE_UNSEEN:
        return None
    if run.cancel_requested_at:
        return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled and its task is gone.")
    if run.overdue:
        return _after(run, _overdue(run), now)
    if run.report is not None:
        return _after(run, Failure(run.report.reason or "stopped", run.report.message, "infrastructure"), now)
    return _after(run, lost(run), now)


def decide_overdue(run: Run, now: datetime) -> MarkOverdue | None:
    """Say which deadline a run has missed whose task ECS has not stopped, if any: that of its start, or of its end."""
    if not _may_be_overdue(run):
        return None
    if run.status == RunStatus.STARTING:
        if now - (run.launched_at or run.status_at) < timedelta(seconds=run.start_timeout_seconds):
            return None
        return MarkOverdue(
            "start_timeout",
            f"The task did not begin within {run.start_timeout_seconds} s of its launch and was stopped. A very large"
            " image, a subnet without egress or a lack of Fargate capacity may be why; see the task in ECS.",
        )
    if run.timeout_seconds is None or run.started_at is None:
        return None
    if now - run.started_at < timedelta(seconds=run.timeout_seconds) + RUN_DEADLINE_GRACE:
        return None
    return MarkOverdue(
        "timed_out",
        f"The run's time was up after {run.timeout_seconds} s, and its task did not end by itself. Give it more with a"
        " larger `timeout_seconds`.",
    )


def decide_silent(run: Run, last_heartbeat: datetime | None, now: datetime) -> MarkOverdue | None:
    """Say whether a running task has been silent for too long; it is stopped before it is declared lost."""
    if run.status != RunStatus.RUNNING or not _may_be_overdue(run):
        return None
    if now - max(run.status_at, last_heartbeat or run.status_at) < HEARTBEAT_LOST_AFTER:
        return None
    minutes = HEARTBEAT_LOST_AFTER // timedelta(minutes=1)
    return MarkOverdue(
        "heartbeat_lost",
        f"The task has said nothing for over {minutes} minutes, though it beats every 15 s: it hangs, or it does not"
        " reach DynamoDB. It was stopped; see the run's logs.",
    )


def _may_be_overdue(run: Run) -> bool:
    """Tell whether a deadline can still count: the run has a task, and nothing ends it already."""
    ending = run.overdue or run.cancel_requested_at or run.report
    return run.status.holds_slot and run.task_arn is not None and not ending


def stop_is_late(run: Run, now: datetime) -> bool:
    """Tell whether ECS has been told to stop a run's task and has not for longer than it should take."""
    asked = [moment for moment in (run.cancel_requested_at, run.overdue.at if run.overdue else None) if moment]
    return run.status.holds_slot and bool(asked) and now - min(asked) >= STOP_IS_LATE_AFTER


def _without_task(run: Run, now: datetime) -> Decision | None:
    if run.refusal is not None and run.refusal.launch == run.launch and run.refusal.attempt == run.attempt:
        return _refused_end(run, now)
    return FindTask() if now - run.status_at >= LAUNCH_SETTLES_AFTER else None


def _waits_for_cause(run: Run) -> bool:
    """Tell whether a report says only that the task was told to stop, by somebody unknown: ECS will say by whom."""
    asked_for = run.cancel_requested_at or run.overdue
    return run.report is not None and run.report.reason == "stopped" and not asked_for


def _reported_end(run: Run, now: datetime) -> Decision:
    if run.report is None:
        raise ValueError("the run has no report")
    if run.cancel_requested_at:
        return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled.")
    if run.overdue:
        return _after(run, _overdue(run), now)
    report = run.report
    if report.outcome == "succeeded":
        return End(RunStatus.SUCCEEDED, report.reason, report.message)
    kind: Kind = "pipeline" if report.reason in PIPELINE_FAILURES else "permanent"
    failure = Failure(report.reason or "pipeline_failed", report.message, kind, report.error_type)
    return _after(run, failure, now)


PIPELINE_FAILURES = frozenset(
    {
        "pipeline_failed",
        "killed",
        "result_missing",
        "zenml_lost",
        "zenml_not_answering",
        "zenml_unreachable",
    }
)
"""What a runner reports that another attempt need not meet again."""


def _overdue(run: Run) -> Failure:
    if run.overdue is None:
        raise ValueError("the run has missed no deadline")
    kind: Kind = "permanent" if run.overdue.reason == "timed_out" else "infrastructure"
    return Failure(run.overdue.reason, run.overdue.message, kind)


def _after(run: Run, failure: Failure, now: datetime, timings: Timings | None = None) -> Decision:
    """Give the next attempt, if a budget pays for one, else the run's end."""
    budget = budget_for(failure, run.spent, policy=run.retry, spot=run.spot)
    if budget is None:
        given_up = f" This was attempt {run.attempt}, and the last." if run.attempt > 1 else ""
        return End(RunStatus.FAILED, failure.reason, f"{failure.message or ''}{given_up}" or None, timings)
    pause = backoff(budget, run.spent, run.retry, seed=f"{run.run_id}/{run.attempt}")
    return NextAttempt(failure, budget, now + pause, timings)


def _cancelled_waiting(run: Run) -> End:
    if run.attempt == 1:
        return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled before it started.")
    before = f"Attempt {run.attempt - 1} had failed; see `attempts`."
    return End(
        RunStatus.CANCELLED, "cancelled", f"The run was cancelled before attempt {run.attempt} started. {before}"
    )


def _refused_end(run: Run, now: datetime) -> Decision:
    if run.refusal is None:
        raise ValueError("the run's launch was not refused")
    if run.cancel_requested_at:
        return _cancelled_waiting(run)
    if run.refusal.transient:
        return Requeue(now + launch_backoff(run.launch, seed=run.started_by))
    return End(RunStatus.FAILED, run.refusal.reason, run.refusal.message)
