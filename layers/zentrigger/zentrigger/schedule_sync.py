"""Schedules of triggers in EventBridge Scheduler: set from the triggers' records, which are the truth.

A write of a trigger keeps, in its own transaction, that the schedule is to be set. Whoever sets it reads the trigger,
sets its schedule, and reads the trigger again until it is still what was set; only then is the note taken away. So a
function may die between any two lines, and two writers may overtake each other: what is noted is settled by the next
minute.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from zentrigger.observability import logger
from zentrigger.schedules import Schedule, parse_schedule, parse_time_zone
from zentrigger.timestamps import now
from zentrigger.trigger_store import TriggerStore
from zentrigger.triggers import ScheduleTrigger, Trigger

SHOWN_TIMES = 5

_TURNS = 5
"""How often a trigger may change while its schedule is being set before that is left to the next minute."""


_FIRED_WITHIN = timedelta(minutes=2)
"""How late a firing may be (AWS: "60 second precision")."""


@dataclass(frozen=True)
class WantedSchedule:
    """The schedule that a trigger is to have: what EventBridge Scheduler is told."""

    expression: str
    time_zone: str
    enabled: bool
    flexible_window_minutes: int | None
    start: datetime | None
    end: datetime | None


class Schedules(Protocol):
    """EventBridge Scheduler, as far as triggers need it."""

    def put(self, trigger: str, wanted: WantedSchedule) -> None:
        """Make a trigger's schedule, or replace it."""
        ...

    def delete(self, trigger: str) -> None:
        """Delete a trigger's schedule, if there is one."""
        ...


def schedule_of(trigger: Trigger) -> Schedule | None:
    """Give when a trigger fires by itself; None for one of another type, or that only the stack's rule fires."""
    definition = trigger.definition
    if not isinstance(definition, ScheduleTrigger) or definition.schedule is None:
        return None
    return parse_schedule(definition.schedule)


def next_times(trigger: Trigger, moment: datetime) -> tuple[datetime, ...]:
    """Give the next five moments at which a trigger fires; none while it is disabled."""
    return _times(trigger, moment, SHOWN_TIMES) if trigger.definition.enabled else ()


def _times(trigger: Trigger, moment: datetime, count: int) -> tuple[datetime, ...]:
    definition, schedule = trigger.definition, schedule_of(trigger)
    if schedule is None or not isinstance(definition, ScheduleTrigger):
        return ()
    return schedule.next_times(
        moment,
        time_zone=parse_time_zone(definition.time_zone),
        anchor=trigger.anchor,
        until=definition.end_at,
        count=count,
    )


def wanted_schedule(trigger: Trigger | None, moment: datetime) -> WantedSchedule | None:
    """Give the schedule that a trigger is to have now; None: none, for it has none or will never fire again.

    A rate is given its next tick as its start, so that it goes on counting from where it began whenever it is set anew.
    """
    schedule = schedule_of(trigger) if trigger is not None else None
    if schedule is None or trigger is None or not isinstance(trigger.definition, ScheduleTrigger):
        return None
    definition = trigger.definition
    # A single firing may still wait in its window, and would be lost with its schedule.
    window = timedelta(minutes=definition.flexible_window_minutes or 0)
    following = _times(trigger, moment - window - _FIRED_WITHIN if schedule.kind == "at" else moment, 1)
    if not following:
        return None
    start = following[0] if schedule.kind == "rate" else definition.start_at
    return WantedSchedule(
        expression=schedule.expression,
        time_zone=definition.time_zone,
        enabled=definition.enabled,
        flexible_window_minutes=definition.flexible_window_minutes,
        # AWS takes no start that is long over, and none is needed then.
        start=start if start is not None and start > moment else None,
        end=definition.end_at,
    )


class ScheduleSync:
    """Sets the schedules of triggers as their records say. Safe to call twice, and at once from several places."""

    def __init__(self, triggers: TriggerStore, schedules: Schedules, clock: Callable[[], datetime] = now) -> None:
        self._triggers = triggers
        self._schedules = schedules
        self._clock = clock

    def settle(self, name: str, write: str) -> bool:
        """Set the schedule of a trigger, and forget that this write asked for it. False: it changes all the time."""
        trigger = self._triggers.find(name)
        for _ in range(_TURNS):
            self._set(name, trigger)
            standing = self._triggers.find(name)
            if standing == trigger:
                self._triggers.settled(name, write)
                return True
            trigger = standing
        return False

    def settle_now(self, names: Sequence[str], write: str) -> None:
        """Set the schedules that a write asked for, as far as that works now; what does not stays noted."""
        for name in names:
            try:
                self.settle(name, write)
            except Exception:  # noqa: BLE001 - it is noted, and the next minute tries again
                logger.exception("a schedule is to be set later", trigger=name)

    def settle_all(self) -> int:
        """Set all schedules that are still to be set; gives how many were.

        Raises:
            ScheduleSyncError: some could not be set; all others were.

        """
        failed, done = [], 0
        for name, write in self._triggers.pending_schedules():
            try:
                done += self.settle(name, write)
            except Exception:  # noqa: BLE001 - raised below, when the others have had their turn
                logger.exception("a schedule could not be set", trigger=name)
                failed.append(name)
        if failed:
            raise ScheduleSyncError(f"the schedules of {', '.join(failed)} could not be set; see the log before this")
        return done

    def _set(self, name: str, trigger: Trigger | None) -> None:
        wanted = wanted_schedule(trigger, self._clock())
        if wanted is None:
            self._schedules.delete(name)
        else:
            self._schedules.put(name, wanted)


class ScheduleSyncError(Exception):
    """Some schedules could not be set; the next minute tries again."""
