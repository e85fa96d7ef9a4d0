"""Which deliveries of webhooks verify, and what is said of those that do not."""

import base64
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from zentrigger.errors import UnauthorizedError
from zentrigger.signatures import Delivery, Scheme, Signature, SignatureError, check_secret, new_secret, verify

TOLERANCE = timedelta(seconds=300)

# The example of Standard Webhooks' libraries and of Svix's documentation, which they come from.
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_TIME = datetime.fromtimestamp(1614265330, UTC)
STANDARD_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}

# docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, "Testing the webhook payload validation"
GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_HEADERS = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
}

# docs.slack.dev/authentication/verifying-requests-from-slack
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_TIME = datetime.fromtimestamp(1531420618, UTC)
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_HEADERS = {
    "x-slack-request-timestamp": "1531420618",
    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
}

# docs.zenml.io/pro/core-concepts/webhooks/custom has this body and this id, but no signature of it.
ZENML_SECRET = "a secret that ZenML made"
ZENML_BODY = b'{"model":"fraud-detector","version":"2026.08.31"}'
ZENML_HEADERS = {
    "x-zenml-event": "model.published",
    "x-zenml-delivery": "manual-delivery-001",
    "x-zenml-signature-256": "sha256=" + hmac.new(ZENML_SECRET.encode(), ZENML_BODY, "sha256").hexdigest(),
}

TIMED = Signature(
    scheme="hmac",
    header="X-Signature",
    prefix="sha512=",
    encoding="base64",
    algorithm="sha512",
    timestamp_header="X-Sent-At",
)
TIMED_HEADERS = {
    "x-sent-at": "1614265330",
    "x-signature": "sha512="
    + base64.b64encode(hmac.digest(GITHUB_SECRET.encode(), b"1614265330.Hello, World!", "sha512")).decode(),
}

Case = tuple[Signature, str, Mapping[str, str], bytes, datetime]

CASES: dict[str, Case] = {
    "standard": (Signature(scheme="standard"), STANDARD_SECRET, STANDARD_HEADERS, STANDARD_BODY, STANDARD_TIME),
    "github": (Signature(scheme="github"), GITHUB_SECRET, GITHUB_HEADERS, GITHUB_BODY, STANDARD_TIME),
    "slack": (Signature(scheme="slack"), SLACK_SECRET, SLACK_HEADERS, SLACK_BODY, SLACK_TIME),
    "zenml": (Signature(scheme="zenml"), ZENML_SECRET, ZENML_HEADERS, ZENML_BODY, STANDARD_TIME),
    "hmac": (TIMED, GITHUB_SECRET, TIMED_HEADERS, GITHUB_BODY, STANDARD_TIME),
}

SIGNED_HEADERS = {
    "standard": ("webhook-id", "webhook-timestamp", "webhook-signature"),
    "github": ("x-hub-signature-256",),
    "slack": ("x-slack-request-timestamp", "x-slack-signature"),
    "zenml": ("x-zenml-signature-256",),
    "hmac": ("x-sent-at", "x-signature"),
}

cases = pytest.mark.parametrize("name", CASES)
signed_headers = pytest.mark.parametrize(
    ("name", "header"), [(name, header) for name, headers in SIGNED_HEADERS.items() for header in headers]
)


def signed(algorithm: str) -> bytes:
    """Sign GitHub's example with another hash function."""
    return hmac.digest(GITHUB_SECRET.encode(), GITHUB_BODY, algorithm)


def delivered(name: str, **changed: Any) -> Delivery:
    """Verify the delivery of a case, with `headers` set (None: taken away), another `body`, `now`, or `secrets`."""
    signature, secret, headers, body, now = CASES[name]
    headers = dict(headers) | changed.get("headers", {})
    return verify(
        signature,
        changed.get("secrets", [secret]),
        {header: value for header, value in headers.items() if value is not None},
        changed.get("body", body),
        now=changed.get("now", now),
        tolerance=TOLERANCE,
    )


