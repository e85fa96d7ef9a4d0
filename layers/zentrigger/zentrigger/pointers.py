"""Pointers: the ways to choose a snapshot other than by its number. What a write moves, and what that breaks.

Whoever runs the newest snapshot, a name or a tag gets another snapshot when the pointer moves, and with it other
parameters. Numbers and ids never move.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from zentrigger.catalogue import (
    TAG_PREFIX,
    Pipeline,
    SnapshotChoice,
    SnapshotContent,
    SnapshotSummary,
    number_said,
    split_snapshot_id,
)
from zentrigger.errors import InvalidRequestError, Problem
from zentrigger.parameters import step_pointer
from zentrigger.runs import Record
from zentrigger.schema_changes import Change, compare
from zentrigger.schema_references import escaped
from zentrigger.timestamps import Timestamp
from zentrigger.triggers import (
    StoredTrigger,
    Trigger,
    TriggerDefinition,
    UnreadableTrigger,
    check_trigger,
    event_values,
)


@dataclass(frozen=True)
class Pointer:
    """What leads to a snapshot: being the newest, a name, or a tag (to the highest number that has it)."""

    kind: Literal["newest", "name", "tag"]
    value: str = ""

    def __str__(self) -> str:
        return "newest" if self.kind == "newest" else f"{self.kind} {self.value!r}"

    @property
    def choice(self) -> str | None:
        """How a request chooses it: None is the newest."""
        match self.kind:
            case "newest":
                return None
            case "name":
                return self.value
            case "tag":
                return f"{TAG_PREFIX}{self.value}"


NEWEST = Pointer("newest")


def read_choice(pipeline: str, choice: SnapshotChoice | None) -> int | Pointer:
    """Give what a choice means for a pipeline: a number, or a pointer.

    Raises:
        InvalidRequestError: it is the id of another pipeline's snapshot.

    """
    if choice is None:
        return NEWEST
    if isinstance(choice, int):
        return choice
    said = number_said(pipeline, choice)
    if said is not None:
        return said
    if choice.startswith(TAG_PREFIX):
        return Pointer("tag", choice.removeprefix(TAG_PREFIX))
    found = split_snapshot_id(choice)
    if found is None:
        return Pointer("name", choice)
    raise InvalidRequestError([Problem("/snapshot", f"{choice!r} is a snapshot of {found[0]!r}, not of {pipeline!r}.")])


@dataclass(frozen=True)
class Rewrite:
    """What becomes of one snapshot: `before` is None for a new one, `after` for one that is deleted."""

    before: SnapshotSummary | None
    after: SnapshotSummary | None


@dataclass(frozen=True)
class Move:
    """A pointer that a write turns to another snapshot; None: to none, or from none."""

    pointer: Pointer
    before: int | None
    after: int | None


def moves(
    before: Pipeline | None, after: Pipeline, rewrites: Sequence[Rewrite], tagged: Mapping[str, tuple[int, ...]]
) -> tuple[Move, ...]:
    """Give the pointers that a write moves, the newest first.

    Args:
        before: The pipeline as it stands; None for the first publication.
        after: The pipeline as it will stand.
        rewrites: All snapshots that the write touches; the tags of only one of them change.
        tagged: For each tag that changes, the two highest numbers that have it now (or fewer).

    """
    found = [Move(NEWEST, before.newest if before else None, after.newest)]
    old, new = _by_name(one.before for one in rewrites), _by_name(one.after for one in rewrites)
    found += [Move(Pointer("name", name), old.get(name), new.get(name)) for name in sorted({*old, *new})]
    for one in rewrites:
        given = _tags(one.before) ^ _tags(one.after)
        found += [_tag_move(tag, one, tagged.get(tag, ())) for tag in sorted(given)]
    return tuple(move for move in found if move.before != move.after)


def _tag_move(tag: str, rewrite: Rewrite, standing: tuple[int, ...]) -> Move:
    own = {summary.number for summary in (rewrite.before, rewrite.after) if summary is not None}
    others = [number for number in standing if number not in own]
    after = max([*others, *(own if tag in _tags(rewrite.after) else ())], default=None)
    return Move(Pointer("tag", tag), max(standing, default=None), after)


def _by_name(summaries: Iterable[SnapshotSummary | None]) -> dict[str, int]:
    return {summary.name: summary.number for summary in summaries if summary is not None and summary.name is not None}


def _tags(summary: SnapshotSummary | None) -> frozenset[str]:
    return frozenset(summary.tags) if summary is not None else frozenset()


@dataclass(frozen=True)
class Effects:
    """What moving pointers changes for those who go through them."""

    changes: tuple[tuple[Move, tuple[Change, ...]], ...] = ()
    """Each move, and how the parameters after it differ from those before."""
    triggers: Mapping[str, tuple[Problem, ...]] | None = None
    """Triggers that would no longer fit, by name, and why."""
    unreadable: Sequence[UnreadableTrigger] = ()
    """Triggers that cannot be read, and so may no longer fit."""

    @property
    def broken_triggers(self) -> tuple[str, ...]:
        """Names of the triggers that would no longer fit, or of which that is not known."""
        return tuple(sorted([*(self.triggers or {}), *(trigger.name for trigger in self.unreadable)]))

    @property
    def broken_names(self) -> tuple[str, ...]:
        """Snapshots' names whose callers would have to change what they send."""
        return tuple(
            move.pointer.value
            for move, changes in self.changes
            if move.pointer.kind == "name" and any(change.breaking for change in changes)
        )

    @property
    def all_changes(self) -> tuple[Change, ...]:
        """The changes of all moves, each once."""
        return tuple(dict.fromkeys(change for _, changes in self.changes for change in changes))

    @property
    def of_newest(self) -> tuple[Change, ...]:
        """What changes for those who choose no snapshot."""
        return next((changes for move, changes in self.changes if move.pointer == NEWEST), ())

    @property
    def problems(self) -> list[Problem]:
        """What stands against the move: names and triggers that it concerns, and then the breaking changes."""
        return [
            *(
                Problem(f"/names/{name}", f"Whoever runs the name {name!r} would get these changes.")
                for name in self.broken_names
            ),
            *(
                Problem(f"/triggers/{name}", f"The trigger {name!r} would no longer fit. {_listed(wrong)}")
                for name, wrong in sorted((self.triggers or {}).items())
            ),
            *(
                Problem(
                    f"/triggers/{trigger.name}", f"{trigger.error().detail} It is not known whether it would still fit."
                )
                for trigger in self.unreadable
            ),
            *(Problem(change.pointer, change.detail) for change in self.all_changes if change.breaking),
        ]


