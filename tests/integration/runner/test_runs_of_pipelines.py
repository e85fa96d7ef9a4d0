"""Whole tasks with real ZenML: what a pipeline does, and what is reported of it."""

import shutil
import signal
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

from tests.integration.runner.tasks import HERE, Task, alive, wait_for

IMPATIENT = """
import sys
from runner import child, zenml_server
zenml_server.REACH_SECONDS = 3.0
sys.exit(child.main())
"""
"""The child, with less time to find a server."""


def test_a_step_that_raises_is_named_with_what_it_raised(make_task: Callable[..., Task]) -> None:
    """Step, type, message and traceback, not ZenML's general error at the end; and no secret."""
    task = make_task(DATABASE_PASSWORD="correct-horse")
    report = task.run(
        "hard_cases:raising_pipeline", parameters={"customer": "Ångström"}, secrets={"DATABASE_PASSWORD": "arn:…"}
    )
    assert (report.outcome, report.reason, report.exit_code) == ("failed", "pipeline_failed", 1)
    assert report.error is not None
    assert (report.error.step, report.error.type) == ("raises", "KeyError")
    assert "no such customer: Ångström, as ***" in report.error.message
    assert "correct-horse" not in report.model_dump_json()
    assert "hard_cases.py" in report.error.traceback
    assert [(step.name, step.status) for step in report.steps] == [("first", "completed"), ("raises", "failed")]
    assert "raises raised KeyError" in (report.message or "")


def test_a_pipeline_that_ends_its_process_is_found_out(make_task: Callable[..., Task], tmp_path: Path) -> None:
    """100 MB of output, a process left behind that holds stdout, and os._exit(0): none of it hangs or succeeds."""
    pid_file = tmp_path / "pid"
    task = make_task()
    report = task.run("hard_cases:messy_pipeline", parameters={"pid_file": str(pid_file)})
    assert (report.reason, report.exit_code) == ("result_missing", 0)
    assert (task.folder / "stdout").stat().st_size > 100 * 1024 * 1024
    wait_for(lambda: not alive(int(pid_file.read_text())), 5)


def test_a_stopped_task_says_so_and_leaves_nothing(make_task: Callable[..., Task], tmp_path: Path) -> None:
    """SIGTERM reaches a step in the middle of its work. All steps are told of before they run."""
    started = tmp_path / "started"
    task = make_task()
    task.start("hard_cases:sleeping_pipeline", parameters={"started_file": str(started)})
    # ZenML says that a step runs a moment before its first line does.
    wait_for(lambda: any(step.status == "running" for told in task.progress[-1:] for step in told.steps[1:]))
    wait_for(lambda: started.exists() and started.read_text())
    assert task.process is not None
    task.process.send_signal(signal.SIGTERM)
    assert task.wait(30) == 1
    assert (task.report.outcome, task.report.reason) == ("failed", "stopped")
    assert "sleeps" in (task.report.message or "")
    assert task.report.zenml_run_id
    assert {told.zenml_run_id for told in task.progress} <= {None, task.report.zenml_run_id}
    told = next(told for told in task.progress if told.steps)
    assert [step.name for step in told.steps] == ["first", "sleeps"]
    assert not alive(int(started.read_text()))


def test_a_snapshots_configuration_and_json_reach_the_pipeline(make_task: Callable[..., Task], tmp_path: Path) -> None:
    """Lists for tuples, texts for dates, parts of models; hooks, environment, steps; and a secret in no output."""
    task = make_task(DATABASE_PASSWORD="correct-horse", MARK=str(tmp_path / "mark"))
    report = task.run(
        "hard_cases:shaped_pipeline",
        parameters={
            "pair": [2, "b"],
            "day": "2020-02-29",
            "person": {"name": "Ada", "born": "1815-12-10"},
            "folder": "${HOME}",
        },
        configured_steps={"describe": {"parameters": {"words": ["b", "c"], "size": 2}, "extra": {"of": "step"}}},
        steps={"describe": {"size": 3, "pair": [2, "b"]}},
        options={
            "extra": {"all": True},
            "environment": {"GREETING": "hello"},
            "success_hook_source": "hard_cases.leave_a_mark",
        },
        stack="default",
        secrets={"DATABASE_PASSWORD": "arn:…"},
    )
    assert report.outcome == "succeeded", task.log[-4000:]
    assert [output.value for output in report.outputs] == [
        {
            "came": repr(((2, "b"), date(2020, 2, 29), date(1815, 12, 10), True, ("b", "c"), 3)),
            "extra": {"all": True, "of": "step"},
            "environment": "hello",
            "address": "postgres://ada:***@db",
        }
    ]
    assert (tmp_path / "mark").exists()


def test_a_secret_that_is_not_there_is_named_before_anything_runs(make_task: Callable[..., Task]) -> None:
    """The value of the other is not said."""
    task = make_task(TOKEN="t0k3n")
    report = task.run("hard_cases:raising_pipeline", secrets={"TOKEN": "arn:…", "DATABASE_PASSWORD": "arn:…"})
    assert (report.outcome, report.reason) == ("failed", "secrets_unreadable")
    assert "lacks DATABASE_PASSWORD" in (report.message or "")
    assert report.steps == ()
    assert "t0k3n" not in report.model_dump_json() + task.log


def test_a_dynamic_pipeline_gives_its_own_outputs(make_task: Callable[..., Task]) -> None:
    """What a dynamic pipeline returns are its outputs; its steps are those that ran."""
    task = make_task()
    report = task.run("hard_cases:dynamic_pipeline", parameters={"count": 3})
    assert report.outcome == "succeeded", task.log[-4000:]
    assert {(output.step, output.name): output.value for output in report.outputs} == {
        (None, "last"): 8,
        (None, "with_nan"): {"nan": None, "infinite": None, "one": 1.5},
        (None, "large"): None,
    }
    assert all(output.artifact_id and output.data_type for output in report.outputs)
    assert [step.name for step in report.steps] == ["strange_values", "double", "double_2", "double_3"]


def test_the_tutorials_pipeline_runs_unchanged(make_task: Callable[..., Task]) -> None:
    """The code of ZenML's tutorial on triggering, as it stands on the page."""
    task = make_task()
    project = task.folder / "project"
    project.mkdir()
    shutil.copy(HERE / "user_project" / "tutorial_pipeline.py.txt", project / "tutorial_pipeline.py")
    task.environment["PYTHONPATH"] += f":{project}"
    report = task.run(
        "tutorial_pipeline:training_pipeline",
        parameters={"data_url": "s3://some-bucket/new-data.csv", "model_type": "gradient_boosting"},
    )
    assert report.outcome == "succeeded", task.log[-4000:]
    assert "Training a gradient_boosting model..." in task.log
    assert [output.step for output in report.outputs if isinstance(output.value, dict)] == ["evaluate"]


def test_a_server_that_does_not_answer_is_named(make_task: Callable[..., Task]) -> None:
    """The address is said, the key never."""
    task = make_task(ZENML_STORE_URL="http://127.0.0.1:9", ZENML_STORE_API_KEY="ZENKEY_never_shown")
    report = task.run("hard_cases:raising_pipeline", command=(sys.executable, "-c", IMPATIENT))
    assert (report.outcome, report.reason) == ("failed", "zenml_unreachable")
    assert "http://127.0.0.1:9" in (report.message or "")
    assert "never_shown" not in report.model_dump_json() + task.log
