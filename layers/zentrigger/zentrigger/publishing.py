"""Publishing: what writes to a pipeline's catalogue, and what such a write may not break.

Publishing, renaming and tagging, and deleting each decide on what they have read and then write in one transaction,
which requires that nothing of the pipeline was written meanwhile, a trigger of it among that; if something was, they
read again. So numbers have no gap, and no trigger is left out when it is looked at what a write would break.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from pydantic import ValidationError

from zentrigger.catalogue import (
    MAX_TAGS,
    DeployedImage,
    Pipeline,
    PublishedPipeline,
    PublishRequest,
    Snapshot,
    SnapshotContent,
    SnapshotSummary,
    SnapshotUpdate,
    snapshot_id,
    split_snapshot_id,
)
from zentrigger.catalogue_store import CatalogueStore, CatalogueWrite, no_snapshot
from zentrigger.errors import (
    BusyError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    Problem,
    TooLargeError,
)
from zentrigger.parameters import check_configuration, check_schemas
from zentrigger.pointers import NEWEST, Effects, HistoryEntry, Pointer, Rewrite, effects, moves, read_choice
from zentrigger.schema_changes import Change
from zentrigger.schema_references import escaped
from zentrigger.timestamps import now
from zentrigger.trigger_store import TriggerStore
from zentrigger.triggers import StoredTrigger, UnreadableTrigger

T = TypeVar("T")

MAX_SNAPSHOT_BYTES = 320 * 1024
"""Of a content, as JSON. An item of DynamoDB is 400 KB at most (AWS: "Constraints in Amazon DynamoDB"), and a
description of control characters, which JSON writes as six each, takes 60 KB of it."""

MAX_HISTORY_BYTES = 200 * 1024
"""Of an entry of the history, as JSON; changes that would make it larger are left out."""

MAX_KEPT_TRIGGERS = 100
"""How many triggers an entry of the history names."""

MAX_PROBLEMS = 200
MAX_DETAIL = 1000
"""How much a refusal says; a function's answer is 6 MB at most."""

PUBLISH_TRIES = 20
LONGEST_PAUSE_SECONDS = 0.5
"""Twenty tries with these pauses take 5 s on average; who waits for the answer gives up after 30."""


