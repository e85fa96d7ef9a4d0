"""Writes down what it gets from queues, streams and rules, and fails on what asks for it."""

from __future__ import annotations

import json
from typing import Any

from shared_layer import record  # type: ignore[import-not-found]


def handler(event: dict[str, Any], context: Any) -> Any:  # noqa: ARG001 - Lambda gives it
    """Handle a batch or a single event."""
    if "Records" not in event:
        record("event", event)
        if event.get("detail", {}).get("fail"):
            raise ValueError("told to fail")
        return None
    kind = "queue" if event["Records"][0]["eventSource"] == "aws:sqs" else "stream"
    record(f"{kind}_batch", [_name(one) for one in event["Records"]])
    failures = []
    for one in event["Records"]:
        name = _name(one)
        if "poison" in name:
            if kind == "stream" and "raise" in name:
                raise ValueError("poison")
            failures.append({"itemIdentifier": one.get("messageId") or one["dynamodb"]["SequenceNumber"]})
            if kind == "stream":
                break
        else:
            record(kind, one)
    return {"batchItemFailures": failures}


def _name(one: dict[str, Any]) -> str:
    if one["eventSource"] == "aws:sqs":
        body = json.loads(one["body"])
        return str(body.get("name") or body.get("detail", {}).get("object", {}).get("key", ""))
    return str(one["dynamodb"]["Keys"]["id"]["S"])
