"""Webhooks in: a call is verified, put into the event queue, and only then answered with its receipt's id."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from zentrigger.errors import NotFoundError, TooLargeError, UnavailableError, UnreadableError
from zentrigger.events import WEBHOOK_SOURCE
from zentrigger.hook_secrets import HookSecretStore
from zentrigger.items import can_be_key
from zentrigger.receipts import receipt_id
from zentrigger.signatures import verify
from zentrigger.timestamps import now, to_text
from zentrigger.trigger_store import TriggerStore
from zentrigger.triggers import UnreadableTriggerError, WebhookTrigger

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_HOOK_BYTES = 200 * 1024
"""Of a call's body. A message of the queue is 256 KB, and holds the headers and the body as escaped text."""

MAX_MESSAGE_BYTES = 256 * 1024

_KEPT_OUT = ("api-key", "apikey", "authorization", "cookie", "password", "secret", "signature", "token")
"""What the names of headers have in them that may hold somebody's secret, or a signature."""

MAX_HEADERS = 60
MAX_HEADER_LENGTH = 500


@dataclass(frozen=True)
class Received:
    """A call that is in the queue, or one that only wanted to know whether somebody is there."""

    trigger: str
    receipt_id: str | None
    challenge: str | None = None
    """What Slack asks to be given back when a URL is entered."""


class Hooks:
    """Takes signed calls for triggers of type webhook."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        *,
        triggers: TriggerStore,
        secrets: HookSecretStore,
        queue: "SQSClient",
        queue_url: str,
        parse: Callable[[str], Any],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._triggers = triggers
        self._secrets = secrets
        self._queue = queue
        self._queue_url = queue_url
        self._parse = parse
        self._clock = clock

    def receive(self, name: str, headers: Mapping[str, str], body: bytes) -> Received:
        """Verify a call for a trigger, and put it into the queue.

        Args:
            name: The trigger's name, as it stands in the path.
            headers: The call's headers, their names in lower case.
            body: Its body, byte for byte.

        Raises:
            NotFoundError: there is no such trigger of type webhook.
            TooLargeError: the body is over 200 KB.
            SignatureError: it is not signed with the trigger's secret, or not now.
            UnreadableError: it is signed, but no JSON.
            UnavailableError: the queue does not take it, or the trigger cannot be read: nothing was received.

        """
        try:
            trigger = self._triggers.find(name) if can_be_key("triggers", name) else None
        except UnreadableTriggerError as error:
            # Who calls has shown nothing yet, and is told nothing of the trigger.
            raise UnavailableError(
                "The webhook cannot take calls just now. Nothing was received; call again."
            ) from error
        if trigger is None or not isinstance(trigger.definition, WebhookTrigger):
            raise NotFoundError(f"There is no webhook {name[:100]!r}. A trigger of type webhook has its name here.")
        definition = trigger.definition
        if len(body) > MAX_HOOK_BYTES:
            raise TooLargeError(f"The body is over {MAX_HOOK_BYTES} bytes. Put the data in S3 and send its URL.")
        moment = self._clock()
        secret = self._secrets.find(name)
        delivery = verify(
            definition.signature,
            secret.good_at(moment) if secret else (),
            headers,
            body,
            now=moment,
            tolerance=timedelta(seconds=definition.tolerance_seconds),
        )
        values = self._parse(_text(body))
        if definition.signature.scheme == "slack" and (challenge := _challenge(values)) is not None:
            return Received(name, None, challenge)
        event_id = delivery.id or str(uuid.uuid4())
        received = Received(name, receipt_id(moment, name, event_id, uuid.uuid4().hex))
        event = {
            "source": WEBHOOK_SOURCE,
            "detail-type": "Webhook",
            "id": event_id,
            "time": to_text(moment),
            "detail": {
                "trigger": name,
                # Whose secret it was: one of the same name that is made meanwhile has nothing to do with it.
                "trigger_created_at": to_text(trigger.created_at),
                "receipt_id": received.receipt_id,
                "delivery_id": delivery.id,
                "headers": _shown(headers, definition.signature.header),
                "body": values,
            },
        }
        self._send(event)
        return received

    def _send(self, event: Mapping[str, Any]) -> None:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        # The only two characters that JSON may hold as they are and a message may not (AWS: SendMessage).
        text = text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
        if len(text.encode()) > MAX_MESSAGE_BYTES:
            raise TooLargeError(
                f"Body and headers are over {MAX_MESSAGE_BYTES} bytes. Put the data in S3, send its URL."
            )
        try:
            self._queue.send_message(QueueUrl=self._queue_url, MessageBody=text)
        except Exception as error:
            raise UnavailableError("The event queue does not take the call just now. Send it again.") from error


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise UnreadableError("The body is not UTF-8 text.") from error


def _challenge(values: Any) -> str | None:  # noqa: ANN401 - JSON of any shape
    """Give what Slack wants back for a URL that was just entered (Slack: "url_verification event")."""
    if isinstance(values, Mapping) and values.get("type") == "url_verification":
        challenge = values.get("challenge")
        return challenge if isinstance(challenge, str) else None
    return None


def _shown(headers: Mapping[str, str], signed_in: str | None) -> dict[str, str]:
    """Give the headers that templates and filters may see: none that may hold a secret or a signature."""
    kept = {
        name: value
        for name, value in headers.items()
        if name != signed_in and len(value) <= MAX_HEADER_LENGTH and not any(word in name for word in _KEPT_OUT)
    }
    return dict(sorted(kept.items())[:MAX_HEADERS])
