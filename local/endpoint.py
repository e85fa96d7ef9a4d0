"""The AWS endpoint: every API of every service on one port.

What concerns tasks and task definitions goes to the ECS model, PutEvents to the event bus, Invoke to the functions;
everything else is moto's. Signatures are not checked: the server listens on 127.0.0.1 only. Faults of DynamoDB and of
PutEvents befall the stack's functions and tasks, not operators; those of ECS befall whoever calls it. A function's
process may be killed at any call that it makes.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from urllib.parse import parse_qs, quote, unquote

from local.access import is_of_role
from local.api_faults import NoAnswerError, with_faults
from local.change_signal import ChangeSignal
from local.http_server import HttpServer, Request, Response
from local.moto_backend import ACCOUNT_ID, MotoBackend, error_response
from local.s3_events import Creation, Sequencer, creation_of, object_created_detail, succeeded
from local.scheduler_requests import route_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.access import AccessControl
    from local.faults import Faults
    from local.function_kills import FunctionKills
    from local.scheduler import Scheduler
    from local.workers import Answer

_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/([^/,\s]+)/([^/,\s]+)/aws4_request")
_INVOKE = re.compile(r"^/2015-03-31/functions/([^/]+)/invocations/?$")
_TABLE_WRITES = frozenset({
    "BatchExecuteStatement", "BatchWriteItem", "DeleteItem", "ExecuteStatement", "ExecuteTransaction", "PutItem",
    "TransactWriteItems", "UpdateItem",
})  # fmt: skip
_FAULTY_SERVICES = frozenset({"dynamodb", "events", "scheduler"})
_MAX_SYNCHRONOUS_BYTES = 6 * 1024 * 1024
_MAX_ASYNCHRONOUS_BYTES = 1024 * 1024
_MAX_ENTRIES = 10
_MAX_ENTRIES_BYTES = 1024 * 1024

Event = dict[str, Any]


class TaskApi(Protocol):
    """A part of the ECS model, and its actions."""

    ACTIONS: ClassVar[frozenset[str]]

    def handle(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one action."""


class FunctionApi(Protocol):
    """What the endpoint needs of the functions."""

    def invoke(self, name: str, payload: bytes) -> Answer:
        """Invoke and wait; raises KeyError for an unknown function."""

    def invoke_later(self, name: str, payload: bytes) -> None:
        """Put into the function's asynchronous queue; raises KeyError for an unknown function."""


