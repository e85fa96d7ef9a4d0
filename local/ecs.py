"""ECS as far as runs need it: RunTask, StopTask, DescribeTasks, ListTasks and the events of their tasks.

One model for the embedded AWS and for tests. It knows nothing of sockets or processes: a `ContainerRuntime` runs the
tasks, `publish` takes the events. What ECS does with other launch types, services and container instances is left out;
task definitions are in `task_definitions.py`.

Sources: the ECS API reference (RunTask, StopTask, DescribeTasks, ListTasks, ECS_Idempotency) and the developer guide
(task lifecycle, ecs_task_events, stopped-task-error-codes).
"""

from __future__ import annotations

import copy
import logging
import random
import threading
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from local.ecs_bodies import attach, iso, new_body, wire
from local.ecs_requests import (
    MAX_DESCRIBED,
    EcsError,
    check_launch,
    client_token,
    container_of,
    invalid,
    overrides_of,
    page,
    parameters,
    size_of,
    text,
    texts,
)
from local.ecs_tasks import Container, ContainerExit, ContainerRuntime, Task

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Container", "ContainerExit", "ContainerRuntime", "Ecs", "EcsError", "Task"]

logger = logging.getLogger(__name__)

MAX_STARTED_BY: Final = 128
MAX_COUNT: Final = 10
STOPPED_TASKS_ARE_KEPT: Final = timedelta(hours=1)
TOKENS_ARE_KEPT: Final = timedelta(hours=24)


def place_always(task: Task) -> str | None:  # noqa: ARG001 - the shape of a placement
    """Find room for every task."""
    return None


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


@dataclass(slots=True)
class _Record:
    """A task and its state; `body` is DescribeTasks' answer with datetimes in place of numbers."""

    task: Task
    body: dict[str, Any]
    tags: list[dict[str, str]]
    accepted: bool = False  # the runtime knows the task, so it can be told to stop it

    @property
    def stopped(self) -> bool:
        return bool(self.body["lastStatus"] == "STOPPED")


@dataclass(frozen=True, slots=True)
class _Token:
    """What was asked with a client token, and the answer."""

    parameters: str
    answer: dict[str, Any]
    records: tuple[_Record, ...]
    used_at: datetime

    def expires_at(self) -> datetime:
        """Lesser of 24 hours and the life of the task plus one hour; an answer without tasks has no life."""
        day = self.used_at + TOKENS_ARE_KEPT
        if not all(record.stopped for record in self.records):
            return day
        ends = [record.body["stoppedAt"] for record in self.records]
        return min(day, max(ends, default=self.used_at) + STOPPED_TASKS_ARE_KEPT)


