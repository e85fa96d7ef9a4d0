"""boto3's clients without a network: what they raise is what they raise on AWS."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError, ReadTimeoutError
from moto import mock_aws

from local.client_faults import inject
from local.containers import ManualRuntime
from local.ecs import Ecs
from local.ecs_client import ecs_client
from local.faults import Faults
from tests.unit.local.bench import DEFINITION, REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecs import ECSClient

KEY = {"id": {"S": "a"}}


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def runtime() -> ManualRuntime:
    return ManualRuntime(obedient=True)


@pytest.fixture
def ecs(faults: Faults, runtime: ManualRuntime) -> Ecs:
    return Ecs(
        region="eu-west-1",
        account_id="123456789012",
        runtime=runtime,
        task_definition={"runner": DEFINITION}.__getitem__,
        cluster_exists={"runs"}.__contains__,
        publish=lambda _: None,
        faults=faults,
    )


@pytest.fixture
def client(ecs: Ecs) -> ECSClient:
    return ecs_client(ecs)


def run_task(client: ECSClient, **changes: Any) -> dict[str, Any]:
    return dict(client.run_task(**(REQUEST | changes)))


class TestEcsClient:
    def test_answers_as_boto3_does(self, client: ECSClient, runtime: ManualRuntime) -> None:
        answer = run_task(client, clientToken="a")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
        arn = answer["tasks"][0]["taskArn"]
        assert isinstance(answer["tasks"][0]["createdAt"], datetime)
        assert client.list_tasks(cluster="runs", startedBy="run-1/1/1")["taskArns"] == [arn]
        runtime.run(arn)
        assert client.stop_task(cluster="runs", task=arn)["task"]["stopCode"] == "UserInitiated"
        (task,) = client.describe_tasks(cluster="runs", tasks=[arn])["tasks"]
        assert (task["lastStatus"], task["containers"][0]["exitCode"]) == ("STOPPED", 143)

    def test_a_conflict_names_the_task(self, client: ECSClient) -> None:
        arn = run_task(client, clientToken="a")["tasks"][0]["taskArn"]
        with pytest.raises(client.exceptions.ConflictException) as conflict:
            run_task(client, clientToken="a", startedBy="other")
        assert conflict.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert conflict.value.response["Error"]["Code"] == "ConflictException"
        assert conflict.value.response["resourceIds"] == [arn]  # type: ignore[typeddict-item]

    def test_checks_parameters_as_boto3_does(self, client: ECSClient) -> None:
        with pytest.raises(ParamValidationError):
            client.run_task(cluster=7)  # type: ignore[call-arg, arg-type]

    def test_a_lost_answer_is_a_time_out_of_what_was_done(
        self, client: ECSClient, faults: Faults, runtime: ManualRuntime
    ) -> None:
        faults.next("ecs.RunTask.lost_answer")
        with pytest.raises(ReadTimeoutError):
            run_task(client, clientToken="a")
        assert len(runtime.tasks) == 1
        assert run_task(client, clientToken="a")["tasks"][0]["taskArn"] == runtime.tasks[0].arn

    def test_a_lost_request_is_a_time_out_of_what_was_not_done(
        self, client: ECSClient, faults: Faults, runtime: ManualRuntime
    ) -> None:
        faults.next("ecs.RunTask.lost_request")
        with pytest.raises(ReadTimeoutError):
            run_task(client)
        assert runtime.tasks == []

    @pytest.mark.parametrize(
        ("fault", "status", "code", "tasks"),
        [
            ("throttle", 400, "ThrottlingException", 0),
            ("server_error", 500, "ServerException", 0),
            ("false_error", 500, "ServerException", 1),
        ],
    )
    def test_refusals_and_failures(  # noqa: PLR0913, PLR0917 - fixtures and parameters
        self, client: ECSClient, faults: Faults, runtime: ManualRuntime, fault: str, status: int, code: str, tasks: int
    ) -> None:
        faults.next(f"ecs.{fault}")
        with pytest.raises(ClientError) as refusal:
            run_task(client)
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
        assert refusal.value.response["Error"]["Code"] == code
        assert len(runtime.tasks) == tasks

    def test_retries_are_botocores_own(self, ecs: Ecs, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)
        faults.next("ecs.ListTasks.throttle", 2)
        assert ecs_client(ecs, attempts=3).list_tasks(cluster="runs")["taskArns"] == []
        assert faults.counts == {"ecs.ListTasks.throttle": 2}

    def test_a_callable_is_asked_for_the_model_at_each_call(self, ecs: Ecs) -> None:
        models = [ecs]
        client = ecs_client(lambda: models[-1])
        run_task(client)
        models.append(
            Ecs(
                region="eu-west-1",
                account_id="123456789012",
                runtime=ManualRuntime(),
                task_definition={"runner": DEFINITION}.__getitem__,
                cluster_exists={"runs"}.__contains__,
                publish=lambda _: None,
            )
        )
        assert client.list_tasks(cluster="runs")["taskArns"] == []


@pytest.fixture
def table(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    monkeypatch.setattr("time.sleep", lambda _: None)
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="eu-west-1", config=Config(retries={"mode": "standard", "total_max_attempts": 2})
        )
        client.create_table(
            TableName="t",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
        inject(client, faults)
        yield client


def transact(table: DynamoDBClient, count: int = 2) -> None:
    table.transact_write_items(
        TransactItems=[{"Put": {"TableName": "t", "Item": {"id": {"S": str(number)}}}} for number in range(count)]
    )


class TestInjection:
    def test_without_faults_each_request_is_done_once(self, table: DynamoDBClient) -> None:
        for _ in range(2):
            table.update_item(
                TableName="t", Key=KEY, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}}
            )
        assert table.get_item(TableName="t", Key=KEY)["Item"]["n"] == {"N": "2"}

    def test_a_transaction_meets_another(self, table: DynamoDBClient, faults: Faults) -> None:
        faults.next("dynamodb.TransactWriteItems.conflict")
        with pytest.raises(table.exceptions.TransactionCanceledException) as cancelled:
            transact(table, 3)
        reasons = cancelled.value.response["CancellationReasons"]
        assert [reason["Code"] for reason in reasons] == ["TransactionConflict", "None", "None"]
        assert "[TransactionConflict, None, None]" in cancelled.value.response["Error"]["Message"]
        assert table.scan(TableName="t")["Items"] == []
        transact(table)

    def test_a_single_write_meets_a_transaction(self, table: DynamoDBClient, faults: Faults) -> None:
        faults.next("dynamodb.conflict")
        assert "Item" not in table.get_item(TableName="t", Key=KEY)  # reading meets none
        with pytest.raises(table.exceptions.TransactionConflictException):
            table.put_item(TableName="t", Item=KEY)

    def test_throttling_is_retried_by_botocore(self, table: DynamoDBClient, faults: Faults) -> None:
        faults.next("dynamodb.PutItem.throttle")
        assert table.put_item(TableName="t", Item=KEY)["ResponseMetadata"]["RetryAttempts"] == 1
        faults.next("dynamodb.throughput", 2)
        with pytest.raises(table.exceptions.ProvisionedThroughputExceededException):
            table.put_item(TableName="t", Item=KEY)
        faults.next("dynamodb.throughput")
        with pytest.raises(table.exceptions.TransactionCanceledException, match="ProvisionedThroughputExceeded, None"):
            transact(table)

    def test_the_retry_of_a_lost_answer_finds_its_own_write(self, table: DynamoDBClient, faults: Faults) -> None:
        faults.next("dynamodb.PutItem.lost_answer")
        with pytest.raises(table.exceptions.ConditionalCheckFailedException) as refusal:
            table.put_item(
                TableName="t",
                Item=KEY,
                ConditionExpression="attribute_not_exists(id)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        assert refusal.value.response["Item"] == KEY  # type: ignore[typeddict-item]

    def test_answers_that_are_lost_again_and_again_are_a_time_out(self, table: DynamoDBClient, faults: Faults) -> None:
        faults.always("dynamodb.UpdateItem.lost_answer")
        with pytest.raises(ReadTimeoutError):
            table.update_item(
                TableName="t", Key=KEY, UpdateExpression="ADD n :one", ExpressionAttributeValues={":one": {"N": "1"}}
            )
        assert table.get_item(TableName="t", Key=KEY)["Item"]["n"] == {"N": "2"}

    @pytest.mark.parametrize(("fault", "items"), [("lost_request", 0), ("server_error", 0), ("false_error", 1)])
    def test_other_failures(self, table: DynamoDBClient, faults: Faults, fault: str, items: int) -> None:
        faults.next(f"dynamodb.PutItem.{fault}", 2)
        with pytest.raises((ClientError, ReadTimeoutError)) as failure:
            table.put_item(TableName="t", Item=KEY)
        if isinstance(failure.value, ClientError):
            assert failure.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert len(table.scan(TableName="t")["Items"]) == items
