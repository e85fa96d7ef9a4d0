"""The runs table as its tests look at it: its counts, its items, a clock that they put forward, and lossy clients."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from local.client_faults import inject
from local.faults import Faults
from tests.factories import MOMENT, TASK, Runs, run, run_input
from zentrigger.capacity import Concurrency
from zentrigger.capacity_counts import capacity_key
from zentrigger.items import from_item
from zentrigger.run_store import Creation
from zentrigger.runs import Run, RunStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "RunsTable"


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self, moment: datetime = MOMENT) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def passes(self, **values: float) -> None:
        """Let time pass."""
        self.moment += timedelta(**values)


def counts(client: "DynamoDBClient", group: str = "all") -> tuple[int, int]:
    """Give how many runs of a group are counted active and waiting; `live_runs` is their sum."""
    item = from_item(client.get_item(TableName=TABLE, Key=capacity_key(group), ConsistentRead=True).get("Item", {}))
    active, waiting = item.get("active_runs", 0), item.get("waiting_runs", 0)
    assert item.get("live_runs", 0) == active + waiting
    return active, waiting


def items(client: "DynamoDBClient", run_id: str) -> dict[str, dict[str, Any]]:
    """Give all items of a run, by the names of its parts."""
    answer = client.query(
        TableName=TABLE,
        KeyConditionExpression="run_id = :run_id",
        ExpressionAttributeValues={":run_id": {"S": run_id}},
        ConsistentRead=True,
    )
    return {item["part"]: item for item in map(from_item, answer["Items"])}


def create(store: Runs, of: Run, *, max_active: int = 1, max_waiting: int | None = None) -> Creation:
    """Record a run."""
    return store.create(of, run_input(parameters={"rate": 0.1}), max_active=max_active, max_waiting=max_waiting)


def queued(store: Runs, of: Run) -> Run:
    """Record a run that waits, though nothing is active when it does."""
    blocking = create(store, run(pipeline="blocking"), max_active=100).run
    waiting = create(store, of, max_active=1).run
    store.end(blocking, RunStatus.FAILED, None, None)
    assert waiting.status == RunStatus.QUEUED
    return waiting


def head(store: Runs, run_id: str) -> Run:
    """Give the head of a run that is there."""
    standing = store.head(run_id)
    assert standing is not None
    return standing


def claimed(store: Runs, of: Run | None = None) -> Run:
    """Record a run and claim it."""
    created = create(store, of or run(), max_active=100).run
    store.claim(created.run_id, created.attempt, TASK)
    return head(store, created.run_id)


def keyed(key: str = "customer-7", **values: Any) -> Run:
    """Make a run with a concurrency key; `limit` and `on_conflict` are the key's, all other values the run's."""
    of_key = {name: values.pop(name) for name in ("limit", "on_conflict") if name in values}
    return run(concurrency=Concurrency(key=key, **of_key), **values)


def with_faults(client: "DynamoDBClient", faults: Faults) -> "DynamoDBClient":
    """Give a client of the same DynamoDB to whose requests faults happen; it sends each as often as a function's."""
    lossy: DynamoDBClient = boto3.client(
        "dynamodb",
        endpoint_url=client.meta.endpoint_url,
        region_name=client.meta.region_name,
        # DynamoDB Local keeps tables apart by the access key.
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}),
    )
    inject(lossy, faults)
    return lossy


on_dynamodb_local = pytest.mark.parametrize(
    "dynamodb", [pytest.param("dynamodb_local", marks=pytest.mark.dynamodb_local)], indirect=True
)
"""For tests that moto would make long, or not show more by: on DynamoDB Local alone."""


class Forgetful:
    """A client that loses the first answer of every write, and writes again, as if it had never written before.

    After the very first of these writes, and before it is repeated, something else may happen.
    """

    def __init__(self, client: "DynamoDBClient", meanwhile: Callable[[], object] = lambda: None) -> None:
        self._client = client
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name not in {"transact_write_items", "update_item", "put_item"}:
            return call

        def twice(**request: Any) -> Any:
            call(**request)
            meanwhile, self._meanwhile = self._meanwhile, lambda: None
            meanwhile()
            return call(**request)

        return twice


class Interrupted:
    """A client between whose calls something else happens: before the `turn`-th of a name."""

    def __init__(self, client: "DynamoDBClient", name: str, turn: int, action: Callable[[], object]) -> None:
        self._client, self._name, self._left, self._action = client, name, turn, action

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                self._action()
        return getattr(self._client, name)