def effects(
    moved: Sequence[Move], contents: Mapping[int, SnapshotContent], triggers: Sequence[StoredTrigger]
) -> Effects:
    """Give what moves change.

    A trigger that goes through a moved pointer is broken by the move if its parameters are wrong for the new snapshot
    where they were not for the old one, or if a breaking change concerns a parameter whose value is known only when an
    event comes.

    Args:
        moved: What moves.
        contents: The contents of all snapshots that are moved from and to, by number.
        triggers: The triggers of the pipeline.

    """
    readable = [trigger for trigger in triggers if isinstance(trigger, Trigger)]
    changes, broken = [], {}
    for move in moved:
        old = contents[move.before] if move.before is not None else None
        new = contents[move.after] if move.after is not None else None
        found = compare(old, new) if old is not None and new is not None else ()
        changes.append((move, found))
        for trigger in readable:
            if read_choice(trigger.definition.pipeline, trigger.definition.snapshot) != move.pointer:
                continue
            wrong = _newly_wrong(trigger.definition, move.pointer, old, new, found)
            if wrong:
                broken[trigger.name] = wrong
    # Which snapshot one that cannot be read chooses is not known.
    unreadable = tuple(trigger for trigger in triggers if isinstance(trigger, UnreadableTrigger))
    return Effects(tuple(changes), broken, unreadable)


def _newly_wrong(
    definition: TriggerDefinition,
    pointer: Pointer,
    old: SnapshotContent | None,
    new: SnapshotContent | None,
    changes: Sequence[Change],
) -> tuple[Problem, ...]:
    if new is None:
        return (Problem("/snapshot", f"Nothing would be the {pointer} any more."),)
    known = {problem.pointer for problem in check_trigger(definition, old)} if old is not None else set()
    wrong = [problem for problem in check_trigger(definition, new) if problem.pointer not in known]
    awaited = _awaited(definition, old)
    wrong += [
        Problem(change.pointer, f"{change.detail} What its events give may not fit.")
        for change in changes
        # That a value must be given breaks nobody who gives it.
        if change.breaking
        and any(
            _concerns(change.pointer, value) and not (change.kind == "required" and change.pointer == value)
            for value in awaited
        )
    ]
    return tuple(wrong)


def _awaited(definition: TriggerDefinition, old: SnapshotContent | None) -> set[str]:
    """Give the pointers of values with a field of the event; a step's that becomes the pipeline's, under both."""
    found = set(event_values(definition))
    for step, values in definition.steps.items():
        spec = old.steps.get(step) if old is not None else None
        for parameter in values:
            if spec is not None and parameter in spec.passed and step_pointer(step, parameter) in found:
                found.add(f"/parameters/{escaped(spec.passed[parameter])}")
    return found


def _concerns(changed: str, value: str) -> bool:
    """Tell whether one of two pointers is at or below the other."""
    return changed == value or changed.startswith(f"{value}/") or value.startswith(f"{changed}/")


def _listed(problems: Sequence[Problem]) -> str:
    return " ".join(f"{problem.pointer}: {problem.detail}" for problem in problems)


class MovedChoice(Record):
    """A name or a tag that leads to another snapshot since a write; None: to none, or from none."""

    choice: str
    before: int | None
    after: int | None


class HistoryEntry(Record):
    """What a publication or a deletion changed for runs that choose no snapshot, or an update for those that do."""

    revision: int
    """The pipeline's, which the write raised it to."""
    at: Timestamp
    by: str
    action: Literal["published", "published_again", "updated", "deleted"]
    snapshot: int
    """What was published, updated or deleted."""
    newest: int | None
    previous: int | None
    """What was the newest before."""
    moved: tuple[MovedChoice, ...] = ()
    """The names and tags that lead elsewhere since then."""
    changes: tuple[Change, ...] = ()
    """For those who choose no snapshot; of an update: for those who choose what it moved."""
    omitted: int = 0
    """How many changes are left out, because there were too many to keep."""
    broken_triggers: tuple[str, ...] = ()
    omitted_triggers: int = 0
    """How many triggers are left out, for the same reason."""
    broken_names: tuple[str, ...] = ()
    """Two at most: a write moves no more."""
    write: str
    """Names the one write that this is of, so that whoever lost its answer knows it again."""
