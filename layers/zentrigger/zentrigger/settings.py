"""What each function reads from its environment, once, typed; what is missing or wrong is named at the start."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


class SettingsError(Exception):
    """The environment lacks something, or holds something unusable; the text names the variables."""


def _listed(text: object) -> object:
    return tuple(part for part in text.split(",") if part) if isinstance(text, str) else text


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""Names, comma separated in the environment."""

Name = Annotated[str, Field(min_length=1)]


class Settings(BaseModel):
    """Base: a field `runs_table` is read from the variable RUNS_TABLE."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            SettingsError: variables are missing or unusable; the text names all of them, and no value.

        """
        values = {name: environment[name.upper()] for name in cls.model_fields if name.upper() in environment}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            wrong = ", ".join(f"{problem['loc'][0]!s}: {problem['msg']}".upper() for problem in error.errors())
            raise SettingsError(f"the environment of this function is not usable ({wrong})") from None


class LaunchSettings(Settings):
    """What launching a task needs."""

    cluster: Name
    subnets: Names
    security_groups: Names
    assign_public_ip: Name
    max_active_runs: int = Field(ge=1)


class TaskDefinitionSettings(Settings):
    """What finding or registering the task definition of a snapshot needs."""

    catalogue_table: Name
    task_definition: Name
    """ARN of the stack's own, which the snapshots' are made from."""
    snapshot_family: Name


class SubmitSettings(LaunchSettings, TaskDefinitionSettings):
    """What recording a run needs besides launching it."""

    runs_table: Name
    run_retention_days: int = Field(ge=1)


class TriggerSettings(SubmitSettings):
    """Environment of the function `trigger`."""

    keys_table: Name
    triggers_table: Name
    event_queue_url: Name
    max_waiting_runs: int = Field(ge=0)


class OnEventSettings(SubmitSettings):
    """Environment of the function `on_event`."""

    triggers_table: Name


class StatusSettings(Settings):
    """Environment of the function `status`."""

    runs_table: Name
    catalogue_table: Name
    keys_table: Name
    task_log_group: Name


class AdminSettings(TaskDefinitionSettings):
    """Environment of the function `admin`."""

    runs_table: Name
    keys_table: Name
    triggers_table: Name
    pipeline_secret_arns: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Secrets that tasks may read; an asterisk at the end of an ARN stands for anything."""
    artifact_bucket: Name
    schedule_group: Name
    schedule_role_arn: Name
    event_queue_arn: Name
    dead_letter_queue_arn: Name


class LifecycleSettings(LaunchSettings):
    """Environment of the function `lifecycle`."""

    runs_table: Name
