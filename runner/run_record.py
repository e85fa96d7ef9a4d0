"""The run's record, written through blips: what a task has to say is not lost because a call failed once."""

import logging
import random
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from zentrigger.errors import ZentriggerError
from zentrigger.runs import Assignment, Progress, Report, Timings

CLAIM_SECONDS = 120.0
REPORT_SECONDS = 300.0
"""How long a report is tried. The task is billed meanwhile, and the run's result hangs on it."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 20.0
_FAULTS = (BotoCoreError, ClientError, ZentriggerError)
_log = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class RecordError(Exception):
    """The record could not be written in all the time there was; the text says why."""


class Store(Protocol):
    """What the runner needs of the run store."""

    def claim(self, run_id: str, attempt: int, task_arn: str, timings: Timings | None) -> Assignment:
        """Claim an attempt for a task; raises NotClaimableError when it is not this task's to run."""

    def save_progress(self, run_id: str, attempt: int, progress: Progress) -> bool:
        """Keep the progress; False: another attempt has taken over."""

    def report(self, run_id: str, attempt: int, task_arn: str, report: Report) -> bool:
        """Keep the report; False: the run is no longer this task's."""


class RunRecord:
    """One attempt's side of its run's record."""

    def __init__(  # noqa: PLR0913 - the last two for tests
        self,
        store: Store,
        *,
        run_id: str,
        attempt: int,
        task_arn: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._run_id = run_id
        self._attempt = attempt
        self._task_arn = task_arn
        self._clock = clock
        self._sleep = sleep

    def claim(self, timings: Timings | None = None) -> Assignment:
        """Claim this attempt, and keep with it when the task's image was pulled and its container ran.

        Raises:
            NotClaimableError: it is not this task's to run.
            RecordError: the record could not be reached.

        """
        return self._try(
            "claim the run",
            CLAIM_SECONDS,
            lambda: self._store.claim(self._run_id, self._attempt, self._task_arn, timings),
        )

    def save_progress(self, progress: Progress) -> bool:
        """Keep the progress; one try, for the next beat comes soon. False: another attempt has taken over."""
        try:
            return self._store.save_progress(self._run_id, self._attempt, progress)
        except _FAULTS as error:
            _log.warning("a heartbeat was not written: %s", _text(error))
            return True

    def report(self, report: Report) -> bool:
        """Report how the attempt went. False: the run is no longer this task's.

        A report that the store refuses for what it holds (an item too large) is given again without its outputs.

        Raises:
            RecordError: the record could not be reached.

        """
        try:
            return self._report(report)
        except _UnacceptableError as error:
            _log.error("the report was refused and goes without outputs: %s", error)
            message = report.message or "The outputs were too large to keep in the run's record."
            short = report.model_copy(update={"outputs": (), "steps": report.steps[-20:], "message": message})
            try:
                return self._report(short)
            except _UnacceptableError as again:
                raise RecordError(f"Could not report how the run went: {again}") from again

    def _report(self, report: Report) -> bool:
        return self._try(
            "report how the run went",
            REPORT_SECONDS,
            lambda: self._store.report(self._run_id, self._attempt, self._task_arn, report),
        )

    def _try(self, what: str, seconds: float, call: Callable[[], Answer]) -> Answer:
        deadline = self._clock() + seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return call()
            except _FAULTS as error:
                if _code(error) == "ValidationException":
                    raise _UnacceptableError(_text(error)) from error
                if self._clock() + pause > deadline:
                    raise RecordError(f"Could not {what} within {seconds:.0f} s: {_text(error)}") from error
                _log.warning("could not %s, trying again: %s", what, _text(error))
            self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(2 * pause, _LONGEST_PAUSE)


class _UnacceptableError(Exception):
    """The store will never take this."""


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
