"""What becomes of an event at each trigger that it concerns, when recording its run goes well or not."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import MOMENT, run, run_input, trigger
from zentrigger.arrivals import Arrivals, Occurrence, Refusal, Wanted, consider
from zentrigger.capacity import Concurrency
from zentrigger.errors import (
    BusyError,
    IdempotencyClashError,
    InvalidRequestError,
    NotFoundError,
    Problem,
    QueueFullError,
    TooLargeError,
    UnavailableError,
)
from zentrigger.events import RunEnded, S3Arrival, ScheduleFired, TriggerEvent, WebhookReceived
from zentrigger.receipts import MAX_EVENT_BYTES, Receipt, Unmatched
from zentrigger.run_requests import RunRequest
from zentrigger.run_store import Along, AlongRefusedError, Creation, nothing_along
from zentrigger.runs import RunRecord, Source
from zentrigger.submit import run_id_for_event
from zentrigger.triggers import Trigger

EVENT = S3Arrival.model_validate(
    {"event_id": "e", "time": MOMENT, "bucket": {"name": "data"}, "object": {"key": "k", "size": 7, "sequencer": "1"}}
)
HOOK: dict[str, Any] = {"type": "webhook", "signature": {"scheme": "github"}}


class Store:
    """Triggers, and what was kept; every receipt that was written on its own, and all that was booked with a run."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self._triggers = tuple(triggers)
        self.receipts: list[Receipt] = []
        self.events: list[str | None] = []
        self.booked: list[Receipt] = []
        self.unmatched: list[Unmatched] = []
        self.broken = False

    def triggers(self) -> tuple[Trigger, ...]:
        return self._triggers

    def booking(self, trigger: Trigger, receipt: Receipt, event: str | None) -> Along:
        assert trigger.name == receipt.trigger
        self.booked.append(receipt)
        self.events.append(event)
        return nothing_along

    def add_receipt(self, receipt: Receipt, event: str | None = None) -> None:
        if self.broken:
            raise ConnectionError("no table")
        self.receipts.append(receipt)
        self.events.append(event)

    def add_unmatched(self, event: Unmatched) -> None:
        self.unmatched.append(event)


