"""One execution environment of a function: a process, and the Lambda Runtime API that it talks to.

Rules: AWS Lambda Developer Guide, "Lambda runtime API" and "Lambda execution environment"; errors are worded as Lambda
words them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.http_server import HttpServer, Request, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.function_log import FunctionLog

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES: Final = 6 * 1024 * 1024
UNHANDLED: Final = "Unhandled"
_INIT_SECONDS: Final = 10.0
_WATCH_SECONDS: Final = 0.25
_API = "/2018-06-01/runtime/"
_INVOCATION = re.compile(r"^/2018-06-01/runtime/invocation/([^/]+)/(response|error)$")
_SCRIPT = Path(__file__).with_name("lambda_worker.py")


@dataclass(frozen=True)
class Answer:
    """What an invocation gave: a payload, and Lambda's function error ("Unhandled") if it failed."""

    payload: bytes
    error: str | None = None


@dataclass(frozen=True)
class WorkerSettings:
    """What a function's process needs, as its template has it."""

    logical_id: str
    name: str
    arn: str
    code: Path
    import_path: tuple[Path, ...]
    environment: Mapping[str, str] = field(repr=False)
    memory_mib: int
    timeout_seconds: float
    prelude: Path | None = None
    """A script that runs in each process before the handler is imported."""


