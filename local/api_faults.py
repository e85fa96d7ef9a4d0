"""Faults of AWS's APIs: calls that are refused, that fail, or whose answer is lost.

Sources: the API references' common errors; DynamoDB API reference, TransactWriteItems and "Error handling with
DynamoDB"; DynamoDB Developer Guide, "Transaction conflicts".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from local.fault_names import CONFLICTING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.faults import Faults

Answer = TypeVar("Answer")

_CONFLICT: Final = "Transaction is ongoing for the item"
_THROUGHPUT: Final = (
    "The level of configured provisioned throughput for the table was exceeded. "
    "Consider increasing your provisioning level with the UpdateTable API."
)
_SERVER_ERRORS: Final = {
    "dynamodb": ("InternalServerError", "Internal server error"),
    "ecs": ("ServerException", "Service Unavailable. Please try again later."),
    "events": ("InternalException", "Internal failure"),
    "scheduler": ("InternalServerException", "Unexpected error encountered while processing the request."),
}


class NoAnswerError(Exception):
    """The connection is cut, or nothing comes until the caller gives up; what was asked may have been done."""


@dataclass(frozen=True)
class ErrorAnswer:
    """An error as the JSON protocols carry it."""

    status: int
    body: dict[str, Any]


def with_faults(
    faults: Faults | None,
    service: str,
    action: str,
    body: Callable[[], Mapping[str, Any]],
    answer: Callable[[], Answer],
) -> Answer | ErrorAnswer:
    """Give the answer, or what a fault makes of it; raises NoAnswerError if none comes.

    `body` is the request's; it is read only if the fault's answer depends on it.
    """
    if faults is None:
        return answer()
    refused = _before(faults, service, action, body)
    if refused is not None:
        return refused
    answered = answer()
    if faults.happens(service, "lost_answer", action):
        raise NoAnswerError(f"the answer of {action}")
    if faults.happens(service, "false_error", action):
        return _server_error(service)
    return answered


def _before(faults: Faults, service: str, action: str, body: Callable[[], Mapping[str, Any]]) -> ErrorAnswer | None:
    """Say how the call is refused, if it is; nothing is done then."""
    if faults.happens(service, "lost_request", action):
        raise NoAnswerError(f"the request of {action}")
    if faults.happens(service, "throttle", action):
        return ErrorAnswer(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
    if faults.happens(service, "server_error", action):
        return _server_error(service)
    return _refused_by_dynamodb(faults, action, body) if service == "dynamodb" else None


def _refused_by_dynamodb(faults: Faults, action: str, body: Callable[[], Mapping[str, Any]]) -> ErrorAnswer | None:
    if faults.happens("dynamodb", "throughput", action):
        if action.startswith("Transact"):
            return _cancelled("ProvisionedThroughputExceeded", _THROUGHPUT, body())
        return _dynamodb("ProvisionedThroughputExceededException", _THROUGHPUT)
    if action in CONFLICTING and faults.happens("dynamodb", "conflict", action):
        if action.startswith("Transact"):
            return _cancelled("TransactionConflict", _CONFLICT, body())
        return _dynamodb("TransactionConflictException", _CONFLICT)
    return None


def _server_error(service: str) -> ErrorAnswer:
    code, message = _SERVER_ERRORS[service]
    return ErrorAnswer(500, {"__type": code, "message": message})


def _cancelled(code: str, message: str, body: Mapping[str, Any]) -> ErrorAnswer:
    """Cancel a transaction for its first item; of the others DynamoDB tells that nothing was wrong with them."""
    others = len(body.get("TransactItems", ())) - 1
    reasons = [{"Code": code, "Message": message}, *({"Code": "None"} for _ in range(others))]
    codes = ", ".join(reason["Code"] for reason in reasons)
    told = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    return _dynamodb("TransactionCanceledException", told, CancellationReasons=reasons)


def _dynamodb(code: str, message: str, **members: object) -> ErrorAnswer:
    # Capital "Message" beside reasons, as DynamoDB writes it; botocore reads either.
    return ErrorAnswer(
        400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "Message": message, "message": message, **members}
    )
