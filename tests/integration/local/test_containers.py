"""Tasks as real processes: how they start, how they end, and that nothing of them stays behind."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.containers import UNABLE_TO_PULL, ProcessRuntime
from local.ecs import Container, ContainerExit, Ecs, Task
from local.images import ImageStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs prctl and /proc")

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
REPOSITORY = Path(__file__).parents[3]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)


class Run:
    """One task of the test and what became of it."""

    def __init__(self, host: Host, task: Task) -> None:
        self.task = task
        self.log = host.logs / "tasks" / f"{task.task_id}.log"
        self.running = threading.Event()
        self._exits: queue.Queue[ContainerExit] = queue.Queue()
        host.runtime.start(task, self._exits.put, self.running.set)

    def exit(self, seconds: float = 20) -> ContainerExit:
        return self._exits.get(timeout=seconds)

    def exits(self) -> int:
        return self._exits.qsize()

    def printed(self, word: str) -> str:
        """Wait for a whole line that begins with a word, and return the rest of it."""
        found: list[str] = []

        def look() -> bool:
            text = self.log.read_text(errors="replace") if self.log.exists() else ""
            lines = text.split("\n")[:-1]
            found[:] = [line.removeprefix(word).strip() for line in lines if line.startswith(word)]
            return bool(found)

        eventually(look)
        return found[0]


class Host:
    """A runtime with an image of its own, and a way to run Python code in a task."""

    def __init__(self, folder: Path) -> None:
        repository = folder / "repository"
        for name in ("runner/__init__.py", "pipelines/__init__.py", "layers/zentrigger/zentrigger/__init__.py"):
            (repository / name).parent.mkdir(parents=True)
            (repository / name).write_text("")
        self.work = folder / "work"
        self.logs = folder / "logs"
        self.lines: list[tuple[str, str, list[tuple[int, str]]]] = []
        self.write: Callable[[str, str, list[tuple[int, str]]], None] = lambda *line: self.lines.append(line)
        self.secrets = {"arn:key": "s3cret"}
        self.runtime = ProcessRuntime(
            images=ImageStore(folder / "images", repository=repository, build_store=lambda _: None),
            work_folder=self.work,
            log_folder=self.logs,
            environment={"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            secrets=lambda _, value_from: self.secrets[value_from],
            write_log=self._write_log,
        )
        self._number = 0

    def _write_log(self, group: str, stream: str, events: list[tuple[int, str]]) -> None:
        self.write(group, stream, events)

    def run(self, code: str, **changes: Any) -> Run:
        return Run(self, self.task(command=("python", "-u", "-c", textwrap.dedent(code)), **changes))

    def task(self, *, task_memory: int = 1024, **changes: Any) -> Task:
        self._number += 1
        container: dict[str, Any] = {
            "name": "runner",
            "image": "local",
            "entry_point": (),
            "command": ("python", "-c", "pass"),
            "environment": {},
            "secrets": {},
            "working_directory": None,
            "memory": None,
            "stop_timeout": 30.0,
            "log_options": None,
        }
        return Task(
            arn=f"arn:aws:ecs:eu-west-1:123456789012:task/runs/{os.getpid():08x}{self._number:024x}",
            cluster_arn="arn:aws:ecs:eu-west-1:123456789012:cluster/runs",
            definition={"family": "runner", "revision": 7, "containerDefinitions": [{"name": "runner"}]},
            container=Container(**(container | changes)),
            cpu=1024,
            memory=task_memory,
            launch_type="FARGATE",
            availability_zone="eu-west-1a",
            created_at=datetime.now(UTC),
        )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.runtime.close()


class TestEnds:
    @pytest.mark.parametrize(
        ("code", "exit_code"),
        [
            ("pass", 0),
            ("raise SystemExit(3)", 3),
            ("import os; os._exit(200)", 200),
            ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
            ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 139),
            ("raise ValueError('no')", 1),
        ],
    )
    def test_the_exit_code_tells_how_the_main_process_ended(self, host: Host, code: str, exit_code: int) -> None:
        run = host.run(code)
        assert run.exit() == ContainerExit(exit_code)
        assert run.running.is_set()
        assert list(host.work.iterdir()) == []

    def test_kill_9_of_the_main_process_is_137(self, host: Host) -> None:
        run = host.run("import os, time; print('pid', os.getpid()); time.sleep(60)")
        os.kill(int(run.printed("pid")), signal.SIGKILL)
        assert run.exit() == ContainerExit(137)

    def test_a_command_that_does_not_exist_fails_to_start(self, host: Host) -> None:
        run = Run(host, host.task(command=("no-such-command",)))
        container_exit = run.exit()
        assert container_exit.exit_code is None
        assert container_exit.reason == "CannotStartContainerError: no-such-command: No such file or directory"
        assert not run.running.is_set()

    def test_an_unknown_image_fails_to_start(self, host: Host) -> None:
        run = Run(host, host.task(image="python:3.11"))
        container_exit = run.exit()
        assert container_exit.exit_code is None
        assert container_exit.reason is not None
        assert container_exit.reason.startswith("CannotPullContainerError: ")
        assert "python:3.11" in container_exit.reason

    def test_an_unknown_secret_fails_to_start_without_naming_values(self, host: Host) -> None:
        container_exit = Run(host, host.task(secrets={"KEY": "arn:none"})).exit()
        assert container_exit == ContainerExit(None, f"{UNABLE_TO_PULL}: KeyError")


class TestStop:
    def test_sigterm_reaches_the_main_process_and_nobody_else(self, host: Host) -> None:
        run = host.run(
            """
            import signal, subprocess, sys, time
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            def stop(*_):
                time.sleep(0.3)
                print("child", child.poll())
                raise SystemExit(9)
            signal.signal(signal.SIGTERM, stop)
            print("ready")
            time.sleep(60)
            """
        )
        run.printed("ready")
        host.runtime.stop(run.task.task_id, 30)
        assert run.exit() == ContainerExit(9)
        assert run.printed("child") == "None"

    def test_a_process_that_does_not_care_ends_with_143(self, host: Host) -> None:
        run = host.run("import time; print('ready'); time.sleep(60)")
        run.printed("ready")
        host.runtime.stop(run.task.task_id, 30)
        assert run.exit() == ContainerExit(143)

    def test_sigkill_follows_after_the_timeout(self, host: Host) -> None:
        run = host.run(
            """
            import os, signal, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                os.setsid()
                # In one write each, or two processes' lines may come apart.
                os.write(1, b"child %d\\n" % os.getpid())
                time.sleep(60)
            os.write(1, b"ready\\n")
            time.sleep(60)
            """
        )
        run.printed("ready")
        child = int(run.printed("child"))
        began = time.monotonic()
        host.runtime.stop(run.task.task_id, 0.7)
        host.runtime.stop(run.task.task_id, 60)
        assert run.exit() == ContainerExit(137)
        assert 0.7 <= time.monotonic() - began < 5
        assert not alive(child)

    def test_a_task_stopped_before_its_process_starts_never_runs(self, host: Host, tmp_path: Path) -> None:
        resolve, go = host.runtime.images.resolve, threading.Event()

        def slow(reference: str) -> Any:
            go.wait(10)
            return resolve(reference)

        host.runtime.images.resolve = slow  # type: ignore[method-assign]
        run = host.run(f"open({str(tmp_path / 'ran')!r}, 'w')")
        host.runtime.stop(run.task.task_id, 30)
        go.set()
        assert run.exit() == ContainerExit(None)
        assert not (tmp_path / "ran").exists()

    def test_stopping_what_has_ended_is_nothing(self, host: Host) -> None:
        run = host.run("pass")
        run.exit()
        host.runtime.stop(run.task.task_id, 1)
        host.runtime.stop("unknown", 1)
        assert run.exits() == 0

    def test_close_kills_what_is_left(self, host: Host) -> None:
        runs = [host.run("import os, time; print('pid', os.getpid()); time.sleep(60)") for _ in range(3)]
        pids = [int(run.printed("pid")) for run in runs]
        host.runtime.close()
        assert [run.exit(1).exit_code for run in runs] == [137] * 3
        assert not any(map(alive, pids))


# A grandchild in a session of its own, whose parent is gone: nothing but the init still knows it.
DAEMON = """
    import os, signal, time
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(write, str(os.getpid()).encode())
            time.sleep(60)
        os._exit(0)
    os.wait()
    print("daemon", os.read(read, 20).decode())
