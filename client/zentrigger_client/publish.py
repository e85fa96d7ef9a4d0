"""Publishing: compile the pipelines of some modules in a process of its own and post them to the API.

ZenML runs in that process alone, with a store of its own that is thrown away afterwards: neither the user's ZenML
configuration nor a ZenML server is touched, unless the user asks for them.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

from zentrigger_client.api import Client, Json, Unreachable, ZentriggerError

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class CompilationFailure:
    """A module, pipeline or configuration that cannot be published, and why."""

    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.message}"


@dataclass(frozen=True)
class Compilation:
    """What came of compiling: bodies for ``POST /snapshots``, and what failed."""

    snapshots: tuple[Json, ...]
    failures: tuple[CompilationFailure, ...]


def compile_modules(  # noqa: PLR0913 - all but the modules by name
    modules: Sequence[str],
    *,
    pipelines: Sequence[str] = (),
    samples: Mapping[str, Mapping[str, Any]] | None = None,
    config: Path | None = None,
    folder: Path | None = None,
    use_my_zenml: bool = False,
    stack: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Compilation:
    """Import the modules (of a package: all its modules) and compile the pipelines they define.

    What user code prints goes to stderr.

    Args:
        modules: Their names.
        pipelines: Names of those that are wanted; all without any.
        samples: Pipeline -> parameter without a default -> a value to find the steps with.
        config: A ZenML run configuration, as YAML, for the one pipeline that is wanted.
        folder: Comes first on the import path; the current directory unless given.
        use_my_zenml: Compile with the user's own ZenML configuration instead of one that is thrown away afterwards.
        stack: The stack that runs will use; with ``use_my_zenml`` it is also the one to compile on.
        timeout_seconds: For all of it.

    Raises:
        ZentriggerError: Nothing could be tried at all: no ZenML, a name that is no module's, a file that cannot be
            read, the process died or took too long.

    """
    for name in modules:
        if not _MODULE.fullmatch(name):
            hint = name.partition(":")[0].removesuffix(".py").strip("./").replace("/", ".")
            raise ZentriggerError(
                f"{name!r} is no module name", detail=f"name it as an import does, like {hint or 'pipelines'!r}"
            )
    request = {
        "modules": list(modules),
        "pipelines": list(pipelines),
        "samples": samples or {},
        "config": None if config is None else _text_of(config),
        "config_name": None if config is None else str(config),
        "use_my_zenml": use_my_zenml,
        "stack": stack,
    }
    return _compiled(request, f"compiling {', '.join(modules)}", folder, timeout_seconds, use_my_zenml=use_my_zenml)


def describe_stored(
    zenml_snapshot: str, pipeline: str, *, folder: Path | None = None, timeout_seconds: float = TIMEOUT_SECONDS
) -> Compilation:
    """Describe a snapshot of the ZenML store that the user's own ZenML configuration names.

    Args:
        zenml_snapshot: Its name or id.
        pipeline: Name of the pipeline that it is a snapshot of.
        folder: Where ZenML looks for a repository of its own; the current directory unless given.
        timeout_seconds: For all of it.

    Raises:
        ZentriggerError: ZenML is missing, the process died or took too long.

    """
    request = {"zenml_snapshot": zenml_snapshot, "pipelines": [pipeline]}
    return _compiled(request, f"reading the snapshot {zenml_snapshot}", folder, timeout_seconds, use_my_zenml=True)


def _compiled(
    request: Json, doing: str, folder: Path | None, timeout_seconds: float, *, use_my_zenml: bool
) -> Compilation:
    """Run `zentrigger_client.compilation` on a request and read its result."""
    if find_spec("zenml") is None:
        raise ZentriggerError(
            "publishing needs ZenML", detail="pip install 'zentrigger-client[publish]' where your pipelines run"
        )
    with tempfile.TemporaryDirectory(prefix="zentrigger-publish-", ignore_cleanup_errors=True) as scratch:
        result = Path(scratch) / "result.json"
        working_folder = folder or Path.cwd()
        try:
            process = subprocess.run(
                [sys.executable, "-m", "zentrigger_client.compilation"],
                input=json.dumps({**request, "result": str(result)}),
                text=True,
                stdout=sys.stderr.fileno() if _has_descriptor(sys.stderr) else None,
                cwd=working_folder,
                env=_environment(os.environ, Path(scratch), working_folder, use_my_zenml=use_my_zenml),
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ZentriggerError(
                f"{doing} took longer than {timeout_seconds:g} s",
                detail="does a module do its work when it is imported?",
            ) from error
        if not result.exists():
            raise ZentriggerError(f"{doing} ended early", detail=_ending(process.returncode))
        content = json.loads(result.read_text(encoding="utf-8"))
    return Compilation(
        tuple(content["snapshots"]),
        tuple(CompilationFailure(failure["subject"], failure["message"]) for failure in content["failures"]),
    )


def _text_of(config: Path) -> str:
    try:
        return config.read_text(encoding="utf-8")
    except OSError as error:
        raise ZentriggerError(f"{config} cannot be read", detail=error.strerror) from error
    except UnicodeDecodeError as error:
        raise ZentriggerError(f"{config} is no text in UTF-8") from error


@dataclass(frozen=True)
class Published:
    """What became of one snapshot: the API's answer, or why it refused."""

    snapshot: Json
    answer: Json | None = None
    error: ZentriggerError | None = None


