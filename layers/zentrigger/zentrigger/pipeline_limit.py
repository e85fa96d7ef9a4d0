"""Limiting how many runs of a pipeline are active: said by operators, kept beside the pipeline's counts."""

from zentrigger.capacity import PipelineCapacity
from zentrigger.capacity_store import CapacityStore
from zentrigger.catalogue_store import CatalogueStore, no_pipeline
from zentrigger.observability import logger


def limit_pipeline(
    name: str, max_active: int | None, *, catalogue: CatalogueStore, capacity: CapacityStore
) -> PipelineCapacity:
    """Have at most so many runs of a pipeline active from now on; None: as many as the stack has slots; 0 pauses it.

    Runs that are active go on. Where the limit rises, those that wait start with the next run that ends, or with the
    sweep.

    Raises:
        NotFoundError: there is no such pipeline.
        BusyError: runs of the pipeline that start and end were in the way too long.

    """
    if catalogue.pipeline(name) is None:
        raise no_pipeline(name)
    standing = capacity.set_limit(name, max_active)
    logger.info("a pipeline's limit was set", pipeline=name, max_active_runs=max_active)
    return standing
