"""Schedules follow their triggers' records, whoever dies or overtakes whom."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import pytest

from tests.factories import MOMENT, trigger
from zentrigger.schedule_sync import (
    ScheduleRefusedError,
    ScheduleSync,
    ScheduleSyncError,
    StandingSchedule,
    WantedSchedule,
    busy_until,
    is_as_wanted,
    next_times,
    wanted_schedule,
)
from zentrigger.trigger_store import PendingSchedule
from zentrigger.triggers import Trigger

NOON: dict[str, Any] = {"type": "schedule", "schedule": "cron(0 12 * * ? *)", "flexible_window_minutes": 60}
HOURLY: dict[str, Any] = {"type": "schedule", "schedule": "rate(1 hour)"}


class Dead(Exception):  # noqa: N818 - no error, but the end of a process
    """The function was killed."""


class Records:
    """The triggers, and what is noted; before each call something else may happen."""

    def __init__(self) -> None:
        self.triggers: dict[str, Trigger] = {}
        self.notes: dict[tuple[str, str], PendingSchedule] = {}
        self.moment = MOMENT
        self.before: Callable[[str], None] = lambda _: None

    @property
    def pending(self) -> set[tuple[str, str]]:
        """Names of triggers and of writes that are noted."""
        return set(self.notes)

    def write(self, wanted: Trigger | None, write: str, name: str = "t") -> None:
        """Write a trigger, or delete it, and note it, as one transaction."""
        self.notes[name, write] = PendingSchedule(name, write, self.moment)
        if wanted is None:
            self.triggers.pop(name, None)
        else:
            self.triggers[name] = wanted

    def find(self, name: str) -> Trigger | None:
        self.before("find")
        return self.triggers.get(name)

    def pending_schedules(self, name: str | None = None) -> tuple[PendingSchedule, ...]:
        return tuple(note for key, note in sorted(self.notes.items()) if name in (None, key[0]))

    def settled(self, name: str, write: str) -> None:
        self.before("settled")
        self.notes.pop((name, write), None)

    def keep_refusal(self, note: PendingSchedule, problem: str, moment: datetime) -> None:
        if (note.trigger, note.write) in self.notes:
            self.notes[note.trigger, note.write] = replace(note, problem=problem, refused_at=moment)


class Schedules:
    """EventBridge Scheduler; before and after each call something else may happen."""

    def __init__(self) -> None:
        self.standing: dict[str, StandingSchedule] = {}
        self.moment = MOMENT
        self.calls = 0
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.broken: set[str] = set()
        self.refused: dict[str, str] = {}

    @property
    def all(self) -> dict[str, WantedSchedule]:
        """What each was told."""
        return {name: standing.told for name, standing in self.standing.items()}

    def find(self, name: str) -> StandingSchedule | None:
        return self.standing.get(name)

    def put(self, name: str, wanted: WantedSchedule) -> None:
        made = StandingSchedule(wanted, self.moment)
        self._does("put", name, lambda: self.standing.update({name: made}))

    def delete(self, name: str) -> None:
        self._does("delete", name, lambda: self.standing.pop(name, None))

    def _does(self, what: str, name: str, act: Callable[[], object]) -> None:
        self.before(what)
        if name in self.broken:
            raise ConnectionError(f"no answer for {name}")
        if name in self.refused:
            raise ScheduleRefusedError(self.refused[name])
        self.calls += 1
        act()
        self.after(what)


class Bench:
    """A sync between doubles, at a moment that can be put forward."""

    def __init__(self) -> None:
        self.records, self.schedules, self.moment = Records(), Schedules(), MOMENT
        self.seconds = 0.0
        self.sync = ScheduleSync(self.records, self.schedules, lambda: self.moment, lambda: self.seconds)  # type: ignore[arg-type]

    def passes(self, **time: float) -> None:
        """Put the clock forward."""
        self.moment = self.records.moment = self.schedules.moment = self.moment + timedelta(**time)

    def settle(self, name: str, write: str) -> bool:
        """Settle what a write noted."""
        return self.sync.settle(self.records.notes[name, write])

    def made(self, wanted: Trigger, *, minutes: float = 0) -> WantedSchedule:
        """Make a trigger and its schedule, let time pass, and give the schedule."""
        self.records.write(wanted, "made", wanted.name)
        assert self.settle(wanted.name, "made")
        self.passes(minutes=minutes)
        self.schedules.calls = 0
        return self.schedules.all[wanted.name]

    def is_right(self, name: str = "t") -> bool:
        """Tell whether a schedule is as its record says."""
        wanted = wanted_schedule(self.records.triggers.get(name), self.moment)
        standing = self.schedules.standing.get(name)
        if wanted is None or standing is None:
            return wanted is None and standing is None
        return is_as_wanted(standing, wanted, self.moment)


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


# ------------------------------------------------------------ what stands as it should


def standing(of: Trigger, moment: datetime = MOMENT, **told: Any) -> StandingSchedule:
    """Make the schedule of a trigger as it was set at a moment, but for some of what was told."""
    wanted = wanted_schedule(of, moment)
    assert wanted is not None
    return StandingSchedule(replace(wanted, **told), moment)


@pytest.mark.parametrize(
    "values",
    [
        HOURLY,
        {**HOURLY, "schedule": "rate(7 minutes)", "end_at": MOMENT + timedelta(days=9, microseconds=1)},
        {**NOON, "time_zone": "Europe/Berlin"},
        {**NOON, "start_at": MOMENT + timedelta(hours=30), "end_at": MOMENT + timedelta(days=9)},
        {**HOURLY, "schedule": "at(2026-11-24T13:00:00)", "end_at": MOMENT + timedelta(days=9)},
    ],
)
def test_a_schedule_stays_right_while_time_passes(values: dict[str, Any]) -> None:
    """Whatever tick a rate was begun at, and whether a start is over or not: nothing has to be set again."""
    of = trigger("t", **values)
    of = of.model_copy(update={"anchor": of.definition.start_at or MOMENT + timedelta(microseconds=654_321)})
    made = standing(of)
    for sent in (made.told.start, made.told.end):
        assert sent is None or sent.microsecond == 0
    for minutes in (0, 1, 59, 60, 61, 60 * 31, 60 * 24 * 4 + 3):
        moment = MOMENT + timedelta(minutes=minutes)
        wanted = wanted_schedule(of, moment)
        assert wanted is not None
        assert is_as_wanted(made, wanted, moment), minutes


@pytest.mark.parametrize(
    "told",
    [
        {"expression": "rate(2 hours)"},
        {"time_zone": "Europe/Berlin"},
        {"enabled": False},
        {"flexible_window_minutes": 5},
        {"start": None},
        {"start": MOMENT + timedelta(minutes=59)},
        {"start": MOMENT + timedelta(hours=3)},
        {"end": None},
        {"end": MOMENT + timedelta(hours=9)},
    ],
)
def test_any_other_schedule_is_not_as_wanted(told: dict[str, Any]) -> None:
    """Nor is one that a hand has sent elsewhere."""
    of = trigger("t", **HOURLY, end_at=MOMENT + timedelta(hours=10))
    moment = MOMENT + timedelta(minutes=90)
    wanted = wanted_schedule(of, moment)
    assert wanted is not None
    assert is_as_wanted(standing(of), wanted, moment)
    assert not is_as_wanted(standing(of, **told), wanted, moment)
    assert not is_as_wanted(replace(standing(of), ours=False), wanted, moment)


def test_a_rate_that_begins_before_its_start_is_not_as_wanted() -> None:
    """Also on a tick of the same rhythm, while its start lies ahead."""
    start = MOMENT + timedelta(hours=5)
    of = trigger("t", **HOURLY, start_at=start).model_copy(update={"anchor": start})
    wanted = wanted_schedule(of, MOMENT)
    assert wanted is not None
    assert not is_as_wanted(standing(of, start=MOMENT), wanted, MOMENT)
    over = start + timedelta(minutes=1)
    wanted = wanted_schedule(of, over)
    assert wanted is not None
    assert is_as_wanted(standing(of, start=MOMENT), wanted, over)


def test_no_start_or_end_that_is_over_is_sent() -> None:
    """AWS takes none; what is sent has whole seconds, and an end lies behind the start."""
    odd = MOMENT + timedelta(hours=1, microseconds=5)
    rate = trigger("t", **HOURLY, end_at=odd)
    once = trigger("t", **HOURLY | {"schedule": "at(2026-11-20T12:30:00)", "flexible_window_minutes": 60}, end_at=odd)
    told = wanted_schedule(rate, MOMENT + timedelta(minutes=59))
    assert told is not None
    assert (told.start, told.end) == (MOMENT + timedelta(hours=1), MOMENT + timedelta(hours=1, seconds=1))
    for minutes, end in ((10, MOMENT + timedelta(hours=1, seconds=1)), (61, None)):
        told = wanted_schedule(once, MOMENT + timedelta(minutes=minutes))
        assert told is not None
        assert told.end == end


@pytest.mark.parametrize(
    ("values", "minutes", "expected"),
    [
        # A minute each, from noon on; the window, and two minutes more.
        ({"schedule": "rate(1 hour)"}, 61, 62),
        ({"schedule": "rate(1 hour)"}, 62.5, None),
        ({"schedule": "rate(1 hour)"}, 59, None),
        ({"schedule": "rate(1 hour)", "flexible_window_minutes": 30}, 91, 92),
        ({"schedule": "rate(1 minute)"}, 10.5, 12),
        ({"schedule": "rate(1 minute)", "flexible_window_minutes": 1440}, 2000, 2000 + 1442),
        ({"schedule": "cron(30 12 * * ? *)"}, 31, 32),
        ({"schedule": "at(2026-11-20T12:30:00)"}, 31, 32),
        ({"schedule": "rate(1 hour)", "enabled": False}, 61, None),
        ({"schedule": "rate(1 hour)", "end_at": MOMENT + timedelta(minutes=50)}, 61, None),
    ],
)
def test_a_firing_is_on_its_way_for_its_window_and_two_minutes(
    values: dict[str, Any], minutes: float, expected: float | None
) -> None:
    """Of the last time that came; none while it is disabled, or after its end."""
    definition = {**HOURLY, **values}
    end = definition.pop("end_at", None)
    made = standing(trigger("t", **definition), end=end)
    until = busy_until(made, MOMENT + timedelta(minutes=minutes))
    assert until == (None if expected is None else MOMENT + timedelta(minutes=expected))


def test_a_time_before_it_was_set_is_none_of_it() -> None:
    """Who makes a schedule just after one of its times, or resumes it then, may edit it at once."""
    daily = trigger("t", **HOURLY | {"schedule": "cron(30 12 * * ? *)"})
    moment = MOMENT + timedelta(minutes=31)
    assert busy_until(standing(daily, MOMENT + timedelta(minutes=30)), moment) is None
    assert busy_until(standing(daily, MOMENT + timedelta(minutes=29)), moment) is not None


def test_an_end_that_is_over_is_no_difference_where_it_fires_once() -> None:
    """It was told while it lay ahead, and cannot be told any more."""
    end = MOMENT + timedelta(minutes=40)
    once = trigger("t", **HOURLY | {"schedule": "at(2026-11-20T12:30:00)", "flexible_window_minutes": 60}, end_at=end)
    later = end + timedelta(minutes=1)
    wanted = wanted_schedule(once, later)
    assert wanted is not None
    assert standing(once).told.end == end
    assert is_as_wanted(standing(once), wanted, later)
    assert not is_as_wanted(standing(once, end=later + timedelta(minutes=1)), wanted, later)


def test_what_a_hand_has_made_is_taken_for_busy() -> None:
    """When it fired last cannot be told; nor of a rate without a start, which counts from when it was made."""
    moment = MOMENT + timedelta(minutes=10)
    for told in ({"expression": "cron(what)"}, {"time_zone": "Mars/Base"}, {"start": None}):
        assert busy_until(standing(trigger("t", **HOURLY), **told), moment) == moment + timedelta(minutes=2)


# ------------------------------------------------------------ what has just fired


def test_a_schedule_that_is_right_is_left_alone(bench: Bench) -> None:
    """Within its window, and for a rate that has just come to a tick: replacing it would lose the firing."""
    for of in (trigger("t", **NOON | {"schedule": "cron(30 12 * * ? *)"}), trigger("u", **HOURLY)):
        bench.made(of, minutes=60.2)
        bench.records.write(of, "again", of.name)
        assert bench.settle(of.name, "again")
        assert bench.schedules.calls == 0
    assert bench.records.pending == set()


@pytest.mark.parametrize("change", ["edited", "over"])
def test_a_firing_that_waits_is_not_lost(bench: Bench, change: str) -> None:
    """Until it must have come, the schedule stays and the note with it; whatever was changed is set then."""
    bench.passes(hours=-1)
    noon = trigger("t", bench.moment, **NOON)
    made = bench.made(noon, minutes=70)
    values: dict[str, Any] = {
        "edited": {"time_zone": "Europe/Berlin"},
        "over": {"end_at": MOMENT + timedelta(minutes=30)},
    }
    bench.records.write(trigger("t", bench.moment, **NOON | values[change]), "2")

    assert not bench.settle("t", "2")
    for _ in range(51):
        bench.passes(minutes=1)
        assert bench.sync.settle_all() == 0
        assert bench.schedules.all == {"t": made}
    bench.passes(minutes=1)
    assert bench.sync.settle_all() == 1

    assert bench.is_right()
    assert bench.schedules.all == {} if change == "over" else bench.schedules.all["t"].time_zone == "Europe/Berlin"


@pytest.mark.parametrize("wanted", [trigger("t", **NOON | {"enabled": False}), trigger("t"), None])
def test_who_stops_a_trigger_stops_a_firing_that_waits(bench: Bench, wanted: Trigger | None) -> None:
    """Paused, of another type, or deleted: that it starts nothing any more is what was asked for."""
    bench.passes(hours=-1)
    bench.made(trigger("t", bench.moment, **NOON), minutes=70)
    bench.records.write(wanted, "2")

    assert bench.settle("t", "2")
    assert bench.is_right()
    assert bench.records.pending == set()


def test_what_always_fires_is_replaced_all_the_same(bench: Bench) -> None:
    """What was due when it was changed is waited for, and no more: each minute would else put it off for ever."""
    bench.made(trigger("t", **HOURLY | {"schedule": "rate(1 minute)"}), minutes=10.5)
    bench.records.write(trigger("t", **HOURLY), "2")
    assert not bench.settle("t", "2")
    bench.passes(minutes=1.4)
    assert bench.sync.settle_all() == 0
    bench.passes(minutes=0.1)
    assert bench.sync.settle_all() == 1
    assert bench.is_right()


def test_what_a_hand_has_changed_is_set_right(bench: Bench) -> None:
    """When the trigger is put again, as it is; a deleted schedule, too."""
    of = trigger("t", **HOURLY)
    made = bench.made(of)
    for changed in (StandingSchedule(made, MOMENT, ours=False), StandingSchedule(replace(made, enabled=False), MOMENT)):
        bench.schedules.standing["t"] = changed
        bench.records.write(of, "again")
        assert bench.settle("t", "again")
        assert bench.schedules.standing["t"].ours
        assert bench.is_right()
    del bench.schedules.standing["t"]
    bench.records.write(of, "again")
    assert bench.settle("t", "again")
    assert bench.is_right()


# ------------------------------------------------------------ what AWS refuses


def test_a_refusal_is_kept_and_no_failure(bench: Bench) -> None:
    """It is tried again each hour only, and nobody is woken."""
    bench.records.write(trigger("t", **HOURLY), "1")
    bench.schedules.refused = {"t": "You have too many schedules."}
    bench.sync.settle_now(("t",), "1")
    (note,) = bench.records.pending_schedules()
    assert (note.problem, note.refused_at) == ("You have too many schedules.", MOMENT)

    attempts = []
    bench.schedules.before = lambda _: attempts.append(bench.moment)
    for _ in range(180):
        bench.passes(minutes=1)
        assert bench.sync.settle_all() == 0
    assert attempts == [MOMENT + timedelta(hours=hour) for hour in (1, 2, 3)]
    bench.schedules.refused = {}
    bench.passes(hours=1)
    assert bench.sync.settle_all() == 1
    assert bench.records.pending == set()
    assert bench.is_right()


def test_a_better_one_ends_a_refusal_at_once(bench: Bench) -> None:
    """Also where the refusal was that of a write before."""
    bench.records.write(version(1), "1")
    bench.schedules.refused = {"t": "no"}
    bench.sync.settle_now(("t",), "1")
    bench.schedules.refused = {}
    bench.records.write(version(2), "2")

    bench.sync.settle_now(("t",), "2")

    assert bench.records.pending == set()
    assert bench.is_right()


def test_a_refusal_of_what_was_replaced_meanwhile_is_none(bench: Bench) -> None:
    """The trigger is another one by then, and is set."""
    bench.records.write(version(1), "1")
    bench.schedules.refused = {"t": "no"}

    def replaced(_: str) -> None:
        bench.schedules.before = lambda _: bench.schedules.refused.clear()
        bench.records.write(version(2), "2")

    bench.schedules.before = replaced
    assert bench.settle("t", "1")
    assert bench.is_right()


# ------------------------------------------------------------ time


def test_a_request_does_not_set_for_long(bench: Bench) -> None:
    """After eight seconds no further one is begun; the rest is the minute's, of which the same is true."""
    names = [f"t{number:02d}" for number in range(60)]
    for name in names:
        bench.records.write(trigger(name, **HOURLY), "1", name)

    def takes(_: str) -> None:
        bench.seconds += 1

    bench.schedules.before = takes
    bench.sync.settle_now(names, "1")
    assert len(bench.schedules.all) == 8
    for expected in (10, 10, 10, 10, 10, 2, 0):
        assert bench.sync.settle_all() == expected
    assert bench.records.pending == set()


