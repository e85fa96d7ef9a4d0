"""The runs table, as functions write it: each step of a run is one conditional write, safe to repeat."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from zentrigger.capacity import Capacity
from zentrigger.errors import NotFoundError, QueueFullError
from zentrigger.items import TransactionRefusedError, from_item, to_item, transact, update_expression, update_if
from zentrigger.run_items import head_item, head_key, parts_expire_at, readable
from zentrigger.run_reader import RunReader
from zentrigger.runs import LEGAL_MOVES, Refusal, Run, RunInput, RunStatus
from zentrigger.timestamps import now, to_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

RETRY_AFTER_SECONDS = 30
"""What a caller is told to wait when the queue is full; a training run takes minutes, so sooner is no use."""

_CAPACITY = to_item({"run_id": "capacity#all", "part": "capacity"})

_LINK = 3
"""Where in the transaction that records a run the link from the run stands that it repeats."""


class NoFreeSlotError(Exception):
    """As many runs are active as may be."""


@dataclass(frozen=True)
class Creation:
    """What became of a request to record a run: the run as it stands, and whether it was there before."""

    run: Run
    replayed: bool


@dataclass(frozen=True)
class _Count:
    """A change of the capacity counts, and the condition it stands under."""

    expression: str
    values: dict[str, int]
    condition: str | None


class RunStore(RunReader):
    """Runs in DynamoDB: parts `head`, `input`, `progress` and `result` under one run id, and the capacity counts."""

    # ------------------------------------------------------------ recording

    def create(self, run: Run, run_input: RunInput, *, max_active: int, max_waiting: int | None) -> Creation:
        """Record a run: `starting` if a slot is free and nobody waits, else `queued`.

        Record and slot are one transaction, and so is the link from the run that this one repeats, if it does. A run
        that exists already, of this id and not expired, is given back as it stands; whether it was the same request is
        for the caller to see from `request_hash`.

        Args:
            run: The head to write; its status is decided here.
            run_input: The input part.
            max_active: How many runs may hold a slot.
            max_waiting: How many may wait; None for runs that are never refused.

        Raises:
            QueueFullError: no slot is free and no further run may wait. Nothing was written.
            NotFoundError: the run that this one repeats is not there, or has not ended. Nothing was written.
            BusyError: the counts were contended too long. Nothing was written.

        """
        starting = run.model_copy(update={"status": RunStatus.STARTING})
        try:
            self._put_new(starting, run_input, _take_slot(max_active, queue_is_empty=True))
        except TransactionRefusedError as refused:
            if 0 in refused.existing:
                return _existing(refused.existing[0], starting)
            _require_repeated(run, refused)
        else:
            return Creation(starting, replayed=False)
        queued = run.model_copy(update={"status": RunStatus.QUEUED})
        try:
            self._put_new(queued, run_input, _start_waiting(max_waiting))
        except TransactionRefusedError as refused:
            if 0 in refused.existing:
                return _existing(refused.existing[0], queued)
            _require_repeated(run, refused)
            raise QueueFullError(
                f"{max_active} runs are active and {max_waiting} wait. Nothing was recorded; try again later.",
                RETRY_AFTER_SECONDS,
            ) from refused
        return Creation(queued, replayed=False)

    def _put_new(self, run: Run, run_input: RunInput, count: _Count) -> None:
        names = {"run_id": run.run_id, "expires_at": parts_expire_at(run)}
        actions: list[TransactWriteItemTypeDef] = [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": to_item(head_item(run)),
                    # TTL deletes within days: what has expired counts as gone (AWS: "Using time to live").
                    "ConditionExpression": "attribute_not_exists(run_id) OR expires_at < :now",
                    "ExpressionAttributeValues": to_item({":now": int(now().timestamp())}),
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            },
            {
                "Put": {
                    "TableName": self._table,
                    "Item": to_item({**names, "part": "input", "body": run_input.model_dump_json()}),
                }
            },
            self._counted(count),
        ]
        if run.retry_of is not None:
            actions.append(self._link(run.retry_of, run.run_id))
        transact(self._client, actions)

    def _link(self, ended: str, retry: str) -> "TransactWriteItemTypeDef":
        """Have a run that has ended name its newest retry. Nothing else of it changes: it stays ended and announced."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": head_key(ended),
                "UpdateExpression": "SET retried_by = :retry",
                "ConditionExpression": "attribute_exists(ended_at)",
                "ExpressionAttributeValues": to_item({":retry": retry}),
            }
        }

    # ------------------------------------------------------------ reading

    def capacity(self) -> Capacity:
        """Give how many runs are active and how many wait, as they are counted now."""
        answer = self._client.get_item(TableName=self._table, Key=_CAPACITY, ConsistentRead=True)
        counts = from_item(answer.get("Item", {}))
        return Capacity(counts.get("active_runs", 0), counts.get("waiting_runs", 0))

    def active(self, status: str, limit: int) -> tuple[Run, ...]:
        """Give up to `limit` runs of a status (or `ENDED`: ended, not announced), the longest waiting first.

        From an index, so that the newest may be missing for a moment and a head may have moved on.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="active",
            KeyConditionExpression="#active = :active",
            ExpressionAttributeNames={"#active": "active"},
            ExpressionAttributeValues=to_item({":active": status}),
            PaginationConfig={"MaxItems": limit, "PageSize": limit},
        )
        return tuple(run for page in pages for run in readable(page["Items"]))

    # ------------------------------------------------------------ launching

    def record_task(self, run: Run, task_arn: str) -> None:
        """Keep the ARN of the task that this launch started. An older launch, or another task, changes nothing."""
        self._amend(run, {"task_arn": task_arn}, statuses=(RunStatus.STARTING,), absent="task_arn")

    def record_refusal(self, run: Run, refusal: Refusal) -> None:
        """Keep that ECS surely refused this launch of the run; `lifecycle` sends it back to waiting or ends it."""
        values = {"refusal": refusal.model_dump(mode="json")}
        self._amend(run, values, statuses=(RunStatus.STARTING,), absent="task_arn")

    def start(self, run: Run, *, max_active: int) -> Run | None:
        """Give a waiting run a slot. None: it is no longer waiting.

        Raises:
            NoFreeSlotError: all slots are taken.
            BusyError: the counts were contended too long.

        """
        moved = run.model_copy(update={"status": RunStatus.STARTING, "status_at": now(), "not_before": None})
        try:
            self._move(run, moved, _take_slot(max_active, queue_is_empty=False))
        except TransactionRefusedError as refused:
            if 0 in refused.existing:
                return None
            raise NoFreeSlotError(f"{max_active} runs are active") from refused
        return moved

    def requeue(self, run: Run, *, not_before: datetime) -> Run | None:
        """Send a run whose launch was surely refused back to waiting, for a further launch. None: it has moved on."""
        moved = run.model_copy(
            update={
                "status": RunStatus.QUEUED,
                "status_at": now(),
                "launch": run.launch + 1,
                "not_before": not_before,
                "refusal": None,
                "task_arn": None,
            }
        )
        try:
            self._move(run, moved, _count(active=-1, waiting=1))
        except TransactionRefusedError:
            return None
        return moved

    # ------------------------------------------------------------ ends

    def end(self, run: Run, status: RunStatus, reason: str | None, message: str | None) -> Run | None:
        """End a run and give its slot (or place in the queue) back, in one transaction. None: it has moved on."""
        moment = now()
        moved = run.model_copy(
            update={
                "status": status,
                "status_at": moment,
                "ended_at": moment,
                "reason": reason,
                "message": message,
                "expires_at": int((moment + timedelta(days=run.retention_days)).timestamp()),
            }
        )
        count = _count(active=-1, waiting=0) if run.status.holds_slot else _count(active=0, waiting=-1)
        try:
            self._move(run, moved, count)
        except TransactionRefusedError:
            return None
        return moved

    def request_cancel(self, run: Run) -> Run | None:
        """Ask for the end of a run. None: it has moved on, or somebody asked before; look again."""
        moment = now()
        values = {"cancel_requested_at": to_text(moment)}
        kept = self._amend(run, values, statuses=(run.status,), absent="cancel_requested_at")
        return run.model_copy(update={"cancel_requested_at": moment}) if kept else None

    def mark_announced(self, run: Run) -> None:
        """Keep that the end of a run was published; it leaves the index of active runs."""
        expression, names, values = update_expression(
            set_values={"announced_at": to_text(now())}, remove=["active"], names=["status"]
        )
        update_if(
            self._client,
            self._table,
            head_key(run.run_id),
            expression=expression,
            names=names,
            values={**values, **to_item({":expected": run.status})},
            condition="#status = :expected",
        )

    # ------------------------------------------------------------ the one way a head changes

    def _move(self, run: Run, moved: Run, count: _Count) -> None:
        """Change a head's status together with the counts, if it still stands where `run` says it does.

        A report or a request to cancel that came meanwhile is a reason to look again, so it refuses the move.
        """
        if moved.status not in LEGAL_MOVES[run.status]:
            raise ValueError(f"a run never goes from {run.status} to {moved.status}")
        before, after = head_item(run), head_item(moved)
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        absent = [name for name in ("report", "cancel_requested_at") if name not in before]
        expression, names, values = update_expression(
            set_values=changed,
            remove=[name for name in before if name not in after],
            names=["status", *_FENCE, *absent],
        )
        unchanged = "".join(f" AND attribute_not_exists(#{name})" for name in absent)
        update: TransactWriteItemTypeDef = {
            "Update": {
                "TableName": self._table,
                "Key": head_key(run.run_id),
                "UpdateExpression": expression,
                "ConditionExpression": f"#status = :standing AND {_FENCED}{unchanged}",
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": {**values, **_fence(run), **to_item({":standing": run.status})},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
        }
        transact(self._client, [update, self._counted(count)])

    def _counted(self, count: _Count) -> "TransactWriteItemTypeDef":
        update: UpdateTypeDef = {
            "TableName": self._table,
            "Key": _CAPACITY,
            "UpdateExpression": count.expression,
            "ExpressionAttributeValues": to_item(count.values),
        }
        if count.condition:
            update["ConditionExpression"] = count.condition
        return {"Update": update}

    def _amend(self, run: Run, values: dict[str, Any], *, statuses: tuple[RunStatus, ...], absent: str) -> bool:
        """Set attributes of a head without a change of status, if it is of one of `statuses` and has no `absent`."""
        expression, names, new_values = update_expression(set_values=values, names=["status", absent, *_FENCE])
        expected = {f":status{number}": status for number, status in enumerate(statuses)}
        return update_if(
            self._client,
            self._table,
            head_key(run.run_id),
            expression=expression,
            names=names,
            values={**new_values, **_fence(run), **to_item(expected)},
            condition=f"#status IN ({', '.join(expected)}) AND attribute_not_exists(#{absent}) AND {_FENCED}",
        )


_FENCE = ("attempt", "launch")
_FENCED = "#attempt = :fence_attempt AND #launch = :fence_launch"


def _fence(run: Run) -> dict[str, Any]:
    return to_item({":fence_attempt": run.attempt, ":fence_launch": run.launch})


def _existing(item: dict[str, Any] | None, wanted: Run) -> Creation:
    if item is None:
        raise RuntimeError("DynamoDB refused the put of a run and did not say which item stood there")
    run = Run.model_validate(item)
    # A put whose answer was lost and which the SDK sent again finds itself.
    own = run.accepted_at == wanted.accepted_at and run.request_hash == wanted.request_hash
    return Creation(run, replayed=not own)


def _require_repeated(run: Run, refused: TransactionRefusedError) -> None:
    """Refuse to repeat a run that was refused a link to its repetition."""
    if _LINK in refused.existing:
        raise NotFoundError(f"There is no ended run {run.retry_of} any more.") from refused


def _take_slot(max_active: int, *, queue_is_empty: bool) -> _Count:
    """Count one more active run; one fewer waiting unless it comes straight in, which needs an empty queue."""
    free = "(attribute_not_exists(active_runs) OR active_runs < :limit)"
    if queue_is_empty:
        condition = f"{free} AND (attribute_not_exists(waiting_runs) OR waiting_runs <= :none)"
        return _Count("ADD active_runs :one", {":one": 1, ":none": 0, ":limit": max_active}, condition)
    values = {":one": 1, ":minus_one": -1, ":limit": max_active}
    return _Count("ADD active_runs :one, waiting_runs :minus_one", values, free)


def _start_waiting(max_waiting: int | None) -> _Count:
    if max_waiting is None:
        return _count(active=0, waiting=1)
    # Where the count has never been written there are none waiting, which is room enough unless nobody may wait.
    never_written = "attribute_not_exists(waiting_runs) OR " if max_waiting > 0 else ""
    return _Count("ADD waiting_runs :one", {":one": 1, ":limit": max_waiting}, f"{never_written}waiting_runs < :limit")


def _count(*, active: int, waiting: int) -> _Count:
    return _Count("ADD active_runs :active, waiting_runs :waiting", {":active": active, ":waiting": waiting}, None)
