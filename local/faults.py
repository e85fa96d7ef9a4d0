"""What may go wrong in the embedded AWS, and when: by chance, from a seed, or exactly as a test says.

A fault has a name: `<service>.<fault>`, or `<service>.<which>.<fault>` for one action, capacity provider, subnet or
source of events alone. Whoever is about to answer, start or deliver something asks `happens`; what the fault is like
stands with him: in `api_faults`, `ecs_faults`, `delivery_faults`.
"""

from __future__ import annotations

import logging
import math
import random
import re
import threading
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from local.fault_names import Name, fault_names, read_name, short_fault_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

_DELAY_SECONDS: Final = 5.0
_MEMORY_SECONDS: Final = 3600.0
_NUMBER = re.compile(r"\d+(\.\d+)?|\.\d+")
_SETTINGS: Final = {
    "seed": "a whole number: the same seed, the same faults, as far as threads allow",
    "delay_seconds": "the most that delayed events and deaths of tasks wait (default 5)",
    "memory_seconds": "how long ECS remembers stopped tasks (default 3600)",
}


class FaultSpecError(ValueError):
    """There is no such fault, or its rate is none; the message says which faults there are."""


@dataclass(slots=True)
class _Chance:
    """Happens with a probability."""

    probability: float
    random: random.Random

    def happens(self) -> bool:
        return self.random.random() < self.probability


@dataclass(slots=True)
class _Script:
    """Spares some occasions, happens at the next ones, and never again."""

    spared: int
    left: float

    def happens(self) -> bool:
        if self.spared > 0:
            self.spared -= 1
            return False
        if self.left <= 0:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class _Every:
    """Happens at every so many-th occasion."""

    count: int
    seen: int = 0

    def happens(self) -> bool:
        self.seen += 1
        return self.seen % self.count == 0


