"""Capacity: how many runs are active and how many wait, how many may, and what one more run gets."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Capacity:
    """How many runs hold a slot, and how many wait for one."""

    active_runs: int
    waiting_runs: int


@dataclass(frozen=True)
class Limits:
    """How many runs may be active, how many of HTTP callers may wait, and how many days records are kept."""

    max_active: int
    max_waiting: int
    retention_days: int


def slot_for(capacity: Capacity, limits: Limits) -> Literal["start", "queue", "refuse"]:
    """Say what a run of an HTTP caller gets: a slot if one is free and nobody waits, else a place in the queue.

    The run store decides by the same rule, in the conditions of its transactions; this one only tells beforehand.
    """
    if capacity.active_runs < limits.max_active and capacity.waiting_runs <= 0:
        return "start"
    return "queue" if capacity.waiting_runs < limits.max_waiting else "refuse"
