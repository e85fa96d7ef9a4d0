"""What a request to AWS asks IAM for: actions, resources and condition keys, service by service.

Rules: Service Authorization Reference, "Actions, resources, and condition keys" of each service; Amazon DynamoDB
Developer Guide, "DynamoDB transactions: IAM"; Amazon S3 User Guide, "Required permissions for Amazon S3 API
operations"; Amazon ECS Developer Guide, "Grant permission to tag resources on creation"; IAM User Guide, "Granting a
user permissions to pass a role to an AWS service". A request that is not known
here raises UnknownRequestError, so that it is refused and not waved through.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from local.iam import Call
from local.scheduler_requests import SchedulerError, parameters_of, route_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from local.http_server import Request

_TRANSACTION_PARTS: Final = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}
_TABLE_ACTIONS: Final = frozenset({"DeleteItem", "DescribeTable", "GetItem", "PutItem", "Query", "Scan", "UpdateItem"})
_BATCH_ACTIONS: Final = frozenset({"BatchGetItem", "BatchWriteItem"})
_LOG_STREAM_ACTIONS: Final = frozenset({"CreateLogStream", "GetLogEvents", "PutLogEvents"})
_GROUP_ACTIONS: Final = frozenset({"CreateScheduleGroup", "DeleteScheduleGroup", "GetScheduleGroup"})
_SCHEDULE_ACTIONS: Final = frozenset({"CreateSchedule", "DeleteSchedule", "GetSchedule", "UpdateSchedule"})
_OBJECT_ACTIONS: Final = {
    "DELETE": "s3:DeleteObject",
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "POST": "s3:PutObject",
    "PUT": "s3:PutObject",
}
_OBJECT_QUERIES: Final = frozenset({"partNumber", "uploadId", "uploads", "x-id"})
_BUCKET_QUERIES: Final = frozenset({
    "continuation-token", "delimiter", "encoding-type", "fetch-owner", "list-type", "marker", "max-keys", "prefix",
    "start-after", "x-id",
})  # fmt: skip


class UnknownRequestError(Exception):
    """A request of which this module does not know which permissions it needs."""


@dataclass(frozen=True)
class Surroundings:
    """Where requests are made; how to look a task definition up (by family, family:revision or ARN); tables' keys."""

    region: str
    account_id: str
    task_definition: Callable[[str], Mapping[str, Any]]
    partition_keys: Mapping[str, str]
    """Table -> the attribute that is its partition key."""

    def arn(self, service: str, kind: str, name: str) -> str:
        """Return the ARN of a resource of this Region and account; a name may be an ARN already."""
        return name if name.startswith("arn:") else f"arn:aws:{service}:{self.region}:{self.account_id}:{kind}{name}"


def calls_of(service: str, request: Request, surroundings: Surroundings) -> tuple[Call, ...]:
    """Return what the request needs to be allowed; raises UnknownRequestError."""
    if service == "s3":
        return _s3(request)
    if service == "scheduler":
        return _scheduler(request, surroundings)
    action = (request.header("X-Amz-Target") or "").rpartition(".")[2]
    if service == "sts" and b"Action=GetCallerIdentity" in request.body:
        return ()  # "No permissions are required to perform this operation" (AWS: GetCallerIdentity).
    reader = _READERS.get(service)
    calls = reader(action, _body(request), surroundings) if reader is not None and action else ()
    if not calls:
        raise UnknownRequestError(f"{service}:{action or request.method}")
    return calls


def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body or b"{}")
    except ValueError as error:
        raise UnknownRequestError("a body that is no JSON") from error
    if not isinstance(body, dict):
        raise UnknownRequestError("a body that is no JSON object")
    return body


def _dynamodb(action: str, body: Mapping[str, Any], at: Surroundings) -> tuple[Call, ...]:
    if action in _TABLE_ACTIONS:
        name = str(body["TableName"])
        table = at.arn("dynamodb", "table/", name)
        resource = f"{table}/index/{body['IndexName']}" if "IndexName" in body else table
        return (Call(f"dynamodb:{action}", resource, _leading_keys(at, name, [body])),)
    if action in _BATCH_ACTIONS:
        return tuple(
            Call(f"dynamodb:{action}", at.arn("dynamodb", "table/", name), _leading_keys(at, name, _batched(requests)))
            for name, requests in body["RequestItems"].items()
        )
    if action in {"TransactGetItems", "TransactWriteItems"}:
        # What is done to one table in one way is judged with all of its keys: each must be allowed.
        parts: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for item in body["TransactItems"]:
            for kind, part in item.items():
                parts.setdefault((_TRANSACTION_PARTS[kind], str(part["TableName"])), []).append(part)
        return tuple(
            Call(f"dynamodb:{kind}", at.arn("dynamodb", "table/", name), _leading_keys(at, name, of_one_kind))
            for (kind, name), of_one_kind in sorted(parts.items())
        )
    return ()


