"""The counts as parts of transactions: which items, by how much, and under which conditions."""

import re
from typing import Any

import pytest

from tests.factories import MOMENT, run
from zentrigger.capacity import Concurrency
from zentrigger.capacity_counts import (
    BACK_TO_QUEUE,
    FREE_SLOT,
    KEY_COUNTS_KEPT,
    LEAVE_QUEUE,
    Change,
    capacity_key,
    counted,
    enter_queue,
    enter_slot,
    full_groups,
    take_slot,
)
from zentrigger.items import from_item
from zentrigger.runs import Run

PLAIN = run(pipeline="p")
WAITS = run(pipeline="p", concurrency=Concurrency(key="k", limit=3))
SKIPS = run(pipeline="p", concurrency=Concurrency(key="k", limit=3, on_conflict="skip"))
REJECTS = run(pipeline="p", concurrency=Concurrency(key="k", limit=3, on_conflict="reject"))
RUNS = {"plain": PLAIN, "waits": WAITS, "skips": SKIPS, "rejects": REJECTS}

FREE = "(attribute_not_exists(active_runs) OR active_runs < :max_active)"
NOBODY_WAITS = "(attribute_not_exists(waiting_runs) OR waiting_runs <= :none)"
ROOM = "(attribute_not_exists(waiting_runs) OR waiting_runs < :max_waiting)"
WITHIN_LIMIT = (
    "(attribute_not_exists(max_active_runs) OR active_runs < max_active_runs"
    " OR (attribute_not_exists(active_runs) AND max_active_runs > :none))"
)
KEY_FREE = "(attribute_not_exists(active_runs) OR active_runs < :key_limit)"
KEY_UNTOUCHED = "(attribute_not_exists(live_runs) OR live_runs < :key_limit)"


def updates(of: Run, change: Change) -> list[dict[str, Any]]:
    """Give the updates of the counts."""
    return [dict(action["Update"]) for action in counted("t", of, change, MOMENT)]


def conditions(of: Run, change: Change) -> list[str]:
    """Give the conditions, of the stack, the pipeline, and the key; empty for none."""
    return [update.get("ConditionExpression", "") for update in updates(of, change)]


@pytest.mark.parametrize(
    ("change", "active", "waiting"),
    [
        (enter_slot(5), 1, 0),
        (enter_queue(5), 0, 1),
        (take_slot(5), 1, -1),
        (BACK_TO_QUEUE, -1, 1),
        (FREE_SLOT, -1, 0),
        (LEAVE_QUEUE, 0, -1),
    ],
)
def test_every_group_of_a_run_is_counted_alike(change: Change, active: int, waiting: int) -> None:
    """All runs, its pipeline's, and those with its key; `live_runs` is the sum."""
    for of, groups in ((PLAIN, ["all", "pipeline#p"]), (SKIPS, ["all", "pipeline#p", "key#k"])):
        made = updates(of, change)
        assert [update["Key"] for update in made] == [capacity_key(group) for group in groups]
        for update in made:
            values = from_item(update["ExpressionAttributeValues"])
            assert (values[":active"], values[":waiting"], values[":live"]) == (active, waiting, active + waiting)
            assert update["UpdateExpression"].startswith(
                "ADD active_runs :active, waiting_runs :waiting, live_runs :live SET "
            )


@pytest.mark.parametrize("of", RUNS)
@pytest.mark.parametrize(
    "change", [enter_slot(5), enter_queue(5), enter_queue(0), enter_queue(None), take_slot(5), BACK_TO_QUEUE, FREE_SLOT]
)
def test_every_value_is_used_and_every_used_one_is_given(of: str, change: Change) -> None:
    """DynamoDB refuses a request in which one is missing, and one in which one is not used."""
    for update in updates(RUNS[of], change):
        text = f"{update['UpdateExpression']} {update.get('ConditionExpression', '')}"
        assert set(re.findall(r":\w+", text)) == update["ExpressionAttributeValues"].keys()
        assert set(re.findall(r"#\w+", text)) == update["ExpressionAttributeNames"].keys()


@pytest.mark.parametrize(
    ("of", "change", "expected"),
    [
        ("plain", enter_slot(5), [f"{FREE} AND {NOBODY_WAITS}", WITHIN_LIMIT]),
        ("waits", enter_slot(5), [f"{FREE} AND {NOBODY_WAITS}", WITHIN_LIMIT, KEY_FREE]),
        ("skips", enter_slot(5), [f"{FREE} AND {NOBODY_WAITS}", WITHIN_LIMIT, f"{KEY_FREE} AND {KEY_UNTOUCHED}"]),
        ("rejects", enter_slot(5), [f"{FREE} AND {NOBODY_WAITS}", WITHIN_LIMIT, f"{KEY_FREE} AND {KEY_UNTOUCHED}"]),
        ("waits", enter_queue(5), [ROOM, "", ""]),
        ("skips", enter_queue(5), [ROOM, "", KEY_UNTOUCHED]),
        ("skips", enter_queue(None), ["", "", KEY_UNTOUCHED]),
        ("plain", enter_queue(0), ["(waiting_runs < :max_waiting)", ""]),
        ("skips", take_slot(5), [FREE, WITHIN_LIMIT, KEY_FREE]),
        ("skips", BACK_TO_QUEUE, ["", "", ""]),
        ("skips", FREE_SLOT, ["", "", ""]),
        ("skips", LEAVE_QUEUE, ["", "", ""]),
    ],
)
def test_a_slot_is_needed_to_start_and_none_to_leave(of: str, change: Change, expected: list[str]) -> None:
    """Giving back is never refused; only a run that comes in can be kept out for the others of its key."""
    assert conditions(RUNS[of], change) == expected


def test_limits_are_those_of_the_change_and_of_the_run() -> None:
    """The pipeline's own stands beside its counts, and in no request."""
    stack, pipeline, key = (from_item(one["ExpressionAttributeValues"]) for one in updates(SKIPS, enter_slot(7)))

    assert stack[":max_active"] == 7
    assert key[":key_limit"] == 3
    assert pipeline.keys() == {":active", ":waiting", ":live", ":counts", ":moment", ":none"}


def test_the_counts_of_keys_alone_expire() -> None:
    """There may be any number of keys."""
    *lasting, key = (from_item(one["ExpressionAttributeValues"]) for one in updates(WAITS, FREE_SLOT))

    assert [":expires_at" in values for values in lasting] == [False, False]
    assert key[":expires_at"] == int((MOMENT + KEY_COUNTS_KEPT).timestamp())


def test_refused_actions_name_the_groups_that_are_full() -> None:
    """By their place in the transaction."""
    assert full_groups(WAITS, [2, 4], 2) == ("all", "key#k")
    assert full_groups(WAITS, [0, 1, 5], 2) == ()
    assert full_groups(PLAIN, [1, 2, 3], 1) == ("all", "pipeline#p")
