"""The triggers table: collection `triggers` holds the triggers, `receipts#<trigger>` what became of their events."""

from typing import TYPE_CHECKING, Any

from zentrigger.errors import NotFoundError
from zentrigger.items import from_item, start_of, to_cursor, to_item
from zentrigger.timestamps import now, to_text
from zentrigger.triggers import RECEIPTS_KEPT, Receipt, Trigger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef


class TriggerStore:
    """Triggers and receipts in DynamoDB."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client

    def put_action(self, trigger: Trigger) -> "TransactWriteItemTypeDef":
        """Give what makes a trigger, or replaces the one of its name, as an action of a transaction."""
        item = {"collection": "triggers", "item": trigger.name, "body": trigger.model_dump_json()}
        return {"Put": {"TableName": self._table, "Item": to_item(item)}}

    def get(self, name: str) -> Trigger:
        """Give a trigger.

        Raises:
            NotFoundError: there is none of this name.

        """
        answer = self._client.get_item(TableName=self._table, Key=_key(name), ConsistentRead=True)
        if "Item" not in answer:
            raise NotFoundError(f"There is no trigger {name!r}. GET /triggers lists them.")
        return Trigger.model_validate_json(from_item(answer["Item"])["body"])

    def triggers(self) -> tuple[Trigger, ...]:
        """Give all triggers, by name."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="#collection = :collection",
            ExpressionAttributeNames={"#collection": "collection"},
            ExpressionAttributeValues=to_item({":collection": "triggers"}),
            ConsistentRead=True,
        )
        return tuple(Trigger.model_validate_json(from_item(item)["body"]) for page in pages for item in page["Items"])

    def delete(self, name: str) -> None:
        """Delete a trigger; its receipts stay until they expire.

        Raises:
            NotFoundError: there is none of this name.

        """
        answer = self._client.delete_item(TableName=self._table, Key=_key(name), ReturnValues="ALL_OLD")
        if "Attributes" not in answer:
            raise NotFoundError(f"There is no trigger {name!r}. GET /triggers lists them.")

    def add_receipt(self, receipt: Receipt) -> None:
        """Keep a receipt for 30 days. One for the same moment and event replaces it."""
        self._client.put_item(
            TableName=self._table,
            Item=to_item(
                {
                    "collection": f"receipts#{receipt.trigger}",
                    "item": f"{to_text(receipt.at)}#{receipt.event_id}",
                    "body": receipt.model_dump_json(),
                    "expires_at": int((receipt.at + RECEIPTS_KEPT).timestamp()),
                }
            ),
        )

    def receipts(
        self, trigger: str, *, limit: int, cursor: str | None = None
    ) -> tuple[tuple[Receipt, ...], str | None]:
        """Give a page of a trigger's receipts, newest first, and the cursor of the next."""
        arguments: dict[str, Any] = {}
        if cursor:
            arguments["ExclusiveStartKey"] = start_of(cursor, f"receipts#{trigger}")
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#collection = :collection",
            ExpressionAttributeNames={"#collection": "collection"},
            ExpressionAttributeValues=to_item({":collection": f"receipts#{trigger}"}),
            ScanIndexForward=False,
            Limit=limit,
            **arguments,
        )
        oldest = int(now().timestamp())
        items = [from_item(item) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        return (
            tuple(Receipt.model_validate_json(item["body"]) for item in items if item["expires_at"] >= oldest),
            to_cursor(from_item(last)) if last else None,
        )


def _key(name: str) -> dict[str, Any]:
    return to_item({"collection": "triggers", "item": name})
