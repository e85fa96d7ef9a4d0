"""A boto3 client of the ECS model in this process: for tests that need no endpoint."""

# ruff: noqa: ANN401 - clients and requests of botocore are of any shape

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from moto.core.models import botocore_stubber

from local.api_faults import NoAnswerError
from local.client_faults import response, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.awsrequest import AWSResponse
    from mypy_boto3_ecs import ECSClient

    from local.ecs import Ecs

_session = boto3.session.Session(region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local")  # noqa: S106 - nobody checks it


def ecs_client(ecs: Ecs | Callable[[], Ecs], *, attempts: int = 1) -> ECSClient:
    """Return a boto3 client whose calls go to the model in this process, and to no socket.

    It is boto3's own but for the wire: it checks parameters, gives times as datetimes and raises ClientError and, when
    the model gives no answer, ReadTimeoutError at once. It sends each request at most `attempts` times; botocore
    sleeps between them. A callable is asked for the model at each call.
    """
    client: ECSClient = _session.client(
        "ecs",
        endpoint_url="http://ecs.local",
        config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
    )

    def answer(request: Any, event_name: str, **_: Any) -> AWSResponse:
        model = ecs if hasattr(ecs, "handle") else ecs()
        try:
            status, body = model.handle(event_name.rpartition(".")[2], json.loads(request.body))
        except NoAnswerError as lost:
            raise timed_out(request, lost) from lost
        return response(request, status, body)

    client.meta.events.unregister("before-send", botocore_stubber)  # type: ignore[arg-type] # moto has an ECS of its own
    client.meta.events.register("before-send.ecs", answer)  # type: ignore[arg-type]
    return client