"""


class TestNothingStaysBehind:
    def test_a_daemon_dies_with_the_main_process(self, host: Host) -> None:
        run = host.run(DAEMON)
        daemon = int(run.printed("daemon"))
        assert run.exit() == ContainerExit(0)
        assert not alive(daemon)

    def test_orphans_are_reaped_while_the_task_runs(self, host: Host) -> None:
        run = host.run(DAEMON + "    os.kill(os.getppid(), 0); print('init', os.getppid()); time.sleep(60)")
        daemon = int(run.printed("daemon"))
        assert f"PPid:\t{run.printed('init')}\n" in Path(f"/proc/{daemon}/status").read_text()
        os.kill(daemon, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{daemon}").exists())
        host.runtime.stop(run.task.task_id, 30)
        run.exit()

    def test_kill_9_of_the_init_leaves_nothing(self, host: Host) -> None:
        run = host.run(DAEMON + "    print('pids', os.getppid(), os.getpid()); time.sleep(60)")
        daemon = int(run.printed("daemon"))
        init, main = map(int, run.printed("pids").split())
        os.kill(init, signal.SIGKILL)
        assert run.exit() == ContainerExit(137)
        assert not alive(main)
        assert not alive(daemon)

    def test_kill_9_of_the_host_leaves_nothing(self, tmp_path: Path) -> None:
        """The death signal of the init, which then kills what is below it."""
        code = f"""
            import sys, threading, time
            from pathlib import Path
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from test_containers import DAEMON, Host
            host = Host(Path({str(tmp_path / "other host")!r}))
            run = host.run(DAEMON + "    print('pids', os.getppid(), os.getpid()); time.sleep(60)")
            print(run.printed("daemon"), run.printed("pids"), flush=True)
            time.sleep(60)
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
        ) as process:
            assert process.stdout
            pids = [int(pid) for pid in process.stdout.readline().split()]
            assert len(pids) == 3
            assert all(map(alive, pids))
            process.kill()
        eventually(lambda: not any(map(alive, pids)))


