"""Schedules: the expressions of Amazon EventBridge Scheduler, what they mean, and when they fire.

Rules: AWS, "Schedule types in EventBridge Scheduler" (EventBridge Scheduler User Guide: `cron`, `rate`, `at`, time
zones, daylight saving time) and "Cron expressions reference" (EventBridge User Guide: the fields and their wildcards);
for five fields crontab(5). Where AWS is silent, an expression is refused, or written in the form that AWS documents,
so that what is sent always means what is shown here.

Daylight saving time (the same guide, and re:Post, "How can I adjust my Amazon EventBridge schedule for daylight
saving?"): a `cron` time that the clock skips does not fire, one that the clock shows twice fires once, and a day of a
`rate` is 24 hours. AWS does not say which of the two it is that fires: the first is assumed, for each time of the
hour that comes twice, so `cron(0/15 1-3 * * ? *)` is silent while the clock repeats itself. Nor does it speak of an
`at` time that the clock skips: it is assumed to fire as little as a `cron` time.
"""

import difflib
import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import resources
from itertools import islice, takewhile
from typing import Literal
from zoneinfo import ZoneInfo

LONGEST_EXPRESSION = 256
"""How many characters AWS takes (EventBridge Scheduler API, CreateSchedule: ScheduleExpression)."""

FIRST_YEAR = 1970
LAST_YEAR = 2199

Kind = Literal["cron", "rate", "at"]

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_SUNDAY, _FRIDAY, _SATURDAY = 1, 6, 7
_EVERY_WEEKDAY = frozenset(range(_SUNDAY, _SATURDAY + 1))
_RUN = 3
"""So many days in a row are written as a range."""

_CRON_FIELDS = 6
_UNIX_FIELDS = 5

_FORM = re.compile(r"(?P<kind>cron|rate|at)\((?P<body>[^()]*)\)")
_RATE = re.compile(r"(?P<value>[1-9][0-9]{0,8})\s+(?P<unit>minute|hour|day)s?")
_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_PART = re.compile(r"(?P<first>\*|[0-9]{1,4}|[A-Z]{3})(?:-(?P<last>[0-9]{1,4}|[A-Z]{3}))?(?:/(?P<step>[0-9]{1,4}))?")
_NEAREST_WEEKDAY = re.compile(r"(?P<day>[0-9]{1,2})W")
_LAST_OF_WEEKDAY = re.compile(r"(?P<weekday>[0-9]|[A-Z]{3})L")
_NTH_WEEKDAY = re.compile(r"(?P<weekday>[0-9]|[A-Z]{3})#(?P<nth>[1-5])")

_FORMS = "cron(0 4 ? * MON-FRI *), rate(15 minutes), at(2027-01-31T04:00:00) or five fields of cron such as 0 4 * * 1-5"


class ScheduleError(ValueError):
    """The expression, or the time zone, is none that EventBridge Scheduler takes; says why, and what to write."""


# ------------------------------------------------------------ when schedules fire

_Days = Callable[[int, int], list[int]]
"""Gives the days of a month (year, month) that are meant, in order."""


@dataclass(frozen=True)
class _Cron:
    """Times on the clock of a time zone: the values of each field in order, and the days as a rule."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: _Days
    months: tuple[int, ...]
    years: tuple[int, ...]

    def moments(self, since: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Give the moments from one on, in order; those of the hours before it that are past may come first."""
        if since.year > LAST_YEAR + 1:
            return
        # No earlier time can be meant, and a time zone cannot move the first moments of all.
        since = max(since, datetime(FIRST_YEAR - 1, 12, 30, tzinfo=UTC))
        for wall in self._walls(since.astimezone(zone).replace(tzinfo=None)):
            moment = _moment(wall, zone)
            if moment is not None:
                yield moment

    def _walls(self, start: datetime) -> Iterator[datetime]:
        for year in self.years:
            if year < start.year:
                continue
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                for day in self.days(year, month):
                    yield from self._walls_of_day(start, year, month, day)

    def _walls_of_day(self, start: datetime, year: int, month: int, day: int) -> Iterator[datetime]:
        if (year, month, day) < (start.year, start.month, start.day):
            return
        for hour in self.hours:
            for minute in self.minutes:
                wall = datetime(year, month, day, hour, minute)  # noqa: DTZ001 - what a clock shows
                if wall >= start:
                    yield wall


