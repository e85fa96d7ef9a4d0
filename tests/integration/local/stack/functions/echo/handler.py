"""Answers with what it was given, or does what it is told to."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from shared_layer import record  # type: ignore[import-not-found]


def handler(event: dict[str, Any], context: Any) -> Any:  # noqa: C901, PLR0911 - one branch for each act
    """Echo, or act."""
    act = event.get("pathParameters", {}).get("act")
    if act == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if act == "exit":
        os._exit(3)
    if act == "hang":
        record("hang", {"pid": os.getpid()})
        time.sleep(60)
    if act == "raise":
        raise ValueError("told to")
    if act == "nonsense":
        return {"statusCode": "soon"}
    if act == "plain":
        return {"inferred": True}
    if act == "large":
        return "x" * (7 * 1024 * 1024)
    if act == "cookies":
        return {"statusCode": 201, "cookies": ["a=1", "b=2"], "headers": {"X-Number": 7}, "body": "ok"}
    if act == "binary":
        return {"statusCode": 200, "isBase64Encoded": True, "headers": {"content-type": "image/png"}, "body": "AP8="}
    if act == "eat":
        eaten = [b"x" * (1 << 20) for _ in range(400)]
        time.sleep(1.5)
        return len(eaten)
    if act == "wait":
        time.sleep(1)
    print("echoing", flush=True)  # noqa: T201 - for the log
    return {
        "event": event,
        "environment": dict(os.environ),
        "path": sys.path,
        "modules": [name for name in ("boto3", "moto", "pydantic") if _importable(name)],
        "remaining": context.get_remaining_time_in_millis(),
        "function": context.function_name,
        "arn": context.invoked_function_arn,
        "pid": os.getpid(),
    }


def _importable(name: str) -> bool:
    try:
        __import__(name)
    except ImportError:
        return False
    return True
