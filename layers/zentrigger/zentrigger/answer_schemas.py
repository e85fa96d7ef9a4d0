"""What answers look like, as JSON Schema, for the OpenAPI document; what bodies look like, their models say."""

from typing import Any, get_args

from zentrigger.receipts import Outcome
from zentrigger.runs import RunStatus

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
_OPTIONAL_TEXT: Json = {"type": ["string", "null"]}
_OPTIONAL_TIME: Json = {"type": ["string", "null"], "format": "date-time"}

_PROBLEM: Json = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": TEXT,
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "instance": TEXT,
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": TEXT, "detail": TEXT},
            },
        },
    },
}

_STEP: Json = {
    "type": "object",
    "properties": {"name": TEXT, "status": TEXT, "started_at": _OPTIONAL_TIME, "finished_at": _OPTIONAL_TIME},
}

_TIMINGS: Json = {
    "type": "object",
    "description": "When each phase of the present attempt began; null for what has not, or is not known.",
    "properties": {
        "recorded_at": {"type": "string", "format": "date-time", "description": "When the run was recorded."},
        "launched_at": {**_OPTIONAL_TIME, "description": "When ECS took the launch."},
        "pulled_at": {**_OPTIONAL_TIME, "description": "When ECS had the task's image."},
        "container_started_at": {**_OPTIONAL_TIME, "description": "When the task's container ran."},
        "claimed_at": {**_OPTIONAL_TIME, "description": "When the task claimed the run."},
        "first_step_at": {**_OPTIONAL_TIME, "description": "When the pipeline's first step began."},
        "ended_at": _OPTIONAL_TIME,
    },
}

_ATTEMPT: Json = {
    "type": "object",
    "required": ["number", "launches", "spot", "ended_at", "outcome"],
    "properties": {
        "number": {"type": "integer"},
        "launches": {"type": "integer", "description": "How many launches it took; ECS refuses some."},
        "spot": {"type": "boolean", "description": "Whether it was on Spot capacity."},
        "task_arn": _OPTIONAL_TEXT,
        "launched_at": _OPTIONAL_TIME,
        "timings": {
            "type": ["object", "null"],
            "properties": {
                "pull_started_at": _OPTIONAL_TIME, "pulled_at": _OPTIONAL_TIME, "container_started_at": _OPTIONAL_TIME,
            },
        },
        "claimed_at": _OPTIONAL_TIME,
        "ended_at": {"type": "string", "format": "date-time"},
        "outcome": {"type": "string", "enum": ["succeeded", "failed", "cancelled"]},
        "reason": _OPTIONAL_TEXT,
        "message": _OPTIONAL_TEXT,
        "error_type": {**_OPTIONAL_TEXT, "description": "Which exception the pipeline raised."},
    },
}  # fmt: skip

_RUN: Json = {
    "type": "object",
    "required": ["run_id", "pipeline", "snapshot", "status", "attempt", "accepted_at", "source", "links"],
    "properties": {
        "run_id": {"type": "string", "format": "uuid"},
        "pipeline": TEXT,
        "snapshot": TEXT,
        "status": {"type": "string", "enum": [status.value for status in RunStatus]},
        "reason": {
            **_OPTIONAL_TEXT,
            "description": "A stable code, where there is something to say: why it ended, or why it waits again.",
        },
        "message": {**_OPTIONAL_TEXT, "description": "A sentence for a person, that says what to do."},
        "attempt": {"type": "integer", "description": "Which attempt this is; it rises when one is repeated."},
        "trigger": _OPTIONAL_TEXT,
        "source": {"type": "object"},
        "tags": {"type": "array", "items": TEXT},
        "accepted_at": {"type": "string", "format": "date-time"},
        "started_at": _OPTIONAL_TIME,
        "ended_at": _OPTIONAL_TIME,
        "cancel_requested_at": _OPTIONAL_TIME,
        "not_before": {
            **_OPTIONAL_TIME,
            "description": "Before that a run that waits for a further try does not start.",
        },
        "task_arn": _OPTIONAL_TEXT,
        "retry_of": {**_OPTIONAL_TEXT, "description": "The run that this one repeats."},
        "retried_by": {**_OPTIONAL_TEXT, "description": "The newest run that repeats this one."},
        "resources": {"type": ["object", "null"], "description": "Size of its task, where it is not the stack's own."},
        "priority": {"type": "integer"},
        "concurrency": {"type": ["object", "null"], "description": "Key, limit and on_conflict, as asked for."},
        "retry": {"type": ["object", "null"], "description": "max_attempts, backoff_seconds and on, as asked for."},
        "spot": {"type": "boolean"},
        "timeout_seconds": {"type": ["integer", "null"]},
        "image": TEXT,
        "parameters": {"type": "object", "description": "The pipeline's, with defaults filled in."},
        "steps": {"type": "object"},
        "enable_cache": {"type": ["boolean", "null"]},
        "progress": {
            "type": "object",
            "properties": {"heartbeat_at": _OPTIONAL_TIME, "steps": {"type": "array", "items": _STEP}},
        },
        "outputs": {"type": "array", "items": {"type": "object"}},
        "error": {"type": ["object", "null"]},
        "exit_code": {"type": ["integer", "null"]},
        "timings": _TIMINGS,
        "attempts": {
            "type": "array",
            "items": _ATTEMPT,
            "description": "The story of each attempt that is over, in their order.",
        },
        "downstream": {
            "type": "array",
            "description": "The runs that this one's end started, in their order; theirs is `source.run_id`.",
            "items": {
                "type": "object",
                "properties": {"run_id": TEXT, "pipeline": TEXT, "trigger": TEXT, "accepted_at": TEXT},
            },
        },
        "zenml_run_id": _OPTIONAL_TEXT,
        "dashboard_url": _OPTIONAL_TEXT,
        "links": {"type": "object"},
    },
}

