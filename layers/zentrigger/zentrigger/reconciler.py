"""Carries out what `lifecycle` decides: after a change of a run, after a task's stop, and once a minute for all."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol

from zentrigger.events import TaskState
from zentrigger.launches import Launcher, Network, Started, launch
from zentrigger.lifecycle import (
    LAUNCH_TOKEN_LASTS,
    Announce,
    Decision,
    End,
    Requeue,
    SettleLaunch,
    StartWaiting,
    StopTask,
    decide,
    decide_missing,
    decide_stopped,
)
from zentrigger.observability import logger
from zentrigger.run_store import ENDED, NoFreeSlotError, RunStore
from zentrigger.runs import Run, RunStatus
from zentrigger.timestamps import now

SWEPT_AT_ONCE = 200
"""How many runs of a status one sweep looks at; the next minute's sees the rest."""

STARTED_AT_ONCE = 10
"""How many waiting runs one invocation starts; RunTask takes 20 a second (AWS: ECS throttling)."""


class Tasks(Launcher, Protocol):
    """ECS, as the reconciler needs it."""

    def find(self, started_by: str) -> str | None:
        """Give the live task of a launch, or None."""
        ...

    def describe(self, task_arns: list[str]) -> dict[str, TaskState | None]:
        """Give the state of tasks, None for those that ECS does not know."""
        ...

    def stop(self, task_arn: str, reason: str) -> None:
        """Ask ECS to stop a task."""
        ...


class Publisher(Protocol):
    """Publishes the ends of runs."""

    def publish_end(self, run: Run) -> None:
        """Publish that a run has ended; raises if the bus did not take it."""
        ...


@dataclass
class SweepReport:
    """What a sweep saw and what it had to do, for the log and for the person on call."""

    looked_at: int = 0
    repaired: int = 0


class Reconciler:
    """Brings runs to where their records say they should go. Safe to call twice, and at once from several places."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        *,
        runs: RunStore,
        tasks: Tasks,
        publisher: Publisher,
        cluster: str,
        network: Network,
        max_active: int,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._runs = runs
        self._tasks = tasks
        self._publisher = publisher
        self._cluster = cluster
        self._network = network
        self._max_active = max_active
        self._clock = clock

    def run_changed(self, run: Run) -> None:
        """Act on a change of a run's head; the head is read again, for the stream may be late."""
        current = self._runs.head(run.run_id)
        if current is None:
            return
        self._carry_out(current, decide(current, self._clock()))
        if current.status.final or run.status == RunStatus.QUEUED:
            # A slot was given back, or somebody waits.
            self.start_waiting(also=current if current.status == RunStatus.QUEUED else None)

    def task_stopped(self, task: TaskState) -> None:
        """Act on a task that has stopped; one that is no run's present task is nobody's concern."""
        run_id, _, _ = (task.started_by or "").partition("/")
        run = self._runs.head(run_id) if run_id else None
        if run is not None:
            self._carry_out(run, decide_stopped(run, task))

    def sweep(self) -> SweepReport:
        """Do what the events should have done: needs only the table and ECS."""
        report = SweepReport()
        for run in self._runs.active(ENDED, SWEPT_AT_ONCE):
            self._repair(run, decide(run, self._clock()), report)
        holding = [
            *self._runs.active(RunStatus.STARTING, SWEPT_AT_ONCE),
            *self._runs.active(RunStatus.RUNNING, SWEPT_AT_ONCE),
        ]
        states = self._tasks.describe([run.task_arn for run in holding if run.task_arn])
        for run in holding:
            decision = decide(run, self._clock())
            if run.task_arn in states and (decision is None or isinstance(decision, StopTask)):
                state = states[run.task_arn]
                stopped = decide_stopped(run, state) if state else decide_missing(run, self._clock())
                decision = stopped or decision
            self._repair(run, decision, report)
        for run in self._runs.active(RunStatus.QUEUED, SWEPT_AT_ONCE):
            if run.cancel_requested_at:
                self._repair(run, decide(run, self._clock()), report)
            report.looked_at += 1
        report.repaired += self.start_waiting()
        logger.info("sweep", **asdict(report))
        return report

    def start_waiting(self, also: Run | None = None) -> int:
        """Start waiting runs in the order of their rank while slots are free; gives how many.

        Args:
            also: A waiting run that the index may not show yet.

        """
        waiting = {run.run_id: run for run in self._runs.active(RunStatus.QUEUED, 4 * STARTED_AT_ONCE)}
        if also is not None:
            waiting.setdefault(also.run_id, also)
        started = 0
        for run in sorted(waiting.values(), key=lambda run: run.rank):
            if started >= STARTED_AT_ONCE:
                break
            if not isinstance(decide(run, self._clock()), StartWaiting):
                continue
            try:
                moved = self._runs.start(run, max_active=self._max_active)
            except NoFreeSlotError:
                break
            if moved is not None:
                started += 1
                self._launch(moved)
        return started

    def _repair(self, run: Run, decision: Decision | None, report: SweepReport) -> None:
        report.looked_at += 1
        if decision is None:
            return
        report.repaired += 1
        logger.warning(
            "the sweep acts on a run", run_id=run.run_id, status=run.status, decision=type(decision).__name__
        )
        self._carry_out(run, decision)

    def _carry_out(self, run: Run, decision: Decision | None) -> None:
        match decision:
            case End(status, reason, message):
                if self._runs.end(run, status, reason, message):
                    logger.info("a run has ended", run_id=run.run_id, status=status, reason=reason)
            case Requeue(not_before):
                self._runs.requeue(run, not_before=not_before)
            case StopTask(task_arn, reason):
                self._tasks.stop(task_arn, reason)
            case SettleLaunch():
                self._settle(run)
            case Announce():
                self._publisher.publish_end(run)
                self._runs.mark_announced(run)
            case StartWaiting() | None:
                pass

    def _settle(self, run: Run) -> None:
        """Find the task of an unanswered launch, or send the same token again: ECS starts no second task for it."""
        task_arn = self._tasks.find(run.started_by)
        if task_arn is not None:
            self._runs.record_task(run, task_arn)
        elif self._clock() - run.status_at < LAUNCH_TOKEN_LASTS:
            self._launch(run)
        else:
            self._runs.end(
                run,
                RunStatus.CANCELLED if run.cancel_requested_at else RunStatus.FAILED,
                "launch_unknown",
                "ECS never said whether it started the run's task, and knows none. Check ECS's health, then start the"
                " run again.",
            )

    def _launch(self, run: Run) -> None:
        answer = launch(run, cluster=self._cluster, network=self._network, launcher=self._tasks, records=self._runs)
        if not isinstance(answer, Started):
            logger.warning("a launch was not taken", run_id=run.run_id, answer=answer)
