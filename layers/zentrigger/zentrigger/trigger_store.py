"""The triggers table: triggers, their schedules that are still to be set, and what became of events.

collection              item                what
triggers                name                a trigger; `revision` rises with each write
schedules_pending       name#id             a schedule that may not be as its trigger says yet
counts                  name                how many events had each outcome
hours#<trigger>         hour                how many runs it started in an hour of the clock, for two days
receipts#<trigger>      receipt id          what became of one event, for 30 days
refused#<trigger>       number, 00 to 99    the last events that its filter refused
unmatched               receipt id          an event that no trigger waited for, for a day
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from zentrigger.errors import NotFoundError
from zentrigger.items import (
    TransactionRefusedError,
    can_be_key,
    from_item,
    persist,
    start_of,
    to_cursor,
    to_item,
    transact,
)
from zentrigger.receipts import RECEIPTS_KEPT, REFUSED_KEPT, UNMATCHED_KEPT, Outcome, Receipt, Unmatched, receipt_id
from zentrigger.run_store import Along
from zentrigger.runs import SKIPPED, Run
from zentrigger.timestamps import now, to_text
from zentrigger.triggers import Trigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_HOURS_KEPT = timedelta(days=2)

_SETTLED_AT_ONCE = 100

_FILTERED_AT_ONCE = 1000
_FILTERED_PAGES = 10
"""How many items, at most, are looked at for a page of those that fulfil something: so many at once, so often."""

MAX_RUNS, MAX_RUNS_PER_HOUR = 0, 1
"""Positions, in what is written along with a run, of the counts whose conditions keep a trigger within its limits."""


class TriggerStore:
    """Triggers and receipts in DynamoDB."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client

    # ------------------------------------------------------------ triggers

    def put_action(self, trigger: Trigger, before: Trigger | None) -> "TransactWriteItemTypeDef":
        """Give what makes a trigger, or replaces the one that stands, as an action of a transaction."""
        item = {"body": trigger.model_dump_json(), "updated": to_text(trigger.updated_at)}
        action = self._put("triggers", trigger.name, **item)
        put = action["Put"]
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if before is None:
            put["ConditionExpression"] = "attribute_not_exists(updated)"
        else:
            put["ConditionExpression"] = "updated = :standing"
            put["ExpressionAttributeValues"] = to_item({":standing": to_text(before.updated_at)})
        return action

    def delete_actions(self, trigger: Trigger) -> "list[TransactWriteItemTypeDef]":
        """Give what deletes a trigger and its counts; its receipts stay until they expire."""
        return [
            {
                "Delete": {
                    "TableName": self._table,
                    "Key": _key("triggers", trigger.name),
                    "ConditionExpression": "updated = :standing",
                    "ExpressionAttributeValues": to_item({":standing": to_text(trigger.updated_at)}),
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            },
            {"Delete": {"TableName": self._table, "Key": _key("counts", trigger.name)}},
        ]

    def find(self, name: str) -> Trigger | None:
        """Give a trigger, or None where there is none of this name."""
        body = self._get("triggers", name).get("body")
        return Trigger.model_validate_json(body) if body else None

    def get(self, name: str) -> Trigger:
        """Give a trigger.

        Raises:
            NotFoundError: there is none of this name.

        """
        trigger = self.find(name)
        if trigger is None:
            raise NotFoundError(f"There is no trigger {name[:100]!r}. GET /triggers lists them.")
        return trigger

    def triggers(self) -> tuple[Trigger, ...]:
        """Give all triggers, by name."""
        return tuple(Trigger.model_validate_json(item["body"]) for item in self._all("triggers"))

    # ------------------------------------------------------------ schedules that are still to be set

    def pending_action(self, name: str, write: str) -> "TransactWriteItemTypeDef":
        """Give what keeps that the schedule of a trigger is to be set, in the transaction that changes the trigger."""
        return self._put("schedules_pending", f"{name}#{write}", since=to_text(now()))

    def pending_schedules(self) -> tuple[tuple[str, str], ...]:
        """Give the schedules that are still to be set, the first hundred: trigger and write."""
        answer = self._client.query(**self._query("schedules_pending"), ConsistentRead=True, Limit=_SETTLED_AT_ONCE)
        names = (from_item(item)["item"].partition("#") for item in answer["Items"])
        return tuple((name, write) for name, _, write in names)

    def is_pending(self, name: str) -> bool:
        """Tell whether the schedule of a trigger is still to be set."""
        return any(pending == name for pending, _ in self.pending_schedules())

    def settled(self, name: str, write: str) -> None:
        """Keep that the schedule is as the trigger said at a write, or says since."""
        self._client.delete_item(TableName=self._table, Key=_key("schedules_pending", f"{name}#{write}"))

    # ------------------------------------------------------------ receipts

    def booking(self, trigger: Trigger, receipt: Receipt, event: str | None) -> Along:
        """Give what is written along with a run that a trigger starts: its receipt, and counts within its limits.

        Args:
            trigger: The trigger.
            receipt: The receipt, but for its outcome.
            event: The event as JSON, to be kept with the receipt.

        """

        def along(run: Run) -> "Sequence[TransactWriteItemTypeDef]":
            if run.reason == SKIPPED and run.status.final:
                told = receipt.told("skipped_overlap", run.message, run.run_id)
                return [self._count(trigger.name, "skipped_overlap"), self._receipt_action(told, event)]
            return [
                self._count(trigger.name, "started", trigger.definition.max_runs),
                self._count_hour(trigger, receipt.at),
                self._receipt_action(receipt.told("started", None, run.run_id), event),
            ]

        return along

    def add_receipt(self, receipt: Receipt, event: str | None = None) -> None:
        """Keep a receipt for 30 days and count it, once for one id; one that says `error` gives way to another.

        Of the events that a filter refused, only the last hundred are kept; all are counted.
        """
        if receipt.outcome == "not_matched":
            self._add_refused(receipt, event)
            return
        put = self._receipt_action(receipt, event)
        put["Put"]["ConditionExpression"] = "attribute_not_exists(outcome) OR outcome = :error"
        put["Put"]["ExpressionAttributeValues"] = to_item({":error": "error"})
        try:
            transact(self._client, [put, self._count(receipt.trigger, receipt.outcome)])
        except TransactionRefusedError:
            # The event was handled before, and its receipt says what became of it then.
            return

    def _add_refused(self, receipt: Receipt, event: str | None) -> None:
        # The runs that the trigger starts are counted in the same item, in transactions.
        answer = persist(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key("counts", receipt.trigger),
                UpdateExpression="ADD not_matched :one",
                ExpressionAttributeValues=to_item({":one": 1}),
                ReturnValues="UPDATED_NEW",
            )
        )
        number = from_item(answer["Attributes"])["not_matched"] % REFUSED_KEPT
        action = self._receipt_action(receipt, event)
        item = {**action["Put"]["Item"], **_key(f"refused#{receipt.trigger}", f"{number:02d}")}
        self._client.put_item(TableName=self._table, Item=item)

    def receipts(
        self, trigger: str, *, limit: int, cursor: str | None = None, outcome: str | None = None
    ) -> tuple[tuple[Receipt, ...], str | None]:
        """Give a page of a trigger's receipts, newest first, and the cursor of the next.

        A page may be short and still have a next one. `not_matched` gives the last hundred events that the filter
        refused, which are in no other list.
        """
        if outcome == "not_matched":
            refused = sorted(map(_receipt, self._last_refused(trigger)), key=lambda one: one.receipt_id, reverse=True)
            return tuple(refused[:limit]), None
        arguments: dict[str, Any] = self._query(f"receipts#{trigger}")
        if outcome is not None:
            arguments["FilterExpression"] = "outcome = :outcome"
            arguments["ExpressionAttributeValues"] |= to_item({":outcome": outcome})
        items, following = self._page(arguments, f"receipts#{trigger}", limit, cursor)
        return tuple(_receipt(item) for item in items), following

    def receipt(self, trigger: str, receipt_id: str) -> Receipt:
        """Give a receipt.

        Raises:
            NotFoundError: there is none of this id at this trigger, not yet or not any more.

        """
        item = self._get(f"receipts#{trigger}", receipt_id) or self._refused(trigger, receipt_id)
        if not item or not _lasts(item):
            raise NotFoundError(
                f"There is no receipt {receipt_id[:100]!r} of {trigger[:100]!r}: the event has not been handled yet,"
                " that was over 30 days ago, or the filter has refused a hundred others since."
            )
        return _receipt(item)

    def _refused(self, trigger: str, receipt_id: str) -> dict[str, Any]:
        """Give the item of an event that the filter refused, if it is among the last: who called a webhook asks."""
        return next((item for item in self._last_refused(trigger) if item["receipt"] == receipt_id), {})

    def _last_refused(self, trigger: str) -> list[dict[str, Any]]:
        return [item for item in self._all(f"refused#{trigger}") if _lasts(item)]

    def recent_events(self, trigger: str, limit: int) -> tuple[str, ...]:
        """Give the events, as JSON, of a trigger's last receipts and of those that its filter refused, newest first."""
        kept: list[dict[str, Any]] = []
        for collection in (f"receipts#{trigger}", f"refused#{trigger}"):
            items, _ = self._page(
                self._query(collection), collection, limit if "receipts" in collection else REFUSED_KEPT
            )
            kept += [item for item in items if item.get("event")]
        kept.sort(key=lambda item: str(item["receipt"]), reverse=True)
        return tuple(dict.fromkeys(str(item["event"]) for item in kept))[:limit]

    def counts(self) -> dict[str, dict[str, int]]:
        """Give how many events had each outcome, by trigger."""
        return {
            item["item"]: {name: count for name, count in item.items() if name not in ("collection", "item")}
            for item in self._all("counts")
        }

    def counts_of(self, trigger: str) -> dict[str, int]:
        """Give how many events of a trigger had each outcome."""
        item = self._get("counts", trigger)
        return {name: count for name, count in item.items() if name not in ("collection", "item")}

    def started_in_hour(self, trigger: str, moment: datetime) -> int:
        """Give how many runs a trigger has started in the hour of the clock that a moment lies in."""
        return int(self._get(f"hours#{trigger}", _hour(moment)).get("started", 0))

    # ------------------------------------------------------------ events that no trigger waited for

    def add_unmatched(self, event: Unmatched) -> None:
        """Keep an event that no trigger waited for, for a day."""
        item = self._put(
            "unmatched",
            receipt_id(event.at, event.event_id),
            body=event.model_dump_json(),
            expires_at=int((event.at + UNMATCHED_KEPT).timestamp()),
            **{name: value for name, value in (("bucket", event.bucket), ("key", event.key)) if value is not None},
        )
        self._client.put_item(TableName=self._table, Item=item["Put"]["Item"])

    def unmatched(
        self, *, limit: int, cursor: str | None = None, bucket: str | None = None, key: str | None = None
    ) -> tuple[tuple[Unmatched, ...], str | None]:
        """Give a page of the events of the last day that no trigger waited for, newest first."""
        arguments: dict[str, Any] = self._query("unmatched")
        wanted = {name: value for name, value in (("bucket", bucket), ("key", key)) if value is not None}
        if wanted:
            arguments["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in wanted)
            arguments["ExpressionAttributeNames"] |= {f"#{name}": name for name in wanted}
            arguments["ExpressionAttributeValues"] |= to_item({f":{name}": value for name, value in wanted.items()})
        items, following = self._page(arguments, "unmatched", limit, cursor)
        return tuple(Unmatched.model_validate_json(item["body"]) for item in items), following

    # ------------------------------------------------------------ items

    def _receipt_action(self, receipt: Receipt, event: str | None) -> "TransactWriteItemTypeDef":
        kept = {"event": event} if event is not None else {}
        return self._put(
            f"receipts#{receipt.trigger}",
            receipt.receipt_id,
            receipt=receipt.receipt_id,
            outcome=receipt.outcome,
            body=receipt.model_dump_json(exclude_none=True),
            expires_at=int((receipt.at + RECEIPTS_KEPT).timestamp()),
            **kept,
        )

    def _count(self, trigger: str, outcome: Outcome, limit: int | None = None) -> "TransactWriteItemTypeDef":
        return self._added(_key("counts", trigger), outcome, limit)

    def _count_hour(self, trigger: Trigger, moment: datetime) -> "TransactWriteItemTypeDef":
        key = _key(f"hours#{trigger.name}", _hour(moment))
        action = self._added(key, "started", trigger.definition.max_runs_per_hour)
        update = action["Update"]
        update["UpdateExpression"] += " SET expires_at = :expires_at"
        update["ExpressionAttributeValues"] = {
            **update["ExpressionAttributeValues"],
            **to_item({":expires_at": int((moment + _HOURS_KEPT).timestamp())}),
        }
        return action

    def _added(self, key: dict[str, Any], name: str, limit: int | None) -> "TransactWriteItemTypeDef":
        action: dict[str, Any] = {
            "TableName": self._table,
            "Key": key,
            "UpdateExpression": "ADD #name :one",
            "ExpressionAttributeNames": {"#name": name},
            "ExpressionAttributeValues": to_item({":one": 1}),
        }
        if limit is not None:
            action["ConditionExpression"] = "attribute_not_exists(#name) OR #name < :limit"
            action["ExpressionAttributeValues"] |= to_item({":limit": limit})
        return {"Update": action}  # type: ignore[typeddict-item]

    def _put(self, collection: str, item: str, **values: Any) -> "TransactWriteItemTypeDef":  # noqa: ANN401
        return {"Put": {"TableName": self._table, "Item": to_item({"collection": collection, "item": item, **values})}}

    def _get(self, collection: str, item: str) -> dict[str, Any]:
        if not can_be_key(collection, item):
            return {}
        answer = self._client.get_item(TableName=self._table, Key=_key(collection, item), ConsistentRead=True)
        return from_item(answer.get("Item", {}))

    def _query(self, collection: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "KeyConditionExpression": "#collection = :collection",
            "ExpressionAttributeNames": {"#collection": "collection"},
            "ExpressionAttributeValues": to_item({":collection": collection}),
        }

    def _all(self, collection: str) -> list[dict[str, Any]]:
        if not can_be_key(collection, "any"):
            return []
        pages = self._client.get_paginator("query").paginate(**self._query(collection), ConsistentRead=True)
        return [from_item(item) for page in pages for item in page["Items"]]

    def _page(
        self, arguments: dict[str, Any], collection: str, limit: int, cursor: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Give a page of a collection, the highest item first, without what has expired.

        DynamoDB filters what it has looked at, so that where there is a filter more is looked at than is given.
        """
        if cursor:
            arguments["ExclusiveStartKey"] = start_of(cursor, collection)
        if not can_be_key(collection, "any"):
            return [], None
        filtered = "FilterExpression" in arguments
        found: list[dict[str, Any]] = []
        for _ in range(_FILTERED_PAGES if filtered else 1):
            answer = self._client.query(
                ScanIndexForward=False, Limit=_FILTERED_AT_ONCE if filtered else limit, **arguments
            )
            for item in filter(_lasts, map(from_item, answer["Items"])):
                if len(found) == limit:
                    return found, to_cursor({"collection": collection, "item": found[-1]["item"]})
                found.append(item)
            last = answer.get("LastEvaluatedKey")
            if not last:
                return found, None
            arguments["ExclusiveStartKey"] = last
        return found, to_cursor(from_item(arguments["ExclusiveStartKey"]))


def _lasts(item: dict[str, Any]) -> bool:
    """Tell whether an item has not expired; DynamoDB deletes it within days (AWS: "Using time to live")."""
    return int(item["expires_at"]) >= now().timestamp()


def _receipt(item: dict[str, Any]) -> Receipt:
    return Receipt.model_validate_json(item["body"])


def _key(collection: str, item: str) -> dict[str, Any]:
    return to_item({"collection": collection, "item": item})


def _hour(moment: datetime) -> str:
    return to_text(moment)[:13]
