"""The image as it is built from runner/Dockerfile, and a run of a task in it."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from local.cloud import Cloud
from tests.image import buildah
from tests.image.container import Container, new_container
from tests.image.runtime import ImageRuntime

# Making the base image and installing everything takes minutes the first time, and seconds from then on.
pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

WRITTEN_TO = {"/home/zentrigger", "/tmp"}  # noqa: S108 - the container's
REBUILD_SECONDS = 30
LIST_INSTALLED = """
import importlib.metadata as m, json, re
print(json.dumps({re.sub("[-_.]+", "-", d.name).lower(): d.version for d in m.distributions()}))
"""


def test_the_image_says_what_a_container_needs(image: buildah.Configuration) -> None:
    """Not root, the task definition's command, and volumes at all that is written to."""
    assert image.user == "1000:1000"
    assert image.command == ("python", "-m", "runner")
    assert set(image.volumes) == WRITTEN_TO


def test_the_task_definition_mounts_what_the_image_declares() -> None:
    """A path that is no VOLUME of the image would come up empty, and root's."""
    template = (buildah.ROOT / "template.yaml").read_text("utf-8")
    assert set(re.findall(r"ContainerPath: (\S+?)}", template)) == WRITTEN_TO


def test_the_self_test_passes_without_network_on_a_read_only_root(image: buildah.Configuration, tmp_path: Path) -> None:
    """The container has no network interface at all."""
    with new_container(tmp_path, command=[*image.command, "--self-test"], network=False) as container:
        exit_code, output = container.run()
    assert exit_code == 0, output
    assert re.search(r"^ok +imports +Python 3\.13\.", output, re.MULTILINE), output
    assert re.search(r"^ok +store +SQLite", output, re.MULTILINE), output
    assert "training_pipeline" in output


@pytest.mark.parametrize("lost", sorted(WRITTEN_TO))
def test_the_self_test_names_the_volume_that_is_missing(
    image: buildah.Configuration, tmp_path: Path, lost: str
) -> None:
    """What an operator sees who forgets a mount point."""
    command = [*image.command, "--self-test"]
    with new_container(tmp_path, command=command, network=False, volumes=WRITTEN_TO - {lost}) as container:
        exit_code, output = container.run()
    assert exit_code == 1, output
    assert re.search(rf"^FAILED +folders .*{lost}", output, re.MULTILINE), output


def test_the_self_test_names_a_pipeline_that_cannot_be_imported(image: buildah.Configuration, tmp_path: Path) -> None:
    """Checked in the image, where a package may be missing that the developer's machine has."""
    with buildah.root_folder() as root:
        (root / "app/pipelines/broken.py").write_text("import not_there\n")
        command = [*image.command, "--self-test"]
        container = Container(root, tmp_path, image=image, volumes=image.volumes, command=command, network=False)
        exit_code, output = container.run()
    assert exit_code == 1, output
    assert re.search(r"^FAILED +pipelines .*pipelines\.broken: ModuleNotFoundError", output, re.MULTILINE), output


@pytest.mark.usefixtures("image")
def test_only_what_the_lock_file_pins_is_installed(tmp_path: Path) -> None:
    """Versions and hashes come from uv.lock; neither uv nor pip is left."""
    with new_container(tmp_path, command=["python", "-c", LIST_INSTALLED], network=False) as container:
        exit_code, output = container.run()
        assert exit_code == 0, output
        installed: dict[str, str] = json.loads(output)
    with buildah.root_folder() as root:
        listed = (root / "packages.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ ;\\]+)", listed, re.MULTILINE))
    assert installed
    assert installed.items() <= pinned.items()
    assert {"zenml", "boto3", "pydantic"} <= installed.keys()
    lock = (buildah.ROOT / "uv.lock").read_text("utf-8")
    hashes = re.findall(r"--hash=(sha256:[0-9a-f]{64})", listed)
    assert len(hashes) >= len(pinned)
    assert all(one in lock for one in hashes)


