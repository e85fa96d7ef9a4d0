"""Recording a run and starting it: the one way in, for HTTP callers and for events."""

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Protocol

from zentrigger.capacity import Limits
from zentrigger.catalogue import Snapshot
from zentrigger.dry_run import PLACEHOLDER_RUN_ID, DryRun, assemble
from zentrigger.errors import (
    BusyError,
    ConflictError,
    IdempotencyClashError,
    InvalidRequestError,
    NotFoundError,
    Problem,
    QueueFullError,
    TooLargeError,
    ZentriggerError,
)
from zentrigger.events import RunEnded, ScheduleFired, TriggerEvent, WebhookReceived
from zentrigger.launches import Launcher, Network, Started, launch, launch_request
from zentrigger.observability import logger
from zentrigger.plans import Plan, plan, repetition
from zentrigger.run_requests import RunRequest, TutorialRequest, canonical
from zentrigger.run_store import Along, Creation, RunStore, nothing_along
from zentrigger.runs import Run, RunInput, RunRecord, RunStatus, Source
from zentrigger.timestamps import now, to_text

RUN_IDS = uuid.UUID("6f1c52b4-7b0e-5d8a-9a55-3f5a2f8e1c07")
"""Namespace of run ids that follow from what asked for the run; changing it would break deduplication."""


PRIORITY_BONUS = timedelta(minutes=10)
"""How much longer others may have waited whom a run passes, for each point of its priority."""


class Catalogue(Protocol):
    """Finds published snapshots."""

    def choose(self, pipeline_name: str, choice: str | int | None) -> Snapshot:
        """Give the snapshot of a pipeline that is meant, or raise NotFoundError or InvalidRequestError.

        What it means may be remembered for some seconds.
        """
        ...

    def find(self, pipeline_name: str, choice: str | int | None) -> Snapshot:
        """Give the same as of this moment."""
        ...


