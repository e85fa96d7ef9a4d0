"""Faults on the way of an event: it comes late, twice, behind the next one, or not at all.

EventBridge delivers at least once and in no order (EventBridge User Guide, "Event delivery"), and drops what it could
not deliver for a day. Records of a table's stream are not lost, but they can be late, and a batch can come again.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.faults import Faults


class Deliveries:
    """The deliveries of one service, each an action that brings something to somebody; thread-safe.

    Late and overtaken ones are done by `Faults.later`. An error of a delivery is its caller's, if it is done at once.
    """

    def __init__(self, faults: Faults | None, service: str = "events") -> None:
        self._faults = faults
        self._service = service
        self._lock = threading.Lock()
        self._overtaken: deque[Callable[[], None]] = deque()

    def deliver(self, source: str, action: Callable[[], None]) -> None:
        """Do the action once, unless a fault befalls what comes from that source."""
        if self._faults is None:
            action()
            return
        if self._happens("missing", source):
            return
        twice = self._happens("repeat", source)
        if self._happens("delay", source):
            self._faults.later(action)
            if twice:
                action()
            return
        if self._happens("reorder", source):
            with self._lock:
                self._overtaken.append(action)
            self._faults.later(self._follow)
            return
        action()
        if twice:
            action()
        self._follow()

    def _follow(self) -> None:
        """Deliver what has been overtaken, or what nobody came to overtake."""
        while True:
            with self._lock:
                if not self._overtaken:
                    return
                action = self._overtaken.popleft()
            action()

    def _happens(self, fault: str, source: str) -> bool:
        return self._faults is not None and self._faults.happens(self._service, fault, source)


def faulty(publish: Callable[[dict[str, Any]], None], faults: Faults) -> Callable[[dict[str, Any]], None]:
    """Return a `publish` for `Ecs` that hands each event on with the faults of `events`: for tests without a bus."""
    deliveries = Deliveries(faults)
    return lambda event: deliveries.deliver(str(event["source"]), lambda: publish(event))
