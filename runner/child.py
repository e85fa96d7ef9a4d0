"""`python -m runner.child <folder> <parent's pid>`: runs one pipeline and tells the parent, through the folder."""

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from runner.child_process import die_with_parent
from runner.exchange import Exchange
from runner.failures import Refused, bounded
from runner.redaction import RedactingFormatter, Redaction
from zentrigger.runs import Report


class Stopped(BaseException):
    """The task was told to stop."""


def main() -> int:
    """Run what the folder assigns; 0 after a success, 1 after a failure that was told."""
    folder, parent = sys.argv[1:]
    die_with_parent(int(parent))
    signal.signal(signal.SIGTERM, _stop)
    # The task's log has them; in a store of the task's own nobody would ever read the second copy.
    if not os.environ.get("ZENML_STORE_URL"):
        os.environ.setdefault("ZENML_DISABLE_STEP_LOGS_STORAGE", "true")
        os.environ.setdefault("ZENML_DISABLE_PIPELINE_LOGS_STORAGE", "true")
    exchange = Exchange(Path(folder))
    redaction = Redaction()
    try:
        assignment = exchange.take_assignment()
        redaction = Redaction.of_task(assignment.secrets, os.environ)
        _log_to_stderr(redaction)
        # ZenML takes seconds to import: not before SIGTERM is heard and the parent's death noticed.
        from runner.execution import execute  # noqa: PLC0415

        report = execute(assignment, lambda progress: exchange.put_progress(redaction.told(progress)))
    except Refused as refused:
        report = refused.report()
    except Stopped:
        report = Report(outcome="failed", reason="stopped", message="The task was told to stop.")
    exchange.put_report(bounded(redaction.told(report)))
    return 0 if report.outcome == "succeeded" else 1


def _log_to_stderr(redaction: Redaction) -> None:
    """Only for the runner's own words: the root logger belongs to ZenML and the pipeline."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter("runner: %(message)s", redaction))
    log = logging.getLogger("runner")
    log.addHandler(handler)
    log.propagate = False


def _stop(number: int, _frame: FrameType | None) -> None:
    # Once: what cleans up after the first is not to be torn down by a second. The parent kills what takes too long.
    signal.signal(number, signal.SIG_IGN)
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