def refusal(name: str, **changed: Any) -> str:
    """Give what is said of a delivery that is refused."""
    with pytest.raises(SignatureError) as caught:
        delivered(name, **changed)
    return caught.value.detail


@pytest.mark.parametrize(
    ("name", "delivery"),
    [
        ("standard", Delivery("msg_p5jXN8AQM9LWM0D4loKWxJek", STANDARD_TIME)),
        ("github", Delivery("72d3162e-cc78-11e3-81ab-4c9367dc0958", None)),
        ("slack", Delivery(None, SLACK_TIME)),
        ("zenml", Delivery("manual-delivery-001", None)),
        ("hmac", Delivery(None, STANDARD_TIME)),
    ],
)
def test_documented_examples_verify(name: str, delivery: Delivery) -> None:
    """Those that Standard Webhooks, GitHub and Slack publish, with the id and the time that they carry."""
    assert delivered(name) == delivery


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({}, GITHUB_HEADERS["x-hub-signature-256"].removeprefix("sha256=")),
        ({}, GITHUB_HEADERS["x-hub-signature-256"].removeprefix("sha256=").upper()),
        ({"prefix": "sha256="}, GITHUB_HEADERS["x-hub-signature-256"]),
        ({"prefix": "hmac ", "algorithm": "sha1"}, "hmac " + signed("sha1").hex()),
        ({"encoding": "base64"}, base64.b64encode(signed("sha256")).decode()),
        ({"encoding": "base64", "algorithm": "sha512"}, base64.b64encode(signed("sha512")).decode()),
    ],
)
def test_a_plain_hmac_is_as_its_trigger_says(fields: dict[str, str], value: str) -> None:
    """Without a header for the time, the body alone is signed. Hex digits may be large or small."""
    signature = Signature.model_validate({"scheme": "hmac", "header": "X-Signature"} | fields)

    def check(body: bytes) -> Delivery:
        headers = {"x-signature": value}
        return verify(signature, [GITHUB_SECRET], headers, body, now=STANDARD_TIME, tolerance=TOLERANCE)

    assert check(GITHUB_BODY) == Delivery(None, None)
    with pytest.raises(SignatureError, match="same secret"):
        check(b"Hello, World?")


@cases
def test_a_refusal_is_an_unauthorized_error_without_secrets(name: str) -> None:
    """Its text tells neither a secret, nor the signature that was given or the one that would be good."""
    signature, secret, headers, body, _ = CASES[name]
    whole = headers[SIGNED_HEADERS[name][-1]]
    bare = whole.removeprefix(signature.prefix).removeprefix("v1,").removeprefix("v0=").removeprefix("sha256=")
    with pytest.raises(UnauthorizedError) as caught:
        delivered(name, body=body + b" ")
    text = caught.value.detail
    assert "Check that sender and trigger have the same secret" in text
    assert bare not in text
    assert secret not in text


@cases
def test_without_a_secret_nothing_verifies(name: str) -> None:
    """The text says which call gives the trigger one."""
    assert "has no secret yet: POST /triggers/{name}/secret" in refusal(name, secrets=[])


@cases
def test_a_secret_can_be_replaced(name: str) -> None:
    """Each secret that is good now verifies, whichever stands first; another one does not."""
    secret = CASES[name][1]
    delivered(name, secrets=[new_secret(), secret])
    delivered(name, secrets=[secret, new_secret()])
    assert "same secret" in refusal(name, secrets=[new_secret(), new_secret()])


def test_a_secret_of_another_scheme_is_passed_over() -> None:
    """A trigger's scheme may have changed since the secret was given; if no other is left, that is said."""
    delivered("standard", secrets=[GITHUB_SECRET, STANDARD_SECRET])
    assert "no secret that can be used with the scheme standard" in refusal("standard", secrets=[GITHUB_SECRET])
    assert "no secret that can be used" in refusal("github", secrets=["\ud800" * 20])


