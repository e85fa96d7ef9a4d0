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
from zentrigger.matching import Document, concerns, document_of, may_concern, mismatch, refused_chain
from zentrigger.observability import logger
from zentrigger.parameters import MAX_PARAMETERS_BYTES
from zentrigger.receipts import MAX_EVENT_BYTES, Outcome, Reason, Receipt, Unmatched, new_receipt, what_of
from zentrigger.run_requests import RunRequest, canonical
from zentrigger.run_store import Along, AlongRefusedError, Creation
from zentrigger.runs import SKIPPED, RunRecord, Source
from zentrigger.submit import run_id_for_event
from zentrigger.timestamps import now, to_text
from zentrigger.trigger_store import MAX_RUNS, Refused
from zentrigger.triggers import (
    RunTrigger,
    StoredTrigger,
    Trigger,
    UnreadableTrigger,
    WebhookTrigger,
    request_of,
)

MAX_REASONS = 20

_GONE = "Since the call was received, the trigger was deleted, made anew, or given another type."


class Triggers(Protocol):
    """Lists triggers, and keeps what becomes of events."""

    def stored(self) -> tuple[StoredTrigger, ...]:
        """Give all triggers, those that cannot be read among them."""
        ...

    def booking(self, trigger: Trigger, receipt: Receipt, event: str | None) -> Along:
        """Give what is written along with a run that a trigger starts."""
        ...

    def add_receipt(self, receipt: Receipt, event: str | None = None, *, of: StoredTrigger | None) -> None:
        """Keep a receipt, and count it for a trigger."""
        ...

    def add_refused(self, refused: Sequence[Refused]) -> None:
        """Keep and count the events that filters refused."""
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


class OutOfTimeError(Exception):
    """An event was left, or a part of it, for there was no time for it. It comes again."""


def require_time(in_time: Callable[[], bool]) -> None:
    """Go on only while there is time.

    Raises:
        OutOfTimeError: there is none.

    """
    if not in_time():
        raise OutOfTimeError("the function's time is over; what is left comes again")


def consider(trigger: Trigger, occurrence: Occurrence) -> Wanted | Refusal:
    """Say what an event that concerns a trigger asks for there, or why it asks for nothing. Nothing is looked up."""
    # The filter goes first: a disabled trigger says nothing of events that it would not have waited for.
    return _filtered(trigger, occurrence) or _asked_for(trigger, occurrence)


def _filtered(trigger: Trigger, occurrence: Occurrence) -> Refusal | None:
    event, upstream = occurrence.event, occurrence.upstream
    refused = mismatch(trigger, event, document_of(trigger.name, event, upstream), upstream)
    return Refusal("not_matched", refused) if refused is not None else None


