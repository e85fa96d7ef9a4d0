"""Runs tasks as processes of this machine; and `ManualRuntime`, which runs nothing and lets a test say what happens."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from local.access import role_environment
from local.container_logs import LogEvent, LogStream, OutputFile, copy_output
from local.container_metadata import MetadataServer
from local.ecs_tasks import ContainerExit, SecretError
from local.images import ImageError, ImageStore

if TYPE_CHECKING:
    from local.ecs_tasks import Task

logger = logging.getLogger(__name__)

INIT: Final = Path(__file__).with_name("container_init.py")
UNABLE_TO_PULL: Final = "ResourceInitializationError: unable to pull secrets or registry auth"
KILL_ALL: Final = signal.SIGUSR2
"""Tells the init to kill everything at once."""
KILL_SECONDS: Final = 12.0
"""How long the init may take for that before it is killed itself."""
OUT_OF_MEMORY: Final = "OutOfMemoryError: Container killed due to memory usage"
INTERPRETERS: Final = frozenset({"python", "python3"})
MAX_TMPDIR: Final = 75
"""Longer, and multiprocessing's sockets below TMPDIR exceed the 107 bytes of a socket address."""
MEBIBYTE: Final = 1024 * 1024

WriteLog = Callable[[str, str, list[LogEvent]], None]
"""Takes log group, log stream and events."""


class ProcessRuntime:
    """Runs each task as a process below `container_init.py`, in a session, folder and environment of its own.

    `environment` is what the host gives every task (the AWS_* variables). `secrets` gets the execution role and a
    `valueFrom` and returns the value, or raises SecretError.
    What a task prints goes to `<log_folder>/tasks/<task id>.log` and, if its container has awslogs, to `write_log`.
    Command `python` is this interpreter. Runs one container a task; a task definition with more is refused.
    """

    def __init__(  # noqa: PLR0913 - one argument for each neighbour, all by name
        self,
        *,
        images: ImageStore,
        work_folder: Path,
        log_folder: Path,
        environment: Mapping[str, str],
        secrets: Callable[[str, str], str],
        write_log: WriteLog,
    ) -> None:
        self.images = images
        self.work_folder = work_folder.absolute()
        self.log_folder = log_folder
        self.environment = dict(environment)
        self.secrets = secrets
        self.write_log = write_log
        self.metadata = MetadataServer()
        self._lock = threading.Lock()
        self._processes: dict[str, _TaskProcess] = {}
        self._closed = False

    def start(self, task: Task, on_exit: Callable[[ContainerExit], None], on_running: Callable[[], None]) -> None:
        """Start the task in the background. What goes wrong before its process runs is told through `on_exit`."""

        def ended(container_exit: ContainerExit) -> None:
            with self._lock:
                del self._processes[task.task_id]
            on_exit(container_exit)

        process = _TaskProcess(self, task, ended, on_running)
        with self._lock:
            if self._closed:
                raise RuntimeError("The runtime of the tasks is closed.")
            self._processes[task.task_id] = process
            process.thread.start()

    def stop(self, task_id: str, timeout_seconds: float) -> None:
        """Send SIGTERM to the task's main process and kill what is left after the timeout; 0: kill. Returns at once."""
        with self._lock:
            process = self._processes.get(task_id)
        if process:
            process.stop(timeout_seconds)

    def close(self) -> None:
        """Kill every task and wait for their ends."""
        with self._lock:
            self._closed = True
            processes = list(self._processes.values())
        killers = [threading.Thread(target=process.kill) for process in processes]
        for thread in killers:
            thread.start()
        for thread in [*killers, *(process.thread for process in processes)]:
            thread.join()
        self.metadata.close()


