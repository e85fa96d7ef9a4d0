"""The sweep: once a minute, what events should have done and did not. It needs only the table and ECS."""

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from zentrigger.capacity_store import CapacityStore
from zentrigger.events import TaskState
from zentrigger.lifecycle import (
    Decision,
    StartWaiting,
    StopTask,
    decide,
    decide_missing,
    decide_overdue,
    decide_silent,
    decide_stopped,
    stop_is_late,
)
from zentrigger.observability import logger
from zentrigger.reconciler import Reconciler, Tasks
from zentrigger.run_items import ENDED
from zentrigger.run_store import RunStore
from zentrigger.runs import Run, RunStatus
from zentrigger.starter import WAITING_SWEPT
from zentrigger.sweep_report import SweepReport
from zentrigger.timestamps import now

SWEPT_AT_ONCE = 1000
"""How many runs that hold a slot one sweep looks at; the template lets no more be active."""

WAITING_COUNTED = 5000
"""How many waiting runs one sweep looks through; where more wait, counts are not compared."""

DESCRIBED_AT_ONCE = 100
"""DescribeTasks takes no more (AWS: DescribeTasks)."""

SECONDS = 35.0
"""How long a sweep takes on work; the function has 50 s, and the next sweep comes after 60."""

BEATS_ASKED_AFTER = timedelta(minutes=5)
"""How old a claim is before the sweep asks for its heartbeat."""


