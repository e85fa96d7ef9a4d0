"""Fixtures of the runner's integration tests."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.runner.tasks import HERE, Task, zenml_environment


@pytest.fixture(scope="session")
def initialised_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the local stores folder of an initialised ZenML, as the image has one."""
    folder = tmp_path_factory.mktemp("zenml")
    script = folder / "initialise.py"
    script.write_text("from zenml.client import Client\nClient().active_stack\n")
    subprocess.run([sys.executable, str(script)], env=zenml_environment(folder), check=True, capture_output=True)
    return folder / "stores"


@pytest.fixture
def make_task(initialised_stores: Path, tmp_path: Path) -> Iterator[Callable[..., Task]]:
    """Make tasks, each with a fresh copy of the initialised stores; what still runs at the end is killed."""
    made: list[Task] = []

    def make(*, timing: dict[str, float] | None = None, **environment: str) -> Task:
        folder = tmp_path / f"task-{len(made)}"
        # The stores alone: the configuration holds the absolute path of the database it was made for.
        shutil.copytree(initialised_stores, folder / "stores")
        task = Task(folder, {**zenml_environment(folder), **environment, "TIMING": json.dumps(timing or {})})
        made.append(task)
        return task

    yield make
    for task in made:
        if task.process is not None and task.process.poll() is None:
            task.process.kill()
            task.process.wait()


@pytest.fixture
def user_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Have the user's modules in this process, and a ZenML that touches nothing outside of the test's folder."""
    for name, value in zenml_environment(tmp_path).items():
        if name.startswith("ZENML_"):
            monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(HERE / "user_project"))
    yield
    sys.modules.pop("hard_cases", None)
