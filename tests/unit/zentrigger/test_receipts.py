"""Receipts: what they say, and the ids by which they are found."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import MOMENT
from zentrigger.events import RunEnded, S3Arrival, ScheduleFired, TriggerEvent, WebhookReceived
from zentrigger.receipts import MAX_DETAIL, Receipt, new_receipt, receipt_id

ARRIVAL = S3Arrival.model_validate(
    {"event_id": "e", "time": MOMENT, "bucket": {"name": "data"}, "object": {"key": "in/ü.csv"}}
)
FIRED = ScheduleFired(event_id="f", time=MOMENT, trigger="t")
ENDED = RunEnded(event_id="x", time=MOMENT, run_id="r1")
CALL = WebhookReceived(event_id="c", time=MOMENT, trigger="t", receipt_id="told", delivery_id="d")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ARRIVAL, {"bucket": "data", "key": "in/ü.csv"}),
        (FIRED, {"scheduled_at": MOMENT}),
        (ENDED, {"upstream": "r1"}),
        (CALL, {"delivery_id": "d"}),
    ],
)
def test_a_receipt_says_what_the_event_was(event: TriggerEvent, expected: dict[str, object]) -> None:
    """By what people know it again; that it failed, until something else is said."""
    receipt = new_receipt("t", event, MOMENT)

    what = {"bucket", "key", "scheduled_at", "upstream", "delivery_id"}
    assert receipt.model_dump(include=what, exclude_none=True) == expected
    assert (receipt.outcome, receipt.trigger, receipt.event_id, receipt.at) == ("error", "t", event.event_id, MOMENT)
    assert Receipt.model_validate_json(receipt.model_dump_json(exclude_none=True)) == receipt


def test_a_call_has_the_receipt_that_its_caller_was_told() -> None:
    """Whenever it is handled; every delivery of another event has one of its own."""
    later = MOMENT + timedelta(microseconds=1)

    assert {new_receipt("t", CALL, at).receipt_id for at in (MOMENT, later)} == {"told"}
    ids = {new_receipt(name, ARRIVAL, at).receipt_id for name in ("t", "u") for at in (MOMENT, later)}
    assert len(ids) == 4
    assert new_receipt("t", ARRIVAL, MOMENT).receipt_id in ids


@given(st.lists(st.datetimes(min_value=MOMENT.replace(tzinfo=None), timezones=st.just(UTC)), min_size=2))
def test_ids_sort_by_time(moments: list[datetime]) -> None:
    """So that the newest are listed first, whatever the events are called."""
    ordered = sorted(set(moments))

    ids = [receipt_id(at, "t", f"{number}") for number, at in enumerate(reversed(ordered))]

    assert ids == sorted(ids, reverse=True)


def test_parts_are_told_apart() -> None:
    """`a` at `bc` is not `ab` at `c`."""
    assert receipt_id(MOMENT, "a", "bc") != receipt_id(MOMENT, "ab", "c")


@pytest.mark.parametrize("letter", ["x", "日", "🎉"])
def test_a_long_detail_is_cut_between_characters(letter: str) -> None:
    """It says that something is missing, and can be written as it is."""
    detail = new_receipt("t", ARRIVAL, MOMENT).told("rejected", letter * (MAX_DETAIL + 1)).detail

    assert detail == letter * (MAX_DETAIL - 1) + "…"
    assert detail.encode().decode() == detail
    whole = letter * MAX_DETAIL
    assert new_receipt("t", ARRIVAL, MOMENT).told("rejected", whole).detail == whole
