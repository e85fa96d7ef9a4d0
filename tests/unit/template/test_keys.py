"""What the stores ask DynamoDB for uses the keys that `checks.KEYS` says: recorded from the stores themselves."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import MagicMock

import pytest

from tests import factories
from tests.unit.template.checks import KEYS
from zentrigger.catalogue import PublishedPipeline
from zentrigger.catalogue_store import CatalogueStore, CatalogueWrite
from zentrigger.errors import NotFoundError
from zentrigger.events import ScheduleFired
from zentrigger.hook_secrets import HookSecretStore
from zentrigger.items import transact
from zentrigger.key_store import KeyStore
from zentrigger.pointers import Rewrite
from zentrigger.receipts import Unmatched, new_receipt
from zentrigger.runs import RunStatus
from zentrigger.task_definitions import TaskDefinitions
from zentrigger.trigger_store import PendingSchedule, Refused, TriggerStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


class Recorder:
    """A DynamoDB client that has nothing and writes down what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        def ask(**request: Any) -> dict[str, Any]:
            self.requests.append((operation, request))
            return {"Items": [], "Attributes": {"not_matched": {"N": "1"}}}

        return ask

    def get_paginator(self, operation: str) -> Any:
        """Give a paginator with one empty page."""
        recorder = self

        class Paginator:
            def paginate(self, **request: Any) -> list[dict[str, Any]]:
                recorder.requests.append((operation, request))
                return [{"Items": []}]

        return Paginator()


def asked(table: str, use: Callable[["DynamoDBClient"], object]) -> list[tuple[str, dict[str, Any]]]:
    """Give what a use of a store asks for, single actions of transactions included."""
    recorder = Recorder()
    with suppress(NotFoundError):  # there is nothing, which is not what is looked at here
        use(cast("DynamoDBClient", recorder))
    flat: list[tuple[str, dict[str, Any]]] = []
    for operation, request in recorder.requests:
        actions = request.get("TransactItems", [{operation: request}])
        flat += [(kind, action) for entry in actions for kind, action in entry.items()]
    assert flat
    assert {action["TableName"] for _, action in flat} == {table}
    return flat


def starting() -> Any:
    """Give a run that holds a slot."""
    return factories.run(status=RunStatus.STARTING, status_at=datetime.now(UTC))


def written(client: "DynamoDBClient") -> None:
    """Write a snapshot with a name and a tag, give it others, and delete it."""
    first = factories.snapshot(name="n", tags=("t",)).summary
    second = first.model_copy(update={"name": "m", "tags": ("u",)})
    standing = PublishedPipeline(factories.pipeline(), first)
    store = CatalogueStore("CatalogueTable", client)
    store.write(CatalogueWrite(None, standing, (Rewrite(None, first),), content=factories.TRAINING))
    store.write(CatalogueWrite(standing, standing, (Rewrite(first, second),)))
    store.write(CatalogueWrite(standing, standing, (Rewrite(second, None),)))


def found_definition(client: "DynamoDBClient") -> None:
    """Look for the task definition of an image, register it and write it down."""
    base = {"containerDefinitions": [{"name": "runner", "image": "i"}]}
    ecs = MagicMock()
    ecs.describe_task_definition.return_value = {"taskDefinition": base}
    ecs.register_task_definition.return_value = {"taskDefinition": {"taskDefinitionArn": "arn"}}
    made = TaskDefinitions(base="b", family="f", table="CatalogueTable", ecs=ecs, dynamodb=client)
    assert made.revision("image", None, {}) == "arn"


def booked(client: "DynamoDBClient") -> None:
    """Keep a trigger with a schedule, what becomes of its events, and that it is deleted."""
    store = TriggerStore("TriggersTable", client)
    trigger = factories.trigger("t", type="schedule")
    firing = ScheduleFired(event_id="e", time=factories.MOMENT, trigger="t")
    receipt = new_receipt("t", firing, factories.MOMENT)
    store.add_receipt(receipt.told("duplicate"), of=trigger)
    store.add_refused([Refused(trigger, receipt.told("not_matched"))])
    store.add_unmatched(Unmatched(event_id="e", at=factories.MOMENT, type="s3", bucket="b", key="k"))
    actions = [*store.booking(trigger, receipt, None)(starting()), store.put_action(trigger, None)]
    transact(client, [*actions, store.pending_action("t", "w"), *store.delete_actions(trigger)])


def hook_secret(client: "DynamoDBClient") -> None:
    """Give a webhook trigger a secret, and delete it with its trigger."""
    store = HookSecretStore("KeysTable", client)
    standing = {"ConditionCheck": {"TableName": "KeysTable", "Key": {"collection": {}, "item": {}}}}
    store.put("t", "a secret", factories.MOMENT, standing=cast("TransactWriteItemTypeDef", standing))
    transact(client, [store.delete_action("t")])


