"""Images of this machine: content-addressed copies of the source tree, and the ZenML store that belongs to them.

`local` and `local:TAG` float: each resolve looks at the source tree as it is now. `local@sha256:<digest>` names exactly
one copy, so a pinned snapshot runs the code it was published with.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

REPOSITORY: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = {
    "runner": "runner",
    "pipelines": "pipelines",
    "zentrigger": "layers/zentrigger/zentrigger",
}
"""Name in the image -> folder in the repository; the runner's Dockerfile copies the same."""
SKIPPED_FOLDERS: Final = frozenset({"__pycache__", "node_modules", "venv"})
SKIPPED_AT_THE_TOP: Final = frozenset({"conftest.py", "docs", "noxfile.py", "setup.py", "test", "tests"})
"""What a user's project has beside its packages and no pipeline imports."""
BUILD_STORE_SECONDS: Final = 180
_FLOATING: Final = re.compile(r"local(?::[\w][\w.-]{0,127})?")

ENVIRONMENT: Final = {
    "PYTHONUNBUFFERED": "1",
    "ZENML_ANALYTICS_OPT_IN": "false",
    "ZENML_LOGGING_COLORS_DISABLED": "true",
    "ZENML_DISABLE_INTERACTIVE_INPUT": "true",
}
"""What the image sets for each of its containers; the paths are added when one is unpacked."""


class ImageError(Exception):
    """An image cannot be built; the message says what to do."""


class ImageNotFoundError(ImageError):
    """No image has this reference."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image. `reference` is what was asked for, `pinned` names this image for ever."""

    reference: str
    digest: str
    """`sha256:` and 64 hexadecimal digits."""
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def pinned(self) -> str:
        """The reference that always means this image."""
        return f"local@{self.digest}"


@dataclass(frozen=True, slots=True)
class RootFolder:
    """What a container sees of its image: a copy of its own, to write to as it likes."""

    working_directory: Path
    environment: dict[str, str]


def build_zenml_store(folder: Path) -> None:
    """Initialise a SQLite store of ZenML in `config` and `stores` of a folder. Takes 6 to 8 seconds."""
    environment = {
        **ENVIRONMENT,
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "ZENML_CONFIG_PATH": str(folder / "config"),
        "ZENML_LOCAL_STORES_PATH": str(folder / "stores"),
    }
    code = "from zenml.client import Client; Client().active_stack_model"
    try:
        subprocess.run(  # noqa: S603 - this interpreter, constant code
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
            timeout=BUILD_STORE_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        raise ImageError(f"ZenML could not initialise its store: {error.stderr.strip()[-2000:]}") from error
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"ZenML did not initialise its store within {BUILD_STORE_SECONDS} s.") from error
    # ZenML writes the database's absolute path into its configuration. Without that section it takes the path from
    # ZENML_LOCAL_STORES_PATH, so a copy works wherever it lies; ZENML_STORE_URL goes before both.
    path = folder / "config" / "config.yaml"
    configuration = yaml.safe_load(path.read_text("utf-8"))
    configuration.pop("store", None)
    configuration["analytics_opt_in"] = False
    path.write_text(yaml.safe_dump(configuration), "utf-8")


