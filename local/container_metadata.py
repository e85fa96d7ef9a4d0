"""The task metadata endpoint, version 4: what a container can ask about itself.

Source: developer guide, "Amazon ECS task metadata endpoint version 4 for tasks on Fargate".
"""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local.http_server import HttpServer, Request, Response

if TYPE_CHECKING:
    from local.ecs_tasks import Task


class MetadataServer:
    """One small HTTP server for all tasks, with a path for each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[str, dict[str, Any]] = {}  # by path
        self._server = HttpServer(self._answer, name="task metadata")
        self._server.start()

    def add(self, task: Task, image_digest: str, pull_started_at: datetime | None = None) -> str:
        """Serve a task whose image is there and that starts now; return its ECS_CONTAINER_METADATA_URI_V4."""
        path = f"/v4/{task.task_id}-{time.time_ns() % 10**10:010}"
        with self._lock:
            self._tasks[path] = describe(task, image_digest, pull_started_at or task.created_at, datetime.now(UTC))
        return f"{self._server.url}{path}"

    def remove(self, uri: str) -> None:
        """Forget a task that has ended."""
        with self._lock:
            self._tasks.pop(uri.removeprefix(self._server.url), None)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _answer(self, request: Request) -> Response:
        path, _, rest = request.path.rstrip("/").partition("/task")
        with self._lock:
            task = self._tasks.get(path)
        if request.method != "GET" or task is None or rest:
            return Response(404, [("Content-Type", "text/plain")], b"404 page not found\n")
        document = task if request.path.rstrip("/").endswith("/task") else task["Containers"][0]
        return Response(200, [("Content-Type", "application/json")], json.dumps(document).encode())


def describe(task: Task, image_digest: str, pull_started_at: datetime, started_at: datetime) -> dict[str, Any]:
    """Return what `/task` answers while the task runs."""
    container = task.container
    now = _rfc3339(started_at)
    return {
        "Cluster": task.cluster_arn,
        "TaskARN": task.arn,
        "Family": task.family,
        "Revision": task.revision,
        "DesiredStatus": "RUNNING",
        "KnownStatus": "RUNNING",
        "Limits": {"CPU": task.cpu / 1024, "Memory": task.memory},
        "PullStartedAt": _rfc3339(pull_started_at),
        "PullStoppedAt": now,
        "AvailabilityZone": task.availability_zone,
        "LaunchType": task.launch_type,
        "Containers": [
            {
                "DockerId": f"{task.task_id}-0",
                "Name": container.name,
                "DockerName": container.name,
                "Image": container.image,
                "ImageID": image_digest,
                "Labels": {
                    "com.amazonaws.ecs.cluster": task.cluster_arn,
                    "com.amazonaws.ecs.container-name": container.name,
                    "com.amazonaws.ecs.task-arn": task.arn,
                    "com.amazonaws.ecs.task-definition-family": task.family,
                    "com.amazonaws.ecs.task-definition-version": task.revision,
                },
                "DesiredStatus": "RUNNING",
                "KnownStatus": "RUNNING",
                "Limits": {"CPU": 0, "Memory": container.memory or task.memory},
                "CreatedAt": now,
                "StartedAt": now,
                "Type": "NORMAL",
                "LogDriver": "awslogs" if container.log_options else "",
                "LogOptions": container.log_options or {},
                "ContainerARN": f"{task.arn.replace(':task/', ':container/')}/{container.name}",
            },
        ],
    }


def _rfc3339(moment: datetime) -> str:
    """Write a time as the ECS agent does (Go's RFC3339Nano): in UTC, with nanoseconds, without zeros at its end."""
    seconds = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06}{time.time_ns() % 1000:03}".rstrip("0")
    return f"{seconds}.{fraction}Z" if fraction else f"{seconds}Z"
