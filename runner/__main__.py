"""`python -m runner`: what a task's container runs; `python -m runner --self-test`: whether its image is sound.

Exit codes: 0 a success was reported, or there was nothing to do; 1 a failure was reported; 64 the environment or the
command line is wrong; 69 ECS does not say which task this is; 75 the record could not be reached. Those of the
self-test: 0 all is well; 1 something is not, and its output names it.
"""

import logging
import os
import sys
from collections.abc import Sequence

import boto3
from botocore.config import Config

from runner.parent import Parent, Timing
from runner.run_record import RecordError, RunRecord
from runner.settings import Settings, SettingsError
from runner.task_metadata import TaskMetadataError, read_task
from zentrigger.attempt_store import AttemptStore, NotClaimableError

# From sysexits.h.
EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_TEMPFAIL = 75

_log = logging.getLogger("runner")


def main() -> int:
    """Claim the run, execute it, report it."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="runner: %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        settings = Settings.from_environment(os.environ)
        task = read_task(settings.metadata_uri)
    except SettingsError as error:
        _log.error("%s", error)
        return EX_USAGE
    except TaskMetadataError as error:
        _log.error("%s", error)
        return EX_UNAVAILABLE
    # Short time-outs: a beat that hangs keeps the next ones waiting. What must arrive is tried again by RunRecord.
    client = boto3.client(
        "dynamodb",
        config=Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}),
    )
    record = RunRecord(
        AttemptStore(settings.runs_table, client), run_id=settings.run_id, attempt=settings.attempt, task_arn=task.arn
    )
    parent = Parent(record, memory_limit=task.memory_limit, timing=Timing())
    parent.listen_for_stop()
    try:
        assignment = record.claim(task.timings)
        _log.info("claimed run %s, attempt %d: %s", assignment.run_id, assignment.attempt, assignment.snapshot)
        report = parent.run(assignment)
        _log.info("%s%s", report.outcome, f" ({report.reason}): {report.message}" if report.reason else "")
        if not record.report(report):
            _log.error("the run is no longer this task's; nothing was reported")
            return 1
    except NotClaimableError as refusal:
        _log.info("nothing to do: %s", refusal)
        return 0
    except RecordError as error:
        _log.error("%s", error)
        return EX_TEMPFAIL
    return 0 if report.outcome == "succeeded" else 1


def command(arguments: Sequence[str]) -> int:
    """Do what the command line says: nothing, or --self-test."""
    if not arguments:
        return main()
    if list(arguments) != ["--self-test"]:
        print("usage: python -m runner [--self-test]", file=sys.stderr)  # noqa: T201 - there is no log yet
        return EX_USAGE
    # Imports ZenML, which the parent of a run is spared.
    from runner.self_test import self_test  # noqa: PLC0415

    return 0 if self_test() else 1


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