USES: dict[str, tuple[str, Callable[["DynamoDBClient"], object]]] = {
    "a run": ("RunsTable", lambda client: factories.Runs("RunsTable", client).get("r")),
    "a head": ("RunsTable", lambda client: factories.Runs("RunsTable", client).head("r")),
    "active runs": ("RunsTable", lambda client: factories.Runs("RunsTable", client).active("queued", 1)),
    "runs of a pipeline": ("RunsTable", lambda client: factories.Runs("RunsTable", client).page(limit=1, pipeline="p")),
    "runs of a trigger": ("RunsTable", lambda client: factories.Runs("RunsTable", client).page(limit=1, trigger="t")),
    "runs of a month": ("RunsTable", lambda client: factories.Runs("RunsTable", client).page(limit=1)),
    "recording a run": (
        "RunsTable",
        lambda client: factories.Runs("RunsTable", client).create(
            starting(), factories.run_input(), max_active=1, max_waiting=1
        ),
    ),
    "ending a run": (
        "RunsTable",
        lambda client: factories.Runs("RunsTable", client).end(starting(), RunStatus.FAILED, "r", "m"),
    ),
    "a pipeline": ("CatalogueTable", lambda client: CatalogueStore("CatalogueTable", client).pipeline("p")),
    "pipelines": ("CatalogueTable", lambda client: CatalogueStore("CatalogueTable", client).pipelines(limit=1)),
    "a snapshot by its tag": (
        "CatalogueTable",
        lambda client: CatalogueStore("CatalogueTable", client).find("p", "tag:t"),
    ),
    "snapshots": ("CatalogueTable", lambda client: CatalogueStore("CatalogueTable", client).snapshots("p", limit=1)),
    "writing snapshots": ("CatalogueTable", written),
    "a task definition": ("CatalogueTable", found_definition),
    "a trigger": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).get("t")),
    "triggers": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).triggers()),
    "receipts": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).receipts("t", limit=1)),
    "a receipt": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).receipt("t", "r")),
    "refused events": (
        "TriggersTable",
        lambda client: TriggerStore("TriggersTable", client).receipts("t", limit=1, outcome="not_matched"),
    ),
    "recent events": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).recent_events("t", 1)),
    "counts": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).counts([])),
    "counts of a trigger": (
        "TriggersTable",
        lambda client: TriggerStore("TriggersTable", client).counts_of(factories.trigger("t")),
    ),
    "runs of an hour": (
        "TriggersTable",
        lambda client: TriggerStore("TriggersTable", client).started_in_hour("t", factories.MOMENT),
    ),
    "unmatched events": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).unmatched(limit=1)),
    "pending schedules": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).pending_schedules()),
    "pending schedules of a trigger": (
        "TriggersTable",
        lambda client: TriggerStore("TriggersTable", client).pending_schedules("t"),
    ),
    "a refused schedule": (
        "TriggersTable",
        lambda client: TriggerStore("TriggersTable", client).keep_refusal(
            PendingSchedule("t", "w", factories.MOMENT), "no", factories.MOMENT
        ),
    ),
    "a trigger that is held": (
        "TriggersTable",
        lambda client: transact(
            client, [TriggerStore("TriggersTable", client).standing_action(factories.trigger("t"))]
        ),
    ),
    "a schedule that is set": ("TriggersTable", lambda client: TriggerStore("TriggersTable", client).settled("t", "w")),
    "writing and deleting triggers": ("TriggersTable", booked),
    "a hook's secret": ("KeysTable", hook_secret),
    "a new key": ("KeysTable", lambda client: KeyStore("KeysTable", client).create("n", ("read",))),
    "keys": ("KeysTable", lambda client: KeyStore("KeysTable", client).api_keys()),
    "deleting a key": ("KeysTable", lambda client: KeyStore("KeysTable", client).delete("k")),
}


@pytest.mark.parametrize(("table", "use"), USES.values(), ids=USES)
def test_stores_use_these_keys(table: str, use: Callable[["DynamoDBClient"], object]) -> None:
    """Whole keys for items, the hash key for queries, and both in what is written."""
    for kind, action in asked(table, use):
        key = KEYS[table, action.get("IndexName")]
        if "Key" in action:
            assert set(action["Key"]) == set(key), kind
        elif "Item" in action:
            assert set(key) <= set(action["Item"]), kind
        else:
            expression = action["KeyConditionExpression"]
            names = action.get("ExpressionAttributeNames", {})
            compared = re.match(r"([#\w]+) = :", expression)
            assert compared is not None, expression
            assert names.get(compared[1], compared[1]) == key[0], (kind, action)


def test_every_key_is_used() -> None:
    """No table and no index is there for nothing."""
    used = {(table, action.get("IndexName")) for table, use in USES.values() for _, action in asked(table, use)}
    assert used == set(KEYS)
