"""Triggers: what starts runs by itself. What an operator says of one, and whether that can work."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    RootModel,
    StrictBool,
    StrictInt,
    field_validator,
    model_validator,
)

from zentrigger.capacity import Concurrency
from zentrigger.catalogue import (
    MAX_TAGS,
    MAX_TIMEOUT_SECONDS,
    PipelineName,
    SnapshotChoice,
    SnapshotContent,
    Tag,
)
from zentrigger.errors import ConflictError, InvalidRequestError, NotSettable, Problem, UnknownName
from zentrigger.event_fields import TriggerType, fields_in, known_fields, unknown_fields
from zentrigger.globs import MAX_GLOB
from zentrigger.json_paths import check_path
from zentrigger.parameters import check, step_pointer
from zentrigger.resources import Resources
from zentrigger.retries import RetryPolicy
from zentrigger.run_requests import MAX_PRIORITY, RunRequest
from zentrigger.runs import Record, RunStatus
from zentrigger.schedules import parse_schedule, parse_time_zone
from zentrigger.schema_references import escaped
from zentrigger.signatures import Signature
from zentrigger.timestamps import Timestamp

TriggerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

MAX_RUNS_PER_HOUR = 1000
"""How many runs a trigger starts in an hour unless it says otherwise: what feeds itself must not run up a bill."""

MAX_FILTERS = 20

MAX_TRIGGERS = 200
"""How many there may be. All are read for each batch of events, and an object is held against all of type s3."""

S3Reason = Literal["PutObject", "POST Object", "CopyObject", "CompleteMultipartUpload"]
"""How an object came about (AWS: EventBridge, "Object Created" event)."""


class TriggerDefinition(BaseModel):
    """What an operator says of a trigger, whatever its type.

    Text in `parameters` and `steps` may hold fields of the event in braces (see `event_fields`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: TriggerType
    pipeline: PipelineName
    snapshot: SnapshotChoice | None = Field(default=None, description="Which snapshot; the newest unless said.")
    enabled: StrictBool = True
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="Parameters of the pipeline; text may hold fields of the event in braces."
    )
    steps: dict[str, dict[str, JsonValue]] = Field(
        default_factory=dict, description="Parameters of single steps: step, parameter, value."
    )
    tags: tuple[Tag, ...] = Field(default=(), max_length=MAX_TAGS)
    # ZenML caches a step by its parameters, not by the bytes behind a URL: an overwritten object would not be read.
    enable_cache: StrictBool = False
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=MAX_TIMEOUT_SECONDS)] | None = None
    priority: Annotated[StrictInt, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = 0
    resources: Resources | None = None
    retry: RetryPolicy | None = None
    spot: StrictBool = False
    overlap: Literal["allow", "skip", "queue"] = Field(
        default="allow",
        description="What becomes of an event while a run of this trigger is active or waits: a run beside it, none, or"
        " one that waits for it.",
    )
    max_runs: Annotated[StrictInt, Field(ge=1, le=10**9)] | None = Field(
        default=None, description="How many runs it starts in all; further events leave a receipt."
    )
    max_runs_per_hour: Annotated[StrictInt, Field(ge=1, le=100_000)] = Field(
        default=MAX_RUNS_PER_HOUR, description="How many it starts in one hour of the clock, in UTC."
    )
    start_at: Timestamp | None = Field(default=None, description="Events before this moment start nothing.")
    end_at: Timestamp | None = Field(default=None, description="Events at or after this moment start nothing.")

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        unknown = unknown_fields(self.type, [self.parameters, self.steps])
        if unknown:
            raise ValueError(
                f"no {self.type} event has {', '.join(unknown)}; known are {', '.join(known_fields(self.type))}"
            )
        if self.start_at and self.end_at and self.end_at <= self.start_at:
            raise ValueError("end_at is not after start_at, so that no event would start anything")
        return self

    def lasts_at(self, moment: datetime) -> bool:
        """Tell whether a moment lies between `start_at` and `end_at`."""
        return (self.start_at is None or self.start_at <= moment) and (self.end_at is None or moment < self.end_at)


class S3Trigger(TriggerDefinition):
    """Run a pipeline for each object that arrives in a bucket. "Folders" (keys that end in /) are never meant."""

    type: Literal["s3"]
    bucket: str | None = Field(default=None, max_length=63, description="Any watched bucket unless said.")
    prefix: str = Field(default="", max_length=1024)
    suffix: str = Field(default="", max_length=1024)
    glob: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_GLOB,
        description="For the whole key: `*` within a folder, `**` across folders, `?` one character.",
    )
    min_size: Annotated[StrictInt, Field(ge=0)] | None = Field(default=None, description="Bytes, at least.")
    max_size: Annotated[StrictInt, Field(ge=0)] | None = Field(default=None, description="Bytes, at most.")
    reasons: tuple[S3Reason, ...] = Field(default=(), description="How the object came about; any way unless said.")

    @model_validator(mode="after")
    def _can_match(self) -> Self:
        if self.min_size is not None and self.max_size is not None and self.max_size < self.min_size:
            raise ValueError("max_size is less than min_size, so that no object would do")
        if self.suffix.endswith("/"):
            raise ValueError('suffix ends in /, as only "folders" do, so that no object would do')
        return self


