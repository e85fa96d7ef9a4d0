"""DynamoDB as the tests need it: moto in this process, and DynamoDB Local for whatever claims atomicity."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from tests.dynamodb_local import server
from tests.tables import create_tables, delete_tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REGION = "eu-west-1"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str]:
    """Run DynamoDB Local for the session."""
    lacking = server.missing()
    if lacking and server.REQUIRED:
        pytest.fail(lacking)
    if lacking:
        pytest.skip(lacking)
    with server.running() as url:
        yield url


@pytest.fixture(scope="session")
def _dynamodb_local_client(dynamodb_local_url: str) -> "DynamoDBClient":
    client: DynamoDBClient = boto3.client(
        "dynamodb",
        endpoint_url=dynamodb_local_url,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(max_pool_connections=100),
    )
    return client


@pytest.fixture
def dynamodb_local(_dynamodb_local_client: "DynamoDBClient") -> Iterator["DynamoDBClient"]:
    """Give a client of DynamoDB Local, with the template's tables, empty."""
    create_tables(_dynamodb_local_client)
    yield _dynamodb_local_client
    delete_tables(_dynamodb_local_client)


@pytest.fixture(scope="session")
def _dynamodb_moto_client() -> "DynamoDBClient":
    with mock_aws():
        client: DynamoDBClient = boto3.client("dynamodb", region_name=REGION)
    return client


@pytest.fixture
def dynamodb_moto(_dynamodb_moto_client: "DynamoDBClient") -> Iterator["DynamoDBClient"]:
    """Give a client of moto in this process, with the template's tables, empty. For one thread: moto is not atomic."""
    with mock_aws():
        create_tables(_dynamodb_moto_client)
        yield _dynamodb_moto_client


@pytest.fixture(params=["moto", pytest.param("dynamodb_local", marks=pytest.mark.dynamodb_local)])
def dynamodb(request: pytest.FixtureRequest) -> "DynamoDBClient":
    """Give each DynamoDB in turn."""
    name = "dynamodb_moto" if request.param == "moto" else "dynamodb_local"
    client: DynamoDBClient = request.getfixturevalue(name)
    return client
