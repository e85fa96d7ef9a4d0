"""S3 arrivals, schedules, ended runs and webhooks, from the event queue: each starts the runs that triggers ask for."""

import json
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import wiring
from zentrigger.arrivals import Arrivals, OutOfTimeError, require_time
from zentrigger.events import parse_event
from zentrigger.observability import logger

processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


KEPT_MILLISECONDS = 15_000
"""Time of an invocation in which nothing further is begun: a launch may take 8 s, and refusals are to be kept."""


class Records:
    """The events of one batch, handled with the triggers as they are when its first one is."""

    def __init__(self, remaining_milliseconds: Callable[[], int]) -> None:
        self._arrivals: Arrivals | None = None
        self._remaining_milliseconds = remaining_milliseconds

    def handle(self, record: SQSRecord) -> None:
        """Handle one event; whatever it raises sends this event, and no other, back to the queue."""
        try:
            require_time(self._in_time)
            self._arrivals = self._arrivals or wiring.arrivals()
            raw = json.loads(record.body)
            self._arrivals.handle(parse_event(raw), raw, in_time=self._in_time)
        except OutOfTimeError:
            logger.warning("an event is left for want of time", message_id=record.message_id)
            raise
        except Exception:
            logger.exception("an event goes back to the queue", message_id=record.message_id)
            raise

    def keep(self) -> None:
        """Keep what the events left together; what it raises sends all of them back."""
        if self._arrivals is not None:
            self._arrivals.keep_refused()

    def _in_time(self) -> bool:
        return self._remaining_milliseconds() > KEPT_MILLISECONDS


def _longest_tried_first(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give a batch in an order in which nothing is left for want of time again and again.

    Each delivery counts, also one for which there was no time; after five an event goes to the dead-letter queue.
    """
    return sorted(records, key=lambda record: -int(record.get("attributes", {}).get("ApproximateReceiveCount", 1)))


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """Handle a batch of events; those that failed come again, and after five times go to the dead-letter queue."""
    records = Records(context.get_remaining_time_in_millis)
    in_order = {"Records": _longest_tried_first(event["Records"])}
    answer = process_partial_response(in_order, records.handle, processor, context)
    records.keep()
    return answer
