"""The first key, publishing, and the smoke test, against an API that is a stand-in."""

import io
import json
import sys
from collections.abc import Callable
from typing import Any, Self

import pytest
from botocore.response import StreamingBody

from deploy import api_key, programs, smoke
from deploy.account import Account
from deploy.errors import DeployError
from tests.unit.deploy.conftest import Machine, stand_in
from tests.unit.deploy.test_stack import make_stack
from zentrigger_client import Unreachable, ZentriggerError

SECRET = "zentrigger-dev/operator-key"
KEYS = [f"zt_000000000{number}_{'k' * 47}" for number in range(3)]


class Api:
    """The deployed API and its admin function."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.made = 0
        self.invoked: list[dict[str, Any]] = []
        self.run: dict[str, Any] = {"run_id": "r1", "pipeline": "training_pipeline", "status": "succeeded"}
        self.unhealthy = 0
        self.function_error: dict[str, str] | None = None
        self.started: list[str] = []

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.invoked.append({**request, "Payload": json.loads(request["Payload"])})
        if self.function_error is not None:
            told: dict[str, Any] = self.function_error
        else:
            told = {"id": "x", "key": KEYS[self.made]}
            self.known.add(KEYS[self.made])
            self.made += 1
        body = json.dumps(told).encode()
        answer = {"Payload": StreamingBody(io.BytesIO(body), len(body))}
        return answer | ({"FunctionError": "Unhandled"} if self.function_error else {})


class FakeClient:
    """Stands for the product's client."""

    api: Api

    def __init__(self, url: str, key: str | None) -> None:
        assert url == "https://api.example"
        self.key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def keys(self) -> dict[str, Any]:
        if self.key not in self.api.known:
            raise ZentriggerError("Unauthorized", status=401)
        return {"items": []}

    def health(self) -> dict[str, Any]:
        if self.api.unhealthy:
            self.api.unhealthy -= 1
            raise Unreachable("https://api.example cannot be reached")
        return {"status": "ok"}

    def start(self, pipeline: str, *, tags: list[str]) -> dict[str, Any]:
        assert tags == ["smoke"]
        self.api.started.append(pipeline)
        return {**self.api.run, "status": "starting"}

    def wait_for_change(self, _: str, **__: Any) -> tuple[dict[str, Any], str]:
        return self.api.run, "etag"

    def logs(self, _: str) -> dict[str, Any]:
        return {"items": [{"line": f"line {number}"} for number in range(40)]}


