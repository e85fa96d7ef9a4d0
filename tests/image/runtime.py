"""Tasks of the embedded AWS as containers of the image that was built, as the template's task definition has them."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local.container_metadata import MetadataServer
from local.ecs_tasks import ContainerExit, Task
from tests.image import buildah
from tests.image.container import Container, new_container


class ImageRuntime:
    """Runs each task as a container. `environment` (the AWS_* of the host) is to be set before the first task."""

    def __init__(self, folder: Path, tag: str = buildah.TAG) -> None:
        self.environment: Mapping[str, str] = {}
        self.definitions: list[dict[str, Any]] = []
        """The container definition of each task that was started."""
        self._folder = folder
        self._tag = tag
        self._metadata = MetadataServer()
        self._lock = threading.Lock()
        self._containers: dict[str, Container] = {}
        self._threads: list[threading.Thread] = []

    def start(self, task: Task, on_exit: Callable[[ContainerExit], None], on_running: Callable[[], None]) -> None:
        """Start a task's container."""
        thread = threading.Thread(target=self._run, args=(task, on_exit, on_running), name=f"task {task.task_id}")
        self._threads.append(thread)
        thread.start()

    def stop(self, task_id: str, timeout_seconds: float) -> None:
        """Send SIGTERM, and SIGKILL after the timeout."""
        if container := self._containers.get(task_id):
            container.signal("TERM")
            killer = threading.Timer(timeout_seconds, container.signal, ["KILL"])
            killer.daemon = True
            killer.start()

    def close(self) -> None:
        """Kill what runs, and wait."""
        with self._lock:
            containers = list(self._containers.values())
        for container in containers:
            container.signal("KILL")
        for thread in self._threads:
            thread.join()
        self._metadata.close()

    def log(self, task_id: str) -> str:
        """Give what a task has printed."""
        return (self._folder / task_id / "output").read_text(errors="replace")

    def _run(self, task: Task, on_exit: Callable[[ContainerExit], None], on_running: Callable[[], None]) -> None:
        definition = task.definition["containerDefinitions"][0]
        self.definitions.append(definition)
        uri = self._metadata.add(task, "sha256:" + "0" * 64)
        environment = {**self.environment, "ECS_CONTAINER_METADATA_URI_V4": uri, **task.container.environment}
        with new_container(
            self._folder / task.task_id,
            self._tag,
            command=task.container.command,
            environment=environment,
            volumes=[mount["containerPath"] for mount in definition.get("mountPoints", ())],
            read_only=bool(definition.get("readonlyRootFilesystem")),
        ) as container:
            process = container.start()
            with self._lock:
                self._containers[task.task_id] = container
            on_running()
            exit_code = process.wait()
            with self._lock:
                del self._containers[task.task_id]
        self._metadata.remove(uri)
        on_exit(ContainerExit(exit_code))
