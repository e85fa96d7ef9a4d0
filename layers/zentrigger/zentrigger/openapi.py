"""The OpenAPI document and its page, made from `api.OPERATIONS` and the models of the bodies."""

from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from aws_lambda_powertools.event_handler.openapi.swagger_ui import generate_swagger_html
from pydantic.json_schema import models_json_schema

from zentrigger.api import OPERATIONS, Operation
from zentrigger.run_requests import canonical
from zentrigger.runs import RunStatus

Json = dict[str, Any]

_REF = "#/components/schemas/{model}"


@cache
def document() -> str:
    """Give the document, as JSON."""
    bodies = sorted({operation.body for operation in OPERATIONS if operation.body}, key=lambda model: model.__name__)
    _, schemas = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return canonical(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Zentrigger",
                "version": "1",
                "description": "Run ZenML pipelines from anything. Errors are problems as in RFC 9457.",
            },
            "paths": paths,
            "components": {
                "schemas": {**schemas.get("$defs", {}), "Problem": _PROBLEM, "Run": _RUN, "Snapshot": _SNAPSHOT},
                "securitySchemes": {
                    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                    "bearer": {"type": "http", "scheme": "bearer"},
                },
            },
        }
    )


@cache
def page() -> str:
    """Give the page that shows the document and lets people try it; it loads nothing from elsewhere."""
    assets = files("aws_lambda_powertools.event_handler.openapi.swagger_ui")
    return generate_swagger_html(
        spec=document(),
        swagger_js=assets.joinpath("swagger-ui-bundle.min.js").read_text("utf-8"),
        swagger_css=assets.joinpath("swagger-ui.min.css").read_text("utf-8"),
        swagger_base_url="",
        oauth2_config=None,
    )


def _operation(operation: Operation) -> Json:
    shown: Json = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}{_camel(operation.path)}",
        "tags": [operation.path.split("/")[1]],
        "parameters": [
            *(_path_parameter(name) for name in operation.path_parameters),
            *_optional(operation.query, "query"),
            *_optional(operation.headers, "header"),
        ],
        "responses": {
            str(operation.answer): _answer(operation, operation.answer, operation.answers),
            **{str(status): _answer(operation, status, HTTPStatus(status).phrase) for status in operation.errors},
        },
    }
    if operation.scope:
        shown["description"] = f"Needs an API key with the scope `{operation.scope}`."
        shown["security"] = [{"key": []}, {"bearer": []}]
    if operation.body:
        schema = {"$ref": _REF.format(model=operation.body.__name__)}
        example = {"example": operation.example} if operation.example else {}
        shown["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema, **example}}}
    return shown


def _path_parameter(name: str) -> Json:
    shown: Json = {"name": name, "in": "path", "required": True, "schema": _TEXT}
    return shown | ({"example": _PATH_EXAMPLES[name]} if name in _PATH_EXAMPLES else {})


def _answer(operation: Operation, status: int, description: str) -> Json:
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return {"description": description}
    if status >= HTTPStatus.BAD_REQUEST:
        return {"description": description, "content": {"application/problem+json": {"schema": _reference("Problem")}}}
    model = _MODELS.get((operation.path, status))
    schema = _reference(model) if model else {}
    return {"description": description, "content": {operation.answer_type: {"schema": schema}}}


def _reference(model: str) -> Json:
    return {"$ref": _REF.format(model=model)}


def _optional(names: dict[str, str], place: str) -> list[Json]:
    return [
        {"name": name, "in": place, "required": False, "description": text, "schema": _TEXT}
        for name, text in names.items()
    ]


def _camel(path: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in path).split()
    return "".join(word.capitalize() for word in words)


_TEXT: Json = {"type": "string"}
_OPTIONAL_TEXT: Json = {"type": ["string", "null"]}
_OPTIONAL_TIME: Json = {"type": ["string", "null"], "format": "date-time"}

_PATH_EXAMPLES = {"pipeline": "training_pipeline", "snapshot": "training_pipeline:1"}

_MODELS = {
    ("/runs", 202): "Run",
    ("/runs/{run_id}", 200): "Run",
    ("/runs/{run_id}", 202): "Run",
    ("/runs/{run_id}/retry", 202): "Run",
    ("/trigger", 202): "Run",
    ("/snapshots/{snapshot}/runs", 202): "Run",
    ("/snapshots", 200): "Snapshot",
    ("/snapshots", 201): "Snapshot",
    ("/snapshots/{snapshot}", 200): "Snapshot",
}
"""Path and status -> what the answer is one of."""

_PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": _TEXT,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": _TEXT, "detail": _TEXT},
            },
        },
    },
}

