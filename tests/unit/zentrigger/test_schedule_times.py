"""Next times: over changes of the clock, as calendars have it, and as a second library reckons them."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from zentrigger.schedules import parse_schedule

LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)

OFFSETS = {
    "Europe/Berlin": (120, 60),
    "America/New_York": (-240, -300),
    "Australia/Lord_Howe": (660, 630),
    "America/Sao_Paulo": (-120, -180),
    "Asia/Kathmandu": (345,),
}
"""What the clocks were ahead of UTC from 2014 to 2036, in minutes, the most first: Lord Howe's change is half an hour,
São Paulo's was at midnight until 2019, Kathmandu has none."""

FIRST_DAY, LAST_DAY = date(2015, 1, 1), date(2035, 1, 1)


def times(  # noqa: PLR0913 - what may be asked
    text: str,
    after: str,
    *,
    zone: str = "UTC",
    anchor: datetime = LONG_AGO,
    until: datetime | None = None,
    count: int = 5,
) -> list[str]:
    """Give the next times as `2026-03-28T01:30`, of moments in UTC."""
    moments = parse_schedule(text).next_times(
        moment(after), time_zone=ZoneInfo(zone), anchor=anchor, until=until, count=count
    )
    assert all(found.tzinfo is UTC for found in moments)
    return [found.isoformat(timespec="minutes").removesuffix("+00:00") for found in moments]


def moment(text: str) -> datetime:
    """Give a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# ------------------------------------------------------------ changes of the clock


@pytest.mark.parametrize(
    ("zone", "text", "after", "expected"),
    [
        # Put forward from 2 to 3 on 29 March: 02:30 is not.
        ("Europe/Berlin", "30 2 * * *", "2026-03-27T12:00", ["2026-03-28T01:30", "2026-03-30T00:30"]),
        ("Europe/Berlin", "0 3 * * *", "2026-03-27T12:00", ["2026-03-28T02:00", "2026-03-29T01:00"]),
        # Put back from 3 to 2 on 25 October: 02:30 is twice.
        ("Europe/Berlin", "30 2 * * *", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("Europe/Berlin", "0 3 * * *", "2026-10-24T12:00", ["2026-10-25T02:00", "2026-10-26T02:00"]),
        # Asked between the two: the second is none of the schedule's.
        ("Europe/Berlin", "30 2 * * *", "2026-10-25T00:45", ["2026-10-26T01:30", "2026-10-27T01:30"]),
        ("Europe/Berlin", "45 2 * * *", "2026-10-25T01:10", ["2026-10-26T01:45", "2026-10-27T01:45"]),
        # Put forward from 2 to 3 on 8 March, back from 2 to 1 on 1 November.
        ("America/New_York", "30 2 * * *", "2026-03-07T00:00", ["2026-03-07T07:30", "2026-03-09T06:30"]),
        ("America/New_York", "30 1 * * *", "2026-11-01T00:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
        # Put forward from 2:00 to 2:30 on 4 October, back from 2:00 to 1:30 on 5 April.
        ("Australia/Lord_Howe", "0,30 2 * * *", "2026-10-03T12:00", ["2026-10-03T15:30", "2026-10-04T15:00"]),
        ("Australia/Lord_Howe", "15,45 1 * * *", "2026-04-04T12:00", ["2026-04-04T14:15", "2026-04-04T14:45"]),
        # Midnight of 4 November 2018 was not.
        ("America/Sao_Paulo", "0 0 * * *", "2018-11-03T00:00", ["2018-11-03T03:00", "2018-11-05T02:00"]),
        # A clock without changes, and UTC.
        ("Asia/Kathmandu", "30 2 * * *", "2026-03-28T00:00", ["2026-03-28T20:45", "2026-03-29T20:45"]),
        ("UTC", "30 2 * * *", "2026-03-28T12:00", ["2026-03-29T02:30", "2026-03-30T02:30"]),
    ],
)
def test_times_on_the_clock_follow_its_changes(zone: str, text: str, after: str, expected: list[str]) -> None:
    """What the clock skips does not fire; what it shows twice fires once, the first time."""
    assert times(text, after, zone=zone, count=2) == expected


def test_a_schedule_within_the_hour_is_silent_while_it_comes_again() -> None:
    """Each time on the clock fires once: quarters from 1 to 3 are twelve that day too, with an hour's pause."""
    found = times("cron(0/15 1-3 * * ? *)", "2026-10-24T12:00", zone="Europe/Berlin", count=12)

    assert found == [
        *("2026-10-24T23:00", "2026-10-24T23:15", "2026-10-24T23:30", "2026-10-24T23:45"),
        *("2026-10-25T00:00", "2026-10-25T00:15", "2026-10-25T00:30", "2026-10-25T00:45"),
        *("2026-10-25T02:00", "2026-10-25T02:15", "2026-10-25T02:30", "2026-10-25T02:45"),
    ]