class TestMemory:
    HOG = "held = []\nwhile True: held.append(bytearray(8 << 20)); __import__('time').sleep(0.01)"

    def test_a_hog_is_killed_with_the_reason(self, host: Host) -> None:
        run = host.run(self.HOG, task_memory=100)
        assert run.exit() == ContainerExit(137, OUT_OF_MEMORY)

    def test_the_biggest_process_goes_first_and_the_rest_lives_on(self, host: Host) -> None:
        run = host.run(
            f"""
            import subprocess, sys
            print("child", subprocess.run([sys.executable, "-c", {self.HOG!r}]).returncode)
            """,
            task_memory=100,
        )
        container_exit = run.exit()
        assert run.printed("child") == "-9"
        assert container_exit == ContainerExit(0, OUT_OF_MEMORY)

    def test_the_containers_own_limit_counts_if_it_is_lower(self, host: Host) -> None:
        assert host.run(self.HOG, task_memory=8192, memory=100).exit() == ContainerExit(137, OUT_OF_MEMORY)

    def test_shared_pages_are_counted_once(self, host: Host) -> None:
        run = host.run(
            """
            import os, time
            held = bytearray(60 << 20)
            children = [os.fork() for _ in range(1)]
            if children[0] and os.fork() and os.fork():
                time.sleep(1.2)
                raise SystemExit(5)
            time.sleep(60)
            """,
            task_memory=120,
        )
        assert run.exit() == ContainerExit(5)