_TRIGGER: Json = {
    "type": "object",
    "required": ["name", "definition", "created_at", "updated_at", "counts", "next_times", "links"],
    "properties": {
        "name": TEXT,
        "definition": {"type": "object", "description": "As it was put, with the defaults of what was not said."},
        "created_at": {"type": "string", "format": "date-time"},
        "updated_at": {"type": "string", "format": "date-time"},
        "counts": {
            "type": "object",
            "description": "How many events had each outcome, since the trigger was made.",
            "additionalProperties": {"type": "integer"},
        },
        "next_times": {
            "type": "array",
            "items": {"type": "string", "format": "date-time"},
            "description": "When its schedule fires next, in UTC; at most five, none while it is disabled.",
        },
        "schedule_state": {
            "enum": ["in_sync", "pending", "refused", None],
            "description": "Whether its schedule is set as it says. A pending one is set within a minute or two, or"
            " when its last firing must have come; a refused one is not taken by AWS. null: none.",
        },
        "schedule_problem": {"type": ["string", "null"], "description": "What AWS says of a schedule that it refuses."},
        "links": {"type": "object"},
    },
}

_SIDE = (
    "Only of a dry run, and of a trigger that would change: the whole definition, null for none. Left out of what is"
    " more than 2 MB together, and where it cannot be read."
)

_TRIGGER_CHANGES: Json = {
    "type": "object",
    "required": ["written", "changes"],
    "properties": {
        "written": {"type": "boolean", "description": "false: it was a dry run."},
        "changes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "change", "type", "pipeline"],
                "properties": {
                    "name": TEXT,
                    "change": {"enum": ["create", "update", "delete", "unchanged"]},
                    "type": {**_OPTIONAL_TEXT, "description": "null: it cannot be read, and is not known."},
                    "pipeline": _OPTIONAL_TEXT,
                    "before": {"type": ["object", "null"], "description": _SIDE},
                    "after": {"type": ["object", "null"], "description": _SIDE},
                },
            },
        },
        "plan": {**TEXT, "description": "Only of a dry run: send it along to have this done, and nothing else."},
    },
}

_RECEIPT: Json = {
    "type": "object",
    "required": ["receipt_id", "trigger", "event_id", "at", "outcome", "links"],
    "properties": {
        "receipt_id": TEXT,
        "trigger": TEXT,
        "event_id": TEXT,
        "at": {"type": "string", "format": "date-time"},
        "outcome": {"type": "string", "enum": list(get_args(Outcome))},
        "run_id": _OPTIONAL_TEXT,
        "detail": _OPTIONAL_TEXT,
        "bucket": _OPTIONAL_TEXT,
        "key": _OPTIONAL_TEXT,
        "scheduled_at": _OPTIONAL_TIME,
        "upstream": {**_OPTIONAL_TEXT, "description": "The run whose end it was."},
        "delivery_id": {**_OPTIONAL_TEXT, "description": "The sender's id of a webhook's delivery."},
        "links": {"type": "object"},
    },
}

_TRIAL: Json = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["event", "matches", "outcome", "would"],
                "properties": {
                    "event": {"type": "object"},
                    "matches": {"type": "boolean"},
                    "outcome": {"type": "string", "enum": list(get_args(Outcome))},
                    "detail": _OPTIONAL_TEXT,
                    "request": {
                        "type": ["object", "null"],
                        "description": "As a body of `POST /runs`. Left out of what is more than 2 MB together.",
                    },
                    "run_id": {**_OPTIONAL_TEXT, "description": "The id that the event's run has, or would have."},
                    "would": {"enum": ["start", "queue", None], "description": "What the run would do now."},
                },
            },
        },
    },
}

