"""What is to be run: of a request and the snapshot that it chose, or of a run that is repeated; and what is wrong."""

from dataclasses import dataclass

from zentrigger.capacity import Concurrency
from zentrigger.catalogue import Snapshot
from zentrigger.errors import InvalidRequestError, Problem, TooLargeError
from zentrigger.parameters import MAX_PARAMETERS_BYTES, effective, fit
from zentrigger.resources import Resources
from zentrigger.retries import RetryPolicy
from zentrigger.run_requests import RunRequest, TutorialRequest, canonical
from zentrigger.runs import RunInput, RunRecord

MAX_INPUT_BYTES = 390 * 1024
"""Size limit of parameters, defaults and the snapshot's configuration together, as JSON. An item is 400 KB at most."""


@dataclass(frozen=True)
class Plan:
    """What a run is to execute, and everything that speaks against it."""

    pipeline: str
    snapshot: str
    """Id of the snapshot, which need not exist any more."""
    run_input: RunInput
    resources: Resources | None = None
    priority: int = 0
    concurrency: Concurrency | None = None
    retry: RetryPolicy | None = None
    spot: bool = False
    retry_of: str | None = None
    problems: tuple[Problem, ...] = ()
    too_large: Problem | None = None

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against it."""
        return self.too_large is None and not self.problems

    def require_sound(self) -> None:
        """Raise what is wrong, if something is.

        Raises:
            TooLargeError: the parameters are over 256 KB, or with the snapshot's configuration over 390 KB.
            InvalidRequestError: everything else; all problems are in it.

        """
        if self.too_large is not None:
            raise TooLargeError(self.too_large.detail)
        if self.problems:
            raise InvalidRequestError(self.problems)


def plan(asked: RunRequest | TutorialRequest, snapshot: Snapshot) -> Plan:
    """Give what a request comes to with a snapshot.

    What a run says goes before the snapshot's configuration, and that before the defaults in the pipeline's code.
    """
    request, content = asked.to_run_request(), snapshot.content
    configuration = content.configuration
    fitted = fit(content, request.parameters, request.step_parameters)
    options = dict(configuration.options)
    if configuration.tags:
        options["tags"] = list(configuration.tags)
    if configuration.enable_cache is not None:
        # In ZenML's order a run configuration goes before the pipeline's code, and a run's own word before both.
        options["enable_cache"] = configuration.enable_cache
    run_input = RunInput(
        source=content.source,
        zenml_snapshot=content.zenml_snapshot,
        parameters=effective(content, fitted.parameters),
        steps=fitted.steps,
        enable_cache=request.enable_cache,
        tags=tuple(request.tags),
        configured_steps=configuration.steps,
        options=options,
        stack=content.stack,
        image=content.image,
        architecture=content.architecture,
        secrets=content.secrets,
        timeout_seconds=content.timeout_seconds if request.timeout_seconds is None else request.timeout_seconds,
    )
    return Plan(
        pipeline=request.pipeline,
        snapshot=snapshot.id,
        run_input=run_input,
        resources=request.resources or content.resources,
        priority=request.priority,
        concurrency=request.concurrency,
        retry=request.retry,
        spot=request.spot,
        problems=(*asked.problems, *fitted.problems),
        too_large=_too_large(request, run_input),
    )


def repetition(record: RunRecord) -> Plan:
    """Give what repeats a run: the same, from its record alone."""
    run = record.run
    return Plan(
        run.pipeline,
        run.snapshot,
        record.input,
        resources=run.resources,
        priority=run.priority,
        concurrency=run.concurrency,
        retry=run.retry,
        spot=run.spot,
        retry_of=run.run_id,
    )


def _too_large(request: RunRequest, run_input: RunInput) -> Problem | None:
    asked = len(canonical([request.parameters, request.step_parameters]).encode())
    if asked > MAX_PARAMETERS_BYTES:
        return Problem(
            "/parameters",
            f"The parameters are {asked} bytes, of {MAX_PARAMETERS_BYTES} at most. Put the data in S3, pass its URL.",
        )
    whole = len(run_input.model_dump_json().encode())
    if whole > MAX_INPUT_BYTES:
        return Problem(
            "/parameters",
            f"Parameters, defaults and the snapshot's configuration together are {whole} bytes, of {MAX_INPUT_BYTES} at"
            " most. Put the data in S3, pass its URL.",
        )
    return None