@dataclass(frozen=True)
class _Rate:
    """Every so often, whatever the clock says."""

    period: timedelta

    def moments(self, since: datetime, anchor: datetime) -> Iterator[datetime]:
        """Give the moments from one on, in order; the anchor is the first of all."""
        first = max(0, -((anchor - since) // self.period))
        # The end of the calendar.
        last = (datetime.max.replace(tzinfo=UTC) - anchor) // self.period
        return (anchor + self.period * number for number in range(first, last + 1))


@dataclass(frozen=True)
class _At:
    """One time on the clock of a time zone."""

    wall: datetime

    def moments(self, zone: ZoneInfo) -> Iterator[datetime]:
        """Give the one moment, or none if the clock skips it."""
        moment = _moment(self.wall, zone)
        if moment is not None:
            yield moment


def _moment(wall: datetime, zone: ZoneInfo) -> datetime | None:
    """Give when a clock first shows a time; None: it never does, for it is put forward over it."""
    # Without `fold` Python means the first of two (PEP 495).
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    return moment if moment.astimezone(zone).replace(tzinfo=None) == wall else None


@dataclass(frozen=True)
class Schedule:
    """When something happens: an expression as EventBridge Scheduler takes it, and what it means."""

    expression: str
    """Normalised: upper-case names, no leading zeros, `*/15` as `0/15`, one space between fields."""

    kind: Kind
    rule: _Cron | _Rate | _At = field(repr=False, compare=False)

    def next_times(
        self, after: datetime, *, time_zone: ZoneInfo, anchor: datetime, until: datetime | None = None, count: int
    ) -> tuple[datetime, ...]:
        """Give the next moments after one, `count` at most, in order and in UTC; fewer if the schedule ends.

        `anchor` is the schedule's start: what a rate is counted from and its first moment (AWS: "use the StartDate
        property to set the first occurrence"), and before which nothing fires; AWS itself keeps no `at` to it, for it
        ignores the StartDate of such schedules. Nothing fires at `until` or later. All moments are aware.

        A `cron` looks no further than 2199, its last year; an expression that never fires again, such as
        `cron(0 0 31 2 ? *)`, has no next times.
        """
        after, anchor = after.astimezone(UTC), anchor.astimezone(UTC)
        since = max(after, anchor)
        moments = (moment for moment in self._moments(since, time_zone, anchor) if moment > after and moment >= anchor)
        return tuple(islice(takewhile(lambda moment: until is None or moment < until, moments), max(count, 0)))

    def _moments(self, since: datetime, zone: ZoneInfo, anchor: datetime) -> Iterator[datetime]:
        match self.rule:
            case _Cron():
                return self.rule.moments(since, zone)
            case _Rate():
                return self.rule.moments(since, anchor)
            case _At():
                return self.rule.moments(zone)


# ------------------------------------------------------------ reading expressions


def parse_schedule(text: str) -> Schedule:
    """Read `cron(…)`, `rate(…)`, `at(…)`, or five fields of Unix's cron, which are translated.

    Raises ScheduleError for what EventBridge Scheduler would refuse, for five fields that it cannot express, and for
    what AWS does not document. A date that never comes is none of these.
    """
    if len(text) > LONGEST_EXPRESSION:
        raise ScheduleError(_too_long(text))
    form = _FORM.fullmatch(text.strip())
    if form is None:
        schedule = _parse_unix(text)
    elif form["kind"] == "cron":
        schedule = _parse_cron(form["body"])
    elif form["kind"] == "rate":
        schedule = _parse_rate(form["body"])
    else:
        schedule = _parse_at(form["body"])
    if len(schedule.expression) > LONGEST_EXPRESSION:
        raise ScheduleError(_too_long(schedule.expression))
    return schedule


def _too_long(text: str) -> str:
    return (
        f"The schedule has {len(text)} characters for EventBridge, which takes {LONGEST_EXPRESSION}: write ranges and"
        " steps instead of lists, or two schedules."
    )


@dataclass(frozen=True)
class _Field:
    """One field of a cron expression: what it may say."""

    title: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()
    """Of the lowest value and those after it."""

    @property
    def range(self) -> str:
        named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.lowest} to {self.highest}{named}"

    def value(self, text: str) -> int:
        if text in self.names:
            return self.lowest + self.names.index(text)
        if not re.fullmatch(r"[0-9]{1,4}", text) or not self.lowest <= int(text) <= self.highest:
            raise ScheduleError(f"{text!r} is no {self.title}: write {self.range}.")
        return int(text)


_MINUTE = _Field("minute", 0, 59)
_HOUR = _Field("hour", 0, 23)
_DAY = _Field("day of the month", 1, 31)
_MONTH = _Field("month", 1, 12, _MONTHS)
_WEEKDAY = _Field("day of the week", _SUNDAY, _SATURDAY, _WEEKDAYS)
_YEAR = _Field("year", FIRST_YEAR, LAST_YEAR)
_UNIX_WEEKDAY = _Field("day of the week", 0, 7, _WEEKDAYS)


def _parse_values(text: str, of: _Field) -> tuple[str, tuple[int, ...]]:
    """Read `*`, values, ranges and steps; give them normalised, and the values that are meant, in order."""
    if text == "*":
        return text, tuple(range(of.lowest, of.highest + 1))
    parts = [_parse_part(part, of) for part in text.split(",")]
    return ",".join(said for said, _ in parts), tuple(sorted({value for _, values in parts for value in values}))


def _parse_part(text: str, of: _Field) -> tuple[str, range]:
    part = _PART.fullmatch(text)
    if part is None:
        raise ScheduleError(
            f"{text!r} is no {of.title}: write {of.range}, a range such as {of.lowest}-{of.lowest + 2}, steps such as"
            f" {of.lowest}/2, a list of these, or *."
        )
    first, last, step = part.group("first", "last", "step")
    if first == "*":
        if step is None or last is not None:
            raise ScheduleError(f"{text!r} is no {of.title}: * stands alone, or before a step, as in */2.")
        first = str(of.lowest)
    low = of.value(first)
    high = of.value(last) if last is not None else low
    said = _plain(first)
    if last is not None:
        if high < low:
            raise ScheduleError(_descending(text, first, last, of))
        said += f"-{_plain(last)}"
    if step is None:
        return said, range(low, high + 1)
    widest = of.highest - of.lowest
    if not 1 <= int(step) <= widest:
        raise ScheduleError(f"{step} is no step between values of the {of.title}: write 1 to {widest}.")
    return f"{said}/{int(step)}", range(low, (of.highest if last is None else high) + 1, int(step))


def _descending(text: str, first: str, last: str, of: _Field) -> str:
    lowest, highest = (of.names[0], of.names[-1]) if first in of.names else (of.lowest, of.highest)
    return f"The range {text!r} goes backwards: write two, as in {first}-{highest},{lowest}-{last}."


def _plain(value: str) -> str:
    """Write a value without leading zeros, and names as they are."""
    return value.lstrip("0") or "0"


def _parse_cron(body: str) -> Schedule:
    fields = body.upper().split()
    if len(fields) == _UNIX_FIELDS:
        raise ScheduleError(
            f"cron( ) takes six fields, the last of them the year, and these are five: write {body.strip()} without"
            " cron( ), which is translated."
        )
    if len(fields) != _CRON_FIELDS:
        raise ScheduleError(
            f"cron( ) takes six fields, minutes, hours, day of the month, month, day of the week and year, not"
            f" {len(fields)}: write cron(0 4 ? * MON-FRI *) for 04:00 on weekdays."
        )
    minute, hour, day, month, weekday, year = fields
    minute, minutes = _parse_values(minute, _MINUTE)
    hour, hours = _parse_values(hour, _HOUR)
    month, months = _parse_values(month, _MONTH)
    year, years = _parse_values(year, _YEAR)
    if (day == "?") == (weekday == "?"):
        raise ScheduleError(
            "One of the two day fields says which days, and the other is ?: write cron(0 4 * * ? *) for every day,"
            " cron(0 4 1 * ? *) for the first of the month, cron(0 4 ? * MON *) for Mondays."
        )
    if weekday == "?":
        day, days = _parse_days(day)
    else:
        weekday, days = _parse_weekdays(weekday)
    rule = _Cron(minutes, hours, days, months, years)
    return Schedule(f"cron({minute} {hour} {day} {month} {weekday} {year})", "cron", rule)


def _parse_days(text: str) -> tuple[str, _Days]:
    """Read a day of the month.

    `L` is the last day, `LW` the last Monday to Friday, `15W` the Monday to Friday closest to the 15th, within its
    month. AWS documents no `L-3`, and no `L` or `W` in lists.
    """
    if text == "L":
        return text, _last_day
    if text == "LW":
        return text, _last_workday
    if nearest := _NEAREST_WEEKDAY.fullmatch(text):
        day = _DAY.value(nearest["day"])
        return f"{day}W", partial(_nearest_workday, day)
    if "L" in text or "W" in text:
        raise ScheduleError(
            f"{text!r} is no day of the month: L (the last), LW (the last Monday to Friday) and 15W (the Monday to"
            " Friday closest to the 15th) stand alone."
        )
    said, values = _parse_values(text, _DAY)
    return said, partial(_listed_days, values)


def _parse_weekdays(text: str) -> tuple[str, _Days]:
    """Read a day of the week, from 1 for Sunday to 7 for Saturday.

    `L` is Saturday, `6L` the last Friday of the month, `6#2` its second Friday. AWS lists no `/` here, and takes but
    one `#`.
    """
    if text == "L":
        return text, partial(_listed_weekdays, frozenset({_SATURDAY}))
    if last := _LAST_OF_WEEKDAY.fullmatch(text):
        weekday = _WEEKDAY.value(last["weekday"])
        return text, partial(_last_weekday, weekday)
    if nth := _NTH_WEEKDAY.fullmatch(text):
        weekday = _WEEKDAY.value(nth["weekday"])
        return text, partial(_nth_weekday, weekday, int(nth["nth"]))
    if "#" in text or "L" in text:
        raise ScheduleError(
            f"{text!r} is no day of the week: L (Saturday), 6L (the month's last Friday) and 6#2 (its second Friday,"
            " up to #5) stand alone."
        )
    said, values = _parse_values(text, _WEEKDAY)
    if "/" in text:
        raise ScheduleError(
            f"EventBridge takes no steps in the day of the week: write {_weekday_list(frozenset(values))} instead of"
            f" {text}."
        )
    return said, partial(_listed_weekdays, frozenset(values))


def _parse_unix(text: str) -> Schedule:
    """Translate minute, hour, day of the month, month, day of the week (0 to 7, Sunday twice), as crontab(5) has them.

    `5/15` is read as `5-59/15`, as everything does that reads it at all.
    """
    fields = text.upper().split()
    if len(fields) == _CRON_FIELDS and "(" not in text:
        raise ScheduleError(f"Six fields are EventBridge's: write cron({' '.join(fields)}).")
    if len(fields) != _UNIX_FIELDS or "(" in text:
        raise ScheduleError(f"{text!r} is no schedule: write {_FORMS}.")
    minute, hour, day, month, weekday = fields
    minute, minutes = _parse_values(minute, _MINUTE)
    hour, hours = _parse_values(hour, _HOUR)
    month, months = _parse_values(month, _MONTH)
    day, days = _parse_values(day, _DAY)
    weekdays = frozenset(value % 7 + 1 for value in _parse_values(weekday, _UNIX_WEEKDAY)[1])
    by_day = f"cron({minute} {hour} {day} {month} ? *)"
    by_weekday = f"cron({minute} {hour} ? {month} {_weekday_list(weekdays)} *)"
    if day != "*" and weekday != "*":
        raise ScheduleError(
            "Five fields with both a day of the month and a day of the week mean either of them, which EventBridge"
            f" cannot say: write two schedules, {by_day} and {by_weekday}."
        )
    # Every day of the week, by whatever name, is every day of the month.
    expression = by_day if weekdays == _EVERY_WEEKDAY else by_weekday
    which = partial(_listed_days, days) if weekdays == _EVERY_WEEKDAY else partial(_listed_weekdays, weekdays)
    rule = _Cron(minutes, hours, which, months, tuple(range(FIRST_YEAR, LAST_YEAR + 1)))
    return Schedule(expression, "cron", rule)


def _weekday_list(weekdays: frozenset[int]) -> str:
    """Write days by their names, which every cron reads alike, and three or more in a row as a range."""
    if weekdays == _EVERY_WEEKDAY:
        return "*"
    runs: list[list[int]] = []
    for weekday in sorted(weekdays):
        if runs and weekday == runs[-1][-1] + 1:
            runs[-1].append(weekday)
        else:
            runs.append([weekday])
    names = [[_WEEKDAYS[weekday - _SUNDAY] for weekday in run] for run in runs]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) >= _RUN else ",".join(run) for run in names)


