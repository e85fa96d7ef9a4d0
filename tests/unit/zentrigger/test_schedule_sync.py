"""Schedules follow their triggers' records, whoever dies or overtakes whom."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from tests.factories import MOMENT, trigger
from zentrigger.schedule_sync import ScheduleSync, ScheduleSyncError, WantedSchedule, next_times, wanted_schedule
from zentrigger.triggers import Trigger

HOURLY: dict[str, Any] = {"type": "schedule", "schedule": "rate(1 hour)"}


class Dead(Exception):  # noqa: N818 - no error, but the end of a process
    """The function was killed."""


class Records:
    """The triggers, and what is noted; before each call something else may happen."""

    def __init__(self) -> None:
        self.triggers: dict[str, Trigger] = {}
        self.pending: set[tuple[str, str]] = set()
        self.before: Callable[[str], None] = lambda _: None

    def write(self, wanted: Trigger | None, write: str, name: str = "t") -> None:
        """Write a trigger, or delete it, and note it, as one transaction."""
        self.pending.add((name, write))
        if wanted is None:
            self.triggers.pop(name, None)
        else:
            self.triggers[name] = wanted

    def find(self, name: str) -> Trigger | None:
        self.before("find")
        return self.triggers.get(name)

    def pending_schedules(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(self.pending))

    def settled(self, name: str, write: str) -> None:
        self.before("settled")
        self.pending.discard((name, write))


class Schedules:
    """EventBridge Scheduler; before and after each call something else may happen."""

    def __init__(self) -> None:
        self.all: dict[str, WantedSchedule] = {}
        self.calls = 0
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.broken: set[str] = set()

    def put(self, name: str, wanted: WantedSchedule) -> None:
        self._does("put", name, lambda: self.all.update({name: wanted}))

    def delete(self, name: str) -> None:
        self._does("delete", name, lambda: self.all.pop(name, None))

    def _does(self, what: str, name: str, act: Callable[[], object]) -> None:
        self.before(what)
        if name in self.broken:
            raise ConnectionError(f"no answer for {name}")
        self.calls += 1
        act()
        self.after(what)


class Bench:
    """A sync between doubles, at a moment that can be put forward."""

    def __init__(self) -> None:
        self.records, self.schedules, self.moment = Records(), Schedules(), MOMENT
        self.sync = ScheduleSync(self.records, self.schedules, lambda: self.moment)  # type: ignore[arg-type]

    def is_right(self, name: str = "t") -> bool:
        """Tell whether a schedule is as its record says."""
        return self.schedules.all.get(name) == wanted_schedule(self.records.triggers.get(name), self.moment)


def version(number: int, **values: Any) -> Trigger:
    """Make a version of the trigger `t`, an hour after the one before."""
    return trigger("t", MOMENT + timedelta(seconds=number), **HOURLY | {"schedule": f"rate({number} hours)"} | values)


@pytest.fixture
def bench() -> Bench:
    """Give the bench."""
    return Bench()


# ------------------------------------------------------------ what is wanted


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, WantedSchedule("rate(1 hour)", "UTC", True, None, MOMENT + timedelta(hours=2), None)),
        (
            {"schedule": "0 4 * * 1-5", "time_zone": "Europe/Berlin", "flexible_window_minutes": 15, "enabled": False},
            WantedSchedule("cron(0 4 ? * MON-FRI *)", "Europe/Berlin", False, 15, None, None),
        ),
    ],
)
def test_what_scheduler_is_told(values: dict[str, Any], expected: WantedSchedule) -> None:
    """A rate gets its next tick as its start; a disabled trigger keeps its schedule, which is off."""
    assert wanted_schedule(trigger(**HOURLY | values), MOMENT + timedelta(minutes=90)) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"type": "s3"},
        {"type": "schedule"},
        {**HOURLY, "end_at": MOMENT + timedelta(minutes=30)},
        {**HOURLY, "schedule": "at(2026-11-20T11:00:00)"},
        {**HOURLY, "schedule": "at(2026-11-20T13:00:00)", "end_at": MOMENT + timedelta(minutes=30)},
        {**HOURLY, "schedule": "cron(0 4 1 1 ? 2025)"},
    ],
)
def test_what_never_fires_has_no_schedule(values: dict[str, Any]) -> None:
    """Nor has a trigger of another type, or one that only the stack's rule fires."""
    assert wanted_schedule(trigger(**values), MOMENT) is None
    assert wanted_schedule(None, MOMENT) is None


def test_a_start_and_an_end_are_passed_on() -> None:
    """While the start lies ahead; AWS takes none that is over."""
    start, end = MOMENT + timedelta(days=1), MOMENT + timedelta(days=2)
    of = trigger(**HOURLY, start_at=start, end_at=end).model_copy(update={"anchor": start})
    daily = trigger(**HOURLY | {"schedule": "cron(0 4 * * ? *)"}, start_at=start, end_at=end)

    before, after = (wanted_schedule(of, at) for at in (MOMENT, start + timedelta(minutes=90)))
    assert before is not None
    assert after is not None
    assert (before.start, before.end) == (start, end)
    assert (after.start, after.end) == (start + timedelta(hours=2), end)
    for at, expected in ((MOMENT, start), (start, None), (start + timedelta(hours=1), None)):
        told = wanted_schedule(daily, at)
        assert told is not None
        assert told.start == expected


