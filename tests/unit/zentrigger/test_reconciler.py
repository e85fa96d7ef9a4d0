"""Carrying out decisions: in which order, and what one failure does not keep from happening."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from tests.factories import MOMENT, TASK, run, stopped_task
from zentrigger.capacity import Capacity
from zentrigger.launches import Network, Refused, Started
from zentrigger.reconciler import Reconciler
from zentrigger.run_items import ENDED
from zentrigger.run_store import NoFreeSlotError, RunStore
from zentrigger.runs import Run, RunStatus, Verdict
from zentrigger.sweep import Sweep
from zentrigger.sweep_report import SweepReport


class Bench:
    """A reconciler between doubles; the table holds what it is told to."""

    def __init__(self, *runs: Run) -> None:
        self.heads = {of.run_id: of for of in runs}
        self.runs, self.tasks, self.publisher = Mock(spec=RunStore), Mock(), Mock()
        self.runs.head.side_effect = self.heads.get
        self.runs.get.return_value = None
        self.runs.active.side_effect = self._active
        self.runs.waiting.side_effect = lambda limit: iter(self._active("queued", limit))
        self.runs.capacity.return_value = Capacity(0, 0)
        self.runs.heartbeats.side_effect = lambda of: dict.fromkeys(run.run_id for run in of)
        self.capacity = Mock()
        self.capacity.compare.return_value = []
        self.runs.start.side_effect = lambda of, **_limits: of.model_copy(update={"status": RunStatus.STARTING})
        self.tasks.describe.side_effect = dict.fromkeys
        self.tasks.find.return_value = None
        self.tasks.run_task.return_value = Started(TASK)

    def _active(self, status: str, limit: int) -> tuple[Run, ...]:
        found = [
            of
            for of in self.heads.values()
            if of.status == status or (status == ENDED and of.status.final and of.announced_at is None)
        ]
        return tuple(found[:limit])

    @property
    def reconciler(self) -> Reconciler:
        """Give the reconciler."""
        return Reconciler(
            runs=self.runs,
            tasks=self.tasks,
            publisher=self.publisher,
            cluster="c",
            network=Network(("s",), ("g",), "ENABLED"),
            max_active=5,
            clock=lambda: MOMENT,
        )

    def sweep(self) -> SweepReport:
        """Sweep once."""
        return Sweep(
            runs=self.runs,
            capacity=self.capacity,
            tasks=self.tasks,
            reconciler=self.reconciler,
            clock=lambda: MOMENT,
        ).sweep()

    def start_waiting(self, **arguments: Any) -> int:
        """Start waiting runs."""
        return self.reconciler.starter.start_waiting(**arguments)

    def ended(self) -> list[tuple[str, RunStatus, str | None]]:
        """Give which runs were ended, how and why."""
        return [(call.args[0].run_id, call.args[1], call.args[2]) for call in self.runs.end.call_args_list]


def test_a_free_slot_is_used_before_an_end_is_announced() -> None:
    """The event bus may be down; those who wait do not wait for it."""
    ended, waiting = run(status="failed"), run(status="queued")
    bench = Bench(ended, waiting)
    bench.publisher.publish_end.side_effect = ConnectionError("no bus")

    with pytest.raises(ConnectionError):
        bench.reconciler.run_changed(ended.run_id)

    bench.runs.start.assert_called_once()
    bench.runs.mark_announced.assert_not_called()


def test_a_run_that_waits_is_started_when_the_stream_shows_it() -> None:
    """Also if the index does not show it yet."""
    waiting = run(status="queued")
    bench = Bench(waiting)
    bench.runs.waiting.side_effect = lambda *_: iter(())

    bench.reconciler.run_changed(waiting.run_id)

    bench.runs.start.assert_called_once()


def test_a_link_to_a_retry_does_not_wake_a_run_that_has_ended() -> None:
    """It changes its head, which the stream shows: those who wait are looked at, and that is all."""
    old = run(status="failed", ended_at=MOMENT, announced_at=MOMENT, retried_by="another")
    bench = Bench(old)

    bench.reconciler.run_changed(old.run_id)

    assert bench.ended() == []
    for untouched in (bench.publisher.publish_end, bench.runs.mark_announced, bench.tasks.stop, bench.tasks.run_task):
        untouched.assert_not_called()


def test_one_failing_run_does_not_keep_the_sweep_from_the_others() -> None:
    """Whatever fails: the bus, ECS's stop, a broken decision. It is said at the end."""
    unannounced = run(status="succeeded")
    cancelled = run(status="running", task_arn=TASK, claimed_by=TASK, cancel_requested_at=MOMENT)
    waiting = run(status="queued")
    dead = run(status="running", task_arn=TASK + "d", claimed_by=TASK + "d")
    bench = Bench(unannounced, cancelled, waiting, dead)
    bench.publisher.publish_end.side_effect = ConnectionError("no bus")
    bench.tasks.stop.side_effect = ConnectionError("no ECS")
    bench.tasks.describe.side_effect = lambda _arns: {dead.task_arn: stopped_task(dead, task_arn=dead.task_arn)}

    assert bench.sweep().failed == 2

    assert bench.ended() == [(dead.run_id, RunStatus.FAILED, "result_missing")]
    bench.runs.start.assert_called_once()


