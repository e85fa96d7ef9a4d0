"""What a schedule does when it fires: it sends to a queue or a function, as a role of the stack.

Rules: EventBridge Scheduler User Guide, "Managing targets" (context attributes, execution role), "Configuring a
dead-letter queue" and "Confused deputy prevention" (a role is assumed for the schedule's group). Delivery is at least
once. What a role may not do, and a target that is gone, are not tried again: neither passes by itself here.
"""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from local.delivery_faults import Deliveries
from local.functions import send_to_queue
from local.iam import Call, PolicyError, granting, listed, role_statements, statement_applies
from local.scheduler_requests import not_valid

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from local.clients import Clients
    from local.deploy import Resource, Stack
    from local.endpoint import FunctionApi
    from local.faults import Faults

logger = logging.getLogger(__name__)

SERVICE: Final = "scheduler.amazonaws.com"
_ACTIONS: Final = {"sqs": "sqs:SendMessage", "lambda": "lambda:InvokeFunction"}
_MEMBERS: Final = frozenset({"Arn", "DeadLetterConfig", "Input", "RetryPolicy", "RoleArn"})
_ARN_PARTS: Final = 6


@dataclass(frozen=True)
class Firing:
    """One time of a schedule that has come."""

    name: str
    arn: str
    target: Mapping[str, Any]
    scheduled: datetime


class _NotDeliveredError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Targets:
    """Checks the targets of schedules, and sends to them."""

    def __init__(self, stack: Stack, *, clients: Clients, functions: FunctionApi, faults: Faults | None) -> None:
        self._stack = stack
        self._clients = clients
        self._functions = functions
        self._deliveries = Deliveries(faults, "scheduler")

    def check(self, target: Mapping[str, Any], group_arn: str) -> None:
        """Raise SchedulerError for a target that AWS would refuse, or that the embedded AWS has not."""
        for member in target:
            if member not in _MEMBERS:
                raise not_valid(f"The embedded AWS does not support the target's {member}.")
        arn = str(target["Arn"])
        parts = arn.split(":")
        if len(parts) < _ARN_PARTS or parts[0] != "arn":
            raise not_valid("Provided Arn is not in correct format.")
        if parts[2] not in _ACTIONS or arn.endswith(".fifo"):
            raise not_valid(f"The embedded AWS's schedules send to standard queues and functions, not to {arn}.")
        role = self._role(str(target["RoleArn"]))
        if role is None or not self._may_assume(role, group_arn):
            raise not_valid("The execution role you provide must allow AWS EventBridge Scheduler to assume the role.")

    def send(self, firing: Firing) -> None:
        """Send once, unless a fault befalls the schedule."""
        self._deliveries.deliver(firing.name, partial(self._attempt, firing))

    def _attempt(self, firing: Firing) -> None:
        # "The unique ID that EventBridge Scheduler assigns for each attempted invocation": a repetition has another.
        execution_id = secrets.token_hex(8)
        text = self._input(firing, execution_id)
        try:
            self._deliver(firing.target, text)
        except _NotDeliveredError as error:
            logger.warning("%s could not be delivered to %s: %s", firing.arn, firing.target["Arn"], error)
            self._dead_letter(firing, text, execution_id, error)

    def _deliver(self, target: Mapping[str, Any], text: str) -> None:
        arn = str(target["Arn"])
        service = arn.split(":")[2]
        self._require(str(target["RoleArn"]), _ACTIONS[service], arn)
        try:
            if service == "lambda":
                json.loads(text)
                self._functions.invoke_later(arn, text.encode())
            else:
                send_to_queue(self._clients, arn, text)
        except ClientError as error:
            raise _NotDeliveredError(error.response["Error"]["Code"], str(error)) from error
        except BotoCoreError as error:
            raise _NotDeliveredError("SDK_CLIENT_ERROR", str(error)) from error
        except KeyError as error:
            raise _NotDeliveredError("ResourceNotFoundException", f"Function not found: {arn}") from error
        except ValueError as error:
            raise _NotDeliveredError("InvalidRequestContentException", "The Input is no JSON.") from error

    def _dead_letter(self, firing: Firing, text: str, execution_id: str, error: _NotDeliveredError) -> None:
        arn = firing.target.get("DeadLetterConfig", {}).get("Arn")
        if arn is None:
            return
        attributes = {
            "ERROR_CODE": error.code,
            "ERROR_MESSAGE": str(error),
            "EXECUTION_ID": execution_id,
            "IS_PAYLOAD_TRUNCATED": "false",
            "RETRY_ATTEMPTS": "0",
            "SCHEDULED_TIME": seconds(firing.scheduled),
            "SCHEDULE_ARN": firing.arn,
            "TARGET_ARN": str(firing.target["Arn"]),
        }
        try:
            self._require(str(firing.target["RoleArn"]), _ACTIONS["sqs"], str(arn))
            send_to_queue(self._clients, str(arn), text, attributes)
        except (_NotDeliveredError, BotoCoreError, ClientError) as failure:
            logger.warning("%s could not be dead-lettered either: %s", firing.arn, failure)

    def _input(self, firing: Firing, execution_id: str) -> str:
        text = firing.target.get("Input")
        if text is None:
            return json.dumps({
                "version": "0",
                "id": execution_id,
                "detail-type": "Scheduled Event",
                "source": "aws.scheduler",
                "account": self._stack.account_id,
                "time": seconds(firing.scheduled),
                "region": self._stack.region,
                "resources": [firing.arn],
                "detail": "{}",
            })  # fmt: skip
        attributes = {
            "attempt-number": "1",
            "execution-id": execution_id,
            "schedule-arn": firing.arn,
            "scheduled-time": seconds(firing.scheduled),
        }
        for name, value in attributes.items():
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return str(text)

    def _role(self, arn: str) -> Resource | None:
        role = self._stack.by_arn(arn)
        return role if role is not None and role.kind == "AWS::IAM::Role" else None

    def _may_assume(self, role: Resource, group_arn: str) -> bool:
        context = (("aws:SourceAccount", self._stack.account_id), ("aws:SourceArn", group_arn))
        call = Call("sts:AssumeRole", self._stack.arn(role.logical_id), context)
        statements = [
            # A trust policy stands at its role, so it names no resource.
            {**statement, "Resource": "*"}
            for statement in listed(role["AssumeRolePolicyDocument"]["Statement"])
            if SERVICE in listed(dict(statement.get("Principal", {})).get("Service", []))
        ]
        try:
            effects = {statement["Effect"] for statement in statements if statement_applies(statement, call)}
        except PolicyError as error:
            raise not_valid(f"The trust policy of {role.logical_id}: {error}") from error
        return effects == {"Allow"}

    def _require(self, role_arn: str, action: str, resource_arn: str) -> None:
        """Raise unless the role allows it; what it is used for is remembered at the stack."""
        role, call = self._role(role_arn), Call(action, resource_arn)
        if role is None or not granting(role_statements(role.properties), call):
            raise _NotDeliveredError(
                "AccessDeniedException",
                f"{role_arn} is not authorized to perform: {action} on resource: {resource_arn}",
            )
        used = (role.logical_id, call)
        if used not in self._stack.service_calls:
            self._stack.service_calls.append(used)


def seconds(moment: datetime) -> str:
    """Write a time as events have it: to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
