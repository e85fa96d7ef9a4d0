"""Publishing: the `zentrigger` command on the pipelines of this tree."""

import sys
from collections.abc import Sequence
from pathlib import Path

from deploy import programs


def publish(api_url: str, key: str, *, modules: Sequence[str], root: Path) -> None:
    """Publish the modules; what has not changed since is not published again. The key goes by the environment only."""
    programs.run(
        [sys.executable, "-m", "zentrigger_client.cli", "publish", *modules],
        folder=root,
        failure="The pipelines were not published.",
        environment={"ZENTRIGGER_API_URL": api_url, "ZENTRIGGER_API_KEY": key},
    )
