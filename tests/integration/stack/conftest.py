"""The whole stack on the embedded AWS: real HTTP, real function processes; only what tasks do is up to the test."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import boto3
import pytest
import requests

from local.cloud import Cloud
from local.containers import ManualRuntime
from tests.factories import TRAINING, Runs
from zentrigger.runs import Report
from zentrigger.timestamps import now

if TYPE_CHECKING:
    from local.ecs_tasks import Task

T = TypeVar("T")

EVENTS = Path(__file__).parents[3] / "events"
SETTLES_WITHIN_SECONDS = 15


@dataclass
class Stack:
    """A caller's and an operator's view of the stack, and the hands of its tasks."""

    cloud: Cloud
    tasks: ManualRuntime
    key: str = field(repr=False)
    session: requests.Session = field(default_factory=requests.Session)

    def call(
        self, method: str, path: str, body: Any = None, *, key: str | None = "", **arguments: Any
    ) -> requests.Response:
        """Make a call with the operator's key, another, or (None) without."""
        headers = {"X-API-Key": key or self.key} if key is not None else {}
        headers |= arguments.pop("headers", {})
        if body is not None:
            arguments["json"] = body
        while True:
            answer = self.session.request(method, self.cloud.api_url + path, headers=headers, timeout=40, **arguments)
            # Tests call faster than the stage's throttle allows; what it says is the gateway's own.
            if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS or "message" not in answer.json():
                return answer
            time.sleep(0.2)

    def post_run(self, **request: Any) -> dict[str, Any]:
        """Ask for a run and give it."""
        answer = self.call("POST", "/runs", {"pipeline": TRAINING.pipeline} | request)
        assert answer.status_code == 202, answer.text
        run: dict[str, Any] = answer.json()
        return run

    def get_run(self, run_id: str) -> dict[str, Any]:
        """Give a run."""
        answer = self.call("GET", f"/runs/{run_id}")
        assert answer.status_code == 200, answer.text
        run: dict[str, Any] = answer.json()
        return run

    def runs(self, clock: Callable[[], datetime] = now) -> Runs:
        """Give the runs' table, as functions and tasks have it; at another time, if need be."""
        return Runs(self.cloud.stack.resources["RunsTable"].physical_id, self.client("dynamodb"), clock)

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

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Invoke a function directly, by its name in the template."""
        name = self.cloud.stack.resources[function].physical_id
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        return result

    def forgotten_task(self) -> str:
        """Give the ARN of a task that ECS has forgotten, of a cluster that the stack had before."""
        stack_name = self.cloud.stack.resources["Cluster"].physical_id.partition("-")[0]
        return f"arn:aws:ecs:us-east-1:123456789012:task/{stack_name}-Cluster-before/0123456789abcdef0123456789abcdef"

    def tasks_of(self, run_id: str) -> list["Task"]:
        """Give the tasks that were started for a run."""
        return [task for task in self.tasks.tasks if dict(task.container.environment)["RUN_ID"] == run_id]

    def task_of(self, run_id: str) -> "Task":
        """Wait for a run's task and give it."""
        (task,) = self.wait(lambda: self.tasks_of(run_id))
        return task

    def claim(self, run_id: str) -> str:
        """Let a run's task start and claim it; gives the task's ARN."""
        task = self.task_of(run_id)
        self.tasks.run(task.arn)
        self.runs().claim(run_id, 1, task.arn)
        return task.arn

    def finish(self, run_id: str, report: Report) -> None:
        """Let a run's task claim, report and end."""
        arn = self.claim(run_id)
        assert self.runs().report(run_id, 1, arn, report)
        self.tasks.exit(arn, 0 if report.outcome == "succeeded" else 1)

    def ended(self, run_id: str) -> dict[str, Any]:
        """Wait for a run's end and give it."""
        return self.wait(lambda: run if (run := self.get_run(run_id))["ended_at"] else None)

    def wait(self, look: Callable[[], T | None]) -> T:
        """Look until there is something."""
        until = time.monotonic() + SETTLES_WITHIN_SECONDS
        while time.monotonic() < until:
            if found := look():
                return found
            time.sleep(0.05)
        raise AssertionError("nothing came")


def sample(name: str) -> dict[str, Any]:
    """Give a payload of `events/`."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text("utf-8"))
    return event


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Run the stack, with 4 slots and room for 2 to wait, and the training pipeline published."""
    tasks = ManualRuntime(obedient=True)
    parameters = {"MaxActiveRuns": "4", "MaxWaitingRuns": "2", "ScheduledTrigger": "nightly"}
    with Cloud(parameters=parameters, container_runtime=tasks, api_port=0, aws_port=0) as cloud:
        running = Stack(cloud, tasks, "")
        running.key = running.invoke("AdminFunction", sample("admin_create_first_key"))["key"]
        published = running.call("POST", "/snapshots", TRAINING.model_dump(mode="json"))
        assert published.status_code == 201, published.text
        yield running


@pytest.fixture(autouse=True)
def _nothing_active(request: pytest.FixtureRequest) -> Iterator[None]:
    """End what a test left active, so that slots are free for the next."""
    yield
    stack: Stack = request.getfixturevalue("stack")
    active = [run for run in stack.call("GET", "/runs?limit=100").json()["items"] if run["ended_at"] is None]
    for run in active:
        stack.call("DELETE", f"/runs/{run['run_id']}")
    for run in active:
        stack.ended(run["run_id"])
