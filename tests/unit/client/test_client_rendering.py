"""Text for people."""

import io
from typing import Any

import pytest

from zentrigger_client import rendering
from zentrigger_client.errors import ZentriggerError
from zentrigger_client.follow import PlainDisplay, TerminalDisplay, display_for, follow


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("a\rb\x00c\x9bd", "a?b?c?d"),
        ("right-to-left \u202e", "right-to-left ?"),
        ("tab\tline\nnext\r\nlast", "tab\tline\nnext\nlast"),
    ],
)
def test_plain_text_cannot_steer_a_terminal(text: str, expected: str) -> None:
    """Escape sequences go, control characters become visible."""
    assert rendering.plain(text) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, ""), (0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (187, "3 min 07 s"), (7500, "2 h 05 min")],
)
def test_durations_are_short(seconds: float | None, expected: str) -> None:
    """Two units at most."""
    assert rendering.duration(seconds) == expected


def test_times_of_any_shape_the_api_may_write() -> None:
    """With Z, with an offset, or without either (then UTC); what is no time has no duration."""
    assert rendering.seconds_between("2026-01-01T00:00:00Z", "2026-01-01T01:00:01+01:00") == 1
    assert rendering.seconds_between("2026-01-01T00:00:00", "2026-01-01T00:00:02.500Z") == 2.5
    assert rendering.seconds_between("yesterday", "2026-01-01T00:00:02Z") is None
    assert rendering.seconds_between("2026-01-01T00:00:05Z", "2026-01-01T00:00:02Z") == 0


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Say so."""
        return True


def _run(status: str, *steps: tuple[str, str], **more: Any) -> dict[str, Any]:
    progress = {"steps": [{"name": name, "status": step_status} for name, step_status in steps]}
    return {"run_id": "r1", "pipeline": "p", "status": status, "progress": progress, **more}


def test_plain_display_tells_each_thing_once() -> None:
    """Without a terminal there is one line for each change, in order."""
    stream = io.StringIO()
    display = display_for(stream)
    assert isinstance(display, PlainDisplay)
    for run in (
        _run("queued", message="waits for a slot"),
        _run("running", ("load", "running")),
        _run("running", ("load", "running")),
        _run("failed", ("load", "completed"), ("train", "failed"), message="train raised ValueError"),
    ):
        display.show(run)
    assert [line.split("  ", 1)[1] for line in stream.getvalue().splitlines()] == [
        "p r1 queued: waits for a slot",
        "p r1 running",
        "  step load running",
        "  step load completed",
        "  step train failed",
        "p r1 failed: train raised ValueError",
    ]


def test_terminal_display_redraws_in_place() -> None:
    """The second picture goes over the first; marks tell done from failed."""
    stream = Terminal()
    display = display_for(stream)
    assert isinstance(display, TerminalDisplay)
    with display:
        display.show(_run("running", ("load", "running")))
        display.show(_run("succeeded", ("load", "completed"), ("train", "cached")))
    text = stream.getvalue()
    assert "\x1b[2F" in text
    last = text.rpartition("F")[2]
    assert "✓ p r1 succeeded" in last
    assert "✓ load" in last
    assert "cached" in last


def test_terminal_display_stays_within_ascii_where_it_must() -> None:
    """A terminal that cannot show the marks gets simple ones."""
    stream = Terminal()
    stream.encoding = "ascii"
    with TerminalDisplay(stream) as display:
        display.show(_run("failed", ("load", "failed")))
    stream.getvalue().encode("ascii")


class Scripted:
    """A client that answers one long poll after the other."""

    def __init__(self, *answers: tuple[dict[str, Any] | None, str | None]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int, str | None]] = []

    def wait_for_change(
        self, _run_id: str, *, seconds: int, etag: str | None = None
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Give the next answer."""
        self.asked.append((seconds, etag))
        return self.answers.pop(0)


def test_follow_polls_long_and_slows_down_where_the_server_does_not_wait() -> None:
    """The ETag of the last answer goes along; answers at once are not asked for again at once."""
    client = Scripted(
        (_run("queued"), "a"), (None, "a"), (_run("running"), "b"), (_run("running"), None), (_run("succeeded"), None)
    )
    pauses: list[float] = []
    run = follow(client, "r1", PlainDisplay(io.StringIO()), sleep=pauses.append, clock=lambda: 0.0)  # type: ignore[arg-type]
    assert run["status"] == "succeeded"
    assert client.asked == [(0, None), (20, "a"), (20, "a"), (20, "b"), (20, None)]
    assert pauses == [0.5, 0.5, 0.5]


def test_follow_gives_up_when_told_to() -> None:
    """The last poll is no longer than what is left of the time."""
    client = Scripted((_run("running"), "a"), (None, "a"), (None, "a"))
    times = iter([0.0, 1.0, 21.0, 25.0, 30.0, 30.0])
    with pytest.raises(ZentriggerError, match="not ended after 30 s: p r1 running"):
        follow(
            client,  # type: ignore[arg-type]
            "r1",
            PlainDisplay(io.StringIO()),
            timeout_seconds=30,
            sleep=lambda _: None,
            clock=lambda: next(times),
        )
    assert [seconds for seconds, _ in client.asked] == [0, 20, 5]
