"""Which ZenML stack a run gets; without any store."""

import os
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from runner import connection
from runner.failures import Refused

KNOWN = UUID("11111111-1111-4111-8111-111111111111")
ACTIVE = "ZENML_ACTIVE_STACK_ID"


class Client:
    """Knows one stack, `gpu`."""

    active_user = None

    def list_stacks(self, *, name: str, size: int) -> list[Any]:
        """Find by name."""
        assert size == 1
        return [SimpleNamespace(id=KNOWN)] if name == "equals:gpu" else []

    def get_stack(self, name: str, *, hydrate: bool) -> Any:
        """Find by id."""
        assert not hydrate
        if name != str(KNOWN):
            raise KeyError(name)
        return SimpleNamespace(id=KNOWN)

    @property
    def active_stack(self) -> Any:
        """Give the stack that ZenML's variable names."""
        return os.environ[ACTIVE]


@pytest.fixture(autouse=True)
def _client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "Client", Client)
    monkeypatch.delenv("ZENML_STORE_URL", raising=False)
    monkeypatch.setenv(ACTIVE, "the task's own")


@pytest.mark.parametrize(("stack", "active"), [("gpu", str(KNOWN)), (str(KNOWN), str(KNOWN)), (None, "the task's own")])
def test_the_stack_is_the_snapshots_or_the_tasks(stack: str | None, active: str) -> None:
    """By name or id; in the process's environment only."""
    found: Any = connection.connect(stack)
    assert found == active


@pytest.mark.parametrize("unknown", ["gp", "11111111", "22222222-2222-4222-8222-222222222222"])
def test_a_stack_that_is_not_there_is_refused(unknown: str) -> None:
    """The beginning of a name or an id is none; the message names it and says what to do."""
    with pytest.raises(Refused, match=f"'{unknown}'.*zenml stack list") as refusal:
        connection.connect(unknown)
    assert refusal.value.reason == "zenml_stack_unusable"


@pytest.mark.parametrize(("stack", "said"), [("gpu", "The stack gpu"), (None, "ZenmlStackId")])
def test_a_stack_whose_integration_is_missing_is_refused(
    monkeypatch: pytest.MonkeyPatch, stack: str | None, said: str
) -> None:
    """Where it was chosen is where it is to be changed."""

    def fail(_self: Client) -> None:
        raise ImportError("No module named 'kubernetes'")

    monkeypatch.setattr(Client, "active_stack", property(fail))
    with pytest.raises(Refused, match=f"{said}.*kubernetes|kubernetes.*{said}") as refusal:
        connection.connect(stack)
    assert refusal.value.reason == "zenml_stack_unusable"
