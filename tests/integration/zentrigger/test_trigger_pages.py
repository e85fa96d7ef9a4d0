"""Pages of triggers, receipts and unmatched events: all of them, each once, and never too much in one answer."""

from typing import TYPE_CHECKING

import pytest

from tests.factories import trigger
from tests.integration.zentrigger.trigger_bench import TRIGGERS
from zentrigger import trigger_store
from zentrigger.errors import InvalidRequestError
from zentrigger.items import transact
from zentrigger.receipts import Reason, Unmatched
from zentrigger.timestamps import now
from zentrigger.trigger_store import TriggerStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture
def store(dynamodb: "DynamoDBClient") -> TriggerStore:
    """Give a store in which there are no triggers."""
    return TriggerStore(TRIGGERS, dynamodb)


def make(dynamodb: "DynamoDBClient", store: TriggerStore, *names: str, size: int = 0) -> None:
    """Make triggers of some size."""
    for name in names:
        made = trigger(name, parameters={"data_url": "x" * size})
        transact(dynamodb, [store.put_action(made, None)])


def pages(store: TriggerStore, limit: int) -> list[list[str]]:
    """Give the names on each page."""
    found: list[list[str]] = []
    cursor = None
    while True:
        triggers, cursor = store.triggers_page(limit=limit, cursor=cursor)
        found.append([one.name for one in triggers])
        if cursor is None:
            return found


def test_triggers_are_paged_by_name(dynamodb: "DynamoDBClient", store: TriggerStore) -> None:
    """No page is empty but that of none, and the last one has no next."""
    assert pages(store, 20) == [[]]
    make(dynamodb, store, "b", "d", "a", "c")
    assert pages(store, 4) == [["a", "b", "c", "d"]]
    assert pages(store, 3) == [["a", "b", "c"], ["d"]]
    assert pages(store, 2) == [["a", "b"], ["c", "d"]]
    _, cursor = store.unmatched(limit=1)
    assert cursor is None
    with pytest.raises(InvalidRequestError, match="cursor"):
        store.triggers_page(limit=1, cursor="bm9uZQ")


def test_large_triggers_make_a_page_short(dynamodb: "DynamoDBClient", store: TriggerStore) -> None:
    """Of the largest, 350 KB, there are two in a page: a Lambda's answer has 6 MB, DynamoDB's 1 MB."""
    names = [f"t{number}" for number in range(7)]
    make(dynamodb, store, *names, size=340 * 1024)
    make(dynamodb, store, "small")
    assert pages(store, 100) == [["small", "t0", "t1", "t2"], ["t3", "t4", "t5"], ["t6"]]
    assert [len(page) for page in pages(store, 2)] == [2, 2, 2, 2]


def test_one_that_alone_is_too_large_is_a_page(
    dynamodb: "DynamoDBClient", store: TriggerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the limit is, a page goes on from the one before."""
    monkeypatch.setattr(trigger_store, "MAX_PAGE_BYTES", 10)
    make(dynamodb, store, "a", "b")
    assert pages(store, 100) == [["a"], ["b"]]


@pytest.mark.parametrize("bucket", [None, "data"])
def test_a_page_of_unmatched_events_is_bounded(store: TriggerStore, bucket: str | None) -> None:
    """Also where they are looked for: 100 of them, each with all that twenty triggers can say, are 4 MB and more."""
    moment = now()
    reasons = tuple(Reason(trigger=f"t{number}", why="\\" * 1000) for number in range(20))
    for number in range(60):
        store.add_unmatched(
            Unmatched(event_id=f"e{number:03d}", at=moment, type="s3", bucket="data", key="k", reasons=reasons)
        )
    found: list[str] = []
    cursor = None
    while True:
        events, cursor = store.unmatched(limit=100, cursor=cursor, bucket=bucket)
        assert sum(len(event.model_dump_json()) for event in events) <= 1024 * 1024
        found += [event.event_id for event in events]
        if cursor is None:
            break
    assert sorted(found) == [f"e{number:03d}" for number in range(60)]