def _parse_rate(body: str) -> Schedule:
    """Read a value and a unit; singular and plural are the same, and written is the form that all of AWS takes.

    AWS names no largest value: this one is the largest that can be reckoned with.
    """
    rate = _RATE.fullmatch(body.strip())
    if rate is None:
        raise ScheduleError(
            f"rate({body}) is no rate: write a whole number from 1 to 999999999, and minutes, hours or days, as in"
            " rate(15 minutes) or rate(1 day)."
        )
    value, unit = int(rate["value"]), rate["unit"]
    period = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(hours=24)}[unit] * value
    return Schedule(f"rate({value} {unit}{'' if value == 1 else 's'})", "rate", _Rate(period))


def _parse_at(body: str) -> Schedule:
    """Read a date and a time, without an offset: the time zone stands beside the expression."""
    text = body.strip()
    try:
        # Its own pattern, for Python reads more of ISO 8601 than AWS does.
        wall = datetime.fromisoformat(text) if _AT.fullmatch(text) else None
    except ValueError as error:
        raise ScheduleError(f"at({body}) is no time: {error}.") from error
    if wall is None or not FIRST_YEAR <= wall.year <= LAST_YEAR:
        raise ScheduleError(
            f"at({body}) is no time: write at(2027-01-31T04:00:00), a year from {FIRST_YEAR} to {LAST_YEAR}, without an"
            " offset, for the time zone is a field of its own."
        )
    return Schedule(f"at({text})", "at", _At(wall))


