"""The event bus: rules with patterns and schedules, and their targets.

Delivery is at least once and not in order on AWS; here it is once and in order, on a thread of its own, unless faults
say otherwise.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from local.delivery_faults import Deliveries
from local.errors import invalid
from local.event_inputs import input_of
from local.functions import send_to_queue
from local.patterns import PatternError, compile_pattern
from local.permissions import require_invoke_permission, require_queue_permission
from local.resources import check_keys
from local.schedules import Schedule, ScheduleError, parse_schedule

if TYPE_CHECKING:
    from local.clients import Clients
    from local.deploy import Resource, Stack
    from local.endpoint import FunctionApi
    from local.faults import Faults

logger = logging.getLogger(__name__)

_MAX_TARGETS: Final = 5
_CLOCK_STEP_SECONDS: Final = 1.0
_TARGET_KEYS = frozenset({"Arn", "DeadLetterConfig", "Id", "Input", "InputPath", "InputTransformer", "RetryPolicy"})
_ENABLED = {"ENABLED": True, "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS": True, "DISABLED": False}

Event = dict[str, Any]
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Target:
    """Where a rule sends to: a queue or a function."""

    arn: str
    write: Callable[[Mapping[str, Any]], str]
    dead_letter: str | None


@dataclass(frozen=True)
class Rule:
    """One enabled or disabled rule."""

    logical_id: str
    arn: str
    enabled: bool
    matches: Callable[[Mapping[str, Any]], bool] | None
    schedule: Schedule | None
    targets: tuple[Target, ...]


class EventBus:
    """Takes events, and sends what matches a rule to the rule's targets. Schedules fire while it runs."""

    def __init__(  # noqa: PLR0913 - one argument for each neighbour
        self,
        stack: Stack,
        rules: tuple[Rule, ...],
        *,
        clients: Clients,
        functions: FunctionApi,
        clock: Clock,
        faults: Faults | None = None,
    ) -> None:
        self._stack = stack
        self._rules = rules
        self._clients = clients
        self._functions = functions
        self._clock = clock
        self._deliveries = Deliveries(faults)
        self._events: queue.SimpleQueue[Event | tuple[Rule, Event] | threading.Event | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._deliverer = threading.Thread(target=self._deliver_all, name="event-bus", daemon=True)
        self._scheduler = threading.Thread(target=self._fire_all, name="schedules", daemon=True)

    def start(self) -> None:
        """Deliver and fire from now on."""
        self._deliverer.start()
        self._scheduler.start()

    def close(self) -> None:
        """Deliver what was put before, then stop."""
        self._closing.set()
        self._events.put(None)
        if self._deliverer.is_alive():
            self._deliverer.join(timeout=10)
            self._scheduler.join(timeout=10)

    def put(self, event: Mapping[str, Any]) -> None:
        """Take an event; what every event has (id, account, time, region) is added where it is missing."""
        envelope = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "account": self._stack.account_id,
            "time": _seconds(self._clock()),
            "region": self._stack.region,
            "resources": [],
        }
        self._events.put({**envelope, **event})

    def drain(self, timeout_seconds: float = 10) -> bool:
        """Wait until everything that was put before is delivered; returns whether it is."""
        reached = threading.Event()
        self._events.put(reached)
        return reached.wait(timeout_seconds)

    def fire(self, logical_id: str) -> None:
        """Fire a schedule now, whatever its expression says: for tests and for the impatient."""
        rule = next(rule for rule in self._rules if rule.logical_id == logical_id)
        self._events.put((rule, self._scheduled_event(rule, self._clock())))

    def _fire_all(self) -> None:
        scheduled = [(rule, rule.schedule) for rule in self._rules if rule.enabled and rule.schedule is not None]
        due = {rule.logical_id: schedule.next_after(self._clock()) for rule, schedule in scheduled}
        while not self._closing.is_set():
            now = self._clock()
            for rule, schedule in scheduled:
                moment = due[rule.logical_id]
                if moment is not None and moment <= now:
                    self._events.put((rule, self._scheduled_event(rule, moment)))
                    # A machine that slept fires once, not once for each time it missed.
                    due[rule.logical_id] = schedule.next_after(max(moment, now))
            waits = [(moment - now).total_seconds() for moment in due.values() if moment is not None]
            self._closing.wait(max(0.01, min([_CLOCK_STEP_SECONDS, *waits])))

    def _scheduled_event(self, rule: Rule, moment: datetime) -> Event:
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": self._stack.account_id,
            "time": _seconds(moment),
            "region": self._stack.region,
            "resources": [rule.arn],
            "detail": {},
        }

    def _deliver_all(self) -> None:
        while True:
            item = self._events.get()
            if item is None:
                return
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                if isinstance(item, tuple):
                    self._send(item[0], item[1])
                    continue
                for rule in self._rules:
                    if rule.enabled and rule.matches is not None and rule.matches(item):
                        self._send(rule, item)
            except Exception:
                logger.exception("An event was lost.")

    def _send(self, rule: Rule, event: Mapping[str, Any]) -> None:
        for target in rule.targets:
            self._deliveries.deliver(str(event.get("source")), partial(self._send_to, target, rule, event))

    def _send_to(self, target: Target, rule: Rule, event: Mapping[str, Any]) -> None:
        text = target.write(event)
        try:
            json.loads(text)
        except ValueError:
            self._give_up(rule, target, text, "INVALID_JSON", "The transformed input is no JSON.")
            return
        try:
            if ":lambda:" in target.arn:
                self._functions.invoke_later(target.arn, text.encode())
            else:
                send_to_queue(self._clients, target.arn, text)
        except (ClientError, BotoCoreError, KeyError) as error:
            self._give_up(rule, target, json.dumps(event), "SDK_CLIENT_ERROR", str(error))

    def _give_up(self, rule: Rule, target: Target, text: str, code: str, message: str) -> None:
        """Send to the rule's dead-letter queue, with the attributes that EventBridge adds."""
        logger.warning("%s could not be delivered to %s: %s", rule.logical_id, target.arn, message)
        if target.dead_letter is None:
            return
        attributes = {"RULE_ARN": rule.arn, "TARGET_ARN": target.arn, "ERROR_CODE": code, "ERROR_MESSAGE": message}
        try:
            send_to_queue(self._clients, target.dead_letter, text, attributes)
        except (ClientError, BotoCoreError):
            logger.exception("%s could not be dead-lettered either.", rule.logical_id)