class ScheduleTrigger(TriggerDefinition):
    """Run a pipeline on a schedule. Without `schedule`, only the stack's own rule (ScheduledTrigger) fires it."""

    type: Literal["schedule"]
    schedule: str | None = Field(
        default=None,
        max_length=256,
        description="`cron(…)` with six fields, `rate(…)`, `at(…)`, or cron with five fields, which is translated.",
    )
    time_zone: str = Field(default="UTC", max_length=100, description="By its IANA name: Europe/Berlin.")
    flexible_window_minutes: Annotated[StrictInt, Field(ge=1, le=1440)] | None = Field(
        default=None, description="Fire at some moment within so many minutes from each time on."
    )

    @field_validator("schedule")
    @classmethod
    def _is_schedule(cls, text: str | None) -> str | None:
        if text is not None:
            parse_schedule(text)
        return text

    @field_validator("time_zone")
    @classmethod
    def _is_time_zone(cls, name: str) -> str:
        parse_time_zone(name)
        return name


class Upstream(BaseModel):
    """Of which runs the end is meant: of those that fulfil all that is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pipeline: PipelineName | None = None
    snapshot: Annotated[str, Field(max_length=300)] | None = Field(default=None, description="By its id.")
    tag: Tag | None = None
    trigger: TriggerName | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if all(value is None for value in self.model_dump().values()):
            raise ValueError("say of which runs: by pipeline, snapshot, tag or trigger")
        return self


class RunTrigger(TriggerDefinition):
    """Run a pipeline when another run has ended."""

    type: Literal["run"]
    on: tuple[Literal["succeeded", "failed", "cancelled"], ...] = Field(default=("succeeded",), min_length=1)
    of: Upstream

    def ends(self, status: RunStatus) -> bool:
        """Tell whether runs that ended so are meant."""
        return status.value in self.on


class WebhookTrigger(TriggerDefinition):
    """Run a pipeline for each call of `POST /hooks/{trigger}` that is signed with the trigger's secret."""

    type: Literal["webhook"]
    signature: Signature
    tolerance_seconds: Annotated[StrictInt, Field(ge=10, le=3600)] = Field(
        default=300, description="How far a signed time may be from ours, where the scheme signs one."
    )
    filter: dict[Annotated[str, Field(max_length=200)], list[JsonValue]] = Field(
        default_factory=dict,
        max_length=MAX_FILTERS,
        description="Path into the event (`body.ref`, `header.x-github-event`) -> the values that pass.",
    )
    deduplicate_by: Annotated[str, Field(max_length=200)] | None = Field(
        default=None,
        description="Path to what makes an event the same one again; the sender's delivery id unless said.",
    )

    @model_validator(mode="after")
    def _paths_are_known(self) -> Self:
        paths = [*self.filter, *([self.deduplicate_by] if self.deduplicate_by else [])]
        unknown = unknown_fields("webhook", [f"{{{path}}}" for path in paths])
        named = [path for path in paths if not fields_in(f"{{{path}}}")]
        if unknown or named:
            raise ValueError(f"a path begins with body. or header., not as {', '.join([*unknown, *named])}")
        for path in paths:
            check_path(path)
        of_headers = [
            path
            for path, values in self.filter.items()
            if path.startswith("header.") and not all(isinstance(value, str) for value in values)
        ]
        if of_headers:
            raise ValueError(f"headers are text, so that other values do not pass: {', '.join(of_headers)}")
        empty = [path for path, values in self.filter.items() if not values]
        if empty:
            raise ValueError(f"no value would pass the filter at {', '.join(empty)}: list those that do")
        return self


