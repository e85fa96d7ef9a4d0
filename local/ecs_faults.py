"""What may befall tasks: no room, a start that fails or never comes, a death in the middle of the work.

Sources: ECS Developer Guide, "Stopped tasks error messages", "API failure reasons" and "Fargate capacity providers";
what Fargate said to others (its messages are not all documented).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from local.ecs_records import Death
from local.ecs_tasks import ContainerExit

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.ecs_tasks import Task
    from local.faults import Faults

NO_CAPACITY: Final = "Capacity is unavailable at this time. Please try again later or in a different availability zone"
QUOTA: Final = "You've reached the limit on the number of vCPUs you can run concurrently"
OUT_OF_MEMORY: Final = "OutOfMemoryError: Container killed due to memory usage"
SPOT_INTERRUPTION: Final = ("SpotInterruption", "Your Spot Task was interrupted.")
HOST_IS_GONE: Final = "Host of the task is gone"
STUCK: Final = ("PROVISIONING", "PENDING")
DEATHS: Final = ("spot_interruption", "platform_death", "out_of_memory")

_UNABLE: Final = "ResourceInitializationError: unable to pull secrets or registry auth"


class TaskFaults:
    """Asks the faults on behalf of the tasks; without any, all goes well."""

    def __init__(self, faults: Faults | None, *, region: str) -> None:
        self._faults = faults
        self._region = region

    def place(self, task: Task, subnets: list[str]) -> tuple[str, str | None]:
        """Return the first subnet that has room for the task, and why there is none if there is none."""
        provider = _provider(task)
        if self._happens("resource", provider):
            return "", "RESOURCE:FARGATE"
        if self._happens("quota", provider):
            return "", QUOTA
        if not self._happens("capacity", provider):
            for subnet in filter(None, subnets):
                if not self._happens("capacity", subnet, f"{provider}@{subnet}", general=False):
                    return subnet, None
        return "", NO_CAPACITY

    def start_failure(self, task: Task) -> Death | None:
        """Return why the task fails to start, if it does."""
        image = task.container.image
        secret = next(iter(task.container.secrets.values()), "arn:aws:secretsmanager:::secret:none")
        messages = {
            "late_capacity": NO_CAPACITY,
            "image_pull": (
                "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
                f"failed to resolve ref {image}: {image}: not found"
            ),
            "secrets": (
                f"{_UNABLE}: execution resource retrieval failed: unable to retrieve secret from asm: service call has "
                f"been retried 1 time(s): failed to fetch secret {secret} from secrets manager: AccessDeniedException: "
                f"User: {task.definition.get('executionRoleArn', 'nobody')} is not authorized to perform: "
                f"secretsmanager:GetSecretValue on resource: {secret} because no identity-based policy allows the "
                "secretsmanager:GetSecretValue action status code: 400"
            ),
            "no_egress": (
                f"{_UNABLE}: The task cannot pull registry auth from Amazon ECR: There is a connection issue between "
                "the task and Amazon ECR. Check your task network configuration. RequestError: send request failed "
                f'caused by: Post "https://api.ecr.{self._region}.amazonaws.com/": dial tcp 44.213.79.10:443: '
                "i/o timeout"
            ),
        }
        reason = next((text for fault, text in messages.items() if self._happens(fault, _provider(task))), None)
        if reason is None:
            return None
        return Death(ContainerExit(None, reason), "TaskFailedToStart", reason, hosted=reason != NO_CAPACITY)

    def stuck(self, task: Task) -> str | None:
        """Return the status that the task does not get out of, if there is one."""
        return next(
            (status for status in STUCK if self._happens(f"stuck_{status.lower()}", _provider(task))),
            None,
        )

    def death(self, task: Task) -> str | None:
        """Return which of DEATHS awaits a task that has just started."""
        return next(
            (
                fault
                for fault in DEATHS
                if (fault != "spot_interruption" or task.capacity_provider == "FARGATE_SPOT")
                and self._happens(fault, _provider(task))
            ),
            None,
        )

    def missing(self) -> bool:
        """Whether DescribeTasks misses a task that is there."""
        return self._happens("missing")

    def unlisted(self) -> bool:
        """Whether ListTasks misses a task that is there."""
        return self._happens("unlisted")

    def later(self, action: Callable[[], None]) -> None:
        """Do it some time later."""
        if self._faults is not None:
            self._faults.later(action)

    def _happens(self, fault: str, *which: str, general: bool = True) -> bool:
        return self._faults is not None and self._faults.happens("ecs", fault, *which, general=general)


def _provider(task: Task) -> str:
    return task.capacity_provider or "FARGATE"
