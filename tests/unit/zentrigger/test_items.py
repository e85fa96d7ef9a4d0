"""Writing: what is tried again, how long, and what the caller is told."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from zentrigger.errors import BusyError
from zentrigger.items import WRITE_TRIES, TransactionRefusedError, persist, throttled, to_item, transact


def error(code: str, *reasons: str) -> ClientError:
    """Give an error of DynamoDB; a cancelled transaction has one reason an action."""
    response: dict[str, Any] = {"Error": {"Code": code, "Message": "m"}}
    if reasons:
        response["CancellationReasons"] = [{"Code": reason} for reason in reasons]
    return ClientError(response, "TransactWriteItems")  # type: ignore[arg-type]


def cancelled(*reasons: str) -> ClientError:
    """Give what a cancelled transaction is answered."""
    return error("TransactionCanceledException", *reasons)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pause not; give how long it would have been."""
    made: list[float] = []
    monkeypatch.setattr("time.sleep", made.append)
    return made


@pytest.mark.parametrize(
    "passing",
    [
        cancelled("TransactionConflict", "None"),
        cancelled("None", "ThrottlingError"),
        cancelled("ProvisionedThroughputExceeded"),
        error("TransactionConflictException"),
        error("TransactionInProgressException"),
    ],
)
def test_what_passes_is_waited_for(passing: ClientError, pauses: list[float]) -> None:
    """With jitter, for some 5 s at most; then the store is busy: what was written is not its to say."""
    write = Mock(side_effect=[passing, passing, "answer"])
    assert persist(write) == "answer"
    assert len(pauses) == 2

    never = Mock(side_effect=passing)
    with pytest.raises(BusyError, match="try again"):
        persist(never)
    assert never.call_count == WRITE_TRIES
    bounds = [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, *[0.8] * 6]
    assert all(0 <= pause <= bound for pause, bound in zip(pauses[2:], bounds, strict=True))
    assert sum(bounds) < 7


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"]
)
def test_what_the_sdk_has_tried_again_is_not_tried_again(code: str, pauses: list[float]) -> None:
    """It has paused already, within the time that a caller of HTTP has."""
    write = Mock(side_effect=error(code))

    with pytest.raises(BusyError, match="try again"):
        persist(write)

    assert (write.call_count, pauses) == (1, [])
    assert throttled(error(code))


@pytest.mark.parametrize(
    "wrong",
    [
        error("ConditionalCheckFailedException"),
        error("ValidationException"),
        error("AccessDeniedException"),
        cancelled("ValidationError", "None"),
        cancelled("ItemCollectionSizeLimitExceeded"),
        ReadTimeoutError(endpoint_url="https://dynamodb"),
    ],
)
def test_what_does_not_pass_is_raised(wrong: Exception, pauses: list[float]) -> None:
    """At once, as it is: of an answer that was lost, nobody can say that nothing was written."""
    with pytest.raises(type(wrong)) as raised:
        persist(Mock(side_effect=wrong))

    assert raised.value is wrong
    assert pauses == []
    assert not throttled(wrong)


@pytest.mark.parametrize(
    ("reasons", "refused"),
    [
        (["ConditionalCheckFailed", "None"], {0}),
        (["TransactionConflict", "ConditionalCheckFailed"], {1}),
        (["ConditionalCheckFailed", "ThrottlingError", "ConditionalCheckFailed"], {0, 2}),
    ],
)
def test_a_condition_that_does_not_hold_refuses_a_transaction(
    reasons: Sequence[str], refused: set[int], pauses: list[float]
) -> None:
    """Whatever else is the matter: to wait would not help."""
    client = Mock()
    client.transact_write_items.side_effect = cancelled(*reasons)

    with pytest.raises(TransactionRefusedError) as raised:
        transact(client, [])

    assert raised.value.existing.keys() == refused
    assert pauses == []


def test_a_refused_transaction_tells_what_stands_there() -> None:
    """Of each action whose condition did not hold, where it asked for that."""
    answer = cancelled("ConditionalCheckFailed", "ConditionalCheckFailed")
    answer.response["CancellationReasons"][0]["Item"] = to_item({"run_id": "r", "attempt": 2})  # type: ignore[typeddict-item]
    client = Mock()
    client.transact_write_items.side_effect = answer

    with pytest.raises(TransactionRefusedError) as raised:
        transact(client, [])

    assert raised.value.existing == {0: {"run_id": "r", "attempt": 2}, 1: None}
