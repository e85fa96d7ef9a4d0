"""A deployment with stand-ins: moto for AWS, recording programs on PATH for docker, buildah and sam."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from deploy import __main__ as command_line
from deploy import programs
from deploy.account import Account
from deploy.source import IMAGE_INPUTS

ROOT = Path(__file__).parents[3]
REGION = "eu-central-1"
GIT = shutil.which("git") or "git"
POLICY = json.loads((ROOT / "deploy" / "deployer-policy.json").read_text("utf-8"))
ALLOWED = [
    action
    for statement in POLICY["Statement"]
    for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
]
IAM_NAMES = {"lambda:Invoke": "lambda:InvokeFunction"}

PROGRAM = """#!{python}
import json, os, sys
stdin = "" if sys.stdin.isatty() else sys.stdin.read()
record = {{"argv": [os.path.basename(sys.argv[0]), *sys.argv[1:]], "stdin": stdin,
          "region": os.environ.get("AWS_REGION"), "profile": os.environ.get("AWS_PROFILE")}}
with open({log!r}, "a") as file:
    file.write(json.dumps(record) + "\\n")
words = " ".join(record["argv"])
if any(text and text in words for text in os.environ.get("FAILING", "").split(";")):
    print("it did not work", file=sys.stderr)
    sys.exit(1)
"""


@dataclass
class Machine:
    """Who deploys: a working tree, programs, and what they were called with."""

    root: Path
    programs: Path
    capture: pytest.CaptureFixture[str]
    pushed: list[str] = field(default_factory=list)

    def install(self, *names: str) -> None:
        """Put recording programs on PATH."""
        for name in names:
            file = self.programs / name
            file.write_text(PROGRAM.format(python=sys.executable, log=str(self.root.parent / "calls")), "utf-8")
            file.chmod(0o755)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Give what the programs were called with, in order."""
        log = self.root.parent / "calls"
        return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []

    @property
    def commands(self) -> list[str]:
        """Give the command lines."""
        return [" ".join(call["argv"]) for call in self.calls]

    def deploy(self, *arguments: str) -> tuple[int, str, str]:
        """Run a step for dev; gives exit status, standard output, standard error."""
        status = command_line.main([*arguments, "--stage", "dev", "--region", REGION], root=self.root)
        printed = self.capture.readouterr()
        return status, printed.out, printed.err

    def commit(self) -> str:
        """Commit everything and give the commit."""
        identity = ["-c", "user.name=tests", "-c", "user.email=tests@example.com"]
        for command in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message", "all"]):
            subprocess.run([GIT, *command], cwd=self.root, check=True)
        return subprocess.run(
            [GIT, "rev-parse", "HEAD"], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give an AWS that refuses what deploy/deployer-policy.json does not allow."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    make = Account.client

    def check(model: Any, **_: Any) -> None:
        action = f"{model.service_model.service_name}:{model.name}"
        action = IAM_NAMES.get(action, action)
        assert any(fnmatchcase(action, allowed) for allowed in ALLOWED), f"the deployer may not {action}"

    def client(account: Account, service: str) -> Any:
        made = make(account, service)
        made.meta.events.register("before-call", check)
        return made

    monkeypatch.setattr(Account, "client", client)
    with mock_aws():
        yield


@pytest.fixture
def machine(aws: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Machine:
    """Give a machine with git and nothing else, on a tree of which nothing is committed."""
    del aws
    root, bin_folder = tmp_path / "tree", tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "git").symlink_to(GIT)
    for name in IMAGE_INPUTS:
        file = root / name if "." in Path(name).name else root / name / "module.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name, "utf-8")
    for name in ("samconfig.toml", "events/admin_create_first_key.json", ".gitignore"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    (root / ".aws-sam" / "build").mkdir(parents=True)
    (root / ".aws-sam" / "build" / "template.yaml").write_text("{}", "utf-8")
    monkeypatch.setenv("PATH", str(bin_folder))
    made = Machine(root, bin_folder, capsys)
    run = programs.run

    def with_registry(command: Sequence[str], **options: Any) -> str:
        said = run(command, **options)
        if command[1] == "push":
            arrive(str(command[-1]))
            made.pushed.append(str(command[-1]))
        return said

    monkeypatch.setattr(programs, "run", with_registry)
    return made


def arrive(name: str) -> None:
    """Let ECR have the image that was pushed."""
    match = re.fullmatch(r"[^/]+/([^:]+):(.+)", name)
    assert match is not None, name
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type, "layers": [], "config": {"digest": match[2]}}
    stand_in("ecr").put_image(
        repositoryName=match[1],
        imageManifest=json.dumps(manifest),
        imageManifestMediaType=media_type,
        imageTag=match[2],
    )


def stand_in(service: str) -> Any:
    """Give a client of the AWS of the test, with all rights."""
    import boto3  # noqa: PLC0415 - within the mock

    return boto3.client(service, region_name=REGION)  # type: ignore[call-overload]
