"""The whole product on the embedded AWS: real HTTP, real function processes, real tasks, real ZenML."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import boto3
import pytest
import requests

from local.cloud import Cloud
from local.prepare import prepare_stack

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TUTORIAL = ROOT / "tests" / "integration" / "runner" / "user_project" / "tutorial_pipeline.py.txt"
T = TypeVar("T")


@dataclass
class Product:
    """What a user sees of a running stack, and (for those who kill) its processes."""

    cloud: Cloud
    key: str = field(repr=False)
    project: Path = field()
    scheduled_at: datetime | None = None
    """When the schedule fires, if it does."""

    @property
    def environment(self) -> dict[str, str]:
        """Give the environment that `make up` tells a user to set."""
        return {
            **os.environ,
            **self.cloud.environment,
            "ZENTRIGGER_API_URL": self.cloud.api_url,
            "ZENTRIGGER_API_KEY": self.key,
            "DATA_BUCKET": self.cloud.outputs["DataBucket"],
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Make a call with the operator's key."""
        url = self.cloud.api_url + path
        return requests.request(method, url, json=body, headers={"X-API-Key": self.key} | headers, timeout=40)

    def start(self, pipeline: str, **parameters: Any) -> str:
        """Start a run and give its id."""
        answer = self.call("POST", "/runs", {"pipeline": pipeline, "parameters": parameters})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    def run(self, run_id: str) -> dict[str, Any]:
        """Give a run as it stands."""
        run: dict[str, Any] = self.call("GET", f"/runs/{run_id}").json()
        return run

    def end(self, run_id: str, seconds: float = 120) -> dict[str, Any]:
        """Wait for a run's end and give it."""
        return self.wait(lambda: run if (run := self.run(run_id))["ended_at"] else None, seconds)

    def cancel(self, run_id: str) -> None:
        """Cancel a run that nobody looks at any more: to its end, each takes both cores for seconds."""
        answer = self.call("DELETE", f"/runs/{run_id}")
        assert answer.status_code == 202, answer.text

    def wait(self, look: Callable[[], T | None], seconds: float = 60) -> T:
        """Look until there is something."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := look():
                return found
            time.sleep(0.2)
        raise AssertionError("nothing came")

    def client(self, service: Any) -> Any:
        """Make a client of the embedded AWS."""
        environment = self.cloud.environment
        return boto3.client(
            service,
            endpoint_url=self.cloud.endpoint_url,
            region_name=environment["AWS_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def publish(self, module: str, *options: str) -> str:
        """Publish a module of the user's project, as a user does, and give what the command printed."""
        command = [sys.executable, "-m", "zentrigger_client.cli", "publish", module, *options]
        done = subprocess.run(
            command, env=self.environment, cwd=self.project, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def processes(run_id: str) -> dict[int, str]:
    """Give the processes of a run's task, with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if f"RUN_ID={run_id}\0".encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """Run the product with a user's own project on its image, and a schedule that fires once, in a minute or two."""
    project = tmp_path_factory.mktemp("project")
    page = TUTORIAL.read_text("utf-8")
    # The shipped pipeline has the tutorial's name already: the user's module comes under a name of its own.
    (project / "tutorial.py").write_text(re.sub(r"\btraining_pipeline\b", "tutorial_pipeline", page), "utf-8")
    (project / "misbehaving.py").write_text((HERE / "user_project" / "misbehaving.py").read_text("utf-8"), "utf-8")
    soon = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=2)
    parameters = {
        "ScheduledTrigger": "nightly",
        "ScheduleExpression": f"cron({soon.minute} {soon.hour} {soon.day} {soon.month} ? {soon.year})",
        "TaskMemory": "2048",
        "PipelineSecretArns": "arn:aws:secretsmanager:us-east-1:123456789012:secret:pipelines/*",
    }
    with Cloud(parameters=parameters, sources=[project], api_port=0, aws_port=0) as cloud:
        yield Product(cloud, prepare_stack(cloud, print).api_key, project, soon)