def test_none_starves(bench: Bench) -> None:
    """However slow and hopeless the others are that are noted, too."""
    slow = {f"slow{number:03d}" for number in range(100)}
    for name in [*slow, "t"]:
        bench.records.write(trigger(name, **HOURLY), "1", name)
    bench.schedules.broken = slow

    def takes(_: str) -> None:
        bench.seconds += 10

    bench.schedules.before = takes
    random.seed(1)
    for _ in range(500):
        bench.sync.settle_all()
        if "t" in bench.schedules.all:
            return
    pytest.fail("it never had its turn")


# ------------------------------------------------------------ settling


def test_a_schedule_is_set_and_the_note_taken_away(bench: Bench) -> None:
    """Once; a deleted trigger's is deleted, and so is that of one which has none any more."""
    for write, wanted in (("1", version(1)), ("2", version(2, enabled=False)), ("3", trigger("t")), ("4", None)):
        bench.records.write(wanted, write)
        assert bench.settle("t", write)
        assert bench.is_right()
        assert bench.records.pending == set()
    assert bench.schedules.all == {}
    assert bench.schedules.calls == 3


STEPS = ["find", "put", "put done", "find again", "settled"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wanted", [version(1), None], ids=["put", "deleted"])
def test_a_kill_at_any_step_is_repaired(bench: Bench, step: str, wanted: Trigger | None) -> None:
    """The note remains, and the next minute settles it."""
    bench.records.write(version(7), "0")
    bench.settle("t", "0")
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
        bench.settle("t", "1")
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
                bench.settle("t", "2")

    bench.records.before = bench.schedules.before = overtake
    assert bench.settle("t", "1")

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
            bench.settle("t", write)
            bench.schedules.after = die

        bench.schedules.before = overtake
        stale = f"stale {number}"
        bench.records.write(version(1), stale)
        with pytest.raises(Dead):
            late.settle("t", stale)
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
            assert bench.settle("t", write)

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

    assert not bench.settle("t", "1")
    assert ("t", "1") in bench.records.pending
    assert bench.schedules.calls == 5

    bench.schedules.before = lambda _: None
    assert bench.sync.settle_all() == 2
    assert bench.is_right()


def test_one_that_fails_does_not_keep_the_others(bench: Bench) -> None:
    """All have their turn; a failure that lasts is told then, so that the minute's function is seen to fail."""
    for name in "abc":
        bench.records.write(trigger(name, **HOURLY), "1", name)
    bench.schedules.broken = {"a", "c"}
    assert bench.sync.settle_all() == 1
    bench.passes(minutes=15)

    with pytest.raises(ScheduleSyncError, match=r"2 schedules .* a, c"):
        bench.sync.settle_all()

    assert set(bench.schedules.all) == {"b"}
    assert bench.records.pending == {("a", "1"), ("c", "1")}
    bench.schedules.broken = set()
    assert bench.sync.settle_all() == 2
    assert set(bench.schedules.all) == {"a", "b", "c"}


def test_a_failure_is_told_from_a_quarter_of_an_hour_on_and_once_an_hour(bench: Bench) -> None:
    """Long enough that Lambda's two repetitions, one and three minutes later, fail with it; else nobody is told."""
    bench.records.write(trigger("t", **HOURLY), "1")
    bench.schedules.broken = {"t"}
    told = []
    for minute in range(3 * 60):
        try:
            bench.sync.settle_all()
        except ScheduleSyncError:
            told.append(minute)
        bench.passes(minutes=1)

    assert told == [start + minute for start in (15, 75, 135) for minute in range(5)]
    dead_letters = [minute for minute in told if {minute + 1, minute + 3} <= set(told)]
    assert len(dead_letters) == 2 * 3


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

    bench.settle("t", "1")

    assert bench.records.pending == {("t", "2")}
    assert bench.is_right()
