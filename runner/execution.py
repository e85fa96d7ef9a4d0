"""One run of a pipeline with ZenML, from its assignment to its report."""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from zenml.client import Client
from zenml.enums import ExecutionStatus
from zenml.models import PipelineRunResponse
from zenml.pipelines.pipeline_definition import Pipeline
from zenml.utils import dashboard_utils

from runner import refusals, zenml_server
from runner.artifacts import ArtifactCopies, ArtifactCopyError
from runner.failures import Refused, cut, cut_traceback, error_of, sentence
from runner.outputs import collect
from runner.pipeline_source import load_pipeline
from runner.progress import ProgressThread, find_run, step_progress, waiting
from zentrigger.runs import Assignment, Progress, Report, RunError

_POLL_SECONDS = 5.0
_log = logging.getLogger(__name__)


def execute(assignment: Assignment, tell: Callable[[Progress], None]) -> Report:
    """Run the pipeline and say how it went; `tell` hears of its progress, from a thread.

    Whatever a pipeline raises becomes a report, also SystemExit. Only the `Stopped` of the child's main passes.
    """
    try:
        connect()
        pipeline, planned = configure(load_pipeline(assignment.source), assignment)
        try:
            return _run(pipeline, planned, assignment, tell)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if lost := zenml_server.loss(error):
                raise lost from error
            return _failure(error, find_run(run_name(assignment)), planned)
    except Refused as refused:
        return refused.report()
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the same; also a store that is lost now
        lost = zenml_server.loss(error)
        return lost.report() if lost else _failure(error, None, ())


def connect() -> None:
    """Connect to the ZenML store and set up the active stack.

    Raises:
        Refused: `zenml_unreachable`, `zenml_not_answering`, `zenml_key_refused`; or `zenml_stack_unusable` when there
            is no such stack, or the image lacks what it needs.

    """
    url = os.environ.get("ZENML_STORE_URL")
    if url:
        zenml_server.reach(url)
    try:
        # The first call that needs the key.
        Client().active_user  # noqa: B018
    except Exception as error:  # requests, SQLAlchemy, ZenML's own: every store has its errors
        if url:
            raise zenml_server.refusal(error, url) from error
        raise Refused(
            "zenml_unreachable", f"The task's own ZenML store cannot be used ({type(error).__name__}: {error})."
        ) from error
    try:
        Client().active_stack  # noqa: B018 - loads what the stack's components need
    except Exception as error:  # an integration that is missing raises in its own way
        if url and zenml_server.cause_of(error):
            raise zenml_server.refusal(error, url) from error
        raise Refused(
            "zenml_stack_unusable",
            f"The active stack cannot be used in the task ({type(error).__name__}: {error}). "
            "Put the integrations that it needs into the image, or set ZenmlStackId to another stack.",
        ) from error


def configure(pipeline: Pipeline, assignment: Assignment) -> tuple[Pipeline, tuple[str, ...]]:
    """Give the pipeline as this run has it, and its planned steps.

    Raises:
        Refused: `parameters_refused`.

    """
    planned = refusals.prepare(pipeline.copy(), assignment)
    steps: dict[str, dict[str, Any]] = {
        name: {"parameters": parameters} for name, parameters in assignment.steps.items() if parameters
    }
    enable_cache = assignment.enable_cache
    if Client().active_stack.artifact_store.config.is_local:
        # What an earlier task has cached lay on that task's disk, and is gone with it.
        enable_cache = False
    if enable_cache is False:
        # A step that asks for its cache would keep it: with_options sets the pipeline's default only.
        for name in planned:
            steps.setdefault(name, {})["enable_cache"] = False
    tags = ["zentrigger", f"zentrigger:{assignment.run_id}", *assignment.tags]
    options: dict[str, Any] = {"tags": list(dict.fromkeys(tags))}
    if steps:
        options["steps"] = steps
    if enable_cache is not None:
        options["enable_cache"] = enable_cache
    return pipeline.with_options(run_name=run_name(assignment), **options), planned


def run_name(assignment: Assignment) -> str:
    """Give the name of the ZenML run, unique for each attempt: ZenML refuses one that was there before."""
    return f"{assignment.pipeline}-{assignment.run_id}-{assignment.attempt}"


def _run(
    pipeline: Pipeline, planned: tuple[str, ...], assignment: Assignment, tell: Callable[[Progress], None]
) -> Report:
    name = run_name(assignment)
    progress = ProgressThread(name, planned, tell)
    progress.start()
    try:
        run = pipeline(**assignment.parameters)
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
    copies = ArtifactCopies(os.environ.get("ARTIFACT_BUCKET"), run_id=assignment.run_id, attempt=assignment.attempt)
    try:
        return Report(outcome="succeeded", outputs=collect(run, copies), **told)
    except ArtifactCopyError as error:
        message = (
            f"The pipeline ran to its end, but {error}. Check that the task's role may write there, and run again."
        )
        return Report(
            outcome="failed", reason="outputs_not_saved", message=sentence(message), error=error_of(error, None), **told
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
        message=sentence(f"{where} raised {what.type}: {what.message}"),
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
            message = info.message or ""
            return RunError(
                step=step.name, type=kind, message=cut(message, 4096, 2048), traceback=cut_traceback(info.traceback)
            )
    return None
