"""A snapshot in a ZenML store, described as ``POST /snapshots`` wants it."""

from typing import Any

import zenml
from zenml.client import Client
from zenml.config.step_configurations import Step

from zentrigger_client.schemas import closed

Json = dict[str, Any]


class NoSuchSnapshotError(LookupError):
    """The store has no such snapshot of this pipeline."""


def describe(name_or_id: str, pipeline: str) -> Json:
    """Describe a stored snapshot; it is referred to by its id, for ZenML may give its name to another.

    ZenML has compiled the parameters of a static pipeline into its steps: those of the steps can be set, the pipeline's
    own cannot. For a dynamic pipeline it is the other way round.

    Raises:
        NoSuchSnapshotError: There is none, or it is another pipeline's.

    """
    try:
        snapshot = Client().get_snapshot(name_or_id, pipeline_name_or_id=pipeline, allow_prefix_match=False)
    except KeyError as error:
        raise NoSuchSnapshotError(
            f"the ZenML store has no snapshot {name_or_id!r} of a pipeline {pipeline!r}; "
            "see: zenml pipeline snapshot list"
        ) from error
    if snapshot.pipeline.name != pipeline:
        raise NoSuchSnapshotError(f"the snapshot {name_or_id!r} is one of the pipeline {snapshot.pipeline.name!r}")
    spec = snapshot.pipeline_spec
    own = spec.input_schema if snapshot.is_dynamic and spec is not None else None
    return {
        "pipeline": pipeline,
        "zenml_snapshot": str(snapshot.id),
        "description": snapshot.description or "",
        "dynamic": snapshot.is_dynamic,
        "zenml_version": snapshot.client_version or zenml.__version__,
        "parameters_schema": closed({"type": "object", **(own or {})}),
        "steps": {}
        if snapshot.is_dynamic
        else {name: _step(step) for name, step in snapshot.step_configurations.items()},
        "configuration": {"parameters": {}, "steps": {}, "enable_cache": None, "tags": [], "options": {}},
        "git": None,
    }


def _step(step: Step) -> Json:
    # ZenML has no schema for a step with a parameter whose type it cannot describe.
    unknown = {"properties": {name: {"default": value} for name, value in step.config.parameters.items()}}
    return {
        "upstream": sorted(step.spec.upstream_steps),
        "parameters_schema": closed({"type": "object", **(step.spec.parameter_spec or unknown)}),
        "fixed": [],
        "passed": {},
    }
