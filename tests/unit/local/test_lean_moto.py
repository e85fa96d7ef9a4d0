"""moto, where it copies no whole tables and keeps nothing: a transaction is all or nothing, also in the stream."""

from __future__ import annotations

import copy
import gc
import json
from typing import Any

import pytest
from moto.dynamodb.models.table import Table

from local.http_server import Request
from local.moto_backend import MotoBackend

TABLE = "things"


class Things:
    """A table with a stream, and the two kinds of writes."""

    def __init__(self) -> None:
        self.backend = MotoBackend(region="us-east-1")
        keys = {"name": "HASH", "part": "RANGE"}
        self.call(
            "CreateTable",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )

    def call(self, action: str, **body: Any) -> tuple[int, dict[str, Any]]:
        credential = "Credential=a/20261120/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=x"
        headers = (
            ("Host", "dynamodb.us-east-1.amazonaws.com"),
            ("X-Amz-Target", f"DynamoDB_20120810.{action}"),
            ("Content-Type", "application/x-amz-json-1.0"),
            ("Authorization", f"AWS4-HMAC-SHA256 {credential}"),
        )
        text = json.dumps(body if action == "TransactWriteItems" else {"TableName": TABLE, **body}).encode()
        answer = self.backend.answer(Request("POST", "/", headers, text, "127.0.0.1"))
        return answer.status, json.loads(answer.body)

    def write(self, *actions: dict[str, Any]) -> int:
        status, _ = self.call("TransactWriteItems", TransactItems=actions)
        return status

    def read(self, name: str, part: str = "head") -> dict[str, Any] | None:
        _, answer = self.call("GetItem", Key=_key(name, part))
        item: dict[str, Any] | None = answer.get("Item")
        return item

    @property
    def changes(self) -> int:
        return len(self.backend.stream_records(TABLE, None, 1000))


def _key(name: str, part: str = "head") -> dict[str, Any]:
    return {"name": {"S": name}, "part": {"S": part}}


def put(name: str, part: str = "head") -> dict[str, Any]:
    return {
        "Put": {
            "TableName": TABLE,
            "Item": {**_key(name, part), "deep": {"M": {"list": {"L": [{"N": "1"}]}}}},
            "ConditionExpression": "attribute_not_exists(part)",
        }
    }


def count(name: str, most: int = 10) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": TABLE,
            "Key": _key(name),
            "UpdateExpression": "ADD times :one",
            "ConditionExpression": "attribute_not_exists(times) OR times < :most",
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":most": {"N": str(most)}},
        }
    }


@pytest.fixture
def things() -> Things:
    return Things()


def test_all_is_written_together(things: Things) -> None:
    assert things.write(put("a"), put("a", "input"), count("counter")) == 200
    assert things.read("a", "input") is not None
    assert things.read("counter") == _key("counter") | {"times": {"N": "1"}}


def test_nothing_is_written_and_nothing_told_where_one_condition_fails(things: Things) -> None:
    things.write(put("a"), put("other"), count("counter"))
    before, changes = [things.read(name) for name in ("a", "other", "counter")], things.changes

    refused = things.write(
        count("counter"), put("new"), {"Delete": {"TableName": TABLE, "Key": _key("other")}}, put("a")
    )

    assert refused == 400
    assert [things.read(name) for name in ("a", "other", "counter")] == before
    assert things.read("new") is None
    assert things.changes == changes


def test_the_table_goes_on_after_a_refusal(things: Things) -> None:
    assert things.write(count("counter", most=0), put("a")) == 200
    assert things.write(count("counter", most=0), put("b")) == 400
    changes = things.changes

    assert things.write(count("counter"), put("b")) == 200

    assert things.read("counter") == _key("counter") | {"times": {"N": "2"}}
    assert things.changes == changes + 2


def test_of_many_items_with_one_hash_key_those_alone_are_copied_that_are_written(
    things: Things, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trigger's thousands of receipts have one."""
    things.write(*(put("many", f"part {number:02d}") for number in range(50)))
    copied: list[int] = []
    original = copy.deepcopy

    def deepcopy(value: Any, memo: Any = None) -> Any:
        copied.append(len(value) if isinstance(value, dict) else 1)
        return original(value, memo)

    monkeypatch.setattr(copy, "deepcopy", deepcopy)

    assert things.write(put("many", "part 99"), put("many", "part 07")) == 400

    assert copied
    assert max(copied) < 50
    assert things.read("many", "part 99") is None
    assert things.read("many", "part 07") == put("many", "part 07")["Put"]["Item"]


def test_what_was_made_once_is_not_kept(things: Things) -> None:
    things.write(put("a"))
    for _ in range(10):
        things.write(count("counter"))
    gc.collect()

    assert sum(isinstance(thing, Table) and thing.name == TABLE for thing in gc.get_objects()) == 1
