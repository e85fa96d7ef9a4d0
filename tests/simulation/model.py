"""What may become of a run: from what was asked for and what was done to it, in plain words, not the product's code.

It is coarse on purpose. It knows nothing of launches, slots and writes, nor of statuses in between: for those there is
the watch, which sees every one of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Literal

from tests.simulation.tasks import SUCCEEDS, SimulatedTask, Work

Head = Mapping[str, Any]

FINAL = ("succeeded", "failed", "cancelled")
KEPT = ("status", "reason", "message", "attempt", "ended_at")
"""What of a record stays as it is from the run's end on."""

PLATFORM_RETRIES = 3
GRACE, SILENCE = 300, 600
"""Seconds that a runner may be over its time, and that it may say nothing."""

OUT_OF_SIGHT = timedelta(minutes=45)
"""How long no sweep looks at a run before AWS may have forgotten what became of it."""

FATES = {
    "killed": {"task_killed", "infrastructure"},
    "interrupted": {"spot_interrupted"},
    "host_lost": {"infrastructure"},
    "out_of_memory": {"out_of_memory"},
    "stopped_by_hand": {"task_stopped"},
}
"""What was done to a task -> the reasons that it may be the cause of."""

START_FAULTS = {
    "late_capacity": "capacity",
    "image_pull": "image_pull_failed",
    "secrets": "secrets_unreadable",
    "no_egress": "subnet_without_egress",
    "stuck_pending": "start_timeout",
    "stuck_provisioning": "start_timeout",
}
"""What ECS may do to a task at its start -> the reason that it is."""


@dataclass(frozen=True)
class Expected:
    """How a run ends, after how many attempts, of which so many began the pipeline."""

    status: str
    reason: str | None
    attempts: int
    executions: int


@dataclass
class Asked:
    """What was asked for under one name, and what was done about it."""

    name: str
    body: dict[str, Any]
    """What `POST /runs` takes, with all that may be left out."""
    works: tuple[Work, ...]
    by_key: bool = True
    """Whether a caller asked, with a key; else an event did."""
    repeats: str | None = None
    """Name of the ended run that it is to repeat, if it is."""
    accepted: bool = False
    """Whether somebody was told that it is recorded."""
    cancel: Literal["no", "perhaps", "yes"] = "no"
    late: bool = False
    """Whether a task of it was kept from its work for so long that it may have missed a deadline."""
    out_of_sight: bool = False
    """Whether no sweep looked at it for so long that AWS may have forgotten it."""
    start_faults: set[str] = field(default_factory=set)
    """Which of START_FAULTS may have happened since it was asked for."""
    attempt: int = 1
    end: Head | None = None
    """Its record as it was when it was first seen to have ended."""

    def same_request(self, other: "Asked") -> bool:
        """Tell whether both ask for the same."""
        return (self.repeats, self.body) == (other.repeats, other.body)

    @property
    def key(self) -> str | None:
        """Its concurrency key."""
        return self.body["concurrency"]["key"] if self.body["concurrency"] else None

    @property
    def on_conflict(self) -> str | None:
        """What is to become of it where its key is taken."""
        return self.body["concurrency"]["on_conflict"] if self.body["concurrency"] else None

    # ------------------------------------------------------------ what may become of it

    @property
    def expected(self) -> Expected | None:
        """How it ends if nothing is done to it; None: it does not."""
        policy, own, platform, executions = self.body["retry"], 0, 0, 0
        for attempt in count(1):
            work = self._work(attempt)
            executions += work.deed not in ("exits_before_claim", "hangs_before_claim")
            if work.deed == "succeeds":
                return Expected("succeeded", None, attempt, executions)
            failed = self._failure(work)
            if failed is None:
                return None
            reason, claimed, blamed = failed
            if blamed == "platform" and (not claimed or self.body["spot"]):
                platform += 1
                again = platform <= PLATFORM_RETRIES
            else:
                own += 1
                names = {reason, work.error_type} if work.deed == "fails" else {reason}
                again = claimed and policy is not None and own < policy["max_attempts"]
                again = again and (bool(names & set(policy["on"])) if policy["on"] else blamed != "caller")
            if not again:
                return Expected("failed", reason, attempt, executions)
        raise AssertionError("counting does not end")

    def _work(self, attempt: int) -> Work:
        works = self.works or (SUCCEEDS,)
        return works[min(attempt, len(works)) - 1]

    def _failure(self, work: Work) -> tuple[str, bool, str] | None:
        """Say why an attempt fails, whether its task has claimed it by then, and who is to blame; None: it does not."""
        limit = self.body["timeout_seconds"]
        if limit and (work.deed == "runs_on" or (work.deed == "freezes" and limit + GRACE < SILENCE)):
            return "timed_out", True, "caller"
        if work.deed.startswith("exits") and work.exit_code is None:
            return "infrastructure", work.deed == "exits", "platform"
        return {
            "fails": (work.reason, True, "pipeline"),
            "times_out": ("timed_out", True, "caller"),
            "freezes": ("heartbeat_lost", True, "platform"),
            "exits": ("result_missing", True, "pipeline"),
            "exits_before_claim": ("not_claimed", False, "platform" if work.exit_code in (69, 75) else "caller"),
            "hangs_before_claim": ("start_timeout", False, "platform"),
        }.get(work.deed)

    @property
    def most_executions(self) -> int:
        """How often its pipeline may be begun."""
        own = self.body["retry"]["max_attempts"] if self.body["retry"] else 1
        return own + (PLATFORM_RETRIES if self.body["spot"] else 0)

    def _reasons(self, tasks: Sequence[SimulatedTask]) -> set[str]:
        """Say with which reasons it may fail, after all that was done to it."""
        failures = [self._failure(self._work(attempt)) for attempt in range(1, self.attempt + 1)]
        reasons = {failure[0] for failure in failures if failure}
        reasons |= {START_FAULTS[fault] for fault in self.start_faults}
        reasons |= {reason for task in tasks for fate in task.fates for reason in FATES.get(fate, ())}
        if self.late:
            reasons |= {"start_timeout", "heartbeat_lost", *(["timed_out"] if self.body["timeout_seconds"] else [])}
        if self.out_of_sight:
            reasons |= {"launch_unknown", "task_lost", "stopped"}
        return reasons

    def undisturbed(self, tasks: Sequence[SimulatedTask]) -> bool:
        """Tell whether nothing was done to it that may change its end: whatever happened to functions and events."""
        touched = any(fate in FATES for task in tasks for fate in task.fates)
        return not (touched or self.late or self.out_of_sight or self.start_faults or self.cancel != "no")

    # ------------------------------------------------------------ what became of it

    def see(self, head: Head, tasks: Sequence[SimulatedTask]) -> list[str]:
        """Say what is wrong with its record and its tasks."""
        wrong = []
        shown = {name: head.get(name) for name in self.body}
        if shown != self.body:
            wrong.append(f"it is {shown}, and was to be {self.body}")
        if head["attempt"] < self.attempt:
            wrong.append(f"attempt {self.attempt} became {head['attempt']}")
        self.attempt = head["attempt"]
        begun = sum(task.claimed for task in tasks)
        if begun > self.most_executions:
            wrong.append(f"its pipeline was begun {begun} times, and {self.most_executions} may be")
        if sum(task.executing for task in tasks) > 1:
            wrong.append("its pipeline is at work twice")
        if self.end is not None:
            if any(self.end.get(name) != head.get(name) for name in KEPT):
                wrong.append(f"it had ended: {self.end}, and now is {head}")
        elif head["status"] in FINAL:
            self.end = head
            wrong += self._see_end(head["status"], head.get("reason"), tasks)
        return [f"{self.name}: {what}" for what in wrong]

    def _see_end(self, status: str, reason: str | None, tasks: Sequence[SimulatedTask]) -> list[str]:
        if status == "cancelled":
            asked_for = self.on_conflict == "skip" if reason == "skipped_overlap" else self.cancel != "no"
            return [] if asked_for else [f"it was cancelled ({reason}), and nobody asked"]
        if self.cancel == "yes":
            return [f"it {status}, and was to be cancelled"]
        if status == "failed" and reason not in self._reasons(tasks):
            return [f"it failed as {reason}; that may be {sorted(self._reasons(tasks))}"]
        came_to = Expected(status, reason, self.attempt, sum(task.claimed for task in tasks))
        if self.undisturbed(tasks) and came_to != self.expected:
            return [f"nothing was done to it, and it came to {came_to} instead of {self.expected}"]
        return []


