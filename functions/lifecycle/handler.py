"""Ends runs and starts waiting ones: on changes of runs, on stopped tasks, and in the minute's sweep."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import wiring
from zentrigger.events import UnknownEventError, task_state
from zentrigger.metrics import measure
from zentrigger.observability import logger

processor = BatchProcessor(event_type=EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)


KEPT_MILLISECONDS = 10_000
"""Time of an invocation that no further waiting run is started in: a launch may take 8 s to answer."""


def handle_record(record: DynamoDBRecord, lambda_context: LambdaContext) -> None:
    """Act on one change of a run's head; its deletion after its retention is none."""
    image = record.dynamodb.new_image if record.dynamodb else None
    if not image:
        return
    try:
        wiring.reconciler().run_changed(
            image["run_id"], in_time=lambda: lambda_context.get_remaining_time_in_millis() > KEPT_MILLISECONDS
        )
    except Exception:
        logger.exception("a change of a run comes again", run_id=image.get("run_id"))
        raise


class SweepError(Exception):
    """A sweep could not do all of its work; what it could do is done."""


def _sweep() -> None:
    """Sweep, and say how it went.

    Raises:
        SweepError: something failed; the log says what, and the next sweep tries again.

    """
    report = wiring.sweep().sweep()
    logger.info("sweep", **asdict(report))
    measure(report)
    if report.failed:
        raise SweepError(f"{report.failed} things of the sweep failed; see the log before this")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> Any:  # noqa: ANN401 - each source wants its own answer
    """Act on what happened: a batch of the runs' stream, a task that stopped, or a minute that passed."""
    if "Records" in event:
        return process_partial_response(event, handle_record, processor, context)
    match event.get("source"), event.get("detail-type"):
        case "aws.ecs", "ECS Task State Change":
            wiring.reconciler().task_stopped(task_state(event["detail"]))
        case "aws.events", "Scheduled Event":
            _sweep()
        case source, kind:
            raise UnknownEventError(f"an event of source {source!r} and type {kind!r}")
    return None
