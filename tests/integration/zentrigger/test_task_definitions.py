"""Task definitions on moto's ECS and DynamoDB: what boto3 takes and gives, with what the template's definition has."""

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.factories import IMAGE
from tests.integration.conftest import REGION
from zentrigger.task_definitions import TaskDefinitions

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecs import ECSClient

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:pipelines/token-AbCdEf"
BASE: dict[str, Any] = {
    "family": "zentrigger-runner",
    "requiresCompatibilities": ["FARGATE"],
    "networkMode": "awsvpc",
    "cpu": "1024",
    "memory": "4096",
    "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
    "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
    "taskRoleArn": "arn:aws:iam::123456789012:role/task",
    "volumes": [{"name": "home"}],
    "containerDefinitions": [
        {
            "name": "runner",
            "image": "repository/image:tag",
            "essential": True,
            "memory": 4096,
            "command": ["python", "-m", "runner"],
            "stopTimeout": 120,
            "linuxParameters": {"initProcessEnabled": True},
            "readonlyRootFilesystem": True,
            "mountPoints": [{"sourceVolume": "home", "containerPath": "/home/zentrigger"}],
            "environment": [{"name": "RUNS_TABLE", "value": "runs"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g", "awslogs-region": REGION}},
        }
    ],
    "tags": [{"key": "stack", "value": "zentrigger"}],
}


@pytest.fixture
def ecs(dynamodb_moto: "DynamoDBClient") -> "ECSClient":
    """Give ECS, in the same moto as the table."""
    del dynamodb_moto
    return boto3.client("ecs", region_name=REGION)


def test_a_revision_differs_from_its_base_in_what_was_asked(ecs: "ECSClient", dynamodb_moto: "DynamoDBClient") -> None:
    """And is found again by a process that knows nothing, also for a base that was registered anew."""
    revisions: list[str] = []
    for _ in range(2):
        base = ecs.register_task_definition(**BASE)["taskDefinition"]["taskDefinitionArn"]
        for _ in range(2):
            definitions = TaskDefinitions(
                base=base, family="zentrigger-snapshot", table="CatalogueTable", ecs=ecs, dynamodb=dynamodb_moto
            )
            revisions.append(definitions.revision(IMAGE, "X86_64", {"TOKEN": SECRET}))

    assert len(set(revisions)) == 1
    made = ecs.describe_task_definition(taskDefinition=revisions[0], include=["TAGS"])
    found: dict[str, Any] = {**made["taskDefinition"]}
    (container,) = found["containerDefinitions"]
    assert (found["family"], found["revision"]) == ("zentrigger-snapshot", 1)
    assert found["runtimePlatform"] == {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}
    assert made.get("tags", []) == []
    (own,) = BASE["containerDefinitions"]
    wanted = own | {"image": IMAGE, "secrets": [{"name": "TOKEN", "valueFrom": SECRET}]}
    assert {name: container[name] for name in wanted} == wanted
    same = ("cpu", "memory", "executionRoleArn", "taskRoleArn", "networkMode", "requiresCompatibilities")
    assert {name: found[name] for name in same} == {name: BASE[name] for name in same}
    assert [volume["name"] for volume in found["volumes"]] == ["home"]
