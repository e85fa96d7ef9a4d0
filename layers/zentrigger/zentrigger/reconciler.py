"""Carries out what `lifecycle` decides: after a change of a run, after a task's stop, and once a minute for all."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol

from zentrigger.events import TaskState
from zentrigger.launches import Launcher, Network, Started, launch
from zentrigger.lifecycle import (
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
from zentrigger.observability import logger
from zentrigger.run_items import ENDED
from zentrigger.run_store import NoFreeSlotError, RunStore
from zentrigger.runs import Run, RunStatus
from zentrigger.timestamps import now

SWEPT_AT_ONCE = 1000
"""How many runs of a status one sweep looks at; the template lets no more be active."""

DESCRIBED_AT_ONCE = 100
"""DescribeTasks takes no more (AWS: DescribeTasks)."""

WAITING_LOOKED_AT = 200
"""How many waiting runs are looked at for those that may start; some back off."""

STARTED_AT_ONCE = 10
"""How many waiting runs one invocation starts; RunTask takes 20 a second (AWS: ECS throttling)."""


class Tasks(Launcher, Protocol):
    """ECS, as the reconciler needs it."""

    def find(self, started_by: str) -> str | None:
        """Give the live task of a launch, or None."""
        ...

    def describe(self, task_arns: list[str]) -> dict[str, TaskState | None]:
        """Give the state of up to 100 tasks, None for those that ECS does not know."""
        ...

    def stop(self, task_arn: str, reason: str) -> None:
        """Ask ECS to stop a task."""
        ...


class Publisher(Protocol):
    """Publishes the ends of runs."""

    def publish_end(self, run: Run) -> None:
        """Publish that a run has ended; raises if the bus did not take it."""
        ...


class SweepError(Exception):
    """A sweep could not do all of its work; what it could do is done."""


@dataclass
class SweepReport:
    """What a sweep saw and what it had to do, for the log and for the person on call."""

    looked_at: int = 0
    repaired: int = 0
    failed: int = 0


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

    def run_changed(self, run_id: str) -> None:
        """Act on a change of a run's head, as it stands now; the stream may be late."""
        current = self._runs.head(run_id)
        if current is None:
            return
        # A slot was given back, or somebody waits. Before the announcement, which needs a service that may be down.
        if current.status.final or current.status == RunStatus.QUEUED:
            self.start_waiting(also=current if current.status == RunStatus.QUEUED else None)
        self._carry_out(current, decide(current, self._clock()))

    def task_stopped(self, task: TaskState) -> None:
        """Act on a task that has stopped; one that is no run's present task is nobody's concern."""
        run_id, _, _ = (task.started_by or "").partition("/")
        run = self._runs.head(run_id) if run_id else None
        if run is not None:
            self._carry_out(run, decide_stopped(run, task))

    def sweep(self) -> SweepReport:
        """Do what the events should have done: needs only the table and ECS.

        What fails for one run does not keep the sweep from the others.

        Raises:
            SweepError: something failed; the log says what, and the next sweep tries again.

        """
        report = SweepReport()
        holding = [
            *self._runs.active(RunStatus.STARTING, SWEPT_AT_ONCE),
            *self._runs.active(RunStatus.RUNNING, SWEPT_AT_ONCE),
        ]
        states = self._states(holding, report)
        cancelled = [run for run in self._runs.active(RunStatus.QUEUED, SWEPT_AT_ONCE) if run.cancel_requested_at]
        for run in [*holding, *cancelled]:
            self._guarded(report, self._sweep_run, run, states, report)
        self._guarded(report, self._count_started, report)
        for run in self._runs.active(ENDED, SWEPT_AT_ONCE):
            self._guarded(report, self._sweep_run, run, states, report)
        logger.info("sweep", **asdict(report))
        if report.failed:
            raise SweepError(f"{report.failed} things of the sweep failed; see the log before this")
        return report

    def start_waiting(self, also: Run | None = None) -> int:
        """Start waiting runs in the order of their rank while slots are free; gives how many.

        Args:
            also: A waiting run that the index may not show yet.

        """
        waiting = {run.run_id: run for run in self._runs.active(RunStatus.QUEUED, WAITING_LOOKED_AT)}
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
                self._launch(moved, again=False)
        return started

    # ------------------------------------------------------------ the sweep's parts

    def _states(self, runs: list[Run], report: SweepReport) -> dict[str, TaskState | None]:
        states: dict[str, TaskState | None] = {}
        task_arns = [run.task_arn for run in runs if run.task_arn]
        for start in range(0, len(task_arns), DESCRIBED_AT_ONCE):
            self._guarded(report, self._describe, task_arns[start : start + DESCRIBED_AT_ONCE], states)
        return states

    def _describe(self, task_arns: list[str], states: dict[str, TaskState | None]) -> None:
        states.update(self._tasks.describe(task_arns))

    def _sweep_run(self, run: Run, states: Mapping[str, TaskState | None], report: SweepReport) -> None:
        report.looked_at += 1
        if self._decision(run, states) is None:
            return
        # The index may be behind: what is acted on is the head as it stands.
        current = self._runs.head(run.run_id)
        decision = self._decision(current, states) if current else None
        if current is None or decision is None:
            return
        report.repaired += 1
        did = type(decision).__name__
        logger.warning("the sweep acts on a run", run_id=run.run_id, status=current.status, decision=did)
        self._carry_out(current, decision)

    def _decision(self, run: Run, states: Mapping[str, TaskState | None]) -> Decision | None:
        decision = decide(run, self._clock())
        if run.task_arn is None or run.task_arn not in states:
            return decision
        if decision is not None and not isinstance(decision, StopTask):
            return decision
        state = states[run.task_arn]
        if state is not None:
            return decide_stopped(run, state) or decision
        record = self._runs.get(run.run_id)
        heartbeat = record.progress.heartbeat_at if record and record.progress else None
        return decide_missing(run, heartbeat, self._clock()) or decision

    def _count_started(self, report: SweepReport) -> None:
        report.repaired += self.start_waiting()

    def _guarded(self, report: SweepReport, action: Callable[..., None], *arguments: object) -> None:
        """Do one part of the sweep; what it raises is logged, counted, and raised together at the end."""
        try:
            action(*arguments)
        except Exception:  # noqa: BLE001 - raised together at the end of the sweep
            report.failed += 1
            run = next((argument for argument in arguments if isinstance(argument, Run)), None)
            logger.exception("a part of the sweep failed", run_id=run.run_id if run else None)

    # ------------------------------------------------------------ acting

    def _carry_out(self, run: Run, decision: Decision | None) -> None:
        match decision:
            case End(status, reason, message):
                if self._runs.end(run, status, reason, message):
                    logger.info("a run has ended", run_id=run.run_id, status=status, reason=reason)
            case Requeue(not_before):
                self._runs.requeue(run, not_before=not_before)
            case StopTask(task_arn, reason):
                self._tasks.stop(task_arn, reason)
            case FindTask():
                found = self._tasks.find(run.started_by)
                self._carry_out(run, decide_found(run, found, self._clock()))
            case AdoptTask(task_arn):
                self._runs.record_task(run, task_arn)
            case SendAgain():
                self._launch(run, again=True)
            case Announce():
                self._publisher.publish_end(run)
                self._runs.mark_announced(run)
            case StartWaiting() | None:
                pass

    def _launch(self, run: Run, *, again: bool) -> None:
        answer = launch(
            run,
            cluster=self._cluster,
            network=self._network,
            launcher=self._tasks,
            records=self._runs,
            again=again,
        )
        if not isinstance(answer, Started):
            logger.warning("a launch was not taken", run_id=run.run_id, answer=answer)
