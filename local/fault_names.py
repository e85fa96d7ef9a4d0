"""The faults that there are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_API: Final = {
    "throttle": "refused for too many requests",
    "server_error": "nothing is done, and HTTP 500 is the answer",
    "lost_request": "nothing is done, and no answer comes",
    "lost_answer": "it is done, and no answer comes",
    "false_error": "it is done, and HTTP 500 is the answer",
}
_FAULTS: Final[dict[str, dict[str, str]]] = {
    "ecs": {
        **_API,
        "capacity": "RunTask's failures say that there is no capacity (of one subnet: if no other is left)",
        "resource": "RunTask's failures say RESOURCE:FARGATE",
        "quota": "RunTask's failures say that the account's vCPUs are used up",
        "late_capacity": "a task that was accepted fails to start for lack of capacity, and has no containers",
        "stuck_provisioning": "a task stays PROVISIONING until it is stopped",
        "stuck_pending": "a task stays PENDING until it is stopped",
        "image_pull": "a task fails to start: CannotPullContainerError",
        "secrets": "a task fails to start: its execution role may not read a secret",
        "no_egress": "a task fails to start: i/o timeout on the way to ECR",
        "spot_interruption": "a task of FARGATE_SPOT is interrupted some time after its start",
        "platform_death": "a task's host dies some time after its start",
        "out_of_memory": "a task is killed for its memory some time after its start",
        "missing": "DescribeTasks finds a task MISSING that is there",
        "unlisted": "ListTasks does not show a task that is there",
    },
    "dynamodb": {
        **_API,
        "throughput": "refused: ProvisionedThroughputExceededException",
        "conflict": "a write or transaction is refused for a transaction that is under way",
    },
    "events": {
        **_API,
        "missing": "an event does not reach a target",
        "repeat": "an event reaches a target twice",
        "delay": "an event reaches a target late",
        "reorder": "an event reaches a target behind the next one",
    },
    "stream": {
        "delay": "a reader of a table's stream finds nothing yet",
        "repeat": "a batch of a table's stream is delivered twice",
    },
    "scheduler": {
        **_API,
        "missing": "a schedule does not fire when it should",
        "repeat": "a schedule fires twice for one time",
        "delay": "a schedule fires late",
    },
    "lambda": {
        "killed_before": "a function's process is killed as it makes an AWS call, which is not made",
        "killed_after": "a function's process is killed when an AWS call of it is done, before the answer comes",
    },
}
_ACTIONS: Final = {
    "ecs": frozenset({"DescribeTasks", "ListTasks", "RunTask", "StopTask"}),
    "dynamodb": frozenset({
        "BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "TransactGetItems",
        "TransactWriteItems", "UpdateItem",
    }),
    "events": frozenset({"PutEvents"}),
    "scheduler": frozenset({"CreateSchedule", "DeleteSchedule", "GetSchedule", "ListSchedules", "UpdateSchedule"}),
}  # fmt: skip
CONFLICTING: Final = frozenset({
    "BatchWriteItem", "DeleteItem", "PutItem", "TransactGetItems", "TransactWriteItems", "UpdateItem",
})  # fmt: skip
"""The actions that a transaction which is under way can refuse (DynamoDB Developer Guide, "Transaction conflicts")."""
PROVIDERS: Final = frozenset({"FARGATE", "FARGATE_SPOT"})
_FUNCTION_CALL = re.compile(r"[A-Za-z0-9]+(@[A-Za-z0-9]+)?")
_CAPACITY = re.compile(r"(FARGATE|FARGATE_SPOT)|((FARGATE|FARGATE_SPOT)@)?subnet-[\w-]+")


@dataclass(frozen=True)
class Name:
    """A fault's name in its parts; `which` is "" if it is of them all."""

    service: str
    which: str
    fault: str

    def __str__(self) -> str:
        """Write it as it is read."""
        return ".".join(part for part in (self.service, self.which, self.fault) if part)


def read_name(text: str) -> Name:
    """Take a name apart; raises ValueError with a sentence for a fault that does not exist."""
    service, _, rest = text.partition(".")
    which, _, fault = rest.rpartition(".")
    if fault not in _FAULTS.get(service, {}):
        raise ValueError(f"There is no fault {text!r}.")
    name = Name(service, which, fault)
    if which and not _fits(name):
        raise ValueError(f"There is no {which!r} to which {service}.{fault} could happen.")
    return name


def _fits(name: Name) -> bool:
    if name.fault in _API or name.service == "dynamodb":
        allowed = CONFLICTING if name.fault == "conflict" else _ACTIONS[name.service]
        return name.which in allowed
    if name.fault == "capacity":
        return _CAPACITY.fullmatch(name.which) is not None
    if name.service == "lambda":
        return _FUNCTION_CALL.fullmatch(name.which) is not None
    return name.service in {"events", "scheduler", "stream"} or (
        name.which in PROVIDERS and name.fault not in {"missing", "unlisted"}
    )


def short_fault_names() -> str:
    """List them all in one sentence."""
    return "; ".join(f"{service}.{{{', '.join(faults)}}}" for service, faults in _FAULTS.items())


def fault_names() -> str:
    """List them all, one a line."""
    lines = [
        f"  {f'{service}.{fault}':<28} {text}" for service, faults in _FAULTS.items() for fault, text in faults.items()
    ]
    hints = [
        "or of one alone, as ecs.RunTask.lost_answer, dynamodb.PutItem.throttle, events.PutEvents.throttle,",
        "ecs.FARGATE_SPOT.capacity, ecs.subnet-0a1b.capacity, ecs.FARGATE_SPOT@subnet-0a1b.capacity,",
        "ecs.FARGATE_SPOT.stuck_pending, events.aws.ecs.missing, stream.TABLE.delay, scheduler.SCHEDULE.repeat,",
        "lambda.RunTask.killed_after, lambda.TriggerFunction.killed_before,",
        "lambda.TriggerFunction@RunTask.killed_after",
    ]
    return "\n".join([*lines, *hints])
