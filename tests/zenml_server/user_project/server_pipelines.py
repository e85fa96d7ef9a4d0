"""Pipelines of a user who has a ZenML server."""

import time
from pathlib import Path

from zenml import pipeline, step


@step
def draw(rows: int) -> list[int]:
    """Make numbers."""
    return list(range(rows))


@step
def add(numbers: list[int]) -> int:
    """Add them."""
    return sum(numbers)


@pipeline
def adding_pipeline(rows: int = 10) -> None:
    """Add numbers."""
    add(draw(rows))


@step(enable_cache=False)
def wait(gate: str) -> int:
    """Wait until there is a file; at most five minutes."""
    until = time.monotonic() + 300
    while not Path(gate).exists():
        if time.monotonic() > until:
            raise TimeoutError(gate)
        time.sleep(0.1)
    return 1


@step(enable_cache=False)
def follow(number: int) -> int:
    """Come after it."""
    return number + 1


@pipeline
def waiting_pipeline(gate: str) -> None:
    """Wait, and go on."""
    follow(wait(gate))
