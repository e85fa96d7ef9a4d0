"""Attempts: the story of one, and the run as it goes into the next. Pure."""

from datetime import datetime

from zentrigger.lifecycle import NextAttempt
from zentrigger.runs import OF_AN_ATTEMPT, Attempt, Run, RunStatus, Timings


def story(run: Run, ended_at: datetime, decision: NextAttempt) -> Attempt:
    """Tell what became of a run's present attempt, which another follows."""
    failure = decision.failure
    return _told(
        run,
        ended_at,
        "failed",
        reason=failure.reason,
        message=failure.message,
        error_type=failure.error_type,
        timings=decision.timings,
    )


def present_attempt(run: Run) -> Attempt | None:
    """Tell the story of the attempt that ended a run; None: it has not ended, or was never launched."""
    if run.ended_at is None or (run.task_arn is None and run.refusal is None):
        return None
    error_type = run.report.error_type if run.report else None
    return _told(
        run, run.ended_at, run.status.value, reason=run.reason, message=run.message, error_type=error_type, timings=None
    )


def _told(  # noqa: PLR0913 - what a story consists of
    run: Run,
    ended_at: datetime,
    outcome: str,
    *,
    reason: str | None,
    message: str | None,
    error_type: str | None,
    timings: Timings | None,
) -> Attempt:
    return Attempt.model_validate(
        {
            "number": run.attempt,
            "launches": run.launch,
            "spot": run.on_spot,
            "task_arn": run.task_arn,
            "launched_at": run.launched_at,
            "timings": timings or run.timings,
            "claimed_at": run.started_at,
            "ended_at": ended_at,
            "outcome": outcome,
            "reason": reason,
            "message": message,
            "error_type": error_type,
        }
    )


def following(run: Run, now: datetime, decision: NextAttempt) -> Run:
    """Give a run as it waits for its next attempt: nothing of the present one is left on it but what was spent."""
    failure = decision.failure
    return run.model_copy(
        update={
            "status": RunStatus.QUEUED,
            "status_at": now,
            "attempt": run.attempt + 1,
            "launch": 1,
            "not_before": decision.not_before,
            "pipeline_retries": run.pipeline_retries + (decision.budget == "pipeline"),
            "infrastructure_retries": run.infrastructure_retries + (decision.budget == "infrastructure"),
            "reason": failure.reason,
            "message": f"Attempt {run.attempt} failed and is repeated. {failure.message or ''}".strip(),
            **dict.fromkeys(OF_AN_ATTEMPT),
        }
    )
