"""Starting waiting runs: in which order, past whom, and how many at once."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.factories import MOMENT, TASK, run
from zentrigger.capacity import Capacity, Concurrency, groups_of, stack_group
from zentrigger.launches import LaunchAnswer, Refused, Started, Unknown
from zentrigger.run_store import NoFreeSlotError
from zentrigger.runs import Run, RunStatus
from zentrigger.starter import STARTED_AT_ONCE, WAITING_LOOKED_AT, Starter
from zentrigger.submit import PRIORITY_BONUS, rank

SLOTS = 100


class Line:
    """Those who wait, by rank; `free` has how many slots are left in a group, `gone` who has moved on."""

    def __init__(self, *waiting: Run, **free: int) -> None:
        self.line = sorted(waiting, key=lambda of: of.rank)
        self.free = {stack_group(): SLOTS, **free}
        self.gone: set[str] = set()
        self.tried: list[str] = []
        self.started: list[str] = []
        self.looked_at: list[int] = []
        self.answers: dict[str, LaunchAnswer] = {}

    def capacity(self) -> Capacity:
        """Give how many slots are taken."""
        return Capacity(SLOTS - self.free[stack_group()], len(self.line))

    def waiting(self, limit: int) -> Iterator[Run]:
        """Give who waits."""
        self.looked_at.append(limit)
        return iter(self.line)

    def start(self, of: Run, *, max_active: int) -> Run | None:
        """Give a slot, if there is one in all groups."""
        assert max_active == SLOTS
        self.tried.append(of.run_id)
        groups = groups_of(of.pipeline, of.concurrency)
        active = {group: SLOTS - self.free.get(group, SLOTS) for group in groups}
        limit = of.concurrency.limit if of.concurrency else SLOTS
        full = tuple(group for group in groups if active[group] >= (limit if group.startswith("key#") else SLOTS))
        if full:
            raise NoFreeSlotError(full)
        if of.run_id in self.gone:
            return None
        for group in groups:
            self.free[group] = self.free.get(group, SLOTS) - 1
        return of.model_copy(update={"status": RunStatus.STARTING})

    def launch(self, of: Run) -> LaunchAnswer:
        """Launch who has a slot."""
        assert of.status == RunStatus.STARTING
        self.started.append(of.run_id)
        return self.answers.get(of.run_id, Started(TASK))

    def start_waiting(self, **arguments: Any) -> int:
        """Start who waits."""
        starter = Starter(self, self.launch, max_active=SLOTS, clock=lambda: MOMENT)  # type: ignore[arg-type]
        return starter.start_waiting(**arguments)


def waiting(run_id: str, *, minutes: float = 0, priority: int = 0, **values: Any) -> Run:
    """Make a waiting run that was accepted so long ago."""
    accepted: datetime = MOMENT - timedelta(minutes=minutes)
    return run(run_id=run_id, accepted_at=accepted, priority=priority, rank=rank(accepted, priority), **values)


def keyed(run_id: str, key: str, limit: int = 1, **values: Any) -> Run:
    """Make a waiting run with a concurrency key."""
    return waiting(run_id, concurrency=Concurrency(key=key, limit=limit), **values)


def test_the_first_in_line_start_first_while_there_are_slots() -> None:
    """Whoever is told that the stack is full does not go on asking."""
    line = Line(*(waiting(str(number), minutes=number) for number in range(5)), all=2)

    assert line.start_waiting() == 2

    assert line.started == ["4", "3"]
    assert line.tried == ["4", "3", "2"]
    assert line.looked_at == [WAITING_LOOKED_AT]


def test_a_full_stack_is_left_alone() -> None:
    """Nobody is looked at."""
    line = Line(waiting("a"), all=0)

    assert line.start_waiting() == 0

    assert (line.tried, line.looked_at) == ([], [])


def test_a_priority_is_worth_ten_minutes_a_point_and_age_wins_in_the_end() -> None:
    """The place in line is fixed when a run is recorded: an old run is passed by what comes within its bonus alone."""
    line = Line(
        waiting("patient", minutes=101),
        waiting("urgent", priority=10),
        waiting("plain", minutes=99),
        waiting("hurried", minutes=82, priority=2),
        waiting("whenever", minutes=120, priority=-3),
    )

    line.start_waiting()

    assert line.started == ["hurried", "patient", "urgent", "plain", "whenever"]
    assert rank(MOMENT, 1) == rank(MOMENT - PRIORITY_BONUS, 0)


def test_a_full_pipeline_holds_up_nobody_else_and_is_asked_once() -> None:
    """A paused pipeline with many runs in line costs one refusal, not one a run."""
    paused = [waiting(f"p{number}", minutes=60 + number, pipeline="paused") for number in range(20)]
    line = Line(*paused, waiting("a"), waiting("b", minutes=1), **{"pipeline#paused": 0})

    assert line.start_waiting() == 2

    assert line.started == ["b", "a"]
    assert line.tried == ["p19", "b", "a"]


def test_a_taken_key_holds_up_nobody_else_and_is_asked_once_for_each_limit() -> None:
    """One who would be the second of two starts behind one who wants to be alone."""
    line = Line(
        keyed("alone", "k", minutes=9),
        keyed("alone, too", "k", minutes=8),
        keyed("one of two", "k", 2, minutes=7),
        keyed("another of two", "k", 2, minutes=6),
        keyed("a third of two", "k", 2, minutes=5),
        keyed("other", "l", minutes=4),
        keyed("other of the pipeline", "m", minutes=3, pipeline="p"),
        **{"key#k": SLOTS - 1},
    )

    line.start_waiting()

    assert line.started == ["one of two", "other", "other of the pipeline"]
    assert line.tried == ["alone", "one of two", "another of two", "other", "other of the pipeline"]


def test_those_who_back_off_or_are_cancelled_are_passed() -> None:
    """Nothing is asked for them."""
    line = Line(
        waiting("backs off", minutes=3, not_before=MOMENT + timedelta(seconds=1)),
        waiting("cancelled", minutes=2, cancel_requested_at=MOMENT),
        waiting("ready", minutes=1, not_before=MOMENT),
    )

    assert line.start_waiting() == 1

    assert line.tried == line.started == ["ready"]


def test_who_has_moved_on_is_passed_and_not_counted() -> None:
    """The index is behind, or another starter was quicker."""
    line = Line(waiting("a", minutes=2), waiting("b", minutes=1))
    line.gone = {"a"}

    assert line.start_waiting() == 1

    assert line.started == ["b"]


@pytest.mark.parametrize("shown", [True, False])
def test_a_run_that_the_index_may_not_show_yet_has_its_place(shown: bool) -> None:
    """Between those that it does show; once, if it shows it after all."""
    new = waiting("new", minutes=5)
    line = Line(waiting("old", minutes=9), waiting("young", minutes=1), *([new] if shown else []))

    assert line.start_waiting(also=new) == 3

    assert line.started == ["old", "new", "young"]
    assert line.tried == line.started


def test_a_run_that_is_not_shown_waits_like_the_others() -> None:
    """It may back off, or stand behind more than there are slots."""
    backs_off = waiting("new", minutes=5, not_before=MOMENT + timedelta(seconds=1))
    assert Line().start_waiting(also=backs_off) == 0
    line = Line(waiting("old", minutes=9), all=1)
    assert line.start_waiting(also=waiting("new")) == 1
    assert line.started == ["old"]


@pytest.mark.parametrize(
    ("answer", "launched"),
    [
        (Refused(transient=True, reason="throttled", message="m"), 1),
        (Refused(transient=True, reason="capacity", message="m"), 2),
        (Refused(transient=False, reason="launch_refused", message="m"), 2),
        (Unknown("m"), 2),
    ],
)
def test_a_throttled_launch_ends_the_starting(answer: LaunchAnswer, launched: int) -> None:
    """ECS takes no more for now; any other answer is about that one run."""
    line = Line(waiting("a", minutes=2), waiting("b", minutes=1))
    line.answers = {"a": answer}

    assert line.start_waiting() == launched

    assert len(line.started) == launched


def test_no_more_start_at_once_than_ecs_takes() -> None:
    """The others follow with the next event, or the next sweep."""
    line = Line(*(waiting(str(number), minutes=number) for number in range(STARTED_AT_ONCE + 5)))

    assert line.start_waiting() == STARTED_AT_ONCE
    assert len(line.tried) == STARTED_AT_ONCE


def test_no_more_start_than_there_is_time_for() -> None:
    """It is asked before each."""
    line = Line(*(waiting(str(number), minutes=number) for number in range(5)))
    answers = iter([True, True, False])

    assert line.start_waiting(in_time=lambda: next(answers)) == 2
    assert line.started == ["4", "3"]
