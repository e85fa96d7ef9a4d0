"""The steps of a deployment after `sam deploy`, as they are, against the embedded AWS."""

import os
from collections.abc import Iterator

import pytest

from deploy import __main__ as command_line
from deploy import stack
from tests.end_to_end.conftest import ROOT, Product

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]


@pytest.fixture
def _deployed(product: Product, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the deployer reach the embedded AWS, and show it the stack's outputs, which its CloudFormation does not."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in product.cloud.environment.items():
        monkeypatch.setenv(name, value)
    state = stack.StackState("local", "CREATE_COMPLETE", product.cloud.outputs)
    monkeypatch.setattr(stack, "describe", lambda _, __: state)
    yield
    product.client("secretsmanager").delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)


SECRET = "zentrigger-dev/operator-key"


@pytest.mark.usefixtures("_deployed")
def test_publish_and_smoke(product: Product, capfd: pytest.CaptureFixture[str]) -> None:
    """A key is made and kept, the pipelines are published with it, and a run succeeds; the key is never printed."""
    assert command_line.main(["publish", "--stage", "dev"], root=ROOT) == 0
    assert command_line.main(["smoke", "--stage", "dev", "--timeout", "120"], root=ROOT) == 0
    printed = "".join(capfd.readouterr())
    key = product.client("secretsmanager").get_secret_value(SecretId=SECRET)["SecretString"]
    assert product.call("GET", "/keys", **{"X-API-Key": key}).status_code == 200
    assert "making an API key" in printed
    assert "training_pipeline" in printed
    assert "succeeded" in printed
    assert key not in printed
    assert command_line.main(["publish", "--stage", "dev"], root=ROOT) == 0
    assert "making an API key" not in "".join(capfd.readouterr())
