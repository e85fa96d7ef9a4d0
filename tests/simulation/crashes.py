"""Crash everywhere: every flow again and again, each time with something else going wrong in the middle of it.

A process that ends between two calls leaves the world as its last call that changed something left it. So all places
between one such call and the next are one crash point: after it, or before the first call of an invocation. That the
places in between indeed make no difference is tried as well, for some flows.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TypeVar

from local.faults import Faults
from tests.simulation.calls import Call, When
from tests.simulation.flows import Flow
from tests.simulation.world import World


@dataclass(frozen=True)
class Place:
    """Where a process ends."""

    index: int
    when: When


Answer = TypeVar("Answer")

LATEST = 6
"""How many calls that change something may lie between a request's sending and its arrival."""

TALLY: Counter[str] = Counter()
"""What was tried in this session, for the summary."""
THERE_ARE: Counter[str] = Counter()
"""How much there was to draw from."""


def told() -> str:
    """Say what was tried, in one line."""
    parts = [
        f"{count:,} of {THERE_ARE[what]:,} {what}" if THERE_ARE[what] > count else f"{count:,} {what}"
        for what, count in TALLY.items()
        if what != "violations"
    ]
    return f"{', '.join(parts)}; {TALLY['violations']} violations"


def crash_points(calls: Sequence[Call], since: int = 0) -> list[Place]:
    """Give the places among these calls, from index `since` on, that differ in what a process leaves behind."""
    places = []
    before = None
    for call in calls:
        first = before is None or before.invocation != call.invocation
        before = call
        if call.index < since:
            continue
        if first:
            places.append(Place(call.index, "before"))
        if call.changes:
            places.append(Place(call.index, "after"))
    return places


def every_place(calls: Sequence[Call], since: int = 0) -> list[Place]:
    """Give all places, whether or not they differ."""
    return [Place(call.index, when) for call in calls[since:] for when in ("before", "after")]


def play(flow: Flow, kills: Sequence[Place] = (), *, deaf: bool = False) -> World:
    """Play a flow to its rest, with processes that end where `kills` says, and check it.

    With `deaf` no event and no record of the stream is ever delivered. Raises AssertionError with the violations, if
    there are any.
    """
    world = flow.world()
    world.deaf = deaf
    for kill in kills:
        world.calls.kill(kill.index, kill.when)
    with _told_of(f"{flow.name}{', deaf' if deaf else ''}, killed at {list(kills)}"):
        flow.script(world)
        world.settle()
        world.check()
        assert len(world.calls.kills) == len(kills), f"only these happened: {world.calls.kills}"
    return world


# ------------------------------------------------------------ several at once


def others_go_on(world: World) -> None:
    """Let everything else happen, and a sweep."""
    world.work()
    world.sweep()


def all_are_cancelled(world: World) -> None:
    """Let a caller cancel every run."""
    for run in world.all_runs:
        world.cancel(world.names[run.run_id])
    world.work()


def time_passes(world: World) -> None:
    """Let the process hang: a function for less than a minute; a task until it is told to stop, or for half an hour."""
    if world.calls.process != "runner":
        world.advance(15)
        world.sweep()
        world.work()
        # Tasks that start now are not up before the function goes on.
        world.advance(30)
        world.sweep()
        return
    for pause in (60, 300, 300, 600, 600):
        world.advance(pause)
        world.sweep()
        world.work()
        if any(task.told_to_stop_at for task in world.live_tasks):
            return


def in_flight(flow: Flow, index: int, changes_later: int) -> World:
    """Play a flow in which a process dies with a call under way, which is done later; raises AssertionError."""
    world = flow.world()
    world.calls.kill_in_flight(index, changes_later)
    with _told_of(f"{flow.name}, call {index} arrives {changes_later} changes later"):
        flow.script(world)
        world.settle()
        world.check()
    return world


RIVALS: dict[str, Callable[[World], None]] = {
    rival.__name__: rival for rival in (others_go_on, all_are_cancelled, time_passes)
}


def race(flow: Flow, index: int, rival: str) -> World:
    """Play a flow in which others go on just before a call; raises AssertionError with the violations."""
    world = flow.world()
    world.calls.interrupt(index, "before", lambda: RIVALS[rival](world))
    with _told_of(f"{flow.name}, {rival} before call {index}"):
        flow.script(world)
        world.settle()
        world.check()
    return world


# ------------------------------------------------------------ faults

STORMS = (
    "dynamodb.TransactWriteItems.lost_answer", "dynamodb.UpdateItem.lost_answer", "dynamodb.conflict",
    "dynamodb.false_error", "dynamodb.lost_request", "dynamodb.server_error", "dynamodb.throttle",
    "dynamodb.throughput",
    "ecs.RunTask.false_error", "ecs.RunTask.lost_answer", "ecs.RunTask.lost_request", "ecs.RunTask.server_error",
    "ecs.RunTask.throttle", "ecs.capacity", "ecs.late_capacity", "ecs.lost_answer", "ecs.no_egress",
    "ecs.image_pull", "ecs.out_of_memory", "ecs.platform_death", "ecs.quota", "ecs.secrets", "ecs.server_error",
    "ecs.spot_interruption", "ecs.stuck_pending", "ecs.stuck_provisioning", "ecs.unlisted",
    "events.PutEvents.lost_answer", "events.PutEvents.server_error", "events.delay", "events.missing",
    "events.reorder", "events.repeat", "stream.repeat",
)  # fmt: skip
"""What may go wrong. Not among them: that DescribeTasks misses a task for minutes, which ECS does not do."""


