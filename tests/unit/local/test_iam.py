"""IAM as the embedded AWS judges it: statements, and what requests ask for."""

import json
from typing import Any

import pytest

from local.http_server import Request
from local.iam import Call, Grant, PolicyError, check_statement, granting, grants_of, matches
from local.iam_requests import Surroundings, UnknownRequestError, calls_of

REGION, ACCOUNT = "eu-west-1", "123456789012"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/runs"
TASK = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/c/t"
CLUSTER = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/c"
DEFINITION = {
    "taskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/runner:7",
    "taskRoleArn": f"arn:aws:iam::{ACCOUNT}:role/task",
    "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/execution",
}


def _definition(reference: str) -> dict[str, str]:
    if reference != "runner":
        raise KeyError(reference)
    return DEFINITION


AT = Surroundings(REGION, ACCOUNT, _definition, {"runs": "run_id"})


def allow(action: Any, resource: Any, **condition: Any) -> dict[str, Any]:
    """Write an Allow statement."""
    return {
        "Effect": "Allow",
        "Action": action,
        "Resource": resource,
        **({"Condition": condition} if condition else {}),
    }


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("arn:aws:s3:::b/k/l", "arn:aws:s3:::b/*", True),
        ("arn:aws:s3:::b", "arn:aws:s3:::b/*", False),
        ("arn:aws:s3:::b/a[1]", "arn:aws:s3:::b/a[1]", True),
        ("arn:aws:s3:::b/a1", "arn:aws:s3:::b/a[1]", False),
        ("abc", "a?c", True),
        ("ac", "a?c", False),
        ("a\nb", "a*", True),
        ("*", "arn:*", False),
    ],
)
def test_patterns(text: str, pattern: str, expected: bool) -> None:
    """Stars cross every separator; nothing but stars and question marks is special."""
    assert matches(text, pattern) is expected