_STEP: Json = {
    "type": "object",
    "properties": {"name": _TEXT, "status": _TEXT, "started_at": _OPTIONAL_TIME, "finished_at": _OPTIONAL_TIME},
}

_RUN: Json = {
    "type": "object",
    "required": ["run_id", "pipeline", "snapshot", "status", "attempt", "accepted_at", "source", "links"],
    "properties": {
        "run_id": {"type": "string", "format": "uuid"},
        "pipeline": _TEXT,
        "snapshot": _TEXT,
        "status": {"type": "string", "enum": [status.value for status in RunStatus]},
        "reason": {**_OPTIONAL_TEXT, "description": "A stable code, where there is something to say."},
        "message": {**_OPTIONAL_TEXT, "description": "A sentence for a person, that says what to do."},
        "attempt": {"type": "integer"},
        "trigger": _OPTIONAL_TEXT,
        "source": {"type": "object"},
        "tags": {"type": "array", "items": _TEXT},
        "accepted_at": {"type": "string", "format": "date-time"},
        "started_at": _OPTIONAL_TIME,
        "ended_at": _OPTIONAL_TIME,
        "cancel_requested_at": _OPTIONAL_TIME,
        "task_arn": _OPTIONAL_TEXT,
        "retry_of": {**_OPTIONAL_TEXT, "description": "The run that this one repeats."},
        "retried_by": {**_OPTIONAL_TEXT, "description": "The newest run that repeats this one."},
        "resources": {"type": ["object", "null"], "description": "Size of its task, where it is not the stack's own."},
        "timeout_seconds": {"type": ["integer", "null"]},
        "image": _TEXT,
        "parameters": {"type": "object", "description": "The pipeline's, with defaults filled in."},
        "steps": {"type": "object"},
        "progress": {
            "type": "object",
            "properties": {"heartbeat_at": _OPTIONAL_TIME, "steps": {"type": "array", "items": _STEP}},
        },
        "outputs": {"type": "array", "items": {"type": "object"}},
        "error": {"type": ["object", "null"]},
        "zenml_run_id": _OPTIONAL_TEXT,
        "dashboard_url": _OPTIONAL_TEXT,
        "links": {"type": "object"},
    },
}

_SNAPSHOT: Json = {
    "type": "object",
    "required": ["id", "pipeline", "number", "image", "published_at", "links"],
    "properties": {
        "id": {**_TEXT, "description": "Pipeline and number."},
        "pipeline": _TEXT,
        "number": {"type": "integer"},
        "newest": {"type": "boolean", "description": "Whether a run that chooses no snapshot gets this one."},
        "name": _OPTIONAL_TEXT,
        "description": _TEXT,
        "tags": {"type": "array", "items": _TEXT},
        "source": {**_OPTIONAL_TEXT, "description": "module:attribute"},
        "zenml_snapshot": {**_OPTIONAL_TEXT, "description": "The stored snapshot that is executed instead."},
        "zenml_version": _TEXT,
        "image": _TEXT,
        "git": {"type": ["object", "null"]},
        "task_definition": _TEXT,
        "published_at": {"type": "string", "format": "date-time"},
        "published_by": _TEXT,
        "parameters_schema": {"type": "object", "description": "JSON Schema of the pipeline's parameters."},
        "steps": {"type": "object", "description": "Steps, with what they run after and what of them may be set."},
        "configuration": {"type": "object"},
        "secrets": {"type": "object", "description": "Variable -> ARN. Values are never shown."},
        "resources": {"type": ["object", "null"]},
        "timeout_seconds": {"type": ["integer", "null"]},
        "example": {"type": "object", "description": "A request that fits, and the curl line for it."},
        "runs": {"type": "object", "description": "The last run, and the success rate of the last 100."},
        "created": {"type": "boolean"},
        "changes": {"type": "array", "items": {"type": "object"}},
        "breaks": {"type": "object", "description": "Triggers and names that a breaking change concerns."},
        "links": {"type": "object"},
    },
}
