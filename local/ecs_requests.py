"""Requests to ECS: what is in them, and the errors that ECS answers if something is wrong with them."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, Final

from local.ecs_tasks import Container

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

MAX_CLIENT_TOKEN: Final = 64
MAX_OVERRIDES: Final = 8192
MAX_DESCRIBED: Final = 100
DEFAULT_STOP_TIMEOUT: Final = 30.0
MAX_STOP_TIMEOUT: Final = 120.0
FARGATE_PROVIDERS: Final = frozenset({"FARGATE", "FARGATE_SPOT"})

# Memory in MiB that Fargate offers for each number of CPU units (developer guide, "Task size").
FARGATE_SIZES: Final[dict[int, frozenset[int]]] = {
    256: frozenset({512, 1024, 2048}),
    512: frozenset(range(1024, 4096 + 1, 1024)),
    1024: frozenset(range(2048, 8192 + 1, 1024)),
    2048: frozenset(range(4096, 16384 + 1, 1024)),
    4096: frozenset(range(8192, 30720 + 1, 1024)),
    8192: frozenset(range(16384, 61440 + 1, 4096)),
    16384: frozenset(range(32768, 122880 + 1, 8192)),
}


class EcsError(Exception):
    """An error answer of ECS; `code` is its `__type`, further members go into the body as they are."""

    def __init__(self, code: str, message: str, **members: object) -> None:
        super().__init__(message)
        self.code = code
        self.body: dict[str, Any] = {"__type": code, "message": message, **members}


def invalid(message: str) -> EcsError:
    """Return the error for a parameter that ECS does not take."""
    return EcsError("InvalidParameterException", message)


def text(body: dict[str, Any], name: str, *, required: bool = False) -> str:
    """Return a string member, "" if it is absent."""
    value = body.get(name)
    if value is None or value == "":
        if required:
            raise invalid(f"{name} cannot be empty.")
        return ""
    if not isinstance(value, str):
        raise EcsError("SerializationException", f"{name} is not a string.")
    return value


def texts(body: dict[str, Any], name: str) -> list[str]:
    """Return a member that is a list of strings, empty if it is absent."""
    values = body.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise EcsError("SerializationException", f"{name} is not a list of strings.")
    return values


def client_token(body: dict[str, Any]) -> str:
    """Return the client token, "" if there is none (ECS_Idempotency: 64 characters, ASCII 33 to 126)."""
    token = text(body, "clientToken")
    if len(token) > MAX_CLIENT_TOKEN or any(not "!" <= character <= "~" for character in token):
        raise invalid(f"clientToken can have at most {MAX_CLIENT_TOKEN} ASCII characters in the range of 33-126.")
    return token


def parameters(body: dict[str, Any]) -> str:
    """Everything but the token, in one canonical form, so that two requests can be compared."""
    members = {name: value for name, value in body.items() if name != "clientToken" and value is not None}
    return json.dumps(members, sort_keys=True)


def overrides_of(body: dict[str, Any], definition: dict[str, Any]) -> dict[str, Any]:
    """Return the overrides. Their limit counts the characters of their JSON without white space."""
    overrides = body.get("overrides") or {}
    if not isinstance(overrides, dict):
        raise EcsError("SerializationException", "overrides is not a structure.")
    if len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) > MAX_OVERRIDES:
        raise invalid(f"Container Overrides length must be at most {MAX_OVERRIDES}")
    names = {container["name"] for container in definition["containerDefinitions"]}
    for override in overrides.get("containerOverrides") or []:
        if override.get("name") not in names:
            raise invalid(
                f"Override for container named {override.get('name')} is not a container in the TaskDefinition."
            )
    return copy.deepcopy(overrides)


def check_launch(body: dict[str, Any], definition: dict[str, Any], providers: Collection[str]) -> None:
    """Check where the task is to run. Here that is Fargate; a cluster without instances refuses the rest.

    `providers` are the cluster's capacity providers.
    """
    launch_type, strategy = text(body, "launchType"), body.get("capacityProviderStrategy") or []
    if launch_type and strategy:
        raise invalid(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."
        )
    _check_strategy(strategy, providers)
    if not strategy and launch_type != "FARGATE":  # without either, ECS takes EC2
        raise invalid("No Container Instances were found in your cluster.")
    compatibilities = definition.get("requiresCompatibilities")
    if compatibilities and "FARGATE" not in compatibilities:
        raise invalid("Task definition does not support launch_type FARGATE.")
    # Fargate knows no other network mode than awsvpc.
    configuration = (body.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if not configuration:
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if not [subnet for subnet in configuration.get("subnets") or [] if subnet]:
        raise invalid("subnets can not be empty.")
    if configuration.get("assignPublicIp", "DISABLED") not in {"ENABLED", "DISABLED"}:
        raise invalid("Invalid assignPublicIp: use ENABLED or DISABLED.")


def _check_strategy(strategy: list[dict[str, Any]], providers: Collection[str]) -> None:
    for item in strategy:
        if item.get("capacityProvider") not in FARGATE_PROVIDERS:
            raise invalid("The specified capacity provider was not found.")
        if item["capacityProvider"] not in providers:
            raise invalid(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated "
                "with the cluster. Associate the capacity provider with the cluster or specify a valid capacity "
                "provider and try again."
            )
    if len(strategy) > 1 and not any(item.get("weight", 0) for item in strategy):
        raise invalid("At least one capacity provider of a strategy must have a weight greater than zero.")


def capacity_provider_of(body: dict[str, Any]) -> str | None:
    """Return the provider of a strategy that gets the task: here always the one that would get the most."""
    strategy = body.get("capacityProviderStrategy")
    if not strategy:
        return None
    return str(max(strategy, key=lambda item: (item.get("base", 0), item.get("weight", 0)))["capacityProvider"])


def size_of(definition: dict[str, Any], overrides: dict[str, Any]) -> tuple[int, int]:
    """Return CPU units and MiB. Only an override is checked: the definition was, when it was registered."""
    try:
        cpu = int(overrides.get("cpu") or definition.get("cpu") or 1024)
        memory = int(overrides.get("memory") or definition.get("memory") or 2048)
    except ValueError:
        raise invalid("Invalid 'cpu' or 'memory' setting for task.") from None
    if (overrides.get("cpu") or overrides.get("memory")) and memory not in FARGATE_SIZES.get(cpu, ()):
        raise invalid(f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory.")
    return cpu, memory


def container_of(definition: dict[str, Any], overrides: dict[str, Any]) -> Container:
    """Return the essential container, the one whose end is the task's end."""
    containers = definition["containerDefinitions"]
    container = next((one for one in containers if one.get("essential", True)), containers[0])
    override: dict[str, Any] = {}
    for one in overrides.get("containerOverrides") or []:
        if one.get("name") == container["name"]:
            override |= one
    memory = override.get("memory") or container.get("memory")
    logs = container.get("logConfiguration") or {}
    return Container(
        name=container["name"],
        image=container["image"],
        entry_point=tuple(container.get("entryPoint") or ()),
        command=tuple(override.get("command") or container.get("command") or ()),
        environment=_pairs(container.get("environment"), "value") | _pairs(override.get("environment"), "value"),
        secrets=_pairs(container.get("secrets"), "valueFrom"),
        working_directory=container.get("workingDirectory"),
        memory=int(memory) if memory else None,
        stop_timeout=min(float(container.get("stopTimeout") or DEFAULT_STOP_TIMEOUT), MAX_STOP_TIMEOUT),
        log_options=dict(logs.get("options") or {}) if logs.get("logDriver") == "awslogs" else None,
    )


def _pairs(items: Iterable[dict[str, Any]] | None, value: str) -> dict[str, str]:
    return {item["name"]: str(item.get(value, "")) for item in items or ()}


def page(arns: list[str], body: dict[str, Any], member: str) -> dict[str, Any]:
    """Return one page of a list; the token is the place of the next one."""
    size = body.get("maxResults") or MAX_DESCRIBED
    token = text(body, "nextToken") or "0"
    if not isinstance(size, int) or not 1 <= size <= MAX_DESCRIBED:
        raise invalid(f"maxResults must be between 1 and {MAX_DESCRIBED}.")
    if not token.isdecimal():
        raise invalid("Invalid token.")
    start = int(token)
    answer: dict[str, Any] = {member: arns[start : start + size]}
    if start + size < len(arns):
        answer["nextToken"] = str(start + size)
    return answer