class TestEnvironment:
    def test_a_task_sees_its_definition_and_nothing_of_the_host(
        self, host: Host, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOST_SECRET", "not yours")
        monkeypatch.setenv("PYTHONPATH", "/not/yours")
        run = host.run(
            "import json, os, sys; print('seen', json.dumps([dict(os.environ), os.getcwd(), sys.executable]))",
            environment={"RUN_ID": "run-1", "AWS_REGION": "overridden"},
            secrets={"ZENML_STORE_API_KEY": "arn:key"},
        )
        environment, folder, interpreter = json.loads(run.printed("seen"))
        root = host.work / run.task.task_id
        assert environment.pop("ECS_CONTAINER_METADATA_URI_V4").startswith("http://127.0.0.1:")
        assert environment.pop("PATH")
        assert environment.pop("LANG")
        environment.pop("TMPDIR", None)  # not with very long paths
        environment.pop("LC_CTYPE", None)  # Python sets it in the C locale (PEP 538)
        assert environment == {
            "HOME": str(root / "home"),
            "PYTHONPATH": str(root / "app"),
            "PYTHONUNBUFFERED": "1",
            "ZENML_CONFIG_PATH": str(root / "zenml/config"),
            "ZENML_LOCAL_STORES_PATH": str(root / "zenml/stores"),
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_LOGGING_COLORS_DISABLED": "true",
            "ZENML_DISABLE_INTERACTIVE_INPUT": "true",
            "AWS_REGION": "overridden",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
            "RUN_ID": "run-1",
            "ZENML_STORE_API_KEY": "s3cret",
        }
        assert folder == str(root / "app")
        assert interpreter == sys.executable
        run.exit()

    def test_the_packages_of_the_image_can_be_imported(self, host: Host) -> None:
        assert host.run("import runner, pipelines, zentrigger").exit() == ContainerExit(0)

    def test_a_killed_task_gets_no_sigterm(self, host: Host) -> None:
        """As when its host dies."""
        run = host.run(
            "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('warned'));"
            "print('ready'); [time.sleep(1) for _ in range(60)]"
        )
        run.printed("ready")
        host.runtime.stop(run.task.task_id, 0)
        assert run.exit().exit_code == 137
        assert "warned" not in run.log.read_text()

    def test_the_metadata_endpoint_tells_a_task_who_it_is(self, host: Host) -> None:
        run = host.run(
            """
            import json, os, urllib.request
            uri = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
            print("uri", uri)
            for path in ("/task", ""):
                print("answer" + path, json.dumps(json.load(urllib.request.urlopen(uri + path))))
            __import__("time").sleep(60)
            """
        )
        task = json.loads(run.printed("answer/task"))
        assert task["TaskARN"] == run.task.arn
        assert task["Cluster"] == run.task.cluster_arn
        assert (task["Family"], task["Revision"]) == ("runner", "7")
        assert task["Limits"] == {"CPU": 1.0, "Memory": 1024}
        pulling, pulled = task["PullStartedAt"], task["PullStoppedAt"]
        assert run.task.created_at <= datetime.fromisoformat(pulling) <= datetime.fromisoformat(pulled)
        uri = run.printed("uri")
        with urllib.request.urlopen(uri) as answer:  # noqa: S310 - the task's own http:// address
            container = json.load(answer)
        assert container == task["Containers"][0]
        assert container["Name"] == "runner"
        assert container["ImageID"].startswith("sha256:")
        assert pulled <= container["CreatedAt"] <= container["StartedAt"]
        host.runtime.stop(run.task.task_id, 30)
        run.exit()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(uri)  # noqa: S310 - see above


AWSLOGS = {"awslogs-group": "/runs", "awslogs-region": "eu-west-1", "awslogs-stream-prefix": "run"}


class TestOutput:
    def test_lines_of_both_streams_go_to_file_and_log_group(self, host: Host) -> None:
        began = time.time() * 1000
        run = host.run(
            "import sys; print('one'); print(); print('zwö', file=sys.stderr); print('last', end='')",
            log_options=AWSLOGS,
        )
        run.exit()
        assert run.log.read_text() == "one\n\nzwö\nlast"
        assert {(group, stream) for group, stream, _ in host.lines} == {("/runs", f"run/runner/{run.task.task_id}")}
        events = [event for _, _, batch in host.lines for event in batch]
        assert [line for _, line in events] == ["one", "zwö", "last"]
        assert all(began - 1000 < milliseconds < began + 60_000 for milliseconds, _ in events)

    def test_lines_arrive_while_the_task_runs(self, host: Host) -> None:
        run = host.run("print('hello'); __import__('time').sleep(60)", log_options=AWSLOGS)
        eventually(lambda: bool(host.lines))
        assert run.exits() == 0

    def test_30_megabytes_neither_stall_nor_fill(self, host: Host, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        code = """
            import sys
            for number in range(30 * 1024):
                sys.stdout.write(f"{number:07} " + "x" * 1015 + "\\n")
        """
        began = time.monotonic()
        run = host.run(code, log_options=AWSLOGS)
        assert run.exit(60) == ContainerExit(0)
        assert time.monotonic() - began < 20
        lines = run.log.read_bytes().splitlines()
        assert 10 << 20 <= run.log.stat().st_size <= 20 << 20
        assert lines[0] == b"[older output was dropped]"
        numbers = [int(line[:7]) for line in lines[1:]]
        assert numbers == list(range(numbers[0], 30 * 1024))
        assert "did not reach its log group" in caplog.text

    def test_no_line_is_glued_together_over_a_gap(self, host: Host) -> None:
        def write(*line: Any) -> None:
            time.sleep(0.3)  # so slowly that lines are dropped, also on a machine that prints slowly
            host.lines.append(line)

        host.write = write
        run = host.run("for n in range(400_000): print(f'begin {n} end')", log_options=AWSLOGS)
        run.exit()
        lines = [line for _, _, batch in host.lines for _, line in batch]
        assert len(lines) < 400_000, "nothing was dropped, so there is no gap to look at"
        assert [line for line in lines if line.count("begin") > 1 or line.count("end") > 1] == []

    def test_a_log_group_that_hangs_does_not_stall_the_task(self, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("local.container_logs.LAST_SEND_SECONDS", 0.3)
        hanging = threading.Event()

        def hang(*_: object) -> None:
            hanging.wait(30)

        host.write = hang
        run = host.run("for _ in range(5000): print('x' * 1000)", log_options=AWSLOGS)
        assert run.exit(10) == ContainerExit(0)
        hanging.set()

    def test_a_log_group_that_refuses_does_not_fail_the_task(
        self, host: Host, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(*_: object) -> None:
            raise RuntimeError("ResourceNotFoundException")

        host.write = refuse
        assert host.run("print('x')", log_options=AWSLOGS).exit() == ContainerExit(0)
        assert "ResourceNotFoundException" in caplog.text

    def test_a_process_that_keeps_the_output_open_does_not_keep_the_task(self, host: Host) -> None:
        assert host.run(DAEMON).exit(10) == ContainerExit(0)


def test_ecs_and_processes_together(host: Host) -> None:
    """The whole way: RunTask, a real process, StopTask, STOPPED."""
    events: list[dict[str, Any]] = []
    command = ["python", "-u", "-c", "import time; print('ready'); time.sleep(60)"]
    definition = {
        "taskDefinitionArn": "arn:aws:ecs:eu-west-1:123456789012:task-definition/runner:1",
        "family": "runner",
        "revision": 1,
        "containerDefinitions": [{"name": "runner", "image": "local", "command": command}],
    }
    ecs = Ecs(
        region="eu-west-1",
        account_id="123456789012",
        runtime=host.runtime,
        task_definition={"runner": definition}.__getitem__,
        cluster_exists={"runs"}.__contains__,
        publish=events.append,
    )
    _, answer = ecs.handle(
        "RunTask",
        {
            "cluster": "runs",
            "taskDefinition": "runner",
            "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        },
    )
    arn = answer["tasks"][0]["taskArn"]
    log = host.logs / "tasks" / f"{arn.rsplit('/', 1)[-1]}.log"
    eventually(lambda: log.exists() and "ready" in log.read_text())
    ecs.handle("StopTask", {"cluster": "runs", "task": arn})
    eventually(lambda: events[-1]["detail"]["lastStatus"] == "STOPPED")
    detail = events[-1]["detail"]
    assert (detail["stopCode"], detail["containers"][0]["exitCode"]) == ("UserInitiated", 143)
    assert [event["detail"]["version"] for event in events] == [1, 2, 3, 4, 5, 6]


def test_two_tasks_at_once_use_zenml_on_stores_of_their_own(tmp_path: Path) -> None:
    """With the real ZenML: the store is initialised once, each task finds it ready at its own place."""
    host = Host(tmp_path)
    host.runtime.images = ImageStore(tmp_path / "zenml images", repository=tmp_path / "repository")
    host.runtime.images.prepare()
    code = """
        import time
        from zenml.client import Client
        client = Client()
        client.create_project(name="mine", description="")
        print("store", client.zen_store.url)
        print("projects", sorted(project.name for project in client.list_projects()))
    """
    try:
        runs = [host.run(code) for _ in range(2)]
        stores = []
        for run in runs:
            assert run.exit(60) == ContainerExit(0), run.log.read_text()
            stores.append(run.printed("store"))
            assert run.printed("projects") == "['default', 'mine']"
            assert "Creating" not in run.log.read_text(), "the store was not initialised"
        expected = [f"sqlite:///{host.work}/{run.task.task_id}/zenml/stores/default_zen_store/zenml.db" for run in runs]
        assert stores == expected
        # A task definition that names a store of its own wins.
        other = f"sqlite:///{tmp_path}/other.db"
        run = host.run(code, environment={"ZENML_STORE_URL": other})
        assert run.exit(60) == ContainerExit(0), run.log.read_text()
        assert run.printed("store") == other
    finally:
        host.runtime.close()
