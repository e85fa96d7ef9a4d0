"""Writing triggers on moto and on DynamoDB Local: all or nothing, repeated, at once, and against publications."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests import factories
from tests.factories import MOMENT, TRAINING, content, definition
from tests.integration.zentrigger.bench import Clock, Forgetful, Interrupted, on_dynamodb_local
from tests.integration.zentrigger.test_concurrency import at_once
from tests.integration.zentrigger.trigger_bench import TRIGGERS, contents, spoil
from tests.publishers import publish, publisher, trigger_writer
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.errors import (
    BusyError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    ZentriggerError,
)
from zentrigger.events import parse_event
from zentrigger.hook_secrets import HookSecretStore
from zentrigger.items import to_item, transact
from zentrigger.receipts import Receipt, new_receipt
from zentrigger.trigger_store import TriggerStore
from zentrigger.trigger_writer import MAX_ACTIONS, MAX_TOGETHER_BYTES, TriggerChanges, TriggerWriter
from zentrigger.triggers import Trigger, TriggerDefinition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

GITHUB = {"type": "webhook", "signature": {"scheme": "github"}}
HOURLY = {"type": "schedule", "schedule": "rate(1 hour)"}


@pytest.fixture
def clock() -> Clock:
    """Give the writers' clock."""
    return Clock()


@pytest.fixture
def writer(dynamodb: "DynamoDBClient", clock: Clock) -> TriggerWriter:
    """Give what writes triggers, of a pipeline that is published."""
    publish(dynamodb)
    return trigger_writer(dynamodb, clock=clock)


@pytest.fixture
def store(dynamodb: "DynamoDBClient") -> TriggerStore:
    """Give the triggers as they stand."""
    return TriggerStore(TRIGGERS, dynamodb)


def changes(done: TriggerChanges) -> dict[str, str]:
    """Give what became of each trigger."""
    return {change.name: change.change for change in done.changes}


def pointers(error: InvalidRequestError) -> list[str]:
    """Give where something is wrong."""
    return [problem.pointer for problem in error.problems]


# ------------------------------------------------------------ one trigger


def test_a_trigger_is_made_replaced_and_deleted(writer: TriggerWriter, store: TriggerStore, clock: Clock) -> None:
    """It keeps when it was made; a deleted one is gone, and one of its name is a new one."""
    (made,) = writer.put("t", definition()).changes
    assert (made.change, made.before, made.after) == ("create", None, store.find("t"))
    clock.passes(hours=1)
    (edited,) = writer.put("t", definition(prefix="in/")).changes

    standing = store.get("t")
    assert (edited.change, edited.before, edited.after) == ("update", made.after, standing)
    assert (standing.created_at, standing.updated_at) == (MOMENT, MOMENT + timedelta(hours=1))
    (gone,) = writer.delete("t").changes
    assert (gone.change, gone.before, gone.after) == ("delete", standing, None)
    assert store.triggers() == ()
    with pytest.raises(NotFoundError, match="no trigger 't'"):
        writer.delete("t")
    clock.passes(hours=1)
    (again,) = writer.put("t", definition()).changes
    assert again.after is not None
    assert again.after.created_at == MOMENT + timedelta(hours=2)


@pytest.mark.parametrize("values", [{}, GITHUB, HOURLY, {"type": "run", "of": {"pipeline": "p"}}])
def test_the_same_again_writes_nothing(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", clock: Clock, values: dict[str, Any]
) -> None:
    """Also as it is shown, with its defaults and its keys in another order; but a schedule is to be looked at again."""
    wanted = definition(**values, parameters={"data_url": "a", "test_size": 0.5})
    (made,) = writer.put("t", wanted).changes
    before = contents(dynamodb)
    clock.passes(hours=1)

    assert made.after is not None
    shown = made.after.definition.model_dump(mode="json")
    reordered = dict(reversed(shown.items())) | {"parameters": {"test_size": 0.5, "data_url": "a"}}
    store = TriggerStore(TRIGGERS, dynamodb)
    for same in (wanted, type(wanted).model_validate(reordered)):
        done = writer.put("t", same)
        assert changes(done) == {"t": "unchanged"}
        assert done.scheduled == (("t",) if values == HOURLY else ())
        for name in done.scheduled:
            assert done.write in {note.write for note in store.pending_schedules(name)}
            store.settled(name, done.write)
        assert writer.apply({"t": same}, prune=True, dry_run=False).scheduled == ()
    assert contents(dynamodb) == before


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0)])
def test_values_that_python_takes_for_the_same_are_changes(
    dynamodb: "DynamoDBClient", store: TriggerStore, one: object, other: object
) -> None:
    """`1`, `1.0` and `true` are three parameters."""
    schema = {"type": "object", "properties": {"flag": {}}}
    publish(dynamodb, content(parameters_schema=schema, steps={}))
    writer = trigger_writer(dynamodb)
    writer.put("t", definition(parameters={"flag": one}))

    assert changes(writer.put("t", definition(parameters={"flag": other}))) == {"t": "update"}
    assert repr(store.get("t").definition.parameters["flag"]) == repr(other)


