"""How runs, pipelines, triggers and keys are shown to callers, as JSON."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from zentrigger.catalogue import Pipeline, Snapshot, example_parameters
from zentrigger.keys import ApiKey
from zentrigger.runs import Run, RunRecord
from zentrigger.triggers import Receipt, Trigger

Json = dict[str, Any]


def run_summary(run: Run) -> Json:
    """Show the head of a run: what a list of runs has."""
    shown: Json = dict.fromkeys(
        ("reason", "message", "trigger", "task_arn", "started_at", "ended_at", "cancel_requested_at")
    )
    shown |= run.model_dump(
        mode="json",
        exclude_none=True,
        include={
            "run_id", "pipeline", "snapshot", "status", "reason", "message", "attempt", "tags", "trigger", "task_arn",
            "accepted_at", "started_at", "ended_at", "cancel_requested_at",
        },
    )  # fmt: skip
    shown["source"] = run.source.model_dump(mode="json", exclude_none=True)
    shown["links"] = {"self": f"/runs/{run.run_id}", "logs": f"/runs/{run.run_id}/logs"}
    return shown


def run_details(record: RunRecord) -> Json:
    """Show a whole run: its head, what it was given, how far it is, and how it went."""
    result, progress = record.result, record.progress
    latest = result or progress
    return run_summary(record.run) | {
        "parameters": record.input.parameters,
        "steps": {name: {"parameters": values} for name, values in record.input.steps.items()},
        "enable_cache": record.input.enable_cache,
        "progress": {
            "heartbeat_at": progress.model_dump(mode="json")["heartbeat_at"] if progress else None,
            "steps": [step.model_dump(mode="json") for step in latest.steps] if latest else [],
        },
        "outputs": [output.model_dump(mode="json") for output in result.outputs] if result else [],
        "error": result.error.model_dump(mode="json") if result and result.error else None,
        "exit_code": result.exit_code if result else None,
        "zenml_run_id": latest.zenml_run_id if latest else None,
        "dashboard_url": latest.dashboard_url if latest else None,
    }


def snapshot_summary(snapshot: Snapshot) -> Json:
    """Show what a publisher is told of a snapshot."""
    return {
        "id": snapshot.id,
        "pipeline": snapshot.content.pipeline,
        "number": snapshot.number,
        "source": snapshot.content.source,
        "published_at": snapshot.model_dump(mode="json")["published_at"],
        "published_by": snapshot.published_by,
    }


def pipeline_summary(pipeline: Pipeline) -> Json:
    """Show a pipeline in a list."""
    return {
        "name": pipeline.name,
        "description": pipeline.newest.content.description,
        "snapshot": snapshot_summary(pipeline.newest),
        "links": {"self": f"/pipelines/{quote(pipeline.name, safe='')}"},
    }


def pipeline_details(pipeline: Pipeline) -> Json:
    """Show a pipeline with all that a caller needs to run it."""
    content = pipeline.newest.content
    return pipeline_summary(pipeline) | {
        "dynamic": content.dynamic,
        "zenml_version": content.zenml_version,
        "parameters_schema": content.parameters_schema,
        "steps": {name: step.model_dump(mode="json") for name, step in content.steps.items()},
        "configuration": content.configuration.model_dump(mode="json"),
        "example": {"pipeline": content.pipeline, "parameters": example_parameters(content.parameters_schema)},
    }


def trigger_view(trigger: Trigger) -> Json:
    """Show a trigger."""
    return {
        "name": trigger.name,
        **trigger.definition.model_dump(mode="json"),
        "updated_at": trigger.model_dump(mode="json")["updated_at"],
        "links": {"self": f"/triggers/{trigger.name}", "receipts": f"/triggers/{trigger.name}/receipts"},
    }


def receipt_view(receipt: Receipt) -> Json:
    """Show a receipt."""
    return receipt.model_dump(mode="json")


def key_view(key: ApiKey) -> Json:
    """Show an API key; its hash is nobody's concern."""
    shown = key.model_dump(mode="json", exclude={"secret_hash", "key_id"})
    return {"id": key.key_id, **shown}


def page(items: list[Json], cursor: str | None) -> Mapping[str, Any]:
    """Show a page of a list."""
    return {"items": items, "next": cursor}
