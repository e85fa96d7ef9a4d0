"""A run's items: head and parts, as the runs table has them, and for how long."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ValidationError

from zentrigger.items import from_item, to_item
from zentrigger.runs import Downstream, Run
from zentrigger.timestamps import to_text

ENDED = "ended"
"""Value of `active` on a head that has ended and whose end has not been announced."""

PARTS_KEPT_LONGER = timedelta(days=400)
"""How much longer the parts of a record are kept: they count from its acceptance, the head from the end.

A run needs its input until it is claimed, and its progress until it ends: it must not live for longer.
"""

ATTEMPT = "attempt#"
"""What the names of parts begin with that tell of earlier attempts."""

DOWNSTREAM = "downstream#"
"""What the names of parts begin with that name the runs which this one's end started."""

# Not the functions' logger: this module is the task's, too, which has no Lambda toolbox.
_log = logging.getLogger(__name__)


def head_key(run_id: str) -> dict[str, Any]:
    """Give the key of a run's head."""
    return to_item({"run_id": run_id, "part": "head"})


def head_item(run: Run) -> dict[str, Any]:
    """Give a head with the attributes that the indexes are made of."""
    accepted = to_text(run.accepted_at)
    head = {
        **run.model_dump(mode="json", exclude_none=True),
        "part": "head",
        "month": accepted[:7],
        "created": f"{accepted}#{run.run_id}",
    }
    if not run.status.final:
        head["active"] = run.status.value
    elif run.announced_at is None:
        head["active"] = ENDED
    return head


def attempt_part(number: int) -> str:
    """Name the part that tells of an earlier attempt."""
    return f"{ATTEMPT}{number:03d}"


def part_item(run: Run, part: str, body: BaseModel) -> dict[str, Any]:
    """Give a part of a run's record, of its present attempt, as an item.

    It has when the run was accepted: an id whose record expired may be used again before all its parts are deleted.
    """
    expires_at = run.accepted_at + timedelta(days=run.retention_days) + PARTS_KEPT_LONGER
    return to_item(
        {
            "run_id": run.run_id,
            "part": part,
            "attempt": run.attempt,
            "accepted_at": to_text(run.accepted_at),
            "body": body.model_dump_json(),
            "expires_at": int(expires_at.timestamp()),
        }
    )


def downstream_item(run: Run) -> dict[str, Any]:
    """Give the item by which the run that led to another one names it: so the lineage is readable from both ends.

    Raises:
        ValueError: no run led to this one.

    """
    if run.source.run_id is None or run.source.trigger is None:
        raise ValueError("no run led to this one")
    body = Downstream(run_id=run.run_id, pipeline=run.pipeline, trigger=run.source.trigger, accepted_at=run.accepted_at)
    item = part_item(run, f"{DOWNSTREAM}{run.run_id}", body)
    return item | to_item({"run_id": run.source.run_id})


def downstream_of(parts: Mapping[str, Mapping[str, Any]], run: Run) -> tuple[Downstream, ...]:
    """Give the runs that a run's end started, in their order; not those of an expired one that had its id before."""
    named = (
        Downstream.model_validate_json(part["body"]) for name, part in parts.items() if name.startswith(DOWNSTREAM)
    )
    found = (one for one in named if one.accepted_at >= run.accepted_at)
    return tuple(sorted(found, key=lambda one: (one.accepted_at, one.run_id)))


def part_body(part: Mapping[str, Any] | None, run: Run, *, of_attempt: bool = True) -> str | None:
    """Give the body of a part, if it is of this record and, unless it is of no attempt, of the run's present one."""
    if part is None or part.get("accepted_at") != to_text(run.accepted_at):
        return None
    return str(part["body"]) if not of_attempt or part["attempt"] == run.attempt else None


def readable(items: Iterable[Mapping[str, Any]], unreadable: Callable[[str], object] = lambda _: None) -> Iterator[Run]:
    """Give the heads that can be read; one that cannot must not hide the others.

    A later version may have written it, which has been rolled back since. `unreadable` is told its run's id.
    """
    for item in items:
        values = from_item(item)
        try:
            yield Run.model_validate(values)
        except ValidationError:
            _log.exception("the head of run %s cannot be read", values.get("run_id"))
            unreadable(str(values.get("run_id")))


def expired(run: Run, now: datetime) -> bool:
    """Tell whether a run's record has expired; DynamoDB deletes it within days (AWS: "Using time to live")."""
    return run.expires_at is not None and run.expires_at < now.timestamp()
