"""The image: made once for a commit, tried before it is pushed, referred to by its digest."""

import re

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from deploy.account import Account
from deploy.source import IMAGE_INPUTS, content_hash, read_source
from tests.unit.deploy.conftest import ROOT, Machine, stand_in

URI = re.compile(r"\d{12}\.dkr\.ecr\.eu-central-1\.amazonaws\.com/zentrigger-runner@sha256:[0-9a-f]{64}")


def test_the_image_of_a_commit(machine: Machine) -> None:
    """Built for the tasks' processor, tried, pushed under the commit; the password goes by standard input only."""
    machine.install("docker")
    commit = machine.commit()
    status, out, err = machine.deploy("image")
    assert (status, err) == (0, "")
    name = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/zentrigger-runner:{commit}-arm64"
    assert machine.pushed == [name]
    assert [" ".join(call["argv"][1:3]) for call in machine.calls] == [
        "buildx version",
        "buildx build",
        "run --rm",
        "login --username",
        f"push {name}",
        "logout 123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    ]
    assert "--platform linux/arm64" in machine.commands[1]
    assert "--file runner/Dockerfile" in machine.commands[1]
    assert machine.commands[2].endswith("python -m runner --self-test")
    password = machine.calls[3]["stdin"]
    assert password
    assert not any(password in command for command in machine.commands)
    assert password not in out
    assert URI.search(out)
    repository = stand_in("ecr").describe_repositories()["repositories"][0]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}


def test_what_is_there_is_not_built_again(machine: Machine) -> None:
    machine.install("docker")
    machine.commit()
    _, first, _ = machine.deploy("image")
    before = len(machine.calls)
    status, second, _ = machine.deploy("image")
    assert status == 0
    assert len(machine.calls) == before
    found = URI.search(first)
    assert found is not None
    assert found[0] in second


def test_changed_files_are_warned_of_and_get_a_name_of_their_own(machine: Machine) -> None:
    machine.install("docker")
    commit = machine.commit()
    (machine.root / "pipelines" / "module.py").write_text("changed", "utf-8")
    status, _, err = machine.deploy("image")
    assert status == 0
    assert "1 file(s) differ from commit" in err
    assert re.search(rf":{commit}-dirty-[0-9a-f]{{12}}-arm64$", machine.pushed[0])
    (machine.root / "pipelines" / "module.py").write_text("changed again", "utf-8")
    machine.deploy("image")
    assert len(set(machine.pushed)) == 2


def test_a_change_that_is_not_in_the_image_is_warned_of_only(machine: Machine) -> None:
    machine.install("docker")
    commit = machine.commit()
    (machine.root / "notes.txt").write_text("new", "utf-8")
    _, _, err = machine.deploy("image")
    assert "differ from commit" in err
    assert machine.pushed[0].endswith(f":{commit}-arm64")


def test_outside_git_the_content_is_the_name(machine: Machine) -> None:
    machine.install("docker")
    _, _, err = machine.deploy("image")
    assert "no git working tree" in err
    assert machine.pushed[0].endswith(f":tree-{content_hash(machine.root)}-arm64")


def test_the_processor_comes_from_samconfig(machine: Machine) -> None:
    machine.install("docker")
    commit = machine.commit()
    config = machine.root / "samconfig.toml"
    config.write_text(config.read_text("utf-8").replace("Stage=dev", "Stage=dev TaskArchitecture=X86_64"), "utf-8")
    machine.deploy("image", "--build-options", "--secret id=pip,src=pip.conf")
    assert machine.pushed[0].endswith(f":{commit}-amd64")
    assert "--platform linux/amd64" in machine.commands[1]
    assert "--secret id=pip,src=pip.conf" in machine.commands[1]


def test_buildah_where_there_is_no_docker(machine: Machine) -> None:
    machine.install("buildah")
    machine.commit()
    status, _, _ = machine.deploy("image")
    assert status == 0
    assert [call["argv"][1] for call in machine.calls] == ["build", "login", "push"]
    assert machine.calls[1]["stdin"]
    assert "--authfile=" in machine.commands[2]


def test_neither_docker_nor_buildah(machine: Machine) -> None:
    machine.commit()
    status, _, err = machine.deploy("image")
    assert status == 1
    assert "Neither docker nor buildah is on PATH" in err


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        ("buildx version", "docker has no buildx"),
        ("buildx build", "exec format error"),
        ("--self-test", "nothing was pushed"),
        ("login", "docker cannot log in to 123456789012"),
        ("docker push", "The image was not pushed"),
    ],
)
def test_what_fails_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch, failing: str, message: str) -> None:
    machine.install("docker")
    machine.commit()
    monkeypatch.setenv("FAILING", failing)
    status, _, err = machine.deploy("image")
    assert status == 1
    assert message in err
    assert machine.pushed == []
    if failing == "docker push":
        assert machine.commands[-1].startswith("docker logout")


def test_no_credentials(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(_: Account, __: str) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(Account, "client", client)
    status, _, err = machine.deploy("image")
    assert status == 1
    assert "There are no AWS credentials" in err
    assert "aws sts get-caller-identity" in err


def test_credentials_that_have_expired(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(_: Account, __: str) -> None:
        raise ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "GetCallerIdentity")

    monkeypatch.setattr(Account, "client", client)
    status, _, err = machine.deploy("image")
    assert status == 1
    assert "does not take your credentials (ExpiredToken)" in err


def test_the_inputs_are_what_the_dockerfile_may_copy() -> None:
    """A file that got into the image and not into its name would make two images of one name."""
    ignore = (ROOT / "runner" / "Dockerfile.dockerignore").read_text("utf-8")
    assert {line[1:] for line in ignore.splitlines() if line.startswith("!")} == set(IMAGE_INPUTS)
    assert all((ROOT / name).exists() for name in IMAGE_INPUTS)


def test_bytecode_changes_no_name(machine: Machine) -> None:
    before = content_hash(machine.root)
    cache = machine.root / "pipelines" / "__pycache__"
    cache.mkdir()
    (cache / "module.pyc").write_text("x", "utf-8")
    assert content_hash(machine.root) == before
    assert read_source(machine.root).name == f"tree-{before}"
