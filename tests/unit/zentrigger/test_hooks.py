"""Calls of webhooks: verified first, durable before they are answered, and without anybody's secrets in the queue."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import MOMENT, trigger
from zentrigger.errors import NotFoundError, TooLargeError, UnavailableError, UnreadableError, ZentriggerError
from zentrigger.events import WebhookReceived, parse_event
from zentrigger.hook_secrets import HookSecret
from zentrigger.hooks import MAX_HOOK_BYTES, MAX_MESSAGE_BYTES, Hooks, Received
from zentrigger.http import parse_json
from zentrigger.matching import concerns, document_of, mismatch
from zentrigger.receipts import new_receipt
from zentrigger.signatures import SignatureError
from zentrigger.triggers import UnreadableTrigger

SECRET, BEFORE = "the-secret-of-the-sender", "the-secret-of-yesterday"


class Queue:
    """The event queue, with what was sent."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.error: Exception | None = None

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803 - boto3's names
        if self.error is not None:
            raise self.error
        assert QueueUrl == "https://queue"
        # What SQS takes (AWS: SendMessage, "A message can include only XML, JSON, and unformatted text").
        assert len(MessageBody.encode()) <= 256 * 1024
        assert not {character for character in MessageBody if character in "\ufffe\uffff" or character < " "}
        self.messages.append(MessageBody)

    @property
    def events(self) -> list[WebhookReceived]:
        """What on_event will read."""
        read = [parse_event(json.loads(message)) for message in self.messages]
        return [event for event in read if isinstance(event, WebhookReceived)]


class Finds:
    """A store that finds what it was given."""

    def __init__(self, **found: Any) -> None:
        self.found = found

    def find(self, name: str) -> Any:
        return self.found.get(name)


class Bench:
    """Hooks with one trigger of type webhook."""

    def __init__(self, secret: HookSecret | None = None, **values: Any) -> None:
        definition = {"type": "webhook", "signature": {"scheme": "github"}} | values
        self.trigger = trigger("hook", **definition)
        self.secrets = Finds(hook=secret or HookSecret(secret=SECRET, created_at=MOMENT))
        self.queue, self.moment = Queue(), MOMENT
        self.hooks = Hooks(
            triggers=Finds(hook=self.trigger, files=trigger("files")),  # type: ignore[arg-type]
            secrets=self.secrets,  # type: ignore[arg-type]
            queue=self.queue,  # type: ignore[arg-type]
            queue_url="https://queue",
            parse=parse_json,
            clock=lambda: self.moment,
        )

    def call(self, body: bytes = b'{"ref":"main"}', secret: str = SECRET, **headers: str) -> Received:
        """Call it as GitHub does."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.hooks.receive("hook", signed(body, secret) | told, body)


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Sign a body as GitHub does."""
    return {"x-hub-signature-256": f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"}


def slack(body: bytes, at: int = int(MOMENT.timestamp())) -> dict[str, str]:
    """Sign a body as Slack does."""
    signature = hmac.new(SECRET.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    return {"x-slack-request-timestamp": str(at), "x-slack-signature": f"v0={signature}"}


def test_a_call_is_in_the_queue_before_it_is_answered() -> None:
    """With its body, headers and delivery id; the receipt will be under the id that the caller is told."""
    bench = Bench()

    received = bench.call(x_github_delivery="d-1", x_github_event="push")

    (event,) = bench.queue.events
    assert received.receipt_id == event.receipt_id == new_receipt("hook", event, MOMENT + timedelta(hours=1)).receipt_id
    assert (received.trigger, received.challenge) == ("hook", None)
    assert (event.trigger, event.event_id, event.delivery_id, event.time) == ("hook", "d-1", "d-1", MOMENT)
    assert (event.headers, event.body) == (
        {"x-github-delivery": "d-1", "x-github-event": "push"},
        {"ref": "main"},
    )


def test_a_call_is_of_the_trigger_whose_secret_signed_it() -> None:
    """Not of one that is made under its name while it waits; one that waits since before this was told is taken."""
    bench = Bench()
    bench.call()
    (event,) = bench.queue.events
    another = bench.trigger.model_copy(update={"created_at": MOMENT + timedelta(microseconds=1)})

    assert event.trigger_created_at == bench.trigger.created_at
    assert concerns(bench.trigger, event)
    assert concerns(bench.trigger.model_copy(update={"updated_at": MOMENT + timedelta(hours=1)}), event)
    assert not concerns(another, event)
    assert concerns(another, event.model_copy(update={"trigger_created_at": None}))


def test_each_call_has_a_receipt_of_its_own() -> None:
    """Also one that is sent again at the same moment: that it is a duplicate is for its receipt to say."""
    bench = Bench()

    ids = {bench.call(x_github_delivery="d").receipt_id for _ in range(3)} | {bench.call().receipt_id}

    assert len(ids) == 4
    events = bench.queue.events
    assert [event.delivery_id for event in events] == ["d", "d", "d", None]
    assert events[3].event_id not in ("d", "")


def test_a_queue_that_does_not_take_it_is_told() -> None:
    """The caller is not answered with a receipt, and sends it again; then it is there once."""
    bench = Bench()
    bench.queue.error = ConnectionError("https://queue is down, token=hunter2")

    with pytest.raises(UnavailableError, match="Send it again") as caught:
        bench.call(x_github_delivery="d")
    assert "hunter2" not in caught.value.detail
    assert bench.queue.messages == []

    bench.queue.error = None
    bench.call(x_github_delivery="d")
    assert len(bench.queue.messages) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-hub-signature-256": "sha256=" + "0" * 64},
        signed(b'{"ref":"main"} '),
        signed(b'{"ref":"main"}', "another-secret-of-somebody"),
        {"x-hub-signature": signed(b'{"ref":"main"}')["x-hub-signature-256"]},
    ],
)
def test_what_is_not_signed_goes_nowhere(headers: Mapping[str, str]) -> None:
    """Neither into the queue nor to the reader of JSON."""
    bench = Bench()
    bench.hooks._parse = lambda _: pytest.fail("it was read")  # noqa: SLF001 - before it is known whose it is

    with pytest.raises(SignatureError):
        bench.hooks.receive("hook", headers, b'{"ref":"main"}')

    assert bench.queue.messages == []


