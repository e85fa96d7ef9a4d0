"""moto as one WSGI application behind one lock, as it is not safe under threads."""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import io
import json
import logging
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.cloudformation.models import cloudformation_backends
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import dynamodb_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from moto.sqs.models import sqs_backends

from local.errors import invalid
from local.http_server import Request, Response
from local.lean_moto import make_lean

if TYPE_CHECKING:
    from collections.abc import Iterable
    from http import HTTPStatus
    from wsgiref.types import StartResponse

logger = logging.getLogger(__name__)

ACCOUNT_ID = DEFAULT_ACCOUNT_ID
PARTITION = "aws"
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "keep-alive"})


class MotoBackend:
    """Answers AWS requests out of moto's memory, one at a time.

    moto keeps its state in the process: a second instance sees what the first one made, so the constructor clears it.
    """

    def __init__(self, *, region: str) -> None:
        self.lock = threading.RLock()
        self.region = region
        make_lean()
        self._application = DomainDispatcherApplication(create_backend_app)
        self.forget()

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        captured: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
            del exc_info
            captured.append((int(status.split(" ", 1)[0]), headers))
            return lambda _: None

        with self.lock:
            body = self._run(_environ(request), start_response)
        status, headers = captured[-1]
        return Response(status, [(k, v) for k, v in headers if k.lower() not in _HOP_BY_HOP], body)

    def _run(self, environ: dict[str, Any], start_response: StartResponse) -> bytes:
        parts: Iterable[bytes] = self._application(environ, start_response)
        try:
            return b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()

    def physical_id(self, stack_name: str, logical_id: str) -> str:
        """Return what Ref gives for a resource of a stack that moto made."""
        with self.lock:
            resource = self._resource(stack_name, logical_id)
            # moto's layers have an ARN only, which is also what Ref gives on AWS.
            return str(resource.physical_resource_id if hasattr(resource, "physical_resource_id") else resource.arn)

    def attribute(self, stack_name: str, logical_id: str, name: str) -> Any:
        """Return what Fn::GetAtt gives; raises KeyError for an attribute that moto does not know."""
        with self.lock:
            resource = self._resource(stack_name, logical_id)
            try:
                return resource.get_cfn_attribute(name)
            except (NotImplementedError, UnformattedGetAttTemplateException) as error:
                raise KeyError(name) from error

    def _resource(self, stack_name: str, logical_id: str) -> Any:
        backend = cloudformation_backends[ACCOUNT_ID][self.region]
        resource = backend.get_stack(stack_name).resource_map[logical_id]
        if resource is None:
            raise invalid(logical_id, "moto did not create it.")
        return resource

    def stream_records(self, table_name: str, after: int | None, limit: int) -> list[dict[str, Any]]:
        """Return up to `limit` records of a table's stream behind sequence number `after` (None: from the oldest).

        Read beside the API: moto's iterators go stale when a transaction is cancelled, and keep old copies alive.
        """
        with self.lock:
            shard = dynamodb_backends[ACCOUNT_ID][self.region].get_table(table_name).stream_shard
            if shard is None:
                return []
            first = shard.starting_sequence_number
            return [dict(record) for record in shard.get(first if after is None else max(first, after + 1), limit)]

    def trim_stream(self, table_name: str, through: int) -> None:
        """Forget the records up to sequence number `through`; moto copies all it has with every transaction."""
        with self.lock:
            shard = dynamodb_backends[ACCOUNT_ID][self.region].get_table(table_name).stream_shard
            if shard is None:
                return
            count = through + 1 - shard.starting_sequence_number
            if count > 0:
                shard.starting_sequence_number += len(shard.items[:count])
                del shard.items[:count]

    def stream_shard_id(self, table_name: str) -> str:
        """Return the id of the one shard that a table's stream has in moto."""
        with self.lock:
            shard = dynamodb_backends[ACCOUNT_ID][self.region].get_table(table_name).stream_shard
            return "" if shard is None else str(shard.id)

    def empty(self) -> None:
        """Empty every table, stream, bucket and queue, and leave them standing: a fresh start between tests."""
        with self.lock:
            for table in dynamodb_backends[ACCOUNT_ID][self.region].tables.values():
                table.items.clear()
                if table.stream_shard is not None:
                    table.stream_shard.starting_sequence_number += len(table.stream_shard.items)
                    table.stream_shard.items.clear()
            for bucket in s3_backends[ACCOUNT_ID][PARTITION].buckets.values():
                for key in list(bucket.keys.keys()):
                    bucket.keys.pop(key)
            for name, queue in sqs_backends[ACCOUNT_ID][self.region].queues.items():
                # SQS purges a queue once in 60 seconds; tests are quicker.
                queue.last_purged_at = None
                sqs_backends[ACCOUNT_ID][self.region].purge_queue(name)

    def forget(self) -> None:
        """Forget everything, in every service."""
        with self.lock:
            BackendDict.reset()
            reset_model_data()


def _environ(request: Request) -> dict[str, Any]:
    """Build a WSGI environment (PEP 3333) as werkzeug's own server does, RAW_URI included: S3 keys need it."""
    host = request.header("Host") or "127.0.0.1"
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "REQUEST_URI": request.target,
        "RAW_URI": request.target,
        "REMOTE_ADDR": request.client,
        "SERVER_NAME": host.partition(":")[0],
        "SERVER_PORT": host.partition(":")[2] or "80",
        "SERVER_PROTOCOL": request.protocol,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    names: dict[str, str] = {}
    for name, value in request.headers:
        if name.lower() in {"transfer-encoding", "expect", "content-length"}:
            continue
        key = name.upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
        if "_" in name and name.lower().startswith("x-amz-meta-"):
            names[key] = name
    if request.method == "PUT" and environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        # What curl says of any file it uploads. werkzeug would parse the body as a form, and moto would keep nothing.
        environ["CONTENT_TYPE"] = "binary/octet-stream"
    environ["CONTENT_LENGTH"] = str(len(request.body))
    environ["moto.preserved_header_names"] = names
    return environ


def error_response(status: HTTPStatus, code: str, message: str) -> Response:
    """Answer as AWS's JSON protocols write an error."""
    body = json.dumps({"__type": code, "message": message}).encode()
    return Response(status, [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-errortype", code)], body)
