"""The catalogue table: collection `pipelines` holds a pipeline with its newest snapshot, `snapshots#<name>` all."""

import time
from typing import TYPE_CHECKING

from zentrigger.catalogue import Pipeline, Snapshot, SnapshotContent
from zentrigger.errors import BusyError, TooLargeError
from zentrigger.items import TransactionRefusedError, from_item, to_item, transact
from zentrigger.timestamps import now

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef, TransactWriteItemTypeDef

CACHED_SECONDS = 10
"""How long a pipeline that was found is believed: a call within that time may run the snapshot before the newest."""

MAX_SNAPSHOT_BYTES = 350 * 1024
"""An item of DynamoDB is 400 KB at most, with its keys and names (AWS: "Constraints in Amazon DynamoDB")."""

PUBLISH_TRIES = 20


class CatalogueStore:
    """Pipelines and snapshots in DynamoDB; reads by name are remembered for a few seconds."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client
        self._cache: dict[str, tuple[float, Pipeline]] = {}

    def pipeline(self, name: str) -> Pipeline | None:
        """Give a pipeline by name, or None."""
        cached_until, cached = self._cache.get(name, (0.0, None))
        if cached is not None and cached_until > time.monotonic():
            return cached
        pipeline = self._read(name)
        if pipeline is not None:
            self._cache[name] = (time.monotonic() + CACHED_SECONDS, pipeline)
        return pipeline

    def _read(self, name: str) -> Pipeline | None:
        answer = self._client.get_item(
            TableName=self._table, Key=to_item({"collection": "pipelines", "item": name}), ConsistentRead=True
        )
        return _pipeline(from_item(answer["Item"])) if "Item" in answer else None

    def pipelines(self) -> tuple[Pipeline, ...]:
        """Give all pipelines, by name."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="#collection = :collection",
            ExpressionAttributeNames={"#collection": "collection"},
            ExpressionAttributeValues=to_item({":collection": "pipelines"}),
        )
        return tuple(_pipeline(from_item(item)) for page in pages for item in page["Items"])

    def publish(self, content: SnapshotContent, published_by: str) -> tuple[Snapshot, bool]:
        """Add a snapshot, numbered without gaps; gives it and whether it is new.

        What has the same content as the newest snapshot is that snapshot.

        Raises:
            BusyError: others published the same pipeline each time. Nothing was written.
            TooLargeError: the snapshot is over 350 KB.

        """
        for _ in range(PUBLISH_TRIES):
            standing = self._read(content.pipeline)
            if standing is not None and standing.newest.content.content_hash == content.content_hash:
                return standing.newest, False
            number = standing.snapshots + 1 if standing else 1
            snapshot = Snapshot(number=number, content=content, published_at=now(), published_by=published_by)
            body = snapshot.model_dump_json()
            if len(body.encode()) > MAX_SNAPSHOT_BYTES:
                raise TooLargeError(
                    f"The snapshot is {len(body.encode())} bytes, of {MAX_SNAPSHOT_BYTES} at most. Shorten its schemas."
                )
            try:
                transact(self._client, self._actions(standing, content.pipeline, number, body))
            except TransactionRefusedError:
                continue
            self._cache.pop(content.pipeline, None)
            return snapshot, True
        raise BusyError(f"Others are publishing {content.pipeline} just now. Nothing was written; publish again.")

    def _actions(
        self, standing: Pipeline | None, name: str, number: int, body: str
    ) -> list["TransactWriteItemTypeDef"]:
        pipeline: PutTypeDef = {
            "TableName": self._table,
            "Item": to_item({"collection": "pipelines", "item": name, "snapshots": number, "body": body}),
        }
        if standing is None:
            pipeline["ConditionExpression"] = "attribute_not_exists(snapshots)"
        else:
            pipeline["ConditionExpression"] = "snapshots = :standing"
            pipeline["ExpressionAttributeValues"] = to_item({":standing": standing.snapshots})
        snapshot = to_item({"collection": f"snapshots#{name}", "item": f"{number:08d}", "body": body})
        return [{"Put": pipeline}, {"Put": {"TableName": self._table, "Item": snapshot}}]


def _pipeline(item: dict[str, str]) -> Pipeline:
    newest = Snapshot.model_validate_json(item["body"])
    return Pipeline(name=newest.content.pipeline, snapshots=newest.number, newest=newest)