class Submits:
    """Records runs, with the answers that it was given, trigger by trigger."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers
        self.asked: list[tuple[RunRequest, Source, str | None]] = []

    def submit(
        self, request: RunRequest, source: Source, *, run_id: str | None, always_queued: bool, along: Along
    ) -> Creation:
        assert always_queued
        assert along is nothing_along
        self.asked.append((request, source, run_id))
        answer = self._answers.get(str(source.trigger), Creation(run(), replayed=False))
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Creation)
        return answer


class Bench:
    """Arrivals between doubles."""

    def __init__(self, *triggers: Trigger, answers: dict[str, Any] | None = None, upstream: Any = None) -> None:
        self.store, self.submits = Store(triggers), Submits(answers or {})
        self.arrivals = Arrivals(
            triggers=self.store, submitter=self.submits, record_of=lambda _: upstream, clock=lambda: MOMENT
        )


@pytest.mark.parametrize(
    ("answer", "outcome", "detail"),
    [
        (NotFoundError("no snapshot"), "rejected", "no snapshot"),
        (TooLargeError("too large"), "rejected", "too large"),
        (QueueFullError("full", 30), "rejected", "full"),
        (InvalidRequestError([Problem("/a", "wrong"), Problem("/b", "too")]), "rejected", "/a: wrong; /b: too"),
        (AlongRefusedError((0,)), "skipped_max_runs", "max_runs"),
        (AlongRefusedError((0, 1)), "skipped_max_runs", "max_runs"),
        (AlongRefusedError((1,)), "skipped_cap", "max_runs_per_hour"),
        (IdempotencyClashError("edited", "before"), "duplicate", None),
        (Creation(run(run_id="before"), replayed=True), "duplicate", None),
        (
            Creation(run(run_id="before", status="cancelled", reason="skipped_overlap"), replayed=True),
            "duplicate",
            None,
        ),
    ],
)
def test_what_starts_nothing_leaves_a_receipt_of_its_own(answer: object, outcome: str, detail: str | None) -> None:
    """With the reason, or the run that the event started before; the event is kept with it."""
    bench = Bench(trigger("t"), answers={"t": answer})

    told = bench.arrivals.handle(EVENT, {"b": 1, "a": 2})

    assert told == bench.store.receipts
    (receipt,) = told
    assert receipt.outcome == outcome
    assert detail is None if receipt.detail is None else detail is not None and detail in receipt.detail
    assert receipt.run_id == ("before" if outcome == "duplicate" else None)
    assert set(bench.store.events) == {'{"a":2,"b":1}'}
    assert bench.store.unmatched == []


@pytest.mark.parametrize(
    ("of", "outcome"),
    [
        (run(), "started"),
        (run(status="starting"), "started"),
        (run(status="cancelled", reason="skipped_overlap"), "skipped_overlap"),
        (run(status="cancelled"), "started"),
    ],
)
def test_a_recorded_run_has_its_receipt_with_it(of: Any, outcome: str) -> None:
    """None is written after it: between the two the function might die."""
    bench = Bench(trigger("t"), answers={"t": Creation(of, replayed=False)})

    (receipt,) = bench.arrivals.handle(EVENT)

    assert (receipt.outcome, receipt.run_id) == (outcome, of.run_id)
    assert bench.store.receipts == []
    assert [booked.receipt_id for booked in bench.store.booked] == [receipt.receipt_id]


@pytest.mark.parametrize("error", [BusyError("contended"), UnavailableError("ECS"), ConnectionError("no table")])
def test_what_may_pass_is_raised_after_all_had_their_turn(error: Exception) -> None:
    """The one that failed has a receipt that says so; the event comes again, for it."""
    bench = Bench(trigger("a"), trigger("bad"), trigger("c"), answers={"bad": error})

    with pytest.raises(type(error)) as caught:
        bench.arrivals.handle(EVENT, {"id": "e"})

    assert caught.value is error
    assert [source.trigger for _, source, _ in bench.submits.asked] == ["a", "bad", "c"]
    (receipt,) = bench.store.receipts
    assert (receipt.trigger, receipt.outcome) == ("bad", "error")
    assert "tried again" in str(receipt.detail)
    assert bench.store.unmatched == []


def test_an_error_that_is_not_ours_tells_no_secret() -> None:
    """What a library says may hold anything: the receipt has its type alone."""
    bench = Bench(trigger("t"), answers={"t": RuntimeError("password=hunter2")})

    with pytest.raises(RuntimeError):
        bench.arrivals.handle(EVENT)

    assert bench.store.receipts[0].detail == "It will be tried again. RuntimeError; see the log."


def test_a_failure_that_cannot_be_kept_is_raised_none_the_less() -> None:
    """The first one, whatever else goes wrong."""
    error = BusyError("contended")
    bench = Bench(trigger("t"), trigger("u", prefix="x"), answers={"t": error})
    bench.store.broken = True

    with pytest.raises(BusyError) as caught:
        bench.arrivals.handle(EVENT)

    assert caught.value is error


@pytest.mark.parametrize(
    ("values", "outcome", "detail"),
    [
        ({"enabled": False}, "disabled", "disabled"),
        ({"start_at": MOMENT + timedelta(microseconds=1)}, "disabled", "lies outside"),
        ({"end_at": MOMENT}, "disabled", "lies outside"),
        ({"end_at": MOMENT - timedelta(days=1)}, "disabled", "2026-11-19"),
        ({"prefix": "x"}, "not_matched", "'x'"),
        ({"prefix": "x", "enabled": False}, "not_matched", "'x'"),
        ({"parameters": {"a": "v{object.version-id}"}}, "rejected", "null"),
        ({"start_at": MOMENT, "end_at": MOMENT + timedelta(seconds=1)}, None, None),
    ],
)
def test_what_a_trigger_refuses_by_itself(values: dict[str, Any], outcome: str | None, detail: str | None) -> None:
    """Nothing is looked up for it; its time is the event's, not that of the delivery."""
    found = consider(trigger("t", **values), Occurrence(EVENT))

    if outcome is None:
        assert isinstance(found, Wanted)
    else:
        assert isinstance(found, Refusal)
        assert found.outcome == outcome
        assert str(detail) in found.detail


def test_a_time_of_a_trigger_is_that_of_the_event() -> None:
    """A delivery that comes late starts what its event was to start."""
    late = Bench(trigger("t", end_at=MOMENT + timedelta(hours=1)))
    late.arrivals = Arrivals(
        triggers=late.store,
        submitter=late.submits,
        record_of=lambda _: None,
        clock=lambda: MOMENT + timedelta(hours=2),
    )

    assert [receipt.outcome for receipt in late.arrivals.handle(EVENT)] == ["started"]