def test_nothing_of_the_build_machine_is_in_the_image(image: buildah.Configuration) -> None:
    """Build secrets leave neither files nor settings; the image's own certificates are still there."""
    with buildah.root_folder(buildah.BASE) as root:
        own = hashlib.sha256((root / "etc/ssl/certs/ca-certificates.crt").read_bytes()).hexdigest()
    with buildah.root_folder() as root:
        assert hashlib.sha256((root / "etc/ssl/certs/ca-certificates.crt").read_bytes()).hexdigest() == own
        assert not any((root / "run/secrets").glob("*"))
        assert not (root / "etc/pip.conf").exists()
        assert not (root / "etc/uv").exists()
        assert not (root / "usr/local/bin/uv").exists()
        assert {path.name for path in (root / "app").iterdir()} == {"pipelines", "runner", "zentrigger"}
        assert not (root / "app/runner/Dockerfile").exists()
    assert not {"SSL_CERT_FILE", "PIP_CONFIG_FILE", "UV_INDEX_URL"} & image.environment.keys()


def test_a_change_in_pipelines_makes_one_new_layer_within_seconds(image: buildah.Configuration, tmp_path: Path) -> None:
    """So a deployment after a change of code pushes kilobytes."""
    context, tag = tmp_path / "context", f"{buildah.TAG}-changed"
    buildah.copy_context(context)
    with (context / "pipelines/training.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    seconds = buildah.build(context, tag)
    changed = buildah.configuration(tag)
    assert seconds < REBUILD_SECONDS
    assert changed.layers[:-1] == image.layers[:-1]
    assert changed.layers[-1] != image.layers[-1]


def test_another_setting_of_a_tool_installs_nothing_anew(image: buildah.Configuration, tmp_path: Path) -> None:
    """pyproject.toml has more in it than dependencies; the layer of the packages depends on their list alone."""
    context, tag = tmp_path / "context", f"{buildah.TAG}-changed"
    buildah.copy_context(context)
    with (context / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert buildah.build(context, tag) < REBUILD_SECONDS
    assert buildah.configuration(tag).layers == image.layers


def test_a_run_succeeds_in_the_image(image: buildah.Configuration, tmp_path: Path) -> None:
    """HTTP call, functions, task definition, container of the image on a read-only root, record, artifacts in S3."""
    runtime = ImageRuntime(tmp_path)
    parameters = {"ImageUri": image.reference}
    with Cloud(container_runtime=runtime, parameters=parameters, api_port=0, aws_port=0) as cloud:
        runtime.environment = cloud.environment
        headers = {"X-API-Key": _publish(cloud, tmp_path)}
        body = {"pipeline": "training_pipeline", "parameters": {"model_type": "gradient_boosting"}}
        answer = requests.post(f"{cloud.api_url}/runs", json=body, headers=headers, timeout=40)
        assert answer.status_code == 202, answer.text
        run: dict[str, Any] = answer.json()
        while run["ended_at"] is None:
            url = f"{cloud.api_url}/runs/{run['run_id']}?wait=20"
            run = requests.get(url, headers=headers, timeout=40).json()
        task_id = str(run["task_arn"]).rpartition("/")[2]
        assert run["status"] == "succeeded", f"{run}\n{runtime.log(task_id)}"
        assert {step["status"] for step in run["progress"]["steps"]} == {"completed"}
        uris = [output["uri"] for output in run["outputs"] if output.get("uri")]
        assert uris
        assert all(uri.startswith(f"s3://{cloud.outputs['ArtifactBucket']}/runs/{run['run_id']}/") for uri in uris)
    definition = runtime.definitions[0]
    assert definition["readonlyRootFilesystem"] is True
    assert {mount["containerPath"] for mount in definition["mountPoints"]} == WRITTEN_TO
    shutil.rmtree(tmp_path / task_id)
    assert image.command == tuple(definition["command"])


def _publish(cloud: Cloud, folder: Path) -> str:
    """Make a key and publish the shipped pipelines, as a developer does from the repository; gives the key."""
    request = {"action": "create_key", "name": "operator", "scopes": ["admin", "run", "read"]}
    answer = cloud.clients.get("lambda").invoke(
        FunctionName=cloud.outputs["AdminFunction"], Payload=json.dumps(request)
    )
    key = str(json.loads(answer["Payload"].read())["key"])
    zenml = {
        "ZENML_CONFIG_PATH": str(folder / "publish/config"),
        "ZENML_LOCAL_STORES_PATH": str(folder / "publish/stores"),
        "ZENML_ANALYTICS_OPT_IN": "false",
    }
    done = subprocess.run(
        [sys.executable, "-m", "zentrigger_client.cli", "publish", "pipelines"],
        env={**os.environ, **zenml, "ZENTRIGGER_API_URL": cloud.api_url, "ZENTRIGGER_API_KEY": key},
        cwd=buildah.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return key
