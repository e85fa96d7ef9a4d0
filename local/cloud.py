"""The embedded AWS as one object: everything that a template's stack needs, started and stopped together."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from local.access import AccessControl
from local.clients import Clients, client_environment
from local.containers import ProcessRuntime
from local.deploy import Stack, deploy, sends_events
from local.ecs import Ecs, EcsError
from local.endpoint import AwsEndpoint
from local.errors import TemplateError
from local.events import Clock, EventBus, read_rules, utc_now
from local.faults import Faults
from local.function_kills import FunctionKills
from local.function_log import FunctionLog
from local.functions import Functions, asynchronous_settings, deploy_functions
from local.gateway import Gateway, read_stage
from local.http_server import free_port
from local.iam_requests import Surroundings
from local.images import ImageError, ImageStore
from local.layers import CodeStore
from local.moto_backend import MotoBackend
from local.permissions import require_task_permissions
from local.sam import read_template
from local.scheduler import Scheduler
from local.sources import Source, connect_sources
from local.task_definitions import TaskDefinitions
from local.task_neighbours import TaskNeighbours, capacity_providers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from local.ecs_tasks import ContainerRuntime
    from local.workers import Answer

logger = logging.getLogger(__name__)

ROOT: Final = Path(__file__).resolve().parent.parent
DEFAULT_API_PORT: Final = 8080
DEFAULT_AWS_PORT: Final = 4566
_KEPT_INSTANCES: Final = 5
_running = threading.Lock()


class RecordedInvocations:
    """Stands in for the functions where a test runs the handlers itself: it only remembers who was to be invoked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._later: list[tuple[str, bytes]] = []

    def invoke(self, name: str, payload: bytes) -> Answer:
        """Refuse: nobody answers."""
        del payload
        raise KeyError(name)

    def invoke_later(self, name: str, payload: bytes) -> None:
        """Remember an asynchronous invocation."""
        with self._lock:
            self._later.append((name.rpartition(":")[2], payload))

    def take(self) -> list[tuple[str, bytes]]:
        """Return (function name, payload) of what came since the last call."""
        with self._lock:
            taken, self._later = self._later, []
        return taken


