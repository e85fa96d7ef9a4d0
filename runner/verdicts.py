"""From how a child ended to what is reported of the run: a pure decision, so that every end has its true name."""

import signal
from dataclasses import dataclass

from runner.child_process import ChildExit
from zentrigger.runs import Report, StepProgress

NEAR_LIMIT = 0.85
"""A child that was killed when it had held this part of the task's memory is taken to have run out of it."""

_MEBIBYTE = 1024 * 1024
_SIGNAL_BASE = 128


@dataclass(frozen=True)
class Circumstances:
    """What the parent knows besides.

    Was the task told to stop, after how many seconds was its time up (None: it was not), how much memory it has, what
    ran last.
    """

    stopping: bool
    timed_out_after: int | None
    memory_limit: int | None
    steps: tuple[StepProgress, ...]


def verdict(end: ChildExit, told: Report | None, circumstances: Circumstances) -> Report:
    """Say how the run went.

    What the child told counts; a failure while the task was being stopped is `stopped`, and one after its time was up
    is `timed_out`, unless it was told to stop as well. A child that told nothing is judged by its end: one of these,
    or `out_of_memory`, `killed` or `result_missing`. `exit_code` is the child's, or 128 and the signal's number, as
    shells have it.
    """
    exit_code = end.code if end.signal is None else _SIGNAL_BASE + end.signal
    if told is not None:
        report = told.model_copy(update={"exit_code": exit_code})
        if told.outcome == "failed" and told.reason in {"pipeline_failed", "stopped"}:
            ended = _ended_by_us(circumstances)
            return report.model_copy(update={"reason": ended[0], "message": ended[1]}) if ended else report
        return report
    reason, message = _reason(end, circumstances)
    return Report(outcome="failed", reason=reason, message=message, exit_code=exit_code, steps=circumstances.steps)


def _reason(end: ChildExit, circumstances: Circumstances) -> tuple[str, str]:
    if ended := _ended_by_us(circumstances):
        return ended
    where = _where(circumstances)
    if end.signal is None:
        return "result_missing", (
            f"The pipeline's process ended with exit code {end.code} and no result{where}. "
            "Something in it ends the process itself, such as os._exit: let it return or raise instead."
        )
    limit = circumstances.memory_limit
    full = limit is not None and end.peak_rss >= NEAR_LIMIT * limit
    if end.signal == signal.SIGKILL and (full or end.oom_kills):
        of_limit = f" of the task's {limit // _MEBIBYTE} MiB" if limit else ""
        return "out_of_memory", (
            f"The pipeline ran out of memory{where}; it had held {end.peak_rss // _MEBIBYTE} MiB{of_limit}. "
            "Ask for more with `resources.memory` (in the request or when publishing), or read less at a time."
        )
    name = signal.Signals(end.signal).name if end.signal in signal.valid_signals() else str(end.signal)
    advice = {
        "SIGSEGV": "Native code crashed: check the versions of compiled packages.",
        "SIGABRT": "Native code gave up: its last words stand in the run's log.",
        "SIGKILL": "Somebody or something outside the pipeline killed it; it was not near the task's memory limit.",
    }.get(name, "The run's log may say why.")
    return "killed", f"The pipeline's process was killed by {name}{where}. {advice}"


def _ended_by_us(circumstances: Circumstances) -> tuple[str, str] | None:
    where = _where(circumstances)
    if circumstances.stopping:
        return "stopped", f"The task was told to stop{where}. Start the run again if that was not intended."
    if circumstances.timed_out_after is not None:
        return "timed_out", (
            f"The run's time was up after {circumstances.timed_out_after} s{where}. Give it more with a larger "
            "timeout_seconds, in the run's request or in the snapshot."
        )
    return None


def _where(circumstances: Circumstances) -> str:
    running = [step.name for step in circumstances.steps if step.status == "running"]
    return f" while step {', '.join(running)} ran" if running else ""
