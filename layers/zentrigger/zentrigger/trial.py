"""Trying a trigger: what it would make of an event, and what would happen now. Nothing is written or started."""

import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import JsonValue

from zentrigger.arrivals import Occurrence, Refusal, consider
from zentrigger.dry_run import DryRun
from zentrigger.errors import BusyError, InvalidRequestError, Problem, ZentriggerError
from zentrigger.events import RunEnded, TriggerEvent, UnknownEventError, WebhookReceived, parse_event
from zentrigger.globs import matches
from zentrigger.matching import concerns
from zentrigger.receipts import Outcome
from zentrigger.run_requests import RunRequest
from zentrigger.runs import RunRecord, Source
from zentrigger.timestamps import now, to_text
from zentrigger.trigger_store import TriggerStore
from zentrigger.triggers import RunTrigger, S3Trigger, Trigger, WebhookTrigger

RECENT = 10
"""How many of a trigger's last events are tried again."""

_SAMPLE_SIZE = 1024
"""Bytes of the object in a sample, if the trigger lets such pass."""

Json = dict[str, Any]

_WHICH_END = (
    'Say with which run\'s end: {"source": "zentrigger", "detail-type": "Pipeline Run Succeeded", "id": "1", "time":'
    ' "2026-01-01T00:00:00Z", "detail": {"run_id": "…"}}. Or try its last events, with ?recent=true.'
)


class Tries(Protocol):
    """Says what would become of a request."""

    def dry_run(self, asked: RunRequest, source: Source, *, run_id: str | None = None) -> DryRun:
        """Say what would become of a request; writes nothing."""
        ...


@dataclass(frozen=True)
class Trial:
    """What a trigger would make of an event now."""

    event: Mapping[str, JsonValue]
    matches: bool
    outcome: Outcome
    detail: str | None = None
    request: RunRequest | None = None
    run_id: str | None = None
    would: Literal["start", "queue"] | None = None


