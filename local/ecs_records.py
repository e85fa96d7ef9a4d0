"""What ECS knows of its tasks, and of the answers it gave."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from local.ecs_bodies import attach
from local.ecs_requests import EcsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.ecs_tasks import ContainerExit, Task

STOPPED_TASKS_ARE_KEPT: Final = timedelta(hours=1)
TOKENS_ARE_KEPT: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Death:
    """How ECS explains a task's end: its own codes, and what is told of the container."""

    container: ContainerExit
    stop_code: str
    reason: str
    hosted: bool = True
    """Without a host there are no containers."""


@dataclass(slots=True)
class Record:
    """A task and its state; `body` is DescribeTasks' answer with datetimes in place of numbers.

    `changed` is called after each change that ECS tells of. Not thread-safe.
    """

    task: Task
    body: dict[str, Any]
    tags: list[dict[str, str]]
    changed: Callable[[Record], None] = field(repr=False)
    accepted: bool = False
    """The runtime knows the task, so it can be told to stop it."""
    hanging: bool = False
    """It never gets to the runtime."""
    death: Death | None = None
    """What is told of its end, whatever the runtime says."""

    @property
    def stopped(self) -> bool:
        """Whether it is all over."""
        return bool(self.body["lastStatus"] == "STOPPED")

    @property
    def ending(self) -> bool:
        """Whether it is to stop, or has stopped."""
        return bool(self.body["desiredStatus"] == "STOPPED")

    def change(self, **changes: object) -> None:
        """Apply a change that ECS tells of: the version rises."""
        self.body.update(changes)
        self.body["version"] += 1
        self.changed(self)

    def prepare(self, now: datetime) -> None:
        """Note that its image is being pulled."""
        attach(self.body, "ATTACHING")
        self.change(lastStatus="PENDING", pullStartedAt=now)

    def run(self, now: datetime) -> bool:
        """Note that its process has started; returns whether that is news."""
        if self.body["lastStatus"] != "PENDING":
            return False
        for container in self.body["containers"]:
            container.update(lastStatus="RUNNING", runtimeId=f"{self.task.task_id}-{random.randrange(10**10):010}")  # noqa: S311 - no secret
        attach(self.body, "ATTACHED")
        self.body.update(connectivity="CONNECTED", connectivityAt=now, pullStoppedAt=now, startedAt=now)
        self.change(lastStatus="RUNNING")
        return True

    def stop(self, now: datetime, stop_code: str, reason: str) -> bool:
        """Note that it is to stop; whoever asked first gives the reason. Returns whether this one was the first."""
        if self.ending:
            return False
        self.body.update(stopCode=stop_code, stoppedReason=reason, stoppingAt=now)
        self.change(desiredStatus="STOPPED")
        return True

    def end(self, now: datetime, told: ContainerExit) -> None:
        """Note that the container has ended: two changes, as Fargate gives its network back."""
        death = self.death or self._explained(told)
        if death.container.exit_code is not None:
            self.run(now)
        if not death.hosted:
            self.body["containers"] = []
        for container in self.body["containers"]:
            container["lastStatus"] = "STOPPED"
            if container["name"] == self.task.container.name:
                if death.container.exit_code is not None:
                    container["exitCode"] = death.container.exit_code
                if death.container.reason:
                    container["reason"] = death.container.reason
        # Who asked first gives the reason: a task that StopTask ended stays UserInitiated.
        self.body.setdefault("stopCode", death.stop_code)
        self.body.setdefault("stoppedReason", death.reason)
        self.body.setdefault("stoppingAt", now)
        self.body.update(desiredStatus="STOPPED", executionStoppedAt=now)
        self.change(lastStatus="DEPROVISIONING")
        attach(self.body, "DELETED")
        self.change(lastStatus="STOPPED", stoppedAt=now)

    def _explained(self, told: ContainerExit) -> Death:
        if told.exit_code is not None:
            return Death(told, "EssentialContainerExited", "Essential container in task exited")
        if "startedAt" in self.body:
            # The process was there and nobody knows its end: the host is to blame.
            return Death(told, "InfrastructureHealth", told.reason or "Host of the task is gone")
        return Death(told, "TaskFailedToStart", told.reason or "Task failed to start")


@dataclass(frozen=True, slots=True)
class _Token:
    """What was asked with a client token, and the answer."""

    parameters: str
    answer: dict[str, Any]
    records: tuple[Record, ...]
    used_at: datetime

    def expires_at(self, kept: timedelta) -> datetime:
        """Lesser of 24 hours and the life of the task plus one hour; an answer without tasks has no life."""
        day = self.used_at + TOKENS_ARE_KEPT
        if not all(record.stopped for record in self.records):
            return day
        ends = [record.body["stoppedAt"] for record in self.records]
        return min(day, max(ends, default=self.used_at) + kept)


class Memory:
    """The tasks, oldest first, and the client tokens, each by cluster ARN and token. Not thread-safe.

    `kept` is how long a stopped task is remembered, and its token.
    """

    def __init__(self, kept: timedelta = STOPPED_TASKS_ARE_KEPT) -> None:
        self._kept = kept
        self._records: dict[str, Record] = {}
        self._tokens: dict[tuple[str, str], _Token] = {}

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records.values())

    def add(self, record: Record) -> None:
        """Remember a task."""
        self._records[record.task.arn] = record

    def get(self, arn: str) -> Record:
        """Return a task of any cluster; raises KeyError."""
        return self._records[arn]

    def find(self, arn: str, cluster_arn: str) -> Record | None:
        """Return a task of a cluster."""
        record = self._records.get(arn)
        return record if record and record.task.cluster_arn == cluster_arn else None

    def remember(
        self, key: tuple[str, str], asked: str, answer: dict[str, Any], records: tuple[Record, ...], now: datetime
    ) -> None:
        """Remember what was answered to a client token."""
        self._tokens[key] = _Token(asked, copy.deepcopy(answer), records, now)

    def replay(self, key: tuple[str, str] | None, asked: str) -> dict[str, Any] | None:
        """Return the answer that this token got; raises EcsError if something else was asked then."""
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

    def forget(self, now: datetime) -> None:
        """Drop stopped tasks after their time, and tokens that no longer hold."""
        for arn, record in list(self._records.items()):
            if record.stopped and now >= record.body["stoppedAt"] + self._kept:
                del self._records[arn]
        for key, token in list(self._tokens.items()):
            if now >= token.expires_at(self._kept):
                del self._tokens[key]
