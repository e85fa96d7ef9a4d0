"""When EventBridge Scheduler's schedules fire: in their zone, over changes of the clocks, from a start to an end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from local.scheduler_times import Timetable, read_timetable
from local.schedules import ScheduleError

CREATED = datetime(2026, 11, 20, 10, 0, 30, tzinfo=UTC)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _timetable(expression: str, zone: str = "UTC", *, start: str | None = None, end: str | None = None) -> Timetable:
    first, last = (None if text is None else _at(text) for text in (start, end))
    return read_timetable(expression, zone, start=first, end=last, created=CREATED)


def _times(timetable: Timetable, after: str, count: int = 3) -> list[str]:
    """Give the next times, in UTC, to the minute."""
    times: list[str] = []
    moment: datetime | None = _at(after)
    while len(times) < count and moment is not None:
        moment = timetable.next_after(moment)
        if moment is not None:
            times.append(moment.strftime("%m-%d %H:%M"))
    return times


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Berlin: clocks go from 02:00 to 03:00 on 29 March 2026, and from 03:00 to 02:00 on 25 October.
        ("cron(0 4 * * ? *)", "Europe/Berlin", "2026-03-27T12:00", ["03-28 03:00", "03-29 02:00", "03-30 02:00"]),
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-27T12:00", ["03-28 01:30", "03-30 00:30", "03-31 00:30"]),
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-23T12:00", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-10-25T00:45", ["10-26 01:30", "10-27 01:30", "10-28 01:30"]),
        ("cron(0 * * * ? *)", "Europe/Berlin", "2026-03-28T23:30", ["03-29 00:00", "03-29 01:00", "03-29 02:00"]),
        ("cron(0 * * * ? *)", "Europe/Berlin", "2026-10-24T23:30", ["10-25 00:00", "10-25 02:00", "10-25 03:00"]),
        # New York: forward on 8 March 2026, back on 1 November.
        ("cron(15 2 * * ? *)", "America/New_York", "2026-03-06T12:00", ["03-07 07:15", "03-09 06:15", "03-10 06:15"]),
        ("cron(30 1 * * ? *)", "America/New_York", "2026-10-31T12:00", ["11-01 05:30", "11-02 06:30", "11-03 06:30"]),
        # Lord Howe Island moves by half an hour: 02:00 to 02:30 on 4 October 2026.
        ("cron(10,40 2 * * ? *)", "Australia/Lord_Howe", "2026-10-02T16:00",
         ["10-02 16:10", "10-03 15:40", "10-04 15:10"]),
        ("cron(0 9 ? * MON *)", "Asia/Tokyo", "2026-11-20T00:00", ["11-23 00:00", "11-30 00:00", "12-07 00:00"]),
    ],
)  # fmt: skip
def test_cron_in_a_zone(expression: str, zone: str, after: str, expected: list[str]) -> None:
    """A time that the clocks leave out is skipped; one that they show twice is fired at the first time only."""
    assert _times(_timetable(expression, zone), after) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("at(2026-12-01T09:30:15)", "Europe/Berlin", "2026-12-01T08:30:15"),
        ("at(2026-10-25T02:30:00)", "Europe/Berlin", "2026-10-25T00:30:00"),
        ("at(2026-03-29T02:30:00)", "Europe/Berlin", None),
    ],
)
def test_one_time(expression: str, zone: str, expected: str | None) -> None:
    """Once, at that time of the zone; never, if the clocks never show it. Start and end do not concern it."""
    timetable = _timetable(expression, zone, start="2030-01-01", end="2031-01-01")
    moment = timetable.next_after(_at("2020-01-01"))
    assert timetable.fires_once
    assert moment == (None if expected is None else _at(expected))
    if moment is not None:
        assert timetable.next_after(moment) is None


def test_a_rate_begins_at_its_start() -> None:
    """The start is the first time; without one, the moment at which the schedule was made is."""
    timetable = _timetable("rate(90 minutes)", start="2026-12-01T08:00", end="2026-12-01T11:00")
    assert _times(timetable, "2026-11-20") == ["12-01 08:00", "12-01 09:30", "12-01 11:00"]
    assert _times(timetable, "2026-12-01T11:00") == []
    assert _timetable("rate(1 hour)").next_from(CREATED) == CREATED
    assert _timetable("rate(1 hour)").next_after(CREATED) == CREATED + timedelta(hours=1)


def test_a_day_of_a_rate_is_24_hours() -> None:
    """Whatever the zone's clocks do meanwhile."""
    timetable = _timetable("rate(1 day)", "Europe/Berlin", start="2026-10-24T02:00")
    assert _times(timetable, "2026-10-24T01:00") == ["10-24 02:00", "10-25 02:00", "10-26 02:00"]


def test_cron_from_start_to_end() -> None:
    """Both are possible times themselves."""
    timetable = _timetable("cron(0 4 * * ? *)", start="2026-12-01T04:00", end="2026-12-03T03:59")
    assert _times(timetable, "2026-11-20") == ["12-01 04:00", "12-02 04:00"]


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("at(2026-12-01 09:30:00)", "UTC"),
        ("at(2026-02-30T09:30:00)", "UTC"),
        ("at(2026-12-01T09:30:00Z)", "UTC"),
        ("rate(0 minutes)", "UTC"),
        ("rate(5 seconds)", "UTC"),
        ("cron(0 4 * * *)", "UTC"),
        ("cron(0 4 * * * *)", "UTC"),
        ("every day", "UTC"),
        ("rate(1 day)", "Europe/Bonn"),
        ("rate(1 day)", "+01:00"),
        ("rate(1 day)", "../UTC"),
    ],
)
def test_what_is_wrong_is_an_error(expression: str, zone: str) -> None:
    """Expressions and zones that there are not."""
    with pytest.raises(ScheduleError):
        _timetable(expression, zone)
