"""ECS as far as runs need it: RunTask, StopTask, DescribeTasks, ListTasks and the events of their tasks.

One model for the embedded AWS and for tests. It knows nothing of sockets or processes: a `ContainerRuntime` runs the
tasks, `publish` takes the events. What ECS does with other launch types, services and container instances is left out;
task definitions are in `task_definitions.py`.

Sources: the ECS API reference (RunTask, StopTask, DescribeTasks, ListTasks, ECS_Idempotency) and the developer guide
(task lifecycle, ecs_task_events, stopped-task-error-codes).
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from local.api_faults import ErrorAnswer, with_faults
from local.ecs_faults import TaskFaults
from local.ecs_lives import Lives
from local.ecs_records import STOPPED_TASKS_ARE_KEPT, Memory, Record
from local.ecs_requests import (
    FARGATE_PROVIDERS,
    MAX_DESCRIBED,
    EcsError,
    capacity_provider_of,
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
    from collections.abc import Callable, Collection

    from local.faults import Faults

__all__ = ["Container", "ContainerExit", "ContainerRuntime", "Ecs", "EcsError", "Task"]

MAX_STARTED_BY: Final = 128
MAX_COUNT: Final = 10


def place_always(task: Task) -> str | None:  # noqa: ARG001 - the shape of a placement
    """Find room for every task."""
    return None


def all_providers(cluster: str) -> Collection[str]:  # noqa: ARG001 - the shape of what a cluster's are asked of
    """Associate Fargate's capacity providers with every cluster."""
    return FARGATE_PROVIDERS


def utc_now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


