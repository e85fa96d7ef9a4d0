"""How long the ZenML server is waited for, and what its errors are called; without any server."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from zenml.exceptions import CredentialsNotValid

from runner import zenml_server
from runner.zenml_server import BUSY_SECONDS, LOST_SECONDS, PatientAdapter

URL = "https://zenml.example.com"


class Wire:
    """Stands in for the network: answers what it is told, and lets time pass."""

    def __init__(self) -> None:
        self.now = 0.0
        self.takes = 0.0
        self.answers: Iterator[int | Exception] = iter(())
        self.timeouts: list[Any] = []

    def send(self, request: Any, _stream: bool, timeout: Any, *_rest: Any) -> requests.Response:
        """Answer, or raise."""
        self.timeouts.append(timeout)
        self.now += min(self.takes, timeout)
        answer = next(self.answers)
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        response.status_code = answer
        response.request = request
        response.raw = io.BytesIO()
        return response

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Put the wire under requests' own adapter."""
    wire = Wire()
    monkeypatch.setattr(HTTPAdapter, "send", wire.send)
    return wire


@pytest.fixture
def adapter(wire: Wire) -> PatientAdapter:
    """Give an adapter on the wire's clock."""
    return PatientAdapter(clock=lambda: wire.now, sleep=wire.sleep)


def request() -> requests.PreparedRequest:
    """Give a request as ZenML makes one."""
    return requests.Request("POST", f"{URL}/api/v1/runs").prepare()


def forever(answer: int | Exception) -> Iterator[int | Exception]:
    """Answer the same, always."""
    while True:
        yield answer


def test_a_short_absence_is_waited_for(adapter: PatientAdapter, wire: Wire) -> None:
    """Refused, then away behind its load balancer, then back."""
    wire.answers = iter([requests.ConnectionError("Connection refused"), 503, 502, 200])

    assert adapter.send(request(), timeout=30).status_code == 200


@pytest.mark.parametrize(
    ("answer", "takes", "at_least", "at_most"),
    [
        (requests.ConnectionError("Connection refused"), 0.0, 50, LOST_SECONDS),
        (requests.ReadTimeout(), 30.0, 60, LOST_SECONDS + 2),
        (503, 0.0, 50, LOST_SECONDS),
        (429, 0.0, 290, BUSY_SECONDS),
    ],
)
def test_the_wait_ends(  # noqa: PLR0913, PLR0917 - one parameter a column
    adapter: PatientAdapter, wire: Wire, answer: int | Exception, takes: float, at_least: float, at_most: float
) -> None:
    """And a server that says it is busy is waited for longer than one that says nothing."""
    wire.answers, wire.takes = forever(answer), takes

    with pytest.raises(requests.RequestException):
        adapter.send(request(), timeout=30)

    assert at_least <= wire.now <= at_most


def test_who_has_given_up_waits_no_more(adapter: PatientAdapter, wire: Wire) -> None:
    """ZenML makes several calls to end a run: each gets one short try, until one is answered."""
    wire.answers, wire.takes = forever(requests.ReadTimeout()), 30.0
    with pytest.raises(requests.ReadTimeout):
        adapter.send(request(), timeout=30)
    began = wire.now

    for _ in range(3):
        with pytest.raises(requests.ReadTimeout):
            adapter.send(request(), timeout=30)

    assert wire.now - began == pytest.approx(15)
    wire.answers, wire.takes = iter([200, requests.ReadTimeout(), 200]), 0.0
    assert adapter.send(request(), timeout=30).ok
    assert adapter.send(request(), timeout=30).ok
    assert wire.timeouts[-1] == 30


def test_a_certificate_that_is_not_trusted_is_not_waited_for(adapter: PatientAdapter, wire: Wire) -> None:
    """It will not be in a minute either."""
    wire.answers = forever(requests.exceptions.SSLError("CERTIFICATE_VERIFY_FAILED"))

    with pytest.raises(requests.exceptions.SSLError):
        adapter.send(request(), timeout=30)

    assert wire.now == 0


def wrapped(cause: Exception) -> Exception:
    """Give an error as ZenML wraps it."""
    error = RuntimeError(f"Error connecting to URL '{URL}'")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (wrapped(requests.ConnectionError("[Errno 111] Connection refused")), "zenml_unreachable", "refused"),
        (requests.ConnectionError("Failed to resolve 'x'"), "zenml_unreachable", "cannot be resolved"),
        (requests.ConnectTimeout(), "zenml_unreachable", "no connection in time"),
        (requests.exceptions.RetryError("HTTP 503"), "zenml_unreachable", "HTTP 503"),
        (wrapped(requests.ReadTimeout()), "zenml_not_answering", "does not answer"),
        (CredentialsNotValid("no"), "zenml_key_refused", "ZenmlApiKeySecretArn"),
        (ValueError("strange"), "zenml_unreachable", "ValueError"),
    ],
)
def test_each_fault_has_its_name(error: Exception, reason: str, said: str) -> None:
    """Down, slow and a refused key are told apart, also below what ZenML makes of them."""
    refused = zenml_server.refusal(error, URL)

    assert refused.reason == reason
    assert said in refused.message
    assert URL in refused.message


def test_an_address_is_shown_without_its_secrets() -> None:
    """Somebody may have put a password there."""
    refused = zenml_server.refusal(requests.ConnectTimeout(), "https://user:word@zenml.example.com/?key=hidden")

    assert URL in refused.message
    assert "user:word" not in refused.message
    assert "hidden" not in refused.message


def test_an_error_of_a_steps_own_request_is_no_lost_server() -> None:
    """A step may call other servers."""
    assert zenml_server.loss(requests.ConnectionError("Connection refused")) is None
