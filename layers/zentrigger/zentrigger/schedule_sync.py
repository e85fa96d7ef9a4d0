"""Schedules of triggers in EventBridge Scheduler: set from the triggers' records, which are the truth.

A write of a trigger keeps, in its own transaction, that the schedule is to be set. Whoever sets it reads the trigger,
sets its schedule, and reads the trigger again until it is still what was set; only then is the note taken away. So a
function may die between any two lines, and two writers may overtake each other: what is noted is settled by the next
minute.

A schedule that is as it should be is left alone, and one that has just fired is replaced only when that firing must
have come: AWS does not say that a firing which still waits outlives its schedule, or the schedule's next version.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from zentrigger.observability import logger
from zentrigger.schedules import Schedule, ScheduleError, parse_schedule, parse_time_zone
from zentrigger.timestamps import now
from zentrigger.trigger_store import PendingSchedule, TriggerStore
from zentrigger.triggers import ScheduleTrigger, Trigger

SHOWN_TIMES = 5

_TURNS = 5
"""How often a trigger may change while its schedule is being set before that is left to the next minute."""

_FIRED_WITHIN = timedelta(minutes=2)
"""How late a firing may be (AWS: "60 second precision"), and to spare."""

_MOST_TIMES = 1500
"""In the longest window, a day, and two minutes there are fewer times of whatever schedule."""

_AT_ONCE_SECONDS = 8.0
"""For so long schedules are set while somebody waits for an answer; no further one is begun then."""

_EACH_MINUTE_SECONDS = 10.0
"""For so long they are set each minute. What the last one takes then still fits into the function's time-out."""

REFUSED_AGAIN = timedelta(hours=1)
"""How long a refusal of AWS is believed: a quota may have been raised since."""

_PATIENCE = timedelta(minutes=15)
"""For so long failures that may pass are only logged."""

_TOLD_EVERY, _TOLD_FOR = timedelta(hours=1), timedelta(minutes=5)
"""Failures that do not pass fail the minute's function so often, for so long: Lambda repeats an invocation twice,
within three minutes, before it is a dead letter; and one an hour is enough to be read."""

_TOLD_NAMES = 10


@dataclass(frozen=True)
class WantedSchedule:
    """The schedule that a trigger is to have: what EventBridge Scheduler is told."""

    expression: str
    time_zone: str
    enabled: bool
    flexible_window_minutes: int | None
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True)
class StandingSchedule:
    """A schedule as EventBridge Scheduler has it."""

    told: WantedSchedule
    changed: datetime
    """When it was made, or replaced for the last time."""
    ours: bool = True
    """Whether all else, as where it sends and what, is as it is made here."""


class Schedules(Protocol):
    """EventBridge Scheduler, as far as triggers need it."""

    def find(self, trigger: str) -> StandingSchedule | None:
        """Give a trigger's schedule as it stands."""
        ...

    def put(self, trigger: str, wanted: WantedSchedule) -> None:
        """Make a trigger's schedule, or replace it.

        Raises:
            ScheduleRefusedError: AWS does not take it, now or later.

        """
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
        # A StartDate is sent in whole seconds.
        anchor=trigger.anchor.replace(microsecond=0),
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
    # One that fires once is made, too, if its time came while it waited to be made: AWS fires it at once.
    window = timedelta(minutes=definition.flexible_window_minutes or 0)
    following = _times(trigger, moment - window - _FIRED_WITHIN if schedule.kind == "at" else moment, 1)
    if not following:
        return None
    start = following[0] if schedule.kind == "rate" else _whole(definition.start_at)
    # Up, or it might be the start, and AWS wants it behind that.
    end = _whole(definition.end_at + timedelta(microseconds=999_999)) if definition.end_at is not None else None
    return WantedSchedule(
        expression=schedule.expression,
        time_zone=definition.time_zone,
        enabled=definition.enabled,
        flexible_window_minutes=definition.flexible_window_minutes,
        # AWS takes no start that is long over, nor an end that is, and none is needed then.
        start=_ahead(start, moment),
        end=_ahead(end, moment),
    )


def _whole(moment: datetime | None) -> datetime | None:
    """Give the second that a moment lies in: finer than that nothing is sent."""
    return moment.replace(microsecond=0) if moment is not None else None


def _ahead(moment: datetime | None, of: datetime) -> datetime | None:
    return moment if moment is not None and moment > of else None


def is_as_wanted(standing: StandingSchedule, wanted: WantedSchedule, moment: datetime) -> bool:
    """Tell whether a schedule will do from now on what is wanted, so that nothing has to be set.

    A rate may have begun at any earlier tick of the same rhythm; a start or an end that is over means nothing more.
    """
    told = standing.told
    if not standing.ours or replace(told, start=None, end=None) != replace(wanted, start=None, end=None):
        return False
    schedule = parse_schedule(wanted.expression)
    if schedule.kind != "rate":
        same_start = _ahead(told.start, moment) == wanted.start
    elif told.start is None:
        # It counts from when it was made.
        same_start = False
    else:
        zone = parse_time_zone(wanted.time_zone)
        same_start = schedule.next_times(moment, time_zone=zone, anchor=told.start, count=1) == (wanted.start,)
    return same_start and (_ahead(told.end, moment) if schedule.kind == "at" else told.end) == wanted.end


def busy_until(standing: StandingSchedule, moment: datetime) -> datetime | None:
    """Give until when a firing may still be on its way that was due by a moment; None: none is."""
    told = standing.told
    reach = timedelta(minutes=told.flexible_window_minutes or 0) + _FIRED_WITHIN
    # What was due before it was made anew was lost with it, or has come.
    last = _last_time(told, max(moment - reach, standing.changed), moment) if told.enabled else None
    return last + reach if last is not None else None


