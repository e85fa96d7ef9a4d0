"""The secrets of webhook triggers, in the keys table: collection `hook_secrets`, one item a trigger.

A signature can only be checked with the secret itself, so that it is kept as it is, unlike API keys, of which hashes
do. DynamoDB encrypts it; of the functions only `admin` and `trigger`, which set and check it, may read it.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from zentrigger.errors import BusyError, ConflictError, InvalidRequestError, Problem
from zentrigger.items import TransactionRefusedError, from_item, to_item, transact
from zentrigger.runs import Record
from zentrigger.signatures import Scheme, check_secret, new_secret
from zentrigger.timestamps import Timestamp

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

PREVIOUS_KEPT = timedelta(hours=24)
"""How long the secret before stays good, so that it can be changed on both sides one after the other."""


WRITE_TRIES = 5


class HookSecret(Record):
    """A trigger's secret, and the one before for as long as it is good."""

    # An item that cannot be read must not put its secret into an error's text.
    model_config = ConfigDict(hide_input_in_errors=True)

    secret: str = Field(repr=False)
    created_at: Timestamp
    previous: str | None = Field(default=None, repr=False)
    previous_valid_until: Timestamp | None = None

    def good_at(self, moment: datetime) -> tuple[str, ...]:
        """Give the secrets that are good at a moment, the newest first."""
        if self.previous is None or self.previous_valid_until is None or self.previous_valid_until <= moment:
            return (self.secret,)
        return (self.secret, self.previous)


def usable_secret(scheme: Scheme, given: str | None) -> str:
    """Give the secret that a trigger is to have: the one that was given, if its scheme can use it, or a new one.

    Raises:
        InvalidRequestError: it cannot, or its sender makes the secret and none was given.

    """
    if given is None:
        if scheme == "slack":
            detail = "Slack makes the secret: give the app's signing secret, from its page of basic information."
            raise InvalidRequestError([Problem("/secret", detail)])
        return new_secret()
    try:
        check_secret(scheme, given)
    except ValueError as error:
        raise InvalidRequestError([Problem("/secret", str(error))]) from None
    return given


class HookSecretStore:
    """Secrets of webhook triggers in DynamoDB."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client

    def find(self, trigger: str) -> HookSecret | None:
        """Give the secret of a trigger, or None."""
        answer = self._client.get_item(TableName=self._table, Key=_key(trigger), ConsistentRead=True)
        return HookSecret.model_validate(from_item(answer["Item"])) if "Item" in answer else None

    def put(self, trigger: str, secret: str, moment: datetime, *, standing: "TransactWriteItemTypeDef") -> HookSecret:
        """Give a trigger a secret; the one before stays good for a day. The same one again changes nothing.

        Args:
            trigger: The trigger's name.
            secret: The secret.
            moment: When it is given.
            standing: What requires, in the same transaction, that the trigger is still there and a webhook: one that
                was deleted meanwhile must leave none to whoever makes another of its name.

        Raises:
            ConflictError: the trigger was changed meanwhile. Nothing was written.
            BusyError: others gave it one each time. Nothing was written.

        """
        for _ in range(WRITE_TRIES):
            before = self.find(trigger)
            if before is not None and before.secret == secret:
                return before
            kept = HookSecret(
                secret=secret,
                created_at=moment,
                previous=before.secret if before else None,
                previous_valid_until=moment + PREVIOUS_KEPT if before else None,
            )
            try:
                transact(self._client, [self._put_action(trigger, kept, before), standing])
            except TransactionRefusedError as refused:
                if 1 in refused.existing:
                    detail = f"{trigger!r} was changed just now, and no secret was written: look at it, and try again."
                    raise ConflictError(detail) from refused
                # Another one was given in between, and is to stay good, too; or this one, and the answer was lost.
                continue
            return kept
        raise BusyError("Others are changing this secret just now. Nothing was written; try again.")

    def _put_action(self, trigger: str, kept: HookSecret, before: HookSecret | None) -> "TransactWriteItemTypeDef":
        item = {**kept.model_dump(mode="json", exclude_none=True), "collection": "hook_secrets", "item": trigger}
        put: dict[str, Any] = {"TableName": self._table, "Item": to_item(item)}
        if before is None:
            put["ConditionExpression"] = "attribute_not_exists(secret)"
        else:
            put["ConditionExpression"] = "secret = :standing"
            put["ExpressionAttributeValues"] = to_item({":standing": before.secret})
        return {"Put": put}  # type: ignore[typeddict-item]

    def delete_action(self, trigger: str) -> "TransactWriteItemTypeDef":
        """Give what deletes the secret of a trigger, as an action of the transaction that deletes the trigger."""
        return {"Delete": {"TableName": self._table, "Key": _key(trigger)}}


def _key(trigger: str) -> dict[str, Any]:
    return to_item({"collection": "hook_secrets", "item": trigger})
