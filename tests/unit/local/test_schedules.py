"""Schedule expressions: when they fire next."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from local.schedules import ScheduleError, parse_schedule


def _at(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


START = _at("2026-11-20 10:00:30")


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("rate(1 minute)", "2026-11-20 10:00:30", "2026-11-20 10:01:30"),
        ("rate(5 minutes)", "2026-11-20 10:05:30", "2026-11-20 10:10:30"),
        ("rate(1 day)", "2026-11-20 23:00:00", "2026-11-21 10:00:30"),
        ("cron(0 4 * * ? *)", "2026-11-20 10:00:30", "2026-11-21 04:00:00"),
        ("cron(0 4 * * ? *)", "2026-11-20 04:00:00", "2026-11-21 04:00:00"),
        ("cron(0 4 * * ? *)", "2026-11-20 03:59:59", "2026-11-20 04:00:00"),
        ("cron(*/15 9-17 ? * MON-FRI *)", "2026-11-20 17:46:00", "2026-11-23 09:00:00"),
        ("cron(5/20 * * * ? *)", "2026-11-20 10:25:00", "2026-11-20 10:45:00"),
        ("cron(0 0 L * ? *)", "2026-02-10 00:00:00", "2026-02-28 00:00:00"),
        ("cron(0 0 L-2 * ? *)", "2026-02-10 00:00:00", "2026-02-26 00:00:00"),
        ("cron(0 0 LW * ? *)", "2026-01-05 00:00:00", "2026-01-30 00:00:00"),
        ("cron(0 0 15W * ? *)", "2026-11-01 00:00:00", "2026-11-16 00:00:00"),
        ("cron(0 0 1W * ? *)", "2026-08-01 00:00:00", "2026-08-03 00:00:00"),
        ("cron(0 12 ? * 2#1 *)", "2026-11-20 00:00:00", "2026-12-07 12:00:00"),
        ("cron(0 12 ? * 6L *)", "2026-11-20 00:00:00", "2026-11-27 12:00:00"),
        ("cron(0 12 ? * 1 *)", "2026-11-20 00:00:00", "2026-11-22 12:00:00"),
        ("cron(0 12 ? * L *)", "2026-11-20 00:00:00", "2026-11-21 12:00:00"),
        ("cron(0 0 29 FEB ? *)", "2026-11-20 00:00:00", "2028-02-29 00:00:00"),
        ("cron(0 0 1 1 ? 2030)", "2026-11-20 00:00:00", "2030-01-01 00:00:00"),
        ("cron(0,30 8,20 ? JAN,JUL SUN *)", "2026-11-20 00:00:00", "2027-01-03 08:00:00"),
    ],
)
def test_next(expression: str, after: str, expected: str) -> None:
    """The first time after a moment, in UTC; never the moment itself."""
    assert parse_schedule(expression, start=START).next_after(_at(after)) == _at(expected)


def test_what_never_comes() -> None:
    """A year that is over gives no time."""
    assert parse_schedule("cron(0 0 1 1 ? 2020)", start=START).next_after(START) is None


@pytest.mark.parametrize(
    "expression",
    [
        "every minute",
        "rate(1 minutes)",
        "rate(2 minute)",
        "rate(0 minutes)",
        "rate(30 seconds)",
        "cron(0 4 * * *)",
        "cron(0 4 * * * *)",
        "cron(0 4 ? * ? *)",
        "cron(60 4 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 4 32 * ? *)",
        "cron(0 4 * 13 ? *)",
        "cron(0 4 ? * 8 *)",
        "cron(0 4 ? * FRIDAY *)",
        "cron(0/0 4 * * ? *)",
        "cron(30-10 4 * * ? *)",
    ],
)
def test_a_wrong_expression_is_an_error(expression: str) -> None:
    """What EventBridge refuses."""
    with pytest.raises(ScheduleError):
        parse_schedule(expression, start=START)