def test_an_allow_is_needed_and_a_deny_wins() -> None:
    """In whatever order they stand."""
    call = Call("dynamodb:GetItem", TABLE)
    statement = allow(["dynamodb:getitem", "dynamodb:PutItem"], TABLE)
    assert granting([], call) == frozenset()
    assert granting([allow("dynamodb:PutItem", TABLE)], call) == frozenset()
    assert granting([allow("dynamodb:GetItem", f"{TABLE}/index/*")], call) == frozenset()
    assert granting([statement], call) == {Grant(0, "dynamodb:getitem", TABLE)}
    deny = {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*"}
    assert granting([statement, deny], call) == granting([deny, statement], call) == frozenset()
    assert grants_of([statement, deny]) == (Grant(0, "dynamodb:getitem", TABLE), Grant(0, "dynamodb:PutItem", TABLE))


def test_conditions() -> None:
    """All must hold; a key that the call does not have fulfils none; several values are alternatives."""
    statement = allow("ecs:RunTask", "*", ArnEquals={"ecs:cluster": [CLUSTER, "arn:aws:ecs:*:*:cluster/d"]})
    for cluster, allowed in (
        (CLUSTER, True),
        ("arn:aws:ecs:x:y:cluster/d", True),
        ("arn:aws:ecs:x:y:cluster/e", False),
    ):
        assert bool(granting([statement], Call("ecs:RunTask", "x", (("ecs:cluster", cluster),)))) is allowed
    assert not granting([statement], Call("ecs:RunTask", "x"))
    equals = allow("a:b", "*", StringEquals={"k": "v*"})
    assert not granting([equals], Call("a:b", "x", (("k", "vw"),)))


LEADING = "dynamodb:LeadingKeys"
PRESENT = {LEADING: "false"}


@pytest.mark.parametrize(
    ("keys", "allowed"), [(["a"], True), (["a", "b"], True), (["c"], False), (["a", "c"], False), ([], False)]
)
def test_all_keys_of_a_call_must_be_allowed(keys: list[str], allowed: bool) -> None:
    """A call without any is not: that is what Null is there for."""
    statement = allow("dynamodb:PutItem", "*", **{"ForAllValues:StringEquals": {LEADING: ["a", "b"]}, "Null": PRESENT})
    check_statement(statement)
    call = Call("dynamodb:PutItem", TABLE, tuple((LEADING, key) for key in keys))
    assert bool(granting([statement], call)) is allowed


def test_what_aws_makes_of_a_key_that_is_not_there() -> None:
    """ForAllValues is true of it, as is Null of true; no statement that stands alone with it is taken."""
    without, having = Call("a:b", "x"), Call("a:b", "x", ((LEADING, "v"),))
    for_all = allow("a:b", "*", **{"ForAllValues:StringLike": {LEADING: "w*"}})
    assert granting([for_all], without)
    assert not granting([for_all], having)
    with pytest.raises(PolicyError, match="may be true of a call without"):
        check_statement(for_all)
    absent = allow("a:b", "*", Null={"k": "true"})
    assert granting([absent], without)
    assert not granting([absent], Call("a:b", "x", (("k", "v"),)))


@pytest.mark.parametrize(
    "statement",
    [
        allow("a:b", "*", StringEquals={LEADING: "a"}, Null=PRESENT),
        allow("a:b", "*", **{"ForAllValues:StringEquals": {"ecs:cluster": "a"}}),
        allow("a:b", "*", **{"ForAnyValue:StringEquals": {LEADING: "a"}, "Null": PRESENT}),
        allow("a:b", "*", **{"ForAllValues:Null": PRESENT}),
        allow("a:b", "*", Null={"k": False}),
        {"Effect": "Deny", "Action": "a:b", "Resource": "*", "Condition": {"Null": {LEADING: "true"}}},
        {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"},
        {"Effect": "allow", "Action": "s3:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "s3:*"},
        allow("s3:*", "arn:aws:s3:::b/${aws:username}"),
        allow("s3:*", "*", Bool={"aws:SecureTransport": "true"}),
    ],
)
def test_what_cannot_be_judged_is_an_error(statement: dict[str, Any]) -> None:
    """Never a yes."""
    with pytest.raises(PolicyError):
        check_statement(statement)


def request_for(target: str, body: Any) -> Request:
    """Write a request of one of the JSON protocols."""
    return Request("POST", "/", (("X-Amz-Target", target),), json.dumps(body).encode(), "127.0.0.1")


CASES: list[tuple[str, str, dict[str, Any], list[tuple[str, str]]]] = [
    ("dynamodb", "GetItem", {"TableName": "runs"}, [("dynamodb:GetItem", TABLE)]),
    ("dynamodb", "Query", {"TableName": TABLE, "IndexName": "i"}, [("dynamodb:Query", f"{TABLE}/index/i")]),
    (
        "dynamodb",
        "TransactWriteItems",
        {"TransactItems": [{kind: {"TableName": "runs"}} for kind in ("Put", "Update", "ConditionCheck", "Delete")]},
        [
            ("dynamodb:ConditionCheckItem", TABLE),
            ("dynamodb:DeleteItem", TABLE),
            ("dynamodb:PutItem", TABLE),
            ("dynamodb:UpdateItem", TABLE),
        ],
    ),
    ("dynamodb", "BatchWriteItem", {"RequestItems": {"runs": []}}, [("dynamodb:BatchWriteItem", TABLE)]),
    (
        "ecs",
        "RunTask",
        {"cluster": "c", "taskDefinition": "runner"},
        [
            ("ecs:RunTask", DEFINITION["taskDefinitionArn"]),
            ("iam:PassRole", DEFINITION["executionRoleArn"]),
            ("iam:PassRole", DEFINITION["taskRoleArn"]),
        ],
    ),
    ("ecs", "StopTask", {"cluster": CLUSTER, "task": "t"}, [("ecs:StopTask", TASK)]),
    ("ecs", "ListTasks", {"cluster": "c"}, [("ecs:ListTasks", "*")]),
    ("ecs", "DescribeTaskDefinition", {"taskDefinition": "x"}, [("ecs:DescribeTaskDefinition", "*")]),
    (
        "ecs",
        "RegisterTaskDefinition",
        {"family": "f", "taskRoleArn": "task", "executionRoleArn": DEFINITION["executionRoleArn"], "tags": [{}]},
        [
            ("ecs:RegisterTaskDefinition", "*"),
            ("iam:PassRole", DEFINITION["executionRoleArn"]),
            ("iam:PassRole", DEFINITION["taskRoleArn"]),
            ("ecs:TagResource", f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/f:*"),
        ],
    ),
    (
        "events",
        "PutEvents",
        {"Entries": [{"Source": "s", "DetailType": "d"}]},
        [("events:PutEvents", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default")],
    ),
    (
        "ssm",
        "GetParameters",
        {"Names": ["/a/b"]},
        [("ssm:GetParameters", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/a/b")],
    ),
    (
        "logs",
        "GetLogEvents",
        {"logGroupName": "g", "logStreamName": "s/t"},
        [("logs:GetLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g:log-stream:s/t")],
    ),
    (
        "sqs",
        "SendMessage",
        {"QueueUrl": f"http://127.0.0.1:4566/{ACCOUNT}/q", "MessageBody": "m"},
        [("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:q")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("service", "action", "body", "expected"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_requests_ask_for(
    service: str, action: str, body: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    """Action and resource, part by part."""
    calls = calls_of(service, request_for(f"Service.{action}", body), AT)
    assert [(call.action, call.resource) for call in calls] == expected


def test_conditions_come_with_requests() -> None:
    """The cluster of tasks, whom a role is passed to, what a tag is put on for, and the source of events."""
    body = {"cluster": "c", "taskDefinition": "runner", "propagateTags": "TASK_DEFINITION"}
    run, *passed, tag = calls_of("ecs", request_for("S.RunTask", body), AT)
    assert run.context == (("ecs:cluster", CLUSTER),)
    to_tasks = (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
    assert {call.context for call in passed} == {to_tasks}
    _, role = calls_of("ecs", request_for("S.RegisterTaskDefinition", {"family": "f", "taskRoleArn": "r"}), AT)
    assert role.context == to_tasks
    assert (tag.action, dict(tag.context)["ecs:CreateAction"]) == ("ecs:TagResource", "RunTask")
    (put,) = calls_of("events", request_for("S.PutEvents", {"Entries": [{"Source": "s", "DetailType": "d"}]}), AT)
    assert dict(put.context) == {"events:source": "s", "events:detail-type": "d"}


def _part(kind: str, key: Any) -> dict[str, Any]:
    return {kind: {"TableName": "runs", "Item" if kind == "Put" else "Key": {"run_id": key, "part": {"S": "p"}}}}


@pytest.mark.parametrize(
    ("action", "body", "expected"),
    [
        ("PutItem", {"TableName": "runs", "Item": {"run_id": {"S": "a"}, "part": {"S": "p"}}}, [["a"]]),
        ("GetItem", {"TableName": TABLE, "Key": {"run_id": {"S": "a"}}}, [["a"]]),
        ("GetItem", {"TableName": "others", "Key": {"run_id": {"S": "a"}}}, [[]]),
        ("Query", {"TableName": "runs", "KeyConditionExpression": "run_id = :a"}, [[]]),
        (
            "TransactWriteItems",
            {"TransactItems": [_part("Put", {"S": "b"}), _part("Put", {"S": "a"}), _part("Update", {"S": "c"})]},
            [["a", "b"], ["c"]],
        ),
        ("TransactWriteItems", {"TransactItems": [_part("Put", {"S": "b"}), _part("Put", {"N": "1"})]}, [[]]),
        (
            "BatchWriteItem",
            {
                "RequestItems": {
                    "runs": [
                        {"PutRequest": {"Item": {"run_id": {"S": "b"}}}},
                        {"DeleteRequest": {"Key": {"run_id": {"S": "a"}}}},
                    ]
                }
            },
            [["a", "b"]],
        ),
        ("BatchGetItem", {"RequestItems": {"runs": {"Keys": [{"run_id": {"S": "a"}}]}}}, [["a"]]),
    ],
)
def test_the_partition_keys_of_items_come_with_requests(
    action: str, body: dict[str, Any], expected: list[list[str]]
) -> None:
    """All of those that one call has; none where they are not known for certain."""
    calls = calls_of("dynamodb", request_for(f"S.{action}", body), AT)
    assert [[value for key, value in call.context if key == LEADING] for call in calls] == expected


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/b/k%20l/m", "s3:GetObject arn:aws:s3:::b/k l/m"),
        ("HEAD", "/b/k", "s3:GetObject arn:aws:s3:::b/k"),
        ("PUT", "/b/k?x-id=PutObject", "s3:PutObject arn:aws:s3:::b/k"),
        ("POST", "/b/k?uploads", "s3:PutObject arn:aws:s3:::b/k"),
        ("PUT", "/b/k?partNumber=1&uploadId=u", "s3:PutObject arn:aws:s3:::b/k"),
        ("DELETE", "/b/k?uploadId=u", "s3:AbortMultipartUpload arn:aws:s3:::b/k"),
        ("DELETE", "/b/k", "s3:DeleteObject arn:aws:s3:::b/k"),
        ("GET", "/b?list-type=2&prefix=a", "s3:ListBucket arn:aws:s3:::b"),
    ],
)
def test_requests_to_s3(method: str, target: str, expected: str) -> None:
    """By method, path and query."""
    (call,) = calls_of("s3", Request(method, target, (), b"", "127.0.0.1"), AT)
    assert f"{call.action} {call.resource}" == expected


def test_a_copy_also_reads() -> None:
    """The source is named in a header."""
    request = Request("PUT", "/b/k", (("x-amz-copy-source", "/a/x%20y"),), b"", "127.0.0.1")
    assert [call.resource for call in calls_of("s3", request, AT)] == ["arn:aws:s3:::b/k", "arn:aws:s3:::a/x y"]


@pytest.mark.parametrize(
    ("service", "request_"),
    [
        ("dynamodb", request_for("S.DeleteTable", {"TableName": "runs"})),
        ("ecs", request_for("S.DeleteCluster", {})),
        ("iam", request_for("", {})),
        ("s3", Request("GET", "/", (), b"", "127.0.0.1")),
        ("s3", Request("PUT", "/b", (), b"", "127.0.0.1")),
        ("s3", Request("GET", "/b/k?acl", (), b"", "127.0.0.1")),
        ("dynamodb", Request("POST", "/", (("X-Amz-Target", "S.GetItem"),), b"{", "127.0.0.1")),
        ("sqs", request_for("AmazonSQS.PurgeQueue", {"QueueUrl": f"http://127.0.0.1/{ACCOUNT}/q"})),
        ("scheduler", Request("GET", "/tags/arn", (), b"", "127.0.0.1")),
        ("scheduler", Request("PATCH", "/schedules/s", (), b"", "127.0.0.1")),
        ("scheduler", Request("POST", "/schedules/s", (), b"[]", "127.0.0.1")),
    ],
)
def test_unknown_requests_are_not_waved_through(service: str, request_: Request) -> None:
    """What nobody here needs is refused."""
    with pytest.raises(UnknownRequestError):
        calls_of(service, request_, AT)


SCHEDULES = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/schedule"


@pytest.mark.parametrize(
    ("method", "target", "body", "calls"),
    [
        ("POST", "/schedules/s", {"GroupName": "g"}, [Call("scheduler:CreateSchedule", f"{SCHEDULES}/g/s")]),
        (
            "PUT",
            "/schedules/s",
            {"Target": {"Arn": "a", "RoleArn": ROLE}},
            [
                Call("scheduler:UpdateSchedule", f"{SCHEDULES}/default/s"),
                Call("iam:PassRole", ROLE, (("iam:PassedToService", "scheduler.amazonaws.com"),)),
            ],
        ),
        ("GET", "/schedules/s?groupName=g", None, [Call("scheduler:GetSchedule", f"{SCHEDULES}/g/s")]),
        ("DELETE", "/schedules/s?groupName=g", None, [Call("scheduler:DeleteSchedule", f"{SCHEDULES}/g/s")]),
        # The group of a request without a body is in its query alone.
        ("GET", "/schedules/s", {"GroupName": "g"}, [Call("scheduler:GetSchedule", f"{SCHEDULES}/default/s")]),
        ("GET", "/schedules?ScheduleGroup=g", None, [Call("scheduler:ListSchedules", "*")]),
        ("GET", "/schedule-groups", None, [Call("scheduler:ListScheduleGroups", "*")]),
        ("POST", "/schedule-groups/g", {}, [Call("scheduler:CreateScheduleGroup", f"{SCHEDULES}-group/g")]),
    ],
)
def test_schedules(method: str, target: str, body: Any, calls: list[Call]) -> None:
    """Named by group and name; who gives a schedule a role must be allowed to pass it."""
    text = b"" if body is None else json.dumps(body).encode()
    assert calls_of("scheduler", Request(method, target, (), text, "127.0.0.1"), AT) == tuple(calls)


def test_who_may_do_what_is_known_needs_no_permission() -> None:
    """GetCallerIdentity."""
    request = Request("POST", "/", (), b"Action=GetCallerIdentity&Version=2011-06-15", "127.0.0.1")
    assert calls_of("sts", request, AT) == ()
