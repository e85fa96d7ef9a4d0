"""The stack's Lambda functions: their processes, and synchronous and asynchronous invocation."""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import heapq
import itertools
import json
import logging
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from local.access import role_environment
from local.clients import Clients, client_environment
from local.errors import TemplateError, invalid
from local.function_log import FunctionLog
from local.permissions import require_role_actions
from local.resources import check_keys
from local.workers import Answer, Spawner, Worker, WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local.deploy import Resource, Stack
    from local.layers import CodeStore

logger = logging.getLogger(__name__)

MAX_WORKERS: Final = 20
_PATIENCE_SECONDS: Final = 0.05
"""Most invocations take less than this; starting a process takes much longer and the machine has few cores."""
_RETRY_DELAYS_SECONDS: Final = (1.0, 2.0)
"""Lambda waits one and two minutes; the embedded AWS is impatient."""
_MAX_ENVIRONMENT_BYTES: Final = 4096
_ASYNCHRONOUS_THREADS: Final = 16
_LOG_ACTIONS: Final = ("logs:CreateLogStream", "logs:PutLogEvents")
_RESERVED = frozenset({
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "_HANDLER",
})  # fmt: skip


class FunctionClosedError(RuntimeError):
    """The embedded AWS is stopping."""


@dataclass(frozen=True)
class AsynchronousSettings:
    """What becomes of asynchronous invocations that fail (AWS::Lambda::EventInvokeConfig, DeadLetterConfig)."""

    retries: int = 2
    max_age_seconds: float = 21_600
    on_failure: str | None = None
    on_success: str | None = None
    dead_letter: str | None = None


class Function:
    """One function: a pool of workers, each with one invocation at a time."""

    def __init__(self, settings: WorkerSettings, *, log: FunctionLog, spawner: Spawner, max_workers: int) -> None:
        self.settings = settings
        self._log = log
        self._spawner = spawner
        self._max_workers = max_workers
        self._condition = threading.Condition()
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._starting = 0
        self._closed = False

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The processes that live now."""
        with self._condition:
            return tuple(worker.pid for worker in self._workers)

    def warm_up(self) -> Answer | None:
        """Start one worker and wait until its handler is imported; returns the error if it cannot be."""
        worker = self._acquire()
        error = worker.wait_ready()
        self._release(worker)
        return error

    def invoke(self, payload: bytes) -> Answer:
        """Invoke and wait for the end; waits for a free worker if all are busy."""
        worker = self._acquire()
        try:
            return worker.invoke(payload)
        finally:
            self._release(worker)

    def worker_of(self, trace_id: str) -> Worker | None:
        """Return the worker that works on the invocation of that trace."""
        with self._condition:
            workers = list(self._workers)
        return next((worker for worker in workers if worker.serves(trace_id)), None)

    def log_tail(self) -> str:
        """Return the end of the function's log."""
        return self._log.tail()

    def kill(self) -> list[Worker]:
        """Kill every worker and start none again; returns them."""
        with self._condition:
            self._closed = True
            workers = list(self._workers)
            self._condition.notify_all()
        for worker in workers:
            worker.kill()
        return workers

    def close(self) -> None:
        """Kill every worker and wait for their ends."""
        for worker in self.kill():
            worker.close()
        self._log.close()

    def _acquire(self) -> Worker:
        """Take an idle worker, or one that becomes idle within a moment, or start another, or wait for any."""
        patience_ends = time.monotonic() + _PATIENCE_SECONDS
        with self._condition:
            while True:
                if self._closed:
                    raise FunctionClosedError(f"{self.settings.logical_id} is shut down.")
                while self._idle:
                    worker = self._idle.pop()
                    if worker.alive:
                        return worker
                room = len(self._workers) + self._starting < self._max_workers
                if room and (patience_ends <= time.monotonic() or not self._workers):
                    self._starting += 1
                    break
                self._condition.wait(max(0.0, patience_ends - time.monotonic()) if room else None)
        try:
            worker = Worker(self.settings, log=self._log, spawner=self._spawner, on_death=self._forget)
        except BaseException:
            with self._condition:
                self._starting -= 1
                self._condition.notify_all()
            raise
        with self._condition:
            self._starting -= 1
            self._workers.add(worker)
            closed = self._closed
        if closed or not worker.alive:
            self._forget(worker)
        if closed:
            worker.close()
            raise FunctionClosedError(f"{self.settings.logical_id} is shut down.")
        return worker

    def _release(self, worker: Worker) -> None:
        with self._condition:
            if worker.alive and worker in self._workers:
                self._idle.append(worker)
                self._condition.notify()
                return
        worker.close()

    def _forget(self, worker: Worker) -> None:
        with self._condition:
            self._workers.discard(worker)
            if worker in self._idle:
                self._idle.remove(worker)
            self._condition.notify_all()


