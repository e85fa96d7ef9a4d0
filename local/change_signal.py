"""Tells pollers that something was written, so that they need not poll to be quick."""

from __future__ import annotations

import threading


class ChangeSignal:
    """A counter that threads can wait on."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    @property
    def count(self) -> int:
        """How often something has changed; read it before looking, wait behind it afterwards."""
        with self._condition:
            return self._count

    def notify(self) -> None:
        """Something has changed."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def wait(self, seen: int, timeout_seconds: float) -> bool:
        """Wait until the count is more than `seen`; returns whether it is."""
        with self._condition:
            return self._condition.wait_for(lambda: self._count > seen, timeout_seconds)
