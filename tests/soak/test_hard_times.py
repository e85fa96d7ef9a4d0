"""Functions killed in mid-call, events that do not come, and a soak: each run still ends once, with a true reason."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from benchmarks.soak.rules import violations
from benchmarks.soak.soak import Settings, Soak
from benchmarks.soak.stand import PIPELINE, PREFIX, Stand
from benchmarks.soak.tasks import Fate, Story
from tests.soak.conftest import SEED, SLOTS, SPEED
from zentrigger.runs import RunRecord, RunStatus

T = TypeVar("T")

SETTLES_WITHIN_SECONDS = 60
REDELIVERED_AFTER_SECONDS = 3
LOOKS_A_SWEEP = 20
RUNS = 40
CANCELLED = ("long", "never")
SWEEP = json.loads((Path(__file__).parents[2] / "events" / "lifecycle_sweep.json").read_text("utf-8"))

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def _all_is_well_again(hard: Stand) -> Iterator[None]:
    """Leave no fault, no task and no count behind."""
    hard.tasks.fate_of = lambda _: Fate()
    hard.redeliver_after(REDELIVERED_AFTER_SECONDS)
    yield
    hard.faults.clear()
    assert wait(lambda: not hard.tasks.live and not hard.counts)


def wait(look: Callable[[], T | None]) -> T:
    """Look until there is something."""
    until = time.monotonic() + SETTLES_WITHIN_SECONDS
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing came")


def post(hard: Stand, key: str, **request: Any) -> tuple[str, int]:
    """Ask for a run as a patient caller does; give its id, and how often there was no answer."""
    for failures in range(10):
        answer = hard.call("POST", "/runs", {"pipeline": PIPELINE, **request}, {"Idempotency-Key": key})
        if answer.status_code == 202:
            return str(answer.json()["run_id"]), failures
        assert answer.status_code == 500, answer.text
    raise AssertionError("no answer came")


def ended(hard: Stand, run_id: str) -> RunRecord:
    """Wait until a run has ended, everybody was told, and no task of it is left. Minutes pass quickly."""
    sweeps = itertools.count()

    def look() -> RunRecord | None:
        if next(sweeps) % LOOKS_A_SWEEP == LOOKS_A_SWEEP - 1:
            hard.cloud.bus.fire("SweepRule")
        record = hard.record(run_id)
        over = record is not None and record.run.announced_at is not None and run_id not in hard.tasks.live
        return record if over else None

    return wait(look)


def end_of(hard: Stand, run_id: str, *, cancelled: bool = False) -> tuple[str, str | None]:
    """Wait for a run's end, see that it is what its tasks' stories make of it, told as one, and give it."""
    record = ended(hard, run_id)
    assert violations(record, hard.tasks.stories(run_id), cancelled=cancelled, skips=False) == []
    told = {json.dumps(end, sort_keys=True) for end in hard.ends[run_id]}
    assert len(told) == 1
    return record.run.status, record.run.reason


def happened(hard: Stand, kills: Mapping[str, int]) -> bool:
    """Tell whether functions have been killed so often."""
    return all(hard.faults.counts.get(f"lambda.{kill}", 0) >= times for kill, times in kills.items())


def kill(hard: Stand, *kills: str) -> dict[str, int]:
    """Have functions killed at their next such calls; gives how often they will have been."""
    for one in kills:
        hard.faults.next(f"lambda.{one}")
    return {one: hard.faults.counts.get(f"lambda.{one}", 0) + kills.count(one) for one in kills}


def test_who_records_runs_is_killed_in_mid_call_and_each_run_starts_once(hard: Stand) -> None:
    """Before and after it has recorded the run and its receipt, has launched its task, has kept the task's ARN.

    Callers repeat what was not answered, and the queue what was not handled. A task that nobody knows of is not started
    a second time, though ECS does not show it.
    """

    def fate_of(story: Story) -> Fate:
        record = hard.record(story.run_id)
        if record and "unknown" in record.run.tags:
            wait(lambda: (record := hard.record(story.run_id)) and record.run.task_arn)
        return Fate()

    hard.tasks.fate_of = fate_of
    hard.faults.always("ecs.unlisted")
    arrival = ("TransactWriteItems.killed_after", "RunTask.killed_after", "UpdateItem.killed_after")
    lost_arrivals = kill(hard, *(f"OnEventFunction@{point}" for point in arrival))
    for number in range(len(arrival)):
        hard.put_object(f"killed {number}")
    calls = {
        "one": ("TransactWriteItems.killed_before", "TransactWriteItems.killed_after"),
        "two": ("RunTask.killed_before",),
        "unknown": ("RunTask.killed_after",),
        "four": ("UpdateItem.killed_after",),
    }
    started = set()
    for key, points in calls.items():
        lost_calls = kill(hard, *(f"TriggerFunction@{point}" for point in points))
        run_id, failures = post(hard, f"killed {key}", tags=[key])
        assert failures == len(points)
        assert happened(hard, lost_calls)
        started.add(run_id)

    def arrived() -> list[str] | None:
        heads = [item for item in hard.items("head") if item["source"].get("key", "").startswith(f"{PREFIX}killed")]
        return [str(item["run_id"]) for item in heads] if len(heads) >= len(arrival) else None

    assert wait(lambda: happened(hard, lost_arrivals))
    started |= set(wait(arrived))
    assert len(started) == len(calls) + len(arrival)
    for run_id in started:
        assert end_of(hard, run_id) == ("succeeded", None)
        assert len(hard.tasks.stories(run_id)) == 1


def test_lifecycle_killed_at_every_step_of_an_end_ends_the_run_once(hard: Stand) -> None:
    """Six times in one run: before and after it has ended it, has published that, has noted that."""
    points = ("TransactWriteItems", "PutEvents", "UpdateItem")
    kills = [f"LifecycleFunction@{point}.{when}" for point in points for when in ("killed_before", "killed_after")]
    expected = kill(hard, *kills)

    run_id, _ = post(hard, "killed at its end")

    assert end_of(hard, run_id) == ("succeeded", None)
    assert wait(lambda: happened(hard, expected))


def test_lifecycle_killed_while_it_starts_a_waiting_run_starts_it_once(hard: Stand) -> None:
    """With the slot taken, and before or after the launch."""
    all_asked = threading.Event()

    def fate_of(_: Story) -> Fate:
        all_asked.wait(SETTLES_WITHIN_SECONDS)
        return Fate()

    hard.tasks.fate_of = fate_of
    kills = ("LifecycleFunction@RunTask.killed_before", "LifecycleFunction@RunTask.killed_after")
    expected = kill(hard, *kills)
    runs = [
        post(hard, f"{key} {number}", concurrency={"key": key})[0] for number in range(2) for key in ("north", "south")
    ]
    waiting = [record.run.status for run_id in runs if (record := hard.record(run_id))]
    all_asked.set()

    assert waiting.count(RunStatus.QUEUED) == 2, waiting
    assert [end_of(hard, run_id) for run_id in runs] == [("succeeded", None)] * 4
    assert happened(hard, expected)
    assert [len(hard.tasks.stories(run_id)) for run_id in runs] == [1] * 4


def test_nothing_is_lost_while_no_event_is_delivered(hard: Stand) -> None:
    """For a minute of the stack's time runs start, end, die, wait and are cancelled, with nothing but the sweep."""
    fates = {"dies": Fate("killed_before"), "long": Fate(seconds=SETTLES_WITHIN_SECONDS), "raises": Fate("raises")}

    def fate_of(story: Story) -> Fate:
        record = hard.record(story.run_id)
        return fates.get(record.run.tags[0], Fate()) if record and story.attempt == 1 else Fate()

    hard.tasks.fate_of = fate_of
    hard.faults.stop_delivery()
    stopped = time.monotonic()
    one_at_a_time = {"concurrency": {"key": "silent"}}
    # Where somebody waits, all that come later do.
    asked = {
        "dies": {},
        "raises": {},
        "long": {},
        "first": one_at_a_time,
        "waits": one_at_a_time,
        "never": one_at_a_time,
    }
    runs = {name: post(hard, f"silent {name}", tags=[name], **request)[0] for name, request in asked.items()}
    for name in CANCELLED:
        assert hard.call("DELETE", f"/runs/{runs[name]}").status_code == 202
    while time.monotonic() - stopped < 60 / SPEED or not set(runs.values()) <= hard.ends.keys():
        assert time.monotonic() - stopped < SETTLES_WITHIN_SECONDS
        assert hard.invoke("LifecycleFunction", SWEEP) is None
        time.sleep(0.2)
    before = {name: ended(hard, run_id) for name, run_id in runs.items()}

    hard.faults.resume_delivery()

    assert wait(lambda: hard.cloud.backend.stream_records(_table(hard), None, 1) == [])
    ends = {name: end_of(hard, run_id, cancelled=name in CANCELLED) for name, run_id in runs.items()}
    assert ends == {
        "dies": ("succeeded", None),
        "raises": ("failed", "pipeline_failed"),
        "long": ("cancelled", "cancelled"),
        "first": ("succeeded", None),
        "waits": ("succeeded", None),
        "never": ("cancelled", "cancelled"),
    }
    assert {name: ended(hard, run_id) for name, run_id in runs.items()} == before
    assert [len(hard.tasks.stories(run_id)) for run_id in runs.values()] == [2, 1, 1, 1, 1, 0]


def test_a_soak_has_no_violation(hard: Stand, figures: list[str]) -> None:
    """Runs of every kind, with faults and kills; `python -m benchmarks.soak` is the long one."""
    # By lot, a few more follow.
    hard.faults.next("lambda.TriggerFunction.killed_before", after=20)
    hard.faults.next("lambda.LifecycleFunction.killed_after", after=100)
    settings = Settings(runs=RUNS, seed=SEED, speed=SPEED, slots=SLOTS, sweep_seconds=2, limit_seconds=120)

    told = Soak(hard, settings).run()

    figures.extend(told.lines())

    assert told.violations == ()
    assert told.runs >= RUNS - told.counts["rejected for a concurrency key"]
    assert told.function_kills >= 2
    assert told.task_kills


def _table(hard: Stand) -> str:
    return hard.cloud.stack.resources["RunsTable"].physical_id
