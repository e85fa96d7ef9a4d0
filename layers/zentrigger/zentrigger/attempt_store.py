"""A task's side of the runs table: it claims its attempt, says how far it is, and how it went. Nothing else."""

from typing import Any

from zentrigger.items import TransactionRefusedError, to_item, transact, update_expression, update_if
from zentrigger.run_items import head_key, parts_expire_at
from zentrigger.run_reader import RunReader
from zentrigger.runs import CONTRACT_VERSION, Assignment, Progress, Report, Run, RunStatus, Verdict
from zentrigger.timestamps import now, to_text

_CLAIMABLE = "#status = :starting AND #attempt = :attempt AND attribute_not_exists(#cancel_requested_at)"


class NotClaimableError(Exception):
    """The attempt is not this task's to run: ended, cancelled, superseded, or claimed by another task."""


class AttemptStore(RunReader):
    """The attempts of runs, as their tasks write them."""

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
                            "Key": head_key(run.run_id),
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
        return update_if(
            self._client,
            self._table,
            to_item({"run_id": run_id, "part": "progress"}),
            expression=expression,
            names=names,
            values={**values, **to_item({":attempt": attempt})},
            condition="#attempt = :attempt",
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
                            "Key": head_key(run_id),
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
                "expires_at": parts_expire_at(run),
            }
        )
