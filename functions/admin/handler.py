"""HTTP, for operators: snapshots, limits of pipelines, triggers, API keys. By direct invocation, the first key.

Each minute, the schedules of triggers that could not be set at once.
"""

from http import HTTPStatus
from typing import Any, get_args

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import wiring
from zentrigger.catalogue import PublishRequest, SnapshotUpdate
from zentrigger.errors import ConflictError, InvalidRequestError, Problem
from zentrigger.hook_secrets import usable_secret
from zentrigger.http import (
    authenticate,
    json_response,
    make_resolver,
    no_query,
    path_parameter,
    query_flag,
    query_number,
    query_text,
    read_body,
    read_values,
    validate,
)
from zentrigger.key_store import KeyStore
from zentrigger.keys import ApiKey
from zentrigger.observability import logger
from zentrigger.pipeline_limit import limit_pipeline
from zentrigger.receipts import Outcome
from zentrigger.run_requests import FirstKeyRequest, HookSecretRequest, KeyRequest, PipelineUpdate
from zentrigger.schedule_sync import next_times
from zentrigger.schema_references import escaped
from zentrigger.timestamps import now
from zentrigger.trigger_store import TriggerStore
from zentrigger.trigger_writer import TriggerChanges
from zentrigger.triggers import (
    NamedTrigger,
    Trigger,
    TriggerDefinition,
    TriggersRequest,
    UnreadableTrigger,
    WebhookTrigger,
    model_of,
)
from zentrigger.views import (
    Json,
    hook_secret_view,
    key_view,
    page,
    pipeline_limit_view,
    publication_view,
    receipt_view,
    trigger_changes_view,
    trigger_view,
    unmatched_view,
    unreadable_view,
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


@app.put("/triggers")
def put_triggers() -> Response[str]:
    """Make several triggers as they are wanted, all together, or say what that would change."""
    _caller()
    dry = query_flag(app.current_event, "dry_run")
    asked = read_body(app.current_event, TriggersRequest)
    wanted: dict[str, TriggerDefinition] = {}
    problems: list[Problem] = []
    for name, values in asked.triggers.items():
        try:
            wanted[name] = _definition(values, f"/triggers/{escaped(name)}")
        except InvalidRequestError as error:
            problems += error.problems
    if problems:
        raise InvalidRequestError(problems)
    done = wiring.trigger_writer().apply(wanted, prune=asked.prune, dry_run=dry, plan=asked.plan)
    if not dry:
        _set_schedules(done)
    return json_response(trigger_changes_view(done, written=not dry))


@app.put("/triggers/<trigger>")
def put_trigger(trigger: str) -> Response[str]:
    """Make or replace a trigger."""
    _caller()
    no_query(app.current_event)
    name = validate(NamedTrigger, {"name": trigger}).name
    _set_schedules(wiring.trigger_writer().put(name, _definition(read_values(app.current_event))))
    return json_response(_shown(name))


@app.get("/triggers/<trigger>")
def get_trigger(trigger: str) -> Response[str]:
    """Give a trigger."""
    _caller()
    return json_response(_shown(trigger))


@app.delete("/triggers/<trigger>")
def delete_trigger(trigger: str) -> Response[str]:
    """Delete a trigger."""
    _caller()
    _set_schedules(wiring.trigger_writer().delete(trigger))
    return Response(status_code=HTTPStatus.NO_CONTENT.value)


@app.get("/triggers")
def list_triggers() -> Response[str]:
    """Give a page of the triggers, by name."""
    _caller()
    limit = query_number(app.current_event, "limit", 20, least=1, most=100)
    store = _triggers()
    stored, cursor = store.triggers_page(limit=limit, **query_text(app.current_event))
    counts, notes = store.counts(stored), store.pending_schedules()
    shown = [
        trigger_view(
            trigger,
            counts=counts.get(trigger.name, {}),
            times=next_times(trigger, now()),
            notes=[note for note in notes if note.trigger == trigger.name],
        )
        for trigger in stored
        if isinstance(trigger, Trigger)
    ]
    unreadable = [unreadable_view(trigger) for trigger in stored if isinstance(trigger, UnreadableTrigger)]
    return json_response({**page(shown, cursor), "unreadable": unreadable})


@app.post("/triggers/<trigger>/secret")
def post_secret(trigger: str) -> Response[str]:
    """Give a webhook trigger a secret: the sender's, or one that is made here and shown once."""
    caller = _caller()
    no_query(app.current_event)
    standing = _triggers().get(trigger)
    definition = standing.definition
    if not isinstance(definition, WebhookTrigger):
        raise ConflictError(f"{trigger!r} is a trigger of type {definition.type}; only webhooks have a secret.")
    given = read_body(app.current_event, HookSecretRequest).secret
    secret = usable_secret(definition.signature.scheme, given)
    kept = wiring.hook_secrets(wiring.admin_settings().keys_table).put(
        trigger, secret, now(), standing=_triggers().standing_action(standing)
    )
    logger.info("a webhook got a secret", trigger=trigger, by=caller.key_id, made_here=given is None)
    return json_response(hook_secret_view(trigger, kept, None if given is not None else secret))


@app.get("/triggers/<trigger>/receipts")
def list_receipts(trigger: str) -> Response[str]:
    """Give a page of what became of a trigger's events."""
    _caller()
    limit = query_number(app.current_event, "limit", 20, least=1, most=100)
    asked = query_text(app.current_event, "outcome")
    outcome = asked["outcome"]
    if outcome is not None and outcome not in get_args(Outcome):
        known = ", ".join(get_args(Outcome))
        raise InvalidRequestError([Problem("/outcome", f"There is no outcome {outcome[:50]!r}. Known: {known}.")])
    receipts, cursor = _triggers().receipts(trigger, limit=limit, cursor=asked["cursor"], outcome=outcome)
    return json_response(page([receipt_view(receipt) for receipt in receipts], cursor))


@app.get("/triggers/<trigger>/receipts/<receipt_id>")
def get_receipt(trigger: str, receipt_id: str) -> Response[str]:
    """Give one receipt."""
    _caller()
    return json_response(receipt_view(_triggers().receipt(trigger, receipt_id)))


@app.get("/events/unmatched")
def list_unmatched() -> Response[str]:
    """Give a page of the events of the last day that no trigger waited for."""
    _caller()
    limit = query_number(app.current_event, "limit", 20, least=1, most=100)
    asked = query_text(app.current_event, "bucket", "key")
    events, cursor = _triggers().unmatched(limit=limit, **asked)
    return json_response(page([unmatched_view(event) for event in events], cursor))


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


def _definition(values: Any, at: str = "") -> TriggerDefinition:  # noqa: ANN401 - JSON of any shape
    try:
        model = model_of(values)
    except InvalidRequestError as error:
        raise InvalidRequestError([Problem(f"{at}{one.pointer}", one.detail) for one in error.problems]) from error
    return validate(model, values, at=at)


def _shown(name: str) -> Json:
    store = _triggers()
    trigger = store.get(name)
    return trigger_view(
        trigger,
        counts=store.counts_of(trigger),
        times=next_times(trigger, now()),
        notes=store.pending_schedules(name),
    )


def _set_schedules(done: TriggerChanges) -> None:
    if done.scheduled:
        wiring.schedule_sync().settle_now(done.scheduled, done.write)


def _caller() -> ApiKey:
    return authenticate(app.current_event, _keys(), "admin")


def _triggers() -> TriggerStore:
    return wiring.trigger_store(wiring.admin_settings().triggers_table)


def _keys() -> KeyStore:
    return wiring.key_store(wiring.admin_settings().keys_table)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an HTTP request, make a key for an operator who may invoke this function, or set schedules each minute."""
    if event.get("action") == "settle_schedules":
        return {"settled": wiring.schedule_sync().settle_all()}
    if "action" in event:
        return _new_key(validate(FirstKeyRequest, event))
    return app.resolve(event, context)
