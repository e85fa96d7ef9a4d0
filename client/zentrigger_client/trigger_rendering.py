"""Triggers, what became of their events, and what would, as text for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zentrigger_client import rendering
from zentrigger_client.trigger_changes import flattened

_DETAIL_WIDTH = 200
_EVENT_WIDTH = 200
_SHOWN_APART = frozenset({"type", "pipeline", "snapshot", "enabled"})


def triggers(content: Mapping[str, Any]) -> str:
    """Return all triggers as a table: what each is, whether it is on, what became of its events, when it is next."""
    rows = [
        (
            trigger["name"],
            trigger["definition"]["type"],
            _target(trigger["definition"]),
            "yes" if trigger["definition"].get("enabled", True) else "no",
            _counts(trigger),
            _next_time(trigger),
        )
        for trigger in content["items"]
    ]
    table = rendering.table(("trigger", "type", "target", "enabled", "events", "next time"), rows)
    return "\n".join([table, *(rendering.plain(trigger["detail"]) for trigger in content.get("unreadable") or [])])


def trigger(content: Mapping[str, Any]) -> str:
    """Return one trigger with all that its definition says."""
    definition = content["definition"]
    times = content.get("next_times") or []
    rows = [
        ("trigger", content["name"]),
        ("type", definition["type"]),
        ("target", _target(definition)),
        ("enabled", "yes" if definition.get("enabled", True) else "no"),
        *_said({name: value for name, value in definition.items() if name not in _SHOWN_APART}),
        ("events", _counts(content) or "none"),
        *(("next time" if number == 0 else "", str(time)) for number, time in enumerate(times)),
        *([("schedule", schedule)] if (schedule := _schedule(content)) else []),
        *((name.replace("_", " "), content[name]) for name in ("created_at", "updated_at") if content.get(name)),
    ]
    return rendering.pairs(rows)


def _schedule(content: Mapping[str, Any]) -> str:
    """Say what is wrong with a trigger's schedule, if it is not as the definition says."""
    match content.get("schedule_state"):
        case "pending":
            return "pending: not as the definition says yet"
        case "refused":
            return f"refused: {rendering.one_line(content.get('schedule_problem') or '', _DETAIL_WIDTH)}"
        case _:
            return ""


def receipts(page: Mapping[str, Any]) -> str:
    """Return a page of receipts as a table."""
    rows = [
        (
            str(receipt["at"]),
            str(receipt["outcome"]),
            str(receipt.get("run_id") or ""),
            _what(receipt),
            rendering.one_line(receipt.get("detail") or "", _DETAIL_WIDTH),
        )
        for receipt in page["items"]
    ]
    return rendering.table(("at", "outcome", "run", "what", "detail"), rows) + rendering.more(page)


def unmatched(page: Mapping[str, Any]) -> str:
    """Return a page of events that no trigger took, each with the triggers that could have, and why they did not."""
    if not page["items"]:
        return f"no such event in the last day{rendering.more(page)}"
    lines: list[str] = []
    for event in page["items"]:
        meant_for = f"trigger {event['trigger']}" if event.get("trigger") else ""
        lines.append("  ".join(part for part in (event["at"], event["type"], _what(event), meant_for) if part))
        refused = event.get("triggers") or []
        lines += [f"  {one['name']}: {rendering.one_line(one['why'], _DETAIL_WIDTH)}" for one in refused]
        if not refused:
            lines.append("  no trigger waits for such events")
    return rendering.plain("\n".join(lines)) + rendering.more(page)


def test(answer: Mapping[str, Any]) -> str:
    """Return what a trigger would do with events."""
    if not answer["items"]:
        return "no event to test with"
    return "\n\n".join(_tested(item) for item in answer["items"])


def _tested(item: Mapping[str, Any]) -> str:
    detail = f": {item['detail']}" if item.get("detail") else ""
    rows = [
        ("event", rendering.value(item["event"], _EVENT_WIDTH)),
        ("matches", "yes" if item["matches"] else "no"),
        ("outcome", f"{item['outcome']}{detail}"),
        *([("run", str(item["run_id"]))] if item.get("run_id") else []),
        *([("would", str(item["would"]))] if item.get("would") else []),
    ]
    text = rendering.pairs(rows)
    if "request" not in item:
        return f"{text}\nrequest: too large to be shown with the others"
    request = item["request"]
    if request is None:
        return text
    return f"{text}\nrequest:\n{rendering.plain(json.dumps(request, indent=2, ensure_ascii=False))}"


def _target(definition: Mapping[str, Any]) -> str:
    snapshot = definition.get("snapshot")
    return str(definition["pipeline"]) + ("" if snapshot is None else f", snapshot {snapshot}")


def _counts(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in (content.get("counts") or {}).items() if number)


def _next_time(content: Mapping[str, Any]) -> str:
    state = content.get("schedule_state")
    wrong = [f"schedule {state}"] if state in {"pending", "refused"} else []
    return ", ".join([*(str(time) for time in (content.get("next_times") or [])[:1]), *wrong])


def _said(definition: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, value in flattened(definition):
        if value is not None and value not in ("", [], {}):
            yield path, rendering.value(value, _DETAIL_WIDTH)


_NAMED = {
    "upstream": "run",
    "scheduled_at": "scheduled at",
    "delivery_id": "delivery",
}
"""What an event that is no object's has to be known by, in the order in which it is looked for."""


def _what(event: Mapping[str, Any]) -> str:
    """Return what an event is about: the object, the run that ended, the time of the schedule, the delivery."""
    if event.get("bucket") and event.get("key") is not None:
        return f"s3://{event['bucket']}/{event['key']}"
    found = next((name for name in _NAMED if event.get(name)), None)
    return "" if found is None else f"{_NAMED[found]} {event[found]}"


def refusal(errors: Sequence[tuple[str, str]], place: Mapping[str, str]) -> str:
    """Return what is wrong with triggers, by trigger.

    Args:
        errors: JSON pointers (``/triggers/<name>/…``) and what is wrong there.
        place: Where in a file each of the pointers leads.

    """
    by_trigger: dict[str, list[str]] = {}
    for pointer, detail in errors:
        root, _, rest = pointer.removeprefix("/").partition("/")
        name, _, below = rest.partition("/") if root == "triggers" else ("", "", "")
        shown = f"/{below}" if below else pointer if not name else ""
        told = ": ".join(part for part in (place.get(pointer, ""), shown, detail) if part)
        by_trigger.setdefault(name.replace("~1", "/").replace("~0", "~"), []).append(told)
    lines = []
    for name, found in by_trigger.items():
        lines += [name or "all of them", *(f"  {line}" for line in found)]
    return rendering.plain("\n".join(lines))
