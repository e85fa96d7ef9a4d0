"""Follow a run to its end, and show how far it is: redrawn in place on a terminal, line by line elsewhere."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from zentrigger_client import rendering
from zentrigger_client.api import MAX_WAIT_SECONDS, Client, Json, ZentriggerError

FINAL = frozenset({"succeeded", "failed", "cancelled"})

_DONE = frozenset({"completed", "cached", "skipped"})
_FAILED = frozenset({"failed", "cancelled", "stopped"})
_REDRAW_SECONDS = 0.2
_MIN_POLL_SECONDS = 0.5


class Display(Protocol):
    """Shows a run while it is followed."""

    def show(self, run: Json) -> None:
        """Show the run as it is now."""


class PlainDisplay:
    """One line for each thing that happened. Made for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: str | None = None
        self._steps: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to clean up."""

    def show(self, run: Json) -> None:
        """Print what differs from the run shown before."""
        final = run["status"] in FINAL
        if not final:
            self._headline(run)
        for step in steps_of(run):
            name, status = str(step["name"]), str(step["status"])
            if self._steps.get(name) != status:
                self._steps[name] = status
                taken = rendering.duration(rendering.seconds_between(step.get("started_at"), step.get("finished_at")))
                self._print(f"  step {name} {status}" + (f" ({taken})" if taken else ""))
        if final:
            self._headline(run)

    def _headline(self, run: Json) -> None:
        line = headline(run)
        if line != self._last:
            self._last = line
            self._print(line)

    def _print(self, line: str) -> None:
        now = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
        self._stream.write(f"{now}  {rendering.plain(line)}\n")
        self._stream.flush()


class TerminalDisplay:
    """The run and its steps with marks and durations, redrawn in place; a thread of its own keeps the clocks going."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._run: Json | None = None
        self._drawn = 0
        self._frame = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._animate, name="progress display", daemon=True)
        self._marks = _marks(stream)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        with self._lock:
            self._draw()

    def show(self, run: Json) -> None:
        """Take the run as what is drawn from now on."""
        with self._lock:
            self._run = run
            self._draw()

    def _animate(self) -> None:
        while not self._stopped.wait(_REDRAW_SECONDS):
            with self._lock:
                self._frame += 1
                self._draw()

    def _draw(self) -> None:
        if self._run is None:
            return
        columns, rows = shutil.get_terminal_size()
        lines = [_fitted(line, max(20, columns - 1)) for line in self._lines(self._run)][-max(1, rows - 1) :]
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._stream.write(up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
        self._stream.flush()
        self._drawn = len(lines)

    def _lines(self, run: Json) -> list[str]:
        now = datetime.now(UTC)
        lines = [f"{self._mark(_phase(str(run['status'])))} {headline(run, now)}"]
        steps = steps_of(run)
        width = max((len(str(step["name"])) for step in steps), default=0)
        for step in steps:
            taken = rendering.duration(rendering.seconds_between(step.get("started_at"), step.get("finished_at"), now))
            status = str(step["status"])
            note = "" if status in {"completed", "running"} else status
            lines.append(f"  {self._mark(_phase(status))} {step['name']:{width}}  {taken}  {note}".rstrip())
        return lines

    def _mark(self, phase: str) -> str:
        marks = self._marks[phase]
        return marks[self._frame % len(marks)]


def display_for(stream: TextIO) -> "TerminalDisplay | PlainDisplay":
    """Choose the display that suits the stream."""
    return TerminalDisplay(stream) if stream.isatty() else PlainDisplay(stream)


def follow(  # noqa: PLR0913 - the last three have defaults
    client: Client,
    run_id: str,
    display: Display,
    *,
    timeout_seconds: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Json:
    """Follow the run to its end and return it.

    Uses the API's long poll (``?wait=``) and the ETag, so nothing is sent while nothing happens. Against a server that
    does not wait it asks twice a second at most. Raises what `Client` raises, and `ZentriggerError` when the run has
    not ended after ``timeout_seconds``; the run goes on then.
    """
    deadline = None if timeout_seconds is None else clock() + timeout_seconds
    run, etag = client.wait_for_change(run_id, seconds=0)
    assert run is not None  # noqa: S101 - 304 is the answer to an ETag, and none was sent
    display.show(run)
    while run["status"] not in FINAL:
        asked = clock()
        if deadline is not None and asked >= deadline:
            raise ZentriggerError(f"the run has not ended after {timeout_seconds:g} s", detail=headline(run))
        wait = MAX_WAIT_SECONDS if deadline is None else min(MAX_WAIT_SECONDS, max(1, round(deadline - asked)))
        changed, etag = client.wait_for_change(run_id, seconds=wait, etag=etag)
        if changed is not None:
            run = changed
            display.show(run)
        if run["status"] not in FINAL and clock() - asked < _MIN_POLL_SECONDS:
            sleep(_MIN_POLL_SECONDS)
    return run


def run_id_of(run: Json) -> str:
    """Return the run's id."""
    return str(run["run_id"])


def steps_of(run: Json) -> list[Mapping[str, Any]]:
    """Return the steps that the run has reported so far."""
    return list((run.get("progress") or {}).get("steps") or [])


def headline(run: Json, now: datetime | None = None) -> str:
    """Return the run in one line: pipeline, id, status, how long, and why."""
    status = str(run["status"])
    taken = rendering.duration(rendering.seconds_between(run.get("started_at"), run.get("ended_at"), now))
    line = f"{run['pipeline']} {run_id_of(run)} {status}" + (f" ({taken})" if taken else "")
    if status != "succeeded" and run.get("message"):
        line += f": {rendering.one_line(run['message'], 200)}"
    return line


def print_end(run: Json, stream: TextIO | None = None) -> None:
    """Print what the run left: its outputs, or its error with the traceback."""
    out = stream or sys.stdout
    if run.get("outputs"):
        out.write(rendering.outputs(run["outputs"]) + "\n")
    error = run.get("error")
    if isinstance(error, dict):
        where = f"step {error['step']}: " if error.get("step") else ""
        out.write(rendering.plain(f"{where}{error.get('type')}: {error.get('message')}") + "\n")
        if error.get("traceback"):
            out.write(rendering.plain(error["traceback"]).rstrip() + "\n")


def _fitted(line: str, width: int) -> str:
    text = rendering.plain(line).replace("\n", " ")
    return text if len(text) <= width else text[: width - 1] + "…"


def _phase(status: str) -> str:
    if status in _DONE or status == "succeeded":
        return "done"
    if status in _FAILED:
        return "failed"
    return "waiting" if status in {"queued", "initializing"} else "running"


def _marks(stream: TextIO) -> dict[str, str]:
    fancy = {"done": "✓", "failed": "✗", "waiting": "○", "running": "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"}
    try:
        "".join(fancy.values()).encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return {"done": "+", "failed": "x", "waiting": "o", "running": "|/-\\"}
    return fancy
