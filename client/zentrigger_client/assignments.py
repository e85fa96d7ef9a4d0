"""``NAME=VALUE`` on the command line."""

import json
from collections.abc import Sequence
from typing import Any

from zentrigger_client.api import Json
from zentrigger_client.console import UsageError


def assignment(text: str, what: str) -> tuple[str, Any]:
    """Read ``NAME=VALUE``: the value is JSON if it parses as such, otherwise text; ``NAME:=TEXT`` is always text.

    NaN and Infinity are no JSON (RFC 8259) and stay text. Raises UsageError without a name or an ``=``.
    """
    name, separator, raw = text.partition("=")
    if not separator or not name.rstrip(":"):
        raise UsageError(f"{what} has to look like NAME=VALUE, not {text!r}")
    if name.endswith(":"):
        return name[:-1], raw
    try:
        return name, json.loads(raw, parse_constant=_no_constant)
    except ValueError:
        return name, raw


def assignments(texts: Sequence[str], what: str) -> Json:
    """Read several ``NAME=VALUE``. Raises UsageError for a name given twice."""
    pairs: Json = {}
    for text in texts:
        name, content = assignment(text, what)
        if name in pairs:
            raise UsageError(f"{what} {name} is given twice")
        pairs[name] = content
    return pairs


def nested_assignments(texts: Sequence[str], what: str) -> dict[str, Json]:
    """Read several ``GROUP.NAME=VALUE`` into a mapping of mappings."""
    groups: dict[str, Json] = {}
    for path, content in assignments(texts, what).items():
        group, separator, name = path.partition(".")
        if not separator or not group or not name:
            raise UsageError(f"{what} has to look like {what.upper()}.NAME=VALUE, not {path!r}")
        groups.setdefault(group, {})[name] = content
    return groups


def secret_references(texts: Sequence[str]) -> dict[str, str]:
    """Read several ``VARIABLE=ARN``.

    Raises UsageError for anything else, without repeating it: who confuses a secret with its ARN has typed the secret.
    """
    references: dict[str, str] = {}
    for text in texts:
        variable, separator, arn = text.partition("=")
        if not separator or not variable.isidentifier() or not arn.startswith("arn:"):
            raise UsageError("--secret takes VARIABLE=ARN, the ARN of a secret in AWS Secrets Manager; not its value")
        if variable in references:
            raise UsageError(f"the secret {variable} is given twice")
        references[variable] = arn
    return references


def resources(cpu: int | None, memory: int | None) -> Json | None:
    """Return the size of a task as the API takes it. Raises UsageError for one of the two alone."""
    if (cpu is None) != (memory is None):
        raise UsageError("--cpu and --memory go together")
    return None if cpu is None else {"cpu": cpu, "memory": memory}


def concurrency(key: str | None, limit: int | None, on_conflict: str | None) -> Json | None:
    """Return a concurrency key as the API takes it. Raises UsageError for a limit or a conflict without a key."""
    if key is None:
        if limit is not None or on_conflict is not None:
            raise UsageError("--concurrency-limit and --on-conflict need --concurrency-key")
        return None
    asked: Json = {"key": key, "limit": limit, "on_conflict": on_conflict}
    return {name: value for name, value in asked.items() if value is not None}


def retry(retries: int | None, backoff: int | None, on: Sequence[str]) -> Json | None:
    """Return retries as the API takes them, which counts the first attempt. Raises UsageError for details alone."""
    if retries is None:
        if backoff is not None or on:
            raise UsageError("--retry-backoff and --retry-on need --retries")
        return None
    asked: Json = {"max_attempts": retries + 1, "backoff_seconds": backoff, "on": list(on) or None}
    return {name: value for name, value in asked.items() if value is not None}


def _no_constant(name: str) -> None:
    raise ValueError(name)