def read_rules(stack: Stack, *, start: datetime) -> tuple[Rule, ...]:
    """Read and check every rule of the stack; raises TemplateError."""
    return tuple(_rule(stack, resource, start) for resource in stack.of_kind("AWS::Events::Rule"))


def _rule(stack: Stack, resource: Resource, start: datetime) -> Rule:
    name = resource.logical_id
    arn = stack.arn(name)
    state = resource.get("State", "ENABLED")
    if state not in _ENABLED:
        raise invalid(name, f"its State is {state!r}.")
    pattern, expression = resource.get("EventPattern"), resource.get("ScheduleExpression")
    if (pattern is None) == (expression is None):
        raise invalid(name, "it needs either an EventPattern or a ScheduleExpression.")
    try:
        matches = (
            None if pattern is None else compile_pattern(json.loads(pattern) if isinstance(pattern, str) else pattern)
        )
        schedule = None if expression is None else parse_schedule(str(expression), start=start)
    except (PatternError, ScheduleError) as error:
        raise invalid(name, str(error)) from error
    targets = resource.get("Targets", [])
    if not 1 <= len(targets) <= _MAX_TARGETS:
        raise invalid(name, f"it has {len(targets)} targets; a rule has from 1 to {_MAX_TARGETS}.")
    return Rule(
        logical_id=name,
        arn=arn,
        enabled=_ENABLED[state],
        matches=matches,
        schedule=schedule,
        targets=tuple(_target(stack, resource, arn, target) for target in targets),
    )


def _target(stack: Stack, rule: Resource, rule_arn: str, target: Mapping[str, Any]) -> Target:
    name = rule.logical_id
    check_keys(name, "Targets", target, _TARGET_KEYS)
    aim = stack.by_arn(str(target.get("Arn")))
    if aim is None:
        raise invalid(name, f"its target {target.get('Arn')} is not of this stack.")
    if aim.kind == "AWS::Lambda::Function":
        require_invoke_permission(stack, aim, service="events.amazonaws.com", source_arn=rule_arn, needed_by=name)
    elif aim.kind == "AWS::SQS::Queue":
        require_queue_permission(stack, aim, source_arn=rule_arn, needed_by=name)
    else:
        raise invalid(name, f"the embedded AWS cannot send events to {aim.kind}.")
    dead_letter = target.get("DeadLetterConfig", {}).get("Arn")
    if dead_letter is not None:
        graveyard = stack.by_arn(str(dead_letter))
        if graveyard is None or graveyard.kind != "AWS::SQS::Queue":
            raise invalid(name, f"its dead-letter queue {dead_letter} is no queue of this stack.")
        require_queue_permission(stack, graveyard, source_arn=rule_arn, needed_by=name)
    return Target(
        arn=str(target["Arn"]),
        write=input_of(rule, rule_arn, target),
        dead_letter=str(dead_letter) if dead_letter else None,
    )


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def _seconds(moment: datetime) -> str:
    """Write a time as events have it: to the second (rounded down)."""
    return (moment - timedelta(microseconds=moment.microsecond)).strftime("%Y-%m-%dT%H:%M:%SZ")
