"""What EventBridge Scheduler takes is read, five fields are translated, and the rest is refused with what to write."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zentrigger.schedules import LONGEST_EXPRESSION, ScheduleError, parse_schedule, parse_time_zone

WORDS = [
    "0",
    "7",
    "60",
    "*",
    "?",
    "L",
    "LW",
    "5W",
    "6L",
    "3#2",
    "MON",
    "jan",
    "1-5",
    "5-1",
    "*/2",
    "1/9",
    "2027",
    "1,2",
]

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("cron(0 10 * * ? *)", "cron(0 10 * * ? *)"),
        ("cron(15 10 ? * 6L 2022-2023)", "cron(15 10 ? * 6L 2022-2023)"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "cron(0/5 8-17 ? * MON-FRI *)"),
        ("  cron( 00  08 \t1 * ? * ) ", "cron(0 8 1 * ? *)"),
        ("cron(*/15 */2 */3 */4 ? */5)", "cron(0/15 0/2 1/3 1/4 ? 1970/5)"),
        (
            "cron(10-30/05,45 1-7/2,11-23/2 * jan-Mar,07,dec ? 2026,2028-2030)",
            "cron(10-30/5,45 1-7/2,11-23/2 * JAN-MAR,7,DEC ? 2026,2028-2030)",
        ),
        ("cron(0 0 ? * sun,3,fri-sat *)", "cron(0 0 ? * SUN,3,FRI-SAT *)"),
        ("cron(0 0 ? * * *)", "cron(0 0 ? * * *)"),
        ("cron(0 0 L * ? *)", "cron(0 0 L * ? *)"),
        ("cron(0 0 lw * ? *)", "cron(0 0 LW * ? *)"),
        ("cron(0 0 03w * ? *)", "cron(0 0 3W * ? *)"),
        ("cron(0 0 ? * L *)", "cron(0 0 ? * L *)"),
        ("cron(0 0 ? * fril *)", "cron(0 0 ? * FRIL *)"),
        ("cron(0 0 ? * 3#2 *)", "cron(0 0 ? * 3#2 *)"),
        ("cron(0 0 ? * tue#5 *)", "cron(0 0 ? * TUE#5 *)"),
        ("cron(59/59 23 31 12 ? 1970-2199)", "cron(59/59 23 31 12 ? 1970-2199)"),
        ("rate(5 minutes)", "rate(5 minutes)"),
        ("rate(1 minute)", "rate(1 minute)"),
        ("rate(1 hours)", "rate(1 hour)"),
        (" rate( 2   hour ) ", "rate(2 hours)"),
        ("rate(1 days)", "rate(1 day)"),
        ("rate(999999999 days)", "rate(999999999 days)"),
        ("at(2026-11-20T13:00:00)", "at(2026-11-20T13:00:00)"),
        (" at( 2028-02-29T23:59:59 ) ", "at(2028-02-29T23:59:59)"),
    ],
)
def test_what_aws_documents_is_read_and_normalised(text: str, expression: str) -> None:
    """Upper case, no leading zeros, `*` before a step as the value that it means, single spaces; once and for all."""
    schedule = parse_schedule(text)

    assert schedule.expression == expression
    assert schedule.kind == expression.partition("(")[0]
    assert parse_schedule(expression) == schedule


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("0 4 * * *", "cron(0 4 * * ? *)"),
        (" 00\t4  * * * ", "cron(0 4 * * ? *)"),
        ("*/15 * * * *", "cron(0/15 * * * ? *)"),
        ("5/15 8-18/2 * * *", "cron(5/15 8-18/2 * * ? *)"),
        ("0,30 0 1,15 jan,6-8 *", "cron(0,30 0 1,15 JAN,6-8 ? *)"),
        ("0 0 */10 */3 *", "cron(0 0 1/10 1/3 ? *)"),
        ("0 4 * * 1-5", "cron(0 4 ? * MON-FRI *)"),
        ("0 4 * * mon-fri", "cron(0 4 ? * MON-FRI *)"),
        ("0 4 * * 0", "cron(0 4 ? * SUN *)"),
        ("0 4 * * 7", "cron(0 4 ? * SUN *)"),
        ("0 4 * * 0,7", "cron(0 4 ? * SUN *)"),
        ("0 4 * * 6", "cron(0 4 ? * SAT *)"),
        ("0 4 * * 5-7", "cron(0 4 ? * SUN,FRI,SAT *)"),
        ("0 4 * * 4-7,1", "cron(0 4 ? * SUN,MON,THU-SAT *)"),
        ("0 4 * * */2", "cron(0 4 ? * SUN,TUE,THU,SAT *)"),
        ("0 4 * * 1/3", "cron(0 4 ? * SUN,MON,THU *)"),
        ("0 4 * * 1-5/2", "cron(0 4 ? * MON,WED,FRI *)"),
        ("0 4 * 2 0-6", "cron(0 4 * 2 ? *)"),
        ("0 4 * * 1-7", "cron(0 4 * * ? *)"),
        ("0 4 13 * *", "cron(0 4 13 * ? *)"),
    ],
)
def test_five_fields_are_translated(text: str, expression: str) -> None:
    """Days of the week by name, which no count of theirs can change: Unix's Sunday is 0 and 7, EventBridge's is 1."""
    schedule = parse_schedule(text)

    assert (schedule.kind, schedule.expression) == ("cron", expression)
    assert parse_schedule(expression) == schedule


@pytest.mark.parametrize(
    ("text", "says"),
    [
        # Forms.
        ("", r"is no schedule: write cron\("),
        ("@daily", r"is no schedule: write cron\("),
        ("0 4 * *", "is no schedule"),
        ("CRON(0 4 * * ? *)", "is no schedule"),
        ("cron(0 4 * * ? *", "is no schedule"),
        ("cron(0 4 * * ? *) x", "is no schedule"),
        ("cron(cron(0 4 * * ? *))", "is no schedule"),
        ("every(5 minutes)", "is no schedule"),
        ("0 4 ? * mon *", r"write cron\(0 4 \? \* MON \*\)"),
        ("0 0 4 * * *", r"write cron\(0 0 4 \* \* \*\)"),
        ("cron(0 4 * * 1-5)", r"write 0 4 \* \* 1-5 without"),
        ("cron(0 4 * ?)", "takes six fields.*, not 4"),
        ("cron()", "takes six fields.*, not 0"),
        ("cron(0 0 4 * * ? *)", "takes six fields.*, not 7"),
        (f"cron({','.join(['59'] * 90)} * * * ? *)", f"has 285 characters.* takes {LONGEST_EXPRESSION}"),
        ("x" * 100_000, "has 100000 characters"),
        # The expansion of `*` before steps is what is sent.
        (f"cron({'*/2,' * 59}7 * * * ? */2)", "has 258 characters"),
        # The day fields.
        ("cron(0 4 * * * *)", "other is ?"),
        ("cron(0 4 ? * ? *)", "other is ?"),
        ("cron(0 4 1 * MON *)", "other is ?"),
        ("cron(0 4 ?,1 * * *)", "other is ?"),
        ("0 4 1 * 1", r"either.*two schedules, cron\(0 4 1 \* \? \*\) and cron\(0 4 \? \* MON \*\)"),
        ("*/5 4 */2 * 1-5", r"two schedules, cron\(0/5 4 1/2 \* \? \*\) and cron\(0/5 4 \? \* MON-FRI \*\)"),
        ("0 4 1 * 0-6", "two schedules"),
        ("0 4 ? * 1", "'?' is no day of the month"),
        ("0 4 L * *", "'L' is no day of the month"),
        ("0 4 * * 5#2", "'5#2' is no day of the week"),
        # Values.
        ("cron(60 0 * * ? *)", "'60' is no minute: write 0 to 59"),
        ("cron(-1 0 * * ? *)", "'-1' is no minute"),
        ("cron(? 0 * * ? *)", "is no minute"),
        ("cron(0 24 * * ? *)", "'24' is no hour: write 0 to 23"),
        ("cron(0 0 0 * ? *)", "'0' is no day of the month: write 1 to 31"),
        ("cron(0 0 32 * ? *)", "'32' is no day of the month"),
        ("cron(0 0 1 0 ? *)", "'0' is no month: write 1 to 12 or JAN to DEC"),
        ("cron(0 0 1 13 ? *)", "'13' is no month"),
        ("cron(0 0 1 JUNE ? *)", "'JUNE' is no month"),
        ("cron(0 0 1 MON ? *)", "'MON' is no month"),
        ("cron(0 0 ? * 0 *)", "'0' is no day of the week: write 1 to 7 or SUN to SAT"),
        ("cron(0 0 ? * 8 *)", "'8' is no day of the week"),
        ("cron(0 0 ? * JAN *)", "'JAN' is no day of the week"),
        ("0 0 * * 8", "'8' is no day of the week: write 0 to 7 or SUN to SAT"),
        ("cron(0 0 * * ? 1969)", "'1969' is no year: write 1970 to 2199"),
        ("cron(0 0 * * ? 2200)", "'2200' is no year"),
        ("cron(0 0 * * ? 02026)", "is no year"),
        ("cron(\u0661 0 * * ? *)", "is no minute"),
        # Ranges, steps and lists.
        ("cron(0 22-2 * * ? *)", "write two, as in 22-23,0-2"),
        ("cron(0 0 1 NOV-FEB ? *)", "write two, as in NOV-DEC,JAN-FEB"),
        ("0 0 * * fri-sun", "write two, as in FRI-SAT,SUN-SUN"),
        ("0 0 * * 5-1", "write two, as in 5-7,0-1"),
        ("cron(1-2-3 0 * * ? *)", "is no minute"),
        ("cron(0-60 0 * * ? *)", "'60' is no minute"),
        ("cron(*/0 * * * ? *)", "0 is no step.*: write 1 to 59"),
        ("cron(0/60 * * * ? *)", "60 is no step"),
        ("cron(0 0/24 * * ? *)", "24 is no step.*: write 1 to 23"),
        ("cron(0/5/5 * * * ? *)", "is no minute"),
        ("cron(/5 * * * ? *)", "is no minute"),
        ("cron(5,* * * * ? *)", r"\* stands alone"),
        ("cron(*-5 * * * ? *)", r"\* stands alone"),
        ("cron(5,,6 * * * ? *)", "'' is no minute"),
        ("cron(5, * * * ? *)", "'' is no minute"),
        ("cron(0 0 ? * 2/2 *)", "no steps in the day of the week: write MON,WED,FRI instead"),
        ("cron(0 0 ? * */1 *)", r"no steps in the day of the week: write \* instead"),
        # Wildcards of the days.
        ("cron(0 0 L-3 * ? *)", "stand alone"),
        ("cron(0 0 1,L * ? *)", "stand alone"),
        ("cron(0 0 1W,15W * ? *)", "stand alone"),
        ("cron(0 0 W * ? *)", "stand alone"),
        ("cron(0 0 32W * ? *)", "'32' is no day of the month"),
        ("cron(0 0 ? * L-2 *)", "stand alone"),
        ("cron(0 0 ? * 8L *)", "'8' is no day of the week"),
        ("cron(0 0 ? * 2#1,3#1 *)", "stand alone"),
        ("cron(0 0 ? * 2#0 *)", "stand alone"),
        ("cron(0 0 ? * MON#6 *)", "stand alone"),
        ("cron(0 0 ? * 15W *)", "is no day of the week"),
        ("cron(L 0 * * ? *)", "is no minute"),
        # Rates.
        ("rate(0 minutes)", "is no rate: write a whole number"),
        ("rate(-5 minutes)", "is no rate"),
        ("rate(1.5 hours)", "is no rate"),
        ("rate(05 minutes)", "is no rate"),
        ("rate(30 seconds)", "is no rate"),
        ("rate(1 week)", "is no rate"),
        ("rate(5minutes)", "is no rate"),
        ("rate(5 Minutes)", "is no rate"),
        ("rate(minutes)", "is no rate"),
        ("rate(1000000000 days)", "is no rate"),
        # Times.
        ("at(2026-11-20T13:00)", r"write at\(2027"),
        ("at(2026-11-20 13:00:00)", "is no time"),
        ("at(2026-11-20T13:00:00Z)", "without an offset"),
        ("at(2026-11-20T13:00:00+01:00)", "without an offset"),
        ("at(2026-11-20T13:00:00.5)", "is no time"),
        ("at(2026-02-29T13:00:00)", "is no time: day is out of range"),
        ("at(2026-11-20T24:00:00)", "is no time"),
        ("at(2026-11-20T23:59:60)", "is no time"),
        ("at(1969-12-31T23:59:59)", "a year from 1970 to 2199"),
        ("at(2200-01-01T00:00:00)", "a year from 1970 to 2199"),
        ("at()", "is no time"),
    ],
)
def test_the_rest_is_refused_with_what_to_write(text: str, says: str) -> None:
    """Before AWS refuses it, or takes it for something else than is shown."""
    with pytest.raises(ScheduleError, match=says):
        parse_schedule(text)


@given(
    st.one_of(
        st.text(alphabet="0123456789*?/-,#LWSUNMOJACcronateh():T \t", max_size=40),
        st.lists(st.sampled_from(WORDS), min_size=5, max_size=6).map(lambda fields: f"cron({' '.join(fields)})"),
        st.text(max_size=20).map(lambda body: f"rate({body})"),
        st.text(max_size=20).map(lambda body: f"at({body})"),
    )
)
@example("at(0000-00-00T00:00:00)")
@example("rate(²  days)")
@settings(max_examples=300, deadline=None)
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    """No other error leaves, and what was read is read again as the same."""
    try:
        schedule = parse_schedule(text)
    except ScheduleError:
        return
    again = parse_schedule(schedule.expression)
    found, found_again = (
        one.next_times(JANUARY, time_zone=ZoneInfo("UTC"), anchor=JANUARY, count=3) for one in (schedule, again)
    )

    assert (again, found_again) == (schedule, found)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "US/Eastern"])
def test_time_zones_have_their_iana_names(name: str) -> None:
    """Older names are the database's too."""
    assert parse_time_zone(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("europe/berlin", "did you mean Europe/Berlin"),
        ("Europe/Berlim", "did you mean Europe/Berlin"),
        ("Berlin", r"did you mean Europe/Berlin\?"),
        ("new york", r"did you mean America/New_York\?"),
        ("+01:00", "write one such as Europe/Berlin, or UTC"),
        ("", "'' is no time zone of the IANA database"),
        ("localtime", "is no time zone"),
        ("posixrules", "is no time zone"),
        ("Factory", "is no time zone"),
        ("posix/Europe/Berlin", "is no time zone"),
        ("right/Europe/Berlin", "is no time zone"),
        ("../etc/passwd", "is no time zone"),
        ("Europe/../Europe/Berlin", "is no time zone"),
        ("/usr/share/zoneinfo/Europe/Berlin", "is no time zone"),
        ("Europe", "is no time zone"),
        ("zone.tab", "is no time zone"),
        ("Europe/Berlin\0", "is no time zone"),
        (" UTC", "is no time zone"),
        ("\ud800", "is no time zone"),
        ("x" * 100_000, "'x{50}' is no time zone"),
    ],
)
def test_what_is_no_iana_name_is_refused(name: str, says: str) -> None:
    """Whatever file of this machine it may be the path of; with what may be meant."""
    with pytest.raises(ScheduleError, match=says):
        parse_time_zone(name)
