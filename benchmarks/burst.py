"""A burst of uploads against few slots: `python -m benchmarks.burst`.

Each object must leave one receipt and start one run, however many arrive at once and however few may run; exit code 1
if not. All of it goes through the whole stack, but what tasks do is a stub. Printed are the times, against the least
that so many runs can take on so many slots, and what an event costs in AWS calls.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# The domain is a layer, not an installed package.
sys.path.append(str(Path(__file__).resolve().parents[1] / "layers" / "zentrigger"))

from benchmarks.soak.stand import Stand, stand
from benchmarks.soak.tasks import Fate, StubTasks
from local.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRIGGER = "soak"
UPLOADERS = 16
LOOK_SECONDS = 0.5
ROLES = ("OnEventRole", "LifecycleRole", "TaskRole")


@dataclass(frozen=True)
class Figures:
    """What a burst came to."""

    uploads: int
    slots: int
    task_seconds: float
    uploaded: float
    received: float
    """Seconds from the first upload until each has its receipt."""
    ended: float
    """Seconds from the first upload until each run has ended."""
    outcomes: Counter[str]
    runs: int
    statuses: Counter[str]
    most_at_once: int
    executions: int
    calls: dict[str, int]
    counts_left: dict[str, dict[str, int]]

    @property
    def violations(self) -> list[str]:
        """What should not be."""
        wanted = self.uploads
        wrong = [f"{count} receipts say {outcome}" for outcome, count in self.outcomes.items() if outcome != "started"]
        if self.outcomes["started"] != wanted:
            wrong.append(f"{self.outcomes['started']} of {wanted} objects have a receipt that says started")
        if self.runs != wanted:
            wrong.append(f"{self.runs} runs for {wanted} objects")
        if self.executions != wanted:
            wrong.append(f"{self.executions} executions of {wanted} runs")
        if self.statuses["succeeded"] != wanted:
            wrong.append(f"ended otherwise: {dict(self.statuses)}")
        if self.most_at_once > self.slots:
            wrong.append(f"{self.most_at_once} pipelines at once on {self.slots} slots")
        if self.counts_left:
            wrong.append(f"slots are taken in the end: {self.counts_left}")
        return wrong

    def lines(self) -> Iterator[str]:
        """Say it."""
        floor = self.uploads * self.task_seconds / self.slots
        yield (
            f"burst: {self.uploads} uploads in {self.uploaded:.1f} s; {self.outcomes.total()} receipts after"
            f" {self.received:.1f} s, {self.uploads / self.received:.0f} a second; {self.runs} runs, all ended after"
            f" {self.ended:.1f} s"
        )
        yield (
            f"burst: the least for runs of {self.task_seconds} s on {self.slots} slots is {floor:.1f} s: ratio"
            f" {self.ended / floor:.1f}; {self.most_at_once} pipelines at once at most"
        )
        per_event = ", ".join(f"{role} {self.calls[role] / self.uploads:.1f}" for role in ROLES)
        yield f"burst: AWS calls per event: {per_event}; {len(self.violations)} violations"
        yield from (f"burst: VIOLATION {wrong}" for wrong in self.violations)


def burst(*, uploads: int, slots: int, task_seconds: float, limit_seconds: float) -> Figures:
    """Upload, wait for the ends, and look.

    Raises:
        TimeoutError: it was not over in time.

    """
    tasks = StubTasks(lambda _: Fate(seconds=task_seconds))
    with stand(tasks, Faults(), speed=1, slots=slots, places=0) as made:
        until = time.monotonic() + limit_seconds
        definition = {"type": "s3", "pipeline": "training_pipeline", "prefix": "soak/", "max_runs_per_hour": 100_000}
        made.call("PUT", f"/triggers/{TRIGGER}", definition).raise_for_status()
        before = {role: made.cloud.access.requests_of(role) for role in ROLES}
        started = time.monotonic()
        with ThreadPoolExecutor(UPLOADERS) as pool:
            list(pool.map(made.put_object, (f"{number:05d}.csv" for number in range(uploads))))
        uploaded = time.monotonic() - started
        _wait(lambda: sum(_counts(made).values()) >= uploads, until)
        received = time.monotonic() - started
        _wait(lambda: made.ended >= uploads, until)
        ended = time.monotonic() - started
        heads = made.items("head")
        return Figures(
            uploads=uploads,
            slots=slots,
            task_seconds=task_seconds,
            uploaded=uploaded,
            received=received,
            ended=ended,
            outcomes=Counter(receipt["outcome"] for receipt in _receipts(made)),
            runs=len({head["source"]["key"] for head in heads if head["source"].get("trigger") == TRIGGER}),
            statuses=Counter(head["status"] for head in heads),
            most_at_once=tasks.most_executing,
            executions=sum(story.claimed for head in heads for story in tasks.stories(head["run_id"])),
            calls={role: made.cloud.access.requests_of(role) - before[role] for role in ROLES},
            counts_left=made.counts,
        )


def _wait(reached: Callable[[], bool], until: float) -> None:
    while not reached():
        if time.monotonic() > until:
            raise TimeoutError("the burst was not over in time")
        time.sleep(LOOK_SECONDS)


def _counts(made: Stand) -> dict[str, int]:
    counts: dict[str, int] = made.call("GET", f"/triggers/{TRIGGER}").json()["counts"]
    return counts


def _receipts(made: Stand) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        answer = made.call("GET", f"/triggers/{TRIGGER}/receipts?limit=100{cursor}").json()
        yield from answer["items"]
        if answer["next"] is None:
            return
        cursor = f"&cursor={answer['next']}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.burst", description=__doc__)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=5)
    parser.add_argument("--task-seconds", type=float, default=0.2, metavar="N")
    parser.add_argument("--limit", type=float, default=1800, metavar="SECONDS")
    options = parser.parse_args()
    for name in ("local", "runner", "samtranslator"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    figures = burst(
        uploads=options.uploads,
        slots=options.slots,
        task_seconds=options.task_seconds,
        limit_seconds=options.limit,
    )
    print(*figures.lines(), sep="\n", flush=True)  # noqa: T201 - a benchmark prints
    return 1 if figures.violations else 0


if __name__ == "__main__":
    sys.exit(main())
