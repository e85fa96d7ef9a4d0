"""The HTTP API: an HTTP server that calls functions as API Gateway's HTTP APIs do, limits and own errors included.

Rules: Amazon API Gateway Developer Guide, "Quotas for HTTP APIs": 10 MB of body, 10,240 bytes of request line and
headers, 30 s of integration time; "Throttle requests to your HTTP APIs": a route with settings of its own has a
throttle of its own (here: all others share one). Its own errors are `{"message": …}`.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from local.errors import TemplateError, invalid
from local.functions import FunctionClosedError
from local.http_payload import Arrival, MalformedAnswerError, event_of, response_of
from local.http_server import HttpServer, Request, Response
from local.resources import check_keys
from local.routes import Router, read_routes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.deploy import Resource, Stack
    from local.endpoint import FunctionApi
    from local.function_log import FunctionLog
    from local.workers import Answer

logger = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
_MAX_HEADER_BYTES: Final = 10_240
_MAX_PAYLOAD_BYTES: Final = 6 * 1024 * 1024
_INTEGRATION_SECONDS: Final = 30.0
_THREADS: Final = 64
_CONTEXT = re.compile(r"\$context\.([A-Za-z]+(?:\.[A-Za-z]+)*)")
_CONTEXT_NAMES = frozenset({
    "accountId", "apiId", "authorizer.error", "awsEndpointRequestId", "awsEndpointRequestId2", "dataProcessed",
    "domainName", "domainPrefix", "error.message", "error.messageString", "error.responseType", "extendedRequestId",
    "httpMethod", "identity.accountId", "identity.caller", "identity.sourceIp", "identity.user", "identity.userAgent",
    "identity.userArn", "integration.error", "integration.integrationStatus", "integration.latency",
    "integration.requestId", "integration.status", "integrationErrorMessage", "integrationLatency", "integrationStatus",
    "path", "protocol", "requestId", "requestTime", "requestTimeEpoch", "responseLatency", "responseLength", "routeKey",
    "stage", "status",
})  # fmt: skip


@dataclass(frozen=True)
class Throttle:
    """How many requests are let through: `rate` a second, `burst` at once."""

    rate: float
    burst: int


@dataclass(frozen=True)
class Stage:
    """The one stage of the API: its router, its throttles and its access log's format."""

    name: str
    api_id: str
    router: Router
    throttle: Throttle | None
    throttles: Mapping[str, Throttle]
    """Route key -> the throttle of a route that has one of its own."""
    log_format: str | None


class TokenBucket:
    """API Gateway's throttle: `rate` tokens a second, at most `burst` of them."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = time.monotonic()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a token if there is one."""
        with self._lock:
            now = time.monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


class Gateway:
    """The HTTP server of the stack's API. It answers 503 until `connect` was called."""

    def __init__(self, *, port: int) -> None:
        self._server = HttpServer(self._answer, port=port, name="http-api", max_body_bytes=MAX_BODY_BYTES)
        self._stage: Stage | None = None
        self._functions: FunctionApi | None = None
        self._log: FunctionLog | None = None
        self._account_id = ""
        self._bucket: TokenBucket | None = None
        self._buckets: Mapping[str, TokenBucket] = {}
        self._executor = ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="integration")

    @property
    def url(self) -> str:
        """The API's URL."""
        return self._server.url

    def connect(self, stack: Stack, stage: Stage, functions: FunctionApi, log: FunctionLog) -> None:
        """Route to the functions from now on."""
        self._account_id = stack.account_id
        self._functions = functions
        self._log = log
        if stage.throttle is not None:
            self._bucket = TokenBucket(stage.throttle.rate, stage.throttle.burst)
        self._buckets = {key: TokenBucket(one.rate, one.burst) for key, one in stage.throttles.items()}
        self._stage = stage

    def start(self) -> None:
        """Serve from now on."""
        self._server.start()

    def close(self) -> None:
        """Stop serving; kill the functions' workers before, or this waits for them."""
        self._server.close()
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._log is not None:
            self._log.close()

    def _answer(self, request: Request) -> Response:
        stage, functions = self._stage, self._functions
        if stage is None or functions is None:
            return _message(503, "Service Unavailable")
        started = time.monotonic()
        context: dict[str, Any] = _context(request, stage, self._account_id)
        response = self._limited(request, stage, functions, context)
        context |= {
            "status": response.status,
            "responseLength": len(response.body),
            "responseLatency": int((time.monotonic() - started) * 1000),
        }
        if stage.log_format is not None and self._log is not None:
            self._log.write(_log_line(stage.log_format, context))
            self._log.trim()
        named = {name.lower() for name, _ in response.headers}
        added = [] if "apigw-requestid" in named else [("Apigw-Requestid", str(context["requestId"]))]
        return Response(response.status, [*response.headers, *added], response.body, close=response.close)

    def _limited(self, request: Request, stage: Stage, functions: FunctionApi, context: dict[str, Any]) -> Response:
        if request.too_large:
            return _message(413, "Request Entity Too Large")
        size = len(request.target) + sum(len(name) + len(value) for name, value in request.headers)
        if size > _MAX_HEADER_BYTES:
            return _message(431, "Request Header Fields Too Large")
        chosen = stage.router.choose(request.method, request.path)
        bucket = self._buckets.get(chosen[0].key, self._bucket) if chosen is not None else self._bucket
        if bucket is not None and not bucket.take():
            return _message(429, "Too Many Requests")
        if chosen is None:
            return _message(404, "Not Found")
        route, parameters = chosen
        context["routeKey"] = route.key
        arrival = Arrival(
            request_id=str(context["requestId"]),
            route_key=route.key,
            path_parameters=parameters,
            at=datetime.now(UTC),
            stage=stage.name,
            api_id=stage.api_id,
            account_id=self._account_id,
            port=self._server.port,
        )
        payload = json.dumps(event_of(request, arrival)).encode()
        if len(payload) > _MAX_PAYLOAD_BYTES:  # Lambda takes no more than 6 MB of a synchronous event
            return _message(413, "Request Entity Too Large")
        return self._integrate(functions, route.function_arn, payload, context)

    def _integrate(
        self, functions: FunctionApi, function_arn: str, payload: bytes, context: dict[str, Any]
    ) -> Response:
        started = time.monotonic()
        future = self._executor.submit(functions.invoke, function_arn, payload)
        try:
            answer: Answer = future.result(timeout=_INTEGRATION_SECONDS)
        except FunctionClosedError:
            return _message(503, "Service Unavailable")
        except FutureTimeoutError:
            # The function goes on until its own time-out; nobody reads its answer.
            context["integrationErrorMessage"] = "Network error communicating with endpoint"
            return _message(503, "Service Unavailable")
        finally:
            context["integrationLatency"] = int((time.monotonic() - started) * 1000)
        if answer.error is not None:
            context["integrationErrorMessage"] = _error_text(answer)
            return _message(500, "Internal Server Error")
        try:
            return response_of(answer.payload)
        except MalformedAnswerError as error:
            context["integrationErrorMessage"] = str(error)
            return _message(500, "Internal Server Error")


