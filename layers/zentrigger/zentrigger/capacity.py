"""Capacity: how many runs are active and how many wait, how many may, and what one more run gets."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt

MAX_KEY_LIMIT = 1000

OnConflict = Literal["queue", "skip", "reject"]


class Concurrency(BaseModel):
    """How many runs of one key may be active at once: one training per customer, one run per trigger.

    The key is the stack's, not the pipeline's. A further run waits (`queue`), is recorded as cancelled without ever
    starting (`skip`), or is not recorded at all (`reject`); the last two also where one of the key waits already.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
    limit: Annotated[StrictInt, Field(ge=1, le=MAX_KEY_LIMIT)] = 1
    on_conflict: OnConflict = "queue"

    @property
    def exclusive(self) -> bool:
        """Whether a run does not wait for others of its key."""
        return self.on_conflict != "queue"


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
class Limits:
    """How many runs may be active, how many of HTTP callers may wait, and how many days records are kept."""

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


def slot_for(capacity: Capacity, limits: Limits) -> Literal["start", "queue", "refuse"]:
    """Say what a run of an HTTP caller gets: a slot if one is free and nobody waits, else a place in the queue.

    The run store decides by the same rule, in the conditions of its transactions; this one only tells beforehand.
    """
    if capacity.active_runs < limits.max_active and capacity.waiting_runs <= 0:
        return "start"
    return "queue" if capacity.waiting_runs < limits.max_waiting else "refuse"
