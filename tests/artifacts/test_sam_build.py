"""`sam build` itself, as whoever deploys calls it: with samconfig.toml, without Docker (`make test-artifacts`)."""

import os
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from samtranslator.yaml_helper import yaml_parse

from tests.artifacts.build import ROOT, Layers, digest

SAM = shlex.split(os.environ.get("ZENTRIGGER_SAM", ""))

pytestmark = [
    pytest.mark.sam,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not SAM, reason="needs the SAM CLI: make test-artifacts"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build into a folder of the test's own."""
    folder = tmp_path_factory.mktemp("sam")
    done = subprocess.run(
        [*SAM, "build", "--build-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def template(folder: Path) -> dict[str, Any]:
    """Read what would be deployed."""
    parsed: dict[str, Any] = yaml_parse((folder / "template.yaml").read_text("utf-8"))
    return parsed


def test_layers_are_those_of_the_makefiles(built: Path, lambda_layers: Layers) -> None:
    """Byte for byte: what the other tests looked at is what is deployed."""
    for folder in lambda_layers.folders:
        assert digest(built / folder.name) == digest(folder)


def test_the_built_template_is_whole(built: Path) -> None:
    """Layers come from the build, functions from their folders; CloudFormation knows no YAML aliases."""
    resources = template(built)["Resources"]
    for name in ("DependenciesLayer", "ZentriggerLayer"):
        assert (built / resources[name]["Properties"]["ContentUri"]).is_dir()
    functions = [one["Properties"] for one in resources.values() if one["Type"] == "AWS::Serverless::Function"]
    assert len(functions) >= 5
    for function in functions:
        assert (built / function["CodeUri"] / "handler.py").is_file(), function["CodeUri"]
    text = (built / "template.yaml").read_text("utf-8")
    assert not [token for token in yaml.scan(text) if isinstance(token, yaml.AliasToken)]


def test_every_configuration_builds_alike() -> None:
    """`--config-env` must not bring back a build that fails, or a cache that does not see a new uv.lock."""
    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))
    builds = {name: tables["build"]["parameters"] for name, tables in configuration.items() if name != "version"}
    assert set(builds) == {"default", "dev", "prod"}
    for parameters in builds.values():
        assert parameters == {"build_in_source": True, "cached": False}
