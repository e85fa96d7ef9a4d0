"""How runs, pipelines, triggers and keys are shown to callers, as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, get_args
from urllib.parse import quote

from zentrigger.attempts import present_attempt
from zentrigger.capacity import PipelineCapacity
from zentrigger.catalogue import PublishedPipeline, Snapshot, SnapshotContent, SnapshotSummary, snapshot_id
from zentrigger.discovery import Found
from zentrigger.dry_run import DryRun
from zentrigger.examples import curl_line, example_request
from zentrigger.hook_secrets import HookSecret
from zentrigger.hooks import Received
from zentrigger.keys import ApiKey
from zentrigger.launches import MAX_OVERRIDES
from zentrigger.pointers import HistoryEntry
from zentrigger.publishing import Publication
from zentrigger.receipts import MAX_DETAIL, Outcome, Receipt, Unmatched
from zentrigger.run_requests import canonical
from zentrigger.runs import Attempt, Run, RunRecord, Timings
from zentrigger.schema_changes import Change
from zentrigger.timestamps import to_text
from zentrigger.track_record import TrackRecord
from zentrigger.trial import Trial
from zentrigger.trigger_store import PendingSchedule
from zentrigger.trigger_writer import TriggerChanges
from zentrigger.triggers import ScheduleTrigger, StoredTrigger, Trigger, TriggerDefinition, UnreadableTrigger

Json = dict[str, Any]

MAX_SHOWN_BYTES = 2 * 1024 * 1024
"""Of definitions or requests in one answer: what one call can send fits, with its defaults. A function's answer is 6 MB
at most (AWS: "Lambda quotas"), in which JSON within JSON may be twice as long."""


def run_summary(run: Run) -> Json:
    """Show the head of a run: what a list of runs has."""
    shown: Json = dict.fromkeys(
        (
            "reason", "message", "trigger", "task_arn", "started_at", "ended_at", "cancel_requested_at", "not_before",
            "resources", "concurrency", "retry", "retry_of", "retried_by",
        )
    )  # fmt: skip
    shown |= run.model_dump(
        mode="json",
        exclude_none=True,
        include={
            "run_id", "pipeline", "snapshot", "status", "reason", "message", "attempt", "tags", "trigger", "task_arn",
            "accepted_at", "started_at", "ended_at", "cancel_requested_at", "not_before", "resources", "priority",
            "concurrency", "retry", "spot", "retry_of", "retried_by",
        },
    )  # fmt: skip
    shown["source"] = run.source.model_dump(mode="json", exclude_none=True)
    shown["links"] = {"self": f"/runs/{run.run_id}", "logs": f"/runs/{run.run_id}/logs"}
    return shown


def run_details(record: RunRecord) -> Json:
    """Show a whole run: its head, what it was given, how far it is, and how it went."""
    result, progress = record.result, record.progress
    latest = result or progress
    return run_summary(record.run) | {
        "parameters": record.input.parameters,
        "steps": {name: {"parameters": values} for name, values in record.input.steps.items()},
        "enable_cache": record.input.enable_cache,
        "timeout_seconds": record.input.timeout_seconds,
        "image": record.input.image,
        "progress": {
            "heartbeat_at": progress.model_dump(mode="json")["heartbeat_at"] if progress else None,
            "steps": [step.model_dump(mode="json") for step in latest.steps] if latest else [],
        },
        "outputs": [output.model_dump(mode="json") for output in result.outputs] if result else [],
        "error": result.error.model_dump(mode="json") if result and result.error else None,
        "exit_code": result.exit_code if result else None,
        "zenml_run_id": latest.zenml_run_id if latest else None,
        "dashboard_url": latest.dashboard_url if latest else None,
        "timings": _timings(record),
        "attempts": [attempt.model_dump(mode="json") for attempt in _attempts(record)],
        "downstream": [one.model_dump(mode="json") for one in record.downstream],
    }


def _timings(record: RunRecord) -> Json:
    """Show when each phase of the present attempt began; null for what has not, or is not known."""
    run = record.run
    latest = record.result or record.progress
    first_step = min((step.started_at for step in latest.steps if step.started_at), default=None) if latest else None
    timings = run.timings or Timings()
    moments = {
        "recorded_at": run.accepted_at,
        "launched_at": run.launched_at,
        "pulled_at": timings.pulled_at,
        "container_started_at": timings.container_started_at,
        "claimed_at": run.started_at,
        "first_step_at": first_step,
        "ended_at": run.ended_at,
    }
    return {name: to_text(moment) if moment else None for name, moment in moments.items()}


def _attempts(record: RunRecord) -> tuple[Attempt, ...]:
    last = present_attempt(record.run)
    return record.earlier_attempts if last is None else (*record.earlier_attempts, last)


def dry_run_view(dry_run: DryRun) -> Json:
    """Show what would become of a request."""
    run_input, standing, concurrency = dry_run.plan.run_input, dry_run.standing, dry_run.plan.concurrency
    return {
        "snapshot": snapshot_summary(dry_run.snapshot),
        "parameters": run_input.parameters,
        "steps": {name: {"parameters": values} for name, values in run_input.steps.items()},
        "would": dry_run.would,
        "capacity": {
            "active_runs": standing.stack.active_runs,
            "waiting_runs": standing.stack.waiting_runs,
            "max_active_runs": dry_run.limits.max_active,
            "max_waiting_runs": dry_run.limits.max_waiting,
            "pipeline": asdict(standing.pipeline),
            "concurrency": {
                "active_runs": standing.key.active_runs,
                "waiting_runs": standing.key.waiting_runs,
                "max_active_runs": concurrency.limit,
            }
            if standing.key is not None and concurrency is not None
            else None,
        },
        "run_task": dry_run.run_task,
        "run_task_overrides": {"characters": dry_run.overrides_size, "limit": MAX_OVERRIDES},
        "problems": [asdict(problem) for problem in dry_run.problems],
    }


def snapshot_summary(snapshot: Snapshot | SnapshotSummary) -> Json:
    """Show a snapshot in short."""
    summary = snapshot.summary if isinstance(snapshot, Snapshot) else snapshot
    return {
        "id": summary.id,
        **summary.model_dump(mode="json", exclude={"content_hash"}),
        "links": {
            "self": f"/snapshots/{quote(summary.id, safe='')}",
            "runs": f"/snapshots/{quote(summary.id, safe='')}/runs",
            "pipeline": f"/pipelines/{quote(summary.pipeline, safe='')}",
        },
    }


def snapshot_in_list(found: Found[SnapshotSummary]) -> Json:
    """Show a snapshot in a list."""
    return {**snapshot_summary(found.what), **_standing(found.what.number, found)}


def snapshot_details(found: Found[Snapshot]) -> Json:
    """Show a snapshot with all that there is to it; of secrets, the variables and where their values are."""
    snapshot = found.what
    request = example_request(snapshot.content, snapshot=snapshot.number)
    return {
        **snapshot_summary(snapshot),
        **_content(snapshot.content),
        "example": {"request": request, "curl": curl_line(request)},
        **_standing(snapshot.number, found),
    }


def _standing(number: int, found: Found[Any]) -> Json:
    return {"newest": found.pipeline.newest == number, "runs": track_record_view(found.runs)}


def _content(content: SnapshotContent) -> Json:
    return content.model_dump(mode="json", exclude={"pipeline"})


def publication_view(publication: Publication) -> Json:
    """Show a publisher what became of a snapshot, and what changed for others."""
    return {
        **snapshot_summary(publication.snapshot),
        "newest": publication.newest,
        "created": publication.created,
        "changes": [_change(change) for change in publication.changes],
        "breaks": _breaks(publication),
    }


def _change(change: Change) -> Json:
    return {
        "kind": change.kind,
        "pointer": change.pointer,
        "breaking": change.breaking,
        "detail": change.detail,
    }


def _breaks(of: Publication | HistoryEntry) -> Json:
    return {"triggers": list(of.broken_triggers), "snapshots": list(of.broken_names)}


def history_view(pipeline: str, entry: HistoryEntry) -> Json:
    """Show what a publication, an update or a deletion changed."""

    def shown(number: int | None) -> str | None:
        return snapshot_id(pipeline, number) if number is not None else None

    return {
        "revision": entry.revision,
        "at": to_text(entry.at),
        "by": entry.by,
        "action": entry.action,
        "snapshot": shown(entry.snapshot),
        "newest": shown(entry.newest),
        "previous": shown(entry.previous),
        "moved": [
            {"choice": moved.choice, "from": shown(moved.before), "to": shown(moved.after)} for moved in entry.moved
        ],
        "changes": [_change(change) for change in entry.changes],
        "omitted": entry.omitted,
        "breaks": _breaks(entry),
        "omitted_triggers": entry.omitted_triggers,
    }


def pipeline_summary(found: Found[PublishedPipeline]) -> Json:
    """Show a pipeline in a list."""
    return _pipeline(found, found.what.newest)


def pipeline_details(found: Found[Snapshot | None]) -> Json:
    """Show a pipeline with all that a caller needs to run it: the newest snapshot's content, or null for each field."""
    newest = found.what
    shown = _pipeline(found, newest.summary if newest is not None else None)
    shown["capacity"] = asdict(found.capacity) if found.capacity is not None else None
    if newest is None:
        return {**shown, **dict.fromkeys(_CONTENT_FIELDS), "example": None}
    request = example_request(newest.content)
    return {**shown, **_content(newest.content), "example": {"request": request, "curl": curl_line(request)}}


