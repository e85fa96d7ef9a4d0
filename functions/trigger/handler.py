"""HTTP, the write side: run a pipeline or a snapshot, cancel a run, run one again, take webhooks, try triggers."""

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import wiring
from zentrigger.cancel import cancel
from zentrigger.errors import InvalidRequestError, Problem
from zentrigger.http import (
    authenticate,
    json_response,
    make_resolver,
    no_body,
    no_query,
    path_parameter,
    query_flag,
    raw_body,
    read_body,
)
from zentrigger.keys import ApiKey, Scope
from zentrigger.observability import logger
from zentrigger.run_requests import RunRequest, SnapshotRunRequest, TriggerTest, TutorialRequest
from zentrigger.run_store import Creation
from zentrigger.runs import Source
from zentrigger.submit import Submitter, run_id_for_key
from zentrigger.views import dry_run_view, page, received_view, run_summary, trials_view

app = make_resolver()

POLL_AFTER_SECONDS = 2
"""What a caller is told to wait before it asks for the status."""

MAX_KEY_LENGTH = 200


@app.post("/runs")
def post_run() -> Response[str]:
    """Run a pipeline, or say what would become of it."""
    caller = _caller()
    dry = query_flag(app.current_event, "dry_run")
    return _submit(caller, read_body(app.current_event, RunRequest), dry=dry)


@app.post("/snapshots/<snapshot>/runs")
def post_snapshot_run(snapshot: str) -> Response[str]:
    """Run a snapshot, or say what would become of it."""
    caller = _caller()
    dry = query_flag(app.current_event, "dry_run")
    snapshot_id = path_parameter(app.current_event, "snapshot", snapshot)
    asked = read_body(app.current_event, SnapshotRunRequest).to_run_request(snapshot_id)
    return _submit(caller, asked, dry=dry)


@app.post("/trigger")
def post_trigger() -> Response[str]:
    """Run a pipeline, with the body of ZenML's tutorial."""
    caller = _caller()
    no_query(app.current_event)
    asked = read_body(app.current_event, TutorialRequest)
    return _created(_submitter().submit(asked, _source(caller), run_id=_run_id(caller)))


@app.post("/runs/<run_id>/retry")
def post_retry(run_id: str) -> Response[str]:
    """Run again what a run executed, as it was."""
    caller = _caller()
    no_query(app.current_event)
    no_body(app.current_event)
    return _created(_submitter().retry(run_id, _source(caller), new_run_id=_run_id(caller)))


@app.delete("/runs/<run_id>")
def delete_run(run_id: str) -> Response[str]:
    """Cancel a run."""
    _caller()
    no_query(app.current_event)
    settings = wiring.trigger_settings()
    run = cancel(run_id, runs=wiring.run_store(settings.runs_table), tasks=wiring.launcher(settings.cluster))
    return json_response(run_summary(run), HTTPStatus.ACCEPTED)


@app.post("/hooks/<trigger>")
def post_hook(trigger: str) -> Response[str]:
    """Take a webhook's call: its signature says whose it is."""
    name = path_parameter(app.current_event, "trigger", trigger)
    headers = {header.lower(): value for header, value in app.current_event.headers.items()}
    received = wiring.hooks().receive(name, headers, raw_body(app.current_event))
    if received.challenge is not None:
        return json_response({"challenge": received.challenge})
    return json_response(received_view(received), HTTPStatus.ACCEPTED)


@app.post("/triggers/<trigger>/test")
def post_trigger_test(trigger: str) -> Response[str]:
    """Say what a trigger would make of an event, or of its last ones; nothing is started."""
    _caller("admin")
    recent = query_flag(app.current_event, "recent")
    name = path_parameter(app.current_event, "trigger", trigger)
    asked = read_body(app.current_event, TriggerTest) if (app.current_event.body or "").strip() else TriggerTest()
    if recent and asked.event is not None:
        raise InvalidRequestError([Problem("/event", "With recent=true the events are the trigger's last ones.")])
    trials = wiring.trigger_trials()
    found = trials.recent(name) if recent else trials.run(name, asked.event)
    return json_response(page(trials_view(found), None))


def _caller(scope: Scope = "run") -> ApiKey:
    return authenticate(app.current_event, wiring.key_store(wiring.trigger_settings().keys_table), scope)


def _submitter() -> Submitter:
    settings = wiring.trigger_settings()
    return wiring.submitter(settings, settings.max_waiting_runs)


def _submit(caller: ApiKey, asked: RunRequest, *, dry: bool) -> Response[str]:
    if dry:
        return json_response(dry_run_view(_submitter().dry_run(asked, _source(caller), run_id=_run_id(caller))))
    return _created(_submitter().submit(asked, _source(caller), run_id=_run_id(caller)))


def _created(creation: Creation) -> Response[str]:
    headers = {"Location": f"/runs/{creation.run.run_id}", "Retry-After": str(POLL_AFTER_SECONDS)}
    if creation.replayed:
        headers["Idempotency-Replayed"] = "true"
    return json_response(run_summary(creation.run), HTTPStatus.ACCEPTED, headers)


def _source(caller: ApiKey) -> Source:
    return Source(type="http", key_id=caller.key_id)


def _run_id(caller: ApiKey) -> str | None:
    """Give the id of the run that a caller asks for under an idempotency key."""
    key = _idempotency_key()
    return run_id_for_key(caller.key_id, key) if key else None


def _idempotency_key() -> str | None:
    key: str | None = app.current_event.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= MAX_KEY_LENGTH and key.isprintable()):
        detail = f"Idempotency-Key is 1 to {MAX_KEY_LENGTH} printable characters."
        raise InvalidRequestError([Problem("/Idempotency-Key", detail)])
    return key


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an HTTP request."""
    return app.resolve(event, context)
