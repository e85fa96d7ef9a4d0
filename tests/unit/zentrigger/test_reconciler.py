"""Carrying out decisions: in which order, and what one failure does not keep from happening."""

from datetime import timedelta
from typing import Any

import pytest

from tests.factories import MOMENT, TASK, run
from tests.unit.zentrigger.bench import Bench
from zentrigger.lifecycle import FindTask
from zentrigger.run_store import NoFreeSlotError


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


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_task_that_is_found_is_kept_and_stopped_if_its_run_is_to_end(cancelled: bool) -> None:
    """In this order, and at once: the record knows what was stopped, and nobody waits for a further look."""
    standing = run(status="starting", cancel_requested_at=MOMENT if cancelled else None)
    bench = Bench(standing)
    bench.tasks.find.return_value = TASK
    done: list[tuple[str, str]] = []
    bench.runs.record_task.side_effect = lambda _of, task_arn: done.append(("kept", task_arn))
    bench.tasks.stop.side_effect = lambda task_arn, _reason: done.append(("stopped", task_arn))

    bench.reconciler.carry_out(standing, FindTask())

    assert done == [("kept", TASK), ("stopped", TASK)][: 1 + cancelled]
