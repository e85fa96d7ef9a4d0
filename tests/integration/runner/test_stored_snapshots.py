"""Snapshots that ZenML itself has stored: found, checked, and run with other parameters than they were stored with."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from zenml.config.pipeline_configurations import PipelineConfiguration
from zenml.config.step_configurations import Step

from runner import stored_snapshot
from runner.failures import Refused
from runner.run_configuration import run_configuration
from tests.integration.runner.tasks import HERE, RUN_ID, Task
from zentrigger.runs import Assignment, Output, Report


def outputs(report: Report) -> dict[str, Any]:
    """Give the values of a run's outputs."""
    return {output.name: output.value for output in report.outputs}


class Store:
    """ZenML's database."""

    def __init__(self, task: Task) -> None:
        self.database = sqlite3.connect(task.folder / "stores/default_zen_store/zenml.db")

    def select(self, query: str, *arguments: str) -> list[Any]:
        """Look."""
        return self.database.execute(query, arguments).fetchall()

    @property
    def named(self) -> list[Any]:
        """Everything of the snapshots that have a name."""
        return [
            self.select("SELECT * FROM pipeline_snapshot WHERE name IS NOT NULL ORDER BY id"),
            self.select(
                "SELECT s.* FROM step_configuration s JOIN pipeline_snapshot p ON s.snapshot_id = p.id "
                "WHERE p.name IS NOT NULL ORDER BY s.id"
            ),
        ]

    def run(self, name: str) -> tuple[str, str, str]:
        """Give a run's status, the stack it ran on, and the name of the snapshot it came from."""
        found = self.select(
            "SELECT r.status, stack.name, source.name FROM pipeline_run r "
            "JOIN pipeline_snapshot p ON r.snapshot_id = p.id JOIN stack ON p.stack_id = stack.id "
            "JOIN pipeline_snapshot source ON p.source_snapshot_id = source.id WHERE r.name = ?",
            name,
        )
        assert len(found) == 1
        status, stack, source = found[0]
        return status, stack, source

    def tags(self, run: str) -> set[str]:
        """Give a run's tags."""
        query = (
            "SELECT t.name FROM tag t JOIN tag_resource l ON l.tag_id = t.id "
            "JOIN pipeline_run r ON l.resource_id = r.id WHERE r.name = ?"
        )
        return {name for (name,) in self.select(query, run)}


