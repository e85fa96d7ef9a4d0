"""The product on the embedded AWS, with a real ZenML server, its key handed over as the template hands it over."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.cloud import Cloud
from local.prepare import prepare_stack
from tests.end_to_end.conftest import Product
from tests.zenml_server.server import PYTHON, Line, ServiceAccountKey, ZenmlServer

HERE = Path(__file__).parent
SECRET = "zenml-api-key"
SUFFIX = "AbCdEf"
SECRET_ARN = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{SECRET}-{SUFFIX}"


@dataclass
class Installation:
    """Everything an operator has: the server, its key, the line to it, the product."""

    server: ZenmlServer
    key: ServiceAccountKey
    line: Line
    artifacts: Path
    product: Product

    def put_key(self, value: str) -> None:
        """Put a key into the secret; the next task reads it."""
        self.product.client("secretsmanager").put_secret_value(SecretId=SECRET, SecretString=value)


@pytest.fixture(scope="session")
def zenml_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZenmlServer]:
    """Run a ZenML server."""
    if PYTHON is None:
        pytest.skip("the ZenML server has an environment of its own: make test-zenml-server")
    server = ZenmlServer(PYTHON, tmp_path_factory.mktemp("zenml-server"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def installation(zenml_server: ZenmlServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Deploy the product with the server, a service account's key in a secret, and a stack that outlives tasks."""
    project = tmp_path_factory.mktemp("project") / "code"
    shutil.copytree(HERE / "user_project", project, ignore=shutil.ignore_patterns("__pycache__"))
    key = zenml_server.make_key("zentrigger")
    line = Line(zenml_server.port)
    line.open()
    artifacts = tmp_path_factory.mktemp("artifacts")
    stack_id = operate(zenml_server, key, artifacts.parent, "register_stack.py", str(artifacts))
    parameters = {
        "ZenmlStoreUrl": line.url,
        "ZenmlApiKeySecretArn": SECRET_ARN,
        "ZenmlStackId": stack_id,
        "TaskMemory": "2048",
    }
    with Cloud(parameters=parameters, sources=[project], api_port=0, aws_port=0) as cloud:
        # The stack's parameter needs the ARN before there is an embedded AWS to make the secret in. Its last six
        # characters are AWS's to choose; this tag has moto choose ours.
        tag = {"Key": "_custom_id_", "Value": SUFFIX}
        secrets = cloud.clients.get("secretsmanager")
        made = secrets.create_secret(Name=SECRET, SecretString=key.value, Tags=[tag])
        assert made["ARN"] == SECRET_ARN
        product = Product(cloud, prepare_stack(cloud, print).api_key, project)
        product.publish("server_pipelines")
        yield Installation(zenml_server, key, line, artifacts, product)
    line.cut()


def operate(server: ZenmlServer, key: ServiceAccountKey, folder: Path, script: str, *arguments: str) -> str:
    """Run a script of the project as a user does on their own machine, and give the last word that it prints."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE / "user_project"),
        "ZENML_STORE_URL": server.url,
        "ZENML_STORE_API_KEY": key.value,
        "ZENML_CONFIG_PATH": str(folder / "operator"),
        "ZENML_ANALYTICS_OPT_IN": "false",
    }
    done = subprocess.run(
        [sys.executable, str(HERE / "user_project" / script), *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split()[-1]
