"""Resource policies and roles, as far as they decide whether AWS would deliver an event at all.

Not an IAM simulator: it knows the operators that such policies use, and calls anything else an error instead of a yes.
"""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from local.errors import invalid
from local.iam import Call, PolicyError, granting, listed, matches, role_statements, statement_applies

if TYPE_CHECKING:
    from local.deploy import Resource, Stack

_MANAGED = {
    "AWSLambdaBasicExecutionRole": frozenset({"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}),
    "AWSLambdaSQSQueueExecutionRole": frozenset({"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}),
    "AWSLambdaDynamoDBExecutionRole": frozenset({
        "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams",
    }),
}  # fmt: skip


def require_invoke_permission(
    stack: Stack, function: Resource, *, service: str, source_arn: str, needed_by: str
) -> None:
    """Raise TemplateError unless an AWS::Lambda::Permission lets `service` invoke `function` for `source_arn`."""
    names = {function.physical_id, stack.arn(function.logical_id)}
    for permission in stack.of_kind("AWS::Lambda::Permission"):
        if (
            str(permission["FunctionName"]) in names
            and permission["Principal"] == service
            and permission["Action"] in {"lambda:InvokeFunction", "lambda:*"}
            and matches(source_arn, str(permission.get("SourceArn", "*")))
            and permission.get("SourceAccount", stack.account_id) == stack.account_id
        ):
            return
    raise invalid(
        needed_by,
        f"no AWS::Lambda::Permission lets {service} invoke {function.logical_id} for it, so AWS would drop its events.",
    )


def require_queue_permission(stack: Stack, queue: Resource, *, source_arn: str, needed_by: str) -> None:
    """Raise TemplateError unless a QueuePolicy lets EventBridge send to `queue` on behalf of `source_arn`."""
    context = (("aws:SourceAccount", stack.account_id), ("aws:SourceArn", source_arn))
    call = Call("sqs:SendMessage", stack.arn(queue.logical_id), context)
    for policy in stack.of_kind("AWS::SQS::QueuePolicy"):
        if queue.physical_id not in [str(url) for url in policy["Queues"]]:
            continue
        for statement in listed(policy["PolicyDocument"]["Statement"]):
            try:
                applies = statement_applies(statement, call)
            except PolicyError as error:
                raise invalid(policy.logical_id, f"the embedded AWS: {error}") from error
            if (
                applies
                and statement["Effect"] == "Allow"
                and _names_service(statement.get("Principal"), "events.amazonaws.com")
            ):
                return
    raise invalid(
        needed_by,
        f"no AWS::SQS::QueuePolicy lets events.amazonaws.com send to {queue.logical_id} for it, "
        "so AWS would drop its events.",
    )


def require_role_actions(
    stack: Stack, function: Resource, actions: Iterable[str], resource_arn: str, *, needed_by: str
) -> None:
    """Raise TemplateError for the first action that the function's role does not allow on the resource."""
    _require(stack, function, str(function["Role"]), actions, resource_arn, needed_by)


def require_task_permissions(stack: Stack) -> None:
    """Raise TemplateError if ECS could not read a task definition's secrets.

    Rules: ECS Developer Guide, "Amazon ECS task execution IAM role".
    """
    for definition in stack.of_kind("AWS::ECS::TaskDefinition"):
        for container in definition["ContainerDefinitions"]:
            for secret in container.get("Secrets", []):
                # Behind the ARN may follow which of its parts and versions is meant.
                arn = ":".join(str(secret["ValueFrom"]).split(":")[:7])
                action = "secretsmanager:GetSecretValue" if ":secretsmanager:" in arn else "ssm:GetParameters"
                _require(stack, definition, str(definition["ExecutionRoleArn"]), [action], arn, definition.logical_id)


def _require(  # noqa: PLR0913, PLR0917 - whose role, for what, and for whom
    stack: Stack, user: Resource, role_arn: str, actions: Iterable[str], resource_arn: str, needed_by: str
) -> None:
    role = stack.by_arn(role_arn)
    if role is None:
        raise invalid(user.logical_id, "its role is not a role of this stack.")
    managed = {
        action for arn in role.get("ManagedPolicyArns", []) for action in _MANAGED.get(str(arn).rpartition("/")[2], ())
    }
    statements = role_statements(role.properties)
    for action in actions:
        call = Call(action, resource_arn)
        if action in managed:
            continue
        try:
            allowed = bool(granting(statements, call))
        except PolicyError as error:
            raise invalid(role.logical_id, str(error)) from error
        if not allowed:
            raise invalid(
                needed_by,
                f"{role.logical_id}, the role of {user.logical_id}, does not allow {action} on {resource_arn}.",
            )
        stack.service_calls.append((role.logical_id, call))


def _names_service(principal: Any, service: str) -> bool:
    if principal == "*":
        return True
    if not isinstance(principal, Mapping):
        return False
    return service in listed(principal.get("Service", [])) or "*" in listed(principal.get("AWS", []))
