"""The whole product in one process, one thread and one clock: nothing sleeps, no socket is opened.

Its parts are the real ones: submitter, cancellation, arrivals, reconciler, sweep and stores, and the one model of ECS.
Doubles are DynamoDB (`table`), what runs in a task (`tasks`: the world moves it), and the neighbours in `doubles`.
What AWS would deliver waits in `deliveries` until the world, a test or a fault says what becomes of it.

    world = World(max_active=1)
    world.submit("a")              # the caller's idempotency key, which names the run from here on
    world.work()                   # deliver and step until nothing is left to do; the clock stands almost still
    world.settle()                 # the same with sweeps, and the clock goes on until nothing changes any more
    world.check()                  # raises if anything was not as it should be, at any moment

A process ends before or after any AWS call if `world.calls.kill(index, "before" | "after")` says so; a killed handler's
event comes again, as Lambda does it; a killed runner takes its task with it. After `world.calls.kill_in_flight(…)` the
request is done later all the same. With `world.calls.interrupt(…)` other processes go on in between two calls of one:
so one thread shows what several would do to each other.
"""

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal
from unittest.mock import patch

from local.ecs import Ecs
from local.faults import Faults
from tests import factories
from tests.factories import TASK_DEFINITION
from tests.simulation.calls import Calls, Client, Killed
from tests.simulation.doubles import DEFINITION, Bus, Catalogue, Revisions, SharedClient, Triggers
from tests.simulation.invariants import Watch
from tests.simulation.table import Table
from tests.simulation.tasks import SUCCEEDS, Runtime, SimulatedTask, Work
from zentrigger.arrivals import Arrivals
from zentrigger.attempt_store import AttemptStore
from zentrigger.cancel import cancel
from zentrigger.capacity import Limits
from zentrigger.capacity_store import CapacityStore
from zentrigger.errors import BusyError, ZentriggerError
from zentrigger.event_publisher import EventPublisher
from zentrigger.events import S3Arrival, task_state
from zentrigger.items import from_item
from zentrigger.launcher import EcsLauncher
from zentrigger.launches import Network
from zentrigger.observability import logger
from zentrigger.reconciler import Reconciler
from zentrigger.run_requests import RunRequest
from zentrigger.run_store import RunStore
from zentrigger.runs import Run, Source
from zentrigger.submit import Submitter, run_id_for_event, run_id_for_key
from zentrigger.sweep import Sweep
from zentrigger.sweep_report import SweepReport

TABLE = "RunsTable"
CLUSTER = "runs"
CALLER = "caller"
BUCKET = "arrivals"
BEGINNING = datetime(2030, 1, 1, 12, tzinfo=UTC)
CALL_SECONDS = 0.02
RETENTION = timedelta(days=30)

SWEEPS_AFTER = (60, 60, 60, 60, 120, 300, 300, *(600,) * 40)
"""Seconds between the sweeps while things settle: closer than that only makes a schedule longer."""

STREAM_TRIES = 11
ASYNC_TRIES = 3
QUEUE_TRIES = 5
"""How often template.yaml and Lambda have an event come whose handler fails."""

LOT = random.Random(0)  # noqa: S311 - no secret


@contextmanager
def standstill() -> Iterator[None]:
    """Let pauses between tries take no time, the sweep's lot follow from a world's seed, and nobody write a log."""
    level, runner = logger.log_level, logging.getLogger("runner")
    logger.setLevel("CRITICAL")
    runner_level = runner.level
    runner.setLevel(logging.CRITICAL)
    try:
        lots = patch("zentrigger.sweep.random", LOT), patch("zentrigger.capacity_store.random", LOT)
        with patch("zentrigger.items.time.sleep"), lots[0], lots[1]:
            yield
    finally:
        logger.setLevel(level)
        runner.setLevel(runner_level)


@dataclass
class Delivery:
    """Something that AWS is to bring to a function: an event, or a record of the runs' stream."""

    kind: Literal["stream", "task", "arrival"]
    about: str
    process: str
    action: Callable[[], object]
    tries: int

    def __str__(self) -> str:
        return f"{self.kind} of {self.about}"