class AwsEndpoint:
    """One HTTP server for all services. What is not connected yet (`tasks`, `functions` …) is moto's."""

    def __init__(self, backend: MotoBackend, *, port: int) -> None:
        self.table_changes = ChangeSignal()
        self.queue_changes = ChangeSignal()
        self.tasks: TaskApi | None = None
        self.task_definitions: TaskApi | None = None
        self.functions: FunctionApi | None = None
        self.scheduler: Scheduler | None = None
        self.publish: Callable[[Event], None] | None = None
        self.access: AccessControl | None = None
        self.faults: Faults | None = None
        self.kills: FunctionKills | None = None
        self.event_buckets: frozenset[str] = frozenset()
        self._backend = backend
        self._sequencer = Sequencer()
        self._server = HttpServer(self.answer, port=port, name="aws-endpoint")

    @property
    def url(self) -> str:
        """The URL for AWS_ENDPOINT_URL."""
        return self._server.url

    def start(self) -> None:
        """Serve from now on."""
        self._server.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def answer(self, request: Request) -> Response:
        """Answer one AWS request, if its caller may make it."""
        try:
            if self.kills is None:
                return self._answer_allowed(request)
            trace_id = request.header("X-Amzn-Trace-Id")
            return self.kills.answer(trace_id, _action(request), lambda: self._answer_allowed(request))
        except NoAnswerError:
            return Response(0, lost=True)

    def _answer_allowed(self, request: Request) -> Response:
        service = _service(request)
        if self.access is None:
            return self._answer(service, request)
        return self.access.guard(service, request, self._answer_with_faults)

    def _answer_with_faults(self, service: str, request: Request) -> Response:
        action = _action(request)
        if service not in _FAULTY_SERVICES or not is_of_role(request):
            return self._answer(service, request)
        answered = with_faults(
            self.faults, service, action, lambda: json.loads(request.body), lambda: self._answer(service, request)
        )
        return answered if isinstance(answered, Response) else _json(answered.status, answered.body)

    def _answer(self, service: str, request: Request) -> Response:
        action = _action(request)
        model = self._ecs_model(action) if service == "ecs" else None
        if model is not None:
            return self._run_task_api(model, action, request)
        if service == "scheduler" and self.scheduler is not None:
            return self.scheduler.answer(request)
        if service == "events" and action == "PutEvents" and self.publish is not None:
            return self._put_events(self.publish, request)
        invoked = _INVOKE.match(request.path)
        if service == "lambda" and invoked is not None and self.functions is not None:
            return self._invoke(self.functions, _function_name(unquote(invoked[1])), request)
        if service == "sqs" and action == "ReceiveMessage":
            return self._receive(request)
        return self._s3(request) if service == "s3" else self._noticed(service, action, request)

    def _noticed(self, service: str, action: str, request: Request) -> Response:
        """Have moto answer, and tell those who wait for a change of a table or a queue."""
        response = self._backend.answer(request)
        if response.status == HTTPStatus.OK:
            if service == "dynamodb" and action in _TABLE_WRITES:
                self.table_changes.notify()
            elif service == "sqs" and not action.startswith(("Delete", "Get", "List")):
                self.queue_changes.notify()
        return response

    def _ecs_model(self, action: str) -> TaskApi | None:
        models = (self.tasks, self.task_definitions)
        return next((model for model in models if model is not None and action in model.ACTIONS), None)

    def _run_task_api(self, tasks: TaskApi, action: str, request: Request) -> Response:
        try:
            body = json.loads(request.body or b"{}")
        except ValueError:
            return error_response(HTTPStatus.BAD_REQUEST, "SerializationException", "The body is no JSON.")
        return _json(*tasks.handle(action, body))

    def _put_events(self, publish: Callable[[Event], None], request: Request) -> Response:
        entries = json.loads(request.body).get("Entries", [])
        if not 1 <= len(entries) <= _MAX_ENTRIES:
            return error_response(
                HTTPStatus.BAD_REQUEST,
                "ValidationException",
                f"1 validation error detected: Value at 'entries' must have from 1 to {_MAX_ENTRIES} members",
            )
        if len(request.body) > _MAX_ENTRIES_BYTES:
            return error_response(
                HTTPStatus.BAD_REQUEST,
                "ValidationException",
                "Total size of the entries in the request is over the limit.",
            )
        results: list[dict[str, str]] = []
        for entry in entries:
            refusal = _refusal(entry)
            if refusal is not None:
                results.append(refusal)
                continue
            event = _bus_event(entry, self._backend.region)
            publish(event)
            results.append({"EventId": str(event["id"])})
        answer = {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}
        return Response(200, [("Content-Type", "application/x-amz-json-1.1")], json.dumps(answer).encode())

    def _invoke(self, functions: FunctionApi, name: str, request: Request) -> Response:
        kind = request.header("X-Amz-Invocation-Type") or "RequestResponse"
        limit = _MAX_ASYNCHRONOUS_BYTES if kind == "Event" else _MAX_SYNCHRONOUS_BYTES
        if len(request.body) > limit:
            return error_response(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "RequestTooLargeException",
                f"Request must be smaller than {limit} bytes for the {kind} invocation type",
            )
        payload = request.body or b"{}"
        try:
            json.loads(payload)
        except ValueError:
            return error_response(
                HTTPStatus.BAD_REQUEST, "InvalidRequestContentException", "Could not parse request body into json."
            )
        try:
            if kind == "DryRun":
                return Response(HTTPStatus.NO_CONTENT)
            if kind == "Event":
                functions.invoke_later(name, payload)
                return Response(HTTPStatus.ACCEPTED)
            answer = functions.invoke(name, payload)
        except KeyError:
            arn = f"arn:aws:lambda:{self._backend.region}:{ACCOUNT_ID}:function:{name}"
            return error_response(HTTPStatus.NOT_FOUND, "ResourceNotFoundException", f"Function not found: {arn}")
        headers = [("Content-Type", "application/json"), ("X-Amz-Executed-Version", "$LATEST")]
        if answer.error is not None:
            headers.append(("X-Amz-Function-Error", answer.error))
        return Response(200, headers, answer.payload)

    def _receive(self, request: Request) -> Response:
        """Long polling outside moto, which would sleep with the lock in its hand."""
        body = json.loads(request.body)
        wait = body.get("WaitTimeSeconds")
        if wait is None:
            wait = self._queue_wait(request, body)
        deadline = time.monotonic() + float(wait)
        body["WaitTimeSeconds"] = 0
        headers = tuple((name, value) for name, value in request.headers if name.lower() != "content-length")
        at_once = Request(request.method, request.target, headers, json.dumps(body).encode(), request.client)
        while True:
            seen = self.queue_changes.count
            response = self._backend.answer(at_once)
            remaining = deadline - time.monotonic()
            if response.status != HTTPStatus.OK or b'"Messages"' in response.body or remaining <= 0:
                return response
            # A message whose visibility time-out ends makes no signal, so look again each second.
            self.queue_changes.wait(seen, min(remaining, 1.0))

    def _queue_wait(self, request: Request, body: dict[str, Any]) -> float:
        """Return the queue's own ReceiveMessageWaitTimeSeconds."""
        headers = tuple(
            (name, "AmazonSQS.GetQueueAttributes" if name.lower() == "x-amz-target" else value)
            for name, value in request.headers
            if name.lower() != "content-length"
        )
        asked = {"QueueUrl": body.get("QueueUrl"), "AttributeNames": ["ReceiveMessageWaitTimeSeconds"]}
        response = self._backend.answer(Request("POST", "/", headers, json.dumps(asked).encode(), request.client))
        if response.status != HTTPStatus.OK:
            return 0.0
        attributes = json.loads(response.body).get("Attributes", {})
        return float(attributes.get("ReceiveMessageWaitTimeSeconds", 0))

    def _s3(self, request: Request) -> Response:
        creation = creation_of(request) if self.publish is not None else None
        if creation is None or creation.bucket not in self.event_buckets:
            return self._backend.answer(request)
        with self._backend.lock:
            response = self._backend.answer(request)
            event = self._object_created(creation, request, response) if succeeded(response) else None
        if event is not None and self.publish is not None:
            self.publish(event)
        return response

    def _object_created(self, creation: Creation, request: Request, response: Response) -> Event:
        headers = tuple((n, v) for n, v in request.headers if n.lower() in {"host", "authorization"})
        target = f"/{quote(creation.bucket)}/{quote(creation.key)}"
        head = self._backend.answer(Request("HEAD", target, headers, b"", request.client))
        answered = {name.lower(): value for name, value in response.headers}
        detail = object_created_detail(
            creation,
            head={name.lower(): value for name, value in head.headers},
            sequencer=self._sequencer.next(),
            request_id=answered.get("x-amz-request-id", uuid.uuid4().hex[:16].upper()),
            requester=ACCOUNT_ID,
            source_address=request.client,
        )
        return {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "resources": [f"arn:aws:s3:::{creation.bucket}"],
            "detail": detail,
        }


