"""Builds what would be deployed, as `sam build` does: by the layers' own Makefiles."""

import hashlib
import os
import platform
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYERS = {"DependenciesLayer": "dependencies", "ZentriggerLayer": "zentrigger"}
FUNCTIONS = sorted(folder.parent for folder in (ROOT / "functions").glob("*/handler.py"))
HOST = {"PLATFORM": f"{platform.machine()}-manylinux_2_28", "PYTHON_VERSION": f"3.{sys.version_info.minor}"}
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Layers:
    """Built layers, each as it will lie under /opt."""

    folders: tuple[Path, ...]

    @property
    def import_path(self) -> tuple[Path, ...]:
        """What Lambda puts on the import path of them."""
        return tuple(folder / "python" for folder in self.folders)

    @property
    def dependencies(self) -> Path:
        """Third-party packages."""
        return self.folders[0] / "python"


def build(target: Path, **settings: str) -> Layers:
    """Build all layers into a folder; without settings for the Lambda platform."""
    folders = []
    for name, source in LAYERS.items():
        folder = target / name
        folder.mkdir(parents=True)
        arguments = [f"ARTIFACTS_DIR={folder}", *(f"{key}={value}" for key, value in settings.items())]
        # The calling make's settings are not this one's.
        environment = {
            key: value for key, value in os.environ.items() if key not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
        }
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            [  # noqa: S607 - as the user's shell finds it
                "make",
                "-C",
                str(ROOT / "layers" / source),
                f"build-{name}",
                *arguments,
            ],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        folders.append(folder)
    return Layers(tuple(folders))


def files(folder: Path) -> list[Path]:
    """Give the files that would be uploaded."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def unzipped_bytes(*folders: Path) -> int:
    """Give the size that Lambda unpacks."""
    return sum(path.stat().st_size for folder in folders for path in files(folder))


def zipped_bytes(folder: Path, archive: Path) -> int:
    """Give the size of the archive that is uploaded."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files(folder):
            packed.write(path, path.relative_to(folder))
    return archive.stat().st_size


def digest(folder: Path) -> str:
    """Hash names and bytes of everything in a folder, byte code included."""
    hashed = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        hashed.update(f"{path.relative_to(folder)}\n".encode())
        hashed.update(path.read_bytes())
    return hashed.hexdigest()
