"""The stack on the embedded AWS as a soak needs it: a faster clock, stub tasks, and everything that it tells."""

from __future__ import annotations

import json
import math
import tempfile
import threading
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import requests

from benchmarks.soak.clock import FastClock
from local.cloud import Cloud
from zentrigger.items import from_item
from zentrigger.run_reader import RunReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.soak.tasks import StubTasks
    from local.faults import Faults
    from zentrigger.runs import RunRecord

PIPELINE: Final = "training_pipeline"
PREFIX: Final = "soak/"
"""Objects below it in the data bucket start a run each."""

_EVENTS = Path(__file__).resolve().parents[2] / "events"
_VISIBILITY_SECONDS: Final = 360
"""The event queue's, of which moto takes the world's time."""
_CALL_SECONDS: Final = 40


class Stand:
    """A running stack with one published pipeline and one trigger, seen by an operator."""

    def __init__(self, cloud: Cloud, tasks: StubTasks, clock: FastClock) -> None:
        self.cloud = cloud
        self.tasks = tasks
        self.faults = cloud.faults
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._threads = threading.local()
        self._table = cloud.stack.resources["RunsTable"].physical_id
        self._dynamodb = cloud.clients.get("dynamodb")
        self._reader = RunReader(self._table, self._dynamodb, clock)
        self._key = ""

    # ------------------------------------------------------------ calling

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Make one HTTP call with the operator's key; thread-safe."""
        if not hasattr(self._threads, "session"):
            self._threads.session = requests.Session()
        session: requests.Session = self._threads.session
        return session.request(
            method,
            self.cloud.api_url + path,
            json=body,
            headers={"X-API-Key": self._key, **(headers or {})},
            timeout=_CALL_SECONDS,
        )

    def put_object(self, name: str) -> None:
        """Let an object arrive that starts a run."""
        bucket = self.cloud.outputs["DataBucket"]
        self.cloud.clients.get("s3").put_object(Bucket=bucket, Key=f"{PREFIX}{name}", Body=b"a,b\n1,2\n")

    def invoke(self, function: str, event: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Invoke a function directly, by its name in the template."""
        name = self.cloud.stack.resources[function].physical_id
        answer = self.cloud.clients.get("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        return json.loads(answer["Payload"].read())

    def redeliver_after(self, seconds: float) -> None:
        """Have the event queue give what was not handled again after a while."""
        self.cloud.clients.get("sqs").set_queue_attributes(
            QueueUrl=self.cloud.stack.resources["EventQueue"].physical_id,
            Attributes={"VisibilityTimeout": str(math.ceil(seconds))},
        )

    # ------------------------------------------------------------ looking

    def record(self, run_id: str) -> RunRecord | None:
        """Give a run as it stands."""
        return self._reader.get(run_id)

    def items(self, part: str) -> list[dict[str, Any]]:
        """Give all items of the runs table that are such a part: heads, or counts (`capacity`)."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table)
        items = (from_item(item) for page in pages for item in page["Items"])
        return [item for item in items if item["part"] == part]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Give the counts that are not zero, by their group."""
        names = ("active_runs", "waiting_runs", "live_runs")
        counts = {
            item["run_id"]: {name: item[name] for name in names if item.get(name)} for item in self.items("capacity")
        }
        return {group: found for group, found in counts.items() if found}

    @property
    def ends(self) -> dict[str, list[Mapping[str, Any]]]:
        """Give the details of the events "Pipeline Run …" that the bus has taken, by run id."""
        with self._lock:
            return {run_id: list(details) for run_id, details in self._ends.items()}

    @property
    def ended(self) -> int:
        """How many runs have ended, as far as the bus was told."""
        with self._lock:
            return len(self._ends)

    @property
    def dead_letters(self) -> int:
        """How many messages nobody could handle."""
        queue = self.cloud.stack.resources["DeadLetterQueue"].physical_id
        answer = self.cloud.clients.get("sqs").get_queue_attributes(
            QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    @property
    def lifecycle_log(self) -> Path:
        """Where the function writes that sweeps."""
        return self.cloud.log_folder / "functions" / "LifecycleFunction.log"

    def forget(self, run_id: str) -> None:
        """Delete a run's items, as the table's time to live would."""
        keys = self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="run_id = :run_id",
            ExpressionAttributeValues={":run_id": {"S": run_id}},
            ProjectionExpression="run_id, part",
        )["Items"]
        self._dynamodb.batch_write_item(RequestItems={self._table: [{"DeleteRequest": {"Key": key}} for key in keys]})

    # ------------------------------------------------------------ before

    def prepare(self) -> None:
        """Make a key, publish the pipeline, put the trigger; see what the bus takes from here on."""
        self.tasks.connect(self.cloud, self._clock)
        self._key = self.invoke("AdminFunction", _sample("admin_create_first_key"))["key"]
        snapshot = json.loads(_sample("admin_post_snapshot")["body"])
        self.call("POST", "/snapshots", snapshot).raise_for_status()
        trigger = {"type": "s3", "pipeline": PIPELINE, "prefix": PREFIX}
        self.call("PUT", "/triggers/soak", trigger).raise_for_status()
        self.redeliver_after(_VISIBILITY_SECONDS / self._clock.speed)
        hand_on = self.cloud.endpoint.publish
        if hand_on is None:
            raise RuntimeError("the embedded AWS has no event bus")

        def publish(event: dict[str, Any]) -> None:
            if event["source"] == "zentrigger":
                with self._lock:
                    self._ends[event["detail"]["run_id"]].append(event["detail"])
            hand_on(event)

        self.cloud.endpoint.publish = publish


@contextmanager
def stand(tasks: StubTasks, faults: Faults, *, speed: float, slots: int, places: int) -> Iterator[Stand]:
    """Run the stack; while it is made ready, no fault happens.

    Args:
        tasks: What tasks do.
        faults: What goes wrong.
        speed: How many times as fast as the world's its clock runs.
        slots: How many runs may be active.
        places: How many may wait.

    """
    clock = FastClock(speed)
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(
            api_port=0,
            aws_port=0,
            parameters={"MaxActiveRuns": str(slots), "MaxWaitingRuns": str(places)},
            container_runtime=tasks,
            clock=clock,
            function_prelude=clock.prelude(Path(folder)),
            faults=faults,
        )
        with cloud:
            made = Stand(cloud, tasks, clock)
            with faults.suspended():
                made.prepare()
            yield made


def _sample(name: str) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads((_EVENTS / f"{name}.json").read_text("utf-8"))
    return sample
