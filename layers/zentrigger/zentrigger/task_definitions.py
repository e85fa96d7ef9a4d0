"""Task definitions: the stack's own, called the base, and revisions of it with a snapshot's image and secrets in them.

A revision is registered when a snapshot is published, or at the first use after a stack update changed the base, and
never for a single run (AWS: ECS throttles RegisterTaskDefinition). The catalogue table says which it was, in the
collection `task_definitions`, under two keys: the hash of what was asked together with the base's ARN, which is found
without asking ECS; and the hash of the definition itself, so that a base that is registered anew and says the same
makes no further revisions. Two callers at the same moment may both register: there is one revision too many then, which
says the same, and the last to be written down is used from then on.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from zentrigger.catalogue import DeployedImage
from zentrigger.errors import InvalidRequestError, Problem, UnavailableError
from zentrigger.items import from_item, to_item
from zentrigger.launches import CONTAINER
from zentrigger.observability import logger
from zentrigger.run_requests import canonical
from zentrigger.timestamps import now

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ecs import ECSClient

COPIED = (
    "containerDefinitions",
    "cpu",
    "enableFaultInjection",
    "ephemeralStorage",
    "executionRoleArn",
    "inferenceAccelerators",
    "ipcMode",
    "memory",
    "networkMode",
    "pidMode",
    "placementConstraints",
    "proxyConfiguration",
    "requiresCompatibilities",
    "runtimePlatform",
    "taskRoleArn",
    "trustedExecutionConfiguration",
    "volumes",
)
"""What RegisterTaskDefinition takes of what DescribeTaskDefinition gives. Tags are the stack's own and not copied."""

REGISTER_TRIES = 5
"""How often a family that others register in at the same moment is tried; the waits add up to some 2 s."""

REMEMBERED = timedelta(minutes=10)
"""How long a process believes what it found. AWS: so long a definition that was deregistered may still be launched."""

_CONTENDED = "too many concurrent attempts"


