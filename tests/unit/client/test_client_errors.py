"""An answer that is no success becomes a sentence; a key never becomes part of one."""

from typing import Any

import pytest

from zentrigger_client.api import Client
from zentrigger_client.errors import ZentriggerError, from_answer, redact

KEY = "zt_operator_c2VjcmV0LXNlY3JldA"


@pytest.mark.parametrize(
    ("status", "body", "text", "expected"),
    [
        (
            422,
            {
                "title": "The parameters do not fit",
                "detail": "two are wrong",
                "errors": [{"pointer": "/parameters/n", "detail": "is no integer"}, {"detail": "too many"}],
            },
            "",
            "The parameters do not fit: two are wrong\n  /parameters/n: is no integer\n  too many",
        ),
        (429, {"message": "Too Many Requests"}, "", "429 reason: Too Many Requests"),
        (413, {"Message": "Request Too Long"}, "", "413 reason: Request Too Long"),
        (503, {}, "", "503 reason"),
        (502, None, "<html>bad gateway</html>", "502 reason: <html>bad gateway</html>"),
        (500, ["unexpected"], '["unexpected"]', '500 reason: ["unexpected"]'),
        (400, {"title": "Bad", "errors": ["odd", None]}, "", "Bad"),
        (400, {"title": "Bad", "errors": None}, "", "Bad"),
    ],
)
def test_every_known_shape_of_refusal_reads_well(status: int, body: Any, text: str, expected: str) -> None:
    """problem+json with one line an error; the gateway's own bodies; anything else is cited."""
    error = from_answer(status, "reason", body, text, None)
    assert str(error) == expected
    assert error.status == status


def test_a_long_page_is_cut() -> None:
    """A proxy's error page does not fill the terminal."""
    assert len(str(from_answer(502, "x", None, "y" * 10_000, None))) < 400


def test_no_key_gets_into_an_error() -> None:
    """Not even when a server echoes it."""
    error = ZentriggerError(
        f"no such key {KEY}", detail=f"X-API-Key: {KEY}", errors=[{"pointer": f"/{KEY}", "detail": KEY}]
    )
    assert KEY not in str(error)
    assert KEY not in repr(error)
    assert "zt_***" in str(error)
    assert redact("zt_short") == "zt_short"


@pytest.mark.parametrize(
    ("text", "secret", "shown"),
    [
        ("key ZENKEY_eyJpZCI6ICJhYmMifQ== refused", "eyJpZCI6", "key ZENKEY_*** refused"),
        ("AKIAIOSFODNN7EXAMPLE is no key", "IOSFODNN7", "AKIA*** is no key"),
        ("mysql://root:hunter2@db/zenml", "hunter2", "mysql://***@db/zenml"),
        ("s3://bucket/a:b@c and git@github.com", None, "s3://bucket/a:b@c and git@github.com"),
    ],
)
def test_what_user_code_raises_is_shown_without_its_secrets(text: str, secret: str | None, shown: str) -> None:
    """A traceback may hold keys of ZenML and AWS, and a store's password."""
    assert redact(text) == shown
    assert secret is None or secret not in redact(text)


def test_no_key_in_the_client_s_own_text() -> None:
    """repr() is what logs and debuggers show."""
    client = Client("https://api.example/", KEY)
    assert KEY not in repr(client)
    assert KEY not in repr(client._session.auth)  # noqa: SLF001 - where the key is kept
    assert KEY not in repr(vars(client))


@pytest.mark.parametrize("url", ["api.example", "ftp://api.example", "https://", ""])
def test_refuses_what_is_no_url(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match="https://host"):
        Client(url, KEY)


def test_refuses_a_password_in_the_url_without_citing_it() -> None:
    """It would end up in logs."""
    with pytest.raises(ValueError, match="user name or password") as raised:
        Client("https://me:hunter2@api.example", KEY)
    assert "hunter2" not in str(raised.value)
