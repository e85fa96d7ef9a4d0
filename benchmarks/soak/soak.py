"""The soak: callers, cancellations and arrivals, while faults happen and processes are killed."""

from __future__ import annotations

import json
import logging
import math
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from benchmarks.soak.figures import Figures, sweeps_in
from benchmarks.soak.plans import Plan, make_plans
from benchmarks.soak.rules import violations
from benchmarks.soak.stand import PIPELINE, PREFIX, Stand, stand
from benchmarks.soak.tasks import Fate, Story, StubTasks
from local.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import requests

    from zentrigger.runs import RunRecord

logger = logging.getLogger(__name__)

MILD: Final[Mapping[str, float]] = {
    "lambda.TriggerFunction.killed_before": 0.006,
    "lambda.TriggerFunction.killed_after": 0.006,
    "lambda.OnEventFunction.killed_before": 0.01,
    "lambda.OnEventFunction.killed_after": 0.01,
    # It makes the most calls, and works for many runs at once.
    "lambda.LifecycleFunction.killed_before": 0.002,
    "lambda.LifecycleFunction.killed_after": 0.002,
    "dynamodb.lost_answer": 0.004,
    "dynamodb.lost_request": 0.002,
    "dynamodb.false_error": 0.002,
    "dynamodb.server_error": 0.002,
    "dynamodb.throttle": 0.004,
    "dynamodb.throughput": 0.002,
    "dynamodb.conflict": 0.01,
    "ecs.RunTask.lost_answer": 0.02,
    "ecs.RunTask.lost_request": 0.01,
    "ecs.RunTask.false_error": 0.01,
    "ecs.throttle": 0.01,
    "ecs.resource": 0.01,
    "ecs.capacity": 0.01,
    "ecs.unlisted": 0.05,
    "ecs.missing": 0.02,
    # Of S3's events none may be lost: nobody would hear of the object again.
    "events.aws.ecs.missing": 0.05,
    "events.repeat": 0.05,
    "events.delay": 0.05,
    "events.reorder": 0.05,
    "events.PutEvents.throttle": 0.01,
    "events.PutEvents.lost_answer": 0.01,
    "stream.delay": 0.05,
    "stream.repeat": 0.03,
}
"""How often what goes wrong: everything now and then, nothing often."""

DELAY_SECONDS: Final = 3.0
PATIENCE_SECONDS: Final = 5.0
"""How long a caller waits for room in the queue at most."""
CALLERS: Final = 12
_LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Settings:
    """What a soak is like.

    Attributes:
        runs: How many are asked for.
        seed: Of all that is drawn by lot.
        speed: How many times as fast as the world's the clock runs of all but calls and processes.
        calm: Whether nothing goes wrong but what tasks do.
        slots: How many runs may be active.
        places: How many may wait.
        sweep_seconds: How often a sweep is brought about, beside the template's rule of a minute.
        limit_seconds: When the soak ends in any case.

    """

    runs: int = 1000
    seed: int = 7
    speed: float = 1
    calm: bool = False
    slots: int = 25
    places: int = 60
    sweep_seconds: float = 10
    limit_seconds: float = 3600


@dataclass
class _Book:
    """What is known of a run from outside."""

    plan: Plan
    accepted: bool = False
    cancelled: bool | None = False
    """None: it was asked for, and no answer said whether in time."""
    verified: bool = False


def soak(settings: Settings) -> Figures:
    """Ask for all runs, wait until each has ended, and compare each with what was done to it."""
    tasks = StubTasks()
    with stand(
        tasks, Faults(seed=settings.seed), speed=settings.speed, slots=settings.slots, places=settings.places
    ) as made:
        return Soak(made, settings).run()


