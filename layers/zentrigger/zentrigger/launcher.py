"""ECS: starts, finds, describes and stops the tasks of runs, and tells its answers apart."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from zentrigger.events import TaskState, task_state
from zentrigger.launches import LaunchAnswer, Refused, Started, Unknown

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

_TRANSIENT_CODES = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidSignatureException",
        "LimitExceededException",
        "RequestExpired",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "UnrecognizedClientException",
    }
)
"""Errors that say nothing of the request itself: too many calls, or credentials and clocks out of step for a moment."""

_TRANSIENT_WORDS = (
    "capacity is unavailable",
    "insufficient capacity",
    "limit on the number of tasks",
    "rate exceeded",
    "temporarily",
    "throttl",
    "vcpu",
)
"""Of ECS's own sentences, and none that the name of a policy, a cluster or a provider in a sentence could hold."""

_NO_ROOM = "RESOURCE:"
"""What a reason in `failures` begins with where a resource is lacking (AWS: "API failures messages")."""


class EcsLauncher:
    """The tasks of one cluster. Two clients: RunTask must not be retried by the SDK, everything else should be."""

    def __init__(self, cluster: str, client: "ECSClient", client_without_retries: "ECSClient") -> None:
        self._cluster = cluster
        self._client = client
        self._client_without_retries = client_without_retries

    def run_task(self, request: dict[str, Any]) -> LaunchAnswer:
        """Send a RunTask request once and say which of the three answers came."""
        try:
            answer = self._client_without_retries.run_task(**request)
        except ClientError as error:
            return _from_error(error)
        except EndpointConnectionError as error:
            # No connection was made, so that nothing can have been started.
            return Refused(transient=True, reason="ecs_unreachable", message=f"ECS could not be reached: {error}")
        except BotoCoreError as error:
            return Unknown(f"RunTask brought no answer: {error}")
        if answer["tasks"]:
            return Started(answer["tasks"][0]["taskArn"])
        failures = [
            f"{failure.get('reason', '')} {failure.get('detail', '')}".strip() for failure in answer["failures"]
        ]
        if not failures:
            return Unknown("RunTask answered with neither a task nor a failure")
        refused = _refused("; ".join(failures), code="")
        if any(failure.startswith(_NO_ROOM) for failure in failures):
            refused = replace(refused, transient=True, reason="capacity")
        return replace(refused, for_good=True)

    def find(self, started_by: str) -> str | None:
        """Give the ARN of the live task that carries this `startedBy`, or None.

        No other filter may stand beside it (AWS: ListTasks), so that stopped tasks are not found this way.
        """
        arns = self._client.list_tasks(cluster=self._cluster, startedBy=started_by)["taskArns"]
        return arns[0] if arns else None

    def describe(self, task_arns: Sequence[str]) -> dict[str, TaskState | None]:
        """Give the state of up to 100 tasks; None for one that ECS does not know (it forgets an hour after the end).

        Each is asked for in its own cluster, which may be one that the stack had before.
        """
        states: dict[str, TaskState | None] = {}
        for cluster in sorted({_cluster_of(arn) for arn in task_arns}):
            asked = [arn for arn in task_arns if _cluster_of(arn) == cluster]
            try:
                answer = self._client.describe_tasks(cluster=cluster, tasks=asked)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ClusterNotFoundException":
                    raise
                # A cluster is deleted only when no task runs in it.
                states |= dict.fromkeys(asked)
                continue
            states |= {failure["arn"]: None for failure in answer["failures"] if failure["reason"] == "MISSING"}
            states |= {task["taskArn"]: task_state(task) for task in answer["tasks"]}
        return states

    def stop(self, task_arn: str, reason: str) -> None:
        """Ask ECS to stop a task. A task that ECS no longer knows is stopped already."""
        try:
            self._client.stop_task(cluster=_cluster_of(task_arn), task=task_arn, reason=reason)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ClusterNotFoundException", "InvalidParameterException"):
                raise


def _cluster_of(task_arn: str) -> str:
    """Give the name of a task's cluster: `arn:…:task/<cluster>/<id>`."""
    return task_arn.split("/")[-2]


def _from_error(error: ClientError) -> LaunchAnswer:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    code = error.response["Error"].get("Code", "")
    message = error.response["Error"].get("Message", "")
    if code == "ConflictException":
        # This token started a task already, from a request that a deployment has since changed: adopt the task.
        arns = error.response.get("resourceIds") or []
        return Started(str(arns[0])) if arns else Unknown(f"RunTask: {message}")  # type: ignore[index]
    if code in _TRANSIENT_CODES:
        return Refused(transient=True, reason="throttled", message=f"ECS does not take launches just now: {message}")
    if status >= 500:  # noqa: PLR2004 - HTTP's server errors
        return Unknown(f"RunTask: {code}: {message}")
    return _refused(message, code)


def _refused(message: str, code: str) -> Refused:
    lowered = message.lower()
    said = f"ECS refused to start the task: {code + ': ' if code else ''}{message}"
    # First the code: a sentence on what is not permitted names anything.
    if code == "AccessDeniedException":
        return Refused(
            transient=False,
            reason="launch_not_permitted",
            message=f"{said} Allow ecs:RunTask and iam:PassRole to the role of the function that launches.",
        )
    if any(word in lowered for word in _TRANSIENT_WORDS):
        return Refused(transient=True, reason="capacity", message=said)
    return Refused(
        transient=False,
        reason="launch_refused",
        message=f"{said} Check the task definition, the subnets and the security groups of the stack.",
    )
