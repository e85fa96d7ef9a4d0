"""Signatures of incoming webhooks: whether a delivery was sent by one who knows the trigger's secret.

What is signed, and how, is the sender's choice:

- `standard`: Standard Webhooks 1.0.0 (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md), its
  symmetric signatures: `webhook-signature` has `v1,<base64>` of `<webhook-id>.<webhook-timestamp>.<body>`, several with
  spaces between them while a secret is replaced. Those of other versions (`v1a`, with public keys) are passed over.
- `github`: `X-Hub-Signature-256: sha256=<hex>` of the body; `X-GitHub-Delivery` is the delivery's id
  (docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries).
- `slack`: `X-Slack-Signature: v0=<hex>` of `v0:<X-Slack-Request-Timestamp>:<body>`
  (docs.slack.dev/authentication/verifying-requests-from-slack). Slack names no delivery in a header.
- `zenml`: `X-ZenML-Signature-256: sha256=<hex>` of the body, with the secret's text as the key; `X-ZenML-Delivery` is
  the delivery's id, if the sender gives one (docs.zenml.io/pro/core-concepts/webhooks/custom).
- `hmac`: a header that the trigger names. With a header for the time, `<timestamp>.<body>` is signed, else the body.

All are HMAC (RFC 2104), over the bytes of the body as they came: the same JSON, written anew, has another signature.
Only Standard Webhooks sign the delivery's id. Where no time is signed, a copied delivery verifies for ever.

A header that was sent twice comes as one, joined with commas (docs.aws.amazon.com/apigateway, "Create AWS Lambda proxy
integrations for HTTP APIs", format 2.0). No header that is read here may hold a comma other than that after `v1`.
"""

import base64
import hmac
import re
import secrets as randomness
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from zentrigger.errors import UnauthorizedError

Scheme = Literal["standard", "github", "slack", "zenml", "hmac"]
Encoding = Literal["hex", "base64"]
Algorithm = Literal["sha256", "sha512", "sha1"]

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
_NEW_SECRET_BYTES = 32
_LEAST_KEY, _LONGEST_KEY = 24, 64
"""Bytes of a secret of Standard Webhooks (section "Signature scheme")."""

_LEAST_SECRET, _LONGEST_SECRET = 16, 200
"""Characters of any other secret. GitHub's are free text, of any length; less than 16 characters can be guessed."""

_OTHERS_HEADERS = frozenset({"authorization", "cookie", "x-api-key"})
"""Headers with secrets of another kind."""

_DIGEST_BYTES: Mapping[Algorithm, int] = {"sha256": 32, "sha512": 64, "sha1": 20}
_TIMESTAMP = re.compile(r"[0-9]{1,10}")
"""Seconds since 1970, until the year 2286: nothing that a `datetime` could not hold, and no milliseconds."""

_STANDARD_ID = re.compile(r"[!-+/-~-]{1,200}")
"""No full stop, which parts what is signed: with one in the id, the same text could be divided in two ways."""

_ID = re.compile(r"[!-+\--~]{1,200}")

_VERSIONED = re.compile(r"[a-z0-9]+,[!-+\--~]+")
"""A signature of Standard Webhooks, of whatever version."""


def _header_name(name: str) -> str:
    name = name.lower()
    if name in _OTHERS_HEADERS:
        raise ValueError(f"{name} is a header for other secrets; the signature comes in one of its own")
    return name