class Functions:
    """All functions of a stack. Names may be a function's name or its ARN."""

    def __init__(self, functions: Mapping[str, Function], asynchronous: AsynchronousInvoker, spawner: Spawner) -> None:
        self._functions = functions
        self._asynchronous = asynchronous
        self._spawner = spawner

    def invoke(self, name: str, payload: bytes) -> Answer:
        """Invoke and wait; raises KeyError for an unknown function."""
        return self.function(name).invoke(payload)

    def invoke_later(self, name: str, payload: bytes) -> None:
        """Put into the function's asynchronous queue; raises KeyError for an unknown function."""
        self._asynchronous.put(self.function(name), payload)

    def function(self, name: str) -> Function:
        """Return a function; raises KeyError."""
        return self._functions[name.rpartition(":")[2]]

    def caller(self, trace_id: str) -> tuple[str, Worker] | None:
        """Return who makes a call that carries this trace: the function's logical id, and its worker."""
        for function in self._functions.values():
            worker = function.worker_of(trace_id)
            if worker is not None:
                return function.settings.logical_id, worker
        return None

    def warm_up(self) -> None:
        """Start one worker each, all at once; raises TemplateError if a handler cannot be imported."""
        with ThreadPoolExecutor(max_workers=max(1, len(self._functions))) as executor:
            errors = list(executor.map(lambda function: function.warm_up(), self._functions.values()))
        for function, error in zip(self._functions.values(), errors, strict=True):
            if error is not None:
                told = json.loads(error.payload)
                raise invalid(
                    function.settings.logical_id,
                    f"its handler does not start: {told.get('errorType')}: {told.get('errorMessage')}\n"
                    f"{function.log_tail()}",
                )

    @property
    def worker_pids(self) -> tuple[int, ...]:
        """The processes of all functions."""
        return tuple(pid for function in self._functions.values() for pid in function.worker_pids)

    def kill(self) -> None:
        """Kill every worker at once, without waiting."""
        for function in self._functions.values():
            function.kill()

    def close(self) -> None:
        """End asynchronous work and kill every worker."""
        self._asynchronous.stop()
        for function in self._functions.values():
            function.close()
        self._asynchronous.close()
        self._spawner.close()


@dataclass(order=True)
class _Pending:
    due: float
    number: int
    function: Function
    payload: bytes
    request_id: str
    accepted: float
    attempt: int = 1


