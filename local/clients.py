"""boto3 clients that talk to the embedded AWS, for its own parts."""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 - the embedded AWS accepts any; it listens on 127.0.0.1 only


class Clients:
    """One client a service, made once; botocore's clients may be shared by threads, the making of them may not."""

    def __init__(self, *, endpoint_url: str, region: str) -> None:
        self._endpoint_url = endpoint_url
        self._region = region
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], Any] = {}
        self._session = boto3.session.Session(region_name=region)

    def get(self, service: str, access_key_id: str = ACCESS_KEY_ID) -> Any:
        """Return the client of `service` for whoever has that access key; its calls are not retried."""
        with self._lock:
            key = (service, access_key_id)
            if key not in self._made:
                self._made[key] = self._session.client(
                    service,  # type: ignore[call-overload]
                    endpoint_url=self._endpoint_url,
                    aws_access_key_id=access_key_id,
                    aws_secret_access_key=SECRET_ACCESS_KEY,
                    config=Config(retries={"total_max_attempts": 1}, max_pool_connections=50, read_timeout=120),
                )
            return self._made[key]

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for client in self._made.values():
                client.close()


def client_environment(*, endpoint_url: str, region: str) -> Mapping[str, str]:
    """Return what any AWS client needs in its environment to talk to the embedded AWS."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        # The machine's own profiles and its instance's metadata service must not get in the way.
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
