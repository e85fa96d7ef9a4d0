"""The table of the simulations answers as DynamoDB does: to every request that flows make, with and without crashes."""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from local.faults import Faults
from tests.simulation.flows import FLOWS
from tests.simulation.world import World, standstill

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ASKED = (
    "queue_to_start",
    "pipeline_limit",
    "repetition",
    "arrivals",
    "cancel_running",
    "refused_for_a_while",
    "failure_with_retry",
    "run_deadline",
    "key_skips",
)
CRASHES = (2, 5, 16)


@pytest.mark.parametrize("name", ASKED)
def test_dynamodb_answers_the_same(dynamodb: "DynamoDBClient", name: str) -> None:
    requests = _requests(name)
    assert len(requests) > 30
    for number, (action, asked, expected) in enumerate(requests):
        answer = _answer(dynamodb, action, asked)
        assert _plain(answer) == _plain(expected), f"request {number}: {action} {asked}"


def _requests(name: str) -> list[tuple[str, dict[str, Any], Any]]:
    """Give what a flow asks of its table, and what it answers or raises."""
    made: list[tuple[str, dict[str, Any], Any]] = []
    with standstill():
        world = World(max_active=1, faults=Faults(), record=lambda *request: made.append(request))
        for index in CRASHES:
            world.calls.kill(index, "after")
        FLOWS[name].script(world)
        world.settle()
        world.check()
    return made


def _answer(dynamodb: "DynamoDBClient", action: str, asked: dict[str, Any]) -> Any:
    try:
        return getattr(dynamodb, action)(**asked)
    except ClientError as error:
        return error


def _plain(answer: Any) -> Any:
    """Give of an answer what the stores may read, of an error its code, and the items that stood in the way."""
    if isinstance(answer, ClientError):
        told: Any = answer.response
        reasons = [(reason["Code"], reason.get("Item")) for reason in told.get("CancellationReasons", ())]
        return told["Error"]["Code"], reasons, told.get("Item")
    read = {name: answer.get(name) for name in ("Item", "Items", "Responses", "Attributes")}
    if read["Responses"]:
        # BatchGetItem answers in any order, and so do an item's attributes.
        read["Responses"] = {
            table: sorted(items, key=lambda item: repr(sorted(item.items())))
            for table, items in read["Responses"].items()
        }
    return read
