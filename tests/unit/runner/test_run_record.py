"""The record is written through blips, within bounds."""

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from runner.run_record import RecordError, RunRecord
from zentrigger.attempt_store import NotClaimableError
from zentrigger.runs import Assignment, Output, Progress, Report, Timings
from zentrigger.timestamps import now

if TYPE_CHECKING:
    from collections.abc import Iterator

ASSIGNMENT = Assignment(run_id="r", attempt=1, execution="t", pipeline="p", snapshot="p:1", source="m:p")
SUCCESS = Report(outcome="succeeded", outputs=(Output(name="o", value=1),))


def refusal(code: str) -> ClientError:
    """Make an answer of DynamoDB."""
    return ClientError({"Error": {"Code": code, "Message": code}}, "UpdateItem")


class FlakyStore:
    """Raises what it is given, one after the other, and then works."""

    def __init__(self, *faults: Exception) -> None:
        self.faults: Iterator[Exception] = iter(faults)
        self.reports: list[Report] = []
        self.timings: Timings | None = None

    def _maybe(self) -> None:
        for fault in self.faults:
            raise fault

    def claim(self, _run_id: str, _attempt: int, _task_arn: str, timings: Timings | None) -> Assignment:
        """Claim."""
        self._maybe()
        self.timings = timings
        return ASSIGNMENT

    def save_progress(self, _run_id: str, _attempt: int, _progress: Progress) -> bool:
        """Save."""
        self._maybe()
        return True

    def report(self, _run_id: str, _attempt: int, _task_arn: str, report: Report) -> bool:
        """Report."""
        self._maybe()
        self.reports.append(report)
        return True


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        """Move on."""
        self.time += seconds


def record(store: FlakyStore, clock: Clock) -> RunRecord:
    """Make a record on a store."""
    return RunRecord(store, run_id="r", attempt=1, task_arn="t", clock=clock, sleep=clock.sleep)


def test_a_report_outlives_blips() -> None:
    """Throttling, lost connections, and denied rights that come back."""
    faults = [refusal("ThrottlingException"), ConnectTimeoutError(endpoint_url="x"), refusal("AccessDeniedException")]
    store = FlakyStore(*faults * 5)
    assert record(store, Clock()).report(SUCCESS)
    assert store.reports == [SUCCESS]


def test_a_report_is_given_up_after_minutes_with_the_reason() -> None:
    """The task is billed while it waits."""
    clock = Clock()
    store = FlakyStore(*[refusal("InternalServerError")] * 1000)
    with pytest.raises(RecordError, match="InternalServerError"):
        record(store, clock).report(SUCCESS)
    assert 200 < clock.time <= 300


def test_a_report_that_is_too_large_goes_without_its_outputs() -> None:
    """The outcome is not lost because an output does not fit."""
    store = FlakyStore(refusal("ValidationException"))
    assert record(store, Clock()).report(SUCCESS)
    assert store.reports[0].outcome == "succeeded"
    assert store.reports[0].outputs == ()
    assert "too large" in (store.reports[0].message or "")


def test_a_claim_outlives_blips_and_brings_what_the_task_knows_of_its_start() -> None:
    """Nothing is lost by trying again."""
    store, timings = FlakyStore(refusal("ThrottlingException")), Timings(pulled_at=now())
    assert record(store, Clock()).claim(timings) == ASSIGNMENT
    assert store.timings == timings


def test_a_claim_that_is_refused_is_not_repeated() -> None:
    """It is another task's run."""
    clock = Clock()
    with pytest.raises(NotClaimableError):
        record(FlakyStore(NotClaimableError("it is cancelled")), clock).claim()
    assert clock.time == 0


def test_a_lost_heartbeat_is_no_reason_to_stop() -> None:
    """The next one comes soon."""
    assert record(FlakyStore(refusal("ThrottlingException")), Clock()).save_progress(Progress(heartbeat_at=now()))