def _json(status: int, body: dict[str, Any]) -> Response:
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", str(uuid.uuid4()))]
    return Response(status, headers, json.dumps(body).encode())


def _action(request: Request) -> str:
    """Return the action, where the protocol names it in a header, as all JSON protocols do, or its path is known."""
    route = route_of(request) if _service(request) == "scheduler" else None
    return route.operation if route is not None else (request.header("X-Amz-Target") or "").rpartition(".")[2]


def _service(request: Request) -> str:
    """Return the service that the request is signed for; an unsigned one is S3's, as AWS's own public reads are."""
    signed = _SCOPE.search(request.header("Authorization") or "")
    if signed is None:
        credential = parse_qs(request.query).get("X-Amz-Credential", [""])[0]
        signed = _SCOPE.search(f"Credential={credential}")
    if signed is not None:
        return {"eventbridge": "events"}.get(signed[2], signed[2])
    return "" if request.header("X-Amz-Target") else "s3"


def _function_name(identifier: str) -> str:
    """Return the name; a function may be given as name, name:qualifier, partial ARN or ARN."""
    parts = identifier.split(":")
    if "function" in parts:
        return parts[parts.index("function") + 1]
    return parts[0]


def _refusal(entry: dict[str, Any]) -> dict[str, str] | None:
    """Return what PutEvents says of an entry that it does not take."""
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            message = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": message}
    if str(entry["Source"]).startswith("aws."):
        message = "Not authorized for the source."
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": message}
    try:
        detail = json.loads(entry["Detail"])
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    bus = str(entry.get("EventBusName", "default"))
    if bus.rpartition("/")[2] != "default":
        return {"ErrorCode": "InvalidArgument", "ErrorMessage": f"Event bus {bus} does not exist."}
    return None


def _bus_event(entry: dict[str, Any], region: str) -> Event:
    moment = float(entry.get("Time") or time.time())
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT_ID,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)),
        "region": region,
        "resources": list(entry.get("Resources", [])),
        "detail": json.loads(entry["Detail"]),
    }
