"""HTTP, the read side: runs, logs, pipelines, the API itself; and every path that nobody else has."""

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
    problem,
    query_number,
    query_text,
)
from zentrigger.observability import logger
from zentrigger.runs import RunRecord, RunStatus
from zentrigger.views import page, pipeline_details, pipeline_summary, run_details, run_summary

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
    """Give what a run's task printed."""
    _authenticate()
    limit = query_number(app.current_event, "limit", 500, least=1, most=1000)
    cursor = query_text(app.current_event)["cursor"]
    run = _run(run_id).run
    if run.task_arn is None:
        return json_response(page([], cursor))
    read = wiring.log_reader(wiring.status_settings().task_log_group).read(run.task_arn, cursor=cursor, limit=limit)
    lines = [{"at": moment.isoformat(), "line": line} for moment, line in read.lines]
    return json_response(page(lines, read.cursor))


@app.get("/runs")
def list_runs() -> Response[str]:
    """Give a page of runs, newest first."""
    _authenticate()
    limit = query_number(app.current_event, "limit", 20, least=1, most=100)
    asked = query_text(app.current_event, "pipeline", "status", "trigger", "tag")
    found = wiring.run_store(wiring.status_settings().runs_table).page(
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
    """Give all pipelines."""
    _authenticate()
    catalogue = wiring.catalogue_store(wiring.status_settings().catalogue_table)
    return json_response(page([pipeline_summary(pipeline) for pipeline in catalogue.pipelines()], None))


@app.get("/pipelines/<pipeline>")
def get_pipeline(pipeline: str) -> Response[str]:
    """Give a pipeline, with what a caller needs to run it."""
    _authenticate()
    name = (app.current_event.path_parameters or {}).get("pipeline", pipeline)
    found = wiring.catalogue_store(wiring.status_settings().catalogue_table).pipeline(name)
    if found is None:
        raise NotFoundError(f"No pipeline {name!r} is published. GET /pipelines lists those that are.")
    return json_response(pipeline_details(found))


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
