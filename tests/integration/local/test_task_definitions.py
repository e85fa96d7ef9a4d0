"""Task definitions that functions register, on the product's own template: each task runs its own code and secrets."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.access import access_key_id
from local.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALLOWED = "arn:aws:secretsmanager:us-east-1:123456789012:secret:pipelines/*"
VALUE = "correct horse battery staple"
ADDED_BY_ECS = frozenset({
    "compatibilities", "registeredAt", "registeredBy", "requiresAttributes", "revision", "status", "taskDefinitionArn",
})  # fmt: skip


class Bench:
    """The stack without functions, with real tasks, and the rights of the function `trigger`."""

    def __init__(self, cloud: Cloud, project: Path) -> None:
        self.cloud = cloud
        self.project = project
        self.base = cloud.stack.resources["TaskDefinition"].physical_id
        self.ecs: Any = boto3.client(
            "ecs",
            endpoint_url=cloud.endpoint_url,
            region_name=cloud.environment["AWS_REGION"],
            aws_access_key_id=access_key_id(cloud.stack.arn("TriggerRole")),
            aws_secret_access_key="local",
        )

    def write(self, text: str) -> None:
        """Change the user's code."""
        (self.project / "versions.py").write_text(f"TEXT = {text!r}\n")

    def described(self) -> dict[str, Any]:
        """Give the base, as a function is shown it."""
        definition: dict[str, Any] = self.ecs.describe_task_definition(taskDefinition=self.base)["taskDefinition"]
        return definition

    def register(self, *secrets: tuple[str, str], **changes: Any) -> str:
        """Register the base as it is shown now, with secrets, and give the revision's ARN."""
        request = {name: value for name, value in self.described().items() if name not in ADDED_BY_ECS}
        (container,) = request["containerDefinitions"]
        container["secrets"] = [{"name": name, "valueFrom": value_from} for name, value_from in secrets]
        registered = self.ecs.register_task_definition(**(request | {"family": "local-snapshot"} | changes))
        return str(registered["taskDefinition"]["taskDefinitionArn"])

    def launch(self, definition: str, code: str) -> str:
        """Start a task that runs Python code, and give its ARN."""
        answer = self.ecs.run_task(
            cluster=self.cloud.outputs["Cluster"],
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}},
            overrides={"containerOverrides": [{"name": "runner", "command": ["python", "-c", code]}]},
        )
        return str(answer["tasks"][0]["taskArn"])

    def ended(self, arn: str) -> dict[str, Any]:
        """Wait for a task's end and give it as it is described then."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            described = self.cloud.clients.get("ecs").describe_tasks(cluster=self.cloud.outputs["Cluster"], tasks=[arn])
            task: dict[str, Any] = described["tasks"][0]
            if task["lastStatus"] == "STOPPED":
                return task
            time.sleep(0.02)
        raise AssertionError("the task did not end")

    def printed(self, arn: str) -> str:
        """Wait for a task's success and give what it printed."""
        task = self.ended(arn)
        assert task["containers"][0].get("exitCode") == 0, task
        return (self.cloud.log_folder / "tasks" / f"{arn.rpartition('/')[2]}.log").read_text().strip()

    def secret(self, name: str) -> str:
        """Make a secret and give its ARN."""
        made = self.cloud.clients.get("secretsmanager").create_secret(
            Name=name, SecretString=json.dumps({"token": VALUE})
        )
        return str(made["ARN"])


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Deploy the product's own template, with a user's project in the image."""
    project = tmp_path_factory.mktemp("project")
    (project / "versions.py").write_text("TEXT = 'none'\n")
    parameters = {"PipelineSecretArns": ALLOWED, "TaskCpu": "512", "TaskMemory": "2048"}
    with Cloud(parameters=parameters, sources=[project], functions=False, api_port=0, aws_port=0) as cloud:
        yield Bench(cloud, project)


def test_the_stack_s_definition_is_shown_whole_with_its_image_pinned(bench: Bench) -> None:
    """As CloudFormation registers it from the template."""
    stack = bench.cloud.stack
    shown = bench.described()
    (container,) = shown["containerDefinitions"]

    assert shown["taskRoleArn"] == stack.arn("TaskRole")
    assert shown["executionRoleArn"] == stack.arn("TaskExecutionRole")
    assert (shown["cpu"], shown["memory"], shown["networkMode"]) == ("512", "2048", "awsvpc")
    assert shown["runtimePlatform"] == {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}
    assert [volume["name"] for volume in shown["volumes"]] == ["home", "temporary"]
    written = stack.resources["TaskDefinition"]["ContainerDefinitions"][0]
    assert {key.lower() for key in written} <= {key.lower() for key in container}
    assert container["image"] == bench.cloud.images.resolve("local").pinned
    assert (container["memory"], container["stopTimeout"], container["readonlyRootFilesystem"]) == (2048, 120, True)
    assert container["logConfiguration"]["options"]["awslogs-region"] == "us-east-1"


def test_two_versions_run_their_own_code(bench: Bench) -> None:
    """Also the first after the second exists, whatever the source tree has become."""
    images = bench.cloud.images
    revisions, pinned = [], []
    for text in ("one", "two"):
        bench.write(text)
        pinned.append(bench.described()["containerDefinitions"][0]["image"])
        revisions.append(bench.register())
    bench.write("three")

    assert len({*pinned, images.resolve("local").pinned}) == 3
    assert "'one'" in (images.resolve(pinned[0]).folder / "versions.py").read_text()
    tasks = [bench.launch(revision, "import versions; print(versions.TEXT)") for revision in revisions]
    assert [bench.printed(task) for task in tasks] == ["one", "two"]


def test_a_function_launches_what_was_registered_and_never_the_base(bench: Bench) -> None:
    """And registers nothing with a role that it may not pass."""
    with pytest.raises(ClientError, match=r"AccessDeniedException.*ecs:RunTask.*local-runner:1"):
        bench.launch(bench.base, "pass")
    with pytest.raises(ClientError, match=r"AccessDeniedException.*iam:PassRole.*AdminRole"):
        bench.register(taskRoleArn=bench.cloud.stack.arn("AdminRole"))


def test_a_task_gets_the_secrets_that_its_execution_role_may_read(bench: Bench) -> None:
    """Whole, or one key of it."""
    arn = bench.secret("pipelines/token")
    revision = bench.register(("WHOLE", arn), ("KEY", f"{arn}:token::"))
    code = (
        "import json, os; print(json.loads(os.environ['WHOLE'])['token'] == os.environ['KEY'], len(os.environ['KEY']))"
    )
    assert bench.printed(bench.launch(revision, code)) == f"True {len(VALUE)}"


def test_a_secret_that_cannot_be_had_fails_the_start_as_on_aws(bench: Bench) -> None:
    """Because the role may not, the key is not in it, or it is not there; the reason never has a part of the value."""
    other = bench.secret("others/token")
    mine = bench.secret("pipelines/other")
    begins = (
        "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
    )
    denied = "AccessDeniedException: TaskExecutionRole is not authorized to perform: secretsmanager:GetSecretValue on"
    expected = {
        other: f"failed to fetch secret {other} from secrets manager: {denied} {other}",
        f"{mine}:password::": "retrieved secret from Secrets Manager did not contain json key password",
        "arn:aws:ssm:us-east-1:123456789012:parameter/token": "not authorized to perform: ssm:GetParameters on arn",
        f"{mine[:-6]}nobody": f"{mine[:-6]}nobody from secrets manager: ResourceNotFoundException",
    }
    tasks = {value_from: bench.launch(bench.register(("TOKEN", value_from)), "pass") for value_from in expected}
    for value_from, words in expected.items():
        task = bench.ended(tasks[value_from])
        assert task["stopCode"] == "TaskFailedToStart"
        assert task["stoppedReason"].startswith(begins)
        assert words in task["stoppedReason"]
        assert VALUE[:10] not in json.dumps(task, default=str)
