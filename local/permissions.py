"""Resource policies and roles, as far as they decide whether AWS would deliver an event at all.

Not an IAM simulator: it knows the operators that such policies use, and calls anything else an error instead of a yes.
"""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from local.errors import invalid

if TYPE_CHECKING:
    from local.deploy import Resource, Stack

_MANAGED = {
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
            and _arn_matches(source_arn, str(permission.get("SourceArn", "*")))
            and permission.get("SourceAccount", stack.account_id) == stack.account_id
        ):
            return
    raise invalid(
        needed_by,
        f"no AWS::Lambda::Permission lets {service} invoke {function.logical_id} for it, so AWS would drop its events.",
    )


def require_queue_permission(stack: Stack, queue: Resource, *, source_arn: str, needed_by: str) -> None:
    """Raise TemplateError unless a QueuePolicy lets EventBridge send to `queue` on behalf of `source_arn`."""
    context = {"aws:SourceArn": source_arn, "aws:SourceAccount": stack.account_id}
    for policy in stack.of_kind("AWS::SQS::QueuePolicy"):
        if queue.physical_id not in [str(url) for url in policy["Queues"]]:
            continue
        for statement in _list(policy["PolicyDocument"]["Statement"]):
            if _names_service(statement.get("Principal"), "events.amazonaws.com") and _allows(
                policy.logical_id, statement, "sqs:SendMessage", stack.arn(queue.logical_id), context
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
    role = stack.by_arn(str(function["Role"]))
    if role is None:
        raise invalid(function.logical_id, "its Role is not a role of this stack.")
    managed = {
        action for arn in role.get("ManagedPolicyArns", []) for action in _MANAGED.get(str(arn).rpartition("/")[2], ())
    }
    statements = [
        statement for policy in role.get("Policies", []) for statement in _list(policy["PolicyDocument"]["Statement"])
    ]
    for action in actions:
        if action in managed:
            continue
        if not any(_allows(role.logical_id, statement, action, resource_arn, {}) for statement in statements):
            raise invalid(
                needed_by,
                f"{role.logical_id}, the role of {function.logical_id}, does not allow {action} on {resource_arn}.",
            )


def _allows(policy_id: str, statement: Mapping[str, Any], action: str, arn: str, context: Mapping[str, str]) -> bool:
    if statement.get("Effect") != "Allow":
        return False
    actions = [str(one).lower() for one in _list(statement.get("Action", []))]
    if not any(fnmatch.fnmatchcase(action.lower(), one) for one in actions):
        return False
    if not any(_arn_matches(arn, str(one)) for one in _list(statement.get("Resource", []))):
        return False
    return all(
        _condition_holds(policy_id, operator, key, wanted, context)
        for operator, pairs in statement.get("Condition", {}).items()
        for key, wanted in pairs.items()
    )


def _condition_holds(policy_id: str, operator: str, key: str, wanted: Any, context: Mapping[str, str]) -> bool:
    if operator not in {"StringEquals", "ArnEquals", "ArnLike", "StringLike"}:
        raise invalid(policy_id, f"the embedded AWS cannot judge the condition operator {operator}.")
    value = context.get(key)
    if value is None:
        return False
    if operator == "StringEquals":
        return value in [str(one) for one in _list(wanted)]
    return any(_arn_matches(value, str(one)) for one in _list(wanted))


def _arn_matches(arn: str, pattern: str) -> bool:
    # fnmatch knows brackets, IAM does not.
    return fnmatch.fnmatchcase(arn, pattern.replace("[", "[[]"))


def _names_service(principal: Any, service: str) -> bool:
    if principal == "*":
        return True
    if not isinstance(principal, Mapping):
        return False
    return service in _list(principal.get("Service", [])) or "*" in _list(principal.get("AWS", []))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