def test_a_single_firing_that_is_under_way_keeps_its_schedule() -> None:
    """AWS may be two minutes late, and has a flexible window; deleted within them it would be lost."""
    at = MOMENT + timedelta(hours=1)
    once = trigger(**HOURLY | {"schedule": "at(2026-11-20T13:00:00)"})
    flexible = trigger(**HOURLY | {"schedule": "at(2026-11-20T13:00:00)", "flexible_window_minutes": 30})

    for of, minutes in ((once, 2), (flexible, 32)):
        kept = wanted_schedule(of, at + timedelta(minutes=minutes) - timedelta(seconds=1))
        assert kept is not None
        assert kept.expression == "at(2026-11-20T13:00:00)"
        assert wanted_schedule(of, at + timedelta(minutes=minutes)) is None


@pytest.mark.parametrize("pause_minutes", [1, 59, 61, 60 * 24 * 3 + 7])
def test_a_pause_costs_a_rate_no_place(pause_minutes: int) -> None:
    """After it, it fires at the moments at which it would have fired without it."""
    of = trigger(**HOURLY)
    moment = MOMENT + timedelta(minutes=pause_minutes)

    told = wanted_schedule(of, moment)

    assert told is not None
    assert told.start is not None
    assert (told.start - MOMENT) % timedelta(hours=1) == timedelta(0)
    assert moment < told.start <= moment + timedelta(hours=1)
    assert next_times(of, moment)[0] == told.start


def test_the_next_five_times() -> None:
    """On the clock of the trigger's zone, in UTC; none while it is disabled, fewer before its end."""
    daily = HOURLY | {"schedule": "cron(30 9 * * ? *)", "time_zone": "America/New_York"}
    expected = tuple(datetime(2026, 11, day, 14, 30, tzinfo=UTC) for day in range(20, 25))

    assert next_times(trigger(**daily), MOMENT) == expected
    assert next_times(trigger(**daily, end_at=expected[2]), MOMENT) == expected[:2]
    assert next_times(trigger(**daily, enabled=False), MOMENT) == ()
    assert next_times(trigger(), MOMENT) == ()
    # What lies before its start is no time of it.
    later = trigger(**daily, start_at=expected[3]).model_copy(update={"anchor": expected[3]})
    assert next_times(later, MOMENT)[0] == expected[3]


# ------------------------------------------------------------ settling


def test_a_schedule_is_set_and_the_note_taken_away(bench: Bench) -> None:
    """Once; a deleted trigger's is deleted, and so is that of one which has none any more."""
    for write, wanted in (("1", version(1)), ("2", version(2, enabled=False)), ("3", trigger("t")), ("4", None)):
        bench.records.write(wanted, write)
        assert bench.sync.settle("t", write)
        assert bench.is_right()
        assert bench.records.pending == set()
    assert bench.schedules.all == {}
    assert bench.schedules.calls == 4


