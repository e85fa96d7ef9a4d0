"""The capacity counts as such: shown, limited for a pipeline, and compared with the runs that there are."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from zentrigger.capacity import PipelineCapacity, groups_of, pipeline_group, stack_group
from zentrigger.capacity_counts import (
    COUNTS,
    READ_AT_ONCE,
    capacity_key,
    capacity_of,
    read_counts,
    read_many_counts,
)
from zentrigger.items import from_item, persist, to_item, update_if
from zentrigger.runs import Run
from zentrigger.timestamps import now, to_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

INDEX_SETTLES_AFTER = timedelta(seconds=10)
"""How long an index may be behind its table; counts that changed since are not compared with it."""

COMPARED_SINCE = timedelta(days=2)
"""Counts that have not changed for so long are compared no more, unless a run that has not ended counts in them."""

COMPARED_AT_ONCE = 1000

REPAIRED_AFTER = timedelta(minutes=15)
"""How long the same disagreement must have been seen, between counts that have not changed, before it is believed: an
index may be minutes behind, and what it does not show yet must not give slots away."""


@dataclass(frozen=True)
class Drift:
    """By how many runs the counts of a group are too high (or, negative, too low), and whether that was repaired."""

    group: str
    active_runs: int
    waiting_runs: int
    repaired: bool


class CapacityStore:
    """The items `capacity#…` of the runs table."""

    def __init__(self, table: str, client: "DynamoDBClient", clock: Callable[[], datetime] = now) -> None:
        self._table = table
        self._client = client
        self._clock = clock

    def of_pipeline(self, pipeline: str) -> PipelineCapacity:
        """Give how many runs of a pipeline are active, wait, and may be active."""
        return capacity_of(read_counts(self._client, self._table, pipeline_group(pipeline)))

    def set_limit(self, pipeline: str, max_active: int | None) -> PipelineCapacity:
        """Have at most so many runs of a pipeline active from now on; None: as many as the stack has slots; 0: none.

        Runs that are active stay so; it holds for those that start. Gives the counts and the limit as they stand then.
        """
        arguments: dict[str, Any] = {"UpdateExpression": "REMOVE max_active_runs"}
        if max_active is not None:
            arguments = {
                "UpdateExpression": "SET max_active_runs = :limit",
                "ExpressionAttributeValues": to_item({":limit": max_active}),
            }
        key = capacity_key(pipeline_group(pipeline))
        answer = persist(
            lambda: self._client.update_item(TableName=self._table, Key=key, ReturnValues="ALL_NEW", **arguments)
        )
        return capacity_of(from_item(answer.get("Attributes", {})))

    def compare(
        self, runs: Iterable[Run], looked_at: datetime, *, in_time: Callable[[], bool] = lambda: True
    ) -> list[Drift]:
        """Compare the counts with the runs that have not ended, and repair what has been wrong for long.

        Counts change with the runs in one transaction, so that only a hand or a fault of ours can part them; or the
        index is behind, and they are right. So a disagreement is told at once and kept beside the counts, and is taken
        off them when each look since has seen the same, and they have not changed, for `REPAIRED_AFTER`.

        Args:
            runs: All runs that have not ended, as the index shows them.
            looked_at: When the index was read, or earlier.
            in_time: Tells whether there is time for a hundred groups more. That of all runs is the first, the others
                come by lot, so that none is left out each time.

        """
        actual: dict[str, Counter[str]] = {stack_group(): Counter()}
        # A run that moves while the index is read may be there twice.
        for run in {run.run_id: run for run in runs}.values():
            for group in groups_of(run.pipeline, run.concurrency):
                actual.setdefault(group, Counter())["active" if run.status.holds_slot else "waiting"] += 1
        for group in self._changed_since(looked_at - COMPARED_SINCE):
            actual.setdefault(group, Counter())
        further = [group for group in actual if group != stack_group()]
        random.shuffle(further)
        groups = [stack_group(), *further]
        drifts: list[Drift] = []
        for start in range(0, len(groups), READ_AT_ONCE):
            if not in_time():
                break
            counted = read_many_counts(self._client, self._table, groups[start : start + READ_AT_ONCE])
            found = (self._compared(group, counts, actual[group], looked_at) for group, counts in counted.items())
            drifts += [drift for drift in found if drift is not None]
        return drifts

    def _changed_since(self, moment: datetime) -> list[str]:
        answer = self._client.query(
            TableName=self._table,
            IndexName="active",
            KeyConditionExpression="#active = :counts AND #rank > :moment",
            ExpressionAttributeNames={"#active": "active", "#rank": "rank"},
            ExpressionAttributeValues=to_item({":counts": COUNTS, ":moment": to_text(moment)}),
            ScanIndexForward=False,
            Limit=COMPARED_AT_ONCE,
        )
        return [from_item(item)["run_id"].removeprefix("capacity#") for item in answer["Items"]]

    def _compared(
        self, group: str, counts: Mapping[str, Any], actual: Mapping[str, int], looked_at: datetime
    ) -> Drift | None:
        if counts.get("rank", "") > to_text(looked_at - INDEX_SETTLES_AFTER):
            return None
        active = counts.get("active_runs", 0) - actual.get("active", 0)
        waiting = counts.get("waiting_runs", 0) - actual.get("waiting", 0)
        live = counts.get("live_runs", 0) - actual.get("active", 0) - actual.get("waiting", 0)
        seen = counts.get("drift")
        if not active and not waiting and not live:
            if seen:
                self._forget_drift(group, seen)
            return None
        drift = f"{active},{waiting},{live}"
        if seen == drift and counts.get("rank", "") <= counts["drift_at"]:
            stands = counts["drift_at"] <= to_text(looked_at - REPAIRED_AFTER)
            repaired = stands and self._repair(group, drift, active=active, waiting=waiting, live=live)
            return Drift(group, active, waiting, repaired=repaired)
        persist(
            lambda: self._client.update_item(
                TableName=self._table,
                Key=capacity_key(group),
                UpdateExpression="SET drift = :drift, drift_at = :drift_at",
                ExpressionAttributeValues=to_item({":drift": drift, ":drift_at": to_text(looked_at)}),
            )
        )
        return Drift(group, active, waiting, repaired=False)

    def _repair(self, group: str, drift: str, *, active: int, waiting: int, live: int) -> bool:
        """Take a disagreement off the counts. False: another sweep just did."""
        repaired = update_if(
            self._client,
            self._table,
            capacity_key(group),
            expression="ADD active_runs :active, waiting_runs :waiting, live_runs :live REMOVE #drift, #drift_at",
            names={"#drift": "drift", "#drift_at": "drift_at"},
            values=to_item({":active": -active, ":waiting": -waiting, ":live": -live, ":drift": drift}),
            condition="#drift = :drift",
        )
        return repaired is None

    def _forget_drift(self, group: str, drift: str) -> None:
        update_if(
            self._client,
            self._table,
            capacity_key(group),
            expression="REMOVE #drift, #drift_at",
            names={"#drift": "drift", "#drift_at": "drift_at"},
            values=to_item({":drift": drift}),
            condition="#drift = :drift",
        )