def test_a_schedule_within_the_hour_leaves_out_the_one_that_is_skipped() -> None:
    """Quarters from 1 to 3 are eight that day, without a pause."""
    found = times("cron(0/15 1-3 * * ? *)", "2026-03-28T12:00", zone="Europe/Berlin", count=9)

    assert found[0] == "2026-03-29T00:00"
    assert found[7:] == ["2026-03-29T01:45", "2026-03-29T23:00"]
    assert all(moment(after) - moment(before) == timedelta(minutes=15) for before, after in pairwise(found[:8]))


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("at(2026-07-01T12:00:00)", "Europe/Berlin", ["2026-07-01T10:00"]),
        ("at(2026-07-01T12:00:00)", "UTC", ["2026-07-01T12:00"]),
        ("at(2026-10-25T02:30:00)", "Europe/Berlin", ["2026-10-25T00:30"]),
        ("at(2026-03-29T02:30:00)", "Europe/Berlin", []),
        ("at(2025-12-31T23:59:59)", "UTC", []),
        ("at(2026-01-01T00:00:00)", "UTC", []),
        ("at(2026-01-01T00:00:59)", "UTC", ["2026-01-01T00:00"]),
    ],
)
def test_at_is_one_time_on_the_clock(text: str, zone: str, expected: list[str]) -> None:
    """The first of two, none if the clock skips it, and never again."""
    assert times(text, "2026-01-01T00:00", zone=zone) == expected


def test_days_of_a_rate_have_24_hours() -> None:
    """Though the clock's have 23 and 25."""
    for anchor in (moment("2026-03-28T01:00"), moment("2026-10-24T00:00")):
        for text in ("rate(1 day)", "rate(24 hours)"):
            schedule = parse_schedule(text)
            found = schedule.next_times(anchor, time_zone=ZoneInfo("Europe/Berlin"), anchor=anchor, count=3)

            assert found == tuple(anchor + timedelta(hours=24 * number) for number in (1, 2, 3))


