"""No run lost, none doubled, every end known: wherever a process ends, whatever answer is lost, whatever comes twice.

Every flow is played to its rest once for each crash point, and the invariants are checked after each write and at the
end. Of what there is too much of, so many schedules are drawn for each flow as ZENTRIGGER_SCHEDULES says, the same each
time: pairs of crashes, crashes without any events, other processes in the middle of one, requests that arrive when
their sender is dead, and storms of faults. A failure names its schedule. `ZENTRIGGER_SCHEDULES=100000 make test
ARGS="tests/simulation --timeout=0"` plays everything that is finite (hours).
"""

import os
from collections.abc import Sequence

import pytest

from tests.simulation.crashes import Explorer, Place, crash_points, every_place, play, told
from tests.simulation.flows import FLOWS
from tests.simulation.summary import tell

SCHEDULES = int(os.environ.get("ZENTRIGGER_SCHEDULES", "8"))


@pytest.fixture(scope="module", autouse=True)
def _told(request: pytest.FixtureRequest) -> None:
    tell(request.config, "crash everywhere", told)


flows = pytest.mark.parametrize("name", FLOWS)


@flows
def test_a_crash_at_any_call_and_a_second_one_behind_it(name: str) -> None:
    explorer = Explorer(FLOWS[name])
    explorer.crashes()
    explorer.pairs(SCHEDULES)


@flows
def test_a_crash_where_no_event_arrives(name: str) -> None:
    """The sweep needs the table and ECS, and nothing else."""
    Explorer(FLOWS[name]).without_events(SCHEDULES)


@flows
def test_others_in_the_middle_of_a_process(name: str) -> None:
    """Whatever stands between reading and writing: an end, a cancellation, half an hour."""
    Explorer(FLOWS[name]).races(SCHEDULES)


@flows
def test_requests_that_arrive_after_the_death_of_their_sender(name: str) -> None:
    Explorer(FLOWS[name]).in_flight(SCHEDULES)


@flows
def test_storms_of_faults(name: str) -> None:
    Explorer(FLOWS[name]).storms(SCHEDULES)


@pytest.mark.parametrize("name", ["submit_to_end", "cancel_starting", "death_before_claim"])
def test_every_place_before_and_after_every_call(name: str) -> None:
    """That crash points stand for all places between them is tried where that is cheap."""
    Explorer(FLOWS[name]).every_place()


def test_crash_points_are_those_places_that_differ() -> None:
    """Of the places of a flow that lead to different calls afterwards, none is left out."""
    flow = FLOWS["submit_to_end"]
    calls = play(flow).calls.made

    def rest(places: Sequence[Place]) -> set[tuple[str, ...]]:
        played = [play(flow, [place]).calls.made[place.index + 1 :] for place in places]
        return {tuple(f"{call.process} {call.action}" for call in made) for made in played}

    assert len(every_place(calls)) > len(crash_points(calls))
    assert rest(every_place(calls)) == rest(crash_points(calls))
