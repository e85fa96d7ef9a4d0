"""Any operation under any fault, in any order: judged by the watch at each write, and by a plain model after each step.

ZENTRIGGER_SCHEDULES has more of it done, and failures made smaller: `ZENTRIGGER_SCHEDULES=1000 make test
ARGS="tests/simulation/test_state_machine.py --timeout=0"` takes half an hour.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from local.faults import Faults
from tests.simulation.calls import When
from tests.simulation.model import FINAL, START_FAULTS, Asked, Head, Model
from tests.simulation.summary import tell
from tests.simulation.tasks import FAILS, FREEZES, RUNS_ON, SUCCEEDS, SimulatedTask, Work
from tests.simulation.world import World
from zentrigger.errors import ConflictError, IdempotencyClashError, NotFoundError, QueueFullError
from zentrigger.items import from_item
from zentrigger.runs import Run

USUALLY = 12
SCHEDULES = int(os.environ.get("ZENTRIGGER_SCHEDULES", USUALLY))
EXAMPLES, STEPS = 15 * SCHEDULES, 40

MAX_ACTIVE, MAX_WAITING = 2, 3
PIPELINES = ("training", "scoring")

DEEDS = (
    *[SUCCEEDS] * 4,
    FAILS,
    RUNS_ON,
    FREEZES,
    Work("times_out"),
    Work("exits", exit_code=3),
    Work("exits", exit_code=None),
    Work("exits_before_claim", exit_code=1),
    Work("exits_before_claim", exit_code=75),
    Work("exits_before_claim", exit_code=None),
    Work("hangs_before_claim"),
)
WORKS = st.lists(st.sampled_from(DEEDS), max_size=3).map(tuple)
CONCURRENCY = st.fixed_dictionaries(
    {
        "key": st.sampled_from("kl"),
        "limit": st.sampled_from([1, 1, 2]),
        "on_conflict": st.sampled_from(["queue", "queue", "skip", "reject"]),
    }
)
RETRY = st.fixed_dictionaries(
    {
        "max_attempts": st.integers(1, 3),
        "backoff_seconds": st.sampled_from([0, 1, 30]),
        "on": st.sampled_from([[], [], ["ValueError"], ["heartbeat_lost", "result_missing"], ["timed_out"]]),
    }
)
BODIES = st.fixed_dictionaries(
    {
        "pipeline": st.sampled_from(PIPELINES),
        "priority": st.sampled_from([0, -2, 3]),
        "concurrency": st.none() | CONCURRENCY,
        "retry": st.none() | RETRY,
        "spot": st.booleans(),
        "timeout_seconds": st.sampled_from([None, 60, 3600]),
    }
)
USUAL = {
    "pipeline": "training",
    "priority": 0,
    "concurrency": None,
    "retry": None,
    "spot": False,
    "timeout_seconds": None,
}
REQUESTS = st.lists(st.tuples(BODIES, WORKS), min_size=1, max_size=3)
OF_APIS = ("throttle", "server_error", "lost_request", "lost_answer", "false_error")
FAULTS = st.sampled_from(
    [
        *["ecs.RunTask.lost_answer", "ecs.RunTask.lost_request", "ecs.capacity"] * 3,
        *(f"ecs.RunTask.{fault}" for fault in OF_APIS),
        *(f"ecs.{action}.{fault}" for action in ("ListTasks", "DescribeTasks", "StopTask") for fault in OF_APIS[1:4]),
        *(f"ecs.{fault}" for fault in ("capacity", "subnet-1.capacity", "resource", "quota", *START_FAULTS)),
        *(
            f"dynamodb.{action}.{fault}"
            for action in ("TransactWriteItems", "UpdateItem")
            for fault in (*OF_APIS, "conflict", "throughput")
        ),
        *(f"dynamodb.{action}.{fault}" for action in ("GetItem", "Query", "BatchGetItem") for fault in OF_APIS[:3]),
        *(f"events.PutEvents.{fault}" for fault in OF_APIS),
        *(f"events.aws.ecs.{fault}" for fault in ("missing", "repeat", "delay", "reorder")),
        "stream.repeat",
    ]
)
NOT_SHOWN_YET = ("ecs.missing", "ecs.unlisted")
"""What ECS may do with a task that was just started: it is eventually consistent."""
JUST_STARTED = timedelta(minutes=4)

RIVALS = ("sweep", "work", "deliver", "step", "die", "cancel", "ask again")
WHICH = st.integers(0, 7)
"""Which of several, from the first on again where there are not as many."""
WHEN = st.sampled_from(["before", "after"])

TALLY: Counter[str] = Counter()


class AnyOrder(RuleBasedStateMachine):
    """Does anything to a world, and asks the watch and the model whether all is as it may be."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = Faults()
        self.world = World(max_active=MAX_ACTIVE, max_waiting=MAX_WAITING, faults=self.faults)
        self.model = Model(self.world.now)
        self.overlap = ""
        self.start_faults: set[str] = set()
        self.others = 0
        """How often somebody else was let do something in between."""
        TALLY["examples"] += 1

    # ------------------------------------------------------------ callers

    @initialize(first=REQUESTS)
    def begin(self, first: list[tuple[dict[str, Any], tuple[Work, ...]]]) -> None:
        """Ask for the first runs."""
        self._submit_all(first)

    @rule(more=REQUESTS)
    def submit(self, more: list[tuple[dict[str, Any], tuple[Work, ...]]]) -> None:
        """Ask for runs that nobody asked for before."""
        self._submit_all(more)

    def _submit_all(self, requests: list[tuple[dict[str, Any], tuple[Work, ...]]]) -> None:
        for body, works in requests:
            # Who has no key asks only once.
            self._submit(self._new(body, works), keyed=bool(body["priority"]))

    @precondition(lambda self: self.model.asked)
    @rule(which=WHICH, how=st.sampled_from(["again", "again", "other", "repeat"]), body=BODIES, works=WORKS)
    def ask_again(self, which: int, how: str, body: dict[str, Any], works: tuple[Work, ...]) -> None:
        """Send a request again, or another one with the same key, or ask for what a run executed."""
        asked = self._asked(which)
        if how == "repeat":
            self._repeat(asked, works)
        elif asked.by_key and how == "other":
            self._submit(Asked(asked.name, body, asked.works, start_faults=set(asked.start_faults)))
        elif asked.by_key and asked.repeats is None:
            self._submit(asked)

    def _submit(self, asked: Asked, *, keyed: bool = True) -> None:
        world = self.world
        run_id = world.run_id(asked.name)
        there, disturbed, waiting = world.item(run_id) is not None, self._disturbed, self._waiting
        answer = world.submit(asked.name, works=asked.works, keyed=keyed, **asked.body)
        known = self.model.asked.setdefault(run_id, asked)
        if not there and world.item(run_id) is not None and not known.same_request(asked):
            known = self.model.asked[run_id] = asked
        if isinstance(answer, Run):
            assert answer.run_id == run_id
            assert known.same_request(asked), f"{known} was recorded, and {asked} was taken for the same"
            known.accepted = True
        elif self._disturbed != disturbed:
            pass  # whatever it is, somebody else may be the cause
        elif there:
            assert isinstance(answer, IdempotencyClashError), answer
            assert not known.same_request(asked), f"{asked} was recorded, and its repetition refused: {answer}"
        elif isinstance(answer, QueueFullError):
            assert waiting >= MAX_WAITING
        else:
            assert isinstance(answer, ConflictError), f"nothing was wrong, and the answer is {answer!r}"
            assert asked.on_conflict == "reject"

    def _repeat(self, ended: Asked, works: tuple[Work, ...]) -> None:
        asked = self._new(ended.body, works, repeats=ended.name)
        run_id, repeated = self.world.run_id(asked.name), self._head(ended)
        disturbed, waiting = self._disturbed, self._waiting
        self.model.asked[run_id] = asked
        answer = self.world.repeat(asked.name, ended.name, works)
        if isinstance(answer, Run):
            assert repeated is not None
            assert (answer.run_id, answer.retry_of) == (run_id, repeated["run_id"])
            asked.accepted = True
        elif self._disturbed != disturbed:
            pass
        elif repeated is None:
            assert isinstance(answer, NotFoundError), answer
        elif isinstance(answer, QueueFullError):
            assert waiting >= MAX_WAITING
        else:
            assert isinstance(answer, ConflictError), answer
            assert repeated["status"] not in FINAL or asked.on_conflict == "reject"

    @precondition(lambda self: self.model.asked)
    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        """Ask for a run's end."""
        asked = self._asked(which)
        disturbed, head = self._disturbed, self._head(asked)
        if head is not None and head["status"] not in FINAL and asked.cancel == "no":
            asked.cancel = "perhaps"
        answer = self.world.cancel(asked.name)
        if isinstance(answer, Run):
            asked.cancel = "yes"
        elif self._disturbed != disturbed:
            pass
        elif head is None:
            assert isinstance(answer, NotFoundError), answer
        else:
            assert isinstance(answer, ConflictError), answer
            assert head["status"] in FINAL

    @rule(name=st.sampled_from("abc"), overlap=st.sampled_from(["allow", "queue", "skip"]), works=WORKS)
    def arrive(self, name: str, overlap: str, works: tuple[Work, ...]) -> None:
        """Let an object arrive, for the one trigger that there is; its event may come again."""
        self.overlap = self.overlap or overlap
        known = next((asked for asked in self.model.asked.values() if asked.name == name), None)
        self.world.arrive(name, overlap=self.overlap, works=known.works if known else works)
        if known is None:
            taken = {"key": "trigger:arrivals", "limit": 1, "on_conflict": self.overlap}
            body = USUAL | {"concurrency": None if self.overlap == "allow" else taken}
            asked = Asked(name, body, works, by_key=False, start_faults=set(self.start_faults))
            self.model.asked[self.world.run_id(name)] = asked

    @rule(pipeline=st.sampled_from(PIPELINES), limit=st.sampled_from([None, 0, 1, 1]), seconds=st.sampled_from([0, 8]))
    def change(self, pipeline: str, limit: int | None, seconds: int) -> None:
        """Have at most so many runs of a pipeline active, and let the index be behind the table from now on."""
        self.world.set_limit(pipeline, limit)
        self.world.table.index_lag = timedelta(seconds=seconds)

    # ------------------------------------------------------------ tasks

    @precondition(lambda self: self.world.live_tasks)
    @rule(which=WHICH, times=st.integers(1, 4))
    def step(self, which: int, times: int) -> None:
        """Let a task do its next things."""
        task = self._task(which)
        for _ in range(times):
            self.world.step_task(task)

    @precondition(lambda self: self.world.live_tasks)
    @rule(which=WHICH, how=st.sampled_from(["kill", "host", "memory", "by hand", "spot"]))
    def befall(self, which: int, how: str) -> None:
        """Do something to a task."""
        task, world = self._task(which), self.world
        if how == "memory":
            world.exhaust_memory(task)
        elif how == "by hand":
            world.stop_task(task)
        elif how == "kill" and task.running:
            world.kill_task(task)
        elif how == "spot" and task.task.capacity_provider == "FARGATE_SPOT":
            world.interrupt_task(task)
        else:
            world.lose_host(task)

    # ------------------------------------------------------------ events, sweeps, time

    @precondition(lambda self: self.world.deliveries)
    @rule(which=WHICH, how=st.sampled_from(["now", "now", "not for the last time", "never"]))
    def deliver(self, which: int, how: str) -> None:
        """Bring an event to its function, out of turn, or lose it; but no arrival, for they come from a queue."""
        which %= len(self.world.deliveries)
        if how != "never":
            self.world.deliver(which, keep=how == "not for the last time")
        elif self.world.deliveries[which].kind != "arrival":
            self.world.drop(which)

    @rule(steps=st.sampled_from([2, 4, 8, 500]))
    def work(self, steps: int) -> None:
        """Let events come and tasks work, for a while or until there is nothing to do."""
        left = iter(range(steps))
        self.world.work(lambda: next(left, None) is None)

    @rule(calls=st.none() | st.integers(0, 30), when=WHEN)
    def sweep(self, calls: int | None, when: When) -> None:
        """Let the minute's sweep run, perhaps with another one in the middle of it."""
        if calls is not None:
            self._interrupt(calls, when, self._sweep)
        self._sweep()

    def _sweep(self) -> None:
        report = self.world.sweep()
        if report is not None and not report.failed and not report.left:
            self.model.swept_at = self.world.now

    @rule(seconds=st.sampled_from([5, 60, 60, 100, 100, 400, 1300, 3600]))
    def advance(self, seconds: int) -> None:
        """Let time pass."""
        for fault in NOT_SHOWN_YET:
            self.faults.never(fault)
        for task in self.world.live_tasks:
            self.model.asked[task.run_id].late |= task.can_step
        self.world.advance(seconds)

    # ------------------------------------------------------------ what goes wrong

    @rule(name=FAULTS, times=st.sampled_from([1, 1, 2, 3]), spared=st.sampled_from([0, 0, 1]))
    def fail(self, name: str, times: int, spared: int) -> None:
        """Let something go wrong the next time, or the next times."""
        self.faults.next(name, times, after=spared)
        fault = name.rpartition(".")[2]
        if fault in START_FAULTS:
            self.start_faults.add(fault)
            for asked in self.model.asked.values():
                asked.start_faults.add(fault)

    @precondition(lambda self: self._all_just_started)
    @rule(name=st.sampled_from(NOT_SHOWN_YET))
    def hide(self, name: str) -> None:
        """Let ECS not show a task that was just started."""
        self.faults.next(name)

    @rule(calls=st.integers(0, 20), how=st.sampled_from(["before", "after", "in flight"]), later=st.integers(1, 8))
    def kill(self, calls: int, how: When | Literal["in flight"], later: int) -> None:
        """End the process that makes a coming call; what was in flight is done later."""
        index = len(self.world.calls.made) + calls
        if how == "in flight":
            self.world.calls.kill_in_flight(index, later)
        else:
            self.world.calls.kill(index, how)

    @rule(calls=st.integers(0, 10), when=WHEN, what=st.sampled_from(RIVALS), which=WHICH)
    def interrupt(self, calls: int, when: When, what: str, which: int) -> None:
        """Let others do something between two calls of a process that is still to come."""
        world = self.world
        actions: dict[str, Callable[[], None]] = {
            "sweep": self._sweep,
            "work": lambda: self.work(500),
            "deliver": lambda: self.deliver(which, "now") if world.deliveries else None,
            "step": lambda: self.step(which, 1) if world.live_tasks else None,
            "die": lambda: self.befall(which, "host") if world.live_tasks else None,
            "cancel": lambda: self.cancel(which) if self.model.asked else None,
            "ask again": lambda: self.ask_again(which, "again", USUAL, ()) if self.model.asked else None,
        }
        self._interrupt(calls, when, actions[what])

    def _interrupt(self, calls: int, when: When, action: Callable[[], None]) -> None:
        def act() -> None:
            self.others += 1
            action()

        self.world.calls.interrupt(len(self.world.calls.made) + calls, when, act)

    # ------------------------------------------------------------ what must be

    @invariant()
    def all_is_as_it_may_be(self) -> None:
        """Ask the watch, which has seen each write, and the model."""
        self.world.check(settled=False)
        self._agree(self.model.see(self._heads, self._tasks, self.world.now))
        TALLY["operations"] += 1

    def teardown(self) -> None:
        """Let everything catch up: now all runs have ended, but for those that wait for one that runs on for ever."""
        self.world.calm()
        for pipeline in PIPELINES:
            # As often as it takes, for what sets it may still be killed.
            while "max_active_runs" in self.world.table.items.get((f"capacity#pipeline#{pipeline}", "capacity"), {}):
                self.world.set_limit(pipeline, None)
        self.world.settle()
        self.world.check()
        self._agree(self.model.see(self._heads, self._tasks, self.world.now))
        self._agree(self.model.see_rest(self._heads, self._tasks))
        self._count()

    def _agree(self, wrong: list[str]) -> None:
        assert not wrong, "\n".join(wrong)

    def _count(self) -> None:
        tasks = self._tasks
        TALLY["runs"] += len(self._heads)
        TALLY["of them as foretold"] += sum(
            asked.undisturbed(tasks.get(run_id, ())) for run_id, asked in self.model.asked.items() if asked.end
        )
        TALLY["AWS calls"] += len(self.world.calls.made)
        TALLY["faults"] += sum(self.faults.counts.values())
        TALLY["processes killed"] += len(self.world.calls.kills)
        TALLY["interrupted"] += self.others

    # ------------------------------------------------------------ looking

    @property
    def _heads(self) -> dict[str, Head]:
        return {key[0]: from_item(item) for key, item in self.world.table.items.items() if key[1] == "head"}

    @property
    def _tasks(self) -> dict[str, list[SimulatedTask]]:
        tasks = defaultdict(list)
        for task in self.world.runtime.tasks:
            tasks[task.run_id].append(task)
        return tasks

    @property
    def _waiting(self) -> int:
        return sum(head["status"] == "queued" for head in self._heads.values())

    @property
    def _all_just_started(self) -> bool:
        holding = [run for run in self.world.all_runs if run.status.holds_slot]
        return all(self.world.now - (run.launched_at or run.status_at) < JUST_STARTED for run in holding)

    @property
    def _disturbed(self) -> tuple[int, ...]:
        """Changes when something may have gone wrong, or somebody else have done something, in between."""
        calls = self.world.calls
        arrived = len(calls.made) if any("in flight" in kill for kill in calls.kills) else 0
        return self.others, sum(self.faults.counts.values()), len(calls.kills), arrived

    def _new(self, body: dict[str, Any], works: tuple[Work, ...], repeats: str | None = None) -> Asked:
        name = f"run {len(self.model.asked)}"
        return Asked(name, body, works, repeats=repeats, start_faults=set(self.start_faults))

    def _asked(self, which: int) -> Asked:
        several = list(self.model.asked.values())
        return several[which % len(several)]

    def _head(self, asked: Asked) -> Head | None:
        return self.world.item(self.world.run_id(asked.name))

    def _task(self, which: int) -> SimulatedTask:
        tasks = self.world.live_tasks
        return tasks[which % len(tasks)]


@pytest.fixture(scope="module", autouse=True)
def _told(request: pytest.FixtureRequest) -> None:
    tell(request.config, "state machine", lambda: ", ".join(f"{count:,} {what}" for what, count in TALLY.items()))


def test_any_operation_under_any_fault_in_any_order() -> None:
    phases = (Phase.generate,) if SCHEDULES <= USUALLY else (Phase.generate, Phase.shrink)
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=True,
            phases=phases,  # to make a failure smaller takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