def _asked_for(trigger: Trigger, occurrence: Occurrence) -> Wanted | Refusal:
    definition, event = trigger.definition, occurrence.event
    if not definition.enabled:
        return Refusal("disabled", "The trigger is disabled.")
    if not definition.lasts_at(event.time):
        start, end = (to_text(at) if at else "…" for at in (definition.start_at, definition.end_at))
        return Refusal("disabled", f"The event of {to_text(event.time)} lies outside {start} to {end}.")
    if occurrence.upstream is not None:
        circle = refused_chain(trigger, occurrence.upstream)
        if circle is not None:
            return Refusal("skipped_cycle", circle)
    document = document_of(trigger.name, event, occurrence.upstream)
    try:
        identity = _identity(trigger, event, document)
        # Together, for together they have a size.
        filled = render([definition.parameters, definition.steps], document, max_bytes=MAX_PARAMETERS_BYTES)
        request = request_of(trigger, *filled)
    except FieldError as error:
        return Refusal("rejected", str(error))
    except ValidationError as error:
        places = "; ".join(f"{'/'.join(map(str, wrong['loc']))}: {wrong['msg']}" for wrong in error.errors())
        return Refusal("rejected", places)
    return Wanted(request, _source(trigger, occurrence), run_id_for_event(trigger.name, event, identity))


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
    """Handles a batch of events. The triggers are those of the moment at which it is made."""

    def __init__(
        self,
        *,
        triggers: Triggers,
        submitter: Submits,
        record_of: Callable[[str], RunRecord | None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        stored = triggers.stored()
        self._store = triggers
        self._triggers = [trigger for trigger in stored if isinstance(trigger, Trigger)]
        self._unreadable = [trigger for trigger in stored if isinstance(trigger, UnreadableTrigger)]
        self._submitter = submitter
        self._record_of = record_of
        self._clock = clock
        self._refused: list[Refused] = []

    def handle(
        self,
        event: TriggerEvent,
        raw: Mapping[str, object] | None = None,
        *,
        in_time: Callable[[], bool] = lambda: True,
    ) -> list[Receipt]:
        """Submit a run for every trigger that an event concerns; gives the receipts.

        What a trigger asks for and cannot get (an unknown pipeline or snapshot, parameters that do not fit) is its
        receipt, and the event is done; what may pass (AWS does not answer, a trigger cannot be read) is raised after
        all triggers had their turn, and the event comes again. The same event again finds its runs recorded.

        The receipts are kept, but for those of filters that refuse: `keep_refused` keeps these, of all events together.

        Args:
            event: The event.
            raw: The same as it came, to be kept with its receipts.
            in_time: Tells whether there is time for a further run.

        Raises:
            OutOfTimeError: some triggers have not had their turn.

        """
        occurrence = Occurrence(event, self._upstream(event), _kept(raw))
        receipts: list[Receipt] = []
        refused: list[Refused] = []
        failures: list[Exception] = []
        for trigger in (one for one in self._triggers if concerns(one, event, occurrence.upstream)):
            try:
                refusal = _filtered(trigger, occurrence)
                if refusal is None:
                    require_time(in_time)
                    receipts.append(self._handle(trigger, occurrence))
                else:
                    told = new_receipt(trigger.name, event, self._clock()).told(refusal.outcome, refusal.detail)
                    refused.append(Refused(trigger, told, occurrence.raw))
            except OutOfTimeError:
                # What was recorded is found again; that a filter refused is counted then.
                raise
            except Exception as error:  # noqa: BLE001 - raised below, when the other triggers have had their turn
                logger.exception("an event could not be handled for a trigger", trigger=trigger.name)
                failures.append(error)
                self._tell_failure(trigger, occurrence, error)
        failures += self._unread(occurrence)
        self._refused += refused
        not_matched = [one.receipt for one in refused]
        if refused:
            logger.info("filters refused an event", event_id=event.event_id, triggers=len(refused))
        if not receipts and not failures:
            self._keep_unmatched(occurrence, not_matched)
        if failures:
            raise failures[0]
        return [*receipts, *not_matched]

    def keep_refused(self) -> None:
        """Keep and count the events that filters refused. Until then they are not kept, and so have to come again."""
        refused, self._refused = self._refused, []
        if refused:
            self._store.add_refused(refused)

    def _unread(self, occurrence: Occurrence) -> list[Exception]:
        """Leave a receipt at each trigger that cannot be read and may wait for an event, and give what to raise."""
        failures: list[Exception] = []
        for trigger in self._unreadable:
            if may_concern(trigger, occurrence.event, occurrence.upstream):
                failures.append(trigger.error())
                self._tell_failure(trigger, occurrence, failures[-1])
        return failures

    def _upstream(self, event: TriggerEvent) -> RunRecord | None:
        """Give the run whose end an event is, from its record: the event may be older, and could say anything."""
        if not isinstance(event, RunEnded):
            return None
        awaited = any(isinstance(trigger.definition, RunTrigger) for trigger in self._triggers)
        if not awaited and all(trigger.type not in (None, "run") for trigger in self._unreadable):
            # Most runs end without anybody waiting for it.
            return None
        record = self._record_of(event.run_id)
        return record if record is not None and record.run.status.final else None

    def _handle(self, trigger: Trigger, occurrence: Occurrence) -> Receipt:
        receipt = new_receipt(trigger.name, occurrence.event, self._clock())
        wanted = _asked_for(trigger, occurrence)
        if isinstance(wanted, Refusal):
            told = receipt.told(wanted.outcome, wanted.detail)
            self._store.add_receipt(told, occurrence.raw, of=trigger)
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
        self._store.add_receipt(told, raw, of=trigger)
        return told

    def _tell_failure(self, trigger: StoredTrigger, occurrence: Occurrence, error: Exception) -> None:
        """Leave a receipt that says that handling failed; the event comes again, so that this need not succeed."""
        receipt = new_receipt(trigger.name, occurrence.event, self._clock())
        detail = error.detail if isinstance(error, ZentriggerError) else f"{type(error).__name__}; see the log."
        try:
            told = receipt.told("error", f"It will be tried again. {detail}")
            self._store.add_receipt(told, occurrence.raw, of=trigger)
        except Exception:  # noqa: BLE001 - the event comes again, whatever it is
            logger.exception("not even the failure could be kept", trigger=trigger.name)

    def _keep_unmatched(self, occurrence: Occurrence, receipts: Sequence[Receipt]) -> None:
        event = occurrence.event
        # The end of a run that no trigger waits for is the usual case, and nobody's question.
        if isinstance(event, RunEnded):
            return
        if isinstance(event, WebhookReceived) and not receipts:
            # Whoever called was told to look for this receipt.
            told = new_receipt(event.trigger, event, self._clock()).told("rejected", _GONE)
            self._store.add_receipt(told, occurrence.raw, of=None)
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
