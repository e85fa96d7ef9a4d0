"""What a fresh stack needs before anybody can use it: a key, published pipelines, triggers.

The only place in this package that knows what the stack is for: it calls the product's HTTP API as any client would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.cloud import Cloud

SCHEDULED_TRIGGER: Final = "nightly"
_PUBLISH_SECONDS: Final = 300
_REQUEST_SECONDS: Final = 60
_TRIGGERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "arrivals": {
        "type": "s3",
        "pipeline": "training_pipeline",
        "prefix": "incoming/",
        "suffix": ".csv",
        "parameters": {"data_url": "s3://{bucket.name}/{object.key}"},
    },
    SCHEDULED_TRIGGER: {"type": "schedule", "pipeline": "training_pipeline"},
}


class PreparationError(Exception):
    """The stack runs, but could not be made ready for use; the message says which call failed and how."""


@dataclass(frozen=True)
class PreparedStack:
    """A stack that can be used."""

    api_key: str = field(repr=False)


def prepare_stack(cloud: Cloud, say: Callable[[str], None]) -> PreparedStack:
    """Make the first API key, publish the shipped pipelines and put the two default triggers."""
    say("Making an API key")
    key = _first_key(cloud)
    say("Publishing the pipelines of the package `pipelines`")
    _publish(cloud, key)
    for name, trigger in _TRIGGERS.items():
        say(f"Putting the trigger {name}")
        answer = requests.put(
            f"{cloud.api_url}/triggers/{name}", json=trigger, headers={"X-API-Key": key}, timeout=_REQUEST_SECONDS
        )
        if not answer.ok:
            raise PreparationError(f"PUT /triggers/{name} was answered {answer.status_code}: {answer.text}")
    return PreparedStack(key)


def _first_key(cloud: Cloud) -> str:
    """Invoke the admin function, as an operator with IAM rights does on AWS."""
    request = {"action": "create_key", "name": "operator", "scopes": ["admin", "run", "read"]}
    answer = cloud.clients.get("lambda").invoke(
        FunctionName=cloud.outputs["AdminFunction"], Payload=json.dumps(request)
    )
    told = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise PreparationError(
            f"The first API key could not be made: {told.get('errorType')}: {told.get('errorMessage')}"
        )
    return str(told["key"])


def _publish(cloud: Cloud, key: str) -> None:
    """Publish with the command line client, on a copy of the tasks' image: what is published is what runs."""
    folder = cloud.log_folder.parent / "publish"
    folder.mkdir(parents=True, exist_ok=True)
    root = cloud.images.unpack(cloud.images.resolve("local"), folder)
    finished = subprocess.run(
        [sys.executable, "-m", "zentrigger_client.cli", "publish", "pipelines"],
        env={**os.environ, **root.environment, "ZENTRIGGER_API_URL": cloud.api_url, "ZENTRIGGER_API_KEY": key},
        cwd=root.working_directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PUBLISH_SECONDS,
        check=False,
    )
    if finished.returncode != 0:
        raise PreparationError(f"Publishing failed:\n{finished.stdout[-4000:]}")
