"""Two budgets: whether an attempt is followed by another, and when."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from zentrigger.retries import (
    FIRST_BACKOFF,
    INFRASTRUCTURE_RETRIES,
    JITTER,
    LONGEST_BACKOFF,
    LONGEST_PIPELINE_BACKOFF,
    Failure,
    Kind,
    RetryPolicy,
    Spent,
    backoff,
    budget_for,
    launch_backoff,
)

RAISED = Failure("pipeline_failed", "It raised.", "pipeline", "pipelines.tables.TableError")
INTERRUPTED = Failure("spot_interrupted", "AWS took it back.", "infrastructure")
OUT_OF_MEMORY = Failure("out_of_memory", "It needs more.", "permanent")
THRICE = RetryPolicy(max_attempts=3)
SEEDS = [f"{number}/1" for number in range(300)]


def spent(pipeline: int = 0, infrastructure: int = 0, *, claimed: bool = True) -> Spent:
    """Give what was spent."""
    return Spent(pipeline, infrastructure, claimed)


@pytest.mark.parametrize("retries", range(INFRASTRUCTURE_RETRIES + 2))
@pytest.mark.parametrize("policy", [None, THRICE])
@pytest.mark.parametrize("spot", [True, False])
def test_what_came_before_the_claim_is_repeated_whatever_was_asked(
    retries: int, policy: RetryPolicy | None, spot: bool
) -> None:
    """No line of the pipeline has run. As often as the budget goes, and on no other budget then."""
    budget = budget_for(INTERRUPTED, spent(0, retries, claimed=False), policy=policy, spot=spot)

    assert budget == ("infrastructure" if retries < INFRASTRUCTURE_RETRIES else None)


@pytest.mark.parametrize(
    ("policy", "spot", "budget"),
    [
        (None, False, None),
        (THRICE, False, "pipeline"),
        (None, True, "infrastructure"),
        (THRICE, True, "infrastructure"),
    ],
)
def test_after_the_claim_only_what_may_be_repeated_is(
    policy: RetryPolicy | None, spot: bool, budget: Kind | None
) -> None:
    """Who asked for Spot, or for retries, has said that the pipeline may run twice."""
    assert budget_for(INTERRUPTED, spent(), policy=policy, spot=spot) == budget


def test_the_budgets_are_apart() -> None:
    """Neither is spent by the other's failures."""
    assert budget_for(INTERRUPTED, spent(pipeline=9), policy=THRICE, spot=True) == "infrastructure"
    assert budget_for(INTERRUPTED, spent(pipeline=2), policy=THRICE, spot=False) is None
    assert budget_for(INTERRUPTED, spent(0, INFRASTRUCTURE_RETRIES), policy=THRICE, spot=True) is None
    assert budget_for(RAISED, spent(0, INFRASTRUCTURE_RETRIES), policy=THRICE, spot=False) == "pipeline"


@pytest.mark.parametrize("attempts", [1, 2, 5, 10])
def test_a_pipeline_is_attempted_as_often_as_was_said(attempts: int) -> None:
    """The first attempt is one of them."""
    policy, tried = RetryPolicy(max_attempts=attempts), 1
    while budget_for(RAISED, spent(tried - 1), policy=policy, spot=False) == "pipeline":
        tried += 1

    assert tried == attempts


def test_a_pipelines_own_failure_is_not_repeated_unasked() -> None:
    """Nor because it ran on Spot, nor for what it will meet again, nor before it has begun."""
    assert budget_for(RAISED, spent(), policy=None, spot=True) is None
    assert budget_for(OUT_OF_MEMORY, spent(), policy=THRICE, spot=True) is None
    assert budget_for(OUT_OF_MEMORY, spent(claimed=False), policy=THRICE, spot=False) is None
    assert budget_for(RAISED, spent(claimed=False), policy=THRICE, spot=False) is None


