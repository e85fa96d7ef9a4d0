"""The HTTP API as data: every operation once, for the OpenAPI document, for 405 answers and for the tests."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from zentrigger.catalogue import PublishRequest, SnapshotUpdate
from zentrigger.keys import Scope
from zentrigger.run_requests import (
    HookSecretRequest,
    KeyRequest,
    PipelineUpdate,
    RunRequest,
    SnapshotRunRequest,
    TriggerTest,
    TutorialRequest,
)
from zentrigger.triggers import TriggerBody, TriggersRequest

Method = Literal["DELETE", "GET", "PATCH", "POST", "PUT"]


@dataclass(frozen=True)
class Operation:
    """One call: method, path with `{names}`, who may make it, what it takes and what it answers."""

    method: Method
    path: str
    summary: str
    scope: Scope | None
    answer: int
    answers: str
    errors: tuple[int, ...]
    body: type[BaseModel] | None = None
    example: dict[str, Any] | None = None
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    answer_type: str = "application/json"

    @property
    def all_errors(self) -> tuple[int, ...]:
        """Give the statuses of its errors; whatever needs a key reads a table, which may be too busy to answer."""
        return (*self.errors, 503) if self.scope else self.errors

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """Give the names in the path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    def matches(self, path: str) -> bool:
        """Tell whether a request's path is one of this operation."""
        pattern = "[^/]+".join(re.escape(part) for part in re.split(r"\{\w+\}", self.path))
        return re.fullmatch(pattern, path) is not None