class World:
    """The product and all that it depends on.

    Args:
        max_active: How many runs may be active in the stack.
        max_waiting: How many runs may wait before HTTP callers are refused.
        faults: What goes wrong with calls, tasks and events; until `settle`, or `calm`.
        seed: What is drawn by lot follows from it: the order of a sweep.
        record: Gets every request to DynamoDB with its answer or error.

    """

    def __init__(
        self,
        *,
        max_active: int = 2,
        max_waiting: int = 10,
        faults: Faults | None = None,
        seed: int = 0,
        record: Callable[[str, dict[str, Any], Any], None] | None = None,
    ) -> None:
        LOT.seed(seed)
        self.now = BEGINNING
        self.random = random.Random(seed)  # noqa: S311 - no secret
        self.unruly = 0.0
        """Which part of the deliveries `work` loses, repeats or brings out of turn."""
        self.deaf = False
        """Whether nothing is delivered at all: what is left then is the sweep."""
        self.max_active = max_active
        self.max_waiting = max_waiting
        self.faults = faults or Faults()
        self.calls = Calls(between=lambda: self.pass_time(CALL_SECONDS))
        self.watch = Watch(self)
        self.table = Table(lambda: self.now, self._written)
        self.runtime = Runtime(self, self._work_of)
        self.deliveries: list[Delivery] = []
        self.sweeps: list[SweepReport] = []
        self.refusals: list[str] = []
        """Why ECS will refuse the next launches, by what stands in RunTask's `failures`."""
        self.names: dict[str, str] = {}
        """Run id -> the name that a test gave the run."""
        self._works: dict[str, Sequence[Work]] = {}
        self._triggers = Triggers()
        self.ecs = Ecs(
            region="eu-west-1",
            account_id="123456789012",
            runtime=self.runtime,
            task_definition={TASK_DEFINITION: DEFINITION}.__getitem__,
            cluster_exists={CLUSTER}.__contains__,
            publish=self._task_changed,
            clock=lambda: self.now,
            placement=lambda _: self.refusals.pop(0) if self.refusals else None,
            faults=faults,
        )
        self._assemble(faults, record)

    def _assemble(self, faults: Faults | None, record: Callable[[str, dict[str, Any], Any], None] | None) -> None:
        """Put the pieces together as `wiring` does, and the runner."""
        calls = self.calls
        functions: Any = Client(self.table, calls, service="dynamodb", attempts=3, faults=faults, record=record)
        runners: Any = Client(self.table, calls, service="dynamodb", attempts=2, faults=faults, record=record)
        ecs = SharedClient(self.ecs)
        patient: Any = Client(ecs, calls, service="ecs", attempts=3)
        once: Any = Client(ecs, calls, service="ecs", attempts=1)
        bus: Any = Client(Bus(self.watch), calls, service="events", attempts=3, faults=faults)
        clock = self._clock
        network = Network(("subnet-1", "subnet-2"), ("sg-1",), "ENABLED")
        self.launcher = EcsLauncher(CLUSTER, patient, once)
        self.runs = RunStore(TABLE, functions, clock)
        self.attempts = AttemptStore(TABLE, runners, clock)
        self.capacity = CapacityStore(TABLE, functions, clock)
        self.submitter = Submitter(
            runs=self.runs,
            catalogue=Catalogue(),
            task_definitions=Revisions(),
            launcher=self.launcher,
            cluster=CLUSTER,
            network=network,
            limits=Limits(max_active=self.max_active, max_waiting=self.max_waiting, retention_days=RETENTION.days),
            clock=clock,
        )
        self.reconciler = Reconciler(
            runs=self.runs,
            tasks=self.launcher,
            publisher=EventPublisher(bus),
            cluster=CLUSTER,
            network=network,
            max_active=self.max_active,
            clock=clock,
        )
        self.sweeper = Sweep(
            runs=self.runs,
            capacity=self.capacity,
            tasks=self.launcher,
            reconciler=self.reconciler,
            clock=clock,
            timer=self.seconds,
        )

    # ------------------------------------------------------------ what callers do

    def submit(
        self,
        name: str,
        *,
        pipeline: str = "training",
        works: Sequence[Work] = (),
        tries: int = 3,
        keyed: bool = True,
        **options: Any,
    ) -> Run | ZentriggerError | None:
        """Ask for a run, as an HTTP caller does; gives the run, or the error that says why there is none.

        None: the function died before it answered, each time. `name` is the idempotency key: a caller without an
        answer asks up to `tries` times; one that is not `keyed` asks once. `works` says what each of the run's attempts
        will do (the last one holds for all that follow; unless said, they succeed); `options` are fields of the body of
        `POST /runs`.
        """
        run_id = self.run_id(name)
        self._works[run_id] = works or self._works.get(run_id, ())
        request = RunRequest(pipeline=pipeline, **options)
        source = Source(type="http", key_id=CALLER)
        return self._ask(lambda: self.submitter.submit(request, source, run_id=run_id).run, tries=tries if keyed else 1)

    def repeat(self, name: str, ended: str, works: Sequence[Work] = (), tries: int = 3) -> Run | ZentriggerError | None:
        """Ask for another run of what the run of the name `ended` executed; otherwise as `submit`."""
        run_id = self.run_id(name)
        self._works[run_id] = works
        source = Source(type="http", key_id=CALLER)
        return self._ask(lambda: self.submitter.retry(self.run_id(ended), source, new_run_id=run_id).run, tries=tries)

    def cancel(self, name: str, tries: int = 3) -> Run | ZentriggerError | None:
        """Ask for the end of a run; gives the run, or the error that says why not, or None as `submit`."""
        run_id = self.run_id(name)
        return self._ask(lambda: cancel(run_id, runs=self.runs, tasks=self.launcher), tries=tries, accepts=False)

    def arrive(
        self,
        name: str,
        *,
        trigger: str = "arrivals",
        overlap: str = "allow",
        works: Sequence[Work] = (),
        times: int = 1,
    ) -> None:
        """Let an object of that key arrive, at a trigger that starts a run; its event comes so many times."""
        definition = {"type": "s3", "pipeline": "training", "bucket": BUCKET, "overlap": overlap}
        self._triggers.all[trigger] = factories.trigger(trigger, self.now, **definition)
        event = S3Arrival.model_validate(
            {
                "event_id": name,
                "time": self.now,
                "bucket": {"name": BUCKET},
                "object": {"key": name, "size": 1, "etag": "e", "version-id": "v"},
            }
        )
        run_id = run_id_for_event(trigger, event)
        self.names[run_id] = name
        self._works[run_id] = works

        def handle() -> None:
            arrivals = Arrivals(
                triggers=self._triggers,
                submitter=self.submitter,
                record_of=self.runs.get,
                clock=self._clock,
            )
            arrivals.handle(event)
            arrivals.keep_refused()
            if self.item(run_id) is not None:
                self.watch.accepted(run_id)

        for _ in range(times):
            self.deliveries.append(Delivery("arrival", run_id, "on_event", handle, QUEUE_TRIES))

    def set_limit(self, pipeline: str, max_active: int | None) -> None:
        """Have at most so many runs of a pipeline active; runs that are active stay so."""
        self._run("operator", lambda: self.capacity.set_limit(pipeline, max_active))

    def _ask(self, ask: Callable[[], Run], *, tries: int, accepts: bool = True) -> Run | ZentriggerError | None:
        answer: Run | ZentriggerError | None = None
        for _ in range(tries):
            answer = self._run("trigger", ask)
            if isinstance(answer, Run):
                if accepts:
                    self.watch.accepted(answer.run_id)
                return answer
            if isinstance(answer, ZentriggerError) and not isinstance(answer, BusyError):
                return answer
        return answer

    # ------------------------------------------------------------ what AWS does

    def deliver(self, index: int = 0, *, keep: bool = False) -> None:
        """Bring one of `deliveries` to its function; with `keep` it will come once more.

        If the function fails or dies, it comes again, as often as Lambda tries.
        """
        delivery = self.deliveries[index] if keep else self.deliveries.pop(index)

        def handle() -> bool:
            delivery.action()
            return True

        if self._run(delivery.process, handle) is not True:
            delivery.tries -= 1
            if delivery.tries > 0 and not keep:
                self.deliveries.insert(0, delivery)

    def drop(self, index: int = 0) -> None:
        """Let one of `deliveries` be lost."""
        self.deliveries.pop(index)

    def sweep(self) -> SweepReport | None:
        """Let the minute's sweep run once; None: it died."""
        report = self._run("sweep", self.sweeper.sweep)
        if not isinstance(report, SweepReport):
            return None
        self.sweeps.append(report)
        self.watch.swept(report)
        return report

    def advance(self, seconds: float) -> None:
        """Let time pass: tasks beat, those told to stop are killed when their time is up, delayed deaths happen."""
        self.calls.land(of_functions=True)
        self.pass_time(seconds)
        for task in self.live_tasks:
            task.time_passed()
            self._in_task(task, task.beat)
        self.faults.release()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and nothing else."""
        self.now += timedelta(seconds=seconds)

    # ------------------------------------------------------------ what tasks do, and what is done to them

    @property
    def live_tasks(self) -> list[SimulatedTask]:
        """Tasks that have not ended, oldest first."""
        return [task for task in self.runtime.tasks if not task.dead]

    def tasks_of(self, name: str) -> list[SimulatedTask]:
        """Give all tasks that a run ever had, oldest first."""
        run_id = self.run_id(name)
        return [task for task in self.runtime.tasks if task.run_id == run_id]

    def task_of(self, name: str) -> SimulatedTask | None:
        """Give a run's live task, or None."""
        return next((task for task in reversed(self.tasks_of(name)) if not task.dead), None)

    def step_task(self, task: SimulatedTask) -> None:
        """Let a task do its next thing; if its process dies at it, so does the task."""
        if task.can_step:
            self._in_task(task, task.step)

    def kill_task(self, task: SimulatedTask) -> None:
        """Kill a task's process, as by SIGKILL from somewhere."""
        task.fates.append("killed")
        task.exit(137 if task.running else None)

    def lose_host(self, task: SimulatedTask) -> None:
        """Let the host of a task die."""
        task.fates.append("host_lost")
        self.ecs.lose_host(task.arn)

    def exhaust_memory(self, task: SimulatedTask) -> None:
        """Let a task be killed for its memory."""
        task.fates.append("out_of_memory")
        self.ecs.exhaust_memory(task.arn)

    def interrupt_task(self, task: SimulatedTask) -> None:
        """Take a Spot task's capacity back."""
        if self.ecs.interrupt(task.arn):
            task.fates.append("interrupted")

    def stop_task(self, task: SimulatedTask) -> None:
        """Stop a task by hand, in ECS's console."""
        task.fates.append("stopped_by_hand")
        with self.faults.suspended():
            self.ecs.handle("StopTask", {"cluster": CLUSTER, "task": task.arn, "reason": "by hand"})

    def _in_task(self, task: SimulatedTask, action: Callable[[], None]) -> None:
        try:
            self.calls.run("runner", action, alive=lambda: not task.dead)
        except Killed:
            if not task.dead:
                task.fates.append("killed")
                task.exit(137)
        except Exception as error:  # noqa: BLE001 - whatever a runner does not catch ends it
            if not task.dead:
                task.fates.append(f"raised {error!r}")
                task.exit(1)

    # ------------------------------------------------------------ until something, or nothing more, happens

    def work(self, until: Callable[[], bool] = lambda: False, most: int = 500) -> bool:
        """Deliver events and step tasks, in turn, until a condition holds or nothing is left to do.

        Gives whether the condition holds.
        """
        for _ in range(most):
            if until():
                return True
            if self.deliveries:
                self._deliver_somehow()
            elif (ready := next((task for task in self.live_tasks if task.can_step), None)) is not None:
                self.step_task(ready)
            else:
                return until()
        raise AssertionError(f"after {most} steps there still is something to do: {list(map(str, self.deliveries))}")

    def _deliver_somehow(self) -> None:
        """Deliver the next one, or, where deliveries are unruly, another one, or it twice, or lose it."""
        if self.deaf and self.deliveries[0].kind != "arrival":
            self.drop()
            return
        lot = self.random.random() if self.unruly else 1.0
        if lot < self.unruly / 3:
            self.drop()
        elif lot < self.unruly * 2 / 3:
            self.deliveries.insert(self.random.randrange(len(self.deliveries) + 1), self.deliveries[0])
            self.deliver()
        elif lot < self.unruly:
            self.deliver(self.random.randrange(len(self.deliveries)))
        else:
            self.deliver()

    def work_until(self, name: str, status: str) -> bool:
        """Work until a run has a status; gives whether it got there."""
        return self.work(lambda: self.status(name) == status)

    def calm(self) -> None:
        """Let nothing go wrong any more; what was put off happens now, and the index catches up."""
        self.unruly = 0.0
        self.faults.clear()
        self.faults.release()
        self.table.index_lag = timedelta(0)

    def settle(self) -> None:
        """Let everything catch up: no more faults, events, tasks and sweeps, until nothing changes any more."""
        self.calm()
        unchanged = 0.0
        before = self._fingerprint()
        for pause in SWEEPS_AFTER:
            self.work()
            self.advance(pause)
            self.sweep()
            self.work()
            if self.quiet:
                return
            after = self._fingerprint()
            unchanged = 0.0 if after != before else unchanged + pause
            before = after
            if unchanged > timedelta(hours=1, minutes=10).total_seconds():
                return

    @property
    def quiet(self) -> bool:
        """Whether all runs have ended and were announced, and nothing is under way."""
        heads = [item for item in self.table.items.values() if item["part"]["S"] == "head"]
        stopped = all(task.stopped for task in self.watch.tasks.values())
        return stopped and not self.deliveries and all("announced_at" in item for item in heads)

    def _fingerprint(self) -> object:
        heads = {key: item for key, item in self.table.items.items() if key[1] == "head"}
        return heads, [(task.arn, task.dead, task.claimed) for task in self.runtime.tasks]

    # ------------------------------------------------------------ looking

    def run_id(self, name: str) -> str:
        """Give the id of the run that was asked for, or arrived, under a name."""
        arrived = next((run_id for run_id, known in self.names.items() if known == name), None)
        run_id = arrived or run_id_for_key(CALLER, name)
        self.names[run_id] = name
        return run_id

    def item(self, run_id: str) -> dict[str, Any] | None:
        """Give the head of a run as plain values, or None; not a call."""
        item = self.table.items.get((run_id, "head"))
        return from_item(item) if item is not None else None

    def run(self, name: str) -> Run | None:
        """Give a run as it stands, or None; not a call."""
        item = self.item(self.run_id(name))
        return Run.model_validate(item) if item is not None else None

    def status(self, name: str) -> str | None:
        """Give the status of a run, or None; not a call."""
        item = self.table.items.get((self.run_id(name), "head"))
        return str(item["status"]["S"]) if item is not None else None

    @property
    def all_runs(self) -> list[Run]:
        """All runs that there are, as they stand; not a call."""
        return [
            Run.model_validate(from_item(item)) for (_, part), item in list(self.table.items.items()) if part == "head"
        ]

    def check(self, *, settled: bool = True) -> None:
        """Raise AssertionError if something was not as it should be, at any moment so far.

        Args:
            settled: Whether all must have come to rest by now: call it after `settle`.

        """
        found = self.watch.found(settled=settled)
        if found:
            killed = f"\nkilled: {', '.join(self.calls.kills)}" if self.calls.kills else ""
            raise AssertionError("\n".join(found) + killed)

    def seconds(self) -> float:
        """Give the time as a number that rises."""
        return (self.now - BEGINNING).total_seconds()

    # ------------------------------------------------------------ inside

    def _clock(self) -> datetime:
        return self.now

    def _work_of(self, run_id: str, attempt: int) -> Work:
        works = self._works.get(run_id) or (SUCCEEDS,)
        return works[min(attempt, len(works)) - 1]

    def _run(self, process: str, action: Callable[[], Any]) -> Any:
        """Run a function; gives what it returns, what it raises, or None if it died."""
        try:
            return self.calls.run(process, action)
        except Killed:
            return None
        except Exception as error:  # noqa: BLE001 - what a function raises is its answer
            self.watch.raised(process, error)
            return error

    def _written(self, writes: Sequence[Any]) -> None:
        self.watch.wrote(writes)
        for write in writes:
            run_id, part = write.key
            if part == "head":
                action = partial(self.reconciler.run_changed, run_id)
                record = Delivery("stream", run_id, "lifecycle", action, STREAM_TRIES)
                self.deliveries += [record] * (2 if self.faults.happens("stream", "repeat", TABLE) else 1)

    def _task_changed(self, event: dict[str, Any]) -> None:
        detail = event["detail"]
        self.watch.task_changed(detail)
        if detail["lastStatus"] != "STOPPED":
            return
        state = task_state(detail)
        delivery = Delivery(
            "task", state.task_arn, "lifecycle", lambda: self.reconciler.task_stopped(state), ASYNC_TRIES
        )
        happens = self.faults.happens
        if happens("events", "missing", "aws.ecs"):
            return
        if happens("events", "repeat", "aws.ecs"):
            self.deliveries.append(delivery)
        if happens("events", "delay", "aws.ecs"):
            self.faults.later(lambda: self.deliveries.append(delivery))
        elif happens("events", "reorder", "aws.ecs"):
            self.deliveries.insert(self.random.randrange(len(self.deliveries) + 1), delivery)
        else:
            self.deliveries.append(delivery)
