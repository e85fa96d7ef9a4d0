"""The soak's judge notices what must not be: it is given records that do not fit what their tasks did."""

from typing import Any

import pytest

from benchmarks.soak.rules import violations
from benchmarks.soak.tasks import ERROR, Fate, Kind, Story
from tests.factories import MOMENT, TASK, run, run_input
from zentrigger.retries import RetryPolicy
from zentrigger.runs import Attempt, Report, RunError, RunRecord

SUCCESS = Report(outcome="succeeded")
RAISED = Report(outcome="failed", reason="pipeline_failed", error=RunError(type=ERROR, message="no such column"))
RETRY = RetryPolicy(max_attempts=2)


def story(attempt: int = 1, **values: Any) -> Story:
    death: Kind | None = values.pop("death", None)
    return Story("r", attempt, f"{TASK}{attempt}", on_spot=False, fate=Fate(), death=death, **values)


def succeeded(attempt: int = 1) -> Story:
    return story(attempt, claimed=True, reported=SUCCESS)


def record(*earlier: str, **values: Any) -> RunRecord:
    told = [
        Attempt(number=number, launches=1, ended_at=MOMENT, outcome="failed", reason=reason)
        for number, reason in enumerate(earlier, 1)
    ]
    head = run(**{"status": "succeeded", "attempt": len(earlier) + 1, "ended_at": MOMENT} | values)
    return RunRecord(run=head, input=run_input(), earlier_attempts=tuple(told))


def judged(of: RunRecord, *stories: Story, cancelled: bool | None = False) -> list[str]:
    return violations(of, stories, cancelled=cancelled, skips=False)


FITTING = [
    (record(), [succeeded()]),
    (record("task_killed"), [story(death="killed_before"), succeeded(2)]),
    (record("pipeline_failed", retry=RETRY), [story(claimed=True, reported=RAISED), succeeded(2)]),
    (record(status="failed", reason="pipeline_failed"), [story(claimed=True, reported=RAISED)]),
    (record(status="failed", reason="task_killed"), [story(claimed=True, death="killed_after")]),
    (record(status="failed", reason="infrastructure"), [story(claimed=True, death="host_lost_after")]),
    (record("infrastructure", retry=RETRY), [story(claimed=True, death="host_lost_after"), succeeded(2)]),
    (record("spot_interrupted", spot=True), [story(claimed=True, death="interrupted_after"), succeeded(2)]),
]
UNFITTING = [
    ("2 tasks", record(), [succeeded(), succeeded()]),
    ("may not be repeated", record("task_killed"), [story(claimed=True, death="killed_after"), succeeded(2)]),
    ("another attempt was due", record(status="failed", reason="task_killed"), [story(death="killed_before")]),
    ("instead of", record(status="failed", reason="task_killed"), [succeeded()]),
    ("instead of", record(status="failed", reason="killed"), [story(claimed=True, death="killed_after")]),
    ("nothing had happened", record(status="failed", reason="task_stopped"), [story(claimed=True)]),
    ("to be the last", record("task_killed"), [succeeded()]),
    ("the story is", record("capacity"), [story(death="killed_before"), succeeded(2)]),
    ("nothing to claim", record(), [succeeded(), story(2, refused="it is running")]),
    ("not cancelled", record(status="cancelled", reason="cancelled"), []),
    ("skipped", record(status="cancelled", reason="skipped_overlap"), [succeeded()]),
]


@pytest.mark.parametrize(("of", "stories"), FITTING)
def test_what_fits_is_no_violation(of: RunRecord, stories: list[Story]) -> None:
    assert judged(of, *stories) == []


@pytest.mark.parametrize(("said", "of", "stories"), UNFITTING)
def test_what_does_not_fit_is_one(said: str, of: RunRecord, stories: list[Story]) -> None:
    assert any(said in found for found in judged(of, *stories)), judged(of, *stories)


def test_a_cancelled_run_is_cancelled_and_nothing_else() -> None:
    assert judged(record(), succeeded(), cancelled=True)
    assert judged(record(), succeeded(), cancelled=None) == []
    assert judged(record(status="cancelled", reason="cancelled"), succeeded(), cancelled=True) == []
