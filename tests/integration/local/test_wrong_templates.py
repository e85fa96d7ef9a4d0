"""A wrong template breaks at the start, with a sentence that names the resource."""

# ruff: noqa: E501 - one wrong template a line reads best

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from local.cloud import Cloud
from local.containers import ManualRuntime
from local.errors import TemplateError
from tests.integration.local.conftest import STACK

if TYPE_CHECKING:
    from pathlib import Path

WRONG = {
    "a Ref to nothing": ("TABLE: !Ref Table", "TABLE: !Ref Tabel", r"EchoFunction.*'Tabel'"),
    "a GetAtt of nothing": ("BUCKET_ARN: !GetAtt Bucket.Arn", "BUCKET_ARN: !GetAtt Bucket.Nrn", r"Bucket.*Nrn"),
    "a Sub of nothing": ('!Sub "${Table}-', '!Sub "${Tabel}-', r"EchoFunction.*'Tabel'"),
    "an undefined condition": ("!If [Extra, extra", "!If [Extar, extra", r"'Extar'"),
    "a resource whose condition is false": ("TABLE: !Ref Table", "TABLE: !Ref ExtraQueue", r"EchoFunction.*'ExtraQueue'"),
    "no code": ("CodeUri: functions/records/", "CodeUri: functions/recrods/", r"RecordsFunction.*functions/recrods/"),
    "a source without a queue": ("Queue: !GetAtt Queue.Arn", "Queue: arn:aws:sqs:us-east-1:1:q", r"RecordsFunctionQueue.*neither a queue"),
    "a source that is no stream": ("Stream: !GetAtt Table.StreamArn", "Stream: !GetAtt Table.Arn", r"RecordsFunctionStream.*stream"),
    "an unknown type": ("AWS::ECS::Cluster}", "AWS::EKS::Cluster}", r"Cluster: .*AWS::EKS::Cluster"),
    "an unsupported property": ("VisibilityTimeout: 2", "FifoQueue: true", r"Queue: .*FifoQueue"),
    "an unsupported target": ("Targets: [{Id: seen,", "Targets: [{RoleArn: x, Id: seen,", r"TaskRule: .*RoleArn"),
    "a role without the source's actions": ('Action: "dynamodb:*"', "Action: dynamodb:GetItem", r"RecordsFunctionStream.*Role.*dynamodb:DescribeStream"),
    "no permission for a rule": ("Principal: events.amazonaws.com", "Principal: s3.amazonaws.com", r"OwnRule.*AWS::Lambda::Permission.*RecordsFunction"),
    "a permission for another rule": ("SourceArn: !GetAtt OwnRule.Arn", "SourceArn: !GetAtt TaskRule.Arn", r"OwnRule.*AWS::Lambda::Permission"),
    "no policy for a queue": ("!Ref Queue, !Ref Seen,", "!Ref Queue,", r"ArrivalRule.*AWS::SQS::QueuePolicy.*Seen"),
    "a visibility time-out below the function's": ("Timeout: 2\n    Layers", "Timeout: 3\n    Layers", r"Queue: .*VisibilityTimeout of 2 s.*3 s"),
    "an unknown operator in a pattern": ("{source: [test]}", "{source: [{sufix: x}]}", r"OwnRule.*'sufix'"),
    "a wrong schedule": ("Default: rate(1 hour)", "Default: rate(1 hours)", r"ScheduleRule.*singular"),
    "an unknown property of a schedule group": ("ScheduleGroup, Properties: {Name:", "ScheduleGroup, Properties: {GroupName:", r"ScheduleGroup: .*GroupName"),
    "a wrong schedule of EventBridge Scheduler": ("cron(0 0 1 1 ? *)", "cron(0 0 1 1 * *)", r"YearlySchedule: Invalid Schedule Expression"),
    "an unknown property of a target": ("Input: '{\"trigger\"", "Inptu: '{\"trigger\"", r"YearlySchedule: .*'Inptu' at 'target'"),
    "a role that a schedule's target cannot have": ("Service: scheduler.amazonaws.com", "Service: events.amazonaws.com", r"YearlySchedule: .*assume the role"),
    "a placeholder without a path": ('"time": <time>', '"time": <tiem>', r"ScheduleRule.*<tiem>"),
    "a wrong filter": ('{"S": ["head"]}', '{"S": "head"}', r"RecordsFunctionStream.*FilterCriteria"),
    "a key without a definition": ("{AttributeName: part, KeyType: RANGE}", "{AttributeName: prat, KeyType: RANGE}", r"Table: .*'prat'"),
    "keys in the wrong order": ("{AttributeName: id, KeyType: HASH}, {AttributeName: part, KeyType: RANGE}", "{AttributeName: id, KeyType: RANGE}", r"Table: .*HASH"),
    "a route that is there twice": ("Method: GET, Path: /items/special", "Method: POST, Path: /echo", r"EchoFunction|Api"),
    "settings of a route that is not there": ("{GET /items/special: {Thr", "{GET /items/spceial: {Thr", r"Stage: .*Route by key GET /items/spceial"),
    "an unknown setting of a route": ("{GET /items/special: {ThrottlingBurstLimit", "{GET /items/special: {BurstLimit", r"Stage: .*BurstLimit"),
    "an unknown word in the access log": ("$context.status", "$context.sattus", r"Stage: .*sattus"),
    "a reserved variable": ("TABLE: !Ref Table", "AWS_REGION: eu", r"EchoFunction.*AWS_REGION"),
    "a layer that does not build": ("BuildMethod: makefile", "BuildMethod: go1.x", r"SharedLayer.*go1\.x"),
    "a dependency on nothing": ("Bucket:\n    Type", "Bucket:\n    DependsOn: Nothing\n    Type", r"Bucket: .*'Nothing'"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_template_is_refused(tmp_path: Path, wrong: str) -> None:
    """One thing is changed in the test stack; the error names it."""
    text = (STACK / "template.yaml").read_text()
    right, changed, error = WRONG[wrong]
    assert right in text
    (tmp_path / "template.yaml").write_text(text.replace(right, changed, 1))
    for name in ("functions", "layers"):
        (tmp_path / name).symlink_to(STACK / name)
    cloud = Cloud(
        template=tmp_path / "template.yaml", parameters={"RecordFolder": str(tmp_path)}, api_port=0, aws_port=0,
        container_runtime=ManualRuntime(), state_folder=tmp_path / "state",
    )  # fmt: skip
    with pytest.raises(TemplateError) as raised:
        cloud.start()
    assert re.search(error, str(raised.value), re.DOTALL), str(raised.value)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [({"Nothing": "1"}, "Nothing"), ({}, "RecordFolder"), ({"RecordFolder": "/", "WithExtra": "maybe"}, "WithExtra")],
)
def test_wrong_parameters_are_refused(tmp_path: Path, parameters: dict[str, str], error: str) -> None:
    """Unknown, missing and inadmissible parameters are named."""
    cloud = Cloud(
        template=STACK / "template.yaml", parameters=parameters, api_port=0, aws_port=0, functions=False,
        container_runtime=ManualRuntime(), state_folder=tmp_path,
    )  # fmt: skip
    with pytest.raises(TemplateError, match=f"Parameter {error}:"):
        cloud.start()


def test_a_condition_adds_a_resource(tmp_path: Path) -> None:
    """With the parameter set, the conditional queue and its output are there."""
    with Cloud(
        template=STACK / "template.yaml", parameters={"RecordFolder": "/", "WithExtra": "yes"}, api_port=0, aws_port=0,
        functions=False, container_runtime=ManualRuntime(), state_folder=tmp_path,
    ) as cloud:  # fmt: skip
        assert "ExtraQueue" in cloud.outputs["Extra"]
