"""A stack of the tests' own, deployed once for each module that uses it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.cloud import Cloud
from local.containers import ManualRuntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STACK = Path(__file__).parent / "stack"


@dataclass(frozen=True)
class Running:
    """A running stack and what its functions wrote down."""

    cloud: Cloud
    records: Path
    tasks: ManualRuntime

    def read(self, kind: str) -> list[Any]:
        """Return what the functions recorded under that name."""
        path = self.records / f"{kind}.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["value"] for line in lines]

    def receive(self, queue: str, *, count: int = 1, seconds: float = 10) -> list[dict[str, Any]]:
        """Receive and delete messages of a queue until there are `count`; returns their bodies."""
        sqs = self.cloud.clients.get("sqs")
        bodies: list[dict[str, Any]] = []
        deadline = time.monotonic() + seconds
        while len(bodies) < count and time.monotonic() < deadline:
            answer = sqs.receive_message(
                QueueUrl=self.cloud.outputs[queue],
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
            )
            for message in answer.get("Messages", []):
                sqs.delete_message(QueueUrl=self.cloud.outputs[queue], ReceiptHandle=message["ReceiptHandle"])
                bodies.append(json.loads(message["Body"]))
        return bodies


def eventually(condition: Callable[[], object], *, seconds: float = 15) -> None:
    """Wait until the condition holds; fails the test if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Start the whole test stack, with its functions; tasks are run by hand."""
    records = tmp_path_factory.mktemp("records")
    tasks = ManualRuntime()
    with Cloud(
        template=STACK / "template.yaml",
        parameters={"RecordFolder": str(records)},
        api_port=0,
        aws_port=0,
        container_runtime=tasks,
        state_folder=tmp_path_factory.mktemp("state"),
    ) as cloud:
        yield Running(cloud, records, tasks)
