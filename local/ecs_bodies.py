"""How ECS shows a task: the body that answers and events are made of."""

from __future__ import annotations

import copy
import random
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.ecs_tasks import Task


def new_body(task: Task, request: dict[str, Any]) -> dict[str, Any]:
    """Return a task as DescribeTasks shows it before anything has happened to it."""
    address = f"10.0.{random.randrange(4)}.{random.randrange(4, 255)}"  # noqa: S311 - no secret
    attachment = str(uuid.uuid4())
    overrides = copy.deepcopy(request.get("overrides") or {})
    overridden = {one["name"]: one for one in overrides.get("containerOverrides") or []}
    names = [container["name"] for container in task.definition["containerDefinitions"]]
    overrides["containerOverrides"] = [overridden.get(name, {"name": name}) for name in names]
    overrides.setdefault("inferenceAcceleratorOverrides", [])
    architecture = (task.definition.get("runtimePlatform") or {}).get("cpuArchitecture", "X86_64")
    body: dict[str, Any] = {
        "attachments": [
            {
                "id": attachment,
                "type": "ElasticNetworkInterface",
                "status": "PRECREATED",
                "details": [
                    {"name": "subnetId", "value": task.subnet},
                    {"name": "networkInterfaceId", "value": f"eni-{uuid.uuid4().hex[:17]}"},
                    {"name": "privateIPv4Address", "value": address},
                ],
            },
        ],
        "attributes": [{"name": "ecs.cpu-architecture", "value": architecture.lower()}],
        "availabilityZone": task.availability_zone,
        "clusterArn": task.cluster_arn,
        "containers": [
            {
                "containerArn": f"{task.arn.replace(':task/', ':container/')}/{uuid.uuid4()}",
                "taskArn": task.arn,
                "name": container["name"],
                "image": container["image"],
                "lastStatus": "PENDING",
                "networkInterfaces": [{"attachmentId": attachment, "privateIpv4Address": address}],
                "healthStatus": "UNKNOWN",
                **_sizes(container | overridden.get(container["name"], {})),
            }
            for container in task.definition["containerDefinitions"]
        ],
        "cpu": str(task.cpu),
        "createdAt": task.created_at,
        "desiredStatus": "RUNNING",
        "enableExecuteCommand": bool(request.get("enableExecuteCommand", False)),
        "ephemeralStorage": {"sizeInGiB": 20},
        "group": request.get("group") or f"family:{task.family}",
        "healthStatus": "UNKNOWN",
        "lastStatus": "PROVISIONING",
        "launchType": task.launch_type,
        "memory": str(task.memory),
        "overrides": overrides,
        "platformFamily": "Linux",
        "platformVersion": "1.4.0",
        "taskArn": task.arn,
        "taskDefinitionArn": task.definition["taskDefinitionArn"],
        "version": 0,
    }
    if request.get("startedBy"):
        body["startedBy"] = request["startedBy"]
    if task.capacity_provider:
        body["capacityProviderName"] = task.capacity_provider
    return body


def _sizes(container: dict[str, Any]) -> dict[str, str]:
    """Return CPU units and memory of a container, as texts; its memory only if it has a limit of its own."""
    sizes = {"cpu": str(container.get("cpu") or 0)}
    return sizes | ({"memory": str(container["memory"])} if container.get("memory") else {})


def new_event(body: dict[str, Any], *, now: datetime, region: str, account_id: str) -> dict[str, Any]:
    """Return the event that tells of a task's state."""
    detail = iso(body | {"updatedAt": now})
    for attachment in detail["attachments"]:
        attachment["type"] = "eni"  # the API says ElasticNetworkInterface
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "account": account_id,
        "time": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [body["taskArn"]],
        "detail": detail,
    }


def attach(body: dict[str, Any], status: str) -> None:
    """Set the state of the network interface."""
    for attachment in body["attachments"]:
        attachment["status"] = status


def wire(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Copy a body for an answer: times are epoch seconds."""
    return _copy(value, lambda time: round(time.timestamp(), 3))


def iso(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Copy a body for an event: times are ISO 8601 in UTC."""
    return _copy(value, lambda time: time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def _copy(value: Any, time: Callable[[datetime], object]) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, datetime):
        return time(value)
    if isinstance(value, dict):
        return {name: _copy(member, time) for name, member in value.items()}
    if isinstance(value, list):
        return [_copy(member, time) for member in value]
    return value