# ------------------------------------------------------------ calendars


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cron(0 9 L 1-4 ? 2028)", ["2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30"]),
        # The last of February is a Saturday, of May a Sunday.
        ("cron(0 9 LW 2-5 ? 2026)", ["2026-02-27", "2026-03-31", "2026-04-30", "2026-05-29"]),
        # 15 August is a Saturday, 15 November a Sunday.
        ("cron(0 9 15W 8-11 ? 2026)", ["2026-08-14", "2026-09-15", "2026-10-15", "2026-11-16"]),
        # Not into the month before: 1 August is a Saturday; nor into the one after: 31 May is a Sunday.
        ("cron(0 9 1W 8 ? 2026)", ["2026-08-03"]),
        ("cron(0 9 31W 5-8 ? 2026)", ["2026-05-29", "2026-07-31", "2026-08-31"]),
        ("cron(0 9 ? 1 L 2026)", ["2026-01-03", "2026-01-10", "2026-01-17", "2026-01-24", "2026-01-31"]),
        ("cron(0 9 ? 1-3 6L 2026)", ["2026-01-30", "2026-02-27", "2026-03-27"]),
        ("cron(0 9 ? 1-3 SUNL 2026)", ["2026-01-25", "2026-02-22", "2026-03-29"]),
        ("cron(0 9 ? 1-3 3#2 2026)", ["2026-01-13", "2026-02-10", "2026-03-10"]),
        ("cron(0 9 ? 1-4 FRI#5 2026)", ["2026-01-30"]),
        ("cron(0 9 ? 1 1 2026)", ["2026-01-04", "2026-01-11", "2026-01-18", "2026-01-25"]),
        ("cron(0 9 ? 1 7 2026)", ["2026-01-03", "2026-01-10", "2026-01-17", "2026-01-24", "2026-01-31"]),
        ("cron(0 9 31 1-6 ? 2026)", ["2026-01-31", "2026-03-31", "2026-05-31"]),
        ("cron(0 9 29 2 ? *)", ["2028-02-29", "2032-02-29", "2036-02-29", "2040-02-29", "2044-02-29"]),
        ("cron(0 9 1 1 ? 2030/50)", ["2030-01-01", "2080-01-01", "2130-01-01", "2180-01-01"]),
        ("cron(0 9 1 1 ? */100)", ["2070-01-01", "2170-01-01"]),
    ],
)
def test_days_are_those_of_the_calendar(text: str, expected: list[str]) -> None:
    """At nine, in 2026 and later."""
    assert times(text, "2026-01-01T00:00") == [f"{day}T09:00" for day in expected if day != "2026-01-01"]


@pytest.mark.parametrize("day", range(1, 32))
def test_the_closest_workday_is_the_closest(day: int) -> None:
    """Of the Mondays to Fridays of the same month, in each month of 28 years, in which all calendars come."""
    found = times(f"cron(0 0 {day}W * ? 2000-2027)", "1999-12-01T00:00", count=1000)

    expected = []
    for year, month in ((year, month) for year in range(2000, 2028) for month in range(1, 13)):
        first = date(year, month, 1)
        days = [first + timedelta(days=n) for n in range(31) if (first + timedelta(days=n)).month == month]
        if len(days) >= day:
            workdays = [one for one in days if one.isoweekday() <= 5]
            expected.append(min(workdays, key=lambda one: abs((one - days[day - 1]).days)))
    assert found == [f"{one}T00:00" for one in expected]


@pytest.mark.parametrize(
    "text",
    [
        "cron(0 0 31 2 ? *)",
        "cron(* * 30-31 FEB ? *)",
        "cron(* * 31 2,4,6,9,11 ? *)",
        "cron(0 0 ? 2 2#5 2101-2103)",
        "cron(0 0 29 2 ? 2027/4)",
        "cron(* * * * ? 1970-2025)",
        "rate(999999999 days)",
    ],
)
def test_what_never_comes_has_no_next_times(text: str) -> None:
    """And is found out, without an error."""
    assert times(text, "2026-01-01T00:00") == []


def test_the_last_year_is_the_end() -> None:
    """As AWS's years end."""
    assert times("cron(0 0 31 12 ? *)", "2198-06-01T00:00") == ["2198-12-31T00:00", "2199-12-31T00:00"]
    assert times("cron(0 0 1 1 ? *)", "2199-12-31T23:00", zone="Asia/Kathmandu") == []
    assert times("* * * * *", "9999-12-31T23:59", zone="Asia/Kathmandu") == []
    assert times("rate(1 day)", "9999-12-30T12:00") == ["9999-12-31T00:00"]


def test_the_first_year_is_the_beginning() -> None:
    """Whenever it was anchored."""
    anchor = datetime.min.replace(tzinfo=UTC)
    assert times("0 0 * * *", "0001-01-01T00:00", anchor=anchor, zone="America/New_York", count=1) == [
        "1970-01-01T05:00"
    ]
    assert times("0 0 * * *", "0001-01-01T00:00", anchor=anchor, zone="Pacific/Kiritimati", count=1) == [
        "1970-01-01T10:40"
    ]


# ------------------------------------------------------------ bounds


