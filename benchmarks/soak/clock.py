"""A clock that runs faster, for everybody alike: ECS, rules and schedules, the functions' processes and the tasks.

The product asks one function what time it is, `zentrigger.timestamps.now`, and hands it on; a function's process that
runs the prelude has that one answer in faster time. Nothing else of it is changed. What is measured with other clocks
(time-outs of calls, the sweep's budget, caches) keeps to the world's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_PRELUDE = """\
from datetime import UTC, datetime

from zentrigger import timestamps


class Faster:
    now = staticmethod(lambda zone: (START + (datetime.now(UTC) - START) * SPEED).astimezone(zone))


START, SPEED = datetime.fromisoformat("{start}"), {speed}
timestamps.datetime = Faster
"""


@dataclass(frozen=True)
class FastClock:
    """Tells a time that is `speed` times as fast as the world's, since it was made."""

    speed: float
    start: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        """Give this moment."""
        return self.start + (datetime.now(UTC) - self.start) * self.speed

    def prelude(self, folder: Path) -> Path:
        """Write the script that gives a function's process this clock."""
        path = folder / "fast_clock.py"
        path.write_text(_PRELUDE.format(start=self.start.isoformat(), speed=self.speed), "utf-8")
        return path
