"""HTTP, for operators: snapshots, limits of pipelines, triggers, API keys. By direct invocation, the first key."""

from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import wiring
from zentrigger.catalogue import PublishRequest, SnapshotUpdate
from zentrigger.http import (
    authenticate,
    json_response,
    make_resolver,
    no_query,
    path_parameter,
    query_number,
    query_text,
    read_body,
    validate,
)
from zentrigger.key_store import KeyStore
from zentrigger.keys import ApiKey
from zentrigger.observability import logger
from zentrigger.pipeline_limit import limit_pipeline
from zentrigger.run_requests import FirstKeyRequest, KeyRequest, PipelineUpdate
from zentrigger.trigger_store import TriggerStore
from zentrigger.triggers import NamedTrigger, TriggerDefinition
from zentrigger.views import (
    Json,
    key_view,
    page,
    pipeline_limit_view,
    publication_view,
    receipt_view,
    trigger_view,
)

app = make_resolver()


@app.post("/snapshots")
def post_snapshot() -> Response[str]:
    """Publish a pipeline."""
    caller = _caller()
    no_query(app.current_event)
    publication = wiring.publisher().publish(read_body(app.current_event, PublishRequest), caller.key_id)
    status = HTTPStatus.CREATED if publication.created else HTTPStatus.OK
    return json_response(publication_view(publication), status)


@app.patch("/snapshots/<snapshot>")
def patch_snapshot(snapshot: str) -> Response[str]:
    """Change name, description or tags of a snapshot."""
    caller = _caller()
    no_query(app.current_event)
    wanted = read_body(app.current_event, SnapshotUpdate)
    snapshot_id = path_parameter(app.current_event, "snapshot", snapshot)
    return json_response(publication_view(wiring.publisher().update(snapshot_id, wanted, caller.key_id)))


@app.delete("/snapshots/<snapshot>")
def delete_snapshot(snapshot: str) -> Response[str]:
    """Delete a snapshot that nothing uses."""
    caller = _caller()
    no_query(app.current_event)
    wiring.publisher().delete(path_parameter(app.current_event, "snapshot", snapshot), caller.key_id)
    return Response(status_code=HTTPStatus.NO_CONTENT.value)


@app.patch("/pipelines/<pipeline>")
def patch_pipeline(pipeline: str) -> Response[str]:
    """Limit how many runs of a pipeline are active."""
    _caller()
    no_query(app.current_event)
    wanted = read_body(app.current_event, PipelineUpdate)
    name, settings = path_parameter(app.current_event, "pipeline", pipeline), wiring.admin_settings()
    capacity = limit_pipeline(
        name,
        wanted.max_active_runs,
        catalogue=wiring.catalogue_store(settings.catalogue_table),
        capacity=wiring.capacity_store(settings.runs_table),
    )
    return json_response(pipeline_limit_view(name, capacity))


@app.put("/triggers/<trigger>")
def put_trigger(trigger: str) -> Response[str]:
    """Make or replace a trigger."""
    _caller()
    name = validate(NamedTrigger, {"name": trigger}).name
    definition = read_body(app.current_event, TriggerDefinition)
    return json_response(trigger_view(wiring.publisher().put_trigger(name, definition)))


@app.get("/triggers/<trigger>")
def get_trigger(trigger: str) -> Response[str]:
    """Give a trigger."""
    _caller()
    return json_response(trigger_view(_triggers().get(trigger)))


@app.delete("/triggers/<trigger>")
def delete_trigger(trigger: str) -> Response[str]:
    """Delete a trigger."""
    _caller()
    _triggers().delete(trigger)
    return Response(status_code=HTTPStatus.NO_CONTENT.value)


@app.get("/triggers")
def list_triggers() -> Response[str]:
    """Give all triggers."""
    _caller()
    return json_response(page([trigger_view(trigger) for trigger in _triggers().triggers()], None))


@app.get("/triggers/<trigger>/receipts")
def list_receipts(trigger: str) -> Response[str]:
    """Give a page of what became of a trigger's events."""
    _caller()
    limit = query_number(app.current_event, "limit", 20, least=1, most=100)
    receipts, cursor = _triggers().receipts(trigger, limit=limit, cursor=query_text(app.current_event)["cursor"])
    return json_response(page([receipt_view(receipt) for receipt in receipts], cursor))


@app.post("/keys")
def post_key() -> Response[str]:
    """Make an API key."""
    _caller()
    return json_response(_new_key(read_body(app.current_event, KeyRequest)), HTTPStatus.CREATED)


@app.get("/keys")
def list_keys() -> Response[str]:
    """Give all API keys."""
    _caller()
    return json_response(page([key_view(key) for key in _keys().api_keys()], None))


@app.delete("/keys/<key_id>")
def delete_key(key_id: str) -> Response[str]:
    """Delete an API key."""
    _caller()
    _keys().delete(key_id)
    return Response(status_code=HTTPStatus.NO_CONTENT.value)


def _new_key(request: KeyRequest) -> Json:
    key, text = _keys().create(request.name, request.scopes)
    logger.info("an API key was made", made_key_id=key.key_id, scopes=key.scopes)
    return {**key_view(key), "key": text}


def _caller() -> ApiKey:
    return authenticate(app.current_event, _keys(), "admin")


def _triggers() -> TriggerStore:
    return wiring.trigger_store(wiring.admin_settings().triggers_table)


def _keys() -> KeyStore:
    return wiring.key_store(wiring.admin_settings().keys_table)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an HTTP request, or make a key for an operator who may invoke this function."""
    if "action" in event:
        return _new_key(validate(FirstKeyRequest, event))
    return app.resolve(event, context)
