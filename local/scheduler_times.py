"""When EventBridge Scheduler fires: at(...), rate(...) and cron(...), in a time zone, from a start to an end.

Rules: EventBridge Scheduler User Guide, "Schedule types": a time of day that a zone's change of clocks leaves out is
skipped, one that comes twice is fired at once only (here: the first time); a day of a rate is 24 hours; a rate begins
at the start, or, without one, when the schedule is made. API reference, CreateSchedule: start and end do not
concern a schedule that fires once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, available_timezones

from local.schedules import Rate, Schedule, ScheduleError, parse_schedule

if TYPE_CHECKING:
    from datetime import tzinfo

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_RATE = re.compile(r"rate\(([1-9]\d{0,8}) (minute|hour|day)s?\)")
_MOMENT: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Once:
    """One moment; None if the time is one that the zone's clocks never show."""

    moment: datetime | None

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the moment, until it is over."""
        return self.moment if self.moment is not None and self.moment > moment else None


@dataclass(frozen=True)
class Zoned:
    """A schedule of wall-clock times (which it takes for UTC) in a zone."""

    wall: Schedule
    zone: tzinfo

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`: never one that does not exist, and none twice."""
        shown: datetime | None = moment.astimezone(self.zone).replace(tzinfo=UTC, fold=0)
        while shown is not None:
            shown = self.wall.next_after(shown)
            found = None if shown is None else _instant(shown, self.zone)
            if found is not None and found > moment:
                return found
        return None


@dataclass(frozen=True)
class Timetable:
    """A schedule between its first and its last possible moment, both included."""

    schedule: Schedule
    first: datetime | None = None
    last: datetime | None = None

    @property
    def fires_once(self) -> bool:
        """Whether it is an at(...)."""
        return isinstance(self.schedule, Once)

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, or None if there is none any more."""
        if self.first is not None and moment < self.first:
            moment = self.first - _MOMENT
        found = self.schedule.next_after(moment)
        return None if found is None or (self.last is not None and found > self.last) else found

    def next_from(self, moment: datetime) -> datetime | None:
        """Return the first time from `moment` on."""
        return self.next_after(moment - _MOMENT)


def read_timetable(
    expression: str, zone_name: str, *, start: datetime | None, end: datetime | None, created: datetime
) -> Timetable:
    """Read an expression; raises ScheduleError for one that EventBridge Scheduler would refuse."""
    zone = _zone(zone_name)
    once = _AT.fullmatch(expression)
    if once is not None:
        try:
            wall = datetime.fromisoformat(once[1]).replace(tzinfo=UTC)
        except ValueError as error:
            raise ScheduleError(f"{once[1]} is no time.") from error
        return Timetable(Once(_instant(wall, zone)))
    rate = _RATE.fullmatch(expression)
    if rate is not None:
        period = timedelta(**{f"{rate[2]}s": int(rate[1])})
        # Rate is of the event bus, where the first time is one period behind the start.
        return Timetable(Rate(period, (start or created) - period), start, end)
    if not expression.startswith("cron("):
        raise ScheduleError(f"{expression!r} is neither at(...) nor rate(...) nor cron(...).")
    return Timetable(Zoned(parse_schedule(expression, start=created), zone), start, end)


def _zone(name: str) -> ZoneInfo:
    if name not in _zone_names():
        raise ScheduleError(f"{name!r} is no time zone of the IANA's.")
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _instant(wall: datetime, zone: tzinfo) -> datetime | None:
    """Return when the zone's clocks first show that time, in UTC, or None if they never do."""
    local = wall.replace(tzinfo=zone, fold=0)
    instant = local.astimezone(UTC)
    return instant if instant.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None) else None