def test_a_failing_describe_does_not_keep_reports_from_ending_runs() -> None:
    """The table alone is enough for those."""
    reported = run(status="running", task_arn=TASK, claimed_by=TASK, report=Verdict(outcome="succeeded"))
    bench = Bench(reported)
    bench.tasks.describe.side_effect = ConnectionError("no ECS")

    assert bench.sweep().failed == 1

    assert bench.ended() == [(reported.run_id, RunStatus.SUCCEEDED, None)]


def test_the_sweep_acts_on_the_head_as_it_stands_not_as_the_index_shows_it() -> None:
    """A stale index shows no report; the head has one."""
    stale = run(status="running", task_arn=TASK, claimed_by=TASK)
    bench = Bench(stale)
    current = stale.model_copy(update={"report": Verdict(outcome="succeeded")})
    bench.runs.head.side_effect = lambda _id: current
    bench.tasks.describe.side_effect = lambda _arns: {TASK: stopped_task(stale)}

    bench.sweep()

    assert bench.ended() == [(stale.run_id, RunStatus.SUCCEEDED, None)]


@pytest.mark.parametrize(("age", "ended"), [(timedelta(seconds=20), 0), (timedelta(hours=1), 1)])
def test_a_task_that_beats_is_not_lost(age: timedelta, ended: int) -> None:
    """One MISSING from DescribeTasks does not end a healthy run."""
    standing = run(status="running", task_arn=TASK, claimed_by=TASK, status_at=MOMENT - timedelta(hours=2))
    bench = Bench(standing)
    bench.runs.heartbeats.side_effect = lambda of: {run.run_id: MOMENT - age for run in of}

    bench.sweep()

    assert len(bench.ended()) == ended


def test_a_refused_repetition_leaves_the_run_starting() -> None:
    """The first send may have started a task: the run never goes back to waiting while that is unknown."""
    standing = run(status="starting", status_at=MOMENT - timedelta(minutes=3))
    bench = Bench(standing)
    bench.tasks.run_task.return_value = Refused(transient=True, reason="throttled", message="m")

    bench.sweep()

    bench.runs.record_refusal.assert_not_called()
    bench.runs.requeue.assert_not_called()


def test_no_slot_ends_the_starting() -> None:
    """One full answer is enough; the others wait for an end."""
    bench = Bench(*(run(status="queued") for _ in range(5)))
    bench.runs.start.side_effect = NoFreeSlotError(("all",))

    assert bench.start_waiting() == 0
    bench.runs.start.assert_called_once()


def test_a_run_that_the_index_does_not_show_yet_is_started() -> None:
    """The stream is faster than the index."""
    bench, new = Bench(), run(status="queued")

    assert bench.start_waiting(also=new) == 1


def test_those_who_back_off_do_not_hide_those_who_wait() -> None:
    """However many they are."""
    backing_off: list[Any] = [run(status="queued", not_before=MOMENT + timedelta(minutes=1)) for _ in range(60)]
    bench = Bench(*backing_off, run(status="queued"))

    assert bench.start_waiting() == 1
