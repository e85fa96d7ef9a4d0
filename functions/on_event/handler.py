"""S3 arrivals and schedules, from the event queue: each starts the runs that triggers ask for."""

import json
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import wiring
from zentrigger.arrivals import handle_event
from zentrigger.events import parse_event
from zentrigger.observability import logger

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


def handle_record(record: SQSRecord) -> None:
    """Handle one event; whatever it raises sends this event, and no other, back to the queue."""
    settings = wiring.on_event_settings()
    try:
        handle_event(
            parse_event(json.loads(record.body)),
            triggers=wiring.trigger_store(settings.triggers_table),
            submitter=wiring.submitter(settings),
        )
    except Exception:
        logger.exception("an event goes back to the queue", message_id=record.message_id)
        raise


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Handle a batch of events; those that failed come again, and after five times go to the dead-letter queue."""
    return process_partial_response(event, handle_record, processor, context)
