"""Between typed records and DynamoDB's items, and the one way to write several of them at once."""

import base64
import binascii
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from zentrigger.errors import BusyError, InvalidRequestError, Problem

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()

Item = dict[str, Any]
Answer = TypeVar("Answer")

WRITE_TRIES = 12
"""Under contention a write is refused at once, so many short tries are cheap; they add up to some 5 s at most."""

MAX_HASH_KEY = 2048
MAX_SORT_KEY = 1024
"""Bytes of a key, at most (AWS: "Constraints in Amazon DynamoDB")."""


def to_item(values: Mapping[str, Any]) -> Item:
    """Give plain values (text, whole numbers, lists, maps) as an item."""
    return {name: _serializer.serialize(value) for name, value in values.items()}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Give an item as plain values; numbers become whole numbers, for the tables hold no others."""
    return {name: _plain(_deserializer.deserialize(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401 - the values of an item are of any type
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, str | bool | bytes):
        return value
    return int(value)


def can_be_key(collection: str, item: str) -> bool:
    """Tell whether DynamoDB would take these texts for an item's key. If not, nothing can stand under it."""
    try:
        return 0 < len(collection.encode()) <= MAX_HASH_KEY and 0 < len(item.encode()) <= MAX_SORT_KEY
    except UnicodeEncodeError:
        return False


def update_expression(
    *, set_values: Mapping[str, Any], remove: Sequence[str] = (), names: Sequence[str] = ()
) -> tuple[str, dict[str, str], Item]:
    """Give expression, attribute names and values of an update; `names` are further attributes a condition speaks of.

    Every attribute is written `#name` and every value `:name`, so that no reserved word is in the way.
    """
    expression = "SET " + ", ".join(f"#{name} = :{name}" for name in set_values)
    if remove:
        expression += " REMOVE " + ", ".join(f"#{name}" for name in remove)
    attribute_names = {f"#{name}": name for name in (*set_values, *remove, *names)}
    return expression, attribute_names, {f":{name}": value for name, value in to_item(set_values).items()}


class TransactionRefusedError(Exception):
    """A condition of a transaction did not hold. `existing` has, for each failed action, the item that stood there."""

    def __init__(self, existing: dict[int, dict[str, Any] | None]) -> None:
        super().__init__(f"the conditions of actions {sorted(existing)} did not hold")
        self.existing = existing


def transact(client: "DynamoDBClient", actions: Sequence["TransactWriteItemTypeDef"]) -> None:
    """Write all of `actions` or none.

    Raises:
        TransactionRefusedError: a condition did not hold; nothing was written.
        BusyError: other transactions were in the way each time, or DynamoDB takes no more calls. As a rule nothing was
            written; but an earlier try may have been, whose answer was lost.

    """
    try:
        persist(lambda: client.transact_write_items(TransactItems=actions))
    except ClientError as error:
        refused = {
            index: from_item(reason["Item"]) if reason.get("Item") else None
            for index, reason in enumerate(_cancellation_reasons(error))
            if reason.get("Code") == _CONDITION_FAILED
        }
        if refused:
            raise TransactionRefusedError(refused) from error
        raise


def update_if(  # noqa: PLR0913 - what an update consists of
    client: "DynamoDBClient",
    table: str,
    key: Item,
    *,
    expression: str,
    names: Mapping[str, str],
    values: Item,
    condition: str,
) -> dict[str, Any] | None:
    """Update one item if a condition holds. None: it was updated; else what stands there, empty for nothing.

    Raises:
        BusyError: transactions were in the way each time, or DynamoDB takes no more calls.

    """
    try:
        persist(
            lambda: client.update_item(
                TableName=table,
                Key=key,
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return from_item(error.response.get("Item", {}))  # type: ignore[arg-type]
        raise
    return None


def persist(write: Callable[[], Answer]) -> Answer:
    """Do a write, again with jitter while a transaction is in its way: that is for the caller to repeat, not the SDK.

    Throttling is none of this: the SDK has repeated the call already, with pauses (AWS: "Error handling with
    DynamoDB").

    Raises:
        BusyError: transactions were in the way each time, or DynamoDB takes no more calls.

    """
    for turn in range(WRITE_TRIES):
        try:
            return write()
        except ClientError as error:
            if throttled(error):
                raise BusyError("DynamoDB takes no more calls just now; try again.") from error
            if not _in_the_way(error):
                raise
            time.sleep(random.uniform(0, min(0.02 * 2**turn, 0.8)))  # noqa: S311 - jitter, not a secret
    raise BusyError("The store was busy with other writes to the same items; try again.")


def throttled(error: Exception) -> bool:
    """Tell whether AWS takes no more calls just now, after the SDK's own repetitions."""
    return isinstance(error, ClientError) and error.response["Error"].get("Code") in _THROTTLED


def _in_the_way(error: ClientError) -> bool:
    """Tell whether a write was refused for others that were under way, and for nothing else."""
    reasons = {reason.get("Code") for reason in _cancellation_reasons(error)}
    if reasons:
        return _CONDITION_FAILED not in reasons and not reasons.isdisjoint(_PASSING)
    return error.response["Error"]["Code"] in _UNDER_WAY


def _cancellation_reasons(error: ClientError) -> list[dict[str, Any]]:
    """Give why a transaction was cancelled, action by action."""
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return reasons


_CONDITION_FAILED = "ConditionalCheckFailed"

_PASSING = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})

_UNDER_WAY = frozenset({"TransactionConflictException", "TransactionInProgressException"})
"""A single write meets a transaction; a transaction, sent again after its answer was lost, is still being done."""

_THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "RequestLimitExceeded", "Throttling", "ThrottlingException"}
)


def to_cursor(position: Mapping[str, Any]) -> str:
    """Give a place in a listing as opaque text that is safe in a URL."""
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode().rstrip("=")


def start_of(cursor: str, collection: str) -> Item:
    """Give where a listing of a collection goes on, as DynamoDB's ExclusiveStartKey.

    Raises:
        InvalidRequestError: it is no cursor of ours, or one of another listing.

    """
    position = from_cursor(cursor)
    fits = set(position) == {"collection", "item"} and position["collection"] == collection
    if not (fits and can_be_key(collection, position["item"])):
        raise InvalidRequestError([Problem("/cursor", "This cursor is of another listing.")])
    return to_item(position)


def from_cursor(cursor: str) -> dict[str, str]:
    """Give the place in a listing that a cursor stands for.

    Raises:
        InvalidRequestError: it is no cursor of ours.

    """
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(position, dict) and all(isinstance(part, str) for part in position.values()):
            return position
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise InvalidRequestError(
        [Problem("/cursor", "This is not a cursor. Use the `next` of the page before, unchanged.")]
    )
