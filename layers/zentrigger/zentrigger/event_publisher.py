"""EventBridge: publishes the ends of runs."""

import json
from typing import TYPE_CHECKING

from zentrigger.runs import Run

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


class PublishError(Exception):
    """The event bus did not take an event."""


class EventPublisher:
    """The default event bus. An end may be published more than once; its `id` and `status` never differ."""

    def __init__(self, client: "EventBridgeClient") -> None:
        self._client = client

    def publish_end(self, run: Run) -> None:
        """Publish "Pipeline Run Succeeded", "… Failed" or "… Cancelled".

        Raises:
            PublishError: the bus did not take it.

        """
        detail = run.model_dump(
            mode="json",
            exclude_none=True,
            include={
                "run_id", "pipeline", "snapshot", "status", "reason", "message", "attempt", "tags", "trigger", "source",
                "accepted_at", "started_at", "ended_at",
            },
        )  # fmt: skip
        answer = self._client.put_events(
            Entries=[
                {
                    "Source": "zentrigger",
                    "DetailType": f"Pipeline Run {run.status.value.capitalize()}",
                    "Detail": json.dumps(detail),
                    "Resources": [run.task_arn] if run.task_arn else [],
                }
            ]
        )
        if answer["FailedEntryCount"]:
            entry = answer["Entries"][0]
            raise PublishError(f"EventBridge did not take the end of run {run.run_id}: {entry.get('ErrorMessage')}")
