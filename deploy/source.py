"""What is deployed: the source tree, named by its git commit."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy import programs
from deploy.errors import DeployError

# All that the image is made of; runner/Dockerfile.dockerignore lets in nothing else.
IMAGE_INPUTS = (
    "pyproject.toml",
    "uv.lock",
    "client/pyproject.toml",
    "layers/zentrigger/zentrigger",
    "runner",
    "pipelines",
)
_HASH_LENGTH = 12


@dataclass(frozen=True)
class Source:
    """The tree: its commit (None outside git), how many files differ from it, and what the image is to be called."""

    commit: str | None
    changed: int
    name: str

    def image_tag(self, architecture: str) -> str:
        """Return the tag of the tree's image: an image is for one architecture."""
        return f"{self.name}-{architecture}"

    @property
    def warning(self) -> str | None:
        """Say what is wrong with deploying this tree; None if nothing is."""
        if self.commit is None:
            return (
                f"this is no git working tree: the image is called {self.name}, and nobody can tell its sources later"
            )
        if self.changed:
            return (
                f"{self.changed} file(s) differ from commit {self.commit[:_HASH_LENGTH]} (git status): what is "
                f"deployed cannot be made again from git. The image is called {self.name}"
            )
        return None


def read_source(root: Path) -> Source:
    """Ask git. An image of changed files is named by their content too, so that no name ever stands for two images."""
    try:
        commit = _git(root, "rev-parse", "--verify", "HEAD").strip()
    except DeployError:
        return Source(None, 0, f"tree-{content_hash(root)}")
    changed = _git(root, "status", "--porcelain", "--untracked-files=all").splitlines()
    image_changed = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *IMAGE_INPUTS).strip()
    name = f"{commit}-dirty-{content_hash(root)[:_HASH_LENGTH]}" if image_changed else commit
    return Source(commit, len(changed), name)


def content_hash(root: Path) -> str:
    """Return a hash over names and contents of all that the image is made of."""
    digest = hashlib.sha256()
    for file in sorted(_files(root)):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for name in IMAGE_INPUTS:
        path = root / name
        for file in path.rglob("*") if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def _git(root: Path, *arguments: str) -> str:
    return programs.run(["git", *arguments], folder=root, failure="git cannot be asked.", quiet=True)
