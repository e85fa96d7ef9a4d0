"""S3 arrivals, schedules, ended runs and webhooks, from the event queue: each starts the runs that triggers ask for."""

import json
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import wiring
from zentrigger.events import parse_event
from zentrigger.observability import logger

if TYPE_CHECKING:
    from zentrigger.arrivals import Arrivals

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


class Records:
    """The events of one batch, handled with the triggers as they are when its first one is."""

    def __init__(self) -> None:
        self._arrivals: Arrivals | None = None

    def handle(self, record: SQSRecord) -> None:
        """Handle one event; whatever it raises sends this event, and no other, back to the queue."""
        try:
            self._arrivals = self._arrivals or wiring.arrivals()
            raw = json.loads(record.body)
            self._arrivals.handle(parse_event(raw), raw)
        except Exception:
            logger.exception("an event goes back to the queue", message_id=record.message_id)
            raise


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Handle a batch of events; those that failed come again, and after five times go to the dead-letter queue."""
    return process_partial_response(event, Records().handle, processor, context)
