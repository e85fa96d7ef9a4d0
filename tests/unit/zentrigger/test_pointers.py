"""What choices mean, which pointers a write moves, and what that breaks."""

from typing import Any

import pytest

from tests import factories
from tests.factories import TRAINING, content, pipeline, snapshot
from zentrigger.catalogue import SnapshotChoice, SnapshotContent, SnapshotSummary
from zentrigger.errors import InvalidRequestError
from zentrigger.pointers import NEWEST, Effects, Move, Pointer, Rewrite, effects, moves, read_choice
from zentrigger.schema_changes import Change
from zentrigger.triggers import Trigger, UnreadableTrigger


def summary(number: int, **values: Any) -> SnapshotSummary:
    """Make a snapshot in short."""
    return snapshot(number=number, **values).summary


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (None, NEWEST),
        (7, 7),
        ("7", 7),
        ("007", 7),
        ("training_pipeline:7", 7),
        ("tag:nightly", Pointer("tag", "nightly")),
        ("tag:other:7", Pointer("tag", "other:7")),
        ("tag:7", Pointer("tag", "7")),
        ("production", Pointer("name", "production")),
        ("training_pipeline", Pointer("name", "training_pipeline")),
        ("7a", Pointer("name", "7a")),
        ("other:", Pointer("name", "other:")),
        (":7", Pointer("name", ":7")),
        ("training_pipeline:" + "9" * 200, Pointer("name", "training_pipeline:" + "9" * 200)),
    ],
)
def test_what_a_choice_means(choice: SnapshotChoice | None, meant: object) -> None:
    """Digits are a number, `tag:` a tag, pipeline and number an id, everything else a name."""
    assert read_choice("training_pipeline", choice) == meant


def test_an_id_of_another_pipeline_is_no_choice() -> None:
    """A pipeline's name may hold colons; whose the snapshot is, is said."""
    assert read_choice("a:b", "a:b:3") == 3
    with pytest.raises(InvalidRequestError, match="'a:b'") as caught:
        read_choice("b", "a:b:3")
    assert caught.value.problems[0].pointer == "/snapshot"


def test_publishing_moves_newest_name_and_tags() -> None:
    """To the new snapshot, from where they were; a tag also if it was nowhere."""
    holder = summary(1, name="production")
    found = moves(
        pipeline(snapshots=2, newest=2),
        pipeline(snapshots=3, newest=3),
        (
            Rewrite(None, summary(3, name="production", tags=("old", "new"))),
            Rewrite(holder, holder.model_copy(update={"name": None})),
        ),
        {"old": (2, 1), "new": ()},
    )

    assert found == (
        Move(NEWEST, 2, 3),
        Move(Pointer("name", "production"), 1, 3),
        Move(Pointer("tag", "new"), None, 3),
        Move(Pointer("tag", "old"), 2, 3),
    )


@pytest.mark.parametrize(
    ("before", "after", "standing", "expected"),
    [
        ((), ("t",), (5, 3), []),  # a higher one has it already
        ((), ("t",), (1,), [Move(Pointer("tag", "t"), 1, 2)]),
        (("t",), (), (2, 1), [Move(Pointer("tag", "t"), 2, 1)]),
        (("t",), (), (2,), [Move(Pointer("tag", "t"), 2, None)]),
        (("t",), (), (5, 2), []),
        (("t",), ("t",), (2,), []),
    ],
)
def test_a_tag_leads_to_the_highest(
    before: tuple[str, ...], after: tuple[str, ...], standing: tuple[int, ...], expected: list[Move]
) -> None:
    """So giving it to a lower one, or taking it from one, moves nothing."""
    of = pipeline(snapshots=5, newest=5)
    rewrite = Rewrite(summary(2, tags=before), summary(2, tags=after))
    assert list(moves(of, of, (rewrite,), {"t": standing})) == expected


def test_renaming_ends_the_old_name() -> None:
    """Whoever runs it by that name gets nothing any more."""
    of = pipeline(snapshots=2, newest=2)
    assert moves(of, of, (Rewrite(summary(1, name="a"), summary(1, name="b")),), {}) == (
        Move(Pointer("name", "a"), 1, None),
        Move(Pointer("name", "b"), None, 1),
    )


def trigger(name: str = "t", **values: Any) -> Trigger:
    """Make a trigger of the training pipeline."""
    return factories.trigger(name, **values)


def without(*names: str) -> SnapshotContent:
    """Make a content that lacks parameters of the training pipeline."""
    properties: Any = TRAINING.parameters_schema["properties"]
    kept = {name: rule for name, rule in properties.items() if name not in names}
    return content(parameters_schema={"type": "object", "properties": kept})


def of_newest(new: SnapshotContent, *triggers: Trigger, old: SnapshotContent = TRAINING) -> Effects:
    """Give the effects of a newest snapshot's being followed by another one."""
    return effects([Move(NEWEST, 1, 2)], {1: old, 2: new}, triggers)


def test_a_trigger_is_broken_if_what_it_sends_no_longer_fits() -> None:
    """By name, with the reason; one that sends something else is not."""
    found = of_newest(without("test_size"), trigger("a", parameters={"test_size": 0.5}), trigger("b"))

    assert found.broken_triggers == ("a",)
    assert any(change.breaking for change in found.of_newest)
    assert {problem.pointer for problem in found.problems} == {"/parameters/test_size", "/triggers/a"}


