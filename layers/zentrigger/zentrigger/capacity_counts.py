"""The counts of active and waiting runs, as parts of the transactions that move runs.

One item a group of runs (`capacity#all`, `capacity#pipeline#…`, `capacity#key#…`). A run counts in each of its groups,
and only a transaction that moves the run changes them, so that a slot can neither leak nor be given back twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from zentrigger.capacity import PipelineCapacity, groups_of, key_group, stack_group
from zentrigger.items import from_item, to_item
from zentrigger.runs import Run
from zentrigger.timestamps import to_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

READ_AT_ONCE = 100
"""BatchGetItem takes no more (AWS: BatchGetItem)."""

COUNTS = "counts"
"""Value of `active` on the counts."""

KEY_COUNTS_KEPT = timedelta(days=400)
"""How long the counts of a concurrency key outlive its last change.

Nothing bounds how long a run waits, or runs without `timeout_seconds`; one that does for longer loses its key.
"""


@dataclass(frozen=True)
class Change:
    """How many more runs are active and wait, and under which conditions.

    Attributes:
        active: How many more hold a slot.
        waiting: How many more wait.
        max_active: As many may be active in the whole stack; None: the change needs no slot.
        nobody_waits: Whether it stands only if nobody waits.
        max_waiting: As many may wait; None: any number.
        admits: Whether it lets a run in that was not counted before, so that a key may refuse it.

    """

    active: int
    waiting: int
    max_active: int | None = None
    nobody_waits: bool = False
    max_waiting: int | None = None
    admits: bool = False


def enter_slot(max_active: int) -> Change:
    """Count a new run as active, if there is a slot and nobody waits."""
    return Change(1, 0, max_active=max_active, nobody_waits=True, admits=True)


def enter_queue(max_waiting: int | None) -> Change:
    """Count a new run as waiting, if so many may."""
    return Change(0, 1, max_waiting=max_waiting, admits=True)


def take_slot(max_active: int) -> Change:
    """Count a waiting run as active, if there is a slot."""
    return Change(1, -1, max_active=max_active)


BACK_TO_QUEUE = Change(-1, 1)
FREE_SLOT = Change(-1, 0)
LEAVE_QUEUE = Change(0, -1)


def capacity_key(group: str) -> dict[str, Any]:
    """Give the key of a group's counts."""
    return to_item({"run_id": f"capacity#{group}", "part": "capacity"})


def read_counts(client: "DynamoDBClient", table: str, group: str) -> dict[str, Any]:
    """Give the item with a group's counts as it stands now; empty where none was ever written."""
    answer = client.get_item(TableName=table, Key=capacity_key(group), ConsistentRead=True)
    return from_item(answer.get("Item", {}))


def read_many_counts(client: "DynamoDBClient", table: str, groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Give the items with the counts of up to 100 groups as they stand now, empty where none was ever written.

    A group that DynamoDB did not come to, being busy, is left out: of its counts nothing is known.
    """
    keys = {group: capacity_key(group) for group in groups}
    answer = client.batch_get_item(RequestItems={table: {"Keys": list(keys.values()), "ConsistentRead": True}})
    unprocessed = answer["UnprocessedKeys"].get(table)
    left = {from_item(key)["run_id"] for key in unprocessed["Keys"]} if unprocessed else set()
    found = {item["run_id"]: item for item in map(from_item, answer["Responses"].get(table, ()))}
    read = {group: from_item(key)["run_id"] for group, key in keys.items()}
    return {group: found.get(run_id, {}) for group, run_id in read.items() if run_id not in left}


def capacity_of(counts: Mapping[str, Any]) -> PipelineCapacity:
    """Give what an item with counts says."""
    return PipelineCapacity(counts.get("active_runs", 0), counts.get("waiting_runs", 0), counts.get("max_active_runs"))


def counted(table: str, run: Run, change: Change, moment: datetime) -> "list[TransactWriteItemTypeDef]":
    """Give the actions that make a change to the counts of all groups of a run, in the order of `groups_of`."""
    return [_counted(table, group, run, change, moment) for group in groups_of(run.pipeline, run.concurrency)]


def full_groups(run: Run, refused: Sequence[int], first: int) -> tuple[str, ...]:
    """Name the groups whose counts did not allow a change; its actions begin at index `first` of the transaction."""
    groups = groups_of(run.pipeline, run.concurrency)
    return tuple(group for index, group in enumerate(groups, first) if index in refused)


def _counted(table: str, group: str, run: Run, change: Change, moment: datetime) -> "TransactWriteItemTypeDef":
    # `active` and `rank` have the counts in the index of active runs, by their last change: so the sweep finds them.
    expression = (
        "ADD active_runs :active, waiting_runs :waiting, live_runs :live SET #active = :counts, #rank = :moment"
    )
    values: dict[str, Any] = {
        ":active": change.active,
        ":waiting": change.waiting,
        ":live": change.active + change.waiting,
        ":counts": COUNTS,
        ":moment": to_text(moment),
    }
    if group.startswith(key_group("")):
        expression += ", expires_at = :expires_at"
        values[":expires_at"] = int((moment + KEY_COUNTS_KEPT).timestamp())
    conditions, needed = _conditions(group, run, change)
    action: dict[str, Any] = {
        "TableName": table,
        "Key": capacity_key(group),
        "UpdateExpression": expression,
        "ExpressionAttributeNames": {"#active": "active", "#rank": "rank"},
        "ExpressionAttributeValues": to_item(values | needed),
    }
    if conditions:
        action["ConditionExpression"] = " AND ".join(conditions)
    return {"Update": action}  # type: ignore[typeddict-item]


def _conditions(group: str, run: Run, change: Change) -> tuple[list[str], dict[str, int]]:
    """Give what a group's counts must fulfil for a change. A count that was never written is none."""
    if group == stack_group():
        return _stack_conditions(change)
    if group.startswith(key_group("")):
        return _key_conditions(run, change)
    if change.max_active is None:
        return [], {}
    # The limit stands beside the counts, so that it holds for whoever starts a run, from the moment it is set.
    free = (
        "(attribute_not_exists(max_active_runs) OR active_runs < max_active_runs"
        " OR (attribute_not_exists(active_runs) AND max_active_runs > :none))"
    )
    return [free], {":none": 0}


def _stack_conditions(change: Change) -> tuple[list[str], dict[str, int]]:
    conditions, values = [], {}
    if change.max_active is not None:
        conditions.append("(attribute_not_exists(active_runs) OR active_runs < :max_active)")
        values[":max_active"] = change.max_active
    if change.nobody_waits:
        conditions.append("(attribute_not_exists(waiting_runs) OR waiting_runs <= :none)")
        values[":none"] = 0
    if change.max_waiting is not None:
        # Where the count has never been written there are none waiting: room enough, unless nobody may wait.
        never_written = "attribute_not_exists(waiting_runs) OR " if change.max_waiting > 0 else ""
        conditions.append(f"({never_written}waiting_runs < :max_waiting)")
        values[":max_waiting"] = change.max_waiting
    return conditions, values


def _key_conditions(run: Run, change: Change) -> tuple[list[str], dict[str, int]]:
    if run.concurrency is None:
        raise ValueError("the run has no concurrency key")
    conditions = []
    if change.max_active is not None:
        conditions.append("(attribute_not_exists(active_runs) OR active_runs < :key_limit)")
    if change.admits and run.concurrency.exclusive:
        conditions.append("(attribute_not_exists(live_runs) OR live_runs < :key_limit)")
    return conditions, ({":key_limit": run.concurrency.limit} if conditions else {})
