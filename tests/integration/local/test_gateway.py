"""The HTTP API and the functions behind it, over real HTTP."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import requests

from tests.integration.local.conftest import eventually

if TYPE_CHECKING:
    from tests.integration.local.conftest import Running


def test_a_request_arrives_in_payload_format_2(running: Running) -> None:
    """The event has what API Gateway sends, and the worker has what Lambda gives it and nothing else."""
    answer = requests.post(
        f"{running.cloud.api_url}/echo?a=1&a=2&b=%C3%A4%20x",
        data=json.dumps({"x": "ü"}),
        headers={"Content-Type": "application/json", "X-Api-Key": "k", "Cookie": "s=1; t=2"},
        timeout=30,
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    event = told["event"]
    assert event["version"] == "2.0"
    assert event["routeKey"] == "POST /echo"
    assert event["rawPath"] == "/echo"
    assert event["rawQueryString"] == "a=1&a=2&b=%C3%A4%20x"
    assert event["queryStringParameters"] == {"a": "1,2", "b": "ä x"}
    assert event["cookies"] == ["s=1", "t=2"]
    assert "cookie" not in event["headers"]
    assert event["headers"]["x-api-key"] == "k"
    assert json.loads(event["body"]) == {"x": "ü"}
    assert event["isBase64Encoded"] is False
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["stage"] == "$default"

    environment = told["environment"]
    outputs = running.cloud.outputs
    assert environment["TABLE"] == outputs["Table"]
    assert environment["BUCKET_ARN"] == f"arn:aws:s3:::{outputs['Bucket']}"
    assert environment["JOINED"] == f"us-east-1/b/{outputs['Table']}-123456789012"
    assert environment["CHOSEN"] == "plain"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == outputs["Echo"] == told["function"]
    assert environment["AWS_ENDPOINT_URL"] == running.cloud.endpoint_url
    assert "HOME" not in environment
    assert "VIRTUAL_ENV" not in environment
    assert told["modules"] == []  # nothing of this machine's packages: only the function, its layer and the runtime
    assert 0 < told["remaining"] <= 2000


def test_routes_are_chosen_as_api_gateway_does(running: Running) -> None:
    """A fixed path goes before a variable; greedy variables take the rest; everything else is not found."""
    url = running.cloud.api_url

    def route(method: str, path: str) -> tuple[str, dict[str, str]]:
        event = requests.request(method, f"{url}{path}", timeout=30).json()["event"]
        return event["routeKey"], event.get("pathParameters", {})

    assert route("GET", "/items/special") == ("GET /items/special", {})
    assert route("GET", "/items/a%20b%2Fc") == ("GET /items/{item}", {"item": "a b/c"})
    assert route("PATCH", "/items/a:1") == ("PATCH /items/{item}", {"item": "a:1"})
    assert route("PUT", "/files/a/b/c.csv") == ("ANY /files/{path+}", {"path": "a/b/c.csv"})
    for method, path in (("GET", "/nowhere"), ("DELETE", "/echo"), ("GET", "/items/"), ("GET", "/items/a/b")):
        answer = requests.request(method, f"{url}{path}", timeout=30)
        assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})


def test_a_route_has_its_own_throttle(running: Running) -> None:
    """A flood of its calls is refused, and keeps nobody from the other routes."""
    url = running.cloud.api_url

    with ThreadPoolExecutor(8) as pool:
        flood = list(pool.map(lambda _: requests.get(f"{url}/items/special", timeout=30), range(16)))

    refused = [answer for answer in flood if answer.status_code == 429]
    assert 8 <= len(refused) <= 15
    assert all(answer.json() == {"message": "Too Many Requests"} for answer in refused)
    assert all(requests.get(f"{url}/items/{number}", timeout=30).ok for number in range(5))
    eventually(lambda: requests.get(f"{url}/items/special", timeout=30).ok)


def test_bodies_that_are_no_text_are_encoded(running: Running) -> None:
    """Without a text type, a body is base64."""
    for headers in ({"Content-Type": "application/octet-stream"}, {}):
        answer = requests.post(f"{running.cloud.api_url}/echo", data=b"\x00\xff", headers=headers, timeout=30)
        event = answer.json()["event"]
        assert event["isBase64Encoded"] is True
        assert base64.b64decode(event["body"]) == b"\x00\xff"


def test_answers_become_http(running: Running) -> None:
    """Status, headers, cookies, binary bodies, and JSON without a status."""
    url = running.cloud.api_url
    answer = requests.post(f"{url}/acts/cookies", timeout=30)
    assert (answer.status_code, answer.text, answer.headers["x-number"]) == (201, "ok", "7")
    assert dict(answer.cookies) == {"a": "1", "b": "2"}
    assert requests.post(f"{url}/acts/binary", timeout=30).content == b"\x00\xff"
    assert requests.post(f"{url}/acts/plain", timeout=30).json() == {"inferred": True}


def test_what_fails_is_an_internal_server_error(running: Running) -> None:
    """An exception, a crash, an answer of a wrong shape or of 7 MB: each is AWS's own 500; then all is well."""
    url = running.cloud.api_url
    for act in ("raise", "crash", "exit", "nonsense", "large"):
        answer = requests.post(f"{url}/acts/{act}", timeout=30)
        assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"}), act
        assert requests.post(f"{url}/acts/plain", timeout=30).status_code == 200


