"""Event source mappings: queues and table streams that functions read in batches.

Rules: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Using Lambda with Amazon DynamoDB".
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from local.errors import invalid
from local.functions import destination, send_to_queue, timestamp
from local.patterns import PatternError, compile_pattern
from local.permissions import require_role_actions
from local.resources import check_keys

if TYPE_CHECKING:
    from local.change_signal import ChangeSignal
    from local.clients import Clients
    from local.deploy import Resource, Stack
    from local.endpoint import AwsEndpoint, FunctionApi
    from local.faults import Faults
    from local.moto_backend import MotoBackend
    from local.workers import Answer

logger = logging.getLogger(__name__)

_IDLE_SECONDS: Final = 1.0
"""How long a poller waits for a signal before it looks anyway: for messages whose visibility time-out has ended."""
_DEFAULT_CONCURRENCY: Final = 5
_RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_STREAM_ACTIONS = (
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
)
_QUEUE_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_COMMON_KEYS = frozenset({
    "BatchSize", "DestinationConfig", "Enabled", "EventSourceArn", "FilterCriteria", "FunctionName",
    "FunctionResponseTypes", "MaximumBatchingWindowInSeconds", "Tags",
})  # fmt: skip
_QUEUE_KEYS = (_COMMON_KEYS - {"DestinationConfig"}) | {"ScalingConfig"}
_STREAM_KEYS = _COMMON_KEYS | {"BisectBatchOnFunctionError", "MaximumRetryAttempts", "StartingPosition"}

Filter = Callable[[Mapping[str, Any]], bool]


class Source(Protocol):
    """A mapping that reads while it runs."""

    def start(self) -> None:
        """Read from now on."""

    def stop(self) -> None:
        """Take nothing new."""

    def close(self) -> None:
        """Wait for what runs."""


@dataclass(frozen=True)
class SourceSettings:
    """What queue and stream mappings have in common."""

    logical_id: str
    source_arn: str
    function_arn: str
    batch_size: int
    window_seconds: float
    partial: bool
    wanted: Filter


class QueueSource:
    """Reads a queue. What the function did not handle stays in flight until its visibility time-out ends."""

    def __init__(  # noqa: PLR0913 - what it reads, and whom it calls
        self,
        mapping: SourceSettings,
        *,
        queue_url: str,
        concurrency: int,
        clients: Clients,
        functions: FunctionApi,
        changes: ChangeSignal,
        region: str,
    ) -> None:
        self._mapping = mapping
        self._queue_url = queue_url
        self._clients = clients
        self._functions = functions
        self._changes = changes
        self._region = region
        self._closing = threading.Event()
        self._free = threading.Semaphore(concurrency)
        self._executor = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix=mapping.logical_id)
        self._thread = threading.Thread(target=self._run, name=mapping.logical_id, daemon=True)

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing new."""
        self._closing.set()
        self._changes.notify()

    def close(self) -> None:
        """Wait for what runs."""
        self.stop()
        self._thread.join(timeout=10)
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self) -> None:
        while not self._closing.is_set():
            if not self._free.acquire(timeout=_IDLE_SECONDS):
                continue
            seen = self._changes.count
            try:
                messages = self._receive()
            except (ClientError, BotoCoreError):
                if not self._closing.is_set():
                    logger.exception("%s could not read its queue.", self._mapping.logical_id)
                messages = []
            if messages:
                self._executor.submit(self._handle, messages)
            else:
                self._free.release()
                self._changes.wait(seen, _IDLE_SECONDS)

    def _receive(self) -> list[dict[str, Any]]:
        """Return up to a batch of messages; SQS gives ten at a time at most, so ask until the window ends."""
        sqs = self._clients.get("sqs")
        messages: list[dict[str, Any]] = []
        deadline = time.monotonic() + self._mapping.window_seconds
        while len(messages) < self._mapping.batch_size:
            answer = sqs.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=min(10, self._mapping.batch_size - len(messages)),
                MessageAttributeNames=["All"],
                AttributeNames=["All"],
                WaitTimeSeconds=0,
            )
            received = answer.get("Messages", [])
            messages += received
            if not received:
                if not messages or time.monotonic() >= deadline or self._closing.is_set():
                    break
                self._changes.wait(self._changes.count, min(0.2, max(0.0, deadline - time.monotonic())))
        return messages

    def _handle(self, messages: list[dict[str, Any]]) -> None:
        try:
            records = {message["MessageId"]: self._record(message) for message in messages}
            wanted = {name: record for name, record in records.items() if self._mapping.wanted(_parsed_body(record))}
            kept: set[str] = set()
            if wanted:
                payload = json.dumps({"Records": list(wanted.values())}).encode()
                answer = self._functions.invoke(self._mapping.function_arn, payload)
                kept = failed_items(answer, set(wanted), partial=self._mapping.partial)
            self._delete([message for message in messages if message["MessageId"] not in kept])
        except Exception:
            if not self._closing.is_set():
                logger.exception(
                    "%s could not handle a batch; its messages will be seen again.", self._mapping.logical_id
                )
        finally:
            self._free.release()

    def _delete(self, messages: list[dict[str, Any]]) -> None:
        for start in range(0, len(messages), 10):
            entries = [
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                for index, message in enumerate(messages[start : start + 10])
            ]
            self._clients.get("sqs").delete_message_batch(QueueUrl=self._queue_url, Entries=entries)

    def _record(self, message: Mapping[str, Any]) -> dict[str, Any]:
        attributes = {name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()}
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": dict(message.get("Attributes", {})),
            "messageAttributes": attributes,
            "md5OfBody": message.get("MD5OfBody"),
            "eventSource": "aws:sqs",
            "eventSourceARN": self._mapping.source_arn,
            "awsRegion": self._region,
        }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    """Write a message attribute as events have it."""
    text = value.get("StringValue")
    return {"stringValue": text, "stringListValues": [], "binaryListValues": [], "dataType": value.get("DataType")}


