"""The two builds: for Lambda, which nothing here can run, and for this machine, which runs."""

import pytest

from tests.artifacts.build import HOST, Layers, build


@pytest.fixture(scope="session")
def lambda_layers(tmp_path_factory: pytest.TempPathFactory) -> Layers:
    """Build what is deployed: arm64, Python 3.13."""
    return build(tmp_path_factory.mktemp("lambda"))


@pytest.fixture(scope="session")
def host_layers(tmp_path_factory: pytest.TempPathFactory) -> Layers:
    """Build the same lock file for this machine."""
    return build(tmp_path_factory.mktemp("host"), **HOST)
