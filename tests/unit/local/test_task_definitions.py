"""Task definitions as ECS keeps and shows them: whole, numbered, and refused where ECS refuses them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from local.ecs_requests import EcsError
from local.errors import TemplateError
from local.task_definitions import TaskDefinitions

FAMILY_ARN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/snapshot"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:token-a1b2c3"
DEFINITION: dict[str, Any] = {
    "family": "snapshot",
    "taskRoleArn": "arn:aws:iam::123456789012:role/task",
    "executionRoleArn": "arn:aws:iam::123456789012:role/execution",
    "networkMode": "awsvpc",
    "requiresCompatibilities": ["FARGATE"],
    "cpu": "1024",
    "memory": "4096",
    "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
    "ephemeralStorage": {"sizeInGiB": 30},
    "enableFaultInjection": True,
    "volumes": [{"name": "home"}],
    "containerDefinitions": [
        {
            "name": "runner",
            "image": "local",
            "memory": 4096,
            "readonlyRootFilesystem": True,
            "stopTimeout": 120,
            "linuxParameters": {"initProcessEnabled": True},
            "environment": [{"name": "RUNS_TABLE", "value": "runs"}],
            "secrets": [{"name": "TOKEN", "valueFrom": SECRET}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "g"}},
        }
    ],
}
(CONTAINER,) = DEFINITION["containerDefinitions"]


class Bench:
    """The model, and images that a test moves."""

    def __init__(self) -> None:
        self.digest = "one"
        self.definitions = TaskDefinitions(
            region="eu-west-1",
            account_id="123456789012",
            shown_image=self._shown,
            clock=lambda: datetime(2030, 1, 1, tzinfo=UTC),
        )

    def _shown(self, image: str) -> str:
        if self.digest == "broken":
            raise EcsError("ClientException", "The image local cannot be made.")
        return f"{image}@{self.digest}" if image == "local" else image

    def call(self, action: str, **body: Any) -> dict[str, Any]:
        status, answer = self.definitions.handle(action, body)
        assert status == 200, answer
        json.dumps(answer)  # as it goes over the wire
        return answer

    def refused(self, action: str, **body: Any) -> tuple[str, str]:
        status, answer = self.definitions.handle(action, body)
        assert status == 400, answer
        return answer["__type"], answer["message"]

    def register(self, **changes: Any) -> str:
        answer = self.call("RegisterTaskDefinition", **(DEFINITION | changes))
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def describe(self, reference: str) -> dict[str, Any]:
        definition: dict[str, Any] = self.call("DescribeTaskDefinition", taskDefinition=reference)["taskDefinition"]
        return definition


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_every_member_that_was_registered_is_kept_and_shown(bench: Bench) -> None:
    arn = bench.register(tags=[{"key": "a", "value": "b"}], family="snapshot")
    shown = bench.describe(arn)
    (container,) = shown["containerDefinitions"]

    given = {name: value for name, value in DEFINITION.items() if name not in {"containerDefinitions", "volumes"}}
    assert {name: shown[name] for name in given} == given
    assert {name: container[name] for name in CONTAINER} == CONTAINER | {"image": "local@one"}
    assert shown["volumes"] == [{"name": "home", "host": {}}]
    assert (container["cpu"], container["essential"], container["portMappings"]) == (0, True, [])
    assert (shown["status"], shown["revision"], shown["taskDefinitionArn"]) == ("ACTIVE", 1, f"{FAMILY_ARN}:1")
    assert shown["registeredAt"] == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    assert "tags" not in shown
    tagged = bench.call("DescribeTaskDefinition", taskDefinition=arn, include=["TAGS"])
    assert tagged["tags"] == [{"key": "a", "value": "b"}]


def test_what_is_shown_can_be_registered_again(bench: Bench) -> None:
    """Also with what ECS itself adds to it, which is not taken from a request."""
    shown = bench.describe(bench.register())
    assert bench.register(**(shown | {"status": "INACTIVE", "revision": 7})) == f"{FAMILY_ARN}:2"
    again = bench.describe(f"{FAMILY_ARN}:2")
    added = {"taskDefinitionArn": f"{FAMILY_ARN}:2", "revision": 2}
    assert again == shown | added


def test_a_floating_image_is_shown_by_its_digest_and_launched_as_it_is(bench: Bench) -> None:
    arn = bench.register()
    bench.digest = "two"
    assert bench.describe(arn)["containerDefinitions"][0]["image"] == "local@two"
    assert bench.definitions.find(arn)["containerDefinitions"][0]["image"] == "local"
    bench.digest = "broken"
    assert bench.refused("DescribeTaskDefinition", taskDefinition=arn)[1] == "The image local cannot be made."


def test_a_family_means_its_latest_active_revision(bench: Bench) -> None:
    first, second = bench.register(), bench.register(cpu="2048")
    other = bench.register(family="other")
    assert other.endswith("task-definition/other:1")
    assert bench.describe("snapshot")["cpu"] == "2048"
    assert bench.describe("snapshot:1")["cpu"] == "1024"

    stopped = bench.call("DeregisterTaskDefinition", taskDefinition=second)["taskDefinition"]
    assert (stopped["status"], stopped["deregisteredAt"]) == ("INACTIVE", stopped["registeredAt"])
    assert bench.describe("snapshot")["revision"] == 1
    assert bench.describe(second)["status"] == bench.definitions.find(second)["status"] == "INACTIVE"
    assert bench.register() == f"{FAMILY_ARN}:3"
    listed = bench.call("ListTaskDefinitions", familyPrefix="snapshot", sort="DESC")
    assert listed == {"taskDefinitionArns": [f"{FAMILY_ARN}:3", first]}
    assert bench.call("ListTaskDefinitions", status="INACTIVE") == {"taskDefinitionArns": [second]}
    page = bench.call("ListTaskDefinitions", maxResults=2)
    assert page["taskDefinitionArns"] == [first, other]
    rest = bench.call("ListTaskDefinitions", maxResults=2, nextToken=page["nextToken"])
    assert rest == {"taskDefinitionArns": [f"{FAMILY_ARN}:3"]}


@pytest.mark.parametrize("reference", ["nobody", "snapshot:2", f"{FAMILY_ARN}:2"])
def test_what_is_not_there_is_not_described(bench: Bench, reference: str) -> None:
    bench.register()
    refused = ("ClientException", "Unable to describe task definition.")
    assert bench.refused("DescribeTaskDefinition", taskDefinition=reference) == refused
    assert bench.refused("DeregisterTaskDefinition", taskDefinition=reference) == refused
    with pytest.raises(KeyError):
        bench.definitions.find(reference)


def with_container(**changes: Any) -> dict[str, Any]:
    """Change the definition's container."""
    return {"containerDefinitions": [CONTAINER | changes]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": "a b"}, "Family"),
        ({"containerDefinitions": []}, "Container list"),
        (with_container(image=""), "Container.image"),
        ({"executionRoleArn": None}, "'executionRoleArn'"),
        ({"executionRoleArn": None, **with_container(secrets=[])}, "log driver awslogs"),
        (with_container(secrets=[{"name": "RUNS_TABLE", "valueFrom": SECRET}]), "unique .* such as 'RUNS_TABLE'"),
        (with_container(secrets=[{"name": "A", "valueFrom": SECRET}] * 2), "unique .* such as 'A'"),
        ({"networkMode": "bridge"}, "awsvpc"),
        ({"cpu": None}, "'cpu' be defined at the task level"),
        ({"memory": "1000"}, "1024 CPU, 1000 memory"),
        ({"cpu": "1 vCPU"}, "No Fargate configuration"),
        (with_container(command=["x" * 66_000]), "Max allowed length is '65536' bytes"),
    ],
)
def test_what_ecs_refuses_is_refused(bench: Bench, changes: dict[str, Any], words: str) -> None:
    code, message = bench.refused("RegisterTaskDefinition", **(DEFINITION | changes))
    assert code == "ClientException"
    assert re.search(words, message), message
    assert bench.call("ListTaskDefinitions") == {"taskDefinitionArns": []}