def test_several_standard_signatures() -> None:
    """One good one is enough; those of other versions are passed over, and alone they are none."""
    good = STANDARD_HEADERS["webhook-signature"]
    other = "v1," + base64.b64encode(bytes(32)).decode()
    for value in (f"{other} {good}", f"{good} {other}", f"v1a,hnO3f9T8Ytu9 {good}", f"v2,? {good}"):
        delivered("standard", headers={"webhook-signature": value})
    assert "same secret" in refusal("standard", headers={"webhook-signature": f"{other} {other}"})
    assert "v1,<base64 of sha256>" in refusal("standard", headers={"webhook-signature": "v1a," + good[3:]})


@signed_headers
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_header_is_named(name: str, header: str, value: str | None) -> None:
    """Also one that is there and empty."""
    assert f"The header {header} is missing" in refusal(name, headers={header: value})


@signed_headers
@pytest.mark.parametrize("comma", [",", ", "])
def test_a_header_that_comes_twice_is_refused(name: str, header: str, comma: str) -> None:
    """API Gateway joins it with commas; also if each of the two is good."""
    good = CASES[name][2][header]
    assert header in refusal(name, headers={header: f"{good}{comma}{good}"})
    assert header in refusal(name, headers={header: f"x{comma}{good}"})


@pytest.mark.parametrize(("name", "header"), [("github", "x-github-delivery"), ("zenml", "x-zenml-delivery")])
def test_ids_that_nobody_signed(name: str, header: str) -> None:
    """Need not be there, and may have full stops; but what is there is one id."""
    assert delivered(name, headers={header: None}).id is None
    assert delivered(name, headers={header: "a.b-c_1"}).id == "a.b-c_1"
    for value in ("a,b", "a, b", "a b", "ä", "a" * 201, "a\n"):
        assert f"The header {header} is no id" in refusal(name, headers={header: value})


def test_a_full_stop_in_a_signed_id_is_refused() -> None:
    """With it, id, time and body could be parted anew: the same signature would be that of another body."""
    key = base64.b64decode(STANDARD_SECRET.removeprefix("whsec_"))
    # Signed by the sender, with the id `msg_1`, for the body `1614265330.5`, which is JSON.
    signature = base64.b64encode(hmac.digest(key, b"msg_1.1614265330.1614265330.5", "sha256")).decode()
    forged = {"webhook-id": "msg_1.1614265330", "webhook-signature": f"v1,{signature}"}

    delivered("standard", headers=forged | {"webhook-id": "msg_1"}, body=b"1614265330.5")
    assert "webhook-id is no id" in refusal("standard", headers=forged, body=b"5")


@pytest.mark.parametrize("name", ["standard", "slack", "hmac"])
@pytest.mark.parametrize("side", [1, -1])
def test_the_window_has_two_sides(name: str, side: int) -> None:
    """Its ends are in it. The text says how far away the time is, and what to do."""
    now = CASES[name][4]
    delivered(name, now=now + side * TOLERANCE)
    text = refusal(name, now=now + side * (TOLERANCE + timedelta(seconds=1)))
    assert f"301 s {'before' if side > 0 else 'after'} it came; 300 s are allowed" in text
    assert "Check the sender's clock" in text


@pytest.mark.parametrize("name", ["github", "zenml"])
def test_without_a_time_there_is_no_window(name: str) -> None:
    """GitHub and ZenML sign none."""
    assert delivered(name, now=STANDARD_TIME + timedelta(days=3650)).sent_at is None


@pytest.mark.parametrize("name", ["standard", "slack", "hmac"])
@pytest.mark.parametrize(
    "text",
    [
        "1614265330000",
        "9" * 400,
        "9" * 5000,
        "-1614265330",
        "+1614265330",
        "1614265330.0",
        "1_614_265_330",
        " 1614265330",
        "1614265330\n",
        "1e9",
        "٣٣٣",  # digits to Python, none to the protocol
        "now",
    ],
)
def test_times_are_digits(name: str, text: str) -> None:
    """What Python might take for a number, or what no calendar has, is no time."""
    header = next(header for header in SIGNED_HEADERS[name] if "timestamp" in header or "sent" in header)
    assert f"The header {header} is no time" in refusal(name, headers={header: text})


