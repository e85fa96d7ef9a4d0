"""Asking for the end of a run."""

from typing import Protocol

from zentrigger.errors import BusyError, ConflictError, NotFoundError
from zentrigger.observability import logger
from zentrigger.run_store import RunStore
from zentrigger.runs import Run

TRIES = 5


class Stops(Protocol):
    """Stops tasks."""

    def stop(self, task_arn: str, reason: str) -> None:
        """Ask ECS to stop a task."""
        ...


def cancel(run_id: str, *, runs: RunStore, tasks: Stops) -> Run:
    """Ask for the end of a run, at whatever status it is; asking again changes nothing.

    The request is kept first; `lifecycle` sees to it that the task is stopped, also if stopping it here fails.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it has ended.
        BusyError: it changed each time that it was looked at.

    """
    for _ in range(TRIES):
        run = runs.head(run_id)
        if run is None:
            raise NotFoundError(f"There is no run {run_id[:100]}. GET /runs lists them.")
        if run.status.final:
            raise ConflictError(f"The run has ended: it is {run.status}.")
        asked = run if run.cancel_requested_at else runs.request_cancel(run)
        if asked is not None:
            _stop(asked, tasks)
            return asked
    raise BusyError("The run is changing just now. Ask again.")


def _stop(run: Run, tasks: Stops) -> None:
    if run.task_arn is None:
        return
    try:
        tasks.stop(run.task_arn, "The run was cancelled.")
    except Exception:  # noqa: BLE001 - whatever it was, it is logged, and the request stands
        # The request is recorded, and the sweep sends StopTask until the task has stopped.
        logger.exception("a task could not be stopped", run_id=run.run_id)
