"""A reconciler, a starter and a sweep between doubles."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

from tests.factories import MOMENT, TASK
from zentrigger.capacity import Capacity
from zentrigger.launches import Network, Started
from zentrigger.reconciler import Reconciler
from zentrigger.run_items import ENDED
from zentrigger.run_store import RunStore
from zentrigger.runs import Run, RunStatus
from zentrigger.sweep import Sweep
from zentrigger.sweep_report import SweepReport


def ignored(_: str) -> None:
    """Do nothing with the id of a run."""


class Bench:
    """A reconciler between doubles; the table holds what it is told to."""

    def __init__(self, *runs: Run) -> None:
        self.heads = {of.run_id: of for of in runs}
        self.runs, self.tasks, self.publisher = Mock(spec=RunStore), Mock(), Mock()
        self.runs.head.side_effect = self.heads.get
        self.runs.get.return_value = None
        self.runs.active.side_effect = self._active
        self.unreadable: dict[str, str] = {}
        """Run id -> status of a run whose head cannot be read."""
        self.runs.waiting.side_effect = lambda limit, unreadable=ignored: iter(
            self._active("queued", limit, unreadable)
        )
        self.runs.capacity.return_value = Capacity(0, 0)
        self.runs.heartbeats.side_effect = lambda of: dict.fromkeys(run.run_id for run in of)
        self.capacity = Mock()
        self.timer: Any = lambda: 0.0
        self.capacity.compare.return_value = []
        self.runs.start.side_effect = lambda of, **_limits: of.model_copy(update={"status": RunStatus.STARTING})
        self.tasks.describe.side_effect = dict.fromkeys
        self.tasks.find.return_value = None
        self.tasks.run_task.return_value = Started(TASK)

    def _active(self, status: str, limit: int, unreadable: Callable[[str], object] = ignored) -> tuple[Run, ...]:
        for run_id, unread in self.unreadable.items():
            if unread == status:
                unreadable(run_id)
        found = [
            of
            for of in self.heads.values()
            if of.status == status or (status == ENDED and of.status.final and of.announced_at is None)
        ]
        return tuple(found[:limit])

    @property
    def reconciler(self) -> Reconciler:
        """Give the reconciler."""
        return Reconciler(
            runs=self.runs,
            tasks=self.tasks,
            publisher=self.publisher,
            cluster="c",
            network=Network(("s",), ("g",), "ENABLED"),
            max_active=5,
            clock=lambda: MOMENT,
        )

    def sweep(self) -> SweepReport:
        """Sweep once."""
        return Sweep(
            runs=self.runs,
            capacity=self.capacity,
            tasks=self.tasks,
            reconciler=self.reconciler,
            clock=lambda: MOMENT,
            timer=self.timer,
        ).sweep()

    def start_waiting(self, **arguments: Any) -> int:
        """Start waiting runs."""
        return self.reconciler.starter.start_waiting(**arguments)

    def ended(self) -> list[tuple[str, RunStatus, str | None]]:
        """Give which runs were ended, how and why."""
        return [(call.args[0].run_id, call.args[1], call.args[2]) for call in self.runs.end.call_args_list]
