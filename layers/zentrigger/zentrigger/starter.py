"""Starting waiting runs: in the order of their rank, as far as slots are free, a bounded number at once."""

import heapq
from collections.abc import Callable, Iterator
from datetime import datetime

from zentrigger.capacity import groups_of, key_group, stack_group
from zentrigger.launches import LaunchAnswer, Refused
from zentrigger.lifecycle import StartWaiting, decide
from zentrigger.run_store import NoFreeSlotError, RunStore
from zentrigger.runs import Run
from zentrigger.timestamps import now

WAITING_LOOKED_AT = 2000
"""How many waiting runs are looked at for those that may start: some back off, some wait for their pipeline or key."""

WAITING_SWEPT = 20_000
"""How many the sweep looks at, once a minute, so that a pipeline which is paused keeps no other from its turn."""

STARTED_AT_ONCE = 40
"""How many waiting runs one invocation starts; RunTask takes 20 a second (AWS: ECS throttling)."""


class Starter:
    """Starts waiting runs. Safe to call from several places at once: a slot is taken in one transaction."""

    def __init__(
        self,
        runs: RunStore,
        launch: Callable[[Run], LaunchAnswer],
        *,
        max_active: int,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._runs = runs
        self._launch = launch
        self._max_active = max_active
        self._clock = clock

    def start_waiting(
        self,
        also: Run | None = None,
        *,
        looked_at: int = WAITING_LOOKED_AT,
        in_time: Callable[[], bool] = lambda: True,
    ) -> int:
        """Start waiting runs in the order of their rank while slots are free; gives how many.

        A run whose pipeline or concurrency key is full does not keep those behind it from starting; each run brings its
        own limit of its key.

        Args:
            also: A waiting run that the index may not show yet.
            looked_at: How many waiting runs to look at, at most.
            in_time: Tells whether there is time for one more.

        """
        if self._runs.capacity().active_runs >= self._max_active:
            return 0
        full: set[tuple[str, int | None]] = set()
        started = 0
        for run in self._in_line(also, looked_at):
            if started >= STARTED_AT_ONCE or not in_time():
                break
            if not isinstance(decide(run, self._clock()), StartWaiting):
                continue
            if not full.isdisjoint(_needed(run)):
                continue
            try:
                moved = self._runs.start(run, max_active=self._max_active)
            except NoFreeSlotError as refused:
                if stack_group() in refused.groups:
                    break
                full.update(needed for needed in _needed(run) if needed[0] in refused.groups)
                continue
            if moved is None:
                continue
            started += 1
            answer = self._launch(moved)
            if isinstance(answer, Refused) and answer.reason == "throttled":
                break
        return started

    def _in_line(self, also: Run | None, looked_at: int) -> Iterator[Run]:
        line = self._runs.waiting(looked_at)
        if also is None:
            yield from line
            return
        seen = False
        for run in heapq.merge([also], line, key=lambda run: run.rank):
            if run.run_id != also.run_id:
                yield run
            elif not seen:
                seen = True
                yield run


def _needed(run: Run) -> Iterator[tuple[str, int | None]]:
    """Give the groups in which a run needs a slot, and the limit that it brings along."""
    yield from ((group, None) for group in groups_of(run.pipeline, None))
    if run.concurrency is not None:
        yield key_group(run.concurrency.key), run.concurrency.limit