class Soak:
    """One soak on a stand."""

    def __init__(self, made: Stand, settings: Settings) -> None:
        self._stand = made
        self._settings = settings
        self._plans = make_plans(settings.runs, settings.seed)
        self._tasks = made.tasks
        self._tasks.fate_of = self._fate
        self._lock = threading.Lock()
        self._books: dict[str, _Book] = {}
        self._done: set[int] = set()
        """Plans that nobody asks for any more."""
        self._violations: list[str] = []
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._verified_after: list[float] = []
        self._sweeps: dict[str, dict[str, Any]] = {}
        self._over = threading.Event()
        self._started = time.monotonic()
        self._deadline = math.inf
        self._earlier = frozenset(made.ends)
        self._earlier_faults = Counter(made.faults.counts)
        self._earlier_sweeps = frozenset(sweeps_in(made.lifecycle_log))
        made.tasks.most_executing = 0

    def run(self) -> Figures:
        """Do it all."""
        self._started = time.monotonic()
        self._deadline = self._started + self._settings.limit_seconds
        self._stand.faults.delay_seconds = DELAY_SECONDS
        for name, rate in () if self._settings.calm else MILD.items():
            self._stand.faults.rate(name, rate)
        threads = [threading.Thread(target=action, daemon=True) for action in (self._sweep_now_and_then, self._ask_all)]
        for thread in threads:
            thread.start()
        while not self._settled() and time.monotonic() < self._deadline:
            self._verify_ended()
            time.sleep(_LOOK_SECONDS)
        seconds = time.monotonic() - self._started
        self._over.set()
        for thread in threads:
            thread.join()
        self._stand.faults.clear()
        self._check_the_rest()
        return self._figures(seconds)

    def _sweep_now_and_then(self) -> None:
        while not self._over.wait(self._settings.sweep_seconds):
            self._stand.cloud.bus.fire("SweepRule")
            self._sweeps |= sweeps_in(self._stand.lifecycle_log)

    def _settled(self) -> bool:
        """Whether nothing is to come any more."""
        with self._lock:
            asked = len(self._done) == len(self._plans)
            verified = all(book.verified for book in self._books.values())
        if not asked or not verified or self._tasks.live:
            return False
        # Arrivals that nobody has handled yet, and what was recorded without an answer and waits.
        arrivals = sum(plan.arrives for plan in self._plans)
        return sum(book.plan.arrives for book in self._books.values()) >= arrivals and not self._unended()

    def _unended(self) -> list[str]:
        return [str(item["run_id"]) for item in self._stand.items("head") if "ended_at" not in item]

    # ------------------------------------------------------------ callers

    def _ask_all(self) -> None:
        with ThreadPoolExecutor(CALLERS, thread_name_prefix="caller") as callers:
            list(callers.map(self._ask_guarded, self._plans))

    def _ask_guarded(self, plan: Plan) -> None:
        try:
            self._ask(plan)
        except Exception as error:
            logger.exception("run %d could not be asked for", plan.number)
            self._violate(f"#{plan.number}", [f"it could not be asked for: {error}"])
        with self._lock:
            self._done.add(plan.number)

    def _ask(self, plan: Plan) -> None:
        if plan.arrives:
            self._stand.put_object(str(plan.number))
            return
        with ThreadPoolExecutor(plan.twins) as twins:
            run_ids = {run_id for run_id in twins.map(self._post, [plan] * plan.twins) if run_id}
        if len(run_ids) > 1:
            self._violate(f"#{plan.number}", [f"one key gave {len(run_ids)} runs"])
        for run_id in run_ids:
            book = self._book(run_id, plan)
            book.accepted = True
            if plan.cancel_after is not None:
                time.sleep(plan.cancel_after)
                book.cancelled = self._cancel(run_id)

    def _post(self, plan: Plan) -> str | None:
        """Ask for a run until there is an answer; None: it was rejected, or time is up."""
        body = {"pipeline": PIPELINE, "tags": [f"soak-{plan.number}"], **plan.request}
        headers = {"Idempotency-Key": f"soak {plan.number}"} if plan.idempotent else {}
        for answer in self._calls("POST", "/runs", body, headers):
            if answer.status_code == HTTPStatus.ACCEPTED:
                return str(answer.json()["run_id"])
            if answer.status_code == HTTPStatus.CONFLICT and "concurrency" in plan.request:
                self._count("rejected for a concurrency key")
                return None
            self._expect_later(answer)
        return None

    def _cancel(self, run_id: str) -> bool | None:
        """Ask for a run's end; gives whether that was taken, None where it is not known."""
        sure = True
        for answer in self._calls("DELETE", f"/runs/{run_id}"):
            if answer.status_code == HTTPStatus.ACCEPTED:
                return True
            if answer.status_code == HTTPStatus.CONFLICT:
                return False if sure else None
            self._expect_later(answer)
            sure = sure and answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        return None

    def _expect_later(self, answer: requests.Response) -> None:
        """Count an answer that says nothing yet; raises RuntimeError for one that should not have come."""
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            self._count("answers 429")
        elif answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._count("answers 5xx")
        else:
            raise RuntimeError(f"{answer.status_code}: {answer.text}")

    def _calls(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[requests.Response]:
        """Call again and again, until somebody is content with an answer or time is up."""
        while time.monotonic() < self._deadline:
            answer = self._stand.call(method, path, body, headers)
            yield answer
            # Half a minute where the queue is full, which the stack's clock may shorten.
            asked = min(float(answer.headers.get("Retry-After", 0)) / self._settings.speed, PATIENCE_SECONDS)
            time.sleep(asked + random.uniform(0.1, 0.4))  # noqa: S311 - no secret

    # ------------------------------------------------------------ what is learnt

    def _fate(self, story: Story) -> Fate:
        record = self._stand.record(story.run_id)
        if record is None:
            raise RuntimeError(f"a task was started for run {story.run_id}, which does not exist")
        plan = self._plan_of(record.run.tags, record.run.source.key)
        self._book(story.run_id, plan)
        return plan.fate(story.attempt)

    def _plan_of(self, tags: Any, key: str | None) -> Plan:  # noqa: ANN401 - of a record or of an event
        said = key.removeprefix(PREFIX) if key else next(iter(tags)).removeprefix("soak-")
        return self._plans[int(said)]

    def _book(self, run_id: str, plan: Plan) -> _Book:
        with self._lock:
            return self._books.setdefault(run_id, _Book(plan))

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    def _violate(self, whose: str, found: list[str]) -> None:
        with self._lock:
            self._violations += [f"{whose}: {one}" for one in found]

    # ------------------------------------------------------------ comparing

    def _verify_ended(self) -> None:
        live = set(self._tasks.live)
        for run_id, ends in self._stand.ends.items():
            if run_id in self._earlier:
                continue
            book = self._book(run_id, self._plan_of(ends[0]["tags"], ends[0]["source"].get("key")))
            if book.verified or book.plan.number not in self._done or run_id in live:
                continue
            record = self._stand.record(run_id)
            if record is None:
                self._violate(f"run {run_id}", ["it has ended and has no record"])
                book.verified = True
            elif record.run.announced_at is not None:
                self._verify(record, book)

    def _verify(self, record: RunRecord, book: _Book) -> None:
        run = record.run
        found = violations(record, self._tasks.stories(run.run_id), cancelled=book.cancelled, skips=book.plan.skips)
        self._violate(f"run {run.run_id} (#{book.plan.number})", found)
        self._reasons[run.status if run.reason is None else f"{run.status}, {run.reason}"] += 1
        self._counts["attempts"] += run.attempt
        self._verified_after.append(time.monotonic() - self._started)
        if book.plan.idempotent:
            # Who asks again when it is over gets the same run.
            again = self._post(book.plan)
            self._count("replays of ended runs")
            if again not in (run.run_id, None):
                self._violate(f"run {run.run_id} (#{book.plan.number})", [f"its key gave another one: {again}"])
        if not book.plan.arrives:
            # It keeps the table small. Not those of arrivals: an event may come again, and has to find its run.
            self._stand.forget(run.run_id)
        book.verified = True

    def _check_the_rest(self) -> None:
        self._check_ends()
        for group, counts in self._stand.counts.items():
            self._violate(group, [f"its counts are {counts}"])
        for run_id in self._tasks.live:
            self._violate(f"run {run_id}", ["a task of it is alive"])
        for sweep in self._new_sweeps():
            if sweep["drifts"]:
                self._violate("capacity", [f"a sweep found {sweep['drifts']} counts wrong"])
        if self._tasks.most_executing > self._settings.slots:
            self._violate("capacity", [f"{self._tasks.most_executing} pipelines ran at once"])
        for refusal in self._stand.cloud.access.refusals:
            self._violate("permissions", [refusal])

    def _check_ends(self) -> None:
        ends = self._stand.ends
        for run_id, book in self._books.items():
            if not book.verified:
                self._violate(f"run {run_id} (#{book.plan.number})", ["it has not ended"])
            if len({json.dumps(end, sort_keys=True) for end in ends.get(run_id, ())}) > 1:
                self._violate(f"run {run_id} (#{book.plan.number})", [f"it ended as {ends[run_id]}"])
        arrived = Counter(book.plan.number for book in self._books.values() if book.plan.arrives)
        for plan in self._plans:
            if plan.arrives and arrived[plan.number] != 1:
                self._violate(f"arrival #{plan.number}", [f"it gave {arrived[plan.number]} runs"])
        for run_id in set(self._unended()) - set(self._books):
            self._violate(f"run {run_id}", ["it has not ended, and nobody was told of it"])

    def _new_sweeps(self) -> list[dict[str, Any]]:
        self._sweeps |= sweeps_in(self._stand.lifecycle_log)
        return [sweep for request, sweep in self._sweeps.items() if request not in self._earlier_sweeps]

    def _figures(self, seconds: float) -> Figures:
        books = list(self._books.values())
        return Figures(
            settings=f"{self._settings.runs} asked for, seed {self._settings.seed}, speed {self._settings.speed:g}",
            runs=len(books),
            accepted=sum(book.accepted for book in books),
            unanswered=sum(not book.accepted and not book.plan.arrives for book in books),
            seconds=seconds,
            ended_after=tuple(self._verified_after),
            stories=[story for run_id in self._books for story in self._tasks.stories(run_id)],
            faults=Counter(self._stand.faults.counts) - self._earlier_faults,
            sweeps=self._new_sweeps(),
            reasons=self._reasons,
            counts=self._counts,
            ends_published=sum(len(self._stand.ends.get(run_id, ())) for run_id in self._books),
            most_executing=self._tasks.most_executing,
            dead_letters=self._stand.dead_letters,
            violations=tuple(self._violations),
        )