AnyTrigger = Annotated[S3Trigger | ScheduleTrigger | RunTrigger | WebhookTrigger, Field(discriminator="type")]

_MODELS: Mapping[str, type[TriggerDefinition]] = {
    "s3": S3Trigger,
    "schedule": ScheduleTrigger,
    "run": RunTrigger,
    "webhook": WebhookTrigger,
}


def model_of(values: Any) -> type[TriggerDefinition]:  # noqa: ANN401 - JSON of any shape
    """Give the model that a definition is to be read with, by its `type`.

    Raises:
        InvalidRequestError: it is no object, or of no known type.

    """
    if not isinstance(values, Mapping):
        raise InvalidRequestError([Problem("", "Input should be an object")])
    kind = values.get("type")
    if not isinstance(kind, str) or kind not in _MODELS:
        known = ", ".join(sorted(_MODELS))
        raise InvalidRequestError([Problem("/type", f"A trigger has a `type`, which is one of {known}.")])
    return _MODELS[kind]


class TriggersRequest(BaseModel):
    """Make triggers as they are wanted, all together or none: body of `PUT /triggers`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    triggers: dict[TriggerName, JsonValue] = Field(description="Name -> definition, as for `PUT /triggers/{trigger}`.")
    prune: StrictBool = Field(default=False, description="Delete all triggers that are not among these.")
    plan: Annotated[str, Field(max_length=100)] | None = Field(
        default=None,
        description="The `plan` of a dry run: do what that said, or answer 409 if something else would be done now.",
    )


class TriggerBody(RootModel[AnyTrigger]):
    """What an operator says of a trigger: body of `PUT /triggers/{trigger}`."""


class NamedTrigger(BaseModel):
    """A trigger's name, as it stands in a path."""

    name: TriggerName


class Trigger(Record):
    """A trigger as it is kept."""

    name: str
    definition: AnyTrigger
    created_at: Timestamp
    updated_at: Timestamp
    anchor: Timestamp
    """What a rate is counted from: it stays while the schedule does, so that a pause costs no place."""


@dataclass(frozen=True)
class UnreadableTrigger:
    """A trigger that this version cannot read: a later one wrote it, which has been rolled back or is being deployed.

    What it says and is not understood may be a filter, so that nothing may be started for it, and nothing be passed
    over either. The attributes are what stands beside its body; None: not even that.
    """

    name: str
    detail: str
    """What of it is not understood."""
    type: str | None = None
    pipeline: str | None = None
    created: str | None = None
    """When it was made, as text."""
    updated: str | None = None
    """When it was written, as text: what a write that replaces it requires."""

    @property
    def may_be_schedule(self) -> bool:
        """Whether there may be a schedule of it."""
        return self.type in (None, "schedule")

    def error(self) -> "UnreadableTriggerError":
        """Give what says so to whoever needs it."""
        return UnreadableTriggerError(
            f"The trigger {self.name!r} cannot be read by this version of the stack ({self.detail}). Perhaps a later"
            " one wrote it: deploy that again, or put the trigger anew, or delete it."
        )