@pytest.mark.parametrize("values", [{}, {"parameters": {"x": "{object.key}"}, "steps": {"s": {"y": "{object.size}"}}}])
def test_the_request_that_a_trigger_makes(values: dict[str, Any]) -> None:
    """All that it says of its runs, with the event filled in; not cached, unless it says so."""
    said: dict[str, Any] = {
        "snapshot": "tag:nightly",
        "tags": ["a"],
        "timeout_seconds": 60,
        "priority": 3,
        "resources": {"cpu": 1024, "memory": 4096},
        "spot": True,
        "enable_cache": True,
        "overlap": "queue",
    }
    bench = Bench(trigger("t", **said | values), trigger("u"))

    bench.arrivals.handle(EVENT)

    (request, source, run_id), (plain, _, other_id) = bench.submits.asked
    assert request.model_dump(include=set(said) - {"overlap"}) == {
        name: value for name, value in said.items() if name != "overlap"
    }
    assert request.parameters == ({"x": "k"} if values else {})
    assert request.step_parameters == ({"s": {"y": 7}} if values else {})
    assert plain == RunRequest(pipeline="training_pipeline", enable_cache=False)
    assert (run_id, other_id) == (run_id_for_event("t", EVENT), run_id_for_event("u", EVENT))
    assert (source.type, source.trigger, source.bucket, source.key) == ("s3", "t", "data", "k")


@pytest.mark.parametrize(
    ("overlap", "concurrency"),
    [
        ("allow", None),
        ("skip", Concurrency(key="trigger:t", on_conflict="skip")),
        ("queue", Concurrency(key="trigger:t")),
    ],
)
def test_runs_of_a_trigger_may_overlap_or_not(overlap: str, concurrency: Concurrency | None) -> None:
    """By a key of the trigger's own, of which one run is active at a time."""
    bench = Bench(trigger("t", overlap=overlap))

    bench.arrivals.handle(EVENT)

    assert bench.submits.asked[0][0].concurrency == concurrency


def test_what_is_no_request_is_rejected() -> None:
    """A trigger of an older version may say what none may say any more: the place is told, not the value."""
    kept = trigger("t")
    older = kept.model_copy(update={"definition": kept.definition.model_copy(update={"priority": 4711})})

    refused = consider(older, Occurrence(EVENT))

    assert isinstance(refused, Refusal)
    assert refused.outcome == "rejected"
    assert refused.detail.startswith("priority: ")
    assert "4711" not in refused.detail


def call(body: Any, **values: Any) -> WebhookReceived:
    """Make a call of the webhook `t`."""
    told = {"event_id": "c", "time": MOMENT, "trigger": "t", "receipt_id": "told", "body": body}
    return WebhookReceived.model_validate(told | values)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"id": 1}, {"id": 1, "x": 2}, True),
        ({"id": 1}, {"id": 2}, False),
        ({"id": 1}, {"id": "1"}, False),
        ({"id": {"a": 1, "b": 2}}, {"id": {"b": 2, "a": 1}}, True),
        ({"id": ""}, {"id": ""}, True),
    ],
)
def test_calls_that_are_the_same_by_what_the_trigger_says(one: Any, other: Any, same: bool) -> None:
    """Whatever their deliveries are called."""
    hook = trigger("t", **HOOK, deduplicate_by="body.id")

    found = [
        consider(hook, Occurrence(call(body, event_id=name, delivery_id=name)))
        for name, body in (("d1", one), ("d2", other))
    ]

    ids = [wanted.run_id for wanted in found if isinstance(wanted, Wanted)]
    assert len(ids) == 2
    assert (len(set(ids)) == 1) is same


@pytest.mark.parametrize(("body", "detail"), [({}, "nothing"), (None, "nothing"), ({"id": None}, "null")])
def test_a_call_without_what_makes_it_the_same_is_rejected(body: Any, detail: str) -> None:
    """Else all that have none would be one, or each a new one."""
    refused = consider(trigger("t", **HOOK, deduplicate_by="body.id"), Occurrence(call(body)))

    assert isinstance(refused, Refusal)
    assert refused.outcome == "rejected"
    assert f"finds {detail}" in refused.detail


@pytest.mark.parametrize(
    ("event", "values", "expected"),
    [
        (
            ScheduleFired(event_id="f", time=MOMENT, trigger="t"),
            {"type": "schedule"},
            {"type": "schedule", "event_id": "f", "scheduled_at": MOMENT},
        ),
        (call({}, delivery_id="d"), HOOK, {"type": "webhook", "event_id": "c", "delivery_id": "d"}),
        (
            RunEnded(event_id="x", time=MOMENT, run_id="r1"),
            {"type": "run", "of": {"pipeline": "training_pipeline"}},
            {"type": "run", "event_id": "x", "run_id": "r1", "chain": ("a", "t")},
        ),
    ],
)
def test_a_run_says_what_asked_for_it(event: TriggerEvent, values: dict[str, Any], expected: dict[str, Any]) -> None:
    """The event, and what of it people know it again by; after another run, the triggers that led there."""
    before = run(run_id="r1", status="succeeded", source=Source(type="run", trigger="a", run_id="r0", chain=("a",)))
    bench = Bench(trigger("t", **values), upstream=RunRecord(run=before, input=run_input()))

    bench.arrivals.handle(event)

    ((_, source, _),) = bench.submits.asked
    assert source == Source.model_validate({"trigger": "t"} | expected)


