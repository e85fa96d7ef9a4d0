"""What ECS hands to the host of a task, and what it hears back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class SecretError(Exception):
    """A container's secret could not be had; the message is ECS's own and holds nothing of the value."""


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """How a container ended. Without an exit code it never ran, or nobody knows how it ended."""

    exit_code: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a task definition, with the overrides of one task applied."""

    name: str
    image: str
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    secrets: dict[str, str] = field(repr=False)
    """Name of the variable -> ARN of the secret (`valueFrom`)."""
    working_directory: str | None
    memory: int | None
    """Hard limit in MiB, if the container has one of its own."""
    stop_timeout: float
    """Seconds between SIGTERM and SIGKILL."""
    log_options: dict[str, str] | None
    """The options of the awslogs driver, or None if the container logs elsewhere."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task as ECS hands it to its host. Nothing in it changes; its state is `Ecs`'s own."""

    arn: str
    cluster_arn: str
    definition: dict[str, Any] = field(repr=False)
    container: Container
    cpu: int
    memory: int
    launch_type: str
    availability_zone: str
    created_at: datetime
    capacity_provider: str | None = None
    """FARGATE or FARGATE_SPOT, if the task was asked for with a strategy."""
    subnet: str = ""

    @property
    def task_id(self) -> str:
        """The last part of the ARN: 32 hexadecimal digits."""
        return self.arn.rsplit("/", 1)[-1]

    @property
    def family(self) -> str:
        """Family of the task definition."""
        return str(self.definition["family"])

    @property
    def revision(self) -> str:
        """Revision of the task definition, a string as in the metadata endpoint."""
        return str(self.definition["revision"])

    @property
    def memory_limit(self) -> int:
        """MiB at which the container is killed: its own hard limit or the task's, whichever is lower."""
        return min(self.memory, self.container.memory or self.memory)


class ContainerRuntime(Protocol):
    """Runs tasks. No method may block for long; the callbacks come from any thread."""

    def start(self, task: Task, on_exit: Callable[[ContainerExit], None], on_running: Callable[[], None]) -> None:
        """Start the task. `on_running` is called once if its process starts, then `on_exit` exactly once."""
        ...

    def stop(self, task_id: str, timeout_seconds: float) -> None:
        """Send SIGTERM and, after the timeout, SIGKILL; `on_exit` follows. Unknown and ended tasks are ignored.

        With a timeout of 0 it is SIGKILL at once, also for a task that has got its SIGTERM already.
        """
        ...

    def close(self) -> None:
        """Kill everything that is left."""
        ...