def _last_time(told: WantedSchedule, after: datetime, until: datetime) -> datetime | None:
    """Give the last time of a schedule in a span; its end, where a hand has made it so that this cannot be told."""
    try:
        schedule, zone = parse_schedule(told.expression), parse_time_zone(told.time_zone)
    except ScheduleError:
        return until
    if schedule.kind == "rate" and told.start is None:
        return until
    once = schedule.kind == "at"
    times = schedule.next_times(
        after,
        time_zone=zone,
        anchor=told.start if told.start is not None and not once else after,
        until=(until if told.end is None or once else min(until, told.end)) + timedelta(microseconds=1),
        count=_MOST_TIMES,
    )
    return times[-1] if times else None


class ScheduleSync:
    """Sets the schedules of triggers as their records say. Safe to call twice, and at once from several places."""

    def __init__(
        self,
        triggers: TriggerStore,
        schedules: Schedules,
        clock: Callable[[], datetime] = now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._triggers = triggers
        self._schedules = schedules
        self._clock = clock
        self._timer = timer

    def settle(self, note: PendingSchedule) -> bool:
        """Set the schedule of a trigger, and forget that it was to be. False: not yet.

        It changes all the time, or a firing of before that it was noted may still be on its way.

        Raises:
            ScheduleRefusedError: AWS does not take it, now or later.

        """
        trigger = self._triggers.find(note.trigger)
        for _ in range(_TURNS):
            refusal = None
            is_set = False
            try:
                is_set = self._set(note, trigger)
            except ScheduleRefusedError as error:
                refusal = error
            standing = self._triggers.find(note.trigger)
            if standing == trigger:
                if refusal is not None:
                    raise refusal
                if is_set:
                    self._triggers.settled(note.trigger, note.write)
                return is_set
            trigger = standing
        return False

    def settle_now(self, names: Sequence[str], write: str) -> None:
        """Set the schedules that a write asked for, as far as that works now; what does not stays noted."""
        begun = self._timer()
        for number, name in enumerate(names):
            if self._timer() - begun >= _AT_ONCE_SECONDS:
                logger.info("schedules are left to the next minute", left=len(names) - number)
                return
            try:
                for note in self._triggers.pending_schedules(name):
                    # What AWS refused of it before is answered by this write.
                    if note.write == write or note.problem is not None:
                        self._settle_or_tell(note)
            except Exception:  # noqa: BLE001 - it is noted, and the next minute tries again
                logger.exception("a schedule is to be set later", trigger=name)

    def settle_all(self) -> int:
        """Set all schedules that are still to be set, as many as there is time for; gives how many were.

        Raises:
            ScheduleSyncError: some could not be set for a quarter of an hour; all others had their turn.

        """
        begun, moment = self._timer(), self._clock()
        due = [note for note in self._triggers.pending_schedules() if _is_due(note, moment)]
        # Each time in another order, so that none that takes long always comes before the same others.
        random.shuffle(due)
        lasting: list[str] = []
        done = 0
        for number, note in enumerate(due):
            if self._timer() - begun >= _EACH_MINUTE_SECONDS:
                logger.warning("schedules are left to the next minute", left=len(due) - number)
                break
            try:
                done += self._settle_or_tell(note)
            except Exception:  # noqa: BLE001 - raised below, when the others have had their turn
                logger.exception("a schedule could not be set", trigger=note.trigger)
                if _is_to_be_told(moment - note.since):
                    lasting.append(note.trigger)
        if lasting:
            names = ", ".join(sorted(lasting)[:_TOLD_NAMES])
            raise ScheduleSyncError(f"{len(lasting)} schedules cannot be set, see the log before this: {names}")
        return done

    def _settle_or_tell(self, note: PendingSchedule) -> bool:
        """Set a schedule; what AWS refuses for good is kept with the note, for whoever asks for the trigger."""
        try:
            return self.settle(note)
        except ScheduleRefusedError as refusal:
            logger.warning("a schedule is refused", trigger=note.trigger, problem=str(refusal))
            self._triggers.keep_refusal(note, str(refusal), self._clock())
            return False

    def _set(self, note: PendingSchedule, trigger: Trigger | None) -> bool:
        """Set a schedule where it is not as it should be. False: not yet, for it has just fired."""
        moment = self._clock()
        wanted, standing = wanted_schedule(trigger, moment), self._schedules.find(note.trigger)
        if standing is None:
            if wanted is not None:
                self._schedules.put(note.trigger, wanted)
            return True
        if wanted is not None and is_as_wanted(standing, wanted, moment):
            return True
        if _takes_firings(trigger):
            until = busy_until(standing, note.since)
            if until is not None and moment < until:
                return False
        if wanted is None:
            self._schedules.delete(note.trigger)
        else:
            self._schedules.put(note.trigger, wanted)
        return True


def _takes_firings(trigger: Trigger | None) -> bool:
    """Tell whether a firing would start something: not of one that was paused, deleted, or is of another type now."""
    return trigger is not None and isinstance(trigger.definition, ScheduleTrigger) and trigger.definition.enabled


def _is_due(note: PendingSchedule, moment: datetime) -> bool:
    return note.refused_at is None or moment - note.refused_at >= REFUSED_AGAIN


def _is_to_be_told(age: timedelta) -> bool:
    return age >= _PATIENCE and (age - _PATIENCE) % _TOLD_EVERY < _TOLD_FOR


class ScheduleRefusedError(Exception):
    """AWS does not take a schedule, and would not if it were asked again; the text is AWS's."""


class ScheduleSyncError(Exception):
    """Some schedules could not be set for long; the next minute tries again."""
