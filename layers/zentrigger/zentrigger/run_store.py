"""The runs table: the one place that writes runs. Every write is one conditional step, safe to repeat."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from pydantic import ValidationError

from zentrigger.capacity import Capacity
from zentrigger.errors import InvalidRequestError, NotFoundError, Problem, QueueFullError
from zentrigger.items import (
    TransactionRefusedError,
    from_cursor,
    from_item,
    to_cursor,
    to_item,
    transact,
    update_expression,
)
from zentrigger.runs import (
    CONTRACT_VERSION,
    LEGAL_MOVES,
    Assignment,
    Progress,
    Refusal,
    Report,
    Run,
    RunInput,
    RunRecord,
    RunStatus,
    Verdict,
)
from zentrigger.timestamps import now, to_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef, UpdateTypeDef

ENDED = "ended"
"""Value of `active` on a head that has ended and whose end has not been announced."""

RETRY_AFTER_SECONDS = 30
"""What a caller is told to wait when the queue is full; a training run takes minutes, so sooner is no use."""

PARTS_KEPT_LONGER = timedelta(days=30)
"""How much longer the parts of a record are kept: they count from its acceptance, the head from the end."""

MONTHS_LISTED = 24
"""How far back a listing without a pipeline or trigger looks; empty months cost a query each."""

# Not the functions' logger: this module is the task's, too, which has no Lambda toolbox.
_log = logging.getLogger(__name__)

_CLAIMABLE = "#status = :starting AND #attempt = :attempt AND attribute_not_exists(#cancel_requested_at)"

_CAPACITY = to_item({"run_id": "capacity#all", "part": "capacity"})

_LINK = 3
"""Where in the transaction that records a run the link from the run stands that it repeats."""


class NotClaimableError(Exception):
    """The attempt is not this task's to run: ended, cancelled, superseded, or claimed by another task."""


class NoFreeSlotError(Exception):
    """As many runs are active as may be."""


@dataclass(frozen=True)
class Creation:
    """What became of a request to record a run: the run as it stands, and whether it was there before."""

    run: Run
    replayed: bool


@dataclass(frozen=True)
class RunPage:
    """A page of runs, newest first; `cursor` is None on the last one."""

    runs: tuple[Run, ...]
    cursor: str | None


@dataclass(frozen=True)
class _Count:
    """A change of the capacity counts, and the condition it stands under."""

    expression: str
    values: dict[str, int]
    condition: str | None