class AsynchronousInvoker:
    """Lambda's asynchronous queue: retries, then the failure destination and the dead-letter queue.

    Rules: AWS Lambda Developer Guide, "Asynchronous invocation" and "Capturing records of asynchronous invocations".
    """

    def __init__(self, settings: Mapping[str, AsynchronousSettings], clients: Clients) -> None:
        self._settings = settings
        self._clients = clients
        self._condition = threading.Condition()
        self._heap: list[_Pending] = []
        self._numbers = itertools.count()
        self._stopped = False
        self._executor = ThreadPoolExecutor(max_workers=_ASYNCHRONOUS_THREADS, thread_name_prefix="asynchronous")
        self._thread = threading.Thread(target=self._run, name="asynchronous-queue", daemon=True)
        self._thread.start()

    def put(self, function: Function, payload: bytes) -> None:
        """Accept an event."""
        now = time.monotonic()
        self._push(_Pending(now, next(self._numbers), function, payload, str(uuid.uuid4()), now))

    def stop(self) -> None:
        """Start nothing more."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def close(self) -> None:
        """Wait for what runs; kill the workers before, or this takes as long as they do."""
        self.stop()
        self._thread.join()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _push(self, pending: _Pending) -> None:
        with self._condition:
            heapq.heappush(self._heap, pending)
            self._condition.notify_all()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._stopped and (not self._heap or self._heap[0].due > time.monotonic()):
                    self._condition.wait(self._heap[0].due - time.monotonic() if self._heap else None)
                if self._stopped:
                    return
                pending = heapq.heappop(self._heap)
            self._executor.submit(self._invoke, pending)

    def _invoke(self, pending: _Pending) -> None:
        try:
            answer = pending.function.invoke(pending.payload)
            if not self._stopped:
                self._settle(pending, answer)
        except Exception:
            if not self._stopped:
                logger.exception("An asynchronous invocation of %s was lost.", pending.function.settings.name)

    def _settle(self, pending: _Pending, answer: Answer) -> None:
        settings = self._settings[pending.function.settings.name]
        if answer.error is None:
            if settings.on_success is not None:
                self._record(settings.on_success, pending, answer, "Success")
            return
        too_old = time.monotonic() - pending.accepted > settings.max_age_seconds
        if pending.attempt <= settings.retries and not too_old:
            delay = _RETRY_DELAYS_SECONDS[min(pending.attempt, len(_RETRY_DELAYS_SECONDS)) - 1]
            self._push(
                _Pending(
                    time.monotonic() + delay, next(self._numbers), pending.function, pending.payload,
                    pending.request_id, pending.accepted, pending.attempt + 1,
                )
            )  # fmt: skip
            return
        if settings.on_failure is not None:
            self._record(settings.on_failure, pending, answer, "EventAgeExceeded" if too_old else "RetriesExhausted")
        if settings.dead_letter is not None:
            self._dead_letter(settings.dead_letter, pending, answer)
        if settings.on_failure is None and settings.dead_letter is None:
            logger.warning(
                "%s failed %d times; the event is dropped.", pending.function.settings.logical_id, pending.attempt
            )

    def _record(self, queue_arn: str, pending: _Pending, answer: Answer, condition: str) -> None:
        record: dict[str, Any] = {
            "version": "1.0",
            "timestamp": timestamp(),
            "requestContext": {
                "requestId": pending.request_id,
                "functionArn": f"{pending.function.settings.arn}:$LATEST",
                "condition": condition,
                "approximateInvokeCount": pending.attempt,
            },
            "requestPayload": json.loads(pending.payload),
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
            "responsePayload": json.loads(answer.payload or b"null"),
        }
        if answer.error is not None:
            record["responseContext"]["functionError"] = answer.error
        send_to_queue(self._clients, queue_arn, json.dumps(record))

    def _dead_letter(self, queue_arn: str, pending: _Pending, answer: Answer) -> None:
        told = json.loads(answer.payload)
        attributes = {
            "RequestID": pending.request_id,
            "ErrorCode": "200",
            "ErrorMessage": str(told.get("errorMessage", ""))[:1024] or "-",
        }
        send_to_queue(self._clients, queue_arn, pending.payload.decode(), attributes)


def send_to_queue(clients: Clients, queue_arn: str, body: str, attributes: Mapping[str, str] | None = None) -> None:
    """Send one message to the queue with that ARN."""
    sqs = clients.get("sqs")
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=queue_arn.rpartition(":")[2])["QueueUrl"],
        MessageBody=body,
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in (attributes or {}).items()
        },
    )


def timestamp() -> str:
    """Now, as Lambda writes it in its records."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def deploy_functions(  # noqa: PLR0913 - what functions need, all by name
    stack: Stack,
    *,
    code: CodeStore,
    clients: Clients,
    endpoint_url: str,
    log_folder: Path,
    prelude: Path | None = None,
) -> Functions:
    """Prepare every function of the stack; nothing is started but on demand. Raises TemplateError."""
    runtime = code.runtime()
    layers = {
        layer.physical_id: code.resolve(stack.code_of(layer)) for layer in stack.of_kind("AWS::Lambda::LayerVersion")
    }
    spawner = Spawner()
    functions: dict[str, Function] = {}
    for resource in stack.of_kind("AWS::Lambda::Function"):
        settings = _settings(stack, resource, code.resolve(stack.code_of(resource)), layers, runtime, endpoint_url)
        functions[settings.name] = Function(
            replace(settings, prelude=prelude),
            log=FunctionLog(log_folder / f"{resource.logical_id}.log"),
            spawner=spawner,
            max_workers=min(MAX_WORKERS, int(resource.get("ReservedConcurrentExecutions", MAX_WORKERS))),
        )
    return Functions(functions, AsynchronousInvoker(asynchronous_settings(stack), clients), spawner)


def _settings(  # noqa: PLR0913, PLR0917 - the parts of a function
    stack: Stack, function: Resource, folder: Path, layers: Mapping[str, Path], runtime: Path, endpoint_url: str
) -> WorkerSettings:
    handler = str(function["Handler"])
    if "." not in handler:
        raise invalid(function.logical_id, f"its Handler must be module.function, not {handler!r}.")
    if not str(function["Runtime"]).startswith("python3."):
        raise invalid(function.logical_id, f"the embedded AWS runs Python only, not {function['Runtime']}.")
    used = [_layer(function, layers, str(arn)) for arn in function.get("Layers", [])]
    # The last layer wins on Lambda, as each is unpacked over the ones before it.
    import_path = [folder]
    for layer in reversed(used):
        packages = (
            layer / "python" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        )
        import_path += [path for path in (packages, layer / "python") if path.is_dir()]
    memory = int(function.get("MemorySize", 128))
    timeout = int(function.get("Timeout", 3))
    if not 128 <= memory <= 10_240 or not 1 <= timeout <= 900:  # noqa: PLR2004 - Lambda's bounds
        raise invalid(function.logical_id, "MemorySize must be from 128 to 10240 MB and Timeout from 1 to 900 s.")
    return WorkerSettings(
        logical_id=function.logical_id,
        name=function.physical_id,
        arn=stack.arn(function.logical_id),
        code=folder,
        import_path=(*import_path, runtime),
        environment=_environment(stack, function, handler, folder, endpoint_url),
        memory_mib=memory,
        timeout_seconds=float(timeout),
    )


