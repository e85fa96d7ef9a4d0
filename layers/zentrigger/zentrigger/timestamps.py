"""Moments as the records keep them: UTC, ISO 8601 with microseconds, of one width, so that text order is time order."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, PlainSerializer


def to_text(moment: datetime) -> str:
    """Give a moment as `2026-11-20T21:04:31.000000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now() -> datetime:
    """Give this moment, in UTC."""
    return datetime.now(UTC)


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        msg = "a moment needs a time zone"
        raise ValueError(msg)
    return moment.astimezone(UTC)


Timestamp = Annotated[datetime, AfterValidator(_aware), PlainSerializer(to_text, when_used="json")]
"""A datetime that is always aware, always UTC, and serialises with one width."""
