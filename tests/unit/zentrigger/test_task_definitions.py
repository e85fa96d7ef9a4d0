"""Task definitions: what a snapshot's is made of, and when one is registered."""

from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.loaders import Loader
from botocore.model import ServiceModel

from tests.factories import IMAGE, MOMENT
from zentrigger.errors import BusyError, InvalidRequestError, UnavailableError
from zentrigger.task_definitions import COPIED, REGISTER_TRIES, REMEMBERED, TaskDefinitions

BASE: dict[str, Any] = {
    "taskDefinitionArn": "arn:base:7",
    "family": "zentrigger-runner",
    "revision": 7,
    "status": "ACTIVE",
    "requiresAttributes": [{"name": "com.amazonaws.ecs.capability.task-iam-role"}],
    "compatibilities": ["EC2", "FARGATE"],
    "registeredBy": "somebody",
    "cpu": "1024",
    "memory": "4096",
    "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
    "containerDefinitions": [
        {"name": "sidecar", "image": "other@sha256:1"},
        {
            "name": "runner",
            "image": "base@sha256:1",
            "environment": [{"name": "RUNS_TABLE", "value": "r"}, {"name": "ARTIFACT_BUCKET", "value": "b"}],
            "secrets": [{"name": "ZENML_STORE_API_KEY", "valueFrom": "arn:key"}],
        },
    ],
}
SECRETS = {"TOKEN": "arn:token", "API_KEY": "arn:api"}


class Bench:
    """The adapter between a table in memory and an ECS that numbers what it registers."""

    def __init__(self, base: dict[str, Any] = BASE, table: dict[str, Any] | None = None) -> None:
        self.table = {} if table is None else table
        self.ecs, self.dynamodb = Mock(), Mock()
        self.ecs.describe_task_definition.return_value = {"taskDefinition": base}
        self.ecs.register_task_definition.side_effect = [
            {"taskDefinition": {"taskDefinitionArn": f"arn:revision:{number}"}} for number in range(1, 9)
        ]
        self.dynamodb.get_item.side_effect = self._get
        self.dynamodb.put_item.side_effect = lambda Item, **_: self.table.update({Item["item"]["S"]: Item})  # noqa: N803
        self.definitions = TaskDefinitions(
            base=base["taskDefinitionArn"], family="snapshots", table="t", ecs=self.ecs, dynamodb=self.dynamodb
        )

    def _get(self, Key: dict[str, Any], **_: Any) -> dict[str, Any]:  # noqa: N803
        item = self.table.get(Key["item"]["S"])
        return {"Item": item} if item else {}

    @property
    def calls(self) -> tuple[int, int, int]:
        """How often ECS described and registered, and the table was read."""
        return (
            self.ecs.describe_task_definition.call_count,
            self.ecs.register_task_definition.call_count,
            self.dynamodb.get_item.call_count,
        )

    @property
    def registered(self) -> dict[str, Any]:
        """What was registered last."""
        request: dict[str, Any] = self.ecs.register_task_definition.call_args.kwargs
        return request


def test_a_revision_is_the_base_with_the_snapshots_part_in_it() -> None:
    """Image, architecture and secrets; all else as the stack has it, and nothing that ECS added."""
    bench = Bench()

    assert bench.definitions.revision(IMAGE, "X86_64", SECRETS) == "arn:revision:1"

    assert bench.registered == {
        "family": "snapshots",
        "cpu": "1024",
        "memory": "4096",
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "containerDefinitions": [
            {"name": "sidecar", "image": "other@sha256:1"},
            {
                "name": "runner",
                "image": IMAGE,
                "environment": [{"name": "ARTIFACT_BUCKET", "value": "b"}, {"name": "RUNS_TABLE", "value": "r"}],
                "secrets": [
                    {"name": "API_KEY", "valueFrom": "arn:api"},
                    {"name": "TOKEN", "valueFrom": "arn:token"},
                    {"name": "ZENML_STORE_API_KEY", "valueFrom": "arn:key"},
                ],
            },
        ],
    }


