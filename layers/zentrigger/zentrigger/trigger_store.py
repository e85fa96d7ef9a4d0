"""The triggers table: triggers, their schedules that are still to be set, and what became of events.

collection              item                what
triggers                name                a trigger; a write requires that it was `updated` when it was read
schedules_pending       name#id             a schedule that may not be as its trigger says yet, and why AWS refused it
counts                  name#created        how many events had each outcome, since a trigger was made
hours#<trigger>         hour                how many runs it started in an hour of the clock, for two days
receipts#<trigger>      receipt id          what became of one event, for 30 days
refused#<trigger>       number, 00 to 99    the last events that its filter refused
unmatched               receipt id          an event that no trigger waited for, for a day
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from pydantic import ValidationError

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
from zentrigger.observability import logger
from zentrigger.receipts import RECEIPTS_KEPT, REFUSED_KEPT, UNMATCHED_KEPT, Outcome, Receipt, Unmatched, receipt_id
from zentrigger.run_store import Along
from zentrigger.runs import SKIPPED, Run
from zentrigger.timestamps import now, to_text
from zentrigger.triggers import StoredTrigger, Trigger, UnreadableTrigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_HOURS_KEPT = timedelta(days=2)

_KEPT_AT_ONCE = 100
"""Of the events that filters refused, so many are kept in one transaction, which has 100 actions and 4 MB at most."""

MAX_PAGE_BYTES = 1024 * 1024
"""Of what a page of a list is made of. A function's answer is 6 MB at most (AWS: "Lambda quotas"), in which JSON within
JSON may be twice as long."""

_FILTERED_AT_ONCE = 1000
_FILTERED_PAGES = 10
"""How many items, at most, are looked at for a page of those that fulfil something: so many at once, so often."""

MAX_RUNS, MAX_RUNS_PER_HOUR = 0, 1
"""Positions, in what is written along with a run, of the counts whose conditions keep a trigger within its limits."""


@dataclass(frozen=True)
class Refused:
    """An event that a trigger's filter refused."""

    trigger: Trigger
    receipt: Receipt
    event: str | None = None
    """The event as JSON, to be kept with the receipt."""


@dataclass(frozen=True)
class PendingSchedule:
    """A note that the schedule of a trigger may not be as it says yet: of one write, until it is known to be."""

    trigger: str
    write: str
    since: datetime
    problem: str | None = None
    """Why AWS does not take the schedule, if it has said so."""
    refused_at: datetime | None = None


