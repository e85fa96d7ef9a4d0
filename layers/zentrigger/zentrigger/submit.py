"""Recording a run and starting it: the one way in, for HTTP callers and for events."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from zentrigger.catalogue import Pipeline, SnapshotContent
from zentrigger.errors import (
    IdempotencyClashError,
    InvalidRequestError,
    NotFoundError,
    QueueFullError,
    TooLargeError,
    ZentriggerError,
)
from zentrigger.events import S3Arrival, ScheduleFired
from zentrigger.launches import Launcher, Network, Started, launch
from zentrigger.observability import logger
from zentrigger.parameters import MAX_PARAMETERS_BYTES, check
from zentrigger.run_requests import RunRequest, TutorialRequest, canonical
from zentrigger.run_store import Creation, RunStore
from zentrigger.runs import Run, RunInput, RunStatus, Source
from zentrigger.timestamps import now, to_text

RUN_IDS = uuid.UUID("6f1c52b4-7b0e-5d8a-9a55-3f5a2f8e1c07")
"""Namespace of run ids that follow from what asked for the run; changing it would break deduplication."""


class Catalogue(Protocol):
    """Finds published pipelines."""

    def pipeline(self, name: str) -> Pipeline | None:
        """Give a pipeline by name, or None."""
        ...


@dataclass(frozen=True)
class Limits:
    """How many runs may be active, and how many of HTTP callers may wait."""

    max_active: int
    max_waiting: int
    retention_days: int


def run_id_for_key(key_id: str, idempotency_key: str) -> str:
    """Give the id of the run that an API key asks for under an idempotency key."""
    return _run_id("key", key_id, idempotency_key)


def run_id_for_event(trigger: str, event: S3Arrival | ScheduleFired) -> str:
    """Give the id of the run that an event starts at a trigger: the same however often the event is delivered.

    For S3 the version id names one writing of the object; without versioning etag and sequencer together do, so that
    the same bytes written again are a new arrival. For a schedule it is the scheduled time.
    """
    if isinstance(event, ScheduleFired):
        return _run_id("schedule", trigger, to_text(event.time))
    writing = event.object.version_id or f"{event.object.etag}/{event.object.sequencer}"
    return _run_id("s3", trigger, event.bucket.name, event.object.key, writing)


def _run_id(*parts: str) -> str:
    return str(uuid.uuid5(RUN_IDS, canonical(list(parts))))


class Submitter:
    """Checks a request, records its run and starts it if a slot is free."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        *,
        runs: RunStore,
        catalogue: Catalogue,
        launcher: Launcher,
        cluster: str,
        network: Network,
        task_definition: str,
        limits: Limits,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._runs = runs
        self._catalogue = catalogue
        self._launcher = launcher
        self._cluster = cluster
        self._network = network
        self._task_definition = task_definition
        self._limits = limits
        self._clock = clock

    def submit(
        self,
        asked: RunRequest | TutorialRequest,
        source: Source,
        *,
        run_id: str | None = None,
        always_queued: bool = False,
    ) -> Creation:
        """Record the run of a request, and launch it if it got a slot.

        A run that was recorded stays recorded whatever ECS answers: an unknown answer is settled by the sweep, a
        refusal is followed by a later launch or by the run's end.

        Args:
            asked: What to run, as the caller put it.
            source: What asked for it.
            run_id: The run's id, where it follows from what asked; the same id again is a replay.
            always_queued: Whether the run waits, however many do, rather than being refused.

        Raises:
            NotFoundError: no such pipeline.
            InvalidRequestError: the parameters do not fit the pipeline; all problems are in it.
            TooLargeError: the parameters are over 256 KB.
            IdempotencyClashError: the id was used for another request.
            QueueFullError: no further run may wait.

        """
        try:
            pipeline = self._pipeline(asked.pipeline_asked)
            request = asked.to_run_request(pipeline.newest.content)
            _check(request, pipeline.newest.content)
        except (InvalidRequestError, NotFoundError, TooLargeError) as error:
            return self._replay_or(error, asked, run_id)
        moment = self._clock()
        run = Run(
            run_id=run_id or str(uuid.uuid4()),
            pipeline=request.pipeline,
            snapshot=pipeline.newest.id,
            status=RunStatus.QUEUED,
            task_definition=self._task_definition,
            source=source,
            trigger=source.trigger,
            tags=tuple(request.tags),
            request_hash=asked.request_hash,
            rank=to_text(moment),
            accepted_at=moment,
            status_at=moment,
            retention_days=self._limits.retention_days,
        )
        run_input = RunInput(
            source=pipeline.newest.content.source,
            parameters=request.parameters,
            steps=request.step_parameters,
            enable_cache=request.enable_cache,
            tags=tuple(request.tags),
        )
        max_waiting = None if always_queued else self._limits.max_waiting
        try:
            creation = self._runs.create(run, run_input, max_active=self._limits.max_active, max_waiting=max_waiting)
        except QueueFullError as error:
            return self._replay_or(error, asked, run_id)
        if creation.replayed:
            return _same(creation.run, asked)
        logger.info("a run was recorded", run_id=run.run_id, pipeline=run.pipeline, status=creation.run.status)
        if creation.run.status == RunStatus.STARTING:
            return Creation(self._launch(creation.run), replayed=False)
        return creation

    def _pipeline(self, name: str) -> Pipeline:
        pipeline = self._catalogue.pipeline(name)
        if pipeline is None:
            raise NotFoundError(
                f"No pipeline {name!r} is published. GET /pipelines lists those that are;"
                " `zentrigger publish` adds one."
            )
        return pipeline

    def _launch(self, run: Run) -> Run:
        try:
            answer = launch(
                run, cluster=self._cluster, network=self._network, launcher=self._launcher, records=self._runs
            )
        except Exception:  # noqa: BLE001 - whatever it was, it is logged, and the run stands
            # The run is recorded, and that is what the caller is told; the sweep settles its launch.
            logger.exception("what became of a launch could not be kept", run_id=run.run_id)
            return run
        if isinstance(answer, Started):
            return run.model_copy(update={"task_arn": answer.task_arn})
        logger.warning("a launch was not taken", run_id=run.run_id, answer=answer)
        return run

    def _replay_or(self, error: ZentriggerError, asked: RunRequest | TutorialRequest, run_id: str | None) -> Creation:
        """Give the run that was recorded under this id before; the replay wins over what would be refused now."""
        record = self._runs.get(run_id) if run_id else None
        if record is None:
            raise error
        return _same(record.run, asked)


def _check(request: RunRequest, content: SnapshotContent) -> None:
    """Raise what is wrong with a request's parameters."""
    size = len(canonical([request.parameters, request.step_parameters]).encode())
    if size > MAX_PARAMETERS_BYTES:
        raise TooLargeError(
            f"The parameters are {size} bytes, of {MAX_PARAMETERS_BYTES} at most. Put the data in S3, pass its URL."
        )
    problems = check(content, request.parameters, request.step_parameters)
    if problems:
        raise InvalidRequestError(problems)


def _same(run: Run, asked: RunRequest | TutorialRequest) -> Creation:
    if run.request_hash != asked.request_hash:
        raise IdempotencyClashError(
            f"This idempotency key was used for another request, whose run is {run.run_id}. Use a new key."
        )
    return Creation(run, replayed=True)