class Spawner:
    """Starts processes from one thread that lives as long as they may.

    Linux sends the parent-death signal when the *thread* that started a process ends, not its process.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")

    def start(
        self, command: list[str], environment: Mapping[str, str], folder: Path, output: int
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own."""

        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(  # noqa: S603 - the interpreter and the worker script
                command,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        future: Future[subprocess.Popen[bytes]] = self._executor.submit(spawn)
        return future.result()

    def close(self) -> None:
        """End the thread; kill the processes first."""
        self._executor.shutdown(wait=True)


@dataclass
class _Invocation:
    request_id: str
    payload: bytes
    trace_id: str
    taken: bool = False
    answer: Answer | None = None


class Worker:
    """A process that serves one invocation at a time. Dead workers stay dead: start another."""

    def __init__(
        self, settings: WorkerSettings, *, log: FunctionLog, spawner: Spawner, on_death: Callable[[Worker], None]
    ) -> None:
        self._settings = settings
        self._log = log
        self._on_death = on_death
        self._condition = threading.Condition()
        self._ready = False
        self._dead: str | None = None
        self._init_error: bytes | None = None
        self._invocation: _Invocation | None = None
        self._api = HttpServer(self._answer, name=f"runtime-api-{settings.logical_id}")
        self._api.start()
        self._process = spawner.start(
            [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_SCRIPT), str(os.getpid()),
             os.pathsep.join(map(str, settings.import_path)), *([str(settings.prelude)] if settings.prelude else [])],
            {**settings.environment, "AWS_LAMBDA_RUNTIME_API": self._api.url.removeprefix("http://"),
             "AWS_LAMBDA_LOG_STREAM_NAME": time.strftime(f"%Y/%m/%d/[$LATEST]{uuid.uuid4().hex}", time.gmtime())},
            settings.code,
            log.descriptor,
        )  # fmt: skip
        self._reaper = threading.Thread(target=self._reap, name=f"reaper-{settings.logical_id}", daemon=True)
        self._reaper.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take another invocation.

        Asks the process itself: one that was killed is gone a moment before the reaper's thread has said so.
        """
        with self._condition:
            if self._dead is not None:
                return False
        try:
            os.kill(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def serves(self, trace_id: str) -> bool:
        """Whether it works on the invocation of that trace, whose id every AWS call of the invocation carries."""
        with self._condition:
            invocation = self._invocation
            return invocation is not None and invocation.answer is None and invocation.trace_id == trace_id

    def wait_ready(self) -> Answer | None:
        """Wait until the handler is imported; returns the error if it cannot be.

        Lambda gives the initialization 10 s, and once more within the function's own time-out.
        """
        limit = _INIT_SECONDS + self._settings.timeout_seconds
        with self._condition:
            done = self._condition.wait_for(lambda: self._ready or self._dead is not None, limit)
            if self._ready and self._dead is None:
                return None
            if self._init_error is not None:
                return Answer(self._init_error, UNHANDLED)
            how = self._dead or f"exit: the initialization took more than {limit:.0f} s"
        if not done:
            self.kill()
        return _failure("Runtime.ExitError", f"RequestId: {uuid.uuid4()} Error: {how}")

    def invoke(self, payload: bytes) -> Answer:
        """Run one invocation and wait for its end, at most the function's time-out; kills the process behind that."""
        not_ready = self.wait_ready()
        if not_ready is not None:
            return not_ready
        trace_id = f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0"
        invocation = _Invocation(str(uuid.uuid4()), payload, trace_id)
        started = time.monotonic()
        self._log.write(f"START RequestId: {invocation.request_id} Version: $LATEST")
        with self._condition:
            self._invocation = invocation
            self._condition.notify_all()
        answer = self._wait(invocation, started + self._settings.timeout_seconds)
        milliseconds = (time.monotonic() - started) * 1000
        self._log.write(f"END RequestId: {invocation.request_id}")
        self._log.write(
            f"REPORT RequestId: {invocation.request_id}\tDuration: {milliseconds:.2f} ms\t"
            f"Memory Size: {self._settings.memory_mib} MB" + ("\tStatus: error" if answer.error else "")
        )
        self._log.trim()
        return answer

    def kill(self) -> None:
        """Kill the process and what it started."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            logger.debug("Worker %s was already gone.", self._process.pid)

    def close(self) -> None:
        """Kill the process and wait for its end."""
        self.kill()
        self._reaper.join(timeout=10)

    def _wait(self, invocation: _Invocation, deadline: float) -> Answer:
        while True:
            with self._condition:
                self._condition.wait_for(
                    lambda: invocation.answer is not None or self._dead is not None,
                    max(0.0, min(_WATCH_SECONDS, deadline - time.monotonic())),
                )
                if invocation.answer is not None:
                    return invocation.answer
                if self._dead is not None:
                    return self._exit_error(invocation, self._dead)
            if time.monotonic() >= deadline:
                self.kill()
                seconds = self._settings.timeout_seconds
                text = f"RequestId: {invocation.request_id} Error: Task timed out after {seconds:.2f} seconds"
                self._log.write(text)
                self._close_invocation(invocation, _failure("Sandbox.Timedout", text))
            elif self._over_memory():
                self.kill()
                text = f"RequestId: {invocation.request_id} Error: Runtime exited with error: signal: killed"
                self._log.write(f"{text} (over its {self._settings.memory_mib} MB of memory)")
                self._close_invocation(invocation, _failure("Runtime.OutOfMemory", text))
            else:
                self._log.trim()

    def _close_invocation(self, invocation: _Invocation, answer: Answer) -> None:
        with self._condition:
            if invocation.answer is None:
                invocation.answer = answer
            if self._dead is None:
                self._dead = "killed"

    def _exit_error(self, invocation: _Invocation, how: str) -> Answer:
        text = f"RequestId: {invocation.request_id} Error: {how}"
        self._log.write(text)
        return _failure("Runtime.ExitError", text)

    def _over_memory(self) -> bool:
        """Whether the process holds more than MemorySize (Linux only)."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return False
        return pages * os.sysconf("SC_PAGE_SIZE") > self._settings.memory_mib * 1024 * 1024

    def _reap(self) -> None:
        code = self._process.wait()
        if code < 0:
            how = f"Runtime exited with error: signal: {_signal_text(-code)}"
        elif code == 0:
            how = "Runtime exited without providing a reason"
        else:
            how = f"Runtime exited with error: exit status {code}"
        with self._condition:
            self._dead = self._dead or how
            self._condition.notify_all()
        # What the handler left running must not outlive its environment.
        self.kill()
        self._on_death(self)
        self._api.close()

    def _answer(self, request: Request) -> Response:
        """Answer a call of the Runtime API."""
        if request.method == "GET" and request.path == f"{_API}invocation/next":
            return self._next()
        if request.method == "POST" and request.path == f"{_API}init/error":
            with self._condition:
                self._init_error = request.body
            return Response(202, [("Content-Type", "application/json")], b'{"status":"OK"}')
        match = _INVOCATION.match(request.path)
        if request.method == "POST" and match is not None:
            return self._take_result(match[1], request.body, failed=match[2] == "error")
        return Response(404)

    def _next(self) -> Response:
        with self._condition:
            self._ready = True
            self._condition.notify_all()
            self._condition.wait_for(lambda: self._dead is not None or self._waiting() is not None)
            invocation = self._waiting()
            if invocation is None:
                return Response(410)
            invocation.taken = True
        deadline = time.time() + self._settings.timeout_seconds
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(int(deadline * 1000))),
            ("Lambda-Runtime-Invoked-Function-Arn", self._settings.arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
        ]
        return Response(200, headers, invocation.payload)

    def _waiting(self) -> _Invocation | None:
        invocation = self._invocation
        return invocation if invocation is not None and not invocation.taken else None

    def _take_result(self, request_id: str, body: bytes, *, failed: bool) -> Response:
        with self._condition:
            invocation = self._invocation
            if invocation is None or invocation.request_id != request_id or invocation.answer is not None:
                return Response(400, [], b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}')
            if not failed and len(body) > MAX_ANSWER_BYTES:
                invocation.answer = _failure(
                    "Function.ResponseSizeTooLarge",
                    f"Response payload size exceeded maximum allowed payload size ({MAX_ANSWER_BYTES} bytes).",
                )
            else:
                invocation.answer = Answer(body, UNHANDLED if failed else None)
            self._condition.notify_all()
        return Response(202, [("Content-Type", "application/json")], b'{"status":"OK"}')


def _failure(error_type: str, message: str) -> Answer:
    body: dict[str, Any] = {"errorType": error_type, "errorMessage": message}
    return Answer(json.dumps(body).encode(), UNHANDLED)


def _signal_text(number: int) -> str:
    """Name a signal as Go's runtime does, which is what Lambda prints."""
    return {signal.SIGKILL: "killed", signal.SIGSEGV: "segmentation fault", signal.SIGTERM: "terminated"}.get(
        signal.Signals(number), "aborted" if number == signal.SIGABRT else str(number)
    )
