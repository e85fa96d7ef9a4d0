"""`kill -9` of a task's process, where another attempt follows."""

import os
import signal
from typing import Any

import pytest

from tests.end_to_end.conftest import Product, processes

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(120)]


def runner(product: Product, run_id: str) -> int:
    """Wait for the process of a run's task, the only one, and give its id."""

    def look() -> int | None:
        found = {
            pid
            for pid, command in processes(run_id).items()
            if "-m runner" in command and "container_init" not in command and "runner.child" not in command
        }
        assert len(found) <= 1, found
        return next(iter(found), None)

    return product.wait(look, 30)


def attempt(product: Product, run_id: str, number: int) -> dict[str, Any]:
    """Wait until a task has claimed an attempt of a run, and give the run. Minutes pass quickly."""

    def look() -> dict[str, Any] | None:
        product.cloud.bus.fire("SweepRule")
        run = product.run(run_id)
        return run if (run["attempt"], run["status"]) == (number, "running") else None

    return product.wait(look, 30)


def test_a_task_killed_before_its_claim_is_repeated_and_one_killed_after_it_if_the_run_says_so(
    product: Product,
) -> None:
    """No line of the pipeline has run before the claim; after it, the run's `retry` decides. No slot stays taken."""
    early = product.start("training_pipeline")
    killed = runner(product, early)
    os.kill(killed, signal.SIGKILL)

    answer = product.call(
        "POST", "/runs", {"pipeline": "training_pipeline", "retry": {"max_attempts": 2, "backoff_seconds": 0}}
    )
    late = str(answer.json()["run_id"])
    for number in (1, 2):
        attempt(product, late, number)
        os.kill(runner(product, late), signal.SIGKILL)
    repeated = product.end(late, 30)
    again = attempt(product, early, 2)
    product.cancel(early)

    assert [(one["number"], one["reason"], one["claimed_at"]) for one in again["attempts"]] == [
        (1, "task_killed", None)
    ]
    assert (repeated["status"], repeated["reason"]) == ("failed", "task_killed")
    told = [(one["number"], one["reason"], one["claimed_at"] is not None) for one in repeated["attempts"]]
    assert told == [(1, "task_killed", True), (2, "task_killed", True)]
    assert product.end(early, 30)["status"] == "cancelled"
    assert product.wait(lambda: not processes(early) and not processes(late), 20)
