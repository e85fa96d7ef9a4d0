"""Reading single runs, as they stand."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from zentrigger.items import from_item, to_item
from zentrigger.run_items import ATTEMPT, downstream_of, expired, head_key, part_body
from zentrigger.runs import Attempt, Progress, Report, Run, RunInput, RunRecord
from zentrigger.timestamps import now

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_READ_AT_ONCE = 100
"""BatchGetItem takes no more (AWS: BatchGetItem)."""


class RunReader:
    """The records of runs, by their ids."""

    def __init__(self, table: str, client: "DynamoDBClient", clock: Callable[[], datetime] = now) -> None:
        self._table = table
        self._client = client
        self._clock = clock

    def get(self, run_id: str) -> RunRecord | None:
        """Give the whole record of a run, or None where there is none or it has expired. One consistent Query."""
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="run_id = :run_id",
            ExpressionAttributeValues=to_item({":run_id": run_id}),
            ConsistentRead=True,
        )
        parts = {part["part"]: part for part in map(from_item, answer["Items"])}
        if "head" not in parts:
            return None
        run = Run.model_validate(parts["head"])
        run_input = part_body(parts.get("input"), run, of_attempt=False)
        if expired(run, self._clock()) or run_input is None:
            return None
        progress, result = part_body(parts.get("progress"), run), part_body(parts.get("result"), run)
        earlier = (part_body(parts[name], run, of_attempt=False) for name in sorted(parts) if name.startswith(ATTEMPT))
        return RunRecord(
            run=run,
            input=RunInput.model_validate_json(run_input),
            progress=Progress.model_validate_json(progress) if progress else None,
            result=Report.model_validate_json(result) if result else None,
            earlier_attempts=tuple(Attempt.model_validate_json(story) for story in earlier if story),
            downstream=downstream_of(parts, run),
        )

    def head(self, run_id: str) -> Run | None:
        """Give the head of a run as it stands now, or None."""
        answer = self._client.get_item(TableName=self._table, Key=head_key(run_id), ConsistentRead=True)
        return Run.model_validate(from_item(answer["Item"])) if "Item" in answer else None

    def heartbeats(self, runs: Sequence[Run]) -> dict[str, datetime | None]:
        """Give when each of these runs last beat in its present attempt, by run id.

        A run that DynamoDB did not come to, being busy, is left out.
        """
        beats: dict[str, datetime | None] = {}
        for start in range(0, len(runs), _READ_AT_ONCE):
            asked = {run.run_id: run for run in runs[start : start + _READ_AT_ONCE]}
            keys = [to_item({"run_id": run_id, "part": "progress"}) for run_id in asked]
            answer = self._client.batch_get_item(RequestItems={self._table: {"Keys": keys}})
            unprocessed = answer["UnprocessedKeys"].get(self._table)
            left = {from_item(key)["run_id"] for key in unprocessed["Keys"]} if unprocessed else set()
            beats |= dict.fromkeys(asked.keys() - left)
            for part in map(from_item, answer["Responses"].get(self._table, ())):
                body = part_body(part, asked[part["run_id"]])
                if body is not None:
                    beats[part["run_id"]] = Progress.model_validate_json(body).heartbeat_at
        return beats
