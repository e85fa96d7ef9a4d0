"""The stack's parameters: answerable by someone new, checked alone and together, and documented."""

import json
import re
from typing import Any

import pytest

from local.errors import TemplateError
from local.parameters import parameter_values
from local.rules import check_rules
from tests.unit.template.view import PARAMETERS, ROOT, Json, whole

README = (ROOT / "README.md").read_text("utf-8")
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:zenml-a1b2c3"
SERVER = {"ZenmlStoreUrl": "https://zenml.example.com", "ZenmlApiKeySecretArn": SECRET}
NETWORK = {"SubnetIds": "subnet-0a1b,subnet-2c3d", "SecurityGroupIds": "sg-0a1b"}
DECLARED: Json = whole().body["Parameters"]
# AWS: "Task CPU and memory" of Fargate tasks: CPU units -> smallest, largest and step of memory, in GiB.
FARGATE = {
    1024: (2, 8, 1),
    2048: (4, 16, 1),
    4096: (8, 30, 1),
    8192: (16, 60, 4),
    16384: (32, 120, 8),
}


def deployed_with(**given: str) -> None:
    """Check parameters as CloudFormation does before it makes anything."""
    values = parameter_values(DECLARED, PARAMETERS | given)
    check_rules(whole().body["Rules"], values)


@pytest.mark.parametrize("name", DECLARED)
def test_each_can_be_answered(name: str) -> None:
    """It says what it is; what is free text has a pattern, and the pattern a sentence for whoever misses it."""
    parameter = DECLARED[name]
    assert len(parameter["Description"]) > 20, name
    assert len(parameter["Description"]) <= 4000, name
    if parameter["Type"] == "Number":
        assert {"MinValue", "MaxValue"} <= set(parameter) or "AllowedValues" in parameter, name
    elif "AllowedValues" not in parameter:
        assert parameter["AllowedPattern"].startswith("^"), name
        assert parameter["ConstraintDescription"].startswith("must "), name


def test_only_the_image_has_no_default_and_the_defaults_go_together() -> None:
    """Everything else is answered by Enter."""
    assert [name for name, parameter in DECLARED.items() if "Default" not in parameter] == ["ImageUri"]
    deployed_with()


def fargate_pairs() -> set[tuple[str, str]]:
    """Give all pairs of CPU and memory that Fargate has."""
    pairs = {("256", "512"), ("256", "1024"), ("256", "2048")} | {("512", str(1024 * size)) for size in range(1, 5)}
    for cpu, (least, most, step) in FARGATE.items():
        pairs |= {(str(cpu), str(1024 * size)) for size in range(least, most + 1, step)}
    return pairs


def test_fargates_sizes_are_known() -> None:
    """Every pair that Fargate has is taken, every other one of those sizes is refused with what would be right."""
    sizes = {memory for _, memory in fargate_pairs()}
    for cpu in DECLARED["TaskCpu"]["AllowedValues"]:
        for memory in sorted(sizes, key=int):
            if (cpu, memory) in fargate_pairs():
                deployed_with(TaskCpu=cpu, TaskMemory=memory)
            else:
                with pytest.raises(TemplateError, match=f"With TaskCpu {cpu}, Fargate"):
                    deployed_with(TaskCpu=cpu, TaskMemory=memory)


