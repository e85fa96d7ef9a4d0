"""EventBridge Scheduler: makes, replaces and deletes the schedules of triggers."""

import json
from typing import TYPE_CHECKING, Any

from zentrigger.events import SCHEDULE_SOURCE
from zentrigger.schedule_sync import WantedSchedule

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

RETRY_POLICY = {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 185}
"""A firing that the queue does not take for an hour goes to the dead-letter queue."""


class Scheduler:
    """The schedules of one group, one for each trigger and of its name; each sends to the event queue."""

    def __init__(
        self,
        client: "EventBridgeSchedulerClient",
        *,
        group: str,
        queue_arn: str,
        role_arn: str,
        dead_letter_queue_arn: str,
    ) -> None:
        self._client = client
        self._group = group
        self._queue_arn = queue_arn
        self._role_arn = role_arn
        self._dead_letter_queue_arn = dead_letter_queue_arn

    def put(self, trigger: str, wanted: WantedSchedule) -> None:
        """Make a trigger's schedule, or replace it: an update replaces the whole (AWS: UpdateSchedule)."""
        request = self._request(trigger, wanted)
        try:
            self._client.update_schedule(**request)
        except self._client.exceptions.ResourceNotFoundException:
            try:
                self._client.create_schedule(**request)
            except self._client.exceptions.ConflictException:
                # Another writer made it in between.
                self._client.update_schedule(**request)

    def delete(self, trigger: str) -> None:
        """Delete a trigger's schedule, if there is one."""
        try:
            self._client.delete_schedule(Name=trigger, GroupName=self._group)
        except self._client.exceptions.ResourceNotFoundException:
            return

    def _request(self, trigger: str, wanted: WantedSchedule) -> dict[str, Any]:
        window = wanted.flexible_window_minutes
        request: dict[str, Any] = {
            "Name": trigger,
            "GroupName": self._group,
            "ScheduleExpression": wanted.expression,
            "ScheduleExpressionTimezone": wanted.time_zone,
            "State": "ENABLED" if wanted.enabled else "DISABLED",
            "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": window} if window else {"Mode": "OFF"},
            "Target": {
                "Arn": self._queue_arn,
                "RoleArn": self._role_arn,
                "Input": _input(trigger),
                "DeadLetterConfig": {"Arn": self._dead_letter_queue_arn},
                "RetryPolicy": RETRY_POLICY,
            },
        }
        if wanted.start is not None:
            request["StartDate"] = wanted.start
        if wanted.end is not None:
            request["EndDate"] = wanted.end
        return request


def _input(trigger: str) -> str:
    """Give what a firing sends: an event of the shape that the stack's own rule makes, with the scheduled time.

    The execution id changes with each attempt; the scheduled time does not, and is what makes a firing the same one.
    """
    return json.dumps(
        {
            "source": SCHEDULE_SOURCE,
            "id": "<aws.scheduler.execution-id>",
            "time": "<aws.scheduler.scheduled-time>",
            "detail": {"trigger": trigger},
        }
    )
