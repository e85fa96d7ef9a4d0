"""Layers, built by their own Makefiles for this machine, and the Lambda runtime's own packages."""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import importlib.metadata
import logging
import os
import platform
import py_compile
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from local.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local.sam import CodeSource

logger = logging.getLogger(__name__)

_SKIPPED = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
_RUNTIME_PACKAGES = ("awslambdaric", "simplejson", "snapshot-restore-py")
_BUILD_TIMEOUT_SECONDS = 900
_PLATFORMS = {
    ("Linux", "x86_64"): "x86_64-manylinux_2_28",
    ("Linux", "aarch64"): "aarch64-manylinux_2_28",
    ("Darwin", "arm64"): "aarch64-apple-darwin",
    ("Darwin", "x86_64"): "x86_64-apple-darwin",
}


class CodeStore:
    """Builds layers and functions into a folder, once for each content."""

    def __init__(self, folder: Path, *, lock_file: Path) -> None:
        self._folder = folder
        self._lock_file = lock_file

    def resolve(self, source: CodeSource) -> Path:
        """Return the folder to put in place of /opt or /var/task; builds it where the template asks for a build."""
        method = source.metadata.get("BuildMethod")
        if source.metadata.get("SkipBuild") is True or method is None:
            if (source.folder / "requirements.txt").exists():
                raise invalid(
                    source.logical_id, "it has a requirements.txt; the embedded AWS builds with Makefiles only."
                )
            return source.folder
        if method != "makefile":
            raise invalid(source.logical_id, f"the embedded AWS cannot build with the method {method!r}.")
        return self._made(source)

    def runtime(self) -> Path:
        """Return a folder with awslambdaric and what it needs, and nothing else: a copy of what is installed here."""
        versions = {name: importlib.metadata.version(name) for name in _RUNTIME_PACKAGES}
        digest = hashlib.sha256(repr((sorted(versions.items()), sys.version)).encode()).hexdigest()[:16]
        with self._building("runtime", digest) as (target, scratch):
            if scratch is not None:
                for name in _RUNTIME_PACKAGES:
                    _copy_distribution(name, scratch)
                _compile(scratch)
        return target

    def _made(self, source: CodeSource) -> Path:
        host = _PLATFORMS.get((platform.system(), platform.machine()))
        if host is None:
            raise invalid(source.logical_id, f"no layer can be built for {platform.system()} {platform.machine()}.")
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        settings = {"PLATFORM": host, "PYTHON_VERSION": version}
        digest = _digest(source.folder, self._lock_file, settings)
        with self._building("layers", f"{source.logical_id}-{digest}") as (target, scratch):
            if scratch is not None:
                logger.info("Building %s", source.logical_id)
                _make(source, scratch, settings)
                _compile(scratch)
        return target

    @contextmanager
    def _building(self, kind: str, name: str) -> Iterator[tuple[Path, Path | None]]:
        """Yield (target, scratch folder); the scratch folder becomes the target at the end, None if it exists."""
        parent = self._folder / kind
        parent.mkdir(parents=True, exist_ok=True)
        target = parent / name
        with (parent / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two instances may start at once
            if target.is_dir():
                yield target, None
                return
            scratch = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
            try:
                yield target, scratch
                scratch.chmod(0o755)
                scratch.rename(target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


def _make(source: CodeSource, scratch: Path, settings: Mapping[str, str]) -> None:
    search_path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    make = shutil.which("make", path=search_path)
    if make is None:
        raise invalid(source.logical_id, "make is not installed, and its layer is built by a Makefile.")
    command = [
        make,
        "--no-print-directory",
        "-C",
        str(source.folder),
        f"build-{source.logical_id}",
        f"ARTIFACTS_DIR={scratch}",
        *(f"{name}={value}" for name, value in settings.items()),
    ]
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }
    finished = subprocess.run(  # noqa: S603 - the template's own Makefile, as `sam build` runs it
        command,
        env={**environment, "PATH": search_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_BUILD_TIMEOUT_SECONDS,
        check=False,
    )
    if finished.returncode != 0:
        raise invalid(source.logical_id, f"make build-{source.logical_id} failed:\n{finished.stdout[-4000:]}")


def _digest(folder: Path, lock_file: Path, settings: Mapping[str, str]) -> str:
    """Hash everything that a build reads: the layer's folder, the lock file and the settings."""
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for path in sorted(_files(folder)):
        digest.update(f"\n{path.relative_to(folder)}\n".encode())
        digest.update(path.read_bytes())
    if lock_file.exists():
        digest.update(lock_file.read_bytes())
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not _SKIPPED & set(path.relative_to(folder).parts):
            yield path


def _copy_distribution(name: str, target: Path) -> None:
    distribution = importlib.metadata.distribution(name)
    for file in distribution.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue  # scripts outside of the package folder, and byte code
        destination = target / file
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(str(distribution.locate_file(file)), destination)


def _compile(folder: Path) -> None:
    """Workers write no byte code, so do it once; a layer never changes under its name."""
    compileall.compile_dir(
        str(folder), quiet=2, workers=0, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
