"""What the task's environment tells the runner."""

from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(Exception):
    """The environment lacks something, or has something that makes no sense; the text names the variable."""


@dataclass(frozen=True)
class Settings:
    """The run to execute and where its record is; from the environment of the task."""

    run_id: str
    attempt: int
    runs_table: str
    metadata_uri: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            SettingsError: naming every variable that is missing.

        """
        names = ("RUN_ID", "ATTEMPT", "RUNS_TABLE", "ECS_CONTAINER_METADATA_URI_V4")
        missing = [name for name in names if not environment.get(name)]
        if missing:
            raise SettingsError(
                f"Not set: {', '.join(missing)}. RUN_ID and ATTEMPT come with RunTask's overrides, RUNS_TABLE from the "
                "task definition, ECS_CONTAINER_METADATA_URI_V4 from ECS: this program is started by Zentrigger only."
            )
        run_id, attempt, runs_table, metadata_uri = (environment[name] for name in names)
        if not attempt.isdecimal():
            raise SettingsError("ATTEMPT is no whole number.")
        return cls(run_id=run_id, attempt=int(attempt), runs_table=runs_table, metadata_uri=metadata_uri)