@pytest.mark.parametrize(
    ("failure", "on", "again"),
    [
        (RAISED, ("pipelines.tables.TableError",), True),
        (RAISED, ("TableError",), True),
        (RAISED, ("pipeline_failed",), True),
        (RAISED, ("ValueError", "TableError"), True),
        (RAISED, ("tables.TableError",), False),
        (RAISED, ("tableerror",), False),
        (RAISED, ("Error",), False),
        (RAISED, ("other.TableError",), False),
        (Failure("pipeline_failed", None, "pipeline"), ("TableError",), False),
        (Failure("pipeline_failed", None, "pipeline", "ValueError"), ("ValueError",), True),
        (OUT_OF_MEMORY, ("out_of_memory",), True),
        (OUT_OF_MEMORY, ("MemoryError",), False),
    ],
)
def test_only_what_is_named_is_repeated(failure: Failure, on: tuple[str, ...], again: bool) -> None:
    """By the exception's class, with all of its module or none, or by the reason: then even what looks permanent."""
    policy = RetryPolicy(max_attempts=2, on=on)

    assert budget_for(failure, spent(), policy=policy, spot=False) == ("pipeline" if again else None)


def test_names_and_numbers_are_meant_whoever_is_to_blame() -> None:
    """Who wrote 1, or named what to repeat, wants the pipeline to begin no more often than that."""
    named = RetryPolicy(max_attempts=3, on=("ValueError",))

    assert budget_for(INTERRUPTED, spent(), policy=named, spot=False) is None
    assert budget_for(INTERRUPTED, spent(), policy=RetryPolicy(max_attempts=1), spot=False) is None
    assert budget_for(INTERRUPTED, spent(), policy=named, spot=True) == "infrastructure"


@pytest.mark.parametrize(("times", "pause"), [(1, 10), (2, 20), (3, 40), (5, 160), (6, 300), (7, 300), (10_000, 300)])
def test_launches_back_off_longer_each_time_up_to_a_bound(times: int, pause: int) -> None:
    """With a jitter of up to a quarter on top, never less."""
    pauses = [launch_backoff(times, seed).total_seconds() for seed in SEEDS]

    assert pause <= min(pauses) < pause * 1.02
    assert pause * (1 + JITTER) * 0.98 < max(pauses) <= pause * (1 + JITTER)
    assert FIRST_BACKOFF.total_seconds() <= pause <= LONGEST_BACKOFF.total_seconds()


@pytest.mark.parametrize(
    ("first", "retries", "pause"), [(60, 0, 60), (60, 1, 120), (60, 3, 480), (60, 9, 3600), (3600, 4, 3600), (0, 9, 0)]
)
def test_a_pipeline_backs_off_from_what_was_said(first: int, retries: int, pause: int) -> None:
    """Twice as long each time, one hour at most; what infrastructure did meanwhile does not count."""
    policy = RetryPolicy(max_attempts=10, backoff_seconds=first)

    pauses = [backoff("pipeline", spent(retries, 2), policy, seed).total_seconds() for seed in SEEDS]

    assert all(pause <= made <= pause * (1 + JITTER) for made in pauses)
    assert pause <= LONGEST_PIPELINE_BACKOFF.total_seconds()


def test_infrastructure_has_a_backoff_of_its_own() -> None:
    """Whatever was said of the pipeline's."""
    policy = RetryPolicy(max_attempts=10, backoff_seconds=3600)
    for retries in range(INFRASTRUCTURE_RETRIES):
        assert backoff("infrastructure", spent(5, retries), policy, "seed") == launch_backoff(retries + 1, "seed")
        assert backoff("infrastructure", spent(0, retries), None, "seed") == launch_backoff(retries + 1, "seed")


def test_a_pause_is_the_same_for_whoever_decides() -> None:
    """And another for another run: those who failed together do not come back together."""
    assert launch_backoff(3, "run/1") == launch_backoff(3, "run/1")
    assert len({launch_backoff(3, seed) for seed in SEEDS}) == len(SEEDS)
    assert all(isinstance(launch_backoff(3, seed), timedelta) for seed in SEEDS[:1])


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"max_attempts": 0},
        {"max_attempts": 11},
        {"max_attempts": 2.0},
        {"max_attempts": True},
        {"max_attempts": 2, "backoff_seconds": -1},
        {"max_attempts": 2, "backoff_seconds": 3601},
        {"max_attempts": 2, "on": [""]},
        {"max_attempts": 2, "on": ["x" * 201]},
        {"max_attempts": 2, "on": ["x"] * 21},
        {"max_attempts": 2, "tries": 3},
    ],
)
def test_a_policy_is_bounded(wrong: dict[str, Any]) -> None:
    """Nothing that nobody could have meant."""
    with pytest.raises(ValidationError):
        RetryPolicy.model_validate(wrong)
