"""What an event starts: every trigger that it concerns submits its run and leaves a receipt."""

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from pydantic import ValidationError

from zentrigger.errors import BusyError, IdempotencyClashError, InvalidRequestError, ZentriggerError
from zentrigger.events import S3Arrival, ScheduleFired
from zentrigger.observability import logger
from zentrigger.run_requests import RunRequest
from zentrigger.run_store import Creation
from zentrigger.runs import SKIPPED, Source
from zentrigger.submit import run_id_for_event
from zentrigger.timestamps import now
from zentrigger.triggers import Receipt, Trigger, concerns, concurrency_of, fields_of, render


class Triggers(Protocol):
    """Lists triggers and keeps receipts."""

    def triggers(self) -> tuple[Trigger, ...]:
        """Give all triggers."""
        ...

    def add_receipt(self, receipt: Receipt) -> None:
        """Keep a receipt."""
        ...


class Submits(Protocol):
    """Records runs and starts them."""

    def submit(self, request: RunRequest, source: Source, *, run_id: str | None, always_queued: bool) -> Creation:
        """Record the run of a request."""
        ...


def handle_event(
    event: S3Arrival | ScheduleFired, *, triggers: Triggers, submitter: Submits, clock: Callable[[], datetime] = now
) -> list[Receipt]:
    """Submit a run for every trigger that an event concerns; gives the receipts, which are kept.

    What a trigger asks for and cannot get (an unknown pipeline or snapshot, parameters that do not fit) is its receipt,
    and the event is done; what may pass (AWS does not answer) is raised after all triggers had their turn, and the
    event comes again. The same event again finds its runs recorded.
    """
    receipts, failures = [], []
    concerned = [trigger for trigger in triggers.triggers() if concerns(trigger, event)]
    for trigger in concerned:
        try:
            receipt = _submit(trigger, event, submitter, clock())
            triggers.add_receipt(receipt)
        except Exception as error:  # noqa: BLE001 - raised below, when the other triggers have had their turn
            logger.exception("an event could not be handled for a trigger", trigger=trigger.name)
            failures.append(error)
            continue
        receipts.append(receipt)
        # Without its detail, which may cite values.
        shown = receipt.model_dump(mode="json", exclude_none=True, exclude={"detail"})
        logger.info("an event concerned a trigger", **shown)
    if not concerned:
        logger.info("an event concerned no trigger", event_id=event.event_id, kind=type(event).__name__)
    if failures:
        raise failures[0]
    return receipts


def _submit(trigger: Trigger, event: S3Arrival | ScheduleFired, submitter: Submits, moment: datetime) -> Receipt:
    receipt = Receipt(
        trigger=trigger.name,
        event_id=event.event_id,
        at=moment,
        outcome="disabled",
        bucket=event.bucket.name if isinstance(event, S3Arrival) else None,
        key=event.object.key if isinstance(event, S3Arrival) else None,
    )
    definition = trigger.definition
    if not definition.enabled:
        return receipt.model_copy(update={"detail": "The trigger is disabled."})
    fields = fields_of(trigger, event)
    try:
        request = RunRequest.model_validate(
            {
                "pipeline": definition.pipeline,
                "snapshot": definition.snapshot,
                "parameters": render(definition.parameters, fields),
                "steps": {name: {"parameters": values} for name, values in render(definition.steps, fields).items()},
                "enable_cache": definition.enable_cache,
                "tags": list(definition.tags),
                "concurrency": concurrency_of(trigger),
            }
        )
        creation = submitter.submit(
            request, _source(trigger, event), run_id=run_id_for_event(trigger.name, event), always_queued=True
        )
    except BusyError:
        # The event comes again, and finds its run if it is recorded after all.
        raise
    except IdempotencyClashError as error:
        # The trigger was edited between two deliveries: the first one's run is what the event started.
        return receipt.model_copy(update={"outcome": "duplicate", "run_id": error.run_id})
    except InvalidRequestError as error:
        wrong = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in error.problems)
        return receipt.model_copy(update={"outcome": "rejected", "detail": wrong})
    except (ZentriggerError, ValidationError) as error:
        return receipt.model_copy(update={"outcome": "rejected", "detail": str(error)})
    run = creation.run
    if creation.replayed:
        return receipt.model_copy(update={"outcome": "duplicate", "run_id": run.run_id})
    outcome = "skipped_overlap" if run.reason == SKIPPED else "started"
    return receipt.model_copy(update={"outcome": outcome, "run_id": run.run_id})


def _source(trigger: Trigger, event: S3Arrival | ScheduleFired) -> Source:
    if isinstance(event, ScheduleFired):
        return Source(type="schedule", trigger=trigger.name, event_id=event.event_id, scheduled_at=event.time)
    return Source(
        type="s3",
        trigger=trigger.name,
        event_id=event.event_id,
        bucket=event.bucket.name,
        key=event.object.key,
        version_id=event.object.version_id,
        etag=event.object.etag,
        size=event.object.size,
    )