@pytest.mark.parametrize("name", ["standard", "slack", "hmac"])
@pytest.mark.parametrize("text", ["0", "9999999999"])
def test_times_far_away_are_out_of_the_window(name: str, text: str) -> None:
    """They are times, if absurd ones."""
    header = next(header for header in SIGNED_HEADERS[name] if "timestamp" in header or "sent" in header)
    assert "300 s are allowed" in refusal(name, headers={header: text})


MALFORMED = {
    "standard": [
        "v1,",
        "v1,g0hM",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE",
        "v1,????",
        "v1,ü",
        "g0hM9SsE",
        "v1",
    ],
    "github": ["sha256=", "sha256=zz", "sha256=ü", "sha256=7", GITHUB_HEADERS["x-hub-signature-256"][7:], "sha1=00"],
    "slack": ["v0=", "v0=0", "v0=xyz", "v1=" + "00" * 32, "v0=" + "00" * 31, "v0=" + "00 " * 32],
    "zenml": ["sha256=", "not-prefixed", "sha256=invalid", "sha256=" + "00" * 33, "sha256=" + "AA" * 32],
    "hmac": ["sha512=", "sha512=====", "sha512=ü", "sha512=AAAA", "AAAA", "sha512=" + "00" * 64],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in MALFORMED.items() for value in values])
def test_a_malformed_signature_is_told_from_a_wrong_one(name: str, value: str) -> None:
    """Cut, in another encoding, without its prefix, or with characters that no signature has."""
    header = SIGNED_HEADERS[name][-1]
    assert f"The header {header} has not the form" in refusal(name, headers={header: value})


def test_base64_is_read_in_one_way() -> None:
    """The bits that its last character has to spare are not free."""
    good = STANDARD_HEADERS["webhook-signature"]
    spare = good.removesuffix("E=") + "F="
    assert base64.b64decode(spare[3:]) == base64.b64decode(good[3:])
    assert "has not the form" in refusal("standard", headers={"webhook-signature": spare})


@cases
@given(data=st.data())
def test_no_byte_of_the_body_can_be_changed(name: str, data: st.DataObject) -> None:
    """Changed, left out or added."""
    body = CASES[name][3]
    at = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.binary(max_size=2).filter(lambda found: found != body[at : at + 1]))
    assert "same secret" in refusal(name, body=body[:at] + other + body[at + 1 :])


@signed_headers
@given(data=st.data())
def test_no_character_of_a_signed_header_can_be_changed(name: str, header: str, data: st.DataObject) -> None:
    """Ids, times and signatures, whatever stands there instead; and it is refused in no other way."""
    value = CASES[name][2][header]
    at = data.draw(st.integers(0, len(value) - 1))
    character = data.draw((st.characters(max_codepoint=255) | st.characters()).filter(lambda found: found != value[at]))
    refusal(name, headers={header: value[:at] + character + value[at + 1 :]})


@signed_headers
@given(value=st.text(max_size=100))
def test_no_header_breaks_the_check(name: str, header: str, value: str) -> None:
    """Whatever comes, it is refused, and with an error that may be shown."""
    refusal(name, headers={header: value})


@cases
@given(secret=st.binary(min_size=24, max_size=64))
def test_no_other_secret_verifies(name: str, secret: bytes) -> None:
    """Alone, or beside others that are wrong, too."""
    text = "whsec_" + base64.b64encode(secret).decode()
    assert "same secret" in refusal(name, secrets=[text, new_secret()])


@pytest.mark.parametrize("scheme", ["standard", "github", "zenml", "hmac"])
def test_a_new_secret_fits_what_one_can_be_made_for(scheme: Scheme) -> None:
    """It has 32 random bytes. Slack alone makes its secrets itself."""
    secret = new_secret()
    check_secret(scheme, secret)
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert new_secret() != secret