def test_a_stored_snapshot_is_run_with_other_parameters_each_time(make_task: Callable[..., Task]) -> None:
    """A static one by name, twice, on a stack by name; a dynamic one by id. None of them is changed by it."""
    task = make_task()
    script = [sys.executable, str(HERE / "user_project" / "store_snapshots.py")]
    made = subprocess.run(script, env=task.environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    store = Store(task)
    before = store.named
    assert [len(rows) for rows in before] == [2, 2]
    snapshot: dict[str, Any] = {"source": None, "pipeline": "scaling_pipeline", "zenml_snapshot": "nightly"}

    first = task.run(**snapshot, steps={"scale": {"factor": 5}}, stack="second", tags=["mine"])

    assert first.outcome == "succeeded", task.log[-4000:]
    assert outputs(first) == {"output": 1, "scaled": 5}
    assert [(step.name, step.status) for step in first.steps] == [("first", "completed"), ("scale", "completed")]
    waiting = [told for told in task.progress if told.steps]
    assert [step.name for step in waiting[0].steps] == ["first", "scale"]
    name = f"scaling_pipeline-{RUN_ID}-1-t"
    assert store.run(name) == ("completed", "second", "nightly")
    assert store.tags(name) == {"of the snapshot", "mine", "zentrigger", f"zentrigger:{RUN_ID}"}

    configured = {"scale": {"parameters": {"factor": 6}, "extra": {"a": 1}}}
    second = task.run(**snapshot, attempt=2, configured_steps=configured, options={"enable_step_logs": False})

    assert outputs(second) == {"output": 1, "scaled": 6}
    assert second.zenml_run_id != first.zenml_run_id
    assert store.run(f"scaling_pipeline-{RUN_ID}-2-t") == ("completed", "default", "nightly")

    dynamic = task.run(
        source=None,
        pipeline="dynamic_pipeline",
        zenml_snapshot=made.stdout.split()[-1],
        parameters={"count": 3},
    )

    assert dynamic.outcome == "succeeded", task.log[-4000:]
    assert Output.model_validate(dynamic.outputs[0]).value == 8
    assert store.named == before


class Snapshot:
    """A snapshot of `scaling_pipeline`, as ZenML compiles it, with a parameter."""

    is_dynamic = False
    pipeline_configuration = PipelineConfiguration(name="scaling_pipeline", parameters={"pair": (1, 2)})

    def __init__(self, module: str = "hard_cases") -> None:
        self.step_configurations = {
            "first": self.step(module, "first", {}, {}),
            "scale": self.step(
                module, "scale", {"factor": 2}, {"value": {"step_name": "first", "output_name": "output"}}
            ),
        }

    @staticmethod
    def step(module: str, name: str, parameters: dict[str, Any], inputs: dict[str, Any]) -> Step:
        """Make a step's part."""
        source = {"module": module, "attribute": name, "type": "user"}
        spec = {"source": source, "upstream_steps": [], "inputs": inputs, "invocation_id": name}
        return Step.model_validate({"spec": spec, "config": {"name": name, "parameters": parameters}})


def refusal(snapshot: Any, **assignment: Any) -> Refused:
    """Give the refusal of a run of a snapshot."""
    told = Assignment.model_validate(
        {
            "run_id": "r",
            "attempt": 1,
            "execution": "t",
            "pipeline": "p",
            "snapshot": "p:1",
            "zenml_snapshot": "s",
            **assignment,
        }
    )
    with pytest.raises(Refused) as refused:
        stored_snapshot.prepare(snapshot, told, run_configuration(told, lasting=True))
    return refused.value


@pytest.mark.usefixtures("user_project")
def test_everything_that_a_stored_snapshot_does_not_take_is_refused_at_once() -> None:
    """Unknown steps and parameters, inputs, wrong types, and what was compiled into it; no value is repeated."""
    refused = refusal(
        Snapshot(),
        parameters={"pair": [1, 3], "rows": 1},
        steps={"scale": {"factor": "s3cret", "value": 1, "facto": 1}, "scal": {"factor": 1}},
        tags=("${TOKEN}",),
    )
    assert refused.reason == "parameters_refused"
    for said in (
        "parameters.pair: is fixed in the stored snapshot",
        "parameters.rows: the pipeline has no such parameter, it has pair",
        "steps.scale.parameters.factor: is not of the type",
        "steps.scale.parameters.value: the step gets this from another step",
        "steps.scale.parameters.facto: the step has no such parameter, it has factor",
        "steps.scal: the pipeline has no such step, it has first, scale",
        "tags.0 holds ${…}",
    ):
        assert said in refused.message
    assert "s3cret" not in refused.message


@pytest.mark.usefixtures("user_project")
def test_what_was_compiled_into_it_may_be_given_again() -> None:
    """As JSON has it: a default that was filled in."""
    told = Assignment(run_id="r", attempt=1, execution="t", pipeline="p", snapshot="p:1", parameters={"pair": [1, 2]})
    snapshot: Any = Snapshot()
    assert stored_snapshot.prepare(snapshot, told, run_configuration(told, lasting=True)) == ("first", "scale")


def test_a_stored_snapshot_whose_code_is_not_in_the_image_is_refused() -> None:
    """All steps that cannot be imported are named."""
    refused = refusal(Snapshot("no_such_module"))
    assert refused.reason == "pipeline_not_importable"
    assert "step first, no_such_module.first (ModuleNotFoundError" in refused.message
    assert "step scale" in refused.message


class Client:
    """Has no snapshots."""

    def list_snapshots(self, *, name: str, pipeline: str, hydrate: bool, size: int) -> Any:
        """Find none."""
        assert (name, pipeline, hydrate, size) == ("equals:nightly", "p", True, 1)
        return type("Page", (), {"items": []})

    def get_snapshot(self, name: str) -> Any:
        """Find none."""
        raise KeyError(name)


@pytest.mark.parametrize(("url", "advice"), [("https://zenml.example.com", "snapshot list"), ("", "ZenmlStoreUrl")])
@pytest.mark.parametrize("name", ["nightly", "0b9f7a52-5a0e-4f5e-9a51-6f3c1c1f3b7d"])
def test_a_snapshot_that_is_not_stored_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, advice: str
) -> None:
    """The message names it and says what to do, with a server and without."""
    monkeypatch.setattr(stored_snapshot, "Client", Client)
    monkeypatch.setenv("ZENML_STORE_URL", url)
    with pytest.raises(Refused, match=f"{name}.*{advice}") as refused:
        stored_snapshot.find(name, "p")
    assert refused.value.reason == "zenml_snapshot_missing"
