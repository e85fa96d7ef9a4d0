"""A log file that several processes append to and that never grows without bound."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class FunctionLog:
    """Workers write into `descriptor` directly; whoever runs them calls `trim` now and then."""

    def __init__(self, path: Path, *, max_bytes: int = 10 * 1024 * 1024) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        # O_APPEND: every write goes to the end, also after the file was cut.
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, line: str) -> None:
        """Append one line."""
        os.write(self.descriptor, f"{line}\n".encode())

    def trim(self) -> None:
        """Keep the newer half once the file is over its limit."""
        with self._lock:
            size = os.fstat(self.descriptor).st_size
            if size <= self._max_bytes:
                return
            with self.path.open("rb") as file:
                file.seek(size - self._max_bytes // 2)
                file.readline()
                kept = file.read()
            os.ftruncate(self.descriptor, 0)
            os.write(self.descriptor, b"[older lines were dropped]\n" + kept)

    def tail(self, max_bytes: int = 4000) -> str:
        """Return the end of the log."""
        with self.path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - max_bytes))
            return file.read().decode(errors="replace")

    def close(self) -> None:
        """Close the file."""
        os.close(self.descriptor)
