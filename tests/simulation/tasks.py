"""Tasks as the world runs them: a runner that is moved step by step, and what its pipeline is going to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, Protocol

from local.ecs_tasks import ContainerExit, Task
from runner.run_record import RecordError, RunRecord
from zentrigger.attempt_store import AttemptStore, NotClaimableError
from zentrigger.runs import Progress, Report, RunError

EX_TEMPFAIL = 75
"""The runner's exit code where it could not reach its record."""

Deed = Literal[
    "succeeds",
    "fails",
    "times_out",
    "runs_on",
    "freezes",
    "exits",
    "exits_before_claim",
    "hangs_before_claim",
]


@dataclass(frozen=True)
class Work:
    """What a task is going to do, if it is let.

    Attributes:
        deed: `runs_on` beats until it is told to stop, `freezes` neither beats nor heeds SIGTERM; `exits` ends after
            the claim with `exit_code` and no report; the two `…_before_claim` never claim.
        beats: How often it beats before its deed.
        error_type: Which exception it reports, if it `fails`.
        reason: With which reason it reports that.
        exit_code: Of those that exit; None: its host is gone.

    """

    deed: Deed = "succeeds"
    beats: int = 1
    error_type: str = "ValueError"
    reason: str = "pipeline_failed"
    exit_code: int | None = 1


SUCCEEDS = Work()
FAILS = Work("fails")
RUNS_ON = Work("runs_on")
FREEZES = Work("freezes")