def test_a_trigger_without_a_secret_takes_nothing() -> None:
    """Not even what is signed with no secret."""
    bench = Bench()
    bench.secrets.found = {}

    for secret in ("", SECRET):
        with pytest.raises(SignatureError, match="no secret yet"):
            bench.call(secret=secret)
    assert bench.queue.messages == []


def test_a_secret_that_was_changed_is_good_for_a_day() -> None:
    """Both sides can be changed one after the other; then the one before is none any more."""
    changed = HookSecret(
        secret=SECRET, created_at=MOMENT, previous=BEFORE, previous_valid_until=MOMENT + timedelta(hours=24)
    )
    bench = Bench(changed)
    for hours, good in ((0, True), (23.99, True), (24, False), (1000, False)):
        bench.moment = MOMENT + timedelta(hours=hours)
        assert bench.call(secret=SECRET).receipt_id
        if good:
            assert bench.call(secret=BEFORE).receipt_id
        else:
            with pytest.raises(SignatureError):
                bench.call(secret=BEFORE)


@pytest.mark.parametrize("name", ["nobody", "files", "", "x" * 3000, "\ud800", "HOOK"])
def test_only_webhooks_are_called(name: str) -> None:
    """Others are not there for a caller, signed or not."""
    bench = Bench()

    with pytest.raises(NotFoundError):
        bench.hooks.receive(name, signed(b"{}"), b"{}")

    assert bench.queue.messages == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"ref=main",
        b"NaN",
        b'{"a":1,"a":2}',
        b'"\\ud800"',
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
    ],
)
def test_what_is_signed_and_no_json_is_told(body: bytes) -> None:
    """Nothing is sent that on_event could not read; bytes that are no text are not made into another text."""
    bench = Bench()

    with pytest.raises(UnreadableError):
        bench.call(body)

    assert bench.queue.messages == []


@pytest.mark.parametrize(
    "body",
    [
        "null",
        "[]",
        "7",
        '"text"',
        '{"a":"\uffff \ufffe \u007f 🎉"}',
        '{"a":"\\uffff \\u0000 \\\\uffff"}',
        '{"\uffff":1}',
    ],
)
def test_any_json_comes_through_as_it_was(body: str) -> None:
    """Also characters that a message of SQS may not hold as they are."""
    bench = Bench()

    bench.call(body.encode())

    assert bench.queue.events[0].body == json.loads(body)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=50))
def test_any_text_comes_through_as_it_was(text: str) -> None:
    """Whatever it is made of."""
    bench = Bench()

    bench.call(json.dumps({"a": text}, ensure_ascii=False).encode())

    assert bench.queue.events[0].body == {"a": text}


