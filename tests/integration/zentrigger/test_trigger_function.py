"""The function `trigger` on moto's tables: its routes, what they take, and what they answer."""

import copy
import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import EndpointConnectionError

from local.client_faults import inject
from local.faults import Faults
from tests.factories import TASK, TRAINING, Runs, publication
from tests.publishers import publisher
from zentrigger import wiring
from zentrigger.key_store import KeyStore
from zentrigger.launches import Started
from zentrigger.runs import RunStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {
    "RUNS_TABLE": "RunsTable",
    "CATALOGUE_TABLE": "CatalogueTable",
    "KEYS_TABLE": "KeysTable",
    "TRIGGERS_TABLE": "TriggersTable",
    "EVENT_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/events",
    "CLUSTER": "c",
    "TASK_DEFINITION": "arn:base:1",
    "SNAPSHOT_FAMILY": "stack-snapshot",
    "SUBNETS": "subnet-1",
    "SECURITY_GROUPS": "sg-1",
    "ASSIGN_PUBLIC_IP": "ENABLED",
    "MAX_ACTIVE_RUNS": "2",
    "MAX_WAITING_RUNS": "1",
    "RUN_RETENTION_DAYS": "1",
}
CONTEXT = SimpleNamespace(
    function_name="trigger", memory_limit_in_mb=512, invoked_function_arn="arn:function", aws_request_id="request"
)


class Function:
    """The function, its caller's key, and an ECS that takes everything."""

    def __init__(self, client: "DynamoDBClient", handler: Callable[..., Any], ecs: Mock) -> None:
        self.client, self.ecs = client, ecs
        self.runs = Runs("RunsTable", client)
        _, self._key = KeyStore("KeysTable", client).create("tests", ("run",))
        self._handler = handler

    def call(self, sample: str, body: Any = None, **values: Any) -> SimpleNamespace:
        """Send a payload of `events/`, with another body, path parameters, query or headers."""
        event = json.loads((ROOT / "events" / f"trigger_{sample}.json").read_text("utf-8"))
        event["headers"] = {**event["headers"], "x-api-key": self._key, **values.pop("headers", {})}
        if body is not None:
            event["headers"]["content-type"] = "application/json"
            event["body"] = json.dumps(body)
        if "path" in values:
            event["pathParameters"], path = values.pop("path")
            event["rawPath"] = event["requestContext"]["http"]["path"] = path
        event["queryStringParameters"] = values.pop("query", event.get("queryStringParameters"))
        answer = self._handler(copy.deepcopy(event), CONTEXT)
        headers = {name.lower(): value for name, value in answer["headers"].items()}
        return SimpleNamespace(status=answer["statusCode"], headers=headers, body=json.loads(answer["body"]))

    @property
    def recorded(self) -> int:
        """How many runs there are."""
        return len(self.runs.page(limit=100, pipeline=TRAINING.pipeline).runs)


