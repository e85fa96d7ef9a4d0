"""Rules, schedules and inputs of targets, with a clock and functions of the test's own."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local import events
from local.clients import Clients
from local.deploy import Resource, Stack
from local.errors import TemplateError
from local.event_inputs import input_of
from local.events import EventBus, Rule, Target
from local.gateway import TokenBucket
from local.patterns import compile_pattern
from local.sam import CloudFormationTemplate
from local.schedules import Schedule, parse_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.workers import Answer

START = datetime(2026, 11, 20, 10, 0, 30, tzinfo=UTC)
RULE_ARN = "arn:aws:events:us-east-1:1:rule/hourly"


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Invocations:
    """Functions that only remember."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self._came = threading.Condition()

    def invoke(self, name: str, payload: bytes) -> Answer:
        """Nobody invokes synchronously here."""
        raise KeyError(name, payload)

    def invoke_later(self, name: str, payload: bytes) -> None:
        """Remember the event."""
        assert name == "arn:aws:lambda:us-east-1:1:function:f"
        with self._came:
            self.events.append(json.loads(payload))
            self._came.notify_all()

    def wait(self, count: int, seconds: float = 5) -> list[dict[str, Any]]:
        """Wait for events and return them."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.events) >= count, seconds), self.events
            return list(self.events)


def _rule(name: str, *, pattern: Any = None, schedule: Schedule | None = None, enabled: bool = True) -> Rule:
    target = Target("arn:aws:lambda:us-east-1:1:function:f", json.dumps, None)
    matches = None if pattern is None else compile_pattern(pattern)
    return Rule(name, RULE_ARN, enabled, matches, schedule, (target,))


@pytest.fixture
def invocations() -> Invocations:
    """Return what the rules' target gets."""
    return Invocations()


@pytest.fixture
def clock() -> Clock:
    """Return the time."""
    return Clock()


@pytest.fixture
def bus(invocations: Invocations, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventBus]:
    """Make a bus with an hourly rule, a disabled one, and two patterns. It looks at its clock all the time."""
    monkeypatch.setattr(events, "_CLOCK_STEP_SECONDS", 0.02)
    template = CloudFormationTemplate({}, {}, {})
    stack = Stack("s", "us-east-1", "1", template, {}, {})
    rules = (
        _rule("Hourly", schedule=parse_schedule("rate(1 hour)", start=START)),
        _rule("Disabled", schedule=parse_schedule("rate(1 minute)", start=START), enabled=False),
        _rule("Told", pattern={"source": ["test"]}),
        _rule("Silent", pattern={"source": ["test"]}, enabled=False),
    )
    clients = Clients(endpoint_url="http://127.0.0.1:9", region="us-east-1")
    made = EventBus(stack, rules, clients=clients, functions=invocations, clock=clock)
    made.start()
    yield made
    made.close()


def test_a_schedule_fires_when_its_time_has_come(bus: EventBus, clock: Clock, invocations: Invocations) -> None:
    """At the right times, with AWS's shape; a clock that jumped fires once."""
    assert bus.drain()
    assert invocations.events == []
    clock.now = START + timedelta(hours=1, seconds=0.4)
    (event,) = invocations.wait(1)
    assert event == {
        "version": "0",
        "id": event["id"],
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "1",
        "time": "2026-11-20T11:00:30Z",
        "region": "us-east-1",
        "resources": [RULE_ARN],
        "detail": {},
    }
    clock.now = START + timedelta(hours=5, minutes=1)
    assert invocations.wait(2)[1]["time"] == "2026-11-20T12:00:30Z"
    clock.now = START + timedelta(hours=6)
    assert [one["time"] for one in invocations.wait(3)][2] == "2026-11-20T16:00:30Z"


def test_an_event_is_completed_and_goes_to_enabled_rules(bus: EventBus, invocations: Invocations) -> None:
    """Disabled rules deliver nothing; what an event lacks of an envelope is added."""
    bus.put({"source": "test", "detail-type": "t", "detail": {"a": 1}})
    bus.put({"source": "other", "detail-type": "t", "detail": {}})
    assert bus.drain()
    (event,) = invocations.events
    assert event["time"] == "2026-11-20T10:00:30Z"
    assert set(event) == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    }  # fmt: skip


EVENT = {"id": "7", "time": "2026-11-20T10:00:30Z", "detail": {"text": 'a"b', "list": [1, {"x": 2}], "number": 5}}


def _write(target: Mapping[str, Any]) -> str:
    return input_of(Resource("Rule", "AWS::Events::Rule", {}, "r"), RULE_ARN, target)(EVENT)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({}, EVENT),
        ({"Input": '{"a": 1}'}, {"a": 1}),
        ({"InputPath": "$.detail.list[1]"}, {"x": 2}),
        (
            {"InputTransformer": {
                "InputPathsMap": {
                    "t": "$.detail.text", "n": "$.detail.number", "l": "$.detail.list", "no": "$.nothing",
                },
                "InputTemplate":
                    '{"t": <t>, "n": <n>, "l": <l>, "s": "n=<n> t=<t>", "no": <no>, "r": <aws.events.rule-name>}',
            }},
            {"t": 'a"b', "n": 5, "l": [1, {"x": 2}], "s": 'n=5 t=a"b', "no": None, "r": "hourly"},
        ),
    ],
)  # fmt: skip
def test_inputs(target: dict[str, Any], expected: Any) -> None:
    """The whole event, a constant, a part, or a template with variables bare and within quotes."""
    assert json.loads(_write(target)) == expected


@pytest.mark.parametrize(
    "target",
    [
        {"Input": "no json"},
        {"InputPath": "detail"},
        {"InputPath": "$.a[*]"},
        {"Input": "{}", "InputPath": "$"},
        {"InputTransformer": {"InputPathsMap": {}, "InputTemplate": "<x>"}},
    ],
)
def test_wrong_inputs(target: dict[str, Any]) -> None:
    """The rule is named."""
    with pytest.raises(TemplateError, match=r"^Rule: "):
        _write(target)


def test_the_throttle_lets_a_burst_through_and_then_the_rate() -> None:
    """A bucket of three, refilled a hundred times a second."""
    bucket = TokenBucket(rate=100, burst=3)
    assert [bucket.take() for _ in range(3)] == [True] * 3
    assert bucket.take() is False
    threading.Event().wait(0.03)
    assert bucket.take() is True


def test_the_samples_path_is_real() -> None:
    """The script that workers run lies where they look for it."""
    assert (Path(__file__).parents[3] / "local" / "lambda_worker.py").is_file()
