"""The keys table."""

import time
from typing import TYPE_CHECKING

from zentrigger.errors import NotFoundError, UnauthorizedError
from zentrigger.items import from_item, to_item
from zentrigger.keys import ApiKey, Scope, hash_of, key_id_of, matches, new_key
from zentrigger.timestamps import now

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CACHED_SECONDS = 30
"""How long a key that was found, or not found, is believed: a deleted key works that much longer at most."""

CACHED_KEYS = 1000
"""How many ids are remembered, so that guessed ones cannot fill the memory."""


class KeyStore:
    """API keys in DynamoDB, with a short-lived memory of those that were asked for."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client
        self._cache: dict[str, tuple[float, ApiKey | None]] = {}

    def authenticate(self, text: str | None) -> ApiKey:
        """Give the key that a caller sent.

        Raises:
            UnauthorizedError: there is none, it is no whole key, or it is not known.

        """
        if not text:
            raise UnauthorizedError("Send your API key in the header X-API-Key.")
        key = self._find(key_id_of(text))
        if key is None or not matches(key, text):
            raise UnauthorizedError("This API key is not known: it was never made here, or it has been deleted.")
        return key

    def _find(self, key_id: str) -> ApiKey | None:
        cached_until, key = self._cache.get(key_id, (0.0, None))
        if cached_until > time.monotonic():
            return key
        answer = self._client.get_item(TableName=self._table, Key=_key(key_id), ConsistentRead=True)
        key = ApiKey.model_validate(from_item(answer["Item"])) if "Item" in answer else None
        if len(self._cache) >= CACHED_KEYS:
            self._cache.clear()
        self._cache[key_id] = (time.monotonic() + CACHED_SECONDS, key)
        return key

    def create(self, name: str, scopes: tuple[Scope, ...]) -> tuple[ApiKey, str]:
        """Make a key; gives it and its text, which nobody can ask for again."""
        key_id, text = new_key()
        key = ApiKey(key_id=key_id, name=name, scopes=scopes, secret_hash=hash_of(text), created_at=now())
        self._client.put_item(
            TableName=self._table,
            Item=to_item({"collection": "keys", "item": key_id, **key.model_dump(mode="json")}),
            ConditionExpression="attribute_not_exists(#item)",
            ExpressionAttributeNames={"#item": "item"},
        )
        return key, text

    def api_keys(self) -> tuple[ApiKey, ...]:
        """Give all keys, by id; some hundred at most, for one Query reads 1 MB."""
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="#collection = :collection",
            ExpressionAttributeNames={"#collection": "collection"},
            ExpressionAttributeValues=to_item({":collection": "keys"}),
        )
        return tuple(ApiKey.model_validate(from_item(item)) for item in answer["Items"])

    def delete(self, key_id: str) -> None:
        """Delete a key; it stops working within 30 s.

        Raises:
            NotFoundError: there is none of this id.

        """
        answer = self._client.delete_item(TableName=self._table, Key=_key(key_id), ReturnValues="ALL_OLD")
        if "Attributes" not in answer:
            raise NotFoundError(f"There is no API key {key_id}. GET /keys lists them.")
        self._cache.pop(key_id, None)


def _key(key_id: str) -> dict[str, dict[str, str]]:
    return {"collection": {"S": "keys"}, "item": {"S": key_id}}
