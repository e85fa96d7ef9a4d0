"""What must become of a run, from what its tasks did: said a second time, so that product and soak check each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.soak.tasks import Kind, Story
    from zentrigger.retries import RetryPolicy
    from zentrigger.runs import Run, RunRecord

Blame = Literal["pipeline", "infrastructure", "nobody"]
"""Whose budget pays for another attempt: the pipeline's own, the infrastructure's, or none."""

INFRASTRUCTURE_BUDGET: Final = 3

_DEATHS: Final[dict[Kind, tuple[str, Blame]]] = {
    "vanishes": ("result_missing", "pipeline"),
    "killed_before": ("task_killed", "infrastructure"),
    "killed_after": ("task_killed", "pipeline"),
    "gives_up": ("not_claimed", "infrastructure"),
    "cannot_read": ("not_claimed", "nobody"),
    "out_of_memory": ("out_of_memory", "nobody"),
    "interrupted_before": ("spot_interrupted", "infrastructure"),
    "interrupted_after": ("spot_interrupted", "infrastructure"),
    "host_lost_before": ("infrastructure", "infrastructure"),
    "host_lost_after": ("infrastructure", "infrastructure"),
    "image_missing": ("image_pull_failed", "nobody"),
    "no_egress": ("subnet_without_egress", "infrastructure"),
    "no_capacity": ("capacity", "infrastructure"),
    "stopped_by_hand": ("task_stopped", "nobody"),
}


@dataclass(frozen=True)
class Cause:
    """How an attempt ended, and on whose account."""

    status: str
    reason: str | None
    blame: Blame = "nobody"
    names: frozenset[str] = frozenset()


def cause_of(story: Story) -> Cause | None:
    """Say how an attempt ended by what its task did; None: nothing that the soak knows of ended it."""
    report = story.reported
    if report is not None and report.outcome == "succeeded":
        return Cause("succeeded", None)
    if report is not None and report.reason != "stopped":
        names = {str(report.reason)}
        if report.error is not None:
            names |= {report.error.type, report.error.type.rpartition(".")[2]}
        return Cause("failed", report.reason, "pipeline", frozenset(names))
    if story.death is None or story.death not in _DEATHS:
        return None
    reason, blame = _DEATHS[story.death]
    return Cause("failed", reason, blame, frozenset({reason}))


class Budgets:
    """What a run may spend on further attempts."""

    def __init__(self, policy: RetryPolicy | None, *, spot: bool) -> None:
        self._policy = policy
        self._spot = spot
        self._pipeline = self._infrastructure = 0

    def pay(self, cause: Cause, *, claimed: bool) -> bool:
        """Tell whether another attempt must follow, and count it."""
        if cause.status == "succeeded":
            return False
        if cause.blame == "infrastructure" and (self._spot or not claimed):
            self._infrastructure += 1
            return self._infrastructure <= INFRASTRUCTURE_BUDGET
        if self._policy is None or not claimed:
            return False
        wanted = bool(cause.names & set(self._policy.on)) if self._policy.on else cause.blame != "nobody"
        if wanted and self._pipeline + 1 < self._policy.max_attempts:
            self._pipeline += 1
            return True
        return False


def violations(record: RunRecord, stories: Sequence[Story], *, cancelled: bool | None, skips: bool) -> list[str]:
    """Say in what a run's record is not what its tasks' stories make of it.

    Args:
        record: The run, after its end.
        stories: What its tasks did.
        cancelled: Whether it was cancelled; None: nobody got to know.
        skips: Whether it was to be skipped if its concurrency key is taken.

    """
    run = record.run
    if run.reason == "skipped_overlap":
        return [] if skips and not stories and run.status == "cancelled" else [f"skipped, with {len(stories)} tasks"]
    found = [*_one_task_an_attempt(stories), *_one_execution_unless_repeatable(run, stories)]
    if cancelled is not None and cancelled != (run.status == "cancelled"):
        found.append(f"it is {run.status}, and was {'' if cancelled else 'not '}cancelled")
    if run.status == "cancelled":
        return [*found, *([] if run.reason == "cancelled" else [f"cancelled for {run.reason}"])]
    refused = [story.refused for story in stories if story.refused]
    found += [f"a task had nothing to claim: {why}" for why in refused]
    return found + _walk(record, sorted(stories, key=lambda story: story.attempt))


def _one_task_an_attempt(stories: Sequence[Story]) -> list[str]:
    attempts = [story.attempt for story in stories]
    return [
        f"attempt {number} had {attempts.count(number)} tasks" for number in set(attempts) if attempts.count(number) > 1
    ]


def _one_execution_unless_repeatable(run: Run, stories: Sequence[Story]) -> list[str]:
    executed = sum(story.claimed for story in stories)
    if executed > 1 and run.retry is None and not run.spot:
        return [f"it was executed {executed} times and may not be repeated"]
    return []


def _walk(record: RunRecord, stories: Sequence[Story]) -> list[str]:
    """Go through the attempts of a run that nobody cancelled."""
    run = record.run
    told = [(attempt.number, attempt.reason) for attempt in record.earlier_attempts]
    budgets = Budgets(run.retry, spot=run.spot)
    happened: list[tuple[int, str | None]] = []
    for story in stories:
        cause = cause_of(story)
        if cause is None:
            return [f"attempt {story.attempt} ended as {run.reason}, and nothing had happened to it"]
        if not budgets.pay(cause, claimed=story.claimed):
            last = story.attempt == len(stories) == run.attempt
            ended = [] if last else [f"attempt {story.attempt} of {run.attempt} was to be the last: {cause.reason}"]
            if (run.status, run.reason) != (cause.status, cause.reason):
                ended.append(f"{run.status} ({run.reason}) instead of {cause.status} ({cause.reason})")
            return ended + ([] if told == happened else [f"the story is {told} instead of {happened}"])
        happened.append((story.attempt, cause.reason))
    return [f"{run.status} ({run.reason}) after {happened}, where another attempt was due"]
