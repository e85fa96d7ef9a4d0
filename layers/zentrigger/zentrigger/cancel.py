"""Asking for the end of a run."""

from typing import Protocol

from zentrigger.errors import BusyError, ConflictError, NotFoundError
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
        asked = runs.request_cancel(run)
        if asked is not None:
            if asked.task_arn is not None:
                tasks.stop(asked.task_arn, "The run was cancelled.")
            return asked
    raise BusyError("The run is changing just now. Ask again.")
