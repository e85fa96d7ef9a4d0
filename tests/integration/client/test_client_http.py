"""The client over real HTTP: headers, retries, time-outs, odd answers, and the command line on top of it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.integration.client.fake_api import Answer, FakeApi
from zentrigger_client.api import Client, Unreachable, ZentriggerError

KEY = "zt_operator_c2VjcmV0LXNlY3JldA"


@pytest.fixture
def pauses() -> list[float]:
    """Give the list of what the client waited between attempts, in seconds."""
    return []


@pytest.fixture
def client(api: FakeApi, pauses: list[float]) -> Iterator[Client]:
    """Give a client that does not really sleep."""
    with Client(api.url, KEY + "\n", connect_timeout=1, read_timeout=1, sleep=pauses.append) as client:
        yield client


def test_sends_the_key_and_json(api: FakeApi, client: Client) -> None:
    """X-API-Key without the white space around it, JSON in and out, an Idempotency-Key of its own."""
    api.answers = [Answer(202, {"id": "r1"})]
    assert client.start("träining", parameters={"n": 1}, steps={"s": {"a": None}}, enable_cache=False) == {"id": "r1"}
    client.start("träining")
    first, second = api.calls
    assert (first.method, first.path) == ("POST", "/runs")
    assert first.headers["x-api-key"] == KEY
    assert first.headers["content-type"] == "application/json"
    assert first.body == {
        "pipeline": "träining",
        "parameters": {"n": 1},
        "steps": {"s": {"parameters": {"a": None}}},
        "enable_cache": False,
    }
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


def test_all_that_a_run_may_ask_for(api: FakeApi, client: Client) -> None:
    """Every argument has its field; a dry run is the same request, but starts nothing and needs no key."""
    api.answers = [Answer(202, {"run_id": "r1"})]
    asked: dict[str, Any] = {"snapshot": "tag:nightly", "tags": ["a"], "resources": {"cpu": 512, "memory": 1024}}
    asked |= {"priority": 0, "concurrency": {"key": "k"}, "retry": {"max_attempts": 2}, "spot": False}
    client.start("p", **asked, timeout_seconds=60)
    client.dry_run("p", **asked, timeout_seconds=60)
    client.dry_run("p", idempotency_key="k")
    client.retry("r1", idempotency_key="k")
    started, tried, again, retried = api.calls
    assert started.body == {"pipeline": "p", **asked, "timeout_seconds": 60}
    assert (tried.method, tried.path, tried.body) == ("POST", "/runs?dry_run=true", started.body)
    assert "idempotency-key" not in tried.headers
    assert again.headers["idempotency-key"] == "k"
    assert (retried.method, retried.path, retried.body) == ("POST", "/runs/r1/retry", None)
    assert retried.headers["idempotency-key"] == "k"


def test_a_pipeline_is_limited(api: FakeApi, client: Client) -> None:
    """Null says that there is no limit; what is safe to repeat is repeated."""
    api.answers = [Answer(503), Answer(200, {"name": "p q"}), Answer(200, {})]
    assert client.limit_pipeline("p q", 2) == {"name": "p q"}
    client.limit_pipeline("p", None)
    calls = [(call.method, call.path, call.body) for call in api.calls]
    limited = ("PATCH", "/pipelines/p%20q", {"max_active_runs": 2})
    assert calls == [limited, limited, ("PATCH", "/pipelines/p", {"max_active_runs": None})]


def test_what_is_published_is_found_changed_and_deleted(api: FakeApi, client: Client) -> None:
    """One call each; an id is one segment of the path, and what is no filter is not sent."""
    api.answers = [Answer(200, {})]
    client.pipelines(name="p", tag="a", limit=3, cursor="c")
    client.snapshots("p q", name="n", tag="a")
    client.snapshot("p q:3")
    client.update_snapshot("p:3", {"name": None})
    client.delete_snapshot("p:3")
    client.changes("p", limit=2)
    assert [(call.method, call.path, call.body) for call in api.calls] == [
        ("GET", "/pipelines?name=p&tag=a&limit=3&cursor=c", None),
        ("GET", "/pipelines/p%20q/snapshots?name=n&tag=a", None),
        ("GET", "/snapshots/p%20q%3A3", None),
        ("PATCH", "/snapshots/p%3A3", {"name": None}),
        ("DELETE", "/snapshots/p%3A3", None),
        ("GET", "/pipelines/p/changes?limit=2", None),
    ]


def test_a_repeated_start_is_the_same_start(api: FakeApi, client: Client) -> None:
    """Every attempt carries the same Idempotency-Key: a lost answer cannot start a second run."""
    api.answers = [Answer(drop=True), Answer(500, {"message": "Internal Server Error"}), Answer(202, {"id": "r1"})]
    assert client.start("p") == {"id": "r1"}
    assert len({call.headers["idempotency-key"] for call in api.calls}) == 1
    assert len(api.calls) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_waits_as_long_as_it_is_told(api: FakeApi, client: Client, pauses: list[float], status: int) -> None:
    """Retry-After in seconds or as a date; the gateway's own body is no obstacle."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=9), usegmt=True)
    api.answers = [
        Answer(status, {"message": "Too Many Requests"}, {"Retry-After": "7"}),
        Answer(status, "busy", {"Retry-After": soon}),
        Answer(200, {"pipelines": []}),
    ]
    client.pipelines()
    assert pauses[0] == 7
    assert 6 < pauses[1] <= 9


