"""An artifact store that outlives a task, as S3 does: a folder under a scheme of its own."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from zenml.artifact_stores import BaseArtifactStore, BaseArtifactStoreConfig, BaseArtifactStoreFlavor
from zenml.io.local_filesystem import LocalFilesystem

SCHEME = "shared://"


def _inside(path: Any) -> Any:
    return path.removeprefix(SCHEME) if isinstance(path, str) else path


def _mapped(name: str) -> Any:
    method: Callable[..., Any] = getattr(LocalFilesystem, name)

    def call(_store: object, *arguments: Any, **named: Any) -> Any:
        return method(*map(_inside, arguments), **{key: _inside(value) for key, value in named.items()})

    return call


class SharedStoreConfig(BaseArtifactStoreConfig):
    """Nothing but the path."""

    SUPPORTED_SCHEMES: ClassVar[set[str]] = {SCHEME}


class SharedStore(BaseArtifactStore):
    """The folder."""

    open = _mapped("open")
    copyfile = _mapped("copyfile")
    exists = _mapped("exists")
    isdir = _mapped("isdir")
    listdir = _mapped("listdir")
    makedirs = _mapped("makedirs")
    mkdir = _mapped("mkdir")
    remove = _mapped("remove")
    rename = _mapped("rename")
    rmtree = _mapped("rmtree")
    stat = _mapped("stat")
    size = _mapped("size")

    def glob(self, pattern: Any) -> list[Any]:
        """Give paths of this store."""
        return [SCHEME + str(path) for path in LocalFilesystem.glob(_inside(pattern))]

    def walk(self, top: Any, topdown: bool = True, onerror: Any = None) -> Iterator[Any]:
        """Give folders of this store."""
        for folder, folders, files in LocalFilesystem.walk(_inside(top), topdown, onerror):
            yield SCHEME + str(folder), folders, files


class SharedStoreFlavor(BaseArtifactStoreFlavor):
    """What the server is told of it."""

    @property
    def name(self) -> str:
        """Its name."""
        return "shared"

    @property
    def config_class(self) -> type[SharedStoreConfig]:
        """Its settings."""
        return SharedStoreConfig

    @property
    def implementation_class(self) -> type[SharedStore]:
        """Its code."""
        return SharedStore
