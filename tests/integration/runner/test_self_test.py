"""`python -m runner --self-test` as a process: what it says and how it exits. tests/image has it in the image."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.runner.tasks import REPOSITORY, zenml_environment

SOUND = "from zenml import pipeline\n\n\n@pipeline\ndef sound_pipeline() -> None: ...\n"


@pytest.fixture
def folder(tmp_path: Path, initialised_stores: Path) -> Path:
    """Make what the image has: an initialised store, a home, and a package `pipelines`."""
    (tmp_path / "home").mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "stores").symlink_to(initialised_stores)
    (tmp_path / "app/pipelines").mkdir(parents=True)
    (tmp_path / "app/pipelines/__init__.py").write_text(SOUND)
    return tmp_path


def self_test(folder: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run it on a folder's pipelines and give exit code and output."""
    variables = {**zenml_environment(folder), "HOME": str(folder / "home"), **environment}
    variables["PYTHONPATH"] = os.pathsep.join(
        [str(folder / "app"), str(REPOSITORY / "layers/zentrigger"), str(REPOSITORY)]
    )
    done = subprocess.run(
        [sys.executable, "-m", "runner", *(arguments or ["--self-test"])],
        env=variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_sound_image_passes_and_a_server_that_is_set_is_left_alone(folder: Path) -> None:
    """The server's address leads nowhere: nothing may look it up."""
    exit_code, output = self_test(folder, ZENML_STORE_URL="https://zenml.invalid", ZENML_STORE_API_KEY="secret-key")
    assert exit_code == 0, output
    lines = output.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith("ok")] == [
        ["ok", "folders"],
        ["ok", "imports"],
        ["ok", "store"],
        ["ok", "pipelines"],
    ]
    assert "sound_pipeline" in output
    assert lines[-1] == "self-test: all is well"
    assert "secret-key" not in output


def test_all_that_is_wrong_is_named_at_once(folder: Path) -> None:
    """A store that nobody initialised, a module that needs a package, and one that calls home while it is imported."""
    (folder / "stores").unlink()
    (folder / "stores").mkdir()
    (folder / "app/pipelines/needy.py").write_text("import package_that_is_not_there\n")
    (folder / "app/pipelines/chatty.py").write_text(
        "import socket\nsocket.create_connection(('127.0.0.1', 9), timeout=1)\n"
    )
    (folder / "app/pipelines/quitter.py").write_text("raise SystemExit(0)\n")
    exit_code, output = self_test(folder)
    assert exit_code == 1
    assert "runner.initialise" in output
    assert "pipelines.needy: ModuleNotFoundError: No module named 'package_that_is_not_there'" in output
    assert "pipelines.chatty: CheckError: nothing may look up a host here" in output
    assert "pipelines.quitter: SystemExit" in output
    assert "self-test: 2 failed" in output


def test_a_folder_that_cannot_be_written_to_is_named(folder: Path) -> None:
    """As on a read-only root file system without the task definition's volumes."""
    exit_code, output = self_test(folder, HOME="/proc/nowhere")
    assert exit_code == 1
    assert "cannot write to /proc/nowhere" in output


def test_another_argument_is_refused(folder: Path) -> None:
    """A typing error must not start the work of a task."""
    exit_code, output = self_test(folder, "--selftest")
    assert exit_code == 64
    assert "usage" in output
