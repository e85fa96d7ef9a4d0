"""The parent, with children that need no ZenML: it must name every end."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from runner.exchange import Exchange
from tests.integration.runner.tasks import Task, alive, wait_for
from zentrigger.runs import Report

TOLD = """
from runner.exchange import Exchange
from zentrigger.runs import Report
from pathlib import Path
exchange = Exchange(Path(sys.argv[1]))
exchange.put_report(Report(outcome="succeeded"))
"""


def python(code: str) -> tuple[str, ...]:
    """Give a command that runs a piece of Python as the child."""
    return (sys.executable, "-c", "import os, signal, subprocess, sys, time\n" + code)


def test_an_end_without_a_result_is_result_missing(make_task: Callable[..., Task]) -> None:
    """An exit code of 0 is no success."""
    task = make_task()
    report = task.run(command=python("os._exit(0)"))
    assert (report.outcome, report.reason, report.exit_code) == ("failed", "result_missing", 0)
    assert task.process is not None
    assert task.process.returncode == 1


def test_a_kill_from_outside_is_named(make_task: Callable[..., Task]) -> None:
    """A SIGKILL far from the memory limit is somebody's, not the kernel's."""
    report = make_task(MEMORY_LIMIT=str(8 * 1024**3)).run(command=python("os.kill(os.getpid(), signal.SIGKILL)"))
    assert (report.reason, report.exit_code) == ("killed", 137)
    assert "SIGKILL" in (report.message or "")


def test_a_kill_near_the_memory_limit_is_out_of_memory(make_task: Callable[..., Task]) -> None:
    """A SIGKILL of a process that held nearly all there is."""
    code = "held = b'x' * 100 * 1024 * 1024\nos.kill(os.getpid(), signal.SIGKILL)"
    report = make_task(MEMORY_LIMIT=str(110 * 1024 * 1024)).run(command=python(code))
    assert (report.reason, report.exit_code) == ("out_of_memory", 137)
    assert "110 MiB" in (report.message or "")


def test_a_crash_of_native_code_is_named(make_task: Callable[..., Task]) -> None:
    """A segmentation fault leaves nothing but a signal."""
    report = make_task().run(command=python("import ctypes\nctypes.string_at(0)"))
    assert (report.reason, report.exit_code) == ("killed", 139)
    assert "SIGSEGV" in (report.message or "")


def test_a_result_counts_although_threads_hang_on_afterwards(make_task: Callable[..., Task]) -> None:
    """A process that does not end after its result is ended."""
    task = make_task(timing={"exit_grace": 0.5})
    report = task.run(command=python(TOLD + "time.sleep(600)"))
    assert report.outcome == "succeeded"
    assert task.wait() == 0


def test_an_unreadable_result_is_no_result(make_task: Callable[..., Task]) -> None:
    """What is not a report is not taken for one."""
    code = "open(sys.argv[1] + '/report.json', 'w').write('{\"outcome\": \"fine\"}')"
    assert make_task().run(command=python(code)).reason == "result_missing"


def test_the_end_is_seen_while_a_grandchild_holds_everything_open(
    make_task: Callable[..., Task], tmp_path: Path
) -> None:
    """The end is seen by waitpid, and what was left behind is killed."""
    pid_file = tmp_path / "pid"
    code = f"p = subprocess.Popen(['sleep', '600'])\nopen({str(pid_file)!r}, 'w').write(str(p.pid))" + TOLD
    began = time.monotonic()
    assert make_task().run(command=python(code)).outcome == "succeeded"
    assert time.monotonic() - began < 10
    wait_for(lambda: not alive(int(pid_file.read_text())), 5)


def test_the_parent_beats_while_the_child_holds_the_interpreter(make_task: Callable[..., Task]) -> None:
    """A C call that never yields stops every thread of the child; the parent is another process."""
    task = make_task(timing={"heartbeat": 0.2})
    task.run(command=python("import re\nre.match(r'(a+)+b', 'a' * 25)" + TOLD))
    assert len(task.progress) >= 3


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(make_task: Callable[..., Task], tmp_path: Path) -> None:
    """A stop is always over before ECS kills the task."""
    ready = tmp_path / "ready"
    task = make_task(timing={"stop_grace": 0.5})
    code = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen({str(ready)!r}, 'w')\ntime.sleep(600)"
    task.start(command=python(code))
    wait_for(ready.exists)
    assert task.process is not None
    task.process.send_signal(signal.SIGTERM)
    task.wait(10)
    assert (task.report.reason, task.report.exit_code) == ("stopped", 137)


def test_a_child_whose_time_is_up_is_stopped_and_then_killed(make_task: Callable[..., Task]) -> None:
    """Counted from the claim on; one that ignores SIGTERM gets the same grace as in a stop."""
    task = make_task(timing={"look": 0.05, "stop_grace": 0.3})
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsubprocess.Popen(['sleep', '600'])\ntime.sleep(600)"
    began = time.monotonic()
    report = task.run(command=python(code), timeout_seconds=1)
    assert 1.3 <= time.monotonic() - began < 10
    assert (report.outcome, report.reason, report.exit_code) == ("failed", "timed_out", 137)
    assert "after 1 s" in (report.message or "")


def test_a_result_that_was_told_in_time_counts(make_task: Callable[..., Task], tmp_path: Path) -> None:
    """What comes after it is no longer the pipeline."""
    # Made beforehand: what the child would have to import may alone take as long as it has.
    Exchange(tmp_path).put_report(Report(outcome="succeeded"))
    task = make_task(timing={"look": 0.05, "exit_grace": 1.5})
    code = f"""
import shutil
told = sys.argv[1] + "/report.json"
shutil.copy({str(tmp_path / "report.json")!r}, told + ".new")
os.rename(told + ".new", told)
time.sleep(600)
"""
    assert task.run(command=python(code), timeout_seconds=1).outcome == "succeeded"


def test_a_killed_parent_leaves_no_child(make_task: Callable[..., Task], tmp_path: Path) -> None:
    """Nothing runs on whose end nobody would report."""
    pid_file = tmp_path / "pid"
    code = (
        "from runner.child_process import die_with_parent\ndie_with_parent(int(sys.argv[2]))\n"
        f"open({str(pid_file)!r} + '.part', 'w').write(str(os.getpid()))\n"
        f"os.rename({str(pid_file)!r} + '.part', {str(pid_file)!r})\ntime.sleep(600)"
    )
    task = make_task()
    task.start(command=python(code))
    wait_for(pid_file.exists)
    child = int(pid_file.read_text())
    assert alive(child)
    assert task.process is not None
    task.process.kill()
    wait_for(lambda: not alive(child), 5)


def test_the_parent_stays_light(make_task: Callable[..., Task]) -> None:
    """ZenML and pandas would take the memory that the pipeline is to have."""
    code = (
        "import runner.__main__, resource\n"
        "heavy = {'zenml', 'pandas', 'numpy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    report = make_task().run(command=python(code + TOLD))
    assert report.outcome == "succeeded"
