"""Events that come late, twice, behind the next one, or not at all."""

from __future__ import annotations

from functools import partial

import pytest

from local.delivery_faults import Deliveries, faulty
from local.faults import Faults


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def arrived() -> list[int]:
    return []


@pytest.fixture
def deliveries(faults: Faults) -> Deliveries:
    return Deliveries(faults)


def send(deliveries: Deliveries, arrived: list[int], *numbers: int, source: str = "aws.ecs") -> None:
    for number in numbers:
        deliveries.deliver(source, partial(arrived.append, number))


def test_without_faults_each_comes_once_and_in_order(deliveries: Deliveries, arrived: list[int]) -> None:
    send(deliveries, arrived, 1, 2, 3)
    send(Deliveries(None), arrived, 4)
    assert arrived == [1, 2, 3, 4]


def test_missing_ones_never_come(deliveries: Deliveries, faults: Faults, arrived: list[int]) -> None:
    faults.next("events.missing", after=1)
    send(deliveries, arrived, 1, 2, 3)
    assert (faults.release(), arrived) == (0, [1, 3])


def test_repeated_ones_come_twice(deliveries: Deliveries, faults: Faults, arrived: list[int]) -> None:
    faults.next("events.repeat")
    send(deliveries, arrived, 1, 2)
    assert arrived == [1, 1, 2]


def test_delayed_ones_come_when_they_are_released(deliveries: Deliveries, faults: Faults, arrived: list[int]) -> None:
    faults.next("events.delay")
    send(deliveries, arrived, 1, 2)
    assert arrived == [2]
    faults.release()
    assert arrived == [2, 1]


def test_a_repeat_may_be_what_is_late(deliveries: Deliveries, faults: Faults, arrived: list[int]) -> None:
    faults.next("events.delay")
    faults.next("events.repeat")
    send(deliveries, arrived, 1, 2)
    faults.release()
    assert arrived == [1, 2, 1]


def test_reordered_ones_come_behind_the_next(deliveries: Deliveries, faults: Faults, arrived: list[int]) -> None:
    faults.next("events.reorder")
    send(deliveries, arrived, 1, 2, 3)
    assert arrived == [2, 1, 3]
    faults.release()
    assert arrived == [2, 1, 3]


def test_a_reordered_one_that_nobody_overtakes_comes_late(
    deliveries: Deliveries, faults: Faults, arrived: list[int]
) -> None:
    faults.next("events.reorder")
    send(deliveries, arrived, 1)
    assert arrived == []
    faults.release()
    assert arrived == [1]


def test_only_the_source_that_was_named_is_hit(deliveries: Deliveries, faults: Faults, arrived: list[int]) -> None:
    faults.always("events.zentrigger.missing")
    send(deliveries, arrived, 1)
    send(deliveries, arrived, 2, source="zentrigger")
    assert arrived == [1]


def test_a_publisher_can_be_made_faulty(faults: Faults) -> None:
    published: list[dict[str, str]] = []
    publish = faulty(published.append, faults)
    faults.next("events.aws.ecs.repeat")
    publish({"source": "aws.ecs"})
    faults.stop_delivery()
    publish({"source": "aws.ecs"})
    faults.resume_delivery()
    publish({"source": "aws.s3"})
    assert [event["source"] for event in published] == ["aws.ecs", "aws.ecs", "aws.s3"]