def _parsed_body(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as filters see it: the body is JSON where it can be."""
    try:
        body = json.loads(record["body"])
    except ValueError:
        body = record["body"]
    return {**record, "body": body}


class StreamSource:
    """Reads a table's stream in order: a batch that fails is tried again, cut in two, and in the end set aside."""

    def __init__(  # noqa: PLR0913 - what it reads, and whom it calls
        self,
        mapping: SourceSettings,
        *,
        table_name: str,
        retries: int | None,
        bisect: bool,
        from_latest: bool,
        alone: bool,
        on_failure: str | None,
        backend: MotoBackend,
        clients: Clients,
        functions: FunctionApi,
        changes: ChangeSignal,
        faults: Faults | None = None,
    ) -> None:
        self._mapping = mapping
        self._faults = faults
        self._table_name = table_name
        self._retries = retries
        self._bisect = bisect
        self._alone = alone
        self._on_failure = on_failure
        self._backend = backend
        self._clients = clients
        self._functions = functions
        self._changes = changes
        self._closing = threading.Event()
        self._position = self._newest() if from_latest else None
        self._thread = threading.Thread(target=self._run, name=mapping.logical_id, daemon=True)

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing new."""
        self._closing.set()
        self._changes.notify()

    def close(self) -> None:
        """Wait for what runs."""
        self.stop()
        self._thread.join(timeout=60)

    def _newest(self) -> int | None:
        records = self._backend.stream_records(self._table_name, None, 1_000_000)
        return _number(records[-1]) if records else None

    def _run(self) -> None:
        while not self._closing.is_set():
            seen = self._changes.count
            try:
                read = self._read()
            except Exception:
                if not self._closing.is_set():
                    logger.exception("%s could not read its stream.", self._mapping.logical_id)
                read = False
            if not read:
                self._changes.wait(seen, _IDLE_SECONDS)

    def _read(self) -> bool:
        """Handle up to one batch of wanted records; returns whether there was anything."""
        records = self._backend.stream_records(self._table_name, self._position, 1000)
        if not records or self._happens("delay"):
            return False
        batch: list[dict[str, Any]] = []
        for record in records:
            if self._mapping.wanted(record):
                if len(batch) == self._mapping.batch_size:
                    break
                batch.append(self._completed(record))
            last = _number(record)
        if batch:
            self._handle(batch, first_retry=0)
            if self._happens("repeat"):
                self._handle(batch, first_retry=0)
        if not self._closing.is_set():
            self._position = last
            if self._alone:
                self._backend.trim_stream(self._table_name, last)
        return True

    def _happens(self, fault: str) -> bool:
        return self._faults is not None and self._faults.happens("stream", fault, self._table_name)

    def _handle(self, batch: list[dict[str, Any]], *, first_retry: int) -> None:
        """Deliver a batch in order; returns when every record is handled or set aside, or the mapping is closing."""
        attempt = first_retry
        while batch and not self._closing.is_set():
            answer = self._functions.invoke(self._mapping.function_arn, json.dumps({"Records": batch}).encode())
            numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
            failed = failed_items(answer, set(numbers), partial=self._mapping.partial)
            if not failed:
                return
            # Records before the first failed one are done: the rest is tried again, in order.
            first = min(index for index, number in enumerate(numbers) if number in failed)
            if first > 0:
                batch, attempt = batch[first:], first_retry
            if self._retries is not None and attempt >= self._retries:
                self._set_aside(batch, answer, attempt + 1)
                return
            self._closing.wait(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1
            if self._bisect and first == 0 and len(batch) > 1:
                middle = len(batch) // 2
                # Cutting in two costs no retry (Lambda's rule), so each half starts where the whole stood before.
                self._handle(batch[:middle], first_retry=attempt - 1)
                batch, attempt = batch[middle:], attempt - 1

    def _set_aside(self, batch: list[dict[str, Any]], answer: Answer, count: int) -> None:
        logger.warning("%s gave %d records up after %d attempts.", self._mapping.logical_id, len(batch), count)
        if self._on_failure is None:
            return
        arrived = [_iso(record["dynamodb"].get("ApproximateCreationDateTime", 0)) for record in batch]
        stream_arn = self._mapping.source_arn
        record = {
            "requestContext": {
                "requestId": str(uuid.uuid4()),
                "functionArn": self._mapping.function_arn,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": count,
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": answer.error,
            },
            "version": "1.0",
            "timestamp": timestamp(),
            "DDBStreamBatchInfo": {
                "shardId": self._backend.stream_shard_id(self._table_name),
                "startSequenceNumber": batch[0]["dynamodb"]["SequenceNumber"],
                "endSequenceNumber": batch[-1]["dynamodb"]["SequenceNumber"],
                "approximateArrivalOfFirstRecord": arrived[0],
                "approximateArrivalOfLastRecord": arrived[-1],
                "batchSize": len(batch),
                "streamArn": stream_arn,
            },
        }
        send_to_queue(self._clients, self._on_failure, json.dumps(record))

    def _completed(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record as Lambda gives it to functions: with its source, and the time in seconds."""
        change = dict(record["dynamodb"])
        created = change.get("ApproximateCreationDateTime")
        if isinstance(created, datetime):
            change["ApproximateCreationDateTime"] = int(created.timestamp())
        return {
            **record, "dynamodb": change, "eventSource": "aws:dynamodb", "eventSourceARN": self._mapping.source_arn,
        }  # fmt: skip


def failed_items(answer: Answer, items: set[str], *, partial: bool) -> set[str]:  # noqa: PLR0911 - one rule, one return
    """Return which items of a batch have failed.

    Rules: Lambda Developer Guide, "Implementing partial batch responses": an answer that is no valid partial
    response, or names an item that is not in the batch, is a failure of all.
    """
    if answer.error is not None:
        return items
    if not partial:
        return set()
    try:
        body = json.loads(answer.payload or b"null")
    except ValueError:
        return items
    if body is None or body == {}:
        return set()
    failures = body.get("batchItemFailures", []) if isinstance(body, dict) else None
    if failures is None and isinstance(body, dict):
        return set()
    if not isinstance(failures, list):
        return items
    named = {str(failure.get("itemIdentifier") if isinstance(failure, dict) else None) for failure in failures}
    return named if named.issubset(items) else items


def connect_sources(
    stack: Stack,
    *,
    backend: MotoBackend,
    endpoint: AwsEndpoint,
    clients: Clients,
    functions: FunctionApi,
) -> tuple[Source, ...]:
    """Make a source for every enabled event source mapping; raises TemplateError."""
    sources: list[Source] = []
    for resource in stack.of_kind("AWS::Lambda::EventSourceMapping"):
        source = _source(stack, resource, backend, endpoint, clients, functions)
        if resource.get("Enabled", True) in {True, "true"}:
            sources.append(source)
    return tuple(sources)


def _source(  # noqa: PLR0913, PLR0917 - as above
    stack: Stack,
    resource: Resource,
    backend: MotoBackend,
    endpoint: AwsEndpoint,
    clients: Clients,
    functions: FunctionApi,
) -> Source:
    name = resource.logical_id
    function = next(
        (
            one
            for one in stack.of_kind("AWS::Lambda::Function")
            if resource["FunctionName"] in {one.physical_id, stack.arn(one.logical_id)}
        ),
        None,
    )
    if function is None:
        raise invalid(name, f"its function {resource['FunctionName']} is not of this stack.")
    arn = str(resource["EventSourceArn"])
    queue = stack.by_arn(arn)
    if queue is not None and queue.kind == "AWS::SQS::Queue":
        _check_queue_mapping(stack, resource, queue, function)
        return QueueSource(
            _mapping(stack, resource, function, most=10_000),
            queue_url=queue.physical_id,
            concurrency=_concurrency(resource),
            clients=clients,
            functions=functions,
            changes=endpoint.queue_changes,
            region=stack.region,
        )
    table = stack.by_arn(arn.partition("/stream/")[0])
    if table is None or table.kind != "AWS::DynamoDB::Table" or "/stream/" not in arn:
        raise invalid(name, f"its source {arn} is neither a queue nor a table's stream of this stack.")
    check_keys(name, "", resource.properties, _STREAM_KEYS)
    require_role_actions(stack, function, _STREAM_ACTIONS, arn, needed_by=name)
    position = resource["StartingPosition"]
    if position not in {"TRIM_HORIZON", "LATEST"}:
        raise invalid(name, f"its StartingPosition is {position!r}.")
    retries = int(resource.get("MaximumRetryAttempts", -1))
    destinations = resource.get("DestinationConfig", {})
    return StreamSource(
        _mapping(stack, resource, function, most=10_000),
        table_name=table.physical_id,
        retries=None if retries < 0 else retries,
        bisect=resource.get("BisectBatchOnFunctionError", False) in {True, "true"},
        from_latest=position == "LATEST",
        # What the only reader has read is forgotten: moto copies all that is there with every transaction.
        alone=sum(one["EventSourceArn"] == arn for one in stack.of_kind("AWS::Lambda::EventSourceMapping")) == 1,
        on_failure=destination(stack, function, destinations.get("OnFailure", {}).get("Destination")),
        backend=backend,
        clients=clients,
        functions=functions,
        changes=endpoint.table_changes,
        faults=endpoint.faults,
    )


def _check_queue_mapping(stack: Stack, resource: Resource, queue: Resource, function: Resource) -> None:
    check_keys(resource.logical_id, "", resource.properties, _QUEUE_KEYS)
    require_role_actions(stack, function, _QUEUE_ACTIONS, stack.arn(queue.logical_id), needed_by=resource.logical_id)
    visibility, timeout = int(queue.get("VisibilityTimeout", 30)), int(function.get("Timeout", 3))
    if visibility < timeout:
        raise invalid(
            queue.logical_id,
            f"its VisibilityTimeout of {visibility} s is less than the {timeout} s time-out of {function.logical_id}, "
            "which Lambda refuses.",
        )


def _concurrency(resource: Resource) -> int:
    scaling = resource.get("ScalingConfig", {})
    check_keys(resource.logical_id, "ScalingConfig", scaling, frozenset({"MaximumConcurrency"}))
    most = int(scaling.get("MaximumConcurrency", _DEFAULT_CONCURRENCY))
    if not 2 <= most <= 1000:  # noqa: PLR2004 - Lambda's bounds
        raise invalid(resource.logical_id, "its MaximumConcurrency must be from 2 to 1000.")
    return min(most, 10)


def _mapping(stack: Stack, resource: Resource, function: Resource, *, most: int) -> SourceSettings:
    name = resource.logical_id
    size = int(resource.get("BatchSize", 10 if ":sqs:" in str(resource["EventSourceArn"]) else 100))
    window = float(resource.get("MaximumBatchingWindowInSeconds", 0))
    if not 1 <= size <= most or not 0 <= window <= 300:  # noqa: PLR2004 - Lambda's bounds
        raise invalid(name, f"its BatchSize must be from 1 to {most} and its batching window at most 300 s.")
    types = resource.get("FunctionResponseTypes", [])
    if set(types) - {"ReportBatchItemFailures"}:
        raise invalid(name, f"its FunctionResponseTypes are {types}.")
    return SourceSettings(
        logical_id=name,
        source_arn=str(resource["EventSourceArn"]),
        function_arn=stack.arn(function.logical_id),
        batch_size=size,
        window_seconds=window,
        partial=bool(types),
        wanted=_filter(name, resource.get("FilterCriteria", {})),
    )


def _filter(name: str, criteria: Mapping[str, Any]) -> Filter:
    check_keys(name, "FilterCriteria", criteria, frozenset({"Filters"}))
    patterns: list[Filter] = []
    for entry in criteria.get("Filters", []):
        try:
            patterns.append(compile_pattern(json.loads(entry["Pattern"])))
        except (PatternError, ValueError) as error:
            raise invalid(name, f"a pattern of its FilterCriteria is wrong: {error}") from error
    return lambda record: not patterns or any(matches(record) for matches in patterns)


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _number(record: Mapping[str, Any]) -> int:
    return int(record["dynamodb"]["SequenceNumber"])
