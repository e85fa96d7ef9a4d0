"""Every end of a child has its name."""

from typing import Any

import pytest

from runner.child_process import ChildExit
from runner.verdicts import Circumstances, verdict
from zentrigger.runs import Report, StepProgress

GIBIBYTE = 1024**3
TRAINING = (StepProgress(name="load", status="completed"), StepProgress(name="train", status="running"))


def end(code: int | None = None, signal: int | None = None, *, peak_rss: int = 1000, oom_kills: int = 0) -> ChildExit:
    """Make an end of a child."""
    return ChildExit(code=code, signal=signal, peak_rss=peak_rss, oom_kills=oom_kills)


def circumstances(
    *, stopping: bool = False, timed_out_after: int | None = None, memory_limit: int | None = GIBIBYTE
) -> Circumstances:
    """Make circumstances in which step `train` runs."""
    return Circumstances(stopping=stopping, timed_out_after=timed_out_after, memory_limit=memory_limit, steps=TRAINING)


@pytest.mark.parametrize(
    ("ended", "reason", "exit_code"),
    [
        (end(0), "result_missing", 0),
        (end(3), "result_missing", 3),
        (end(signal=9), "killed", 137),
        (end(signal=9, peak_rss=GIBIBYTE), "out_of_memory", 137),
        (end(signal=9, oom_kills=1), "out_of_memory", 137),
        (end(signal=11, peak_rss=GIBIBYTE), "killed", 139),
        (end(signal=15), "killed", 143),
        (end(signal=64), "killed", 192),
    ],
)
def test_an_end_without_a_word_is_named(ended: ChildExit, reason: str, exit_code: int) -> None:
    """Exit codes, signals, and memory; the step that ran is named and the last known steps are kept."""
    report = verdict(ended, None, circumstances())
    assert (report.outcome, report.reason, report.exit_code) == ("failed", reason, exit_code)
    assert report.steps == TRAINING
    assert "while step train ran" in (report.message or "")


def test_out_of_memory_says_what_there_was_and_where_to_ask_for_more() -> None:
    """In the words of the API."""
    message = verdict(end(signal=9, peak_rss=GIBIBYTE), None, circumstances()).message or ""
    assert "1024 MiB of the task's 1024 MiB" in message
    assert "`resources.memory`" in message


def test_without_a_limit_a_kill_is_a_kill() -> None:
    """Nobody can tell how near it was."""
    assert verdict(end(signal=9, peak_rss=GIBIBYTE), None, circumstances(memory_limit=None)).reason == "killed"


@pytest.mark.parametrize("told", [None, "pipeline_failed", "stopped"])
def test_whatever_ends_while_stopping_was_stopped(told: str | None) -> None:
    """Also when ZenML reports the interrupted step as failed."""
    report = Report(outcome="failed", reason=told) if told else None
    assert verdict(end(signal=9), report, circumstances(stopping=True)).reason == "stopped"


@pytest.mark.parametrize("told", [None, "pipeline_failed", "stopped"])
def test_whatever_ends_after_its_time_was_up_has_timed_out(told: str | None) -> None:
    """The message says the limit, where the time went, and what to do."""
    report = verdict(
        end(signal=9), Report(outcome="failed", reason=told) if told else None, circumstances(timed_out_after=90)
    )
    assert (report.outcome, report.reason, report.exit_code) == ("failed", "timed_out", 137)
    assert "after 90 s while step train ran" in (report.message or "")
    assert "timeout_seconds" in (report.message or "")


def test_a_stop_goes_before_a_time_limit() -> None:
    """Whoever cancelled is not told that the limit was too small."""
    assert verdict(end(signal=15), None, circumstances(stopping=True, timed_out_after=90)).reason == "stopped"


@pytest.mark.parametrize("ending", [{"stopping": True}, {"timed_out_after": 1}])
@pytest.mark.parametrize("reason", ["parameters_refused", "pipeline_not_importable"])
def test_a_refusal_stays_one_while_it_is_ended(reason: str, ending: dict[str, Any]) -> None:
    """It would have come anyway."""
    told = Report(outcome="failed", reason=reason)
    assert verdict(end(1), told, circumstances(**ending)).reason == reason


@pytest.mark.parametrize("ending", [{"stopping": True}, {"timed_out_after": 1}])
def test_a_success_stays_one_whatever_came_after_it(ending: dict[str, Any]) -> None:
    """The work is done; whether a stop still counts is for the record's owner to say."""
    told = Report(outcome="succeeded")
    assert verdict(end(signal=9), told, circumstances(**ending)).outcome == "succeeded"
