"""What a request to AWS asks IAM for: actions, resources and condition keys, service by service.

Rules: Service Authorization Reference, "Actions, resources, and condition keys" of each service; Amazon DynamoDB
Developer Guide, "DynamoDB transactions: IAM"; Amazon S3 User Guide, "Required permissions for Amazon S3 API
operations"; Amazon ECS Developer Guide, "Grant permission to tag resources on creation". A request that is not known
here raises UnknownRequestError, so that it is refused and not waved through.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from local.iam import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    """Where requests are made, and how to look a task definition up (by family, family:revision or ARN)."""

    region: str
    account_id: str
    task_definition: Callable[[str], Mapping[str, Any]]

    def arn(self, service: str, kind: str, name: str) -> str:
        """Return the ARN of a resource of this Region and account; a name may be an ARN already."""
        return name if name.startswith("arn:") else f"arn:aws:{service}:{self.region}:{self.account_id}:{kind}{name}"


def calls_of(service: str, request: Request, surroundings: Surroundings) -> tuple[Call, ...]:
    """Return what the request needs to be allowed; raises UnknownRequestError."""
    if service == "s3":
        return _s3(request)
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
        table = at.arn("dynamodb", "table/", str(body["TableName"]))
        return (Call(f"dynamodb:{action}", f"{table}/index/{body['IndexName']}" if "IndexName" in body else table),)
    if action in _BATCH_ACTIONS:
        names = body["RequestItems"]
        return tuple(Call(f"dynamodb:{action}", at.arn("dynamodb", "table/", name)) for name in names)
    if action in {"TransactGetItems", "TransactWriteItems"}:
        parts = {
            Call(f"dynamodb:{_TRANSACTION_PARTS[kind]}", at.arn("dynamodb", "table/", str(part["TableName"])))
            for item in body["TransactItems"]
            for kind, part in item.items()
        }
        return tuple(sorted(parts))
    return ()


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
    if action == "ListTasks":
        return (Call("ecs:ListTasks", "*", cluster),)
    return ()


def _run_task(
    body: Mapping[str, Any], at: Surroundings, cluster: str, context: tuple[tuple[str, str], ...]
) -> tuple[Call, ...]:
    try:
        definition = at.task_definition(str(body["taskDefinition"]))
    except KeyError:
        # Of one that does not exist ECS tells, not IAM.
        return (Call("ecs:RunTask", at.arn("ecs", "task-definition/", str(body["taskDefinition"])), context),)
    calls = [Call("ecs:RunTask", str(definition["taskDefinitionArn"]), context)]
    passed = (("iam:PassedToService", "ecs-tasks.amazonaws.com"),)
    roles = sorted({str(definition[key]) for key in ("executionRoleArn", "taskRoleArn") if definition.get(key)})
    calls += [Call("iam:PassRole", role, passed) for role in roles]
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


_READERS: Final[Mapping[str, Callable[[str, Mapping[str, Any], Surroundings], tuple[Call, ...]]]] = {
    "dynamodb": _dynamodb,
    "ecs": _ecs,
    "events": _events,
    "logs": _logs,
    "secretsmanager": _secrets_manager,
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
