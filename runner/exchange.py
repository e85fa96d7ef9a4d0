"""The folder through which parent and child speak: assignment in, progress and report out.

Files, not a pipe: a child may die at any moment, or leave processes behind that would hold a pipe open for ever.
Each file is replaced as a whole, so that it is never seen half written.
"""

import logging
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from zentrigger.runs import Assignment, Progress, Report

MAX_BYTES = 4 * 1024 * 1024
"""More than this is never read: what is told of a run is bounded far below."""

_log = logging.getLogger(__name__)

Told = TypeVar("Told", bound=BaseModel)


class Exchange:
    """One run's folder; only this user may read it, for the assignment holds the parameters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen_progress = 0

    def put_assignment(self, assignment: Assignment) -> None:
        """Hand the child what to run."""
        self._write("assignment.json", assignment)

    def take_assignment(self) -> Assignment:
        """Read what to run, and remove it."""
        path = self.folder / "assignment.json"
        assignment = Assignment.model_validate_json(path.read_bytes())
        path.unlink()
        return assignment

    def put_progress(self, progress: Progress) -> None:
        """Tell how far the pipeline is."""
        self._write("progress.json", progress)

    def new_progress(self) -> Progress | None:
        """Give the progress if it was told anew since the last call."""
        path = self.folder / "progress.json"
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if changed == self._seen_progress:
            return None
        self._seen_progress = changed
        return _read(path, Progress)

    def put_report(self, report: Report) -> None:
        """Tell how it went."""
        self._write("report.json", report)

    def has_report(self) -> bool:
        """Whether the child has told how it went."""
        return (self.folder / "report.json").exists()

    def report(self) -> Report | None:
        """Give how it went; None: the child never told, or what it told cannot be read."""
        path = self.folder / "report.json"
        return _read(path, Report) if path.exists() else None

    def _write(self, name: str, body: BaseModel) -> None:
        part = self.folder / f".{name}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(body.model_dump_json())
        part.replace(self.folder / name)


def _read(path: Path, kind: type[Told]) -> Told | None:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            _log.error("%s is %d bytes long and is not read", path.name, size)
            return None
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        # The text of a validation error would show what was told; its kind is enough.
        _log.error("%s cannot be read (%s)", path.name, type(error).__name__)
        return None