class TaskDefinitions(Protocol):
    """Registers the task definitions that runs are launched with."""

    def base(self) -> DeployedImage:
        """Give what the stack's own tasks are made of."""
        ...

    def usable_revision(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> str:
        """Give the ARN of the task definition for an image and secrets; register it if need be, also anew."""
        ...


@dataclass(frozen=True)
class Publication:
    """What became of a snapshot that was published or updated."""

    snapshot: SnapshotSummary
    newest: bool
    created: bool = False
    changes: tuple[Change, ...] = ()
    """Of a publication: against the newest before. Of an update: of all pointers that it moved."""
    broken_triggers: tuple[str, ...] = ()
    broken_names: tuple[str, ...] = ()


class Publisher:
    """Publishes snapshots, changes and deletes them."""

    def __init__(
        self,
        *,
        catalogue: CatalogueStore,
        triggers: TriggerStore,
        task_definitions: TaskDefinitions,
        secret_arns: Sequence[str] = (),
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._catalogue = catalogue
        self._triggers = triggers
        self._task_definitions = task_definitions
        self._secret_arns = tuple(secret_arns)
        self._clock = clock

    # ------------------------------------------------------------ what operators do

    def publish(self, request: PublishRequest, by: str) -> Publication:
        """Make a snapshot, or give the one that has this content already, and make it the newest.

        The one that is there gets the name, the tags and the description, if they are said; its commit stays, which is
        where this content was first published from.

        `created` tells which; both can be believed also where the answer of a write was lost, for each write is
        known again by an id of its own (see `CatalogueStore.write`).

        Raises:
            InvalidRequestError: image, secrets, schemas or configuration cannot be used; all that is wrong is in it.
            TooLargeError: the content is too large to be kept.
            ConflictError: another snapshot has the name, or triggers would no longer fit. Nothing was written.
            BusyError: others changed the pipeline each time. Nothing was written.

        """
        content = self._content(request)
        # A registration cannot be undone, so what is refused is refused before; the write makes sure of it once more.
        self._until_written(content.pipeline, lambda standing: self._planned(standing, request, content, "", by))
        task_definition = self._task_definitions.usable_revision(content.image, content.architecture, content.secrets)
        return self._until_written(
            content.pipeline, lambda standing: self._publish(standing, request, content, task_definition, by)
        )

    def update(self, snapshot: str, wanted: SnapshotUpdate, by: str) -> Publication:
        """Change name, description or tags of a snapshot, given by its id.

        Raises:
            NotFoundError: there is no such snapshot.
            ConflictError: another snapshot has the name, or triggers would no longer fit. Nothing was written.
            BusyError: others changed the pipeline each time. Nothing was written.

        """
        pipeline, number = _split(snapshot)
        return self._until_written(pipeline, lambda standing: self._update(standing, pipeline, number, wanted, by))

    def delete(self, snapshot: str, by: str) -> None:
        """Delete a snapshot that no name and no trigger leads to, given by its id; its number is never given again.

        Raises:
            NotFoundError: there is no such snapshot.
            ConflictError: names or triggers lead to it; all of them are in it.
            BusyError: others changed the pipeline each time. Nothing was written.

        """
        pipeline, number = _split(snapshot)
        self._until_written(pipeline, lambda standing: self._delete(standing, pipeline, number, by))

    def _until_written(self, pipeline: str, attempt: Callable[[PublishedPipeline | None], T | None]) -> T:
        """Repeat an attempt until it gives something: None means that another write came before its own.

        An attempt is given the pipeline as it stands, and all that it reads after that is true at the same moment if
        nothing was written meanwhile. Its own write makes sure of that; what it refuses is looked at again.
        """
        for turn in range(PUBLISH_TRIES):
            standing = self._catalogue.head(pipeline)
            try:
                done = attempt(standing)
            except (ConflictError, InvalidRequestError, NotFoundError):
                if self._catalogue.head(pipeline) == standing:
                    raise
                done = None
            if done is not None:
                return done
            time.sleep(random.uniform(0, min(0.02 * 2**turn, LONGEST_PAUSE_SECONDS)))  # noqa: S311 - jitter
        raise BusyError(f"Others are changing {pipeline} just now. Nothing was written; try again.")

    # ------------------------------------------------------------ what is published

    def _content(self, request: PublishRequest) -> SnapshotContent:
        image, architecture = request.image, request.architecture
        if image is None or architecture is None:
            base = self._task_definitions.base()
            image, architecture = image or base.image, architecture or base.architecture
        problems = uncovered_secrets(request.secrets, self._secret_arns)
        try:
            content = request.content(image, architecture)
        except ValidationError:
            # All else was checked when the request was read.
            problems.append(
                Problem(
                    "/image",
                    f"The stack was deployed with {image[:MAX_DETAIL]!r}, which may mean another image tomorrow. A"
                    " snapshot needs one by its digest: publish with --image repository@sha256:….",
                )
            )
            raise InvalidRequestError(problems) from None
        size = len(content.model_dump_json().encode())
        if size > MAX_SNAPSHOT_BYTES:
            raise TooLargeError(
                f"The snapshot is {size} bytes, of {MAX_SNAPSHOT_BYTES} at most. Shorten its schemas or configuration."
            )
        problems += wrong_passes(content)
        problems += check_schemas(content) or check_configuration(content)
        if problems:
            raise InvalidRequestError(as_listed(problems))
        return content

    # ------------------------------------------------------------ one attempt of each

    def _publish(
        self,
        standing: PublishedPipeline | None,
        request: PublishRequest,
        content: SnapshotContent,
        task_definition: str,
        by: str,
    ) -> Publication | None:
        planned = self._planned(standing, request, content, task_definition, by)
        if planned is None:
            return None
        publication, write = planned
        return publication if write is None or self._catalogue.write(write) else None

    def _planned(
        self,
        standing: PublishedPipeline | None,
        request: PublishRequest,
        content: SnapshotContent,
        task_definition: str,
        by: str,
    ) -> tuple[Publication, CatalogueWrite | None] | None:
        """Give what a publication comes to and what it writes, which may be nothing; None: another write came."""
        own = self._same_content(content) if standing is not None else None
        moment = self._clock()
        if own is None:
            wanted = Snapshot(
                number=standing.pipeline.snapshots + 1 if standing else 1,
                content=content,
                name=request.name,
                description=request.description,
                tags=tuple(dict.fromkeys(request.tags)),
                git=request.git,
                task_definition=task_definition,
                published_at=moment,
                published_by=by,
            ).summary
        else:
            tags = tuple(dict.fromkeys((*own.tags, *request.tags)))
            said = "description" in request.model_fields_set
            wanted = own.model_copy(
                update={
                    "name": request.name or own.name,
                    "description": request.description if said else own.description,
                    "tags": tags,
                    "task_definition": task_definition or own.task_definition,
                }
            )
        if len(wanted.tags) > MAX_TAGS:
            detail = f"Snapshot {wanted.number} would have {len(wanted.tags)} tags, of {MAX_TAGS} at most."
            raise InvalidRequestError([Problem("/tags", detail)])
        after = PublishedPipeline(
            Pipeline(
                name=content.pipeline,
                snapshots=max(wanted.number, standing.pipeline.snapshots if standing else 0),
                newest=wanted.number,
                revision=_next_revision(standing),
            ),
            wanted,
        )
        if standing is not None and own == wanted and standing.pipeline.newest == wanted.number:
            return Publication(own, newest=True), None
        holder = self._holder(own, wanted)
        rewrites = _rewrites(own, wanted, holder)
        found = self._effects(standing, after, rewrites, {wanted.number: content})
        if found is None:
            return None
        _refuse(_name_conflicts(own, wanted, holder, replace=request.replace), found, allowed=request.allow_breaking)
        action = "published" if own is None else "published_again"
        entry = history_entry(standing, after, wanted.number, action, by, moment, found)
        new = content if own is None else None
        publication = Publication(
            wanted,
            newest=True,
            created=own is None,
            changes=found.of_newest,
            broken_triggers=found.broken_triggers,
            broken_names=found.broken_names,
        )
        return publication, CatalogueWrite(standing, after, rewrites, new, entry, entry.write)

    def _update(
        self, before: PublishedPipeline | None, pipeline: str, number: int, wanted: SnapshotUpdate, by: str
    ) -> Publication | None:
        standing, own = self._existing(before, pipeline, number)
        changed = own.model_copy(
            update={
                "name": wanted.name if "name" in wanted.model_fields_set else own.name,
                "description": own.description if wanted.description is None else wanted.description,
                "tags": own.tags if wanted.tags is None else tuple(dict.fromkeys(wanted.tags)),
            }
        )
        is_newest = standing.pipeline.newest == number
        if changed == own:
            return Publication(own, newest=is_newest)
        holder = self._holder(own, changed)
        rewrites = _rewrites(own, changed, holder)
        after = _after(standing, newest=standing.newest, rewrites=rewrites)
        found = self._effects(standing, after, rewrites, {})
        if found is None:
            return None
        conflicts = _name_conflicts(None, changed, holder, replace=wanted.replace)
        _refuse(conflicts, found, allowed=wanted.allow_breaking)
        write = CatalogueWrite(standing, after, rewrites)
        if (own.name, set(own.tags)) != (changed.name, set(changed.tags)):
            entry = history_entry(standing, after, number, "updated", by, self._clock(), found)
            write = CatalogueWrite(standing, after, rewrites, entry=entry, id=entry.write)
        if not self._catalogue.write(write):
            return None
        return Publication(
            changed,
            newest=is_newest,
            changes=found.all_changes,
            broken_triggers=found.broken_triggers,
            broken_names=found.broken_names,
        )

    def _delete(self, before: PublishedPipeline | None, pipeline: str, number: int, by: str) -> bool | None:
        standing, own = self._existing(before, pipeline, number)
        users = self._users(standing, own)
        if users:
            raise ConflictError(f"Snapshot {own.id} is in use; see errors.", as_listed(users))
        newest = standing.newest
        if newest is not None and newest.number == number:
            newest = self._catalogue.newest_but(pipeline, number)
        rewrites = (Rewrite(own, None),)
        after = _after(standing, newest=newest, rewrites=rewrites)
        found = self._effects(standing, after, rewrites, {})
        if found is None:
            return None
        entry = history_entry(standing, after, number, "deleted", by, self._clock(), found)
        return self._catalogue.write(CatalogueWrite(standing, after, rewrites, entry=entry, id=entry.write)) or None

    # ------------------------------------------------------------ what they read

    def _existing(
        self, standing: PublishedPipeline | None, pipeline: str, number: int
    ) -> tuple[PublishedPipeline, SnapshotSummary]:
        own = self._catalogue.summary(pipeline, number) if standing is not None else None
        if standing is None or own is None:
            raise no_snapshot(snapshot_id(pipeline, number))
        return standing, own

    def _same_content(self, content: SnapshotContent) -> SnapshotSummary | None:
        number = self._catalogue.number_of_content(content.pipeline, content.content_hash)
        return self._catalogue.summary(content.pipeline, number) if number is not None else None

    def _holder(self, own: SnapshotSummary | None, wanted: SnapshotSummary) -> SnapshotSummary | None:
        """Give the other snapshot that has a name that is wanted anew."""
        if wanted.name is None or (own is not None and own.name == wanted.name):
            return None
        number = self._catalogue.number_of(wanted.pipeline, Pointer("name", wanted.name))
        return self._catalogue.summary(wanted.pipeline, number) if number is not None else None

    def _effects(
        self,
        before: PublishedPipeline | None,
        after: PublishedPipeline,
        rewrites: Sequence[Rewrite],
        known: Mapping[int, SnapshotContent],
    ) -> Effects | None:
        """Give what a write would change; None: another write came while this was being read."""
        touched = [summary.number for one in rewrites if (summary := one.after or one.before) is not None]
        if len(set(touched)) < len(touched):
            return None  # it got, meanwhile, the name that another snapshot was to be robbed of
        name = after.pipeline.name
        tagged = {tag: self._catalogue.tagged(name, tag) for tag in _changed_tags(rewrites)}
        moved = moves(before.pipeline if before else None, after.pipeline, rewrites, tagged)
        if not moved:
            return Effects()
        contents = dict(known)
        for number in {number for move in moved for number in (move.before, move.after) if number is not None}:
            if number not in contents:
                snapshot = self._catalogue.snapshot(name, number)
                if snapshot is None:
                    return None
                contents[number] = snapshot.content
        return effects(moved, contents, self._triggers_of(name))

    def _triggers_of(self, pipeline: str) -> list[StoredTrigger]:
        """Give the triggers that run a pipeline, and those of which that is not known."""
        return [trigger for trigger in self._triggers.stored() if _pipeline_of(trigger) in (pipeline, None)]

    def _users(self, standing: PublishedPipeline, own: SnapshotSummary) -> list[Problem]:
        """Give the names and triggers that lead to a snapshot."""
        leading: set[int | Pointer] = {own.number}
        if standing.pipeline.newest == own.number:
            leading.add(NEWEST)
        if own.name is not None:
            leading.add(Pointer("name", own.name))
        for tag in own.tags:
            if self._catalogue.tagged(own.pipeline, tag)[:1] == (own.number,):
                leading.add(Pointer("tag", tag))
        users = []
        for trigger in self._triggers_of(own.pipeline):
            pointer = f"/triggers/{trigger.name}"
            if isinstance(trigger, UnreadableTrigger):
                users.append(
                    Problem(pointer, f"{trigger.error().detail} It is not known whether it runs the snapshot.")
                )
            elif read_choice(own.pipeline, trigger.definition.snapshot) in leading:
                users.append(Problem(pointer, f"The trigger {trigger.name!r} runs it."))
        if own.name is not None:
            users.insert(
                0, Problem(f"/names/{own.name}", f"It has the name {own.name!r}: move it or take it away first.")
            )
        return users


# ------------------------------------------------------------ decisions


def uncovered_secrets(secrets: Mapping[str, str], patterns: Sequence[str]) -> list[Problem]:
    """Give the secrets that tasks of this stack may not read.

    Args:
        secrets: Variable -> ARN, with or without what ECS takes behind it (`:json-key:version-stage:version-id`).
        patterns: ARNs that tasks may read; an asterisk at the end stands for anything.

    """
    return [
        Problem(
            f"/secrets/{variable}",
            f"Tasks of this stack may not read {_secret_arn(reference)}. Add it to the stack's parameter"
            " PipelineSecretArns (an asterisk at the end stands for anything) and deploy again.",
        )
        for variable, reference in secrets.items()
        if not any(_covers(pattern, _secret_arn(reference)) for pattern in patterns)
    ]


_ARN_PARTS = 7
"""arn, partition, service, Region, account, `secret`, name."""


def _secret_arn(reference: str) -> str:
    return ":".join(reference.split(":")[:_ARN_PARTS])


def _covers(pattern: str, arn: str) -> bool:
    return arn.startswith(pattern[:-1]) if pattern.endswith("*") else arn == pattern


def wrong_passes(content: SnapshotContent) -> list[Problem]:
    """Give the steps' `passed` that say what cannot be: a parameter that is not fixed, or none of the pipeline's."""
    known = content.parameters_schema.get("properties")
    names = known if isinstance(known, dict) else {}
    problems = []
    for step, spec in content.steps.items():
        for parameter, source in spec.passed.items():
            pointer = f"/steps/{escaped(step)}/passed/{escaped(parameter)}"
            if parameter not in spec.fixed:
                problems.append(Problem(pointer, f"{parameter!r} is not among the step's `fixed`."))
            if source not in names:
                problems.append(Problem(pointer, f"The pipeline has no parameter {source!r}."))
    return problems


def _pipeline_of(trigger: StoredTrigger) -> str | None:
    return trigger.pipeline if isinstance(trigger, UnreadableTrigger) else trigger.definition.pipeline


def _split(snapshot: str) -> tuple[str, int]:
    found = split_snapshot_id(snapshot)
    if found is None:
        raise no_snapshot(snapshot)
    return found


def _rewrites(
    own: SnapshotSummary | None, wanted: SnapshotSummary, holder: SnapshotSummary | None
) -> tuple[Rewrite, ...]:
    taken = () if holder is None else (Rewrite(holder, holder.model_copy(update={"name": None})),)
    return (Rewrite(own, wanted), *taken)


def _next_revision(standing: PublishedPipeline | None) -> int:
    return standing.pipeline.revision + 1 if standing else 1


def _after(
    standing: PublishedPipeline, *, newest: SnapshotSummary | None, rewrites: Sequence[Rewrite] = ()
) -> PublishedPipeline:
    """Give how a pipeline stands after a write that makes no snapshot."""
    rewritten = {one.after.number: one.after for one in rewrites if one.after is not None}
    summary = rewritten.get(newest.number, newest) if newest is not None else None
    pipeline = standing.pipeline.model_copy(
        update={"newest": summary.number if summary else None, "revision": _next_revision(standing)}
    )
    return PublishedPipeline(pipeline, summary)


def _changed_tags(rewrites: Iterable[Rewrite]) -> set[str]:
    return {
        tag
        for one in rewrites
        for tag in {*(one.before.tags if one.before else ())} ^ {*(one.after.tags if one.after else ())}
    }


def _name_conflicts(
    own: SnapshotSummary | None, wanted: SnapshotSummary, holder: SnapshotSummary | None, *, replace: bool
) -> list[Problem]:
    """Give what stands against a name: another snapshot has it, or this content is published under another one."""
    if replace:
        return []
    problems = []
    if holder is not None:
        problems.append(Problem("/name", f"Snapshot {holder.id} has the name {wanted.name!r}. With replace it moves."))
    if own is not None and own.name is not None and own.name != wanted.name:
        problems.append(
            Problem("/name", f"This content is snapshot {own.id}, whose name is {own.name!r}. With replace it changes.")
        )
    return problems


def _refuse(conflicts: Sequence[Problem], found: Effects, *, allowed: bool) -> None:
    """Raise what stands against a write."""
    breaks = () if allowed else found.broken_triggers
    if not (conflicts or breaks):
        return
    said = [problem.detail for problem in conflicts]
    if breaks:
        said.append(
            f"It would break {len(breaks)} trigger{'s' if len(breaks) > 1 else ''}: {', '.join(breaks[:10])}."
            " Change what they send, or do it with allow_breaking."
        )
    problems = [*conflicts, *(found.problems if breaks else ())]
    raise ConflictError(f"Nothing was written. {' '.join(said)}", as_listed(problems))


def as_listed(problems: Sequence[Problem]) -> list[Problem]:
    """Give what a refusal says of problems: where there are too many, the last one says how many more there are."""
    shown = problems if len(problems) <= MAX_PROBLEMS else problems[: MAX_PROBLEMS - 1]
    cut = [Problem(problem.pointer[:MAX_DETAIL], problem.detail[:MAX_DETAIL]) for problem in shown]
    more = len(problems) - len(shown)
    return [*cut, Problem("", f"And {more} more.")] if more else cut


def history_entry(  # noqa: PLR0913, PLR0917 - the parts of an entry
    before: PublishedPipeline | None,
    after: PublishedPipeline,
    number: int,
    action: str,
    by: str,
    moment: datetime,
    found: Effects,
) -> HistoryEntry:
    """Give what the history keeps of a write: of what is too much, the first ones, and how many there are more."""
    triggers = found.broken_triggers
    entry = HistoryEntry.model_validate(
        {
            "revision": after.pipeline.revision,
            "at": moment,
            "by": by,
            "action": action,
            "snapshot": number,
            "newest": after.pipeline.newest,
            "previous": before.pipeline.newest if before else None,
            "moved": [
                {"choice": move.pointer.choice, "before": move.before, "after": move.after}
                for move, _ in found.changes
                if move.pointer != NEWEST
            ],
            "broken_triggers": triggers[:MAX_KEPT_TRIGGERS],
            "omitted_triggers": max(0, len(triggers) - MAX_KEPT_TRIGGERS),
            "broken_names": found.broken_names,
            "write": str(uuid.uuid4()),
        }
    )
    changes = found.all_changes if action == "updated" else found.of_newest
    # Before the changes are in it, `omitted` is at its longest.
    kept = _as_many_as_fit(changes, entry.model_copy(update={"omitted": len(changes)}))
    return entry.model_copy(update={"changes": kept, "omitted": len(changes) - len(kept)})


def _as_many_as_fit(changes: Sequence[Change], entry: HistoryEntry) -> tuple[Change, ...]:
    """Give the first changes that an entry, which has none yet, has room for."""
    room = MAX_HISTORY_BYTES - len(entry.model_dump_json().encode())
    for number, change in enumerate(changes):
        room -= len(change.model_dump_json().encode()) + 1  # and a comma
        if room < 0:
            return tuple(changes[:number])
    return tuple(changes)
