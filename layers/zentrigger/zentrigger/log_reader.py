"""CloudWatch Logs: reads what a run's task printed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zentrigger.errors import InvalidRequestError, Problem
from zentrigger.launches import CONTAINER

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

STREAM_PREFIX = "run"
"""`awslogs-stream-prefix` of the task definition; streams are `prefix/container/task-id` (AWS: awslogs driver)."""


@dataclass(frozen=True)
class LogPage:
    """Lines of a run's log with their times, and the cursor that gives what comes after them."""

    lines: tuple[tuple[datetime, str], ...]
    cursor: str | None


class LogReader:
    """The log group of the tasks."""

    def __init__(self, group: str, client: "CloudWatchLogsClient") -> None:
        self._group = group
        self._client = client

    def read(self, task_arn: str, *, cursor: str | None, limit: int) -> LogPage:
        """Give a page of a task's log from the start or from a cursor; empty while there is nothing (further).

        Raises:
            InvalidRequestError: the cursor is none of CloudWatch's.

        """
        arguments: dict[str, Any] = {"nextToken": cursor} if cursor else {}
        stream = f"{STREAM_PREFIX}/{CONTAINER}/{task_arn.rsplit('/', 1)[-1]}"
        try:
            answer = self._client.get_log_events(
                logGroupName=self._group, logStreamName=stream, startFromHead=True, limit=limit, **arguments
            )
        except self._client.exceptions.ResourceNotFoundException:
            return LogPage((), cursor)
        except self._client.exceptions.InvalidParameterException as error:
            raise InvalidRequestError([Problem("/cursor", "This is not a cursor of this log.")]) from error
        lines = tuple(
            (datetime.fromtimestamp(event["timestamp"] / 1000, UTC), event["message"]) for event in answer["events"]
        )
        return LogPage(lines, answer["nextForwardToken"])