def read_stage(stack: Stack) -> Stage:
    """Read the stack's one HTTP API and its one stage; raises TemplateError."""
    apis = list(stack.of_kind("AWS::ApiGatewayV2::Api"))
    stages = list(stack.of_kind("AWS::ApiGatewayV2::Stage"))
    if len(apis) != 1 or len(stages) != 1:
        raise TemplateError(f"The embedded AWS serves one HTTP API with one stage, not {len(apis)} and {len(stages)}.")
    api, stage = apis[0], stages[0]
    if stage["StageName"] != "$default":
        raise invalid(stage.logical_id, "the embedded AWS serves the stage $default only.")
    routes = read_routes(stack, api, str(stage["StageName"]))
    own: Mapping[str, Any] = stage.get("RouteSettings", {})
    for key in own:
        if key not in {route.key for route in routes}:
            raise invalid(stage.logical_id, f"RouteSettings: Unable to find Route by key {key}.")
    throttles = {key: _throttle(stage, f"RouteSettings {key}", settings) for key, settings in own.items()}
    return Stage(
        name=str(stage["StageName"]),
        api_id=api.physical_id,
        router=Router(routes),
        throttle=_throttle(stage, "DefaultRouteSettings", stage.get("DefaultRouteSettings", {})),
        throttles={key: throttle for key, throttle in throttles.items() if throttle is not None},
        log_format=_log_format(stack, stage),
    )


def _throttle(stage: Resource, name: str, settings: Mapping[str, Any]) -> Throttle | None:
    known = frozenset({"ThrottlingBurstLimit", "ThrottlingRateLimit", "DetailedMetricsEnabled"})
    check_keys(stage.logical_id, name, settings, known)
    rate, burst = settings.get("ThrottlingRateLimit"), settings.get("ThrottlingBurstLimit")
    return Throttle(float(rate), int(burst)) if rate is not None and burst is not None else None


def _log_format(stack: Stack, stage: Resource) -> str | None:
    settings = stage.get("AccessLogSettings")
    if settings is None:
        return None
    check_keys(stage.logical_id, "AccessLogSettings", settings, frozenset({"DestinationArn", "Format"}))
    text = str(settings.get("Format", ""))
    names = _CONTEXT.findall(text)
    for name in names:
        if name not in _CONTEXT_NAMES:
            raise invalid(stage.logical_id, f"the access log's $context.{name} does not exist.")
    if not {"requestId", "extendedRequestId"} & set(names):
        raise invalid(stage.logical_id, "the format of an access log must have $context.requestId.")
    group = str(settings.get("DestinationArn"))
    if not any(group.removesuffix(":*") == stack.arn(one.logical_id).removesuffix(":*")
               for one in stack.of_kind("AWS::Logs::LogGroup")):  # fmt: skip
        raise invalid(stage.logical_id, f"its access log's group {group} is not of this stack.")
    return text


def _context(request: Request, stage: Stage, account_id: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "accountId": account_id,
        "apiId": stage.api_id,
        "domainName": request.header("Host") or "-",
        "httpMethod": request.method,
        "identity.sourceIp": request.client,
        "identity.userAgent": request.header("User-Agent") or "-",
        "path": request.path,
        "protocol": request.protocol,
        "requestId": base64.b64encode(uuid.uuid4().bytes[:11]).decode(),
        "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(now.timestamp()),
        "stage": stage.name,
    }


def _log_line(text: str, context: Mapping[str, Any]) -> str:
    return _CONTEXT.sub(lambda match: json.dumps(str(context.get(match[1], "-")))[1:-1], text)


def _error_text(answer: Answer) -> str:
    try:
        told = json.loads(answer.payload)
        return f"The function failed: {told.get('errorType')}"
    except (ValueError, AttributeError):
        return "The function failed."


def _message(status: int, text: str) -> Response:
    return Response(status, [("Content-Type", "application/json")], json.dumps({"message": text}).encode())
