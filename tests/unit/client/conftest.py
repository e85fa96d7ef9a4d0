"""A stand-in for the client that the command line speaks through."""

import re
from collections.abc import Callable
from typing import Any, Self

import pytest

from zentrigger_client import console

KEY = "zt_operator_c2VjcmV0LXNlY3JldA"
ENVIRONMENT = {"ZENTRIGGER_API_URL": "https://api.example", "ZENTRIGGER_API_KEY": KEY}


class FakeClient:
    """Stands for `Client`: remembers the calls and answers what the test wants."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            answer = self.answers[name]
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def cells(line: str) -> list[str]:
    """Split a row of a table into its cells; empty ones are not seen."""
    return re.split(" {2,}", line.strip())


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Put a fake in the place of the command line's client."""
    fake = FakeClient({})
    monkeypatch.setattr(console, "Client", lambda _url, _key: fake)
    return fake
