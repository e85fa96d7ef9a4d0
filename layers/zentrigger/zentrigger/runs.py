"""Runs: what a run is, its six statuses and legal moves, and what a task and its record say to each other."""

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from zentrigger.capacity import Concurrency
from zentrigger.resources import Resources
from zentrigger.retries import RetryPolicy, Spent
from zentrigger.timestamps import Timestamp

CONTRACT_VERSION = 2
"""Version of what a record and a runner say to each other; images live longer than functions.

Raise it with every field of `RunInput` that a run must not lose: an older runner drops what it does not know.
"""


START_TIMEOUT_SECONDS = 20 * 60
"""A task that claims nothing within it is stopped: a large image takes a minute or two, and Fargate may hang."""


OF_AN_ATTEMPT = (
    "claimed_by", "launched_at", "overdue", "refusal", "report", "started_at", "task_arn", "timings",
)  # fmt: skip
"""What of a run's head belongs to one attempt, and is gone when another follows."""


SKIPPED = "skipped_overlap"
"""Reason of a run that was recorded and never started, for its concurrency key was taken."""


class RunStatus(StrEnum):
    """Where a run stands. Six words, never more; detail goes into `reason` and `message`."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the run has ended; a final status is never overwritten."""
        return not LEGAL_MOVES[self]

    @property
    def holds_slot(self) -> bool:
        """Whether a run of this status counts as active."""
        return self in (RunStatus.STARTING, RunStatus.RUNNING)


