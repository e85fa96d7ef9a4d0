"""Triggers: what starts runs by itself. Which events concern one, and the request it makes of an event."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from zentrigger.capacity import Concurrency
from zentrigger.catalogue import PipelineName, SnapshotChoice, SnapshotContent, Tag
from zentrigger.errors import NotSettable, Problem, UnknownName
from zentrigger.events import S3Arrival, ScheduleFired
from zentrigger.parameters import check, step_pointer
from zentrigger.runs import Record
from zentrigger.schema_references import escaped
from zentrigger.timestamps import Timestamp, to_text

TriggerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

RECEIPTS_KEPT = timedelta(days=30)

S3_FIELDS = frozenset(
    {
        "bucket.name",
        "object.key",
        "object.size",
        "object.etag",
        "object.version-id",
        "event.id",
        "event.time",
        "trigger",
    }
)
SCHEDULE_FIELDS = frozenset({"event.id", "event.time", "trigger"})

_FIELD = re.compile(r"\{([a-z][a-z._-]*)\}")


class TriggerDefinition(BaseModel):
    """What an operator says of a trigger.

    Text in `parameters` and `steps` may hold fields of the event in braces, as in `s3://{bucket.name}/{object.key}`; a
    text that is one field and nothing else keeps the field's type. Nothing else in braces is looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["s3", "schedule"]
    pipeline: PipelineName
    snapshot: SnapshotChoice | None = Field(default=None, description="Which snapshot; the newest unless said.")
    enabled: bool = True
    bucket: str | None = Field(default=None, max_length=63)
    prefix: str = Field(default="", max_length=1024)
    suffix: str = Field(default="", max_length=1024)
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    steps: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    tags: tuple[Tag, ...] = Field(default=(), max_length=20)
    # ZenML caches a step by its parameters, not by the bytes behind a URL: an overwritten object would not be read.
    enable_cache: bool = False
    overlap: Literal["allow", "skip", "queue"] = Field(
        default="allow",
        description="What becomes of an event while a run of this trigger is active or waits: a run beside it, none, or"
        " one that waits for it.",
    )

    @model_validator(mode="after")
    def _fits_its_type(self) -> "TriggerDefinition":
        if self.type == "schedule" and (self.bucket or self.prefix or self.suffix):
            raise ValueError("a trigger of type schedule has no bucket, prefix or suffix")
        known = S3_FIELDS if self.type == "s3" else SCHEDULE_FIELDS
        unknown = sorted(set(_fields([self.parameters, self.steps])) - known)
        if unknown:
            raise ValueError(f"no {self.type} event has {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        return self


class NamedTrigger(BaseModel):
    """A trigger's name, as it stands in a path."""

    name: TriggerName


class Trigger(Record):
    """A trigger as it is kept."""

    name: str
    definition: TriggerDefinition
    updated_at: Timestamp


class Receipt(Record):
    """What became of one event at one trigger."""

    trigger: str
    event_id: str
    at: Timestamp
    outcome: Literal["started", "duplicate", "skipped_overlap", "rejected", "disabled"]
    run_id: str | None = None
    detail: str | None = None
    bucket: str | None = None
    key: str | None = None


def concurrency_of(trigger: Trigger) -> Concurrency | None:
    """Give the concurrency key of a trigger's runs; None where they may overlap."""
    overlap = trigger.definition.overlap
    if overlap == "allow":
        return None
    return Concurrency(key=f"trigger:{trigger.name}", limit=1, on_conflict="skip" if overlap == "skip" else "queue")


def concerns(trigger: Trigger, event: S3Arrival | ScheduleFired) -> bool:
    """Tell whether an event is one of those that a trigger waits for. "Folders" (keys that end in /) never are."""
    definition = trigger.definition
    match event:
        case S3Arrival():
            return (
                definition.type == "s3"
                and (definition.bucket is None or definition.bucket == event.bucket.name)
                and event.object.key.startswith(definition.prefix)
                and event.object.key.endswith(definition.suffix)
                and not event.object.key.endswith("/")
            )
        case ScheduleFired():
            return definition.type == "schedule" and event.trigger == trigger.name


def fields_of(trigger: Trigger, event: S3Arrival | ScheduleFired) -> dict[str, JsonValue]:
    """Give the fields of an event that a trigger's templates may name."""
    common: dict[str, JsonValue] = {
        "event.id": event.event_id,
        "event.time": to_text(event.time),
        "trigger": trigger.name,
    }
    match event:
        case ScheduleFired():
            return common
        case S3Arrival():
            return common | {
                "bucket.name": event.bucket.name,
                "object.key": event.object.key,
                "object.size": event.object.size,
                "object.etag": event.object.etag,
                "object.version-id": event.object.version_id,
            }


def render(template: Any, fields: Mapping[str, JsonValue]) -> Any:  # noqa: ANN401 - JSON of any shape
    """Fill the fields of an event into a template, however deep; a text that is one field keeps its type."""
    if isinstance(template, Mapping):
        return {name: render(value, fields) for name, value in template.items()}
    if isinstance(template, list | tuple):
        return [render(value, fields) for value in template]
    if not isinstance(template, str):
        return template
    whole = _FIELD.fullmatch(template)
    if whole:
        return fields[whole[1]]
    # One pass: what an event's field holds is never looked at again, also when it holds braces.
    return _FIELD.sub(lambda field: str(fields[field[1]]), template)


def _fields(template: Any) -> list[str]:  # noqa: ANN401 - JSON of any shape
    if isinstance(template, Mapping):
        return [field for value in template.values() for field in _fields(value)]
    if isinstance(template, list | tuple):
        return [field for value in template for field in _fields(value)]
    return _FIELD.findall(template) if isinstance(template, str) else []


def event_values(definition: TriggerDefinition) -> frozenset[str]:
    """Give the JSON pointers of the parameters whose values are known only when an event comes."""
    values = {f"/parameters/{escaped(name)}": value for name, value in definition.parameters.items()}
    for step, parameters in definition.steps.items():
        for name, value in parameters.items():
            values[step_pointer(step, name)] = value
    return frozenset(pointer for pointer, value in values.items() if _fields(value))


def check_trigger(definition: TriggerDefinition, content: SnapshotContent) -> list[Problem]:
    """Give what is wrong with a trigger's parameters: those that no event could make fit its pipeline.

    Values with fields of the event in them are known only when it comes; of those, only the names are checked, and
    whether something can be set there at all.
    """
    given = {
        "parameters": definition.parameters,
        "steps": {name: {"parameters": values} for name, values in definition.steps.items()},
    }
    return [
        problem
        for problem in check(content, definition.parameters, definition.steps)
        if isinstance(problem, UnknownName | NotSettable) or not _waits_for_event(given, problem.pointer)
    ]


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
    return not is_whole and bool(_fields(standing))
