"""Publishing as tests need it: a publisher on any DynamoDB, with task definitions that nobody has to register."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.factories import IMAGE, TASK_DEFINITION, TRAINING, publication
from zentrigger.catalogue import DeployedImage, SnapshotContent
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.publishing import Publication, Publisher
from zentrigger.trigger_store import TriggerStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class KnownTaskDefinitions:
    """Task definitions that are all the same one."""

    def __init__(self, image: str = IMAGE) -> None:
        self.image = image

    def base(self) -> DeployedImage:
        """Give what the stack was deployed with."""
        return DeployedImage(self.image, "ARM64")

    def usable_revision(self, image: str, architecture: str | None, secrets: Mapping[str, str]) -> str:
        """Give the one ARN."""
        del image, architecture, secrets
        return TASK_DEFINITION


def publisher(client: "DynamoDBClient", **values: Any) -> Publisher:
    """Make a publisher on the tables of the template; `values` are what it is to have otherwise."""
    made: dict[str, Any] = {
        "catalogue": CatalogueStore("CatalogueTable", client),
        "triggers": TriggerStore("TriggersTable", client),
        "task_definitions": KnownTaskDefinitions(),
    }
    return Publisher(**made | values)


def publish(client: "DynamoDBClient", content: SnapshotContent = TRAINING, **values: Any) -> Publication:
    """Publish a content."""
    return publisher(client).publish(publication(content, **values), "tests")
