"""One run of a pipeline with ZenML, from its assignment to its report."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from zenml.client import Client
from zenml.enums import ExecutionStatus
from zenml.models import PipelineRunResponse
from zenml.stack import Stack
from zenml.utils import dashboard_utils

from runner import refusals, stored_snapshot, zenml_server
from runner.artifacts import ArtifactCopies, ArtifactCopyError
from runner.connection import connect
from runner.failures import Refused, error_of
from runner.outputs import collect
from runner.pipeline_source import load_pipeline
from runner.progress import ProgressThread, find_run, step_progress, waiting
from runner.run_configuration import check_settings, run_configuration
from zentrigger.runs import Assignment, Progress, Report, RunError

_POLL_SECONDS = 5.0


Start = Callable[[], PipelineRunResponse | None]


def execute(assignment: Assignment, tell: Callable[[Progress], None]) -> Report:
    """Run the pipeline and say how it went; `tell` hears of its progress, from a thread.

    Whatever a pipeline raises becomes a report, also SystemExit. Only the `Stopped` of the child's main passes.
    Nothing is cut yet, and secrets are still in it: `Redaction` and `bounded` are the child's to apply.
    """
    try:
        start, planned = prepare(assignment, connect(assignment.stack))
        try:
            return _run(start, planned, assignment, tell)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if lost := zenml_server.loss(error):
                raise lost from error
            return _failure(error, find_run(run_name(assignment)), planned)
    except Refused as refused:
        return refused.report()
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the same; also a store that is lost now
        lost = zenml_server.loss(error)
        return lost.report() if lost else _failure(error, None, ())


def prepare(assignment: Assignment, stack: Stack) -> tuple[Start, tuple[str, ...]]:
    """Give what starts this run, of a pipeline in the image or of a snapshot that ZenML has stored, and its steps.

    Raises:
        Refused: `configuration_refused`, `parameters_refused`, `pipeline_not_importable`, `zenml_snapshot_missing`.

    """
    configuration = run_configuration(assignment, lasting=not stack.artifact_store.config.is_local)
    check_settings(configuration, stack)
    if assignment.zenml_snapshot is not None:
        snapshot = stored_snapshot.find(assignment.zenml_snapshot, assignment.pipeline)
        planned = stored_snapshot.prepare(snapshot, assignment, configuration)
        request = stored_snapshot.copy(snapshot, run_name(assignment), assignment, configuration)
        return partial(stored_snapshot.run, request, stack), planned
    pipeline = load_pipeline(assignment.source or "")
    checked = pipeline.copy()
    planned = refusals.prepare(checked, assignment, configuration)
    configuration = refusals.without_passed(checked, configuration)
    configured = configuration.apply(pipeline, run_name(assignment), planned)
    return partial(configured, **refusals.arguments(pipeline, assignment.parameters)), planned


def run_name(assignment: Assignment) -> str:
    """Give the name of the ZenML run, unique for each execution: ZenML refuses one that was there before."""
    return f"{assignment.pipeline}-{assignment.run_id}-{assignment.attempt}-{assignment.execution}"


def _run(start: Start, planned: tuple[str, ...], assignment: Assignment, tell: Callable[[Progress], None]) -> Report:
    name = run_name(assignment)
    progress = ProgressThread(name, planned, tell)
    progress.start()
    try:
        run = start()
    finally:
        progress.stop()
    run = _finished(run or find_run(name))
    if run is None:
        raise Refused(
            "result_missing", "ZenML made no run of the pipeline. Does it have a schedule of its own? Take that out."
        )
    if run.status != ExecutionStatus.COMPLETED:
        return _failure(RuntimeError(f"ZenML ended the run as {run.status.value}."), run, planned)
    told = _told(run, planned)
    copies = ArtifactCopies(os.environ.get("ARTIFACT_BUCKET"), run_id=assignment.run_id, execution=assignment.execution)
    try:
        return Report(outcome="succeeded", outputs=collect(run, copies), **told)
    except ArtifactCopyError as error:
        message = (
            f"The pipeline ran to its end, but {error}. Check that the task's role may write there, and run again."
        )
        return Report(
            outcome="failed", reason="outputs_not_saved", message=message, error=error_of(error, None), **told
        )


def _finished(run: PipelineRunResponse | None) -> PipelineRunResponse | None:
    """Wait for a run that an orchestrator executes elsewhere."""
    while run is not None and not run.status.is_finished:
        time.sleep(_POLL_SECONDS)
        run = Client().get_pipeline_run(run.id)
    return run


def _told(run: PipelineRunResponse | None, planned: tuple[str, ...]) -> dict[str, Any]:
    if run is None:
        return {"steps": waiting(planned)}
    return {
        "zenml_run_id": str(run.id),
        "dashboard_url": dashboard_utils.get_run_url(run),
        "steps": step_progress(run.id, planned),
    }


def _failure(error: BaseException, run: PipelineRunResponse | None, planned: tuple[str, ...]) -> Report:
    found = _step_error(run) if run is not None else None
    what = found or error_of(error, None)
    where = f"Step {what.step}" if what.step else "The pipeline"
    return Report(
        outcome="failed",
        reason="pipeline_failed",
        message=f"{where} raised {what.type}: {what.message}",
        error=what,
        **_told(run, planned),
    )


def _step_error(run: PipelineRunResponse) -> RunError | None:
    """Give what the first failed step raised.

    ZenML itself raises a general error at the end where a pipeline goes on after a failed step.
    """
    page = Client().list_run_steps(
        sort_by="asc:end_time", pipeline_run_id=run.id, status=ExecutionStatus.FAILED.value, hydrate=True
    )
    for step in page.items:
        info = step.exception_info
        if info is not None:
            kind = (info.source or "Exception").removeprefix("builtins.")
            return RunError(step=step.name, type=kind, message=info.message or "", traceback=info.traceback)
    return None