class TriggerStore:
    """Triggers and receipts in DynamoDB."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client

    # ------------------------------------------------------------ triggers

    def put_action(self, trigger: Trigger, before: StoredTrigger | None) -> "TransactWriteItemTypeDef":
        """Give what makes a trigger, or replaces the one that stands, as an action of a transaction."""
        # What stands beside the body is what a version knows of it that cannot read the body.
        action = self._put(
            "triggers",
            trigger.name,
            body=trigger.model_dump_json(),
            type=trigger.definition.type,
            pipeline=trigger.definition.pipeline,
            created=to_text(trigger.created_at),
            updated=to_text(trigger.updated_at),
        )
        condition = {**_unchanged(before), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        return {"Put": {**action["Put"], **condition}}  # type: ignore[typeddict-item]

    def standing_action(self, trigger: Trigger) -> "TransactWriteItemTypeDef":
        """Give what requires that a trigger is as it was when it was read, as an action of a transaction."""
        check = {"TableName": self._table, "Key": _key("triggers", trigger.name), **_unchanged(trigger)}
        return {"ConditionCheck": check}  # type: ignore[typeddict-item]

    def delete_actions(self, trigger: StoredTrigger) -> "list[TransactWriteItemTypeDef]":
        """Give what deletes a trigger and its counts; its receipts stay until they expire."""
        condition = {**_unchanged(trigger), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        delete: TransactWriteItemTypeDef = {"Delete": {"TableName": self._table, "Key": _key("triggers", trigger.name)}}
        delete["Delete"] |= condition  # type: ignore[typeddict-item]
        return [delete, {"Delete": {"TableName": self._table, "Key": _key("counts", _counted(trigger))}}]

    def look(self, name: str) -> StoredTrigger | None:
        """Give what stands under a name, readable or not; None: nothing."""
        item = self._get("triggers", name)
        return _stored(item) if item else None

    def find(self, name: str) -> Trigger | None:
        """Give a trigger, or None where there is none of this name.

        Raises:
            UnreadableTriggerError: there is one, and this version cannot read it.

        """
        found = self.look(name)
        if isinstance(found, UnreadableTrigger):
            raise found.error()
        return found

    def get(self, name: str) -> Trigger:
        """Give a trigger.

        Raises:
            NotFoundError: there is none of this name.
            UnreadableTriggerError: there is one, and this version cannot read it.

        """
        trigger = self.find(name)
        if trigger is None:
            raise no_trigger(name)
        return trigger

    def stored(self) -> tuple[StoredTrigger, ...]:
        """Give all triggers, by name; one that cannot be read does not hide the others."""
        return tuple(map(_stored, self._all("triggers")))

    def triggers(self) -> tuple[Trigger, ...]:
        """Give all triggers that can be read, by name."""
        return tuple(trigger for trigger in self.stored() if isinstance(trigger, Trigger))

    def triggers_page(self, *, limit: int, cursor: str | None = None) -> tuple[tuple[StoredTrigger, ...], str | None]:
        """Give a page of the triggers, by name, readable or not, and the cursor of the next.

        Large ones make it shorter than `limit`.
        """
        found: list[dict[str, Any]] = []
        room = MAX_PAGE_BYTES
        for item in self._items("triggers", at_once=limit + 1, cursor=cursor):
            room -= _shown_bytes(item)
            if len(found) == limit or (found and room < 0):
                following = to_cursor({"collection": "triggers", "item": found[-1]["item"]})
                return tuple(map(_stored, found)), following
            found.append(item)
        return tuple(map(_stored, found)), None

    # ------------------------------------------------------------ schedules that are still to be set

    def pending_action(self, name: str, write: str) -> "TransactWriteItemTypeDef":
        """Give what keeps that the schedule of a trigger is to be set, in the transaction that changes the trigger."""
        return self._put("schedules_pending", f"{name}#{write}", since=to_text(now()))

    def pending_schedules(self, name: str | None = None) -> tuple[PendingSchedule, ...]:
        """Give what is noted of schedules that are still to be set: all, or those of one trigger."""
        query = self._query("schedules_pending")
        if name is not None:
            if not can_be_key("schedules_pending", f"{name}#"):
                return ()
            query["KeyConditionExpression"] += " AND begins_with(#item, :item)"
            query["ExpressionAttributeNames"] |= {"#item": "item"}
            query["ExpressionAttributeValues"] |= to_item({":item": f"{name}#"})
        pages = self._client.get_paginator("query").paginate(**query, ConsistentRead=True)
        return tuple(_pending(from_item(item)) for page in pages for item in page["Items"])

    def keep_refusal(self, note: PendingSchedule, problem: str, moment: datetime) -> None:
        """Keep with a note why AWS does not take the schedule, if it has not been settled meanwhile."""
        values = {"since": to_text(note.since), "problem": problem, "refused_at": to_text(moment)}
        put = self._put("schedules_pending", f"{note.trigger}#{note.write}", **values)["Put"]
        try:
            self._client.put_item(
                TableName=self._table, Item=put["Item"], ConditionExpression="attribute_exists(since)"
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

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
                return [self._count(trigger, "skipped_overlap"), self._receipt_action(told, event)]
            return [
                self._count(trigger, "started", trigger.definition.max_runs),
                self._count_hour(trigger, receipt.at),
                self._receipt_action(receipt.told("started", None, run.run_id), event),
            ]

        return along

    def add_receipt(self, receipt: Receipt, event: str | None = None, *, of: StoredTrigger | None) -> None:
        """Keep a receipt for 30 days and count it, once for one id; one that says `error` gives way to another.

        Args:
            receipt: The receipt, of any outcome but `not_matched`.
            event: The event as JSON, to be kept with it.
            of: The trigger, among whose events it is counted; None: there is none of this name any more.

        """
        put = self._receipt_action(receipt, event)
        put["Put"]["ConditionExpression"] = "attribute_not_exists(outcome) OR outcome = :error"
        put["Put"]["ExpressionAttributeValues"] = to_item({":error": "error"})
        try:
            transact(self._client, [put, *([self._count(of, receipt.outcome)] if of is not None else [])])
        except TransactionRefusedError:
            # The event was handled before, and its receipt says what became of it then.
            return

    def add_refused(self, refused: "Sequence[Refused]") -> None:
        """Keep the events that filters refused, of each trigger the last hundred, and count all.

        However many events there are, a trigger's are counted in one call; and a hundred are kept in one.
        """
        by_trigger: dict[str, list[Refused]] = defaultdict(list)
        for one in refused:
            by_trigger[_counted(one.trigger)].append(one)
        puts = [put for key, those in by_trigger.items() for put in self._refused_actions(key, those)]
        for start in range(0, len(puts), _KEPT_AT_ONCE):
            transact(self._client, puts[start : start + _KEPT_AT_ONCE])

    def _refused_actions(self, counted: str, refused: "Sequence[Refused]") -> "Iterator[TransactWriteItemTypeDef]":
        """Count the refused events of a trigger, and give what keeps the last of them, each in its place."""
        # The runs that the trigger starts are counted in the same item, in transactions.
        answer = persist(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=_key("counts", counted),
                UpdateExpression="ADD not_matched :number",
                ExpressionAttributeValues=to_item({":number": len(refused)}),
                ReturnValues="UPDATED_NEW",
            )
        )
        last: int = from_item(answer["Attributes"])["not_matched"]
        kept = refused[-REFUSED_KEPT:]
        for number, one in enumerate(kept, last - len(kept) + 1):
            action = self._receipt_action(one.receipt, one.event)
            place = _key(f"refused#{one.trigger.name}", f"{number % REFUSED_KEPT:02d}")
            action["Put"]["Item"] = {**action["Put"]["Item"], **place}
            yield action

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

    def counts(self, triggers: "Iterable[StoredTrigger]") -> dict[str, dict[str, int]]:
        """Give how many events had each outcome since a trigger was made, by its name."""
        found = {item["item"]: _numbers(item) for item in self._all("counts")}
        return {trigger.name: found[key] for trigger in triggers if (key := _counted(trigger)) in found}

    def counts_of(self, trigger: StoredTrigger) -> dict[str, int]:
        """Give how many events of a trigger had each outcome since it was made."""
        return _numbers(self._get("counts", _counted(trigger)))

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

    def _count(self, trigger: StoredTrigger, outcome: Outcome, limit: int | None = None) -> "TransactWriteItemTypeDef":
        return self._added(_key("counts", _counted(trigger)), outcome, limit)

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

    def _items(self, collection: str, *, at_once: int, cursor: str | None) -> "Iterator[dict[str, Any]]":
        """Give the items of a collection in order, from a cursor on; `at_once` are asked for, and again when taken."""
        arguments = self._query(collection) | ({"ExclusiveStartKey": start_of(cursor, collection)} if cursor else {})
        pages = self._client.get_paginator("query").paginate(
            **arguments, ConsistentRead=True, PaginationConfig={"PageSize": at_once}
        )
        return (from_item(item) for page in pages for item in page["Items"])

    def _page(
        self, arguments: dict[str, Any], collection: str, limit: int, cursor: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Give a page of a collection, the highest item first, without what has expired. Large ones make it shorter.

        DynamoDB filters what it has looked at, so that where there is a filter more is looked at than is given.
        """
        if cursor:
            arguments["ExclusiveStartKey"] = start_of(cursor, collection)
        if not can_be_key(collection, "any"):
            return [], None
        filtered = "FilterExpression" in arguments
        found: list[dict[str, Any]] = []
        room = MAX_PAGE_BYTES
        for _ in range(_FILTERED_PAGES if filtered else 1):
            answer = self._client.query(
                ScanIndexForward=False, Limit=_FILTERED_AT_ONCE if filtered else limit, **arguments
            )
            for item in filter(_lasts, map(from_item, answer["Items"])):
                room -= _shown_bytes(item)
                if len(found) == limit or (found and room < 0):
                    return found, to_cursor({"collection": collection, "item": found[-1]["item"]})
                found.append(item)
            last = answer.get("LastEvaluatedKey")
            if not last:
                return found, None
            arguments["ExclusiveStartKey"] = last
        return found, to_cursor(from_item(arguments["ExclusiveStartKey"]))


