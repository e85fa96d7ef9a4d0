"""What stands for the neighbours of the product, other than its table: catalogue, triggers, event bus, ECS's client."""

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from botocore import UNSIGNED

from local.ecs import Ecs
from local.ecs_client import ecs_client
from tests.factories import TASK_DEFINITION, content, snapshot
from zentrigger.catalogue import Snapshot
from zentrigger.items import to_item
from zentrigger.receipts import Receipt, Unmatched
from zentrigger.run_store import Along
from zentrigger.runs import Run
from zentrigger.trigger_store import Refused
from zentrigger.triggers import StoredTrigger, Trigger

if TYPE_CHECKING:
    from tests.simulation.invariants import Watch

DEFINITION: dict[str, Any] = {
    "taskDefinitionArn": TASK_DEFINITION,
    "family": "zentrigger-snapshot",
    "revision": 1,
    "cpu": "1024",
    "memory": "4096",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "runtimePlatform": {"cpuArchitecture": "ARM64"},
    "containerDefinitions": [
        {"name": "runner", "image": "local", "essential": True, "memory": 4096, "stopTimeout": "120"}
    ],
}

_PLAIN: dict[str, Any] = {"parameters_schema": {"type": "object", "properties": {}}, "steps": {}}


class Catalogue:
    """Every pipeline that is asked for, with one snapshot."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}

    def choose(self, pipeline_name: str, choice: str | int | None) -> Snapshot:
        return self.find(pipeline_name, choice)

    def find(self, pipeline_name: str, choice: str | int | None) -> Snapshot:
        del choice
        if pipeline_name not in self._snapshots:
            self._snapshots[pipeline_name] = snapshot(content(pipeline=pipeline_name, **_PLAIN))
        return self._snapshots[pipeline_name]


class Revisions:
    """One task definition for all."""

    family = "zentrigger-snapshot"

    def revision(self, *_: object) -> str:
        return TASK_DEFINITION

    def known_revision(self, *_: object) -> str:
        return TASK_DEFINITION


class Bus:
    """The event bus; it tells the watch what it took."""

    def __init__(self, watch: "Watch") -> None:
        self._watch = watch

    def put_events(self, *, Entries: Sequence[dict[str, str]]) -> dict[str, Any]:  # noqa: N803 - boto3's name
        for entry in Entries:
            self._watch.published(entry["DetailType"], entry["Detail"])
        return {"FailedEntryCount": 0, "Entries": [{"EventId": str(uuid.uuid4())} for _ in Entries]}


class Triggers:
    """The triggers of the stack, and their receipts."""

    def __init__(self) -> None:
        self.all: dict[str, Trigger] = {}
        self.receipts: list[Receipt] = []

    def stored(self) -> tuple[Trigger, ...]:
        return tuple(self.all.values())

    def booking(self, trigger: Trigger, receipt: Receipt, event: str | None) -> Along:
        del event

        def along(run: Run) -> list[Any]:
            # In the runs' table, which is the only one here: what counts is that it is one transaction.
            key = {"run_id": f"receipts#{trigger.name}", "part": receipt.receipt_id}
            return [{"Put": {"TableName": "RunsTable", "Item": to_item(key | {"of": run.run_id})}}]

        return along

    def add_receipt(self, receipt: Receipt, event: str | None = None, *, of: StoredTrigger | None) -> None:
        del event, of
        self.receipts.append(receipt)

    def add_refused(self, refused: Sequence[Refused]) -> None:
        raise AssertionError(f"a filter refused an event: {refused}")

    def add_unmatched(self, event: Unmatched) -> None:
        raise AssertionError(f"an event matched nothing: {event}")


class SharedClient:
    """boto3's client of the ECS model. One serves all worlds, in turn: to make one takes as long as a schedule."""

    _model: ClassVar[list[Ecs]] = []
    _client: ClassVar[Any] = None

    def __init__(self, model: Ecs) -> None:
        self._own = model
        if SharedClient._client is None:
            SharedClient._client = client = ecs_client(lambda: SharedClient._model[0])
            # Nobody looks at signatures, and they take a tenth of a schedule.
            client.meta.events.register("choose-signer.ecs", lambda **_: UNSIGNED)

    def __getattr__(self, name: str) -> Any:
        SharedClient._model[:] = [self._own]
        return getattr(SharedClient._client, name)