def publish(client: Client, snapshots: Iterable[Json], *, keep_going: bool = False) -> Iterator[Published]:
    """Post the snapshots in their order, and tell what became of each; stop after a refusal unless told to go on."""
    for snapshot in snapshots:
        try:
            yield Published(snapshot, answer=client.publish(snapshot))
        except ZentriggerError as error:
            yield Published(snapshot, error=error)
            if not keep_going or isinstance(error, Unreachable):
                return


def _environment(outer: Mapping[str, str], scratch: Path, folder: Path, *, use_my_zenml: bool) -> dict[str, str]:
    """Return the environment of the compiling process."""
    # This package itself, also where it is not installed; at the end, so that it shadows nothing.
    package_home = str(Path(__file__).resolve().parent.parent)
    python_path = os.pathsep.join(filter(None, [outer.get("PYTHONPATH"), package_home]))
    quiet = {
        "PYTHONPATH": python_path,
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_DISABLE_INTERACTIVE_INPUT": "true",
        "ZENML_LOGGING_VERBOSITY": outer.get("ZENML_LOGGING_VERBOSITY", "ERROR"),
        "ZENML_LOGGING_COLORS_DISABLED": "true",
        "ZENML_CUSTOM_SOURCE_ROOT": str(folder.resolve()),
    }
    # The key to the API is nothing that user code needs.
    clean = {name: value for name, value in outer.items() if name != "ZENTRIGGER_API_KEY"}
    if use_my_zenml:
        return {**clean, **quiet}
    # A repository (.zen) above the folder would be read, and written to: one that does not exist is named instead.
    own = {
        "ZENML_CONFIG_PATH": str(scratch / "config"),
        "ZENML_LOCAL_STORES_PATH": str(scratch / "stores"),
        "ZENML_REPOSITORY_PATH": str(scratch),
    }
    return {**{name: value for name, value in clean.items() if not name.startswith("ZENML_")}, **quiet, **own}


def _ending(returncode: int) -> str:
    if returncode < 0:
        return f"the process was killed by {signal.Signals(-returncode).name}"
    return f"the process ended with exit status {returncode} before it was done; what it printed stands above"


def _has_descriptor(stream: TextIO | None) -> bool:
    """Whether the stream is a real file; test runners and notebooks put objects without one in its place."""
    try:
        descriptor = -1 if stream is None else stream.fileno()
    except (AttributeError, OSError, ValueError):
        return False
    return descriptor >= 0