class Revisions(Protocol):
    """Finds, and registers, the task definitions of snapshots."""

    family: str

    def revision(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> str:
        """Give the ARN of a revision, registered if need be."""
        ...

    def known_revision(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> str | None:
        """Give the ARN of a revision, or None if it would have to be registered."""
        ...


def run_id_for_key(key_id: str, idempotency_key: str) -> str:
    """Give the id of the run that an API key asks for under an idempotency key."""
    return _run_id("key", key_id, idempotency_key)


def run_id_for_event(trigger: str, event: TriggerEvent, identity: str | None = None) -> str:
    """Give the id of the run that an event starts at a trigger: the same however often the event is delivered.

    For S3 the version id names one writing of the object; without versioning etag and sequencer together do, so that
    the same bytes written again are a new arrival. For a schedule it is the scheduled time, for a run's end the run.
    For a webhook it is what the trigger takes for the identity of a call, else the sender's delivery id, else our own.
    """
    match event:
        case ScheduleFired():
            return _run_id("schedule", trigger, to_text(event.time))
        case RunEnded():
            return _run_id("run", trigger, event.run_id)
        case WebhookReceived():
            if identity is not None:
                return _run_id("webhook", trigger, "identity", identity)
            return _run_id("webhook", trigger, "delivery", event.delivery_id or event.event_id)
    writing = event.object.version_id or f"{event.object.etag}/{event.object.sequencer}"
    return _run_id("s3", trigger, event.bucket.name, event.object.key, writing)


def rank(accepted_at: datetime, priority: int) -> str:
    """Give a run's place in line, as text that sorts: it is fixed when the run is recorded, so age wins in the end."""
    return to_text(accepted_at - priority * PRIORITY_BONUS)


def _run_id(*parts: str) -> str:
    return str(uuid.uuid5(RUN_IDS, canonical(list(parts))))


class Submitter:
    """Checks a request, records its run and starts it if a slot is free."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        *,
        runs: RunStore,
        catalogue: Catalogue,
        task_definitions: Revisions,
        launcher: Launcher,
        cluster: str,
        network: Network,
        limits: Limits,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._runs = runs
        self._catalogue = catalogue
        self._task_definitions = task_definitions
        self._launcher = launcher
        self._cluster = cluster
        self._network = network
        self._limits = limits
        self._clock = clock

    def submit(
        self,
        asked: RunRequest | TutorialRequest,
        source: Source,
        *,
        run_id: str | None = None,
        always_queued: bool = False,
        along: Along = nothing_along,
    ) -> Creation:
        """Record the run of a request, and launch it if it got a slot.

        A run that was recorded stays recorded whatever ECS answers: an unknown answer is settled by the sweep, a
        refusal is followed by a later launch or by the run's end. The run's record holds all that it executes, whatever
        becomes of the snapshot.

        Args:
            asked: What to run, as the caller put it.
            source: What asked for it.
            run_id: The run's id, where it follows from what asked; the same id again is a replay.
            always_queued: Whether the run waits, however many do, rather than being refused.
            along: What else is written with the run, or not at all.

        Raises:
            AlongRefusedError: a condition of `along` did not hold.
            NotFoundError: no such pipeline or snapshot.
            InvalidRequestError: the request does not fit the snapshot; all problems are in it.
            TooLargeError: the parameters are over 256 KB.
            IdempotencyClashError: the id was used for another request.
            QueueFullError: no further run may wait.
            BusyError: the counts were contended too long, or ECS did not say which task definition the run has.
                No record was found, or the text says that this is not known.

        """
        try:
            wanted = self._plan(asked)
            wanted.require_sound()
            run = self._run(wanted, self._revision(wanted.run_input), source, asked.request_hash, run_id)
            creation = self._create(run, wanted.run_input, always_queued=always_queued, along=along)
        except _REFUSALS as error:
            return self._replay_or(error, asked.request_hash, run_id)
        return self._launched(creation, asked.request_hash)

    def retry(self, run_id: str, source: Source, *, new_run_id: str | None = None) -> Creation:
        """Record another run of what an ended run executed, from its record alone, and launch it if it got a slot.

        Args:
            run_id: The run to repeat.
            source: What asked for it.
            new_run_id: The new run's id, where it follows from what asked; the same id again is a replay.

        Raises:
            NotFoundError: no such run, or not any more.
            ConflictError: it has not ended.
            IdempotencyClashError: the new id was used for something else.
            InvalidRequestError: the stack cannot run it any more.
            QueueFullError: no further run may wait.
            BusyError: as for `submit`.

        """
        request_hash = _hash_of_retry(run_id)
        try:
            record = self._ended(run_id)
            if new_run_id == run_id:
                # The key that started the run is not free for its repetition.
                raise _clash(record.run)
            wanted = repetition(record)
            run = self._run(wanted, self._revision(wanted.run_input), source, request_hash, new_run_id)
            creation = self._create(run, wanted.run_input)
        except _REFUSALS as error:
            return self._replay_or(error, request_hash, new_run_id)
        return self._launched(creation, request_hash)

    def dry_run(self, asked: RunRequest, source: Source, *, run_id: str | None = None) -> DryRun:
        """Say what `submit` would do with a request of an HTTP caller, and everything that is wrong; writes nothing.

        Raises:
            NotFoundError: no such pipeline or snapshot.
            InvalidRequestError: the snapshot is one of another pipeline.
            BusyError: a store was too busy to answer.

        """
        snapshot = self._catalogue.find(asked.pipeline, asked.snapshot)
        wanted = plan(asked, snapshot)
        problems: list[Problem] = []
        recorded = self._runs.get(run_id) if run_id else None
        if recorded is not None and recorded.run.request_hash != asked.request_hash:
            problems.append(Problem("/Idempotency-Key", _clash(recorded.run).detail))
        run_task = None
        try:
            task_definition = self._known_revision(wanted.run_input)
        except InvalidRequestError as error:
            problems += error.problems
        except BusyError as error:
            problems.append(Problem("/snapshot", error.detail))
        else:
            run = self._run(wanted, task_definition, source, asked.request_hash, run_id or PLACEHOLDER_RUN_ID)
            run_task = launch_request(run, cluster=self._cluster, network=self._network)
        return assemble(
            wanted,
            snapshot,
            standing=self._runs.standing(wanted.pipeline, wanted.concurrency),
            limits=self._limits,
            run_task=run_task,
            further_problems=problems,
            replayed=recorded is not None and recorded.run.request_hash == asked.request_hash,
        )

    # ------------------------------------------------------------ before recording

    def _plan(self, asked: RunRequest | TutorialRequest) -> Plan:
        request = asked.to_run_request()
        remembered = plan(asked, self._catalogue.choose(request.pipeline, request.snapshot))
        if remembered.sound:
            return remembered
        # It may fit what was published a moment ago: nothing is refused for what is only remembered.
        return plan(asked, self._catalogue.find(request.pipeline, request.snapshot))

    def _ended(self, run_id: str) -> RunRecord:
        record = self._runs.get(run_id)
        if record is None:
            raise NotFoundError(f"There is no run {run_id[:100]}. GET /runs lists them.")
        if not record.run.status.final:
            raise ConflictError(f"The run has not ended: it is {record.run.status}. Wait for its end, or cancel it.")
        return record

    def _revision(self, run_input: RunInput) -> str:
        with _told_of_snapshot():
            return self._task_definitions.revision(run_input.image, run_input.architecture, run_input.secrets)

    def _known_revision(self, run_input: RunInput) -> str:
        with _told_of_snapshot():
            known = self._task_definitions.known_revision(run_input.image, run_input.architecture, run_input.secrets)
        return known or f"{self._task_definitions.family}: registered at the first run"

    def _run(self, wanted: Plan, task_definition: str, source: Source, request_hash: str, run_id: str | None) -> Run:
        moment = self._clock()
        return Run(
            run_id=run_id or str(uuid.uuid4()),
            pipeline=wanted.pipeline,
            snapshot=wanted.snapshot,
            status=RunStatus.QUEUED,
            task_definition=task_definition,
            source=source,
            trigger=source.trigger,
            tags=wanted.run_input.tags,
            resources=wanted.resources,
            priority=wanted.priority,
            concurrency=wanted.concurrency,
            retry=wanted.retry,
            spot=wanted.spot,
            timeout_seconds=wanted.run_input.timeout_seconds,
            retry_of=wanted.retry_of,
            request_hash=request_hash,
            rank=rank(moment, wanted.priority),
            accepted_at=moment,
            status_at=moment,
            retention_days=self._limits.retention_days,
        )

    # ------------------------------------------------------------ recording and launching

    def _create(
        self, run: Run, run_input: RunInput, *, always_queued: bool = False, along: Along = nothing_along
    ) -> Creation:
        max_waiting = None if always_queued else self._limits.max_waiting
        return self._runs.create(
            run, run_input, max_active=self._limits.max_active, max_waiting=max_waiting, along=along
        )

    def _launched(self, creation: Creation, request_hash: str) -> Creation:
        run = creation.run
        if creation.replayed:
            return _same(run, request_hash)
        logger.info("a run was recorded", run_id=run.run_id, pipeline=run.pipeline, status=run.status)
        return Creation(self._launch(run), replayed=False) if run.status == RunStatus.STARTING else creation

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

    def _replay_or(self, error: ZentriggerError, request_hash: str, run_id: str | None) -> Creation:
        """Give the run that was recorded under this id before; the replay wins over what would be refused now."""
        record = self._runs.get(run_id) if run_id else None
        if record is None:
            raise error
        return _same(record.run, request_hash)


_REFUSALS = (BusyError, ConflictError, InvalidRequestError, NotFoundError, QueueFullError, TooLargeError)
"""What may keep a run from being recorded, but not the replay of one that was."""


@contextmanager
def _told_of_snapshot() -> Iterator[None]:
    """Say what is wrong with a task definition where the caller chose it: its parts stand in no request."""
    try:
        yield
    except InvalidRequestError as error:
        raise InvalidRequestError([Problem("/snapshot", problem.detail) for problem in error.problems]) from error


def _hash_of_retry(run_id: str) -> str:
    return hashlib.sha256(canonical({"retry_of": run_id}).encode()).hexdigest()


def _same(run: Run, request_hash: str) -> Creation:
    if run.request_hash != request_hash:
        raise _clash(run)
    return Creation(run, replayed=True)


def _clash(run: Run) -> IdempotencyClashError:
    return IdempotencyClashError(
        f"This idempotency key was used for another request, whose run is {run.run_id}. Use a new key.", run.run_id
    )