def test_without_an_architecture_the_bases_counts() -> None:
    """And one that says so where the base says nothing is a Linux one."""
    bench = Bench()
    bench.definitions.revision(IMAGE, None, {})
    assert bench.registered["runtimePlatform"]["cpuArchitecture"] == "ARM64"

    bench = Bench({name: value for name, value in BASE.items() if name != "runtimePlatform"})
    bench.definitions.revision(IMAGE, "ARM64", {})
    assert bench.registered["runtimePlatform"] == {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"}


def test_it_is_registered_once_and_remembered() -> None:
    """No call at all in the process that knows it, one read in another, and never a registration for a run."""
    bench = Bench()
    first = bench.definitions.revision(IMAGE, None, SECRETS)
    assert bench.calls == (1, 1, 2)

    assert {bench.definitions.revision(IMAGE, None, dict(reversed(SECRETS.items()))) for _ in range(9)} == {first}
    assert bench.calls == (1, 1, 2)

    another = Bench(table=bench.table)
    assert {another.definitions.revision(IMAGE, None, SECRETS) for _ in range(9)} == {first}
    assert another.calls == (0, 0, 1)


@pytest.mark.parametrize("others", [("other@sha256:2", None, SECRETS), (IMAGE, "X86_64", SECRETS), (IMAGE, None, {})])
def test_another_image_architecture_or_secret_is_another_revision(
    others: tuple[str, str | None, dict[str, str]],
) -> None:
    """Each has its own."""
    bench = Bench()

    assert bench.definitions.revision(IMAGE, None, SECRETS) != bench.definitions.revision(*others)


def test_a_base_that_says_the_same_makes_no_revision() -> None:
    """A stack update that registered it anew, another order, another image of its own: none of it matters."""
    bench = Bench()
    first = bench.definitions.revision(IMAGE, None, {})
    sidecar, runner = BASE["containerDefinitions"]
    moved = {**runner, "image": "base@sha256:2", "environment": list(reversed(runner["environment"]))}
    renewed = Bench(
        BASE | {"taskDefinitionArn": "arn:base:8", "revision": 8, "containerDefinitions": [sidecar, moved]}, bench.table
    )

    assert renewed.definitions.known_revision(IMAGE, None, {}) == first
    assert renewed.definitions.revision(IMAGE, None, {}) == first
    assert renewed.ecs.register_task_definition.call_count == 0
    assert Bench(BASE | {"taskDefinitionArn": "arn:base:8"}, bench.table).definitions.revision(IMAGE, None, {}) == first


def test_a_base_that_changed_makes_one() -> None:
    """More memory, another role: runs get what the stack says now."""
    bench = Bench()
    first = bench.definitions.revision(IMAGE, None, {})
    changed = Bench(BASE | {"taskDefinitionArn": "arn:base:8", "memory": "8192"}, bench.table)
    changed.ecs.register_task_definition.side_effect = [{"taskDefinition": {"taskDefinitionArn": "arn:revision:2"}}]

    assert changed.definitions.known_revision(IMAGE, None, {}) is None
    assert changed.definitions.revision(IMAGE, None, {}) == "arn:revision:2"
    assert bench.definitions.revision(IMAGE, None, {}) == first


def test_looking_writes_nothing() -> None:
    """A dry run neither registers nor keeps anything."""
    bench = Bench()
    assert bench.definitions.known_revision(IMAGE, None, {}) is None
    assert bench.table == {}
    bench.definitions.revision(IMAGE, None, {})
    assert bench.definitions.known_revision(IMAGE, None, {}) == "arn:revision:1"


@pytest.mark.parametrize("name", ["RUNS_TABLE", "ZENML_STORE_API_KEY"])
def test_a_variable_of_the_stack_cannot_be_a_secret(name: str) -> None:
    """The task would not work as the stack says, or ECS would take whichever came last."""
    for ask in (Bench().definitions.revision, Bench().definitions.known_revision):
        with pytest.raises(InvalidRequestError) as caught:
            ask(IMAGE, None, {name: "arn:x", "TOKEN": "arn:y"})
        assert [problem.pointer for problem in caught.value.problems] == [f"/secrets/{name}"]


def _error(code: str, message: str = "said") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "RegisterTaskDefinition")


@pytest.mark.parametrize(
    ("error", "expected", "said"),
    [
        (_error("ThrottlingException"), BusyError, "ThrottlingException"),
        (_error("ServerException"), UnavailableError, "again"),
        (_error("AccessDeniedException"), UnavailableError, "iam:PassRole"),
        (_error("ClientException", "no such role"), InvalidRequestError, "no such role"),
        (EndpointConnectionError(endpoint_url="https://ecs"), UnavailableError, "reached"),
    ],
)
def test_what_ecs_refuses_is_said(error: Exception, expected: type[Exception], said: str) -> None:
    """What may pass, and what the snapshot is to blame for; nothing is kept of either."""
    bench = Bench()
    bench.ecs.register_task_definition.side_effect = [error]

    with pytest.raises(expected, match=said):
        bench.definitions.revision(IMAGE, None, {})

    assert bench.table == {}


def test_a_base_that_ecs_does_not_describe_is_not_the_callers_fault() -> None:
    """Whatever ECS calls it."""
    bench = Bench()
    bench.ecs.describe_task_definition.side_effect = _error("ClientException", "Unable to describe task definition.")

    for ask in (bench.definitions.base, lambda: bench.definitions.revision(IMAGE, None, {})):
        with pytest.raises(UnavailableError, match="describe"):
            ask()


