"""Faults for the boto3 clients that a test has, whatever they talk to: DynamoDB Local, moto or the endpoint."""

# ruff: noqa: ANN401 - clients, requests and answers of botocore are of any shape

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ReadTimeoutError
from moto.core.models import botocore_stubber

from local.api_faults import ErrorAnswer, NoAnswerError, with_faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.faults import Faults


class _Body(io.BytesIO):
    """An answer's body as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def inject(client: Any, faults: Faults) -> None:
    """Let the faults happen to each request that this boto3 client sends: before its retries, as on the wire.

    To be called once for a client of dynamodb, ecs or events, be it of a server or of moto's `mock_aws`; not for one of
    `ecs_client`, as the model itself has the faults.
    """
    service = client.meta.service_model.service_name
    endpoint = client._endpoint  # noqa: SLF001 - botocore has no other way to send what a hook has been given
    # moto's own hook would answer beside this one, so that a request would be done twice, or in spite of a fault.
    client.meta.events.unregister("before-send", botocore_stubber)

    def send(request: Any, event_name: str, **_: Any) -> Any:
        def answer() -> Any:
            return botocore_stubber(event_name, request) or endpoint.http_session.send(request)

        def body() -> Mapping[str, Any]:
            parsed: dict[str, Any] = json.loads(request.body)
            return parsed

        try:
            answered = with_faults(faults, service, event_name.rpartition(".")[2], body, answer)
        except NoAnswerError as lost:
            raise timed_out(request, lost) from lost
        if isinstance(answered, ErrorAnswer):
            return response(request, answered.status, answered.body)
        return answered

    client.meta.events.register("before-send", send)


def response(request: Any, status: int, body: Mapping[str, Any]) -> AWSResponse:
    """Answer a request of botocore as AWS's JSON protocols do."""
    headers = HTTPHeaders.from_dict({"Content-Type": "application/x-amz-json-1.1"})
    return AWSResponse(request.url, status, headers, _Body(json.dumps(body).encode()))


def timed_out(request: Any, lost: NoAnswerError) -> ReadTimeoutError:
    """Return what botocore raises if no answer comes."""
    return ReadTimeoutError(endpoint_url=request.url, error=lost)