class TaskDefinitions:
    """The revisions that runs are launched with. What was found is remembered for a while."""

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        *,
        base: str,
        family: str,
        table: str,
        ecs: "ECSClient",
        dynamodb: "DynamoDBClient",
        clock: Callable[[], datetime] = now,
    ) -> None:
        self.family = family
        """Where revisions are registered."""
        self._base = base
        self._table = table
        self._ecs = ecs
        self._dynamodb = dynamodb
        self._clock = clock
        self._found: dict[str, tuple[str, datetime]] = {}

    def base(self) -> DeployedImage:
        """Give the image that the stack was deployed with, and the architecture that its tasks have.

        Raises:
            UnavailableError: ECS did not say.

        """
        base = self._describe()
        # AWS (Fargate): a definition that does not say it is for X86_64.
        return DeployedImage(
            _container(base)["image"], base.get("runtimePlatform", {}).get("cpuArchitecture", "X86_64")
        )

    def revision(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> str:
        """Give the ARN of the revision with this image, architecture and secrets; register it if there is none.

        Args:
            image: The image of the runner's container.
            architecture: `ARM64` or `X86_64`; None for the base's.
            secrets: Variable -> reference to the secret, beside those of the base.

        Raises:
            InvalidRequestError: the base has one of the variables itself, or ECS refuses the definition for good.
            UnavailableError: ECS did not answer, or not yet. Nothing has been recorded.

        """
        key = self._key(image, architecture, secrets)
        arn = self._remembered(key)
        if arn is None:
            arn = self._stored(key) or self._made(key, image, architecture, secrets)
            self._found[key] = (arn, self._clock())
        return arn

    def usable_revision(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> str:
        """Give what `revision` gives, made anew if ECS says that it was deregistered or deleted: for publishing.

        Other processes follow when they have forgotten what they knew.

        Raises:
            InvalidRequestError, UnavailableError: as for `revision`.

        """
        key = self._key(image, architecture, secrets)
        arn = self._stored(key)
        if arn is None or not self._is_active(arn):
            arn = self._made(key, image, architecture, secrets, usable=self._is_active)
        self._found[key] = (arn, self._clock())
        return arn

    def known_revision(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> str | None:
        """Give the ARN that `revision` would give, or None if it would have to be registered. Nothing is written.

        Raises:
            InvalidRequestError: the base has one of the variables itself.
            UnavailableError: ECS did not answer.

        """
        key = self._key(image, architecture, secrets)
        known = self._remembered(key) or self._stored(key)
        return known or self._stored(_hash(self._definition(image, architecture, secrets)))

    def _remembered(self, key: str) -> str | None:
        arn, at = self._found.get(key, (None, self._clock()))
        return arn if self._clock() - at < REMEMBERED else None

    def _made(
        self,
        key: str,
        image: str,
        architecture: str | None,
        secrets: Mapping[str, str],
        *,
        usable: Callable[[str], bool] = lambda _: True,
    ) -> str:
        """Find a definition by what it says, if the one that is found is usable, or register it; keep which it is."""
        definition = self._definition(image, architecture, secrets)
        own_key = _hash(definition)
        for turn in range(REGISTER_TRIES):
            arn = self._stored(own_key)
            if arn is None or not usable(arn):
                arn = self._registered(definition)
            if arn is not None:
                self._store(own_key, arn, image)
                self._store(key, arn, image)
                return arn
            # Others register just now, perhaps this very definition: then it is in the table at the next look.
            time.sleep(random.uniform(0.5, 1) * min(0.1 * 2**turn, 1))  # noqa: S311 - jitter, not a secret
        raise UnavailableError("ECS is busy registering other task definitions. Nothing was written; try again.")

    def _definition(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> dict[str, Any]:
        return {"family": self.family, **_definition(self._describe(), image, architecture, secrets)}

    # ------------------------------------------------------------ ECS

    def _describe(self) -> dict[str, Any]:
        with _clear_errors("describe the stack's task definition"):
            return dict(self._ecs.describe_task_definition(taskDefinition=self._base)["taskDefinition"])

    def _is_active(self, arn: str) -> bool:
        """Tell whether tasks can be launched with a revision."""
        with _clear_errors("describe a task definition"):
            try:
                found = self._ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
            except ClientError as error:
                if error.response["Error"].get("Code") == "ClientException":
                    return False  # there is none of this ARN, or not any more
                raise
        return found["status"] == "ACTIVE"

    def _registered(self, definition: dict[str, Any]) -> str | None:
        """Register a definition; None if others were registering in the family at the same moment."""
        with _clear_errors("register a task definition"):
            try:
                arn = self._ecs.register_task_definition(**definition)["taskDefinition"]["taskDefinitionArn"]
            except ClientError as error:
                message = error.response["Error"].get("Message", "")
                if _CONTENDED in message.lower():
                    return None
                if error.response["Error"].get("Code") in ("ClientException", "InvalidParameterException"):
                    raise InvalidRequestError(
                        [Problem("", f"ECS does not take a task definition with this image and secrets: {message}")]
                    ) from error
                raise
        logger.info("a task definition was registered", task_definition=arn)
        return arn

    # ------------------------------------------------------------ the table

    def _key(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> str:
        return _hash([self.family, self._base, image, architecture, dict(secrets)])

    def _stored(self, key: str) -> str | None:
        answer = self._dynamodb.get_item(TableName=self._table, Key=_item_key(key), ConsistentRead=True)
        return str(from_item(answer["Item"])["arn"]) if "Item" in answer else None

    def _store(self, key: str, arn: str, image: str) -> None:
        """Keep what was found; the image stands beside it for people who look."""
        self._dynamodb.put_item(TableName=self._table, Item={**_item_key(key), **to_item({"arn": arn, "image": image})})


def _definition(
    base: Mapping[str, Any], image: str, architecture: str | None, secrets: Mapping[str, str]
) -> dict[str, Any]:
    """Give the base with image, architecture and secrets set, as RegisterTaskDefinition takes it.

    Environment and secrets are ordered by name: ECS does not promise to give them back as they were sent.
    """
    runner = _container(base)
    environment, own_secrets = runner.get("environment", []), runner.get("secrets", [])
    taken = sorted({variable["name"] for variable in (*environment, *own_secrets)} & set(secrets))
    if taken:
        raise InvalidRequestError(
            [
                Problem(
                    f"/secrets/{name}",
                    f"The stack's task definition sets {name} itself. Name the variable differently.",
                )
                for name in taken
            ]
        )
    added = [{"name": name, "valueFrom": reference} for name, reference in secrets.items()]
    container = {
        **runner,
        "image": image,
        "environment": sorted(environment, key=_name),
        "secrets": sorted((*own_secrets, *added), key=_name),
    }
    definition = {name: base[name] for name in COPIED if name in base} | {
        "containerDefinitions": [
            container if other["name"] == CONTAINER else other for other in base["containerDefinitions"]
        ]
    }
    if architecture is not None:
        platform = {"operatingSystemFamily": "LINUX", **base.get("runtimePlatform", {})}
        definition["runtimePlatform"] = {**platform, "cpuArchitecture": architecture}
    return definition


def _container(definition: Mapping[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = next(
        container for container in definition["containerDefinitions"] if container["name"] == CONTAINER
    )
    return container


def _name(variable: Mapping[str, str]) -> str:
    return variable["name"]


def _hash(values: object) -> str:
    return hashlib.sha256(canonical(values).encode()).hexdigest()


def _item_key(key: str) -> dict[str, Any]:
    return to_item({"collection": "task_definitions", "item": key})


@contextmanager
def _clear_errors(doing: str) -> Iterator[None]:
    """Say of an error of ECS what it kept us from, and what to do about it."""
    try:
        yield
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        logger.warning("ECS refused a call", doing=doing, code=code)
        advice = (
            "Allow it (and iam:PassRole for the roles of tasks) to the role of this function."
            if code == "AccessDeniedException"
            else "Try again."
        )
        raise UnavailableError(f"ECS did not {doing}: {code}. Nothing was written. {advice}") from error
    except BotoCoreError as error:
        logger.warning("ECS did not answer", doing=doing, error=type(error).__name__)
        raise UnavailableError(f"ECS could not be reached to {doing}. Nothing was written; try again.") from error
