"""API keys."""

import pytest

from tests.factories import MOMENT
from zentrigger.errors import ForbiddenError, UnauthorizedError
from zentrigger.keys import ApiKey, hash_of, key_id_of, matches, new_key


def _key(text: str, *scopes: str) -> ApiKey:
    return ApiKey.model_validate(
        {"key_id": key_id_of(text), "name": "n", "scopes": scopes, "secret_hash": hash_of(text), "created_at": MOMENT}
    )


def test_a_key_is_known_again() -> None:
    """Its id is in its text, and only its own text matches."""
    (key_id, text), (_, other) = new_key(), new_key()

    assert key_id_of(text) == key_id
    assert matches(_key(text), text)
    assert not matches(_key(text), other)


@pytest.mark.parametrize("cut", range(1, 30, 7))
def test_a_cut_key_is_told_from_a_wrong_one(cut: int) -> None:
    """The checksum shows that characters were lost, before anything is looked up."""
    with pytest.raises(UnauthorizedError, match="cut when copied"):
        key_id_of(new_key()[1][:-cut])


@pytest.mark.parametrize("text", ["", "zt_", "hunter2", "zt_ümlaut____", "zt_" + "a" * 5000, "zt_a_b"])
def test_what_is_no_key_is_refused(text: str) -> None:
    """Without an error of another kind."""
    with pytest.raises(UnauthorizedError):
        key_id_of(text)


def test_one_changed_character_is_seen() -> None:
    """A checksum over the whole text."""
    text = new_key()[1]
    changed = text[:20] + ("a" if text[20] != "a" else "b") + text[21:]
    with pytest.raises(UnauthorizedError):
        key_id_of(changed)


def test_scopes() -> None:
    """A key does what its scopes name; admin does all."""
    text = new_key()[1]
    _key(text, "run").require("run")
    _key(text, "admin").require("read")
    with pytest.raises(ForbiddenError, match="`admin`"):
        _key(text, "run", "read").require("admin")


def test_a_key_never_shows_its_hash() -> None:
    """Not in a repr, which ends in logs."""
    key = _key(new_key()[1], "run")
    assert key.secret_hash not in repr(key)
