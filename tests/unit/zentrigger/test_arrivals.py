"""What becomes of an event at each trigger that it concerns, when recording its run goes well or not."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import MOMENT, run, run_input, trigger
from zentrigger.arrivals import Arrivals, Occurrence, OutOfTimeError, Refusal, Wanted, consider
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
from zentrigger.trigger_store import Refused
from zentrigger.triggers import StoredTrigger, Trigger, UnreadableTrigger, UnreadableTriggerError

EVENT = S3Arrival.model_validate(
    {"event_id": "e", "time": MOMENT, "bucket": {"name": "data"}, "object": {"key": "k", "size": 7, "sequencer": "1"}}
)
HOOK: dict[str, Any] = {"type": "webhook", "signature": {"scheme": "github"}}


class Store:
    """Triggers, and what was kept; every receipt that was written on its own, and all that was booked with a run."""

    def __init__(self, triggers: Sequence[StoredTrigger]) -> None:
        self._triggers = tuple(triggers)
        self.refused: list[Refused] = []
        self.counted: list[str | None] = []
        self.receipts: list[Receipt] = []
        self.events: list[str | None] = []
        self.booked: list[Receipt] = []
        self.unmatched: list[Unmatched] = []
        self.broken = False

    def stored(self) -> tuple[StoredTrigger, ...]:
        return self._triggers

    def booking(self, trigger: Trigger, receipt: Receipt, event: str | None) -> Along:
        assert trigger.name == receipt.trigger
        self.booked.append(receipt)
        self.events.append(event)
        return nothing_along

    def add_receipt(self, receipt: Receipt, event: str | None = None, *, of: StoredTrigger | None) -> None:
        if self.broken:
            raise ConnectionError("no table")
        assert receipt.outcome != "not_matched"
        self.receipts.append(receipt)
        self.events.append(event)
        self.counted.append(of.name if of else None)

    def add_refused(self, refused: Sequence[Refused]) -> None:
        self.refused += refused

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

    def __init__(self, *triggers: StoredTrigger, answers: dict[str, Any] | None = None, upstream: Any = None) -> None:
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
    assert (bench.store.receipts, bench.store.refused) == ([], [])
    bench.arrivals.keep_refused()
    assert [one.receipt.trigger for one in bench.store.refused] == [f"t{number:02d}" for number in range(25)]

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


# ------------------------------------------------------------ triggers that cannot be read


def unreadable(name: str = "later", kind: str | None = "s3") -> UnreadableTrigger:
    """Make a trigger that a later version wrote."""
    return UnreadableTrigger(name=name, detail="definition.s3.colour: extra_forbidden", type=kind)


def test_a_trigger_that_cannot_be_read_stops_no_other() -> None:
    """They have their turn; then the event goes back, for it may have waited for it, and says so in a receipt."""
    bench = Bench(unreadable(), trigger("t"), trigger("u", prefix="x"))

    with pytest.raises(UnreadableTriggerError, match="colour"):
        bench.arrivals.handle(EVENT, {"id": "e"})

    assert [source.trigger for _, source, _ in bench.submits.asked] == ["t"]
    (receipt,) = bench.store.receipts
    assert (receipt.trigger, receipt.outcome) == ("later", "error")
    assert "tried again" in str(receipt.detail)
    assert "cannot be read" in str(receipt.detail)
    assert bench.store.counted == ["later"]
    assert bench.store.unmatched == []


ENDED = RunEnded(event_id="x", time=MOMENT, run_id="r1")
FIRED = ScheduleFired(event_id="f", time=MOMENT, trigger="t")
CALLED = WebhookReceived(event_id="c", time=MOMENT, trigger="t", receipt_id="told")


@pytest.mark.parametrize(
    ("event", "kind"), [(EVENT, "s3"), (FIRED, "schedule"), (CALLED, "webhook"), (ENDED, "run")], ids=str
)
def test_what_one_that_cannot_be_read_may_wait_for(event: TriggerEvent, kind: str) -> None:
    """Events of its type, or any where that is not known; firings and calls name their trigger."""
    upstream = RunRecord(run=run(run_id="r1", status="succeeded"), input=run_input())

    def comes_again(of: UnreadableTrigger) -> bool:
        try:
            Bench(of, upstream=upstream).arrivals.handle(event)
        except UnreadableTriggerError:
            return True
        return False

    for known in ("s3", "schedule", "webhook", "run", "type of later", None):
        assert comes_again(unreadable("t", known)) is (known in (kind, None)), known
    assert comes_again(unreadable("other", kind)) is (kind in ("s3", "run"))


def test_the_end_of_a_run_that_is_not_there_waits_for_nobody() -> None:
    """Also where a trigger cannot be read."""
    assert Bench(unreadable("t", "run")).arrivals.handle(ENDED) == []


# ------------------------------------------------------------ time, and what is kept together


def test_what_filters_refuse_is_kept_together_and_once() -> None:
    """Of all events of a batch, after them; without any, nothing is asked of the store."""
    bench = Bench(trigger("t"), trigger("u", prefix="x"))
    for _ in range(3):
        assert [receipt.outcome for receipt in bench.arrivals.handle(EVENT, {"a": 1})] == ["started", "not_matched"]
    assert bench.store.refused == []

    bench.arrivals.keep_refused()
    bench.arrivals.keep_refused()

    assert [(one.trigger.name, one.receipt.outcome, one.event) for one in bench.store.refused] == [
        ("u", "not_matched", '{"a":1}')
    ] * 3


def test_without_time_no_further_run_is_begun() -> None:
    """The event goes back, and leaves no receipt at those that have not had their turn: filters are asked anew."""
    bench = Bench(trigger("a", prefix="x"), trigger("b"), trigger("c"), trigger("d"))
    turns = iter([True, True, False])

    with pytest.raises(OutOfTimeError):
        bench.arrivals.handle(EVENT, in_time=lambda: next(turns))
    bench.arrivals.keep_refused()

    assert [source.trigger for _, source, _ in bench.submits.asked] == ["b", "c"]
    assert (bench.store.receipts, bench.store.refused, bench.store.unmatched) == ([], [], [])


def test_refusing_takes_no_time() -> None:
    """An event that no filter lets pass is done, however late it is."""
    bench = Bench(trigger("a", prefix="x"))

    assert [receipt.outcome for receipt in bench.arrivals.handle(EVENT, in_time=lambda: False)] == ["not_matched"]


# ------------------------------------------------------------ calls, large values, skipped runs


@pytest.mark.parametrize("standing", [None, {"type": "s3"}], ids=["deleted", "of another type"])
def test_a_call_whose_trigger_is_gone_has_its_receipt(standing: dict[str, Any] | None) -> None:
    """Its caller was told the id: who asks for it learns what happened. It is counted for nobody."""
    bench = Bench(*([trigger("t", **standing)] if standing else []))

    assert bench.arrivals.handle(CALLED, {"id": "c"}) == []

    (receipt,) = bench.store.receipts
    assert (receipt.receipt_id, receipt.trigger, receipt.outcome) == ("told", "t", "rejected")
    assert "deleted" in str(receipt.detail)
    assert bench.store.counted == [None]
    assert [one.trigger for one in bench.store.unmatched] == ["t"]


def test_a_call_of_a_trigger_that_was_made_anew_starts_nothing() -> None:
    """It was signed with the secret of the one before, which is no more."""
    bench = Bench(trigger("t", **HOOK))
    event = CALLED.model_copy(update={"trigger_created_at": MOMENT - timedelta(seconds=1)})

    assert bench.arrivals.handle(event, {"id": "c"}) == []

    (receipt,) = bench.store.receipts
    assert (receipt.receipt_id, receipt.outcome) == ("told", "rejected")
    (started,) = bench.arrivals.handle(event.model_copy(update={"trigger_created_at": MOMENT}), {"id": "c"})
    assert started.outcome == "started"


def test_a_call_that_the_filter_refuses_has_one_receipt() -> None:
    """Its own, and not that of a trigger that is gone."""
    bench = Bench(trigger("t", **HOOK, filter={"body.ref": ["main"]}))

    (receipt,) = bench.arrivals.handle(CALLED)

    assert receipt.outcome == "not_matched"
    assert bench.store.receipts == []


@pytest.mark.parametrize("place", ["parameters", "steps"])
def test_parameters_that_an_event_makes_too_large_are_rejected(place: str) -> None:
    """Before they are made: a large field, named often, would take more memory than there is."""
    named = {f"p{number}": "{body}" for number in range(1000)}
    values: dict[str, Any] = {"parameters": named} if place == "parameters" else {"steps": {"s": named}}

    refused = consider(trigger("t", **HOOK, **values), Occurrence(call({"text": "x" * 200_000})))

    assert isinstance(refused, Refusal)
    assert refused.outcome == "rejected"
    assert "over 262144 bytes" in refused.detail


def test_parameters_and_steps_have_one_size() -> None:
    """What is too much together is rejected, as of any run."""
    half = {"x": "{body}"}
    body = "x" * 140_000

    assert isinstance(consider(trigger("t", **HOOK, parameters=half), Occurrence(call(body))), Wanted)
    both = consider(trigger("t", **HOOK, parameters=half, steps={"s": half}), Occurrence(call(body)))
    assert isinstance(both, Refusal)
