"""How the last runs of a pipeline went."""

from collections.abc import Iterable
from dataclasses import dataclass

from zentrigger.runs import SKIPPED, Run, RunStatus

RUNS_LOOKED_AT = 100
"""How many of a pipeline's newest runs a track record is made of."""


@dataclass(frozen=True)
class TrackRecord:
    """What became of the newest runs of a pipeline, or of those of one snapshot among them."""

    last: Run | None
    succeeded: int
    ended: int
    """Cancelled ones, too: a run that somebody had to stop was no success. Not those that were skipped."""
    looked_at: int
    """Runs of the pipeline that were looked at, whichever snapshot they were of."""

    @property
    def success_rate(self) -> float | None:
        """Give the share of successes among what has ended, from 0 to 1; None where nothing has."""
        return self.succeeded / self.ended if self.ended else None


def track_record(runs: Iterable[Run], snapshot: str | None = None) -> TrackRecord:
    """Give the track record of a pipeline from its newest runs, the newest first; or that of one of its snapshots."""
    looked_at = list(runs)
    meant = [run for run in looked_at if (snapshot is None or run.snapshot == snapshot) and run.reason != SKIPPED]
    return TrackRecord(
        last=meant[0] if meant else None,
        succeeded=sum(run.status == RunStatus.SUCCEEDED for run in meant),
        ended=sum(run.status.final for run in meant),
        looked_at=len(looked_at),
    )
