"""The parent: starts the child, beats, passes SIGTERM on, ends it when its time is up, and says how it went.

It stays small and imports no ZenML.
"""

import logging
import math
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.child_process import ChildExit, ChildProcess
from runner.exchange import Exchange
from runner.run_record import RunRecord
from runner.verdicts import Circumstances, verdict
from zentrigger.runs import Assignment, Progress, Report
from zentrigger.timestamps import now

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timing:
    """How long things take, in seconds.

    `stop_grace` is what a child gets between SIGTERM and SIGKILL: less than the task definition's StopTimeout (120),
    for the report has to be written before ECS kills the task. `exit_grace` is what a child gets to end after it has
    told how it went: threads and exit handlers of user code may hang. `look` is how exactly a time limit is kept.
    """

    heartbeat: float = 15.0
    between_saves: float = 1.0
    look: float = 0.25
    stop_grace: float = 100.0
    exit_grace: float = 30.0


class Parent:
    """Runs one assignment in a child and gives the report of it."""

    def __init__(
        self, record: RunRecord, *, memory_limit: int | None, timing: Timing, command: Sequence[str] | None = None
    ) -> None:
        self._record = record
        self._memory_limit = memory_limit
        self._timing = timing
        self._command = command or (sys.executable, "-m", "runner.child")
        self._child: ChildProcess | None = None
        self._stop_requested_at: float | None = None
        self._timed_out_at: float | None = None
        self._progress = Progress(heartbeat_at=now())

    @property
    def stopping(self) -> bool:
        """Whether the task was told to stop."""
        return self._stop_requested_at is not None

    def listen_for_stop(self) -> None:
        """Take SIGTERM and SIGINT from now on: they go to the child's group, and the run ends as `stopped`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self.stop())

    def stop(self) -> None:
        """Tell the child to stop, once; it is killed when the grace is over."""
        if self._stop_requested_at is None:
            self._stop_requested_at = time.monotonic()
            if self._child is not None:
                self._child.send(signal.SIGTERM)

    def run(self, assignment: Assignment) -> Report:
        """Run the assignment, which was claimed just now, to its end, whatever that is.

        Nothing of the child's group is left afterwards.
        """
        claimed_at = time.monotonic()
        if self.stopping:
            return Report(outcome="failed", reason="stopped", message="The task was told to stop before it had begun.")
        with tempfile.TemporaryDirectory(prefix="run-", ignore_cleanup_errors=True) as folder:
            exchange = Exchange(Path(folder))
            exchange.put_assignment(assignment)
            self._child = child = ChildProcess([*self._command, folder, str(os.getpid())])
            try:
                if self.stopping:  # The signal came before there was a child to pass it on to.
                    child.send(signal.SIGTERM)
                limit = assignment.timeout_seconds
                end = self._watch(child, exchange, math.inf if limit is None else claimed_at + limit)
            finally:
                # Whatever the pipeline has started and left behind, and the child itself if the parent failed.
                child.send(signal.SIGKILL)
            self._look(exchange)
            report = verdict(
                end,
                exchange.report(),
                Circumstances(
                    stopping=self.stopping,
                    timed_out_after=assignment.timeout_seconds if self._timed_out_at is not None else None,
                    memory_limit=self._memory_limit,
                    steps=self._progress.steps,
                ),
            )
        # What the child had told before counts where its report says nothing.
        return report.model_copy(
            update={
                name: getattr(self._progress, name)
                for name in ("steps", "zenml_run_id", "dashboard_url")
                if not getattr(report, name)
            }
        )

    def _watch(self, child: ChildProcess, exchange: Exchange, deadline: float) -> ChildExit:
        """Wait for the child's end; beat meanwhile, and enforce the deadline and the two graces."""
        saved_at = time.monotonic()
        told_at: float | None = None
        changed = False
        while (end := child.wait(self._timing.look)) is None:
            moment = time.monotonic()
            changed = self._look(exchange) or changed
            since_saved = moment - saved_at
            if since_saved >= self._timing.heartbeat or (changed and since_saved >= self._timing.between_saves):
                saved_at, changed = moment, False
                if not self._record.save_progress(self._progress.model_copy(update={"heartbeat_at": now()})):
                    _log.error("another attempt has taken over; stopping")
                    self.stop()
            if told_at is None and exchange.has_report():
                told_at = moment
            if moment >= deadline and told_at is None and self._ending_since is None:
                _log.error("the run's time is up; stopping")
                self._timed_out_at = moment
                child.send(signal.SIGTERM)
            self._kill_if_overdue(child, moment, told_at)
        return end

    @property
    def _ending_since(self) -> float | None:
        """Since when the child has known that it is to end, for either reason."""
        known = [moment for moment in (self._stop_requested_at, self._timed_out_at) if moment is not None]
        return min(known, default=None)

    def _kill_if_overdue(self, child: ChildProcess, moment: float, told_at: float | None) -> None:
        if self._ending_since is not None and moment - self._ending_since > self._timing.stop_grace:
            _log.error("the pipeline did not stop within %.0f s and is killed", self._timing.stop_grace)
            child.send(signal.SIGKILL)
        elif told_at is not None and moment - told_at > self._timing.exit_grace:
            _log.warning("the pipeline is done and its process does not end; it is killed")
            child.send(signal.SIGKILL)

    def _look(self, exchange: Exchange) -> bool:
        told = exchange.new_progress()
        if told is None:
            return False
        self._progress = told
        return True
