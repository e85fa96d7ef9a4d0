"""Where a stage is deployed to: read from samconfig.toml, the one file in which the user configures it."""

import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import DeployError

STAGES = ("dev", "prod")
_PARAMETER = re.compile(r"([A-Za-z0-9]+)=(.*)", re.DOTALL)
# CpuArchitecture of a task definition, as docker and buildah call it.
_ARCHITECTURES = {"ARM64": "arm64", "X86_64": "amd64"}


@dataclass(frozen=True)
class Target:
    """The stack of one stage."""

    stage: str
    stack_name: str
    parameters: Mapping[str, str]
    region: str | None = None
    profile: str | None = None

    @property
    def architecture(self) -> str:
        """Return what the image is built for, as docker names it: arm64 or amd64."""
        return _ARCHITECTURES[self.parameters.get("TaskArchitecture", "ARM64")]

    @property
    def key_secret(self) -> str:
        """Return the name of the secret that holds the stack's first API key."""
        return f"{self.stack_name}/operator-key"


def read_target(samconfig: Path, stage: str) -> Target:
    """Read ``[<stage>.deploy.parameters]``, and what ``[<stage>.global.parameters]`` says for all commands.

    Raises DeployError, which names the setting, for a file that is not there or that says what cannot be.
    """
    try:
        content = tomllib.loads(samconfig.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DeployError(f"There is no {samconfig.name}: it names the stack of each stage.") from error
    except tomllib.TOMLDecodeError as error:
        raise DeployError(f"{samconfig.name} is no TOML: {error}") from error
    sections = content.get(stage, {})
    settings: dict[str, Any] = {}
    for command in ("global", "deploy"):
        settings |= sections.get(command, {}).get("parameters", {})
    if not settings.get("stack_name"):
        raise DeployError(f"{samconfig.name} names no stack: add stack_name to [{stage}.deploy.parameters].")
    parameters = parse_overrides(settings.get("parameter_overrides", ""))
    if parameters.get("Stage", stage) != stage:
        raise DeployError(f"{samconfig.name} has Stage={parameters['Stage']} in [{stage}.deploy.parameters].")
    if parameters.get("TaskArchitecture", "ARM64") not in _ARCHITECTURES:
        raise DeployError(f"TaskArchitecture is one of {', '.join(_ARCHITECTURES)}.")
    return Target(
        stage=stage,
        stack_name=str(settings["stack_name"]),
        parameters={**parameters, "Stage": stage},
        region=settings.get("region"),
        profile=settings.get("profile"),
    )


def parse_overrides(content: object) -> dict[str, str]:
    """Read parameter_overrides in the forms that SAM writes and takes: a string, a list of strings, a table.

    Raises DeployError for SAM's other forms (``ParameterKey=…,ParameterValue=…`` and ``file://``).
    """
    if isinstance(content, Mapping):
        return {str(name): str(value) for name, value in content.items()}
    texts = [content] if isinstance(content, str) else content
    if not isinstance(texts, list):
        raise DeployError("parameter_overrides in samconfig.toml has to be text, a list or a table.")
    parameters: dict[str, str] = {}
    for text in texts:
        try:
            words = shlex.split(str(text))
        except ValueError as error:
            raise DeployError(f"parameter_overrides in samconfig.toml cannot be read: {error}.") from error
        for word in words:
            match = _PARAMETER.fullmatch(word)
            if match is None or match[1] == "ParameterKey":
                raise DeployError(f"parameter_overrides in samconfig.toml: {word!r} does not look like Name=value.")
            parameters[match[1]] = match[2]
    return parameters


def format_overrides(parameters: Mapping[str, str]) -> list[str]:
    """Write parameters as arguments of ``sam deploy --parameter-overrides``.

    All are quoted: SAM's own parser splits at spaces within an argument, and takes no empty value without quotes.
    """
    return [f'{name}="{value.replace(chr(34), chr(92) + chr(34))}"' for name, value in parameters.items()]
