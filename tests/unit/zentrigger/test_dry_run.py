"""A dry run: what would become of a request, everything that is wrong with it, and nothing written."""

import json
from typing import Any
from unittest.mock import Mock

import pytest

from tests.factories import IMAGE, MOMENT, TRAINING, content, run, run_input, snapshot
from zentrigger.capacity import Capacity, Concurrency, Limits, PipelineCapacity, Standing, slot_for
from zentrigger.catalogue import SnapshotContent
from zentrigger.dry_run import PLACEHOLDER_RUN_ID, DryRun
from zentrigger.errors import InvalidRequestError, NotFoundError, Problem, UnavailableError
from zentrigger.launches import Network
from zentrigger.run_requests import RunRequest
from zentrigger.runs import RunRecord, Source
from zentrigger.submit import Submitter
from zentrigger.views import dry_run_view

LIMITS = Limits(max_active=2, max_waiting=1, retention_days=1)
NONE = Standing(Capacity(0, 0), PipelineCapacity(0, 0))


class Bench:
    """A submitter that may read, and fails on whatever writes or launches."""

    def __init__(self, of: SnapshotContent = TRAINING) -> None:
        self.runs = Mock(spec=["get", "standing"])
        self.task_definitions = Mock(spec=["family", "known_revision"])
        self.catalogue = Mock(spec=["find"])
        self.runs.get.return_value = None
        self.runs.standing.return_value = NONE
        self.task_definitions.family = "stack-snapshot"
        self.task_definitions.known_revision.return_value = "arn:revision"
        self.catalogue.find.return_value = snapshot(of)

    def dry_run(self, run_id: str | None = None, **request: Any) -> DryRun:
        """Try a request for the training pipeline."""
        submitter = Submitter(
            runs=self.runs,
            catalogue=self.catalogue,
            task_definitions=self.task_definitions,
            launcher=Mock(spec=[]),
            cluster="c",
            network=Network(("s",), ("g",), "ENABLED"),
            limits=LIMITS,
            clock=lambda: MOMENT,
        )
        asked = RunRequest.model_validate({"pipeline": TRAINING.pipeline} | request)
        return submitter.dry_run(asked, Source(type="http", key_id="k"), run_id=run_id)


def test_a_good_request() -> None:
    """The snapshot, the parameters as they would be, the slot, and the launch with its size."""
    shown = dry_run_view(
        Bench().dry_run(
            snapshot=1,
            steps={"load_data": {"parameters": {"data_url": "x"}}, "train_model": {"parameters": {"trees": 3}}},
            resources={"cpu": 256, "memory": 512},
        )
    )

    assert shown["snapshot"]["id"] == "training_pipeline:1"
    assert shown["parameters"] == {"data_url": "x", "model_type": "random_forest", "test_size": 0.2}
    assert shown["steps"] == {"train_model": {"parameters": {"trees": 3}}}
    assert (shown["would"], shown["problems"]) == ("start", [])
    assert shown["capacity"] == {
        "active_runs": 0,
        "waiting_runs": 0,
        "max_active_runs": 2,
        "max_waiting_runs": 1,
        "pipeline": {"active_runs": 0, "waiting_runs": 0, "max_active_runs": None},
        "concurrency": None,
    }
    request = shown["run_task"]
    assert request["taskDefinition"] == "arn:revision"
    assert request["clientToken"] == f"{PLACEHOLDER_RUN_ID}-1-1"
    assert (request["overrides"]["cpu"], request["overrides"]["memory"]) == ("256", "512")
    compact = json.dumps(request["overrides"], separators=(",", ":"))
    assert shown["run_task_overrides"] == {"characters": len(compact), "limit": 8192}


def test_the_size_is_exact_before_there_is_an_id() -> None:
    """What stands for the id is as long as one."""
    known = Bench().dry_run(run().run_id)

    assert len(PLACEHOLDER_RUN_ID) == len(run().run_id)
    assert Bench().dry_run().overrides_size == known.overrides_size > 0


@pytest.mark.parametrize(
    ("active", "waiting", "max_waiting", "expected"),
    [
        (0, 0, 1, "start"),
        (1, 0, 0, "start"),
        (2, 0, 1, "queue"),
        (2, 0, 0, "refuse"),
        (0, 1, 2, "queue"),
        (0, 1, 1, "refuse"),
        (-1, -1, 0, "start"),
    ],
)
def test_the_slot(active: int, waiting: int, max_waiting: int, expected: str) -> None:
    """A free one goes to whoever waits; a drifted count decides as it does in the table's conditions."""
    standing = Standing(Capacity(active, waiting), PipelineCapacity(active, waiting))
    assert slot_for(standing, Limits(2, max_waiting, 1), None) == expected


@pytest.mark.parametrize(
    ("active", "limit", "expected"), [(1, None, "start"), (1, 2, "start"), (1, 1, "queue"), (0, 0, "queue")]
)
def test_a_pipelines_own_limit_counts(active: int, limit: int | None, expected: str) -> None:
    """Also where the stack has slots; 0 pauses the pipeline."""
    standing = Standing(Capacity(active, 0), PipelineCapacity(active, 0, limit))
    assert slot_for(standing, LIMITS, None) == expected
    assert slot_for(standing, Limits(2, 0, 1), None) == {"queue": "refuse"}.get(expected, expected)