class _TaskProcess:
    """One task, from its image to its end. Its thread lives as long as the process: the death signal hangs on it."""

    def __init__(
        self,
        runtime: ProcessRuntime,
        task: Task,
        on_exit: Callable[[ContainerExit], None],
        on_running: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._task = task
        self._on_exit = on_exit
        self._on_running = on_running
        self._folder = runtime.work_folder / task.task_id
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name=f"task {task.task_id}", daemon=True)

    def stop(self, timeout_seconds: float) -> None:
        with self._lock:
            if self._ended.is_set() or (self._stopping and timeout_seconds > 0):
                return
            self._stopping = True
            if self._process is None:  # nothing to stop yet, and it will not be started
                return
            if timeout_seconds > 0:
                self._process.send_signal(signal.SIGTERM)
        threading.Thread(target=self._kill_after, args=(timeout_seconds,), name="stop timeout", daemon=True).start()

    def kill(self) -> None:
        """Kill all processes of the task and wait for the end."""
        with self._lock:
            self._stopping = True
            if self._process is None:
                return
            self._process.send_signal(KILL_ALL)
        if not self._ended.wait(KILL_SECONDS):
            self._process.kill()

    def _kill_after(self, timeout_seconds: float) -> None:
        if not self._ended.wait(timeout_seconds):
            self.kill()

    def _run(self) -> None:
        try:
            container_exit = self._contain()
        except Exception as error:
            logger.exception("task %s could not be run", self._task.task_id)
            container_exit = ContainerExit(None, f"ResourceInitializationError: {error}")
        finally:
            self._ended.set()
        try:
            shutil.rmtree(self._folder)
        except FileNotFoundError:
            logger.debug("task %s had no folder yet", self._task.task_id)
        except OSError as error:
            logger.warning("the folder of task %s stays behind: %s", self._task.task_id, error)
        self._on_exit(container_exit)

    def _contain(self) -> ContainerExit:
        task = self._task
        if len(task.definition["containerDefinitions"]) > 1:
            return ContainerExit(None, "ResourceInitializationError: this machine runs one container a task")
        pull_started_at = datetime.now(UTC)
        try:
            image = self._runtime.images.resolve(task.container.image)
        except ImageError as error:
            return ContainerExit(None, f"CannotPullContainerError: failed to resolve ref {error}")
        self._folder.mkdir(parents=True)
        root = self._runtime.images.unpack(image, self._folder)
        metadata_uri = self._runtime.metadata.add(task, image.digest, pull_started_at)
        try:
            environment = self._environment(root.environment, metadata_uri)
        except SecretError as error:
            self._runtime.metadata.remove(metadata_uri)
            return ContainerExit(None, f"{UNABLE_TO_PULL}: execution resource retrieval failed: {error}")
        except Exception as error:  # noqa: BLE001 - whatever the secrets' source raises; its words may hold the value
            self._runtime.metadata.remove(metadata_uri)
            return ContainerExit(None, f"{UNABLE_TO_PULL}: {type(error).__name__}")
        folder = root.working_directory / (task.container.working_directory or ".").lstrip("/")
        try:
            return self._execute(folder if folder.is_dir() else root.working_directory, environment)
        finally:
            self._runtime.metadata.remove(metadata_uri)

    def _environment(self, image: Mapping[str, str], metadata_uri: str) -> dict[str, str]:
        """Nothing of this process's environment but PATH and LANG; the later wins, overrides last."""
        secrets = self._task.container.secrets
        execution_role = str(self._task.definition.get("executionRoleArn"))
        home, temporary = self._folder / "home", self._folder / "tmp"
        home.mkdir()
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(home),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
        }
        if len(str(temporary)) <= MAX_TMPDIR:
            temporary.mkdir()
            environment["TMPDIR"] = str(temporary)
        return {
            **environment,
            **image,
            **self._runtime.environment,
            **self._credentials(),
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "ECS_CONTAINER_METADATA_URI_V4": metadata_uri,
            **{name: self._runtime.secrets(execution_role, value_from) for name, value_from in secrets.items()},
            **self._task.container.environment,
        }

    def _credentials(self) -> Mapping[str, str]:
        """Give the task's own role in place of the host's credentials, where there are any."""
        if "AWS_ACCESS_KEY_ID" not in self._runtime.environment:
            return {}
        return role_environment(self._task.definition.get("taskRoleArn"))

    def _command(self) -> list[str]:
        command = [*self._task.container.entry_point, *self._task.container.command]
        if command and command[0] in INTERPRETERS:
            command[0] = sys.executable
        return command

    def _execute(self, folder: Path, environment: dict[str, str]) -> ContainerExit:
        command = self._command()
        if not command:
            return ContainerExit(None, "CannotCreateContainerError: the task definition has no command")
        status_read, status_write = os.pipe()
        with os.fdopen(status_read, "r", encoding="utf-8") as status:
            try:
                process = self._start(command, folder, environment, status_write)
            finally:
                os.close(status_write)
            if process is None:
                return ContainerExit(None)
            return self._follow(process, status)

    def _start(
        self, command: Sequence[str], folder: Path, environment: dict[str, str], status_fd: int
    ) -> subprocess.Popen[bytes] | None:
        """Start the init, or nothing if the task has been stopped already."""
        init = [sys.executable, "-I", "-S", str(INIT)]
        limits = [str(os.getpid()), str(status_fd), str(self._task.memory_limit * MEBIBYTE)]
        with self._lock:
            if self._stopping:
                return None
            self._process = subprocess.Popen(  # noqa: S603 - the task definition's command is what is to run
                [*init, *limits, *command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(status_fd,),
                start_new_session=True,
            )
            return self._process

    def _follow(self, process: subprocess.Popen[bytes], status: IO[str]) -> ContainerExit:
        if process.stdout is None:
            raise RuntimeError("the task's output is no pipe")
        file = OutputFile(self._runtime.log_folder / "tasks" / f"{self._task.task_id}.log")
        stream = self._log_stream()
        reader = threading.Thread(
            target=copy_output, args=(process.stdout, file, stream), name=f"output of {self._task.task_id}", daemon=True
        )
        reader.start()
        word, _, detail = status.readline().strip().partition(" ")
        started = word == "started"
        if started:
            self._on_running()
        exit_code = process.wait()
        self._end_leftovers(process.pid)
        reader.join()
        process.stdout.close()
        file.close()
        if stream:
            stream.close()
        if word == "failed":
            return ContainerExit(None, f"CannotStartContainerError: {detail}")
        if not started and self._stopping:
            return ContainerExit(None)
        killed_for_memory = any(line.strip() == "oom" for line in status)
        return ContainerExit(
            exit_code if exit_code >= 0 else 128 - exit_code,  # the init itself was killed
            OUT_OF_MEMORY if killed_for_memory else None,
        )

    def _log_stream(self) -> LogStream | None:
        options = self._task.container.log_options
        if not options:
            return None
        group = options["awslogs-group"]
        stream = f"{options['awslogs-stream-prefix']}/{self._task.container.name}/{self._task.task_id}"
        write_log = self._runtime.write_log
        return LogStream(lambda events: write_log(group, stream, events), f"task {self._task.task_id}")

    def _end_leftovers(self, init_pid: int) -> None:
        """Kill what outlived the init, which it does only if it was killed itself: no task leaves a process behind."""
        deadline = time.monotonic() + KILL_SECONDS
        while leftovers := list(_leftovers(init_pid, self._task.task_id)):
            for pid in leftovers:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if time.monotonic() > deadline:
                logger.warning("processes of task %s cannot be killed: %s", self._task.task_id, leftovers)
                return
            time.sleep(0.005)


def _leftovers(session: int, marker: str) -> Iterator[int]:
    """Find processes of a task's session, or with its id in their environment. Linux; none elsewhere."""
    proc = Path("/proc")
    if not proc.is_dir():
        return
    wanted = marker.encode()
    for entry in proc.iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            # "pid (name) state parent group session …", and the name may hold anything
            fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            if fields[0] not in {b"Z", b"X"} and (
                int(fields[3]) == session or wanted in (entry / "environ").read_bytes()
            ):
                yield int(entry.name)
        except (OSError, IndexError):  # ended meanwhile, or another user's
            continue


class ManualRuntime:
    """Runs nothing. The test says when a task runs and how it ends; it may name a task by its id or its ARN.

    With `obedient`, a stopped task ends at once as one that heeds SIGTERM: exit code 143 if it was running.
    """

    def __init__(self, *, obedient: bool = False) -> None:
        self.tasks: list[Task] = []
        """Every task that was started, oldest first."""
        self.stops: list[tuple[str, float]] = []
        """Task id and timeout of every stop."""
        self.closed = False
        self._obedient = obedient
        self._lock = threading.Lock()
        self._callbacks: dict[str, tuple[Callable[[ContainerExit], None], Callable[[], None]]] = {}
        self._running: set[str] = set()

    def start(self, task: Task, on_exit: Callable[[ContainerExit], None], on_running: Callable[[], None]) -> None:
        """Remember the task."""
        with self._lock:
            self.tasks.append(task)
            self._callbacks[task.task_id] = (on_exit, on_running)

    def stop(self, task_id: str, timeout_seconds: float) -> None:
        """Remember that it was asked for. With a timeout of 0, which is SIGKILL at once, any task ends."""
        with self._lock:
            self.stops.append((task_id, timeout_seconds))
            live = task_id in self._callbacks
        if live and (self._obedient or timeout_seconds == 0):
            self.exit(task_id, (143 if timeout_seconds else 137) if task_id in self._running else None)

    def close(self) -> None:
        """Forget everything; no callback comes any more."""
        with self._lock:
            self.closed = True
            self._callbacks.clear()

    @property
    def live(self) -> list[str]:
        """Ids of the tasks that have been started and have not ended."""
        with self._lock:
            return list(self._callbacks)

    def run(self, task: str) -> None:
        """Let the task's process start."""
        task_id = task.rsplit("/", 1)[-1]
        with self._lock:
            _, on_running = self._callbacks[task_id]
            self._running.add(task_id)
        on_running()

    def exit(self, task: str, exit_code: int | None, reason: str | None = None) -> None:
        """Let the task end. Without an exit code: it failed to start, or, if it ran, its host is gone."""
        with self._lock:
            on_exit, _ = self._callbacks.pop(task.rsplit("/", 1)[-1])
        on_exit(ContainerExit(exit_code, reason))
