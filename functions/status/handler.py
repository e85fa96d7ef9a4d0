"""HTTP, the read side: runs, logs, pipelines, snapshots, the API itself; and every path that nobody else has."""

import time
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.utilities.typing import LambdaContext

from zentrigger import openapi, wiring
from zentrigger.api import allowed_methods
from zentrigger.errors import InvalidRequestError, MethodNotAllowedError, NotFoundError, Problem
from zentrigger.http import (
    authenticate,
    entity_tags,
    etag_of,
    json_response,
    make_resolver,
    path_parameter,
    problem,
    query_number,
    query_text,
)
from zentrigger.observability import logger
from zentrigger.runs import RunRecord, RunStatus
from zentrigger.views import (
    history_view,
    page,
    pipeline_details,
    pipeline_summary,
    run_details,
    run_summary,
    snapshot_details,
    snapshot_in_list,
)

app = make_resolver()

LONGEST_WAIT_SECONDS = 20
"""The gateway gives up after 30 s, this function after 28."""

LOOKS_AGAIN_AFTER_SECONDS = 0.5


@app.get("/runs/<run_id>")
def get_run(run_id: str) -> Response[str]:
    """Give a run; with `wait`, when it has changed from what `If-None-Match` names or, without, from what it is now."""
    _authenticate()
    wait = query_number(app.current_event, "wait", 0, least=0, most=LONGEST_WAIT_SECONDS)
    known = entity_tags(app.current_event.headers.get("if-none-match", ""))
    until = time.monotonic() + wait
    shown = run_details(_run(run_id))
    compared = known or {etag_of(shown)}
    while etag_of(shown) in compared and not RunStatus(shown["status"]).final and time.monotonic() < until:
        time.sleep(LOOKS_AGAIN_AFTER_SECONDS)
        shown = run_details(_run(run_id))
    etag = etag_of(shown)
    if etag in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED.value, headers={"ETag": etag})
    return json_response(shown, headers={"ETag": etag})


@app.get("/runs/<run_id>/logs")
def get_logs(run_id: str) -> Response[str]:
    """Give what a run's task printed, in its present attempt or another."""
    _authenticate()
    limit = query_number(app.current_event, "limit", 500, least=1, most=1000)
    cursor = query_text(app.current_event, "attempt")["cursor"]
    record = _run(run_id)
    number = query_number(app.current_event, "attempt", record.run.attempt, least=1, most=record.run.attempt)
    task_arn = record.task_of(number)
    if task_arn is None:
        return json_response(page([], cursor))
    read = wiring.log_reader(wiring.status_settings().task_log_group).read(task_arn, cursor=cursor, limit=limit)
    lines = [{"at": moment.isoformat(), "line": line} for moment, line in read.lines]
    return json_response(page(lines, read.cursor))


@app.get("/runs")
def list_runs() -> Response[str]:
    """Give a page of runs, newest first."""
    _authenticate()
    limit = _limit()
    asked = query_text(app.current_event, "pipeline", "status", "trigger", "tag")
    found = wiring.run_listing(wiring.status_settings().runs_table).page(
        limit=limit,
        pipeline=asked["pipeline"],
        trigger=asked["trigger"],
        status=_status(asked["status"]),
        tag=asked["tag"],
        cursor=asked["cursor"],
    )
    return json_response(page([run_summary(run) for run in found.runs], found.cursor))


@app.get("/pipelines")
def list_pipelines() -> Response[str]:
    """Give a page of pipelines, by name."""
    _authenticate()
    found = wiring.discovery().pipelines(limit=_limit(), **query_text(app.current_event, "name", "tag"))
    return json_response(page([pipeline_summary(one) for one in found.items], found.cursor))


@app.get("/pipelines/<pipeline>")
def get_pipeline(pipeline: str) -> Response[str]:
    """Give a pipeline, with what a caller needs to run it."""
    _authenticate()
    return json_response(pipeline_details(wiring.discovery().pipeline(_named("pipeline", pipeline))))


@app.get("/pipelines/<pipeline>/snapshots")
def list_snapshots(pipeline: str) -> Response[str]:
    """Give a page of a pipeline's snapshots, newest first."""
    _authenticate()
    asked = query_text(app.current_event, "name", "tag")
    found = wiring.discovery().snapshots(_named("pipeline", pipeline), limit=_limit(), **asked)
    return json_response(page([snapshot_in_list(one) for one in found.items], found.cursor))


@app.get("/pipelines/<pipeline>/changes")
def list_changes(pipeline: str) -> Response[str]:
    """Give a page of what changed for those who run a pipeline, newest first."""
    _authenticate()
    name = _named("pipeline", pipeline)
    found = wiring.discovery().changes(name, limit=_limit(), cursor=query_text(app.current_event)["cursor"])
    return json_response(page([history_view(name, entry) for entry in found.items], found.cursor))


@app.get("/snapshots/<snapshot>")
def get_snapshot(snapshot: str) -> Response[str]:
    """Give a snapshot, with all that there is to it."""
    _authenticate()
    return json_response(snapshot_details(wiring.discovery().snapshot(_named("snapshot", snapshot))))


@app.get("/health")
def health() -> Response[str]:
    """Tell that the API answers."""
    return json_response({"status": "ok"})


@app.get("/openapi.json")
def get_openapi() -> Response[str]:
    """Give the OpenAPI document."""
    return Response(status_code=HTTPStatus.OK.value, content_type="application/json", body=openapi.document())


@app.get("/docs")
def get_docs() -> Response[str]:
    """Give the page that shows the OpenAPI document."""
    return Response(status_code=HTTPStatus.OK.value, content_type="text/html", body=openapi.page())


@app.not_found
def no_such_route(_: Exception) -> Response[str]:
    """Say whether a path does not exist or exists for other methods."""
    event = app.current_event
    allowed = allowed_methods(event.path)
    # A method that the path takes and that found no route: a name in the path that nothing can have.
    if not allowed or event.http_method in allowed:
        nothing = NotFoundError(f"There is nothing at {event.path[:200]}. GET /docs shows what there is.")
        return problem(nothing, event)
    return problem(
        MethodNotAllowedError(f"{event.http_method} is not for this path; it takes {', '.join(allowed)}.", allowed),
        event,
    )


def _named(parameter: str, in_route: str) -> str:
    return path_parameter(app.current_event, parameter, in_route)


def _limit() -> int:
    return query_number(app.current_event, "limit", 20, least=1, most=100)


def _authenticate() -> None:
    authenticate(app.current_event, wiring.key_store(wiring.status_settings().keys_table), "read")


def _run(run_id: str) -> RunRecord:
    record = wiring.run_store(wiring.status_settings().runs_table).get(run_id)
    if record is None:
        raise NotFoundError(f"There is no run {run_id[:100]}. GET /runs lists them.")
    return record


def _status(text: str | None) -> RunStatus | None:
    if text is None:
        return None
    if text not in set(RunStatus):
        raise InvalidRequestError([Problem("/status", f"A run's status is one of {', '.join(RunStatus)}.")])
    return RunStatus(text)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an HTTP request."""
    return app.resolve(event, context)
