"""moto without what it spends for nobody: copies of whole tables, and the memory of every object that it ever made.

It copies a table anew for each action of a transaction: five actions on a table of a hundred runs take it a quarter of
a second, with everybody else waiting for its lock. To undo a transaction, the items that it writes are enough. And it
keeps all its objects for a dashboard, those copies among them: a stack that works for a while takes gigabytes.
"""

# ruff: noqa: ANN401 - moto's items are of any shape

from __future__ import annotations

import copy
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from moto.core.common_models import BaseModel
from moto.dynamodb import models
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

_transact = DynamoDBBackend.transact_write_items


class _Copies:
    """Stands in for the module `copy` in moto's DynamoDB: of a table it copies what a transaction may change."""

    def __init__(self) -> None:
        self.written: Sequence[dict[str, Any]] = ()
        """The keys, or whole items, that the running transaction writes, in DynamoDB's JSON."""

    def deepcopy(self, value: Any) -> Any:
        return self._snapshot(value) if isinstance(value, Table) else copy.deepcopy(value)

    def _snapshot(self, table: Table) -> Table:
        snapshot = copy.copy(table)
        items = {hash_key: copy.copy(found) for hash_key, found in table.items.items()}
        snapshot.items = defaultdict(dict, items)
        for key in self.written:
            if table.hash_key_attr not in key:
                continue  # of another table, or no key at all, which moto refuses
            hash_key = DynamoType(key[table.hash_key_attr])
            if hash_key not in items:
                continue
            found = snapshot.items[hash_key]
            if not isinstance(found, dict):
                snapshot.items[hash_key] = copy.deepcopy(found)
                continue
            if table.range_key_attr not in key:
                continue  # no key, which moto refuses
            # One item alone: thousands may have the same hash key.
            range_key = DynamoType(key[table.range_key_attr])
            if range_key in found:
                found[range_key] = copy.deepcopy(found[range_key])
        if table.stream_shard is not None:
            snapshot.stream_shard = copy.copy(table.stream_shard)
            snapshot.stream_shard.items = list(table.stream_shard.items)
            snapshot.stream_shard.table = snapshot
        return snapshot


_copies = _Copies()


def _transact_cheaply(self: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
    operations = [operation for action in transact_items for operation in action.values()]
    _copies.written = [operation.get("Key") or operation.get("Item") or {} for operation in operations]
    try:
        _transact(self, transact_items)
    finally:
        _copies.written = ()


def make_lean() -> None:
    """Have moto be so in this process. One transaction at a time, as moto must be."""
    models.copy = _copies  # type: ignore[assignment, attr-defined]
    DynamoDBBackend.transact_write_items = _transact_cheaply  # type: ignore[method-assign]
    BaseModel.__new__ = _new  # type: ignore[method-assign]


def _new(cls: type[Any], *_: Any, **__: Any) -> Any:
    """Make an object as any class does, and do not keep it."""
    return super(BaseModel, cls).__new__(cls)
