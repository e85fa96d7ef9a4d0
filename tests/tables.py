"""The tables as template.yaml has them: one truth for keys and indexes, for the stack and for the tests."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtranslator.yaml_helper import yaml_parse

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TEMPLATE = Path(__file__).parents[1] / "template.yaml"
MADE_FROM = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")


@cache
def template() -> dict[str, Any]:
    """Give template.yaml, with its intrinsic functions as they are written; read once, for it is not quick."""
    parsed: dict[str, Any] = yaml_parse(TEMPLATE.read_text("utf-8"))
    return parsed


def create_tables(client: "DynamoDBClient") -> None:
    """Make all tables, each named after its logical id."""
    for name, resource in template()["Resources"].items():
        if resource["Type"] == "AWS::DynamoDB::Table":
            properties = resource["Properties"]
            client.create_table(TableName=name, **{key: properties[key] for key in MADE_FROM if key in properties})


def delete_tables(client: "DynamoDBClient") -> None:
    """Delete all tables."""
    for name in client.list_tables()["TableNames"]:
        client.delete_table(TableName=name)
