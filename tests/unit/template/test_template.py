"""The template against the code: what holds of it, and that each check sees what breaks it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.unit.template import checks
from tests.unit.template.view import Json, View, named, whole

Path = tuple[str | int, ...]
Mutation = tuple[str, Callable[[View], None], tuple[str, ...]]
"""Id, what it does to a copy of the template, and the names that a problem must have."""


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_the_template_holds(check: Callable[[View], Iterator[str]]) -> None:
    """Each problem names its resource."""
    assert list(check(whole())) == []


def test_what_is_accepted_has_its_reason_beside_it() -> None:
    """Findings of checkov that stay: each with its number and a sentence."""
    accepted = [
        entry
        for resource in whole().resources.values()
        for entry in resource.get("Metadata", {}).get("checkov", {}).get("skip", ())
    ]
    assert accepted
    for entry in accepted:
        assert entry["id"].startswith("CKV_AWS_")
        assert len(entry["comment"]) > 30, entry


def test_there_is_something_to_look_at() -> None:
    """An empty view must not make these tests pass by finding nothing."""
    view = whole()
    assert len(list(view.functions())) >= 5
    assert len(list(view.routes())) >= 20
    assert len(list(view.targets())) >= 4
    assert len(list(view.mappings())) >= 2
    assert len(list(_mutations())) >= 150


def _mutations() -> Iterator[Mutation]:
    yield from _of_environments()
    yield from _of_routes()
    yield from _of_failures()
    yield from _of_keys()
    yield from _of_logs_and_roles()
    yield from _of_permissions()
    yield from _of_time()
    yield from _of_alarms()


def _of_environments() -> Iterator[Mutation]:
    for function in whole().functions():
        variables = ("Properties", "Environment", "Variables")
        for name in function.variables:
            yield f"{function.name} without {name}", _without(function.name, *variables, name), (function.name, name)
        yield (
            f"{function.name} with a typo",
            _with(function.name, "x", *variables, "RUN_TABLE"),
            (function.name, "RUN_T"),
        )
    (name, definition), *_ = whole().of("AWS::ECS::TaskDefinition")
    container = ("Properties", "ContainerDefinitions", 0)
    for kind in ("Environment", "Secrets"):
        for number, entry in enumerate(definition["ContainerDefinitions"][0][kind]):
            variable = entry.get("Name") or entry["Fn::If"][1]["Name"]
            yield f"{name} without {variable}", _without(name, *container, kind, number), (name, variable)
    yield f"{name} with another container", _with(name, "main", *container, "Name"), (name, "main")


def _of_routes() -> Iterator[Mutation]:
    view = whole()
    (api, properties), *_ = view.of("AWS::ApiGatewayV2::Api")
    for path, methods in properties["Body"]["paths"].items():
        for method in methods:
            expected = "$default" if path.endswith("$default") else f"{method.upper()} {path}"
            yield f"no {expected}", _without(api, "Properties", "Body", "paths", path, method), (expected,)
    paths = properties["Body"]["paths"]
    extra = _with(api, {"get": paths["/runs"]["get"]}, "Properties", "Body", "paths", "/nobody")
    yield "a route of nobody", extra, ("GET /nobody",)
    elsewhere = _with(api, paths["/runs"]["get"], "Properties", "Body", "paths", "/runs", "post")
    yield "a route to another function", elsewhere, ("StatusFunction", "POST /runs")


def _of_failures() -> Iterator[Mutation]:
    view = whole()
    for rule, _, _ in view.targets():
        path = ("Properties", "Targets", 0, "DeadLetterConfig")
        yield f"{rule} without a dead-letter queue", _without(rule, *path), (rule, "dead-letter")
    for name, configuration in view.of("AWS::Lambda::EventInvokeConfig"):
        (function,) = named(configuration["FunctionName"])
        yield f"no {name}", _without(name), (function, "failure destination")
    for name, mapping in view.mappings():
        yield f"{name}: whole batches", _without(name, "Properties", "FunctionResponseTypes"), (name, "batch")
        if "DestinationConfig" in mapping:
            yield f"{name} loses batches", _without(name, "Properties", "DestinationConfig"), (name, "lost")
            yield f"{name} for ever", _without(name, "Properties", "MaximumRetryAttempts"), (name, "blocks")
    yield "EventQueue for ever", _without("EventQueue", "Properties", "RedrivePolicy"), ("EventQueue", "dead-letter")


def _of_keys() -> Iterator[Mutation]:
    for table, properties in whole().of("AWS::DynamoDB::Table"):
        schemas: list[tuple[Path, Any, str]] = [(("KeySchema",), properties["KeySchema"], table)]
        for number, index in enumerate(properties.get("GlobalSecondaryIndexes", ())):
            schemas.append(
                (("GlobalSecondaryIndexes", number, "KeySchema"), index["KeySchema"], f"index {index['IndexName']}")
            )
            indexes = ("Properties", "GlobalSecondaryIndexes", number)
            yield f"no {index['IndexName']}", _without(table, *indexes), (table, f"index {index['IndexName']}")
        for place, schema, said in schemas:
            for number, key in enumerate(schema):
                mutation = _with(table, "other", "Properties", *place, number, "AttributeName")
                yield f"{table}, {said}: {key['AttributeName']} renamed", mutation, (table, said, "other")
        if "TimeToLiveSpecification" in properties:
            yield f"{table} keeps all", _without(table, "Properties", "TimeToLiveSpecification"), (table, "expire")
    yield (
        "no new images",
        _with("RunsTable", "KEYS_ONLY", "Properties", "StreamSpecification", "StreamViewType"),
        (
            "RunsTable",
            "stream",
        ),
    )


def _of_logs_and_roles() -> Iterator[Mutation]:
    view = whole()
    for name, _ in view.of("AWS::Logs::LogGroup"):
        yield f"{name} for ever", _without(name, "Properties", "RetentionInDays"), (name, "retention")
        yield f"no {name}", _without(name), (name, "log group")
    for function in view.functions():
        yield f"{function.name} logs anywhere", _without(function.name, "Properties", "LoggingConfig"), (function.name,)
        role = next(iter(named(function.properties["Role"])))
        yield f"no {role}", _without(role), (function.name, "role")
        statement = ("Properties", "Policies", 0, "PolicyDocument", "Statement", 1)
        yield f"{role} may all", _with(role, "dynamodb:*", *statement, "Action"), (role, "dynamodb:*")
        yield f"{role} may everywhere", _with(role, "*", *statement, "Resource"), (role, "everything")


def _of_permissions() -> Iterator[Mutation]:
    elsewhere = {"Fn::Sub": "${AWS::StackName}-other"}
    for function in ("AdminFunction", "TriggerFunction", "OnEventFunction"):
        registers = _with(function, elsewhere, "Properties", "Environment", "Variables", "SNAPSHOT_FAMILY")
        yield f"{function} registers elsewhere", registers, (function, "-other")
    for role, properties in whole().of("AWS::IAM::Role"):
        for number, statement in enumerate(checks.statements_of(properties)):
            if statement["Action"] == "ecs:RunTask":
                place = ("Properties", "Policies", 0, "PolicyDocument", "Statement", number, "Resource")
                text = statement["Resource"]["Fn::Sub"].replace("-snapshot:", "-runner:")
                yield f"{role} launches the base", _with(role, {"Fn::Sub": text}, *place), (role, "-runner:*")
                yield f"{role} launches all", _with(role, [statement["Resource"], {}], *place), (role, "None,")
    for name, permission in whole().of("AWS::Lambda::Permission"):
        if permission["Principal"] == "events.amazonaws.com":
            (function,) = named(permission["FunctionName"])
            (rule,) = named(permission["SourceArn"])
            yield f"no {name}", _without(name), (function, rule)
    for number, queue in enumerate(("EventQueue", "DeadLetterQueue")):
        yield f"no sending to {queue}", _without("QueuePolicy", "Properties", "Queues", number), (queue, "policy")
        sending = ("Properties", "Policies", 0, "PolicyDocument", "Statement", 0, "Resource", number)
        yield f"no schedule sends to {queue}", _without("ScheduleRole", *sending), (queue, "ScheduleRole", "send")
    trusted = ("Properties", "AssumeRolePolicyDocument", "Statement", 0, "Principal", "Service")
    others = _with("ScheduleRole", "events.amazonaws.com", *trusted)
    yield "ScheduleRole is assumed by others", others, ("ScheduleRole", "cannot be assumed")
    anybodys = _without("ScheduleRole", *trusted[:-2], "Condition", "StringEquals", "aws:SourceArn")
    yield "ScheduleRole is everybody's", anybodys, ("ScheduleRole", "any group")
    variables = ("Properties", "Environment", "Variables")
    default = _with("AdminFunction", "default", *variables, "SCHEDULE_GROUP")
    yield "schedules in the default group", default, ("AdminFunction", "group")
    unused = _without("AdminFunction", *variables, "SCHEDULE_ROLE_ARN")
    yield "a role that schedules are not given", unused, ("ScheduleRole", "nobody's role")
    yield "no schedules at all", unused, ("no function makes schedules",)


def _of_time() -> Iterator[Mutation]:
    for function in whole().functions():
        yield (
            f"{function.name} takes ever",
            _with(function.name, 900, "Properties", "Timeout"),
            (function.name, "900 s"),
        )
    short = _with("EventQueue", 60, "Properties", "VisibilityTimeout")
    yield "EventQueue gives up early", short, ("OnEventFunction", "too long")
    brought = {
        "ArrivalRule": "aws.s3 Object Created",
        "RunEndedRule": "zentrigger Pipeline Run Cancelled",
        "ScheduleRule": "zentrigger.schedule",
        "ScheduleSyncRule": "invoke settle_schedules",
        "SweepRule": "aws.events Scheduled Event",
        "TaskStateRule": "aws.ecs ECS Task State Change",
    }
    for rule, kind in brought.items():
        yield f"no {rule}", _without(rule), (kind,)
    action = _with("ScheduleSyncRule", '{"action": "settle"}', "Properties", "Targets", 0, "Input")
    yield "another action each minute", action, ("AdminFunction", "invoke settle,", "does not know")
    elsewhere = _with("TriggerFunction", {"Ref": "X"}, "Properties", "Environment", "Variables", "EVENT_QUEUE_URL")
    yield "webhooks to another queue", elsewhere, ("zentrigger.webhook Webhook",)


def _of_alarms() -> Iterator[Mutation]:
    for name, alarm in whole().of("AWS::CloudWatch::Alarm"):
        yield f"{name} always", _without(name, "Condition"), (name, "without anybody to tell")
        yield f"{name} tells nobody", _without(name, "Properties", "AlarmActions"), (name, "AlarmActions")
        yield f"{name} has a typo", _with(name, "Typo", "Properties", "MetricName"), (name, "Typo")
        yield f"{name} of nothing", _with(name, [{"Name": "x", "Value": "y"}], "Properties", "Dimensions"), (name,)
        yield f"{name} without data", _with(name, "breaching", "Properties", "TreatMissingData"), (name, "no alarm")
        if alarm["TreatMissingData"] == "missing":
            silent = _without(name, "Properties", "InsufficientDataActions")
            yield f"{name} keeps silent", silent, (name, "InsufficientDataActions")
    for name, missed in {
        "DeadLettersAlarm": "DeadLetterQueue",
        "EventsWaitAlarm": "EventQueue",
        "CapacityDriftAlarm": "CapacityDrifts",
        "LateStopAlarm": "LateStops",
        "LongWaitAlarm": "OldestWaiting",
    }.items():
        yield f"no {name}", _without(name), (missed, "no alarm watches it")


def _without(name: str, *path: str | int) -> Callable[[View], None]:
    """Remove a resource, or what stands at a path in it."""

    def remove(view: View) -> None:
        *parents, last = (name, *path)
        del _at(view.resources, parents)[last]

    return remove


def _with(name: str, value: Any, *path: str | int) -> Callable[[View], None]:
    """Set what stands at a path in a resource."""

    def replace(view: View) -> None:
        *parents, last = (name, *path)
        _at(view.resources, parents)[last] = value

    return replace


def _at(value: Json, path: Sequence[str | int]) -> Any:
    found: Any = value
    for step in path:
        found = found[step]
    return found


@pytest.mark.parametrize(("mutate", "names"), [m[1:] for m in _mutations()], ids=[m[0] for m in _mutations()])
def test_what_is_removed_or_wrong_is_named(mutate: Callable[[View], None], names: tuple[str, ...]) -> None:
    """Each permission of a service, queue, variable, route, key, log group, role and rule is missed by a check."""
    broken = whole().copied()
    mutate(broken)

    problems = [problem for check in checks.ALL for problem in check(broken)]

    assert any(all(name in problem for name in names) for problem in problems), problems