STEPS = ["find", "put", "put done", "find again", "settled"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wanted", [version(1), None], ids=["put", "deleted"])
def test_a_kill_at_any_step_is_repaired(bench: Bench, step: str, wanted: Trigger | None) -> None:
    """The note remains, and the next minute settles it."""
    bench.records.write(version(7), "0")
    bench.sync.settle("t", "0")
    bench.records.write(wanted, "1")
    finds = 0

    def die_at(what: str) -> None:
        nonlocal finds
        finds += what == "find"
        here = {"delete": "put", "find": "find again" if finds > 1 else "find"}.get(what, what)
        if here == step:
            raise Dead

    bench.records.before = bench.schedules.before = die_at
    bench.schedules.after = lambda _: die_at("put done")
    with pytest.raises(Dead):
        bench.sync.settle("t", "1")
    assert bench.records.pending == {("t", "1")}
    bench.records.before = bench.schedules.before = bench.schedules.after = lambda _: None

    assert bench.sync.settle_all() == 1

    assert bench.is_right()
    assert bench.records.pending == set()
    assert bench.sync.settle_all() == 0


@pytest.mark.parametrize("other", [version(2), version(2, enabled=False), None], ids=["edit", "pause", "delete"])
@pytest.mark.parametrize("where", [("find", 1), ("put", 1), ("find", 2), ("settled", 1)])
@pytest.mark.parametrize("settles", [True, False])
def test_who_is_overtaken_sets_what_stands(
    bench: Bench, where: tuple[str, int], other: Trigger | None, settles: bool
) -> None:
    """Another write comes, whole or dead before its schedule, before any step: the record has its way in the end."""
    bench.records.write(version(1), "1")
    left = [where[1]]

    def overtake(what: str) -> None:
        if what != where[0]:
            return
        left[0] -= 1
        if left[0] == 0:
            bench.records.write(other, "2")
            if settles:
                bench.sync.settle("t", "2")

    bench.records.before = bench.schedules.before = overtake
    assert bench.sync.settle("t", "1")

    if not settles:
        # Its own note is there until its own schedule is known to be set.
        assert bench.records.pending == {("t", "2")}
        bench.records.before = bench.schedules.before = lambda _: None
        bench.sync.settle_all()
    assert bench.is_right()
    assert bench.records.pending == set()


def test_a_late_call_of_a_dead_writer_is_repaired(bench: Bench) -> None:
    """It set an old schedule after a newer one was settled, and died: its note remains, and is enough."""
    bench.records.write(version(1), "1")
    steps = [version(2), None, version(3)]

    def die(_: str) -> None:
        raise Dead

    for number, wanted in enumerate(steps, 2):
        late = Bench()
        late.records, late.schedules = bench.records, bench.schedules
        late.sync = ScheduleSync(late.records, late.schedules, lambda: MOMENT)  # type: ignore[arg-type]

        def overtake(_: str, wanted: Trigger | None = wanted, write: str = str(number)) -> None:
            bench.schedules.before = lambda _: None
            bench.records.write(wanted, write)
            bench.sync.settle("t", write)
            bench.schedules.after = die

        bench.schedules.before = overtake
        stale = f"stale {number}"
        bench.records.write(version(1), stale)
        with pytest.raises(Dead):
            late.sync.settle("t", stale)
        bench.schedules.after = lambda _: None
        assert not bench.is_right()
        assert ("t", stale) in bench.records.pending

        bench.sync.settle_all()
        assert bench.is_right()
        assert bench.records.pending == set()


def test_two_writers_in_every_order(bench: Bench) -> None:
    """Reads and settings of two writers, step by step in all orders: the last record's schedule stands at the end."""
    first, second = version(1), version(2)
    for slots in combinations(range(6), 3):
        bench = Bench()
        bench.records.write(first, "1")
        seen: dict[str, Trigger | None] = {"1": None, "2": None}

        def read(write: str, bench: Bench = bench, seen: dict[str, Trigger | None] = seen) -> None:
            seen[write] = bench.records.triggers.get("t")

        def put(write: str, bench: Bench = bench, seen: dict[str, Trigger | None] = seen) -> None:
            wanted = wanted_schedule(seen[write], MOMENT)
            if wanted is not None:
                bench.schedules.put("t", wanted)

        def finish(write: str, bench: Bench = bench) -> None:
            assert bench.sync.settle("t", write)

        one = [read, put, finish]
        other = [lambda _, bench=bench: bench.records.write(second, "2"), read, finish]
        rest = {"1": iter(one), "2": iter(other)}
        for position in range(6):
            write = "1" if position in slots else "2"
            next(rest[write])(write)

        assert bench.is_right(), slots
        assert bench.records.pending == set()


def test_a_trigger_that_changes_all_the_time_is_left_to_the_next_minute(bench: Bench) -> None:
    """Its note remains; nobody waits for ever."""
    numbers = iter(range(2, 1000))
    bench.records.write(version(1), "1")
    bench.schedules.before = lambda _: bench.records.write(version(next(numbers)), "n")

    assert not bench.sync.settle("t", "1")
    assert ("t", "1") in bench.records.pending
    assert bench.schedules.calls == 5

    bench.schedules.before = lambda _: None
    assert bench.sync.settle_all() == 2
    assert bench.is_right()


def test_one_that_fails_does_not_keep_the_others(bench: Bench) -> None:
    """All have their turn; then the failure is told, so that the minute's function is seen to fail."""
    for name in "abc":
        bench.records.write(trigger(name, **HOURLY), "1", name)
    bench.schedules.broken = {"a", "c"}

    with pytest.raises(ScheduleSyncError, match="a, c"):
        bench.sync.settle_all()

    assert set(bench.schedules.all) == {"b"}
    assert bench.records.pending == {("a", "1"), ("c", "1")}
    bench.schedules.broken = set()
    assert bench.sync.settle_all() == 2
    assert set(bench.schedules.all) == {"a", "b", "c"}


def test_a_write_is_done_though_its_schedule_cannot_be_set_yet(bench: Bench) -> None:
    """Whoever wrote is told of the write; what failed stays noted."""
    for name in "ab":
        bench.records.write(trigger(name, **HOURLY), "1", name)
    bench.schedules.broken = {"a"}

    bench.sync.settle_now(("a", "b"), "1")

    assert bench.records.pending == {("a", "1")}
    assert set(bench.schedules.all) == {"b"}


def test_settling_takes_away_its_own_note_alone(bench: Bench) -> None:
    """Another write's is that write's: it may not have been seen."""
    bench.records.write(version(1), "1")
    bench.records.write(version(2), "2")

    bench.sync.settle("t", "1")

    assert bench.records.pending == {("t", "2")}
    assert bench.is_right()
