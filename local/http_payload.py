"""Requests as functions get them from an HTTP API, and what their answers become: payload format 2.0.

Rules: Amazon API Gateway Developer Guide, "Working with AWS Lambda proxy integrations for HTTP APIs". Where the guide
is silent, observed behaviour: rawPath is decoded, and a body is text only for text/*, JSON, XML and JavaScript.
"""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from local.http_server import Request, Response

if TYPE_CHECKING:
    from datetime import datetime

_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/javascript"})
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "expect", "upgrade", "proxy-connection", "te"}
)


class MalformedAnswerError(ValueError):
    """The function's answer is no answer of payload format 2.0: the gateway says Internal Server Error."""


@dataclass(frozen=True)
class Arrival:
    """What the gateway itself knows of a request."""

    request_id: str
    route_key: str
    path_parameters: Mapping[str, str]
    at: datetime
    stage: str
    api_id: str
    account_id: str
    port: int


def event_of(request: Request, arrival: Arrival) -> dict[str, Any]:
    """Build the event."""
    headers, cookies = _headers(request, arrival.port)
    path = unquote(request.path).partition("?")[0]
    domain = headers.get("host", "")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": arrival.route_key,
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": arrival.account_id,
            "apiId": arrival.api_id,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.protocol,
                "sourceIp": request.client,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": arrival.request_id,
            "routeKey": arrival.route_key,
            "stage": arrival.stage,
            "time": arrival.at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(arrival.at.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if request.query:
        event["queryStringParameters"] = _query(request.query)
    if arrival.path_parameters:
        event["pathParameters"] = dict(arrival.path_parameters)
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(request.body, headers.get("content-type", ""))
    return event


def response_of(payload: bytes) -> Response:
    """Turn a function's answer into an HTTP response; raises MalformedAnswerError."""
    try:
        answer = json.loads(payload or b"null")
    except ValueError as error:
        raise MalformedAnswerError("The answer is no JSON.") from error
    if not isinstance(answer, dict) or "statusCode" not in answer:
        # "API Gateway can infer the response format": JSON with status 200.
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return Response(200, [("content-type", "application/json")], text.encode())
    status = answer["statusCode"]
    if isinstance(status, str) and status.isdigit():
        status = int(status)
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 599:  # noqa: PLR2004 - HTTP's range
        raise MalformedAnswerError("statusCode is no HTTP status.")
    headers = _answer_headers(answer.get("headers"), answer.get("cookies"))
    body = _answer_body(answer.get("body"), encoded=answer.get("isBase64Encoded", False) is True)
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain;charset=UTF-8"))
    return Response(status, headers, body)


def _answer_headers(given: Any, cookies: Any) -> list[tuple[str, str]]:
    if given is not None and not isinstance(given, Mapping):
        raise MalformedAnswerError("headers is no object.")
    headers: list[tuple[str, str]] = []
    for name, value in (given or {}).items():
        if not isinstance(value, str | int | float):
            raise MalformedAnswerError(f"The header {name} is no text.")
        if name.lower() not in _HOP_BY_HOP | {"content-length"}:
            headers.append((str(name), str(value).lower() if isinstance(value, bool) else str(value)))
    if cookies is not None and not (isinstance(cookies, list) and all(isinstance(cookie, str) for cookie in cookies)):
        raise MalformedAnswerError("cookies is no list of texts.")
    return headers + [("set-cookie", cookie) for cookie in cookies or []]


def _answer_body(body: Any, *, encoded: bool) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedAnswerError("body is no text.")
    if not encoded:
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise MalformedAnswerError("body is no base64.") from error


def _headers(request: Request, port: int) -> tuple[dict[str, str], list[str]]:
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, raw in request.headers:
        # White space around a value is no part of it (RFC 9110, section 5.5).
        lower, value = name.lower(), raw.strip()
        if lower == "cookie":
            cookies += [cookie.strip() for cookie in value.split(";") if cookie.strip()]
        elif lower not in _HOP_BY_HOP:
            headers[lower] = f"{headers[lower]},{value}" if lower in headers else value
    headers["content-length"] = str(len(request.body))
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {request.client}" if forwarded else request.client
    headers["x-forwarded-port"] = str(port)
    headers["x-forwarded-proto"] = "http"
    return headers, cookies


def _query(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _TEXT_TYPES or kind.startswith("text/"):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass  # no text after all
    return base64.b64encode(body).decode(), True
