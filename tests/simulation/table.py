"""A DynamoDB with the runs table alone, in this process: what the stores ask of it, by DynamoDB's rules, and no more.

Thousands of schedules need it: moto takes some 3 ms for a call of theirs, this table a fiftieth of that. That both
answer the same, and DynamoDB Local, too, is a test of its own: it repeats to them what schedules asked of this one.
Sources: DynamoDB API reference (GetItem, Query, BatchGetItem, UpdateItem, TransactWriteItems) and Developer Guide,
"Expressions".
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

Value = dict[str, Any]
"""One attribute as it goes over the wire: `{"S": "text"}`, `{"N": "1"}`."""
Item = dict[str, Value]
Key = tuple[str, str]
Names = Mapping[str, str]
Values = Mapping[str, Value]
Condition = Callable[[Item, Names, Values], bool]

AT_ONCE = 100
"""BatchGetItem takes no more."""

CONDITION_FAILED = "The conditional request failed"


@dataclass(frozen=True)
class Write:
    """One item before and after a write; an item that is not there is None."""

    key: Key
    before: Item | None
    after: Item | None


class Table:
    """The items and the index `active`, which may be behind by `index_lag`.

    `written` gets all writes of one action together, when they are done. Not thread-safe.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        written: Callable[[Sequence[Write]], None] = lambda _: None,
    ) -> None:
        self.items: dict[Key, Item] = {}
        self.index_lag = timedelta(0)
        self._clock = clock
        self._written = written
        self._indexed: dict[Key, Item] = {}
        self._unindexed: deque[tuple[datetime, Key, Item]] = deque()

    # ------------------------------------------------------------ the actions, by boto3's names

    def get_item(self, *, TableName: str, Key: Item, ConsistentRead: bool = False) -> dict[str, Any]:  # noqa: N803
        """Give an item."""
        del TableName, ConsistentRead
        item = self.items.get(_key(Key))
        return {"Item": dict(item)} if item is not None else {}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        """Give several items."""
        if sum(len(asked["Keys"]) for asked in RequestItems.values()) > AT_ONCE:
            raise _error("BatchGetItem", "ValidationException", "Too many items requested for the BatchGetItem call")
        found = {
            table: [dict(self.items[_key(key)]) for key in asked["Keys"] if _key(key) in self.items]
            for table, asked in RequestItems.items()
        }
        return {"Responses": found, "UnprocessedKeys": {}}

    def query(  # noqa: PLR0913 - the members of the request
        self,
        *,
        TableName: str,  # noqa: N803
        KeyConditionExpression: str,  # noqa: N803
        ExpressionAttributeValues: Values,  # noqa: N803
        ExpressionAttributeNames: Names | None = None,  # noqa: N803
        IndexName: str | None = None,  # noqa: N803
        ConsistentRead: bool = False,  # noqa: N803
        ScanIndexForward: bool = True,  # noqa: N803
        Limit: int | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        """Give the items of a key, or of a key of the index, in the order of the second part of the key."""
        del TableName, ConsistentRead
        if IndexName not in (None, "active"):
            raise NotImplementedError(IndexName)
        holds = condition(KeyConditionExpression)
        names, values = ExpressionAttributeNames or {}, ExpressionAttributeValues
        found = [item for item in self._of(IndexName) if holds(item, names, values)]
        found.sort(key=_by_rank if IndexName else _by_part, reverse=not ScanIndexForward)
        return {"Items": [dict(item) for item in found[:Limit]]}

    def update_item(  # noqa: PLR0913 - the members of the request
        self,
        *,
        TableName: str,  # noqa: N803
        Key: Item,  # noqa: N803
        UpdateExpression: str,  # noqa: N803
        ConditionExpression: str | None = None,  # noqa: N803
        ExpressionAttributeNames: Names | None = None,  # noqa: N803
        ExpressionAttributeValues: Values | None = None,  # noqa: N803
        ReturnValuesOnConditionCheckFailure: str = "NONE",  # noqa: N803
        ReturnValues: str = "NONE",  # noqa: N803
    ) -> dict[str, Any]:
        """Update an item, or make it, if a condition holds."""
        del TableName
        key, names, values = _key(Key), ExpressionAttributeNames or {}, ExpressionAttributeValues or {}
        standing = self.items.get(key)
        if ConditionExpression and not condition(ConditionExpression)(standing or {}, names, values):
            shown = {"Item": standing} if standing and ReturnValuesOnConditionCheckFailure == "ALL_OLD" else {}
            raise _error("UpdateItem", "ConditionalCheckFailedException", CONDITION_FAILED, **shown)
        item = updated(standing or dict(Key), UpdateExpression, names, values)
        self._write([(key, item)])
        return {"Attributes": dict(item)} if ReturnValues == "ALL_NEW" else {}

    def transact_write_items(self, *, TransactItems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        """Do all or nothing of several puts and updates."""
        reasons, writes = [], []
        for action in TransactItems:
            ((kind, asked),) = action.items()
            key = _key(asked["Key"] if kind == "Update" else asked["Item"])
            standing = self.items.get(key)
            names = asked.get("ExpressionAttributeNames", {})
            values = asked.get("ExpressionAttributeValues", {})
            needed = asked.get("ConditionExpression")
            if needed and not condition(needed)(standing or {}, names, values):
                reason: dict[str, Any] = {"Code": "ConditionalCheckFailed", "Message": CONDITION_FAILED}
                if standing and asked.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                    reason["Item"] = dict(standing)
                reasons.append(reason)
                continue
            reasons.append({"Code": "None"})
            if kind == "Put":
                writes.append((key, dict(asked["Item"])))
            elif kind == "Update":
                writes.append((key, updated(standing or dict(asked["Key"]), asked["UpdateExpression"], names, values)))
            else:
                raise NotImplementedError(kind)
        if len(writes) < len(TransactItems):
            codes = ", ".join(reason["Code"] for reason in reasons)
            told = f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
            raise _error(
                "TransactWriteItems", "TransactionCanceledException", told, Message=told, CancellationReasons=reasons
            )
        self._write(writes)
        return {}

    # ------------------------------------------------------------ items and index

    def _write(self, writes: Sequence[tuple[Key, Item]]) -> None:
        if len({key for key, _ in writes}) < len(writes):
            raise AssertionError("DynamoDB takes no transaction with two actions on one item")
        done = []
        for key, item in writes:
            done.append(Write(key, self.items.get(key), item))
            self.items[key] = item
            self._unindexed.append((self._clock(), key, item))
        self._written(done)

    def _of(self, index: str | None) -> Iterable[Item]:
        if index is None:
            return self.items.values()
        settled = self._clock() - self.index_lag
        while self._unindexed and self._unindexed[0][0] <= settled:
            _, key, item = self._unindexed.popleft()
            if "active" in item and "rank" in item:
                self._indexed[key] = item
            else:
                self._indexed.pop(key, None)
        return self._indexed.values()


def _key(item: Mapping[str, Value]) -> Key:
    return item["run_id"]["S"], item["part"]["S"]


def _by_part(item: Item) -> str:
    return str(item["part"]["S"])


def _by_rank(item: Item) -> tuple[str, str]:
    return item["rank"]["S"], item["run_id"]["S"]


def _error(action: str, code: str, message: str, **members: Any) -> ClientError:
    told: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 400}, **members}
    return ClientError(told, action)