# ------------------------------------------------------------ days of a month


def _listed_days(days: tuple[int, ...], year: int, month: int) -> list[int]:
    last = monthrange(year, month)[1]
    return [day for day in days if day <= last]


def _last_day(year: int, month: int) -> list[int]:
    return [monthrange(year, month)[1]]


def _last_workday(year: int, month: int) -> list[int]:
    return _nearest_workday(monthrange(year, month)[1], year, month)


def _nearest_workday(day: int, year: int, month: int) -> list[int]:
    """Give the Monday to Friday closest to a day, in the same month; none where the month has no such day."""
    first, last = monthrange(year, month)
    if day > last:
        return []
    weekday = _weekday(first, day)
    if weekday == _SATURDAY:
        return [day - 1 if day > 1 else day + 2]
    if weekday == _SUNDAY:
        return [day + 1 if day < last else day - 2]
    return [day]


def _listed_weekdays(weekdays: frozenset[int], year: int, month: int) -> list[int]:
    first, last = monthrange(year, month)
    return [day for day in range(1, last + 1) if _weekday(first, day) in weekdays]


def _nth_weekday(weekday: int, nth: int, year: int, month: int) -> list[int]:
    return _listed_weekdays(frozenset({weekday}), year, month)[nth - 1 : nth]


def _last_weekday(weekday: int, year: int, month: int) -> list[int]:
    return _listed_weekdays(frozenset({weekday}), year, month)[-1:]


