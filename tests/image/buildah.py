"""Builds the runner's image where there is no Docker: `python -m tests.image.buildah [further options of buildah]`.

Needs root, buildah, crun and debootstrap. Everything is kept below .local/buildah. The base image is Debian's own
Python 3.13, bootstrapped once, in place of the one that the Dockerfile names; all else is as Docker would do it.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DOCKERFILE = "runner/Dockerfile"
TAG = "localhost/zentrigger-runner"
BASE = "localhost/zentrigger-python:3.13"
DEBIAN = "trixie"
MIRROR = "http://deb.debian.org/debian"
REQUIRED = os.environ.get("ZENTRIGGER_REQUIRE_IMAGE") == "1"
PROGRAMS = ("buildah", "crun", "debootstrap", "unshare")
CONTEXT = ("pyproject.toml", "uv.lock", "client/pyproject.toml", "layers/zentrigger/zentrigger", "runner", "pipelines")
"""What the Dockerfile copies; its ignore file lets nothing else in."""

_STORAGE = ROOT / ".local" / "buildah"
_BASE_PACKAGES = "python3,python3-pip,python3-venv,python-is-python3,ca-certificates"
# There is no kernel interface to share out here: build steps are a chroot each.
_BUILD_OPTIONS = ("--isolation", "chroot", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")


@dataclass(frozen=True)
class Configuration:
    """What an image says of itself, as far as a container needs it."""

    reference: str
    """The image by the digest of its manifest."""
    user: str
    environment: dict[str, str]
    command: tuple[str, ...]
    working_directory: str
    volumes: tuple[str, ...]
    layers: tuple[str, ...]
    """Digests of the uncompressed layers, the base's first."""


def missing() -> str | None:
    """Say what this machine lacks for building and running the image, or None."""
    lacking = [program for program in PROGRAMS if shutil.which(program) is None]
    if lacking:
        return f"not on PATH: {', '.join(lacking)} (apt-get install buildah crun debootstrap)"
    return None if os.geteuid() == 0 else "not root: debootstrap and the mounts of a container need it"


def build(context: Path = ROOT, tag: str = TAG, options: Sequence[str] = ()) -> float:
    """Build the image of a source tree and give the seconds it took; layers of earlier builds are used again.

    The machine's certificates go in as a build secret, so that they lead through a proxy and stay out of the image.
    """
    if not _buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        _build_base()
    started = time.monotonic()
    certificates = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    secrets = ["--secret", f"id=certificates,src={certificates}"] if certificates.is_file() else []
    files = ["--file", str(context / DOCKERFILE), "--ignorefile", str(context / f"{DOCKERFILE}.dockerignore")]
    base = ["--build-arg", f"PYTHON_IMAGE={BASE}", "--pull=never"]
    _buildah("bud", "--layers", *_BUILD_OPTIONS, *base, *secrets, *files, "--tag", tag, *options, str(context))
    return time.monotonic() - started


def copy_context(folder: Path) -> None:
    """Copy what the image is built from."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in CONTEXT:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)


def configuration(tag: str = TAG) -> Configuration:
    """Read an image's configuration."""
    inspected: dict[str, Any] = json.loads(_buildah("inspect", "--type", "image", tag))
    document = inspected["OCIv1"]
    config = document["config"]
    return Configuration(
        reference=f"{tag}@{inspected['FromImageDigest']}",
        user=config.get("User", ""),
        environment=dict(line.split("=", 1) for line in config.get("Env", ())),
        command=tuple(config.get("Cmd", ())),
        working_directory=config.get("WorkingDir") or "/",
        volumes=tuple(config.get("Volumes", ())),
        layers=tuple(document["rootfs"]["diff_ids"]),
    )


@contextmanager
def root_folder(tag: str = TAG) -> Iterator[Path]:
    """Give a container's own view of an image's files; what is written there is gone afterwards."""
    container = _buildah("from", "--pull=never", tag)
    try:
        yield Path(_buildah("mount", container))
    finally:
        _buildah("rm", container)


def _build_base() -> None:
    _STORAGE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="base-", dir=_STORAGE) as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.tar")
        _run("debootstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}", DEBIAN, str(root), MIRROR)
        # Debian reserves its Python for its packages; the image that this one stands for does not.
        for marker in root.glob("usr/lib/python3.*/EXTERNALLY-MANAGED"):
            marker.unlink()
        shutil.rmtree(root / "var/cache/apt/archives", ignore_errors=True)
        _run("tar", "-C", str(root), "-cf", str(archive), ".")
        container = _buildah("from", "scratch")
        _buildah("add", "--quiet", container, str(archive), "/")
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        _buildah("config", "--env", f"PATH={path}", "--cmd", "python3", container)
        _buildah("commit", "--quiet", "--rm", container, BASE)


def _buildah(*arguments: str) -> str:
    return _run("buildah", "--root", str(_STORAGE / "storage"), "--runroot", str(_STORAGE / "run"), *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout.strip()


if __name__ == "__main__":
    if lack := missing():
        sys.exit(f"The image cannot be built here: {lack}")
    print(f"{TAG}: {build(options=sys.argv[1:]):.0f} s")  # noqa: T201 - a command's answer