def test_functions_fail_in_lambdas_words(running: Running) -> None:
    """Invoke tells how the function ended."""
    client = running.cloud.clients.get("lambda")

    def invoke(act: str) -> tuple[str, str]:
        answer = client.invoke(
            FunctionName=running.cloud.outputs["Echo"], Payload=json.dumps({"pathParameters": {"act": act}})
        )
        assert answer["FunctionError"] == "Unhandled"
        told = json.loads(answer["Payload"].read())
        return told["errorType"], told["errorMessage"]

    assert invoke("raise") == ("ValueError", "told to")
    kind, text = invoke("crash")
    assert kind == "Runtime.ExitError"
    assert text.endswith("Error: Runtime exited with error: signal: killed")
    kind, text = invoke("exit")
    assert text.endswith("Error: Runtime exited with error: exit status 3")
    started = time.monotonic()
    kind, text = invoke("hang")
    assert kind == "Sandbox.Timedout"
    assert text.endswith("Error: Task timed out after 2.00 seconds")
    assert 1.9 < time.monotonic() - started < 6
    kind, text = invoke("eat")
    assert kind == "Runtime.OutOfMemory"


def test_a_worker_that_was_killed_from_outside_is_replaced(running: Running) -> None:
    """Kill -9 during an invocation is a 500; the next invocation has a new process."""
    url = running.cloud.api_url
    before = requests.post(f"{url}/echo", timeout=30).json()["pid"]
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{before}"))  # noqa: PTH110 - a process, not a file
    after = requests.post(f"{url}/echo", timeout=30).json()["pid"]
    assert after != before


def test_concurrent_requests_have_workers_of_their_own(running: Running) -> None:
    """Four requests at once are served by four processes; later ones use them again."""
    url = running.cloud.api_url
    with ThreadPoolExecutor(4) as executor:
        pids = list(executor.map(lambda _: requests.post(f"{url}/acts/wait", timeout=30).json()["pid"], range(4)))
    assert len(set(pids)) == 4
    assert requests.post(f"{url}/acts/wait", timeout=30).json()["pid"] in running.cloud.functions.worker_pids  # type: ignore[union-attr]


def test_large_bodies(running: Running) -> None:
    """2 MB pass; over 10 MB, with a length or in chunks, are refused by the gateway; the connection stays usable."""
    url = running.cloud.api_url
    session = requests.Session()
    headers = {"Content-Type": "text/plain"}
    answer = session.post(f"{url}/echo", data="x" * (2 << 20), headers=headers, timeout=30)
    assert len(answer.json()["event"]["body"]) == 2 << 20
    too_much = 10 * 1024 * 1024 + 1
    for body in (b"x" * too_much, iter([b"x" * (1 << 20)] * 11)):
        answer = session.post(f"{url}/echo", data=body, headers=headers, timeout=30)
        assert (answer.status_code, answer.json()) == (413, {"message": "Request Entity Too Large"})
    assert session.post(f"{url}/echo", timeout=30).status_code == 200


def test_the_access_log_has_the_templates_format(running: Running) -> None:
    """One line a request, the gateway's own errors included."""
    requests.get(f"{running.cloud.api_url}/logged-nowhere", timeout=30)
    requests.post(f"{running.cloud.api_url}/acts/raise", timeout=30)
    lines = [json.loads(line) for line in (running.cloud.log_folder / "access.log").read_text().splitlines()]
    assert lines[-2]["status"] == "404"
    assert lines[-1] == {**lines[-1], "status": "500", "route": "POST /acts/{act}",
                         "error": "The function failed: ValueError"}  # fmt: skip


def test_function_logs_can_be_read_while_it_runs(running: Running) -> None:
    """What a handler prints stands between START and END of its invocation."""
    requests.post(f"{running.cloud.api_url}/echo", timeout=30)
    log = (running.cloud.log_folder / "functions" / "EchoFunction.log").read_text()
    assert "echoing" in log
    assert "START RequestId:" in log
    assert "REPORT RequestId:" in log


def test_the_round_trip_is_quick(running: Running) -> None:
    """A warm request takes a few milliseconds; the bound is wide, for busy machines."""
    session = requests.Session()
    times = []
    for _ in range(30):
        started = time.perf_counter()
        session.post(f"{running.cloud.api_url}/acts/plain", timeout=30)
        times.append(time.perf_counter() - started)
    assert sorted(times)[15] < 0.25
