"""The runs table, as functions write it: each step of a run is one conditional write, safe to repeat.

A write that moves a run has an id of its own in `written_by`. Where its answer was lost and its repetition is refused,
the item that stands there shows that id, and the write counts as done.
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from zentrigger.capacity import Capacity, Concurrency, Standing, key_group, pipeline_group, stack_group
from zentrigger.capacity_counts import (
    BACK_TO_QUEUE,
    FREE_SLOT,
    LEAVE_QUEUE,
    Change,
    capacity_of,
    counted,
    enter_queue,
    enter_slot,
    full_groups,
    read_counts,
    take_slot,
)
from zentrigger.errors import BusyError, ConflictError, NotFoundError, QueueFullError
from zentrigger.items import TransactionRefusedError, to_item, transact, update_expression, update_if
from zentrigger.run_items import attempt_part, downstream_item, head_item, head_key, part_item, readable
from zentrigger.run_reader import RunReader
from zentrigger.runs import (
    LEGAL_MOVES,
    OF_AN_ATTEMPT,
    SKIPPED,
    Attempt,
    Overdue,
    Refusal,
    Run,
    RunInput,
    RunStatus,
    Timings,
)
from zentrigger.timestamps import now, to_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

RETRY_AFTER_SECONDS = 30
"""What a caller is told to wait when the queue is full; a training run takes minutes, so sooner is no use."""

_READ_AT_ONCE = 200
"""Heads on a page: waiting runs are often looked at for one or two that may start."""

_FIRST_COUNT = 2
"""Where in the transaction that records a run its counts begin, after head and input."""

Along = Callable[[Run], "Sequence[TransactWriteItemTypeDef]"]
"""What is to be written in the very transaction that records a run, given the run as it will stand."""


def nothing_along(_: Run) -> "Sequence[TransactWriteItemTypeDef]":
    """Write nothing along with a run."""
    return ()


class NoFreeSlotError(Exception):
    """As many runs are active as may be, of all or of one of the groups that the run counts in."""

    def __init__(self, groups: tuple[str, ...]) -> None:
        super().__init__(f"no slot is free of {', '.join(groups)}")
        self.groups = groups


class AlongRefusedError(Exception):
    """A condition of what was to be written along with a run did not hold, so that nothing was.

    Attributes:
        positions: Which of those actions did not allow it, from 0 on.

    """

    def __init__(self, positions: tuple[int, ...]) -> None:
        super().__init__(f"conditions of what was to be written along did not hold: {positions}")
        self.positions = positions


@dataclass(frozen=True)
class Creation:
    """What became of a request to record a run: the run as it stands, and whether it was there before."""

    run: Run
    replayed: bool


class RunStore(RunReader):
    """Runs in DynamoDB, as functions move them: head, input and attempts under one run id, and the capacity counts."""

    def __init__(self, table: str, client: "DynamoDBClient", clock: Callable[[], datetime] = now) -> None:
        super().__init__(table, client, clock)

    # ------------------------------------------------------------ recording

    def create(
        self,
        run: Run,
        run_input: RunInput,
        *,
        max_active: int,
        max_waiting: int | None,
        along: Along = nothing_along,
    ) -> Creation:
        """Record a run: `starting` if a slot is free and nobody waits, else `queued`.

        Record and slot are one transaction, and so are the link from the run that this one repeats or that led to it,
        and what is to be written along. A run that exists already, of this id and not expired, is given back as it
        stands; whether it was the same request is for the caller to see from `request_hash`. A run whose concurrency
        key is taken, and which skips then, is recorded as `cancelled`.

        Args:
            run: The head to write; its status is decided here.
            run_input: The input part.
            max_active: How many runs may hold a slot.
            max_waiting: How many may wait; None for runs that are never refused.
            along: What else is written with the run, or not at all.

        Raises:
            AlongRefusedError: a condition of `along` did not hold. Nothing was written.
            QueueFullError: no slot is free and no further run may wait. Nothing was written.
            ConflictError: its concurrency key is taken, and it rejects then. Nothing was written.
            NotFoundError: the run that this one repeats is not there, or has not ended. Nothing was written.
            BusyError: the counts were contended too long, or DynamoDB takes no more calls; and no record is found, or
                the text says that even this is not known.

        """
        starting = _written(run, status=RunStatus.STARTING)
        try:
            self._put_new(starting, run_input, enter_slot(max_active), along)
        except TransactionRefusedError as refused:
            existing = self._refused_creation(starting, run_input, refused, along)
            if existing is not None:
                return existing
        else:
            return Creation(starting, replayed=False)
        queued = _written(run, status=RunStatus.QUEUED)
        try:
            self._put_new(queued, run_input, enter_queue(max_waiting), along)
        except TransactionRefusedError as refused:
            existing = self._refused_creation(queued, run_input, refused, along)
            if existing is not None:
                return existing
            raise QueueFullError(
                f"No slot is free and {max_waiting} runs or more wait. Nothing was recorded; try again later.",
                RETRY_AFTER_SECONDS,
            ) from refused
        return Creation(queued, replayed=False)

    def _refused_creation(
        self, run: Run, run_input: RunInput, refused: TransactionRefusedError, along: Along
    ) -> Creation | None:
        """Give what stands instead of a new run; None: only slots or places in the queue were lacking."""
        if 0 in refused.existing:
            return _existing(refused.existing[0], run)
        full = full_groups(run, tuple(refused.existing), _FIRST_COUNT)
        key = run.concurrency
        if key is None or not key.exclusive or key_group(key.key) not in full:
            return None
        if key.on_conflict == "reject":
            raise ConflictError(f"{key.taken}. Nothing was recorded; try again when one has ended.") from refused
        return self._create_skipped(run, run_input, f"{key.taken}, so this one was skipped.", along)

    def _create_skipped(self, run: Run, run_input: RunInput, message: str, along: Along) -> Creation:
        """Record a run that never starts, so that the same request again is skipped, too."""
        ended = self._ended(run, RunStatus.CANCELLED, SKIPPED, message)
        try:
            self._put_new(ended, run_input, None, along)
        except TransactionRefusedError as refused:
            if 0 in refused.existing:
                return _existing(refused.existing[0], ended)
            raise
        return Creation(ended, replayed=False)

    def _put_new(self, run: Run, run_input: RunInput, change: Change | None, along: Along) -> None:
        """Write a new run with all that belongs to it.

        Raises:
            TransactionRefusedError: a run of this id is there, or the counts do not allow it.
            NotFoundError: the run that it repeats is not there.
            AlongRefusedError: a condition of `along` did not hold.

        """
        actions: list[TransactWriteItemTypeDef] = [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": to_item(head_item(run)),
                    # TTL deletes within days: what has expired counts as gone (AWS: "Using time to live").
                    "ConditionExpression": "attribute_not_exists(run_id) OR expires_at < :now",
                    "ExpressionAttributeValues": to_item({":now": int(self._clock().timestamp())}),
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            },
            {"Put": {"TableName": self._table, "Item": part_item(run, "input", run_input)}},
        ]
        if change is not None:
            actions += counted(self._table, run, change, self._clock())
        first_link = len(actions)
        if run.retry_of is not None:
            actions.append(self._link(run.retry_of, run.run_id))
        if run.source.run_id is not None:
            actions.append({"Put": {"TableName": self._table, "Item": downstream_item(run)}})
        first_along = len(actions)
        actions += along(run)
        try:
            transact(self._client, actions)
        except TransactionRefusedError as refused:
            # A run that is there already goes before all else: it is the answer to a replay.
            if 0 not in refused.existing:
                _raise_refused(run, refused, first_link, first_along)
            raise
        except BusyError as busy:
            standing = self._recorded(run.run_id)
            if standing is None:
                raise
            # A first send was done, and its answer lost: as if the next one had found that.
            raise TransactionRefusedError({0: standing}) from busy

    def _recorded(self, run_id: str) -> dict[str, Any] | None:
        """Give the head under which a run is on record, whoever wrote it; raises BusyError if that cannot be known."""
        try:
            record = self.get(run_id)
        except (BotoCoreError, ClientError) as error:
            raise BusyError(
                "The store takes no more calls just now, and does not say whether the run was recorded. With an"
                " Idempotency-Key, try again: it gives the run that there is. Without one, look at GET /runs first."
            ) from error
        return head_item(record.run) if record is not None else None

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
        counts = capacity_of(read_counts(self._client, self._table, stack_group()))
        return Capacity(counts.active_runs, counts.waiting_runs)

    def standing(self, pipeline: str, concurrency: Concurrency | None) -> Standing:
        """Give the counts that decide about one more run, as they are now; each is read on its own."""
        key = None
        if concurrency is not None:
            key = capacity_of(read_counts(self._client, self._table, key_group(concurrency.key)))
        of_pipeline = capacity_of(read_counts(self._client, self._table, pipeline_group(pipeline)))
        return Standing(self.capacity(), of_pipeline, key)

    def active(self, status: str, limit: int, unreadable: Callable[[str], object] = lambda _: None) -> tuple[Run, ...]:
        """Give up to `limit` runs of a status (or `ENDED`: ended, not announced), by rank: the first in line first.

        From an index, so that the newest may be missing for a moment and a head may have moved on. `unreadable` is told
        the id of each run that is left out because its head cannot be read.
        """
        return tuple(self._by_rank(status, limit, unreadable))

    def waiting(self, limit: int, unreadable: Callable[[str], object] = lambda _: None) -> Iterator[Run]:
        """Give up to `limit` waiting runs, the first in line first; read from the index as they are asked for."""
        return self._by_rank(RunStatus.QUEUED, limit, unreadable)

    def _by_rank(self, status: str, limit: int, unreadable: Callable[[str], object]) -> Iterator[Run]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="active",
            KeyConditionExpression="#active = :active",
            ExpressionAttributeNames={"#active": "active"},
            ExpressionAttributeValues=to_item({":active": status}),
            PaginationConfig={"MaxItems": limit, "PageSize": min(limit, _READ_AT_ONCE)},
        )
        for page in pages:
            yield from readable(page["Items"], unreadable)

    # ------------------------------------------------------------ launching

    def start(self, run: Run, *, max_active: int) -> Run | None:
        """Give a waiting run a slot. None: it is no longer waiting.

        Raises:
            NoFreeSlotError: all slots are taken, of the stack, of its pipeline or of its concurrency key.
            BusyError: the counts were contended too long.

        """
        moved = _written(
            run, status=RunStatus.STARTING, status_at=self._clock(), not_before=None, reason=None, message=None
        )
        try:
            return self._move(run, moved, take_slot(max_active))
        except TransactionRefusedError as refused:
            if 0 in refused.existing:
                return None
            raise NoFreeSlotError(full_groups(run, tuple(refused.existing), 1)) from refused

    def record_task(self, run: Run, task_arn: str) -> None:
        """Keep the ARN of the task that this launch started. An older launch, or another task, changes nothing."""
        self._amend(
            run,
            {"task_arn": task_arn, "launched_at": to_text(self._clock())},
            statuses=(RunStatus.STARTING, RunStatus.RUNNING),
            absent=("launched_at",),
            same_or_absent={"task_arn": task_arn},
        )

    def record_refusal(self, run: Run, refusal: Refusal) -> None:
        """Keep that ECS surely refused this launch of the run; `lifecycle` sends it back to waiting or ends it."""
        values = {"refusal": refusal.model_dump(mode="json")}
        self._amend(run, values, statuses=(RunStatus.STARTING,), absent=("task_arn",))

    def requeue(self, run: Run, *, not_before: datetime) -> Run | None:
        """Send a run whose launch was surely refused back to waiting, for a further launch. None: it has moved on."""
        refusal = run.refusal
        moved = _written(
            run,
            status=RunStatus.QUEUED,
            status_at=self._clock(),
            launch=run.launch + 1,
            not_before=not_before,
            task_arn=None,
            launched_at=None,
            reason=refusal.reason if refusal else None,
            message=refusal.message if refusal else None,
        )
        return self._moved(run, moved, BACK_TO_QUEUE)

    # ------------------------------------------------------------ ends

    def next_attempt(self, run: Run, following: Run, story: Attempt) -> Run | None:
        """Send a run back to waiting for its next attempt, and keep the story of this one. None: it has moved on.

        Args:
            run: The run, as it stands.
            following: The same with its next attempt, `queued`; see `attempts.following`.
            story: What became of the present attempt.

        """
        put: TransactWriteItemTypeDef = {
            "Put": {"TableName": self._table, "Item": part_item(run, attempt_part(story.number), story)}
        }
        return self._moved(run, _written(following), BACK_TO_QUEUE, put)

    def end(
        self,
        run: Run,
        status: RunStatus,
        reason: str | None,
        message: str | None,
        timings: Timings | None = None,
    ) -> Run | None:
        """End a run and give its slot (or place in the queue) back, in one transaction. None: it has moved on."""
        moved = self._ended(run, status, reason, message)
        if timings is not None:
            moved = moved.model_copy(update={"timings": timings})
        return self._moved(run, moved, FREE_SLOT if run.status.holds_slot else LEAVE_QUEUE)

    def _ended(self, run: Run, status: RunStatus, reason: str | None, message: str | None) -> Run:
        moment = self._clock()
        return _written(
            run,
            status=status,
            status_at=moment,
            ended_at=moment,
            not_before=None,
            reason=reason,
            message=message,
            expires_at=int((moment + timedelta(days=run.retention_days)).timestamp()),
        )

    def request_cancel(self, run: Run) -> Run | None:
        """Ask for the end of a run. None: it has moved on, or somebody asked before; look again."""
        moment = self._clock()
        values = {"cancel_requested_at": to_text(moment)}
        written_by = self._amend(run, values, statuses=(run.status,), absent=("cancel_requested_at",))
        if written_by is None:
            return None
        return run.model_copy(update={"cancel_requested_at": moment, "written_by": written_by})

    def mark_overdue(self, run: Run, reason: str, message: str) -> Run | None:
        """Keep that a run has missed a deadline. None: it has moved on, has reported, or is to end anyway."""
        overdue = Overdue(reason=reason, message=message, at=self._clock())
        written_by = self._amend(
            run,
            {"overdue": overdue.model_dump(mode="json")},
            statuses=(run.status,),
            absent=("overdue", "report", "cancel_requested_at"),
        )
        if written_by is None:
            return None
        return run.model_copy(update={"overdue": overdue, "written_by": written_by})

    def mark_announced(self, run: Run) -> None:
        """Keep that the end of a run was published; it leaves the index of active runs."""
        expression, names, values = update_expression(
            set_values={"announced_at": to_text(self._clock())}, remove=["active"], names=["status"]
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

    # ------------------------------------------------------------ the two ways a head changes

    def _moved(self, run: Run, moved: Run, change: Change, *further: "TransactWriteItemTypeDef") -> Run | None:
        try:
            return self._move(run, moved, change, *further)
        except TransactionRefusedError:
            return None

    def _move(self, run: Run, moved: Run, change: Change, *further: "TransactWriteItemTypeDef") -> Run:
        """Change a head's status together with the counts, if it still stands where `run` says it does.

        A report, a missed deadline or a request to cancel that came meanwhile is a reason to look again, so it refuses
        the move. What may come late without being one, the ARN of a task that has ended by now, is not left on a run
        that waits again: its next launch would be taken for that one.
        """
        if moved.status not in LEGAL_MOVES[run.status]:
            raise ValueError(f"a run never goes from {run.status} to {moved.status}")
        before, after = head_item(run), head_item(moved)
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        absent = [name for name in ("report", "overdue", "cancel_requested_at") if name not in before]
        if moved.launch > run.launch and run.task_arn is None:
            # A task of this launch says that it was not refused after all: there must be no further one.
            absent.append("task_arn")
        gone = {*before, *OF_AN_ATTEMPT} if moved.status == RunStatus.QUEUED else before
        expression, names, values = update_expression(
            set_values=changed,
            remove=sorted(name for name in gone if name not in after),
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
        try:
            transact(self._client, [update, *counted(self._table, run, change, self._clock()), *further])
        except TransactionRefusedError as refused:
            standing = refused.existing.get(0)
            # The answer of an earlier try was lost: the write stands, and it is this one.
            if standing and standing.get("written_by") == moved.written_by and standing["status"] == moved.status:
                return moved
            raise
        return moved

    def _amend(
        self,
        run: Run,
        values: dict[str, Any],
        *,
        statuses: Sequence[RunStatus],
        absent: Sequence[str],
        same_or_absent: dict[str, str] | None = None,
    ) -> str | None:
        """Set attributes of a head without a change of status, if it is of one of `statuses` and has none of `absent`.

        Those of `same_or_absent` must have that value already, or none. Gives the write's id; None: it was refused.
        """
        same = same_or_absent or {}
        written_by = uuid.uuid4().hex
        expression, names, new_values = update_expression(
            set_values={**values, "written_by": written_by}, names=["status", *absent, *same, *_FENCE]
        )
        expected: dict[str, Any] = {f":status{number}": status for number, status in enumerate(statuses)}
        conditions = [f"#status IN ({', '.join(expected)})", _FENCED]
        conditions += [f"attribute_not_exists(#{name})" for name in absent]
        for name, value in same.items():
            conditions.append(f"(attribute_not_exists(#{name}) OR #{name} = :same_{name})")
            expected[f":same_{name}"] = value
        standing = update_if(
            self._client,
            self._table,
            head_key(run.run_id),
            expression=expression,
            names=names,
            values={**new_values, **_fence(run), **to_item(expected)},
            condition=" AND ".join(conditions),
        )
        return written_by if standing is None or standing.get("written_by") == written_by else None


_FENCE = ("attempt", "launch")
_FENCED = "#attempt = :fence_attempt AND #launch = :fence_launch"


def _fence(run: Run) -> dict[str, Any]:
    return to_item({":fence_attempt": run.attempt, ":fence_launch": run.launch})


def _written(run: Run, **changes: object) -> Run:
    """Give a run as a write of its own leaves it."""
    return run.model_copy(update={**changes, "written_by": uuid.uuid4().hex})


def _raise_refused(run: Run, refused: TransactionRefusedError, first_link: int, first_along: int) -> None:
    """Raise what of a new run's transaction other than the counts did not hold, if anything."""
    if any(first_link <= index < first_along for index in refused.existing):
        raise NotFoundError(f"There is no ended run {run.retry_of} any more.") from refused
    positions = tuple(index - first_along for index in sorted(refused.existing) if index >= first_along)
    if positions:
        raise AlongRefusedError(positions) from refused


def _existing(item: dict[str, Any] | None, wanted: Run) -> Creation:
    if item is None:
        raise RuntimeError("DynamoDB refused the put of a run and did not say which item stood there")
    run = Run.model_validate(item)
    # A put whose answer was lost and which the SDK sent again finds itself.
    return Creation(run, replayed=run.written_by != wanted.written_by)
