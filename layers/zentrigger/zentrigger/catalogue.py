"""The catalogue: pipelines, and their snapshots, which say how a pipeline is found and what it takes."""

import hashlib
import json
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from zentrigger.runs import Record
from zentrigger.timestamps import Timestamp

MAX_NAME = 200

PipelineName = Annotated[str, Field(min_length=1, max_length=MAX_NAME, pattern=r"^\w[\w .:@+=,()\[\]-]*$")]
"""Letters and digits of any script, and signs that can stand in a path: the name is part of the pipeline's URL."""

ModuleAttribute = Annotated[
    str, Field(max_length=500, pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*$")
]
"""Where a pipeline is found in the image: `module:attribute`."""

JsonSchema = dict[str, JsonValue]


class StepSpec(BaseModel):
    """A step of a snapshot: what it runs after, what of it may be set, and what the pipeline's body sets itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstream: tuple[str, ...] = ()
    parameters_schema: JsonSchema = Field(default_factory=dict)
    fixed: tuple[str, ...] = ()


class SnapshotConfiguration(BaseModel):
    """What of a pipeline's own configuration counts for a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enable_cache: bool | None = None
    tags: tuple[Annotated[str, Field(max_length=MAX_NAME)], ...] = ()


class SnapshotContent(BaseModel):
    """What a publisher sends: everything that makes one snapshot differ from another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pipeline: PipelineName
    source: ModuleAttribute
    description: str = Field(default="", max_length=10_000)
    dynamic: bool = False
    zenml_version: str = Field(max_length=50)
    parameters_schema: JsonSchema
    steps: dict[str, StepSpec] = Field(default_factory=dict)
    configuration: SnapshotConfiguration = SnapshotConfiguration()

    @property
    def content_hash(self) -> str:
        """Same content, same hash; the order of keys does not count."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Snapshot(Record):
    """An immutable version of a pipeline, numbered 1, 2, 3 … per pipeline."""

    number: int
    content: SnapshotContent
    published_at: Timestamp
    published_by: str

    @property
    def id(self) -> str:
        """The snapshot's id: pipeline and number."""
        return f"{self.content.pipeline}:{self.number}"


class Pipeline(Record):
    """A published pipeline and its newest snapshot."""

    name: str
    snapshots: int
    newest: Snapshot


def example_parameters(schema: JsonSchema) -> dict[str, Any]:
    """Give a request's parameters that fit a schema: defaults where there are some, else a value of the type."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: _example(rule) for name, rule in properties.items()}


def _example(rule: JsonValue) -> JsonValue:
    if not isinstance(rule, dict):
        return None
    if "default" in rule:
        return rule["default"]
    if "const" in rule:
        return rule["const"]
    choices = rule.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    by_type: dict[str, JsonValue] = {
        "string": "text",
        "integer": 1,
        "number": 1.0,
        "boolean": True,
        "array": [],
        "object": {},
    }
    return by_type.get(str(rule.get("type")))
