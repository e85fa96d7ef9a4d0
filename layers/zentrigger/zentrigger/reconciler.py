"""Carries out what `lifecycle` decides: after a change of a run, and after a task's stop. The sweep uses it, too."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from zentrigger.attempts import following, story
from zentrigger.events import TaskState
from zentrigger.launches import LaunchAnswer, Launcher, Network, Started, launch
from zentrigger.lifecycle import (
    AdoptTask,
    Announce,
    Decision,
    End,
    FindTask,
    MarkOverdue,
    NextAttempt,
    Requeue,
    SendAgain,
    StartWaiting,
    StopTask,
    decide,
    decide_found,
    decide_stopped,
)
from zentrigger.observability import logger
from zentrigger.run_store import RunStore
from zentrigger.runs import Run, RunStatus
from zentrigger.starter import Starter
from zentrigger.timestamps import now


class Tasks(Launcher, Protocol):
    """ECS, as the reconciler and the sweep need it."""

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
        self._clock = clock
        self.starter = Starter(runs, self._first_launch, max_active=max_active, clock=clock)

    def run_changed(self, run_id: str, *, in_time: Callable[[], bool] = lambda: True) -> None:
        """Act on a change of a run's head, as it stands now; the stream may be late.

        Args:
            run_id: The run.
            in_time: Tells whether there is time to start one more waiting run.

        """
        current = self._runs.head(run_id)
        if current is None:
            return
        # A slot was given back, or somebody waits. Before the announcement, which needs a service that may be down.
        freed = current.status.final and current.announced_at is None
        if freed or current.status == RunStatus.QUEUED:
            self.starter.start_waiting(also=current if current.status == RunStatus.QUEUED else None, in_time=in_time)
        self.carry_out(current, decide(current, self._clock()))

    def task_stopped(self, task: TaskState) -> None:
        """Act on a task that has stopped; one that is no run's present task is nobody's concern."""
        run_id, _, _ = (task.started_by or "").partition("/")
        run = self._runs.head(run_id) if run_id else None
        if run is not None:
            self.carry_out(run, decide_stopped(run, task, self._clock()))

    def carry_out(self, run: Run, decision: Decision | None) -> None:  # noqa: C901 - one case a decision
        """Do what was decided of a run, if it still stands as it did."""
        match decision:
            case End(status, reason, message, timings):
                if self._runs.end(run, status, reason, message, timings):
                    logger.info("a run has ended", run_id=run.run_id, status=status, reason=reason)
            case NextAttempt():
                self._attempt_again(run, decision)
            case MarkOverdue(reason, message):
                marked = self._runs.mark_overdue(run, reason, message)
                if marked is not None:
                    logger.warning("a run has missed a deadline", run_id=run.run_id, reason=reason)
                    self.carry_out(marked, decide(marked, self._clock()))
            case Requeue(not_before):
                self._runs.requeue(run, not_before=not_before)
            case StopTask(task_arn, reason):
                self._tasks.stop(task_arn, reason)
            case FindTask():
                found = self._tasks.find(run.started_by)
                self.carry_out(run, decide_found(run, found, self._clock()))
            case AdoptTask(task_arn):
                self._runs.record_task(run, task_arn)
                # One whose run is to end is stopped at once, also where the record could not take it.
                adopted = run.model_copy(update={"task_arn": task_arn})
                self.carry_out(adopted, decide(adopted, self._clock()))
            case SendAgain():
                self._launch(run, again=True)
            case Announce():
                self._publisher.publish_end(run)
                self._runs.mark_announced(run)
            case StartWaiting() | None:
                pass

    def _attempt_again(self, run: Run, decision: NextAttempt) -> None:
        moment = self._clock()
        waiting = self._runs.next_attempt(run, following(run, moment, decision), story(run, moment, decision))
        if waiting is not None:
            failure = decision.failure
            logger.warning(
                "an attempt has failed and is repeated", run_id=run.run_id, attempt=run.attempt, reason=failure.reason
            )

    def _first_launch(self, run: Run) -> LaunchAnswer:
        return self._launch(run, again=False)

    def _launch(self, run: Run, *, again: bool) -> LaunchAnswer:
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
        return answer
