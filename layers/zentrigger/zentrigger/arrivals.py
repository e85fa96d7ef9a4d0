"""What an event starts: every trigger that it concerns submits its run and leaves a receipt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import ValidationError

from zentrigger.errors import BusyError, IdempotencyClashError, InvalidRequestError, ZentriggerError
from zentrigger.event_fields import FieldError, render
from zentrigger.events import RunEnded, S3Arrival, ScheduleFired, TriggerEvent, WebhookReceived
from zentrigger.json_paths import MissingPathError, find
from zentrigger.matching import Document, concerns, document_of, mismatch, refused_chain
from zentrigger.observability import logger
from zentrigger.receipts import MAX_EVENT_BYTES, Outcome, Reason, Receipt, Unmatched, new_receipt, what_of
from zentrigger.run_requests import RunRequest, canonical
from zentrigger.run_store import Along, AlongRefusedError, Creation
from zentrigger.runs import SKIPPED, RunRecord, Source
from zentrigger.submit import run_id_for_event
from zentrigger.timestamps import now, to_text
from zentrigger.trigger_store import MAX_RUNS
from zentrigger.triggers import RunTrigger, Trigger, WebhookTrigger, request_of

MAX_REASONS = 20


class Triggers(Protocol):
    """Lists triggers, and keeps what becomes of events."""

    def triggers(self) -> tuple[Trigger, ...]:
        """Give all triggers."""
        ...

    def booking(self, trigger: Trigger, receipt: Receipt, event: str | None) -> Along:
        """Give what is written along with a run that a trigger starts."""
        ...

    def add_receipt(self, receipt: Receipt, event: str | None = None) -> None:
        """Keep a receipt."""
        ...

    def add_unmatched(self, event: Unmatched) -> None:
        """Keep an event that no trigger waited for."""
        ...


class Submits(Protocol):
    """Records runs and starts them."""

    def submit(
        self, request: RunRequest, source: Source, *, run_id: str | None, always_queued: bool, along: Along
    ) -> Creation:
        """Record the run of a request."""
        ...


@dataclass(frozen=True)
class Refusal:
    """Why an event starts nothing at a trigger."""

    outcome: Outcome
    detail: str


@dataclass(frozen=True)
class Wanted:
    """The run that an event asks for at a trigger."""

    request: RunRequest
    source: Source
    run_id: str


@dataclass(frozen=True)
class Occurrence:
    """An event as a trigger is asked about it: the event, the run whose end it was, and how it came, as JSON."""

    event: TriggerEvent
    upstream: RunRecord | None = None
    raw: str | None = None


def consider(trigger: Trigger, occurrence: Occurrence) -> Wanted | Refusal:
    """Say what an event that concerns a trigger asks for there, or why it asks for nothing. Nothing is looked up."""
    definition, event = trigger.definition, occurrence.event
    document = document_of(trigger.name, event, occurrence.upstream)
    # The filter goes first: a disabled trigger says nothing of events that it would not have waited for.
    refused = mismatch(trigger, event, document, occurrence.upstream)
    if refused is not None:
        return Refusal("not_matched", refused)
    if not definition.enabled:
        return Refusal("disabled", "The trigger is disabled.")
    if not definition.lasts_at(event.time):
        start, end = (to_text(at) if at else "…" for at in (definition.start_at, definition.end_at))
        return Refusal("disabled", f"The event of {to_text(event.time)} lies outside {start} to {end}.")
    if occurrence.upstream is not None:
        circle = refused_chain(trigger, occurrence.upstream)
        if circle is not None:
            return Refusal("skipped_cycle", circle)
    return _wanted(trigger, occurrence, document)


def _wanted(trigger: Trigger, occurrence: Occurrence, document: Document) -> Wanted | Refusal:
    definition = trigger.definition
    try:
        identity = _identity(trigger, occurrence.event, document)
        filled = render(definition.parameters, document), render(definition.steps, document)
        request = request_of(trigger, *filled)
    except FieldError as error:
        return Refusal("rejected", str(error))
    except ValidationError as error:
        places = "; ".join(f"{'/'.join(map(str, wrong['loc']))}: {wrong['msg']}" for wrong in error.errors())
        return Refusal("rejected", places)
    return Wanted(request, _source(trigger, occurrence), run_id_for_event(trigger.name, occurrence.event, identity))


def _identity(trigger: Trigger, event: TriggerEvent, document: Document) -> str | None:
    """Give what a trigger takes for the identity of a webhook's call, where it says so.

    Raises:
        FieldError: the call has nothing there, or null.

    """
    if not isinstance(trigger.definition, WebhookTrigger) or not isinstance(event, WebhookReceived):
        return None
    path = trigger.definition.deduplicate_by
    if path is None:
        return None
    try:
        found = find(document, path)
    except MissingPathError as error:
        raise FieldError(f"`deduplicate_by` finds nothing: {error}") from error
    if found is None:
        # It would make the same event of all that have none.
        raise FieldError(f"`deduplicate_by` finds null at {path}.")
    return canonical(found)


# ---------------------------------------------------------------------------------------------------------- handling


class Arrivals:
    """Handles events. The triggers are those of the moment at which it is made."""

    def __init__(
        self,
        *,
        triggers: Triggers,
        submitter: Submits,
        record_of: Callable[[str], RunRecord | None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._store = triggers
        self._triggers: Sequence[Trigger] = triggers.triggers()
        self._submitter = submitter
        self._record_of = record_of
        self._clock = clock

    def handle(self, event: TriggerEvent, raw: Mapping[str, object] | None = None) -> list[Receipt]:
        """Submit a run for every trigger that an event concerns; gives the receipts, which are kept.

        What a trigger asks for and cannot get (an unknown pipeline or snapshot, parameters that do not fit) is its
        receipt, and the event is done; what may pass (AWS does not answer) is raised after all triggers had their turn,
        and the event comes again. The same event again finds its runs recorded.

        Args:
            event: The event.
            raw: The same as it came, to be kept with its receipts.

        """
        occurrence = Occurrence(event, self._upstream(event), _kept(raw))
        concerned = [trigger for trigger in self._triggers if concerns(trigger, event, occurrence.upstream)]
        receipts: list[Receipt] = []
        failures: list[Exception] = []
        for trigger in concerned:
            try:
                receipts.append(self._handle(trigger, occurrence))
            except Exception as error:  # noqa: BLE001 - raised below, when the other triggers have had their turn
                logger.exception("an event could not be handled for a trigger", trigger=trigger.name)
                failures.append(error)
                self._tell_failure(trigger, occurrence, error)
        if all(receipt.outcome == "not_matched" for receipt in receipts) and not failures:
            self._keep_unmatched(event, receipts)
        if failures:
            raise failures[0]
        return receipts

    def _upstream(self, event: TriggerEvent) -> RunRecord | None:
        """Give the run whose end an event is, from its record: the event may be older, and could say anything."""
        if not isinstance(event, RunEnded):
            return None
        if not any(isinstance(trigger.definition, RunTrigger) for trigger in self._triggers):
            # Most runs end without anybody waiting for it.
            return None
        record = self._record_of(event.run_id)
        return record if record is not None and record.run.status.final else None

    def _handle(self, trigger: Trigger, occurrence: Occurrence) -> Receipt:
        receipt = new_receipt(trigger.name, occurrence.event, self._clock())
        wanted = consider(trigger, occurrence)
        if isinstance(wanted, Refusal):
            told = receipt.told(wanted.outcome, wanted.detail)
            self._store.add_receipt(told, occurrence.raw)
        else:
            told = self._submit(trigger, wanted, receipt, occurrence.raw)
        # Without its detail, which may cite values.
        shown = told.model_dump(mode="json", exclude_none=True, exclude={"detail"})
        logger.info("an event concerned a trigger", **shown)
        return told

    def _submit(self, trigger: Trigger, wanted: Wanted, receipt: Receipt, raw: str | None) -> Receipt:
        try:
            creation = self._submitter.submit(
                wanted.request,
                wanted.source,
                run_id=wanted.run_id,
                always_queued=True,
                along=self._store.booking(trigger, receipt, raw),
            )
        except BusyError:
            # The event comes again, and finds its run if it is recorded after all.
            raise
        except AlongRefusedError as refused:
            told = _over_limit(trigger, receipt, refused)
        except IdempotencyClashError as error:
            # The trigger was edited between two deliveries: the first one's run is what the event started.
            told = receipt.told("duplicate", None, error.run_id)
        except InvalidRequestError as error:
            wrong = "; ".join(f"{problem.pointer}: {problem.detail}" for problem in error.problems)
            told = receipt.told("rejected", wrong)
        except ZentriggerError as error:
            told = receipt.told("rejected", error.detail)
        else:
            run = creation.run
            if not creation.replayed:
                # Its receipt was written with it.
                skipped = run.status.final and run.reason == SKIPPED
                return receipt.told("skipped_overlap" if skipped else "started", None, run.run_id)
            told = receipt.told("duplicate", None, run.run_id)
        self._store.add_receipt(told, raw)
        return told

    def _tell_failure(self, trigger: Trigger, occurrence: Occurrence, error: Exception) -> None:
        """Leave a receipt that says that handling failed; the event comes again, so that this need not succeed."""
        receipt = new_receipt(trigger.name, occurrence.event, self._clock())
        detail = error.detail if isinstance(error, ZentriggerError) else f"{type(error).__name__}; see the log."
        try:
            self._store.add_receipt(receipt.told("error", f"It will be tried again. {detail}"), occurrence.raw)
        except Exception:  # noqa: BLE001 - the event comes again, whatever it is
            logger.exception("not even the failure could be kept", trigger=trigger.name)

    def _keep_unmatched(self, event: TriggerEvent, receipts: Sequence[Receipt]) -> None:
        # The end of a run that no trigger waits for is the usual case, and nobody's question.
        if isinstance(event, RunEnded):
            return
        kind, trigger = _kind(event)
        reasons = tuple(Reason(trigger=one.trigger, why=one.detail or "") for one in receipts[:MAX_REASONS])
        what = {name: value for name, value in what_of(event).items() if name in ("bucket", "key", "upstream")}
        self._store.add_unmatched(
            Unmatched(event_id=event.event_id, at=self._clock(), type=kind, trigger=trigger, reasons=reasons, **what)
        )
        logger.info("an event matched no trigger", event_id=event.event_id, kind=kind)


def _kind(
    event: S3Arrival | ScheduleFired | WebhookReceived,
) -> tuple[Literal["s3", "schedule", "webhook"], str | None]:
    match event:
        case S3Arrival():
            return "s3", None
        case ScheduleFired():
            return "schedule", event.trigger
        case WebhookReceived():
            return "webhook", event.trigger


def _kept(raw: Mapping[str, object] | None) -> str | None:
    text = canonical(raw) if raw is not None else None
    return text if text is not None and len(text.encode()) <= MAX_EVENT_BYTES else None


def _over_limit(trigger: Trigger, receipt: Receipt, refused: AlongRefusedError) -> Receipt:
    definition = trigger.definition
    if MAX_RUNS in refused.positions:
        return receipt.told("skipped_max_runs", f"All of its {definition.max_runs} runs were started (`max_runs`).")
    return receipt.told(
        "skipped_cap",
        f"It has started {definition.max_runs_per_hour} runs in this hour of the clock (`max_runs_per_hour`). If it"
        " does not feed itself, raise that; what was left out can be run by hand.",
    )


def _source(trigger: Trigger, occurrence: Occurrence) -> Source:
    event = occurrence.event
    match event:
        case ScheduleFired():
            return Source(type="schedule", trigger=trigger.name, event_id=event.event_id, scheduled_at=event.time)
        case RunEnded():
            before = occurrence.upstream.run.source.chain if occurrence.upstream else ()
            chain = (*before, trigger.name)
            return Source(type="run", trigger=trigger.name, event_id=event.event_id, run_id=event.run_id, chain=chain)
        case WebhookReceived():
            return Source(type="webhook", trigger=trigger.name, event_id=event.event_id, delivery_id=event.delivery_id)
        case S3Arrival():
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
