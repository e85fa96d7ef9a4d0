"""Publishing as tests need it: a publisher on any DynamoDB, with task definitions that nobody has to register."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tests.factories import IMAGE, TASK_DEFINITION, TRAINING, publication
from zentrigger.catalogue import DeployedImage, SnapshotContent
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.hook_secrets import HookSecretStore
from zentrigger.publishing import Publication, Publisher
from zentrigger.trigger_store import TriggerStore
from zentrigger.trigger_writer import TriggerWriter
from zentrigger.triggers import Trigger, TriggerDefinition

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


class Operator(Publisher):
    """Who publishes, and puts triggers."""

    def __init__(self, client: "DynamoDBClient", **values: Any) -> None:
        super().__init__(**values)
        self._writer = trigger_writer(client, catalogue=values["catalogue"], triggers=values["triggers"])

    def put_trigger(self, name: str, definition: TriggerDefinition) -> Trigger:
        """Put one trigger, and give it."""
        (change,) = self._writer.put(name, definition).changes
        assert change.after is not None
        return change.after


def trigger_writer(client: "DynamoDBClient", **values: Any) -> TriggerWriter:
    """Make what writes triggers; `values` are what it is to have otherwise."""
    made: dict[str, Any] = {
        "client": client,
        "triggers": TriggerStore("TriggersTable", client),
        "catalogue": CatalogueStore("CatalogueTable", client),
        "secrets": HookSecretStore("KeysTable", client),
        "artifact_bucket": "artifacts",
    }
    return TriggerWriter(**made | values)


def publisher(client: "DynamoDBClient", **values: Any) -> Operator:
    """Make a publisher on the tables of the template; `values` are what it is to have otherwise."""
    made: dict[str, Any] = {
        "catalogue": CatalogueStore("CatalogueTable", client),
        "triggers": TriggerStore("TriggersTable", client),
        "task_definitions": KnownTaskDefinitions(),
    }
    return Operator(client, **made | values)


def publish(client: "DynamoDBClient", content: SnapshotContent = TRAINING, **values: Any) -> Publication:
    """Publish a content."""
    return publisher(client).publish(publication(content, **values), "tests")