@pytest.mark.parametrize("text", ["0 4 * * *", "rate(1 day)"])
def test_bounds(text: str) -> None:
    """After the one, from the anchor on, before the other, and no more than asked for."""
    anchor = moment("2026-01-10T04:00")

    assert times(text, "2026-01-01T00:00", anchor=anchor, count=2) == ["2026-01-10T04:00", "2026-01-11T04:00"]
    assert times(text, "2026-01-10T03:59", anchor=anchor, count=1) == ["2026-01-10T04:00"]
    assert times(text, "2026-01-10T04:00", anchor=anchor, count=1) == ["2026-01-11T04:00"]
    assert times(text, "2026-03-01T04:00:00.000001", anchor=anchor, count=1) == ["2026-03-02T04:00"]
    assert times(text, "2026-01-10T04:00", anchor=anchor, until=moment("2026-01-12T04:00")) == ["2026-01-11T04:00"]
    assert times(text, "2026-01-10T04:00", anchor=anchor, until=moment("2026-01-12T04:01"))[1:] == ["2026-01-12T04:00"]
    assert times(text, "2026-01-10T04:00", anchor=anchor, until=anchor) == []
    assert times(text, "2026-01-10T04:00", anchor=anchor, count=0) == []
    assert times(text, "2026-01-10T04:00", anchor=anchor, count=-1) == []


def test_at_keeps_the_bounds() -> None:
    """Not before the anchor, not at the end."""
    text, noon = "at(2026-01-10T12:00:00)", moment("2026-01-10T12:00")

    assert times(text, "2026-01-01T00:00", anchor=noon) == ["2026-01-10T12:00"]
    assert times(text, "2026-01-01T00:00", anchor=noon + timedelta(seconds=1)) == []
    assert times(text, "2026-01-01T00:00", until=noon) == []


@pytest.mark.parametrize("text", ["* * * * *", "rate(1 minute)"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_far_bound_is_not_walked_to(text: str, zone: str) -> None:
    """Minute by minute it would take minutes."""
    far = moment("2150-01-01T00:00")

    assert times(text, "2026-01-01T00:00", zone=zone, anchor=far, count=1) == ["2150-01-01T00:00"]
    assert times(text, "2150-01-01T00:00", zone=zone, count=1) == ["2150-01-01T00:01"]


def test_moments_may_be_in_any_zone() -> None:
    """What counts is when they are."""
    berlin = ZoneInfo("Europe/Berlin")
    asked = datetime(2026, 7, 1, 6, 0, tzinfo=berlin)
    for text in ("0 4 * * *", "rate(1 day)"):
        found = parse_schedule(text).next_times(asked, time_zone=ZoneInfo("UTC"), anchor=asked, count=1)

        assert found == (moment("2026-07-02T04:00"),)


# ------------------------------------------------------------ a second library


def first_shown(wall: datetime, zone: str) -> datetime | None:
    """Give when a clock first shows a time, by trying what it may be ahead of UTC, the most and so the earliest first.

    It asks `zoneinfo` what a clock shows at a moment, of which there is but one answer, never when it shows something.
    """
    for ahead in OFFSETS[zone]:
        tried = (wall - timedelta(minutes=ahead)).replace(tzinfo=UTC)
        if tried.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == wall:
            return tried
    return None


def reckoned(five_fields: str, zone: str, after: datetime, count: int) -> list[datetime]:
    """Give the next times: croniter's on a clock without changes, when the clock of the zone first shows them."""
    start = after.astimezone(ZoneInfo(zone)).replace(tzinfo=None) - timedelta(hours=2)
    found: list[datetime] = []
    for wall in croniter(five_fields, start, ret_type=datetime):
        shown = first_shown(wall, zone)
        if shown is not None and shown > after:
            found.append(shown)
        if len(found) == count:
            break
    return found


@cache
def changes(zone: str) -> list[datetime]:
    """Give the midnights, of UTC, of days on which a clock is changed."""
    days = [FIRST_DAY + timedelta(days=number) for number in range((LAST_DAY - FIRST_DAY).days)]
    midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days]
    offsets = [midnight.astimezone(ZoneInfo(zone)).utcoffset() for midnight in midnights]
    return [midnights[at] for at, (before, after) in enumerate(pairwise(offsets)) if before != after]


def values(low: int, high: int, likely: range) -> st.SearchStrategy[str]:
    """Give what one field may say in every cron: values, ranges, steps and lists.

    But for ranges of one value, such as 1-1, which croniter takes for all.
    """
    some = st.one_of(st.sampled_from(likely), st.integers(low, high))
    ranges = st.lists(some, min_size=2, max_size=2, unique=True).map(sorted)
    steps = st.integers(1, high - low)
    return st.one_of(
        st.just("*"),
        some.map(str),
        st.lists(some, min_size=2, max_size=4).map(lambda many: ",".join(map(str, many))),
        ranges.map(lambda ends: f"{ends[0]}-{ends[1]}"),
        steps.map(lambda step: f"*/{step}"),
        st.tuples(ranges, steps, some).map(lambda drawn: f"{drawn[0][0]}-{drawn[0][1]}/{drawn[1]},{drawn[2]}"),
    )


MINUTES = values(0, 59, range(0, 60, 15))
HOURS = values(0, 23, range(4))
MONTHS = values(1, 12, range(1, 13))
DAYS = values(1, 31, range(28, 32))
WEEKDAYS = st.one_of(values(0, 7, range(8)), st.sampled_from(["MON-FRI", "sun,SAT", "tue-thu", "5-7", "*/2", "1-7/3"]))
FIVE_FIELDS = st.one_of(
    st.tuples(MINUTES, HOURS, st.just("*"), st.just("*"), st.just("*")),
    st.tuples(MINUTES, HOURS, DAYS, MONTHS, st.just("*")),
    st.tuples(MINUTES, HOURS, st.just("*"), MONTHS, WEEKDAYS),
).map(" ".join)
ZONES = st.sampled_from(sorted(OFFSETS))


@st.composite
def zones_and_moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """Give a zone and a moment, most of them about a day from a change of its clock."""
    zone: str = draw(ZONES)
    if changes(zone) and draw(st.integers(0, 3)) > 0:
        midnight: datetime = draw(st.sampled_from(changes(zone)))
        return zone, midnight + timedelta(minutes=draw(st.integers(-600, 1800)))
    day = draw(st.dates(FIRST_DAY, LAST_DAY))
    return zone, datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 86399)))