def test_that_a_value_must_be_given_breaks_nobody_who_gives_it() -> None:
    """Also if it is known only when an event comes; who does not give it is broken."""
    schema: Any = {**TRAINING.parameters_schema, "required": ["data_url"]}
    gives = trigger("gives", parameters={"data_url": "s3://{bucket.name}/{object.key}"})

    assert of_newest(content(parameters_schema=schema), gives, trigger("silent")).broken_triggers == ("silent",)


def test_a_trigger_that_chooses_otherwise_is_not_concerned() -> None:
    """A number never moves, a name only with its own pointer."""
    sent: dict[str, Any] = {"parameters": {"test_size": 0.5}}
    triggers = [trigger(str(choice)[-1], snapshot=choice, **sent) for choice in (1, "n", "tag:t")]
    new = without("test_size")

    assert of_newest(new, *triggers).broken_triggers == ()
    for pointer, broken in ((Pointer("name", "n"), "n"), (Pointer("tag", "t"), "t")):
        found = effects([Move(pointer, 1, 2)], {1: TRAINING, 2: new}, triggers)
        assert found.broken_triggers == (broken,)
        assert found.of_newest == ()


def test_of_a_trigger_that_cannot_be_read_it_is_not_known_whether_it_fits() -> None:
    """So it stands in the way of whatever moves, and says why."""
    later = UnreadableTrigger(name="later", detail="definition.s3.colour: extra_forbidden")
    fitting, broken = trigger("a"), trigger("z", parameters={"test_size": 0.5})

    found = effects([Move(NEWEST, 1, 2)], {1: TRAINING, 2: without("test_size")}, [broken, later, fitting])

    assert found.broken_triggers == ("later", "z")
    (said,) = (problem.detail for problem in found.problems if problem.pointer == "/triggers/later")
    assert "colour" in said
    assert "not known" in said


def test_a_trigger_whose_snapshot_goes_is_broken() -> None:
    """There would be nothing to run."""
    found = effects([Move(Pointer("name", "n"), 1, None)], {1: TRAINING}, [trigger(snapshot="n")])
    assert found.broken_triggers == ("t",)


def test_a_trigger_that_did_not_fit_before_stands_in_nobodys_way() -> None:
    """It was broken knowingly; the next publication breaks nothing further."""
    old = without("test_size")
    assert of_newest(without("test_size", "model_type"), trigger(parameters={"test_size": 0.5}), old=old) == of_newest(
        without("test_size", "model_type"), old=old
    )


@pytest.mark.parametrize(
    "values",
    [
        {"parameters": {"data_url": "s3://{bucket.name}/{object.key}"}},
        {"steps": {"load_data": {"data_url": "s3://{bucket.name}/{object.key}"}}},
    ],
)
def test_what_an_event_will_give_is_judged_by_what_changed(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No value is known that could be checked; so a breaking change of its parameter breaks the trigger.

    Also where it is set at a step to which the pipeline hands its parameter on.
    """
    narrowed = Change(kind="narrowed", pointer="/parameters/data_url", breaking=True, detail="Shorter.")
    for changes, broken in (
        ((narrowed,), ("t",)),
        ((narrowed.model_copy(update={"pointer": "/parameters"}),), ("t",)),
        ((narrowed.model_copy(update={"pointer": "/parameters/data_url/items"}),), ("t",)),
        ((narrowed.model_copy(update={"pointer": "/parameters/data"}),), ()),
        ((narrowed.model_copy(update={"breaking": False}),), ()),
    ):
        monkeypatch.setattr("zentrigger.pointers.compare", lambda *_, changes=changes: changes)
        assert of_newest(TRAINING, trigger(**values)).broken_triggers == broken, changes
    monkeypatch.setattr("zentrigger.pointers.compare", lambda *_: (narrowed,))
    assert of_newest(TRAINING, trigger(parameters={"data_url": "fixed"})).broken_triggers == ()


def test_what_must_be_acted_on_is_said_first() -> None:
    """Names and triggers before the changes, of which there may be many."""
    moved = [Move(NEWEST, 1, 2), Move(Pointer("name", "production"), 1, 2)]
    sent = trigger("a", parameters={"test_size": 0.5})
    found = effects(moved, {1: TRAINING, 2: without("test_size", "data_url")}, [sent])

    said = [problem.pointer for problem in found.problems]
    assert said[:3] == ["/names/production", "/triggers/a", "/parameters/data_url"]


@pytest.mark.parametrize("choice", [None, "production", "tag:nightly", "tag:name"])
def test_a_pointer_says_how_it_is_chosen(choice: str | None) -> None:
    """As a request does."""
    pointer = read_choice("training_pipeline", choice)
    assert isinstance(pointer, Pointer)
    assert pointer.choice == choice


def test_names_with_breaking_changes_are_named() -> None:
    """Whoever calls by a name is nobody that we know; that its parameters change is said."""
    name = Pointer("name", "production")
    for new, broken in ((without("test_size"), ("production",)), (TRAINING, ())):
        assert effects([Move(name, 1, 2)], {1: TRAINING, 2: new}, []).broken_names == broken
