"""The catalogue table: pipelines and their snapshots, what leads to a snapshot, and what publications changed.

collection                  item            what
pipelines                   name            head: last number, newest, revision; and the newest snapshot in short
snapshots#<pipeline>        number          a snapshot: `summary`, which may change, and `content`, which never does
contents#<pipeline>         content hash    number of the snapshot with this content
names#<pipeline>            name            number of the snapshot of this name
tags#<pipeline>#<tag>       number          one for each snapshot with this tag (a pipeline's name has no #)
changes#<pipeline>          revision        what a publication, update or deletion changed; `newest`: number since then

Every write raises the head's revision and requires the one that it was decided on: so what was read before a write is
true at its moment, and no two writes of a pipeline's catalogue come between each other.
"""

import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from zentrigger.catalogue import (
    MAX_NAME,
    NUMBER_DIGITS,
    Pipeline,
    PublishedPipeline,
    Snapshot,
    SnapshotChoice,
    SnapshotContent,
    SnapshotSummary,
)
from zentrigger.errors import NotFoundError
from zentrigger.items import TransactionRefusedError, can_be_key, from_item, start_of, to_cursor, to_item, transact
from zentrigger.pointers import HistoryEntry, Pointer, Rewrite, read_choice

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

T = TypeVar("T")

CACHED_SECONDS = 10
"""How long a choice that led to a snapshot is believed: a call within that time may run the one before."""

MAX_REMEMBERED = 50
"""How many choices a process remembers; the largest snapshot takes some 3 MB of its memory."""

LOOKS = 3
"""How often a choice is followed whose snapshot is deleted just between the two reads."""

FILTERED_AT_ONCE = 100

MAX_PAGE_BYTES = 1024 * 1024
"""Of what a page of a list is made of. A function's answer is 6 MB at most, and an entry of a history may be large."""

LOOKED_BACK = 200
"""How many entries of its history tell what of a pipeline was the newest before."""

SHOWN_NAMES = 10


@dataclass(frozen=True)
class Page(Generic[T]):
    """A page of a list; `cursor` is None on the last one."""

    items: tuple[T, ...]
    cursor: str | None


@dataclass(frozen=True)
class CatalogueWrite:
    """All that one write does to a pipeline's catalogue; as good as none if it is not written whole."""

    before: PublishedPipeline | None
    after: PublishedPipeline
    rewrites: tuple[Rewrite, ...] = ()
    content: SnapshotContent | None = None
    """Of the snapshot that is new."""
    entry: HistoryEntry | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


