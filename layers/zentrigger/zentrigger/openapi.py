"""The OpenAPI document and its page, from `api.OPERATIONS`, the models of the bodies and `answer_schemas`."""

from functools import cache
from http import HTTPStatus
from importlib.resources import files

from aws_lambda_powertools.event_handler.openapi.swagger_ui import generate_swagger_html
from pydantic.json_schema import models_json_schema

from zentrigger.answer_schemas import ANSWERS, TEXT, Json
from zentrigger.api import OPERATIONS, Operation
from zentrigger.run_requests import canonical

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
                "schemas": {**schemas.get("$defs", {}), **ANSWERS},
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
            **{str(status): _answer(operation, status, HTTPStatus(status).phrase) for status in operation.all_errors},
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
    shown: Json = {"name": name, "in": "path", "required": True, "schema": TEXT}
    return shown | ({"example": _PATH_EXAMPLES[name]} if name in _PATH_EXAMPLES else {})


def _answer(operation: Operation, status: int, description: str) -> Json:
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return {"description": description}
    if status >= HTTPStatus.BAD_REQUEST:
        return {"description": description, "content": {"application/problem+json": {"schema": _reference("Problem")}}}
    model = _MODELS.get((operation.method, operation.path, status))
    schema = _reference(model) if model else {}
    return {"description": description, "content": {operation.answer_type: {"schema": schema}}}


def _reference(model: str) -> Json:
    return {"$ref": _REF.format(model=model)}


def _optional(names: dict[str, str], place: str) -> list[Json]:
    return [
        {"name": name, "in": place, "required": False, "description": text, "schema": TEXT}
        for name, text in names.items()
    ]


def _camel(path: str) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in path).split()
    return "".join(word.capitalize() for word in words)


_PATH_EXAMPLES = {"pipeline": "training_pipeline", "snapshot": "training_pipeline:1"}

_MODELS = {
    ("POST", "/runs", 200): "DryRun",
    ("POST", "/runs", 202): "Run",
    ("POST", "/snapshots/{snapshot}/runs", 200): "DryRun",
    ("POST", "/snapshots/{snapshot}/runs", 202): "Run",
    ("POST", "/trigger", 202): "Run",
    ("GET", "/runs/{run_id}", 200): "Run",
    ("DELETE", "/runs/{run_id}", 202): "Run",
    ("POST", "/runs/{run_id}/retry", 202): "Run",
    ("GET", "/pipelines/{pipeline}", 200): "Pipeline",
    ("PATCH", "/pipelines/{pipeline}", 200): "Pipeline",
    ("POST", "/snapshots", 200): "Snapshot",
    ("POST", "/snapshots", 201): "Snapshot",
    ("GET", "/snapshots/{snapshot}", 200): "Snapshot",
    ("PATCH", "/snapshots/{snapshot}", 200): "Snapshot",
    ("PUT", "/triggers", 200): "TriggerChanges",
    ("PUT", "/triggers/{trigger}", 200): "Trigger",
    ("GET", "/triggers/{trigger}", 200): "Trigger",
    ("POST", "/triggers/{trigger}/test", 200): "Trial",
    ("GET", "/triggers/{trigger}/receipts/{receipt_id}", 200): "Receipt",
}
"""Method, path and status -> what the answer is one of."""
