"""Progress: which step of a running pipeline stands where, read from the ZenML store by a thread."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from zenml.client import Client
from zenml.models import PipelineRunResponse, StepRunResponse
from zenml.utils import dashboard_utils

from zentrigger.runs import Progress, StepProgress
from zentrigger.timestamps import now

MAX_STEPS = 200
"""The newest steps of a pipeline that has more (a dynamic one); the record is bounded."""

WAITING = "queued"
"""The status of a step that ZenML has not begun, in ZenML's own words."""

_SHORTEST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_PAUSE_FACTOR = 10
"""A look takes 12 to 70 ms on SQLite, longer on a busy server: at most a tenth of the time goes into looking."""

_log = logging.getLogger(__name__)


class ProgressThread(threading.Thread):
    """Looks at a run, found by its unique name, and tells when something changed; ends with `stop`."""

    def __init__(self, run_name: str, planned: Sequence[str], tell: Callable[[Progress], None]) -> None:
        super().__init__(name="progress", daemon=True)
        self._run_name = run_name
        self._planned = tuple(planned)
        self._tell = tell
        self._stopped = threading.Event()
        self._run: PipelineRunResponse | None = None
        self._told: Progress | None = None

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()
        self.join(timeout=10)

    def run(self) -> None:
        """Look until told to stop."""
        pause = 0.0
        while not self._stopped.wait(pause):
            began = time.monotonic()
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - whatever a look runs into, the run goes on and the next look follows
                _log.warning("could not see how far the pipeline is: %s: %s", type(error).__name__, error)
            pause = min(max(_SHORTEST_PAUSE, _PAUSE_FACTOR * (time.monotonic() - began)), _LONGEST_PAUSE)

    def _look(self) -> None:
        if self._run is None:
            self._run = find_run(self._run_name)
        steps = step_progress(self._run.id, self._planned) if self._run else waiting(self._planned)
        progress = Progress(
            heartbeat_at=now(),
            steps=steps,
            zenml_run_id=str(self._run.id) if self._run else None,
            dashboard_url=dashboard_utils.get_run_url(self._run) if self._run else None,
        )
        if self._told is None or progress.model_copy(update={"heartbeat_at": self._told.heartbeat_at}) != self._told:
            self._told = progress
            self._tell(progress)


def find_run(name: str) -> PipelineRunResponse | None:
    """Find a run by its unique name."""
    return next(iter(Client().list_pipeline_runs(name=name, size=1, hydrate=True)), None)


def step_progress(run_id: UUID, planned: Sequence[str]) -> tuple[StepProgress, ...]:
    """Give where each step of a run stands: the planned ones in their order, then the others in order of start."""
    page = Client().list_run_steps(
        sort_by="desc:created", size=MAX_STEPS, pipeline_run_id=run_id, exclude_retried=True, hydrate=False
    )
    begun = {step.name: _of(step) for step in reversed(page.items)}
    steps = [begun.pop(name) if name in begun else StepProgress(name=name, status=WAITING) for name in planned]
    return tuple([*steps, *begun.values()][-MAX_STEPS:])


def waiting(planned: Sequence[str]) -> tuple[StepProgress, ...]:
    """Give the planned steps before any has begun."""
    return tuple(StepProgress(name=name, status=WAITING) for name in planned[-MAX_STEPS:])


def _of(step: StepRunResponse) -> StepProgress:
    return StepProgress(
        name=step.name,
        status=step.status.value,
        started_at=_utc(step.start_time),
        finished_at=_utc(step.end_time),
    )


def _utc(moment: datetime | None) -> datetime | None:
    """ZenML gives moments in UTC, without saying so."""
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