PROPERTIES: dict[str, Any] = {
    "Family": "runner",
    "RequiresCompatibilities": ["FARGATE"],
    "NetworkMode": "awsvpc",
    "Cpu": 256,
    "Memory": "512",
    "Tags": [{"Key": "Team", "Value": "ml"}],
    "Volumes": [{"Name": "home"}, {"Name": "files", "EFSVolumeConfiguration": {"FilesystemId": "fs-1"}}],
    "ContainerDefinitions": [
        {
            "Name": "main",
            "Image": "local",
            "Essential": "true",
            "Memory": "512",
            "DockerLabels": {"Team": "ml"},
            "LinuxParameters": {"InitProcessEnabled": True},
        }
    ],
}


def test_a_template_s_definition_is_written_as_the_api_has_it(bench: Bench) -> None:
    """Names in the API's case, numbers and flags as such; keys that are the user's own stay."""
    arn = FAMILY_ARN.replace("snapshot", "runner:4")
    bench.definitions.adopt("TaskDefinition", arn, PROPERTIES)
    shown = bench.describe("runner")
    (container,) = shown["containerDefinitions"]
    assert (shown["taskDefinitionArn"], shown["revision"], shown["cpu"]) == (arn, 4, "256")
    assert (container["memory"], container["essential"], container["dockerLabels"]) == (512, True, {"Team": "ml"})
    assert container["linuxParameters"] == {"initProcessEnabled": True}
    assert shown["volumes"][1] == {"name": "files", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}
    assert bench.register(family="runner").endswith(":5")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Cpus": "256"}, "ECS knows no Cpus"),
        ({"Volumes": [{"Named": "home"}]}, "ECS knows no Volumes.Named"),
        ({"ContainerDefinitions": [{"Name": "main", "Image": "local", "Memory": "much"}]}, "Memory .* type integer"),
        ({"ContainerDefinitions": [{"Name": "main", "Image": "local", "Essential": 1}]}, "Essential .* type boolean"),
        ({"ContainerDefinitions": {"Name": "main"}}, "ContainerDefinitions .* type list"),
        ({"Cpu": "300"}, "ECS refuses it: No Fargate configuration"),
    ],
)
def test_a_template_s_definition_that_aws_would_refuse_is_refused_by_name(
    bench: Bench, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(TemplateError, match=f"Base.*{words}"):
        bench.definitions.adopt("Base", FAMILY_ARN.replace("snapshot", "runner:1"), PROPERTIES | changes)
