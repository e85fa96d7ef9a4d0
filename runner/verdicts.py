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
    """What the parent knows besides: was the task told to stop, how much memory it has, what ran last."""

    stopping: bool
    memory_limit: int | None
    steps: tuple[StepProgress, ...]


def verdict(end: ChildExit, told: Report | None, circumstances: Circumstances) -> Report:
    """Say how the run went.

    What the child told counts; a failure while the task was being stopped is `stopped`. A child that told nothing is
    judged by its end: `stopped`, `out_of_memory`, `killed` or `result_missing`. `exit_code` is the child's, or 128 and
    the signal's number, as shells have it.
    """
    exit_code = end.code if end.signal is None else _SIGNAL_BASE + end.signal
    if told is not None:
        report = told.model_copy(update={"exit_code": exit_code})
        if circumstances.stopping and told.outcome == "failed" and told.reason in {"pipeline_failed", "stopped"}:
            return report.model_copy(update={"reason": "stopped", "message": _stopped(circumstances)})
        return report
    reason, message = _reason(end, circumstances)
    return Report(outcome="failed", reason=reason, message=message, exit_code=exit_code, steps=circumstances.steps)


def _reason(end: ChildExit, circumstances: Circumstances) -> tuple[str, str]:
    if circumstances.stopping:
        return "stopped", _stopped(circumstances)
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
            "Give the task more memory (TaskMemory), or read less at a time."
        )
    name = signal.Signals(end.signal).name if end.signal in signal.valid_signals() else str(end.signal)
    advice = {
        "SIGSEGV": "Native code crashed: check the versions of compiled packages.",
        "SIGABRT": "Native code gave up: its last words stand in the run's log.",
        "SIGKILL": "Somebody or something outside the pipeline killed it; it was not near the task's memory limit.",
    }.get(name, "The run's log may say why.")
    return "killed", f"The pipeline's process was killed by {name}{where}. {advice}"


def _stopped(circumstances: Circumstances) -> str:
    return f"The task was told to stop{_where(circumstances)}. Start the run again if that was not intended."


def _where(circumstances: Circumstances) -> str:
    running = [step.name for step in circumstances.steps if step.status == "running"]
    return f" while step {', '.join(running)} ran" if running else ""