@pytest.mark.parametrize(
    ("scheme", "text"),
    [
        ("standard", STANDARD_SECRET),
        ("standard", "whsec_" + base64.b64encode(bytes(64)).decode()),
        ("github", GITHUB_SECRET),
        ("github", "ein geheimes Wört"),
        ("slack", SLACK_SECRET),
        ("zenml", "x" * 16),
        ("hmac", "x" * 200),
    ],
)
def test_secrets_that_can_be_used(scheme: Scheme, text: str) -> None:
    """Those of the documented examples, and those at the limits."""
    check_secret(scheme, text)


@pytest.mark.parametrize(
    ("scheme", "text", "said"),
    [
        ("standard", GITHUB_SECRET, "begins with whsec_"),
        ("standard", "whpk_" + base64.b64encode(bytes(32)).decode(), "public keys are not supported"),
        ("standard", "whsec_" + base64.b64encode(bytes(23)).decode(), "24 to 64 bytes; this has 23"),
        ("standard", "whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64 bytes; this has 65"),
        ("standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "not base64"),
        ("standard", STANDARD_SECRET + "\n", "not base64"),
        ("standard", "whsec_" + "ü" * 40, "not base64"),
        ("github", "x" * 15, "16 to 200 characters"),
        ("hmac", "x" * 201, "16 to 200 characters"),
        ("github", "a secret of one line\n", "printable"),
        ("zenml", "a secret with a space ", "no space at either end"),
        ("hmac", "\ud800" * 20, "printable"),
        ("slack", "xoxb-1234567890-abcdefghij", "Signing Secret"),
        ("slack", "xapp-1-1234567890-abcdefghij", "Signing Secret"),
    ],
)
def test_secrets_that_cannot_be_used(scheme: Scheme, text: str, said: str) -> None:
    """The sentence says what is wrong and does not show the secret; nor does an error that it was raised from."""
    with pytest.raises(ValueError, match=said) as caught:
        check_secret(scheme, text)
    assert text.removeprefix("whsec_") not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_header_names_are_in_lower_case() -> None:
    """As API Gateway gives them."""
    assert (TIMED.header, TIMED.timestamp_header) == ("x-signature", "x-sent-at")


@pytest.mark.parametrize(
    "signature", [Signature(scheme="github"), Signature(scheme="hmac", header="x-signature"), TIMED], ids=str
)
def test_a_signature_can_be_written_as_it_is_shown(signature: Signature) -> None:
    """With its defaults in it."""
    assert Signature.model_validate(signature.model_dump(mode="json")) == signature


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"scheme": "hmac"}, "needs `header`"),
        ({"scheme": "hmac", "header": "Authorization"}, "authorization is a header for other secrets"),
        ({"scheme": "hmac", "header": "cookie"}, "cookie is a header for other secrets"),
        ({"scheme": "hmac", "header": "x-a", "timestamp_header": "X-API-Key"}, "x-api-key is a header"),
        ({"scheme": "hmac", "header": "x-a", "timestamp_header": "X-A"}, "a header each"),
        ({"scheme": "hmac", "header": "two words"}, "match pattern"),
        ({"scheme": "hmac", "header": "x-a\n"}, "match pattern"),
        ({"scheme": "hmac", "header": "x-a", "prefix": " v1"}, "match pattern"),
        ({"scheme": "hmac", "header": "x-a", "algorithm": "md5"}, "sha256"),
        ({"scheme": "github", "header": "x-a"}, "the scheme github settles this itself; only hmac has header"),
        ({"scheme": "slack", "prefix": "v0="}, "only hmac has prefix"),
        ({"scheme": "standard", "encoding": "base64", "algorithm": "sha512"}, "only hmac has encoding, algorithm"),
        ({"scheme": "zenml", "timestamp_header": "x-a"}, "only hmac has timestamp_header"),
        ({"scheme": "stripe"}, "scheme"),
        ({"scheme": "github", "secret": "x"}, "secret"),
    ],
)
def test_signatures_that_cannot_be(given: dict[str, str], said: str) -> None:
    """The sentence says what is wrong."""
    with pytest.raises(ValidationError, match=said):
        Signature.model_validate(given)
