"""What callers may ask for: the bodies of the write side, and what of them counts as the same request."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool

from zentrigger.catalogue import PipelineName, SnapshotContent
from zentrigger.errors import InvalidRequestError, Problem
from zentrigger.keys import Scope

Tag = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f$]+$")]
"""ZenML would replace ${NAME} in a tag by what the task's environment has, hence no dollar."""


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def request_hash(self) -> str:
        """Same request, same hash, whatever the order of its keys, and whatever is published meanwhile."""
        return hashlib.sha256(canonical(self.model_dump(mode="json")).encode()).hexdigest()


class StepRequest(_Request):
    """What of a step a request may set."""

    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class RunRequest(_Request):
    """Run a published pipeline: body of `POST /runs`."""

    pipeline: PipelineName
    parameters: dict[str, JsonValue] = Field(default_factory=dict, description="Parameters of the pipeline.")
    steps: dict[str, StepRequest] = Field(default_factory=dict, description="Parameters of single steps, by step name.")
    enable_cache: StrictBool | None = Field(default=None, description="Override the pipeline's own caching.")
    tags: list[Tag] = Field(default_factory=list, max_length=20)

    @property
    def pipeline_asked(self) -> str:
        """Give the name of the pipeline."""
        return self.pipeline

    @property
    def step_parameters(self) -> dict[str, dict[str, JsonValue]]:
        """Give the parameters of the steps, by step."""
        return {name: step.parameters for name, step in self.steps.items()}

    def to_run_request(self, content: SnapshotContent) -> "RunRequest":
        """Give the request itself, whatever the pipeline is."""
        del content
        return self


class TutorialRequest(_Request):
    """The body of the `/trigger` of ZenML's tutorial: body of `POST /trigger`."""

    pipeline_name: PipelineName
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    steps: dict[str, StepRequest] = Field(default_factory=dict)
    config_path: JsonValue = None

    @property
    def pipeline_asked(self) -> str:
        """Give the name of the pipeline."""
        return self.pipeline_name

    def to_run_request(self, content: SnapshotContent) -> RunRequest:
        """Give the run request that the tutorial's wrapper makes of this body.

        The tutorial hands the parameters of steps to the pipeline. So here a step's parameter that the pipeline passes
        to the step itself becomes the pipeline's parameter of that name; any other stays the step's.

        Args:
            content: The pipeline's snapshot.

        Raises:
            InvalidRequestError: `config_path` is given, or two places give one parameter different values.

        """
        problems = []
        if self.config_path is not None:
            problems.append(
                Problem(
                    "/config_path",
                    "A path on the machine of the tutorial's server means nothing here. Send the parameters themselves,"
                    " under `parameters` or `steps`, or publish a pipeline with the configuration in it.",
                )
            )
        parameters, steps = dict(self.parameters), {}
        known = content.parameters_schema.get("properties")
        for name, step in self.steps.items():
            spec = content.steps.get(name)
            kept = {}
            for parameter, value in step.parameters.items():
                passed_on = spec is not None and parameter in spec.fixed
                if not (passed_on and isinstance(known, Mapping) and parameter in known):
                    kept[parameter] = value
                elif parameters.setdefault(parameter, value) != value:
                    problems.append(
                        Problem(
                            f"/steps/{name}/parameters/{parameter}",
                            f"The pipeline's parameter {parameter!r} is given another value elsewhere in this request.",
                        )
                    )
            if kept or spec is None:
                steps[name] = StepRequest(parameters=kept)
        if problems:
            raise InvalidRequestError(problems)
        return RunRequest(pipeline=self.pipeline_name, parameters=parameters, steps=steps)


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