@pytest.mark.parametrize(
    "given",
    [
        NETWORK,
        NETWORK | {"AssignPublicIp": "DISABLED"},
        SERVER,
        {"PipelineSecretArns": SECRET},
        {"PipelineSecretArns": f"{SECRET},arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:pipelines/*"},
        {"ScheduleExpression": "rate(1 minute)"},
        {"ScheduleExpression": "rate(12 hours)"},
        {"ScheduleExpression": "cron(0/15 8-17 ? * MON-FRI *)"},
        {"ScheduledTrigger": "nightly"},
        {"TriggerBucketArns": "arn:aws:s3:::my-bucket"},
        {"TriggerBucketArns": "arn:aws:s3:::my.bucket,arn:aws-cn:s3:::another-1"},
        {"AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:on-call"},
        {"ImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/zentrigger:2026-11-20"},
    ],
    ids=json.dumps,
)
def test_right_answers_are_taken(given: dict[str, str]) -> None:
    """As people write them."""
    deployed_with(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SubnetIds": NETWORK["SubnetIds"]}, "SecurityGroupIds"),
        ({"SecurityGroupIds": "sg-0a1b"}, "SubnetIds"),
        ({"AssignPublicIp": "DISABLED"}, "AssignPublicIp must be ENABLED"),
        ({"ZenmlStoreUrl": SERVER["ZenmlStoreUrl"]}, "ZenmlApiKeySecretArn"),
        ({"ZenmlApiKeySecretArn": SECRET}, "ZenmlStoreUrl"),
        ({"ZenmlStackId": "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"}, "ZenmlStoreUrl"),
        ({"SubnetIds": "subnet-0a1b, subnet-2c3d"}, "SubnetIds"),
        ({"SubnetIds": "vpc-0a1b"}, "SubnetIds"),
        ({"ZenmlStoreUrl": "zenml.example.com"}, "ZenmlStoreUrl"),
        ({"ZenmlApiKeySecretArn": "zenml-key"}, "ZenmlApiKeySecretArn"),
        ({"PipelineSecretArns": f"{SECRET}, {SECRET}"}, "PipelineSecretArns"),
        ({"PipelineSecretArns": f"{SECRET},"}, "PipelineSecretArns"),
        ({"PipelineSecretArns": "*"}, "PipelineSecretArns"),
        ({"PipelineSecretArns": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:*"}, "PipelineSecretArns"),
        ({"PipelineSecretArns": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:a*b"}, "PipelineSecretArns"),
        ({"PipelineSecretArns": f"{SECRET}:token::"}, "PipelineSecretArns"),
        ({"ScheduleExpression": "rate(1 minutes)"}, "ScheduleExpression"),
        ({"ScheduleExpression": "0 4 * * *"}, "ScheduleExpression"),
        ({"ScheduleExpression": "cron(0 4 * * *)"}, "ScheduleExpression"),
        ({"ScheduledTrigger": "Nightly run"}, "ScheduledTrigger"),
        ({"TriggerBucketArns": "my-bucket"}, "TriggerBucketArns"),
        ({"TriggerBucketArns": "arn:aws:s3:::a-1, arn:aws:s3:::b-1"}, "TriggerBucketArns"),
        ({"TriggerBucketArns": "arn:aws:s3:::my-bucket/*"}, "TriggerBucketArns"),
        ({"TriggerBucketArns": "arn:aws:s3:::*"}, "TriggerBucketArns"),
        ({"AlarmTopicArn": "on-call"}, "AlarmTopicArn"),
        ({"AlarmTopicArn": "arn:aws:sns:eu-central-1:123456789012:on-call.fifo"}, "AlarmTopicArn"),
        ({"TaskMemory": "4GB"}, "TaskMemory"),
        ({"TaskMemory": "4000"}, "With TaskCpu 1024"),
        ({"MaxActiveRuns": "0"}, "MaxActiveRuns"),
        ({"ImageUri": "my image"}, "ImageUri"),
        ({"Stage": "staging"}, "Stage"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_wrong_answers_are_refused_by_name(given: dict[str, str], said: str) -> None:
    """Before anything is made."""
    with pytest.raises(TemplateError, match=said):
        deployed_with(**given)


def documented() -> dict[str, str]:
    """Give parameter -> default of the README's table; empty where there is none."""
    section = README.partition("## Configuration")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for row in re.findall(r"^\| `.*$", section, re.MULTILINE):
        names, defaults = (re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[1:3])
        for number, name in enumerate(names):
            found[name] = defaults[number] if number < len(defaults) else ""
    return found


def test_the_readmes_table_is_the_templates_parameters() -> None:
    """Name by name, default by default, both ways."""
    declared: dict[str, Any] = {name: str(parameter.get("Default", "")) for name, parameter in DECLARED.items()}
    assert documented() == declared
