"""The catalogue and its publisher, on moto and on DynamoDB Local; many at once on DynamoDB Local."""

import copy
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from unittest.mock import Mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests import factories
from tests.factories import IMAGE, TASK_DEFINITION, TRAINING, content, publication
from tests.publishers import KnownTaskDefinitions, publish, publisher
from zentrigger import catalogue_store, publishing
from zentrigger.catalogue import DeployedImage, SnapshotChoice, SnapshotContent, SnapshotUpdate
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.errors import (
    BusyError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    ZentriggerError,
)
from zentrigger.items import to_cursor
from zentrigger.pointers import HistoryEntry, Pointer
from zentrigger.publishing import MAX_SNAPSHOT_BYTES
from zentrigger.trigger_store import TriggerStore
from zentrigger.triggers import TriggerDefinition

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NAME = TRAINING.pipeline


@pytest.fixture
def store(dynamodb: "DynamoDBClient") -> CatalogueStore:
    """Give the catalogue on each DynamoDB in turn."""
    return CatalogueStore("CatalogueTable", dynamodb)


def version(number: int, **values: Any) -> SnapshotContent:
    """Make a content that differs from others."""
    return content(zenml_version=f"0.98.{number}", **values)


def taking(**parameters: Any) -> SnapshotContent:
    """Make a content that takes these parameters only."""
    return content(parameters_schema={"type": "object", "properties": parameters}, steps={})


def definition(**values: Any) -> TriggerDefinition:
    """Make what a trigger of the training pipeline is."""
    return factories.definition(**{"pipeline": NAME} | values)


def history(store: CatalogueStore, pipeline: str = NAME) -> list[HistoryEntry]:
    """Give the whole history, oldest first."""
    return list(reversed(store.changes(pipeline, limit=1000).items))


def pointers(error: ConflictError | InvalidRequestError) -> list[str]:
    """Give where problems are."""
    return [problem.pointer for problem in error.problems]


# ---------------------------------------------------------------- publishing


