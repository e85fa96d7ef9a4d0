"""What the ECS model and its tasks need of the other services: definitions, clusters, secrets and logs."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.clients import Clients


class TaskNeighbours:
    """Asks moto, over the endpoint as anybody else."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self.roles: Mapping[str, Mapping[str, str]] = {}
        """Roles of task definitions by ARN: moto's CloudFormation leaves them out."""
        self._streams: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def task_definition(self, reference: str) -> dict[str, Any]:
        """Return a task definition by family, family:revision or ARN; raises KeyError."""
        try:
            answer = self._clients.get("ecs").describe_task_definition(taskDefinition=reference)
        except ClientError as error:
            raise KeyError(reference) from error
        definition: dict[str, Any] = answer["taskDefinition"]
        return {**definition, **self.roles.get(str(definition["taskDefinitionArn"]), {})}

    def cluster_exists(self, name: str) -> bool:
        """Return whether there is an active cluster of that name or ARN."""
        answer = self._clients.get("ecs").describe_clusters(clusters=[name])
        return any(cluster["status"] == "ACTIVE" for cluster in answer["clusters"])

    def secret(self, value_from: str) -> str:
        """Return the value behind a container's `valueFrom`; raises KeyError.

        Rules: ECS Developer Guide, "Pass sensitive data to an Amazon ECS container": a Secrets Manager ARN may go on
        with `:json-key:version-stage:version-id`; anything else is the name or ARN of an SSM parameter.
        """
        try:
            if ":secretsmanager:" in value_from:
                return self._secrets_manager(value_from)
            name = value_from.partition(":parameter")[2] if value_from.startswith("arn:") else value_from
            found = self._clients.get("ssm").get_parameter(Name=name, WithDecryption=True)
            return str(found["Parameter"]["Value"])
        except ClientError as error:
            raise KeyError(f"{value_from}: {error.response['Error']['Code']}") from error

    def _secrets_manager(self, value_from: str) -> str:
        parts = value_from.split(":")
        key, stage, version = (*parts[7:], "", "", "")[:3]
        request = {"SecretId": ":".join(parts[:7])}
        if stage:
            request["VersionStage"] = stage
        if version:
            request["VersionId"] = version
        text = str(self._clients.get("secretsmanager").get_secret_value(**request)["SecretString"])
        return str(json.loads(text)[key]) if key else text

    def write_log(self, group: str, stream: str, lines: Sequence[tuple[int, str]]) -> None:
        """Append lines (epoch milliseconds, text) to a log stream, which is made if need be."""
        logs = self._clients.get("logs")
        with self._lock:
            known = (group, stream) in self._streams
        if not known:
            try:
                logs.create_log_stream(logGroupName=group, logStreamName=stream)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                    raise
            with self._lock:
                self._streams.add((group, stream))
        if lines:
            logs.put_log_events(
                logGroupName=group,
                logStreamName=stream,
                logEvents=[{"timestamp": moment, "message": text or " "} for moment, text in lines],
            )
