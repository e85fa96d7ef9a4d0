"""What many do at once, on DynamoDB Local: it is as atomic as DynamoDB, and never raises TransactionConflict."""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from unittest.mock import Mock

import pytest

from tests.factories import MOMENT, TASK, TRAINING, Runs, run, snapshot
from tests.integration.zentrigger.bench import TABLE, Clock, claimed, counts, create, head, keyed, queued
from zentrigger.attempt_store import NotClaimableError
from zentrigger.attempts import following, story
from zentrigger.capacity import Limits, groups_of
from zentrigger.capacity_counts import capacity_key
from zentrigger.capacity_store import REPAIRED_AFTER, CapacityStore
from zentrigger.errors import ConflictError, QueueFullError
from zentrigger.events import ContainerState, TaskState
from zentrigger.launches import LaunchAnswer, Network, Started, launch
from zentrigger.lifecycle import End, NextAttempt, decide
from zentrigger.reconciler import Reconciler
from zentrigger.retries import Failure
from zentrigger.run_items import ENDED
from zentrigger.run_requests import RunRequest
from zentrigger.run_store import Creation, NoFreeSlotError
from zentrigger.runs import SKIPPED, Refusal, Report, Run, RunStatus, Source
from zentrigger.starter import Starter
from zentrigger.submit import Submitter, run_id_for_key
from zentrigger.sweep import Sweep
from zentrigger.sweep_report import SweepReport

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.dynamodb_local

CALLERS = 64
SUCCESS = Report(outcome="succeeded")
NETWORK = Network(("subnet-1",), ("sg-1",), "ENABLED")

Answer = TypeVar("Answer")
Figures = Callable[[str], None]


@pytest.fixture
def dynamodb(dynamodb_local: "DynamoDBClient") -> "DynamoDBClient":
    """Give DynamoDB Local alone: moto is not atomic under threads."""
    return dynamodb_local


