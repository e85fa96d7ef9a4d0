"""A task for tests: the runner's parent with a store that keeps everything in a folder.

`python task_program.py <folder> [command of the child]`: reads assignment.json there, writes progress-<n>.json and
report.json. `TIMING` may hold the parent's timing as JSON, `MEMORY_LIMIT` bytes.
"""

import json
import logging
import os
import sys
from pathlib import Path

from runner.parent import Parent, Timing
from runner.run_record import RunRecord
from zentrigger.runs import Assignment, Progress, Report, Timings


class FolderStore:
    """The run's record as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved = 0

    def claim(self, _run_id: str, _attempt: int, _task_arn: str, _timings: Timings | None) -> Assignment:
        """Give the assignment."""
        return Assignment.model_validate_json((self.folder / "assignment.json").read_text())

    def save_progress(self, _run_id: str, _attempt: int, progress: Progress) -> bool:
        """Keep a heartbeat."""
        self.saved += 1
        (self.folder / f"progress-{self.saved}.json").write_text(progress.model_dump_json())
        return True

    def report(self, _run_id: str, _attempt: int, _task_arn: str, report: Report) -> bool:
        """Keep the report."""
        (self.folder / "report.json").write_text(report.model_dump_json())
        return True


def main() -> int:
    """Run the assignment."""
    logging.basicConfig(level=logging.INFO)
    folder, *command = sys.argv[1:]
    record = RunRecord(FolderStore(Path(folder)), run_id="r", attempt=1, task_arn="arn:task")
    limit = os.environ.get("MEMORY_LIMIT")
    timing = Timing(**{"heartbeat": 0.5, **json.loads(os.environ.get("TIMING", "{}"))})
    parent = Parent(record, memory_limit=int(limit) if limit else None, timing=timing, command=command or None)
    parent.listen_for_stop()
    report = parent.run(record.claim())
    record.report(report)
    return 0 if report.outcome == "succeeded" else 1


if __name__ == "__main__":
    sys.exit(main())
