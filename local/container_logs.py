"""What a container prints: kept in a file of bounded size and sent to a log group as awslogs does it.

A task can neither be stalled by its own output nor fill the disk with it: the file keeps the newest part, and lines
that the log group does not take fast enough are dropped, as in awslogs' `mode: non-blocking`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

LogEvent = tuple[int, str]
"""Milliseconds since the epoch, and one line."""

MAX_FILE_BYTES: Final = 20 * 1024 * 1024
MAX_BUFFER_BYTES: Final = 1024 * 1024
"""Docker's own default for `max-buffer-size`. More would only burden this machine's CloudWatch Logs."""
MAX_LINE_BYTES: Final = 256 * 1024 - 26
"""Longer lines are cut into several events (CloudWatch Logs quotas)."""
MAX_BATCH_EVENTS: Final = 10_000
"""Of one PutLogEvents call."""
SEND_SECONDS: Final = 0.2
"""Time between two batches."""
LAST_SEND_SECONDS: Final = 5.0
"""How long the end of a task waits for its last lines to be taken."""
READ_BYTES: Final = 64 * 1024


class OutputFile:
    """A file that keeps the newest `limit` bytes at most, and at least half as many."""

    def __init__(self, path: Path, limit: int = MAX_FILE_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._limit = limit
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Append; drop the oldest lines if it is getting too much."""
        if self._size + len(chunk) > self._limit:
            self._cut()
        self._file.write(chunk)
        self._size += len(chunk)

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()

    def _cut(self) -> None:
        with self._path.open("rb") as old:
            old.seek(-min(self._size, self._limit // 2), os.SEEK_END)
            newest = old.read()
        kept = b"[older output was dropped]\n" + newest[newest.find(b"\n") + 1 :]
        cut = self._path.with_suffix(".cut")
        self._file.close()
        self._file = cut.open("wb", buffering=0)
        self._file.write(kept)
        cut.replace(self._path)
        self._size = len(kept)


class LogStream:
    """Sends chunks of output as lines, in batches, from a thread of its own. `offer` never waits."""

    def __init__(
        self, write: Callable[[list[LogEvent]], None], name: str, buffer_bytes: int = MAX_BUFFER_BYTES
    ) -> None:
        self._write = write
        self._name = name
        self._buffer_bytes = buffer_bytes
        self._chunks: deque[tuple[int, bytes, bool]] = deque()  # the last: something was dropped before it
        self._buffered = 0
        self._dropped = 0
        self._gap = False
        self._rest = b""
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"logs of {name}", daemon=True)
        self._thread.start()

    def offer(self, chunk: bytes) -> None:
        """Take a chunk, or drop it if the buffer is full."""
        with self._lock:
            if self._buffered + len(chunk) > self._buffer_bytes:
                self._dropped += len(chunk)
                self._gap = True
                return
            self._chunks.append((time.time_ns() // 1_000_000, chunk, self._gap))
            self._gap = False
            self._buffered += len(chunk)

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._closing.set()
        self._thread.join(LAST_SEND_SECONDS)
        if self._thread.is_alive():
            logger.warning("the last lines of %s were not taken in time", self._name)
        if self._dropped:
            logger.warning("%d bytes of the output of %s did not reach its log group", self._dropped, self._name)

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(SEND_SECONDS)
            with self._lock:
                chunks = list(self._chunks)
                self._chunks.clear()
                self._buffered = 0
            self._send(self._lines(chunks, everything=closing))

    def _lines(self, chunks: list[tuple[int, bytes, bool]], *, everything: bool) -> list[LogEvent]:
        """Split into lines. What follows the last line feed waits for the next time, or has its say at the end."""
        events: list[LogEvent] = []
        for milliseconds, chunk, gap in chunks:
            if gap:  # the begin of one line and the end of another are no line
                events += _events(milliseconds, [self._rest])
                self._rest = b""
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            events += _events(milliseconds, lines)
            if len(self._rest) > MAX_LINE_BYTES:
                events += _events(milliseconds, [self._rest])
                self._rest = b""
        if everything and self._rest:
            events += _events(time.time_ns() // 1_000_000, [self._rest])
        return events

    def _send(self, events: list[LogEvent]) -> None:
        for start in range(0, len(events), MAX_BATCH_EVENTS):
            try:
                self._write(events[start : start + MAX_BATCH_EVENTS])
            except Exception:  # the task goes on without its log group, as on Fargate
                logger.exception("lines of %s could not be sent", self._name)


def _events(milliseconds: int, lines: list[bytes]) -> list[LogEvent]:
    """CloudWatch Logs takes no empty events, so empty lines are left out (as awslogs leaves them out)."""
    return [
        (milliseconds, line[start : start + MAX_LINE_BYTES].decode("utf-8", "replace"))
        for line in (line.rstrip(b"\r") for line in lines)
        for start in range(0, len(line), MAX_LINE_BYTES)
    ]


def copy_output(source: IO[bytes], file: OutputFile, stream: LogStream | None) -> None:
    """Read to the end of the pipe; returns when no process holds its other end any more."""
    while chunk := os.read(source.fileno(), READ_BYTES):
        file.write(chunk)
        if stream:
            stream.offer(chunk)