class Ecs:
    """The four actions, by ECS's own rules; thread-safe.

    `task_definition` gets a family, `family:revision` or an ARN and returns what DescribeTaskDefinition says, or raises
    KeyError. `cluster_exists` gets a cluster's short name. `publish` gets one event per change of a task, in order and
    never two at once; no lock is held meanwhile, but the caller of an action waits for it. Both are called without a
    lock, so they may call back.

    `placement` may refuse a task with a reason, which becomes an entry of RunTask's `failures`. Together with `handle`,
    which every call passes, it is where faults can be injected.
    """

    ACTIONS: ClassVar[frozenset[str]] = frozenset({"RunTask", "StopTask", "DescribeTasks", "ListTasks"})

    def __init__(  # noqa: PLR0913 - one argument for each neighbour, all by name
        self,
        *,
        region: str,
        account_id: str,
        runtime: ContainerRuntime,
        task_definition: Callable[[str], dict[str, Any]],
        cluster_exists: Callable[[str], bool],
        publish: Callable[[dict[str, Any]], None],
        clock: Callable[[], datetime] = utc_now,
        placement: Callable[[Task], str | None] = place_always,
    ) -> None:
        self._region = region
        self._account_id = account_id
        self._runtime = runtime
        self._task_definition = task_definition
        self._cluster_exists = cluster_exists
        self._publish = publish
        self._clock = clock
        self._placement = placement
        self._lock = threading.Lock()
        self._records: dict[str, _Record] = {}  # by ARN, oldest first
        self._tokens: dict[tuple[str, str], _Token] = {}  # by cluster ARN and token
        self._events: deque[dict[str, Any]] = deque()
        self._publishing = False
        self._closed = False

    def handle(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one call: the HTTP status and the JSON 1.1 body. Errors have `__type` and `message`."""
        actions = {
            "RunTask": self._run_task,
            "StopTask": self._stop_task,
            "DescribeTasks": self._describe_tasks,
            "ListTasks": self._list_tasks,
        }
        try:
            if action not in actions:
                raise EcsError("UnknownOperationException", f"{action} is not an action of this ECS.")  # noqa: TRY301
            return 200, actions[action](body)
        except EcsError as error:
            return 400, error.body

    def close(self) -> None:
        """Kill what runs. No event is published from here on, and no task is accepted."""
        with self._lock:
            self._closed = True
            self._events.clear()
        self._runtime.close()

    # ------------------------------------------------------------ RunTask

    def _run_task(self, body: dict[str, Any]) -> dict[str, Any]:
        cluster_arn = self._cluster(body)
        key = (cluster_arn, token) if (token := client_token(body)) else None
        asked = parameters(body)
        # A replay is answered even if its task definition is gone by now, so the token comes first.
        with self._lock:
            if (answer := self._replay(key, asked)) is not None:
                return answer
        tasks, failures = [], []
        for task in self._new_tasks(cluster_arn, body):
            reason = self._placement(task)
            if reason is None:
                tasks.append(task)
            else:
                failures.append({"arn": task.arn, "reason": reason})
        with self._lock:
            # Two callers may have got here with one token; the second finds the answer of the first.
            if (answer := self._replay(key, asked)) is not None:
                return answer
            if self._closed:
                raise EcsError("ServerException", "The embedded ECS is shutting down.")
            records = tuple(self._create(task, body) for task in tasks)
            answer = {"tasks": [wire(record.body) for record in records], "failures": failures}
            if key:
                self._tokens[key] = _Token(asked, copy.deepcopy(answer), records, self._clock())
        self._drain()
        for record in records:
            self._launch(record)
        return answer

    def _replay(self, key: tuple[str, str] | None, asked: str) -> dict[str, Any] | None:
        self._forget()
        known = self._tokens.get(key) if key else None
        if known is None:
            return None
        if known.parameters != asked:
            arns = [record.task.arn for record in known.records]
            raise EcsError(
                "ConflictException",
                "The provided clientToken is already in use with a different RunTask request.",
                resourceIds=arns,
            )
        return copy.deepcopy(known.answer)

    def _new_tasks(self, cluster_arn: str, body: dict[str, Any]) -> list[Task]:
        definition = self._definition(text(body, "taskDefinition", required=True))
        overrides = overrides_of(body, definition)
        count = body.get("count", 1)
        if not isinstance(count, int) or not 1 <= count <= MAX_COUNT:
            raise invalid(f"Count must be between 1 and {MAX_COUNT}.")
        if len(text(body, "startedBy")) > MAX_STARTED_BY:
            raise invalid(f"startedBy can have at most {MAX_STARTED_BY} characters.")
        check_launch(body, definition)
        cpu, memory = size_of(definition, overrides)
        container = container_of(definition, overrides)
        if container.memory and container.memory > memory:
            raise invalid(f"'memory' setting for container '{container.name}' is greater than for task.")
        cluster = cluster_arn.rsplit("/", 1)[-1]
        return [
            Task(
                arn=self._arn(f"task/{cluster}/{uuid.uuid4().hex}"),
                cluster_arn=cluster_arn,
                definition=definition,
                container=container,
                cpu=cpu,
                memory=memory,
                launch_type="FARGATE",
                availability_zone=f"{self._region}a",
                created_at=self._clock(),
            )
            for _ in range(count)
        ]

    def _create(self, task: Task, body: dict[str, Any]) -> _Record:
        """Record a new task; the lock is held."""
        record = _Record(task, new_body(task, body), tags=copy.deepcopy(body.get("tags") or []))
        self._records[task.arn] = record
        self._change(record, lastStatus="PROVISIONING")
        return record

    def _launch(self, record: _Record) -> None:
        with self._lock:
            if record.body["desiredStatus"] == "STOPPED":  # StopTask came first: nothing was started
                self._end(record, ContainerExit(None))
                start = False
            else:
                attach(record.body, "ATTACHING")
                self._change(record, lastStatus="PENDING", pullStartedAt=self._clock())
                start = True
        self._drain()
        if not start:
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
            stop = record.body["desiredStatus"] == "STOPPED" and not record.stopped
        if stop:  # StopTask came while the runtime was starting it
            self._runtime.stop(record.task.task_id, record.task.container.stop_timeout)

    # ------------------------------------------------------------ what the runtime says

    def _running(self, record: _Record) -> None:
        with self._lock:
            self._run(record)
        self._drain()

    def _exited(self, record: _Record, container_exit: ContainerExit) -> None:
        with self._lock:
            if not record.stopped:
                if container_exit.exit_code is not None:
                    self._run(record)
                self._end(record, container_exit)
        self._drain()

    def _run(self, record: _Record) -> None:
        """Note that the process has started; the lock is held."""
        if record.body["lastStatus"] != "PENDING":
            return
        now = self._clock()
        for container in record.body["containers"]:
            container.update(lastStatus="RUNNING", runtimeId=f"{record.task.task_id}-{random.randrange(10**10):010}")  # noqa: S311 - no secret
        attach(record.body, "ATTACHED")
        record.body.update(connectivity="CONNECTED", connectivityAt=now, pullStoppedAt=now, startedAt=now)
        self._change(record, lastStatus="RUNNING")

    def _end(self, record: _Record, container_exit: ContainerExit) -> None:
        """Note that the container has ended: two changes, as Fargate gives its network back; the lock is held."""
        now = self._clock()
        body = record.body
        essential = record.task.container.name
        for container in body["containers"]:
            container["lastStatus"] = "STOPPED"
            if container["name"] == essential:
                if container_exit.exit_code is not None:
                    container["exitCode"] = container_exit.exit_code
                if container_exit.reason:
                    container["reason"] = container_exit.reason
        if container_exit.exit_code is not None:
            code, reason = "EssentialContainerExited", "Essential container in task exited"
        elif "startedAt" in body:
            # The process was there and nobody knows its end: the host is to blame.
            code, reason = "InfrastructureHealth", container_exit.reason or "Host of the task is gone"
        else:
            code, reason = "TaskFailedToStart", container_exit.reason or "Task failed to start"
        # Who asked first gives the reason: a task that StopTask ended stays UserInitiated.
        body.setdefault("stopCode", code)
        body.setdefault("stoppedReason", reason)
        body.setdefault("stoppingAt", now)
        body.update(desiredStatus="STOPPED", executionStoppedAt=now)
        self._change(record, lastStatus="DEPROVISIONING")
        attach(body, "DELETED")
        self._change(record, lastStatus="STOPPED", stoppedAt=now)

    # ------------------------------------------------------------ StopTask

    def _stop_task(self, body: dict[str, Any]) -> dict[str, Any]:
        cluster_arn = self._cluster(body)
        reference = text(body, "task", required=True)
        reason = text(body, "reason") or "Task stopped by user"
        with self._lock:
            self._forget()
            record = self._find(cluster_arn, reference)
            if record is None:
                raise invalid("The referenced task was not found.")
            record.tags = []  # "Any tags associated with the task will be deleted."
            asked_first = record.body["desiredStatus"] != "STOPPED"
            if asked_first:
                record.body.update(stopCode="UserInitiated", stoppedReason=reason, stoppingAt=self._clock())
                self._change(record, desiredStatus="STOPPED")
            forward = asked_first and record.accepted
            answer = {"task": wire(record.body) | {"tags": []}}
        self._drain()
        if forward:
            self._runtime.stop(record.task.task_id, record.task.container.stop_timeout)
        return answer

    # ------------------------------------------------------------ DescribeTasks, ListTasks

    def _describe_tasks(self, body: dict[str, Any]) -> dict[str, Any]:
        cluster_arn = self._cluster(body)
        references = texts(body, "tasks")
        if not references:
            raise invalid("Tasks cannot be empty.")
        if len(references) > MAX_DESCRIBED:
            raise invalid(f"Tasks can have at most {MAX_DESCRIBED} elements.")
        with_tags = "TAGS" in texts(body, "include")
        tasks, failures = [], []
        with self._lock:
            self._forget()
            for reference in references:
                record = self._find(cluster_arn, reference)
                if record is None:
                    failures.append({"arn": self._task_arn(cluster_arn, reference), "reason": "MISSING"})
                else:
                    tags = copy.deepcopy(record.tags) if with_tags else []
                    tasks.append(wire(record.body) | {"tags": tags})
        return {"tasks": tasks, "failures": failures}

    def _list_tasks(self, body: dict[str, Any]) -> dict[str, Any]:
        """List ARNs.

        `startedBy` must be the only filter (API reference). What callers send in practice, `desiredStatus: RUNNING`
        beside it, is the default and accepted; STOPPED beside it is refused, as documented.
        """
        cluster_arn = self._cluster(body)
        started_by, family = text(body, "startedBy"), text(body, "family")
        desired = text(body, "desiredStatus") or "RUNNING"
        if desired not in {"RUNNING", "PENDING", "STOPPED"}:
            raise invalid(f"Invalid desiredStatus: {desired}.")
        others = [
            name
            for name in ("family", "serviceName", "containerInstance", "launchType", "daemonName")
            if body.get(name)
        ]
        if started_by and (others or desired != "RUNNING"):
            raise invalid("When you specify startedBy as the filter, it must be the only filter that you use.")
        launch_type = text(body, "launchType")
        elsewhere = text(body, "serviceName") or text(body, "containerInstance") or text(body, "daemonName")
        with self._lock:
            self._forget()
            arns = [
                record.task.arn
                for record in self._records.values()
                if record.task.cluster_arn == cluster_arn
                and record.body["desiredStatus"] == desired
                and started_by in {"", record.body.get("startedBy")}
                and family in {"", record.task.family}
                and launch_type in {"", record.task.launch_type}
                and not elsewhere
            ]
        return page(arns, body, "taskArns")

    # ------------------------------------------------------------ state and events

    def _change(self, record: _Record, **changes: object) -> None:
        """Apply a change that ECS tells of: the version rises and an event is due; the lock is held."""
        record.body.update(changes)
        record.body["version"] += 1
        if not self._closed:
            self._events.append(self._event(record))

    def _event(self, record: _Record) -> dict[str, Any]:
        now = self._clock()
        detail = iso(record.body | {"updatedAt": now})
        for attachment in detail["attachments"]:
            attachment["type"] = "eni"  # the API says ElasticNetworkInterface
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "ECS Task State Change",
            "source": "aws.ecs",
            "account": self._account_id,
            "time": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._region,
            "resources": [record.task.arn],
            "detail": detail,
        }

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

    def _forget(self) -> None:
        """Drop stopped tasks after an hour, and tokens that no longer hold; the lock is held."""
        now = self._clock()
        for arn, record in list(self._records.items()):
            if record.stopped and now >= record.body["stoppedAt"] + STOPPED_TASKS_ARE_KEPT:
                del self._records[arn]
        for key, token in list(self._tokens.items()):
            if now >= token.expires_at():
                del self._tokens[key]

    # ------------------------------------------------------------ names

    def _arn(self, resource: str) -> str:
        return f"arn:aws:ecs:{self._region}:{self._account_id}:{resource}"

    def _cluster(self, body: dict[str, Any]) -> str:
        name = (text(body, "cluster") or "default").rsplit("/", 1)[-1]
        if not self._cluster_exists(name):
            raise EcsError("ClusterNotFoundException", "Cluster not found.")
        return self._arn(f"cluster/{name}")

    def _task_arn(self, cluster_arn: str, reference: str) -> str:
        if reference.startswith("arn:"):
            return reference
        return self._arn(f"task/{cluster_arn.rsplit('/', 1)[-1]}/{reference}")

    def _find(self, cluster_arn: str, reference: str) -> _Record | None:
        record = self._records.get(self._task_arn(cluster_arn, reference))
        return record if record and record.task.cluster_arn == cluster_arn else None

    def _definition(self, reference: str) -> dict[str, Any]:
        try:
            found = self._task_definition(reference)
        except KeyError:
            raise EcsError("ClientException", "TaskDefinition not found.") from None
        definition: dict[str, Any] = found.get("taskDefinition", found)
        if definition.get("status", "ACTIVE") != "ACTIVE":
            raise EcsError("ClientException", "TaskDefinition is inactive")
        return copy.deepcopy(definition)
