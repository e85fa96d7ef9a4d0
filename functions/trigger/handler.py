"""HTTP, the write side: run a pipeline, cancel a run."""

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import wiring
from zentrigger.cancel import cancel
from zentrigger.errors import InvalidRequestError, Problem
from zentrigger.http import authenticate, json_response, make_resolver, no_query, read_body
from zentrigger.keys import ApiKey
from zentrigger.observability import logger
from zentrigger.run_requests import RunRequest, TutorialRequest
from zentrigger.runs import Source
from zentrigger.submit import run_id_for_key
from zentrigger.views import run_summary

app = make_resolver()

POLL_AFTER_SECONDS = 2
"""What a caller is told to wait before it asks for the status."""

MAX_KEY_LENGTH = 200


@app.post("/runs")
def post_run() -> Response[str]:
    """Run a pipeline."""
    caller = _caller()
    return _submit(caller, read_body(app.current_event, RunRequest))


@app.post("/trigger")
def post_trigger() -> Response[str]:
    """Run a pipeline, with the body of ZenML's tutorial."""
    caller = _caller()
    return _submit(caller, read_body(app.current_event, TutorialRequest))


@app.delete("/runs/<run_id>")
def delete_run(run_id: str) -> Response[str]:
    """Cancel a run."""
    _caller()
    settings = wiring.trigger_settings()
    run = cancel(run_id, runs=wiring.run_store(settings.runs_table), tasks=wiring.launcher(settings.cluster))
    return json_response(run_summary(run), HTTPStatus.ACCEPTED)


def _caller() -> ApiKey:
    caller = authenticate(app.current_event, wiring.key_store(wiring.trigger_settings().keys_table), "run")
    no_query(app.current_event)
    return caller


def _submit(caller: ApiKey, asked: RunRequest | TutorialRequest) -> Response[str]:
    settings = wiring.trigger_settings()
    idempotency_key = _idempotency_key()
    creation = wiring.submitter(settings, settings.max_waiting_runs).submit(
        asked,
        Source(type="http", key_id=caller.key_id),
        run_id=run_id_for_key(caller.key_id, idempotency_key) if idempotency_key else None,
    )
    headers = {"Location": f"/runs/{creation.run.run_id}", "Retry-After": str(POLL_AFTER_SECONDS)}
    if creation.replayed:
        headers["Idempotency-Replayed"] = "true"
    return json_response(run_summary(creation.run), HTTPStatus.ACCEPTED, headers)


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
