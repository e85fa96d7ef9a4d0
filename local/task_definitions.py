"""Task definitions: those of the stack, as the template has them, and those that are registered later, kept whole.

moto's CloudFormation keeps family, containers, volumes and memory of a definition only, and RegisterTaskDefinition of
moto's drops some of its members; so the four actions are answered here, and RunTask looks here as well.

Sources: the ECS API reference (RegisterTaskDefinition, DescribeTaskDefinition, DeregisterTaskDefinition,
ListTaskDefinitions) and the developer guide ("Task definition parameters for Fargate", "Service quotas").
"""

# ruff: noqa: ANN401 - values of templates, events and answers are of any shape

from __future__ import annotations

import copy
import json
import re
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from botocore.model import ListShape, MapShape, StructureShape
from botocore.session import Session

from local import errors
from local.ecs import utc_now
from local.ecs_bodies import wire
from local.ecs_requests import FARGATE_SIZES, EcsError, page, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from botocore.model import Shape

MAX_BYTES: Final = 64 * 1024
_FAMILY = re.compile(r"[A-Za-z0-9_-]{1,255}")
_CONTAINER_DEFAULTS: Final[Mapping[str, Any]] = {
    "cpu": 0,
    "portMappings": [],
    "essential": True,
    "environment": [],
    "mountPoints": [],
    "volumesFrom": [],
    "systemControls": [],
}
"""What ECS shows of a container that does not say it."""


def as_it_is(image: str) -> str:
    """Show an image by the name that the definition has."""
    return image


