"""Text for people: what may be printed, times, durations, tables."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_MINUTE = 60
_HOUR = 3600


def plain(text: object) -> str:
    """Return text that cannot steer a terminal: escape sequences go, other control characters become ``?``.

    Log lines and error messages hold what user code and callers wrote.
    """
    return _CONTROL.sub("?", _ANSI.sub("", str(text)).replace("\r\n", "\n"))


def one_line(text: object, width: int = 80) -> str:
    """Return the first line of the text, cut to ``width`` characters."""
    lines = plain(text).strip().splitlines()
    first = lines[0] if lines else ""
    return first if len(first) <= width else first[: width - 1] + "…"


def value(content: object, width: int = 60) -> str:
    """Return a JSON value as a person would write it: strings bare, numbers to six digits, the rest as JSON."""
    if isinstance(content, str):
        return one_line(content, width)
    if isinstance(content, float):
        return f"{content:.6g}"
    return one_line(json.dumps(content, ensure_ascii=False), width)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in plain text: left-aligned columns, two spaces between them."""
    lines = [[plain(cell).replace("\n", " ") for cell in row] for row in (headings, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def more(page: Mapping[str, Any]) -> str:
    """Return the line below a page that says how it goes on; an empty text below the last."""
    return f"\nmore: --cursor {plain(page['next'])}" if page.get("next") else ""


def moment(text: str | None) -> datetime | None:
    """Read an ISO 8601 time as the API writes it; None for None and for what is no time."""
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def seconds_between(start: str | None, end: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds from ``start`` to ``end``, or to ``now`` while there is no end; None without a start."""
    first, last = moment(start), moment(end) or now
    return None if first is None or last is None else max(0.0, (last - first).total_seconds())


def duration(seconds: float | None) -> str:
    """Return ``0.4 s``, ``12 s``, ``3 min 07 s``, ``2 h 05 min``; an empty text for None."""
    if seconds is None:
        return ""
    if seconds < 10:  # noqa: PLR2004 - one digit before the point
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"


def digest(image: str) -> str:
    """Return the first twelve digits of an image's digest; the reference itself if it has none."""
    _, found, hexadecimal = image.partition("@sha256:")
    return hexadecimal[:12] if found else image


def change(content: Mapping[str, Any]) -> str:
    """Return a change of parameters in one line: what, where, whether it breaks callers, and how."""
    breaking = " (breaking)" if content["breaking"] else ""
    return f"{content['kind'].replace('_', ' ')} {content['pointer']}{breaking}: {content['detail']}"


def dry_run(answer: Mapping[str, Any]) -> str:
    """Return what a dry run says: which snapshot, what would become of it, with which parameters, and what is wrong."""
    snapshot, capacity, overrides = answer["snapshot"], answer["capacity"], answer["run_task_overrides"]
    pipeline, concurrency = capacity.get("pipeline") or {}, capacity.get("concurrency")
    limited = pipeline.get("max_active_runs") is not None
    rows = [
        ("snapshot", snapshot["id"] + (f" ({snapshot['name']})" if snapshot["name"] else "")),
        ("would", answer["would"]),
        ("active runs", f"{capacity['active_runs']} of {capacity['max_active_runs']}"),
        ("waiting runs", f"{capacity['waiting_runs']} of {capacity['max_waiting_runs']}"),
        *([("active of pipeline", f"{pipeline['active_runs']} of {pipeline['max_active_runs']}")] if limited else []),
        *([("with the same key", _of_key(concurrency))] if concurrency else []),
        ("RunTask", f"{overrides['characters']} of {overrides['limit']} characters of overrides"),
        *((f"parameter {name}", value(given)) for name, given in answer["parameters"].items()),
        *(
            (f"step {step}.{name}", value(given))
            for step, asked in answer["steps"].items()
            for name, given in asked["parameters"].items()
        ),
    ]
    problems = [f"{problem['pointer'] or '/'}: {problem['detail']}" for problem in answer["problems"]]
    return "\n".join([pairs(rows), *(["problems:"] if problems else []), *(f"  {plain(line)}" for line in problems)])


def _of_key(counts: Mapping[str, Any]) -> str:
    return f"{counts['active_runs']} active, {counts['waiting_runs']} waiting, of {counts['max_active_runs']} at once"


def capacity(content: Mapping[str, Any]) -> str:
    """Return a pipeline's limit in one line, with how many of its runs are active and wait."""
    counts = content["capacity"]
    limit = counts["max_active_runs"]
    said = {None: "no limit of its own", 0: "paused"}.get(limit, f"at most {limit} active")
    return plain(f"{content['name']}: {said} ({counts['active_runs']} active, {counts['waiting_runs']} waiting)")


_PHASES = {
    "launched_at": "waited and launched",
    "pulled_at": "image pulled",
    "container_started_at": "container started",
    "claimed_at": "run claimed",
    "first_step_at": "first step begun",
    "ended_at": "ended",
}


def waiting(run: Mapping[str, Any], now: datetime | None = None) -> str:
    """Return what a queued run waits for: a moment, after a try that failed, or a slot."""
    until = moment(run.get("not_before"))
    if until is not None and until > (now or datetime.now(UTC)):
        return f"  waits until {until.astimezone():%H:%M:%S}, when it is tried again"
    key = (run.get("concurrency") or {}).get("key")
    of_key = f", or for a run with the key {plain(key)!r} to end" if key else ""
    return f"  waits for a slot of the stack or of its pipeline{of_key}"


def phases(timings: Mapping[str, str | None]) -> str:
    """Return how long each phase of a run took, as a table; an empty text while it has none behind it."""
    rows, since = [], timings.get("recorded_at")
    for name, phase in _PHASES.items():
        at = timings.get(name)
        if at is not None:
            rows.append((phase, duration(seconds_between(since, at))))
            since = at
    return table(("phase", "took"), rows) if rows else ""


def attempts(stories: Sequence[Mapping[str, Any]]) -> str:
    """Return the attempts of a run as a table, if there was more than one; its end is told otherwise."""
    if len(stories) < 2:  # noqa: PLR2004 - more than one
        return ""
    rows = [
        (
            str(story["number"]),
            str(story["outcome"]) + (" (Spot)" if story.get("spot") else ""),
            duration(seconds_between(story.get("claimed_at") or story.get("launched_at"), story.get("ended_at"))),
            str(story.get("reason") or ""),
            one_line(story.get("message") or "", 200),
        )
        for story in stories
    ]
    return table(("attempt", "outcome", "took", "reason", "message"), rows)


def pairs(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and what they stand for, one pair a line, in two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{plain(name):{width}}  {plain(content)}" for name, content in rows)


def outputs(content: Sequence[dict[str, Any]]) -> str:
    """Return a run's outputs as a table: small values inline (a mapping one row a key), others by their address."""
    rows: list[tuple[str, str]] = []
    for output in content:
        name = output["name"] if not output.get("step") else f"{output['step']}.{output['name']}"
        inline = output.get("value")
        if isinstance(inline, dict) and inline:
            rows.extend((f"{name}.{key}", value(item)) for key, item in inline.items())
        elif inline is not None:
            rows.append((name, value(inline)))
        else:
            rows.append((name, str(output.get("uri") or output.get("artifact_id") or "")))
    return table(("output", "value"), rows)
