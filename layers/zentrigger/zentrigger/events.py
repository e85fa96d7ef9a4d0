"""What comes in as events, from EventBridge and ECS, as typed values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator


class UnknownEventError(Exception):
    """The event is not one that this function takes; the text says what it was."""


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class S3Object(_Event):
    """The object of an S3 event. The key is as it is in the bucket: EventBridge does not URL-encode it."""

    key: str = Field(min_length=1)
    size: int = 0
    etag: str | None = None
    version_id: str | None = Field(default=None, alias="version-id")

    @field_validator("version_id")
    @classmethod
    def _no_null_version(cls, value: str | None) -> str | None:
        # Where versioning is suspended all writings of a key are of the version "null".
        return None if value == "null" else value

    sequencer: str | None = None


class S3Bucket(_Event):
    """The bucket of an S3 event."""

    name: str


class S3Arrival(_Event):
    """An object arrived in a bucket (AWS: "Object Created" event)."""

    event_id: str
    time: AwareDatetime
    bucket: S3Bucket
    object: S3Object
    reason: str = ""


class ScheduleFired(_Event):
    """A schedule fired for a trigger: its own, or the stack's."""

    event_id: str
    time: AwareDatetime
    """The scheduled time, however late the event comes."""
    trigger: str


class RunEnded(_Event):
    """A run of this stack has ended. Its record says how; the event only says that."""

    event_id: str
    time: AwareDatetime
    run_id: str = Field(min_length=1, max_length=200)


class WebhookReceived(_Event):
    """A signed call came for a trigger, and was verified."""

    event_id: str
    time: AwareDatetime
    trigger: str
    receipt_id: str
    """What the caller was told to look for."""
    trigger_created_at: AwareDatetime | None = None
    """When the trigger was made with whose secret the call was verified."""
    delivery_id: str | None = None
    """The sender's id; None where the scheme has none."""
    headers: dict[str, str] = Field(default_factory=dict)
    body: JsonValue = None


TriggerEvent = S3Arrival | ScheduleFired | RunEnded | WebhookReceived
"""What may start runs."""

WEBHOOK_SOURCE = "zentrigger.webhook"
SCHEDULE_SOURCE = "zentrigger.schedule"
RUN_SOURCE = "zentrigger"


@dataclass(frozen=True)
class ContainerState:
    """How a container of a task stands."""

    name: str
    exit_code: int | None
    reason: str | None


@dataclass(frozen=True)
class TaskState:
    """How ECS describes a task, in its event or in DescribeTasks; both have the same shape."""

    task_arn: str
    last_status: str
    started_by: str | None
    stop_code: str | None
    stopped_reason: str | None
    containers: tuple[ContainerState, ...]
    memory: int | None = None
    """MiB."""
    pull_started_at: datetime | None = None
    pulled_at: datetime | None = None
    started_at: datetime | None = None

    @property
    def stopped(self) -> bool:
        """Whether the task has ended for good."""
        return self.last_status == "STOPPED"


def parse_event(event: Mapping[str, Any]) -> TriggerEvent:
    """Give what on_event's queue carries: an S3 arrival, a firing of a schedule, a run's end or a webhook's call.

    Raises:
        UnknownEventError: neither, or not of the shape that AWS sends.

    """
    kind = (event.get("source"), event.get("detail-type"))
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        raise UnknownEventError(f"an event of {kind[0]!r} without a detail")
    values = {**detail, "event_id": event.get("id"), "time": event.get("time")}
    try:
        if kind == ("aws.s3", "Object Created"):
            return S3Arrival.model_validate(values)
        if kind[0] == SCHEDULE_SOURCE:
            return ScheduleFired.model_validate(values)
        if kind[0] == RUN_SOURCE and str(kind[1]).startswith("Pipeline Run "):
            return RunEnded.model_validate(values)
        if kind[0] == WEBHOOK_SOURCE:
            return WebhookReceived.model_validate(values)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise UnknownEventError(f"an event of {kind[0]!r} with something missing or wrong at: {places}") from error
    raise UnknownEventError(f"an event of source {kind[0]!r} and type {kind[1]!r}")


def task_state(task: Mapping[str, Any]) -> TaskState:
    """Give a task as ECS describes it, in an event's detail or in DescribeTasks' answer."""
    return TaskState(
        task_arn=task["taskArn"],
        last_status=task["lastStatus"],
        started_by=task.get("startedBy"),
        stop_code=task.get("stopCode"),
        stopped_reason=task.get("stoppedReason"),
        containers=tuple(
            ContainerState(name=container["name"], exit_code=container.get("exitCode"), reason=container.get("reason"))
            for container in task.get("containers", ())
        ),
        memory=int(task["memory"]) if task.get("memory") else None,
        pull_started_at=_moment(task.get("pullStartedAt")),
        pulled_at=_moment(task.get("pullStoppedAt")),
        started_at=_moment(task.get("startedAt")),
    )


def _moment(value: datetime | str | None) -> datetime | None:
    """Give a moment, which DescribeTasks has as such and an event as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
