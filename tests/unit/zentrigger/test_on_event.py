"""The function `on_event`: which events of a batch it handles in which order, and which go back."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zentrigger import wiring
from zentrigger.arrivals import OutOfTimeError
from zentrigger.events import TriggerEvent

HANDLER = Path(__file__).parents[3] / "functions" / "on_event" / "handler.py"
RESERVE = 15_000


class Arrivals:
    """Handles events, each of which takes its time, and fails at what it is told to."""

    def __init__(self, *, takes: int = 0, fails: tuple[str, ...] = (), keeps: bool = True, loads: bool = True) -> None:
        self.left = 60_000
        self.handled: list[str] = []
        self.kept: list[tuple[str, ...]] = []
        self._takes, self._fails, self._keeps, self._loads = takes, fails, keeps, loads

    def made(self) -> "Arrivals":
        if not self._loads:
            raise ConnectionError("no table")
        return self

    def handle(self, event: TriggerEvent, raw: Mapping[str, object], *, in_time: Callable[[], bool]) -> None:
        assert raw["id"] == event.event_id
        self.left -= self._takes
        if not in_time():
            raise OutOfTimeError
        self.handled.append(event.event_id)
        if event.event_id in self._fails:
            raise ConnectionError("no table")

    def keep_refused(self) -> None:
        if not self._keeps:
            raise ConnectionError("no table")
        self.kept.append(tuple(self.handled))


def deliver(arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch, **received: int) -> list[str]:
    """Deliver a batch of firings, by name and how often each has been received; gives those that go back."""
    monkeypatch.setattr(wiring, "arrivals", arrivals.made)
    spec = importlib.util.spec_from_file_location("on_event_handler", HANDLER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    context = SimpleNamespace(
        function_name="on_event",
        memory_limit_in_mb=512,
        invoked_function_arn="arn:function",
        aws_request_id="request",
        get_remaining_time_in_millis=lambda: arrivals.left,
    )
    answer: dict[str, Any] = module.handler({"Records": [record(*of) for of in received.items()]}, context)
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def record(name: str, count: int) -> dict[str, Any]:
    """Make a message of the queue."""
    event = {"source": "zentrigger.schedule", "id": name, "time": "2026-11-20T12:00:00Z", "detail": {"trigger": "t"}}
    return {
        "messageId": name,
        "body": json.dumps(event),
        "attributes": {"ApproximateReceiveCount": str(count)},
        "eventSource": "aws:sqs",
    }


def test_what_was_tried_longest_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an event for which there was no time is not the last again; others stay in their order."""
    arrivals = Arrivals()

    assert deliver(arrivals, monkeypatch, a=1, b=3, c=1, d=10, e=3) == []

    assert arrivals.handled == ["d", "b", "e", "a", "c"]


def test_what_there_is_no_time_for_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """15 s before the end: they are for what has begun, and for what is kept together. The first has its turn."""
    arrivals = Arrivals(takes=20_000)

    assert deliver(arrivals, monkeypatch, a=1, b=1, c=1, d=2) == ["b", "c"]

    assert arrivals.handled == ["d", "a"]
    assert arrivals.left == 0


def test_an_event_that_runs_out_of_time_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told by the function how much there is."""
    arrivals = Arrivals(takes=60_000 - RESERVE)

    assert deliver(arrivals, monkeypatch, a=1) == ["a"]
    assert arrivals.handled == []


def test_what_filters_refused_is_kept_once_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if some events failed, which go back alone."""
    arrivals = Arrivals(fails=("b",))

    assert deliver(arrivals, monkeypatch, a=1, b=1, c=1) == ["b"]

    assert arrivals.kept == [("a", "b", "c")]


def test_all_go_back_if_that_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event's receipts are promised; runs that were recorded are found again."""
    with pytest.raises(ConnectionError):
        deliver(Arrivals(keeps=False), monkeypatch, a=1, b=1)


def test_triggers_that_cannot_be_loaded_send_all_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left to be kept."""
    arrivals = Arrivals(loads=False)

    assert deliver(arrivals, monkeypatch, a=1, b=1) == ["a", "b"]

    assert (arrivals.handled, arrivals.kept) == ([], [])