def at_once(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Make calls at the same instant, each in a thread of its own."""
    ready = threading.Barrier(len(calls))

    def make(call: Callable[[], Answer]) -> Answer:
        ready.wait(20)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


class Ecs:
    """ECS for many threads: one task a token. It knows which runs are live, and how many at most have been."""

    def __init__(self, runs: Mapping[str, Run] | None = None) -> None:
        self.tokens: dict[str, str] = {}
        """Token -> task."""
        self.states: dict[str, TaskState] = {}
        self.most: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.launched: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._runs = runs or {}
        self._live: Counter[str] = Counter()
        self._lock = threading.Lock()

    def run_task(self, request: dict[str, Any]) -> LaunchAnswer:
        """Start a task, unless the token has started one."""
        token, run_id = request["clientToken"], request["startedBy"].partition("/")[0]
        with self._lock:
            if token in self.tokens:
                return Started(self.tokens[token])
            arn = self.tokens[token] = f"{TASK}-{len(self.tokens)}"
            self.states[arn] = TaskState(arn, "PENDING", request["startedBy"], None, None, ())
            for group in self._groups(run_id):
                self._live[group] += 1
                self.most[group] = max(self.most[group], self._live[group])
        self.launched.put(run_id)
        return Started(arn)

    def finish(self, run_id: str) -> None:
        """End a run's task."""
        with self._lock:
            self._live.subtract(self._groups(run_id))

    def find(self, started_by: str) -> str | None:
        """Give the live task of a launch."""
        with self._lock:
            states = list(self.states.values())
        live = (state.task_arn for state in states if state.started_by == started_by and not state.stopped)
        return next(live, None)

    def describe(self, task_arns: list[str]) -> dict[str, TaskState | None]:
        """Give the states of tasks."""
        return {arn: self.states.get(arn) for arn in task_arns}

    def stop(self, task_arn: str, reason: str) -> None:
        """Take note of who is to stop."""
        del reason
        with self._lock:
            self.stops[task_arn] += 1

    def _groups(self, run_id: str) -> tuple[str, ...]:
        of = self._runs.get(run_id)
        return groups_of(of.pipeline, of.concurrency) if of else ("all",)


# ------------------------------------------------------------ recording


def submitter(store: Runs, ecs: Ecs, *, max_active: int, max_waiting: int) -> Submitter:
    """Make a submitter of the training pipeline's runs."""
    catalogue, task_definitions = Mock(), Mock()
    catalogue.choose.return_value = catalogue.find.return_value = snapshot()
    task_definitions.revision.return_value = "arn:revision"
    return Submitter(
        runs=store,
        catalogue=catalogue,
        task_definitions=task_definitions,
        launcher=ecs,
        cluster="c",
        network=NETWORK,
        limits=Limits(max_active=max_active, max_waiting=max_waiting, retention_days=1),
    )


def submit(by: Submitter, key: str, **values: Any) -> Creation | str:
    """Ask for a run under an idempotency key; gives the error's name where it was refused."""
    asked = RunRequest.model_validate({"pipeline": TRAINING.pipeline} | values)
    try:
        return by.submit(asked, Source(type="http", key_id="k"), run_id=run_id_for_key("k", key))
    except (ConflictError, QueueFullError) as refused:
        return type(refused).__name__


def test_one_key_makes_one_run(store: Runs, dynamodb: "DynamoDBClient", figures: Figures) -> None:
    """All callers get the same run, though there is one slot and nobody may wait; one of them launches it."""
    ecs = Ecs()
    by = submitter(store, ecs, max_active=1, max_waiting=0)

    answers = at_once([lambda: submit(by, "same")] * CALLERS)

    made = [answer for answer in answers if isinstance(answer, Creation)]
    replays = sum(answer.replayed for answer in made)
    assert (len(made), replays) == (CALLERS, CALLERS - 1)
    assert len({answer.run.run_id for answer in made}) == 1
    assert ecs.tokens.keys() == {f"{made[0].run.run_id}-1-1"}
    assert counts(dynamodb) == (1, 0)
    figures(f"{CALLERS} callers, one idempotency key: 1 run, {len(ecs.tokens)} launch token, {replays} replays")


def test_no_more_wait_than_may(store: Runs, dynamodb: "DynamoDBClient", figures: Figures) -> None:
    """Whoever finds the queue full is refused, and nothing is left of it."""
    ecs = Ecs()
    by = submitter(store, ecs, max_active=2, max_waiting=10)

    answers = at_once([partial(submit, by, str(number)) for number in range(CALLERS)])

    told = Counter(answer if isinstance(answer, str) else answer.run.status.value for answer in answers)
    assert told == {"starting": 2, "queued": 10, "QueueFullError": CALLERS - 12}
    assert counts(dynamodb) == (2, 10)
    assert len(store.page(limit=100).runs) == 12
    assert len(ecs.tokens) == 2
    figures(f"{CALLERS} callers, 2 slots, 10 places: {told['starting']} start, {told['queued']} wait")


@pytest.mark.parametrize(
    ("on_conflict", "others"), [("skip", "cancelled"), ("reject", "ConflictError"), ("queue", "queued")]
)
def test_a_concurrency_key_is_given_as_often_as_it_may(
    store: Runs, dynamodb: "DynamoDBClient", on_conflict: str, others: str
) -> None:
    """Callers with keys of their own, and one concurrency key: two start; the others are what they asked for."""
    by = submitter(store, Ecs(), max_active=50, max_waiting=50)
    concurrency = {"key": "c", "limit": 2, "on_conflict": on_conflict}

    answers = at_once([partial(submit, by, str(number), concurrency=concurrency) for number in range(24)])

    told = Counter(answer if isinstance(answer, str) else answer.run.status.value for answer in answers)
    assert told == {"starting": 2, others: 22}
    assert counts(dynamodb, "key#c") == counts(dynamodb) == (2, told["queued"])
    reasons = {answer.run.reason for answer in answers if isinstance(answer, Creation) and answer.run.status.final}
    assert reasons <= {SKIPPED}


# ------------------------------------------------------------ slots


class Workers:
    """End runs that are launched and start those that wait, until as many have ended as there are."""

    def __init__(self, store: Runs, ecs: Ecs, *, slots: int) -> None:
        self.seen: Counter[str] = Counter()
        """How many were seen active at most, by the heads and by the counts."""
        self._store, self._ecs, self._slots = store, ecs, slots
        self._launch = partial(launch, cluster="c", network=NETWORK, launcher=ecs, records=store)
        # A year on, so that nobody backs off.
        self._starter = Starter(store, self._launch, max_active=slots, clock=lambda: MOMENT + timedelta(days=365))
        self._done = threading.Event()
        self._until = time.monotonic() + 60

    def work_off(self, runs: Mapping[str, Run], *, workers: int = 8) -> None:
        """Record runs, from as many threads as end and start them meanwhile."""
        left = iter(range(len(runs) - 1, -1, -1))
        with ThreadPoolExecutor(workers + 1) as working, ThreadPoolExecutor(workers) as recording:
            jobs = [working.submit(self._watch), *(working.submit(self._work, left) for _ in range(workers))]
            jobs += [recording.submit(self._record, of) for of in runs.values()]
            for job in jobs:
                job.result()
        assert self._done.is_set(), "not all runs have ended in time"

    def _record(self, of: Run) -> None:
        created = create(self._store, of, max_active=self._slots).run
        if created.status == RunStatus.STARTING:
            self._launch(created)

    def _work(self, left: Iterator[int]) -> None:
        while not self._done.is_set() and time.monotonic() < self._until:
            try:
                run_id = self._ecs.launched.get(timeout=0.3)
            except queue.Empty:
                # As the sweep does, for those whose start was missed.
                self._starter.start_waiting()
                continue
            self._ecs.finish(run_id)
            assert self._store.end(head(self._store, run_id), RunStatus.FAILED, None, None)
            self._starter.start_waiting()
            if next(left) == 0:
                self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(0.05) and time.monotonic() < self._until:
            # One page of the index: over several, runs could end and start in between.
            self.seen["heads"] = max(self.seen["heads"], len(self._store.active(RunStatus.STARTING, 100)))
            self.seen["counts"] = max(self.seen["counts"], self._store.capacity().active_runs)


@pytest.fixture
def _short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at few waiting runs at once: they are read from the index over and over."""
    monkeypatch.setattr("zentrigger.run_store._READ_AT_ONCE", 12)


@pytest.mark.usefixtures("_short_pages")
def test_slots_are_never_oversold(store: Runs, dynamodb: "DynamoDBClient", figures: Figures) -> None:
    """Nor lost, nor is a run started twice: 200 runs, 5 slots."""
    runs = {of.run_id: of for of in (run(accepted_at=MOMENT + timedelta(seconds=number)) for number in range(200))}
    ecs, since = Ecs(runs), time.monotonic()

    workers = Workers(store, ecs, slots=5)
    workers.work_off(runs)

    assert ecs.most["all"] == 5
    assert max(workers.seen.values()) <= 5
    assert sorted(ecs.tokens) == sorted(f"{run_id}-1-1" for run_id in runs)
    assert (counts(dynamodb), counts(dynamodb, "pipeline#training_pipeline")) == ((0, 0), (0, 0))
    assert len(store.active(ENDED, 300)) == 200
    figures(
        f"200 runs, 5 slots, 8 workers: {ecs.most['all']} live at most, {len(ecs.tokens)} launches, "
        f"all counts 0 in the end ({time.monotonic() - since:.1f} s)"
    )


@pytest.mark.usefixtures("_short_pages")
def test_limits_and_keys_hold_under_load(
    store: Runs, capacity: CapacityStore, dynamodb: "DynamoDBClient", figures: Figures
) -> None:
    """A pipeline with 2, keys with 1 and 2, all together 5; who waits for his key or pipeline holds nobody up."""
    capacity.set_limit("limited", 2)
    kinds: list[Callable[..., Run]] = [
        partial(run, pipeline="limited"),
        partial(keyed, "k", pipeline="limited"),
        partial(keyed, "k"),
        partial(keyed, "l", limit=2),
        run,
    ]
    moments = [MOMENT + timedelta(seconds=number) for number in range(50)]
    runs = {of.run_id: of for of in (kinds[n % 5](accepted_at=moment) for n, moment in enumerate(moments))}
    ecs, since = Ecs(runs), time.monotonic()

    Workers(store, ecs, slots=5).work_off(runs)

    may = {"all": 5, "pipeline#limited": 2, "key#k": 1, "key#l": 2}
    most = {group: ecs.most[group] for group in may}
    # That a limit is reached at all is up to the threads, but for that of the stack.
    assert most["all"] == may["all"]
    assert all(0 < most[group] <= limit for group, limit in may.items()), most
    assert sorted(ecs.tokens) == sorted(f"{run_id}-1-1" for run_id in runs)
    assert {group: counts(dynamodb, group) for group in ecs.most} == dict.fromkeys(ecs.most, (0, 0))
    figures(f"50 runs with limits and keys: {most} live at most ({time.monotonic() - since:.1f} s)")


# ------------------------------------------------------------ sweeps


class Stuck:
    """Runs that events have left where they are, an ECS that knows their tasks, and sweeps over them."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self.clock = Clock()
        self.client = client
        self.store = Runs(TABLE, client, self.clock)
        self.ecs = Ecs()
        self.published: Counter[str] = Counter()
        self._lock = threading.Lock()

    def publish_end(self, of: Run) -> None:
        """Take note of who is published."""
        with self._lock:
            self.published[of.run_id] += 1

    def sweep(self) -> SweepReport:
        """Sweep once, with a reconciler of one's own."""
        reconciler = Reconciler(
            runs=self.store,
            tasks=self.ecs,
            publisher=self,
            cluster="c",
            network=NETWORK,
            max_active=50,
            clock=self.clock,
        )
        capacity = CapacityStore(TABLE, self.client, self.clock)
        return Sweep(
            runs=self.store, capacity=capacity, tasks=self.ecs, reconciler=reconciler, clock=self.clock
        ).sweep()

    def launched(self, *, answered: bool, **values: Any) -> Run:
        """Record and launch a run; where no answer came, its record does not know the task."""
        created = create(self.store, run(**values), max_active=50).run
        answer = self.ecs.run_task({"clientToken": f"{created.run_id}-1-1", "startedBy": created.started_by})
        if answered and isinstance(answer, Started):
            self.store.record_task(created, answer.task_arn)
        return head(self.store, created.run_id)

    def task_of(self, of: Run) -> str:
        """Give the task of a run's first launch."""
        return self.ecs.tokens[f"{of.run_id}-1-1"]

    def dies(self, of: Run, stop_code: str, reason: str, exit_code: int | None) -> None:
        """Stop a run's task."""
        arn = self.task_of(of)
        container = ContainerState("runner", exit_code, None)
        self.ecs.states[arn] = TaskState(arn, "STOPPED", of.started_by, stop_code, reason, (container,))


def test_parallel_sweeps_repair_everything_once(dynamodb: "DynamoDBClient", figures: Figures) -> None:
    """No launch under another token, no attempt and no story too many, no slot given back twice."""
    stuck, sweeps = Stuck(dynamodb), 4
    store, ecs, each = stuck.store, stuck.ecs, range(3)
    never_sent = [create(store, run(), max_active=50).run for _ in each]
    unanswered = [stuck.launched(answered=False) for _ in each]
    throttled = [create(store, run(), max_active=50).run for _ in each]
    forbidden = [create(store, run(), max_active=50).run for _ in each]
    for of in (*throttled, *forbidden):
        store.record_refusal(of, Refusal(launch=1, transient=of in throttled, reason="said", message="m"))
    not_pulled = [stuck.launched(answered=True) for _ in each]
    for of in not_pulled:
        stuck.dies(of, "TaskFailedToStart", "CannotPullContainerError: i/o timeout", None)
    killed, late, cancelled, reported = (
        [stuck.launched(answered=True, timeout_seconds=60) for _ in each] for _ in range(4)
    )
    for of in (*killed, *late, *cancelled, *reported):
        store.claim(of.run_id, 1, stuck.task_of(of))
    for of in killed:
        stuck.dies(of, "EssentialContainerExited", "Essential container in task exited", 137)
    for of in cancelled:
        assert store.request_cancel(head(store, of.run_id))
    for of in reported:
        assert store.report(of.run_id, 1, stuck.task_of(of), SUCCESS)
    waiting = [queued(store, run(pipeline="other")) for _ in each]
    stuck.clock.passes(minutes=9)
    launches = len(ecs.tokens)

    reports = at_once([stuck.sweep] * sweeps)

    assert [report.failed for report in reports] == [0] * sweeps

    def heads(of: Sequence[Run]) -> list[Run]:
        return [head(store, one.run_id) for one in of]

    assert {(of.status, of.attempt, of.launch) for of in heads([*never_sent, *unanswered])} == {("starting", 1, 1)}
    assert [of.task_arn for of in heads([*never_sent, *unanswered])] == [
        stuck.task_of(of) for of in (*never_sent, *unanswered)
    ]
    assert {(of.status, of.attempt, of.launch) for of in heads(throttled)} == {("queued", 1, 2)}
    assert {(of.status, of.reason) for of in heads(forbidden)} == {("failed", "said")}
    assert {(of.status, of.attempt, of.infrastructure_retries) for of in heads(not_pulled)} == {("queued", 2, 1)}
    assert {(of.status, of.reason) for of in heads(killed)} == {("failed", "task_killed")}
    assert {(of.status, of.overdue.reason if of.overdue else None) for of in heads(late)} == {("running", "timed_out")}
    assert {of.status for of in heads(reported)} == {"succeeded"}
    assert ecs.stops.keys() == {stuck.task_of(of) for of in (*late, *cancelled)}
    assert {(of.status, of.task_arn is None) for of in heads(waiting)} == {("starting", False)}
    stories = [record.earlier_attempts for of in not_pulled if (record := store.get(of.run_id))]
    assert [len(told) for told in stories] == [1, 1, 1]
    assert len(ecs.tokens) == launches + len(never_sent) + len(waiting)
    active = [*never_sent, *unanswered, *late, *cancelled, *waiting]
    assert counts(dynamodb) == (len(active), len(throttled) + len(not_pulled))
    stuck.clock.passes(minutes=1)
    ended = {of.run_id for of in (*forbidden, *killed, *reported)}
    assert [(report.failed, report.drifts) for report in at_once([stuck.sweep] * sweeps)] == [(0, 0)] * sweeps
    assert ended <= stuck.published.keys()
    assert store.active(ENDED, 50) == ()
    acted = sum(sum(report.acted.values()) + report.started for report in reports)
    figures(f"{sweeps} sweeps at once over {9 * 3} stuck runs: {acted} acts tried, each repair made once")


# ------------------------------------------------------------ one against the other


ROUNDS = 12


def tried(call: Callable[..., object], *arguments: object) -> bool:
    """Tell whether it could be done."""
    try:
        return call(*arguments) not in (None, False)
    except (NotClaimableError, NoFreeSlotError):
        return False


def _next_attempt(store: Runs, of: Run) -> Run | None:
    decision = NextAttempt(Failure("spot_interrupted", None, "infrastructure"), "infrastructure", MOMENT)
    return store.next_attempt(of, following(of, MOMENT, decision), story(of, MOMENT, decision))


def _starting(store: Runs) -> Run:
    return create(store, keyed("k", limit=ROUNDS), max_active=50).run


def _running(store: Runs) -> Run:
    return claimed(store, keyed("k", limit=ROUNDS))


def _waiting(store: Runs) -> Run:
    return queued(store, keyed("k", limit=ROUNDS))


DUELS: dict[str, tuple[Callable[[Runs], Run], Callable[[Runs, Run], object], Callable[[Runs, Run], object]]] = {
    "cancel against a success": (
        _running,
        lambda store, of: store.end(of, RunStatus.SUCCEEDED, None, None),
        lambda store, of: store.request_cancel(of),
    ),
    "claim against cancel": (
        _starting,
        lambda store, of: store.claim(of.run_id, 1, TASK),
        lambda store, of: store.request_cancel(of),
    ),
    "claim against a missed deadline": (
        _starting,
        lambda store, of: store.claim(of.run_id, 1, TASK),
        lambda store, of: store.mark_overdue(of, "start_timeout", "m"),
    ),
    "claim against another task's": (
        _starting,
        lambda store, of: store.claim(of.run_id, 1, TASK),
        lambda store, of: store.claim(of.run_id, 1, TASK + "2"),
    ),
    "claim against the end of its launch": (
        _starting,
        lambda store, of: store.claim(of.run_id, 1, TASK),
        lambda store, of: store.requeue(of, not_before=MOMENT),
    ),
    "the next attempt against the end": (
        _running,
        _next_attempt,
        lambda store, of: store.end(of, RunStatus.FAILED, "lost", None),
    ),
    "the next attempt against itself": (_running, _next_attempt, _next_attempt),
    "the next attempt against a report": (
        _running,
        _next_attempt,
        lambda store, of: store.report(of.run_id, 1, TASK, SUCCESS),
    ),
    "a start against a cancelled run's end": (
        _waiting,
        lambda store, of: store.start(of, max_active=50),
        lambda store, of: store.end(of, RunStatus.CANCELLED, "cancelled", None),
    ),
    "a start against itself": (
        _waiting,
        lambda store, of: store.start(of, max_active=50),
        lambda store, of: store.start(of, max_active=50),
    ),
}


@pytest.mark.parametrize("duel", DUELS)
def test_one_of_two_comes_first_and_the_other_is_told(store: Runs, dynamodb: "DynamoDBClient", duel: str) -> None:
    """Never both, never none; the counts are those of the runs that there are."""
    prepare, one, other = DUELS[duel]
    runs = [prepare(store) for _ in range(ROUNDS)]

    done = at_once([partial(tried, act, store, of) for of in runs for act in (one, other)])

    assert [sum(done[turn : turn + 2]) for turn in range(0, len(done), 2)] == [1] * ROUNDS
    heads = [head(store, of.run_id) for of in runs]
    active = sum(of.status.holds_slot for of in heads)
    waiting = sum(of.status == RunStatus.QUEUED for of in heads)
    for group in ("all", "pipeline#training_pipeline", "key#k"):
        assert counts(dynamodb, group) == (active, waiting)


def test_a_report_against_a_missed_deadline(store: Runs, clock: Clock) -> None:
    """The report is kept in any case; where the deadline came first, the run has failed, else it has succeeded."""
    runs = [_running(store) for _ in range(ROUNDS)]

    done = at_once(
        [
            partial(tried, act, store, of)
            for of in runs
            for act in (
                lambda store, of: store.report(of.run_id, 1, TASK, SUCCESS),
                lambda store, of: store.mark_overdue(of, "timed_out", "m"),
            )
        ]
    )

    assert done[::2] == [True] * ROUNDS
    for of, overdue in zip(runs, done[1::2], strict=True):
        decision = decide(head(store, of.run_id), clock())
        assert isinstance(decision, End)
        assert (decision.status, decision.reason) == (("failed", "timed_out") if overdue else ("succeeded", None))


def test_one_of_many_tasks_claims(store: Runs) -> None:
    """32 want one attempt."""
    created = create(store, run()).run

    won = at_once([partial(tried, store.claim, created.run_id, 1, f"task-{number}") for number in range(32)])

    assert sum(won) == 1
    assert head(store, created.run_id).claimed_by == f"task-{won.index(True)}"


def test_parallel_recounts_repair_once(store: Runs, dynamodb: "DynamoDBClient", clock: Clock) -> None:
    """Eight sweeps find the counts of one group wrong, after long: one of them puts them right."""
    running = claimed(store)
    clock.passes(minutes=5)
    dynamodb.update_item(
        TableName=TABLE,
        Key=capacity_key("all"),
        UpdateExpression="ADD active_runs :three, live_runs :three",
        ExpressionAttributeValues={":three": {"N": "3"}},
    )
    seen = []
    for _ in range(2):
        seen = at_once([partial(CapacityStore(TABLE, dynamodb).compare, [running], clock())] * 8)
        clock.passes(seconds=REPAIRED_AFTER.total_seconds())

    assert sum(drift.repaired for drifts in seen for drift in drifts) == 1
    assert counts(dynamodb) == (1, 0)