def pipeline_limit_view(name: str, capacity: PipelineCapacity) -> Json:
    """Show how many runs of a pipeline are active, wait, and may be active."""
    return {"name": name, "capacity": asdict(capacity), "links": _pipeline_links(name)}


_CONTENT_FIELDS = tuple(name for name in SnapshotContent.model_fields if name != "pipeline")


def _pipeline(found: Found[Any], newest: SnapshotSummary | None) -> Json:
    return {
        "name": found.pipeline.name,
        "description": newest.description if newest is not None else "",
        "tags": list(newest.tags) if newest is not None else [],
        "last_number": found.pipeline.snapshots,
        "snapshot": snapshot_summary(newest) if newest is not None else None,
        "runs": track_record_view(found.runs),
        "links": _pipeline_links(found.pipeline.name),
    }


def _pipeline_links(name: str) -> Json:
    path = f"/pipelines/{quote(name, safe='')}"
    return {"self": path, "snapshots": f"{path}/snapshots", "changes": f"{path}/changes"}


def track_record_view(record: TrackRecord) -> Json:
    """Show how the last runs went."""
    last = record.last
    return {
        "last": {
            "run_id": last.run_id,
            "status": last.status.value,
            "accepted_at": to_text(last.accepted_at),
            "ended_at": to_text(last.ended_at) if last.ended_at else None,
        }
        if last is not None
        else None,
        "succeeded": record.succeeded,
        "ended": record.ended,
        "success_rate": record.success_rate,
        "looked_at": record.looked_at,
    }


