"""What a soak has to say in the end."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.soak.tasks import Story


@dataclass(frozen=True)
class Figures:
    """What happened in a soak, and what of it must not have."""

    settings: str
    runs: int
    accepted: int
    unanswered: int
    seconds: float
    ended_after: Sequence[float]
    """Seconds, in their order."""
    stories: Sequence[Story]
    faults: Mapping[str, int]
    sweeps: Sequence[Mapping[str, Any]]
    reasons: Mapping[str, int]
    counts: Mapping[str, int]
    ends_published: int
    most_executing: int
    dead_letters: int
    violations: tuple[str, ...]

    @property
    def runs_a_minute(self) -> float:
        """How many runs ended in a minute, of the first nine in ten: the last ones wait for deadlines of minutes."""
        first = self.ended_after[: math.ceil(0.9 * len(self.ended_after))]
        return len(first) * 60 / first[-1] if first else 0.0

    @property
    def function_kills(self) -> int:
        """How many processes of functions were killed in mid-call."""
        return sum(times for name, times in self.faults.items() if name.startswith("lambda."))

    @property
    def task_kills(self) -> int:
        """How many tasks died of what was done to them from outside."""
        return sum(story.death is not None and story.death not in {"vanishes", "gives_up"} for story in self.stories)

    @property
    def repairs(self) -> Counter[str]:
        """What the sweeps had to do."""
        done: Counter[str] = Counter()
        for sweep in self.sweeps:
            done.update(sweep["acted"])
            done["started"] += sweep["started"]
            done["drifts_repaired"] += sweep["drifts_repaired"]
        return +done

    def summary(self) -> str:
        """Give it in one line."""
        faults = sum(self.faults.values()) - self.function_kills
        return (
            f"{self.runs} runs ({self.settings}) in {self.seconds:.0f} s, {self.runs_a_minute:.0f} a minute; "
            f"{len(self.stories)} tasks; killed: {self.function_kills} functions, {self.task_kills} tasks; "
            f"{faults} faults; {sum(self.repairs.values())} repairs in {len(self.sweeps)} sweeps; "
            f"{len(self.violations)} violations"
        )

    def lines(self) -> list[str]:
        """Give it all."""
        executed = sum(story.claimed for story in self.stories)
        arrived = self.runs - self.accepted - self.unanswered
        deaths = Counter(str(story.death) for story in self.stories if story.death)
        return [
            self.summary(),
            f"runs      {self.accepted} accepted, {self.unanswered} recorded without an answer, {arrived} of arrivals",
            f"callers   {_told(self.counts)}",
            f"ends      {_told(self.reasons)}",
            f"          {self.ends_published} events published, {self.dead_letters} dead letters",
            f"tasks     {executed} executions, {self.most_executing} at once at most; {_told(deaths)}",
            f"kills     {_told(_grouped(self.faults, kills=True))}",
            f"faults    {_told(_grouped(self.faults, kills=False))}",
            f"repairs   {_told(self.repairs)}",
            *(f"VIOLATION {violation}" for violation in self.violations),
        ]


def _grouped(faults: Mapping[str, int], *, kills: bool) -> Counter[str]:
    """Sum up faults: kills by function and call, others by service."""
    grouped: Counter[str] = Counter()
    for name, times in faults.items():
        service, _, rest = name.partition(".")
        if (service == "lambda") != kills:
            continue
        grouped[rest.rpartition(".")[0] if kills else f"{service}.{name.rpartition('.')[2]}"] += times
    return grouped


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda one: -one[1])) or "none"


def sweeps_in(log: Path) -> dict[str, dict[str, Any]]:
    """Read what the sweeps said of themselves from the function's log, by request id; a log forgets what is old."""
    sweeps = {}
    with log.open("rb") as lines:
        for line in lines:
            if b'"message":"sweep"' not in line:
                continue
            try:
                said = json.loads(line)
            except ValueError:  # two processes wrote at once
                continue
            sweeps[str(said["function_request_id"])] = said
    return sweeps
