"""Launching a run's task: the request, its three possible answers, and what the record keeps of them."""

from dataclasses import dataclass
from typing import Any, Protocol

from zentrigger.runs import Refusal, Run

CONTAINER = "runner"
"""Name of the container in the task definition."""

MAX_OVERRIDES = 8192
"""Characters that RunTask takes as overrides, as JSON (AWS: RunTask)."""


@dataclass(frozen=True)
class Network:
    """Where tasks run: subnets and security groups by id, and whether they get a public address."""

    subnets: tuple[str, ...]
    security_groups: tuple[str, ...]
    assign_public_ip: str


@dataclass(frozen=True)
class Started:
    """ECS took the launch: this is the task."""

    task_arn: str


@dataclass(frozen=True)
class Refused:
    """ECS started nothing by this request. A transient refusal may succeed later.

    `for_good` says that ECS gave it as the answer to the client token (in `failures`), which a repetition gets again.
    Any other refusal speaks of the one request only: of an earlier one with the same token it says nothing.
    """

    transient: bool
    reason: str
    message: str
    for_good: bool = False


@dataclass(frozen=True)
class Unknown:
    """No answer, or none that says whether a task was started. Only the same client token may be sent again."""

    message: str


LaunchAnswer = Started | Refused | Unknown


class Launcher(Protocol):
    """Sends a launch to ECS, once."""

    def run_task(self, request: dict[str, Any]) -> LaunchAnswer:
        """Send the request without retries of its own and say which of the three answers came."""
        ...


class LaunchRecords(Protocol):
    """Keeps what became of a launch."""

    def record_task(self, run: Run, task_arn: str) -> None:
        """Keep the task that a launch started."""
        ...

    def record_refusal(self, run: Run, refusal: Refusal) -> None:
        """Keep that a launch was surely refused."""
        ...


def launch_request(run: Run, *, cluster: str, network: Network) -> dict[str, Any]:
    """Give the RunTask request of a run's launch: the same for the same record, so that it can be sent again.

    The client token names run, attempt and launch; it is at most 64 characters (AWS: RunTask), of which the run id
    takes 36. Parameters stay in the record: overrides are limited to 8192 characters.
    """
    container: dict[str, Any] = {
        "name": CONTAINER,
        "environment": [
            {"name": "RUN_ID", "value": run.run_id},
            {"name": "ATTEMPT", "value": str(run.attempt)},
        ],
    }
    overrides: dict[str, Any] = {"containerOverrides": [container]}
    if run.resources is not None:
        # The task definition limits the container, too, to what the task has without overrides.
        container["memory"] = run.resources.memory
        overrides |= {"cpu": str(run.resources.cpu), "memory": str(run.resources.memory)}
    capacity: dict[str, Any] = (
        {"capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]}
        if run.on_spot
        else {"launchType": "FARGATE"}
    )
    return {
        "cluster": cluster,
        "taskDefinition": run.task_definition,
        **capacity,
        "count": 1,
        "clientToken": f"{run.run_id}-{run.attempt}-{run.launch}",
        "startedBy": run.started_by,
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": list(subnets_of(run, network.subnets)),
                "securityGroups": list(network.security_groups),
                "assignPublicIp": network.assign_public_ip,
            }
        },
        "overrides": overrides,
    }


def subnets_of(run: Run, subnets: tuple[str, ...]) -> tuple[str, ...]:
    """Give the subnets of a launch: all at first, then one after the other, then all again.

    ECS chooses among several and does not try another where its choice has no capacity, or no way out.
    """
    further = run.attempt + run.launch - 2
    turn = further % (len(subnets) + 1) if len(subnets) > 1 else 0
    return subnets if turn == 0 else (subnets[turn - 1],)


def launch(  # noqa: PLR0913 - its collaborators
    run: Run, *, cluster: str, network: Network, launcher: Launcher, records: LaunchRecords, again: bool = False
) -> LaunchAnswer:
    """Launch a run that holds a slot and keep what ECS answered; an unknown answer is left to the sweep.

    Args:
        run: The run, as its record stands.
        cluster: The cluster.
        network: Where the task runs.
        launcher: Sends the request.
        records: Keeps the answer.
        again: Whether this launch may have been sent before. Then a refusal is kept only if it is for good: the earlier
            request may have started a task.

    """
    answer = launcher.run_task(launch_request(run, cluster=cluster, network=network))
    match answer:
        case Started(task_arn):
            records.record_task(run, task_arn)
        case Refused(for_good=False) if again:
            pass
        case Refused(transient, reason, message):
            refusal = Refusal(
                attempt=run.attempt, launch=run.launch, transient=transient, reason=reason, message=message
            )
            records.record_refusal(run, refusal)
        case Unknown():
            pass
    return answer
