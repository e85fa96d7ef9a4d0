"""The stack: what sam is called with, and what is said when CloudFormation is in the way."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto.cloudformation.models import cloudformation_backends
from moto.core.models import DEFAULT_ACCOUNT_ID

from deploy.account import Account
from deploy.stack import failures
from tests.unit.deploy.conftest import REGION, Machine, stand_in

SAM = ("--sam", "sam")
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/zentrigger-runner@sha256:" + "a" * 64
TEMPLATE = {
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue"},
        "Cluster": {"Type": "AWS::ECS::Cluster"},
        "Bucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"},
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
            },
        },
    },
    "Outputs": {"ApiUrl": {"Value": "https://api.example"}, "AdminFunction": {"Value": "zentrigger-dev-admin"}},
}


def make_stack(status: str = "CREATE_COMPLETE", template: dict[str, Any] = TEMPLATE) -> None:
    stand_in("cloudformation").create_stack(StackName="zentrigger-dev", TemplateBody=json.dumps(template))
    stacks = cloudformation_backends[DEFAULT_ACCOUNT_ID][REGION].stacks
    next(iter(stacks.values())).status = status


def test_sam_is_called_with_everything_it_would_ask_for(machine: Machine) -> None:
    """All of samconfig.toml's parameters stand beside the image: SAM's option replaces the file's."""
    machine.install("sam")
    make_stack()
    status, out, err = machine.deploy("stack", *SAM, "--image-uri", IMAGE)
    assert (status, err) == (0, "")
    call = machine.calls[0]
    assert call["region"] == REGION
    assert call["argv"] == [
        "sam",
        "deploy",
        "--config-env",
        "dev",
        "--region",
        REGION,
        "--no-confirm-changeset",
        "--no-fail-on-empty-changeset",
        "--parameter-overrides",
        'Stage="dev"',
        'MaxActiveRuns="5"',
        f'ImageUri="{IMAGE}"',
    ]
    assert "ApiUrl: https://api.example" in out


def test_the_image_of_this_commit_is_the_default(machine: Machine) -> None:
    machine.install("sam", "docker")
    make_stack()
    machine.commit()
    machine.deploy("image")
    machine.deploy("stack")
    digest = stand_in("ecr").describe_images(repositoryName="zentrigger-runner")["imageDetails"][0]["imageDigest"]
    assert machine.calls[-1]["argv"][-1].endswith(f'/zentrigger-runner@{digest}"')


@pytest.mark.parametrize("with_repository", [False, True])
def test_no_image_of_this_commit(machine: Machine, with_repository: bool) -> None:
    machine.install("sam")
    commit = machine.commit()
    if with_repository:
        stand_in("ecr").create_repository(repositoryName="zentrigger-runner")
    status, _, err = machine.deploy("stack")
    assert status == 1
    assert f"ECR has no image {commit}-arm64" in err
    assert "make deploy-image STAGE=dev" in err


def test_sam_is_missing(machine: Machine) -> None:
    status, _, err = machine.deploy("stack", "--image-uri", IMAGE)
    assert status == 1
    assert "`sam` is not on PATH" in err


def test_nothing_is_built(machine: Machine) -> None:
    machine.install("sam")
    (machine.root / ".aws-sam" / "build" / "template.yaml").unlink()
    status, _, err = machine.deploy("stack", "--image-uri", IMAGE)
    assert status == 1
    assert "make deploy-build" in err


