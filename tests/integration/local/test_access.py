"""Functions and tasks may do what their roles say, an operator everything, and whoever has no role nothing."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from local.access import access_key_id
from local.cloud import Cloud
from local.containers import ManualRuntime


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """Deploy the product's own template, without running anything of it."""
    with Cloud(functions=False, container_runtime=ManualRuntime(), api_port=0, aws_port=0) as running:
        yield running


def client(cloud: Cloud, service: Any, role: str) -> Any:
    """Make a client for whoever has assumed a role of the stack."""
    known = cloud.stack.resources.get(role)
    return boto3.client(
        service,
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.environment["AWS_REGION"],
        aws_access_key_id=access_key_id(cloud.stack.arn(role) if known else role),
        aws_secret_access_key="local",
    )


def key_of(cloud: Cloud) -> dict[str, Any]:
    """Give a table and a key to look for."""
    return {
        "TableName": cloud.stack.resources["KeysTable"].physical_id,
        "Key": {"collection": {"S": "keys"}, "item": {"S": "nobody"}},
    }


def refusal(call: Any, **arguments: Any) -> tuple[str, str]:
    """Give code and message with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"]), str(caught.value.response["Error"].get("Message"))


def test_what_a_role_allows_is_answered_and_all_else_refused(cloud: Cloud) -> None:
    """With AWS's own code, and a message that names role, action and resource."""
    dynamodb = client(cloud, "dynamodb", "StatusRole")
    assert "Item" not in dynamodb.get_item(**key_of(cloud))

    code, message = refusal(dynamodb.delete_item, **key_of(cloud))

    assert code == "AccessDeniedException"
    assert "StatusRole" in message
    assert "dynamodb:DeleteItem" in message
    assert key_of(cloud)["TableName"] in message


def test_a_role_may_put_into_one_collection_and_into_no_other(cloud: Cloud) -> None:
    """A bug in `trigger` cannot change what is published."""
    dynamodb = client(cloud, "dynamodb", "TriggerRole")
    table = cloud.stack.resources["CatalogueTable"].physical_id
    dynamodb.put_item(TableName=table, Item={"collection": {"S": "task_definitions"}, "item": {"S": "k"}})
    head = {"collection": {"S": "pipelines"}, "item": {"S": "p"}}
    assert refusal(dynamodb.put_item, TableName=table, Item=head)[0] == "AccessDeniedException"


def test_what_nobody_can_judge_is_refused(cloud: Cloud) -> None:
    """An action that no function of the product uses."""
    code, message = refusal(client(cloud, "dynamodb", "AdminRole").list_tables)
    assert code == "AccessDeniedException"
    assert "dynamodb:ListTables" in message


def test_without_a_role_there_is_nothing(cloud: Cloud) -> None:
    """As for a task whose task definition names none."""
    assert refusal(client(cloud, "dynamodb", "none").get_item, **key_of(cloud))[0] == "AccessDeniedException"


def test_an_operator_may_do_everything(cloud: Cloud) -> None:
    """With the credentials that the embedded AWS gives out."""
    assert cloud.clients.get("dynamodb").list_tables()["TableNames"]


def test_objects_are_judged_by_bucket_and_a_missing_one_is_not_told(cloud: Cloud) -> None:
    """A task writes artifacts only; who may not list a bucket gets 403 for what is not there, as from S3."""
    s3, operator = client(cloud, "s3", "TaskRole"), cloud.clients.get("s3")
    data, artifacts = cloud.outputs["DataBucket"], cloud.outputs["ArtifactBucket"]
    operator.put_object(Bucket=data, Key="a b", Body=b"x")
    assert s3.get_object(Bucket=data, Key="a b")["Body"].read() == b"x"
    s3.put_object(Bucket=artifacts, Key="a", Body=b"x")
    assert refusal(s3.put_object, Bucket=data, Key="a", Body=b"x")[0] == "AccessDenied"
    assert refusal(s3.delete_object, Bucket=artifacts, Key="a")[0] == "AccessDenied"
    assert refusal(s3.list_objects_v2, Bucket=data)[0] == "AccessDenied"
    assert refusal(s3.get_object, Bucket=data, Key="nobody")[0] == "AccessDenied"
    assert refusal(s3.head_object, Bucket=data, Key="nobody")[0] == "403"
    assert refusal(operator.get_object, Bucket=data, Key="nobody")[0] == "NoSuchKey"


def test_what_was_allowed_is_remembered(cloud: Cloud) -> None:
    """One example for each way."""
    client(cloud, "dynamodb", "TriggerRole").get_item(**key_of(cloud))
    calls = {(role, call.action) for role, call in cloud.access.allowed_calls}
    assert ("TriggerRole", "dynamodb:GetItem") in calls
    assert ("TriggerRole", "dynamodb:DeleteItem") not in calls


def test_faults_befall_functions_and_tasks_and_no_operator(cloud: Cloud) -> None:
    """On the wire: an error of the service, and a connection that is cut after the write was done."""
    operator = cloud.clients.get("dynamodb")
    table = cloud.stack.resources["CatalogueTable"].physical_id
    item = {"collection": {"S": "task_definitions"}, "item": {"S": "lost"}}
    once = boto3.client(
        "dynamodb",
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.environment["AWS_REGION"],
        aws_access_key_id=access_key_id(cloud.stack.arn("TriggerRole")),
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}),
    )
    cloud.faults.next("dynamodb.throughput")
    operator.get_item(**key_of(cloud))
    assert refusal(once.put_item, TableName=table, Item=item)[0] == "ProvisionedThroughputExceededException"
    cloud.faults.next("dynamodb.PutItem.lost_answer")
    with pytest.raises(ConnectionClosedError):
        once.put_item(TableName=table, Item=item)
    assert operator.get_item(TableName=table, Key=item)["Item"] == item
    once.put_item(TableName=table, Item=item)