class TaskDefinitions:
    """The four actions, by ECS's own rules; thread-safe.

    `shown_image` turns a container's image into what DescribeTaskDefinition shows; what is launched stays as it was
    registered. It may raise EcsError.
    """

    ACTIONS: ClassVar[frozenset[str]] = frozenset({
        "DeregisterTaskDefinition", "DescribeTaskDefinition", "ListTaskDefinitions", "RegisterTaskDefinition",
    })  # fmt: skip

    def __init__(
        self,
        *,
        region: str,
        account_id: str,
        shown_image: Callable[[str], str] = as_it_is,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._prefix = f"arn:aws:ecs:{region}:{account_id}:task-definition/"
        self._account_id = account_id
        self._shown_image = shown_image
        self._clock = clock
        self._lock = threading.Lock()
        self._definitions: dict[str, dict[str, Any]] = {}  # by ARN, oldest first
        self._tags: dict[str, list[dict[str, str]]] = {}

    def adopt(self, logical_id: str, arn: str, properties: Mapping[str, Any]) -> None:
        """Keep a definition that CloudFormation has made, under the ARN that it has; raises TemplateError."""
        body = _from_template(logical_id, properties)
        body["family"], _, revision = arn.rpartition("/")[2].partition(":")
        try:
            _check(body)
        except EcsError as error:
            raise errors.invalid(logical_id, f"ECS refuses it: {error}") from error
        with self._lock:
            self._add(body, int(revision))

    def find(self, reference: str) -> dict[str, Any]:
        """Return a definition by family (its latest active revision), family:revision or ARN; raises KeyError."""
        with self._lock:
            return copy.deepcopy(self._find(reference))

    def handle(self, action: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one call: the HTTP status and the JSON 1.1 body. Errors have `__type` and `message`."""
        actions = {
            "DeregisterTaskDefinition": self._deregister,
            "DescribeTaskDefinition": self._describe,
            "ListTaskDefinitions": self._list,
            "RegisterTaskDefinition": self._register,
        }
        try:
            return 200, actions[action](body)
        except EcsError as error:
            return 400, error.body

    def _register(self, body: dict[str, Any]) -> dict[str, Any]:
        _check(body)
        with self._lock:
            latest = max((one["revision"] for one in self._family(body["family"])), default=0)
            arn = self._add(body, latest + 1)
            return self._answer(arn, with_tags=True)

    def _describe(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            arn = self._found(body)["taskDefinitionArn"]
            return self._answer(arn, with_tags="TAGS" in texts(body, "include"))

    def _deregister(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            found = self._found(body)
            found.update(status="INACTIVE", deregisteredAt=self._clock())
            return self._answer(found["taskDefinitionArn"], with_tags=False)

    def _list(self, body: dict[str, Any]) -> dict[str, Any]:
        family, status = text(body, "familyPrefix"), text(body, "status") or "ACTIVE"
        with self._lock:
            found = self._family(family) if family else self._definitions.values()
            arns = [str(one["taskDefinitionArn"]) for one in found if one["status"] == status]
        if text(body, "sort") == "DESC":
            arns.reverse()
        return page(arns, body, "taskDefinitionArns")

    # ------------------------------------------------------------ what is kept; the lock is held

    def _add(self, body: dict[str, Any], revision: int) -> str:
        arn = f"{self._prefix}{body['family']}:{revision}"
        known = _request_shape().members
        kept = copy.deepcopy({name: value for name, value in body.items() if name in known and value is not None})
        self._tags[arn] = kept.pop("tags", [])
        kept["containerDefinitions"] = [{**_CONTAINER_DEFAULTS, **one} for one in kept["containerDefinitions"]]
        kept["volumes"] = [{"host": {}, **one} if len(one) == 1 else one for one in kept.get("volumes", [])]
        self._definitions[arn] = {
            "placementConstraints": [],
            **kept,
            "taskDefinitionArn": arn,
            "revision": revision,
            "status": "ACTIVE",
            "requiresAttributes": [{"name": "ecs.capability.task-eni"}],
            "compatibilities": ["EC2", "FARGATE"],
            "registeredAt": self._clock(),
            "registeredBy": f"arn:aws:iam::{self._account_id}:root",
        }
        return arn

    def _family(self, family: str) -> list[dict[str, Any]]:
        return [one for one in self._definitions.values() if one["family"] == family]

    def _find(self, reference: str) -> dict[str, Any]:
        if reference.startswith("arn:"):
            return self._definitions[reference]
        if ":" in reference:
            return self._definitions[f"{self._prefix}{reference}"]
        active = [one for one in self._family(reference) if one["status"] == "ACTIVE"]
        if not active:
            raise KeyError(reference)
        return active[-1]

    def _found(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._find(text(body, "taskDefinition", required=True))
        except KeyError:
            raise EcsError("ClientException", "Unable to describe task definition.") from None

    def _answer(self, arn: str, *, with_tags: bool) -> dict[str, Any]:
        shown: dict[str, Any] = wire(self._definitions[arn])
        for container in shown["containerDefinitions"]:
            container["image"] = self._shown_image(container["image"])
        return {"taskDefinition": shown, **({"tags": self._tags[arn]} if with_tags else {})}


def _check(body: Mapping[str, Any]) -> None:
    """Raise EcsError for what ECS refuses in a definition for Fargate; those for other launch types are not checked."""
    for problem in _problems(body):
        raise EcsError("ClientException", problem)


def _problems(body: Mapping[str, Any]) -> Iterator[str]:
    if not _FAMILY.fullmatch(str(body.get("family") or "")):
        yield "Family should be 1 to 255 letters, numbers, hyphens and underscores."
    containers = body.get("containerDefinitions") or []
    if not containers:
        yield "Container list cannot be empty."
    for container in containers:
        for member in ("name", "image"):
            if not container.get(member):
                yield f"Container.{member} should not be null or empty."
        yield from _secret_problems(container, body.get("executionRoleArn"))
    if "FARGATE" in (body.get("requiresCompatibilities") or []):
        yield from _fargate_problems(body, containers)
    size = len(json.dumps(body, separators=(",", ":"), default=str).encode())
    if size > MAX_BYTES:
        yield f"Actual length: '{size}'. Max allowed length is '{MAX_BYTES}' bytes."


def _secret_problems(container: Mapping[str, Any], execution_role: object) -> Iterator[str]:
    secrets = [str(secret["name"]) for secret in container.get("secrets") or []]
    if secrets and not execution_role:
        yield "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."
    taken = {str(variable["name"]) for variable in container.get("environment") or []}
    for number, name in enumerate(secrets):
        if name in taken or name in secrets[:number]:
            yield (
                "The secret name must be unique and not shared with any new or existing environment variables set on "
                f"the container, such as '{name}'."
            )


def _fargate_problems(body: Mapping[str, Any], containers: list[dict[str, Any]]) -> Iterator[str]:
    if body.get("networkMode") != "awsvpc":
        yield "Fargate only supports network mode 'awsvpc'."
    for member in ("cpu", "memory"):
        if not body.get(member):
            yield f"Fargate requires that '{member}' be defined at the task level."
    cpu, memory = str(body["cpu"]), str(body["memory"])
    if not (cpu.isdecimal() and memory.isdecimal() and int(memory) in FARGATE_SIZES.get(int(cpu), ())):
        yield f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory."
    for container in containers:
        driver = (container.get("logConfiguration") or {}).get("logDriver")
        if driver == "awslogs" and not body.get("executionRoleArn"):
            yield "Fargate requires task definition to have execution role ARN to support log driver awslogs."


# ------------------------------------------------------------ from the template


@cache
def _request_shape() -> StructureShape:
    """Return botocore's description of RegisterTaskDefinition's request."""
    shape = Session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    if shape is None:
        raise RuntimeError("botocore knows no RegisterTaskDefinition.")
    return shape


def _from_template(logical_id: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Write CloudFormation's properties as the API has them: names by the API's case, numbers and flags as such."""
    converted: dict[str, Any] = _converted(dict(properties), _request_shape(), logical_id, "")
    return converted


def _converted(value: Any, shape: Shape, logical_id: str, where: str) -> Any:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        members = {name.lower(): name for name in shape.members}
        converted = {}
        for key, item in value.items():
            name = members.get(key.lower())
            if name is None:
                raise errors.invalid(logical_id, f"ECS knows no {where}{key} of a task definition.")
            converted[name] = _converted(item, shape.members[name], logical_id, f"{where}{key}.")
        return converted
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_converted(item, shape.member, logical_id, where) for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: str(item) for key, item in value.items()}
    return _scalar(value, shape, logical_id, where.rstrip("."))


def _scalar(value: Any, shape: Shape, logical_id: str, where: str) -> Any:
    written = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, dict | list):
        written = ""
    elif shape.type_name == "boolean" and written.lower() in {"true", "false"}:
        return written.lower() == "true"
    elif shape.type_name in {"integer", "long"} and re.fullmatch(r"-?\d+", written):
        return int(written)
    elif shape.type_name == "string":
        return written
    raise errors.invalid(logical_id, f"{where} of a task definition must be of type {shape.type_name}.")