class CatalogueStore:
    """Pipelines and snapshots in DynamoDB. All reads are consistent; only `choose` remembers, for a few seconds."""

    def __init__(self, table: str, client: "DynamoDBClient") -> None:
        self._table = table
        self._client = client
        self._chosen: OrderedDict[tuple[str, SnapshotChoice | None], tuple[float, Snapshot]] = OrderedDict()

    # ------------------------------------------------------------ choosing

    def choose(self, pipeline: str, choice: SnapshotChoice | None = None) -> Snapshot:
        """Give the snapshot that a choice means; remembered for `CACHED_SECONDS`, unless there is none.

        Raises:
            NotFoundError: there is no such pipeline or snapshot; the text says what there is.
            InvalidRequestError: it is the id of another pipeline's snapshot.

        """
        until, remembered = self._chosen.get((pipeline, choice), (0.0, None))
        if remembered is not None and until > time.monotonic():
            return remembered
        snapshot = self.find(pipeline, choice)
        self._chosen[pipeline, choice] = (time.monotonic() + CACHED_SECONDS, snapshot)
        self._chosen.move_to_end((pipeline, choice))
        if len(self._chosen) > MAX_REMEMBERED:
            self._chosen.popitem(last=False)
        return snapshot

    def find(self, pipeline: str, choice: SnapshotChoice | None = None) -> Snapshot:
        """Give the snapshot that a choice means at this moment.

        Raises:
            NotFoundError: there is no such pipeline or snapshot; the text says what there is.
            InvalidRequestError: it is the id of another pipeline's snapshot.

        """
        meant = read_choice(pipeline, choice)
        for _ in range(LOOKS):
            number = meant if isinstance(meant, int) else self.number_of(pipeline, meant)
            snapshot = self.snapshot(pipeline, number) if number is not None else None
            if snapshot is not None:
                return snapshot
            if number is None or number == meant:
                break
        raise self._nothing_found(pipeline, meant)

    def number_of(self, pipeline: str, pointer: Pointer) -> int | None:
        """Give the number that a pointer leads to, or None."""
        match pointer.kind:
            case "newest":
                standing = self.head(pipeline)
                return standing.pipeline.newest if standing else None
            case "name":
                item = self._get(f"names#{pipeline}", pointer.value)
                return item["number"] if item else None
            case "tag":
                return max(self.tagged(pipeline, pointer.value), default=None)

    def _nothing_found(self, pipeline: str, meant: int | Pointer) -> NotFoundError:
        standing = self.head(pipeline)
        if standing is None:
            return no_pipeline(pipeline)
        newest = standing.newest
        if newest is None:
            return NotFoundError(f"All snapshots of {pipeline} were deleted. Publish it again.")
        if isinstance(meant, int):
            last = standing.pipeline.snapshots
            what = f"snapshot {meant}, which was deleted" if 0 < meant <= last else "such snapshot"
            return NotFoundError(
                f"{pipeline} has no {what}. Its numbers went from 1 to {last}; the newest is {newest.number}."
            )
        if meant.kind == "tag":
            has = f"has the tags {', '.join(newest.tags)}" if newest.tags else "has no tag"
            return NotFoundError(
                f"No snapshot of {pipeline} has the tag {meant.value[:MAX_NAME]!r}. The newest, {newest.number}, {has}."
            )
        found = islice(self._items(f"names#{pipeline}", at_once=SHOWN_NAMES), SHOWN_NAMES)
        names = [item["item"] for item in found]
        known = f"Names there are: {', '.join(names)}." if names else "None has a name."
        return NotFoundError(f"No snapshot of {pipeline} has the name {meant.value[:MAX_NAME]!r}. {known}")

    # ------------------------------------------------------------ reading

    def pipeline(self, name: str) -> Pipeline | None:
        """Give a pipeline by name, or None."""
        standing = self.head(name)
        return standing.pipeline if standing else None

    def head(self, name: str) -> PublishedPipeline | None:
        """Give a pipeline with its newest snapshot in short, or None."""
        item = self._get("pipelines", name)
        return _head(item) if item else None

    def snapshot(self, pipeline: str, number: int) -> Snapshot | None:
        """Give a snapshot by its number, or None."""
        item = self._get(f"snapshots#{pipeline}", _number(number))
        if item is None:
            return None
        content = SnapshotContent.model_validate_json(item["content"])
        summary = SnapshotSummary.model_validate_json(item["summary"])
        return Snapshot.model_validate(dict(summary) | {"content": content})

    def summary(self, pipeline: str, number: int) -> SnapshotSummary | None:
        """Give a snapshot in short by its number, or None."""
        item = self._get(f"snapshots#{pipeline}", _number(number), only="summary")
        return SnapshotSummary.model_validate_json(item["summary"]) if item else None

    def number_of_content(self, pipeline: str, content_hash: str) -> int | None:
        """Give the number of the snapshot with a content, or None."""
        item = self._get(f"contents#{pipeline}", content_hash)
        return item["number"] if item else None

    def tagged(self, pipeline: str, tag: str) -> tuple[int, ...]:
        """Give the numbers of the two highest snapshots with a tag, the highest first; fewer where there are fewer."""
        items = self._items(f"tags#{pipeline}#{tag}", at_once=2, newest_first=True)
        return tuple(int(item["item"]) for item in islice(items, 2))

    def newest_but(self, pipeline: str, left_out: int) -> SnapshotSummary | None:
        """Give the snapshot that was published last, one left out, or None if there is no other.

        The last `LOOKED_BACK` entries of the history tell; if none of theirs is left, the highest number is it.
        """
        gone: set[int | None] = {None, left_out}
        entries = self._items(f"changes#{pipeline}", at_once=20, newest_first=True, only="newest")
        for entry in islice(entries, LOOKED_BACK):
            number = entry["newest"]
            if number in gone:
                continue
            found = self.summary(pipeline, number)
            if found is not None:
                return found
            gone.add(number)
        return self._highest_but(pipeline, left_out)

    def _highest_but(self, pipeline: str, left_out: int) -> SnapshotSummary | None:
        items = self._items(f"snapshots#{pipeline}", at_once=2, newest_first=True, only="summary")
        found = (SnapshotSummary.model_validate_json(item["summary"]) for item in items)
        return next((summary for summary in found if summary.number != left_out), None)

    # ------------------------------------------------------------ lists

    def pipelines(
        self, *, limit: int, cursor: str | None = None, name: str | None = None, tag: str | None = None
    ) -> Page[PublishedPipeline]:
        """Give a page of pipelines, by name; those of this name, or whose newest snapshot has this tag."""

        def fits(pipeline: PublishedPipeline) -> bool:
            return tag is None or (pipeline.newest is not None and tag in pipeline.newest.tags)

        if name is not None:
            standing = self.head(name)
            return Page((standing,) if standing is not None and fits(standing) else (), None)
        return self._page("pipelines", _head, limit=limit, cursor=cursor, keep=fits if tag else None)

    def snapshots(
        self, pipeline: str, *, limit: int, cursor: str | None = None, name: str | None = None, tag: str | None = None
    ) -> Page[SnapshotSummary]:
        """Give a page of a pipeline's snapshots, the highest number first; the one of this name, those with this tag.

        Contents, which may be large, are not transferred.
        """
        if name is not None:
            number = self.number_of(pipeline, Pointer("name", name))
            found = self.summary(pipeline, number) if number is not None else None
            return Page((found,) if found is not None and (tag is None or tag in found.tags) else (), None)
        if tag is None:
            return self._page(
                f"snapshots#{pipeline}",
                lambda item: SnapshotSummary.model_validate_json(item["summary"]),
                limit=limit,
                cursor=cursor,
                newest_first=True,
                only="summary",
            )
        numbers = self._page(
            f"tags#{pipeline}#{tag}", lambda item: int(item["item"]), limit=limit, cursor=cursor, newest_first=True
        )
        summaries = (self.summary(pipeline, number) for number in numbers.items)
        return Page(tuple(summary for summary in summaries if summary is not None), numbers.cursor)

    def changes(self, pipeline: str, *, limit: int, cursor: str | None = None) -> Page[HistoryEntry]:
        """Give a page of what publications, updates and deletions changed, newest first.

        Large entries make it shorter than `limit`.
        """
        return self._page(f"changes#{pipeline}", _entry, limit=limit, cursor=cursor, newest_first=True)

    def _page(  # noqa: PLR0913 - private
        self,
        collection: str,
        read: Callable[[dict[str, Any]], T],
        *,
        limit: int,
        cursor: str | None,
        keep: Callable[[T], bool] | None = None,
        newest_first: bool = False,
        only: str | None = None,
    ) -> Page[T]:
        found: list[T] = []
        last = ""
        room = MAX_PAGE_BYTES
        at_once = limit + 1 if keep is None else FILTERED_AT_ONCE
        for item in self._items(collection, at_once=at_once, newest_first=newest_first, only=only, cursor=cursor):
            value = read(item)
            if keep is not None and not keep(value):
                continue
            room -= sum(len(text.encode()) for text in item.values() if isinstance(text, str))
            if len(found) == limit or (found and room < 0):
                return Page(tuple(found), to_cursor({"collection": collection, "item": last}))
            found.append(value)
            last = item["item"]
        return Page(tuple(found), None)

    def _items(
        self,
        collection: str,
        *,
        at_once: int,
        newest_first: bool = False,
        only: str | None = None,
        cursor: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Give all items of a collection in order, asking for `at_once` and again when those were taken.

        DynamoDB gives fewer where they fill its page of 1 MB, and an empty page need not be the last.
        """
        arguments: dict[str, Any] = {"ExclusiveStartKey": start_of(cursor, collection)} if cursor else {}
        if not can_be_key(collection, "any"):
            return
        names = {"#collection": "collection"}
        if only is not None:
            names |= {"#only": only, "#item": "item"}
            arguments["ProjectionExpression"] = "#item, #only"
        while True:
            answer = self._client.query(
                TableName=self._table,
                KeyConditionExpression="#collection = :collection",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=to_item({":collection": collection}),
                ScanIndexForward=not newest_first,
                ConsistentRead=True,
                Limit=at_once,
                **arguments,
            )
            yield from map(from_item, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _get(self, collection: str, item: str, *, only: str | None = None) -> dict[str, Any] | None:
        if not can_be_key(collection, item):
            return None
        arguments: dict[str, Any] = {}
        if only is not None:
            arguments = {"ProjectionExpression": "#only", "ExpressionAttributeNames": {"#only": only}}
        answer = self._client.get_item(
            TableName=self._table,
            Key=to_item({"collection": collection, "item": item}),
            ConsistentRead=True,
            **arguments,
        )
        return from_item(answer["Item"]) if "Item" in answer else None

    # ------------------------------------------------------------ writing

    def write(self, write: CatalogueWrite) -> bool:
        """Write all of it, or nothing. False: another write came before.

        The answer of a write may be lost, and its repetition by the SDK be refused, for it moved the revision itself.
        The id that each write leaves on the head, and on its entry in the history, shows that: then it was written.
        Where another write has followed and there is no entry, it counts as not written; such writes may be repeated.

        Raises:
            BusyError: other transactions were in the way each time; nothing was written.

        """
        try:
            transact(self._client, list(self._actions(write)))
        except TransactionRefusedError as refused:
            standing = refused.existing[0]
            return (standing is not None and standing.get("write") == write.id) or self._has_entry_of(write)
        return True

    def fence_action(self, standing: PublishedPipeline) -> "TransactWriteItemTypeDef":
        """Give what has a transaction written only if a pipeline's catalogue is as it was, for what depends on it.

        It raises the revision, so that a publication that was decided on before is refused in its turn.
        """
        revision = standing.pipeline.revision
        return {
            "Update": {
                "TableName": self._table,
                "Key": to_item({"collection": "pipelines", "item": standing.pipeline.name}),
                "UpdateExpression": "SET revision = :next",
                "ConditionExpression": "revision = :standing",
                "ExpressionAttributeValues": to_item({":standing": revision, ":next": revision + 1}),
            }
        }

    def _has_entry_of(self, write: CatalogueWrite) -> bool:
        if write.entry is None:
            return False
        item = self._get(f"changes#{write.after.pipeline.name}", _number(write.entry.revision))
        return item is not None and _entry(item).write == write.id

    def _actions(self, write: CatalogueWrite) -> Iterator["TransactWriteItemTypeDef"]:
        name = write.after.pipeline.name
        yield self._head_action(write)
        for rewrite in write.rewrites:
            yield from self._snapshot_actions(name, rewrite, write.content)
        # A name that one snapshot gives up and another one gets is one item, and one action.
        given_up = {one.before.name for one in write.rewrites if one.before and one.before.name}
        given = {one.after.name: one.after.number for one in write.rewrites if one.after and one.after.name}
        for gone in sorted(given_up - set(given)):
            yield self._delete(f"names#{name}", gone)
        for given_name, number in given.items():
            yield self._put(f"names#{name}", given_name, number=number)
        if write.entry is not None:
            body = write.entry.model_dump_json()
            yield self._put(f"changes#{name}", _number(write.entry.revision), body=body, newest=write.entry.newest)

    def _head_action(self, write: CatalogueWrite) -> "TransactWriteItemTypeDef":
        after = write.after.pipeline
        values: dict[str, Any] = {"snapshots": after.snapshots, "revision": after.revision, "write": write.id}
        if write.after.newest is not None:
            values |= {"newest": after.newest, "summary": write.after.newest.model_dump_json()}
        action = self._put("pipelines", after.name, **values)
        put = action["Put"]
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        if write.before is None:
            put["ConditionExpression"] = "attribute_not_exists(revision)"
        else:
            put["ConditionExpression"] = "revision = :standing"
            put["ExpressionAttributeValues"] = to_item({":standing": write.before.pipeline.revision})
        return action

    def _snapshot_actions(
        self, pipeline: str, rewrite: Rewrite, content: SnapshotContent | None
    ) -> Iterator["TransactWriteItemTypeDef"]:
        before, after = rewrite.before, rewrite.after
        touched = after or before
        if touched is None:
            return
        collection, number = f"snapshots#{pipeline}", _number(touched.number)
        old_tags, new_tags = set(before.tags if before else ()), set(after.tags if after else ())
        for tag in sorted(old_tags - new_tags):
            yield self._delete(f"tags#{pipeline}#{tag}", number)
        for tag in sorted(new_tags - old_tags):
            yield self._put(f"tags#{pipeline}#{tag}", number)
        if after is None:
            yield self._delete(collection, number)
            yield self._delete(f"contents#{pipeline}", touched.content_hash)
        elif before is None and content is not None:
            bodies = {"summary": after.model_dump_json(), "content": content.model_dump_json()}
            yield self._put(collection, number, **bodies)
            yield self._put(f"contents#{pipeline}", after.content_hash, number=after.number)
        else:
            yield {
                "Update": {
                    "TableName": self._table,
                    "Key": to_item({"collection": collection, "item": number}),
                    "UpdateExpression": "SET summary = :summary",
                    "ExpressionAttributeValues": to_item({":summary": after.model_dump_json()}),
                }
            }

    def _put(self, collection: str, item: str, **values: Any) -> "TransactWriteItemTypeDef":  # noqa: ANN401
        return {"Put": {"TableName": self._table, "Item": to_item({"collection": collection, "item": item, **values})}}

    def _delete(self, collection: str, item: str) -> "TransactWriteItemTypeDef":
        return {"Delete": {"TableName": self._table, "Key": to_item({"collection": collection, "item": item})}}


def no_pipeline(name: str) -> NotFoundError:
    """Say that there is no such pipeline, and what to do."""
    return NotFoundError(
        f"No pipeline {name[:MAX_NAME]!r} is published. Publish it with `zentrigger publish`; GET /pipelines lists"
        " those that are."
    )


def no_snapshot(snapshot: str) -> NotFoundError:
    """Say that there is no snapshot of this id, and what to do."""
    return NotFoundError(
        f"There is no snapshot {snapshot[: MAX_NAME + NUMBER_DIGITS + 1]!r}. Ids look like `training_pipeline:3`;"
        " GET /pipelines/…/snapshots lists those of a pipeline."
    )


def _number(number: int) -> str:
    return f"{number:0{NUMBER_DIGITS}d}" if 0 <= number < 10**NUMBER_DIGITS else ""


def _head(item: dict[str, Any]) -> PublishedPipeline:
    summary = item.get("summary")
    pipeline = Pipeline(
        name=item["item"], snapshots=item["snapshots"], newest=item.get("newest"), revision=item["revision"]
    )
    return PublishedPipeline(pipeline, SnapshotSummary.model_validate_json(summary) if summary else None)


def _entry(item: dict[str, Any]) -> HistoryEntry:
    return HistoryEntry.model_validate_json(item["body"])
