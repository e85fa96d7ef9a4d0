"""API keys: `zt_<id>_<secret>`, of which only a hash is kept."""

import hashlib
import hmac
import re
import secrets
import zlib
from typing import Literal

from pydantic import Field

from zentrigger.errors import ForbiddenError, UnauthorizedError
from zentrigger.runs import Record
from zentrigger.timestamps import Timestamp

Scope = Literal["admin", "run", "read"]

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH, _SECRET_LENGTH, _CHECKSUM_LENGTH = 10, 40, 7
_FORM = re.compile(rf"zt_([0-9a-z]{{{_ID_LENGTH}}})_([0-9a-z]{{{_SECRET_LENGTH}}})([0-9a-z]{{{_CHECKSUM_LENGTH}}})")


class ApiKey(Record):
    """An API key as it is kept: who it is, what it may do, and the SHA-256 of its whole text."""

    key_id: str
    name: str
    scopes: tuple[Scope, ...]
    secret_hash: str = Field(repr=False)
    created_at: Timestamp

    def require(self, scope: Scope) -> None:
        """Check that the key may do what `scope` names; `admin` may do everything.

        Raises:
            ForbiddenError: it may not.

        """
        if scope not in self.scopes and "admin" not in self.scopes:
            raise ForbiddenError(
                f"The API key {self.key_id} has not the scope `{scope}`. Ask an operator for one that has."
            )


def new_key() -> tuple[str, str]:
    """Make a key of 206 random bits; gives its id and its whole text, which is shown once and never kept."""
    key_id, secret = _random(_ID_LENGTH), _random(_SECRET_LENGTH)
    body = f"zt_{key_id}_{secret}"
    return key_id, body + _checksum(body)


def key_id_of(text: str) -> str:
    """Give the id of a key, without asking whether the key is known.

    Raises:
        UnauthorizedError: the text is no key, or one that lost characters on its way.

    """
    form = _FORM.fullmatch(text)
    if form is None or not hmac.compare_digest(_checksum(text[:-_CHECKSUM_LENGTH]), form[3]):
        raise UnauthorizedError("This is not a whole API key: keys look like zt_<id>_<secret>. Was it cut when copied?")
    return form[1]


def hash_of(text: str) -> str:
    """Give the hash under which a key is kept. A key is random enough for a plain SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()


def matches(key: ApiKey, text: str) -> bool:
    """Tell whether a text is this key, in a time that says nothing of where they differ."""
    return hmac.compare_digest(key.secret_hash, hash_of(text))


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    value, digits = zlib.crc32(text.encode()), ""
    while value:
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits.rjust(_CHECKSUM_LENGTH, "0")
