"""Schedule expressions of EventBridge rules: rate(...) and cron(...) with six fields, in UTC.

Rules: Amazon EventBridge User Guide, "Cron and rate expressions": minutes, hours, day of month, month, day of week
(Sunday is 1), year; one of the two day fields is `?`; L, W and # as there.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

_RATE = re.compile(r"rate\((\d+) (minute|minutes|hour|hours|day|days)\)")
_CRON = re.compile(r"cron\((.+)\)")
_MONTHS = {
    name: number
    for number, name in enumerate(
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"], 1
    )
}
_WEEKDAYS = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)}
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_HORIZON = timedelta(days=366 * 8 + 1)


class ScheduleError(ValueError):
    """An expression that EventBridge would refuse."""


class Schedule(Protocol):
    """When something fires."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first time after `moment`, or None if there is none."""


@dataclass(frozen=True)
class Rate:
    """Every `period`, counted from `start` (when the rule was made)."""

    period: timedelta
    start: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first multiple of the period after `moment`."""
        if moment < self.start:
            return self.start + self.period
        return self.start + ((moment - self.start) // self.period + 1) * self.period


@dataclass(frozen=True)
class Cron:
    """A cron expression, each field worked out."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: str
    months: frozenset[int]
    weekdays: str
    years: frozenset[int]

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first matching minute after `moment`; looks eight years ahead."""
        start = (moment + timedelta(minutes=1)).replace(second=0, microsecond=0)
        day = start.date()
        while datetime(day.year, day.month, day.day, tzinfo=UTC) - moment < _HORIZON:
            if day.year in self.years and day.month in self.months and day.day in self._days(day.year, day.month):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        candidate = datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)
                        if candidate >= start:
                            return candidate
            day += timedelta(days=1)
        return None

    def _days(self, year: int, month: int) -> frozenset[int]:
        return _weekday_days(self.weekdays, year, month) if self.days == "?" else _month_days(self.days, year, month)


def parse_schedule(expression: str, *, start: datetime) -> Schedule:
    """Parse an expression; raises ScheduleError."""
    rate = _RATE.fullmatch(expression)
    if rate is not None:
        return _rate(int(rate[1]), rate[2], start)
    cron = _CRON.fullmatch(expression)
    if cron is None:
        raise ScheduleError(f"{expression!r} is neither rate(...) nor cron(...).")
    return _cron(cron[1])


def _rate(value: int, unit: str, start: datetime) -> Rate:
    if value < 1:
        raise ScheduleError("A rate is at least 1.")
    if (value == 1) == unit.endswith("s"):
        raise ScheduleError(f"rate({value} {unit}): the unit is singular for 1 and plural for more.")
    return Rate(timedelta(**{unit.removesuffix("s") + "s": value}), start)


def _cron(fields: str) -> Cron:
    parts = fields.upper().split()
    if len(parts) != 6:  # noqa: PLR2004 - EventBridge's number
        raise ScheduleError(f"cron({fields}) has {len(parts)} fields, not six.")
    minutes, hours, days, months, weekdays, years = parts
    if (days == "?") == (weekdays == "?"):
        raise ScheduleError(f"cron({fields}): exactly one of day of month and day of week is '?'.")
    cron = Cron(
        minutes=_numbers(minutes, 0, 59, {}),
        hours=_numbers(hours, 0, 23, {}),
        days=days,
        months=_numbers(months, 1, 12, _MONTHS),
        weekdays=weekdays,
        years=_numbers(years, _FIRST_YEAR, _LAST_YEAR, {}),
    )
    # Both day fields are worked out a month at a time; do it once now, so that a wrong one is refused at the start.
    if days != "?":
        _month_days(days, 2024, 1)
    else:
        _weekday_days(weekdays, 2024, 1)
    return cron


def _numbers(field: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    return frozenset(number for part in field.split(",") for number in _range(part, low, high, names))


def _range(part: str, low: int, high: int, names: dict[str, int]) -> range:
    base, slash, step = part.partition("/")
    if slash and (not step.isdigit() or int(step) < 1):
        raise ScheduleError(f"{part!r} has no step.")
    if base == "*":
        first, last = low, high
    elif "-" in base:
        left, _, right = base.partition("-")
        first, last = _one(left, low, high, names), _one(right, low, high, names)
    else:
        first = _one(base, low, high, names)
        last = high if slash else first
    if first > last:
        raise ScheduleError(f"{part!r} runs backwards.")
    return range(first, last + 1, int(step) if slash else 1)


def _one(text: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text, int(text) if text.isdigit() else -1)
    if not low <= number <= high:
        raise ScheduleError(f"{text!r} is not from {low} to {high}.")
    return number


def _month_days(field: str, year: int, month: int) -> frozenset[int]:
    last = calendar.monthrange(year, month)[1]
    days: set[int] = set()
    for part in field.split(","):
        if part in {"L", "LW"}:
            days.add(_nearest_weekday(year, month, last) if part == "LW" else last)
        elif re.fullmatch(r"L-\d{1,2}", part):
            days.add(last - int(part[2:]))
        elif re.fullmatch(r"\d{1,2}W", part):
            day = _one(part[:-1], 1, 31, {})
            if day <= last:
                days.add(_nearest_weekday(year, month, day))
        else:
            days |= set(_range(part, 1, 31, {}))
    return frozenset(day for day in days if 1 <= day <= last)


def _nearest_weekday(year: int, month: int, day: int) -> int:
    """Return the weekday nearest to a day, within the month."""
    last = calendar.monthrange(year, month)[1]
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < last else day - 2
    return day


def _weekday_days(field: str, year: int, month: int) -> frozenset[int]:
    last = calendar.monthrange(year, month)[1]
    by_weekday: dict[int, list[int]] = {number: [] for number in range(1, 8)}
    for day in range(1, last + 1):
        by_weekday[(calendar.weekday(year, month, day) + 1) % 7 + 1].append(day)
    days: set[int] = set()
    for part in field.split(","):
        nth = re.fullmatch(r"(\w+)#([1-5])", part)
        final = re.fullmatch(r"(\d|[A-Z]{3})L", part)
        if nth is not None:
            matching = by_weekday[_one(nth[1], 1, 7, _WEEKDAYS)]
            days |= set(matching[int(nth[2]) - 1 : int(nth[2])])
        elif final is not None:
            days.add(by_weekday[_one(final[1], 1, 7, _WEEKDAYS)][-1])
        elif part == "L":
            days |= set(by_weekday[7])
        else:
            days |= {day for weekday in _range(part, 1, 7, _WEEKDAYS) for day in by_weekday[weekday]}
    return frozenset(days)