class RunStore:
    """Runs in DynamoDB: parts `head`, `input`, `progress` and `result` under one run id, and the capacity counts."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client

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
        names = {"run_id": run.run_id, "expires_at": _parts_expire_at(run)}
        actions: list[TransactWriteItemTypeDef] = [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": to_item(_head(run)),
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
                "Key": _head_key(ended),
                "UpdateExpression": "SET retried_by = :retry",
                "ConditionExpression": "attribute_exists(ended_at)",
                "ExpressionAttributeValues": to_item({":retry": retry}),
            }
        }

    # ------------------------------------------------------------ reading

    def get(self, run_id: str) -> RunRecord | None:
        """Give the whole record of a run, or None where there is none or it has expired. One consistent Query."""
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="run_id = :run_id",
            ExpressionAttributeValues=to_item({":run_id": run_id}),
            ConsistentRead=True,
        )
        parts = {part["part"]: part for part in map(from_item, answer["Items"])}
        if "head" not in parts or "input" not in parts:
            return None
        run = Run.model_validate(parts["head"])
        if _expired(run):
            return None
        progress, result = _body(parts.get("progress"), run), _body(parts.get("result"), run)
        return RunRecord(
            run=run,
            input=RunInput.model_validate_json(parts["input"]["body"]),
            progress=Progress.model_validate_json(progress) if progress else None,
            result=Report.model_validate_json(result) if result else None,
        )

    def head(self, run_id: str) -> Run | None:
        """Give the head of a run as it stands now, or None."""
        answer = self._client.get_item(TableName=self._table, Key=_head_key(run_id), ConsistentRead=True)
        return Run.model_validate(from_item(answer["Item"])) if "Item" in answer else None

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
        return tuple(run for page in pages for run in _readable(page["Items"]))

    def page(  # noqa: PLR0913 - one keyword a filter
        self,
        *,
        limit: int,
        pipeline: str | None = None,
        trigger: str | None = None,
        status: RunStatus | None = None,
        tag: str | None = None,
        cursor: str | None = None,
    ) -> RunPage:
        """Give a page of runs, newest first.

        `pipeline` or `trigger` choose an index; the other filters are applied to the page that was read, so a page may
        be short, or empty, and still have a next one.
        """
        position = from_cursor(cursor) if cursor else {}
        if pipeline is not None:
            index, attribute, values = "by_pipeline", "pipeline", [pipeline]
        elif trigger is not None:
            index, attribute, values = "by_trigger", "trigger", [trigger]
        else:
            index, attribute, values = "by_month", "month", _months_back(position.get("month"))
        if cursor:
            _check_cursor(position, attribute, pipeline or trigger)
        found: list[Run] = []
        for number, value in enumerate(values):
            if len(found) >= limit:
                # The page is full just where an older month begins.
                return RunPage(tuple(found), to_cursor({attribute: value}))
            start = position if number == 0 and "run_id" in position else None
            runs, last = self._index_page(index, attribute, value, limit - len(found), start)
            found += [
                run
                for run in runs
                if (trigger is None or run.trigger == trigger)
                and (status is None or run.status == status)
                and (tag is None or tag in run.tags)
            ]
            if last is not None:
                return RunPage(tuple(found), to_cursor(last))
        return RunPage(tuple(found), None)

    def _index_page(
        self, index: str, attribute: str, value: str, limit: int, start: dict[str, str] | None
    ) -> tuple[list[Run], dict[str, str] | None]:
        arguments: dict[str, Any] = {"ExclusiveStartKey": to_item(start)} if start else {}
        answer = self._client.query(
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression="#value = :value",
            ExpressionAttributeNames={"#value": attribute},
            ExpressionAttributeValues=to_item({":value": value}),
            ScanIndexForward=False,
            Limit=limit,
            **arguments,
        )
        last = answer.get("LastEvaluatedKey")
        runs = [run for run in _readable(answer["Items"]) if not _expired(run)]
        return runs, from_item(last) if last else None

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
        self._update_if(
            run.run_id, expression, names, {**values, **to_item({":expected": run.status})}, "#status = :expected"
        )

    # ------------------------------------------------------------ the runner's side

    def claim(self, run_id: str, attempt: int, task_arn: str) -> Assignment:
        """Claim an attempt for a task: `starting` → `running`. Repeating it from the same task is a success.

        Raises:
            NotClaimableError: it is not this task's to run; the text says why.

        """
        record = self.get(run_id)
        if record is None:
            raise NotClaimableError(f"there is no run {run_id}")
        run = record.run
        mine = run.status == RunStatus.RUNNING and run.claimed_by == task_arn and run.attempt == attempt
        if not mine:
            if run.contract > CONTRACT_VERSION:
                raise NotClaimableError(
                    f"the record is of contract {run.contract} and this image knows {CONTRACT_VERSION}: it would leave "
                    f"out what it does not know; publish {run.pipeline} again with an image of now"
                )
            if run.attempt != attempt:
                raise NotClaimableError(f"attempt {attempt} is not the current one, which is {run.attempt}")
            self._claim(run, task_arn)
        return Assignment(
            run_id=run_id, attempt=attempt, pipeline=run.pipeline, snapshot=run.snapshot, **record.input.model_dump()
        )

    def _claim(self, run: Run, task_arn: str) -> None:
        moment = to_text(now())
        progress = Progress.model_validate({"heartbeat_at": moment})
        expression, names, values = update_expression(
            set_values={
                "status": RunStatus.RUNNING,
                "status_at": moment,
                "started_at": moment,
                "active": RunStatus.RUNNING,
                "claimed_by": task_arn,
                "task_arn": task_arn,
            },
            # A refusal that a resend of the launch got is proven wrong by the task that claims.
            remove=["refusal"],
            names=["attempt", "cancel_requested_at"],
        )
        try:
            transact(
                self._client,
                [
                    {
                        "Update": {
                            "TableName": self._table,
                            "Key": _head_key(run.run_id),
                            "UpdateExpression": expression,
                            "ConditionExpression": _CLAIMABLE,
                            "ExpressionAttributeNames": names,
                            "ExpressionAttributeValues": {
                                **values,
                                **to_item({":starting": RunStatus.STARTING, ":attempt": run.attempt}),
                            },
                            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                        }
                    },
                    {"Put": {"TableName": self._table, "Item": self._part(run, "progress", progress)}},
                ],
            )
        except TransactionRefusedError as refused:
            standing = refused.existing[0]
            if standing is None:
                raise NotClaimableError(f"there is no run {run.run_id}") from refused
            current = Run.model_validate(standing)
            # The answer of an earlier try was lost: the claim stands, and it is ours.
            if current.status == RunStatus.RUNNING and current.claimed_by == task_arn:
                return
            why = "its cancellation was requested" if current.cancel_requested_at else f"it is {current.status}"
            raise NotClaimableError(f"run {run.run_id} is not to be claimed: {why}") from refused

    def save_progress(self, run_id: str, attempt: int, progress: Progress) -> bool:
        """Keep what a running attempt says of itself. False: another attempt has taken over, nothing was changed."""
        expression, names, values = update_expression(
            set_values={"body": progress.model_dump_json()}, names=["attempt"]
        )
        return self._update_if(
            run_id,
            expression,
            names,
            {**values, **to_item({":attempt": attempt})},
            "#attempt = :attempt",
            part="progress",
        )

    def report(self, run_id: str, attempt: int, task_arn: str, report: Report) -> bool:
        """Keep how an attempt went, once. False: the run is no longer this task's; nothing was changed."""
        run = self.head(run_id)
        if run is None or run.attempt != attempt or run.claimed_by != task_arn:
            return False
        if run.report is not None:
            return True
        verdict = Verdict.model_validate(report.model_dump())
        expression, names, values = update_expression(
            set_values={"report": verdict.model_dump(mode="json", exclude_none=True)},
            names=["status", "attempt", "claimed_by"],
        )
        expected = {":running": RunStatus.RUNNING, ":attempt": attempt, ":task": task_arn}
        try:
            transact(
                self._client,
                [
                    {
                        "Update": {
                            "TableName": self._table,
                            "Key": _head_key(run_id),
                            "UpdateExpression": expression,
                            "ConditionExpression": (
                                "#status = :running AND #attempt = :attempt AND #claimed_by = :task"
                                " AND attribute_not_exists(#report)"
                            ),
                            "ExpressionAttributeNames": names,
                            "ExpressionAttributeValues": {**values, **to_item(expected)},
                            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                        }
                    },
                    {"Put": {"TableName": self._table, "Item": self._part(run, "result", report)}},
                ],
            )
        except TransactionRefusedError as refused:
            standing = refused.existing[0]
            return standing is not None and "report" in standing and standing.get("claimed_by") == task_arn
        return True

    def _part(self, run: Run, part: str, body: Progress | Report) -> dict[str, Any]:
        return to_item(
            {
                "run_id": run.run_id,
                "part": part,
                "attempt": run.attempt,
                "body": body.model_dump_json(),
                "expires_at": _parts_expire_at(run),
            }
        )

    # ------------------------------------------------------------ the one way a head changes

    def _move(self, run: Run, moved: Run, count: _Count) -> None:
        """Change a head's status together with the counts, if it still stands where `run` says it does.

        A report or a request to cancel that came meanwhile is a reason to look again, so it refuses the move.
        """
        if moved.status not in LEGAL_MOVES[run.status]:
            raise ValueError(f"a run never goes from {run.status} to {moved.status}")
        before, after = _head(run), _head(moved)
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
                "Key": _head_key(run.run_id),
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
        return self._update_if(
            run.run_id,
            expression,
            names,
            {**new_values, **_fence(run), **to_item(expected)},
            f"#status IN ({', '.join(expected)}) AND attribute_not_exists(#{absent}) AND {_FENCED}",
        )

    def _update_if(  # noqa: PLR0913 - private
        self,
        run_id: str,
        expression: str,
        names: dict[str, str],
        values: dict[str, Any],
        condition: str,
        *,
        part: str = "head",
    ) -> bool:
        try:
            self._client.update_item(
                TableName=self._table,
                Key=to_item({"run_id": run_id, "part": part}),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


_FENCE = ("attempt", "launch")
_FENCED = "#attempt = :fence_attempt AND #launch = :fence_launch"


def _fence(run: Run) -> dict[str, Any]:
    return to_item({":fence_attempt": run.attempt, ":fence_launch": run.launch})


def _head_key(run_id: str) -> dict[str, Any]:
    return to_item({"run_id": run_id, "part": "head"})


def _head(run: Run) -> dict[str, Any]:
    """Give a head with the attributes that the indexes are made of."""
    accepted = to_text(run.accepted_at)
    head = {
        **run.model_dump(mode="json", exclude_none=True),
        "part": "head",
        "month": accepted[:7],
        "created": f"{accepted}#{run.run_id}",
    }
    if not run.status.final:
        head["active"] = run.status.value
    elif run.announced_at is None:
        head["active"] = ENDED
    return head


def _readable(items: Iterable[Mapping[str, Any]]) -> Iterator[Run]:
    """Give the heads that can be read; one that cannot must not hide the others."""
    for item in items:
        values = from_item(item)
        try:
            yield Run.model_validate(values)
        except ValidationError:
            _log.exception("the head of run %s cannot be read", values.get("run_id"))


def _expired(run: Run) -> bool:
    """Tell whether a run's record has expired; DynamoDB deletes it within days (AWS: "Using time to live")."""
    return run.expires_at is not None and run.expires_at < now().timestamp()


def _parts_expire_at(run: Run) -> int:
    return int((run.accepted_at + timedelta(days=run.retention_days) + PARTS_KEPT_LONGER).timestamp())


def _body(part: Mapping[str, Any] | None, run: Run) -> str | None:
    """Give the body of a part, if it is of the run's present attempt."""
    return str(part["body"]) if part is not None and part["attempt"] == run.attempt else None


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


def _months_back(first: str | None) -> list[str]:
    """Give the months to list, newest first, from `first` (`2026-11`) or this one."""
    today = now()
    newest = today.year * 12 + today.month - 1
    months = [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(newest, newest - MONTHS_LISTED, -1)]
    return months[months.index(first) :] if first in months else months


def _check_cursor(position: Mapping[str, str], attribute: str, value: str | None) -> None:
    """Refuse a cursor that another listing gave; DynamoDB would answer it with an error of its own."""
    whole = {"run_id", "part", "created", attribute}
    fits = set(position) == whole or (set(position) == {"month"} and attribute == "month")
    if attribute == "month":
        fits = fits and position["month"] in _months_back(None)
    if not fits or not all(position.values()) or (value is not None and position[attribute] != value):
        raise InvalidRequestError([Problem("/cursor", "This cursor is of a listing with other filters.")])
