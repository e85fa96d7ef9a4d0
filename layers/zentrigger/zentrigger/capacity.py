"""Capacity: how many runs are active and how many wait, how many may, and what one more run gets."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

MAX_KEY_LIMIT = 1000

MAX_PIPELINE_LIMIT = 1000
"""The template lets no more runs be active in a whole stack."""

OnConflict = Literal["queue", "skip", "reject"]


class Concurrency(BaseModel):
    """How many runs of one key may be active at once: one training per customer, one run per trigger.

    The key is the stack's, not the pipeline's. A further run waits (`queue`), is recorded as cancelled without ever
    starting (`skip`), or is not recorded at all (`reject`); the last two also where one of the key waits already.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] = Field(
        description="Up to 200 characters, none of them a control character. It is the stack's, not the pipeline's."
    )
    limit: Annotated[StrictInt, Field(ge=1, le=MAX_KEY_LIMIT)] = Field(
        default=1, description="How many runs with the key may be active for this one to start."
    )
    on_conflict: OnConflict = Field(
        default="queue",
        description="What becomes of this run where as many are active: it waits (`queue`), is recorded as `cancelled`"
        " (`skip`), or is refused with 409 (`reject`). For the last two, those that wait count as well.",
    )

    @property
    def exclusive(self) -> bool:
        """Whether a run does not wait for others of its key."""
        return self.on_conflict != "queue"

    @property
    def taken(self) -> str:
        """Say that as many runs with the key are there as may be."""
        return f"As many runs with the concurrency key {self.key!r} are active or wait as may ({self.limit})"


@dataclass(frozen=True)
class Capacity:
    """How many runs hold a slot, and how many wait for one."""

    active_runs: int
    waiting_runs: int


@dataclass(frozen=True)
class PipelineCapacity(Capacity):
    """The same of one pipeline, and how many may be active; None: as many as the stack has slots."""

    max_active_runs: int | None = None


@dataclass(frozen=True)
class Standing:
    """The counts that decide about one more run: of all runs, of its pipeline's, and of those with its key."""

    stack: Capacity
    pipeline: PipelineCapacity
    key: Capacity | None = None
    """None: the run has no concurrency key."""


@dataclass(frozen=True)
class Limits:
    """How many runs may be active, how many may wait before HTTP callers are refused, and how long records are kept."""

    max_active: int
    max_waiting: int
    retention_days: int


def stack_group() -> str:
    """Name the group of all runs."""
    return "all"


def pipeline_group(pipeline: str) -> str:
    """Name the group of a pipeline's runs."""
    return f"pipeline#{pipeline}"


def key_group(key: str) -> str:
    """Name the group of the runs with a concurrency key."""
    return f"key#{key}"


def groups_of(pipeline: str, concurrency: Concurrency | None) -> tuple[str, ...]:
    """Name the groups that a run counts in: all runs, its pipeline's and, if it has one, those of its key."""
    groups = (stack_group(), pipeline_group(pipeline))
    return groups if concurrency is None else (*groups, key_group(concurrency.key))


def slot_for(
    standing: Standing, limits: Limits, concurrency: Concurrency | None
) -> Literal["start", "queue", "refuse", "skip", "reject"]:
    """Say what a run of an HTTP caller gets: a slot if one is free and nobody waits, else a place in the queue.

    The last two are for runs whose concurrency key is taken and which do not wait for it. The run store decides by the
    same rule, in the conditions of its transactions; this one only tells beforehand.
    """
    stack, pipeline, key = standing.stack, standing.pipeline, standing.key
    free = stack.active_runs < limits.max_active and stack.waiting_runs <= 0
    if pipeline.max_active_runs is not None:
        free = free and pipeline.active_runs < pipeline.max_active_runs
    if concurrency is not None and key is not None:
        if concurrency.on_conflict != "queue" and key.active_runs + key.waiting_runs >= concurrency.limit:
            return concurrency.on_conflict
        free = free and key.active_runs < concurrency.limit
    if free:
        return "start"
    return "queue" if stack.waiting_runs < limits.max_waiting else "refuse"