def _layer(function: Resource, layers: Mapping[str, Path], arn: str) -> Path:
    if arn not in layers:
        raise invalid(
            function.logical_id, f"its layer {arn} is not of this stack, and the embedded AWS cannot fetch it."
        )
    return layers[arn]


def _environment(stack: Stack, function: Resource, handler: str, folder: Path, endpoint_url: str) -> dict[str, str]:
    """Return what the template gives, and what Lambda itself sets ("Using Lambda environment variables")."""
    given = {str(name): _text(value) for name, value in function.get("Environment", {}).get("Variables", {}).items()}
    for name in given:
        if name in _RESERVED or name.startswith("AWS_LAMBDA_"):
            raise invalid(function.logical_id, f"Lambda reserves the environment variable {name}.")
    if sum(len(name) + len(value.encode()) for name, value in given.items()) > _MAX_ENVIRONMENT_BYTES:
        raise invalid(function.logical_id, f"its environment is larger than {_MAX_ENVIRONMENT_BYTES} bytes.")
    check_keys(function.logical_id, "LoggingConfig", function.get("LoggingConfig", {}), frozenset({"LogGroup"}))
    group = function.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{function.physical_id}")
    if "LoggingConfig" in function.properties and not any(
        group == known.physical_id for known in stack.of_kind("AWS::Logs::LogGroup")
    ):
        raise invalid(function.logical_id, f"its log group {group} is not of this stack.")
    streams = f"arn:aws:logs:{stack.region}:{stack.account_id}:log-group:{group}:log-stream:any"
    # Without them the function runs and leaves no trace (Lambda Developer Guide, "Sending function logs").
    require_role_actions(stack, function, _LOG_ACTIONS, streams, needed_by=function.logical_id)
    return {
        **given,
        **client_environment(endpoint_url=endpoint_url, region=stack.region),
        **role_environment(str(function["Role"])),
        "AWS_SESSION_TOKEN": "local",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function['Runtime']}",
        "AWS_LAMBDA_FUNCTION_NAME": function.physical_id,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.get("MemorySize", 128)),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": str(group),
        "LAMBDA_TASK_ROOT": str(folder),
        "_HANDLER": handler,
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TZ": ":UTC",
    }


def asynchronous_settings(stack: Stack) -> dict[str, AsynchronousSettings]:
    """Read how each function's failed asynchronous invocations are treated; raises TemplateError."""
    by_name: dict[str, AsynchronousSettings] = {}
    configurations = list(stack.of_kind("AWS::Lambda::EventInvokeConfig"))
    functions = list(stack.of_kind("AWS::Lambda::Function"))
    for configuration in configurations:
        if not any(configuration["FunctionName"] == function.physical_id for function in functions):
            raise invalid(configuration.logical_id, "its FunctionName is no function of this stack.")
        if configuration.get("Qualifier", "$LATEST") != "$LATEST":
            raise invalid(configuration.logical_id, "the embedded AWS knows the qualifier $LATEST only.")
    for function in functions:
        mine = [one for one in configurations if one["FunctionName"] == function.physical_id]
        destinations = mine[0].get("DestinationConfig", {}) if mine else {}
        by_name[function.physical_id] = AsynchronousSettings(
            retries=int(mine[0].get("MaximumRetryAttempts", 2)) if mine else 2,
            max_age_seconds=float(mine[0].get("MaximumEventAgeInSeconds", 21_600)) if mine else 21_600,
            on_failure=destination(stack, function, destinations.get("OnFailure", {}).get("Destination")),
            on_success=destination(stack, function, destinations.get("OnSuccess", {}).get("Destination")),
            dead_letter=destination(stack, function, function.get("DeadLetterConfig", {}).get("TargetArn")),
        )
    return by_name


def destination(stack: Stack, function: Resource, arn: Any) -> str | None:
    """Check that a destination is a queue of the stack that the function's role may send to."""
    if arn is None:
        return None
    queue = stack.by_arn(str(arn))
    if queue is None or queue.kind != "AWS::SQS::Queue":
        raise TemplateError(f"{function.logical_id}: its destination {arn} is no queue of this stack.")
    require_role_actions(stack, function, ["sqs:SendMessage"], str(arn), needed_by=function.logical_id)
    return str(arn)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
