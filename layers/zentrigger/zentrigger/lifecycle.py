"""What becomes of a run: pure decisions from a record, what ECS says of its task, and the time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from zentrigger.events import TaskState
from zentrigger.launches import CONTAINER
from zentrigger.runs import Run, RunStatus

LAUNCH_SETTLES_AFTER = timedelta(seconds=90)
"""How old an unanswered launch is before it is looked for: the function that sent it has ended by then."""

CANCEL_SETTLES_AFTER = timedelta(minutes=5)
"""How old a cancelled launch without a task is before it ends: ECS would have shown its task by then, and no task of a
cancelled run can claim it."""

LAUNCH_TOKEN_LASTS = timedelta(minutes=50)
"""How long after the first send a token may be sent again: ECS may forget it an hour after a task's end."""

TASK_MAY_BE_UNSEEN = timedelta(minutes=5)
"""How long DescribeTasks may not know a task that was just started (ECS is eventually consistent)."""

FIRST_BACKOFF = timedelta(seconds=10)
LONGEST_BACKOFF = timedelta(minutes=5)


@dataclass(frozen=True)
class End:
    """End the run."""

    status: RunStatus
    reason: str | None
    message: str | None


@dataclass(frozen=True)
class Requeue:
    """Send the run back to waiting, for a further launch."""

    not_before: datetime


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
    """Keep the task that an unanswered launch started."""

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


Decision = End | Requeue | StopTask | FindTask | AdoptTask | SendAgain | StartWaiting | Announce


def decide(run: Run, now: datetime) -> Decision | None:  # noqa: PLR0911 - one return a rule
    """Say what a run's record alone asks for; None: nothing, something else will happen to it first."""
    if run.status.final:
        return Announce() if run.announced_at is None else None
    if run.status == RunStatus.QUEUED:
        if run.cancel_requested_at:
            return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled before it started.")
        return StartWaiting() if run.not_before is None or run.not_before <= now else None
    if run.report is not None:
        return _reported_end(run)
    if run.task_arn is None and run.refusal is not None and run.refusal.launch == run.launch:
        return _refused_end(run, now)
    if run.task_arn is None:
        return FindTask() if now - run.status_at >= LAUNCH_SETTLES_AFTER else None
    if run.cancel_requested_at:
        return StopTask(run.task_arn, "The run was cancelled.")
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
    return End(
        RunStatus.FAILED,
        "launch_unknown",
        "ECS never said whether it started the run's task, and knows none. Check ECS's health, then run it again.",
    )


def decide_stopped(run: Run, task: TaskState) -> Decision | None:
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
    if run.report is not None:
        return _reported_end(run)
    if run.cancel_requested_at:
        return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled and its task has stopped.")
    reason, message = diagnose(run, task)
    return End(RunStatus.FAILED, reason, message)


def decide_missing(run: Run, last_heartbeat: datetime | None, now: datetime) -> Decision | None:
    """Say what a run becomes whose task ECS does not know; nothing, while the task still beats."""
    if now - max(run.status_at, last_heartbeat or run.status_at) < TASK_MAY_BE_UNSEEN:
        return None
    if run.cancel_requested_at:
        return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled and its task is gone.")
    return End(
        RunStatus.FAILED,
        "task_lost",
        "ECS no longer knows the run's task, which left no report: it ended over an hour ago. See the run's logs.",
    )


def diagnose(run: Run, task: TaskState) -> tuple[str, str]:  # noqa: PLR0911 - one return a rule
    """Give reason and message for a task that stopped without a report.

    Rules: ECS's stop codes and stopped reasons (AWS: "Amazon ECS stopped tasks error messages"); exit codes above 128
    name a signal (128 + n), and none at all means that the container never ran or the infrastructure ended it.
    """
    said = (task.stopped_reason or "no reason given").rstrip(".") + "."
    container = next((container for container in task.containers if container.name == CONTAINER), None)
    exit_code = container.exit_code if container else None
    container_said = (container.reason or "") if container else ""
    if "OutOfMemory" in container_said or "OutOfMemory" in said:
        return (
            "out_of_memory",
            "The task ran out of memory. Ask for more (`resources`), raise the stack's TaskMemory, or use less.",
        )
    if task.stop_code == "TaskFailedToStart":
        return _failed_to_start(f"{said} {container_said}".strip())
    if task.stop_code == "UserInitiated":
        return "task_stopped", f"Someone or something stopped the task: {said}"
    if task.stop_code in ("SpotInterruption", "TerminationNotice", "InfrastructureHealth"):
        return "infrastructure", f"AWS ended the task ({task.stop_code}): {said} Start the run again."
    if exit_code is None:
        return "infrastructure", f"The task stopped without an exit code: {said} Start the run again."
    if exit_code > 128:  # noqa: PLR2004 - a shell's and a container's way to say "by signal"
        return (
            "task_killed",
            f"Signal {exit_code - 128} killed the runner before it could report: {said} See the run's logs.",
        )
    if run.status == RunStatus.STARTING:
        return (
            "not_claimed",
            f"The task ended with exit code {exit_code} before it claimed the run: {said} See the run's logs.",
        )
    return "result_missing", f"The task ended with exit code {exit_code} and left no report: {said} See the run's logs."


def _failed_to_start(said: str) -> tuple[str, str]:
    if "CannotPull" in said:
        return (
            "image_pull_failed",
            f"Check that the image exists, for this architecture, and that the subnets reach its registry: {said}",
        )
    if "ResourceInitializationError" in said and "secret" in said.lower():
        message = (
            "Check that the snapshot's secrets exist and are among the stack's PipelineSecretArns, check"
            f" ZenmlApiKeySecretArn, and that the subnets reach Secrets Manager: {said}"
        )
        return "secrets_unreadable", message
    return "task_failed_to_start", f"ECS could not start the task: {said}"


def _reported_end(run: Run) -> End:
    if run.report is None:
        raise ValueError("the run has no report")
    if run.cancel_requested_at:
        return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled.")
    return End(RunStatus(run.report.outcome), run.report.reason, run.report.message)


def _refused_end(run: Run, now: datetime) -> Decision:
    if run.refusal is None:
        raise ValueError("the run's launch was not refused")
    if run.cancel_requested_at:
        return End(RunStatus.CANCELLED, "cancelled", "The run was cancelled before it started.")
    if run.refusal.transient:
        return Requeue(now + min(FIRST_BACKOFF * 2 ** min(run.launch - 1, 10), LONGEST_BACKOFF))
    return End(RunStatus.FAILED, run.refusal.reason, run.refusal.message)
