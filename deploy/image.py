"""The runner image: built, tried, pushed to ECR under the commit, and referred to by its digest."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from botocore.exceptions import ClientError

from deploy import programs
from deploy.account import Account, code_of
from deploy.errors import DeployError

REPOSITORY = "zentrigger-runner"
"""One for all stages of an account: what was tried in dev is, byte for byte, what prod gets."""

_SELF_TEST = ("python", "-m", "runner", "--self-test")
_EMULATION = (
    "If it said `exec format error`, this machine cannot run programs of linux/{architecture}: let Docker emulate them "
    "(docker run --privileged --rm tonistiigi/binfmt --install {architecture}), build on such a machine, or set "
    "TaskArchitecture in samconfig.toml to what this machine is."
)


@dataclass(frozen=True)
class Repository:
    """A repository in ECR."""

    name: str
    uri: str

    @property
    def registry(self) -> str:
        """Return the host that docker logs in to."""
        return self.uri.partition("/")[0]


def ensure_repository(ecr: Any, name: str, say: Callable[[str], None]) -> Repository:  # noqa: ANN401 - a boto3 client
    """Return the repository, made if it is missing: a tag is never moved, and each image is scanned when it comes."""
    found = find_repository(ecr, name)
    if found is not None:
        return found
    say(f"making the ECR repository {name} (immutable tags, scan on push)")
    try:
        ecr.create_repository(
            repositoryName=name,
            imageTagMutability="IMMUTABLE",
            imageScanningConfiguration={"scanOnPush": True},
        )
    except ClientError as error:
        if code_of(error) != "RepositoryAlreadyExistsException":  # another deployment was faster
            raise
    made = find_repository(ecr, name)
    if made is None:
        raise DeployError(f"ECR has made the repository {name} and does not show it yet. Try again.")
    return made


def find_repository(ecr: Any, name: str) -> Repository | None:  # noqa: ANN401 - a boto3 client
    """Return the repository if it is there."""
    try:
        described = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    except ClientError as error:
        if code_of(error) == "RepositoryNotFoundException":
            return None
        raise
    return Repository(name, str(described[0]["repositoryUri"]))


def find_image(ecr: Any, repository: Repository, tag: str) -> str | None:  # noqa: ANN401 - a boto3 client
    """Return the image of a tag as ``repository@sha256:…`` if it is there."""
    try:
        described = ecr.describe_images(repositoryName=repository.name, imageIds=[{"imageTag": tag}])
    except ClientError as error:
        if code_of(error) == "ImageNotFoundException":
            return None
        raise
    return f"{repository.uri}@{described['imageDetails'][0]['imageDigest']}"


def publish_image(  # noqa: PLR0913 - the parts of one step, by name
    account: Account,
    *,
    root: Path,
    repository_name: str,
    tag: str,
    architecture: str,
    build_options: Sequence[str],
    say: Callable[[str], None],
) -> str:
    """Build, try and push the image, unless ECR has it already; return it as ``repository@sha256:…``."""
    ecr = account.client("ecr")
    repository = ensure_repository(ecr, repository_name, say)
    image = find_image(ecr, repository, tag)
    if image is not None:
        say(f"ECR has the image {tag} already")
        return image
    builder = _builder(root)
    name = f"{repository.uri}:{tag}"
    say(f"building {name} for linux/{architecture} with {builder.program}")
    builder.build(name, architecture, build_options)
    builder.try_out(name, architecture, say)
    say(f"pushing {name}")
    # Asked for after the build: it is good for 12 hours, and nothing has seen it until it is needed.
    builder.push(name, repository.registry, _password(ecr))
    image = find_image(ecr, repository, tag)
    if image is None:
        raise DeployError(f"The push ended well, and yet ECR knows no image {tag} in {repository_name}. Try again.")
    return image


def _password(ecr: Any) -> str:  # noqa: ANN401 - a boto3 client
    """Return the registry's password for the user AWS."""
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode().partition(":")[2]


# ------------------------------------------------------------------------------------------------------- the builders


def _builder(root: Path) -> "_Docker | _Buildah":
    if programs.is_there("docker"):
        programs.run(
            ["docker", "buildx", "version"],
            folder=root,
            failure="docker has no buildx, which builds for other processors: install the plugin docker-buildx.",
            quiet=True,
        )
        return _Docker(root)
    if programs.is_there("buildah"):
        return _Buildah(root)
    raise DeployError(
        "Neither docker nor buildah is on PATH, and one of them has to build the image. Install Docker, or deploy an "
        "image that another machine has pushed: --image-uri repository@sha256:…"
    )


class _Docker:
    """Docker with buildx."""

    program = "docker"

    def __init__(self, root: Path) -> None:
        self._root = root

    def build(self, name: str, architecture: str, options: Sequence[str]) -> None:
        # Without provenance the push is one manifest, whose digest is the image's.
        command = ["docker", "buildx", "build", "--platform", f"linux/{architecture}", "--provenance=false", "--load"]
        self._run([*command, *_BUILD_FILE, *options, "--tag", name, "."], _build_failed(architecture))

    def try_out(self, name: str, architecture: str, say: Callable[[str], None]) -> None:
        say("trying the image: its self-test, as a task would run it")
        command = ["docker", "run", "--rm", "--platform", f"linux/{architecture}", "--network", "none", "--read-only"]
        volumes = ["--volume", "/home/zentrigger", "--volume", "/tmp"]  # noqa: S108 - the container's
        self._run([*command, *volumes, name, *_SELF_TEST], "The image does not work; nothing was pushed.")

    def push(self, name: str, registry: str, password: str) -> None:
        login = ["docker", "login", "--username", "AWS", "--password-stdin", registry]
        self._run(login, f"docker cannot log in to {registry}.", password)
        try:
            self._run(["docker", "push", name], "The image was not pushed.")
        finally:
            # What docker keeps of a login lies in a file, often in clear.
            self._run(["docker", "logout", registry], f"docker cannot log out of {registry}.")

    def _run(self, command: Sequence[str], failure: str, standard_input: str | None = None) -> None:
        programs.run(command, folder=self._root, failure=failure, standard_input=standard_input)


class _Buildah:
    """Buildah, where there is no Docker. Its settings (BUILDAH_ISOLATION and others) are its own."""

    program = "buildah"

    def __init__(self, root: Path) -> None:
        self._root = root

    def build(self, name: str, architecture: str, options: Sequence[str]) -> None:
        command = ["buildah", "build", "--platform", f"linux/{architecture}", "--format", "docker"]
        programs.run(
            [*command, *_BUILD_FILE, *options, "--tag", name, "."],
            folder=self._root,
            failure=_build_failed(architecture),
        )

    def try_out(self, name: str, architecture: str, say: Callable[[str], None]) -> None:
        del name, architecture
        say("buildah runs no containers: the image is pushed without its self-test")

    def push(self, name: str, registry: str, password: str) -> None:
        with TemporaryDirectory(prefix="zentrigger-deploy-") as folder:
            login = f"--authfile={Path(folder) / 'auth.json'}"
            programs.run(
                ["buildah", "login", login, "--username", "AWS", "--password-stdin", registry],
                folder=self._root,
                failure=f"buildah cannot log in to {registry}.",
                standard_input=password,
            )
            programs.run(["buildah", "push", login, name], folder=self._root, failure="The image was not pushed.")


_BUILD_FILE = ("--file", "runner/Dockerfile")


def _build_failed(architecture: str) -> str:
    return f"The image was not built. {_EMULATION.format(architecture=architecture)}"