@pytest.mark.parametrize(
    ("on_conflict", "active", "waiting", "limit", "expected"),
    [
        ("queue", 0, 0, 1, "start"),
        ("queue", 1, 0, 1, "queue"),
        ("queue", 1, 0, 2, "start"),
        ("queue", 0, 5, 1, "start"),
        ("skip", 0, 0, 1, "start"),
        ("skip", 1, 0, 1, "skip"),
        ("skip", 0, 1, 1, "skip"),
        ("skip", 1, 0, 2, "start"),
        ("reject", 1, 0, 1, "reject"),
        ("reject", 1, 1, 2, "reject"),
    ],
)
def test_a_taken_key_counts(on_conflict: str, active: int, waiting: int, limit: int, expected: str) -> None:
    """Those that wait count for a run that does not; whatever else is free or full."""
    concurrency = Concurrency.model_validate({"key": "k", "limit": limit, "on_conflict": on_conflict})
    standing = Standing(Capacity(active, 0), PipelineCapacity(active, 0), Capacity(active, waiting))
    assert slot_for(standing, Limits(9, 9, 1), concurrency) == expected
    full = Standing(Capacity(9, 9), PipelineCapacity(9, 9), Capacity(active, waiting))
    assert slot_for(full, Limits(9, 9, 1), concurrency) == (
        expected if expected == on_conflict != "queue" else "refuse"
    )


def test_a_run_that_would_be_skipped_or_refused_says_so() -> None:
    """A skipped one launches nothing and has nothing wrong; a refused one has the key as its problem."""
    bench = Bench()
    bench.runs.standing.return_value = Standing(Capacity(1, 0), PipelineCapacity(1, 0), Capacity(1, 0))
    key = {"key": "customer-7", "limit": 1}

    skipped = bench.dry_run(concurrency={**key, "on_conflict": "skip"})
    refused = bench.dry_run(concurrency={**key, "on_conflict": "reject"})

    assert (skipped.would, skipped.run_task, skipped.problems) == ("skip", None, ())
    assert (refused.would, [problem.pointer for problem in refused.problems]) == ("refuse", ["/concurrency"])
    assert "'customer-7'" in refused.problems[0].detail
    assert dry_run_view(skipped)["capacity"]["concurrency"] == {
        "active_runs": 1,
        "waiting_runs": 0,
        "max_active_runs": 1,
    }
    assert bench.runs.standing.call_args.args[0] == "training_pipeline"
    assert bench.runs.standing.call_args.args[1].key == "customer-7"


def test_everything_wrong_is_said_at_once() -> None:
    """The request, the queue, the idempotency key; and still the launch that it would have been."""
    bench = Bench()
    bench.runs.standing.return_value = Standing(Capacity(2, 1), PipelineCapacity(0, 0))
    bench.runs.get.return_value = RunRecord(run=run(request_hash="of something else"), input=run_input())

    tried = bench.dry_run("id", parameters={"modle_type": 1}, steps={"nobody": {}})

    assert tried.would == "refuse"
    assert [problem.pointer for problem in tried.problems] == [
        "/steps/nobody",
        "/parameters/modle_type",
        "/Idempotency-Key",
        "",
    ]
    assert tried.run_task is not None


def test_what_is_too_large_is_said() -> None:
    """As a problem among others."""
    tried = Bench().dry_run(parameters={"data_url": "x" * 300_000, "test_size": 7})

    assert [problem.pointer for problem in tried.problems] == ["/parameters/test_size", "/parameters"]


def test_a_replay_launches_nothing() -> None:
    """The run that is recorded would be given, whatever is wrong now."""
    bench = Bench()
    asked = RunRequest(pipeline=TRAINING.pipeline, parameters={"x": 1})
    bench.runs.get.return_value = RunRecord(run=run(request_hash=asked.request_hash), input=run_input())

    tried = bench.dry_run("id", parameters={"x": 1})

    assert (tried.would, tried.run_task, tried.overrides_size) == ("replay", None, 0)


def test_an_unknown_task_definition_would_be_registered() -> None:
    """By the run itself; a dry run registers none."""
    bench = Bench(content(architecture="ARM64", secrets={"A": "arn:aws:secretsmanager:r:123456789012:secret:a"}))
    bench.task_definitions.known_revision.return_value = None

    tried = bench.dry_run()

    assert tried.run_task is not None
    assert tried.run_task["taskDefinition"] == "stack-snapshot: registered at the first run"
    assert tried.would == "start"
    (image, architecture, secrets) = bench.task_definitions.known_revision.call_args.args
    assert (image, architecture, list(secrets)) == (IMAGE, "ARM64", ["A"])


@pytest.mark.parametrize(
    "error", [UnavailableError("ECS does not answer"), InvalidRequestError([Problem("/secrets/A", "taken")])]
)
def test_without_a_task_definition_there_is_no_launch(error: Exception) -> None:
    """And the run would be refused."""
    bench = Bench()
    bench.task_definitions.known_revision.side_effect = error

    tried = bench.dry_run()

    assert (tried.would, tried.run_task) == ("refuse", None)
    assert [problem.pointer for problem in tried.problems] == ["/snapshot"]


def test_what_is_not_there_is_not_found() -> None:
    """As for a run."""
    bench = Bench()
    bench.catalogue.find.side_effect = NotFoundError("nobody")

    with pytest.raises(NotFoundError):
        bench.dry_run()
