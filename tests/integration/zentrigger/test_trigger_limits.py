"""Limits of triggers under 64 threads, on DynamoDB Local: as exact as its transactions are."""

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.zentrigger.test_concurrency import CALLERS, at_once
from tests.integration.zentrigger.trigger_bench import Bench, numbers, run_event, s3_event, webhook_event
from zentrigger import trigger_store
from zentrigger.arrivals import Arrivals
from zentrigger.events import parse_event
from zentrigger.receipts import Receipt
from zentrigger.runs import SKIPPED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.dynamodb_local


@pytest.fixture
def bench(dynamodb_local: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Give a stack with five slots."""
    made = Bench(dynamodb_local)
    monkeypatch.setattr(trigger_store, "now", lambda: made.clock.moment)
    return made


def burst(bench: Bench, keys: list[str]) -> list[Receipt]:
    """Let objects arrive at the same instant, each in a function of its own."""
    events = [s3_event(key, event_id=f"e-{key}-{number}") for number, key in enumerate(keys)]
    functions = [bench.arrivals() for _ in events]

    def handle(function: Arrivals, event: dict[str, Any]) -> list[Receipt]:
        receipts = function.handle(parse_event(event), event)
        function.keep_refused()
        return receipts

    calls = [partial(handle, function, event) for function, event in zip(functions, events, strict=True)]
    return [receipt for receipts in at_once(calls) for receipt in receipts]


@pytest.mark.parametrize(("limit", "outcome"), [("max_runs", "skipped_max_runs"), ("max_runs_per_hour", "skipped_cap")])
def test_a_limit_is_exact(bench: Bench, limit: str, outcome: str) -> None:
    """64 events at once, 20 of them may start: 20 runs and receipts, 44 skipped; the next hour goes on by its own."""
    most = 20
    values: dict[str, Any] = {limit: most}
    bench.put(**values)

    told = burst(bench, [f"k{number}" for number in range(CALLERS)])

    expected = {"started": most, outcome: CALLERS - most}
    assert dict(Counter(receipt.outcome for receipt in told)) == expected
    assert numbers(bench.receipts()) == bench.counts_of() == expected
    started = {receipt.run_id for receipt in bench.receipts(outcome="started")}
    assert started == {run.run_id for run in bench.heads()}
    assert len(started) == most

    bench.clock.passes(hours=1)
    following = burst(bench, [f"later {number}" for number in range(8)])
    expected_then = "started" if limit == "max_runs_per_hour" else outcome
    assert {receipt.outcome for receipt in following} == {expected_then}
    # What was started is a duplicate, though the trigger is at its limit.
    again = bench.handle(s3_event(str(bench.receipts(outcome="started")[-1].key)))
    assert [receipt.outcome for receipt in again] == ["duplicate"]


def test_one_object_in_64_deliveries_is_one_run(bench: Bench) -> None:
    """At the same instant, and though the trigger may start one run only: one started, the others duplicates."""
    bench.put(max_runs=1, max_runs_per_hour=1)

    told = burst(bench, ["same"] * CALLERS)

    assert len(bench.heads()) == 1
    expected = {"started": 1, "duplicate": CALLERS - 1}
    assert dict(Counter(receipt.outcome for receipt in told)) == expected
    assert numbers(bench.receipts()) == bench.counts_of() == expected
    assert bench.triggers.started_in_hour("arrivals", bench.clock.moment) == 1


def test_of_64_at_once_one_starts_where_runs_may_not_overlap(bench: Bench) -> None:
    """The others are recorded as skipped, take no place under the cap, and leave a receipt each."""
    bench.put(overlap="skip", max_runs_per_hour=2)

    burst(bench, [f"k{number}" for number in range(CALLERS)])

    assert numbers(bench.receipts()) == {"started": 1, "skipped_overlap": CALLERS - 1}
    assert bench.triggers.started_in_hour("arrivals", bench.clock.moment) == 1
    assert Counter(run.reason for run in bench.heads()) == {None: 1, SKIPPED: CALLERS - 1}


def test_two_triggers_under_one_burst_do_not_share_their_limits(bench: Bench) -> None:
    """Each has its own count; the events that one skips the other starts."""
    bench.put("few", max_runs=3)
    bench.put("many")

    burst(bench, [f"k{number}" for number in range(16)])

    assert (bench.counts_of("few"), bench.counts_of("many")) == (
        {"started": 3, "skipped_max_runs": 13},
        {"started": 16},
    )
    assert len(bench.heads()) == 19


def test_refusals_at_once_are_all_counted(bench: Bench) -> None:
    """Beside runs that start, whose counts are in the same item: none is lost, and the last are kept."""
    bench.put(suffix=".csv")
    keys = [f"k{number}.csv" if number % 4 == 0 else f"k{number}" for number in range(CALLERS)]

    burst(bench, keys)

    assert bench.counts_of() == {"started": 16, "not_matched": 48}
    assert len(bench.receipts(outcome="not_matched")) == 48


def test_a_call_in_many_deliveries_keeps_its_receipt(bench: Bench) -> None:
    """One receipt, `started`, under the id that the caller was told; no delivery overwrites it."""
    bench.put("hook", type="webhook", signature={"scheme": "github"})
    event = webhook_event("hook", {})
    functions = [bench.arrivals() for _ in range(16)]

    at_once([partial(function.handle, parse_event(event), event) for function in functions])

    (receipt,) = bench.receipts("hook")
    (run,) = bench.heads()
    assert (receipt.outcome, receipt.run_id) == ("started", run.run_id)
    assert bench.counts_of("hook") == {"started": 1}


def test_the_end_of_a_run_at_many_functions_starts_one(bench: Bench) -> None:
    """And the run that ended names it once."""
    bench.put()
    bench.put("after", type="run", of={"trigger": "arrivals"})
    bench.handle(s3_event())
    (upstream,) = bench.heads()
    bench.end(upstream)
    event = run_event(upstream.run_id)
    functions = [bench.arrivals() for _ in range(16)]

    at_once([partial(function.handle, parse_event(event), event) for function in functions])

    record = bench.runs.get(upstream.run_id)
    assert record is not None
    (named,) = record.downstream
    assert {run.run_id for run in bench.heads()} == {upstream.run_id, named.run_id}
    assert numbers(bench.receipts("after")) == {"started": 1, "duplicate": 15}
