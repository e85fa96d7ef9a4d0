"""A snapshot that ZenML itself has stored, run in this process; ZenML's own way to do so is part of its Pro server.

What is run is a copy of it, with what the run asks for laid over it: the stored one stays as it is. The copy is made as
ZenML's server makes it (zenml.zen_server.pipeline_execution.utils, snapshot_request_from_source_snapshot), of which
nothing can be imported without the server's packages. The code is the image's, whatever code the snapshot was made of.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from zenml.client import Client
from zenml.config.compiler import get_zenml_versions
from zenml.config.pipeline_configurations import PipelineConfiguration
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
from zenml.config.source import SourceType
from zenml.config.step_configurations import Step, StepConfigurationUpdate
from zenml.execution.pipeline.utils import submit_pipeline
from zenml.models import (
    CodeReferenceRequest,
    PipelineRunResponse,
    PipelineSnapshotRequest,
    PipelineSnapshotResponse,
)
from zenml.pipelines.run_utils import create_placeholder_run
from zenml.stack import Stack
from zenml.steps import BaseStep
from zenml.utils import pydantic_utils, secret_utils, settings_utils
from zenml.utils.uuid_utils import is_valid_uuid

from runner import refusals
from runner.failures import Refused
from runner.pipeline_source import find_source_root, load_pipeline
from runner.run_configuration import RunConfiguration
from zentrigger.runs import Assignment

_USERS_OWN = frozenset({SourceType.USER, SourceType.CODE_REPOSITORY, SourceType.UNKNOWN})


def find(name: str, pipeline: str) -> PipelineSnapshotResponse:
    """Find a snapshot by its id, or by the name that it has among those of a pipeline.

    Raises:
        Refused: `zenml_snapshot_missing`.

    """
    if is_valid_uuid(name):
        try:
            return Client().get_snapshot(name)
        except KeyError:
            raise _missing(f"no snapshot with the id {name}") from None
    found = Client().list_snapshots(name=f"equals:{name}", pipeline=pipeline, hydrate=True, size=1).items
    if not found:
        raise _missing(f"no snapshot {name!r} of the pipeline {pipeline!r}")
    return found[0]


def prepare(
    snapshot: PipelineSnapshotResponse, assignment: Assignment, configuration: RunConfiguration
) -> tuple[str, ...]:
    """Load the snapshot's code and give the names of its steps, in their order; a dynamic pipeline's are not known.

    Raises:
        Refused: `pipeline_not_importable`, `parameters_refused` with everything that is wrong.

    """
    if snapshot.is_dynamic:
        source = snapshot.pipeline_spec.source if snapshot.pipeline_spec else None
        pipeline = load_pipeline(f"{source.module}:{source.attribute}" if source else "")
        complete = assignment.model_copy(update={"parameters": _parameters(snapshot, assignment)})
        return refusals.prepare(pipeline.copy(), complete, configuration)
    steps = _load_steps(snapshot)
    refusals.check(
        [
            *refusals.placeholders(assignment, snapshot.pipeline_configuration.parameters or {}),
            *_pipeline_problems(snapshot, assignment.parameters),
            *_step_problems(snapshot, steps, configuration),
        ]
    )
    return tuple(steps)


def copy(
    snapshot: PipelineSnapshotResponse, run_name: str, assignment: Assignment, configuration: RunConfiguration
) -> PipelineSnapshotRequest:
    """Make the copy for a run, on the active stack."""
    stack = Client().active_stack_model
    asked = PipelineRunConfiguration.model_validate(
        {**configuration.options, "steps": configuration.of_steps(snapshot.step_configurations)}
    )
    settings = [asked.settings, *(step.settings for step in (asked.steps or {}).values())]
    for known in filter(None, settings):
        settings_utils.normalize_stack_component_setting_keys(known, components_by_type=stack.components)

    parameters = _parameters(snapshot, assignment)
    # ZenML's server has a run's tags in place of the snapshot's; here they are added, as to those of a pipeline's code.
    tags = [*(snapshot.pipeline_configuration.tags or []), *(asked.tags or [])]
    pipeline_configuration = pydantic_utils.update_model(
        snapshot.pipeline_configuration, _said(asked, include=set(PipelineConfiguration.model_fields))
    ).model_copy(
        update={
            # Whole values, where ZenML would put one dictionary into the other.
            "parameters": parameters,
            "tags": [tag for number, tag in enumerate(tags) if tag not in tags[:number]],
        }
    )
    pipeline_spec = snapshot.pipeline_spec
    if pipeline_spec is not None:
        # Where the dashboard reads them.
        pipeline_spec = pipeline_spec.model_copy(update={"parameters": parameters})

    client_version, server_version = get_zenml_versions()
    return PipelineSnapshotRequest(
        project=snapshot.project_id,
        pipeline=snapshot.pipeline.id,
        stack=stack.id,
        run_name_template=run_name,
        is_dynamic=snapshot.is_dynamic,
        pipeline_configuration=pipeline_configuration,
        step_configurations=dict(_steps(snapshot, asked.steps or {}, pipeline_configuration)),
        client_version=client_version,
        server_version=server_version,
        build=snapshot.build.id if snapshot.build else None,
        code_reference=_code_reference(snapshot),
        code_path=snapshot.code_path,
        # So the dashboard shows the run at the snapshot that has the name.
        source_snapshot=snapshot.id if snapshot.name else snapshot.source_snapshot_id,
        pipeline_version_hash=snapshot.pipeline_version_hash,
        pipeline_spec=pipeline_spec,
        source_code=snapshot.source_code,
    )


def run(request: PipelineSnapshotRequest, stack: Stack) -> PipelineRunResponse:
    """Run a copy to its end, or to where an orchestrator elsewhere has taken it.

    Raises:
        BaseException: whatever the pipeline raises.

    """
    snapshot = Client().zen_store.create_snapshot(request)
    placeholder = create_placeholder_run(snapshot=snapshot)
    submit_pipeline(snapshot=snapshot, stack=stack, placeholder_run=placeholder)
    return Client().get_pipeline_run(placeholder.id)


def _missing(what: str) -> Refused:
    advice = (
        "Publish the pipeline again with one that `zenml pipeline snapshot list` shows"
        if os.environ.get("ZENML_STORE_URL")
        else "A task's own store is empty when it starts: deploy with ZenmlStoreUrl, or publish the pipeline's source"
    )
    return Refused("zenml_snapshot_missing", f"The ZenML store has {what}. {advice}.")


def _parameters(snapshot: PipelineSnapshotResponse, assignment: Assignment) -> dict[str, Any]:
    return {**(snapshot.pipeline_configuration.parameters or {}), **assignment.parameters}


def _load_steps(snapshot: PipelineSnapshotResponse) -> dict[str, BaseStep]:
    steps: dict[str, BaseStep] = {}
    faults: list[str] = []
    for name, step in snapshot.step_configurations.items():
        source = step.spec.source
        try:
            if source.type in _USERS_OWN:
                find_source_root(source.module)
            steps[name] = BaseStep.load_from_source(source)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything while it is imported
            faults.append(f"step {name}, {source.import_path} ({type(error).__name__}: {error})")
    if faults:
        raise Refused(
            "pipeline_not_importable",
            f"The code of the stored snapshot cannot be imported in the task: {'; '.join(faults)}. "
            "Put the code that it was made of into the image.",
        )
    return steps


def _pipeline_problems(snapshot: PipelineSnapshotResponse, parameters: Mapping[str, Any]) -> Iterator[str]:
    # The body of a static pipeline is not called again: what its parameters were passed to stands at the steps.
    compiled = snapshot.pipeline_configuration.parameters or {}
    for name, value in parameters.items():
        if name not in compiled:
            yield f"parameters.{name}: the pipeline has no such parameter, it has {refusals.listed(compiled)}"
        elif not refusals.same(compiled[name], value):
            yield f"parameters.{name}: is fixed in the stored snapshot of a static pipeline; use parameters of steps"


def _step_problems(
    snapshot: PipelineSnapshotResponse, steps: Mapping[str, BaseStep], configuration: RunConfiguration
) -> Iterator[str]:
    for name in configuration.steps:
        if name not in steps:
            yield f"steps.{name}: the pipeline has no such step, it has {refusals.listed(steps)}"
            continue
        step = snapshot.step_configurations[name]
        for parameter, value in configuration.parameters(name).items():
            place = f"steps.{name}.parameters.{parameter}"
            if parameter in step.config.parameters:
                if not refusals.has_type_of(steps[name], parameter, value):
                    yield f"{place}: is not of the type that the step takes"
            elif parameter in step.available_input_keys:
                yield f"{place}: the step gets this from another step or artifact"
            else:
                known = refusals.listed(step.config.parameters)
                yield f"{place}: the step has no such parameter, it has {known}"


def _steps(
    snapshot: PipelineSnapshotResponse,
    asked: Mapping[str, StepConfigurationUpdate],
    pipeline_configuration: PipelineConfiguration,
) -> Iterable[tuple[str, Step]]:
    for name, step in snapshot.step_configurations.items():
        update = _said(asked[name]) if name in asked else {}
        own = pydantic_utils.update_model(step.step_config_overrides, update)
        merged = own.apply_pipeline_configuration(pipeline_configuration, exclude_hook_sources=snapshot.is_dynamic)
        yield name, Step(spec=step.spec, config=merged, step_config_overrides=own)


def _said(asked: PipelineRunConfiguration | StepConfigurationUpdate, include: set[str] | None = None) -> dict[str, Any]:
    """Give what is said, and only that; names of ZenML's secrets become their ids."""
    said = asked.model_dump(include=include, exclude_unset=True, exclude_none=True)
    if said.get("secrets"):
        said["secrets"] = secret_utils.resolve_and_verify_secrets(said["secrets"])
    return said


def _code_reference(snapshot: PipelineSnapshotResponse) -> CodeReferenceRequest | None:
    reference = snapshot.code_reference
    if reference is None:
        return None
    return CodeReferenceRequest(
        commit=reference.commit, subdirectory=reference.subdirectory, code_repository=reference.code_repository.id
    )
