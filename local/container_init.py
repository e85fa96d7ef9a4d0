"""Process 1 of a task: starts the command, passes signals on, and leaves no process behind when it ends.

Run as a script, with the standard library only: `container_init.py <parent pid> <status fd> <memory bytes> <command…>`.

It does what ECS's `initProcessEnabled` and the kernel's control group do for a container:
- SIGTERM and SIGINT go to the command's process alone, as tini does it; orphans are adopted and reaped;
- when the command ends, every process below it is killed, also those with a session of their own, and this process
  exits as the command did: with its exit code, or 128 + n if signal n killed it;
- over the memory limit the biggest process is killed. The kernel would do so at once, this looks five times a second;
- SIGUSR2, or the end of the process that started it, kills everything at once.

On the status descriptor it writes one line for each thing its exit code cannot tell: `started`, `failed <why>` (the
command could not be started) and `oom` (a process was killed for its memory).

Linux has all of this. macOS has neither adoption of orphans nor a death signal nor /proc: there the command's own
process group is all that is killed, and memory is not limited.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_CHILD_SUBREAPER: Final = 36
LINUX: Final = sys.platform.startswith("linux")

KILL_ALL: Final = signal.SIGUSR2
FORWARDED: Final = (signal.SIGTERM, signal.SIGINT)
HANDLED: Final = (*FORWARDED, signal.SIGCHLD, KILL_ALL)
CANNOT_EXECUTE: Final = 127

POLL_SECONDS: Final = 0.2
AFTER_KILL_SECONDS: Final = 0.5
"""A killed process needs a moment to give its memory back; until then nobody else is to blame."""
END_SECONDS: Final = 10.0
"""How long to go on killing before giving up on processes that the kernel does not let go."""


def main(arguments: list[str]) -> int:
    """Run the command to its end and return the exit code that tells of it."""
    parent, status_fd, memory = (int(argument) for argument in arguments[:3])
    command = arguments[3:]
    os.set_inheritable(status_fd, False)
    signals = _catch_signals()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    # Not SIGKILL: this process is needed once more, to kill what is below it.
    _prctl(PR_SET_PDEATHSIG, KILL_ALL)
    if os.getppid() != parent:  # it died before the line above
        return 128 + signal.SIGKILL
    main_pid, failure = _spawn(command)
    if failure:
        _tell(status_fd, f"failed {failure}")
        return CANNOT_EXECUTE
    _tell(status_fd, "started")
    guard = MemoryGuard(memory, status_fd)
    while True:
        for number in _wait_for_signals(signals):
            if number in FORWARDED:
                _kill(main_pid, number)
            elif number == KILL_ALL:
                _kill(main_pid, signal.SIGKILL)
        status = _reap(main_pid)
        if status is not None:
            break
        guard.check()
    _end_all(main_pid)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


class MemoryGuard:
    """Kills the biggest process below this one when all of them together use more than the limit (bytes; 0: none)."""

    def __init__(self, limit: int, status_fd: int) -> None:
        self._limit = limit
        self._status_fd = status_fd
        self._next = 0.0

    def check(self) -> None:
        """Look, if it is time to."""
        now = time.monotonic()
        if not LINUX or not self._limit or now < self._next:
            return
        self._next = now + POLL_SECONDS
        resident = {pid: _resident_bytes(pid) for pid in descendants(os.getpid())}
        # Resident sizes count a page once for each process that shares it, so they can only be too high: the exact
        # and dearer figure is asked for when they are.
        if sum(resident.values()) <= self._limit or sum(map(_proportional_bytes, resident)) <= self._limit:
            return
        victim = max(resident, key=lambda pid: resident[pid])
        _tell(self._status_fd, "oom")
        _kill(victim, signal.SIGKILL)
        self._next = now + AFTER_KILL_SECONDS


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below this one. Linux; empty elsewhere."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names only, several times a second
            children += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text("ascii").split())
    except OSError:  # ended meanwhile: what it left is found as this process's own child
        return children
    return children


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # ended meanwhile
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:  # ended meanwhile, or this kernel keeps it to itself
        return _resident_bytes(pid)
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _catch_signals() -> int:
    """Make the handled signals arrive as bytes, one each, on the descriptor that is returned."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in HANDLED:
        signal.signal(number, lambda *_: None)
    return read_fd


def _wait_for_signals(read_fd: int) -> bytes:
    select.select([read_fd], [], [], POLL_SECONDS)
    try:
        return os.read(read_fd, 4096)
    except BlockingIOError:
        return b""


def _spawn(command: list[str]) -> tuple[int, str]:
    """Start the command in a process group of its own; return its id, and why it failed or ""."""
    init = os.getpid()
    read_fd, write_fd = os.pipe()  # both close on exec: end of file says that it went well
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            # Python ignores the last two, the command shall not inherit that.
            for number in (*HANDLED, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == init:
                os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
        except OSError as error:
            os.write(write_fd, f"{command[0]}: {error.strerror}".encode())
        finally:
            os._exit(CANNOT_EXECUTE)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        failure = pipe.read().decode()
    if failure:
        os.waitpid(pid, 0)
    return pid, failure


def _reap(main_pid: int) -> int | None:
    """Reap what has ended; return the wait status of the main process if it is among them."""
    main_status = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return main_status
        if pid == 0:
            return main_status
        if pid == main_pid:
            main_status = status


def _end_all(main_pid: int) -> None:
    """Kill until nothing is left: a process that forks meanwhile loses in the end, for its children are found too."""
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            _kill(pid, signal.SIGKILL)
        if not LINUX:
            try:
                os.killpg(main_pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
                return
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def _prctl(option: int, value: int) -> None:
    if LINUX and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _tell(status_fd: int, line: str) -> None:
    try:
        os.write(status_fd, f"{line}\n".encode())
    except BrokenPipeError:  # the runtime is gone, and this process will be told so by a signal
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
