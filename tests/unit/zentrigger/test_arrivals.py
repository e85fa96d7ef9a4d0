"""What becomes of an event at a trigger, when recording its run goes well or not."""

from typing import Any
from unittest.mock import Mock

import pytest

from tests.factories import MOMENT, run
from zentrigger.arrivals import handle_event
from zentrigger.capacity import Concurrency
from zentrigger.errors import BusyError, InvalidRequestError, NotFoundError, Problem, UnavailableError
from zentrigger.events import S3Arrival, ScheduleFired
from zentrigger.run_store import Creation
from zentrigger.triggers import Receipt, Trigger, TriggerDefinition

EVENT = S3Arrival.model_validate(
    {"event_id": "id", "time": MOMENT, "bucket": {"name": "b"}, "object": {"key": "k", "version-id": "null"}}
)


def _handle(result: object, **definition: Any) -> list[Receipt]:
    trigger = Trigger(
        name="t",
        definition=TriggerDefinition.model_validate({"type": "s3", "pipeline": "p"} | definition),
        updated_at=MOMENT,
    )
    triggers, submitter = Mock(), Mock()
    triggers.triggers.return_value = (trigger,)
    submitter.submit.side_effect = [result]
    receipts = handle_event(EVENT, triggers=triggers, submitter=submitter, clock=lambda: MOMENT)
    assert [call.args[0] for call in triggers.add_receipt.call_args_list] == receipts
    return receipts


@pytest.mark.parametrize(
    ("result", "outcome", "detail"),
    [
        (Creation(run(), replayed=False), "started", None),
        (Creation(run(), replayed=True), "duplicate", None),
        (Creation(run(status="queued"), replayed=False), "started", None),
        (Creation(run(status="cancelled", reason="skipped_overlap"), replayed=False), "skipped_overlap", None),
        (Creation(run(status="cancelled", reason="skipped_overlap"), replayed=True), "duplicate", None),
        (NotFoundError("no snapshot"), "rejected", "no snapshot"),
        (InvalidRequestError([Problem("/a", "wrong"), Problem("/b", "too")]), "rejected", "/a: wrong; /b: too"),
    ],
)
def test_each_outcome_has_its_receipt(result: object, outcome: str, detail: str | None) -> None:
    """Started, found recorded, or refused with the reason."""
    (receipt,) = _handle(result)

    assert (receipt.outcome, receipt.detail) == (outcome, detail)


@pytest.mark.parametrize("error", [BusyError("contended"), UnavailableError("ECS"), ConnectionError("no table")])
def test_what_may_pass_is_raised_and_the_event_comes_again(error: Exception) -> None:
    """Nothing was written, so nothing is received."""
    with pytest.raises(type(error)):
        _handle(error)


@pytest.mark.parametrize("choice", [None, 3, "production", "tag:nightly", "p:3"])
def test_a_trigger_chooses_its_snapshot(choice: object) -> None:
    """As a caller would."""
    trigger = Trigger(
        name="t",
        definition=TriggerDefinition.model_validate({"type": "s3", "pipeline": "p", "snapshot": choice}),
        updated_at=MOMENT,
    )
    triggers, submitter = Mock(), Mock()
    triggers.triggers.return_value = (trigger,)
    submitter.submit.return_value = Creation(run(), replayed=False)

    handle_event(EVENT, triggers=triggers, submitter=submitter, clock=lambda: MOMENT)

    assert submitter.submit.call_args.args[0].snapshot == choice


@pytest.mark.parametrize(
    ("overlap", "concurrency"),
    [
        (None, None),
        ("allow", None),
        ("skip", Concurrency(key="trigger:t", on_conflict="skip")),
        ("queue", Concurrency(key="trigger:t")),
    ],
)
def test_runs_of_a_trigger_may_overlap_or_not(overlap: str | None, concurrency: Concurrency | None) -> None:
    """By a key of the trigger's own, of which one run is active at a time."""
    definition = {"type": "s3", "pipeline": "p"} | ({"overlap": overlap} if overlap else {})
    trigger = Trigger(name="t", definition=TriggerDefinition.model_validate(definition), updated_at=MOMENT)
    triggers, submitter = Mock(), Mock()
    triggers.triggers.return_value = (trigger,)
    submitter.submit.return_value = Creation(run(), replayed=False)

    handle_event(EVENT, triggers=triggers, submitter=submitter, clock=lambda: MOMENT)

    assert submitter.submit.call_args.args[0].concurrency == concurrency


def test_a_null_version_is_none() -> None:
    """Where versioning is suspended every writing has it, so it tells none from another."""
    assert EVENT.object.version_id is None


def test_a_schedule_concerns_the_trigger_it_names() -> None:
    """And leaves the others alone."""
    triggers, submitter = Mock(), Mock()
    triggers.triggers.return_value = ()
    event = ScheduleFired(event_id="i", time=MOMENT, trigger="nobody")

    assert handle_event(event, triggers=triggers, submitter=submitter) == []


def test_one_failing_trigger_does_not_keep_the_others_from_their_runs() -> None:
    """All have their turn; then the event is raised, and comes again for the one that failed."""
    definition = TriggerDefinition(type="s3", pipeline="p")
    both = tuple(Trigger(name=name, definition=definition, updated_at=MOMENT) for name in ("bad", "good"))
    triggers, submitter = Mock(), Mock()
    triggers.triggers.return_value = both
    submitter.submit.side_effect = [ConnectionError("no table"), Creation(run(), replayed=False)]

    with pytest.raises(ConnectionError):
        handle_event(EVENT, triggers=triggers, submitter=submitter, clock=lambda: MOMENT)

    (receipt,) = [call.args[0] for call in triggers.add_receipt.call_args_list]
    assert (receipt.trigger, receipt.outcome) == ("good", "started")