def test_contents_are_numbered_and_each_kept_once(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """What was published before is that snapshot, and the newest again; its commit stays."""
    git = {"commit": "a" * 40, "dirty": False}
    first = publish(dynamodb, version(1), description="the first", git=git)
    second = publish(dynamodb, version(2))
    again = publish(dynamodb, version(1), name="back", tags=("t",), git=git | {"dirty": True})
    once_more = publish(dynamodb, version(1))

    assert [found.snapshot.id for found in (first, second, again)] == [f"{NAME}:{number}" for number in (1, 2, 1)]
    assert [found.created for found in (first, second, again, once_more)] == [True, True, False, False]
    chosen = store.choose(NAME)
    assert (chosen.number, chosen.name, chosen.tags) == (1, "back", ("t",))
    assert (chosen.description, chosen.git) == ("the first", first.snapshot.git)
    assert chosen.task_definition == TASK_DEFINITION
    assert store.choose(NAME, 2).content == version(2)
    assert [(entry.action, entry.snapshot, entry.previous) for entry in history(store)] == [
        ("published", 1, None),
        ("published", 2, 1),
        ("published_again", 1, 2),
    ]


def test_a_description_that_is_said_is_taken(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Also for a content that is there already, and also an empty one; one that is not said stays."""
    publish(dynamodb, version(1), description="the first")
    publish(dynamodb, version(1))
    assert store.find(NAME).description == "the first"
    for description in ("another", ""):
        done = publish(dynamodb, version(1), description=description)
        assert (done.created, done.snapshot.description) == (False, description)
        assert store.find(NAME).description == description


def test_choices_lead_to_snapshots(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """The newest, a number, an id, a name, the highest with a tag."""
    publish(dynamodb, version(1), name="production", tags=("nightly",))
    publish(dynamodb, version(2), name="größe 1", tags=("nightly", "other"))
    publish(dynamodb, version(3), tags=("night",))
    led_to: dict[SnapshotChoice | None, int] = {
        None: 3, 2: 2, "2": 2, f"{NAME}:2": 2, "production": 1, "tag:nightly": 2, "größe 1": 2,
    }  # fmt: skip
    assert {choice: store.choose(NAME, choice).number for choice in led_to} == led_to


def test_what_is_not_there_is_said_with_what_is(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Also for texts that no key of the table could be."""
    publish(dynamodb, version(1))
    publish(dynamodb, version(2), name="production")
    publisher(dynamodb).delete(f"{NAME}:1", "tests")
    wanted: list[tuple[str, SnapshotChoice | None, str]] = [
        ("nobody", None, "GET /pipelines"),
        ("n" * 5000, None, "is published"),
        ("", 1, "is published"),
        (NAME, 7, "from 1 to 2"),
        (NAME, "0", "from 1 to 2"),
        (NAME, "9" * 220, "from 1 to 2"),
        (NAME, 1, "was deleted"),
        (NAME, "prod", "production"),
        (NAME, "x" * 220, "production"),
        (NAME, "tag:nightly", "no tag"),
        (NAME, "tag:", "no tag"),
        (NAME, "tag:" + "ü" * 216, "no tag"),
    ]
    for pipeline, choice, said in wanted:
        with pytest.raises(NotFoundError, match=said):
            store.choose(pipeline, choice)


def test_a_choice_is_remembered_and_a_miss_is_not(
    store: CatalogueStore, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """For some seconds; what was not there a moment ago may be there now."""
    with pytest.raises(NotFoundError):
        store.choose(NAME)
    publish(dynamodb, version(1))
    assert store.choose(NAME).number == 1
    publish(dynamodb, version(2))
    assert store.choose(NAME).number == 1
    assert store.find(NAME).number == 2

    monkeypatch.setattr(catalogue_store, "CACHED_SECONDS", -1)
    other = CatalogueStore("CatalogueTable", dynamodb)
    other.choose(NAME)
    publish(dynamodb, version(3))
    assert other.choose(NAME).number == 3


def test_few_choices_are_remembered(
    store: CatalogueStore, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was asked for first is forgotten first."""
    monkeypatch.setattr(catalogue_store, "MAX_REMEMBERED", 2)
    publish(dynamodb, version(1))
    for choice in (None, 1, "1"):
        store.choose(NAME, choice)
    publish(dynamodb, version(1), name="x")
    assert [store.choose(NAME, choice).name for choice in ("1", 1, None)] == [None, None, "x"]


# ---------------------------------------------------------------- what is refused


def test_a_name_is_one_snapshots(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Another gets it with `replace` only, and a snapshot that has a name gets another one with `replace` only."""
    publish(dynamodb, version(1), name="production")
    for refused, name in ((version(2), "production"), (version(1), "other")):
        with pytest.raises(ConflictError, match="replace") as caught:
            publish(dynamodb, refused, name=name)
        assert pointers(caught.value) == ["/name"]
    assert store.head(NAME) == CatalogueStore("CatalogueTable", dynamodb).head(NAME)
    standing = store.pipeline(NAME)
    assert standing is not None
    assert standing.snapshots == 1, "nothing was written"

    publish(dynamodb, version(2), name="production", replace=True)

    assert store.find(NAME, "production").number == 2
    assert store.find(NAME, 1).name is None
    publish(dynamodb, version(2), name="other", replace=True)
    assert store.find(NAME, "other").number == 2
    with pytest.raises(NotFoundError):
        store.find(NAME, "production")


def test_what_breaks_a_trigger_is_refused_unless_it_is_allowed(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """409 with the changes, the trigger and the name; nothing is written; with allow_breaking the answer says it."""
    operator = publisher(dynamodb)
    publish(dynamodb, taking(rows={"type": "integer"}), name="production")
    operator.put_trigger("arrivals", definition(parameters={"rows": 5}))
    new = taking(rows={"type": "string"})

    with pytest.raises(ConflictError, match="arrivals") as caught:
        publish(dynamodb, new, name="production", replace=True)

    assert set(pointers(caught.value)) == {"/parameters/rows", "/triggers/arrivals", "/names/production"}
    assert store.find(NAME).number == 1
    assert len(history(store)) == 1

    done = publish(dynamodb, new, name="production", replace=True, allow_breaking=True)

    assert [change.pointer for change in done.changes if change.breaking] == ["/parameters/rows"]
    assert (done.broken_triggers, done.broken_names) == (("arrivals",), ("production",))
    entry = history(store)[-1]
    assert (entry.changes, entry.broken_triggers, entry.broken_names) == (
        done.changes,
        done.broken_triggers,
        done.broken_names,
    )


def test_a_breaking_change_that_breaks_nobody_is_published(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """And said."""
    publisher_of = publisher(dynamodb)
    publish(dynamodb, taking(rows={"type": "integer"}))
    publisher_of.put_trigger("pinned", definition(snapshot=1, parameters={"rows": 5}))

    done = publish(dynamodb, taking(lines={"type": "integer"}))

    assert any(change.breaking for change in done.changes)
    assert done.broken_triggers == ()
    assert store.find(NAME).number == 2


@pytest.mark.parametrize("choice", ["production", "tag:nightly"])
def test_moving_a_name_or_a_tag_is_checked_as_well(
    store: CatalogueStore, dynamodb: "DynamoDBClient", choice: str
) -> None:
    """Whatever moves it: publishing, updating, taking it away."""
    operator = publisher(dynamodb)
    publish(dynamodb, taking(rows={"type": "integer"}), name="production", tags=("nightly",))
    publish(dynamodb, taking(lines={"type": "integer"}))
    operator.put_trigger("t", definition(snapshot=choice, parameters={"rows": 5}))
    moves: dict[str, dict[str, Any]] = {
        f"{NAME}:2": {"name": "production", "replace": True, "tags": ["nightly"]},
        f"{NAME}:1": {"name": None, "tags": []},
    }
    for snapshot, wanted in moves.items():
        with pytest.raises(ConflictError) as caught:
            operator.update(snapshot, SnapshotUpdate.model_validate(wanted), "k")
        assert "/triggers/t" in pointers(caught.value)
    for values in ({"name": "production", "replace": True, "tags": ("nightly",)},):
        with pytest.raises(ConflictError):
            publish(dynamodb, taking(other={"type": "integer"}), **values)
    assert store.find(NAME, choice).number == 1

    done = operator.update(
        f"{NAME}:2", SnapshotUpdate(name="production", replace=True, tags=("nightly",), allow_breaking=True), "k"
    )
    assert done.broken_triggers == ("t",)
    assert store.find(NAME, choice).number == 2


def test_only_what_an_update_names_is_changed(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """`null` takes a name away; the newest's summary in the list of pipelines follows."""
    publish(dynamodb, version(1), name="a", description="d", tags=("x", "y"))
    operator, one = publisher(dynamodb), f"{NAME}:1"

    operator.update(one, SnapshotUpdate(description="e"), "k")
    assert (store.find(NAME).name, store.find(NAME).description, store.find(NAME).tags) == ("a", "e", ("x", "y"))
    operator.update(one, SnapshotUpdate(tags=("y", "z", "z")), "k")
    operator.update(one, SnapshotUpdate(name=None), "k")

    assert (store.find(NAME).name, store.find(NAME).description, store.find(NAME).tags) == (None, "e", ("y", "z"))
    (listed,) = store.pipelines(limit=5).items
    assert listed.newest == store.find(NAME).summary
    with pytest.raises(NotFoundError):
        store.find(NAME, "tag:x")
    before = store.pipeline(NAME)
    assert operator.update(one, SnapshotUpdate(), "k").snapshot == store.find(NAME).summary
    assert store.pipeline(NAME) == before, "nothing to change is nothing to write"


def test_an_update_leaves_a_trace(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Who moved which name or tag from where to where, and what that changed; a description is nobody's concern."""
    operator = publisher(dynamodb)
    publish(dynamodb, taking(rows={"type": "integer"}), name="production", tags=("t", "low"))
    publish(dynamodb, taking(rows={"type": "string"}), tags=("low",))
    values: list[dict[str, Any]] = [
        {"name": "production", "replace": True, "tags": ["t", "low"], "description": "d"},
        {"description": "e"},
    ]
    for wanted in values:
        operator.update(f"{NAME}:2", SnapshotUpdate.model_validate(wanted), "somebody")
    operator.update(f"{NAME}:1", SnapshotUpdate(tags=("t",)), "else")

    first, second, update, last = history(store)
    assert [(one.choice, one.before, one.after) for one in first.moved] == [
        ("production", None, 1), ("tag:low", None, 1), ("tag:t", None, 1),
    ]  # fmt: skip
    assert [(one.choice, one.before, one.after) for one in second.moved] == [("tag:low", 1, 2)]
    assert (update.action, update.by, update.snapshot) == ("updated", "somebody", 2)
    assert (update.newest, update.previous, update.broken_names) == (2, 2, ("production",))
    assert [(one.choice, one.before, one.after) for one in update.moved] == [("production", 1, 2), ("tag:t", 1, 2)]
    assert [change.pointer for change in update.changes] == ["/parameters/rows"]
    assert (last.action, last.by, last.snapshot, last.moved) == ("updated", "else", 1, ())


def test_what_is_no_snapshot_is_said(dynamodb: "DynamoDBClient") -> None:
    """For updates and deletions."""
    publish(dynamodb)
    operator = publisher(dynamodb)
    for snapshot in (f"{NAME}:2", "nobody:1", "no id", f"{NAME}:", f"{NAME}:{'9' * 5000}", ":1"):
        with pytest.raises(NotFoundError, match="no snapshot"):
            operator.update(snapshot, SnapshotUpdate(name="x"), "k")
        with pytest.raises(NotFoundError, match="no snapshot"):
            operator.delete(snapshot, "tests")


def test_a_snapshot_in_use_is_not_deleted(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """By its name, and by triggers that choose it in any way; all of them are listed."""
    operator = publisher(dynamodb)
    publish(dynamodb, version(1), tags=("low",))
    publish(dynamodb, version(2), name="production", tags=("low", "high"))
    choices = {"newest": None, "number": 2, "digits": "2", "id": f"{NAME}:2", "name": "production", "tag": "tag:low"}
    for name, choice in choices.items():
        operator.put_trigger(name, definition(snapshot=choice, enabled=name != "tag"))
    operator.put_trigger("other", definition(snapshot=1))

    with pytest.raises(ConflictError) as caught:
        operator.delete(f"{NAME}:2", "tests")

    assert set(pointers(caught.value)) == {"/names/production", *(f"/triggers/{name}" for name in choices)}
    with pytest.raises(ConflictError) as caught:
        operator.delete(f"{NAME}:1", "tests")
    assert pointers(caught.value) == ["/triggers/other"]
    assert store.find(NAME).number == 2


def test_deleted_numbers_are_never_given_again(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Without any there is no newest; the same content is a new snapshot then."""
    operator = publisher(dynamodb)
    for number in (1, 2, 3):
        publish(dynamodb, version(number), tags=("t",))
    publish(dynamodb, version(2))
    operator.delete(f"{NAME}:2", "k")
    assert store.find(NAME).number == 3
    assert store.find(NAME, "tag:t").number == 3
    operator.delete(f"{NAME}:3", "k")
    operator.delete(f"{NAME}:1", "k")
    with pytest.raises(NotFoundError, match="deleted"):
        store.find(NAME)
    assert [(entry.action, entry.newest, entry.previous) for entry in history(store)[-3:]] == [
        ("deleted", 3, 2),
        ("deleted", 1, 3),
        ("deleted", None, 1),
    ]
    assert store.snapshots(NAME, limit=5).items == ()
    assert store.pipelines(limit=5).items[0].newest is None

    again = publish(dynamodb, version(3))

    assert (again.snapshot.number, again.created) == (4, True)


def test_deleting_the_newest_goes_back_to_what_was_published_before_it(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """So a rollback holds. An update publishes nothing, and what was deleted is passed over."""
    operator = publisher(dynamodb)
    for number in (1, 2, 3, 1, 2, 1, 4):
        publish(dynamodb, version(number))
    operator.update(f"{NAME}:3", SnapshotUpdate(tags=("t",)), "k")
    operator.delete(f"{NAME}:4", "k")
    assert store.find(NAME).number == 1
    publish(dynamodb, version(5))
    operator.delete(f"{NAME}:1", "k")
    assert store.find(NAME).number == 5
    operator.delete(f"{NAME}:5", "k")
    assert store.find(NAME).number == 2
    head = store.head(NAME)
    assert head is not None
    assert head.newest == store.find(NAME).summary


def test_it_is_not_looked_back_for_ever(
    store: CatalogueStore, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the last entries say nothing, the highest number is the newest."""
    monkeypatch.setattr(catalogue_store, "LOOKED_BACK", 3)
    operator = publisher(dynamodb)
    for number in (1, 2, 3, 1, 4):
        publish(dynamodb, version(number))
    for name in ("a", "b"):
        operator.update(f"{NAME}:4", SnapshotUpdate(tags=(name,)), "k")
    operator.delete(f"{NAME}:4", "k")
    assert store.find(NAME).number == 3


def test_triggers_are_put_against_the_snapshot_that_they_choose(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """Parameters that no event could make fit, and snapshots that are not there, are refused."""
    operator = publisher(dynamodb)
    publish(dynamodb, taking(rows={"type": "integer"}), name="old")
    publish(dynamodb, taking(lines={"type": "integer"}))

    made = operator.put_trigger("t", definition(snapshot="old", parameters={"rows": 5}))

    assert TriggerStore("TriggersTable", dynamodb).get("t") == made
    with pytest.raises(InvalidRequestError) as caught:
        operator.put_trigger("u", definition(parameters={"rows": 5}))
    assert pointers(caught.value) == ["/parameters/rows"]
    with pytest.raises(NotFoundError, match="old"):
        operator.put_trigger("u", definition(snapshot="new"))
    with pytest.raises(InvalidRequestError):
        operator.put_trigger("u", definition(snapshot="other:1"))
    with pytest.raises(NotFoundError):
        operator.put_trigger("u", definition(pipeline="nobody"))
    assert [trigger.name for trigger in TriggerStore("TriggersTable", dynamodb).triggers()] == ["t"]
    assert len(history(store)) == 2


# ---------------------------------------------------------------- large and strange


def test_the_largest_snapshot_fits_with_all_that_may_be_said_of_it(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """200 parameters and more; one byte over the limit is refused, and so is a megabyte."""
    parameters = {f"parameter_{number}": {"type": "integer", "default": number} for number in range(200)}
    empty = taking(**parameters, rest={"description": ""})
    room = MAX_SNAPSHOT_BYTES - len(empty.model_dump_json().encode())
    full = {
        "description": "\x00" * 10_000,
        "tags": tuple(f"{number:02d}" + "予" * 98 for number in range(20)),
        "name": "ü" * 100,
    }

    publish(dynamodb, taking(**parameters, rest={"description": "x" * room}), **full)

    assert len(store.choose(NAME).tags) == 20
    for further in (1, 1_000_000):
        with pytest.raises(TooLargeError, match=str(MAX_SNAPSHOT_BYTES)):
            publish(dynamodb, taking(**parameters, rest={"description": "x" * (room + further)}))


def test_a_history_entry_keeps_what_fits(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """And says how much it left out; the publisher is told all."""
    publish(dynamodb, taking(**{f"{number:04d}" + "a" * 60: {"type": "integer"} for number in range(1000)}))
    done = publish(dynamodb, taking(**{f"{number:04d}" + "b" * 60: {"type": "string"} for number in range(1000)}))

    entry = history(store)[-1]
    assert 0 < len(entry.changes) < len(done.changes)
    assert len(entry.changes) + entry.omitted == len(done.changes)
    assert entry.changes[0].breaking


def test_a_history_entry_names_some_of_many_triggers(
    store: CatalogueStore, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """7,000 that a publication breaks knowingly are no reason to fail; the publisher is told all."""
    publish(dynamodb, taking(rows={"type": "integer"}))
    broken = factories.trigger(pipeline=NAME, parameters={"rows": 5})
    many = tuple(broken.model_copy(update={"name": f"{number:04d}" + "x" * 60}) for number in range(7000))
    monkeypatch.setattr(TriggerStore, "stored", lambda _: many)

    with pytest.raises(ConflictError) as caught:
        publish(dynamodb, taking(rows={"type": "string"}))
    done = publish(dynamodb, taking(rows={"type": "string"}), allow_breaking=True)

    assert len(caught.value.problems) == 200
    assert len(done.broken_triggers) == 7000
    entry = history(store)[-1]
    assert entry.broken_triggers == done.broken_triggers[:100]
    assert entry.omitted_triggers == 6900


def test_a_page_of_large_entries_is_short(
    store: CatalogueStore, dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what is in them, so that an answer is never too large; the cursor goes on, also one entry at a time."""
    for letter in "abc":
        publish(dynamodb, taking(**{f"{letter}{number}": {"type": "integer"} for number in range(20)}))
    *_, last = history(store)
    size = len(last.model_dump_json())

    for room, lengths in ((2 * size + 200, 2), (size // 2, 1)):
        monkeypatch.setattr(catalogue_store, "MAX_PAGE_BYTES", room)
        assert len(store.changes(NAME, limit=100).items) == lengths
        assert [entry.revision for entry in every(partial(store.changes, NAME), 100)] == [3, 2, 1]


def test_names_of_any_script(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Of pipelines, which may hold colons, of snapshots and of tags, which may hold nearly anything."""
    pipeline, tag = "größe: 予測 [v=1]", 'a#00000001 "ü"'
    publish(dynamodb, content(pipeline=pipeline), name="名前 1", tags=(tag, "a"))
    publish(dynamodb, content(pipeline=pipeline, zenml_version="2"), tags=("a",))

    assert store.find(pipeline, f"{pipeline}:1").number == 1
    assert store.find(pipeline, "名前 1").number == 1
    assert store.find(pipeline, f"tag:{tag}").number == 1
    assert store.find(pipeline, "tag:a").number == 2
    assert [found.number for found in store.snapshots(pipeline, limit=5, tag=tag).items] == [1]

    longest = content(pipeline="𠮷" * 200)
    publish(dynamodb, longest, name="𠮷" * 100, tags=("𠮷" * 100,))
    for choice in ("𠮷" * 100, "tag:" + "𠮷" * 100, f"{longest.pipeline}:1"):
        assert store.find(longest.pipeline, choice).content == longest
    assert len(history(store, longest.pipeline)) == 1
    operator = publisher(dynamodb)
    operator.put_trigger("t", definition(pipeline=longest.pipeline, snapshot="tag:" + "𠮷" * 100))
    with pytest.raises(ConflictError):
        operator.update(f"{longest.pipeline}:1", SnapshotUpdate(tags=()), "k")


def test_tags_do_not_pile_up(dynamodb: "DynamoDBClient") -> None:
    """Each publication of the same content adds its own, up to a limit."""
    publish(dynamodb, tags=tuple(f"a{number}" for number in range(20)))
    with pytest.raises(InvalidRequestError) as caught:
        publish(dynamodb, tags=("one too many",))
    assert pointers(caught.value) == ["/tags"]


def test_what_cannot_be_published_is_pointed_at(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """All at once, before anything is registered or written."""
    definitions = Mock(wraps=KnownTaskDefinitions("registry/image:latest"))
    operator = publisher(
        dynamodb, task_definitions=definitions, secret_arns=["arn:aws:secretsmanager:eu-west-1:123456789012:secret:p/*"]
    )
    secrets = {"TOKEN": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:other"}
    cycle = {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}
    wanted: list[tuple[dict[str, Any], set[str]]] = [
        ({"secrets": secrets}, {"/secrets/TOKEN"}),
        ({"steps": {"a/b": {"passed": {"p": "nothing"}}}}, {"/steps/a~1b/passed/p"}),
        (
            {"parameters_schema": cycle, "steps": {}, "secrets": secrets},
            {"/parameters_schema/$defs/a", "/secrets/TOKEN"},
        ),
        ({"image": None, "secrets": secrets}, {"/image", "/secrets/TOKEN"}),
        (
            {"configuration": {"parameters": {"nobody": 1}}, "secrets": secrets},
            {"/configuration/parameters/nobody", "/secrets/TOKEN"},
        ),
    ]
    for values, expected in wanted:
        with pytest.raises(InvalidRequestError) as caught:
            operator.publish(publication(TRAINING, **values), "k")
        assert set(pointers(caught.value)) == expected

    definitions.usable_revision.assert_not_called()
    assert store.pipeline(NAME) is None


def test_without_an_image_it_is_the_stacks(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """By digest, with the snapshot's secrets and architecture in its task definition."""
    definitions = Mock(wraps=KnownTaskDefinitions())
    secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:p/token-AbCdEf"
    operator = publisher(dynamodb, task_definitions=definitions, secret_arns=[secret])
    values = {"image": None, "architecture": "X86_64", "secrets": {"TOKEN": f"{secret}:key::"}}

    operator.publish(publication(TRAINING, **values), "k")

    definitions.usable_revision.assert_called_once_with(IMAGE, "X86_64", {"TOKEN": f"{secret}:key::"})
    assert store.find(NAME).content.image == IMAGE
    definitions.base.assert_called_once_with()


def test_without_an_architecture_it_is_the_stacks_of_that_day(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """It stays the snapshot's own when the stack has another, under which the image would not run."""
    definitions = Mock(wraps=KnownTaskDefinitions())
    request = publication(TRAINING, architecture=None)

    publisher(dynamodb, task_definitions=definitions).publish(request, "k")
    definitions.base.return_value = DeployedImage(IMAGE, "X86_64")
    publisher(dynamodb, task_definitions=definitions).publish(request, "k")

    assert [call.args[1] for call in definitions.usable_revision.call_args_list] == ["ARM64", "X86_64"]
    assert [store.find(NAME, number).content.architecture for number in (1, 2)] == ["ARM64", "X86_64"]


def test_a_snapshot_shows_the_task_definition_that_was_found_last(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """Publishing again heals one that was deregistered, and says so; what changes nothing else is written, too."""
    definitions = Mock(wraps=KnownTaskDefinitions())
    operator = publisher(dynamodb, task_definitions=definitions)
    assert operator.publish(publication(), "k").snapshot.task_definition == TASK_DEFINITION
    definitions.usable_revision.return_value = TASK_DEFINITION.replace(":1", ":2")

    again = operator.publish(publication(), "k")

    assert (again.created, again.snapshot.task_definition) == (False, TASK_DEFINITION.replace(":1", ":2"))
    assert store.find(NAME).task_definition == again.snapshot.task_definition
    operator.publish(publication(), "k")
    assert len(history(store)) == 2


def test_what_is_refused_registers_nothing(dynamodb: "DynamoDBClient") -> None:
    """Neither for a name that another snapshot has, nor for a trigger that would break, nor for too many tags."""
    definitions = Mock(wraps=KnownTaskDefinitions())
    operator = publisher(dynamodb, task_definitions=definitions)
    operator.publish(publication(version(1), name="taken", tags=["a"]), "k")
    operator.put_trigger("arrivals", definition(parameters={"test_size": 0.5}))
    definitions.reset_mock()

    for refused in (publication(version(2), name="taken"), publication(taking())):
        with pytest.raises(ConflictError, match="Nothing was written"):
            operator.publish(refused, "k")
    with pytest.raises(InvalidRequestError):
        operator.publish(publication(version(1), tags=[f"t{number}" for number in range(20)]), "k")

    definitions.usable_revision.assert_not_called()


# ---------------------------------------------------------------- lists


def every(page: Callable[..., Any], limit: int, **filters: Any) -> list[Any]:
    """Give everything that a list has, page by page."""
    found: list[Any] = []
    cursor = None
    for _ in range(50):
        got = page(limit=limit, cursor=cursor, **filters)
        assert len(got.items) <= limit
        found += got.items
        cursor = got.cursor
        if cursor is None:
            return found
    raise AssertionError("the list never ends")


def test_lists_page_and_filter(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Each once, and no page after the last."""
    names = [f"p{number}" for number in range(5)]
    for number, name in enumerate(names):
        publish(dynamodb, content(pipeline=name), tags=("odd",) if number % 2 else ("even", "e"))
    for number in range(2, 6):
        publish(
            dynamodb,
            content(pipeline="p0", zenml_version=str(number)),
            tags=("t",) if number % 2 else (),
            name=f"n{number}",
        )

    def snapshots(**arguments: Any) -> Any:
        return store.snapshots("p0", **arguments)

    def changes(**arguments: Any) -> Any:
        return store.changes("p0", **arguments)

    for limit in (1, 2, 5, 100):
        assert [found.pipeline.name for found in every(store.pipelines, limit)] == names
        assert [found.pipeline.name for found in every(store.pipelines, limit, tag="odd")] == ["p1", "p3"]
        assert [found.number for found in every(snapshots, limit)] == [5, 4, 3, 2, 1]
        assert [found.number for found in every(snapshots, limit, tag="t")] == [5, 3]
        assert [found.number for found in every(snapshots, limit, name="n4")] == [4]
        assert [entry.revision for entry in every(changes, limit)] == [5, 4, 3, 2, 1]
    assert store.pipelines(limit=5).cursor is None, "a full page that is the last one has no next"
    assert [found.pipeline.name for found in every(store.pipelines, 1, name="p2")] == ["p2"]
    for filters in ({"name": "p2", "tag": "odd"}, {"name": "p"}, {"tag": "od"}, {"name": "n" * 5000}):
        assert every(store.pipelines, 3, **filters) == []
    for filters in ({"name": "n4", "tag": "t"}, {"name": "n"}, {"tag": "ü" * 3000}):
        assert every(snapshots, 3, **filters) == []


def test_cursors_of_other_lists_are_refused(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """With a sentence, not with DynamoDB's; also such as nobody was given."""
    for number in range(3):
        publish(dynamodb, version(number), tags=("t",))
        publish(dynamodb, content(pipeline=f"p{number}"))
    given = {
        "pipelines": store.pipelines(limit=1).cursor,
        "snapshots": store.snapshots(NAME, limit=1).cursor,
        "tagged": store.snapshots(NAME, limit=1, tag="t").cursor,
        "changes": store.changes(NAME, limit=1).cursor,
    }
    lists: dict[str, Callable[[str | None], object]] = {
        "pipelines": lambda cursor: store.pipelines(limit=1, cursor=cursor),
        "snapshots": lambda cursor: store.snapshots(NAME, limit=1, cursor=cursor),
        "tagged": lambda cursor: store.snapshots(NAME, limit=1, cursor=cursor, tag="t"),
        "changes": lambda cursor: store.changes(NAME, limit=1, cursor=cursor),
    }
    forged = [
        to_cursor({"collection": "pipelines"} | item)
        for item in ({}, {"item": ""}, {"item": "x" * 1025}, {"item": "\ud800"}, {"item": "x", "more": "y"})
    ]
    for name, page in lists.items():
        page(given[name])
        for cursor in (*(other for of, other in given.items() if of != name), *forged, "nonsense"):
            with pytest.raises(InvalidRequestError, match="cursor"):
                page(cursor)


def test_a_list_goes_on_over_dynamodbs_pages_and_transfers_no_contents(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """A page of DynamoDB is 1 MB, three large snapshots; ours is as many as were asked for."""
    for number in range(8):
        publish(dynamodb, version(number, parameters_schema={"description": "x" * 310_000}, steps={}))
    received: list[int] = []

    def measure(parsed: dict[str, Any], **_: Any) -> None:
        received.append(len(str(parsed["Items"])))

    dynamodb.meta.events.register("after-call.dynamodb.Query", measure)
    page = store.snapshots(NAME, limit=7)
    dynamodb.meta.events.unregister("after-call.dynamodb.Query", measure)

    assert [found.number for found in page.items] == [8, 7, 6, 5, 4, 3, 2]
    assert [found.number for found in store.snapshots(NAME, limit=7, cursor=page.cursor).items] == [1]
    assert sum(received) < 50_000


# ---------------------------------------------------------------- lost answers


class Forgetful:
    """A client whose transactions are written and whose answers are lost, so that the SDK sends them again.

    On AWS the SDK's token (ClientRequestToken) makes the second send harmless, for ten minutes; here there is none.
    """

    def __init__(self, client: "DynamoDBClient", between: Callable[[], object] = lambda: None) -> None:
        self._client = client
        self._between = between

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **request: Any) -> Any:
        """Write, lose the answer, and send it again."""
        copied = copy.deepcopy(request)
        self._client.transact_write_items(**request)
        self._between()
        return self._client.transact_write_items(**copied)


def test_a_lost_answer_is_found_again(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Whatever was written is what the writer is told, once, and with what it was."""
    operator = publisher(Forgetful(dynamodb))  # type: ignore[arg-type]
    first = operator.publish(publication(version(1)), "k")
    publish(dynamodb, version(2))
    again = operator.publish(publication(version(1)), "k")
    operator.put_trigger("t", definition(snapshot=1))
    operator.update(f"{NAME}:2", SnapshotUpdate(name="two"), "k")
    operator.update(f"{NAME}:2", SnapshotUpdate(name=None), "k")
    operator.delete(f"{NAME}:2", "k")

    assert (first.created, first.snapshot.number, again.created, again.snapshot.number) == (True, 1, False, 1)
    assert [(entry.action, entry.snapshot) for entry in history(store)] == [
        ("published", 1),
        ("published", 2),
        ("published_again", 1),
        ("updated", 2),
        ("updated", 2),
        ("deleted", 2),
    ]
    standing = store.pipeline(NAME)
    assert standing is not None
    assert (standing.snapshots, standing.revision) == (2, 7)


def test_a_lost_answer_is_found_again_behind_the_writes_of_others(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """By the entry that the write left in the history."""
    others = iter([version(2), version(3), version(4)])
    forgetful = Forgetful(dynamodb, between=lambda: publish(dynamodb, next(others)))
    operator = publisher(forgetful)  # type: ignore[arg-type]

    assert operator.publish(publication(version(1)), "k").created
    assert store.find(NAME).number == 2
    operator.delete(f"{NAME}:1", "k")
    assert operator.update(f"{NAME}:2", SnapshotUpdate(name="two"), "k").snapshot.name == "two"

    assert [(entry.action, entry.snapshot) for entry in history(store)] == [
        ("published", 1),
        ("published", 2),
        ("deleted", 1),
        ("published", 3),
        ("updated", 2),
        ("published", 4),
    ]


def test_an_update_whose_answer_is_lost_says_what_it_moved(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Once, and not what a second one, which would find everything done, would move."""
    publish(dynamodb, taking(rows={"type": "integer"}), name="production")
    publish(dynamodb, taking(rows={"type": "string"}))
    forgetful = Forgetful(dynamodb, between=lambda: publish(dynamodb, version(3)))

    done = publisher(forgetful).update(f"{NAME}:2", SnapshotUpdate(name="production", replace=True), "k")  # type: ignore[arg-type]

    assert done.broken_names == ("production",)
    assert [change.pointer for change in done.changes] == ["/parameters/rows"]
    assert [entry.action for entry in history(store)] == ["published", "published", "updated", "published"]


def test_a_description_whose_answer_is_lost_is_written_again(store: CatalogueStore, dynamodb: "DynamoDBClient") -> None:
    """Behind the writes of others nothing shows that it was written; a second time it changes nothing further."""
    publish(dynamodb, version(1))
    others = iter([version(2)])

    def publish_once() -> None:
        for other in others:
            publish(dynamodb, other)

    operator = publisher(Forgetful(dynamodb, between=publish_once))  # type: ignore[arg-type]

    assert operator.update(f"{NAME}:1", SnapshotUpdate(description="one"), "k").snapshot.description == "one"
    assert store.find(NAME, 1).description == "one"
    assert [entry.action for entry in history(store)] == ["published", "published"]


def test_who_is_always_too_late_is_told(dynamodb: "DynamoDBClient", monkeypatch: pytest.MonkeyPatch) -> None:
    """Busy, after so many tries; nothing was written."""
    monkeypatch.setattr(publishing, "LONGEST_PAUSE_SECONDS", 0)
    publish(dynamodb, version(1))
    others = iter(range(2, 100))

    class Late(CatalogueStore):
        def write(self, *arguments: Any) -> bool:
            publish(dynamodb, version(next(others)))
            return super().write(*arguments)

    late = publisher(dynamodb, catalogue=Late("CatalogueTable", dynamodb))
    with pytest.raises(BusyError, match="again"):
        late.update(f"{NAME}:1", SnapshotUpdate(name="late"), "k")
    assert next(others) == 2 + publishing.PUBLISH_TRIES
    with pytest.raises(NotFoundError):
        CatalogueStore("CatalogueTable", dynamodb).find(NAME, "late")


def test_a_refusal_is_looked_at_again_if_something_was_written_meanwhile(
    store: CatalogueStore, dynamodb: "DynamoDBClient"
) -> None:
    """What one read says need not be true any more when the next one answers."""
    publish(dynamodb, version(1), name="production")
    waiting = [SnapshotUpdate(name=None)]

    class Meddled(CatalogueStore):
        def number_of(self, pipeline: str, pointer: Pointer) -> int | None:
            found = super().number_of(pipeline, pointer)
            while waiting:
                publisher(dynamodb).update(f"{NAME}:1", waiting.pop(), "k")
            return found

    meddled = publisher(dynamodb, catalogue=Meddled("CatalogueTable", dynamodb))

    assert meddled.publish(publication(version(2), name="production"), "k").created
    assert store.find(NAME, "production").number == 2


# ---------------------------------------------------------------- many at once


@pytest.mark.dynamodb_local
class TestAtOnce:
    """What many do at once, on DynamoDB Local."""

    @pytest.fixture
    def store(self, dynamodb_local: "DynamoDBClient") -> CatalogueStore:
        """Give the catalogue on DynamoDB Local."""
        return CatalogueStore("CatalogueTable", dynamodb_local)

    def test_ten_publishers_get_ten_numbers(self, store: CatalogueStore, dynamodb_local: "DynamoDBClient") -> None:
        """No gap, no duplicate, and a history in which each follows the one before."""
        with ThreadPoolExecutor(10) as pool:
            done = list(pool.map(lambda number: publish(dynamodb_local, version(number)), range(10)))

        assert sorted(one.snapshot.number for one in done) == list(range(1, 11))
        assert all(one.created for one in done)
        entries = history(store)
        assert [entry.snapshot for entry in entries] == list(range(1, 11))
        assert [entry.previous for entry in entries] == [None, *range(1, 10)]
        assert [found.number for found in store.snapshots(NAME, limit=20).items] == list(range(10, 0, -1))

    def test_ten_publishers_of_one_content_make_one_snapshot(
        self, store: CatalogueStore, dynamodb_local: "DynamoDBClient"
    ) -> None:
        """One made it; all are told which it is."""
        with ThreadPoolExecutor(10) as pool:
            done = list(pool.map(lambda _: publish(dynamodb_local, version(1)), range(10)))

        assert [one.snapshot.number for one in done] == [1] * 10
        assert sum(one.created for one in done) == 1
        assert len(history(store)) == 1

    def test_no_trigger_is_left_with_nothing(self, store: CatalogueStore, dynamodb_local: "DynamoDBClient") -> None:
        """Publishing, naming, deleting and putting triggers at once: each trigger's snapshot is there, and fits it."""
        chance = random.Random(7)  # noqa: S311 - a test's
        contents = [taking(**{f"p{number % 3}": {"type": "integer"}}, own={"const": number}) for number in range(6)]
        publish(dynamodb_local, contents[0], name="name", tags=("tag",))

        def publishing_some(number: int) -> None:
            tags = ("tag",) if number % 2 else ()
            publish(dynamodb_local, contents[number % 6], name="name" if number % 3 else None, replace=True, tags=tags)

        def putting(number: int) -> None:
            choice = (None, "name", "tag:tag", number % 6 + 1)[number % 4]
            wanted = definition(snapshot=choice, parameters={f"p{number % 3}": 1})
            publisher(dynamodb_local).put_trigger(f"t{number}", wanted)

        def deleting(number: int) -> None:
            publisher(dynamodb_local).delete(f"{NAME}:{number % 8 + 1}", "k")

        def unnaming(number: int) -> None:
            publisher(dynamodb_local).update(f"{NAME}:{number % 6 + 1}", SnapshotUpdate(name=None, tags=()), "k")

        # Most of what is put does not fit just then.
        actions = (publishing_some, putting, putting, putting, deleting, unnaming)
        work = [(action, number) for action in actions for number in range(12)]
        chance.shuffle(work)
        refused: list[ZentriggerError] = []

        def do(one: tuple[Callable[[int], None], int]) -> None:
            try:
                one[0](one[1])
            except (ConflictError, InvalidRequestError, NotFoundError) as error:
                refused.append(error)

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(do, work))

        triggers = TriggerStore("TriggersTable", dynamodb_local).triggers()
        assert triggers
        for trigger in triggers:
            chosen = store.find(NAME, trigger.definition.snapshot)
            assert set(trigger.definition.parameters) <= set(chosen.content.parameters_schema["properties"])  # type: ignore[arg-type]
        entries = history(store)
        assert {entry.snapshot for entry in entries if entry.action == "published"} == set(
            range(1, max(entry.snapshot for entry in entries) + 1)
        )
        assert len({type(error) for error in refused}) > 1, "the test is about refusals, too"


# ---------------------------------------------------------------- any order

Kind = Literal["integer", "string"]


@dataclass(frozen=True)
class Variant:
    """A content, by the parameters that it takes: name -> type, and whether it must be given."""

    parameters: tuple[tuple[str, Kind, bool], ...]

    @property
    def content(self) -> SnapshotContent:
        return taking(**{name: {"type": kind} for name, kind, _ in self.parameters}).model_copy(
            update={
                "parameters_schema": {
                    "type": "object",
                    "properties": {name: {"type": kind} for name, kind, _ in self.parameters},
                    "required": [name for name, _, required in self.parameters if required],
                }
            }
        )

    def wrong(self, given: dict[str, Kind]) -> set[str]:
        """Give where a request that gives values of these types is wrong."""
        known = {name: kind for name, kind, _ in self.parameters}
        missing = {name for name, _, required in self.parameters if required} - set(given)
        return {name for name, kind in given.items() if known.get(name) != kind} | ({""} if missing else set())


VALUES: dict[Kind, Any] = {"integer": 5, "string": "five"}
NAMES = st.sampled_from(["one", "two"])
TAGS = st.sets(st.sampled_from(["a", "b"]))
CHOICES = st.none() | st.integers(1, 4) | st.sampled_from(["one", "two", "tag:a", "tag:b"])
PARAMETERS = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["integer", "string"]), max_size=2)
VARIANTS = st.builds(
    lambda parameters, required: Variant(
        tuple(sorted((name, kind, name in required) for name, kind in parameters.items()))
    ),
    PARAMETERS,
    st.sets(st.just("x")),
)


@dataclass
class Shelf:
    """A catalogue as it should be: small, and in memory."""

    snapshots: dict[int, Variant] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    tags: dict[int, set[str]] = field(default_factory=dict)
    last: int = 0
    published: list[int] = field(default_factory=list)
    """What was published, or published again, in this order; without what was deleted."""
    triggers: dict[str, tuple[SnapshotChoice | None, dict[str, Kind]]] = field(default_factory=dict)

    @property
    def newest(self) -> int | None:
        """Give what was published last of all that is left."""
        return self.published[-1] if self.published else None

    def number(self, choice: SnapshotChoice | None) -> int | None:
        """Give what a choice leads to."""
        if choice is None:
            return self.newest
        if isinstance(choice, int):
            return choice if choice in self.snapshots else None
        if choice.startswith("tag:"):
            return max((number for number, tags in self.tags.items() if choice[4:] in tags), default=None)
        return self.names.get(choice)

    def wrong(self, trigger: str) -> set[str] | None:
        """Give where a trigger does not fit its snapshot; None: it has none."""
        choice, given = self.triggers[trigger]
        number = self.number(choice)
        return self.snapshots[number].wrong(given) if number is not None else None

    def broken_by(self, after: "Shelf") -> bool:
        """Tell whether a trigger that could run before cannot after, or for further reasons."""
        for name in self.triggers:
            before, then = self.wrong(name), after.wrong(name)
            if self.number(self.triggers[name][0]) == after.number(self.triggers[name][0]):
                continue
            if then is None or then - (before or set()):
                return True
        return False


class AnyOrder(RuleBasedStateMachine):
    """Does anything in any order, to the catalogue and to the shelf, and compares them."""

    client: "DynamoDBClient"
    examples = 0

    @initialize()
    def begin(self) -> None:
        """Take a pipeline that is new."""
        type(self).examples += 1
        self.pipeline = f"p{self.examples}"
        self.shelf = Shelf()
        self.operator = publisher(self.client)
        self.store = CatalogueStore("CatalogueTable", self.client)
        self.allowed: set[str] = set()

    @rule(variant=VARIANTS, name=st.none() | NAMES, tags=TAGS, replace=st.booleans(), allow=st.booleans())
    def publish(self, variant: Variant, name: str | None, tags: set[str], replace: bool, allow: bool) -> None:
        """Publish a content, which may be there already."""
        after = copy.deepcopy(self.shelf)
        number = next((known for known, had in after.snapshots.items() if had == variant), None)
        if number is None:
            number = after.last = after.last + 1
            after.snapshots[number], after.tags[number] = variant, set()
        clash = name is not None and not replace and self._clashes(name, number)
        if name is not None:
            after.names = {known: owner for known, owner in after.names.items() if owner != number} | {name: number}
        after.tags[number] |= tags
        after.published.append(number)
        body = publication(
            variant.content.model_copy(update={"pipeline": self.pipeline}),
            name=name,
            tags=tuple(sorted(tags)),
            replace=replace,
            allow_breaking=allow,
        )
        self._do(lambda: self.operator.publish(body, "k"), after, clash=clash, allow=allow)

    def _clashes(self, name: str, number: int) -> bool:
        owner = self.shelf.names.get(name)
        named_otherwise = number in self.shelf.names.values() and owner != number
        return owner not in (None, number) or named_otherwise

    @rule(
        number=st.integers(1, 4),
        name=st.just("") | st.none() | NAMES,
        tags=st.none() | TAGS,
        replace=st.booleans(),
        allow=st.booleans(),
    )
    def update(self, number: int, name: str | None, tags: set[str] | None, replace: bool, allow: bool) -> None:
        """Name and tag a snapshot; an empty name here means: not said."""
        wanted: dict[str, Any] = {"replace": replace, "allow_breaking": allow}
        if name != "":
            wanted["name"] = name
        if tags is not None:
            wanted["tags"] = sorted(tags)
        after = copy.deepcopy(self.shelf)
        if number not in after.snapshots:
            with pytest.raises(NotFoundError):
                self.operator.update(f"{self.pipeline}:{number}", SnapshotUpdate.model_validate(wanted), "k")
            return
        if name != "":
            after.names = {known: owner for known, owner in after.names.items() if owner != number}
            after.names |= {name: number} if name else {}
        if tags is not None:
            after.tags[number] = set(tags)
        clash = bool(name) and not replace and self.shelf.names.get(name or "") not in (None, number)
        update = SnapshotUpdate.model_validate(wanted)
        self._do(
            lambda: self.operator.update(f"{self.pipeline}:{number}", update, "k"), after, clash=clash, allow=allow
        )

    @rule(number=st.integers(1, 4))
    def delete(self, number: int) -> None:
        """Delete a snapshot, if nothing leads to it."""
        snapshot = f"{self.pipeline}:{number}"
        if number not in self.shelf.snapshots:
            with pytest.raises(NotFoundError):
                self.operator.delete(snapshot, "k")
            return
        led_to = {self.shelf.number(choice) for choice, _ in self.shelf.triggers.values()}
        if number in self.shelf.names.values() or number in led_to:
            with pytest.raises(ConflictError):
                self.operator.delete(snapshot, "k")
            return
        self.operator.delete(snapshot, "k")
        del self.shelf.snapshots[number], self.shelf.tags[number]
        self.shelf.published = [one for one in self.shelf.published if one != number]

    @rule(name=st.sampled_from(["s", "t"]), choice=CHOICES, given=PARAMETERS)
    def put_trigger(self, name: str, choice: SnapshotChoice | None, given: dict[str, Kind]) -> None:
        """Make a trigger, if it fits."""
        wanted = definition(
            pipeline=self.pipeline,
            snapshot=choice,
            parameters={parameter: VALUES[kind] for parameter, kind in given.items()},
        )
        number = self.shelf.number(choice)
        if number is None or self.shelf.snapshots[number].wrong(given):
            with pytest.raises(NotFoundError if number is None else InvalidRequestError):
                self.operator.put_trigger(f"{self.pipeline}-{name}", wanted)
            return
        self.operator.put_trigger(f"{self.pipeline}-{name}", wanted)
        self.shelf.triggers[name] = (choice, given)
        self.allowed.discard(name)

    def _do(self, action: Callable[[], object], after: Shelf, *, clash: bool, allow: bool) -> None:
        if clash or (self.shelf.broken_by(after) and not allow):
            with pytest.raises(ConflictError):
                action()
            return
        action()
        if allow:
            self.allowed |= {name for name in after.triggers if after.wrong(name) != set()}
        self.shelf = after

    @invariant()
    def every_trigger_fits(self) -> None:
        """Unless breaking it was allowed. The shelf is what the catalogue must be, and so was every answer."""
        assert {name for name in self.shelf.triggers if self.shelf.wrong(name) != set()} <= self.allowed

    def teardown(self) -> None:
        """Compare the numbers, names, tags, the newest and the history."""
        shelf = self.shelf
        standing = self.store.head(self.pipeline)
        assert ((standing.pipeline.snapshots, standing.pipeline.newest) if standing else (0, None)) == (
            shelf.last,
            shelf.newest,
        )
        listed = self.store.snapshots(self.pipeline, limit=100).items
        assert {one.number: set(one.tags) for one in listed} == shelf.tags
        assert {one.name: one.number for one in listed if one.name} == shelf.names
        choices: tuple[SnapshotChoice | None, ...] = ("one", "two", "tag:a", "tag:b", None)
        for choice in choices:
            expected = shelf.number(choice)
            try:
                found = self.store.find(self.pipeline, choice)
            except NotFoundError:
                assert expected is None
            else:
                assert (found.number, found.content) == (
                    expected,
                    shelf.snapshots[found.number].content.model_copy(update={"pipeline": self.pipeline}),
                )
        published = [entry.snapshot for entry in history(self.store, self.pipeline) if entry.action == "published"]
        assert published == list(range(1, shelf.last + 1))


@pytest.fixture
def any_order(dynamodb_moto: "DynamoDBClient") -> Iterator[type[AnyOrder]]:
    """Give the machine, on moto."""
    AnyOrder.client = dynamodb_moto
    yield AnyOrder
    del AnyOrder.client


def test_in_any_order(any_order: type[AnyOrder]) -> None:
    """No gap, no number twice, one snapshot a name, the right newest, and no trigger broken that nobody allowed."""
    run_state_machine_as_test(
        any_order,
        settings=settings(
            max_examples=20,
            stateful_step_count=15,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.generate,),  # a failure that is made smaller takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