@pytest.fixture
def api(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Api:
    """Give a deployed stack with an API."""
    del machine
    made = Api()
    FakeClient.api = made
    make_stack()
    monkeypatch.setattr(api_key, "Client", FakeClient)
    monkeypatch.setattr(smoke, "Client", FakeClient)
    make = Account.client
    functions = type("Functions", (), {"invoke": staticmethod(made.invoke)})()
    monkeypatch.setattr(Account, "client", lambda a, service: functions if service == "lambda" else make(a, service))
    return made


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Record what would be published."""
    calls: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, environment: dict[str, str], **_: Any) -> str:
        calls.append((command, environment))
        return ""

    monkeypatch.setattr(programs, "run", run)
    return calls


def kept() -> str:
    return str(stand_in("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"])


def test_the_first_key_is_made_once_and_never_shown(
    machine: Machine, api: Api, published: list[tuple[list[str], dict[str, str]]]
) -> None:
    status, out, err = machine.deploy("publish")
    assert (status, err) == (0, "")
    assert api.invoked == [
        {
            "FunctionName": "zentrigger-dev-admin",
            "Payload": {"action": "create_key", "name": "operator", "scopes": ["admin", "run", "read"]},
        }
    ]
    assert kept() == KEYS[0]
    command, environment = published[0]
    assert command == [sys.executable, "-m", "zentrigger_client.cli", "publish", "pipelines"]
    assert environment == {"ZENTRIGGER_API_URL": "https://api.example", "ZENTRIGGER_API_KEY": KEYS[0]}
    assert KEYS[0] not in out
    machine.deploy("publish")
    assert api.made == 1
    assert published[1][1]["ZENTRIGGER_API_KEY"] == KEYS[0]


def prepare_deleted_key(api: Api) -> None:
    stand_in("secretsmanager").create_secret(Name=SECRET, SecretString="zt_old")
    del api


def prepare_empty_secret(api: Api) -> None:
    stand_in("secretsmanager").create_secret(Name=SECRET)
    del api


def prepare_secret_that_is_to_go(api: Api) -> None:
    stand_in("secretsmanager").create_secret(Name=SECRET, SecretString="zt_old")
    stand_in("secretsmanager").delete_secret(SecretId=SECRET, RecoveryWindowInDays=7)
    del api


@pytest.mark.parametrize("prepare", [prepare_deleted_key, prepare_empty_secret, prepare_secret_that_is_to_go])
@pytest.mark.usefixtures("published")
def test_a_secret_without_a_key_that_works_gets_one(machine: Machine, api: Api, prepare: Callable[[Api], None]) -> None:
    """After the key was deleted to rotate it, after a step that died in between, after the stack was made anew."""
    prepare(api)
    status, _, err = machine.deploy("publish")
    assert (status, err) == (0, "")
    assert kept() == KEYS[0]


def test_the_function_fails(machine: Machine, api: Api) -> None:
    api.function_error = {"errorType": "ClientError", "errorMessage": "no such table"}
    status, _, err = machine.deploy("publish")
    assert status == 1
    assert "made no API key: ClientError: no such table" in err


def test_publishing_fails(machine: Machine, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command, on a tree that has no package of that name; the key stands in nothing that was said."""
    monkeypatch.setenv("PATH", "/usr/bin")
    status, out, err = machine.deploy("publish", "--modules", "no/module")
    assert status == 1
    assert "The pipelines were not published." in err
    assert KEYS[0] not in out + err
    assert api.made == 1


@pytest.mark.parametrize("step", ["publish", "smoke"])
def test_nothing_is_deployed(machine: Machine, step: str) -> None:
    status, _, err = machine.deploy(step)
    assert status == 1
    assert "There is no stack zentrigger-dev here" in err


def test_a_stack_without_outputs(machine: Machine) -> None:
    make_stack("CREATE_IN_PROGRESS", {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}})
    status, _, err = machine.deploy("smoke")
    assert status == 1
    assert "has no output ApiUrl" in err


def test_smoke(machine: Machine, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that is new may need some seconds."""
    monkeypatch.setattr("deploy.smoke._PAUSE_SECONDS", 0.0)
    api.unhealthy = 2
    status, out, err = machine.deploy("smoke")
    assert (status, err) == (0, "")
    assert api.started == ["training_pipeline"]
    assert "the run r1 succeeded" in out


def test_an_api_that_never_answers(api: Api) -> None:
    api.unhealthy = 1000
    clock = iter(range(0, 100_000, 10))
    with pytest.raises(DeployError, match=r"The API is not well.*cannot be reached"):
        smoke.smoke(
            "https://api.example",
            KEYS[0],
            pipeline="p",
            timeout_seconds=1,
            say=lambda _: None,
            sleep=lambda _: None,
            clock=lambda: float(next(clock)),
        )
    assert api.started == []


def test_a_run_that_fails(machine: Machine, api: Api) -> None:
    api.run |= {"status": "failed", "reason": "image_pull_failed", "message": "Build it for TaskArchitecture."}
    status, _, err = machine.deploy("smoke")
    assert status == 1
    assert "did not succeed" in err
    assert "reason: image_pull_failed" in err
    assert "Build it for TaskArchitecture." in err
    assert "line 39" in err
    assert "line 9\n" not in err


def test_a_run_that_does_not_end(machine: Machine, api: Api) -> None:
    api.run |= {"status": "running"}
    status, _, err = machine.deploy("smoke", "--timeout", "0")
    assert status == 1
    assert "has not ended after 0 s" in err
    assert "zentrigger status r1" in err