@pytest.mark.parametrize("status", ["queued", "starting", "running"])
def test_a_run_that_has_not_ended_starts_nothing(status: str) -> None:
    """Its event came from nobody who knows, or before its time: there is no receipt, and nothing is kept."""
    upstream = RunRecord(run=run(run_id="r1", status=status), input=run_input())
    bench = Bench(trigger("t", type="run", of={"pipeline": "training_pipeline"}), upstream=upstream)

    assert bench.arrivals.handle(RunEnded(event_id="x", time=MOMENT, run_id="r1")) == []
    assert (bench.submits.asked, bench.store.receipts, bench.store.unmatched) == ([], [], [])


def test_a_circle_is_not_even_rendered() -> None:
    """It leaves its receipt also where a template would find nothing."""
    source = Source(type="run", trigger="t", run_id="r0", chain=("t",))
    upstream = RunRecord(run=run(run_id="r1", status="succeeded", trigger="t", source=source), input=run_input())
    missing = {"x": "{run.outputs.a.b.uri}"}
    bench = Bench(trigger("t", type="run", of={"trigger": "t"}, parameters=missing), upstream=upstream)

    (receipt,) = bench.arrivals.handle(RunEnded(event_id="x", time=MOMENT, run_id="r1"))

    assert receipt.outcome == "skipped_cycle"
    assert bench.store.receipts == [receipt]
    assert bench.submits.asked == []


def test_an_event_that_matched_nothing_is_kept_with_the_reasons() -> None:
    """Of the first twenty that came near; one that matched somewhere is not kept, whatever became of it there."""
    refusing = [trigger(f"t{number:02d}", prefix="x") for number in range(25)]
    bench = Bench(*refusing)

    bench.arrivals.handle(EVENT)

    (kept,) = bench.store.unmatched
    assert (kept.event_id, kept.bucket, kept.key, kept.at) == ("e", "data", "k", MOMENT)
    assert [reason.trigger for reason in kept.reasons] == [f"t{number:02d}" for number in range(20)]
    assert "'x'" in kept.reasons[0].why
    assert len(bench.store.receipts) == 25

    for answer in (NotFoundError("no"), AlongRefusedError((1,)), BusyError("later")):
        matched = Bench(*refusing, trigger("z"), answers={"z": answer})
        if isinstance(answer, BusyError):
            with pytest.raises(BusyError):
                matched.arrivals.handle(EVENT)
        else:
            matched.arrivals.handle(EVENT)
        assert matched.store.unmatched == []


def test_an_event_that_concerns_nobody_is_kept() -> None:
    """Without reasons; for a schedule or a call, with the trigger that it names."""
    bench = Bench(trigger("elsewhere", bucket="other"))

    for event in (EVENT, ScheduleFired(event_id="f", time=MOMENT, trigger="gone"), call({})):
        assert bench.arrivals.handle(event) == []

    assert [(kept.type, kept.trigger, kept.reasons) for kept in bench.store.unmatched] == [
        ("s3", None, ()),
        ("schedule", "gone", ()),
        ("webhook", "t", ()),
    ]


@pytest.mark.parametrize(("letters", "kept"), [("x", True), ("日", False)])
def test_an_event_is_kept_by_its_bytes(letters: str, kept: bool) -> None:
    """One that is larger than may be kept is handled all the same."""
    bench = Bench(trigger("t"))
    room = MAX_EVENT_BYTES - len('{"x":""}')

    (receipt,) = bench.arrivals.handle(EVENT, {"x": letters * room})

    assert receipt.outcome == "started"
    assert (bench.store.events[0] is not None) is kept


def test_triggers_are_those_of_the_beginning() -> None:
    """They are read once for a batch of events."""
    bench = Bench(trigger("t"))
    bench.store._triggers = ()  # noqa: SLF001 - edited meanwhile

    assert len(bench.arrivals.handle(EVENT)) == len(bench.arrivals.handle(EVENT)) == 1


def test_the_log_has_no_detail(caplog: pytest.LogCaptureFixture) -> None:
    """It may cite values of parameters, which are nobody's business there."""
    bench = Bench(trigger("t"), answers={"t": InvalidRequestError([Problem("/a", "hunter2 is no number")])})

    with caplog.at_level("DEBUG"):
        (receipt,) = bench.arrivals.handle(EVENT)

    assert "hunter2" in str(receipt.detail)
    assert all("hunter2" not in repr(record.__dict__) for record in caplog.records)