def _weekday(first: int, day: int) -> int:
    """Give a day of the week as AWS counts, Sunday is 1, from that of the first as Python counts, Monday is 0."""
    return (first + day) % 7 + 1


# ------------------------------------------------------------ time zones

_NOT_PLACES = frozenset({"Factory"})
"""In the database for machines that no one has told where they are."""


@cache
def _time_zones() -> frozenset[str]:
    # The tzdata package's own list: the same on every machine, and no path that some machine happens to have.
    names = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(names.split()) - _NOT_PLACES


def parse_time_zone(name: str) -> ZoneInfo:
    """Give the time zone of a name in the IANA database, such as `Europe/Berlin` or `UTC`, in its own spelling.

    Raises ScheduleError for all other names, with those that may be meant.
    """
    if name in _time_zones():
        return ZoneInfo(name)
    meant = _similar_time_zones(name)
    write = f"did you mean {' or '.join(meant)}?" if meant else "write one such as Europe/Berlin, or UTC."
    raise ScheduleError(f"{name[:50]!r} is no time zone of the IANA database: {write}")


def _similar_time_zones(name: str) -> list[str]:
    """Give what may be meant, the likeliest first: of names as a whole, and of their cities."""
    zones = sorted(_time_zones())
    known = {zone.rpartition("/")[2].lower(): zone for zone in zones} | {zone.lower(): zone for zone in zones}
    close = difflib.get_close_matches(name[:50].lower().replace(" ", "_"), known, n=3, cutoff=0.75)
    return list(dict.fromkeys(known[key] for key in close))