def no_trigger(name: str) -> NotFoundError:
    """Say that there is no such trigger."""
    return NotFoundError(f"There is no trigger {name[:100]!r}. GET /triggers lists them.")


def _lasts(item: dict[str, Any]) -> bool:
    """Tell whether an item has not expired; DynamoDB deletes it within days (AWS: "Using time to live")."""
    return int(item["expires_at"]) >= now().timestamp()


def _pending(item: dict[str, Any]) -> PendingSchedule:
    name, _, write = item["item"].partition("#")
    refused_at = item.get("refused_at")
    return PendingSchedule(
        name,
        write,
        datetime.fromisoformat(item["since"]),
        item.get("problem"),
        datetime.fromisoformat(refused_at) if refused_at else None,
    )


def _shown_bytes(item: dict[str, Any]) -> int:
    return len(item.get("body", "").encode())


def _stored(item: dict[str, Any]) -> StoredTrigger:
    try:
        return Trigger.model_validate_json(item.get("body", ""))
    except ValidationError as error:
        # The places alone: what stands there may be anything.
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['type']}" for one in error.errors()[:5])
        known = {name: item.get(name) for name in ("type", "pipeline", "created", "updated")}
        logger.error("a trigger cannot be read", trigger=item["item"], wrong=wrong)
        return UnreadableTrigger(name=item["item"], detail=wrong, **known)


