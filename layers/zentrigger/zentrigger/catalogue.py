"""The catalogue: pipelines and their snapshots, which say what a run executes and which parameters it takes."""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictInt,
    model_validator,
)

from zentrigger.resources import Resources
from zentrigger.runs import Record
from zentrigger.timestamps import Timestamp

MAX_NAME = 200

_NAME_IN_PATH = re.compile(r"\w[\w .:@+=,()\[\]-]*")


def _in_path(name: str) -> str:
    # The router's pattern is Python's, whose \w has no combining marks; pydantic's has them.
    if _NAME_IN_PATH.fullmatch(name) is None:
        raise ValueError(
            "a name begins with a letter or digit and has letters, digits and signs of _ .:@+=,()[]- after it; accents"
            " only where they are one character with their letter (Unicode NFC)"
        )
    return name


PipelineName = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_in_path)]
"""Letters and digits of any script, and signs that can stand in a path: the name is part of the pipeline's URL."""

ModuleAttribute = Annotated[
    str, Field(max_length=500, pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*$")
]
"""Where a pipeline is found in the image: `module:attribute`."""

Tag = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f$]+$")]
"""ZenML would replace ${NAME} in a tag by what the task's environment has, hence no dollar."""

TAG_PREFIX = "tag:"


def _no_number(name: str) -> str:
    if name.isdecimal():
        raise ValueError("a name of digits only would be a snapshot's number")
    return name


SnapshotName = Annotated[
    str,
    Field(min_length=1, max_length=100, pattern=r"^\w[\w .@+=,()\[\]-]*$"),
    AfterValidator(_no_number),
]
"""A name of a snapshot, unique per pipeline. It has no colon, so it is never an id or a `tag:…`."""