_PAGING = {"limit": "How many, from 1 to 100; 20 unless said.", "cursor": "The `next` of the page before."}
_WITH_BODY = (400, 401, 403, 413, 415, 422)
_IDEMPOTENCY = {
    "Idempotency-Key": "Up to 200 printable characters. The same key with the same body gives the same run, and the"
    " header `Idempotency-Replayed: true`; with another body, 422. Who sends one can repeat a call after any error."
}
_TUTORIAL_STEPS = {
    "load_data": {"parameters": {"data_url": "s3://bucket/data.csv"}},
    "train_model": {"parameters": {"model_type": "gradient_boosting"}},
}
_DRY_RUN = {
    "dry_run": "`true`: answer 200 with what would happen (snapshot, parameters, slot, the RunTask request, every"
    " problem), and write nothing."
}
_S3_TRIGGER = {
    "type": "s3",
    "pipeline": "training_pipeline",
    "prefix": "incoming/",
    "suffix": ".csv",
    "parameters": {"data_url": "s3://{bucket.name}/{object.key}"},
}
_FIND = {"name": "Only the one of exactly this name."}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/runs",
        "Run a pipeline",
        "run",
        202,
        "The run, recorded and on its way.",
        (200, *_WITH_BODY, 404, 409, 429),
        body=RunRequest,
        example={
            "pipeline": "training_pipeline",
            "parameters": {"model_type": "gradient_boosting"},
            "concurrency": {"key": "customer-42", "limit": 1, "on_conflict": "queue"},
            "retry": {"max_attempts": 3, "backoff_seconds": 60},
        },
        query=_DRY_RUN,
        headers=_IDEMPOTENCY,
    ),
    Operation(
        "POST",
        "/snapshots/{snapshot}/runs",
        "Run a snapshot",
        "run",
        202,
        "The run, recorded and on its way.",
        (200, *_WITH_BODY, 404, 409, 429),
        body=SnapshotRunRequest,
        example={"steps": _TUTORIAL_STEPS},
        query=_DRY_RUN,
        headers=_IDEMPOTENCY,
    ),
    Operation(
        "POST",
        "/trigger",
        "Run a pipeline, with the body of ZenML's tutorial",
        "run",
        202,
        "The run, recorded and on its way.",
        (*_WITH_BODY, 404, 429),
        body=TutorialRequest,
        example={"pipeline_name": "training_pipeline", "steps": _TUTORIAL_STEPS},
        headers=_IDEMPOTENCY,
    ),
    Operation(
        "GET",
        "/runs",
        "List runs, newest first",
        "read",
        200,
        "A page of runs. Filters apply to what was read, so a page may be short and still have a next.",
        (401, 403, 422),
        query={
            "pipeline": "Only runs of this pipeline.",
            "status": "Only runs of this status.",
            "trigger": "Only runs that this trigger started.",
            "tag": "Only runs with this tag.",
            **_PAGING,
        },
    ),
    Operation(
        "GET",
        "/runs/{run_id}",
        "Get a run: status, progress, outputs, error",
        "read",
        200,
        "The run. With `If-None-Match` and nothing new: 304.",
        (304, 401, 403, 404, 422),
        query={"wait": "Seconds, up to 20: answer when the run has changed, or when they have passed."},
        headers={"If-None-Match": "The `ETag` of the last answer."},
    ),
    Operation(
        "GET",
        "/runs/{run_id}/logs",
        "Read what a run printed",
        "read",
        200,
        "Lines with their times, and the cursor for what comes after.",
        (401, 403, 404, 422),
        query={
            "attempt": "Which attempt's, from 1 on; the present one's unless said.",
            "limit": "How many lines, from 1 to 1000; 500 unless said.",
            "cursor": "The `next` of the page before.",
        },
    ),
    Operation(
        "DELETE",
        "/runs/{run_id}",
        "Cancel a run",
        "run",
        202,
        "The run, with `cancel_requested_at` set; it is `cancelled` when its task has stopped.",
        (401, 403, 404, 409),
    ),
    Operation(
        "POST",
        "/runs/{run_id}/retry",
        "Run again what a run ran, with its parameters",
        "run",
        202,
        "The new run; both say which the other is.",
        (401, 403, 404, 409, 422, 429),
        headers=_IDEMPOTENCY,
    ),
    Operation(
        "GET",
        "/pipelines",
        "List published pipelines, by name",
        "read",
        200,
        "A page of pipelines, each with its newest snapshot in short and how its last runs went.",
        (401, 403, 422),
        query={**_FIND, "tag": "Only those whose newest snapshot has this tag.", **_PAGING},
    ),
    Operation(
        "GET",
        "/pipelines/{pipeline}",
        "Get a pipeline, with its parameter schemas and an example request",
        "read",
        200,
        "The pipeline and its newest snapshot.",
        (401, 403, 404),
    ),
    Operation(
        "PATCH",
        "/pipelines/{pipeline}",
        "Limit how many runs of a pipeline are active",
        "admin",
        200,
        "The pipeline's name, and how many of its runs are active, wait and may be active.",
        (*_WITH_BODY, 404),
        body=PipelineUpdate,
        example={"max_active_runs": 2},
    ),
    Operation(
        "GET",
        "/pipelines/{pipeline}/snapshots",
        "List a pipeline's snapshots, newest first",
        "read",
        200,
        "A page of snapshots in short, each with how its last runs went.",
        (401, 403, 404, 422),
        query={**_FIND, "tag": "Only those with this tag.", **_PAGING},
    ),
    Operation(
        "GET",
        "/pipelines/{pipeline}/changes",
        "List how a pipeline's parameters changed, newest first",
        "read",
        200,
        "A page of publications, updates and deletions, each with the names and tags that it moved, and what it changed"
        " for runs of the newest snapshot, or of those names and tags. Large entries make a page shorter than `limit`.",
        (401, 403, 404, 422),
        query=_PAGING,
    ),
    Operation(
        "POST",
        "/snapshots",
        "Publish a pipeline",
        "admin",
        201,
        "The new snapshot; 200 with the one that has this content already. Either is the newest now.",
        (200, *_WITH_BODY, 409),
        body=PublishRequest,
    ),
    Operation(
        "GET",
        "/snapshots/{snapshot}",
        "Get a snapshot: schemas, steps, configuration, image, an example request",
        "read",
        200,
        "The snapshot.",
        (401, 403, 404),
    ),
    Operation(
        "PATCH",
        "/snapshots/{snapshot}",
        "Name, describe or tag a snapshot",
        "admin",
        200,
        "The snapshot, and what moving its name or tags changed for others.",
        (*_WITH_BODY, 404, 409),
        body=SnapshotUpdate,
        example={"name": "production", "replace": True},
    ),
    Operation(
        "DELETE",
        "/snapshots/{snapshot}",
        "Delete a snapshot that no name and no trigger leads to",
        "admin",
        204,
        "It is gone; its number is not given again.",
        (401, 403, 404, 409, 422),
    ),
    Operation(
        "GET",
        "/triggers",
        "List triggers, by name",
        "admin",
        200,
        "A page of triggers. Large ones make it shorter than `limit`. `unreadable` has name, type and detail of those"
        " that this version cannot read.",
        (401, 403, 422),
        query=_PAGING,
    ),
    Operation(
        "PUT",
        "/triggers",
        "Make several triggers as they are wanted, all together or none",
        "admin",
        200,
        "What became, or with `dry_run` would become, of each trigger. Only a dry run has the definitions.",
        (*_WITH_BODY, 409),
        body=TriggersRequest,
        example={"triggers": {"arrivals": _S3_TRIGGER}},
        query={"dry_run": "`true`: say what would change, and write nothing."},
    ),
    Operation(
        "PUT",
        "/triggers/{trigger}",
        "Make or replace a trigger",
        "admin",
        200,
        "The trigger.",
        (*_WITH_BODY, 404),
        body=TriggerBody,
        example=_S3_TRIGGER,
    ),
    Operation("GET", "/triggers/{trigger}", "Get a trigger", "admin", 200, "The trigger.", (401, 403, 404, 409)),
    Operation("DELETE", "/triggers/{trigger}", "Delete a trigger", "admin", 204, "It is gone.", (401, 403, 404)),
    Operation(
        "POST",
        "/triggers/{trigger}/secret",
        "Give a webhook trigger a secret",
        "admin",
        200,
        "When it was given one. A secret that was made here is in this answer and never again.",
        (*_WITH_BODY, 404, 409),
        body=HookSecretRequest,
        example={},
    ),
    Operation(
        "POST",
        "/triggers/{trigger}/test",
        "Try a trigger with an event; nothing is started",
        "admin",
        200,
        "Whether each event passes the filter, the request it would make, and what would happen now.",
        (*_WITH_BODY, 404),
        body=TriggerTest,
        example={},
        query={"recent": "`true`: try the last events of this trigger instead of one in the body."},
    ),
    Operation(
        "GET",
        "/triggers/{trigger}/receipts",
        "List what became of a trigger's events, newest first",
        "admin",
        200,
        "A page of receipts, which are kept for 30 days; of those that the filter refused, the last hundred.",
        (401, 403, 422),
        query={
            "outcome": "Only those of this outcome; `not_matched` for those that the filter refused, which are in no"
            " other list. A page may be short and still have a next.",
            **_PAGING,
        },
    ),
    Operation(
        "GET",
        "/triggers/{trigger}/receipts/{receipt_id}",
        "Get a receipt",
        "admin",
        200,
        "The receipt.",
        (401, 403, 404),
    ),
    Operation(
        "GET",
        "/events/unmatched",
        "List the events of the last day that no trigger waited for, newest first",
        "admin",
        200,
        "A page of events, each with the triggers that came near and why they did not take it.",
        (401, 403, 422),
        query={
            "bucket": "Only arrivals in this bucket.",
            "key": "Only arrivals of exactly this key.",
            **_PAGING,
        },
    ),
    Operation(
        "POST",
        "/hooks/{trigger}",
        "Call a webhook trigger",
        None,
        202,
        "It is in the queue; the receipt says what became of it. 200 for Slack's challenge.",
        (200, 400, 401, 404, 413, 503),
    ),
    Operation("GET", "/keys", "List API keys", "admin", 200, "All keys, without their secrets.", (401, 403, 422)),
    Operation(
        "POST",
        "/keys",
        "Make an API key",
        "admin",
        201,
        "The key. Its text is in this answer and never again.",
        _WITH_BODY,
        body=KeyRequest,
    ),
    Operation(
        "DELETE", "/keys/{key_id}", "Delete an API key", "admin", 204, "It stops working within 30 s.", (401, 403, 404)
    ),
    Operation("GET", "/health", "Tell whether the API answers", None, 200, "It does.", ()),
    Operation("GET", "/openapi.json", "Get this document", None, 200, "OpenAPI 3.1.", ()),
    Operation("GET", "/docs", "Read and try the API", None, 200, "A page for people.", (), answer_type="text/html"),
)


def allowed_methods(path: str) -> tuple[str, ...]:
    """Give the methods that a path takes; none where there is nothing."""
    return tuple(sorted({operation.method for operation in OPERATIONS if operation.matches(path)}))