DEAF = 0.1
"""Which part of the storms nothing is delivered in."""

SEEN_AFTER = 240
"""Seconds after which ListTasks shows every task: ECS is eventually consistent, but not by more than minutes."""


def storm(flow: Flow, seed: int) -> World:
    """Play a flow while several things go wrong, drawn from a seed; raises AssertionError with the violations."""
    lot = random.Random(f"{flow.name}/{seed}")  # noqa: S311 - no secret
    faults = Faults(seed=seed)
    for name in lot.sample(STORMS, lot.randint(1, 6)):
        faults.rate(name, lot.choice((0.05, 0.15, 0.4)))
    world = flow.world(faults=faults, seed=seed)
    world.unruly = lot.choice((0.0, 0.2, 0.6, 1.0))
    world.deaf = lot.random() < DEAF
    world.table.index_lag = timedelta(seconds=lot.choice((0, 0, 1, 5)))
    kills = sorted(lot.sample(range(80), lot.choice((0, 0, 1, 2))))
    for index in kills:
        world.calls.kill(index, lot.choice(("before", "after")))
    with _told_of(f"{flow.name}, storm {seed}:\n{faults}\nunruly {world.unruly}, kills {kills}"):
        flow.script(world)
        for _ in range(lot.randint(0, 3)):
            world.advance(lot.choice((10, 60, 90, 300)))
            if world.seconds() > SEEN_AFTER:
                faults.never("ecs.unlisted")
            world.sweep()
            world.work()
        world.settle()
        world.check()
    return world


@contextmanager
def _told_of(schedule: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{schedule}:\n{error}") from error


# ------------------------------------------------------------ all of it, for one flow


@dataclass
class Explorer:
    """Plays a flow in every way there is, or in as many as it is told to, and counts them in `TALLY`.

    What is drawn is drawn by lot, the same each time: with more of them, the first ones stay.
    """

    flow: Flow
    behind: dict[Place, list[Place]] = field(default_factory=dict)
    """Each crash point -> the crash points that lie behind it, once the first crash has happened."""

    def crashes(self) -> None:
        """Play every single crash."""
        TALLY["flows"] += 1
        for place in crash_points(self._calls()):
            made = self._counted("crash points", partial(play, self.flow, [place])).calls.made
            self.behind[place] = crash_points(made, place.index + 1)

    def every_place(self) -> None:
        """Play every crash at every call, also where it cannot differ from another."""
        for place in every_place(self._calls()):
            self._counted("further places", partial(play, self.flow, [place]))

    def pairs(self, most: int) -> None:
        """Play pairs of crashes; after `crashes`."""
        pairs = [[first, second] for first, seconds in self.behind.items() for second in seconds]
        for pair in self._drawn("pairs", pairs, most):
            self._counted("pairs", partial(play, self.flow, pair))

    def without_events(self, most: int) -> None:
        """Play crashes where nothing is delivered, so that there is only the sweep."""
        what = "crash points without events"
        calls = play(self.flow, deaf=True).calls.made
        for place in self._drawn(what, crash_points(calls), most):
            self._counted(what, partial(play, self.flow, [place], deaf=True))

    def races(self, most: int) -> None:
        """Have others go on in the middle of a process."""
        races = [(call.index, rival) for call in self._calls() if call.changes for rival in RIVALS]
        for index, rival in self._drawn("races", races, most):
            self._counted("races", partial(race, self.flow, index, rival))

    def in_flight(self, most: int) -> None:
        """Let requests arrive after the death of who sent them."""
        late = [(call.index, later) for call in self._calls() if call.changes for later in range(1, LATEST + 1)]
        for index, later in self._drawn("late requests", late, most):
            self._counted("late requests", partial(in_flight, self.flow, index, later))

    def storms(self, most: int) -> None:
        """Let several things go wrong at once."""
        for seed in range(most):
            self._counted("storms", partial(storm, self.flow, seed))

    def _calls(self) -> list[Call]:
        return play(self.flow).calls.made

    def _drawn(self, what: str, everything: Sequence[Answer], most: int) -> Sequence[Answer]:
        THERE_ARE[what] += len(everything)
        if len(everything) <= most:
            return everything
        shuffled = list(everything)
        random.Random(self.flow.name).shuffle(shuffled)  # noqa: S311 - no secret
        return shuffled[:most]

    def _counted(self, what: str, play: Callable[[], World]) -> World:
        TALLY[what] += 1
        try:
            return play()
        except AssertionError:
            TALLY["violations"] += 1
            raise
