"""Reading single runs, as they stand."""

from typing import TYPE_CHECKING

from zentrigger.items import from_item, to_item
from zentrigger.run_items import expired, head_key, part_body
from zentrigger.runs import Progress, Report, Run, RunInput, RunRecord

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class RunReader:
    """The records of runs, by their ids."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client

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
        if expired(run):
            return None
        progress, result = part_body(parts.get("progress"), run), part_body(parts.get("result"), run)
        return RunRecord(
            run=run,
            input=RunInput.model_validate_json(parts["input"]["body"]),
            progress=Progress.model_validate_json(progress) if progress else None,
            result=Report.model_validate_json(result) if result else None,
        )

    def head(self, run_id: str) -> Run | None:
        """Give the head of a run as it stands now, or None."""
        answer = self._client.get_item(TableName=self._table, Key=head_key(run_id), ConsistentRead=True)
        return Run.model_validate(from_item(answer["Item"])) if "Item" in answer else None