ImageReference = Annotated[str, Field(max_length=500, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*@sha256:[0-9a-f]{64}$")]
"""An image by its digest, `repository@sha256:…`: what it means never changes."""

Architecture = Literal["ARM64", "X86_64"]

StoredSnapshotId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
"""A UUID as ZenML writes it."""

EnvironmentName = Annotated[str, Field(max_length=100, pattern=r"^[A-Z_][A-Z0-9_]*$")]

SecretReference = Annotated[
    str,
    Field(
        max_length=500,
        pattern=r"^arn:[a-z-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+(:[^:\s]*){0,3}$",
    ),
]
"""A secret's ARN, and what of it is meant: `arn…[:json-key[:version-stage[:version-id]]]` (AWS: ECS, `valueFrom`)."""

WrittenPlace = Annotated[
    str, Field(max_length=1100, pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\x00-\x1f\x7f]*$")
]
"""Where in S3 a pipeline writes: `s3://bucket/prefix`, for all keys that begin with the prefix."""

RESERVED_VARIABLES = frozenset(
    {"RUN_ID", "ATTEMPT", "RUNS_TABLE", "ARTIFACT_BUCKET", "PATH", "HOME", "PYTHONPATH", "PYTHONUNBUFFERED"}
)
RESERVED_PREFIXES = ("AWS_", "ECS_", "ZENML_", "LD_")
"""Variables that the runner, AWS's clients or ZenML read: a secret under such a name would change how a task works."""

MAX_TIMEOUT_SECONDS = 14 * 24 * 3600

NUMBER_DIGITS = 8
"""How wide a snapshot's number is in the table, so that the order of text is that of numbers."""

MAX_TAGS = 20

JsonSchema = dict[str, JsonValue]

MAX_NUMBER = 10**NUMBER_DIGITS - 1


def _choice(value: object) -> object:
    # Before pydantic tries number and text in turn, and says of a wrong value that it is neither.
    is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_NUMBER
    if not is_number and not (isinstance(value, str) and 1 <= len(value) <= MAX_NAME + 20):
        raise ValueError("a snapshot is chosen by its number (1, 2 …), its id, its name, or `tag:` and a tag")
    return value


SnapshotChoice = Annotated[int | str, BeforeValidator(_choice)]
"""Which snapshot of a pipeline: its number, its id, its name, or `tag:<tag>` for the newest with that tag."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StepSpec(_Model):
    """A step of a snapshot: what it runs after, what of it may be set, and what the pipeline's body sets itself."""

    upstream: tuple[str, ...] = ()
    parameters_schema: JsonSchema = Field(default_factory=dict)
    fixed: tuple[str, ...] = ()
    """Parameters that the pipeline's body passes; ZenML refuses to have them set at the step."""
    passed: dict[str, str] = Field(default_factory=dict)
    """Those of `fixed` that are, unchanged, a parameter of the pipeline: the step's name for it -> the pipeline's."""


class SnapshotConfiguration(_Model):
    """What of a ZenML run configuration given when publishing, and of the pipeline's own tags, counts for a run.

    `parameters` and `steps` are defaults: they stand in the schemas, too. `options` has what else a run configuration
    may say (settings, model, retry …), in ZenML's words; the runner hands it to ZenML.
    """

    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    steps: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Step -> its part of the run configuration in ZenML's words, `parameters` among it."""
    enable_cache: StrictBool | None = None
    """What the run configuration says; what the code says, only the code knows step by step."""
    tags: tuple[Annotated[str, Field(max_length=MAX_NAME)], ...] = ()
    options: dict[str, JsonValue] = Field(default_factory=dict)


class GitState(_Model):
    """Where the source stood when it was published."""

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]
    dirty: StrictBool


class Compiled(_Model):
    """What publishing finds out of a pipeline, whatever image it is published for."""

    pipeline: PipelineName
    source: ModuleAttribute | None = None
    zenml_snapshot: StoredSnapshotId | None = Field(
        default=None,
        description="Id, a UUID, of a snapshot in the ZenML store that tasks reach; it is executed instead of a"
        " `source`. Not its name, which ZenML may give to another.",
    )
    dynamic: StrictBool = False
    zenml_version: str = Field(max_length=50)
    parameters_schema: JsonSchema
    steps: dict[str, StepSpec] = Field(default_factory=dict)
    configuration: SnapshotConfiguration = SnapshotConfiguration()
    stack: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Name or id of the ZenML stack that runs use; without it, the tasks' own."""
    architecture: Architecture | None = None
    """What the image was built for; without it, what the stack's tasks have when it is published."""
    secrets: dict[EnvironmentName, SecretReference] = Field(default_factory=dict, max_length=50)
    """Variable of the task's environment -> the secret whose value it gets. Nothing else reaches the task."""
    resources: Resources | None = None
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=MAX_TIMEOUT_SECONDS)] | None = None
    writes: tuple[WrittenPlace, ...] = Field(
        default=(),
        max_length=20,
        description="Where the pipeline itself writes, `s3://bucket/prefix`: no trigger of its own may watch that.",
    )

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.source is None) == (self.zenml_snapshot is None):
            raise ValueError("a snapshot has either a source or a zenml_snapshot")
        taken = sorted(
            name for name in self.secrets if name in RESERVED_VARIABLES or name.startswith(RESERVED_PREFIXES)
        )
        if taken:
            raise ValueError(f"the task's own variables cannot be secrets: {', '.join(taken)}")
        return self


class DeployedImage(NamedTuple):
    """What the stack's own tasks are made of."""

    image: str
    architecture: Architecture


