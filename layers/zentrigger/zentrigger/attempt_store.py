"""A task's side of the runs table: it claims its attempt, says how far it is, and how it went. Nothing else."""

from zentrigger.items import TransactionRefusedError, from_item, to_item, transact, update_expression, update_if
from zentrigger.run_items import head_key, part_item
from zentrigger.run_reader import RunReader
from zentrigger.runs import CONTRACT_VERSION, Assignment, Progress, Report, Run, RunStatus, Timings, Verdict
from zentrigger.timestamps import to_text

_CLAIMABLE = (
    "#status = :starting AND #attempt = :attempt"
    " AND attribute_not_exists(#cancel_requested_at) AND attribute_not_exists(#overdue)"
)


class NotClaimableError(Exception):
    """The attempt is not this task's to run: ended, cancelled, superseded, or claimed by another task."""


class AttemptStore(RunReader):
    """The attempts of runs, as their tasks write them."""

    def claim(self, run_id: str, attempt: int, task_arn: str, timings: Timings | None = None) -> Assignment:
        """Claim an attempt for a task: `starting` → `running`. Repeating it from the same task is a success.

        Args:
            run_id: The run.
            attempt: The attempt that the task was started for.
            task_arn: The task.
            timings: When its image was pulled and its container ran.

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
            self._claim(run, task_arn, timings)
        return Assignment(
            run_id=run_id,
            attempt=attempt,
            pipeline=run.pipeline,
            snapshot=run.snapshot,
            execution=task_arn.rsplit("/", 1)[-1],
            **record.input.model_dump(),
        )

    def _claim(self, run: Run, task_arn: str, timings: Timings | None) -> None:
        moment = to_text(self._clock())
        progress = Progress.model_validate({"heartbeat_at": moment})
        expression, names, values = update_expression(
            set_values={
                "status": RunStatus.RUNNING,
                "status_at": moment,
                "started_at": moment,
                "active": RunStatus.RUNNING,
                "claimed_by": task_arn,
                "task_arn": task_arn,
                "written_by": task_arn,
                **({"timings": timings.model_dump(mode="json", exclude_none=True)} if timings else {}),
            },
            # A refusal that a resend of the launch got is proven wrong by the task that claims.
            remove=["refusal"],
            names=["attempt", "cancel_requested_at", "overdue"],
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
                    {"Put": {"TableName": self._table, "Item": part_item(run, "progress", progress)}},
                ],
            )
        except TransactionRefusedError as refused:
            standing = refused.existing[0]
            if standing is None:
                raise NotClaimableError(f"there is no run {run.run_id}") from refused
            current = Run.model_validate(standing)
            # The answer of an earlier try was lost: the claim stands, and it is ours.
            if (
                current.status == RunStatus.RUNNING
                and current.claimed_by == task_arn
                and current.attempt == run.attempt
            ):
                return
            why = _not_claimable(current)
            raise NotClaimableError(f"run {run.run_id} is not to be claimed: {why}") from refused

    def save_progress(self, run_id: str, attempt: int, progress: Progress) -> bool:
        """Keep what a running attempt says of itself. False: another attempt has taken over, nothing was changed.

        Where there is no such part any more it is made anew: what is missing is no word of another attempt.
        """
        expression, names, values = update_expression(
            set_values={"body": progress.model_dump_json()}, names=["attempt"]
        )
        standing = update_if(
            self._client,
            self._table,
            to_item({"run_id": run_id, "part": "progress"}),
            expression=expression,
            names=names,
            values={**values, **to_item({":attempt": attempt})},
            condition="#attempt = :attempt",
        )
        return standing is None or (not standing and self._made_anew(run_id, attempt, progress))

    def _made_anew(self, run_id: str, attempt: int, progress: Progress) -> bool:
        run = self.head(run_id)
        if run is None or run.attempt != attempt or run.status != RunStatus.RUNNING:
            return False
        part = from_item(part_item(run, "progress", progress))
        own = {name: value for name, value in part.items() if name not in ("run_id", "part")}
        expression, names, values = update_expression(set_values=own, names=["part"])
        update_if(
            self._client,
            self._table,
            to_item({"run_id": run_id, "part": "progress"}),
            expression=expression,
            names=names,
            values=values,
            condition="attribute_not_exists(#part)",
        )
        # What stands there meanwhile says with the next beat whose it is.
        return True

    def report(self, run_id: str, attempt: int, task_arn: str, report: Report) -> bool:
        """Keep how an attempt went, once. False: the run is no longer this task's; nothing was changed."""
        run = self.head(run_id)
        if run is None or run.attempt != attempt or run.claimed_by != task_arn:
            return False
        if run.report is not None:
            return True
        verdict = Verdict.model_validate(
            report.model_dump(exclude={"error_type"}) | {"error_type": _error_type(report)}
        )
        expression, names, values = update_expression(
            set_values={"report": verdict.model_dump(mode="json", exclude_none=True), "written_by": task_arn},
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
                    {"Put": {"TableName": self._table, "Item": part_item(run, "result", report)}},
                ],
            )
        except TransactionRefusedError as refused:
            standing = refused.existing[0]
            return standing is not None and "report" in standing and standing.get("claimed_by") == task_arn
        return True


def _not_claimable(run: Run) -> str:
    if run.cancel_requested_at:
        return "its cancellation was requested"
    if run.overdue and run.status == RunStatus.STARTING:
        return f"it is overdue ({run.overdue.reason})"
    return f"it is {run.status}"


def _error_type(report: Report) -> str | None:
    return report.error.type if report.error else None
