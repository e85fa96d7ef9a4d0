"""What ECS tells a task of itself (task metadata endpoint version 4)."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from zentrigger.launches import CONTAINER
from zentrigger.runs import Timings
from zentrigger.timestamps import Timestamp

_TRIES = 4
_TIMEOUT_SECONDS = 3.0
_MEBIBYTE = 1024 * 1024
_MOMENT = TypeAdapter(Timestamp)
_NEVER = 1
"""Year of Go's zero time, which the ECS agent gives for what has not happened."""


class TaskMetadataError(Exception):
    """The endpoint does not answer, or not as ECS does."""


@dataclass(frozen=True)
class Task:
    """What a task is: its ARN, the most memory it may use, in bytes (None: not limited), and when it came about."""

    arn: str
    memory_limit: int | None
    timings: Timings | None = None


def read_task(metadata_uri: str) -> Task:
    """Ask the endpoint of ECS_CONTAINER_METADATA_URI_V4 which task this is; tries a few times.

    Raises:
        TaskMetadataError: when there is no such answer.

    """
    parts = urlsplit(metadata_uri)
    if parts.scheme != "http" or not parts.hostname:
        raise TaskMetadataError("ECS_CONTAINER_METADATA_URI_V4 is no http:// address.")
    last: Exception | None = None
    for number in range(_TRIES):
        time.sleep(0.5 * number)
        connection = HTTPConnection(parts.hostname, parts.port or 80, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", f"{parts.path}/task")
            answer = connection.getresponse()
            body = answer.read()
            if answer.status == 200:  # noqa: PLR2004 - OK
                return _task(body)
            last = TaskMetadataError(f"HTTP {answer.status}")
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            last = error
        finally:
            connection.close()
    raise TaskMetadataError(f"The task metadata endpoint gives no task: {last!r}") from last


def _task(body: bytes) -> Task:
    task = json.loads(body)
    containers = [container for container in task.get("Containers") or [] if isinstance(container, dict)]
    # The limits stand at the task on Fargate, and at its containers too where the task definition has them there.
    places = [task, *containers]
    limits = [place.get("Limits") or {} for place in places]
    mebibytes = [float(limit["Memory"]) for limit in limits if limit.get("Memory")]
    return Task(
        arn=str(task["TaskARN"]),
        memory_limit=int(min(mebibytes) * _MEBIBYTE) if mebibytes else None,
        timings=_timings(task, containers),
    )


def _timings(task: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]) -> Timings | None:
    """Give when the image was pulled and the container started; None where nothing is known of it."""
    started = (container.get("StartedAt") for container in containers if container.get("Name") == CONTAINER)
    timings = Timings(
        pull_started_at=_moment(task.get("PullStartedAt")),
        pulled_at=_moment(task.get("PullStoppedAt")),
        container_started_at=_moment(next(started, None)),
    )
    return timings if timings != Timings() else None


def _moment(text: object) -> Timestamp | None:
    """Read a moment as the ECS agent writes it. Whatever else stands there counts as unknown: no run hangs on it."""
    try:
        moment = _MOMENT.validate_python(text) if isinstance(text, str) else None
    except (ValidationError, OverflowError):
        return None
    return None if moment is None or moment.year == _NEVER else moment
