"""What a deployment is told by: its page, its workflow, the deployer's policy."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.unit.deploy.conftest import ALLOWED, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")
SERVICES = {
    "Serverless::Function": "lambda:",
    "Serverless::LayerVersion": "lambda:",
    "Serverless::HttpApi": "apigateway:POST",
    "Scheduler::ScheduleGroup": "scheduler:*ScheduleGroup",
    "Lambda::Permission": "lambda:",
    "CloudWatch::Alarm": "cloudwatch:PutMetricAlarm",
    "DynamoDB::Table": "dynamodb:CreateTable",
    "Events::Rule": "events:PutRule",
    "IAM::Role": "iam:CreateRole",
    "Logs::LogGroup": "logs:CreateLogGroup",
    "SQS::Queue": "sqs:CreateQueue",
    "SQS::QueuePolicy": "sqs:SetQueueAttributes",
    "ECS::Cluster": "ecs:CreateCluster",
    "ECS::TaskDefinition": "ecs:RegisterTaskDefinition",
    "S3::Bucket": "s3:CreateBucket",
    "EC2::VPC": "ec2:CreateVpc",
    "EC2::Subnet": "ec2:CreateSubnet",
    "EC2::InternetGateway": "ec2:CreateInternetGateway",
    "EC2::VPCGatewayAttachment": "ec2:AttachInternetGateway",
    "EC2::RouteTable": "ec2:CreateRouteTable",
    "EC2::Route": "ec2:CreateRoute",
    "EC2::SubnetRouteTableAssociation": "ec2:AssociateRouteTable",
    "EC2::SecurityGroup": "ec2:CreateSecurityGroup",
}


def test_the_policy_lets_every_resource_of_the_template_be_made() -> None:
    template = (ROOT / "template.yaml").read_text("utf-8")
    kinds = set(re.findall(r"^    Type: AWS::(\S+)$", template, re.MULTILINE))
    assert len(kinds) > 15
    assert kinds <= SERVICES.keys(), "say which right makes this kind of resource, and give it to the deployer"
    for kind in kinds:
        assert any(action.startswith(SERVICES[kind]) for action in ALLOWED), kind


def test_the_policy_is_one_that_iam_takes() -> None:
    """IAM counts 6,144 characters at most in a managed policy, white space not counted."""
    text = (ROOT / "deploy" / "deployer-policy.json").read_text("utf-8")
    assert len(re.sub(r"\s", "", text)) <= 6144
    names = [statement["Sid"] for statement in json.loads(text)["Statement"]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned(file: Path) -> None:
    """A tag can be moved; a commit cannot. The version stands beside it, for people."""
    uses = re.findall(r"uses: (.+)$", file.read_text("utf-8"), re.MULTILINE)
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_the_workflow_may_do_no_more_than_it_must() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text("utf-8"))
    assert workflow["permissions"] == {}
    job = workflow["jobs"]["deploy"]
    assert job["permissions"] == {"contents": "read", "id-token": "write"}
    assert job["environment"] == "${{ inputs.stage }}"
    # What somebody typed never becomes part of a script.
    assert not any("${{" in step.get("run", "") for step in job["steps"])


def test_every_target_on_the_page_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.MULTILINE))
    assert named >= {"deploy", "deploy-image", "deploy-stack", "deploy-publish", "deploy-smoke", "destroy"}
    assert named <= targets


def test_the_page_names_the_stacks_of_samconfig() -> None:
    named = set(re.findall(r"--stack-name ([\w-]+)", PAGE))
    assert named == {"zentrigger-dev", "aws-sam-cli-managed-default"}
