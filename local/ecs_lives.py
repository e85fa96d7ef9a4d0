"""The lives of tasks: from their creation over their host to their end, and the events that tell of it."""

from __future__ import annotations

import copy
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from local.ecs_bodies import new_body, new_event, wire
from local.ecs_faults import HOST_IS_GONE, OUT_OF_MEMORY, SPOT_INTERRUPTION
from local.ecs_records import Death, Memory, Record
from local.ecs_requests import EcsError
from local.ecs_tasks import ContainerExit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from local.ecs_faults import TaskFaults
    from local.ecs_tasks import ContainerRuntime, Task

logger = logging.getLogger(__name__)

Body = dict[str, Any]


class Lives:
    """All tasks and what becomes of them; thread-safe.

    `publish` gets one event per change of a task, in order and never two at once; no lock is held meanwhile, but who
    made the change waits for it. `place` names Region and account.
    """

    def __init__(  # noqa: PLR0913 - one argument for each neighbour, all by name
        self,
        *,
        memory: Memory,
        runtime: ContainerRuntime,
        publish: Callable[[Body], None],
        clock: Callable[[], datetime],
        faults: TaskFaults,
        place: tuple[str, str],
    ) -> None:
        self._memory = memory
        self._runtime = runtime
        self._publish = publish
        self._clock = clock
        self._faults = faults
        self._region, self._account_id = place
        self._lock = threading.Lock()
        self._events: deque[Body] = deque()
        self._publishing = False
        self._closed = False

    def close(self) -> None:
        """Kill what runs. No event is published from here on, and no task is created."""
        with self._lock:
            self._closed = True
            self._events.clear()
        self._runtime.close()

    # ------------------------------------------------------------ what there is

    def replay(self, key: tuple[str, str] | None, asked: str) -> Body | None:
        """Return the answer that this token of a cluster got; raises EcsError if something else was asked then."""
        with self._lock:
            return self._replay(key, asked)

    def show(self, arn: str, cluster_arn: str) -> tuple[Body, list[dict[str, str]]] | None:
        """Return a task of a cluster as answers have it, and its tags."""
        with self._lock:
            self._memory.forget(self._clock())
            record = self._memory.find(arn, cluster_arn)
            return (wire(record.body), copy.deepcopy(record.tags)) if record else None

    def select(self, wanted: Callable[[Record], bool]) -> list[str]:
        """Return the ARNs of the tasks that are wanted, oldest first."""
        with self._lock:
            self._memory.forget(self._clock())
            return [record.task.arn for record in self._memory if wanted(record)]

    def _replay(self, key: tuple[str, str] | None, asked: str) -> Body | None:
        self._memory.forget(self._clock())
        return self._memory.replay(key, asked)

    def _record(self, arn: str) -> Record:
        with self._lock:
            return self._memory.get(arn)

    # ------------------------------------------------------------ beginnings

    def create(
        self, tasks: Sequence[Task], failures: Sequence[Body], body: Body, *, key: tuple[str, str] | None, asked: str
    ) -> Body:
        """Create the tasks of a RunTask request, once for each token, and launch them; returns what RunTask answers."""
        with self._lock:
            # Two callers may have got here with one token; the second finds the answer of the first.
            if (answer := self._replay(key, asked)) is not None:
                return answer
            if self._closed:
                raise EcsError("ServerException", "The embedded ECS is shutting down.")
            records = tuple(self._create(task, body) for task in tasks)
            answer = {"tasks": [wire(record.body) for record in records], "failures": list(failures)}
            if key:
                self._memory.remember(key, asked, answer, records, self._clock())
        self._drain()
        for record in records:
            self._launch(record)
        return answer

    def _create(self, task: Task, body: Body) -> Record:
        """Record a new task; the lock is held."""
        record = Record(task, new_body(task, body), copy.deepcopy(body.get("tags") or []), self._changed)
        self._memory.add(record)
        record.change(lastStatus="PROVISIONING")
        return record

    def _launch(self, record: Record) -> None:
        if not self._prepare(record):
            return
        try:
            self._runtime.start(
                record.task,
                lambda container_exit: self._exited(record, container_exit),
                lambda: self._running(record),
            )
        except Exception as error:
            logger.exception("task %s could not be started", record.task.task_id)
            self._exited(record, ContainerExit(None, f"ResourceInitializationError: {error}"))
        with self._lock:
            record.accepted = True
            stop = (record.ending or record.death is not None) and not record.stopped
        if stop:  # it was to end while the runtime was starting it
            self._tell(record)

    def _prepare(self, record: Record) -> bool:
        """Bring the task up to where its host takes over; returns whether it gets there."""
        stuck = self._faults.stuck(record.task)
        failure = self._faults.start_failure(record.task) if stuck is None else None
        with self._lock:
            now = self._clock()
            record.hanging = stuck is not None
            if record.ending or record.death is not None:  # it was to end before anything was started
                record.end(now, ContainerExit(None))
            elif failure is not None:
                if failure.hosted:
                    record.prepare(now)
                record.death = failure
                record.end(now, failure.container)
            elif stuck != "PROVISIONING":
                record.prepare(now)
            starts = not record.stopped and stuck is None
        self._drain()
        return starts

    # ------------------------------------------------------------ what the runtime says

    def _running(self, record: Record) -> None:
        with self._lock:
            started = record.run(self._clock())
        self._drain()
        what = self._faults.death(record.task) if started else None
        if what is not None:
            self._faults.later(lambda: self._befall(record, what))

    def _exited(self, record: Record, container_exit: ContainerExit) -> None:
        with self._lock:
            if not record.stopped:
                record.end(self._clock(), container_exit)
        self._drain()

    # ------------------------------------------------------------ ends

    def stop(self, arn: str, cluster_arn: str, reason: str) -> Body | None:
        """Stop a task of a cluster as its user; returns it as answers have it, None if it is not known."""
        with self._lock:
            self._memory.forget(self._clock())
            record = self._memory.find(arn, cluster_arn)
            if record is None:
                return None
            record.tags = []  # "Any tags associated with the task will be deleted."
            asked_first = record.stop(self._clock(), "UserInitiated", reason)
            shown: Body = wire(record.body)
        self._drain()
        if asked_first:
            self._tell(record)
        return shown

    def interrupt(self, arn: str) -> bool:
        """Take a Spot task's capacity back; see `Ecs.interrupt`."""
        record = self._record(arn)
        if record.task.capacity_provider != "FARGATE_SPOT":
            raise ValueError(f"{arn} is not of FARGATE_SPOT.")
        with self._lock:
            interrupted = not self._closed and record.stop(self._clock(), *SPOT_INTERRUPTION)
        self._drain()
        if interrupted:
            self._tell(record)
        return interrupted

    def lose_host(self, arn: str, stop_code: str) -> bool:
        """Let the host of a task die; see `Ecs.lose_host`."""
        return self._kill(arn, Death(ContainerExit(None), stop_code, HOST_IS_GONE))

    def exhaust_memory(self, arn: str) -> bool:
        """Let a task be killed for its memory; see `Ecs.exhaust_memory`."""
        killed = ContainerExit(137, OUT_OF_MEMORY)
        return self._kill(arn, Death(killed, "EssentialContainerExited", "Essential container in task exited"))

    def _kill(self, arn: str, death: Death) -> bool:
        record = self._record(arn)
        with self._lock:
            if self._closed or record.stopped:
                return False
            record.death = death
        self._tell(record)
        return True

    def _befall(self, record: Record, what: str) -> None:
        try:
            if what == "spot_interruption":
                self.interrupt(record.task.arn)
            elif what == "platform_death":
                self.lose_host(record.task.arn, "InfrastructureHealth")
            else:
                self.exhaust_memory(record.task.arn)
        except KeyError:
            logger.debug("task %s was forgotten before it could die", record.task.task_id)

    def _tell(self, record: Record) -> None:
        """Tell the runtime that the task is to end; one that does not know it yet is told by `_launch`."""
        with self._lock:
            accepted, hanging, killed = record.accepted, record.hanging, record.death is not None
        if hanging:
            self._exited(record, ContainerExit(None))
        elif accepted:
            self._runtime.stop(record.task.task_id, 0 if killed else record.task.container.stop_timeout)

    # ------------------------------------------------------------ events

    def _changed(self, record: Record) -> None:
        """Note that an event is due; the lock is held."""
        if not self._closed:
            body, now = record.body, self._clock()
            self._events.append(new_event(body, now=now, region=self._region, account_id=self._account_id))

    def _drain(self) -> None:
        """Publish what is due, in order. Whoever finds another thread at it leaves the rest to that thread."""
        with self._lock:
            if self._publishing:
                return
            self._publishing = True
        while True:
            with self._lock:
                if not self._events:
                    self._publishing = False
                    return
                event = self._events.popleft()
            try:
                self._publish(event)
            except Exception:  # the state has changed whether or not somebody hears of it
                logger.exception("an event of %s could not be published", event["resources"][0])