LEGAL_MOVES: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.STARTING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.STARTING: frozenset({RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset({RunStatus.QUEUED, RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}


class Record(BaseModel):
    """Base of everything that is kept or passed on: immutable; fields of a later version are ignored, not refused."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Source(Record):
    """What asked for a run: an HTTP caller, an object in S3, a schedule, the end of another run, a webhook."""

    type: Literal["http", "s3", "schedule", "run", "webhook"]
    key_id: str | None = None
    trigger: str | None = None
    event_id: str | None = None
    run_id: str | None = None
    """The run whose end started this one."""
    chain: tuple[str, ...] = ()
    """The triggers of type `run` that led here, the first one first and this run's own last."""
    delivery_id: str | None = None
    """The sender's id of a webhook's delivery."""
    bucket: str | None = None
    key: str | None = None
    version_id: str | None = None
    etag: str | None = None
    size: int | None = None
    scheduled_at: Timestamp | None = None


class StepProgress(Record):
    """One step of a run, in ZenML's own words for its status."""

    name: str
    status: str
    started_at: Timestamp | None = None
    finished_at: Timestamp | None = None


class Progress(Record):
    """What the runner last said of a running pipeline."""

    heartbeat_at: Timestamp
    steps: tuple[StepProgress, ...] = ()
    zenml_run_id: str | None = None
    dashboard_url: str | None = None


class Output(Record):
    """One output of a run: its value where that is small JSON, else the artifact's id and URI."""

    name: str
    step: str | None = None
    value: JsonValue = None
    artifact_id: str | None = None
    uri: str | None = None
    data_type: str | None = None


class RunError(Record):
    """What a pipeline raised: where, what, and the traceback, cut to 16 KB."""

    step: str | None = None
    type: str
    message: str
    traceback: str = ""


class Verdict(Record):
    """How a run went, in short: what of a report the head of the record keeps."""

    outcome: Literal["succeeded", "failed"]
    reason: str | None = None
    message: str | None = None
    error_type: str | None = None
    """Which exception the pipeline raised: `ValueError`, `pipelines.tables.TableError`."""


class Report(Verdict):
    """What the runner says at the end of its attempt; `lifecycle` turns it into the run's end."""

    exit_code: int | None = None
    outputs: tuple[Output, ...] = ()
    error: RunError | None = None
    zenml_run_id: str | None = None
    dashboard_url: str | None = None
    steps: tuple[StepProgress, ...] = ()


class RunInput(Record):
    """What a run executes: fixed when it is recorded, handed to the runner as it is."""

    source: str | None = None
    """Where the pipeline is found in the image: `module:attribute`."""
    zenml_snapshot: str | None = None
    """Name or id of a snapshot in the task's ZenML store, which is executed instead of a `source`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """The pipeline's, with the snapshot's defaults filled in."""
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What was asked for single steps: step -> parameter -> value."""
    enable_cache: bool | None = None
    tags: tuple[str, ...] = ()
    configured_steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What the snapshot's configuration says of steps, in ZenML's words; `steps` goes before it."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What else the snapshot's configuration says, in the words of a ZenML run configuration."""
    stack: str | None = None
    """Name or id of the ZenML stack to run on; None: the task's own."""
    image: str = ""
    architecture: Literal["ARM64", "X86_64"] | None = None
    secrets: dict[str, str] = Field(default_factory=dict)
    """Variable -> ARN of the secret whose value the task has in it. Values are never here."""
    timeout_seconds: int | None = None
    """How long the pipeline may take, from the claim on."""


class Assignment(RunInput):
    """What a runner gets when it has claimed an attempt of a run."""

    run_id: str
    attempt: int
    pipeline: str
    snapshot: str
    execution: str
    """What no other execution has, of this run or of one that had its id before its record expired: the task's id."""


class Timings(Record):
    """When ECS had the task's image and when its container ran: what happens between launch and claim."""

    pull_started_at: Timestamp | None = None
    pulled_at: Timestamp | None = None
    container_started_at: Timestamp | None = None


class Overdue(Record):
    """Which deadline a run has missed. Its task is stopped, and with it ends the attempt, for this reason."""

    reason: str
    message: str
    at: Timestamp


class Attempt(Record):
    """The story of an attempt that was followed by another, or that ended the run."""

    number: int
    launches: int
    """How many launches it took; ECS refuses some."""
    spot: bool = False
    task_arn: str | None = None
    launched_at: Timestamp | None = None
    timings: Timings | None = None
    claimed_at: Timestamp | None = None
    ended_at: Timestamp
    outcome: Literal["succeeded", "failed", "cancelled"]
    reason: str | None = None
    message: str | None = None
    error_type: str | None = None


class Downstream(Record):
    """A run that the end of another one started."""

    run_id: str
    pipeline: str
    trigger: str
    accepted_at: Timestamp


class Refusal(Record):
    """Why ECS surely refused a launch, and whether a later one may succeed."""

    attempt: int = 1
    launch: int
    transient: bool
    reason: str
    message: str


class Run(Record):
    """The head of a run's record: everything its transitions depend on, and nothing that changes in between."""

    run_id: str
    contract: int = CONTRACT_VERSION
    pipeline: str
    snapshot: str
    status: RunStatus
    attempt: int = 1
    launch: int = 1
    task_definition: str
    source: Source
    trigger: str | None = None
    tags: tuple[str, ...] = ()
    resources: Resources | None = None
    """Size of the task; None: what its task definition says."""
    priority: int = 0
    concurrency: Concurrency | None = None
    retry: RetryPolicy | None = None
    """How often the pipeline is attempted again when it fails by itself."""
    spot: bool = False
    """Whether its first launch is on Spot capacity, which AWS may take back: the pipeline may be repeated then."""
    timeout_seconds: int | None = None
    """How long the pipeline may take; the runner keeps to it, and the sweep where the runner does not."""
    start_timeout_seconds: int = START_TIMEOUT_SECONDS
    """How long a task may take from its launch to its claim."""
    pipeline_retries: int = 0
    infrastructure_retries: int = 0
    retry_of: str | None = None
    """The run that this one repeats."""
    retried_by: str | None = None
    """The newest run that repeats this one."""
    request_hash: str
    rank: str
    accepted_at: Timestamp
    status_at: Timestamp
    not_before: Timestamp | None = None
    task_arn: str | None = None
    launched_at: Timestamp | None = None
    """When ECS took the present launch."""
    claimed_by: str | None = None
    started_at: Timestamp | None = None
    """When the present attempt was claimed."""
    timings: Timings | None = None
    refusal: Refusal | None = None
    """Why ECS refused the last launch that it refused."""
    report: Verdict | None = None
    overdue: Overdue | None = None
    cancel_requested_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    reason: str | None = None
    message: str | None = None
    announced_at: Timestamp | None = None
    retention_days: int
    written_by: str | None = None
    """Which write this is, so that its repetition after a lost answer knows it again."""
    expires_at: int | None = None
    """Epoch seconds, set at the end: a run that has not ended never expires."""

    @property
    def started_by(self) -> str:
        """What the run's task carries as `startedBy`: the run, its attempt and its launch (36 + 2 + digits ≤ 128)."""
        return f"{self.run_id}/{self.attempt}/{self.launch}"

    @property
    def on_spot(self) -> bool:
        """Whether the present launch is one on Spot capacity: after a refusal or an interruption none is."""
        return self.spot and self.attempt == 1 and self.launch == 1

    @property
    def spent(self) -> Spent:
        """What of its retries the run has spent."""
        return Spent(self.pipeline_retries, self.infrastructure_retries, claimed=self.status == RunStatus.RUNNING)


class RunRecord(Record):
    """A whole run: its head and its other parts, as far as they have been written."""

    run: Run
    input: RunInput
    progress: Progress | None = None
    result: Report | None = None
    earlier_attempts: tuple[Attempt, ...] = ()
    """Those that were followed by another, in their order."""
    downstream: tuple["Downstream", ...] = ()
    """The runs that this one's end started, in their order."""

    def task_of(self, attempt: int) -> str | None:
        """Give the ARN of the task of an attempt, which was the last that was launched for it; None: there is none."""
        if attempt == self.run.attempt:
            return self.run.task_arn
        return next((story.task_arn for story in self.earlier_attempts if story.number == attempt), None)