@pytest.fixture
def function(dynamodb_moto: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Iterator[Function]:
    """Give the function, with the training pipeline published once."""
    caches = [value for value in vars(wiring).values() if hasattr(value, "cache_clear")]
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for cache in caches:
        cache.cache_clear()
    ecs, launcher = Mock(), Mock()
    ecs.describe_task_definition.return_value = {"taskDefinition": {"containerDefinitions": [{"name": "runner"}]}}
    ecs.register_task_definition.return_value = {"taskDefinition": {"taskDefinitionArn": "arn:revision:1"}}
    launcher.run_task.return_value = Started(TASK)
    monkeypatch.setattr(wiring, "_ecs", lambda _: ecs)
    monkeypatch.setattr(wiring, "launcher", lambda _: launcher)
    definitions = wiring.task_definitions(wiring.trigger_settings())
    publisher(dynamodb_moto, task_definitions=definitions).publish(publication(), "tests")
    spec = importlib.util.spec_from_file_location("trigger_handler", ROOT / "functions" / "trigger" / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield Function(dynamodb_moto, module.handler, ecs)
    for cache in caches:
        cache.cache_clear()


def pointers(answer: SimpleNamespace) -> list[str]:
    """Give where an answer says that something is wrong."""
    return [wrong["pointer"] for wrong in answer.body["errors"]]


def test_a_dry_run_writes_nothing(function: Function) -> None:
    """And says what is wrong with status 200; only true and false are understood, and nothing else beside them."""
    tried = function.call("post_run_dry_run")

    assert tried.status == 200
    assert (tried.body["would"], tried.body["snapshot"]["id"]) == ("refuse", "training_pipeline:1")
    assert [problem["pointer"] for problem in tried.body["problems"]] == ["/parameters/modle_type"]
    assert function.call("post_run_dry_run", {"pipeline": TRAINING.pipeline}).body["would"] == "start"
    assert function.call("post_run_dry_run", {"pipeline": "nobody"}).status == 404
    query = {"dry_run": "true"}
    assert function.call("post_snapshot_run", query=query, body={"tags": ["a"]}).body["would"] == "start"
    assert function.recorded == 0
    for wrong in ({"dry_run": "yes"}, {"dry_run": ""}, {"dry_run": "true", "x": "1"}, {"dry-run": "true"}):
        assert function.call("post_run", query=wrong).status == 422
    assert function.recorded == 0
    assert function.call("post_run", query={"dry_run": "false"}).status == 202
    replay = function.call("post_run", query=query)
    assert (replay.body["would"], replay.body["run_task"]) == ("replay", None)
    for route in ("post_trigger", "post_retry", "delete_run"):
        assert function.call(route, query=query).status == 422
    assert function.recorded == 1


def test_a_snapshot_is_run_by_its_id(function: Function) -> None:
    """With the body of ZenML's last call; it is the same request as naming pipeline and number."""
    answer = function.call("post_snapshot_run", headers={"idempotency-key": "k"})

    assert answer.status == 202
    assert answer.body["snapshot"] == "training_pipeline:1"
    assert answer.headers["location"] == f"/runs/{answer.body['run_id']}"
    assert answer.headers["retry-after"] == "2"
    record = function.runs.get(answer.body["run_id"])
    assert record is not None
    assert record.input.parameters["data_url"] == "s3://production-bucket/latest-data.csv"
    assert record.run.task_definition == "arn:revision:1"
    same = {"pipeline": TRAINING.pipeline, "snapshot": 1, "parameters": {}}
    steps = {"load_data": {"parameters": {"data_url": "s3://production-bucket/latest-data.csv"}}}
    steps["train_model"] = {"parameters": {"model_type": "gradient_boosting"}}
    again = function.call("post_run", {**same, "steps": steps}, headers={"idempotency-key": "k"})
    assert (again.body["run_id"], again.headers["idempotency-replayed"]) == (answer.body["run_id"], "true")
    for nothing in ("training_pipeline:2", "nobody:1", "training_pipeline", "training_pipeline:0"):
        assert (
            function.call("post_snapshot_run", path=({"snapshot": nothing}, f"/snapshots/{nothing}/runs")).status == 404
        )
    wrong = function.call("post_snapshot_run", {"pipeline": TRAINING.pipeline, "resources": {"cpu": 3, "memory": 1}})
    assert (wrong.status, pointers(wrong)) == (422, ["/resources", "/pipeline"])


def test_a_run_is_repeated_once_it_has_ended(function: Function) -> None:
    """From its record; a key makes one retry; nothing can be said with it, for it is the same run."""
    first = function.call("post_run").body["run_id"]
    path = {"path": ({"run_id": first}, f"/runs/{first}/retry")}
    key = {"headers": {"idempotency-key": "again"}}

    assert function.call("post_retry", **path).status == 409
    head = function.runs.head(first)
    assert head is not None
    assert function.runs.end(head, RunStatus.FAILED, "why", "because")
    answer = function.call("post_retry", **path, **key)

    assert answer.status == 202
    assert answer.headers["location"] == f"/runs/{answer.body['run_id']}"
    assert (answer.body["retry_of"], answer.body["tags"]) == (first, ["nightly"])
    standing = function.runs.head(first)
    assert standing is not None
    assert standing.retried_by == answer.body["run_id"]
    again = function.call("post_retry", **path, **key)
    assert (again.body["run_id"], again.headers["idempotency-replayed"]) == (answer.body["run_id"], "true")
    assert function.call("post_retry", {}, **path, **key).status == 202
    assert function.call("post_run", **key).status == 422
    assert pointers(function.call("post_retry", {"parameters": {"test_size": 0.3}}, **path)) == [""]
    assert function.call("post_retry").status == 404
    assert function.recorded == 2


def test_without_ecs_nothing_is_recorded(function: Function, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told to come back; what was recorded before is given all the same."""
    done = function.call("post_run").body["run_id"]
    monkeypatch.setenv("TASK_DEFINITION", "arn:base:2")
    wiring.trigger_settings.cache_clear()
    function.ecs.describe_task_definition.side_effect = EndpointConnectionError(endpoint_url="https://ecs")

    refused = function.call("post_run", headers={"idempotency-key": "another"})

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert "ECS" in refused.body["detail"]
    assert function.call("post_run").body["run_id"] == done
    assert function.recorded == 1


# ------------------------------------------------------------ a DynamoDB that takes no more


@pytest.fixture
def faults(function: Function, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Give what happens to the function's calls of DynamoDB; nobody pauses before a call is made again."""
    del function
    monkeypatch.setattr("time.sleep", lambda _: None)
    faults = Faults()
    inject(wiring.dynamodb(), faults)
    return faults


@pytest.mark.parametrize("fault", ["throttle", "throughput"])
@pytest.mark.parametrize("action", ["GetItem", "TransactWriteItems"])
def test_a_throttled_caller_is_told_to_come_back(function: Function, faults: Faults, action: str, fault: str) -> None:
    """With 503 and a Retry-After, whichever call it was: of the key, the snapshot, or the run's own record."""
    faults.always(f"dynamodb.{action}.{fault}")

    refused = function.call("post_run")

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.body["type"] == "urn:zentrigger:problem:busy"
    assert "try again" in refused.body["detail"].lower()
    faults.clear()
    assert function.recorded == 0
    assert function.call("post_run").status == 202


def test_a_busy_store_records_nothing(function: Function, faults: Faults) -> None:
    """Other transactions are in the way each time: the caller is told that, and to try again."""
    faults.always("dynamodb.conflict")

    refused = function.call("post_run")

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert "busy with other writes to the same items; try again" in refused.body["detail"]
    faults.clear()
    assert function.recorded == 0


@pytest.mark.parametrize("busy", ["throttle", "conflict"])
def test_a_run_that_a_busy_store_has_recorded_is_accepted_and_launched(
    function: Function, faults: Faults, busy: str
) -> None:
    """Its answer was lost, and the store busy from then on: it is found, is no replay, and is launched once."""
    faults.next("dynamodb.TransactWriteItems.lost_answer")
    faults.next(f"dynamodb.TransactWriteItems.{busy}", after=1, times=100)

    answer = function.call("post_run")

    assert answer.status == 202
    assert "idempotency-replayed" not in answer.headers
    assert function.recorded == 1
    run_task: Mock = wiring.launcher("").run_task  # type: ignore[assignment] # a double
    assert run_task.call_count == 1


def test_a_recorded_run_is_accepted_though_its_task_could_not_be_kept(function: Function, faults: Faults) -> None:
    """The sweep finds the task again; the caller is not made to ask for a second run."""
    for fault in ("throttle", "lost_request", "server_error"):
        faults.always(f"dynamodb.UpdateItem.{fault}")
        answer = function.call("post_run", headers={"idempotency-key": fault})
        assert answer.status == 202
        assert function.call("post_run", headers={"idempotency-key": fault}).headers["idempotency-replayed"] == "true"
        faults.clear()


def test_a_cancel_that_meets_a_transaction_is_asked_again(function: Function, faults: Faults) -> None:
    """The claim of the run's task is such a one; where DynamoDB takes no more, the caller comes back."""
    run_id = function.call("post_run").body["run_id"]
    path = {"path": ({"run_id": run_id}, f"/runs/{run_id}")}
    faults.always("dynamodb.UpdateItem.throttle")
    refused = function.call("delete_run", **path)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    faults.clear()
    standing = function.runs.head(run_id)
    assert standing is not None
    assert standing.cancel_requested_at is None
    faults.next("dynamodb.UpdateItem.conflict", 3)

    assert function.call("delete_run", **path).status == 202
    assert faults.counts["dynamodb.UpdateItem.conflict"] == 3
