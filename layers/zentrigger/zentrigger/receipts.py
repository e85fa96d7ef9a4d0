"""Receipts: what became of an event at a trigger, and of one that no trigger waited for."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Literal

from zentrigger.events import RunEnded, S3Arrival, ScheduleFired, TriggerEvent, WebhookReceived
from zentrigger.runs import Record
from zentrigger.timestamps import Timestamp

RECEIPTS_KEPT = timedelta(days=30)

UNMATCHED_KEPT = timedelta(days=1)
"""How long an event that no trigger waited for is kept."""

REFUSED_KEPT = 100
"""Of the events that a trigger's filter refused, the last so many are kept; all are counted."""

MAX_EVENT_BYTES = 16 * 1024
"""A larger event is not kept with its receipt, so that it cannot be tried again."""

MAX_DETAIL = 2000

Outcome = Literal[
    "started",
    "duplicate",
    "skipped_overlap",
    "skipped_max_runs",
    "skipped_cap",
    "skipped_cycle",
    "rejected",
    "error",
    "disabled",
    "not_matched",
]
"""started: a run was recorded. duplicate: the run of this very event was there. skipped_…: the trigger's own limits.
rejected: what it would ask for is refused. error: handling failed, and will be tried again. disabled: it is switched
off, or the event lies outside its time. not_matched: its filter refused the event."""


class Receipt(Record):
    """What became of one delivery of an event at one trigger."""

    receipt_id: str
    trigger: str
    event_id: str
    at: Timestamp
    outcome: Outcome
    run_id: str | None = None
    detail: str | None = None
    bucket: str | None = None
    key: str | None = None
    scheduled_at: Timestamp | None = None
    upstream: str | None = None
    """The run whose end it was."""
    delivery_id: str | None = None

    def told(self, outcome: Outcome, detail: str | None = None, run_id: str | None = None) -> "Receipt":
        """Give the same with an outcome."""
        shortened = detail if detail is None or len(detail) <= MAX_DETAIL else detail[: MAX_DETAIL - 1] + "…"
        return self.model_copy(update={"outcome": outcome, "detail": shortened, "run_id": run_id})


class Reason(Record):
    """Why a trigger did not wait for an event."""

    trigger: str
    why: str


class Unmatched(Record):
    """An event that no trigger waited for."""

    event_id: str
    at: Timestamp
    type: Literal["s3", "schedule", "run", "webhook"]
    bucket: str | None = None
    key: str | None = None
    trigger: str | None = None
    """The trigger that it was meant for, where it names one."""
    upstream: str | None = None
    reasons: tuple[Reason, ...] = ()
    """Of the triggers that came near, why not; the first ones."""


def receipt_id(at: datetime, *parts: str) -> str:
    """Give an id of a receipt that sorts by time, and that the same delivery is given again."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"{at:%Y%m%dT%H%M%S}{at.microsecond:06d}Z-{digest}"


def new_receipt(trigger: str, event: TriggerEvent, at: datetime) -> Receipt:
    """Give the receipt of an event at a trigger, before it is known what becomes of it."""
    identifier = event.receipt_id if isinstance(event, WebhookReceived) else receipt_id(at, trigger, event.event_id)
    return Receipt(
        receipt_id=identifier, trigger=trigger, event_id=event.event_id, at=at, outcome="error", **what_of(event)
    )


def what_of(event: TriggerEvent) -> dict[str, Any]:
    """Give what of an event people know it again by, as fields of a receipt."""
    match event:
        case S3Arrival():
            return {"bucket": event.bucket.name, "key": event.object.key}
        case ScheduleFired():
            return {"scheduled_at": event.time}
        case RunEnded():
            return {"upstream": event.run_id}
        case WebhookReceived():
            return {"delivery_id": event.delivery_id}
