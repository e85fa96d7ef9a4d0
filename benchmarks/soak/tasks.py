"""Stub tasks: threads that do with a run's record what a runner does, and end as their fate is."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local.access import role_environment
from local.ecs_tasks import ContainerExit
from runner.run_record import RecordError, RunRecord
from zentrigger.attempt_store import AttemptStore, NotClaimableError
from zentrigger.runs import Progress, Report, RunError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from local.cloud import Cloud
    from local.ecs_tasks import Task

logger = logging.getLogger(__name__)

Kind = Literal[
    "succeeds", "raises", "exits", "vanishes", "killed_before", "killed_after", "killed_reported", "gives_up",
    "cannot_read", "out_of_memory", "interrupted_before", "interrupted_after", "host_lost_before", "host_lost_after",
    "image_missing", "no_egress", "no_capacity", "stopped_by_hand",
]  # fmt: skip
"""What may become of a task; `before` and `after` are the claim's, `reported` is after a success was reported."""

START_FAILURES: dict[Kind, str] = {
    "image_missing": "CannotPullContainerError: failed to resolve ref: not found",
    "no_egress": "ResourceInitializationError: unable to pull secrets or registry auth: i/o timeout",
    "no_capacity": "Capacity is unavailable at this time. Please try again later or in a different availability zone",
}
ERROR = "pipelines.tables.TableError"
KILLED = 137
TERMINATED = 143
UNREADABLE = 64
TEMPORARY = 75
_DEATH_SECONDS = 20.0
"""How long a task waits for the death that it has asked ECS for."""
_BEAT_SECONDS = 0.5
_STOP_TRIES = 10


@dataclass(frozen=True)
class Fate:
    """What becomes of a task, and how long its pipeline takes."""

    kind: Kind = "succeeds"
    seconds: float = 0.1


@dataclass
class Story:
    """What a task did, and what happened to it: the truth that a run's record is compared with."""

    run_id: str
    attempt: int
    arn: str
    on_spot: bool
    fate: Fate = field(default_factory=Fate)
    claimed: bool = False
    refused: str | None = None
    """Why there was nothing to claim."""
    reported: Report | None = None
    """What it reported and the record took."""
    death: Kind | None = None
    """What ended it, if it was neither its own work nor the product that stopped it."""
    ended: bool = False


class _Killed(Exception):  # noqa: N818 - no error: a death
    """The task's process is no more."""


class _Life:
    """A task's process: it can be told to stop, and it can be killed."""

    def __init__(self, task: Task, story: Story) -> None:
        self.task = task
        self.story = story
        self.stopping = threading.Event()
        self.killed = threading.Event()

    def stop(self, timeout_seconds: float) -> None:
        """Send SIGTERM, or SIGKILL if it is given no time."""
        if timeout_seconds == 0:
            self.killed.set()
        self.stopping.set()

    def sleep(self, seconds: float) -> None:
        """Do nothing, until it is told to stop; raises _Killed."""
        self.stopping.wait(seconds)
        self.alive()

    def alive(self) -> None:
        """Raise _Killed if it has been killed."""
        if self.killed.is_set():
            raise _Killed