class Faults:
    """Which faults happen, and when; thread-safe. A new one has none.

    Each fault draws from a random generator of its own, so that one more leaves the others as they were. What is to
    happen later is held until `release`; after `use_timers` it happens by itself, within `delay_seconds`.
    Names that do not exist raise FaultSpecError.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed
        self.delay_seconds = _DELAY_SECONDS
        self.memory_seconds = _MEMORY_SECONDS
        self._lock = threading.Lock()
        self._rules: dict[Name, list[_Chance | _Script | _Every]] = {}
        self._counts: Counter[str] = Counter()
        self._delays = random.Random(f"{seed}/delays")  # noqa: S311 - no secret
        self._suspended = 0
        self._held: deque[Callable[[], None]] = deque()
        self._timers: set[threading.Timer] | None = None
        self._closed = False

    @classmethod
    def parse(cls, spec: str) -> Self:
        """Read `ecs.RunTask.lost_answer=0.2,events.repeat=0.3,seed=7`; raises FaultSpecError."""
        pairs = [_pair(part) for part in re.split(r"[,\s]+", spec.strip()) if part]
        seeds = [value for name, value in pairs if name == "seed"]
        if any(seed != int(seed) for seed in seeds):
            raise _wrong("The seed is a whole number.")
        faults = cls(seed=int(seeds[-1]) if seeds else 0)
        for name, value in pairs:
            if name == "delay_seconds":
                faults.delay_seconds = value
            elif name == "memory_seconds":
                faults.memory_seconds = value
            elif name != "seed":
                faults.rate(name, value)
        return faults

    def __str__(self) -> str:
        """Say what was asked for, one fault a line."""
        with self._lock:
            rules = [(name, rule) for name, several in self._rules.items() for rule in several]
        lines = [f"{name}: {_told(rule)}" for name, rule in rules]
        return "\n".join(lines) or "none"

    # ------------------------------------------------------------ what is to happen

    def rate(self, name: str, probability: float) -> None:
        """Let it happen at each occasion with that probability, from 0 to 1, instead of all that was said of it."""
        known = read_fault(name)
        if not 0 <= probability <= 1:
            raise _wrong(f"{name}={probability:g} is no probability: from 0 (never) to 1 (always).")
        with self._lock:
            self._rules.pop(known, None)
            if probability > 0:
                source = random.Random(f"{self.seed}/{known}")  # noqa: S311 - no secret
                self._rules[known] = [_Chance(probability, source)]

    def always(self, name: str) -> None:
        """Let it happen at each occasion, until `never`."""
        self.rate(name, 1)

    def never(self, name: str) -> None:
        """Take back all that was said of it."""
        self.rate(name, 0)

    def next(self, name: str, times: int = 1, *, after: int = 0) -> None:
        """Let it happen at the next occasion, or the next `times`, but spare the first `after` of them."""
        self._add(name, _Script(after, times))

    def every(self, name: str, count: int) -> None:
        """Let it happen at every `count`-th occasion."""
        self._add(name, _Every(count))

    def clear(self) -> None:
        """Take everything back. What is held stays held."""
        with self._lock:
            self._rules.clear()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Let nothing happen meanwhile, and no occasion count."""
        with self._lock:
            self._suspended += 1
        try:
            yield
        finally:
            with self._lock:
                self._suspended -= 1

    def stop_delivery(self) -> None:
        """Deliver nothing from now on: events are lost, and the tables' streams are late."""
        self.always("events.missing")
        self.always("stream.delay")

    def resume_delivery(self) -> None:
        """Deliver again. What was lost is lost; the streams catch up."""
        self.never("events.missing")
        self.never("stream.delay")

    def _add(self, name: str, rule: _Script | _Every) -> None:
        known = read_fault(name)
        with self._lock:
            self._rules.setdefault(known, []).append(rule)

    # ------------------------------------------------------------ what happens

    @property
    def counts(self) -> dict[str, int]:
        """How often each fault has happened, by `<service>.<fault>`, or with what it happened to in between."""
        with self._lock:
            return dict(self._counts)

    def happens(self, service: str, fault: str, *which: str, general: bool = True) -> bool:
        """Whether it happens now. Asking is the occasion: every rule that fits sees it pass.

        Those fit that name any of `which`, and, if `general`, those that name none.
        """
        with self._lock:
            if not self._rules or self._suspended:
                return False
            fitting = [Name(service, one, fault) for one in (*(("",) if general else ()), *which)]
            happened = [rule.happens() for name in fitting for rule in self._rules.get(name, ())]
            for name in fitting:
                self._forget_used(name)
            if any(happened):
                self._counts[str(fitting[-1])] += 1
            return any(happened)

    def _forget_used(self, name: Name) -> None:
        rules = [rule for rule in self._rules.get(name, ()) if not (isinstance(rule, _Script) and rule.left <= 0)]
        if rules:
            self._rules[name] = rules
        else:
            self._rules.pop(name, None)

    # ------------------------------------------------------------ later

    def use_timers(self) -> None:
        """Let what is to happen later happen by itself, on threads."""
        with self._lock:
            if self._timers is None:
                self._timers = set()

    def later(self, action: Callable[[], None]) -> None:
        """Do it later: when `release` is called, or within `delay_seconds`."""
        with self._lock:
            if self._closed:
                return
            if self._timers is None:
                self._held.append(action)
                return
            timer = threading.Timer(self._delays.uniform(0, self.delay_seconds), lambda: self._ring(timer, action))
            timer.daemon = True
            self._timers.add(timer)
        timer.start()

    @property
    def held(self) -> int:
        """How much is held until `release`."""
        with self._lock:
            return len(self._held)

    def release(self, most: float = math.inf) -> int:
        """Do what is held, oldest first, and what comes up meanwhile, but no more than `most`; returns how much."""
        count = 0
        while count < most:
            with self._lock:
                if not self._held:
                    break
                action = self._held.popleft()
            action()
            count += 1
        return count

    def close(self) -> None:
        """Do nothing later any more."""
        with self._lock:
            self._closed = True
            self._held.clear()
            timers = list(self._timers or ())
        for timer in timers:
            timer.cancel()

    def _ring(self, timer: threading.Timer, action: Callable[[], None]) -> None:
        with self._lock:
            if self._timers is not None:
                self._timers.discard(timer)
            if self._closed:
                return
        try:
            action()
        except Exception:
            logger.exception("what a fault had put off went wrong")


def read_fault(name: str) -> Name:
    """Return the parts of a fault's name; raises FaultSpecError."""
    try:
        return read_name(name)
    except ValueError as error:
        raise _wrong(str(error)) from None


def _pair(part: str) -> tuple[str, float]:
    name, separator, value = part.partition("=")
    if not separator or not _NUMBER.fullmatch(value):
        raise _wrong(f"{part!r} is not FAULT=RATE.")
    if name not in _SETTINGS:
        read_fault(name)
    return name, float(value)


def _told(rule: _Chance | _Script | _Every) -> str:
    if isinstance(rule, _Chance):
        return f"{rule.probability:.0%}" if rule.probability >= 0.01 else f"{rule.probability:g}"  # noqa: PLR2004 - 1 %
    if isinstance(rule, _Every):
        return f"every {rule.count}"
    return f"{rule.left:g} times, after {rule.spared}"


def what_there_is() -> str:
    """List the faults and the settings that `Faults.parse` takes."""
    settings = "\n".join(f"  {name:<28} {text}" for name, text in _SETTINGS.items())
    return f"Faults, each with a rate from 0 (never) to 1 (always):\n{fault_names()}\nSettings:\n{settings}"


def _wrong(problem: str) -> FaultSpecError:
    return FaultSpecError(f"{problem} There are {short_fault_names()}. FAULTS=help explains them.")
