"""What ECS tells a task of itself (task metadata endpoint version 4)."""

import json
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

_TRIES = 4
_TIMEOUT_SECONDS = 3.0
_MEBIBYTE = 1024 * 1024


class TaskMetadataError(Exception):
    """The endpoint does not answer, or not as ECS does."""


@dataclass(frozen=True)
class Task:
    """What a task is: its ARN and the most memory it may use, in bytes (None: not limited)."""

    arn: str
    memory_limit: int | None


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
    # The limits stand at the task on Fargate, and at its containers too where the task definition has them there.
    places = [task, *(task.get("Containers") or [])]
    limits = [place.get("Limits") or {} for place in places]
    mebibytes = [float(limit["Memory"]) for limit in limits if limit.get("Memory")]
    return Task(arn=str(task["TaskARN"]), memory_limit=int(min(mebibytes) * _MEBIBYTE) if mebibytes else None)
