"""EventBridge Scheduler: makes, replaces and deletes the schedules of triggers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from zentrigger.events import SCHEDULE_SOURCE
from zentrigger.schedule_sync import ScheduleRefusedError, StandingSchedule, WantedSchedule

if TYPE_CHECKING:
    from mypy_boto3_scheduler import EventBridgeSchedulerClient

RETRY_POLICY = {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 185}
"""A firing that the queue does not take for an hour goes to the dead-letter queue."""

_FOR_GOOD = frozenset({"ServiceQuotaExceededException", "ValidationException"})
"""Refusals that no repetition changes (AWS: CreateSchedule, "Errors"). A missing permission or group is none of them:
it concerns all schedules, is the stack's, and is over when the stack is mended."""

_MAX_PROBLEM = 500


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

    def find(self, trigger: str) -> StandingSchedule | None:
        """Give a trigger's schedule as it stands."""
        try:
            found = self._client.get_schedule(Name=trigger, GroupName=self._group)
        except self._client.exceptions.ResourceNotFoundException:
            return None
        told = WantedSchedule(
            expression=found["ScheduleExpression"],
            time_zone=found.get("ScheduleExpressionTimezone", "UTC"),
            enabled=found["State"] == "ENABLED",
            flexible_window_minutes=found["FlexibleTimeWindow"].get("MaximumWindowInMinutes"),
            start=found.get("StartDate"),
            end=found.get("EndDate"),
        )
        target: dict[str, Any] = {**found["Target"]}
        # What AWS adds to a target by itself is no difference.
        ours = all(target.get(name) == value for name, value in self._request(trigger, told)["Target"].items())
        stays = found.get("ActionAfterCompletion", "NONE") == "NONE"
        return StandingSchedule(told, changed=found["LastModificationDate"], ours=ours and stays)

    def put(self, trigger: str, wanted: WantedSchedule) -> None:
        """Make a trigger's schedule, or replace it: an update replaces the whole (AWS: UpdateSchedule).

        Raises:
            ScheduleRefusedError: AWS does not take it, now or later.

        """
        request = self._request(trigger, wanted)
        with _refusals():
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


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in _FOR_GOOD:
            raise
        raise ScheduleRefusedError(error.response["Error"]["Message"][:_MAX_PROBLEM]) from error


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