@pytest.mark.parametrize(
    ("stack_status", "message"),
    [
        ("ROLLBACK_COMPLETE", "make destroy STAGE=dev YES=1, then deploy again"),
        ("DELETE_FAILED", "it can only be deleted"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback --stack-name zentrigger-dev"),
        ("UPDATE_IN_PROGRESS", "somebody is changing it"),
    ],
)
def test_a_stack_that_cannot_be_deployed(machine: Machine, stack_status: str, message: str) -> None:
    """Said before sam is called, which would say it in CloudFormation's words."""
    machine.install("sam")
    make_stack(stack_status)
    status, _, err = machine.deploy("stack", "--image-uri", IMAGE)
    assert status == 1
    assert stack_status in err
    assert message in err
    assert machine.calls == []


def test_sam_fails(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.install("sam")
    monkeypatch.setenv("FAILING", "sam deploy")
    status, _, err = machine.deploy("stack", "--image-uri", IMAGE)
    assert status == 1
    assert "The stack was not deployed. `sam deploy` ended with exit status 1" in err


def event(number: int, resource: str, status: str, reason: str | None = None) -> dict[str, Any]:
    made = {
        "StackId": "s",
        "EventId": str(number),
        "StackName": "zentrigger-dev",
        "LogicalResourceId": resource,
        "ResourceType": "AWS::X",
        "ResourceStatus": status,
        "Timestamp": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return made | ({"ResourceStatusReason": reason} if reason else {})


def test_the_reasons_are_the_first_ones_of_the_last_operation() -> None:
    """Not what was cancelled because of them, and not those of an operation before."""
    client = boto3.client("cloudformation", region_name=REGION, aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stub:
        events = [
            event(9, "zentrigger-dev", "ROLLBACK_COMPLETE"),
            event(8, "Queue", "CREATE_FAILED", "Resource creation cancelled"),
            event(7, "Cluster", "CREATE_FAILED", "Unable to assume the service linked role"),
            event(6, "zentrigger-dev", "CREATE_IN_PROGRESS", "User Initiated"),
            event(5, "Table", "DELETE_FAILED", "of another day"),
        ]
        stub.add_response("describe_stack_events", {"StackEvents": events})
        assert failures(client, "zentrigger-dev") == ["Cluster (AWS::X): Unable to assume the service linked role"]


# ------------------------------------------------------------------------------------------------------------ destroy


def test_destroy_tells_and_deletes_nothing(machine: Machine) -> None:
    make_stack()
    status, out, _ = machine.deploy("destroy")
    assert status == 0
    assert "deletes the table" in out
    assert "keeps AWS::S3::Bucket" in out
    assert "keeps the task definitions of the family zentrigger-dev-snapshot" in out
    assert "nothing was deleted. To do it: make destroy STAGE=dev YES=1" in out
    assert stand_in("cloudformation").describe_stacks(StackName="zentrigger-dev")["Stacks"]


def test_destroy_with_yes(machine: Machine) -> None:
    make_stack()
    stand_in("secretsmanager").create_secret(Name="zentrigger-dev/operator-key", SecretString="zt_a_b")
    status, out, err = machine.deploy("destroy", "--yes")
    assert (status, err) == (0, "")
    assert stand_in("secretsmanager").list_secrets()["SecretList"] == []
    assert "aws s3 rb --force s3://" in out
    assert "aws ecr delete-repository --region eu-central-1 --repository-name zentrigger-runner" in out
    assert machine.deploy("destroy", "--yes")[0] == 0


def test_protected_tables_are_not_touched(machine: Machine) -> None:
    make_stack()
    dynamodb = stand_in("dynamodb")
    table = dynamodb.list_tables()["TableNames"][0]
    dynamodb.update_table(TableName=table, DeletionProtectionEnabled=True)
    status, _, err = machine.deploy("destroy", "--yes")
    assert status == 1
    assert "Nothing was deleted: these tables are protected" in err
    assert f"--table-name {table} --no-deletion-protection-enabled" in err
    assert stand_in("cloudformation").describe_stacks(StackName="zentrigger-dev")["Stacks"]


def test_running_tasks_are_not_killed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    make_stack()

    def client(*_: Any) -> Any:
        made = boto3.client("ecs", region_name=REGION)
        monkeypatch.setattr(made, "list_tasks", lambda **_: {"taskArns": ["one"]})
        return made

    make = Account.client
    monkeypatch.setattr(Account, "client", lambda a, s: client() if s == "ecs" else make(a, s))
    status, _, err = machine.deploy("destroy", "--yes")
    assert status == 1
    assert "1 task(s) of runs are under way" in err