# ------------------------------------------------------------ expressions


def updated(item: Item, expression: str, names: Names, values: Values) -> Item:
    """Give an item as an update leaves it."""
    changed = dict(item)
    for clause, targets in _clauses(expression):
        for target, value in targets:
            name = names[target] if target.startswith("#") else target
            if clause == "SET":
                changed[name] = values[value]
            elif clause == "REMOVE":
                changed.pop(name, None)
            else:
                changed[name] = {"N": str(_comparable(item.get(name, {"N": "0"})) + _comparable(values[value]))}
    return changed


@cache
def _clauses(expression: str) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    parts = re.split(r"\b(SET|REMOVE|ADD)\b", expression)
    if parts[0].strip():
        raise NotImplementedError(expression)
    clauses = []
    for clause, text in zip(parts[1::2], parts[2::2], strict=True):
        between = {"SET": "=", "ADD": " ", "REMOVE": "\0"}[clause]
        targets = [target.strip().partition(between) for target in text.split(",")]
        clauses.append((clause, tuple((name.strip(), value.strip()) for name, _, value in targets)))
    return tuple(clauses)


_TOKEN = re.compile(r"\s*([()=,]|<=|>=|<>|<|>|[#:]?\w+)")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: bool(one == other),
    "<>": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}


@cache
def condition(expression: str) -> Condition:
    """Read a condition: comparisons, IN, attribute_exists, attribute_not_exists, AND, OR and parentheses."""
    tokens = deque(_TOKEN.findall(expression))
    if "".join(tokens) != re.sub(r"\s", "", expression):
        raise NotImplementedError(expression)
    read = _either(tokens)
    if tokens:
        raise NotImplementedError(expression)
    return read


def _either(tokens: deque[str]) -> Condition:
    terms = [_both(tokens)]
    while tokens and tokens[0] == "OR":
        tokens.popleft()
        terms.append(_both(tokens))
    return lambda item, names, values: any(term(item, names, values) for term in terms)


def _both(tokens: deque[str]) -> Condition:
    terms = [_term(tokens)]
    while tokens and tokens[0] == "AND":
        tokens.popleft()
        terms.append(_term(tokens))
    return lambda item, names, values: all(term(item, names, values) for term in terms)


def _term(tokens: deque[str]) -> Condition:
    first = tokens.popleft()
    if first == "(":
        inner = _either(tokens)
        _expect(tokens, ")")
        return inner
    if first in ("attribute_exists", "attribute_not_exists"):
        _expect(tokens, "(")
        name = tokens.popleft()
        _expect(tokens, ")")
        there = first == "attribute_exists"
        return lambda item, names, values: (_name(name, names) in item) is there  # noqa: ARG005 - a condition's shape
    operator = tokens.popleft()
    if operator == "IN":
        _expect(tokens, "(")
        choices = [tokens.popleft()]
        while tokens[0] == ",":
            tokens.popleft()
            choices.append(tokens.popleft())
        _expect(tokens, ")")
        return lambda item, names, values: any(
            _compares("=", item.get(_name(first, names)), values[choice]) for choice in choices
        )
    operand = tokens.popleft()
    if operator not in _COMPARISONS:
        raise NotImplementedError(f"{first} {operator} {operand}")
    return lambda item, names, values: _compares(
        operator, item.get(_name(first, names)), _operand(operand, item, names, values)
    )


def _expect(tokens: deque[str], token: str) -> None:
    if tokens.popleft() != token:
        raise NotImplementedError(f"{token} is missing")


def _name(token: str, names: Names) -> str:
    return names[token] if token.startswith("#") else token


def _operand(token: str, item: Item, names: Names, values: Values) -> Value | None:
    return values[token] if token.startswith(":") else item.get(_name(token, names))


def _compares(operator: str, standing: Value | None, wanted: Value | None) -> bool:
    # What is not there, or of another type, compares with nothing.
    if standing is None or wanted is None or standing.keys() != wanted.keys():
        return False
    return _COMPARISONS[operator](_comparable(standing), _comparable(wanted))


def _comparable(value: Value) -> Any:
    ((kind, plain),) = value.items()
    return int(plain) if kind == "N" else plain