class Owner(Protocol):
    """The world, as far as its tasks know it."""

    attempts: AttemptStore

    @property
    def now(self) -> datetime:
        """The time."""
        ...

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and nothing else."""
        ...

    def seconds(self) -> float:
        """Give the time as a number that rises."""
        ...


@dataclass
class SimulatedTask:
    """A task from its creation to its end, and all that befell it."""

    task: Task
    work: Work
    owner: Owner
    on_exit: Callable[[ContainerExit], None] = field(repr=False)
    on_running: Callable[[], None] = field(repr=False)
    running: bool = False
    """Whether its container has started."""
    claimed: bool = False
    """Whether its runner believes that it has claimed the run."""
    finished: Report | None = None
    """How the pipeline really went, once it is through."""
    reported: bool = False
    """Whether the runner was told that its report is kept."""
    dead: bool = False
    beats_since: datetime | None = None
    told_to_stop_at: datetime | None = None
    stop_timeout: float = 120.0
    fates: list[str] = field(default_factory=list)
    """What was done to it: `killed`, `interrupted`, `host_lost`, `out_of_memory`, `stopped`, `exit 75`."""
    _life: Iterator[bool] | None = field(default=None, repr=False)
    _waits: bool = False
    _busy: bool = False

    @property
    def arn(self) -> str:
        """Its ARN."""
        return self.task.arn

    @property
    def run_id(self) -> str:
        """The run that it is a task of."""
        return self.task.container.environment["RUN_ID"]

    @property
    def attempt(self) -> int:
        """The attempt that it is a task of."""
        return int(self.task.container.environment["ATTEMPT"])

    @cached_property
    def record(self) -> RunRecord:
        """Its run's record, as the runner has it."""
        return RunRecord(
            self.owner.attempts,
            run_id=self.run_id,
            attempt=self.attempt,
            task_arn=self.arn,
            clock=self.owner.seconds,
            sleep=self.owner.pass_time,
        )

    @property
    def executing(self) -> bool:
        """Whether a pipeline is at work in it."""
        return self.claimed and not self.dead and self.finished is None

    @property
    def can_step(self) -> bool:
        """Whether it would do something of its own now, rather than wait for time or a signal."""
        frozen = self.claimed and self.work.deed == "freezes" and self._waits
        awake = not self._waits or self.told_to_stop_at is not None
        return awake and not self.dead and not self._busy and not frozen

    def step(self) -> None:
        """Do the next thing; at most one thing with the table."""
        if self._life is None:
            self._life = self._lives()
        self._busy = True
        try:
            self._waits = next(self._life, False)
        finally:
            self._busy = False

    def beat(self) -> None:
        """Beat, if it is one that beats: every 15 s, but here once each time that the clock was put forward."""
        if self.executing and self.work.deed != "freezes" and self.beats_since is not None:
            self._save_progress()

    def _save_progress(self) -> None:
        if not self.record.save_progress(Progress(heartbeat_at=self.owner.now)):
            self.told_to_stop_at = self.told_to_stop_at or self.owner.now

    def sigterm(self, timeout: float) -> None:
        """Tell it to stop; one whose container has not started ends at once."""
        self.told_to_stop_at = self.told_to_stop_at or self.owner.now
        self.stop_timeout = timeout
        if not self.running:
            self.exit(None)

    def exit(self, exit_code: int | None, reason: str | None = None) -> None:
        """End it."""
        if not self.dead:
            self.dead = True
            self.on_exit(ContainerExit(exit_code, reason))

    def time_passed(self) -> None:
        """Kill what was told to stop and did not within its time."""
        told = self.told_to_stop_at
        if not self.dead and told is not None and self.owner.now >= told + timedelta(seconds=self.stop_timeout):
            self.exit(137)

    # ------------------------------------------------------------ its life, as the runner's parent has it

    def _lives(self) -> Iterator[bool]:
        """Live. Yields after each thing that it did, and True where it waits for time to pass or a signal."""
        if self.work.deed == "hangs_before_claim":
            while True:
                yield True
        self.running = True
        self.on_running()
        yield False
        if self.work.deed == "exits_before_claim":
            self._exits(self.work.exit_code)
            return
        record = self.record
        try:
            record.claim()
            yield from self._executes(record)
        except NotClaimableError:
            self.exit(0)
        except RecordError:
            self._exits(EX_TEMPFAIL)

    def _executes(self, record: RunRecord) -> Iterator[bool]:
        """Live on from the claim."""
        self.claimed = True
        self.beats_since = self.owner.now
        yield False
        for _ in range(self.work.beats):
            if self.told_to_stop_at is None:
                self._save_progress()
            yield False
        while self.work.deed == "freezes" or (self.work.deed == "runs_on" and self.told_to_stop_at is None):
            yield True
        if self.work.deed == "exits" and self.told_to_stop_at is None:
            self._exits(self.work.exit_code)
            return
        self.finished = report = self._report()
        yield False
        self.reported = record.report(report)
        yield False
        self.exit(0 if self.reported and report.outcome == "succeeded" else 1)

    def _exits(self, exit_code: int | None) -> None:
        self.fates.append(f"exit {exit_code}")
        self.exit(exit_code)

    def _report(self) -> Report:
        if self.told_to_stop_at is not None:
            return Report(outcome="failed", reason="stopped", message="The task was told to stop.", exit_code=143)
        if self.work.deed == "succeeds":
            return Report(outcome="succeeded", exit_code=0)
        if self.work.deed == "times_out":
            return Report(outcome="failed", reason="timed_out", message="The run's time was up.", exit_code=143)
        error = RunError(type=self.work.error_type, message="It did not go well.")
        return Report(outcome="failed", reason=self.work.reason, message=error.message, error=error, exit_code=1)


class Runtime:
    """The host of all tasks: it starts none by itself, the world moves them."""

    def __init__(self, owner: Owner, work_of: Callable[[str, int], Work]) -> None:
        self.tasks: list[SimulatedTask] = []
        self._owner = owner
        self._work_of = work_of

    def start(self, task: Task, on_exit: Callable[[ContainerExit], None], on_running: Callable[[], None]) -> None:
        """Take a task on."""
        environment = task.container.environment
        work = self._work_of(environment["RUN_ID"], int(environment["ATTEMPT"]))
        self.tasks.append(SimulatedTask(task, work, self._owner, on_exit, on_running))

    def stop(self, task_id: str, timeout_seconds: float) -> None:
        """Send SIGTERM, or SIGKILL at once."""
        for task in self.tasks:
            if task.task.task_id == task_id and not task.dead:
                if timeout_seconds == 0:
                    task.exit(137 if task.running else None)
                else:
                    task.fates.append("stopped")
                    task.sigterm(timeout_seconds)

    def close(self) -> None:
        """Forget the tasks."""
        self.tasks.clear()