class Model:
    """All that was asked for, by run id."""

    def __init__(self, now: datetime) -> None:
        self.asked: dict[str, Asked] = {}
        self.swept_at = now
        """When a sweep last looked at everything."""

    def see(self, heads: Mapping[str, Head], tasks: Mapping[str, Sequence[SimulatedTask]], now: datetime) -> list[str]:
        """Compare the records, and what tasks do, with what may be; gives what is wrong."""
        wrong = [f"nobody asked for the run {run_id}" for run_id in heads.keys() - self.asked.keys()]
        for run_id, asked in self.asked.items():
            if run_id in heads:
                wrong += asked.see(heads[run_id], tasks.get(run_id, ()))
                self._lose_sight(asked, heads[run_id], now)
            elif asked.accepted:
                wrong.append(f"{asked.name}: it was accepted and is not there")
        for key in {asked.key for asked in self.asked.values()} - {None}:
            of_key = {run_id: asked for run_id, asked in self.asked.items() if asked.key == key}
            at_work = sum(task.executing for run_id in of_key for task in tasks.get(run_id, ()))
            most = max(asked.body["concurrency"]["limit"] for asked in of_key.values())
            if at_work > most:
                wrong.append(f"{at_work} tasks of the key {key} are at work, and {most} may be")
        return wrong

    def see_rest(self, heads: Mapping[str, Head], tasks: Mapping[str, Sequence[SimulatedTask]]) -> list[str]:
        """Say what is wrong when all is at rest: only what runs on for ever, and what waits for it, has not ended."""
        runs_on = {run_id for run_id, several in tasks.items() if any(task.executing for task in several)}
        return [
            f"{asked.name}: it never ended: {heads[run_id]}"
            for run_id, asked in self.asked.items()
            if run_id in heads and asked.end is None
            if asked.cancel == "yes" or not (run_id in runs_on or (runs_on and heads[run_id]["status"] == "queued"))
        ]

    def _lose_sight(self, asked: Asked, head: Head, now: datetime) -> None:
        seen = max(self.swept_at, datetime.fromisoformat(head["status_at"]))
        if head["status"] in ("starting", "running") and now - seen >= OUT_OF_SIGHT:
            asked.out_of_sight = True
