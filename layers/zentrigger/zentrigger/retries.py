"""Retries: whether an attempt is followed by another, and when. Two budgets, for two kinds of failure."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

INFRASTRUCTURE_RETRIES = 3
"""How many attempts of a run may be repeated for what was not the pipeline's doing."""

FIRST_BACKOFF = timedelta(seconds=10)
LONGEST_BACKOFF = timedelta(minutes=5)
"""Between launches that were refused, and before attempts that infrastructure is to blame for."""

LONGEST_PIPELINE_BACKOFF = timedelta(hours=1)

JITTER = 0.25
"""A backoff is up to this part longer than it says, so that runs which failed together do not come back together."""

MAX_ATTEMPTS = 10

Kind = Literal["pipeline", "infrastructure", "permanent"]
"""What a failure is to blame on: the pipeline itself, what it ran on, or something that another attempt meets again."""


class RetryPolicy(BaseModel):
    """How often a pipeline that failed by itself is attempted again, and after how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: Annotated[StrictInt, Field(ge=1, le=MAX_ATTEMPTS)] = Field(
        description="How many attempts there are at most, the first one included. What infrastructure does before the"
        " pipeline begins, or to a run with `spot`, is repeated on a budget of its own."
    )
    backoff_seconds: Annotated[StrictInt, Field(ge=0, le=3600)] = Field(
        default=60, description="The pause before the second attempt; each further one is twice as long, 1 h at most."
    )
    on: tuple[Annotated[str, Field(max_length=200, pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$")], ...] = Field(
        default=(),
        max_length=20,
        description="Only for these: exceptions' class names, with or without their module (`ConnectionError`), or"
        " reasons of runs (`timed_out`). Without it, for every failure that the next attempt need not meet again.",
    )


@dataclass(frozen=True)
class Failure:
    """How an attempt failed: why, in a stable code and a sentence, what is to blame, and which exception it was."""

    reason: str
    message: str | None
    kind: Kind
    error_type: str | None = None


@dataclass(frozen=True)
class Spent:
    """What of its budgets a run has spent, and whether a task has claimed its present attempt."""

    pipeline_retries: int
    infrastructure_retries: int
    claimed: bool


def budget_for(failure: Failure, spent: Spent, *, policy: RetryPolicy | None, spot: bool) -> Kind | None:
    """Say which budget pays for another attempt after a failure; None: there is none.

    What infrastructure did before a task had claimed the attempt is always repeated, for no line of the pipeline has
    run; so is what it did to a run on Spot, which said that its pipeline may be repeated. All else that happens after
    the claim is repeated only by `retry`, which says how often the pipeline may begin.
    """
    if failure.kind == "infrastructure" and (spot or not spent.claimed):
        return "infrastructure" if spent.infrastructure_retries < INFRASTRUCTURE_RETRIES else None
    if policy is None or not spent.claimed or spent.pipeline_retries + 1 >= policy.max_attempts:
        return None
    # Named failures are repeated even if they look permanent: the caller knows the pipeline.
    repeat = _named(failure, policy.on) if policy.on else failure.kind != "permanent"
    return "pipeline" if repeat else None


def _named(failure: Failure, names: tuple[str, ...]) -> bool:
    known = {failure.reason}
    if failure.error_type:
        known |= {failure.error_type, failure.error_type.rpartition(".")[2]}
    return not known.isdisjoint(names)


def backoff(budget: Kind, spent: Spent, policy: RetryPolicy | None, seed: str) -> timedelta:
    """Give the pause before the next attempt."""
    if budget == "pipeline" and policy is not None:
        pause = timedelta(seconds=policy.backoff_seconds) * 2 ** min(spent.pipeline_retries, 12)
        return _jittered(min(pause, LONGEST_PIPELINE_BACKOFF), seed)
    return launch_backoff(spent.infrastructure_retries + 1, seed)


def launch_backoff(times: int, seed: str) -> timedelta:
    """Give the pause after a launch was refused, or infrastructure failed, for the nth time (from 1)."""
    return _jittered(min(FIRST_BACKOFF * 2 ** min(times - 1, 10), LONGEST_BACKOFF), seed)


def _jittered(pause: timedelta, seed: str) -> timedelta:
    # From the seed, not at random: a decision is the same for whoever takes it.
    part = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") / 2**32
    return pause * (1 + JITTER * part)