class Cloud:
    """The embedded AWS with one stack in it. Use it as a context manager; one at a time in a process.

    `parameters` are the stack's. `sources` are folders with pipelines of a user's own, for the tasks' image. The
    ports are taken if they are free, others if not (0: any). With `functions=False` nothing of the stack runs but
    tables, buckets, queues, event rules and ECS: for tests that run the handlers themselves. `container_runtime`
    replaces the processes that tasks are. `faults` may also be set while it runs, at the attribute of that name.
    `clock` is what ECS, rules and schedules tell the time by. `function_prelude` is a script that each function's
    process runs before it imports its handler.
    """

    def __init__(  # noqa: PLR0913 - settings, all by name, all with defaults
        self,
        *,
        template: Path = ROOT / "template.yaml",
        parameters: Mapping[str, str] | None = None,
        sources: Sequence[Path] = (),
        stack_name: str = "local",
        region: str = "us-east-1",
        api_port: int = DEFAULT_API_PORT,
        aws_port: int = DEFAULT_AWS_PORT,
        functions: bool = True,
        container_runtime: ContainerRuntime | None = None,
        state_folder: Path | None = None,
        clock: Clock = utc_now,
        faults: Faults | None = None,
        function_prelude: Path | None = None,
    ) -> None:
        self._template = template.resolve()
        self._parameters = dict(parameters or {})
        self._sources = tuple(sources)
        self._stack_name = stack_name
        self._region = region
        self._ports = (api_port, aws_port)
        self._with_functions = functions
        self._container_runtime = container_runtime
        self._clock = clock
        self.faults = Faults() if faults is None else faults
        self._function_prelude = function_prelude
        self._state_folder = (state_folder or self._template.parent / ".local").absolute()
        self._folder = self._state_folder / "instances" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{id(self):x}"
        self._closers: list[tuple[str, Callable[[], None]]] = []
        self._locked = False
        self.log_folder = self._folder / "logs"
        self.recorded = RecordedInvocations()
        self.images = ImageStore(self._state_folder / "images", self._sources)
        self.stack: Stack
        self.backend: MotoBackend
        self.clients: Clients
        self.bus: EventBus
        self.scheduler: Scheduler
        self.ecs: Ecs
        self.functions: Functions | None = None
        self.access: AccessControl
        self._endpoint: AwsEndpoint
        self._gateway: Gateway
        self._neighbours: TaskNeighbours
        self._task_definitions: TaskDefinitions

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    @property
    def api_url(self) -> str:
        """Where the HTTP API answers."""
        return self._gateway.url

    @property
    def endpoint_url(self) -> str:
        """Where every AWS API answers."""
        return self._endpoint.url

    @property
    def endpoint(self) -> AwsEndpoint:
        """What answers there: for tests that want to see what passes."""
        return self._endpoint

    @property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return self.stack.outputs

    @property
    def environment(self) -> Mapping[str, str]:
        """What an AWS client needs in its environment."""
        return client_environment(endpoint_url=self.endpoint_url, region=self._region)

    def start(self) -> None:
        """Deploy the template and start everything; returns when all is ready.

        Raises TemplateError for whatever AWS would refuse, or the embedded AWS cannot do. Nothing is left running then.
        """
        if not _running.acquire(blocking=False):
            raise RuntimeError("Only one embedded AWS can run in a process at a time: moto's memory is the process's.")
        self._locked = True
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop everything, so that nothing waits for what is gone, and leave no process. May be called twice."""
        while self._closers:
            name, close = self._closers.pop()
            try:
                close()
            except Exception:
                # One part that fails to close must not keep the others alive.
                logger.exception("%s could not be closed.", name)
        if self._locked:
            self._locked = False
            _running.release()

    def kill(self) -> None:
        """Kill every process at once, without waiting for anything."""
        if self.functions is not None:
            self.functions.kill()

    def reset(self, container_runtime: ContainerRuntime | None = None) -> None:
        """Empty tables, streams, buckets and queues, forget all tasks and schedules: a fresh start between tests."""
        self.scheduler.reset()
        self.bus.drain()
        self.ecs.close()
        self.backend.empty()
        self.recorded.take()
        self._connect_tasks(container_runtime or self._container_runtime or self._processes())

    def _start(self) -> None:
        self._prune()
        self.log_folder.mkdir(parents=True, exist_ok=True)
        self.backend = MotoBackend(region=self._region)
        self._gateway = Gateway(port=free_port(self._ports[0]))
        self._closers.append(("The HTTP API", self._gateway.close))
        self._endpoint = AwsEndpoint(self.backend, port=free_port(self._ports[1]))
        self._closers.append(("The AWS endpoint", self._endpoint.close))
        self._gateway.start()
        self._endpoint.start()
        self.clients = Clients(endpoint_url=self._endpoint.url, region=self._region)
        self._closers.append(("The clients", self.clients.close))
        self._neighbours = TaskNeighbours(self.clients)
        image = self._prepare_image()
        deployed = deploy(
            self._template,
            parameters=self._with_image(),
            stack_name=self._stack_name,
            backend=self.backend,
            clients=self.clients,
            api_url=self._gateway.url,
        )
        self.stack = replace(deployed, outputs=dict(deployed.outputs))
        self._connect()
        image.result()

    def _connect(self) -> None:
        """Connect the stack's parts, from the ones that are called to the ones that call."""
        stack = self.stack
        self.faults.use_timers()
        self._endpoint.faults = self.faults
        require_task_permissions(stack)
        self._task_definitions = TaskDefinitions(
            region=self._region, account_id=stack.account_id, shown_image=self._shown_image, clock=self._clock
        )
        for definition in stack.of_kind("AWS::ECS::TaskDefinition"):
            self._task_definitions.adopt(definition.logical_id, definition.physical_id, definition.properties)
        self._endpoint.task_definitions = self._task_definitions
        find = self._task_definitions.find
        partition_keys = {
            table.physical_id: next(key["AttributeName"] for key in table["KeySchema"] if key["KeyType"] == "HASH")
            for table in stack.of_kind("AWS::DynamoDB::Table")
        }
        self.access = AccessControl(stack, Surroundings(self._region, stack.account_id, find, partition_keys))
        self._endpoint.access = self.access
        self._connect_tasks(self._container_runtime or self._processes())
        self._closers.append(("The tasks", self._close_tasks))
        stage = read_stage(stack) if any(stack.of_kind("AWS::ApiGatewayV2::Api")) else None
        asynchronous_settings(stack)
        if self._with_functions:
            self.functions = deploy_functions(
                stack,
                code=CodeStore(self._state_folder, lock_file=self._template.parent / "uv.lock"),
                clients=self.clients,
                endpoint_url=self._endpoint.url,
                log_folder=self.log_folder / "functions",
                prelude=self._function_prelude,
            )
            self._endpoint.kills = FunctionKills(self.faults, self.functions)
            self._closers.append(("The functions", self.functions.close))
        invoked = self.functions or self.recorded
        self._endpoint.functions = invoked
        self.bus = EventBus(
            stack,
            read_rules(stack, start=self._clock()),
            clients=self.clients,
            functions=invoked,
            clock=self._clock,
            faults=self.faults,
        )
        self.scheduler = Scheduler(
            stack, clients=self.clients, functions=invoked, clock=self._clock, faults=self.faults
        )
        self._endpoint.scheduler = self.scheduler
        sources = connect_sources(
            stack, backend=self.backend, endpoint=self._endpoint, clients=self.clients, functions=invoked
        )
        if self.functions is not None:
            self.functions.warm_up()
            self._start_sources(sources)
            if stage is not None:
                self._gateway.connect(stack, stage, self.functions, FunctionLog(self.log_folder / "access.log"))
        self.bus.start()
        self._closers.append(("The event bus", self.bus.close))
        self.scheduler.start()
        self._closers.append(("The scheduler", self.scheduler.close))
        self._closers.append(("What faults have put off", self.faults.close))
        self._endpoint.event_buckets = frozenset(
            bucket.physical_id for bucket in stack.of_kind("AWS::S3::Bucket") if sends_events(bucket)
        )
        self._endpoint.publish = self.bus.put

    def _start_sources(self, sources: Sequence[Source]) -> None:
        # Closed in this order: sources take nothing new, functions are killed, then sources wait for their threads.
        functions = self._closers.pop()
        for source in sources:
            self._closers.append((f"{source}", source.close))
        self._closers.append(functions)
        for source in sources:
            self._closers.append((f"{source}", source.stop))
            source.start()

    def _connect_tasks(self, runtime: ContainerRuntime) -> None:
        self.ecs = Ecs(
            region=self._region,
            account_id=self.stack.account_id,
            runtime=runtime,
            task_definition=self._task_definitions.find,
            cluster_exists=self._neighbours.cluster_exists,
            capacity_providers=lambda cluster: capacity_providers(self.stack, cluster),
            publish=self._publish,
            clock=self._clock,
            faults=self.faults,
        )
        self._endpoint.tasks = self.ecs

    def _close_tasks(self) -> None:
        # `reset` replaces the model, so the one that is closed is the one of that moment.
        self.ecs.close()

    def _publish(self, event: Mapping[str, Any]) -> None:
        self.bus.put(event)

    def _shown_image(self, image: str) -> str:
        """Show a floating image by its digest, so that what is published today runs today's code for ever."""
        try:
            return self.images.pinned(image)
        except ImageError as error:
            raise EcsError("ClientException", f"The image {image} cannot be made: {error}") from error

    def _processes(self) -> ProcessRuntime:
        return ProcessRuntime(
            images=self.images,
            work_folder=self._folder / "tasks",
            log_folder=self.log_folder,
            environment=self.environment,
            secrets=self._neighbours.secret,
            write_log=self._neighbours.write_log,
        )

    def _prepare_image(self) -> Future[None]:
        """Make the tasks' image beside the deployment; the first time it takes seconds."""

        def prepare() -> None:
            if self._container_runtime is None:
                self.images.prepare()

        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="image")
        self._closers.append(("The image", executor.shutdown))
        return executor.submit(prepare)

    def _with_image(self) -> dict[str, str]:
        """Fill in the parameters that a container's Image refers to and nobody gave: with this machine's own image."""
        document = read_template(self._template)
        declared = document.get("Parameters", {})
        given = dict(self._parameters)
        for resource in document["Resources"].values():
            if resource.get("Type") != "AWS::ECS::TaskDefinition":
                continue
            for container in resource.get("Properties", {}).get("ContainerDefinitions", []):
                image = container.get("Image") if isinstance(container, dict) else None
                name = str(image.get("Ref")) if isinstance(image, dict) else ""
                if name in declared and name not in given and "Default" not in declared[name]:
                    # The floating name: DescribeTaskDefinition pins it to the source tree as it is just then.
                    given[name] = "local"
        return given

    def _prune(self) -> None:
        """Remove what older instances left; the newest stay for whoever wants to read their logs."""
        instances = self._state_folder / "instances"
        old = sorted(instances.iterdir())[:-_KEPT_INSTANCES] if instances.is_dir() else []
        for folder in old:
            if not _alive(folder.name.split("-")[2]):
                shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


__all__ = ["Cloud", "RecordedInvocations", "TemplateError"]
