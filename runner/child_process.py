"""The child as the parent sees it: a process group of its own, watched by waitpid alone."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = 500


@dataclass(frozen=True)
class ChildExit:
    """How the child ended.

    `code` is its exit code, or None if `signal` ended it. `peak_rss` is the most memory, in bytes, that it or a
    process it waited for has held. `oom_kills` is how many processes of this container the kernel killed for memory
    while it ran (0 where the kernel does not tell).
    """

    code: int | None
    signal: int | None
    peak_rss: int
    oom_kills: int


class ChildProcess:
    """A started child. Start it from the main thread: it dies with the thread that started it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._oom_kills_before = _oom_kills()
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - our own
        self._ended = threading.Event()
        self._exit: ChildExit | None = None
        # A thread that sits in wait4: the end is seen at once, whoever still holds the child's pipes open.
        threading.Thread(target=self._wait, name="wait for the child", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    def wait(self, seconds: float) -> ChildExit | None:
        """Wait for the end, at most so long; None: it still runs."""
        return self._exit if self._ended.wait(seconds) else None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the child's whole group; a group that is gone is no error."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS answers EPERM for a group of zombies
            _log.debug("no process left in group %d", self.pid)

    def _wait(self) -> None:
        _, status, usage = os.wait4(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code  # Popen is not to wait for it once more.
        self._exit = ChildExit(
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            peak_rss=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            oom_kills=max(0, _oom_kills() - self._oom_kills_before),
        )
        self._ended.set()


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies (Linux), and be the one it kills first for memory.

    Raises:
        SystemExit: the parent is gone already.

    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
        except OSError as error:
            _log.debug("oom_score_adj stays as it is: %s", error)
    if os.getppid() != parent:
        raise SystemExit("the parent is gone")


def _oom_kills() -> int:
    """Count the processes that the kernel has killed for memory in this container (cgroup 2, then cgroup 1)."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            lines = Path(path).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
