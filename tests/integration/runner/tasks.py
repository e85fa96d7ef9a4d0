"""Tasks for tests: a real parent, a real child, real ZenML on a store of its own; only the run's record is a folder."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from zentrigger.runs import Assignment, Progress, Report

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
RUN_ID = "5d0f5a0e-3c4c-4f5e-9a55-0123456789ab"


class Task:
    """One task: its folder, its environment, its process."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, source: str | None = "", *, command: tuple[str, ...] = (), **assignment: object) -> None:
        """Start the task on an assignment; with `command`, another child in place of the real one."""
        told = {
            "run_id": RUN_ID,
            "attempt": 1,
            "execution": "t",
            "pipeline": "p",
            "snapshot": "p:1",
            "source": source,
            **assignment,
        }
        (self.folder / "assignment.json").write_text(Assignment.model_validate(told).model_dump_json())
        with (self.folder / "stdout").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "task_program.py"), str(self.folder), *command],
                env=self.environment,
                cwd=REPOSITORY,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self, seconds: float = 90) -> int:
        """Wait for the end of the task's own process and give its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def run(self, source: str | None = "", *, command: tuple[str, ...] = (), **assignment: object) -> Report:
        """Run an assignment to its end."""
        self.start(source, command=command, **assignment)
        self.wait()
        return self.report

    @property
    def report(self) -> Report:
        """What was reported; it must have been."""
        path = self.folder / "report.json"
        assert path.exists(), self.log[-4000:]
        return Report.model_validate_json(path.read_bytes())

    @property
    def progress(self) -> list[Progress]:
        """Every heartbeat, oldest first."""
        paths = sorted(self.folder.glob("progress-*.json"), key=lambda path: int(path.stem.partition("-")[2]))
        return [Progress.model_validate_json(path.read_bytes()) for path in paths]

    @property
    def log(self) -> str:
        """What the task printed."""
        return (self.folder / "stdout").read_text(errors="replace")


def wait_for(condition: Callable[[], object], seconds: float = 40) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def zenml_environment(folder: Path) -> dict[str, str]:
    """Give the environment of the image, with its stores in a folder."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ZENML_", "AWS_"))},
        "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "layers/zentrigger", HERE / "user_project"))),
        "ZENML_CONFIG_PATH": str(folder / "config"),
        "ZENML_LOCAL_STORES_PATH": str(folder / "stores"),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_LOGGING_COLORS_DISABLED": "true",
        "ZENML_DISABLE_INTERACTIVE_INPUT": "true",
    }