class Sweep:
    """Looks at every run that has not ended, or whose end was not announced. Safe at once from several places."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        *,
        runs: RunStore,
        capacity: CapacityStore,
        tasks: Tasks,
        reconciler: Reconciler,
        clock: Callable[[], datetime] = now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._capacity = capacity
        self._tasks = tasks
        self._reconciler = reconciler
        self._clock = clock
        self._timer = timer

    def sweep(self) -> SweepReport:
        """Do what events should have done, for as long as there is time.

        What fails for one run does not keep the sweep from the others: it is logged and counted in `failed`; so is a
        run that cannot be read.
        """
        report = SweepReport()
        until = self._timer() + SECONDS
        looked_at = self._clock()
        unreadable: set[str] = set()
        holding = [
            *self._runs.active(RunStatus.STARTING, SWEPT_AT_ONCE, unreadable.add),
            *self._runs.active(RunStatus.RUNNING, SWEPT_AT_ONCE, unreadable.add),
        ]
        waiting = list(self._runs.waiting(WAITING_COUNTED, unreadable.add))
        self._take_stock(holding, waiting, report)
        states, beats = self._states(holding, report), self._beats(holding, report)
        cancelled = [run for run in waiting if run.cancel_requested_at]
        unannounced = list(self._runs.active(ENDED, SWEPT_AT_ONCE, unreadable.add))
        report.failed += len(unreadable)
        # By lot, so that none is left out each time where there is no time for all.
        random.shuffle(holding)
        for run in [*holding, *cancelled]:
            self._sweep_in_time(until, run, states, beats, report)
        self._guarded(report, self._start_waiting, until, report)
        for run in unannounced:
            self._sweep_in_time(until, run, states, beats, report)
        # A run that cannot be read may hold a slot all the same: without it, counts would seem too high.
        if not unreadable and len(waiting) < WAITING_COUNTED and self._timer() < until:
            self._guarded(report, self._compare, [*holding, *waiting], looked_at, until, report)
        return report

    # ------------------------------------------------------------ looking

    def _take_stock(self, holding: list[Run], waiting: list[Run], report: SweepReport) -> None:
        moment = self._clock()
        report.active, report.waiting = len(holding), len(waiting)
        since = [begun for run in waiting if (begun := _waits_since(run)) <= moment]
        if since:
            report.oldest_waiting_seconds = int((moment - min(since)).total_seconds())
        for run in holding:
            if stop_is_late(run, moment):
                report.late_stops += 1
                logger.error("ECS has not stopped a task that it was told to stop", run_id=run.run_id)

    def _states(self, runs: list[Run], report: SweepReport) -> dict[str, TaskState | None]:
        states: dict[str, TaskState | None] = {}
        task_arns = [run.task_arn for run in runs if run.task_arn]
        for start in range(0, len(task_arns), DESCRIBED_AT_ONCE):
            self._guarded(report, self._describe, task_arns[start : start + DESCRIBED_AT_ONCE], states)
        return states

    def _describe(self, task_arns: list[str], states: dict[str, TaskState | None]) -> None:
        states.update(self._tasks.describe(task_arns))

    def _beats(self, runs: list[Run], report: SweepReport) -> dict[str, datetime | None]:
        since = self._clock() - BEATS_ASKED_AFTER
        beating = [run for run in runs if run.status == RunStatus.RUNNING and run.status_at <= since]
        beats: dict[str, datetime | None] = {}
        if beating:
            self._guarded(report, self._read_beats, beating, beats)
        return beats

    def _read_beats(self, runs: list[Run], beats: dict[str, datetime | None]) -> None:
        beats.update(self._runs.heartbeats(runs))

    # ------------------------------------------------------------ deciding and acting

    def _sweep_in_time(
        self,
        until: float,
        run: Run,
        states: Mapping[str, TaskState | None],
        beats: Mapping[str, datetime | None],
        report: SweepReport,
    ) -> None:
        if self._timer() >= until:
            report.left += 1
        else:
            self._guarded(report, self._sweep_run, run, states, beats, report)

    def _sweep_run(
        self,
        run: Run,
        states: Mapping[str, TaskState | None],
        beats: Mapping[str, datetime | None],
        report: SweepReport,
    ) -> None:
        if self._decision(run, states, beats) is None:
            return
        # The index may be behind: what is acted on is the head as it stands.
        current = self._runs.head(run.run_id)
        decision = self._decision(current, states, beats) if current else None
        if current is None or decision is None or isinstance(decision, StartWaiting):
            # One that waits by now is started with all that wait, which is said as such.
            return
        did = type(decision).__name__
        report.acted[did] = report.acted.get(did, 0) + 1
        logger.warning("the sweep acts on a run", run_id=run.run_id, status=current.status, decision=did)
        self._reconciler.carry_out(current, decision)

    def _decision(
        self, run: Run, states: Mapping[str, TaskState | None], beats: Mapping[str, datetime | None]
    ) -> Decision | None:
        moment = self._clock()
        decision = decide(run, moment)
        # What ECS says of the task goes before what its record asks for: a task that has ended is not to be stopped.
        if decision is not None and not isinstance(decision, StopTask):
            return decision
        if run.task_arn is not None and run.task_arn in states:
            state = states[run.task_arn]
            if state is not None:
                decision = decide_stopped(run, state, moment) or decision
            elif run.status == RunStatus.STARTING or run.run_id in beats:
                decision = decide_missing(run, beats.get(run.run_id), moment) or decision
        if decision is None:
            decision = decide_overdue(run, moment)
        if decision is None and run.run_id in beats:
            decision = decide_silent(run, beats[run.run_id], moment)
        return decision

    def _start_waiting(self, until: float, report: SweepReport) -> None:
        report.started = self._reconciler.starter.start_waiting(
            looked_at=WAITING_SWEPT, in_time=lambda: self._timer() < until
        )

    def _compare(self, runs: list[Run], looked_at: datetime, until: float, report: SweepReport) -> None:
        for drift in self._capacity.compare(runs, looked_at, in_time=lambda: self._timer() < until):
            report.drifts += 1
            report.drifts_repaired += drift.repaired
            logger.error(
                "the counts of active and waiting runs are wrong",
                group=drift.group,
                active_runs_too_many=drift.active_runs,
                waiting_runs_too_many=drift.waiting_runs,
                repaired=drift.repaired,
            )

    def _guarded(self, report: SweepReport, action: Callable[..., None], *arguments: object) -> None:
        """Do one part of the sweep; what it raises is logged and counted."""
        try:
            action(*arguments)
        except Exception:  # noqa: BLE001 - counted; the handler fails the invocation when the sweep is over
            report.failed += 1
            run = next((argument for argument in arguments if isinstance(argument, Run)), None)
            logger.exception("a part of the sweep failed", run_id=run.run_id if run else None)


def _waits_since(run: Run) -> datetime:
    """Give since when a run waits for its start, whatever ECS refused meanwhile; a further attempt backs off first."""
    return run.accepted_at if run.attempt == 1 else run.not_before or run.status_at