def test_others_that_register_at_the_same_moment_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """ECS takes one at a time in a family; if it was this very definition, theirs is used."""
    monkeypatch.setattr("zentrigger.task_definitions.time.sleep", lambda _: None)
    contended = _error(
        "ClientException", "Too many concurrent attempts to create a new revision of the specified family."
    )
    bench, other = Bench(), Bench()
    other.definitions.revision(IMAGE, None, {})

    def contend(**_: Any) -> None:
        bench.table.update(other.table)
        raise contended

    bench.ecs.register_task_definition.side_effect = contend
    assert bench.definitions.revision(IMAGE, None, {}) == "arn:revision:1"
    assert bench.ecs.register_task_definition.call_count == 1

    bench.ecs.register_task_definition.side_effect = [contended] * REGISTER_TRIES
    with pytest.raises(BusyError, match="busy"):
        bench.definitions.revision("other@sha256:2", None, {})


def test_the_stacks_image_is_asked_for_each_time() -> None:
    """It may be a name whose meaning moves."""
    bench = Bench()

    assert {bench.definitions.base() for _ in range(2)} == {("base@sha256:1", "ARM64")}
    assert bench.calls == (2, 0, 0)

    plain = Bench({name: value for name, value in BASE.items() if name != "runtimePlatform"})
    assert plain.definitions.base().architecture == "X86_64"


class Deregistered(Bench):
    """Two processes with one table and an ECS that knows what became of each revision."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = MOMENT
        self.status = {f"arn:revision:{number}": "ACTIVE" for number in range(1, 9)}
        self.ecs.describe_task_definition.side_effect = self._described
        self.definitions, self.other = (
            TaskDefinitions(
                base="arn:base:7",
                family="snapshots",
                table="t",
                ecs=self.ecs,
                dynamodb=self.dynamodb,
                clock=lambda: self.moment,
            )
            for _ in range(2)
        )

    def _described(self, taskDefinition: str) -> dict[str, Any]:  # noqa: N803
        if taskDefinition == "arn:base:7":
            return {"taskDefinition": BASE}
        if taskDefinition not in self.status:
            raise _error("ClientException", "Unable to describe task definition.")
        return {"taskDefinition": {"status": self.status[taskDefinition]}}


@pytest.mark.parametrize("became", ["INACTIVE", "DELETE_IN_PROGRESS", None])
def test_a_revision_that_is_gone_is_made_anew_when_publishing(became: str | None) -> None:
    """Under both keys; other processes believe what they know for ten minutes, as ECS itself does."""
    bench = Deregistered()
    assert bench.definitions.usable_revision(IMAGE, "ARM64", {}) == "arn:revision:1"
    assert bench.calls == (1, 1, 2), "what was just registered was looked at"
    assert bench.other.revision(IMAGE, "ARM64", {}) == "arn:revision:1"
    bench.status.pop("arn:revision:1")
    if became is not None:
        bench.status["arn:revision:1"] = became

    assert bench.definitions.usable_revision(IMAGE, "ARM64", {}) == "arn:revision:2"

    assert {item["arn"]["S"] for item in bench.table.values()} == {"arn:revision:2"}
    assert len(bench.table) == 2
    assert bench.definitions.revision(IMAGE, "ARM64", {}) == "arn:revision:2"
    bench.moment += REMEMBERED - timedelta(seconds=1)
    assert bench.other.revision(IMAGE, "ARM64", {}) == "arn:revision:1"
    bench.moment += timedelta(seconds=1)
    assert bench.other.revision(IMAGE, "ARM64", {}) == "arn:revision:2"
    assert bench.ecs.register_task_definition.call_count == 2


def test_a_revision_that_can_be_used_is_kept_when_publishing() -> None:
    """ECS is asked once; and a run never asks it."""
    bench = Deregistered()
    bench.definitions.revision(IMAGE, "ARM64", {})
    before = bench.calls

    assert bench.other.usable_revision(IMAGE, "ARM64", {}) == "arn:revision:1"
    assert bench.calls == (before[0] + 1, 1, before[2] + 1)


def test_an_ecs_that_does_not_answer_makes_no_revision() -> None:
    """What it did not say may not be taken for what it said."""
    bench = Deregistered()
    bench.definitions.revision(IMAGE, "ARM64", {})
    bench.ecs.describe_task_definition.side_effect = _error("ThrottlingException")

    with pytest.raises(UnavailableError, match="ThrottlingException"):
        bench.other.usable_revision(IMAGE, "ARM64", {})
    assert bench.ecs.register_task_definition.call_count == 1


def test_all_that_can_be_registered_is_copied() -> None:
    """But for the family, which is another, and tags, which are no part of what is described."""
    model = ServiceModel(Loader().load_service_model("ecs", "service-2"))
    taken = set(model.operation_model("RegisterTaskDefinition").input_shape.members)  # type: ignore[union-attr]

    assert set(COPIED) == taken - {"family", "tags"}
