"""Finding what can be run: pipelines and snapshots, each with how its last runs went."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from zentrigger.capacity import PipelineCapacity
from zentrigger.capacity_store import CapacityStore
from zentrigger.catalogue import Pipeline, PublishedPipeline, Snapshot, SnapshotSummary, split_snapshot_id
from zentrigger.catalogue_store import CatalogueStore, Page, no_pipeline, no_snapshot
from zentrigger.pointers import HistoryEntry
from zentrigger.run_listing import RunListing
from zentrigger.runs import Run
from zentrigger.track_record import RUNS_LOOKED_AT, TrackRecord, track_record

T = TypeVar("T")


@dataclass(frozen=True)
class Found(Generic[T]):
    """Something that can be run, the pipeline that it is or belongs to, and how its last runs went."""

    what: T
    pipeline: Pipeline
    runs: TrackRecord
    capacity: PipelineCapacity | None = None
    """How many of its runs are active, wait and may be active; only where a single pipeline was asked for."""


class Discovery:
    """Looks at the catalogue and at the runs, and changes nothing."""

    def __init__(self, catalogue: CatalogueStore, runs: RunListing, capacity: CapacityStore) -> None:
        self._catalogue = catalogue
        self._runs = runs
        self._capacity = capacity

    def pipelines(
        self, *, limit: int, cursor: str | None = None, name: str | None = None, tag: str | None = None
    ) -> Page[Found[PublishedPipeline]]:
        """Give a page of pipelines, by name; the one of this name, those whose newest snapshot has this tag."""
        page = self._catalogue.pipelines(limit=limit, cursor=cursor, name=name, tag=tag)
        return Page(
            tuple(
                Found(listed, listed.pipeline, track_record(self._newest_runs(listed.pipeline.name)))
                for listed in page.items
            ),
            page.cursor,
        )

    def pipeline(self, name: str) -> Found[Snapshot | None]:
        """Give a pipeline and its whole newest snapshot, which is None when all were deleted.

        Raises:
            NotFoundError: there is no such pipeline.

        """
        pipeline = self._pipeline(name)
        newest = self._catalogue.snapshot(name, pipeline.newest) if pipeline.newest is not None else None
        return Found(newest, pipeline, track_record(self._newest_runs(name)), capacity=self._capacity.of_pipeline(name))

    def snapshots(
        self, pipeline: str, *, limit: int, cursor: str | None = None, name: str | None = None, tag: str | None = None
    ) -> Page[Found[SnapshotSummary]]:
        """Give a page of a pipeline's snapshots, the highest number first; the one of this name, those with this tag.

        Raises:
            NotFoundError: there is no such pipeline.

        """
        owner = self._pipeline(pipeline)
        page = self._catalogue.snapshots(pipeline, limit=limit, cursor=cursor, name=name, tag=tag)
        runs = self._newest_runs(pipeline) if page.items else ()
        found = tuple(Found(summary, owner, track_record(runs, summary.id)) for summary in page.items)
        return Page(found, page.cursor)

    def snapshot(self, snapshot: str) -> Found[Snapshot]:
        """Give a snapshot by its id.

        Raises:
            NotFoundError: there is none.

        """
        pipeline, number = split_snapshot_id(snapshot) or ("", 0)
        owner = self._catalogue.pipeline(pipeline)
        found = self._catalogue.snapshot(pipeline, number) if owner is not None else None
        if owner is None or found is None:
            raise no_snapshot(snapshot)
        return Found(found, owner, track_record(self._newest_runs(pipeline), found.id))

    def changes(self, pipeline: str, *, limit: int, cursor: str | None = None) -> Page[HistoryEntry]:
        """Give a page of what publications, updates and deletions changed, newest first.

        Raises:
            NotFoundError: there is no such pipeline.

        """
        self._pipeline(pipeline)
        return self._catalogue.changes(pipeline, limit=limit, cursor=cursor)

    def _pipeline(self, name: str) -> Pipeline:
        pipeline = self._catalogue.pipeline(name)
        if pipeline is None:
            raise no_pipeline(name)
        return pipeline

    def _newest_runs(self, pipeline: str) -> tuple[Run, ...]:
        return self._runs.page(limit=RUNS_LOOKED_AT, pipeline=pipeline).runs
