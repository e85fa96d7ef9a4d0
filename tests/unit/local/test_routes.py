"""The choice among routes, and the payloads of an HTTP API."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from local.http_payload import Arrival, MalformedAnswerError, event_of, response_of
from local.http_server import Request
from local.routes import Route, Router

ROUTES = [
    ("ANY", "$default"),
    ("GET", "/runs"),
    ("GET", "/runs/{id}"),
    ("GET", "/runs/latest"),
    ("ANY", "/runs/{id}"),
    ("GET", "/runs/{id}/logs"),
    ("ANY", "/files/{path+}"),
    ("GET", "/files/{one}"),
]


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/runs", "GET /runs", {}),
        ("GET", "/runs/latest", "GET /runs/latest", {}),
        ("GET", "/runs/7", "GET /runs/{id}", {"id": "7"}),
        ("GET", "/runs/a%20b", "GET /runs/{id}", {"id": "a b"}),
        ("DELETE", "/runs/latest", "ANY /runs/{id}", {"id": "latest"}),
        ("GET", "/runs/7/logs", "GET /runs/{id}/logs", {"id": "7"}),
        ("POST", "/runs", "$default", {}),
        ("GET", "/runs/", "$default", {}),
        ("HEAD", "/runs", "$default", {}),
        ("GET", "/Runs", "$default", {}),
        ("GET", "/", "$default", {}),
        ("GET", "/files/a", "GET /files/{one}", {"one": "a"}),
        ("GET", "/files/a/b%20c", "ANY /files/{path+}", {"path": "a/b c"}),
        ("GET", "/files", "$default", {}),
    ],
)
def test_choose(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    """The most specific route wins."""
    chosen = Router([Route(*route, function_arn="f") for route in ROUTES]).choose(method, path)
    assert chosen is not None
    assert (chosen[0].key, chosen[1]) == (key, parameters)


def test_without_a_default_nothing_is_chosen() -> None:
    """The gateway answers that itself."""
    assert Router([Route("GET", "/a", "f")]).choose("GET", "/b") is None


def _event(request: Request, **parameters: str) -> dict[str, Any]:
    arrival = Arrival(
        "id=", "GET /a", parameters, datetime(2026, 3, 12, 19, 3, 58, tzinfo=UTC), "$default", "api", "1", 80
    )
    return event_of(request, arrival)


def test_the_event_of_a_bare_request() -> None:
    """Members that have nothing to say are absent; times are AWS's."""
    event = _event(Request("GET", "/a%20b", [("Host", "api.example.com"), ("Connection", "close")], b"", "127.0.0.1"))
    assert set(event) == {
        "version", "routeKey", "rawPath", "rawQueryString", "headers", "requestContext", "isBase64Encoded",
    }  # fmt: skip
    assert event["rawPath"] == "/a b"
    assert event["requestContext"]["time"] == "12/Mar/2026:19:03:58 +0000"
    assert event["requestContext"]["timeEpoch"] == 1773342238000
    assert event["requestContext"]["domainPrefix"] == "api"
    assert "connection" not in event["headers"]


def test_headers_and_queries_are_joined() -> None:
    """Several of one name become one, with commas; names of headers are in lower case."""
    headers = [("Host", "h"), ("X-A", "1"), ("x-a", "2"), ("Cookie", "a=1"), ("Cookie", "b=2; c=3")]
    event = _event(Request("GET", "/?a=1&a=&b=%2C", headers, b"", "127.0.0.1"), id="x")
    assert event["headers"]["x-a"] == "1,2"
    assert event["cookies"] == ["a=1", "b=2", "c=3"]
    assert event["queryStringParameters"] == {"a": "1,", "b": ","}
    assert event["pathParameters"] == {"id": "x"}


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        ("application/json; charset=utf-8", b"{}", False),
        ("text/csv", "ä".encode(), False),
        ("application/xml", b"<a/>", False),
        ("application/json", b"\xff", True),
        ("application/x-www-form-urlencoded", b"a=1", True),
        ("application/problem+json", b"{}", True),
        ("", b"{}", True),
    ],
)
def test_bodies(content_type: str, body: bytes, encoded: bool) -> None:
    """Text stays text, everything else is base64; without a type it is not text."""
    headers = [("Content-Type", content_type)] if content_type else []
    event = _event(Request("POST", "/", headers, body, "127.0.0.1"))
    assert event["isBase64Encoded"] is encoded
    assert (base64.b64decode(event["body"]) if encoded else event["body"].encode()) == body


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ({"statusCode": 404, "body": "no"}, 404, b"no"),
        ({"statusCode": "201"}, 201, b""),
        ({"a": 1}, 200, b'{"a": 1}'),
        ("Hello", 200, b"Hello"),
        ([1], 200, b"[1]"),
        (None, 200, b"null"),
    ],
)
def test_answers(answer: Any, status: int, body: bytes) -> None:
    """With a statusCode they are taken as they are, without one they are the body."""
    response = response_of(json.dumps(answer).encode())
    assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    "answer",
    [
        {"statusCode": "soon"},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 200, "body": {}},
        {"statusCode": 200, "headers": []},
        {"statusCode": 200, "headers": {"a": None}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "body": "?", "isBase64Encoded": True},
    ],
)
def test_malformed_answers(answer: Any) -> None:
    """What the gateway would answer with Internal Server Error."""
    with pytest.raises(MalformedAnswerError):
        response_of(json.dumps(answer).encode())