class Ecs:
    """The four actions, by ECS's own rules; thread-safe.

    `task_definition` gets a family, `family:revision` or an ARN and returns what DescribeTaskDefinition says, or raises
    KeyError. `cluster_exists` and `capacity_providers` get a cluster's short name. `publish` gets one event per change
    of a task, in order and never two at once; no lock is held meanwhile, but the caller of an action waits for it. All
    are called without a lock, so they may call back.

    `placement` may refuse a task with a reason, which becomes an entry of RunTask's `failures`. `faults` happen to
    calls and tasks; what happens to events is for whoever delivers them.
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
        capacity_providers: Callable[[str], Collection[str]] = all_providers,
        clock: Callable[[], datetime] = utc_now,
        placement: Callable[[Task], str | None] = place_always,
        faults: Faults | None = None,
    ) -> None:
        self._region = region
        self._account_id = account_id
        self._task_definition = task_definition
        self._cluster_exists = cluster_exists
        self._capacity_providers = capacity_providers
        self._clock = clock
        self._placement = placement
        self._faults = faults
        self._task_faults = TaskFaults(faults, region=region)
        kept = timedelta(seconds=faults.memory_seconds) if faults else STOPPED_TASKS_ARE_KEPT
        self._lives = Lives(
            memory=Memory(kept),
            runtime=runtime,
            publish=publish,
            clock=clock,
            faults=self._task_faults,
            place=(region, account_id),
        )

    def handle(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one call: the HTTP status and the JSON 1.1 body. Errors have `__type` and `message`.

        Raises NoAnswerError if a fault lets no answer come.
        """
        answered = with_faults(self._faults, "ecs", action, lambda: body, lambda: self._answer(action, body))
        return (answered.status, answered.body) if isinstance(answered, ErrorAnswer) else answered

    def _answer(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
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
        self._lives.close()

    # ------------------------------------------------------------ what may befall a task

    def interrupt(self, task_arn: str) -> bool:
        """Take a Spot task's capacity back: the warning is an event and SIGTERM; SIGKILL follows after `stopTimeout`.

        The containers' exit codes are their own. Returns False if the task was to stop already. Raises KeyError for an
        unknown task, ValueError for one that is not of FARGATE_SPOT. (Developer Guide, "Fargate Spot termination
        notices")
        """
        return self._lives.interrupt(task_arn)

    def lose_host(self, task_arn: str, stop_code: str = "InfrastructureHealth") -> bool:
        """Let the host of a task die: no warning, no exit code. `stop_code` may be TerminationNotice.

        Returns False if the task has stopped. Raises KeyError for an unknown task.
        """
        return self._lives.lose_host(task_arn, stop_code)

    def exhaust_memory(self, task_arn: str) -> bool:
        """Let a task be killed for its memory; returns and raises as `lose_host`."""
        return self._lives.exhaust_memory(task_arn)

    # ------------------------------------------------------------ RunTask

    def _run_task(self, body: dict[str, Any]) -> dict[str, Any]:
        cluster_arn = self._cluster(body)
        key = (cluster_arn, token) if (token := client_token(body)) else None
        asked = parameters(body)
        # A replay is answered even if its task definition is gone by now, so the token comes first.
        if (answer := self._lives.replay(key, asked)) is not None:
            return answer
        tasks, failures = [], []
        for task in self._new_tasks(cluster_arn, body):
            placed = self._place(task, body)
            if isinstance(placed, Task):
                tasks.append(placed)
            else:
                failures.append(placed)
        return self._lives.create(tasks, failures, body, key=key, asked=asked)

    def _new_tasks(self, cluster_arn: str, body: dict[str, Any]) -> list[Task]:
        definition = self._definition(text(body, "taskDefinition", required=True))
        overrides = overrides_of(body, definition)
        count = body.get("count", 1)
        if not isinstance(count, int) or not 1 <= count <= MAX_COUNT:
            raise invalid(f"Count must be between 1 and {MAX_COUNT}.")
        if len(text(body, "startedBy")) > MAX_STARTED_BY:
            raise invalid(f"startedBy can have at most {MAX_STARTED_BY} characters.")
        cluster = cluster_arn.rsplit("/", 1)[-1]
        provider = capacity_provider_of(body)
        check_launch(body, definition, self._capacity_providers(cluster) if provider else ())
        cpu, memory = size_of(definition, overrides)
        container = container_of(definition, overrides)
        if container.memory and container.memory > memory:
            raise invalid(f"'memory' setting for container '{container.name}' is greater than for task.")
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
                capacity_provider=provider,
            )
            for _ in range(count)
        ]

    def _place(self, task: Task, body: dict[str, Any]) -> Task | dict[str, str]:
        """Return the task in its subnet, or the failure that says why there is no room for it."""
        reason = self._placement(task)
        if reason is not None:
            return {"arn": task.arn, "reason": reason}
        subnets = body["networkConfiguration"]["awsvpcConfiguration"]["subnets"]
        subnet, reason = self._task_faults.place(task, subnets)
        return {"reason": reason} if reason else replace(task, subnet=subnet)

    # ------------------------------------------------------------ StopTask

    def _stop_task(self, body: dict[str, Any]) -> dict[str, Any]:
        cluster_arn = self._cluster(body)
        reference = text(body, "task", required=True)
        reason = text(body, "reason") or "Task stopped by user"
        shown = self._lives.stop(self._task_arn(cluster_arn, reference), cluster_arn, reason)
        if shown is None:
            raise invalid("The referenced task was not found.")
        return {"task": shown | {"tags": []}}

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
        for reference in references:
            arn = self._task_arn(cluster_arn, reference)
            found = self._lives.show(arn, cluster_arn)
            if found is None or self._task_faults.missing():
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                shown, tags = found
                tasks.append(shown | {"tags": tags if with_tags else []})
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

        def wanted(record: Record) -> bool:
            return (
                record.task.cluster_arn == cluster_arn
                and record.body["desiredStatus"] == desired
                and started_by in {"", record.body.get("startedBy")}
                and family in {"", record.task.family}
                and launch_type in {"", record.task.launch_type}
                and not elsewhere
                and not self._task_faults.unlisted()
            )

        arns = self._lives.select(wanted)
        return page(arns, body, "taskArns")

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

    def _definition(self, reference: str) -> dict[str, Any]:
        try:
            found = self._task_definition(reference)
        except KeyError:
            raise EcsError("ClientException", "TaskDefinition not found.") from None
        definition: dict[str, Any] = found.get("taskDefinition", found)
        if definition.get("status", "ACTIVE") != "ACTIVE":
            raise EcsError("ClientException", "TaskDefinition is inactive")
        return copy.deepcopy(definition)
