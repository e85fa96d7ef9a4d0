"""Runs, snapshots and events as tests need them; each test names only what it is about."""

import uuid
from datetime import UTC, datetime
from typing import Any

from zentrigger.attempt_store import AttemptStore
from zentrigger.catalogue import Pipeline, PublishRequest, Snapshot, SnapshotContent
from zentrigger.events import ContainerState, TaskState
from zentrigger.run_listing import RunListing
from zentrigger.run_store import RunStore
from zentrigger.runs import Run, RunInput, Source
from zentrigger.timestamps import to_text
from zentrigger.triggers import Trigger, TriggerDefinition, model_of

MOMENT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
TASK = "arn:aws:ecs:eu-west-1:123456789012:task/zentrigger/0123456789abcdef"
TASK_DEFINITION = "arn:aws:ecs:eu-west-1:123456789012:task-definition/zentrigger-snapshot:1"
IMAGE = "local@sha256:" + "0" * 64

TRAINING = SnapshotContent.model_validate(
    {
        "pipeline": "training_pipeline",
        "source": "pipelines.training:training_pipeline",
        "zenml_version": "0.98.0",
        "image": IMAGE,
        "architecture": "ARM64",
        "parameters_schema": {
            "type": "object",
            "properties": {
                "data_url": {"type": "string", "default": "data.csv"},
                "model_type": {"enum": ["random_forest", "gradient_boosting"], "default": "random_forest"},
                "test_size": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "default": 0.2},
            },
        },
        "steps": {
            "load_data": {
                "parameters_schema": {"type": "object", "properties": {"data_url": {"type": "string"}}},
                "fixed": ["data_url"],
                "passed": {"data_url": "data_url"},
            },
            "train_model": {
                "upstream": ["load_data"],
                "parameters_schema": {
                    "type": "object",
                    "properties": {"model_type": {"type": "string"}, "trees": {"type": "integer", "minimum": 1}},
                },
                "fixed": ["model_type"],
                "passed": {"model_type": "model_type"},
            },
        },
    }
)


class Runs(RunStore, AttemptStore, RunListing):
    """The runs table from all its sides at once: the functions', the tasks' and the lists."""


def definition(**values: Any) -> TriggerDefinition:
    """Make what a trigger is: of type s3 and of the training pipeline, unless said."""
    said = {"type": "s3", "pipeline": TRAINING.pipeline} | values
    return model_of(said).model_validate(said)


def trigger(name: str = "arrivals", at: datetime = MOMENT, **values: Any) -> Trigger:
    """Make a trigger as it is kept, made at a moment."""
    kept = {"name": name, "definition": definition(**values).model_dump()}
    return Trigger.model_validate(kept | {"created_at": at, "updated_at": at, "anchor": at})


def content(**values: Any) -> SnapshotContent:
    """Make the content of a snapshot: the training pipeline's, but for `values`."""
    return SnapshotContent.model_validate(TRAINING.model_dump() | values)


def snapshot(content: SnapshotContent = TRAINING, number: int = 1, **values: Any) -> Snapshot:
    """Make a snapshot."""
    return Snapshot.model_validate(
        {
            "number": number,
            "content": content,
            "task_definition": TASK_DEFINITION,
            "published_at": MOMENT,
            "published_by": "tests",
        }
        | values
    )


def pipeline(**values: Any) -> Pipeline:
    """Make a published pipeline."""
    return Pipeline.model_validate({"name": "training_pipeline", "snapshots": 1, "newest": 1, "revision": 1} | values)


def publication(content: SnapshotContent = TRAINING, **values: Any) -> PublishRequest:
    """Make a request to publish a content; `values` are what else it says, or says otherwise."""
    return PublishRequest.model_validate(content.model_dump() | values)


def run(**values: Any) -> Run:
    """Make the head of a run."""
    accepted = values.get("accepted_at", MOMENT)
    return Run.model_validate(
        {
            "run_id": str(uuid.uuid4()),
            "pipeline": "training_pipeline",
            "snapshot": "training_pipeline:1",
            "status": "queued",
            "task_definition": "zentrigger-snapshot:1",
            "source": Source(type="http", key_id="tests"),
            "request_hash": "hash",
            "rank": to_text(accepted),
            "accepted_at": accepted,
            "status_at": accepted,
            "retention_days": 365,
        }
        | values
    )


def run_input(**values: Any) -> RunInput:
    """Make the input of a run."""
    return RunInput.model_validate({"source": "pipelines.training:training_pipeline"} | values)


def stopped_task(of: Run, **values: Any) -> TaskState:
    """Make the state of a run's task after it has stopped."""
    exit_code, reason = values.pop("exit_code", 0), values.pop("reason", None)
    state: dict[str, Any] = {
        "task_arn": TASK,
        "last_status": "STOPPED",
        "started_by": of.started_by,
        "stop_code": "EssentialContainerExited",
        "stopped_reason": "Essential container in task exited",
        "containers": (ContainerState("runner", exit_code, reason),),
    } | values
    return TaskState(**state)
