"""What callers may ask for: the bodies of the write side, and what of them counts as the same request."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, StrictInt, ValidationError

from zentrigger.capacity import MAX_PIPELINE_LIMIT, Concurrency
from zentrigger.catalogue import (
    MAX_TIMEOUT_SECONDS,
    PipelineName,
    SnapshotChoice,
    Tag,
    number_said,
    split_snapshot_id,
)
from zentrigger.errors import NotFoundError, Problem
from zentrigger.keys import Scope
from zentrigger.resources import Resources
from zentrigger.retries import RetryPolicy

MAX_PRIORITY = 10


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def request_hash(self) -> str:
        """Same request, same hash, whatever the order of its keys, and whatever is published meanwhile.

        What is as it would be unsaid does not count, so that a field which requests get later changes no hash.
        """
        return hashlib.sha256(canonical(self._asked()).encode()).hexdigest()

    def _asked(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)


class StepRequest(_Request):
    """What of a step a request may set."""

    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class _RunOptions(_Request):
    """What a request says of a run besides what it runs."""

    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="Parameters of the pipeline.")
    steps: dict[str, StepRequest] = Field(default_factory=dict, description="Parameters of single steps, by step name.")
    enable_cache: StrictBool | None = Field(default=None, description="Override the pipeline's own caching.")
    tags: list[Tag] = Field(default_factory=list, max_length=20)
    resources: Resources | None = Field(default=None, description="Size of the task; the snapshot's unless said.")
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=MAX_TIMEOUT_SECONDS)] | None = Field(
        default=None, description="How long the pipeline may take; as the snapshot says unless said."
    )

    priority: Annotated[StrictInt, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = Field(
        default=0, description="Each point lets the run pass those that have waited up to 10 minutes longer."
    )
    concurrency: Concurrency | None = Field(
        default=None, description="How many runs with the same key may be active, and what becomes of one more."
    )
    retry: RetryPolicy | None = Field(
        default=None, description="How often the pipeline is attempted again if it fails; not at all unless said."
    )
    spot: StrictBool = Field(
        default=False, description="Try Spot capacity first. AWS may take it back; the pipeline is repeated then."
    )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Give what is wrong with the request whatever it runs."""
        return ()

    @property
    def step_parameters(self) -> dict[str, dict[str, JsonValue]]:
        """Give the parameters of the steps, by step."""
        return {name: step.parameters for name, step in self.steps.items()}


class RunRequest(_RunOptions):
    """Run a published pipeline: body of `POST /runs`."""

    pipeline: PipelineName
    snapshot: SnapshotChoice | None = Field(
        default=None, description="Which snapshot: its number, its id, its name, or `tag:…`. The newest unless said."
    )

    def to_run_request(self) -> "RunRequest":
        """Give the request itself."""
        return self

    def _asked(self) -> dict[str, Any]:
        asked = super()._asked()
        # An id, and a number as text, ask for the same as the number.
        number = number_said(self.pipeline, self.snapshot) if isinstance(self.snapshot, str) else None
        if number is not None:
            asked["snapshot"] = number
        return asked


class SnapshotRunRequest(_RunOptions):
    """Run a snapshot: body of `POST /snapshots/{snapshot}/runs`."""

    def to_run_request(self, snapshot: str) -> RunRequest:
        """Give the same as a request to run the snapshot's pipeline.

        Args:
            snapshot: The snapshot's id, as it stands in the path.

        Raises:
            NotFoundError: no snapshot can have this id.

        """
        parts = split_snapshot_id(snapshot)
        values = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            pipeline, number = parts or ("", 0)
            return RunRequest.model_validate({**values, "pipeline": pipeline, "snapshot": number})
        except ValidationError:
            raise NotFoundError(
                f"There is no snapshot {snapshot[:100]!r}. A snapshot's id is `<pipeline>:<number>`;"
                " GET /pipelines/{pipeline}/snapshots lists them."
            ) from None


class TutorialRequest(_Request):
    """The body of the `/trigger` of ZenML's tutorial: body of `POST /trigger`."""

    pipeline_name: PipelineName
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    steps: dict[str, StepRequest] = Field(default_factory=dict)
    config_path: JsonValue = None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Give what is wrong with the request whatever it runs."""
        if self.config_path is None:
            return ()
        return (
            Problem(
                "/config_path",
                "A path on the machine of the tutorial's server means nothing here. Send the parameters themselves,"
                " under `parameters` or `steps`, or publish a snapshot with the configuration in it.",
            ),
        )

    def to_run_request(self) -> RunRequest:
        """Give the run request that the tutorial's wrapper makes of this body."""
        return RunRequest(pipeline=self.pipeline_name, parameters=self.parameters, steps=self.steps)


class PipelineUpdate(_Request):
    """Change what operators may say of a pipeline: body of `PATCH /pipelines/{pipeline}`."""

    max_active_runs: Annotated[StrictInt, Field(ge=0, le=MAX_PIPELINE_LIMIT)] | None = Field(
        description="How many of its runs may be active at once; 0 pauses it; null: as many as the stack has slots."
    )


class TriggerTest(_Request):
    """Try a trigger: body of `POST /triggers/{trigger}/test`."""

    event: dict[str, JsonValue] | None = Field(
        default=None, description="As EventBridge would deliver it; a sample of the trigger's own type unless said."
    )


class HookSecretRequest(_Request):
    """Give a webhook trigger a secret: body of `POST /triggers/{trigger}/secret`."""

    secret: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, repr=False, description="The sender's, where it makes its own; one is made unless said."
    )


class KeyRequest(_Request):
    """Make an API key: body of `POST /keys`."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    scopes: tuple[Scope, ...] = Field(min_length=1)


class FirstKeyRequest(KeyRequest):
    """Make an API key by invoking the function `admin` directly, with an operator's IAM rights."""

    action: Literal["create_key"]


def canonical(values: Any) -> str:  # noqa: ANN401 - JSON of any shape
    """Give JSON in one form."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