class StubTasks:
    """A `ContainerRuntime` whose tasks have a fate each, by run and attempt; thread-safe.

    Whatever they do with the record goes through the AWS endpoint, with their role's credentials and its faults.
    """

    def __init__(self, fate_of: Callable[[Story], Fate] = lambda _: Fate()) -> None:
        self.fate_of = fate_of
        self.most_executing = 0
        """How many pipelines ran at once, at most."""
        self._lock = threading.Lock()
        self._stories: dict[str, Story] = {}
        self._lives: dict[str, _Life] = {}
        self._executing = 0
        self._closed = False
        self._cloud: Cloud
        self._store: AttemptStore
        self._clock: Callable[[], datetime]

    def connect(self, cloud: Cloud, clock: Callable[[], datetime]) -> None:
        """Give the tasks their embedded AWS, when it runs."""
        environment = {**cloud.environment, **role_environment(cloud.stack.arn("TaskRole"))}
        # As the runner has it, but for the pool: here all tasks share one client.
        client = boto3.client(
            "dynamodb",
            endpoint_url=cloud.endpoint_url,
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            config=Config(
                connect_timeout=3,
                read_timeout=5,
                retries={"mode": "standard", "total_max_attempts": 2},
                max_pool_connections=100,
            ),
        )
        self._cloud, self._clock = cloud, clock
        self._store = AttemptStore(cloud.stack.resources["RunsTable"].physical_id, client, clock)

    # ------------------------------------------------------------ what happened

    def stories(self, run_id: str) -> list[Story]:
        """Give what the tasks of a run did, oldest first."""
        with self._lock:
            return [story for story in self._stories.values() if story.run_id == run_id]

    @property
    def live(self) -> list[str]:
        """The runs of the tasks that have not ended."""
        with self._lock:
            return [life.story.run_id for life in self._lives.values()]

    # ------------------------------------------------------------ what ECS asks for

    def start(self, task: Task, on_exit: Callable[[ContainerExit], None], on_running: Callable[[], None]) -> None:
        """Start a task's thread."""
        environment = dict(task.container.environment)
        story = Story(
            environment["RUN_ID"], int(environment["ATTEMPT"]), task.arn, task.capacity_provider == "FARGATE_SPOT"
        )
        life = _Life(task, story)
        with self._lock:
            if self._closed:
                return
            self._stories[task.arn] = story
            self._lives[task.task_id] = life
        threading.Thread(target=self._run, args=(life, on_exit, on_running), name=story.run_id, daemon=True).start()

    def stop(self, task_id: str, timeout_seconds: float) -> None:
        """Tell a task to stop, or kill it."""
        with self._lock:
            life = self._lives.get(task_id)
        if life is not None:
            life.stop(timeout_seconds)

    def close(self) -> None:
        """Kill all tasks; nobody hears of it."""
        with self._lock:
            self._closed = True
            lives = list(self._lives.values())
        for life in lives:
            life.stop(0)

    # ------------------------------------------------------------ lives

    def _run(self, life: _Life, on_exit: Callable[[ContainerExit], None], on_running: Callable[[], None]) -> None:
        story = life.story
        story.fate = self.fate_of(story)
        end = self._start_failure(life)
        if end is None:
            on_running()
            try:
                end = ContainerExit(self._live(life))
            except _Killed:
                end = ContainerExit(KILLED)
            except Exception:
                logger.exception("the task of run %s went wrong", story.run_id)
                end = ContainerExit(1)
        with self._lock:
            story.ended = True
            del self._lives[life.task.task_id]
            closed = self._closed
        if not closed:
            on_exit(end)

    def _start_failure(self, life: _Life) -> ContainerExit | None:
        story = life.story
        if story.fate.kind not in START_FAILURES or life.stopping.is_set():
            return None
        story.death = story.fate.kind
        return ContainerExit(None, START_FAILURES[story.fate.kind])

    def _live(self, life: _Life) -> int:
        story = life.story
        self._die_before(life)
        if life.stopping.is_set():
            return TERMINATED
        if story.fate.kind in {"gives_up", "cannot_read"}:
            story.death = story.fate.kind
            return UNREADABLE if story.fate.kind == "cannot_read" else TEMPORARY
        record = RunRecord(self._store, run_id=story.run_id, attempt=story.attempt, task_arn=story.arn)
        try:
            record.claim()
        except NotClaimableError as refusal:
            story.refused = str(refusal)
            return 0
        except RecordError:
            story.death = "gives_up"
            return TEMPORARY
        story.claimed = True
        with self._lock:
            self._executing += 1
            self.most_executing = max(self.most_executing, self._executing)
        try:
            report = self._execute(life, record)
        finally:
            with self._lock:
                self._executing -= 1
        return 0 if report is None else self._report(life, record, report)

    def _execute(self, life: _Life, record: RunRecord) -> Report | None:
        """Be the pipeline; None: it ends its process without a word."""
        story, fate = life.story, life.story.fate
        left = fate.seconds
        while not life.stopping.is_set():
            life.alive()
            record.save_progress(Progress(heartbeat_at=self._clock()))
            life.sleep(min(left, _BEAT_SECONDS))
            left -= _BEAT_SECONDS
            if left <= 0:
                break
        self._die_after(life)
        if life.stopping.is_set():
            return Report(outcome="failed", reason="stopped", message="The task was told to stop.", exit_code=143)
        if fate.kind == "raises":
            error = RunError(step="train", type=ERROR, message="no such column")
            return Report(outcome="failed", reason="pipeline_failed", message="It raised.", error=error, exit_code=1)
        if fate.kind == "exits":
            return Report(outcome="failed", reason="result_missing", message="It ended itself.", exit_code=3)
        if fate.kind == "vanishes":
            story.death = "vanishes"
            return None
        return Report(outcome="succeeded", exit_code=0)

    def _report(self, life: _Life, record: RunRecord, report: Report) -> int:
        story = life.story
        try:
            taken = record.report(report)
        except RecordError:
            return TEMPORARY
        if taken:
            story.reported = report
        life.alive()
        if story.fate.kind == "killed_reported" and report.outcome == "succeeded":
            raise _Killed
        return 0 if report.outcome == "succeeded" and taken else 1

    def _die_before(self, life: _Life) -> None:
        life.sleep(min(life.story.fate.seconds, 0.05))
        deaths: dict[Kind, Callable[[], object]] = {
            "killed_before": life.killed.set,
            "interrupted_before": lambda: self._interrupt(life.task.arn),
            "host_lost_before": lambda: self._cloud.ecs.lose_host(life.task.arn, "InfrastructureHealth"),
        }
        self._die(life, deaths)

    def _die_after(self, life: _Life) -> None:
        arn = life.task.arn
        deaths: dict[Kind, Callable[[], object]] = {
            "killed_after": life.killed.set,
            "interrupted_after": lambda: self._interrupt(arn),
            "host_lost_after": lambda: self._cloud.ecs.lose_host(arn, "InfrastructureHealth"),
            "out_of_memory": lambda: self._cloud.ecs.exhaust_memory(arn),
            "stopped_by_hand": lambda: self._stop_by_hand(arn),
        }
        self._die(life, deaths)

    def _die(self, life: _Life, deaths: dict[Kind, Callable[[], object]]) -> None:
        """Die as the fate is; one that is told to stop already has another end."""
        story = life.story
        bring_about = deaths.get(story.fate.kind)
        if bring_about is None or life.stopping.is_set():
            return
        if bring_about() is not False:
            story.death = story.fate.kind
            if story.death in {"killed_before", "killed_after"}:
                raise _Killed
            life.sleep(_DEATH_SECONDS)

    def _interrupt(self, arn: str) -> bool:
        """Take back Spot capacity; one that runs on demand is left alone."""
        try:
            return self._cloud.ecs.interrupt(arn)
        except ValueError:
            return False

    def _stop_by_hand(self, arn: str) -> None:
        """Stop a task as an operator does, who tries again where ECS takes no more calls just then."""
        cluster = self._cloud.stack.resources["Cluster"].physical_id
        ecs = self._cloud.clients.get("ecs")
        for tries_left in reversed(range(_STOP_TRIES)):
            try:
                ecs.stop_task(cluster=cluster, task=arn, reason="An operator was curious.")
            except ClientError:
                if not tries_left:
                    raise
            else:
                return