class ImageStore:
    """Images in a folder. Safe for several threads; several processes may share the folder.

    `sources` are further folders: their top-level packages and modules are put beside `runner`, `pipelines` and
    `zentrigger`. Raises ImageError if one is no folder.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[Path] = (),
        *,
        repository: Path = REPOSITORY,
        build_store: Callable[[Path], None] = build_zenml_store,
    ) -> None:
        for source in sources:
            if not source.is_dir():
                raise ImageError(f"{source} is no folder. Give the folder that your packages lie in.")
        self._folder = folder.absolute()
        self._sources = tuple(source.resolve() for source in sources)
        self._repository = repository
        self._build_store = build_store
        self._lock = threading.Lock()
        self._store_lock = threading.Lock()
        self._last: tuple[_Signature, str] | None = None

    def prepare(self) -> Image:
        """Make the image and its store now, so that the first task does not wait for them."""
        image = self.resolve("local")
        self._zenml_store()
        return image

    def resolve(self, reference: str) -> Image:
        """Find or make the image. Raises ImageNotFoundError, or ImageError if the sources make none."""
        match = re.fullmatch(rf"{_FLOATING.pattern}(?:@sha256:([0-9a-f]{{64}}))?", reference)
        if match is None:
            raise ImageNotFoundError(f"{reference}: not found; this machine has only the image local")
        digest = match.group(1) or self._current()
        folder = self._image_folder(digest)
        if not folder.is_dir():
            raise ImageNotFoundError(f"{reference}: not found; its copy is gone from {self._folder}")
        return Image(reference, f"sha256:{digest}", folder, dict(ENVIRONMENT))

    def pinned(self, reference: str) -> str:
        """Pin a floating reference to the source tree as it is now; any other stays. Raises ImageError as `resolve`."""
        return self.resolve(reference).pinned if _FLOATING.fullmatch(reference) else reference

    def unpack(self, image: Image, folder: Path) -> RootFolder:
        """Give a container a copy of the image and a ZenML store of its own, in an existing folder."""
        application = folder / "app"
        zenml = folder / "zenml"
        shutil.copytree(image.folder, application)
        shutil.copytree(self._zenml_store(), zenml)
        paths = {
            "PYTHONPATH": str(application),
            "ZENML_CONFIG_PATH": str(zenml / "config"),
            "ZENML_LOCAL_STORES_PATH": str(zenml / "stores"),
        }
        return RootFolder(application, {**image.environment, **paths})

    # ------------------------------------------------------------ sources

    def _current(self) -> str:
        with self._lock:
            files = self._files()
            signature = _signature(files)
            if self._last and self._last[0] == signature and self._image_folder(self._last[1]).is_dir():
                return self._last[1]
            digest = self._copy(files)
            self._last = (signature, digest)
            return digest

    def _copy(self, files: dict[str, Path]) -> str:
        """Copy first and name it after what was copied: a file that is being written cannot make the name wrong."""
        self._folder.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=self._folder))
        try:
            whole = hashlib.sha256()
            for name, path in files.items():
                target = building / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
                with target.open("rb") as copied:
                    content = hashlib.file_digest(copied, "sha256").hexdigest()
                executable = os.access(target, os.X_OK) and bool(target.stat().st_mode & 0o100)
                whole.update(f"{name}\0{executable:d}\0{content}\n".encode())
            digest = whole.hexdigest()
            _move(building, self._image_folder(digest))
        finally:
            shutil.rmtree(building, ignore_errors=True)
        logger.debug("image sha256:%s has %d files", digest, len(files))
        return digest

    def _image_folder(self, digest: str) -> Path:
        return self._folder / f"sha256-{digest}"

    def _files(self) -> dict[str, Path]:
        """Return the files of the image by their name in it, sorted."""
        files: dict[str, Path] = {}
        owners: dict[str, Path] = {}
        roots = [(name, self._repository / folder) for name, folder in PACKAGES.items()]
        for _, folder in roots:
            if not folder.is_dir():
                raise ImageError(f"The image needs the folder {folder}, which is not there.")
        for source in self._sources:
            roots += [(path.name, path) for path in sorted(source.iterdir()) if _is_importable(path)]
        for name, root in roots:
            if name in owners:
                raise ImageError(f"Both {owners[name]} and {root} would be {name} in the image: rename one of them.")
            owners[name] = root
            files |= _tree(name, root)
        return dict(sorted(files.items()))

    # ------------------------------------------------------------ ZenML

    def _zenml_store(self) -> Path:
        try:
            version = importlib.metadata.version("zenml")
        except importlib.metadata.PackageNotFoundError:
            raise ImageError("zenml is not installed for this interpreter; run uv sync.") from None
        store = self._folder / f"zenml-{version}"
        with self._store_lock:
            if not store.is_dir():
                self._folder.mkdir(parents=True, exist_ok=True)
                building = Path(tempfile.mkdtemp(prefix=".building-", dir=self._folder))
                try:
                    self._build_store(building)
                    _move(building, store)
                finally:
                    shutil.rmtree(building, ignore_errors=True)
        return store


_Signature = tuple[tuple[str, int, int, int, int], ...]


def _signature(files: dict[str, Path]) -> _Signature:
    """Return what changes when a file does, without reading any."""
    signature = []
    for name, path in files.items():
        status = path.stat()
        signature.append((name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(signature)


def _move(building: Path, target: Path) -> None:
    """Rename into place; if another process was faster, its copy is the same."""
    try:
        building.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _is_importable(path: Path) -> bool:
    """Tell whether the top of a source folder holds a module or a package here (also one without __init__.py)."""
    if path.name in SKIPPED_AT_THE_TOP or path.name in SKIPPED_FOLDERS or not path.stem.isidentifier():
        return False
    if path.is_file():
        return path.suffix == ".py"
    return path.is_dir() and not (path / "pyvenv.cfg").exists() and any(path.glob("*.py"))


def _tree(name: str, root: Path) -> dict[str, Path]:
    """Return the files below a folder (or the one file), but no hidden ones, no bytecode and no linked folders."""
    if root.is_file():
        return {name: root}
    files = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [one for one in folders if one not in SKIPPED_FOLDERS and not one.startswith(".")]
        for one in names:
            path = Path(folder, one)
            if not one.startswith(".") and not one.endswith((".pyc", "~")) and path.is_file():
                files[f"{name}/{path.relative_to(root).as_posix()}"] = path
    return files
