"""The HTTP API as methods: one `Client`, one method a call."""

import json
import math
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Self, TypedDict, Unpack
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase

from zentrigger_client.errors import Unreachable, ZentriggerError, from_answer, without

__all__ = ["Client", "Unreachable", "ZentriggerError"]

CONNECT_TIMEOUT_SECONDS = 5.0
READ_TIMEOUT_SECONDS = 30.0
MAX_WAIT_SECONDS = 20
"""The longest long poll the API grants; its gateway gives up after 30 s."""
MAX_ATTEMPTS = 4
MAX_PAUSE_SECONDS = 30.0
"""A Retry-After beyond this is handed to the caller instead of being waited for."""

_TRANSIENT = frozenset({429, 500, 502, 503, 504})

Json = dict[str, Any]


class _ApiKey(AuthBase):
    """Sets X-API-Key. Being the session's ``auth``, it also keeps requests from taking a password out of ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["X-API-Key"] = self._key
        return request

    def __repr__(self) -> str:
        return "_ApiKey(***)"


class RunOptions(TypedDict, total=False):
    """What may be asked of a run: the fields of ``POST /runs``. What is None is not sent."""

    snapshot: int | str | None
    """A number, an id, a name or ``tag:<tag>``; without it, the one published last runs."""
    parameters: Mapping[str, Any] | None
    steps: Mapping[str, Mapping[str, Any]] | None
    """Step -> its parameters."""
    enable_cache: bool | None
    tags: Sequence[str]
    resources: Mapping[str, int] | None
    """``cpu`` (1024 is one vCPU) and ``memory`` (MiB)."""
    timeout_seconds: int | None
    priority: int | None
    """From -10 to 10: each point lets the run pass those that have waited up to 10 minutes longer."""
    concurrency: Mapping[str, Any] | None
    """``key``, ``limit`` and ``on_conflict`` (queue, skip or reject): how many runs with the key may be active."""
    retry: Mapping[str, Any] | None
    """``max_attempts``, ``backoff_seconds`` and ``on``: how often the pipeline is attempted again if it fails."""
    spot: bool | None
    """Try Spot capacity first. AWS may take it back; the pipeline is repeated then."""


@dataclass(frozen=True)
class _Answer:
    status: int
    body: object
    headers: Mapping[str, str]


class Client:
    """A client of one Zentrigger API.

    Calls that are safe to repeat (GET, PUT, DELETE, publishing, and starting a run, which always carries an
    Idempotency-Key) are tried up to four times when nobody answers, on 429 and on 5xx, waiting as long as Retry-After
    says but never more than 30 s. Everything else is sent once.

    Raises `Unreachable` when nobody answers, `ZentriggerError` for every answer outside 2xx; ValueError from the
    constructor for a URL or key that cannot be one (the key is not cited).
    """

    def __init__(
        self,
        api_url: str,
        api_key: str | None,
        *,
        connect_timeout: float = CONNECT_TIMEOUT_SECONDS,
        read_timeout: float = READ_TIMEOUT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(api_url.strip())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"the API URL has to look like https://host, not {_without_password(api_url)!r}")
        if parts.username or parts.password:
            raise ValueError("the API URL must not hold a user name or password; the API key is given on its own")
        self.api_url = api_url.strip().rstrip("/")
        self._timeouts = (connect_timeout, read_timeout)
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers.update({"Accept": "application/json", "User-Agent": "zentrigger-client"})
        if api_key is not None:
            self._session.auth = _ApiKey(_checked_key(api_key))

    def __repr__(self) -> str:
        return f"Client({self.api_url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------------------ runs

    def start(self, pipeline: str, *, idempotency_key: str | None = None, **asked: Unpack[RunOptions]) -> Json:
        """Start a run and return it at once, usually ``starting`` or ``queued``.

        What else may be asked for is `RunOptions`. Without ``idempotency_key`` one is made up, so that a repeat after a
        lost answer finds the same run instead of starting a second. 409 if its concurrency key is taken and it was
        asked to ``reject`` then.
        """
        headers = _idempotency(str(uuid.uuid4()) if idempotency_key is None else idempotency_key)
        return self._object("POST", "/runs", body=_run_request(pipeline, asked), headers=headers, repeatable=True)

    def dry_run(self, pipeline: str, *, idempotency_key: str | None = None, **asked: Unpack[RunOptions]) -> Json:
        """Return what `start` would do with the same arguments, and everything that is wrong; nothing is written."""
        body = _run_request(pipeline, asked)
        headers = {} if idempotency_key is None else _idempotency(idempotency_key)
        return self._object("POST", "/runs", query={"dry_run": "true"}, body=body, headers=headers, repeatable=True)

    def retry(self, run_id: str, *, idempotency_key: str | None = None) -> Json:
        """Run again what an ended run was, with the same snapshot, image and parameters, and return the new run.

        409 while the run has not ended. For ``idempotency_key`` see `start`.
        """
        headers = _idempotency(str(uuid.uuid4()) if idempotency_key is None else idempotency_key)
        return self._object("POST", f"/runs/{_segment(run_id)}/retry", headers=headers, repeatable=True)

    def run(self, run_id: str) -> Json:
        """Return the run as it is now."""
        return self._object("GET", f"/runs/{_segment(run_id)}")

    def wait_for_change(
        self, run_id: str, *, seconds: int = MAX_WAIT_SECONDS, etag: str | None = None
    ) -> tuple[Json | None, str | None]:
        """Long-poll: return (run, etag) once the run differs from ``etag``, (None, etag) if nothing changed in time."""
        wait = max(0, min(seconds, MAX_WAIT_SECONDS))
        answer = self._call(
            "GET",
            f"/runs/{_segment(run_id)}",
            query={"wait": str(wait) if wait else None},
            headers={"If-None-Match": etag} if etag else {},
            extra_seconds=wait,
        )
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return None, etag
        return _as_object(answer), answer.headers.get("ETag")

    def runs(  # noqa: PLR0913 - one argument for each filter of GET /runs
        self,
        *,
        pipeline: str | None = None,
        status: str | None = None,
        trigger: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Json:
        """Return one page of runs, newest first: ``{"items": [...], "next": cursor or None}``."""
        query = _filters(limit, cursor, pipeline=pipeline, status=status, trigger=trigger, tag=tag)
        return self._object("GET", "/runs", query=query)

    def cancel(self, run_id: str) -> Json:
        """Ask for the run's end. 409 if it has ended."""
        return self._object("DELETE", f"/runs/{_segment(run_id)}")

    def logs(self, run_id: str, *, attempt: int | None = None, cursor: str | None = None) -> Json:
        """Return one page of the log of the run's present attempt, or of another.

        ``{"items": [{"at", "line"}], "next": cursor}``.
        """
        query = {"attempt": None if attempt is None else str(attempt), "cursor": cursor}
        return self._object("GET", f"/runs/{_segment(run_id)}/logs", query=query)

    # ----------------------------------------------------------------------------------- pipelines and publishing

    def pipelines(
        self, *, name: str | None = None, tag: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Json:
        """Return one page of the published pipelines: ``{"items": [...], "next": cursor or None}``.

        ``tag`` is one of the newest snapshot's.
        """
        return self._object("GET", "/pipelines", query=_filters(limit, cursor, name=name, tag=tag))

    def pipeline(self, name: str) -> Json:
        """Return one pipeline with the parameter schemas of its newest snapshot."""
        return self._object("GET", f"/pipelines/{_segment(name)}")

    def limit_pipeline(self, name: str, max_active_runs: int | None) -> Json:
        """Have at most so many runs of the pipeline active from now on; 0 pauses it, None takes the limit away.

        Returns its ``capacity``: how many runs are active, wait and may be active (scope admin).
        """
        body = {"max_active_runs": max_active_runs}
        return self._object("PATCH", f"/pipelines/{_segment(name)}", body=body, repeatable=True)

    def changes(self, pipeline: str, *, limit: int | None = None, cursor: str | None = None) -> Json:
        """Return one page of what each publication of the pipeline changed of its parameters, newest first."""
        return self._object("GET", f"/pipelines/{_segment(pipeline)}/changes", query=_filters(limit, cursor))

    def snapshots(
        self,
        pipeline: str,
        *,
        name: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Json:
        """Return one page of the pipeline's snapshots, newest first."""
        query = _filters(limit, cursor, name=name, tag=tag)
        return self._object("GET", f"/pipelines/{_segment(pipeline)}/snapshots", query=query)

    def snapshot(self, snapshot_id: str) -> Json:
        """Return one snapshot with everything in it. Ids look like ``training_pipeline:3``."""
        return self._object("GET", f"/snapshots/{_segment(snapshot_id)}")

    def publish(self, snapshot: Mapping[str, Any]) -> Json:
        """Publish a snapshot (scope admin).

        What was published before with the same content is given back instead, and is the newest again. 409 if it would
        break triggers, or if its name is another snapshot's.
        """
        return self._object("POST", "/snapshots", body=dict(snapshot), repeatable=True)

    def update_snapshot(self, snapshot_id: str, changes: Mapping[str, Any]) -> Json:
        """Change ``name`` (None takes it away), ``description`` or ``tags`` of a snapshot; what is left out stays.

        ``replace`` moves a name that another snapshot has, ``allow_breaking`` does it although triggers would no longer
        fit; otherwise 409.
        """
        return self._object("PATCH", f"/snapshots/{_segment(snapshot_id)}", body=dict(changes), repeatable=True)

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot; 409 with the list if a name or a trigger leads to it."""
        self._call("DELETE", f"/snapshots/{_segment(snapshot_id)}")

    # ------------------------------------------------------------------------------------------------- triggers

    def put_trigger(self, name: str, trigger: Mapping[str, Any]) -> Json:
        """Create or replace a trigger (scope admin)."""
        return self._object("PUT", f"/triggers/{_segment(name)}", body=dict(trigger))

    def put_triggers(
        self,
        triggers: Mapping[str, Mapping[str, Any]],
        *,
        prune: bool = False,
        dry_run: bool = False,
        plan: str | None = None,
    ) -> Json:
        """Create or replace triggers, all of them or none, and with ``prune`` delete all others (scope admin).

        Returns ``{"written": bool, "changes": [{"name", "change", "type", "pipeline"}]}``; ``change`` is create,
        update, delete or unchanged. With ``dry_run`` nothing is written, what would change has ``before`` and
        ``after``, whole definitions or None, unless they are too large together, and there is a ``plan``. With that,
        what was planned is done and nothing else: 409 if the triggers have changed since. 422 with everything that is
        wrong, at pointers ``/triggers/<name>/…``; at most 100 triggers change.
        """
        body: Json = {"triggers": {name: dict(definition) for name, definition in triggers.items()}, "prune": prune}
        if plan is not None:
            body["plan"] = plan
        return self._object("PUT", "/triggers", query={"dry_run": _flag(dry_run)}, body=body)

    def triggers(self, *, limit: int | None = None, cursor: str | None = None) -> Json:
        """Return one page of the triggers, by name: ``{"items": [...], "next": cursor or None}``."""
        return self._object("GET", "/triggers", query=_filters(limit, cursor))

    def trigger(self, name: str) -> Json:
        """Return one trigger: its definition, how many events had which outcome, and when its schedule fires next."""
        return self._object("GET", f"/triggers/{_segment(name)}")

    def delete_trigger(self, name: str) -> None:
        """Delete a trigger (scope admin)."""
        self._call("DELETE", f"/triggers/{_segment(name)}")

    def set_trigger_secret(self, name: str, secret: str | None = None) -> Json:
        """Give a webhook trigger the secret that its signatures are made with; without one, have it made (scope admin).

        Returns ``{"name", "secret", "created_at", "previous_valid_until"}``. A secret that was made stands in this
        answer and nowhere else; a given one is not repeated, not in errors either. The one before stays good for 24 h.
        """
        refusal: ZentriggerError
        try:
            body = {} if secret is None else {"secret": secret}
            return self._object("POST", f"/triggers/{_segment(name)}/secret", body=body)
        except ZentriggerError as error:
            refusal = error if secret is None else without(error, secret)
        # Outside the handler: the error as it came, with what the API cited, is not kept as the context of this one.
        raise refusal

    def test_trigger(self, name: str, event: Mapping[str, Any] | None = None, *, recent: bool = False) -> Json:
        """Return what the trigger would do with an event; nothing is started (scope admin).

        Without an event the API takes a sample, or with ``recent`` the events of the last receipts. Returns ``{"items":
        [{"event", "matches", "why", "outcome", "detail", "request", "would", …}]}``.
        """
        body = {} if event is None else {"event": dict(event)}
        path = f"/triggers/{_segment(name)}/test"
        return self._object("POST", path, query={"recent": _flag(recent)}, body=body, repeatable=True)

    def receipts(
        self, name: str, *, outcome: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Json:
        """Return one page of what became of the events at the trigger, newest first; they are kept for 30 days.

        ``outcome`` is one of started, duplicate, skipped_overlap, skipped_max_runs, skipped_cap, skipped_cycle,
        rejected, error, disabled, not_matched.
        """
        query = _filters(limit, cursor, outcome=outcome)
        return self._object("GET", f"/triggers/{_segment(name)}/receipts", query=query)

    def receipt(self, name: str, receipt_id: str) -> Json:
        """Return one receipt."""
        return self._object("GET", f"/triggers/{_segment(name)}/receipts/{_segment(receipt_id)}")

    def unmatched_events(
        self,
        *,
        bucket: str | None = None,
        key: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Json:
        """Return one page of the last day's events that no trigger took, each with why not, by trigger."""
        return self._object("GET", "/events/unmatched", query=_filters(limit, cursor, bucket=bucket, key=key))

    # --------------------------------------------------------------------------------------------- keys, health

    def create_key(self, name: str, scopes: Sequence[str]) -> Json:
        """Create an API key. Its secret stands in this answer and nowhere else."""
        return self._object("POST", "/keys", body={"name": name, "scopes": list(scopes)})

    def keys(self) -> Json:
        """Return all API keys, without secrets."""
        return self._object("GET", "/keys")

    def delete_key(self, key_id: str) -> None:
        """Revoke an API key."""
        self._call("DELETE", f"/keys/{_segment(key_id)}")

    def health(self) -> Json:
        """Return what the API says of itself; needs no key."""
        return self._object("GET", "/health")

    # --------------------------------------------------------------------------------------------------- calls

    def _object(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> Json:
        return _as_object(self._call(method, path, query=query, body=body, headers=headers, repeatable=repeatable))

    def _call(  # noqa: PLR0913 - the parts of an HTTP request
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | None] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
        extra_seconds: float = 0,
    ) -> _Answer:
        may_repeat = method in {"GET", "PUT", "DELETE"} if repeatable is None else repeatable
        data = None if body is None else _encoded(body)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            last = attempt == MAX_ATTEMPTS or not may_repeat
            try:
                return self._send(method, path, query or {}, data, headers or {}, extra_seconds)
            except ZentriggerError as error:
                transient = isinstance(error, Unreachable) or error.status in _TRANSIENT
                pause = (
                    min(2.0 ** (attempt - 1) / 2, MAX_PAUSE_SECONDS) if error.retry_after is None else error.retry_after
                )
                if last or not transient or pause > MAX_PAUSE_SECONDS:
                    raise
                self._sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send(  # noqa: PLR0913, PLR0917 - the parts of an HTTP request
        self,
        method: str,
        path: str,
        query: Mapping[str, str | None],
        data: bytes | None,
        headers: Mapping[str, str],
        extra_seconds: float,
    ) -> _Answer:
        connect, read = self._timeouts
        try:
            response = self._session.request(
                method,
                self.api_url + path,
                params={name: value for name, value in query.items() if value is not None},
                data=data,
                headers={**headers, **({"Content-Type": "application/json"} if data is not None else {})},
                timeout=(connect, read + extra_seconds),
                # A redirect would carry the key to wherever it points.
                allow_redirects=False,
            )
        except requests.exceptions.Timeout as error:
            raise Unreachable(f"{self.api_url} did not answer in time", detail=f"{method} {path}") from error
        except requests.exceptions.RequestException as error:
            raise Unreachable(f"{self.api_url} cannot be reached", detail=_cause(error)) from error
        decoded = _decoded(response)
        if response.is_redirect:
            target = response.headers["Location"]
            raise ZentriggerError(
                f"{self.api_url} redirects to {target}", detail="set ZENTRIGGER_API_URL to where the API really is"
            )
        if response.ok:
            return _Answer(response.status_code, decoded, response.headers)
        raise from_answer(
            response.status_code,
            response.reason or "",
            decoded,
            response.text,
            _retry_after(response.headers.get("Retry-After")),
        )


def _run_request(pipeline: str, asked: RunOptions) -> Json:
    steps = {name: {"parameters": dict(values)} for name, values in (asked.get("steps") or {}).items()}
    body: Json = {
        "pipeline": pipeline,
        **asked,
        "parameters": dict(asked.get("parameters") or {}) or None,
        "steps": steps or None,
        "tags": list(asked.get("tags") or ()) or None,
    }
    return {name: value for name, value in body.items() if value is not None}


def _idempotency(key: str) -> dict[str, str]:
    if not key.strip() or not key.isascii() or not key.isprintable():
        raise ZentriggerError("an idempotency key is made of printable ASCII characters")
    return {"Idempotency-Key": key}


def _filters(limit: int | None, cursor: str | None, **names: str | None) -> dict[str, str | None]:
    return {**names, "limit": None if limit is None else str(limit), "cursor": cursor}


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _encoded(body: Json) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ZentriggerError("this cannot be sent as JSON", detail=str(error)) from error


def _decoded(response: requests.Response) -> object:
    try:
        return response.json()
    except ValueError:
        return None


def _as_object(answer: _Answer) -> Json:
    if not isinstance(answer.body, dict):
        raise ZentriggerError(
            "the answer is no JSON object", status=answer.status, detail="is ZENTRIGGER_API_URL the address of the API?"
        )
    return answer.body


def _segment(name: str) -> str:
    """Quote one path segment; ``.`` and ``..`` would be resolved away before the request is sent."""
    if name in {"", ".", ".."}:
        raise ZentriggerError(f"{name!r} is no name")
    return quote(name, safe="")


def _checked_key(api_key: str) -> str:
    """Return the key without the white space around it (a file's last newline); refuse what no header may hold."""
    key = api_key.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("the API key is empty or holds characters that no key has; copy it again")
    return key


def _without_password(url: str) -> str:
    """Return the URL with everything before an ``@`` in its authority cut away."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _cause(error: BaseException) -> str:
    """Return the innermost reason: requests wraps urllib3, which wraps the operating system."""
    current: BaseException = error
    for _ in range(10):
        inner = current.__cause__ or current.__context__ or getattr(current, "reason", None)
        if not isinstance(inner, BaseException):
            break
        current = inner
    return str(current) or type(current).__name__


def _retry_after(value: str | None) -> float | None:
    """Read Retry-After (RFC 9110 section 10.2.3: seconds or a date) as seconds from now; None if it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
