"""Where a source file stands in git."""

import os
import subprocess
from pathlib import Path
from typing import Any

_SECONDS = 20.0
_PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")


def git_state(file: Path) -> dict[str, Any] | None:
    """Return the commit of the repository that a file is in, and whether anything there differs from it.

    None without git, outside a repository, before the first commit, and for a file that the repository ignores (a
    package that lies in its virtual environment, say): then no commit tells what the file is.
    """
    folder = file.resolve().parent
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if commit is None or _git(folder, "check-ignore", "--quiet", file.name) is not None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=normal")
    return None if changes is None else {"commit": commit.strip(), "dirty": bool(changes.strip())}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, None if it says no or cannot be asked."""
    # A hook of git, in which publishing may run, names its own repository in the environment.
    environment = {name: value for name, value in os.environ.items() if name not in _PLACES}
    try:
        ended = subprocess.run(  # noqa: S603 - the arguments are those above
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git its user has
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None