def comes(five_fields: str) -> bool:
    """Say whether there is such a day at all."""
    return bool(times(five_fields, "2015-01-01T00:00", count=1))


@given(FIVE_FIELDS.filter(comes), zones_and_moments())
@settings(max_examples=200, deadline=None)
def test_next_times_are_those_of_a_second_library(five_fields: str, where: tuple[str, datetime]) -> None:
    """Over changes of the clock; of five fields, and of what they were translated to."""
    zone, after = where
    expected = reckoned(five_fields, zone, after, 8)
    translated = parse_schedule(parse_schedule(five_fields).expression)
    for schedule in (parse_schedule(five_fields), translated):
        found = schedule.next_times(after, time_zone=ZoneInfo(zone), anchor=LONG_AGO, count=8)

        assert list(found) == expected


@given(
    MINUTES,
    HOURS,
    MONTHS,
    st.one_of(
        # In EventBridge's words and in croniter's.
        st.just(("L * ?", "L * *")),
        st.integers(1, 28).map(lambda day: (f"{day}W * ?", f"{day}W * *")),
        st.tuples(st.integers(1, 7), st.integers(1, 5)).map(lambda n: (f"? * {n[0]}#{n[1]}", f"* * {n[0] - 1}#{n[1]}")),
        st.integers(1, 7).map(lambda day: (f"? * {day}L", f"* * L{day - 1}")),
    ),
    zones_and_moments(),
)
@settings(max_examples=100, deadline=None)
def test_so_are_the_wildcards_that_it_knows(
    minute: str, hour: str, month: str, days: tuple[str, str], where: tuple[str, datetime]
) -> None:
    """The last day, the closest workday, the nth and the last of a day of the week; in all months or some."""
    zone, after = where
    aws, other = (words.replace(" * ", f" {month} ") for words in days)
    # Fifth ones of a month may be decades apart, past where the second library looks.
    if "#5" in aws:
        aws, other = (words.replace(f" {month} ", " * ") for words in days)
    schedule = parse_schedule(f"cron({minute} {hour} {aws} *)")

    found = schedule.next_times(after, time_zone=ZoneInfo(zone), anchor=LONG_AGO, count=4)

    assert list(found) == reckoned(f"{minute} {hour} {other}", zone, after, 4)