def test_a_rate_keeps_its_place(writer: TriggerWriter, store: TriggerStore, clock: Clock) -> None:
    """While schedule and start stay what they are, whatever else is edited; a pause and its end are edits."""
    start = MOMENT + timedelta(days=1)
    steps: list[tuple[dict[str, Any], str]] = [
        ({}, "new"),
        ({"enabled": False}, "stays"),
        ({"enabled": True, "max_runs": 3, "time_zone": "Europe/Berlin", "flexible_window_minutes": 5}, "stays"),
        ({"schedule": "rate(2 hours)"}, "new"),
        ({"start_at": start}, "start"),
        ({"start_at": start, "priority": 1}, "start"),
        ({"schedule": None}, "new"),
        ({}, "new"),
    ]
    anchor = MOMENT
    for values, expected in steps:
        clock.passes(minutes=7)
        writer.put("t", definition(**HOURLY | values))
        anchor = {"new": clock.moment, "stays": anchor, "start": start}[expected]
        assert store.get("t").anchor == anchor, values
    clock.passes(minutes=7)
    writer.put("t", definition())
    clock.passes(minutes=7)
    writer.put("t", definition(**HOURLY))
    assert store.get("t").anchor == clock.moment


def test_the_secret_and_the_counts_go_with_the_trigger(
    writer: TriggerWriter, store: TriggerStore, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """One of its name has none, and counts anew; an edit changes neither, but one to another type ends the secret."""
    secrets = HookSecretStore("KeysTable", dynamodb)
    writer.put("hook", definition(**GITHUB, max_runs=1))
    secrets.put("hook", "s" * 32, MOMENT, standing=store.standing_action(store.get("hook")))
    event = parse_event(
        {"source": "zentrigger.schedule", "id": "i", "time": "2026-11-20T12:00:00Z", "detail": {"trigger": "hook"}}
    )
    receipt = new_receipt("hook", event, MOMENT)
    transact(dynamodb, list(store.booking(store.get("hook"), receipt, None)(factories.run())))
    writer.put("hook", definition(**GITHUB, max_runs=2))
    assert secrets.find("hook") is not None
    writer.put("hook", definition())
    writer.put("hook", definition(**GITHUB))
    # Or who had it would be let in again, unseen.
    assert secrets.find("hook") is None
    secrets.put("hook", "s" * 32, MOMENT, standing=store.standing_action(store.get("hook")))
    before = store.get("hook")
    assert store.counts_of(before) == {"started": 1}

    writer.delete("hook")

    assert secrets.find("hook") is None
    assert store.counts_of(before) == {}
    clock.passes(seconds=1)
    writer.put("hook", definition(**GITHUB))
    assert store.counts_of(store.get("hook")) == {}
    # One that was under way when it was deleted is none of the new one's.
    transact(dynamodb, list(store.booking(before, receipt, None)(factories.run())))
    assert store.counts_of(store.get("hook")) == {}
    assert store.counts(store.stored()) == {}


@pytest.mark.parametrize("again", [False, True])
def test_a_secret_is_given_to_the_trigger_that_was_looked_at(
    writer: TriggerWriter, store: TriggerStore, dynamodb: "DynamoDBClient", clock: Clock, again: bool
) -> None:
    """One that is deleted in between leaves none to whoever makes another of its name."""
    secrets = HookSecretStore("KeysTable", dynamodb)
    writer.put("hook", definition(**GITHUB))
    standing = store.standing_action(store.get("hook"))
    writer.delete("hook")
    clock.passes(seconds=1)
    if again:
        writer.put("hook", definition(**GITHUB))

    with pytest.raises(ConflictError, match="no secret was written"):
        secrets.put("hook", "s" * 32, MOMENT, standing=standing)

    assert secrets.find("hook") is None


@on_dynamodb_local
def test_of_webhooks_that_become_another_type_fewer_are_written_together(
    writer: TriggerWriter, store: TriggerStore
) -> None:
    """The secret of each goes with its type, which is a write of its own."""
    hooks = {f"t{number:02d}": definition(**GITHUB) for number in range(50)}
    writer.apply(hooks, prune=False, dry_run=False)

    with pytest.raises(InvalidRequestError, match="101 writes"):
        writer.apply(dict.fromkeys(hooks, definition()), prune=False, dry_run=False)
    writer.apply(dict.fromkeys(list(hooks)[1:], definition()), prune=False, dry_run=False)

    assert {trigger.definition.type for trigger in store.triggers()} == {"webhook", "s3"}


WRONG: list[tuple[dict[str, Any], type[ZentriggerError], str]] = [
    ({"pipeline": "nobody"}, NotFoundError, "nobody"),
    ({"snapshot": 7}, NotFoundError, "1 to 1"),
    ({"parameters": {"rows": 1}}, InvalidRequestError, "rows"),
    ({"parameters": {"data_url": "x" * 300_000}}, TooLargeError, "300"),
    ({**GITHUB, "filter": {"body.ref": ["x" * 400_000]}}, TooLargeError, "at most"),
    ({"bucket": "artifacts"}, InvalidRequestError, "runs/"),
    ({"bucket": "artifacts", "prefix": "runs/1/"}, InvalidRequestError, "runs/"),
    ({"bucket": "artifacts", "prefix": "ru"}, InvalidRequestError, "runs/"),
]


def test_what_cannot_work_is_refused(writer: TriggerWriter, dynamodb: "DynamoDBClient") -> None:
    """When it is put, and nothing is written."""
    before = contents(dynamodb)

    for values, error, text in WRONG:
        with pytest.raises(error, match=text):
            writer.put("t", definition(**values))
        assert contents(dynamodb) == before


def test_the_artifact_bucket_is_watched_beside_what_runs_write(writer: TriggerWriter) -> None:
    """A prefix that no artifact has is no feedback; nor is one of another bucket."""
    writer.put("t", definition(bucket="artifacts", prefix="uploads/"))
    writer.put("u", definition(bucket="data", prefix="runs/"))


# ------------------------------------------------------------ several triggers


def test_triggers_are_made_as_they_are_wanted(
    writer: TriggerWriter, store: TriggerStore, dynamodb: "DynamoDBClient"
) -> None:
    """A dry run says the same and writes nothing; pruning deletes what is not wanted, and only then."""
    for name in ("stays", "changes", "goes"):
        writer.put(name, definition())
    wanted = {"stays": definition(), "changes": definition(**HOURLY), "new": definition(**GITHUB)}
    before = contents(dynamodb)
    expected = {"changes": "update", "new": "create", "stays": "unchanged"}

    for prune in (False, True):
        foretold = writer.apply(wanted, prune=prune, dry_run=True)
        assert changes(foretold) == expected | ({"goes": "delete"} if prune else {})
        assert contents(dynamodb) == before
    assert store.pending_schedules() == ()

    done = writer.apply(wanted, prune=False, dry_run=False)
    assert changes(done) == expected
    assert [trigger.name for trigger in store.triggers()] == ["changes", "goes", "new", "stays"]
    (note,) = store.pending_schedules()
    assert (done.scheduled, note.trigger, note.write) == (("changes",), "changes", done.write)
    assert changes(writer.apply(wanted, prune=True, dry_run=False)) == dict.fromkeys(wanted, "unchanged") | {
        "goes": "delete"
    }
    assert {trigger.name: trigger.definition for trigger in store.triggers()} == wanted
    # What was shown as it stands is what stands, after the write as before it.
    assert all(change.before is None or change.before.name == change.name for change in done.changes)


@pytest.mark.parametrize("dry_run", [False, True])
def test_one_that_is_wrong_keeps_all_from_being_written(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", dry_run: bool
) -> None:
    """Everything that is wrong is told at once, each with its place in the request."""
    writer.put("unchanged", definition())
    before = contents(dynamodb)
    wanted = {
        "good": definition(),
        "unchanged": definition(),
        "wrong": definition(parameters={"rows": 1, "test_size": 7}),
        "nobodys": definition(pipeline="nobody"),
        "large": definition(parameters={"data_url": "x" * 300_000}),
        "feeds": definition(bucket="artifacts"),
    }

    with pytest.raises(InvalidRequestError) as caught:
        writer.apply(wanted, prune=True, dry_run=dry_run)

    assert sorted(pointers(caught.value)) == [
        "/triggers/feeds/prefix",
        "/triggers/large/parameters",
        "/triggers/nobodys/pipeline",
        "/triggers/wrong/parameters/rows",
        "/triggers/wrong/parameters/test_size",
    ]
    assert contents(dynamodb) == before


@on_dynamodb_local
def test_so_many_are_written_together_as_a_transaction_takes(
    writer: TriggerWriter, store: TriggerStore, dynamodb: "DynamoDBClient"
) -> None:
    """99 triggers of one pipeline, whose catalogue is the hundredth; one more is refused, and so are 34 deletions."""
    most = {f"t{number:03d}": definition() for number in range(MAX_ACTIONS - 1)}
    before = contents(dynamodb)
    for dry_run in (False, True):
        with pytest.raises(InvalidRequestError, match="101 writes") as caught:
            writer.apply(most | {"one-more": definition()}, prune=False, dry_run=dry_run)
        assert pointers(caught.value) == ["/triggers"]
    assert contents(dynamodb) == before

    writer.apply(most, prune=False, dry_run=False)

    assert len(store.triggers()) == len(most)
    # What is unchanged takes no place.
    writer.apply(most | {"one-more": definition()}, prune=False, dry_run=False)
    with pytest.raises(InvalidRequestError, match="300 writes"):
        writer.apply({}, prune=True, dry_run=False)
    kept = dict(list(most.items())[33:])
    doomed = {name for name in most if name not in kept}
    assert len(doomed) == 33
    writer.apply(kept | {"one-more": definition()}, prune=True, dry_run=False)
    assert {trigger.name for trigger in store.triggers()} == {*kept, "one-more"}


def test_what_is_too_large_together_is_refused(writer: TriggerWriter, dynamodb: "DynamoDBClient") -> None:
    """A transaction has 4 MB; what is replaced by less, and what is deleted, counts as well. What stays does not."""
    most = {f"t{number:02d}": definition(parameters={"data_url": "x" * 250_000}) for number in range(12)}
    one_more = {"one-more": definition(parameters={"data_url": "x" * 250_000})}
    with pytest.raises(InvalidRequestError, match="in parts") as caught:
        writer.apply(most | one_more, prune=False, dry_run=True)
    assert pointers(caught.value) == ["/triggers"]
    writer.apply(most, prune=False, dry_run=False)
    writer.apply(most | one_more, prune=False, dry_run=False)
    before = contents(dynamodb)
    small = dict.fromkeys([*most, *one_more], definition())

    for wanted, prune in (({}, True), (small, False)):
        with pytest.raises(InvalidRequestError, match=f"{MAX_TOGETHER_BYTES} at most: do it in parts"):
            writer.apply(wanted, prune=prune, dry_run=False)
        assert contents(dynamodb) == before
    assert changes(writer.apply(most, prune=True, dry_run=False))["one-more"] == "delete"


def test_nothing_wanted_is_nothing_done(writer: TriggerWriter, dynamodb: "DynamoDBClient") -> None:
    """With and without what could be pruned."""
    before = contents(dynamodb)
    for prune in (False, True):
        assert writer.apply({}, prune=prune, dry_run=False).changes == ()
    assert contents(dynamodb) == before


# ------------------------------------------------------------ what was planned, and nothing else

Act = Callable[[TriggerWriter], object]

OTHERS: list[tuple[Act, set[bool]]] = [
    (lambda other: other.put("unchanged", definition()), {True, False}),
    # With prune, one that nobody was shown would be deleted.
    (lambda other: other.put("new", definition(**GITHUB)), {False}),
    (lambda other: other.put("goes", definition(prefix="edited/")), {False}),
    (lambda other: other.put("changes", definition(prefix="edited/")), set()),
    (lambda other: other.put("made", definition()), set()),
    (lambda other: other.delete("goes"), {False}),
    (lambda other: other.delete("changes"), set()),
    (lambda other: other.put("unchanged", definition(prefix="edited/")), set()),
    (lambda other: other.delete("unchanged"), set()),
    # It is another trigger since, also if it says the same.
    (lambda other: (other.delete("changes"), other.put("changes", definition())), set()),
    # It is as it is wanted, so that nothing is done to it.
    (lambda other: (other.delete("unchanged"), other.put("unchanged", definition())), {True, False}),
]
"""What others do; whether a plan with prune holds then, and one without."""

WANTED = {"unchanged": definition(), "changes": definition(prefix="in/"), "made": definition(**GITHUB)}


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("case", OTHERS)
def test_what_was_planned_is_done_or_nothing(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", clock: Clock, case: tuple[Act, set[bool]], prune: bool
) -> None:
    """If others have made another thing of what would be done, nothing is written: it is to be looked at again."""
    others, holds = case
    for name in ("unchanged", "changes", "goes"):
        writer.put(name, definition())
    planned = writer.apply(WANTED, prune=prune, dry_run=True)
    clock.passes(seconds=1)
    others(writer)
    clock.passes(seconds=1)
    before = contents(dynamodb)

    if prune in holds:
        done = writer.apply(WANTED, prune=prune, dry_run=False, plan=planned.plan)
        assert changes(done) == changes(planned)
        return
    for dry_run in (True, False):
        with pytest.raises(ConflictError, match="Nothing was written") as caught:
            writer.apply(WANTED, prune=prune, dry_run=dry_run, plan=planned.plan)
        assert [problem.pointer for problem in caught.value.problems] == ["/plan"]
    assert contents(dynamodb) == before
    again = writer.apply(WANTED, prune=prune, dry_run=True)
    assert writer.apply(WANTED, prune=prune, dry_run=False, plan=again.plan).plan == again.plan


def test_a_plan_is_of_what_is_wanted(writer: TriggerWriter, dynamodb: "DynamoDBClient") -> None:
    """Who plans one thing and sends another is refused, also if it is of the same names; so is what is no plan."""
    writer.put("t", definition())
    plan = writer.apply({"t": definition(max_runs=1)}, prune=False, dry_run=True).plan
    before = contents(dynamodb)
    for wanted, said in (({"t": definition(max_runs=2)}, plan), ({"t": definition(max_runs=1)}, "ü")):
        with pytest.raises(ConflictError):
            writer.apply(wanted, prune=False, dry_run=False, plan=said)
    assert contents(dynamodb) == before


def test_a_plan_holds_at_the_write(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", store: TriggerStore, clock: Clock
) -> None:
    """What others change after it was looked at makes the write fail, and is seen then; what they make stays."""
    for name in ("unchanged", "changes", "goes"):
        writer.put(name, definition())
    clock.passes(seconds=1)
    plan = writer.apply(WANTED, prune=True, dry_run=True).plan

    def interrupted(act: Act) -> TriggerWriter:
        slow = Interrupted(dynamodb, "transact_write_items", 1, partial(act, writer))
        return trigger_writer(slow, clock=clock)  # type: ignore[arg-type]

    overtaken = interrupted(lambda other: other.put("goes", definition(max_runs=7)))
    with pytest.raises(ConflictError):
        overtaken.apply(WANTED, prune=True, dry_run=False, plan=plan)
    assert store.get("goes").definition.max_runs == 7
    assert store.find("made") is None

    only = {"unchanged": definition()}
    plan = writer.apply(only, prune=True, dry_run=True).plan
    interrupted(lambda other: other.put("new", definition())).apply(only, prune=True, dry_run=False, plan=plan)
    assert [trigger.name for trigger in store.triggers()] == ["new", "unchanged"]


def test_a_plan_is_of_triggers_that_cannot_be_read_too(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", store: TriggerStore, clock: Clock
) -> None:
    """When one was written stands beside what cannot be read of it: one that was written since is another."""
    wanted = {"t": definition(prefix="in/")}
    writer.put("t", definition())
    spoil(dynamodb, "t")
    first = writer.apply(wanted, prune=False, dry_run=True).plan
    assert writer.apply(wanted, prune=False, dry_run=True).plan == first
    clock.passes(seconds=1)
    writer.put("t", definition())
    spoil(dynamodb, "t")

    with pytest.raises(ConflictError):
        writer.apply(wanted, prune=False, dry_run=False, plan=first)
    second = writer.apply(wanted, prune=False, dry_run=True).plan
    assert changes(writer.apply(wanted, prune=False, dry_run=False, plan=second)) == {"t": "update"}
    assert store.get("t").definition == wanted["t"]


def test_a_plan_that_was_done_may_be_sent_again(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """An answer is lost, of DynamoDB or of this: all is as it was wanted, and nothing is done."""
    writer.put("goes", definition())
    plan = writer.apply(WANTED, prune=True, dry_run=True).plan
    forgetful = trigger_writer(Forgetful(dynamodb), clock=clock)  # type: ignore[arg-type]
    assert forgetful.apply(WANTED, prune=True, dry_run=False, plan=plan).plan == plan
    before = contents(dynamodb)

    done = writer.apply(WANTED, prune=True, dry_run=False, plan=plan)

    assert set(changes(done).values()) == {"unchanged"}
    assert contents(dynamodb) == before


# ------------------------------------------------------------ lost answers, and others in between


@pytest.mark.parametrize(
    "act",
    [
        lambda writer: writer.put("new", definition()),
        lambda writer: writer.put("old", definition(prefix="x")),
        lambda writer: writer.delete("old"),
        lambda writer: writer.apply({"new": definition(**HOURLY)}, prune=True, dry_run=False),
    ],
)
def test_a_lost_answer_is_a_write(
    writer: TriggerWriter,
    dynamodb: "DynamoDBClient",
    clock: Clock,
    act: Callable[[TriggerWriter], TriggerChanges],
) -> None:
    """What was written and could not be written again counts as done, under the id of the write that stands."""
    store = TriggerStore(TRIGGERS, dynamodb)
    writer.put("old", definition())

    done = act(trigger_writer(Forgetful(dynamodb), clock=clock))  # type: ignore[arg-type]

    assert all(store.find(change.name) == change.after for change in done.changes)
    assert {note.write for note in store.pending_schedules()} <= {done.write}
    assert {change.change for change in done.changes} <= {"create", "update", "delete"}


def test_a_write_that_others_overtook_is_decided_again(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", store: TriggerStore, clock: Clock
) -> None:
    """What came in between stands in `before`: nobody's write is replaced unseen."""
    writer.put("t", definition(prefix="first/"))
    clock.passes(seconds=1)
    slow = Interrupted(dynamodb, "transact_write_items", 1, lambda: writer.put("t", definition(prefix="second/")))

    (change,) = trigger_writer(slow, clock=clock).put("t", definition(prefix="third/")).changes  # type: ignore[arg-type]

    assert isinstance(change.before, Trigger)
    assert [getattr(side.definition, "prefix", None) for side in (change.before, store.get("t"))] == [
        "second/",
        "third/",
    ]


@pytest.mark.usefixtures("writer")
def test_two_that_make_the_same_trigger(dynamodb: "DynamoDBClient", store: TriggerStore, clock: Clock) -> None:
    """One makes it; the other finds it made, and changes nothing if it is the same."""
    clock.passes(seconds=1)
    other = trigger_writer(dynamodb, clock=Clock())
    for name, wanted, expected in (("a", definition(), "unchanged"), ("b", definition(suffix=".x"), "update")):
        slow = Interrupted(dynamodb, "transact_write_items", 1, partial(other.put, name, definition()))

        done = trigger_writer(slow, clock=clock).put(name, wanted)  # type: ignore[arg-type]

        assert changes(done) == {name: expected}
        assert store.get(name).definition == wanted


def test_a_trigger_that_others_delete_is_made_anew(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", store: TriggerStore, clock: Clock
) -> None:
    """And one that two delete is deleted."""
    writer.put("t", definition())
    clock.passes(seconds=1)
    slow = Interrupted(dynamodb, "transact_write_items", 1, lambda: writer.delete("t"))
    done = trigger_writer(slow, clock=clock).put("t", definition(prefix="x"))  # type: ignore[arg-type]
    assert changes(done) == {"t": "create"}
    assert store.get("t").created_at == clock.moment

    slow = Interrupted(dynamodb, "transact_write_items", 1, lambda: writer.delete("t"))
    trigger_writer(slow, clock=clock).delete("t")  # type: ignore[arg-type]
    assert store.find("t") is None


def test_a_publication_in_between_is_seen(writer: TriggerWriter, dynamodb: "DynamoDBClient", clock: Clock) -> None:
    """What does not fit the new snapshot is refused; what fits only it is put."""
    newer = content(parameters_schema={"type": "object", "properties": {"rows": {"type": "integer"}}}, steps={})
    slow = Interrupted(dynamodb, "transact_write_items", 1, lambda: publish(dynamodb, newer))

    with pytest.raises(InvalidRequestError, match="test_size"):
        trigger_writer(slow, clock=clock).put("t", definition(parameters={"test_size": 0.5}))  # type: ignore[arg-type]

    writer.put("t", definition(parameters={"rows": 5}))
    assert TriggerStore(TRIGGERS, dynamodb).get("t").definition.parameters == {"rows": 5}


def test_a_pipeline_that_is_published_while_a_trigger_of_it_is_put(dynamodb: "DynamoDBClient") -> None:
    """It is put: what was missing at the first look is there at the next."""
    slow = Interrupted(dynamodb, "get_item", 2, lambda: publish(dynamodb))

    done = trigger_writer(slow).put("t", definition())  # type: ignore[arg-type]

    assert changes(done) == {"t": "create"}


def test_who_is_always_overtaken_is_told(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """After several attempts; nothing was written."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    writer.put("t", definition())
    numbers = iter(range(1000))

    class Overtaken:
        def __getattr__(self, name: str) -> Any:
            if name == "transact_write_items":
                writer.put("t", definition(prefix=f"p{next(numbers)}"))
            return getattr(dynamodb, name)

    with pytest.raises(BusyError, match="Nothing was written"):
        trigger_writer(Overtaken()).put("t", definition(suffix=".csv"))  # type: ignore[arg-type]

    assert "suffix='.csv'" not in repr(TriggerStore(TRIGGERS, dynamodb).get("t"))


# ------------------------------------------------------------ at once


@on_dynamodb_local
def test_writers_of_one_trigger_at_once(dynamodb: "DynamoDBClient", store: TriggerStore) -> None:
    """Each write is whole, the last one stands, and each that was done names what stood before it: one line of them."""
    publish(dynamodb)

    def put(number: int) -> TriggerChanges | None:
        try:
            return trigger_writer(dynamodb).put("t", definition(**HOURLY, max_runs=number + 1))
        except BusyError:
            return None

    done = [one for one in at_once([partial(put, number) for number in range(16)]) if one is not None]

    line = {change.after.updated_at: change for one in done for change in one.changes if change.after}
    ordered: list[Trigger | None] = [None]
    following = {
        change.before.updated_at if isinstance(change.before, Trigger) else None: change for change in line.values()
    }
    while (last := ordered[-1].updated_at if ordered[-1] else None) in following:
        ordered.append(following[last].after)
    assert len(ordered) == len(done) + 1
    assert ordered[-1] == store.get("t")
    assert len({trigger.created_at for trigger in ordered if trigger}) == 1
    assert {note.write for note in store.pending_schedules()} == {one.write for one in done}


@on_dynamodb_local
def test_files_that_are_applied_at_once_are_not_mixed(dynamodb: "DynamoDBClient", store: TriggerStore) -> None:
    """Of two files that prune, the triggers of one stand, and none of the other."""
    publish(dynamodb)
    files = [{f"{side}{number}": definition(max_runs=number + 1) for number in range(5)} for side in "ab"]

    def apply(wanted: dict[str, TriggerDefinition]) -> bool:
        try:
            trigger_writer(dynamodb).apply(wanted, prune=True, dry_run=False)
        except BusyError:
            return False
        return True

    for _ in range(5):
        assert any(at_once([partial(apply, wanted) for wanted in files]))
        assert {trigger.name: trigger.definition for trigger in store.triggers()} in files


@on_dynamodb_local
def test_no_trigger_is_left_that_does_not_fit(dynamodb: "DynamoDBClient", store: TriggerStore) -> None:
    """Publications that break triggers, and triggers that need what was there before, at once: one side gives."""
    catalogue = CatalogueStore("CatalogueTable", dynamodb)
    shapes = [
        content(parameters_schema={"type": "object", "properties": {name: {"type": "integer"}}}, steps={})
        for name in ("rows", "columns")
    ]
    for number in range(6):
        pipeline = f"p{number}"
        old, new = (one.model_copy(update={"pipeline": pipeline}) for one in shapes)
        publish(dynamodb, old)

        def attempt(act: Callable[[], object]) -> str | None:
            try:
                act()
            except ZentriggerError as refused:
                return type(refused).__name__
            return None

        wanted = {f"t{number}-{one}": definition(pipeline=pipeline, parameters={"rows": 5}) for one in range(3)}
        said = at_once(
            [
                partial(attempt, partial(publish, dynamodb, new)),
                *(
                    partial(attempt, partial(trigger_writer(dynamodb).apply, {name: one}, prune=False, dry_run=False))
                    for name, one in wanted.items()
                ),
            ]
        )
        schema = catalogue.find(pipeline).content.parameters_schema
        standing = [trigger for trigger in store.triggers() if trigger.definition.pipeline == pipeline]
        assert standing == [] or "rows" in str(schema)
        assert said.count(None) >= 1


@on_dynamodb_local
def test_a_snapshot_is_not_deleted_from_under_a_trigger(dynamodb: "DynamoDBClient", store: TriggerStore) -> None:
    """Whoever is first wins: the trigger that needs it, or its deletion."""
    operator = publisher(dynamodb)
    for number in range(4):
        pipeline = f"p{number}"
        for version in ("0.98.0", "0.98.1"):
            publish(dynamodb, content(pipeline=pipeline, zenml_version=version))

        def attempt(act: Callable[[], object]) -> bool:
            try:
                act()
            except ZentriggerError:
                return False
            return True

        put, deleted = at_once(
            [
                partial(
                    attempt,
                    partial(trigger_writer(dynamodb).put, f"t{number}", definition(pipeline=pipeline, snapshot=1)),
                ),
                partial(attempt, partial(operator.delete, f"{pipeline}:1", "tests")),
            ]
        )
        assert put is not deleted
        assert (store.find(f"t{number}") is not None) is put


def test_a_trigger_holds_a_publication_off(dynamodb: "DynamoDBClient") -> None:
    """A publication that was decided on before a trigger was put looks again, and is refused for breaking it."""
    publish(dynamodb)
    newer = content(parameters_schema={"type": "object", "properties": {"rows": {"type": "integer"}}}, steps={})
    wanted = definition(parameters={"test_size": 0.5})
    slow = Interrupted(dynamodb, "transact_write_items", 1, lambda: trigger_writer(dynamodb).put("t", wanted))

    with pytest.raises(ZentriggerError):
        publish(slow, newer)  # type: ignore[arg-type]

    head = CatalogueStore("CatalogueTable", dynamodb).head(TRAINING.pipeline)
    assert head is not None
    assert head.pipeline.newest == 1


# ------------------------------------------------------------ triggers that cannot be read, and too many


def test_a_trigger_that_cannot_be_read_is_replaced(
    writer: TriggerWriter, store: TriggerStore, dynamodb: "DynamoDBClient", clock: Clock
) -> None:
    """It keeps when it was made, and with that its counts; another is written as ever, and one that is wrong is not."""
    writer.put("t", definition(**HOURLY))
    spoil(dynamodb, "t")
    clock.passes(hours=1)
    unread = store.look("t")
    assert changes(writer.put("other", definition())) == {"other": "create"}
    before = contents(dynamodb)
    with pytest.raises(InvalidRequestError):
        writer.put("t", definition(parameters={"rows": 1}))
    assert contents(dynamodb) == before

    done = writer.put("t", definition(prefix="in/"))

    (change,) = done.changes
    assert (change.change, change.before, change.after) == ("update", unread, store.get("t"))
    assert (store.get("t").created_at, store.get("t").updated_at) == (MOMENT, clock.moment)
    # It may have had a schedule.
    assert "t" in done.scheduled


@pytest.mark.parametrize(
    "act", [lambda writer: writer.delete("hook"), lambda writer: writer.apply({}, prune=True, dry_run=False)]
)
def test_a_trigger_that_cannot_be_read_is_deleted(
    writer: TriggerWriter,
    store: TriggerStore,
    dynamodb: "DynamoDBClient",
    act: Callable[[TriggerWriter], TriggerChanges],
) -> None:
    """With its secret and its counts; also by pruning, which shows it before."""
    secrets = HookSecretStore("KeysTable", dynamodb)
    writer.put("hook", definition(**GITHUB))
    secrets.put("hook", "s" * 32, MOMENT, standing=store.standing_action(store.get("hook")))
    store.add_receipt(receipt_of("hook"), of=store.get("hook"))
    spoil(dynamodb, "hook")
    unread = store.look("hook")
    assert unread is not None
    assert store.counts_of(unread) == {"duplicate": 1}
    assert changes(writer.apply({}, prune=True, dry_run=True)) == {"hook": "delete"}

    (change,) = act(writer).changes

    assert (change.change, change.before, change.after) == ("delete", unread, None)
    assert (store.look("hook"), secrets.find("hook"), store.counts_of(unread)) == (None, None, {})
    with pytest.raises(NotFoundError):
        writer.delete("hook")


def receipt_of(name: str) -> Receipt:
    """Make the receipt of a firing."""
    firing = {"source": "zentrigger.schedule", "id": "i", "time": "2026-11-20T12:00:00Z", "detail": {"trigger": name}}
    return new_receipt(name, parse_event(firing), MOMENT).told("duplicate")


def test_one_that_is_replaced_while_it_cannot_be_read_is_looked_at_again(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", store: TriggerStore, clock: Clock
) -> None:
    """Nobody's write is replaced unseen, readable or not."""
    writer.put("t", definition())
    spoil(dynamodb, "t")
    clock.passes(seconds=1)
    slow = Interrupted(dynamodb, "transact_write_items", 1, lambda: writer.put("t", definition(prefix="first/")))

    (change,) = trigger_writer(slow, clock=clock).put("t", definition(prefix="second/")).changes  # type: ignore[arg-type]

    assert isinstance(change.before, Trigger)
    assert getattr(change.before.definition, "prefix", None) == "first/"
    assert store.get("t") == change.after


@pytest.mark.parametrize("pipeline", [TRAINING.pipeline, None])
def test_a_publication_does_not_pass_over_a_trigger_that_cannot_be_read(
    writer: TriggerWriter, dynamodb: "DynamoDBClient", pipeline: str | None
) -> None:
    """It is refused unless breaking is allowed; so is deleting a snapshot that it may run. Other pipelines go on."""
    writer.put("t", definition())
    spoil(dynamodb, "t")
    if pipeline is None:
        dynamodb.update_item(
            TableName=TRIGGERS,
            Key=to_item({"collection": "triggers", "item": "t"}),
            UpdateExpression="REMOVE pipeline",
        )
    newer = content(zenml_version="0.98.1")

    with pytest.raises(ConflictError, match="would break 1 trigger: t") as caught:
        publish(dynamodb, newer)

    (problem,) = [problem for problem in caught.value.problems if problem.pointer == "/triggers/t"]
    assert "cannot be read" in problem.detail
    assert publish(dynamodb, newer, allow_breaking=True).broken_triggers == ("t",)
    with pytest.raises(ConflictError) as deleted:
        publisher(dynamodb).delete(f"{TRAINING.pipeline}:1", "tests")
    assert [one.pointer for one in deleted.value.problems] == ["/triggers/t"]
    if pipeline is not None:
        assert publish(dynamodb, content(pipeline="other")).broken_triggers == ()


def test_there_are_so_many_triggers_at_most(
    writer: TriggerWriter, store: TriggerStore, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they can be read or not. What replaces others is no more; and one too many can be deleted."""
    monkeypatch.setattr("zentrigger.trigger_writer.MAX_TRIGGERS", 3)
    names = ("a", "b", "c")
    writer.apply(dict.fromkeys(names, definition()), prune=False, dry_run=False)
    spoil(dynamodb, "c")
    before = contents(dynamodb)
    with pytest.raises(InvalidRequestError, match="4 triggers, of 3 at most") as caught:
        writer.put("d", definition())
    assert pointers(caught.value) == [""]
    with pytest.raises(InvalidRequestError, match="4 triggers, of 3 at most") as caught:
        writer.apply({"d": definition()}, prune=False, dry_run=True)
    assert pointers(caught.value) == ["/triggers"]
    assert contents(dynamodb) == before

    writer.put("a", definition(prefix="in/"))
    assert changes(writer.apply(dict.fromkeys("abd", definition()), prune=True, dry_run=False))["d"] == "create"
    monkeypatch.setattr("zentrigger.trigger_writer.MAX_TRIGGERS", 1)
    writer.put("a", definition(prefix="out/"))
    assert changes(writer.apply({"e": definition()}, prune=True, dry_run=False)) == {
        "a": "delete",
        "b": "delete",
        "d": "delete",
        "e": "create",
    }
    assert [trigger.name for trigger in store.triggers()] == ["e"]
