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


def _no_constant(name: str) -> None:
    raise ValueError(name)