class SnapshotContent(Compiled):
    """All that makes one snapshot differ from another. It never changes."""

    image: ImageReference
    architecture: Architecture

    @property
    def content_hash(self) -> str:
        """Same content, same hash; the order of keys does not count."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class PublishRequest(Compiled):
    """Publish a snapshot: body of `POST /snapshots`."""

    image: ImageReference | None = Field(
        default=None, description="By digest. Without it, the image that the stack was deployed with."
    )
    name: SnapshotName | None = None
    replace: StrictBool = Field(default=False, description="Move the name if another snapshot has it.")
    description: str = Field(
        default="",
        max_length=10_000,
        description="Of a content that is published already, it is changed if this is said at all.",
    )
    tags: tuple[Tag, ...] = Field(default=(), max_length=MAX_TAGS)
    git: GitState | None = Field(
        default=None, description="Of a content that is published already, the first publication's stays."
    )
    allow_breaking: StrictBool = Field(
        default=False, description="Publish although triggers would no longer fit the new parameters."
    )

    def content(self, image: str, architecture: Architecture) -> SnapshotContent:
        """Give the content for an image, and what it was built for."""
        return SnapshotContent.model_validate(
            {name: getattr(self, name) for name in Compiled.model_fields}
            | {"image": image, "architecture": architecture}
        )


class SnapshotUpdate(_Model):
    """Change what of a snapshot may change: body of `PATCH /snapshots/{snapshot}`. What is left out stays."""

    name: SnapshotName | None = Field(default=None, description="null takes the name away.")
    replace: StrictBool = Field(default=False, description="Move the name if another snapshot has it.")
    description: str | None = Field(default=None, max_length=10_000)
    tags: tuple[Tag, ...] | None = Field(default=None, max_length=MAX_TAGS, description="All of them.")
    allow_breaking: StrictBool = Field(
        default=False, description="Do it although triggers would no longer fit the parameters."
    )


class Snapshot(Record):
    """A version of a pipeline, numbered 1, 2, 3 … per pipeline. Immutable but for name, description and tags."""

    number: int
    content: SnapshotContent
    name: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    git: GitState | None = None
    task_definition: str
    """ARN of the revision that was registered, or found, when it was published last. Runs after an update of the stack
    may have another one."""
    published_at: Timestamp
    published_by: str

    @property
    def id(self) -> str:
        """The snapshot's id: pipeline and number. Numbers are never given again."""
        return snapshot_id(self.content.pipeline, self.number)

    @property
    def summary(self) -> "SnapshotSummary":
        """What a list of snapshots has of it."""
        return SnapshotSummary.model_validate(
            {name: value for name, value in self if name != "content"}
            | {name: value for name, value in self.content if name in SnapshotSummary.model_fields}
            | {"content_hash": self.content.content_hash}
        )


class SnapshotSummary(Record):
    """A snapshot without the bulk of its content: a schema may be large, and a list needs none."""

    pipeline: str
    number: int
    name: str | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    git: GitState | None = None
    source: str | None = None
    zenml_snapshot: str | None = None
    zenml_version: str
    image: str
    content_hash: str
    task_definition: str
    published_at: Timestamp
    published_by: str

    @property
    def id(self) -> str:
        """The snapshot's id."""
        return snapshot_id(self.pipeline, self.number)


class Pipeline(Record):
    """A published pipeline: how many snapshots it ever had, and which one a run without a choice gets."""

    name: str
    snapshots: int
    """The last number given."""
    newest: int | None
    """Number of the snapshot that was published last; None when all were deleted."""
    revision: int
    """Rises with every write that concerns the pipeline, so that each can require that no other came between."""


@dataclass(frozen=True)
class PublishedPipeline:
    """A pipeline and its newest snapshot, in short."""

    pipeline: Pipeline
    newest: SnapshotSummary | None


def snapshot_id(pipeline: str, number: int) -> str:
    """Give the id of a snapshot."""
    return f"{pipeline}:{number}"


def split_snapshot_id(text: str) -> tuple[str, int] | None:
    """Give pipeline and number of a snapshot's id, or None if it is none. A pipeline's name may hold colons."""
    pipeline, colon, number = text.rpartition(":")
    if not (pipeline and colon and number.isascii() and number.isdecimal() and len(number) <= NUMBER_DIGITS):
        return None
    return pipeline, int(number)


def number_said(pipeline: str, choice: str) -> int | None:
    """Give the number that a text says outright, by itself or in the id of a snapshot of this pipeline; else None."""
    if choice.startswith(TAG_PREFIX):
        return None
    if choice.isascii() and choice.isdecimal():
        return int(choice)
    owner, number = split_snapshot_id(choice) or (None, None)
    return number if owner == pipeline else None