def _updated(trigger: StoredTrigger) -> str | None:
    return trigger.updated if isinstance(trigger, UnreadableTrigger) else to_text(trigger.updated_at)


def _unchanged(trigger: StoredTrigger | None) -> dict[str, Any]:
    """Give the condition of a write that requires that what was read still stands."""
    updated = _updated(trigger) if trigger is not None else None
    if updated is None:
        return {"ConditionExpression": "attribute_not_exists(updated)"}
    return {"ConditionExpression": "updated = :standing", "ExpressionAttributeValues": to_item({":standing": updated})}


def _counted(trigger: StoredTrigger) -> str:
    """Give the item of a trigger's counts: one that is made anew under the same name begins anew.

    A transaction that was under way when the old one was deleted would else have counted for the new one.
    """
    created = trigger.created if isinstance(trigger, UnreadableTrigger) else to_text(trigger.created_at)
    return f"{trigger.name}#{created or ''}"


def _numbers(item: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in item.items() if name not in ("collection", "item")}


def _receipt(item: dict[str, Any]) -> Receipt:
    return Receipt.model_validate_json(item["body"])


def _key(collection: str, item: str) -> dict[str, Any]:
    return to_item({"collection": collection, "item": item})


def _hour(moment: datetime) -> str:
    return to_text(moment)[:13]
