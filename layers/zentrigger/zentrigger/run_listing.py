"""Lists of runs: by pipeline, by trigger, or all, newest first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from zentrigger.errors import InvalidRequestError, Problem
from zentrigger.items import from_cursor, from_item, to_cursor, to_item
from zentrigger.run_items import expired, readable
from zentrigger.runs import Run, RunStatus
from zentrigger.timestamps import now

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MONTHS_LISTED = 24
"""How far back a listing without a pipeline or trigger looks; empty months cost a query each."""


@dataclass(frozen=True)
class RunPage:
    """A page of runs, newest first; `cursor` is None on the last one."""

    runs: tuple[Run, ...]
    cursor: str | None


class RunListing:
    """The runs by their indexes, which may be a moment behind."""

    def __init__(self, table: str, client: "DynamoDBClient", clock: Callable[[], datetime] = now) -> None:
        self._table = table
        self._client = client
        self._clock = clock

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
        runs = [run for run in readable(answer["Items"]) if not expired(run, self._clock())]
        return runs, from_item(last) if last else None


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
