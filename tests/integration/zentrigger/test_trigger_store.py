"""What becomes of events, on moto and on DynamoDB Local: receipts, counts and limits, kills and lost answers."""

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.faults import Faults
from tests import factories
from tests.factories import MOMENT
from tests.integration.zentrigger.bench import Forgetful, Interrupted, on_dynamodb_local, with_faults
from tests.integration.zentrigger.trigger_bench import (
    TRIGGERS,
    Bench,
    contents,
    numbers,
    run_event,
    s3_event,
    spoil,
    webhook_event,
)
from zentrigger import trigger_store
from zentrigger.errors import BusyError, InvalidRequestError, NotFoundError
from zentrigger.events import S3Arrival, parse_event
from zentrigger.hook_secrets import HookSecretStore
from zentrigger.items import to_item, transact
from zentrigger.receipts import MAX_EVENT_BYTES, REFUSED_KEPT, Receipt, Unmatched, new_receipt, receipt_id
from zentrigger.runs import Report, RunStatus
from zentrigger.trial import TriggerTrials
from zentrigger.trigger_store import Refused, TriggerStore
from zentrigger.triggers import UnreadableTrigger, UnreadableTriggerError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def bench(dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Give a stack on each DynamoDB in turn, whose store of receipts has the same clock."""
    made = Bench(dynamodb)
    monkeypatch.setattr(trigger_store, "now", lambda: made.clock.moment)
    return made


class Dying:
    """A client whose process is killed at a transaction: before it is sent, or after it is done."""

    def __init__(self, client: "DynamoDBClient", *, after: bool) -> None:
        self._client, self._after = client, after

    def __getattr__(self, name: str) -> Any:
        if name != "transact_write_items":
            return getattr(self._client, name)

        def die(**request: Any) -> None:
            if self._after:
                self._client.transact_write_items(**request)
            raise KeyboardInterrupt

        return die


# ------------------------------------------------------------ a run and its receipt


def test_a_run_and_its_receipt_are_of_one_transaction(bench: Bench) -> None:
    """The run, its receipt with the event, the count of all and that of the hour are there together."""
    bench.put()

    (told,) = bench.handle(s3_event())

    (run,) = bench.heads()
    assert bench.receipts() == (told,)
    assert (told.outcome, told.run_id, told.bucket, told.key) == ("started", run.run_id, "data", "in/a.csv")
    assert bench.triggers.receipt("arrivals", told.receipt_id) == told
    assert bench.counts_of() == {"started": 1}
    assert bench.triggers.counts(bench.triggers.triggers()) == {"arrivals": {"started": 1}}
    assert bench.triggers.started_in_hour("arrivals", told.at) == 1
    (kept,) = bench.triggers.recent_events("arrivals", 10)
    assert '"key":"in/a.csv"' in kept
    assert run.source.model_dump(exclude_none=True, exclude={"chain"}) == {
        "type": "s3",
        "trigger": "arrivals",
        "event_id": "e",
        "bucket": "data",
        "key": "in/a.csv",
        "etag": "e1",
        "size": 7,
    }


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_leaves_all_or_nothing(bench: Bench, after: bool) -> None:
    """The event comes again: one run, one `started` receipt, count 1; where all was there, a `duplicate` beside it."""
    bench.put()
    with pytest.raises(KeyboardInterrupt):
        bench.handle(s3_event(), Dying(bench.client, after=after))  # type: ignore[arg-type]
    assert len(bench.heads()) == len(bench.receipts()) == (1 if after else 0)

    bench.handle(s3_event())

    expected = {"started": 1} | ({"duplicate": 1} if after else {})
    assert len(bench.heads()) == 1
    assert numbers(bench.receipts()) == bench.counts_of() == expected
    assert bench.triggers.started_in_hour("arrivals", bench.clock.moment) == 1


def test_a_lost_answer_is_a_start(bench: Bench) -> None:
    """The repetition finds its own run and is no duplicate; the count was raised once."""
    bench.put(max_runs=1)

    (told,) = bench.handle(s3_event(), Forgetful(bench.client))  # type: ignore[arg-type]

    assert told.outcome == "started"
    assert numbers(bench.receipts()) == bench.counts_of() == {"started": 1}


@on_dynamodb_local
def test_what_may_pass_comes_again(bench: Bench, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> None:
    """While others are in the way it is an `error`, at each delivery; then the run is started once."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    bench.put()
    faults = Faults()
    faults.next("dynamodb.TransactWriteItems.conflict", 12)
    client = with_faults(dynamodb, faults)

    with pytest.raises(BusyError):
        bench.handle(s3_event(), client)
    assert bench.heads() == []
    bench.handle(s3_event(), client)

    assert len(bench.heads()) == 1
    assert numbers(bench.receipts()) == {"started": 1, "error": 1}
    assert "tried again" in str(bench.receipts(outcome="error")[0].detail)


def test_a_webhook_has_one_receipt(bench: Bench) -> None:
    """Under the id that its caller was told: an `error` gives way to `started`, and that to nothing."""
    bench.put("hook", type="webhook", signature={"scheme": "github"})
    event = webhook_event("hook", {"ref": "main"})
    identifier = event["detail"]["receipt_id"]
    broken = Interrupted(bench.client, "transact_write_items", 1, _fail)
    with pytest.raises(ConnectionError):
        bench.handle(event, broken)  # type: ignore[arg-type]
    failed = bench.triggers.receipt("hook", identifier)
    assert failed.outcome == "error"

    (started,) = bench.handle(event)
    assert bench.triggers.receipt("hook", identifier) == started
    assert started.outcome == "started"

    (again,) = bench.handle(event)
    assert again.outcome == "duplicate"
    bench.triggers.add_receipt(failed, of=bench.triggers.get("hook"))
    assert bench.receipts("hook") == (started,)
    assert bench.counts_of("hook") == {"error": 1, "started": 1}


def _fail() -> None:
    raise ConnectionError("no table")


def test_a_refused_webhook_is_found_under_its_receipt_id(bench: Bench) -> None:
    """The caller was told the id before the filter was asked; the event is counted and no run starts."""
    bench.put("hook", type="webhook", signature={"scheme": "github"}, filter={"body.ref": ["main"]})

    (told,) = bench.handle(webhook_event("hook", {"ref": "other"}))

    assert told.outcome == "not_matched"
    assert bench.triggers.receipt("hook", told.receipt_id) == told
    assert bench.receipts("hook") == ()
    assert bench.heads() == []


@on_dynamodb_local
def test_a_counted_refusal_meets_a_transaction(
    bench: Bench, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts are in the transactions of the runs that start meanwhile: it waits, rather than fail the event."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    faults = Faults()
    faults.next("dynamodb.UpdateItem.conflict", 3)
    lossy = TriggerStore(TRIGGERS, with_faults(dynamodb, faults))
    event = parse_event(s3_event())

    refused = new_receipt("t", event, bench.clock()).told("not_matched", "no")
    lossy.add_refused([Refused(factories.trigger("t"), refused)])

    assert lossy.counts_of(factories.trigger("t")) == {"not_matched": 1}
    assert len(lossy.receipts("t", limit=10, outcome="not_matched")[0]) == 1


class Counting:
    """A client that counts its calls."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        if name in ("update_item", "put_item", "transact_write_items"):
            self.calls[name] += 1
        return getattr(self._client, name)


def test_many_refusals_take_few_calls(bench: Bench) -> None:
    """Of a batch: one for each trigger, and one for each hundred that are kept; each event is in its place."""
    for number in range(30):
        bench.put(f"t{number:02d}", prefix="in/" if number == 7 else f"elsewhere/{number}/")
    client = Counting(bench.client)
    arrivals = bench.arrivals(client)  # type: ignore[arg-type]
    for number in range(10):
        event = s3_event(f"in/{number}")
        arrivals.handle(parse_event(event), event)
    client.calls.clear()

    arrivals.keep_refused()

    assert client.calls == {"update_item": 29, "transact_write_items": 3}
    for number in range(30):
        name = f"t{number:02d}"
        expected = {"started": 10} if number == 7 else {"not_matched": 10}
        assert bench.counts_of(name) == expected
        refused = [one.key for one in bench.receipts(name, outcome="not_matched")]
        assert refused == ([] if number == 7 else [f"in/{one}" for one in reversed(range(10))])


# ------------------------------------------------------------ triggers that cannot be read


def test_a_trigger_that_cannot_be_read_hides_no_other(bench: Bench) -> None:
    """It is known by what stands beside its body; whoever needs itself is told that it cannot be read, and why."""
    before = bench.put("later", prefix="in/")
    readable = bench.put("t")
    spoil(bench.client, "later")

    unread, other = bench.triggers.stored()

    assert isinstance(unread, UnreadableTrigger)
    assert (unread.name, unread.type, unread.pipeline) == ("later", "s3", before.definition.pipeline)
    assert "colour" in unread.detail
    assert bench.triggers.look("later") == unread
    assert (other, *bench.triggers.triggers()) == (readable, readable)
    assert bench.triggers.triggers_page(limit=1)[0] == (unread,)
    for ask in (bench.triggers.find, bench.triggers.get):
        with pytest.raises(UnreadableTriggerError, match="'later' cannot be read"):
            ask("later")


def test_an_event_waits_for_a_trigger_that_can_be_read_again(bench: Bench) -> None:
    """Others start their runs meanwhile; when it is put anew, it starts its own, and the others are duplicates."""
    bench.put("later", prefix="in/")
    bench.put("t")
    spoil(bench.client, "later")
    for _ in range(2):
        with pytest.raises(UnreadableTriggerError):
            bench.handle(s3_event())
    unread = bench.triggers.look("later")
    assert unread is not None
    assert numbers(bench.receipts("t")) == {"started": 1, "duplicate": 1}
    assert numbers(bench.receipts("later")) == bench.triggers.counts_of(unread) == {"error": 2}

    transact(bench.client, [bench.triggers.put_action(factories.trigger("later", prefix="in/"), unread)])

    assert bench.outcomes(s3_event()) == ["started", "duplicate"]
    assert bench.counts_of("later") == {"error": 2, "started": 1}


@pytest.mark.parametrize("kept", [{}, {"body": "{"}, {"body": "[]", "updated": "then"}, {"body": '{"name": "t"}'}])
def test_an_item_of_any_shape_can_be_replaced_and_deleted(bench: Bench, kept: dict[str, str]) -> None:
    """Also one of which nothing is known."""
    item = to_item({"collection": "triggers", "item": "t", **kept})
    for repair in (True, False):
        bench.client.put_item(TableName=TRIGGERS, Item=item)
        unread = bench.triggers.look("t")
        assert isinstance(unread, UnreadableTrigger)
        assert unread.type is None
        actions = [bench.triggers.put_action(factories.trigger("t"), unread)]
        transact(bench.client, actions if repair else bench.triggers.delete_actions(unread))
        assert bench.triggers.find("t") == (factories.trigger("t") if repair else None)


# ------------------------------------------------------------ outcomes


def test_the_same_event_five_times_starts_one_run(bench: Bench) -> None:
    """One receipt for each delivery, four of them duplicates that name the run."""
    bench.put()

    told = [bench.handle(s3_event())[0] for _ in range(5)]

    (run,) = bench.heads()
    assert [receipt.outcome for receipt in told] == ["started"] + ["duplicate"] * 4
    assert {receipt.run_id for receipt in bench.receipts()} == {run.run_id}
    assert bench.receipts() == tuple(reversed(told))


def test_two_triggers_on_one_object_start_two_runs(bench: Bench) -> None:
    """However often it is delivered; a third one for another bucket is not even asked."""
    for name, bucket in (("a", "data"), ("b", None), ("c", "other")):
        bench.put(name, bucket=bucket)

    assert bench.outcomes(s3_event()) == ["started", "started"]
    assert bench.outcomes(s3_event()) == ["duplicate", "duplicate"]

    assert sorted(str(run.trigger) for run in bench.heads()) == ["a", "b"]
    assert bench.counts_of("c") == {}


def test_each_writing_of_an_object_is_a_run_in_whatever_order_they_come(bench: Bench) -> None:
    """Overwritten with the same bytes too; events of one writing may come between those of another."""
    bench.put()
    first, second = s3_event(sequencer="01"), s3_event(sequencer="02")
    versions = [s3_event(**{"version-id": version}) for version in ("v1", "v2")]

    told = [bench.outcomes(event)[0] for event in (second, first, second, *versions, first, versions[0])]

    assert told == ["started", "started", "duplicate", "started", "started", "duplicate", "duplicate"]
    assert len(bench.heads()) == 4


KEYS = [
    "in/a b.csv",
    "in/a+b.csv",
    "in/100%25.csv",
    "in/%2e%2e/x",
    "in/../../etc/passwd",
    "in/ünï-日本-🎉.csv",
    "in/u\u0308.csv",
    "in/ü.csv",
    "in//x",
    "in/{object.etag}{run.id}",
    'in/"quoted"\\.csv',
    "in/\u0001",
    "in/" + "k" * 1021,
    "in/" + "日" * 340,
]


def test_keys_are_taken_as_they_are(bench: Bench) -> None:
    """Into the parameter, the receipt and the source: not decoded, not normalised, no template in a template."""
    bench.put(prefix="in/", parameters={"data_url": "s3://{bucket.name}/{object.key}"})

    for key in KEYS:
        (told,) = bench.handle(s3_event(key, size=0))

        assert (told.outcome, told.key) == ("started", key)
        record = bench.runs.get(str(told.run_id))
        assert record is not None
        assert record.input.parameters["data_url"] == f"s3://data/{key}"
        assert record.run.source.key == bench.triggers.receipt("arrivals", told.receipt_id).key == key


def test_folders_start_nothing(bench: Bench) -> None:
    """They are counted as refused, and found as events that matched nothing."""
    bench.put(prefix="in/")

    assert bench.outcomes(s3_event("in/new folder/", size=0)) == ["not_matched"]

    ((found,), _) = bench.triggers.unmatched(limit=10)
    assert (found.key, found.reasons[0].trigger) == ("in/new folder/", "arrivals")
    assert "folder" in found.reasons[0].why


REJECTED: list[tuple[dict[str, Any], str]] = [
    ({"pipeline": "nobody"}, "no snapshot of nobody"),
    ({"snapshot": 2}, "no snapshot"),
    ({"parameters": {"test_size": "{object.size}"}}, "/parameters/test_size"),
    ({"parameters": {"data_url": "{object.version-id}"}}, "/parameters/data_url"),
    ({"parameters": {"data_url": "v{object.version-id}"}}, "null"),
    ({"parameters": {"data_url": "{object.key}" * 300}}, "bytes"),
]


def test_what_cannot_be_is_rejected_with_the_reason(bench: Bench) -> None:
    """The event is done: a receipt, counted, and no run."""
    for number, (values, _) in enumerate(REJECTED):
        bench.put(f"t{number}", **values)

    told = bench.handle(s3_event("k" * 1000))

    assert {receipt.outcome for receipt in told} == {"rejected"}
    for receipt, (values, detail) in zip(told, REJECTED, strict=True):
        assert detail in str(receipt.detail), values
        assert bench.receipts(receipt.trigger) == (receipt,)
        assert bench.counts_of(receipt.trigger) == {"rejected": 1}
    assert bench.heads() == []


def test_a_skipped_run_takes_no_place_under_the_limits(bench: Bench) -> None:
    """It is recorded with its receipt in one transaction, is a duplicate when its event comes again, and frees."""
    bench.put(overlap="skip", max_runs=2, max_runs_per_hour=2)

    assert bench.outcomes(s3_event("1")) == ["started"]
    assert [bench.outcomes(s3_event(key))[0] for key in "234"] == ["skipped_overlap"] * 3
    assert bench.outcomes(s3_event("2")) == ["duplicate"]
    skipped = bench.receipts(outcome="skipped_overlap")
    assert all(one.detail and one.run_id for one in skipped)
    started = next(run for run in bench.heads() if not run.status.final)
    bench.end(started)

    assert bench.outcomes(s3_event("5")) == ["started"]
    assert bench.outcomes(s3_event("6")) == ["skipped_max_runs"]
    assert bench.counts_of() == {
        "started": 2,
        "skipped_overlap": 3,
        "duplicate": 1,
        "skipped_max_runs": 1,
    }
    assert bench.triggers.started_in_hour("arrivals", bench.clock.moment) == 2


def test_an_event_at_its_limit_is_a_duplicate_if_it_was_started(bench: Bench) -> None:
    """Its run is there; only what would be new is left out, and is taken when the limit is raised or the hour over."""
    bench.put(max_runs_per_hour=1)
    assert bench.outcomes(s3_event("1")) == ["started"]

    assert bench.outcomes(s3_event("1")) == ["duplicate"]
    assert bench.outcomes(s3_event("2")) == ["skipped_cap"]
    bench.put(max_runs_per_hour=1, max_runs=1)
    assert bench.outcomes(s3_event("3")) == ["skipped_max_runs"]
    bench.put(max_runs_per_hour=1, max_runs=2)
    bench.clock.passes(hours=1)
    assert bench.outcomes(s3_event("2")) == ["started"]

    assert bench.outcomes(s3_event("1")) == ["duplicate"]
    assert bench.counts_of()["started"] == 2
    detail = str(bench.receipts(outcome="skipped_cap")[0].detail)
    assert "1 runs" in detail
    assert "max_runs_per_hour" in detail


def test_an_edited_trigger_finds_its_runs_again(bench: Bench) -> None:
    """An event that comes again after an edit is a duplicate of the run that it started, whatever that ran."""
    bench.put(parameters={"data_url": "{object.key}"})
    (first,) = bench.handle(s3_event())
    bench.put(parameters={"data_url": "s3://{object.key}"})

    (again,) = bench.handle(s3_event())

    assert (again.outcome, again.run_id) == ("duplicate", first.run_id)


def test_a_disabled_trigger_tells_what_it_missed(bench: Bench) -> None:
    """One receipt for what it would have taken; what its filter refuses is not its business, disabled or not."""
    bench.put(enabled=False, prefix="in/")

    assert bench.outcomes(s3_event("in/a")) == ["disabled"]
    assert bench.outcomes(s3_event("out/a")) == ["not_matched"]

    assert numbers(bench.receipts()) == {"disabled": 1}
    assert [event.key for event in bench.triggers.unmatched(limit=10)[0]] == ["out/a"]


# ------------------------------------------------------------ lists


@pytest.mark.parametrize("at_once", [1, 10, 1000])
def test_the_last_refused_are_kept_and_all_are_counted(bench: Bench, at_once: int) -> None:
    """In a list of their own, newest first, however many come in a batch."""
    event, of = parse_event(s3_event()), factories.trigger("t")
    count = REFUSED_KEPT + 7
    refused = []
    for number in range(count):
        receipt = new_receipt("t", event, MOMENT + timedelta(seconds=number)).told("not_matched", str(number))
        refused.append(Refused(of, receipt, f'{{"n":{number}}}'))
    for start in range(0, count, at_once):
        bench.triggers.add_refused(refused[start : start + at_once])

    kept = bench.receipts("t", outcome="not_matched")
    assert [one.detail for one in kept] == [str(number) for number in reversed(range(7, count))]
    assert bench.receipts("t") == ()
    assert bench.triggers.counts_of(of) == {"not_matched": count}
    assert len(bench.triggers.receipts("t", limit=3, outcome="not_matched")[0]) == 3
    assert bench.triggers.recent_events("t", 2) == (f'{{"n":{count - 1}}}', f'{{"n":{count - 2}}}')


def keep(store: TriggerStore, number: int, outcome: Any, event: str | None = None) -> Receipt:
    """Keep a receipt of an event, a second after the one before."""
    arrival = S3Arrival.model_validate(
        {"event_id": f"e{number}", "time": MOMENT, "bucket": {"name": "b"}, "object": {"key": f"k{number}"}}
    )
    receipt = new_receipt("t", arrival, MOMENT + timedelta(seconds=number)).told(outcome)
    store.add_receipt(receipt, event, of=factories.trigger("t"))
    return receipt


def test_receipts_are_paged_newest_first(bench: Bench) -> None:
    """Each is on one page, whatever the pages' size; a filter for an outcome leaves no page empty before the last."""
    kept = [keep(bench.triggers, number, "rejected" if number % 5 == 0 else "disabled") for number in range(17)]
    for outcome, expected in ((None, kept), ("rejected", kept[::5]), ("started", [])):
        for limit in (1, 3, 17):
            pages, cursor = [], None
            while True:
                page, cursor = bench.triggers.receipts("t", limit=limit, cursor=cursor, outcome=outcome)
                pages.append(page)
                if cursor is None:
                    break
            assert [one for page in pages for one in page] == expected[::-1]
            assert all(len(page) == limit for page in pages[:-1])


def test_a_filter_looks_far_but_not_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing fits in what it may look at, the page is empty and has a next one."""
    monkeypatch.setattr(trigger_store, "_FILTERED_AT_ONCE", 2)
    monkeypatch.setattr(trigger_store, "_FILTERED_PAGES", 3)
    oldest = keep(bench.triggers, 0, "rejected")
    for number in range(1, 9):
        keep(bench.triggers, number, "disabled")

    page, cursor = bench.triggers.receipts("t", limit=5, outcome="rejected")
    assert page == ()
    assert cursor is not None
    assert bench.triggers.receipts("t", limit=5, outcome="rejected", cursor=cursor) == ((oldest,), None)


def test_cursors_are_of_one_list(bench: Bench) -> None:
    """One of another trigger's, and one that is none, are refused."""
    for number in range(3):
        keep(bench.triggers, number, "disabled")
    _, cursor = bench.triggers.receipts("t", limit=1)
    assert cursor is not None

    for other, text in (("u", cursor), ("t", "!"), ("t", cursor[:-4])):
        with pytest.raises(InvalidRequestError):
            bench.triggers.receipts(other, limit=1, cursor=text)
    with pytest.raises(InvalidRequestError):
        bench.triggers.unmatched(limit=1, cursor=cursor)


def test_names_that_nothing_can_have_have_nothing(bench: Bench) -> None:
    """As those that nothing has: no error of DynamoDB's."""
    for name in ("", "t" * 3000, "\ud800", "日" * 700):
        has_nothing(bench, name)


def has_nothing(bench: Bench, name: str) -> None:
    assert bench.triggers.receipts(name, limit=1) == ((), None)
    assert bench.triggers.receipts(name, limit=1, outcome="not_matched") == ((), None)
    assert bench.triggers.recent_events(name, 1) == ()
    assert bench.triggers.find(name) is None
    for of, identifier in ((name, "x"), ("t", name)):
        with pytest.raises(NotFoundError):
            bench.triggers.receipt(of, identifier)


def test_what_has_expired_is_not_shown(bench: Bench, dynamodb: "DynamoDBClient") -> None:
    """DynamoDB deletes it within days; until then nobody sees it in any list."""
    bench.put("refuses", prefix="out/")
    bench.put(prefix="in/")
    (started, refused) = bench.handle(s3_event("in/a"))
    bench.handle(s3_event("x"))
    assert len(bench.triggers.unmatched(limit=10)[0]) == 1

    bench.clock.passes(days=1, seconds=1)
    assert bench.triggers.unmatched(limit=10)[0] == ()
    assert bench.receipts() == (started,)
    bench.clock.passes(days=29)

    assert bench.receipts() == ()
    assert bench.receipts("refuses", outcome="not_matched") == ()
    assert bench.triggers.recent_events("arrivals", 10) == bench.triggers.recent_events("refuses", 10) == ()
    for trigger, receipt in (("arrivals", started), ("refuses", refused)):
        with pytest.raises(NotFoundError):
            bench.triggers.receipt(trigger, receipt.receipt_id)
    key = to_item({"collection": "receipts#arrivals", "item": started.receipt_id})
    assert "Item" in dynamodb.get_item(TableName=TRIGGERS, Key=key)


def test_events_that_matched_nothing_are_found_by_bucket_and_key(bench: Bench) -> None:
    """For a day, with the reason of each trigger that came near; those that matched somewhere are not among them."""
    bench.put("a", prefix="in/", suffix=".csv")
    bench.put("b", bucket="data", min_size=100)
    bench.put("c", bucket="data", prefix="taken/")
    for event in (
        s3_event("x.csv"),
        s3_event("x.csv", bucket="other"),
        s3_event("y.csv", etag=None),
        s3_event("taken/z.csv"),
    ):
        bench.handle(event)

    found = {
        (bucket, key): [(one.bucket, one.key) for one in bench.triggers.unmatched(limit=10, bucket=bucket, key=key)[0]]
        for bucket, key in ((None, None), ("data", None), (None, "x.csv"), ("data", "x.csv"), ("data", "taken/z.csv"))
    }
    assert found == {
        (None, None): [("data", "y.csv"), ("other", "x.csv"), ("data", "x.csv")],
        ("data", None): [("data", "y.csv"), ("data", "x.csv")],
        (None, "x.csv"): [("other", "x.csv"), ("data", "x.csv")],
        ("data", "x.csv"): [("data", "x.csv")],
        ("data", "taken/z.csv"): [],
    }
    ((only,), cursor) = bench.triggers.unmatched(limit=1, bucket="data", key="x.csv")
    assert {reason.trigger: reason.why[:14] for reason in only.reasons} == {
        "a": "The key does n",
        "b": "The object is ",
        "c": "The key does n",
    }
    assert cursor is None


def test_ended_runs_and_calls_that_nobody_waits_for(bench: Bench) -> None:
    """The end of a run is the usual case, and nobody's question; a firing or a call names its trigger."""
    ended = bench.end(bench.runs.create(factories.run(), factories.run_input(), max_active=9, max_waiting=None).run)
    for event in (
        run_event(ended.run_id),
        webhook_event("gone"),
        {"source": "zentrigger.schedule", "id": "i", "time": "2026-11-20T12:00:00Z", "detail": {"trigger": "gone"}},
    ):
        assert bench.handle(event) == []

    found, _ = bench.triggers.unmatched(limit=10)
    assert [(one.type, one.trigger, one.reasons) for one in found] == [
        ("schedule", "gone", ()),
        ("webhook", "gone", ()),
    ]


def test_a_large_event_is_not_kept_with_its_receipt(bench: Bench) -> None:
    """The receipt is there; only to try the event again is not possible."""
    bench.put("hook", type="webhook", signature={"scheme": "github"})
    (small,) = bench.handle(webhook_event("hook", "x"))
    (large,) = bench.handle(
        webhook_event("hook", "日" * (MAX_EVENT_BYTES // 3), delivery_id="d2", receipt_id="20261120T120000000001Z-0")
    )

    assert (small.outcome, large.outcome) == ("started", "started")
    assert len(bench.receipts("hook")) == 2
    assert len(bench.triggers.recent_events("hook", 10)) == 1


def test_recent_events_are_each_given_once(bench: Bench) -> None:
    """Of receipts and refusals together, newest first, however often an event was delivered."""
    bench.put(prefix="in/")
    for key in ("in/1", "out/2", "in/1", "in/3"):
        bench.handle(s3_event(key))

    events = bench.triggers.recent_events("arrivals", 10)

    assert [event.partition('"key":"')[2].partition('"')[0] for event in events] == ["in/3", "in/1", "out/2"]
    assert bench.triggers.recent_events("arrivals", 1) == events[:1]


def test_a_receipt_is_kept_and_counted_once_for_one_id(bench: Bench) -> None:
    """Also where the answer of the write was lost."""
    forgetful = TriggerStore(TRIGGERS, Forgetful(bench.client))  # type: ignore[arg-type]

    receipt = keep(forgetful, 1, "rejected")
    forgetful.add_receipt(receipt.told("disabled"), of=factories.trigger("t"))

    assert bench.receipts("t") == (receipt,)
    assert bench.triggers.counts_of(factories.trigger("t")) == {"rejected": 1}


def test_what_is_not_refused_by_a_condition_is_raised(bench: Bench) -> None:
    """A store that cannot write is no duplicate."""
    nowhere = TriggerStore("NoTable", bench.client)

    with pytest.raises(ClientError):
        keep(nowhere, 1, "rejected")


def test_unmatched_events_of_one_moment_stand_beside_each_other(bench: Bench) -> None:
    """Two events within a microsecond are two; the same one twice is one."""
    for event_id in ("a", "b", "a"):
        bench.triggers.add_unmatched(Unmatched(event_id=event_id, at=MOMENT, type="s3"))

    assert sorted(one.event_id for one in bench.triggers.unmatched(limit=10)[0]) == ["a", "b"]
    assert receipt_id(MOMENT, "a") != receipt_id(MOMENT, "b")


# ------------------------------------------------------------ triggers of ended runs


MEANT: list[tuple[dict[str, str], bool]] = [
    ({"pipeline": "training_pipeline"}, True),
    ({"pipeline": "other"}, False),
    ({"snapshot": "training_pipeline:1"}, True),
    ({"snapshot": "training_pipeline:2"}, False),
    ({"tag": "nightly"}, True),
    ({"tag": "night"}, False),
    ({"trigger": "arrivals"}, True),
    ({"trigger": "t0"}, False),
    ({"pipeline": "training_pipeline", "tag": "nightly", "trigger": "arrivals"}, True),
    ({"pipeline": "training_pipeline", "tag": "weekly"}, False),
]


def test_which_runs_are_meant(bench: Bench) -> None:
    """Those that fulfil all that is said, by their records: what the event says of the run is not believed."""
    bench.put(tags=["nightly"])
    for number, (of, _) in enumerate(MEANT):
        bench.put(f"t{number}", type="run", of=of)
    bench.handle(s3_event())
    (run,) = bench.heads()
    bench.end(run)
    lie = {"pipeline": "other", "snapshot": "training_pipeline:2", "tags": ["weekly"], "status": "failed"}

    told = bench.handle(run_event(run.run_id, **lie))

    assert {receipt.trigger for receipt in told} == {f"t{number}" for number, (_, fits) in enumerate(MEANT) if fits}
    assert {(receipt.outcome, receipt.upstream) for receipt in told} == {("started", run.run_id)}


def test_which_ends_are_meant(bench: Bench) -> None:
    """By the record; the event's type, `Pipeline Run Succeeded`, is not asked."""
    for on in (["succeeded"], ["failed", "cancelled"]):
        bench.put(on[0], type="run", of={"pipeline": "training_pipeline"}, on=on)

    for status in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED):
        run = bench.runs.create(factories.run(), factories.run_input(), max_active=99, max_waiting=None).run
        bench.end(run, status)
        succeeded = status is RunStatus.SUCCEEDED
        expected = {"succeeded": succeeded, "failed": not succeeded}
        told = {receipt.trigger: receipt.outcome for receipt in bench.handle(run_event(run.run_id))}
        assert told == {name: "started" if meant else "not_matched" for name, meant in expected.items()}


def test_a_run_that_has_not_ended_or_is_unknown_starts_nothing(bench: Bench) -> None:
    """Whatever an event says of it; when it has ended, its event starts one run, however often it comes."""
    bench.put("after", type="run", of={"pipeline": "training_pipeline"}, on=["succeeded", "failed"])
    run = bench.runs.create(factories.run(), factories.run_input(), max_active=9, max_waiting=None).run

    assert bench.handle(run_event(run.run_id, status="succeeded")) == []
    assert bench.handle(run_event("nobody", status="succeeded", pipeline="training_pipeline")) == []
    bench.end(run)
    assert [bench.outcomes(run_event(run.run_id))[0] for _ in range(2)] == ["started", "duplicate"]


def test_outputs_and_parameters_are_filled_in(bench: Bench) -> None:
    """Of steps, and of the pipeline itself; an output that is not there is a receipt that says what is."""
    outputs = [
        {"name": "model", "step": "train", "artifact_id": "a-1", "uri": "s3://b/m", "data_type": "Model"},
        {"name": "score", "step": "train", "value": 0.25},
    ]
    upstream = bench.runs.create(
        factories.run(), factories.run_input(parameters={"rate": 0.5}), max_active=9, max_waiting=None
    ).run
    bench.end(upstream, report=Report.model_validate({"outcome": "succeeded", "outputs": outputs}))
    told = {
        "url": "{run.outputs.train.model.uri}#{run.outputs.train.model.artifact_id}@{run.id}",
        "size": "{run.outputs.train.score.value}",
        "rate": "{run.parameters.rate}",
        "missing": "{run.outputs.train.report.uri}",
    }
    for name, parameters in {
        "after": {"data_url": told["url"], "test_size": told["size"]},
        "rate": {"test_size": told["rate"]},
        "lost": {"data_url": told["missing"]},
    }.items():
        bench.put(name, type="run", of={"pipeline": "training_pipeline"}, parameters=parameters)

    after, lost, rate = bench.handle(run_event(upstream.run_id))

    record, other = bench.runs.get(str(after.run_id)), bench.runs.get(str(rate.run_id))
    assert record is not None
    assert other is not None
    assert record.input.parameters["data_url"] == f"s3://b/m#a-1@{upstream.run_id}"
    assert record.input.parameters["test_size"] == 0.25
    assert other.input.parameters["test_size"] == 0.5
    assert lost.outcome == "rejected"
    assert 'no "report"; it has: model, score' in str(lost.detail)


def test_a_trigger_put_twice_is_one(bench: Bench, dynamodb: "DynamoDBClient") -> None:
    """A write that was decided on another state than the one that stands is refused."""
    first = bench.put()
    actions = [bench.triggers.put_action(first, None), bench.triggers.put_action(first, factories.trigger(at=MOMENT))]

    with pytest.raises(Exception, match="conditions"):
        transact(dynamodb, actions[:1])
    transact(dynamodb, actions[1:])
    late = first.model_copy(update={"updated_at": MOMENT + timedelta(seconds=1)})
    with pytest.raises(Exception, match="conditions"):
        transact(dynamodb, [bench.triggers.put_action(late, late)])
    assert bench.triggers.triggers() == (first,)


def test_the_hour_is_one_of_the_clock_in_utc(bench: Bench) -> None:
    """What started at 12:59 says nothing of 13:00."""
    bench.clock.moment = MOMENT.replace(minute=59, second=59)
    bench.put(max_runs_per_hour=1)

    assert bench.outcomes(s3_event("1")) == ["started"]
    assert bench.outcomes(s3_event("2")) == ["skipped_cap"]
    bench.clock.moment = MOMENT.replace(hour=13)
    assert bench.outcomes(s3_event("3")) == ["started"]
    assert bench.triggers.started_in_hour("arrivals", MOMENT) == 1


# ------------------------------------------------------------ trying, and secrets


def test_trying_a_trigger_writes_nothing(bench: Bench) -> None:
    """Whatever it foretells: in no table is anything other than before, and the event itself then has that outcome."""
    bench.put("over", overlap="skip")
    bench.put("few", max_runs=1)
    bench.put("cap", max_runs_per_hour=1)
    bench.put("wrong", parameters={"test_size": "{object.size}"})
    bench.put("other", prefix="in/")
    bench.put("off", enabled=False)
    bench.handle(s3_event("in/1"))
    trials = TriggerTrials(
        triggers=bench.triggers, submitter=bench.submitter(), record_of=bench.runs.get, clock=bench.clock
    )
    expected = {
        "over": ("duplicate", "skipped_overlap"),
        "few": ("duplicate", "skipped_max_runs"),
        "cap": ("duplicate", "skipped_cap"),
        "wrong": ("rejected", "rejected"),
        "other": ("duplicate", "not_matched"),
        "off": ("disabled", "disabled"),
    }
    before = contents(bench.client)

    found = {name: tuple(trials.run(name, s3_event(key))[0].outcome for key in ("in/1", "2")) for name in expected}
    samples = {name: trials.run(name, None)[0].outcome for name in ("other", "off")}
    recent = {name: [trial.outcome for trial in trials.recent(name)] for name in expected}

    assert contents(bench.client) == before
    assert found == expected
    assert samples == {"other": "started", "off": "disabled"}
    assert recent == {name: [outcomes[0]] for name, outcomes in expected.items()}
    told = {receipt.trigger: receipt.outcome for receipt in bench.handle(s3_event("2"))}
    assert told == {name: outcomes[1] for name, outcomes in expected.items()}


def test_a_secret_is_changed(bench: Bench) -> None:
    """On DynamoDB as in the tests without one; a lost answer is a change."""
    store = HookSecretStore("KeysTable", bench.client)
    forgetful = HookSecretStore("KeysTable", Forgetful(bench.client))  # type: ignore[arg-type]
    stands = bench.triggers.standing_action(bench.put("t", type="webhook", signature={"scheme": "github"}))
    for name, by in (("first", store), ("second", forgetful)):
        for hours in (0, 1):
            moment = MOMENT + timedelta(hours=hours)
            assert by.put("t", f"the {name} secret", moment, standing=stands) == store.find("t")

    kept = store.find("t")
    assert kept is not None
    assert kept.good_at(MOMENT) == ("the second secret", "the first secret")
    assert kept.previous_valid_until == MOMENT + timedelta(days=1)
