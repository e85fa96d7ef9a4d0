"""The sweep: what it does, what it leaves for the next one, and what one failure does not keep it from."""

import json
from datetime import timedelta

import pytest

from tests.factories import MOMENT, TASK, run, stopped_task
from tests.unit.zentrigger.bench import Bench
from zentrigger.capacity_store import Drift
from zentrigger.launches import Refused
from zentrigger.lifecycle import STOP_IS_LATE_AFTER
from zentrigger.metrics import measure
from zentrigger.run_store import NoFreeSlotError
from zentrigger.runs import RunStatus, Verdict
from zentrigger.sweep_report import SweepReport


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


def test_a_run_that_waits_by_now_was_not_repaired() -> None:
    """Somebody else sent it back to waiting meanwhile; all that is left to do is to start it."""
    stale = run(status="running", task_arn=TASK, claimed_by=TASK, report=Verdict(outcome="failed"))
    bench = Bench(stale)
    bench.runs.head.side_effect = lambda _id: run(status="queued", run_id=stale.run_id, attempt=2)

    assert bench.sweep().acted == {}


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


def test_what_there_is_no_time_for_is_left_to_the_next_sweep() -> None:
    """And said. Which runs those are is a matter of luck, so that none is left out for ever."""
    unannounced = [run(status="failed") for _ in range(50)]
    bench = Bench(*unannounced)
    moments = iter(range(10_000))
    bench.timer = lambda: float(next(moments))

    report = bench.sweep()

    assert 0 < bench.publisher.publish_end.call_count < len(unannounced)
    assert report.left == len(unannounced) - bench.publisher.publish_end.call_count
    bench.capacity.compare.assert_not_called()


def test_a_sweep_says_what_it_saw_and_did() -> None:
    """Runs that hold a slot and that wait, since when, stops without effect, counts that drift.

    What ECS has refused again and again has waited from the beginning; a further attempt backs off on purpose.
    """
    late = MOMENT - STOP_IS_LATE_AFTER
    bench = Bench(
        run(status="running", task_arn=TASK, claimed_by=TASK, cancel_requested_at=late),
        run(status="queued", accepted_at=MOMENT - timedelta(minutes=3), launch=9, not_before=MOMENT),
        run(
            status="queued",
            attempt=2,
            accepted_at=MOMENT - timedelta(days=1),
            not_before=MOMENT + timedelta(minutes=1),
        ),
        run(status="succeeded"),
    )
    bench.tasks.describe.side_effect = lambda _arns: {}
    bench.runs.start.side_effect = NoFreeSlotError(("all",))
    bench.capacity.compare.return_value = [Drift("all", 1, 0, repaired=True), Drift("key#k", 0, 1, repaired=False)]

    report = bench.sweep()

    assert report == SweepReport(
        active=1,
        waiting=2,
        oldest_waiting_seconds=180,
        acted={"StopTask": 1, "Announce": 1},
        late_stops=1,
        drifts=2,
        drifts_repaired=1,
    )
    assert report.repairs == 3
    assert not report.idle


def test_counts_are_compared_with_all_runs_that_have_not_ended() -> None:
    """But not where more wait than one sweep looks at."""
    waiting = run(status="queued", not_before=MOMENT + timedelta(hours=1))
    standing = [run(status="running", task_arn=TASK, claimed_by=TASK), waiting]
    bench = Bench(*standing)
    bench.sweep()
    ((compared, looked_at),) = [call.args for call in bench.capacity.compare.call_args_list]
    assert {of.run_id for of in compared} == {of.run_id for of in standing}
    assert looked_at == MOMENT

    crowded = Bench(*standing)
    crowded.runs.waiting.side_effect = lambda limit, *_: iter([waiting] * limit)
    crowded.runs.start.side_effect = NoFreeSlotError(("all",))
    crowded.sweep()
    crowded.capacity.compare.assert_not_called()


@pytest.mark.parametrize("status", ["starting", "running", "queued", "ended"])
def test_a_run_that_cannot_be_read_is_told_of_and_keeps_its_slot(status: str) -> None:
    """A later version wrote it. All else is done; what it counts in is not for this sweep to say."""
    reported = run(status="running", task_arn=TASK, claimed_by=TASK, report=Verdict(outcome="succeeded"))
    bench = Bench(reported)
    bench.unreadable = {"later": status}

    report = bench.sweep()

    assert report.failed == 1
    assert bench.ended() == [(reported.run_id, RunStatus.SUCCEEDED, None)]
    bench.capacity.compare.assert_not_called()


def test_metrics_are_written_only_where_there_is_something_to_see(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric costs by the hour in which it has values; nothing runs while nothing runs."""
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "zentrigger-dev")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "zentrigger")
    measure(Bench().sweep())
    assert capsys.readouterr().out == ""

    measure(SweepReport(active=3, acted={"End": 2}, drifts=1, oldest_waiting_seconds=7))

    written = json.loads(capsys.readouterr().out)
    assert written["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "zentrigger-dev"
    assert (written["ActiveRuns"], written["SweepRepairs"], written["CapacityDrifts"]) == ([3.0], [2.0], [1.0])
    assert written["OldestWaiting"] == [7.0]
