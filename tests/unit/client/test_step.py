"""Running a published pipeline from inside another."""

from typing import Any

import pytest

from tests.unit.client.conftest import ENVIRONMENT, KEY, FakeClient
from zentrigger_client import step
from zentrigger_client.api import ZentriggerError

RUN = {"run_id": "r1", "pipeline": "training", "status": "starting"}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Put a fake in the place of the step's client, and what it needs into the environment."""
    fake = FakeClient({"start": RUN})
    monkeypatch.setattr(step, "Client", lambda _url, _key: fake)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return fake


def test_starts_a_run_and_waits_for_its_end(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    """All arguments reach the API, and the outputs come back."""
    end = {**RUN, "status": "succeeded", "outputs": [{"name": "metrics", "value": 1}]}
    client.answers["wait_for_change"] = [(RUN, "1"), (end, "2")]
    asked: dict[str, Any] = {
        "snapshot": "tag:nightly",
        "parameters": {"n": 3},
        "steps": {"train": {"depth": 4}},
        "tags": ("a",),
        "idempotency_key": "k",
    }
    assert step.trigger_run("training", **asked) == end
    assert client.calls[0] == ("start", ("training",), asked)
    assert "training r1 succeeded" in capsys.readouterr().out


def test_does_not_wait_if_told_so(client: FakeClient) -> None:
    assert step.trigger_run("training", wait=False) == RUN
    assert [name for name, _, _ in client.calls] == ["start"]


def test_a_run_that_fails_fails_the_step(client: FakeClient) -> None:
    client.answers["wait_for_change"] = ({**RUN, "status": "failed", "message": "out of memory"}, "1")
    with pytest.raises(ZentriggerError, match="did not succeed: training r1 failed: out of memory"):
        step.trigger_run("training")


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("name", ["ZENTRIGGER_API_URL", "ZENTRIGGER_API_KEY"])
def test_names_what_the_environment_lacks(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(ZentriggerError, match=f"lacks {name}") as raised:
        step.trigger_run("training")
    assert KEY not in str(raised.value)


def test_as_a_step_it_is_never_cached(client: FakeClient) -> None:
    """The same parameters are meant to start another run."""
    assert step.trigger_run_step.configuration.enable_cache is False
    assert step.trigger_run_step.entrypoint("training", wait=False) == RUN
    assert client.calls[0][2]["snapshot"] is None
