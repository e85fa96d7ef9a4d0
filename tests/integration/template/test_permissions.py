"""Roles allow exactly what functions, tasks and schedules do: no call is refused, no permission is there for nothing.

The embedded AWS refuses what a role does not allow, so that the first half is shown by everything that works. For the
second, each permission is taken away in turn: some call that was made must then be refused.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from local.iam import Call, Statement, granting, listed
from tests.integration.template.flows import Evidence, functions_evidence, tasks_evidence
from tests.unit.template.checks import statements_of
from tests.unit.template.view import whole

pytestmark = pytest.mark.timeout(300)

Permission = tuple[str, int, int, int]
"""Role, and the numbers of statement, action and resource."""


@pytest.fixture(scope="module")
def evidence() -> tuple[Evidence, ...]:
    """Let functions and tasks do all that they do."""
    return functions_evidence(), tasks_evidence()


def permissions() -> Iterator[Any]:
    """Give each action on each resource of each role."""
    for role, properties in whole().of("AWS::IAM::Role"):
        for number, statement in enumerate(statements_of(properties)):
            for action_number, action in enumerate(listed(statement["Action"])):
                resources = listed(statement["Resource"])
                for resource_number in range(len(resources)):
                    which = f" {resource_number + 1}" if len(resources) > 1 else ""
                    permission = (role, number, action_number, resource_number)
                    yield pytest.param(permission, id=f"{role} {action}{which}")


def without(statements: tuple[Statement, ...], permission: Permission) -> tuple[Statement, ...]:
    """Give the statements without one action on one resource."""
    _, number, action_number, resource_number = permission
    statement = statements[number]
    actions, resources = listed(statement["Action"]), listed(statement["Resource"])
    kept = [
        {**statement, "Action": [action], "Resource": [resource]}
        for i, action in enumerate(actions)
        for j, resource in enumerate(resources)
        if (i, j) != (action_number, resource_number)
    ]
    return (*statements[:number], *kept, *statements[number + 1 :])


def refused(evidence: Evidence, role: str, statements: tuple[Statement, ...]) -> list[Call]:
    """Give the calls of a role that its statements do not allow."""
    return [call for caller, call in evidence.calls if caller == role and not granting(statements, call)]


def test_all_calls_are_allowed(evidence: tuple[Evidence, ...]) -> None:
    """Each names its role, action and resource; and every role makes some."""
    for one in evidence:
        for role, statements in one.policies.items():
            assert refused(one, role, statements) == [], role
    assert {role for one in evidence for role, _ in one.calls} == set(evidence[0].policies)


@pytest.mark.parametrize("role", ["TriggerRole", "OnEventRole"])
def test_of_the_catalogue_only_task_definitions_are_put_by_what_runs(evidence: tuple[Evidence, ...], role: str) -> None:
    """Not the head of a pipeline nor a snapshot; nor anything of which it is not known where it goes."""
    functions = evidence[0]
    (put,) = {
        call
        for caller, call in functions.calls
        if caller == role and call.action == "dynamodb:PutItem" and "CatalogueTable" in call.resource
    }
    assert put.context == (("dynamodb:LeadingKeys", "task_definitions"),)
    for keys in (["pipelines"], ["snapshots#p"], ["pipelines", "task_definitions"], []):
        elsewhere = replace(put, context=tuple(("dynamodb:LeadingKeys", key) for key in keys))
        assert not granting(functions.policies[role], elsewhere), keys


def test_of_the_runs_operators_set_limits_of_pipelines_alone(evidence: tuple[Evidence, ...]) -> None:
    """No head, no part, and no other counts."""
    functions = evidence[0]
    (update,) = {
        call
        for caller, call in functions.calls
        if caller == "AdminRole" and call.action == "dynamodb:UpdateItem" and "RunsTable" in call.resource
    }
    assert update.context == (("dynamodb:LeadingKeys", "capacity#pipeline#training_pipeline"),)
    for keys in (
        ["capacity#all"],
        ["capacity#key#k"],
        ["6f1c52b4-7b0e-5d8a-9a55-3f5a2f8e1c07"],
        ["capacity#pipeline#p", "x"],
    ):
        elsewhere = replace(update, context=tuple(("dynamodb:LeadingKeys", key) for key in keys))
        assert not granting(functions.policies["AdminRole"], elsewhere), keys


def test_who_shows_runs_reads_no_secret_of_a_webhook(evidence: tuple[Evidence, ...]) -> None:
    """Of the keys table the keys alone, of which it has hashes; nor can it ask for both at once, or for all."""
    functions = evidence[0]
    reads = {call for caller, call in functions.calls if caller == "StatusRole" and "KeysTable" in call.resource}
    assert {(call.action, call.context) for call in reads} == {
        ("dynamodb:GetItem", (("dynamodb:LeadingKeys", "keys"),))
    }
    (read,) = reads
    for keys in (["hook_secrets"], ["hook_secrets", "keys"], []):
        elsewhere = replace(read, context=tuple(("dynamodb:LeadingKeys", key) for key in keys))
        assert not granting(functions.policies["StatusRole"], elsewhere), keys
    for action in ("dynamodb:Query", "dynamodb:Scan", "dynamodb:BatchGetItem"):
        assert not granting(functions.policies["StatusRole"], replace(read, action=action)), action


@pytest.mark.parametrize("role", ["LifecycleRole", "OnEventRole", "TaskRole"])
def test_the_keys_table_is_nothing_to_what_runs(evidence: tuple[Evidence, ...], role: str) -> None:
    """Secrets of webhooks are read where they are set and where calls are checked, and nowhere else."""
    functions = evidence[0]
    reader = next(call for caller, call in functions.calls if caller == "TriggerRole" and "KeysTable" in call.resource)
    assert granting(functions.policies["TriggerRole"], reader)
    assert not granting(functions.policies[role], reader)


def test_schedules_are_made_in_the_stacks_own_group_alone(evidence: tuple[Evidence, ...]) -> None:
    """None in the default group, or in another stack's; and each sends as the role that is theirs."""
    functions = evidence[0]
    made = [call for caller, call in functions.calls if caller == "AdminRole" and call.action.startswith("scheduler:")]
    assert {call.action.partition(":")[2] for call in made} == {
        "CreateSchedule",
        "DeleteSchedule",
        "GetSchedule",
        "UpdateSchedule",
    }
    for call in made:
        path, _, name = call.resource.rpartition("/")
        for group in ("default", "local", "other-triggers"):
            elsewhere = replace(call, resource=f"{path.rpartition('/')[0]}/{group}/{name}")
            assert not granting(functions.policies["AdminRole"], elsewhere), group
    passed = {
        (dict(call.context)["iam:PassedToService"], call.resource.rpartition("/")[2])
        for caller, call in functions.calls
        if caller == "AdminRole" and call.action == "iam:PassRole"
    }
    to_schedules = {role for service, role in passed if service == "scheduler.amazonaws.com"}
    assert len(to_schedules) == 1
    assert not to_schedules & {role for service, role in passed if service != "scheduler.amazonaws.com"}


def test_alarms_are_there_if_somebody_is_told(evidence: tuple[Evidence, ...]) -> None:
    """All of the template's with a topic, none without."""
    functions, tasks = evidence
    assert functions.alarms == {name for name, _ in whole().of("AWS::CloudWatch::Alarm")}
    assert tasks.alarms == frozenset()


@pytest.mark.parametrize("permission", list(permissions()))
def test_a_removed_permission_is_missed(evidence: tuple[Evidence, ...], permission: Permission) -> None:
    """A permission that nothing here uses is one too many: take it out, or let `flows` use it."""
    role, number, action_number, resource_number = permission
    missed = []
    for one in evidence:
        if number < len(one.policies[role]):
            missed += refused(one, role, without(one.policies[role], permission))
    statement = evidence[0].policies[role][number]
    action = listed(statement["Action"])[action_number]
    resource = listed(statement["Resource"])[resource_number]

    assert missed, f"{role}: nothing uses {action} on {resource}"
    assert {call.action for call in missed} == {action}