# ------------------------------------------------------------ what holds of all


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """Give a field of EventBridge's and its values, made together."""
    some = draw(st.sets(st.integers(low, high), min_size=1, max_size=5))
    start, step = draw(st.integers(low, high)), draw(st.integers(1, high - low))
    end = draw(st.integers(start, high))
    return draw(
        st.sampled_from(
            [
                ("*", set(range(low, high + 1))),
                (",".join(map(str, some)), some),
                (f"{start}-{end}", set(range(start, end + 1))),
                (f"{start}/{step}", set(range(start, high + 1, step))),
                (f"{start}-{end}/{step}", set(range(start, end + 1, step))),
            ]
        )
    )


@given(fields(0, 59), fields(0, 23), fields(1, 31), fields(1, 12), fields(2020, 2030), zones_and_moments())
@settings(max_examples=100, deadline=None)
def test_each_time_is_what_the_fields_say_and_none_comes_before(  # noqa: PLR0913, PLR0917 - a field each
    minute: tuple[str, set[int]],
    hour: tuple[str, set[int]],
    day: tuple[str, set[int]],
    month: tuple[str, set[int]],
    year: tuple[str, set[int]],
    where: tuple[str, datetime],
) -> None:
    """On the clock of the zone, each later than the one before; and a listing goes on where another ended."""
    zone, after = where
    said = [minute, hour, day, month, (year[0].replace("*", "2020-2030"), year[1])]
    schedule = parse_schedule("cron({} {} {} {} ? {})".format(*(text for text, _ in said)))

    found = schedule.next_times(after, time_zone=ZoneInfo(zone), anchor=LONG_AGO, count=8)

    assert all(earlier < later for earlier, later in pairwise((after, *found)))
    for one in found:
        wall = one.astimezone(ZoneInfo(zone))
        shown = (wall.minute, wall.hour, wall.day, wall.month)
        assert all(value in meant for value, (_, meant) in zip(shown, said, strict=False))
        assert wall.year in year[1] or "/" in year[0]
        assert (wall.second, wall.microsecond, wall.fold) == (0, 0, 0)
    for number, one in enumerate(found):
        again = schedule.next_times(one, time_zone=ZoneInfo(zone), anchor=LONG_AGO, count=len(found) - number - 1)
        assert again == found[number + 1 :]


@given(
    st.integers(1, 5000),
    st.sampled_from([("minutes", 60), ("hours", 3600), ("days", 86400)]),
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001 - Hypothesis takes no others
    st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)),  # noqa: DTZ001
    ZONES,
)
@settings(max_examples=100, deadline=None)
def test_a_rate_is_counted_from_its_anchor(
    value: int, unit: tuple[str, int], anchor: datetime, after: datetime, zone: str
) -> None:
    """Exactly, to the microsecond, without a gap and whatever the clock shows; the anchor is the first."""
    anchor, after, period = anchor.replace(tzinfo=UTC), after.replace(tzinfo=UTC), timedelta(seconds=value * unit[1])
    schedule = parse_schedule(f"rate({value} {unit[0]})")

    found = schedule.next_times(after, time_zone=ZoneInfo(zone), anchor=anchor, count=4)

    assert len(found) == 4
    assert all(later - earlier == period for earlier, later in pairwise(found))
    assert (found[0] - anchor) % period == timedelta(0)
    assert found[0] == anchor if after < anchor else after < found[0] <= after + period
    assert schedule.next_times(found[0], time_zone=ZoneInfo(zone), anchor=anchor, count=3) == found[1:]