def test_how_large_a_call_may_be() -> None:
    """200 KB of body, with all the headers that are kept; and, written as JSON within JSON, what a message may be."""
    bench = Bench()
    most = b'"' + b"x" * (MAX_HOOK_BYTES - 2) + b'"'
    headers = {f"x_{number}": "v" * 500 for number in range(60)}
    assert bench.call(most, **headers).receipt_id

    twice_as_long = '"' + "\uffff" * (MAX_HOOK_BYTES // 3 - 1) + '"'
    for body in (most + b" ", twice_as_long.encode()):
        with pytest.raises(TooLargeError, match="S3"):
            bench.call(body)
    (message,) = bench.queue.messages
    assert MAX_HOOK_BYTES < len(message.encode()) <= MAX_MESSAGE_BYTES


def test_headers_with_secrets_never_reach_the_queue() -> None:
    """Nor those with signatures, too many, or too long ones."""
    bench = Bench(
        signature={"scheme": "hmac", "header": "x-mark", "prefix": "sha256="},
    )
    body = b"{}"
    private = [
        "authorization",
        "proxy-authorization",
        "cookie",
        "x-api-key",
        "x-auth-token",
        "x-gitlab-token",
        "x-amz-security-token",
        "x-client-secret",
        "webhook-signature",
        "x-hub-signature",
    ]
    headers = dict.fromkeys(private, "hunter2") | {"x-kind": "push", "x-long": "hunter2" * 100}
    headers["x-mark"] = signed(body)["x-hub-signature-256"]

    bench.hooks.receive("hook", headers, body)
    bench.hooks.receive("hook", headers | {f"z{number:03d}": "v" for number in range(500)}, body)

    first, second = bench.queue.events
    assert first.headers == {"x-kind": "push"}
    assert len(second.headers) == 60
    assert second.headers["x-kind"] == "push"
    assert not any("hunter2" in message or headers["x-mark"][10:] in message for message in bench.queue.messages)


def test_slack_is_given_its_challenge_back_if_it_is_signed() -> None:
    """Nothing is sent for it; from others it is a call like any other."""
    bench = Bench(signature={"scheme": "slack"})
    body = b'{"type":"url_verification","challenge":"c-1"}'

    assert bench.hooks.receive("hook", slack(body), body) == Received("hook", None, "c-1")
    with pytest.raises(SignatureError):
        bench.hooks.receive("hook", slack(body) | {"x-slack-signature": "v0=" + "0" * 64}, body)
    assert bench.queue.messages == []

    strange = b'{"type":"url_verification","challenge":7}'
    assert bench.hooks.receive("hook", slack(strange), strange).challenge is None
    github = Bench()
    assert github.call(body).challenge is None
    assert len(bench.queue.messages) == len(github.queue.messages) == 1


@pytest.mark.parametrize(("seconds", "good"), [(0, True), (60, True), (-60, True), (61, False), (-61, False)])
def test_an_old_call_is_refused_where_its_time_is_signed(seconds: int, good: bool) -> None:
    """By the trigger's own tolerance, on both sides."""
    bench = Bench(signature={"scheme": "slack"}, tolerance_seconds=60)
    headers = slack(b"{}", int(MOMENT.timestamp()) + seconds)

    if good:
        assert bench.hooks.receive("hook", headers, b"{}").receipt_id
    else:
        with pytest.raises(SignatureError):
            bench.hooks.receive("hook", headers, b"{}")
    assert len(bench.queue.messages) == good


def test_what_was_sent_is_what_the_filter_sees() -> None:
    """Paths into the body and the headers, in small letters."""
    bench = Bench(filter={"body.ref": ["main"], "header.x-github-event": ["push"]})

    bench.call(x_github_event="push")
    bench.call(x_github_event="pull")

    said = [mismatch(bench.trigger, event, document_of("hook", event)) for event in bench.queue.events]
    assert said[0] is None
    assert "x-github-event" in str(said[1])


def test_a_disabled_trigger_takes_calls() -> None:
    """Its receipt says that it is disabled: the sender need not know, and does not send it again."""
    bench = Bench(enabled=False)

    assert bench.call().receipt_id
    assert len(bench.queue.messages) == 1


def test_no_error_and_no_log_has_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with a call."""
    bench = Bench()
    errors: list[ZentriggerError] = []
    with caplog.at_level("DEBUG"):
        for body, secret in ((b"{}", "another-secret-here"), (b"{", SECRET), (b"x" * 300_000, SECRET)):
            with pytest.raises(ZentriggerError) as caught:
                bench.call(body, secret)
            errors.append(caught.value)
        bench.call()

    signature = signed(b'{"ref":"main"}')["x-hub-signature-256"][7:]
    texts = [caplog.text, *map(repr, errors), *(error.detail for error in errors), *bench.queue.messages]
    assert not any(SECRET in text or signature in text for text in texts)


def test_a_trigger_that_cannot_be_read_takes_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sender is to call again, and learns nothing of what it says."""
    bench = Bench()

    def find(_: Finds, name: str) -> Any:
        raise UnreadableTrigger(name=name, detail="definition.webhook.colour: extra_forbidden").error()

    monkeypatch.setattr(Finds, "find", find)
    with pytest.raises(UnavailableError, match="call again") as caught:
        bench.call()

    assert "colour" not in caught.value.detail
    assert bench.queue.messages == []
