"""How many calls of AWS an answer costs: an accepted run three, a look at a run one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from tests.factories import TASK, TRAINING, publication
from zentrigger.capacity import Limits
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.key_store import KeyStore
from zentrigger.launches import Network, Started
from zentrigger.publishing import Publisher
from zentrigger.run_requests import RunRequest
from zentrigger.run_store import RunStore
from zentrigger.runs import Source
from zentrigger.submit import Submitter
from zentrigger.task_definitions import TaskDefinitions
from zentrigger.trigger_store import TriggerStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def calls(dynamodb_moto: "DynamoDBClient") -> Iterator[Any]:
    """Give what counts the calls of DynamoDB made within a `with`."""
    made: list[str] = []

    def count(model: Any, **_arguments: Any) -> None:
        made.append(model.name)

    dynamodb_moto.meta.events.register("before-call.dynamodb", count)

    @contextmanager
    def counted() -> Iterator[list[str]]:
        made.clear()
        yield made

    yield counted
    dynamodb_moto.meta.events.unregister("before-call.dynamodb", count)


def test_an_accepted_run_is_two_writes_and_one_launch(dynamodb_moto: "DynamoDBClient", calls: Any) -> None:
    """Transaction, RunTask, ARN; key, snapshot and task definition come from memory once they were read.

    A process that knows nothing reads key, pipeline, snapshot and task definition; it registers none that there is.
    """
    keys, ecs = KeyStore("KeysTable", dynamodb_moto), Mock()
    ecs.describe_task_definition.return_value = {"taskDefinition": {"containerDefinitions": [{"name": "runner"}]}}
    ecs.register_task_definition.return_value = {"taskDefinition": {"taskDefinitionArn": "arn:revision"}}
    _, text = keys.create("n", ("run",))
    launcher = Mock()
    launcher.run_task.return_value = Started(TASK)

    def task_definitions() -> TaskDefinitions:
        return TaskDefinitions(base="b", family="f", table="CatalogueTable", ecs=ecs, dynamodb=dynamodb_moto)

    Publisher(
        catalogue=CatalogueStore("CatalogueTable", dynamodb_moto),
        triggers=TriggerStore("TriggersTable", dynamodb_moto),
        task_definitions=task_definitions(),
    ).publish(publication(), "tests")
    submitter = Submitter(
        runs=RunStore("RunsTable", dynamodb_moto),
        catalogue=CatalogueStore("CatalogueTable", dynamodb_moto),
        task_definitions=task_definitions(),
        launcher=launcher,
        cluster="c",
        network=Network(("s",), ("g",), "ENABLED"),
        limits=Limits(max_active=9, max_waiting=0, retention_days=1),
    )
    ecs.reset_mock()

    def accept(keys: KeyStore) -> None:
        key = keys.authenticate(text)
        submitter.submit(RunRequest(pipeline=TRAINING.pipeline), Source(type="http", key_id=key.key_id), run_id=None)

    keys = KeyStore("KeysTable", dynamodb_moto)
    with calls() as made:
        accept(keys)
    assert made == [*["GetItem"] * 4, "TransactWriteItems", "UpdateItem"]
    with calls() as made:
        accept(keys)
    assert made == ["TransactWriteItems", "UpdateItem"]
    assert launcher.run_task.call_count == 2
    assert ecs.mock_calls == []


def test_a_look_at_a_run_is_one_read(dynamodb_moto: "DynamoDBClient", calls: Any) -> None:
    """One Query gives all parts."""
    with calls() as made:
        assert RunStore("RunsTable", dynamodb_moto).get("nobody") is None
    assert made == ["Query"]