# A token (RFC 9110, section 5.6.2); names are told apart without regard to case (section 5.1).
HeaderName = Annotated[
    str, Field(max_length=100, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"), AfterValidator(_header_name)
]


class Signature(BaseModel):
    """How a webhook's deliveries are signed. All but `scheme` is for `hmac` alone; the others have it settled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: Scheme = Field(
        description="Standard Webhooks, GitHub's `X-Hub-Signature-256`, Slack's `X-Slack-Signature`, ZenML's"
        " `X-ZenML-Signature-256`, or an HMAC in a header that is named here."
    )
    header: HeaderName | None = Field(default=None, description="`hmac`: the header that has the signature.")
    prefix: Annotated[str, Field(max_length=50, pattern=r"^([!-~][ -~]*)?$")] = Field(
        default="", description="`hmac`: what stands before the signature in its header, as in `sha256=`."
    )
    encoding: Encoding = Field(default="hex", description="`hmac`: how the signature is written.")
    algorithm: Algorithm = Field(default="sha256", description="`hmac`: the hash function.")
    timestamp_header: HeaderName | None = Field(
        default=None,
        description="`hmac`: the header that has the time of sending, in seconds since 1970. `<timestamp>.<body>` is"
        " signed then, and old deliveries are refused.",
    )

    @model_validator(mode="after")
    def _fits_its_scheme(self) -> "Signature":
        if self.scheme == "hmac":
            if self.header is None:
                raise ValueError("the scheme hmac needs `header`, the name of the header that has the signature")
            if self.header == self.timestamp_header:
                raise ValueError("the signature and the timestamp need a header each")
            return self
        # What has its default may be said: a definition is shown with its defaults, and can be written as it is shown.
        only = ("header", "prefix", "encoding", "algorithm", "timestamp_header")
        set_here = [name for name in only if getattr(self, name) != type(self).model_fields[name].default]
        if set_here:
            raise ValueError(f"the scheme {self.scheme} settles this itself; only hmac has {', '.join(set_here)}")
        return self


@dataclass(frozen=True)
class Delivery:
    """A delivery whose signature was good: the id that its sender gave it, and when it was sent; None: not said.

    The time is signed wherever there is one. The id is signed by Standard Webhooks alone.
    """

    id: str | None
    sent_at: datetime | None


class SignatureError(UnauthorizedError):
    """A delivery is not signed as its trigger asks, or not now. The text names neither secrets nor signatures."""

    title = "The signature is not good"


@dataclass(frozen=True)
class _Rules:
    """What a scheme reads and how; `before` is put before the body and may name the id and the timestamp."""

    header: str
    prefix: str
    before: str = ""
    timestamp_header: str | None = None
    id_header: str | None = None
    encoding: Encoding = "hex"
    algorithm: Algorithm = "sha256"


_RULES: Mapping[Scheme, _Rules] = {
    "standard": _Rules(
        header="webhook-signature",
        prefix="v1,",
        before="{id}.{timestamp}.",
        timestamp_header="webhook-timestamp",
        id_header="webhook-id",
        encoding="base64",
    ),
    "github": _Rules(header="x-hub-signature-256", prefix="sha256=", id_header="x-github-delivery"),
    "slack": _Rules(
        header="x-slack-signature",
        prefix="v0=",
        before="v0:{timestamp}:",
        timestamp_header="x-slack-request-timestamp",
    ),
    "zenml": _Rules(header="x-zenml-signature-256", prefix="sha256=", id_header="x-zenml-delivery"),
}


def verify(  # noqa: PLR0913 - a delivery, and what it is held to
    signature: Signature,
    secrets: Sequence[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    tolerance: timedelta,
) -> Delivery:
    """Check that a delivery is signed with one of a trigger's secrets, and, where its time is signed, that it is new.

    All signatures given are compared with those of all secrets, each in a time that says nothing of where they differ:
    a secret can be replaced on either side while deliveries come.

    Args:
        signature: How the trigger's deliveries are signed.
        secrets: The trigger's secrets that are good now. One that does not fit the scheme is passed over.
        headers: The delivery's headers, their names in lower case.
        body: The delivery's body, as it came.
        now: When it came.
        tolerance: How far from `now` it may have been sent, before or after.

    Raises:
        SignatureError: it is not, or cannot be checked.

    """
    keys = _keys(signature.scheme, secrets)
    rules = _rules(signature)
    given = _given(signature.scheme, rules, _header(headers, rules.header))
    timestamp, sent_at = _sent(rules, headers, now, tolerance)
    delivery = Delivery(_id(signature.scheme, rules, headers), sent_at)
    # Formatting looks for fields in `before` alone, never in what is filled in.
    signed = rules.before.format(id=delivery.id, timestamp=timestamp).encode() + body
    matches = False
    for key in keys:
        expected = hmac.digest(key, signed, rules.algorithm)
        for one in given:
            matches |= hmac.compare_digest(expected, one)
    if not matches:
        raise SignatureError(
            f"The signature in {rules.header} is not that of this body with the trigger's secret. Check that sender and"
            " trigger have the same secret, and that the body is sent byte for byte as it was signed."
        )
    return delivery


def new_secret() -> str:
    """Make a secret of 256 random bits, in the form of Standard Webhooks. The other schemes take its whole text."""
    return SECRET_PREFIX + base64.b64encode(randomness.token_bytes(_NEW_SECRET_BYTES)).decode()


def check_secret(scheme: Scheme, text: str) -> None:
    """Check that a secret can be used with a scheme.

    Slack makes its secrets itself (32 characters of hex digits today, which it does not promise), so all that is
    refused there is what Slack has beside them: tokens.

    Raises:
        ValueError: it cannot; the text says why and does not show the secret.

    """
    if scheme == "standard":
        _key(scheme, text)
        return
    if not _LEAST_SECRET <= len(text) <= _LONGEST_SECRET:
        raise ValueError(f"a secret has {_LEAST_SECRET} to {_LONGEST_SECRET} characters")
    if not text.isprintable() or text != text.strip():
        raise ValueError("a secret has printable characters, and no space at either end: was one copied with it?")
    if scheme == "slack" and text.startswith(("xox", "xapp-")):
        raise ValueError("this is a token of Slack's; deliveries are signed with the app's Signing Secret")


def _keys(scheme: Scheme, secrets: Sequence[str]) -> list[bytes]:
    if not secrets:
        raise SignatureError("The trigger has no secret yet: POST /triggers/{name}/secret")
    keys = []
    for secret in secrets:
        try:
            keys.append(_key(scheme, secret))
        except ValueError:
            # The trigger's scheme is another one since the secret was given.
            continue
    if not keys:
        raise SignatureError(
            f"The trigger has no secret that can be used with the scheme {scheme}: POST /triggers/{{name}}/secret"
        )
    return keys


def _key(scheme: Scheme, secret: str) -> bytes:
    if scheme != "standard":
        return secret.encode()
    if not secret.startswith(SECRET_PREFIX):
        raise ValueError(f"a secret of Standard Webhooks begins with {SECRET_PREFIX} (public keys are not supported)")
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        # Not chained: Python's error about a character that is not ASCII has the whole text in it.
        raise ValueError(f"what follows {SECRET_PREFIX} is not base64: was the secret cut when copied?") from None
    if not _LEAST_KEY <= len(key) <= _LONGEST_KEY:
        raise ValueError(f"a secret of Standard Webhooks has {_LEAST_KEY} to {_LONGEST_KEY} bytes; this has {len(key)}")
    return key


def _rules(signature: Signature) -> _Rules:
    if signature.header is None:
        return _RULES[signature.scheme]
    return _Rules(
        header=signature.header,
        prefix=signature.prefix,
        before="" if signature.timestamp_header is None else "{timestamp}.",
        timestamp_header=signature.timestamp_header,
        encoding=signature.encoding,
        algorithm=signature.algorithm,
    )


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise SignatureError(f"The header {name} is missing. The trigger takes signed deliveries alone.")
    return value


def _sent(
    rules: _Rules, headers: Mapping[str, str], now: datetime, tolerance: timedelta
) -> tuple[str, datetime | None]:
    name = rules.timestamp_header
    if name is None:
        return "", None
    text = _header(headers, name)
    if not _TIMESTAMP.fullmatch(text):
        raise SignatureError(f"The header {name} is no time. Send one time, in whole seconds since 1970, in digits.")
    sent_at = datetime.fromtimestamp(int(text), UTC)
    if abs(now - sent_at) > tolerance:
        away, side = (now - sent_at, "before") if sent_at < now else (sent_at - now, "after")
        raise SignatureError(
            f"The delivery was sent {away.total_seconds():.0f} s {side} it came; {tolerance.total_seconds():.0f} s are"
            " allowed. Check the sender's clock; to send an old delivery again, sign it anew."
        )
    return text, sent_at


def _id(scheme: Scheme, rules: _Rules, headers: Mapping[str, str]) -> str | None:
    name = rules.id_header
    if name is None or (scheme != "standard" and name not in headers):
        return None
    text = _header(headers, name)
    if not (_STANDARD_ID if scheme == "standard" else _ID).fullmatch(text):
        none_of = "spaces, commas or full stops" if scheme == "standard" else "spaces or commas"
        raise SignatureError(f"The header {name} is no id. Send one id of 1 to 200 ASCII characters without {none_of}.")
    return text


def _given(scheme: Scheme, rules: _Rules, value: str) -> list[bytes]:
    texts = [value]
    if scheme == "standard":
        versions = [text for text in value.split(" ") if text]
        # One that is not well formed spoils all: no sender writes it, but a header that came twice looks like it.
        texts = [text for text in versions if text.startswith(rules.prefix) or not _VERSIONED.fullmatch(text)]
    found = [_decoded(scheme, rules, text) for text in texts]
    good = [one for one in found if one is not None]
    if not good or len(good) < len(found):
        raise SignatureError(
            f"The header {rules.header} has not the form {rules.prefix}<{rules.encoding} of {rules.algorithm}>. Send it"
            " once, with a whole signature."
        )
    return good


def _decoded(scheme: Scheme, rules: _Rules, text: str) -> bytes | None:
    """Give the bytes of a signature; None if it is not written in the one way in which it can be."""
    if not text.startswith(rules.prefix):
        return None
    written = text.removeprefix(rules.prefix)
    if scheme == "hmac" and rules.encoding == "hex":
        # The named schemes write small letters; of the others, some write large ones.
        written = written.lower()
    try:
        plain = bytes.fromhex(written) if rules.encoding == "hex" else base64.b64decode(written, validate=True)
    except ValueError:
        return None
    # Spaces between hex digits, and bits that base64 has to spare, would be further ways to write the same.
    again = plain.hex() if rules.encoding == "hex" else base64.b64encode(plain).decode()
    return plain if again == written and len(plain) == _DIGEST_BYTES[rules.algorithm] else None
