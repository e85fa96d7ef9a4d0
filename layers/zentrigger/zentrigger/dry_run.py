"""What would become of a request, without writing anything: for people who try, and for programs that ask first."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zentrigger.capacity import Limits, Standing, slot_for
from zentrigger.catalogue import Snapshot
from zentrigger.errors import Problem
from zentrigger.plans import Plan

PLACEHOLDER_RUN_ID = "<run id: decided when it is written>"
"""Stands for the id of a run that does not have one yet. It is as long as one, so that what is counted is exact."""


@dataclass(frozen=True)
class DryRun:
    """What would become of a request now. A moment later a slot may be taken, or free."""

    plan: Plan
    snapshot: Snapshot
    would: Literal["start", "queue", "refuse", "skip", "replay"]
    standing: Standing
    limits: Limits
    run_task: dict[str, Any] | None
    """The launch; None where it cannot be told, and for a replay and a run that is skipped, which launch nothing."""
    problems: tuple[Problem, ...]

    @property
    def overrides_size(self) -> int:
        """How many characters of overrides the launch has: JSON without white space (AWS: RunTask)."""
        return len(json.dumps(self.run_task["overrides"], separators=(",", ":"))) if self.run_task else 0


def assemble(  # noqa: PLR0913 - what a dry run is made of
    plan: Plan,
    snapshot: Snapshot,
    *,
    standing: Standing,
    limits: Limits,
    run_task: dict[str, Any] | None,
    further_problems: Sequence[Problem],
    replayed: bool,
) -> DryRun:
    """Say what would become of a request, as `Submitter.submit` would decide it.

    Args:
        plan: What the request comes to.
        snapshot: The snapshot that it chose.
        standing: How many runs are active and wait.
        limits: How many may.
        run_task: The launch, where it can be told.
        further_problems: What is wrong besides the request itself.
        replayed: Whether the run is recorded already: then it is given, whatever is wrong now.

    """
    problems = [*plan.problems, *((plan.too_large,) if plan.too_large else ()), *further_problems]
    if replayed:
        return DryRun(plan, snapshot, "replay", standing, limits, None, tuple(problems))
    would: Literal["start", "queue", "refuse", "skip"] = "refuse"
    match slot_for(standing, limits, plan.concurrency):
        case "reject" if plan.concurrency:
            problems.append(Problem("/concurrency", f"{plan.concurrency.taken}. Try again when one has ended."))
        case "refuse":
            detail = (
                f"{standing.stack.active_runs} runs are active and {standing.stack.waiting_runs} wait, of"
                f" {limits.max_active} and {limits.max_waiting} at most. Try again later."
            )
            problems.append(Problem("", detail))
        case "start" | "queue" | "skip" as slot if not problems:
            would = slot
    launched = None if would == "skip" else run_task
    return DryRun(plan, snapshot, would, standing, limits, launched, tuple(problems))