class TriggerTrials:
    """Tries triggers."""

    def __init__(
        self,
        *,
        triggers: TriggerStore,
        submitter: Tries,
        record_of: Callable[[str], RunRecord | None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._triggers = triggers
        self._submitter = submitter
        self._record_of = record_of
        self._clock = clock

    def run(self, name: str, event: Mapping[str, Any] | None) -> list[Trial]:
        """Try a trigger with an event, as it would come from EventBridge; without one, with a sample of its type.

        Raises:
            NotFoundError: there is no such trigger.
            InvalidRequestError: the event is none that could come.

        """
        trigger = self._triggers.get(name)
        return [self._tried(trigger, sample_event(trigger, self._clock()) if event is None else event)]

    def recent(self, name: str) -> list[Trial]:
        """Try a trigger with its last events, newest first: what became of each then, its receipt says.

        Raises:
            NotFoundError: there is no such trigger.

        """
        trigger = self._triggers.get(name)
        return [self._tried_again(trigger, json.loads(text)) for text in self._triggers.recent_events(name, RECENT)]

    def _tried_again(self, trigger: Trigger, raw: Mapping[str, Any]) -> Trial:
        try:
            return self._tried(trigger, raw)
        except InvalidRequestError as error:
            # It came, but the run whose end it was has expired: the others are tried none the less.
            return Trial(raw, matches=False, outcome="not_matched", detail=error.detail)

    def _tried(self, trigger: Trigger, raw: Mapping[str, Any]) -> Trial:
        try:
            event = parse_event(raw)
        except UnknownEventError as error:
            raise InvalidRequestError([Problem("/event", f"No trigger takes this: {error}.")]) from error
        upstream = self._record_of(event.run_id) if isinstance(event, RunEnded) else None
        if isinstance(event, RunEnded) and upstream is None:
            raise InvalidRequestError([Problem("/event/detail/run_id", f"There is no run {event.run_id[:100]!r}.")])
        if not concerns(trigger, event, upstream):
            return Trial(raw, matches=False, outcome="not_matched", detail=_other(trigger, event))
        wanted = consider(trigger, Occurrence(event, upstream))
        if isinstance(wanted, Refusal):
            matches = wanted.outcome not in ("not_matched", "disabled")
            return Trial(raw, matches=matches, outcome=wanted.outcome, detail=wanted.detail)
        try:
            tried = self._submitter.dry_run(wanted.request, wanted.source, run_id=wanted.run_id)
        except BusyError:
            # Nothing is known; the event itself would come again.
            raise
        except ZentriggerError as error:
            return Trial(raw, matches=True, outcome="rejected", detail=error.detail, request=wanted.request)
        outcome, detail = self._foretold(trigger, tried)
        return Trial(
            raw,
            matches=True,
            outcome=outcome,
            detail=detail,
            request=wanted.request,
            run_id=wanted.run_id,
            would=None if outcome != "started" else "start" if tried.would == "start" else "queue",
        )

    def _foretold(self, trigger: Trigger, tried: DryRun) -> tuple[Outcome, str | None]:
        """Say what would become of a request, in the order in which an arrival decides it."""
        if tried.would == "replay" or any(problem.pointer == "/Idempotency-Key" for problem in tried.problems):
            # The trigger may have been edited since: the event's run stays the one that it started then.
            return "duplicate", "The run of this very event is there already."
        # That the queue is full refuses HTTP callers, not events.
        wrong = [problem for problem in tried.problems if problem.pointer]
        if wrong:
            return "rejected", "; ".join(f"{problem.pointer}: {problem.detail}" for problem in wrong)
        definition, moment = trigger.definition, self._clock()
        started = self._triggers.counts_of(trigger).get("started", 0)
        if definition.max_runs is not None and started >= definition.max_runs:
            return "skipped_max_runs", f"It has started its {definition.max_runs} runs."
        if self._triggers.started_in_hour(trigger.name, moment) >= definition.max_runs_per_hour:
            return "skipped_cap", f"It has started {definition.max_runs_per_hour} runs in this hour."
        if tried.would == "skip":
            return "skipped_overlap", "A run of this trigger is active or waits."
        return "started", None


def _other(trigger: Trigger, event: TriggerEvent) -> str:
    kind = trigger.definition.type
    if isinstance(trigger.definition, S3Trigger) and trigger.definition.bucket is not None:
        return f"The trigger waits for objects of {trigger.definition.bucket!r}."
    if isinstance(event, RunEnded) and kind == "run":
        return "The run is none of those that `of` means."
    if isinstance(event, WebhookReceived) and kind == "webhook" and event.trigger == trigger.name:
        return "The call was signed for another trigger of this name, which has been deleted since."
    return f"The trigger is of type {kind}, and this is no event of it."


def sample_event(trigger: Trigger, moment: datetime) -> Json:
    """Make an event of the sort that a trigger waits for, as its own filter wants it where that can be told."""
    definition = trigger.definition
    common = {"version": "0", "id": "00000000-0000-4000-8000-000000000000", "time": to_text(moment)}
    match definition:
        case S3Trigger():
            size = max(definition.min_size or 0, _SAMPLE_SIZE)
            if definition.max_size is not None:
                size = min(size, definition.max_size)
            return common | {
                "source": "aws.s3",
                "detail-type": "Object Created",
                "detail": {
                    "bucket": {"name": definition.bucket or "your-bucket"},
                    "object": {
                        "key": _sample_key(definition),
                        "size": size,
                        "etag": "d41d8cd98f00b204e9800998ecf8427e",
                        "sequencer": "00617F08299329D189",
                    },
                    "reason": definition.reasons[0] if definition.reasons else "PutObject",
                },
            }
        case WebhookTrigger():
            seen: Json = {"header": {}, "body": {}}
            # What lies within something else comes after it.
            for path, values in sorted(definition.filter.items()):
                _set(seen, path.split("."), deepcopy(values[0]))
            detail = {"trigger": trigger.name, "receipt_id": "sample", "headers": seen["header"], "body": seen["body"]}
            return common | {"source": "zentrigger.webhook", "detail-type": "Webhook", "detail": detail}
        case RunTrigger():
            raise InvalidRequestError([Problem("/event", _WHICH_END)])
        case _:
            return common | {"source": "zentrigger.schedule", "detail": {"trigger": trigger.name}}


def _sample_key(definition: S3Trigger) -> str:
    key = f"{definition.prefix}sample{definition.suffix}"
    if definition.glob is None or matches(definition.glob, key):
        return key
    # No folders for `**/`, which may be none; a name for what may be any; letters for single characters.
    made = re.sub(r"(^|(?<=/))\*\*/", "", definition.glob)
    made = re.sub(r"\*+", "sample", made).replace("?", "a")
    return made if made.startswith(definition.prefix) and made.endswith(definition.suffix) else key


def _set(values: Json, path: list[str], value: JsonValue) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            return
    values[path[-1]] = value
