"""Runs the image as Fargate does, as far as one machine can: a real OCI runtime (crun) on a read-only root.

Volumes follow ECS's rule (Developer Guide, "Use bind mounts with Amazon ECS"): one that is mounted where the image has
a VOLUME gets that path's content and owner; any other is empty, root's and 0755. There is no limit of memory, and no
init: the container's command is process 1.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.image import buildah

# crun wants to know how control groups are laid out and refuses a mixture of both versions, which some machines have;
# in a mount namespace of its own it sees version 2 only.
_ALONE = ("unshare", "--mount", "sh", "-c", 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec "$@"', "sh")
_CRUN = ("crun", "--cgroup-manager=disabled")


class Container:
    """A container that has been made and not yet started. `folder` is its own, for its volumes and its output.

    `volumes` are the paths at which the task definition mounts one. Without `network` it has not even a loopback.
    """

    def __init__(  # noqa: PLR0913 - what a task definition says of a container, all by name
        self,
        root: Path,
        folder: Path,
        *,
        image: buildah.Configuration,
        volumes: Sequence[str],
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        read_only: bool = True,
        network: bool = True,
    ) -> None:
        self.log = folder / "output"
        self._id = f"zentrigger-{uuid.uuid4().hex[:12]}"
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["size=64m"]},  # noqa: S108 - its name
        ]
        for number, path in enumerate(volumes):
            source = folder / f"volume-{number}"
            _make_volume(source, root / path.lstrip("/") if path in image.volumes else None)
            mounts.append({"destination": path, "type": "bind", "source": str(source), "options": ["rbind", "rw"]})
        user, _, group = image.user.partition(":")
        variables = {**image.environment, **(environment or {})}
        namespaces = ["pid", "mount", "ipc", *([] if network else ["network"])]
        bundle: dict[str, Any] = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": int(user), "gid": int(group)},
                "args": list(command or image.command),
                "env": [f"{name}={value}" for name, value in variables.items()],
                "cwd": image.working_directory,
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(root), "readonly": read_only},
            "mounts": mounts,
            "linux": {"namespaces": [{"type": name} for name in namespaces]},
        }
        (folder / "config.json").write_text(json.dumps(bundle), "utf-8")

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it; its exit code is the process's."""
        command = [*_ALONE, *_CRUN, "run", "--bundle", str(self._folder), self._id]
        with self.log.open("wb") as output:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def run(self, seconds: float = 120) -> tuple[int, str]:
        """Run it to its end and give exit code and output; killed when it takes longer."""
        process = self.start()
        try:
            process.wait(seconds)
        finally:
            self.signal("KILL")
        return process.returncode, self.log.read_text(errors="replace")

    def signal(self, name: str) -> None:
        """Send its first process a signal; one that has ended is left alone."""
        subprocess.run([*_ALONE, *_CRUN, "kill", self._id, name], check=False, capture_output=True)


@contextmanager
def new_container(folder: Path, tag: str = buildah.TAG, **settings: Any) -> Iterator[Container]:
    """Make a container of an image, with the volumes that the image asks for unless others are given."""
    image = buildah.configuration(tag)
    with buildah.root_folder(tag) as root:
        yield Container(root, folder, image=image, **{"volumes": image.volumes, **settings})


def _make_volume(folder: Path, content: Path | None) -> None:
    if content is None:
        folder.mkdir(mode=0o755)
    else:
        # cp keeps owners and modes, of the folder itself, too; shutil does not.
        subprocess.run(["cp", "--archive", str(content), str(folder)], check=True)  # noqa: S607 - POSIX's