class UnreadableTriggerError(ConflictError):
    """A trigger cannot be read by this version; others are not concerned."""

    title = "The trigger cannot be read"


StoredTrigger = Trigger | UnreadableTrigger


def concurrency_of(trigger: Trigger) -> Concurrency | None:
    """Give the concurrency key of a trigger's runs; None where they may overlap."""
    overlap = trigger.definition.overlap
    if overlap == "allow":
        return None
    return Concurrency(key=f"trigger:{trigger.name}", limit=1, on_conflict="skip" if overlap == "skip" else "queue")


def request_of(trigger: Trigger, parameters: Any, steps: Any) -> RunRequest:  # noqa: ANN401 - JSON, to be validated
    """Give the request that a trigger makes, with its templates filled in.

    Raises:
        pydantic.ValidationError: what was filled in is no request.

    """
    definition = trigger.definition
    return RunRequest.model_validate(
        {
            "pipeline": definition.pipeline,
            "snapshot": definition.snapshot,
            "parameters": parameters,
            "steps": {name: {"parameters": values} for name, values in steps.items()},
            "enable_cache": definition.enable_cache,
            "tags": list(definition.tags),
            "concurrency": concurrency_of(trigger),
            "timeout_seconds": definition.timeout_seconds,
            "priority": definition.priority,
            "resources": definition.resources,
            "retry": definition.retry,
            "spot": definition.spot,
        }
    )


def event_values(definition: TriggerDefinition) -> frozenset[str]:
    """Give the JSON pointers of the parameters whose values are known only when an event comes."""
    values = {f"/parameters/{escaped(name)}": value for name, value in definition.parameters.items()}
    for step, parameters in definition.steps.items():
        for name, value in parameters.items():
            values[step_pointer(step, name)] = value
    return frozenset(pointer for pointer, value in values.items() if fields_in(value))


def check_trigger(definition: TriggerDefinition, content: SnapshotContent) -> list[Problem]:
    """Give what is wrong with a trigger for a snapshot: what no event could make right.

    Values with fields of the event in them are known only when it comes; of those, only the names are checked, and
    whether something can be set there at all. A trigger whose own pipeline writes where it watches is wrong, too.
    """
    given = {
        "parameters": definition.parameters,
        "steps": {name: {"parameters": values} for name, values in definition.steps.items()},
    }
    problems = [
        problem
        for problem in check(content, definition.parameters, definition.steps)
        if isinstance(problem, UnknownName | NotSettable) or not _waits_for_event(given, problem.pointer)
    ]
    if isinstance(definition, S3Trigger):
        problems += [
            feedback(written)
            for written in content.writes
            if _covers(definition, *written[len("s3://") :].split("/", 1))
        ]
    return problems


def feedback(written: str) -> Problem:
    """Say that a trigger watches where its own pipeline writes."""
    return Problem(
        "/prefix",
        f"The pipeline writes to {written}, which this trigger watches: it would start itself for ever. Have it write"
        " elsewhere, or watch another prefix.",
    )


def _covers(definition: S3Trigger, bucket: str, written: str) -> bool:
    """Tell whether a key that begins so could be one that a trigger watches; suffix and glob do not count.

    What a pipeline will call its objects is not known, so that only where they lie can keep the two apart.
    """
    same = definition.bucket is None or definition.bucket == bucket
    return same and (written.startswith(definition.prefix) or definition.prefix.startswith(written))


def _waits_for_event(given: Mapping[str, Any], pointer: str) -> bool:
    """Tell whether what stands at a pointer is a value with a field of the event in it."""
    standing: Any = given
    path = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in path:
        if not isinstance(standing, Mapping):
            break
        standing = standing.get(part)
    # At the end of these stand all parameters together, of which one is missing.
    is_whole = path == ["parameters"] or (path[:1] == ["steps"] and path[2:] == ["parameters"])
    return not is_whole and bool(fields_in(standing))