def trigger_view(
    trigger: Trigger,
    *,
    counts: Mapping[str, int],
    times: Sequence[datetime] = (),
    notes: Sequence[PendingSchedule] = (),
) -> Json:
    """Show a trigger: what was said of it, what became of its events, and when its schedule fires next."""
    path = f"/triggers/{trigger.name}"
    kept = trigger.model_dump(mode="json")
    has_schedule = isinstance(trigger.definition, ScheduleTrigger) and trigger.definition.schedule is not None
    problems = [note.problem for note in notes if note.problem is not None]
    refused = bool(problems) and len(problems) == len(notes)
    state = ("refused" if refused else "pending") if notes else "in_sync" if has_schedule else None
    links = {"self": path, "receipts": f"{path}/receipts", "test": f"{path}/test"}
    if trigger.definition.type == "webhook":
        links |= {"hook": f"/hooks/{trigger.name}", "secret": f"{path}/secret"}
    return {
        "name": trigger.name,
        "definition": definition_view(trigger.definition),
        "created_at": kept["created_at"],
        "updated_at": kept["updated_at"],
        "counts": {outcome: counts.get(outcome, 0) for outcome in get_args(Outcome)},
        "next_times": [to_text(moment) for moment in times],
        "schedule_state": state,
        "schedule_problem": problems[-1] if refused else None,
        "links": links,
    }


