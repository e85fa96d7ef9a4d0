"""Matching: which events concern a trigger, whether its filter lets one pass, and what its templates see of it."""

from collections.abc import Mapping

from pydantic import JsonValue

from zentrigger.events import RunEnded, S3Arrival, ScheduleFired, TriggerEvent, WebhookReceived
from zentrigger.globs import matches
from zentrigger.json_paths import passes
from zentrigger.runs import SKIPPED, Output, RunRecord
from zentrigger.timestamps import to_text
from zentrigger.triggers import RunTrigger, S3Trigger, Trigger, UnreadableTrigger, Upstream, WebhookTrigger

MAX_CHAIN = 10
"""How many triggers of type `run` may follow each other."""

Document = Mapping[str, JsonValue]


def concerns(trigger: Trigger, event: TriggerEvent, upstream: RunRecord | None = None) -> bool:
    """Tell whether an event is one that a trigger could wait for, so that it leaves a receipt there.

    Args:
        trigger: The trigger.
        event: The event.
        upstream: The record of the run that has ended, if it is such an event.

    """
    definition = trigger.definition
    match event:
        case S3Arrival():
            return isinstance(definition, S3Trigger) and definition.bucket in (None, event.bucket.name)
        case ScheduleFired():
            return definition.type == "schedule" and event.trigger == trigger.name
        case WebhookReceived():
            # The secret that it was signed with was that of the trigger of then.
            is_meant = event.trigger == trigger.name and event.trigger_created_at in (None, trigger.created_at)
            return definition.type == "webhook" and is_meant
        case RunEnded():
            return isinstance(definition, RunTrigger) and upstream is not None and _is_of(definition.of, upstream)


def _is_of(wanted: Upstream, upstream: RunRecord) -> bool:
    run = upstream.run
    return (
        wanted.pipeline in (None, run.pipeline)
        and wanted.snapshot in (None, run.snapshot)
        and (wanted.tag is None or wanted.tag in run.tags)
        and wanted.trigger in (None, run.trigger)
    )


def may_concern(trigger: UnreadableTrigger, event: TriggerEvent, upstream: RunRecord | None = None) -> bool:
    """Tell whether an event is one that a trigger which cannot be read may wait for, as far as its type tells."""
    match event:
        case S3Arrival():
            return trigger.type in (None, "s3")
        case ScheduleFired():
            return trigger.type in (None, "schedule") and event.trigger == trigger.name
        case WebhookReceived():
            return trigger.type in (None, "webhook") and event.trigger == trigger.name
        case RunEnded():
            return trigger.type in (None, "run") and upstream is not None


def mismatch(
    trigger: Trigger, event: TriggerEvent, document: Document, upstream: RunRecord | None = None
) -> str | None:
    """Say why a trigger's filter refuses an event that concerns it; None: it passes."""
    match trigger.definition, event:
        case S3Trigger() as definition, S3Arrival():
            return _s3_mismatch(definition, event)
        case RunTrigger() as definition, RunEnded() if upstream is not None:
            return _run_mismatch(definition, upstream)
        case WebhookTrigger() as definition, WebhookReceived():
            wrong = passes(document, definition.filter)
            return f"The filter does not let it pass: {wrong}." if wrong else None
    return None


def _s3_mismatch(definition: S3Trigger, event: S3Arrival) -> str | None:  # noqa: PLR0911 - one return a rule
    key, size = event.object.key, event.object.size
    if key.endswith("/"):
        return 'The key ends in /: it is a "folder".'
    if not key.startswith(definition.prefix):
        return f"The key does not begin with {definition.prefix!r}."
    if not key.endswith(definition.suffix):
        return f"The key does not end in {definition.suffix!r}."
    if definition.glob is not None and not matches(definition.glob, key):
        return f"The key does not match {definition.glob!r}."
    if definition.min_size is not None and size < definition.min_size:
        return f"The object is {size} bytes, less than {definition.min_size}."
    if definition.max_size is not None and size > definition.max_size:
        return f"The object is {size} bytes, more than {definition.max_size}."
    if definition.reasons and event.reason not in definition.reasons:
        return f"The object came by {event.reason or 'an unknown way'}; `reasons` has {', '.join(definition.reasons)}."
    return None


def _run_mismatch(definition: RunTrigger, upstream: RunRecord) -> str | None:
    status = upstream.run.status
    if not definition.ends(status):
        return f"The run {status.value}; `on` has {', '.join(definition.on)}."
    if upstream.run.reason == SKIPPED:
        # It is recorded as cancelled, but nothing was under way that somebody ended.
        return "The run was skipped and never ran: its concurrency key was taken."
    return None


def document_of(trigger: str, event: TriggerEvent, upstream: RunRecord | None = None) -> Document:
    """Give what the templates and filters of a trigger see of an event (see `event_fields`)."""
    common: dict[str, JsonValue] = {"id": event.event_id, "time": to_text(event.time)}
    match event:
        case ScheduleFired():
            return {"trigger": trigger, "event": common}
        case S3Arrival():
            return {
                "trigger": trigger,
                "event": common | {"reason": event.reason},
                "bucket": {"name": event.bucket.name},
                "object": {
                    "key": event.object.key,
                    "size": event.object.size,
                    "etag": event.object.etag,
                    "version-id": event.object.version_id,
                    "sequencer": event.object.sequencer,
                },
            }
        case RunEnded():
            return {"trigger": trigger, "event": common, "run": _run(upstream) if upstream else {}}
        case WebhookReceived():
            delivered = common | {"delivery": event.delivery_id}
            return {"trigger": trigger, "event": delivered, "header": dict(event.headers), "body": event.body}


def _run(record: RunRecord) -> dict[str, JsonValue]:
    run, result = record.run, record.result
    outputs: dict[str, JsonValue] = {}
    for output in result.outputs if result else ():
        shown = _output(output)
        if output.step is None:
            outputs[output.name] = shown
            continue
        of_step = outputs.setdefault(output.step, {})
        if isinstance(of_step, dict):
            of_step[output.name] = shown
    return {
        "id": run.run_id,
        "pipeline": run.pipeline,
        "snapshot": run.snapshot,
        "status": run.status.value,
        "reason": run.reason,
        "message": run.message,
        "attempt": run.attempt,
        "tags": list(run.tags),
        "trigger": run.trigger,
        "ended_at": to_text(run.ended_at) if run.ended_at else None,
        "zenml_run_id": result.zenml_run_id if result else None,
        "parameters": record.input.parameters,
        "outputs": outputs,
    }


def _output(output: Output) -> dict[str, JsonValue]:
    shown = output.model_dump(mode="json", include={"artifact_id", "uri", "value", "data_type"})
    return {name: value for name, value in shown.items() if value is not None or name == "value"}


def refused_chain(trigger: Trigger, upstream: RunRecord) -> str | None:
    """Say why a run's end may not start a further one through a trigger; None: it may.

    A trigger that led to a run may not be led to by it again, whatever lies between.
    """
    chain = upstream.run.source.chain
    if trigger.name in chain:
        through = " -> ".join([*chain[chain.index(trigger.name) :], trigger.name])
        return f"It would go round in a circle: {through}."
    if len(chain) >= MAX_CHAIN:
        return f"{len(chain)} triggers follow each other already, and no more may: {' -> '.join(chain)}."
    return None
