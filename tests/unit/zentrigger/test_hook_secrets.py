"""Secrets of webhooks: which are good when, how they are changed, and that nobody reads them by accident."""

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from tests.factories import MOMENT
from zentrigger.errors import BusyError, ConflictError, InvalidRequestError
from zentrigger.hook_secrets import PREVIOUS_KEPT, HookSecret, HookSecretStore, usable_secret
from zentrigger.items import from_item
from zentrigger.run_requests import HookSecretRequest
from zentrigger.signatures import Scheme, check_secret

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW, NEWER = "old-secret-of-the-sender", "new-secret-of-the-sender", "newer-secret-of-the-sender"


STANDING: Any = {"ConditionCheck": {"TableName": "TriggersTable"}}

_REFUSED: Any = {"Code": "ConditionalCheckFailed"}


class Table:
    """A table as far as one item a trigger goes."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self.trigger_stands = True
        self.meanwhile: Callable[[], object] = lambda: None

    def get_item(self, **asked: Any) -> dict[str, Any]:
        assert asked["ConsistentRead"]
        item = self.items.get(asked["Key"]["item"]["S"])
        return {"Item": item} if item else {}

    def transact_write_items(self, **asked: Any) -> None:
        """Put an item, if the secret is still the one that it replaces, and the trigger there."""
        action, standing = asked["TransactItems"]
        assert standing == STANDING
        put = action["Put"]
        name = put["Item"]["item"]["S"]
        self.meanwhile()
        expected = put.get("ExpressionAttributeValues", {}).get(":standing")
        holds = [self.items.get(name, {}).get("secret") == expected, self.trigger_stands]
        if not all(holds):
            reasons: Any = [{"Code": "None"} if one else _REFUSED for one in holds]
            raise ClientError(
                {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons},
                "TransactWriteItems",
            )
        self.items[name] = put["Item"]


@pytest.fixture
def table() -> Table:
    """Give the table."""
    return Table()


@pytest.fixture
def store(table: Table) -> HookSecretStore:
    """Give the secrets in it."""
    return HookSecretStore("KeysTable", table)  # type: ignore[arg-type]


def test_both_secrets_are_good_for_a_day(store: HookSecretStore) -> None:
    """Then only the new one, to the second; the newest comes first."""
    store.put("t", OLD, MOMENT, standing=STANDING)
    kept = store.put("t", NEW, MOMENT + timedelta(hours=1), standing=STANDING)

    changed = MOMENT + timedelta(hours=1)
    assert store.find("t") == kept
    assert kept.previous_valid_until == changed + PREVIOUS_KEPT == changed + timedelta(hours=24)
    assert kept.good_at(changed) == (NEW, OLD)
    assert kept.good_at(changed + timedelta(hours=24) - timedelta(microseconds=1)) == (NEW, OLD)
    assert kept.good_at(changed + timedelta(hours=24)) == (NEW,)
    assert HookSecret(secret=NEW, created_at=MOMENT).good_at(MOMENT) == (NEW,)


def test_the_same_secret_again_changes_nothing(store: HookSecretStore, table: Table) -> None:
    """The day of the one before does not begin anew, nor does it end."""
    store.put("t", OLD, MOMENT, standing=STANDING)
    kept = store.put("t", NEW, MOMENT, standing=STANDING)
    before = dict(table.items)

    assert store.put("t", NEW, MOMENT + timedelta(hours=23), standing=STANDING) == kept
    assert table.items == before


def test_of_two_changes_the_last_one_before_stays_good(store: HookSecretStore) -> None:
    """Not the first; and a change back makes the other one the one before."""
    for secret in (OLD, NEW, NEWER):
        store.put("t", secret, MOMENT, standing=STANDING)
    found = store.find("t")
    assert found is not None
    assert found.good_at(MOMENT) == (NEWER, NEW)

    assert store.put("t", NEW, MOMENT, standing=STANDING).good_at(MOMENT) == (NEW, NEWER)
    assert store.find("u") is None


def test_of_two_changes_at_once_both_stay_good(store: HookSecretStore, table: Table) -> None:
    """Each was shown to somebody: the one that came in between is the one before."""
    store.put("t", OLD, MOMENT, standing=STANDING)

    def overtake() -> None:
        table.meanwhile = lambda: None
        store.put("t", NEW, MOMENT, standing=STANDING)

    table.meanwhile = overtake
    assert store.put("t", NEWER, MOMENT, standing=STANDING).good_at(MOMENT) == (NEWER, NEW)
    found = store.find("t")
    assert found is not None
    assert found.good_at(MOMENT) == (NEWER, NEW)


def test_who_is_always_overtaken_is_told(store: HookSecretStore, table: Table) -> None:
    """After a few attempts; nothing was written, and no secret is in the text."""
    numbers = iter(range(1000))

    def overtake() -> None:
        act, table.meanwhile = table.meanwhile, lambda: None
        store.put("t", f"{OLD}-{next(numbers)}", MOMENT, standing=STANDING)
        table.meanwhile = act

    table.meanwhile = overtake
    with pytest.raises(BusyError) as caught:
        store.put("t", NEW, MOMENT, standing=STANDING)

    assert "secret-of" not in str(caught.value)
    found = store.find("t")
    assert found is not None
    assert NEW not in found.good_at(MOMENT)


def test_a_trigger_that_was_changed_meanwhile_gets_no_secret(store: HookSecretStore, table: Table) -> None:
    """Nor does another one of its name: it may be gone, or no webhook any more."""
    for before in ({}, {"t": OLD}):
        for name, secret in before.items():
            table.trigger_stands = True
            store.put(name, secret, MOMENT, standing=STANDING)
        items = dict(table.items)
        table.trigger_stands = False
        with pytest.raises(ConflictError, match="no secret was written") as caught:
            store.put("t", NEW, MOMENT, standing=STANDING)
        assert NEW not in str(caught.value)
        assert table.items == items


def test_an_item_is_found_by_its_trigger(store: HookSecretStore, table: Table) -> None:
    """And deleted by the same key, which no API key has."""
    store.put("t", OLD, MOMENT, standing=STANDING)

    key = {name: table.items["t"][name] for name in ("collection", "item")}
    assert store.delete_action("t") == {"Delete": {"TableName": "KeysTable", "Key": key}}
    assert from_item(key) == {"collection": "hook_secrets", "item": "t"}


@pytest.mark.parametrize("scheme", ["standard", "github", "zenml", "hmac"])
def test_a_secret_is_made_where_none_is_given(scheme: Scheme) -> None:
    """One that its own scheme takes, another one each time."""
    made = usable_secret(scheme, None)

    check_secret(scheme, made)
    assert made != usable_secret(scheme, None)
    assert usable_secret(scheme, made) == made


def test_slack_makes_its_own() -> None:
    """So that one has to be given."""
    with pytest.raises(InvalidRequestError, match="signing secret"):
        usable_secret("slack", None)
    assert usable_secret("slack", OLD) == OLD


@pytest.mark.parametrize(
    ("scheme", "given"),
    [("standard", OLD), ("standard", "whsec_日本"), ("github", "short-7"), ("slack", "xoxb-0123456789abcdef")],
)
def test_a_secret_that_its_scheme_cannot_use_is_refused_unseen(scheme: Scheme, given: str) -> None:
    """With its place, and without its text, also in what led to the error."""
    with pytest.raises(InvalidRequestError) as caught:
        usable_secret(scheme, given)

    assert [problem.pointer for problem in caught.value.problems] == ["/secret"]
    assert given not in repr(caught.value.problems)
    assert caught.value.__suppress_context__


def test_nothing_shows_a_secret(store: HookSecretStore, caplog: pytest.LogCaptureFixture) -> None:
    """Neither text of the record, of the request, of an item that cannot be read, nor any line of the log."""
    with caplog.at_level(logging.DEBUG):
        store.put("t", OLD, MOMENT, standing=STANDING)
        kept = store.put("t", NEW, MOMENT, standing=STANDING)
        with pytest.raises(ValidationError) as missing:
            HookSecret.model_validate({"secret": OLD})
        with pytest.raises(ValidationError) as wrong:
            HookSecret.model_validate({"secret": [OLD], "created_at": MOMENT})
    texts = [repr(kept), str(kept), f"{kept!s}", repr(HookSecretRequest(secret=NEW)), caplog.text]
    texts += [str(error.value) for error in (missing, wrong)]

    assert all(secret not in text for text in texts for secret in (OLD, NEW))
