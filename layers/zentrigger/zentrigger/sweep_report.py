"""What a sweep saw and had to do, for the log, the metrics and the person on call."""

from dataclasses import dataclass, field


@dataclass
class SweepReport:
    """What one sweep saw and had to do."""

    active: int = 0
    waiting: int = 0
    oldest_waiting_seconds: int = 0
    """How long the run that waits longest could have been started, but for a slot."""
    acted: dict[str, int] = field(default_factory=dict)
    """Decisions that were carried out, by name: what no event had brought about."""
    started: int = 0
    late_stops: int = 0
    """Tasks that ECS was told to stop and has not, for longer than that should take."""
    drifts: int = 0
    """Groups whose counts disagreed with the runs that there are."""
    drifts_repaired: int = 0
    left: int = 0
    """Runs that there was no time for; they are drawn by lot, so that the next sweep comes to them."""
    failed: int = 0
    """Parts of the sweep that raised, and runs that could not be read."""

    @property
    def idle(self) -> bool:
        """Whether there was nothing to see and nothing to do."""
        return self == SweepReport()

    @property
    def repairs(self) -> int:
        """How many things the sweep had to do that no event had brought about."""
        return sum(self.acted.values()) + self.started + self.drifts_repaired

    @property
    def counts(self) -> dict[str, int]:
        """Give its figures by the names that their metrics have."""
        return {
            "ActiveRuns": self.active,
            "WaitingRuns": self.waiting,
            "SweepRepairs": self.repairs,
            "SweepFailures": self.failed,
            "SweepLeft": self.left,
            "LateStops": self.late_stops,
            "CapacityDrifts": self.drifts,
        }
