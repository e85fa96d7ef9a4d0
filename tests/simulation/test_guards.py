"""Each guard of the product is broken on purpose, one at a time, and has to be missed.

So nothing here is only believed to be needed, and the checks are seen to see.
"""

from collections import Counter

import pytest

from tests.simulation.guards import GUARDS, Guard
from tests.simulation.mutations import mutated
from tests.simulation.schedules import SCHEDULES, play
from tests.simulation.summary import tell
from zentrigger import launches

TALLY: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def _told(request: pytest.FixtureRequest) -> None:
    tell(request.config, "guards", lambda: f"{TALLY['broken']} broken on purpose, {TALLY['noticed']} noticed")


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_comes_to_a_good_end(name: str) -> None:
    """With all guards, that is: without this one the others would show nothing."""
    play(name)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_missed(guard: Guard) -> None:
    TALLY["broken"] += 1
    with mutated(guard.module, guard.piece, guard.instead), pytest.raises(AssertionError) as missed:
        play(guard.schedule.__name__)
    assert guard.noticed in str(missed.value)
    TALLY["noticed"] += 1


def test_every_schedule_is_of_a_guard() -> None:
    assert {guard.schedule.__name__ for guard in GUARDS} == SCHEDULES.keys()


def test_a_guard_that_is_no_longer_there_cannot_be_broken() -> None:
    """A piece that is not there, or makes no difference, is no guard; and all is as before afterwards."""
    with pytest.raises(ValueError, match="0 times"), mutated(launches, "no such guard", ""):
        pass
    with pytest.raises(ValueError, match="changes nothing"), mutated(launches, "Launching a run's task:", "Launching:"):
        pass
    with mutated(launches, 'CONTAINER = "runner"', 'CONTAINER = "another"'):
        assert launches.CONTAINER == "another"
    assert launches.CONTAINER == "runner"