_SNAPSHOT: Json = {
    "type": "object",
    "required": ["id", "pipeline", "number", "image", "published_at", "links"],
    "properties": {
        "id": {**TEXT, "description": "Pipeline and number."},
        "pipeline": TEXT,
        "number": {"type": "integer"},
        "newest": {"type": "boolean", "description": "Whether a run that chooses no snapshot gets this one."},
        "name": _OPTIONAL_TEXT,
        "description": TEXT,
        "tags": {"type": "array", "items": TEXT},
        "source": {**_OPTIONAL_TEXT, "description": "module:attribute"},
        "zenml_snapshot": {**_OPTIONAL_TEXT, "description": "The stored snapshot that is executed instead."},
        "zenml_version": TEXT,
        "image": TEXT,
        "git": {"type": ["object", "null"]},
        "task_definition": TEXT,
        "published_at": {"type": "string", "format": "date-time"},
        "published_by": TEXT,
        "parameters_schema": {"type": "object", "description": "JSON Schema of the pipeline's parameters."},
        "steps": {"type": "object", "description": "Steps, with what they run after and what of them may be set."},
        "configuration": {"type": "object"},
        "secrets": {"type": "object", "description": "Variable -> ARN. Values are never shown."},
        "resources": {"type": ["object", "null"]},
        "timeout_seconds": {"type": ["integer", "null"]},
        "example": {"type": "object", "description": "A request that fits, and the curl line for it."},
        "runs": {"type": "object", "description": "The last run, and the success rate of the last 100."},
        "created": {"type": "boolean"},
        "changes": {"type": "array", "items": {"type": "object"}},
        "breaks": {"type": "object", "description": "Triggers and names that a breaking change concerns."},
        "links": {"type": "object"},
    },
}

_COUNTS: Json = {
    "active_runs": {"type": "integer"},
    "waiting_runs": {"type": "integer"},
    "max_active_runs": {"type": ["integer", "null"], "description": "Null: as many as the stack has slots."},
}

_PIPELINE: Json = {
    "type": "object",
    "required": ["name", "capacity", "links"],
    "properties": {
        "name": TEXT,
        "capacity": {
            "type": "object",
            "description": "How many of its runs are active, wait and may be active.",
            "properties": _COUNTS,
        },
        "description": TEXT,
        "tags": {"type": "array", "items": TEXT},
        "last_number": {"type": "integer", "description": "The number of the snapshot published last."},
        "snapshot": {"type": ["object", "null"], "description": "The newest snapshot in short."},
        "runs": {"type": "object", "description": "The last run, and the success rate of the last 100."},
        "parameters_schema": {"type": ["object", "null"], "description": "JSON Schema of the pipeline's parameters."},
        "example": {"type": ["object", "null"], "description": "A request that fits, and the curl line for it."},
        "links": {"type": "object"},
    },
}

_DRY_RUN: Json = {
    "type": "object",
    "required": ["snapshot", "parameters", "steps", "would", "capacity", "run_task", "run_task_overrides", "problems"],
    "properties": {
        "snapshot": {"type": "object"},
        "parameters": {"type": "object", "description": "The pipeline's, with defaults filled in."},
        "steps": {"type": "object"},
        "would": {
            "type": "string",
            "enum": ["start", "queue", "refuse", "skip", "replay"],
            "description": "`skip`: it would be recorded as cancelled, for its concurrency key is taken.",
        },
        "capacity": {
            "type": "object",
            "description": "Of the stack; and, within it, of the pipeline and of those runs with the concurrency key.",
            "properties": {
                **_COUNTS,
                "max_waiting_runs": {"type": "integer"},
                "pipeline": {"type": "object", "properties": _COUNTS},
                "concurrency": {"type": ["object", "null"], "properties": _COUNTS},
            },
        },
        "run_task": {"type": ["object", "null"], "description": "The request to ECS; null if there would be none."},
        "run_task_overrides": {
            "type": "object",
            "properties": {"characters": {"type": "integer"}, "limit": {"type": "integer"}},
        },
        "problems": {"type": "array", "items": {"type": "object"}},
    },
}

ANSWERS: Json = {
    "DryRun": _DRY_RUN,
    "Pipeline": _PIPELINE,
    "Problem": _PROBLEM,
    "Receipt": _RECEIPT,
    "Run": _RUN,
    "Snapshot": _SNAPSHOT,
    "Trial": _TRIAL,
    "Trigger": _TRIGGER,
    "TriggerChanges": _TRIGGER_CHANGES,
}
"""Name in the document -> schema."""