def _leading_keys(at: Surroundings, table: str, requests: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Give the partition keys of a table's items that are put, or named by their keys.

    Those that Query asks for are not read out of its expression: whatever depends on them is not allowed here. If one
    of them is no text, all are left out, for the same reason.
    """
    attribute = at.partition_keys.get(table.rpartition("/")[2])
    named = [request.get("Item") or request.get("Key") or {} for request in requests]
    keys = [attributes.get(attribute, {}).get("S") for attributes in named]
    if None in keys:
        return ()
    return tuple(("dynamodb:LeadingKeys", str(key)) for key in sorted(set(keys)))


def _batched(requests: list[dict[str, Any]] | dict[str, Any]) -> list[Mapping[str, Any]]:
    """Give the parts of what a batch asks of one table: keys to get, or items to put and delete."""
    if isinstance(requests, dict):
        return [{"Key": key} for key in requests.get("Keys", ())]
    return [part for request in requests for part in request.values()]


def _ecs(action: str, body: Mapping[str, Any], at: Surroundings) -> tuple[Call, ...]:
    name = str(body.get("cluster", "default")).rpartition("/")[2]
    cluster = (("ecs:cluster", at.arn("ecs", "cluster/", name)),)
    if action == "RunTask":
        return _run_task(body, at, name, cluster)
    if action == "StopTask":
        return (Call("ecs:StopTask", at.arn("ecs", "task/", f"{name}/{_task_id(body['task'])}"), cluster),)
    if action == "DescribeTasks":
        return tuple(
            Call("ecs:DescribeTasks", at.arn("ecs", "task/", f"{name}/{_task_id(task)}"), cluster)
            for task in body["tasks"]
        )
    if action in {"DescribeTaskDefinition", "ListTasks"}:
        return (Call(f"ecs:{action}", "*", cluster if action == "ListTasks" else ()),)
    if action == "RegisterTaskDefinition":
        return _register_task_definition(body, at)
    return ()


def _register_task_definition(body: Mapping[str, Any], at: Surroundings) -> tuple[Call, ...]:
    calls = [Call("ecs:RegisterTaskDefinition", "*"), *_passed_roles(body, at)]
    if body.get("tags"):
        family = at.arn("ecs", "task-definition/", f"{body.get('family')}:*")
        calls.append(Call("ecs:TagResource", family, (("ecs:CreateAction", "RegisterTaskDefinition"),)))
    return tuple(calls)


def _passed_roles(definition: Mapping[str, Any], at: Surroundings) -> list[Call]:
    passed = (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
    roles = {str(definition[key]) for key in ("executionRoleArn", "taskRoleArn") if definition.get(key)}
    # A role may be given by its name alone.
    arns = (role if role.startswith("arn:") else f"arn:aws:iam::{at.account_id}:role/{role}" for role in roles)
    return [Call("iam:PassRole", arn, passed) for arn in sorted(arns)]


def _run_task(
    body: Mapping[str, Any], at: Surroundings, cluster: str, context: tuple[tuple[str, str], ...]
) -> tuple[Call, ...]:
    try:
        definition = at.task_definition(str(body["taskDefinition"]))
    except KeyError:
        # Of one that does not exist ECS tells, not IAM.
        return (Call("ecs:RunTask", at.arn("ecs", "task-definition/", str(body["taskDefinition"])), context),)
    calls = [Call("ecs:RunTask", str(definition["taskDefinitionArn"]), context), *_passed_roles(definition, at)]
    if body.get("tags") or body.get("propagateTags", "NONE") != "NONE":
        task = at.arn("ecs", "task/", f"{cluster}/*")
        calls.append(Call("ecs:TagResource", task, (("ecs:CreateAction", "RunTask"), *context)))
    return tuple(calls)


def _task_id(reference: str) -> str:
    return str(reference).rpartition("/")[2]


def _events(action: str, body: Mapping[str, Any], at: Surroundings) -> tuple[Call, ...]:
    if action != "PutEvents":
        return ()
    calls = {
        Call(
            "events:PutEvents",
            at.arn("events", "event-bus/", str(entry.get("EventBusName", "default")).rpartition("/")[2]),
            (("events:detail-type", str(entry.get("DetailType"))), ("events:source", str(entry.get("Source")))),
        )
        for entry in body.get("Entries", ())
    }
    return tuple(sorted(calls))


def _logs(action: str, body: Mapping[str, Any], at: Surroundings) -> tuple[Call, ...]:
    if action not in _LOG_STREAM_ACTIONS:
        return ()
    stream = f"{body['logGroupName']}:log-stream:{body['logStreamName']}"
    return (Call(f"logs:{action}", at.arn("logs", "log-group:", stream)),)


def _secrets_manager(action: str, body: Mapping[str, Any], at: Surroundings) -> tuple[Call, ...]:
    if action != "GetSecretValue":
        return ()
    return (Call("secretsmanager:GetSecretValue", at.arn("secretsmanager", "secret:", str(body["SecretId"]))),)


def _ssm(action: str, body: Mapping[str, Any], at: Surroundings) -> tuple[Call, ...]:
    if action != "GetParameters":
        return ()
    names = (str(name).removeprefix("/") for name in body.get("Names", ()))
    return tuple(Call("ssm:GetParameters", at.arn("ssm", "parameter/", name)) for name in names)


def _sqs(action: str, body: Mapping[str, Any], at: Surroundings) -> tuple[Call, ...]:
    if action != "SendMessage":
        return ()
    # A queue's URL ends in its name.
    return (Call("sqs:SendMessage", at.arn("sqs", "", str(body["QueueUrl"]).rpartition("/")[2])),)


def _scheduler(request: Request, at: Surroundings) -> tuple[Call, ...]:
    route = route_of(request)
    if route is None:
        raise UnknownRequestError(f"scheduler:{request.method} {request.path}")
    operation = f"scheduler:{route.operation}"
    if route.operation in {"ListScheduleGroups", "ListSchedules"}:
        return (Call(operation, "*"),)
    try:
        body = parameters_of(request, route)
    except SchedulerError as error:
        raise UnknownRequestError(f"a body that is none ({error})") from error
    if route.operation in _GROUP_ACTIONS:
        return (Call(operation, at.arn("scheduler", "schedule-group/", str(body["Name"]))),)
    if route.operation not in _SCHEDULE_ACTIONS:
        raise UnknownRequestError(operation)
    name = f"{body.get('GroupName', 'default')}/{body['Name']}"
    calls = [Call(operation, at.arn("scheduler", "schedule/", name))]
    target = body.get("Target")
    if isinstance(target, dict) and "RoleArn" in target:
        passed = (("iam:PassedToService", "scheduler.amazonaws.com"),)
        calls.append(Call("iam:PassRole", str(target["RoleArn"]), passed))
    return tuple(calls)


_READERS: Final[Mapping[str, Callable[[str, Mapping[str, Any], Surroundings], tuple[Call, ...]]]] = {
    "dynamodb": _dynamodb,
    "ecs": _ecs,
    "events": _events,
    "logs": _logs,
    "secretsmanager": _secrets_manager,
    "sqs": _sqs,
    "ssm": _ssm,
}


def _s3(request: Request) -> tuple[Call, ...]:
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    names = {name for name, _ in parse_qsl(request.query, keep_blank_values=True)}
    if not bucket:
        raise UnknownRequestError(f"s3:{request.method} /")
    if not key:
        if request.method not in {"GET", "HEAD"} or names - _BUCKET_QUERIES:
            raise UnknownRequestError(f"s3:{request.method} of a bucket")
        return (Call("s3:ListBucket", f"arn:aws:s3:::{bucket}"),)
    if request.method not in _OBJECT_ACTIONS or names - _OBJECT_QUERIES:
        raise UnknownRequestError(f"s3:{request.method} of an object with {', '.join(sorted(names))}")
    calls = [Call(_object_action(request.method, names), f"arn:aws:s3:::{bucket}/{key}")]
    source = request.header("x-amz-copy-source")
    if source is not None:
        calls.append(Call("s3:GetObject", f"arn:aws:s3:::{unquote(source.partition('?')[0]).lstrip('/')}"))
    return tuple(calls)


def _object_action(method: str, query: set[str]) -> str:
    if "uploadId" in query and method == "DELETE":
        return "s3:AbortMultipartUpload"
    if "uploadId" in query and method == "GET":
        return "s3:ListMultipartUploadParts"
    return _OBJECT_ACTIONS[method]