def unreadable_view(trigger: UnreadableTrigger) -> Json:
    """Show that there is a trigger which this version cannot read, and why."""
    return {"name": trigger.name, "type": trigger.type, "detail": trigger.error().detail}


def definition_view(definition: TriggerDefinition) -> Json:
    """Show what was said of a trigger, with the defaults of what was not: it can be put again as it is."""
    shown: Json = definition.model_dump(mode="json")
    return shown


def trigger_changes_view(done: TriggerChanges, *, written: bool) -> Json:
    """Show what becomes of triggers.

    Before it is done, with the definitions of those that would change, as far as they can be read and fit into 2 MB
    together. Afterwards without: what was done must not fail to be told for its size.
    """
    room = MAX_SHOWN_BYTES
    changes: list[Json] = []
    for change in done.changes:
        shown = {"name": change.name, "change": change.change, **_target(change.after or change.before)}
        if not written and change.change != "unchanged":
            sides = {"after": definition_view(change.after.definition) if change.after else None}
            if not isinstance(change.before, UnreadableTrigger):
                sides["before"] = definition_view(change.before.definition) if change.before else None
            size = _bytes(sides)
            if size <= room:
                room -= size
                shown |= sides
        changes.append(shown)
    return {"written": written, "changes": changes, **({} if written else {"plan": done.plan})}


def _target(trigger: StoredTrigger | None) -> Json:
    if isinstance(trigger, Trigger):
        return {"type": trigger.definition.type, "pipeline": trigger.definition.pipeline}
    known = trigger or UnreadableTrigger(name="", detail="")
    return {"type": known.type, "pipeline": known.pipeline}


def hook_secret_view(name: str, kept: HookSecret, shown: str | None) -> Json:
    """Show that a trigger has a secret; the secret itself only where it was made here, just now."""
    dates = kept.model_dump(mode="json", include={"created_at", "previous_valid_until"})
    return {"name": name, "secret": shown, **dates}


def trials_view(trials: Sequence[Trial]) -> list[Json]:
    """Show what a trigger would make of events: all of them, and the requests that fit into 2 MB with them."""
    room = MAX_SHOWN_BYTES - _bytes([dict(trial.event) for trial in trials])
    shown: list[Json] = []
    for trial in trials:
        request = trial.request.model_dump(mode="json", exclude_defaults=True) if trial.request else None
        one: Json = {
            "event": dict(trial.event),
            "matches": trial.matches,
            "outcome": trial.outcome,
            "detail": trial.detail[:MAX_DETAIL] if trial.detail is not None else None,
            "run_id": trial.run_id,
            "would": trial.would,
        }
        size = _bytes(request)
        if request is None or size <= room:
            room -= size
            one["request"] = request
        shown.append(one)
    return shown


def _bytes(values: Any) -> int:  # noqa: ANN401 - JSON of any shape
    """Give how long JSON is; an event may hold half a surrogate pair, which is no UTF-8."""
    return len(canonical(values).encode(errors="surrogatepass"))


def receipt_view(receipt: Receipt) -> Json:
    """Show a receipt."""
    shown: Json = receipt.model_dump(mode="json")
    run = f"/runs/{receipt.run_id}" if receipt.run_id else None
    shown["links"] = {"self": f"/triggers/{receipt.trigger}/receipts/{receipt.receipt_id}", "run": run}
    return shown


def unmatched_view(event: Unmatched) -> Json:
    """Show an event that no trigger waited for."""
    shown: Json = event.model_dump(mode="json", exclude={"reasons"})
    shown["triggers"] = [{"name": reason.trigger, "why": reason.why} for reason in event.reasons]
    return shown


def received_view(received: Received) -> Json:
    """Show the caller of a webhook what to ask for."""
    return {
        "trigger": received.trigger,
        "receipt_id": received.receipt_id,
        "links": {"receipt": f"/triggers/{received.trigger}/receipts/{received.receipt_id}"},
    }


def key_view(key: ApiKey) -> Json:
    """Show an API key; its hash is nobody's concern."""
    shown = key.model_dump(mode="json", exclude={"secret_hash", "key_id"})
    return {"id": key.key_id, **shown}


def page(items: list[Json], cursor: str | None) -> Mapping[str, Any]:
    """Show a page of a list."""
    return {"items": items, "next": cursor}
