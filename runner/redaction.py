"""Secrets' values, taken out of all that a task tells of its run, and out of what the runner logs.

What the pipeline itself writes is the user's data and stays as it is: what it prints, its artifacts and their copies,
and what ZenML keeps of it in a store of the user's.
"""

import json
import logging
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar
from urllib.parse import quote, quote_plus

from pydantic import BaseModel

from runner.failures import Refused

HIDDEN = "***"

MIN_CHARACTERS = 4
"""A shorter value is left: it would be found in words and numbers everywhere. Longer than `HIDDEN`: no text grows."""

ALWAYS_SECRET = ("ZENML_STORE_API_KEY",)

_MIN_PART = 8
"""Of a secret with several lines or fields, each part of so many characters is a secret, too; of digits, of
`MIN_CHARACTERS`."""

MAX_PARTS = 500
"""Of a secret with more parts, the longest are hidden one by one; a key with 4096 bits has 51 lines."""

_NO_SECRET_FIELDS = frozenset(
    {"dbClusterIdentifier", "dbInstanceIdentifier", "dbname", "engine", "host", "port", "username"}
)
"""Of a database's secret: says where it is and as whom (AWS: Secrets Manager, JSON structure of database secrets)."""

_OWN_WORDS = frozenset({"outcome", "reason", "status", "zenml_run_id", "artifact_id"})
"""Fields that hold words and ids that are no user's."""

Model = TypeVar("Model", bound=BaseModel)


class Redaction:
    """Knows values that nobody is to read, and takes them out. It never shows them."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value) if len(form) >= MIN_CHARACTERS}
        # A form may be part of a longer one.
        self._forms = sorted(forms, key=len, reverse=True)
        self._whole = frozenset(forms)

    @classmethod
    def of_task(cls, secrets: Iterable[str], environment: Mapping[str, str]) -> "Redaction":
        """Hide the values that a task's environment has of these variables, and its key of the ZenML server.

        Raises:
            Refused: `secrets_unreadable`, naming every variable that is missing.

        """
        names = sorted(secrets)
        missing = [name for name in names if name not in environment]
        if missing:
            raise Refused(
                "secrets_unreadable",
                f"Nothing was run: the task's environment lacks {', '.join(missing)}, which the snapshot declares as "
                "secrets. Deregister the task definition that it shows and publish it again, so that one is made anew.",
            )
        return cls(environment[name] for name in (*names, *ALWAYS_SECRET) if name in environment)

    def text(self, text: str) -> str:
        """Give a text without the values: as they are, escaped as in JSON and Python, URL-quoted, or in base64."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text

    def told(self, model: Model) -> Model:
        """Give what is told of a run without the values."""
        fields = set(type(model).model_fields) - _OWN_WORDS
        return model.model_copy(update={name: self._of(getattr(model, name)) for name in fields})

    def _of(self, value: object) -> object:
        match value:
            case str():
                return self.text(value)
            # Only a number that is a value: whoever looked for it within all others would spoil a table of them.
            case int() | float() if not (isinstance(value, bool) or self._whole.isdisjoint(_number_texts(value))):
                return HIDDEN
            case BaseModel():
                return self.told(value)
            case dict():
                return {self._of(key): self._of(inner) for key, inner in value.items()}
            case list() | tuple():
                return type(value)(self._of(inner) for inner in value)
            case _:
                return value


class RedactingFormatter(logging.Formatter):
    """Formats log records, tracebacks too, without the values."""

    def __init__(self, layout: str, redaction: Redaction) -> None:
        super().__init__(layout)
        self._redaction = redaction

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        return self._redaction.text(super().format(record))


def _forms(value: str) -> Iterator[str]:
    for part in (value, *sorted(_parts(value) - {value}, key=len, reverse=True)[:MAX_PARTS]):
        yield part
        yield " ".join(part.split())
        yield json.dumps(part)[1:-1]
        yield json.dumps(part, ensure_ascii=False)[1:-1]
        yield repr(part)[1:-1]
        # What of an environment variable is no UTF-8 is kept by Python as surrogates.
        yield quote(part, safe="", errors="surrogateescape")
        yield quote(part, errors="surrogateescape")
        yield quote_plus(part, errors="surrogateescape")
        yield from _in_base64(part.encode("utf-8", "surrogateescape"))


def _parts(secret: str) -> set[str]:
    """Give what a program takes out of such a value: lines of a key file; texts and numbers of JSON, however deep.

    A text in JSON may be a key file, or JSON, itself.
    """
    parts: set[str] = set()
    waiting: list[object] = [secret]
    while waiting:
        match waiting.pop():
            case str() as text:
                found = {text, *map(str.strip, text.splitlines())}
                parts |= {part for part in found if len(part) >= (MIN_CHARACTERS if part.isdecimal() else _MIN_PART)}
                waiting.append(_json(text))
            case dict() as fields:
                waiting += [
                    field
                    for name, field in fields.items()
                    if name not in _NO_SECRET_FIELDS or isinstance(field, dict | list)
                ]
            case list() as values:
                waiting += values
            case int() | float() as number:
                parts |= {text for text in _number_texts(number) if sum(map(str.isdecimal, text)) >= MIN_CHARACTERS}
    return parts


def _json(text: str) -> object:
    """Read JSON; None if it is none, or nested without end."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _number_texts(number: float) -> set[str]:
    """Give a number as JSON has it, and one like 5.0 also as 5."""
    whole = isinstance(number, float) and number.is_integer()
    return {json.dumps(number), str(int(number))} if whole else {json.dumps(number)}


def _in_base64(content: bytes) -> Iterator[str]:
    """Give what base64 makes of it, wherever in the encoded text it begins: the characters that hang on it alone."""
    for before, first in ((0, 0), (1, 2), (2, 3)):
        last = (before + len(content)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(bytes(before) + content).decode("ascii")[first:last]
