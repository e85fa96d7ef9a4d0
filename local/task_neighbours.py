"""What the ECS model and its tasks need of the other services: clusters, secrets and logs."""

from __future__ import annotations

import json
import threading
import uuid
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from local.access import access_key_id
from local.ecs_tasks import SecretError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from local.clients import Clients
    from local.deploy import Stack


def capacity_providers(stack: Stack, cluster: str) -> Collection[str]:
    """Return the capacity providers that the template associates with a cluster of the stack."""
    providers: set[str] = set()
    for resource in stack.of_kind("AWS::ECS::Cluster"):
        if resource.physical_id.rpartition("/")[2] == cluster:
            providers.update(resource.get("CapacityProviders", ()))
    for association in stack.of_kind("AWS::ECS::ClusterCapacityProviderAssociations"):
        if str(association["Cluster"]).rpartition("/")[2] == cluster:
            providers.update(association["CapacityProviders"])
    return providers


class TaskNeighbours:
    """Asks moto, over the endpoint as anybody else."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._streams: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def cluster_exists(self, name: str) -> bool:
        """Return whether there is an active cluster of that name or ARN."""
        answer = self._clients.get("ecs").describe_clusters(clusters=[name])
        return any(cluster["status"] == "ACTIVE" for cluster in answer["clusters"])

    def secret(self, execution_role: str, value_from: str) -> str:
        """Return the value behind a container's `valueFrom`, as far as the execution role may read it.

        Rules: ECS Developer Guide, "Pass sensitive data to an Amazon ECS container": a Secrets Manager ARN may go on
        with `:json-key:version-stage:version-id`; anything else is the name or ARN of an SSM parameter. Raises
        SecretError in the words that ECS has for it, which never hold a part of the value.
        """
        access_key = access_key_id(execution_role)
        if ":secretsmanager:" in value_from:
            return self._secrets_manager(access_key, value_from)
        return self._parameter(access_key, value_from)

    def _parameter(self, access_key: str, value_from: str) -> str:
        name = value_from.partition(":parameter")[2] if value_from.startswith("arn:") else value_from
        try:
            found = self._clients.get("ssm", access_key).get_parameters(Names=[name], WithDecryption=True)
        except ClientError as error:
            raise _refused("secrets from ssm", "", error) from error
        if not found["Parameters"]:
            raise SecretError(f"unable to retrieve secrets from ssm: invalid parameters: {name}")
        return str(found["Parameters"][0]["Value"])

    def _secrets_manager(self, access_key: str, value_from: str) -> str:
        parts = value_from.split(":")
        key, stage, version = (*parts[7:], "", "", "")[:3]
        request = {"SecretId": ":".join(parts[:7])}
        if stage:
            request["VersionStage"] = stage
        if version:
            request["VersionId"] = version
        try:
            text = str(self._clients.get("secretsmanager", access_key).get_secret_value(**request)["SecretString"])
        except ClientError as error:
            told = f"failed to fetch secret {request['SecretId']} from secrets manager: "
            raise _refused("secret from asm", told, error) from error
        if not key:
            return text
        try:
            return str(json.loads(text)[key])
        except (ValueError, KeyError, TypeError):
            # Without the cause: its text would cite the secret.
            told = f"retrieved secret from Secrets Manager did not contain json key {key}"
            raise SecretError(f"unable to retrieve secret from asm: {told}") from None

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


def _refused(what: str, told: str, error: ClientError) -> SecretError:
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    return SecretError(
        f"unable to retrieve {what}: service call has been retried 1 time(s): {told}{code}: {message} "
        f"status code: {error.response['ResponseMetadata']['HTTPStatusCode']}, request id: {uuid.uuid4()}"
    )
