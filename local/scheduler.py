"""Amazon EventBridge Scheduler: schedules that are made through its API, and fire while the cloud runs.

Rules: EventBridge Scheduler API reference and User Guide ("Managing a schedule", "Flexible time windows"). Schedules
live in memory and end with the cloud.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from local.change_signal import ChangeSignal
from local.errors import invalid
from local.http_server import Request, Response
from local.scheduler_requests import SchedulerError, checked, not_valid, parameters_of, route_of
from local.scheduler_targets import Firing, Targets
from local.scheduler_times import Timetable, read_timetable
from local.schedules import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.clients import Clients
    from local.deploy import Resource, Stack
    from local.endpoint import FunctionApi
    from local.faults import Faults

logger = logging.getLogger(__name__)

_CLOCK_STEP_SECONDS: Final = 1.0
_DEFAULT_GROUP: Final = "default"
_DEFAULT_RETRIES: Final = {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
_EARLIEST_START: Final = timedelta(minutes=5)
_PAGE: Final = 100
_KEPT_TOKENS: Final = 1000
_SUMMARY: Final = ("Arn", "GroupName", "Name", "State", "CreationDate", "LastModificationDate")

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class _Group:
    name: str
    arn: str
    created: datetime

    def shown(self) -> dict[str, Any]:
        dates = {"CreationDate": self.created, "LastModificationDate": self.created}
        return {"Arn": self.arn, "Name": self.name, "State": "ACTIVE", **dates}


@dataclass
class _Schedule:
    """One schedule; `due` is when it fires next, `waiting` what its flexible window has put off: (when, scheduled)."""

    arn: str
    parameters: Parameters
    created: datetime
    changed: datetime
    timetable: Timetable
    due: datetime | None
    waiting: list[tuple[datetime, datetime]] = field(default_factory=list)

    @property
    def enabled(self) -> bool:
        return bool(self.parameters["State"] == "ENABLED")

    @property
    def is_to_be_deleted(self) -> bool:
        """Whether it has fired for the last time, and is to go then."""
        return self.due is None and not self.waiting and bool(self.parameters["ActionAfterCompletion"] == "DELETE")

    def next_moment(self) -> datetime | None:
        """Return when there is something to do, which is never for a disabled one."""
        moments = [when for when, _ in self.waiting] + ([self.due] if self.due is not None else [])
        return min(moments, default=None) if self.enabled else None

    def take(self, now: datetime, chance: random.Random) -> list[Firing]:
        """Return what is to be sent now; a machine that slept fires once, not once for each time it missed."""
        if not self.enabled:
            return []
        if self.due is not None and self.due <= now:
            window = timedelta(minutes=self.parameters["FlexibleTimeWindow"].get("MaximumWindowInMinutes", 0))
            self.waiting.append((self.due + window * chance.random(), self.due))
            self.due = None if self.timetable.fires_once else self.timetable.next_after(max(self.due, now))
        ready = [scheduled for when, scheduled in self.waiting if when <= now]
        self.waiting = [(when, scheduled) for when, scheduled in self.waiting if when > now]
        return [self.firing(scheduled) for scheduled in ready]

    def firing(self, scheduled: datetime) -> Firing:
        return Firing(str(self.parameters["Name"]), self.arn, self.parameters["Target"], scheduled)

    def shown(self) -> dict[str, Any]:
        dates = {"CreationDate": self.created, "LastModificationDate": self.changed}
        return {"Arn": self.arn, **self.parameters, **dates}


class Scheduler:
    """Holds schedules and their groups, answers the API, and fires. The stack's own are there from the beginning.

    Raises TemplateError for a group or a schedule of the template that AWS would refuse.
    """

    def __init__(  # noqa: PLR0913 - one argument for each neighbour
        self,
        stack: Stack,
        *,
        clients: Clients,
        functions: FunctionApi,
        clock: Callable[[], datetime],
        faults: Faults | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._stack = stack
        self._clock = clock
        self._targets = Targets(stack, clients=clients, functions=functions, faults=faults)
        self._chance = chance or random.Random()  # noqa: S311 - no secret
        self._lock = threading.RLock()
        self._sending = threading.Lock()
        self._changes = ChangeSignal()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._groups: dict[str, _Group] = {}
        self._schedules: dict[tuple[str, str], _Schedule] = {}
        self._answered: OrderedDict[str, tuple[str, Parameters, dict[str, Any]]] = OrderedDict()
        self._operations: Mapping[str, Callable[[Parameters], dict[str, Any]]] = {
            "CreateSchedule": self._create,
            "UpdateSchedule": self._update,
            "GetSchedule": lambda asked: self._found(asked).shown(),
            "DeleteSchedule": self._delete,
            "ListSchedules": self._list,
            "CreateScheduleGroup": self._create_group,
            "GetScheduleGroup": lambda asked: self._group(asked["Name"]).shown(),
            "DeleteScheduleGroup": self._delete_group,
            "ListScheduleGroups": self._list_groups,
        }
        self.reset()

    def start(self) -> None:
        """Fire from now on."""
        self._thread.start()

    def close(self) -> None:
        """Send what is being sent, then stop."""
        self._closing.set()
        self._changes.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def reset(self) -> None:
        """Forget everything but what the template says; what was being sent has been sent then."""
        with self._sending, self._lock:
            self._groups.clear()
            self._schedules.clear()
            self._answered.clear()
            self._add_group(_DEFAULT_GROUP)
            for group in self._stack.of_kind("AWS::Scheduler::ScheduleGroup"):
                self._deploy(group, "CreateScheduleGroup", ())
            for schedule in self._stack.of_kind("AWS::Scheduler::Schedule"):
                self._deploy(schedule, "CreateSchedule", schedule.properties)

    def answer(self, request: Request) -> Response:
        """Answer one request of the API."""
        try:
            route = route_of(request)
            if route is None or route.operation not in self._operations:
                asked = route.operation if route is not None else f"{request.method} {request.path}"
                raise SchedulerError("UnknownOperationException", f"The embedded AWS's scheduler has no {asked}.")  # noqa: TRY301
            body = self._answer_once(route.operation, checked(route.operation, parameters_of(request, route)))
        except SchedulerError as error:
            return _json(error.status, {"Message": str(error)}, [("x-amzn-errortype", error.code)])
        return _json(200, body)

    def fire_due(self) -> int:
        """Send what is due by the clock, as the thread does all the time; returns how much that was."""
        with self._sending:
            firings = self._take()
            for firing in firings:
                self._targets.send(firing)
        return len(firings)

    def fire(self, name: str, group: str = _DEFAULT_GROUP) -> None:
        """Fire a schedule now, whatever its expression and state say: for tests and for the impatient."""
        with self._lock:
            firing = self._schedules[group, name].firing(self._clock())
        self._targets.send(firing)

    def _take(self) -> list[Firing]:
        with self._lock:
            now = self._clock()
            firings = [firing for schedule in self._schedules.values() for firing in schedule.take(now, self._chance)]
            taken = {firing.arn for firing in firings}
            self._schedules = {
                key: schedule
                for key, schedule in self._schedules.items()
                if not (schedule.arn in taken and schedule.is_to_be_deleted)
            }
        return firings

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._closing.is_set():
            seen = self._changes.count
            try:
                self.fire_due()
            except Exception:
                logger.exception("A schedule could not fire.")
            self._changes.wait(seen, self._pause())

    def _pause(self) -> float:
        with self._lock:
            now = self._clock()
            moments = [schedule.next_moment() for schedule in self._schedules.values()]
        waits = [(moment - now).total_seconds() for moment in moments if moment is not None]
        return max(0.01, min([_CLOCK_STEP_SECONDS, *waits]))

    # ------------------------------------------------------------ schedules

    def _answer_once(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer; a request that comes again with its token is answered again, and not done again."""
        token = asked.pop("ClientToken", None)
        with self._lock:
            before = self._answered.get(f"{operation} {token}")
            if token is not None and before is not None:
                if before[:2] != (operation, asked):
                    raise SchedulerError("ConflictException", f"The ClientToken {token} was used for another request.")
                return before[2]
            answered = self._operations[operation](asked)
            if token is not None:
                self._answered[f"{operation} {token}"] = (operation, asked, answered)
                while len(self._answered) > _KEPT_TOKENS:
                    self._answered.popitem(last=False)
        self._changes.notify()
        return answered

    def _create(self, asked: Parameters) -> dict[str, Any]:
        group = self._group(asked.get("GroupName", _DEFAULT_GROUP))
        key = (group.name, str(asked["Name"]))
        if key in self._schedules:
            raise SchedulerError("ConflictException", f"Schedule {asked['Name']} already exists.")
        now = self._clock()
        parameters, timetable = self._complete(asked, group, created=now, now=now)
        # What is over already fires at once; a rate without a start fires when it is made.
        due = timetable.schedule.next_after(_DAWN) if timetable.fires_once else timetable.next_from(now)
        arn = self._arn(f"schedule/{group.name}/{asked['Name']}")
        self._schedules[key] = _Schedule(arn, parameters, now, now, timetable, due)
        return {"ScheduleArn": arn}

    def _update(self, asked: Parameters) -> dict[str, Any]:
        """Replace all of a schedule: what is left out is as if it had never been said."""
        before = self._found(asked)
        group = self._group(str(before.parameters["GroupName"]))
        now = self._clock()
        parameters, timetable = self._complete(asked, group, created=before.created, now=now)
        if not timetable.fires_once:
            due = timetable.next_after(now)
        elif timetable == before.timetable:
            due = before.due
        else:
            due = timetable.schedule.next_after(_DAWN)
        self._schedules[group.name, str(asked["Name"])] = _Schedule(
            before.arn, parameters, before.created, now, timetable, due
        )
        return {"ScheduleArn": before.arn}

    def _delete(self, asked: Parameters) -> dict[str, Any]:
        schedule = self._found(asked)
        del self._schedules[str(schedule.parameters["GroupName"]), str(schedule.parameters["Name"])]
        return {}

    def _list(self, asked: Parameters) -> dict[str, Any]:
        group = None if "GroupName" not in asked else self._group(asked["GroupName"]).name
        state = asked.get("State")
        found = [
            {
                **{name: value for name, value in schedule.shown().items() if name in _SUMMARY},
                "Target": {"Arn": schedule.parameters["Target"]["Arn"]},
            }
            for schedule in sorted(self._schedules.values(), key=lambda one: one.arn)
            if group in {None, schedule.parameters["GroupName"]}
            and state in {None, schedule.parameters["State"]}
            and schedule.parameters["Name"].startswith(asked.get("NamePrefix", ""))
        ]
        return _page("Schedules", found, asked)

    def _found(self, asked: Parameters) -> _Schedule:
        group = self._group(asked.get("GroupName", _DEFAULT_GROUP))
        schedule = self._schedules.get((group.name, str(asked["Name"])))
        if schedule is None:
            raise SchedulerError("ResourceNotFoundException", f"Schedule {asked['Name']} does not exist.")
        return schedule

    def _complete(
        self, asked: Parameters, group: _Group, *, created: datetime, now: datetime
    ) -> tuple[Parameters, Timetable]:
        """Fill in the defaults; raises SchedulerError for what the model does not forbid, and AWS does."""
        parameters = {
            "ActionAfterCompletion": "NONE",
            "ScheduleExpressionTimezone": "UTC",
            "State": "ENABLED",
            **asked,
            "GroupName": group.name,
            "Target": {"RetryPolicy": _DEFAULT_RETRIES, **asked["Target"]},
        }
        start, end = asked.get("StartDate"), asked.get("EndDate")
        try:
            timetable = read_timetable(
                str(asked["ScheduleExpression"]),
                str(parameters["ScheduleExpressionTimezone"]),
                start=start,
                end=end,
                created=created,
            )
        except ScheduleError as error:
            raise not_valid(f"Invalid Schedule Expression {asked['ScheduleExpression']}. {error}") from error
        if start is not None and start < now - _EARLIEST_START and not timetable.fires_once:
            raise not_valid("The StartDate you specify cannot be earlier than 5 minutes ago.")
        if start is not None and end is not None and start >= end:
            raise not_valid("The StartDate you specify must come before the EndDate.")
        window = asked["FlexibleTimeWindow"]
        if (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window):
            raise not_valid("FlexibleTimeWindow needs MaximumWindowInMinutes if its Mode is FLEXIBLE, and only then.")
        self._targets.check(asked["Target"], group.arn)
        return parameters, timetable

    # ------------------------------------------------------------ groups

    def _create_group(self, asked: Parameters) -> dict[str, Any]:
        if asked["Name"] in self._groups:
            raise SchedulerError("ConflictException", f"Schedule group {asked['Name']} already exists.")
        return {"ScheduleGroupArn": self._add_group(str(asked["Name"])).arn}

    def _delete_group(self, asked: Parameters) -> dict[str, Any]:
        group = self._group(asked["Name"])
        if group.name == _DEFAULT_GROUP:
            raise not_valid("The default schedule group cannot be deleted.")
        del self._groups[group.name]
        self._schedules = {key: schedule for key, schedule in self._schedules.items() if key[0] != group.name}
        return {}

    def _list_groups(self, asked: Parameters) -> dict[str, Any]:
        prefix = asked.get("NamePrefix", "")
        found = [group.shown() for name, group in sorted(self._groups.items()) if name.startswith(prefix)]
        return _page("ScheduleGroups", found, asked)

    def _group(self, name: str) -> _Group:
        group = self._groups.get(name)
        if group is None:
            raise SchedulerError("ResourceNotFoundException", f"Schedule group {name} does not exist.")
        return group

    def _add_group(self, name: str) -> _Group:
        group = self._groups[name] = _Group(name, self._arn(f"schedule-group/{name}"), self._clock())
        return group

    # ------------------------------------------------------------ the stack

    def _arn(self, resource: str) -> str:
        return f"arn:aws:scheduler:{self._stack.region}:{self._stack.account_id}:{resource}"

    def _deploy(self, resource: Resource, operation: str, properties: Iterable[str]) -> None:
        asked = {name: resource[name] for name in properties} | {"Name": resource.physical_id}
        try:
            self._operations[operation](checked(operation, asked, strict=True))
        except SchedulerError as error:
            raise invalid(resource.logical_id, str(error)) from error


_DAWN: Final = datetime.fromisoformat("0001-01-02T00:00:00+00:00")


def _page(name: str, found: list[dict[str, Any]], asked: Parameters) -> dict[str, Any]:
    """Give one page, which begins behind the ARN that the token names."""
    token = asked.get("NextToken")
    if token is not None:
        last = _read_token(token)
        found = [one for one in found if one["Arn"] > last]
    size = asked.get("MaxResults", _PAGE)
    more = {"NextToken": base64.urlsafe_b64encode(found[size - 1]["Arn"].encode()).decode()} if found[size:] else {}
    return {name: found[:size], **more}


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        raise not_valid("Invalid NextToken.") from error


def _json(status: int, body: Mapping[str, Any], headers: Iterable[tuple[str, str]] = ()) -> Response:
    common = [("Content-Type", "application/json"), ("x-amzn-RequestId", str(uuid.uuid4()))]
    text = json.dumps(body, default=datetime.timestamp)
    return Response(status, [*common, *headers], text.encode())
