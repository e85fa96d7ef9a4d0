"""Writing triggers: one, or up to a hundred changes together; each is checked against the snapshot that it gets.

Like all that depends on a pipeline's snapshots, a trigger is written in one transaction that requires the pipeline's
catalogue to be as it was when the trigger was checked.
"""

import hashlib
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from zentrigger.catalogue import PublishedPipeline
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.errors import BusyError, ConflictError, InvalidRequestError, NotFoundError, Problem, TooLargeError
from zentrigger.hook_secrets import HookSecretStore
from zentrigger.items import TransactionRefusedError, transact
from zentrigger.parameters import MAX_PARAMETERS_BYTES
from zentrigger.run_requests import canonical
from zentrigger.schema_references import escaped
from zentrigger.timestamps import now, to_text
from zentrigger.trigger_store import TriggerStore, no_trigger
from zentrigger.triggers import (
    MAX_TRIGGERS,
    S3Trigger,
    ScheduleTrigger,
    StoredTrigger,
    Trigger,
    TriggerDefinition,
    UnreadableTrigger,
    WebhookTrigger,
    check_trigger,
    feedback,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

MAX_ACTIONS = 100
"""Of one transaction (AWS: TransactWriteItems)."""

MAX_TRIGGER_BYTES = 350 * 1024
"""Of a definition as JSON. An item has 400 KB (AWS: "Constraints in Amazon DynamoDB")."""

MAX_TOGETHER_BYTES = 3 * 1024 * 1024
"""Of the definitions that are changed together, of each the larger one of what stands and what replaces it.

A transaction has 4 MB. AWS does not say whether what is only deleted counts ("TransactWriteItems"), so it does here.
"""

WRITE_TRIES = 20

_OTHERWISE = (
    "The triggers are not any more as they were when this was planned, so that it would do something else now. Nothing"
    " was written. Plan it again, with dry_run=true."
)

_ARTIFACTS = "runs/"
"""Where in the artifact bucket tasks write."""


@dataclass(frozen=True)
class TriggerChange:
    """What becomes of one trigger."""

    name: str
    change: Literal["create", "update", "delete", "unchanged"]
    before: StoredTrigger | None
    after: Trigger | None
    alone: bool = False
    """Whether nothing else was asked for: then its schedule is looked at, too, for a hand may have changed that."""

    @property
    def scheduled(self) -> bool:
        """Whether a schedule may have to be set for it."""
        if self.change == "unchanged" and not self.alone:
            return False
        return any(side is not None and _may_be_schedule(side) for side in (self.before, self.after))


@dataclass(frozen=True)
class TriggerChanges:
    """What becomes of several triggers, and under which id it was written."""

    changes: tuple[TriggerChange, ...]
    write: str

    @property
    def made(self) -> tuple[TriggerChange, ...]:
        """Those that change anything."""
        return tuple(change for change in self.changes if change.change != "unchanged")

    @property
    def plan(self) -> str:
        """What is done to which triggers as they stand, as text that is the same only if all of that is.

        What stays unchanged is no part of it but by name: nothing is done to it, whoever touched it.
        """
        done = [(change.name, change.change, *_sides(change)) for change in self.changes]
        return hashlib.sha256(canonical(sorted(done)).encode()).hexdigest()[:32]

    @property
    def scheduled(self) -> tuple[str, ...]:
        """Names of the triggers whose schedules are to be set; each is noted together with what was written."""
        return tuple(change.name for change in self.changes if change.scheduled)


class TriggerWriter:
    """Makes, replaces and deletes triggers."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        *,
        client: "DynamoDBClient",
        triggers: TriggerStore,
        catalogue: CatalogueStore,
        secrets: HookSecretStore,
        artifact_bucket: str,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._client = client
        self._triggers = triggers
        self._catalogue = catalogue
        self._secrets = secrets
        self._artifact_bucket = artifact_bucket
        self._clock = clock

    def put(self, name: str, definition: TriggerDefinition) -> TriggerChanges:
        """Make a trigger, or replace the one of this name, if it fits the snapshot that it chooses.

        Raises:
            NotFoundError: there is no such pipeline or snapshot.
            InvalidRequestError: no event could make its parameters fit; all problems are in it.
            TooLargeError: its parameters are larger than those of a run may be.
            BusyError: others changed the pipeline or the trigger each time. Nothing was written.

        """
        return self._until_written({name: definition}, delete=(), pointer=None)

    def delete(self, name: str) -> TriggerChanges:
        """Delete a trigger and its secret; its receipts stay until they expire.

        Raises:
            NotFoundError: there is none of this name.
            BusyError: others changed it each time. Nothing was written.

        """
        if self._triggers.look(name) is None:
            raise no_trigger(name)
        return self._until_written({}, delete=(name,), pointer=None)

    def apply(
        self, wanted: Mapping[str, TriggerDefinition], *, prune: bool, dry_run: bool, plan: str | None = None
    ) -> TriggerChanges:
        """Make the triggers as they are wanted, all together or none; with `prune`, delete all others.

        Args:
            wanted: The triggers to make or replace.
            prune: Whether to delete those that are not wanted.
            dry_run: Whether to write nothing.
            plan: What alone may be done, as an earlier call told it; None: whatever it takes. Where all is as wanted
                already, nothing is left to be refused: so an answer that was lost can be asked for again.

        Raises:
            ConflictError: it is not this plan that would be done now. Nothing was written.
            InvalidRequestError: something is wrong with some; everything is in it. Nothing was written.
            BusyError: others changed them each time. Nothing was written.

        """
        return self._until_written(
            wanted, delete=None if prune else (), pointer="/triggers", dry_run=dry_run, plan=plan
        )

    # ------------------------------------------------------------ one attempt after the other

    def _until_written(
        self,
        wanted: Mapping[str, TriggerDefinition],
        *,
        delete: Sequence[str] | None,
        pointer: str | None,
        dry_run: bool = False,
        plan: str | None = None,
    ) -> TriggerChanges:
        """Repeat an attempt until nothing came between what it read and what it wrote.

        Args:
            wanted: The triggers to make or replace.
            delete: Names of those to delete; None: all that are not wanted.
            pointer: Where in the request the triggers stand; None: it is of a single one.
            dry_run: Whether nothing is to be written.
            plan: What alone may be done, if not None.

        """
        write = uuid.uuid4().hex
        for turn in range(WRITE_TRIES):
            standing = {trigger.name: trigger for trigger in self._triggers.stored()}
            heads = self._heads(wanted.values())
            changes = tuple(self._changes(standing, wanted, delete, alone=pointer is None))
            found = TriggerChanges(changes, write)
            # Who changes one of these from here on makes the write fail, and this is asked again; what is made from
            # here on is no part of the write.
            if plan is not None and found.made and found.plan != plan:
                raise ConflictError(_OTHERWISE, [Problem("/plan", _OTHERWISE)])
            try:
                self._check(changes, len(standing), pointer)
                if dry_run or self._written(changes, heads, write):
                    return found
            except (InvalidRequestError, NotFoundError, TooLargeError):
                # What was published a moment ago may have made it right.
                if self._heads(wanted.values()) == heads:
                    raise
            time.sleep(random.uniform(0, min(0.02 * 2**turn, 0.5)))  # noqa: S311 - jitter
        raise BusyError(
            "Others are changing these triggers or their pipelines just now. Nothing was written; try again."
        )

    def _heads(self, definitions: Iterable[TriggerDefinition]) -> dict[str, PublishedPipeline | None]:
        return {name: self._catalogue.head(name) for name in sorted({one.pipeline for one in definitions})}

    def _changes(
        self,
        standing: Mapping[str, StoredTrigger],
        wanted: Mapping[str, TriggerDefinition],
        delete: Sequence[str] | None,
        *,
        alone: bool,
    ) -> Iterable[TriggerChange]:
        moment = self._clock()
        for name, definition in sorted(wanted.items()):
            before = standing.get(name)
            if isinstance(before, Trigger) and _as_json(before.definition) == _as_json(definition):
                yield TriggerChange(name, "unchanged", before, before, alone)
                continue
            after = _following(name, definition, before, moment)
            yield TriggerChange(name, "update" if before else "create", before, after)
        doomed = [name for name in standing if name not in wanted] if delete is None else delete
        for name in sorted(doomed):
            if name in standing:
                yield TriggerChange(name, "delete", standing[name], None)

    # ------------------------------------------------------------ checking

    def _check(self, changes: Sequence[TriggerChange], standing: int, pointer: str | None) -> None:
        problems: list[Problem] = []
        for change in changes:
            if change.after is None or change.change == "unchanged":
                continue
            if pointer is None:
                self._check_one(change.after.definition)
                continue
            at = f"{pointer}/{escaped(change.name)}"
            try:
                self._check_one(change.after.definition)
            except InvalidRequestError as error:
                problems += [Problem(f"{at}{problem.pointer}", problem.detail) for problem in error.problems]
            except NotFoundError as error:
                problems.append(Problem(f"{at}/pipeline", error.detail))
            except TooLargeError as error:
                problems.append(Problem(f"{at}/parameters", error.detail))
        if problems:
            raise InvalidRequestError(problems)
        wrong = _too_many(changes, standing) or _too_much(changes)
        if wrong is not None:
            raise InvalidRequestError([Problem(pointer or "", wrong)])

    def _check_one(self, definition: TriggerDefinition) -> None:
        size = len(canonical([definition.parameters, definition.steps]).encode())
        if size > MAX_PARAMETERS_BYTES:
            raise TooLargeError(f"The parameters are {size} bytes, of {MAX_PARAMETERS_BYTES} at most, as of any run.")
        whole = len(_as_json(definition).encode())
        if whole > MAX_TRIGGER_BYTES:
            raise TooLargeError(f"The trigger is {whole} bytes with all that it says, of {MAX_TRIGGER_BYTES} at most.")
        snapshot = self._catalogue.find(definition.pipeline, definition.snapshot)
        problems = check_trigger(definition, snapshot.content)
        if isinstance(definition, S3Trigger) and definition.bucket == self._artifact_bucket:
            meets = _ARTIFACTS.startswith(definition.prefix) or definition.prefix.startswith(_ARTIFACTS)
            problems += [feedback(f"s3://{self._artifact_bucket}/{_ARTIFACTS}")] if meets else []
        if problems:
            raise InvalidRequestError(problems)

    # ------------------------------------------------------------ writing

    def _written(
        self, changes: Sequence[TriggerChange], heads: Mapping[str, PublishedPipeline | None], write: str
    ) -> bool:
        """Write all changes, or nothing. False: another write came before."""
        made = [change for change in changes if change.change != "unchanged"]
        if not made:
            notes = [self._triggers.pending_action(change.name, write) for change in changes if change.scheduled]
            if notes:
                transact(self._client, notes)
            return True
        needed = {change.after.definition.pipeline for change in made if change.after is not None}
        actions: list[TransactWriteItemTypeDef] = []
        for change in made:
            actions += self._actions(change, write)
        for name in sorted(needed):
            head = heads[name]
            if head is None:
                return False  # it was published just now
            actions.append(self._catalogue.fence_action(head))
        try:
            transact(self._client, actions)
        except TransactionRefusedError:
            # An answer that was lost, and a repetition that its own write refused: then all stands as it was to.
            return all(self._triggers.look(change.name) == change.after for change in made)
        return True

    def _actions(self, change: TriggerChange, write: str) -> "list[TransactWriteItemTypeDef]":
        actions: list[TransactWriteItemTypeDef] = []
        if change.after is not None:
            actions.append(self._triggers.put_action(change.after, change.before))
        elif change.before is not None:
            actions += [*self._triggers.delete_actions(change.before), self._secrets.delete_action(change.name)]
        if _ends_webhook(change):
            # Or it would be good again, unseen, when the trigger becomes a webhook again.
            actions.append(self._secrets.delete_action(change.name))
        if change.scheduled:
            actions.append(self._triggers.pending_action(change.name, write))
        return actions


def _too_many(changes: Sequence[TriggerChange], standing: int) -> str | None:
    """Say that there would be more triggers than there may be. Two writers at once may go beyond it, by their own."""
    kinds = [change.change for change in changes]
    more = kinds.count("create") - kinds.count("delete")
    if more <= 0 or standing + more <= MAX_TRIGGERS:
        return None
    return (
        f"There would be {standing + more} triggers, of {MAX_TRIGGERS} at most: each event is held against all of its"
        " type. Delete some, or have one do for several places."
    )


def _too_much(changes: Sequence[TriggerChange]) -> str | None:
    """Say that changes are more than one transaction takes."""
    count = _action_count(changes)
    if count > MAX_ACTIONS:
        return f"{count} writes cannot be made together, {MAX_ACTIONS} at most: do it in parts."
    size = sum(_size(change) for change in changes if change.change != "unchanged")
    if size > MAX_TOGETHER_BYTES:
        return f"{size} bytes cannot be changed together, {MAX_TOGETHER_BYTES} at most: do it in parts."
    return None


def _may_be_schedule(trigger: StoredTrigger) -> bool:
    if isinstance(trigger, UnreadableTrigger):
        return trigger.may_be_schedule
    return isinstance(trigger.definition, ScheduleTrigger)


def _action_count(changes: Sequence[TriggerChange]) -> int:
    """Give how many actions changes take, those that hold their pipelines among them."""
    made = [change for change in changes if change.change != "unchanged"]
    pipelines = {change.after.definition.pipeline for change in made if change.after is not None}
    return len(pipelines) + sum(
        (3 if change.after is None else 1) + _ends_webhook(change) + change.scheduled for change in made
    )


def _ends_webhook(change: TriggerChange) -> bool:
    """Tell whether a trigger that may be a webhook becomes one of another type."""
    after = change.after
    return (
        change.before is not None
        and after is not None
        and _may_be_webhook(change.before)
        and not _may_be_webhook(after)
    )


def _may_be_webhook(trigger: StoredTrigger) -> bool:
    if isinstance(trigger, UnreadableTrigger):
        return trigger.type in (None, "webhook")
    return isinstance(trigger.definition, WebhookTrigger)


def _sides(change: TriggerChange) -> tuple[str | None, str | None]:
    """Give which version of a trigger is replaced or deleted, and by what, as far as anything is done to it."""
    if change.change == "unchanged":
        return None, None
    return _version(change.before), _as_json(change.after.definition) if change.after is not None else None


def _version(trigger: StoredTrigger | None) -> str | None:
    if trigger is None:
        return None
    return to_text(trigger.updated_at) if isinstance(trigger, Trigger) else trigger.updated


def _size(change: TriggerChange) -> int:
    """Give the bytes of the larger side of a change; those of a trigger that cannot be read are not known."""
    sides = [side for side in (change.before, change.after) if isinstance(side, Trigger)]
    return max((len(_as_json(side.definition).encode()) for side in sides), default=0)


def _as_json(definition: TriggerDefinition) -> str:
    """Give a definition as text: to Python, `1`, `1.0` and `true` would be the same parameter."""
    return canonical(definition.model_dump(mode="json"))


def _following(name: str, definition: TriggerDefinition, before: StoredTrigger | None, moment: datetime) -> Trigger:
    """Give a trigger with a new definition. Its rate goes on from where it began while its schedule is the same."""
    created_at: datetime | str = moment
    if before is not None:
        created_at = before.created_at if isinstance(before, Trigger) else before.created or moment
    anchor = definition.start_at or moment
    if isinstance(before, Trigger) and _rhythm(before.definition) == _rhythm(definition):
        anchor = before.anchor
    # `definition` is one of the four; which one, its `type` says.
    values = {"name": name, "definition": definition.model_dump(), "created_at": created_at}
    return Trigger.model_validate(values | {"updated_at": moment, "anchor": anchor})


def _rhythm(definition: TriggerDefinition) -> object:
    schedule = definition.schedule if isinstance(definition, ScheduleTrigger) else None
    return (schedule, definition.start_at)
