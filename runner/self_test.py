"""`python -m runner --self-test`: whether this image can run pipelines, without a run, AWS or any network.

Each check prints one line. It needs nothing of a task's environment; a ZenML server that is set there is left alone,
for the question is what the image itself can do.
"""

import importlib
import os
import pkgutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

_ADDRESSED = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_WRITTEN_TO = ("HOME", "ZENML_CONFIG_PATH", "ZENML_LOCAL_STORES_PATH")


class CheckError(Exception):
    """A check failed; the text says what to do."""


def self_test(checks: dict[str, Callable[[], str]] | None = None) -> bool:
    """Make all checks, also after one that failed; True: all is well.

    Afterwards this process has no network any more: its audit hook cannot be taken back.
    """
    for name in ("ZENML_STORE_URL", "ZENML_STORE_API_KEY", "ZENML_ACTIVE_STACK_ID"):
        os.environ.pop(name, None)
    sys.addaudithook(_refuse_network)
    failed = 0
    for name, check in (CHECKS if checks is None else checks).items():
        started = time.monotonic()
        try:
            verdict, text = "ok", check()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a module may raise anything while it is imported
            failed += 1
            verdict, text = (
                "FAILED",
                str(error) if isinstance(error, CheckError) else f"{type(error).__name__}: {error}",
            )
        _say(f"{verdict:<6}  {name:<9}  {text} ({time.monotonic() - started:.1f} s)")
    _say(f"self-test: {f'{failed} failed' if failed else 'all is well'}")
    return not failed


def check_folders() -> str:
    """Check that there is room to write where a run writes; the rest of the file system may be read-only."""
    folders = {Path(tempfile.gettempdir())}
    for name in _WRITTEN_TO:
        if not os.environ.get(name):
            raise CheckError(f"{name} is not set. The image's Dockerfile sets it.")
        folders.add(Path(os.environ[name]))
    for folder in sorted(folders):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise CheckError(
                f"user {os.getuid()} cannot write to {folder} ({error.strerror}). A task needs a volume there, or a "
                "root file system that is not read-only."
            ) from error
    return f"user {os.getuid()} may write to {', '.join(str(folder) for folder in sorted(folders))}"


def check_imports() -> str:
    """Import all of the runner that a run uses; what the pipelines need is imported with them."""
    for name in ("runner.__main__", "runner.child", "runner.execution"):
        importlib.import_module(name)
    zenml, boto3 = importlib.import_module("zenml"), importlib.import_module("boto3")
    return f"Python {sys.version.split()[0]}, zenml {zenml.__version__}, boto3 {boto3.__version__}"


def check_store() -> str:
    """Open ZenML's own store and load the active stack, as a run without a ZenML server does."""
    client_module: Any = importlib.import_module("zenml.client")
    path = Path(os.environ["ZENML_LOCAL_STORES_PATH"], "default_zen_store", "zenml.db")
    if not path.exists():
        raise CheckError(f"{path} is missing. `python -m runner.initialise` makes it when the image is built.")
    stack = client_module.Client().active_stack
    store = client_module.Client().zen_store.get_store_info()
    return f"SQLite at {path}, of ZenML {store.version}, stack {stack.name}"


def check_pipelines() -> str:
    """Import every module of the package `pipelines`, and count its pipelines."""
    found, broken = set(), []
    for name in _modules("pipelines"):
        try:
            found |= set(_pipelines(importlib.import_module(name)))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the same
            broken.append(f"{name}: {type(error).__name__}: {error}")
    if broken:
        raise CheckError(f"cannot be imported: {'; '.join(broken)}")
    if not found:
        raise CheckError("the package `pipelines` holds no pipeline. The image is built from the repository's root.")
    return ", ".join(sorted(found))


CHECKS = {"folders": check_folders, "imports": check_imports, "store": check_store, "pipelines": check_pipelines}


def _modules(package: str) -> Iterator[str]:
    yield package
    for folder in importlib.import_module(package).__path__:
        # A package that cannot be imported is named where it is imported, not here.
        yield from (
            module.name for module in pkgutil.walk_packages([folder], f"{package}.", onerror=lambda _name: None)
        )


def _pipelines(module: ModuleType) -> Iterator[str]:
    pipeline_class: type[Any] = importlib.import_module("zenml.pipelines.pipeline_definition").Pipeline
    for value in vars(module).values():
        if isinstance(value, pipeline_class):
            yield str(value.name)


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Raise where a name is looked up or an address other than a Unix socket's is spoken to (Python's audit events)."""
    if event == "socket.getaddrinfo":
        raise CheckError(f"nothing may look up a host here, but something asked for {arguments[0]!r}")
    if event in _ADDRESSED and not isinstance(arguments[1], str | bytes):
        raise CheckError(f"nothing may use the network here, but something called {event} for {arguments[1]!r}")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what this program is for
