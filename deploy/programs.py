"""The programs that the steps call: git, docker or buildah, sam, the zentrigger command."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.errors import DeployError

# What a program printed itself is on the terminal already; this much of what was caught is cited.
_CITED_CHARACTERS = 500


def is_there(program: str) -> bool:
    """Tell whether the program is on PATH."""
    return shutil.which(program) is not None


def run(  # noqa: PLR0913 - what a process needs, by name
    command: Sequence[str],
    *,
    folder: Path,
    failure: str,
    standard_input: str | None = None,
    environment: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> str:
    """Run a program to its end and return what it wrote to its standard output, if `quiet`.

    Otherwise it writes to the terminal. `standard_input` is for what must not stand in a process list.
    Raises DeployError with `failure`, a sentence, when it cannot be started or ends otherwise than with 0.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and every word is ours or the user's own
            list(command),
            cwd=folder,
            input=standard_input,
            stdin=subprocess.DEVNULL if standard_input is None else None,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            check=False,
        )
    except OSError as error:
        raise DeployError(f"{failure} `{command[0]}` cannot be started: {error.strerror}.") from error
    if done.returncode != 0:
        said = (done.stderr or "").strip()[-_CITED_CHARACTERS:]
        ending = f"`{_name(command)}` ended with exit status {done.returncode}"
        raise DeployError(f"{failure} {ending}{': ' + said if said else '; what it said stands above'}")
    return done.stdout or ""


def _name(command: Sequence[str]) -> str:
    """Return the words of a command before its first option."""
    words = [os.path.basename(command[0]), *command[1:]]  # noqa: PTH119 - the name alone, not a path
    options = next((index for index, word in enumerate(words) if index and word.startswith("-")), len(words))
    return " ".join(words[:options])
