"""What the client raises, and how an answer that is no success becomes one sentence for a person."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_SECRETS = (
    (re.compile(r"zt_[A-Za-z0-9]+_[A-Za-z0-9_-]+"), "zt_***"),
    (re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), "whsec_***"),
    (re.compile(r"\b(ZENKEY|ZENPROKEY)_[A-Za-z0-9+/=_-]{8,}"), r"\1_***"),
    (re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"), r"\1***"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@:'\"]*:[^\s/@'\"]+@"), r"\1***@"),
)
"""What looks like a secret, and what is shown instead: keys of this API, of webhooks
(Standard Webhooks), of ZenML and of AWS, passwords in URLs."""

_MAX_TEXT = 300


class ZentriggerError(Exception):
    """The API refused a call, or its answer makes no sense.

    ``str()`` gives the title, the detail and each of the problem's ``errors`` on a line of its own. No API key ever
    stands in it.
    """

    def __init__(  # noqa: PLR0913 - all but the title by name
        self,
        title: str,
        *,
        detail: str | None = None,
        status: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        problem: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.title = redact(title)
        self.detail = redact(detail) if detail else None
        self.status = status
        self.errors = tuple(
            (redact(str(error.get("pointer") or "")), redact(str(error.get("detail", "")))) for error in errors
        )
        self.problem = dict(problem or {})
        self.retry_after = retry_after
        super().__init__(self._render())

    def _render(self) -> str:
        lines = [f"{self.title}: {self.detail}" if self.detail and self.detail != self.title else self.title]
        lines.extend(f"  {pointer}: {detail}" if pointer else f"  {detail}" for pointer, detail in self.errors)
        return "\n".join(lines)


class Unreachable(ZentriggerError):  # noqa: N818 - reads as what happened, next to ZentriggerError
    """Nobody answered within the time-out, after the retries that were safe."""


def redact(text: str) -> str:
    """Replace everything that looks like a key or a password: what user code raises may hold one."""
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return text


def without(error: ZentriggerError, secret: str) -> ZentriggerError:
    """Return the same error with ``***`` wherever a secret stood in it, as it is or as JSON or Python write it.

    An API that says what it refuses may cite it.
    """
    forms = (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    # An error's texts have been through `redact`, which may have left of a secret what stands around a part of it.
    written = {form for plain in forms for form in (plain, redact(plain)) if form}

    def cleaned(value: Any) -> Any:  # noqa: ANN401 - JSON of any shape
        if isinstance(value, str):
            for form in sorted(written, key=len, reverse=True):
                value = value.replace(form, "***")
            return value
        if isinstance(value, Mapping):
            return {cleaned(name): cleaned(inner) for name, inner in value.items()}
        return [cleaned(inner) for inner in value] if isinstance(value, list) else value

    return type(error)(
        cleaned(error.title),
        detail=cleaned(error.detail),
        status=error.status,
        errors=[{"pointer": cleaned(pointer), "detail": cleaned(detail)} for pointer, detail in error.errors],
        problem=cleaned(error.problem),
        retry_after=error.retry_after,
    )


def from_answer(status: int, reason: str, body: object, text: str, retry_after: float | None) -> ZentriggerError:
    """Turn an answer outside 2xx into an error.

    ``body`` is the decoded JSON or None. Two shapes are known: ``application/problem+json`` (RFC 9457), and what API
    Gateway answers itself, ``{"message": ...}`` (throttling, 413, time-outs). Anything else is cited, cut to 300
    characters.
    """
    fallback = f"{status} {reason}".strip()
    if not isinstance(body, dict):
        return ZentriggerError(
            fallback, detail=text.strip()[:_MAX_TEXT] or None, status=status, retry_after=retry_after
        )
    if "title" in body or "detail" in body:
        errors = [error for error in body.get("errors") or [] if isinstance(error, dict)]
        return ZentriggerError(
            str(body.get("title") or fallback),
            detail=str(body["detail"]) if body.get("detail") else None,
            status=status,
            errors=errors,
            problem=body,
            retry_after=retry_after,
        )
    message = body.get("message") or body.get("Message")
    return ZentriggerError(fallback, detail=str(message) if message else None, status=status, retry_after=retry_after)