def test_does_not_wait_for_minutes(api: FakeApi, client: Client, pauses: list[float]) -> None:
    """A Retry-After over 30 s is the caller's to decide on."""
    api.answers = [Answer(429, {"title": "The queue is full"}, {"Retry-After": "120"})]
    with pytest.raises(ZentriggerError, match="The queue is full") as raised:
        client.start("p")
    assert raised.value.retry_after == 120
    assert (len(api.calls), pauses) == (1, [])


def test_gives_up_after_four_attempts(api: FakeApi, client: Client, pauses: list[float]) -> None:
    """The last refusal is what the caller gets."""
    api.answers = [Answer(503, {"message": "Service Unavailable"})]
    with pytest.raises(ZentriggerError, match="Service Unavailable"):
        client.run("r1")
    assert len(api.calls) == 4
    assert pauses == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("answer", [Answer(drop=True), Answer(503, {"message": "Service Unavailable"})])
def test_creating_a_key_is_never_repeated(api: FakeApi, client: Client, answer: Answer) -> None:
    """The first attempt may have made a key whose secret nobody saw; a second would hide that."""
    api.answers = [answer]
    with pytest.raises(ZentriggerError):
        client.create_key("ci", ["run"])
    assert len(api.calls) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422])
def test_a_refusal_is_final(api: FakeApi, client: Client, status: int) -> None:
    """What is wrong with the call stays wrong."""
    api.answers = [Answer(status, {"title": "No", "detail": "because", "status": status})]
    with pytest.raises(ZentriggerError, match="No: because") as raised:
        client.cancel("r1")
    assert raised.value.status == status
    assert len(api.calls) == 1


def test_nobody_there() -> None:
    """A closed port is `Unreachable`, and the key is not in the message."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        Client(f"http://127.0.0.1:{port}", KEY, sleep=lambda _: None) as client,
        pytest.raises(Unreachable, match="refused") as raised,
    ):
        client.health()
    assert KEY not in str(raised.value)


def test_somebody_there_who_says_nothing() -> None:
    """Time-outs are bounded."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        Client(f"http://127.0.0.1:{server.getsockname()[1]}", KEY, read_timeout=0.1, sleep=lambda _: None) as client,
        pytest.raises(Unreachable, match="did not answer in time"),
    ):
        client.health()


def test_the_key_does_not_follow_a_redirect(api: FakeApi, client: Client) -> None:
    """Wherever it points."""
    api.answers = [Answer(302, "", {"Location": "https://elsewhere.example/login"})]
    with pytest.raises(ZentriggerError, match=r"redirects to https://elsewhere\.example/login"):
        client.pipelines()
    assert len(api.calls) == 1


def test_an_answer_of_somebody_else(api: FakeApi, client: Client) -> None:
    """200 with a web page is no success."""
    api.answers = [Answer(200, "<html>Welcome</html>")]
    with pytest.raises(ZentriggerError, match="ZENTRIGGER_API_URL"):
        client.pipelines()


def test_names_cannot_change_the_path(api: FakeApi, client: Client) -> None:
    """Slashes, question marks and dots stay inside their segment."""
    api.answers = [Answer(200, {})]
    client.pipeline("a/b?c=d#e ü")
    assert api.calls[0].path == "/pipelines/a%2Fb%3Fc%3Dd%23e%20%C3%BC"
    with pytest.raises(ZentriggerError, match="is no name"):
        client.delete_trigger("..")
    assert len(api.calls) == 1


def test_what_is_no_json_is_not_sent(api: FakeApi, client: Client) -> None:
    """NaN has no JSON."""
    with pytest.raises(ZentriggerError, match="sent as JSON"):
        client.start("p", parameters={"n": float("nan")})
    assert api.calls == []


def test_long_polls_with_the_etag(api: FakeApi, client: Client) -> None:
    """304 means nothing changed; otherwise the new ETag comes along."""
    api.answers = [Answer(200, {"status": "running"}, {"ETag": '"2"'}), Answer(304)]
    assert client.wait_for_change("r1", seconds=99, etag='"1"') == ({"status": "running"}, '"2"')
    assert client.wait_for_change("r1", etag='"2"') == (None, '"2"')
    assert [(call.path, call.headers["if-none-match"]) for call in api.calls] == [
        ("/runs/r1?wait=20", '"1"'),
        ("/runs/r1?wait=20", '"2"'),
    ]


def test_no_password_file_is_read(api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A ~/.netrc for the host would otherwise add an Authorization header."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    api.answers = [Answer(200, {})]
    with Client(api.url, KEY) as client:
        client.health()
    assert "authorization" not in api.calls[0].headers


def _zentrigger(*arguments: str, url: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "zentrigger_client.cli", *arguments],
        env={**os.environ, "ZENTRIGGER_API_URL": url, "ZENTRIGGER_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_as_a_process(api: FakeApi) -> None:
    """`python -m zentrigger_client.cli` starts a run, follows it, and ends as the run does."""
    run = {"run_id": "r1", "pipeline": "p", "status": "running"}
    api.answers = [
        Answer(202, run),
        Answer(200, run, {"ETag": '"1"'}),
        Answer(200, {**run, "status": "failed", "message": "out of memory"}, {"ETag": '"2"'}),
    ]
    ended = _zentrigger("run", "p", "-p", "n=3", "--follow", "--json", url=api.url)
    assert ended.returncode == 1, ended.stderr
    assert json.loads(ended.stdout)["message"] == "out of memory"
    assert "p r1 failed: out of memory" in ended.stderr
    assert KEY not in ended.stdout + ended.stderr


def test_the_command_without_an_api() -> None:
    """Exit status 3, one sentence, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ended = _zentrigger("run", "p", url=f"http://127.0.0.1:{port}")
    assert ended.returncode == 3
    assert "cannot be reached" in ended.stderr
    assert "Traceback" not in ended.stderr
