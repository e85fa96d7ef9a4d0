"""How many calls of AWS an answer costs: an accepted run three, a look at a run one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from tests.factories import TASK, TRAINING, pipeline
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.key_store import KeyStore
from zentrigger.launches import Network, Started
from zentrigger.run_requests import RunRequest
from zentrigger.run_store import RunStore
from zentrigger.runs import Source
from zentrigger.submit import Limits, Submitter

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
    """Transaction, RunTask, ARN; key and catalogue come from memory once they were read."""
    catalogue, keys = CatalogueStore("CatalogueTable", dynamodb_moto), KeyStore("KeysTable", dynamodb_moto)
    catalogue.publish(TRAINING, "tests")
    _, text = keys.create("n", ("run",))
    launcher = Mock()
    launcher.run_task.return_value = Started(TASK)
    submitter = Submitter(
        runs=RunStore("RunsTable", dynamodb_moto),
        catalogue=catalogue,
        launcher=launcher,
        cluster="c",
        network=Network(("s",), ("g",), "ENABLED"),
        task_definition="t:1",
        limits=Limits(max_active=9, max_waiting=0, retention_days=1),
    )

    def accept() -> None:
        key = keys.authenticate(text)
        submitter.submit(RunRequest(pipeline=pipeline().name), Source(type="http", key_id=key.key_id), run_id=None)

    accept()
    with calls() as made:
        accept()

    assert made == ["TransactWriteItems", "UpdateItem"]
    assert launcher.run_task.call_count == 2


def test_a_look_at_a_run_is_one_read(dynamodb_moto: "DynamoDBClient", calls: Any) -> None:
    """One Query gives all parts."""
    with calls() as made:
        assert RunStore("RunsTable", dynamodb_moto).get("nobody") is None
    assert made == ["Query"]
