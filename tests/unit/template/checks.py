"""What must hold of the template: each check gives a sentence for each resource that breaks it, by its name."""

import ast
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests import factories
from tests.unit.template.view import ROOT, Json, View, named
from zentrigger import settings
from zentrigger.api import OPERATIONS
from zentrigger.events import WEBHOOK_SOURCE
from zentrigger.launches import Network, launch_request
from zentrigger.metrics import measure
from zentrigger.run_items import head_item
from zentrigger.sweep_report import SweepReport

GATEWAY_SECONDS = 30
"""API Gateway gives up on a function after that (AWS: Quotas for HTTP APIs)."""

SWEEP_SECONDS = 60
"""A rule that fires each minute, and a stream whose next batch waits for this one, must find the function free."""

QUEUE_FACTOR = 6
"""How many times a function's time-out its queue's visibility time-out is (AWS: Using Lambda with Amazon SQS)."""

EVENTS = ROOT / "events"
RUNNER = ROOT / "runner"
POWERTOOLS = {
    "Logger": {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOG_LEVEL"},
    "Metrics": {"POWERTOOLS_METRICS_NAMESPACE"},
}
READ_BY_ZENML = {"ZENML_STORE_URL", "ZENML_STORE_API_KEY", "ZENML_ACTIVE_STACK_ID"}
SET_BY_ECS = {"ECS_CONTAINER_METADATA_URI_V4"}

KEYS: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RunsTable", None): ("run_id", "part"),
    ("RunsTable", "active"): ("active", "rank"),
    ("RunsTable", "by_pipeline"): ("pipeline", "created"),
    ("RunsTable", "by_trigger"): ("trigger", "created"),
    ("RunsTable", "by_month"): ("month", "created"),
    ("CatalogueTable", None): ("collection", "item"),
    ("TriggersTable", None): ("collection", "item"),
    ("KeysTable", None): ("collection", "item"),
}
"""Keys of tables and indexes as the stores use them (test_keys.py holds the stores to it)."""

AWS_METRICS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ("AWS::SQS::Queue", "QueueName"),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): ("AWS::SQS::Queue", "QueueName"),
    ("AWS/Lambda", "Errors"): ("AWS::Lambda::Function", "FunctionName"),
    ("AWS/Lambda", "Invocations"): ("AWS::Lambda::Function", "FunctionName"),
    ("AWS/ApiGateway", "5xx"): ("AWS::ApiGatewayV2::Api", "ApiId"),
}
"""Metrics that AWS writes by itself -> what they are of, and their dimension (AWS: the guide of each service)."""

ALARMING = {"CapacityDrifts", "LateStops", "OldestWaiting"}
"""Of the sweep's metrics those that somebody has to look at; the others are there to be looked at."""

SENT: Mapping[str, tuple[str, ...]] = {"EVENT_QUEUE_URL": ("event", WEBHOOK_SOURCE, "Webhook")}
"""Variable with a queue -> the kind of event that its function itself sends there."""

BY_HAND = ("invoke", "create_key")
"""What an operator invokes a function with, and nothing in the template."""

KNOW_NO_RESOURCE = {"ecs:DescribeTaskDefinition", "ecs:RegisterTaskDefinition"}
"""Actions that can be allowed on everything only (AWS: Service Authorization Reference)."""

Problems = Iterator[str]


def log_groups(view: View) -> Problems:
    """Everything that logs has a log group of the stack, with an end of its retention."""
    users = [(f.name, f.properties.get("LoggingConfig", {}).get("LogGroup")) for f in view.functions()]
    users += [(name, stage.get("AccessLogSettings", {}).get("DestinationArn")) for name, stage in _stages(view)]
    for name, definition in view.of("AWS::ECS::TaskDefinition"):
        for container in definition["ContainerDefinitions"]:
            users.append((name, container.get("LogConfiguration", {}).get("Options", {}).get("awslogs-group")))
    kept = {name for name, group in view.of("AWS::Logs::LogGroup") if group.get("RetentionInDays")}
    for user, group in users:
        if not named(group) & kept:
            yield f"{user} logs to no log group with a retention: {group}"
    for name, _ in view.of("AWS::Logs::LogGroup"):
        if name not in kept:
            yield f"{name} has no retention, so its logs stay for ever"
        if name not in set(chain.from_iterable(named(group) for _, group in users)):
            yield f"{name} is nobody's log group"


def roles(view: View) -> Problems:
    """Each function has a role of its own that the template writes out, without wildcards in its actions."""
    written = dict(view.of("AWS::IAM::Role"))
    used: set[str] = set()
    for function in view.functions():
        mine = named(function.properties.get("Role")) & set(written)
        if not mine or mine & used:
            yield f"{function.name} has no role of its own in the template: {function.properties.get('Role')}"
        used |= mine
    used |= _passed_roles(view)
    for name, role in written.items():
        if name not in used:
            yield f"{name} is nobody's role"
        for statement in statements_of(role):
            for action in _listed(statement["Action"]):
                if "*" in action:
                    yield f"{name} allows {action}"
            bounded = "Condition" in statement or set(_listed(statement["Action"])) <= KNOW_NO_RESOURCE
            if "*" in _listed(statement["Resource"]) and not bounded:
                yield f"{name} allows {statement['Action']} on everything"


def families(view: View) -> Problems:
    """See that what functions register may be launched, and nothing else."""
    registered = {
        function.name: str(function.variables["SNAPSHOT_FAMILY"]["Fn::Sub"])
        for function in view.functions()
        if "SNAPSHOT_FAMILY" in function.variables
    }
    for role, properties in view.of("AWS::IAM::Role"):
        for statement in statements_of(properties):
            if "ecs:RunTask" not in _listed(statement["Action"]):
                continue
            launched = {str(resource.get("Fn::Sub")) for resource in _listed(statement["Resource"])}
            for function, family in registered.items():
                if {text.rpartition("/")[2] for text in launched} != {f"{family}:*"}:
                    yield f"{role} may launch {', '.join(sorted(launched))}, and {function} registers {family}"


def time_outs(view: View) -> Problems:
    """See that a function ends before whoever called it gives up."""
    limits: dict[str, list[tuple[float, str]]] = {}
    for method, path, called in view.routes():
        limits.setdefault(called, []).append((GATEWAY_SECONDS, f"{method} {path}"))
    for name, _, target in view.targets():
        for called in named(target["Arn"]):
            limits.setdefault(called, []).append((SWEEP_SECONDS, name))
    for name, mapping in view.mappings():
        (reader,) = named(mapping["FunctionName"])
        (source,) = named(mapping["EventSourceArn"])
        limit: float = SWEEP_SECONDS
        if view.resources[source]["Type"] == "AWS::SQS::Queue":
            visible = view.resources[source]["Properties"].get("VisibilityTimeout", 30)
            limit = (visible - mapping.get("MaximumBatchingWindowInSeconds", 0)) / QUEUE_FACTOR + 1
        limits.setdefault(reader, []).append((limit, name))
    for function in view.functions():
        if function.name not in limits:
            yield f"{function.name} is called by nobody"
        for limit, caller in limits.get(function.name, ()):
            if function.timeout >= limit:
                yield f"{function.name} may take {function.timeout} s, too long for {caller} ({limit:g} s)"


def failures(view: View) -> Problems:
    """See that what fails for good ends in a queue: events at rules, asynchronous invocations, batches, messages."""
    queues = {name for name, _ in view.of("AWS::SQS::Queue")}
    functions = {function.name: function for function in view.functions()}
    caught = {
        name
        for _, configuration in view.of("AWS::Lambda::EventInvokeConfig")
        for name in named(configuration["FunctionName"])
        if named(configuration.get("DestinationConfig", {}).get("OnFailure")) & queues
    }
    caught |= {n for n, f in functions.items() if named(f.properties.get("DeadLetterConfig", {})) & queues}
    for rule, _, target in view.targets():
        if not named(target.get("DeadLetterConfig")) & queues:
            yield f"{rule}: what cannot be delivered to {target['Id']} is lost: it has no dead-letter queue"
        for function in named(target["Arn"]) & set(functions) - caught:
            yield f"{function} is invoked asynchronously by {rule} and has no failure destination"
    for name, mapping in view.mappings():
        (source,) = named(mapping["EventSourceArn"])
        if mapping.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{name}: one bad record fails its whole batch"
        if view.resources[source]["Type"] == "AWS::SQS::Queue":
            if not named(view.resources[source]["Properties"].get("RedrivePolicy")) & queues:
                yield f"{source}: messages that always fail come for ever: it has no dead-letter queue"
        elif not named(mapping.get("DestinationConfig", {}).get("OnFailure")) & queues:
            yield f"{name}: batches that failed for good are lost: it has no failure destination"
        elif mapping.get("MaximumRetryAttempts", -1) < 0:
            yield f"{name}: a batch that always fails blocks its shard for a day"


def permissions_of_services(view: View) -> Problems:
    """EventBridge may send to every queue and invoke every function that a rule names."""
    invokable = {
        (name, source)
        for _, permission in view.of("AWS::Lambda::Permission")
        if permission["Principal"] == "events.amazonaws.com" and permission["Action"] == "lambda:InvokeFunction"
        for name in named(permission["FunctionName"])
        for source in named(permission.get("SourceArn"))
    }
    sendable = {
        queue
        for _, policy in view.of("AWS::SQS::QueuePolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Principal"] == {"Service": "events.amazonaws.com"}
        and "sqs:SendMessage" in str(statement["Action"])
        for queue in named(policy["Queues"]) & named(statement["Resource"])
    }
    for rule, _, target in view.targets():
        for name in named(target["Arn"]):
            if view.resources[name]["Type"] == "AWS::SQS::Queue" and name not in sendable:
                yield f"{name}: no queue policy lets {rule} send to it"
            if view.resources[name]["Type"] == "AWS::Lambda::Function" and (name, rule) not in invokable:
                yield f"{name}: no permission lets {rule} invoke it"
        for name in named(target.get("DeadLetterConfig")) - sendable:
            yield f"{name}: no queue policy lets {rule} send what it could not deliver to it"
    for name, source in invokable:
        if source not in {rule for rule, _, _ in view.targets()}:
            yield f"{name}: {source} may invoke it, and is no rule with a target"


def schedules(view: View) -> Problems:
    """See that schedules which a function makes have a group, and may send to both queues that they are given."""
    groups = {name for name, _ in view.of("AWS::Scheduler::ScheduleGroup")}
    written = dict(view.of("AWS::IAM::Role"))
    makers = [function for function in view.functions() if "SCHEDULE_ROLE_ARN" in function.variables]
    if not makers:
        yield "no function makes schedules, for none is given their role"
    for function in makers:
        if not named(function.variables.get("SCHEDULE_GROUP")) & groups:
            yield f"{function.name} makes schedules in no group of the stack, where they would outlive it"
        queues = named([function.variables.get(name) for name in ("EVENT_QUEUE_ARN", "DEAD_LETTER_QUEUE_ARN")])
        for role in sorted(named(function.variables["SCHEDULE_ROLE_ARN"])):
            properties = written.get(role, {})
            trusted = properties.get("AssumeRolePolicyDocument", {}).get("Statement", [])
            if not any(statement["Principal"] == {"Service": "scheduler.amazonaws.com"} for statement in trusted):
                yield f"{role} is given to schedules and cannot be assumed for them"
            if not all(named(statement.get("Condition")) & groups for statement in trusted):
                yield f"{role} can be assumed for schedules of any group"
            sendable = {
                queue
                for statement in statements_of(properties)
                if "sqs:SendMessage" in _listed(statement["Action"])
                for queue in named(statement["Resource"])
            }
            for queue in sorted(queues - sendable):
                yield f"{queue}: {role} does not let schedules send to it"


def environments(view: View) -> Problems:
    """Hold what a function is given to what it reads."""
    for function in view.functions():
        read = {field.upper() for field in settings_of(function.folder).model_fields} | powertools_variables()
        given = set(function.variables)
        for name in sorted(read - given):
            yield f"{function.name} reads {name}, which the template does not set"
        for name in sorted(given - read):
            yield f"{function.name} is given {name}, which its code does not read"


def task_environment(view: View) -> Problems:
    """So is a task: by the task definition, by RunTask's overrides and by ECS."""
    for definition_name, definition in view.of("AWS::ECS::TaskDefinition"):
        for container in definition["ContainerDefinitions"]:
            entries = [*container.get("Environment", ()), *container.get("Secrets", ())]
            given = {_chosen(entry)["Name"] for entry in entries}
            read = task_variables()
            elsewhere = SET_BY_ECS | overridden_variables() | image_variables()
            for name in sorted((read | READ_BY_ZENML) - given - elsewhere):
                yield f"{definition_name}: the runner reads {name}, which neither it nor anything else sets"
            for name in sorted(given - read - READ_BY_ZENML):
                yield f"{definition_name} sets {name}, which nothing in a task reads"
            if container["Name"] != launch_request_container():
                yield f"{definition_name}: its container is {container['Name']}; overrides go to another name"


def routes(view: View) -> Problems:
    """Every route is an operation of the API and handled by its function, and the reverse."""
    wanted: set[tuple[str, str]] = {(str(operation.method), operation.path) for operation in OPERATIONS}
    found = {(method, path): function for method, path, function in view.routes()}
    folders = {function.name: function.folder for function in view.functions()}
    default = found.pop(("ANY", "$default"), None)
    if default is None:
        yield "Api has no $default route: calls that nobody handles get API Gateway's own answer"
    elif ("ANY", "$default") not in handled_routes(folders[default]):
        yield f"{default} is given $default and does not handle what is not found"
    for method, path in sorted(wanted - set(found)):
        yield f"Api has no route {method} {path}, which zentrigger.api has as an operation"
    for method, path in sorted(set(found) - wanted):
        yield f"Api has the route {method} {path}, which is no operation of zentrigger.api"
    for (method, path), name in sorted(found.items()):
        if (method, path) not in handled_routes(folders[name]):
            yield f"{name} is given {method} {path}, which its handler does not register"
    for name, folder in folders.items():
        for method, path in sorted(handled_routes(folder) - {("ANY", "$default")}):
            if found.get((method, path)) != name:
                yield f"{name} handles {method} {path}, which the template does not route to it"


def ways_in(view: View) -> Problems:
    """Every way in has a sample in `events/`, which the tests feed to its function, and every sample a way in."""
    samples = [
        (path.stem, kind)
        for path in sorted(EVENTS.glob("*.json"))
        for kind in sorted(kinds_of(json.loads(path.read_text("utf-8"))))
    ]
    ways = set(_ways(view))
    folders = {function.name: function.folder.name for function in view.functions()}
    for function, kind in sorted(ways):
        if (
            kind[0] != "http"
            and kind != ("queue",)
            and not any(stem.startswith(f"{folders[function]}_") and kind == found for stem, found in samples)
        ):
            yield f"{function} gets {' '.join(kind)}, and events/ has no sample of it"
    known = {(folders[function], kind) for function, kind in ways}
    for stem, kind in samples:
        if kind != BY_HAND and not any(stem.startswith(f"{folder}_") and kind == found for folder, found in known):
            yield f"events/{stem}.json is {' '.join(kind)}, which nothing in the template brings to its function"


def event_sources(view: View) -> Problems:
    """Hold what rules and mappings bring to a function to what its handler distinguishes."""
    handled: dict[str, set[tuple[str, ...]]] = {}
    for function in view.functions():
        kinds = handled_events(function.folder)
        if kinds:
            handled[function.name] = kinds
    brought: dict[str, set[tuple[str, ...]]] = {}
    for function_name, kind in _ways(view):
        if kind[0] in {"event", "invoke", "stream", "queue"} and kind[0:2] != ("queue", "event"):
            brought.setdefault(function_name, set()).add(kind)
    for name in sorted(set(handled) | set(brought)):
        for kind in sorted(brought.get(name, set()) - handled.get(name, set())):
            yield f"{name} gets {' '.join(kind)}, which its handler does not know"
        for kind in sorted(handled.get(name, set()) - brought.get(name, set())):
            yield f"{name} handles {' '.join(kind)}, which nothing in the template brings to it"


def keys(view: View) -> Problems:
    """Tables and indexes have the keys that the stores use, and DynamoDB keeps them as texts."""
    found: dict[tuple[str, str | None], tuple[str, ...]] = {}
    for name, table in view.of("AWS::DynamoDB::Table"):
        schemas = [(None, table["KeySchema"])]
        schemas += [(index["IndexName"], index["KeySchema"]) for index in table.get("GlobalSecondaryIndexes", ())]
        texts = {d["AttributeName"] for d in table["AttributeDefinitions"] if d["AttributeType"] == "S"}
        for index, schema in schemas:
            ordered = sorted(schema, key=lambda key: key["KeyType"] != "HASH")
            found[name, index] = tuple(key["AttributeName"] for key in ordered)
            for key in set(found[name, index]) - texts:
                yield f"{name}: the key {key} is no text"
    for place in sorted(set(KEYS) | set(found), key=str):
        if KEYS.get(place) != found.get(place):
            name = place[0] if place[1] is None else f"{place[0]}, index {place[1]}"
            yield f"{name}: its key is {found.get(place)}, and the stores use {KEYS.get(place)}"
    head = set(head_item(factories.run()))
    for (name, index), attributes in found.items():
        if index is not None:
            for attribute in set(attributes) - head - {"trigger"}:
                yield f"{name}, index {index}: no head has {attribute}, so that the index stays empty"


def expiry(view: View) -> Problems:
    """See that what is written with `expires_at` is in a table that acts on it."""
    for name in ("RunsTable", "TriggersTable", "KeysTable"):
        expected = {"AttributeName": "expires_at", "Enabled": True}
        if view.resources[name]["Properties"].get("TimeToLiveSpecification") != expected:
            yield f"{name} does not expire items by expires_at"
    stream = view.resources["RunsTable"]["Properties"].get("StreamSpecification", {})
    if stream.get("StreamViewType") != "NEW_IMAGE":
        yield "RunsTable: lifecycle reads the new image of each change from its stream"


def alarms(view: View) -> Problems:
    """Each alarm is there if there is somebody to tell, and tells of beginning, end and, where it matters, silence."""
    for name, alarm in view.of("AWS::CloudWatch::Alarm"):
        missing = alarm.get("TreatMissingData")
        if view.resources[name].get("Condition") != "HasAlarms":
            yield f"{name} is there without anybody to tell"
        for action in ["AlarmActions", "OKActions"] + ["InsufficientDataActions"] * (missing == "missing"):
            if alarm.get(action) != [{"Ref": "AlarmTopicArn"}]:
                yield f"{name} does not tell the topic ({action})"
        if missing not in {"notBreaching", "missing"}:
            yield f"{name}: a metric without values is no alarm"


def metrics(view: View) -> Problems:
    """Each alarm watches a metric that is written, of a resource that there is; and what has to be watched is."""
    own = own_metrics()
    alarmed = dict(view.of("AWS::CloudWatch::Alarm"))
    for name, alarm in alarmed.items():
        metric, namespace = alarm["MetricName"], alarm["Namespace"]
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm["Dimensions"]}
        if isinstance(namespace, str):
            kind, dimension = AWS_METRICS.get((namespace, metric), ("nothing", ""))
            watched = {view.resources[of]["Type"] for of in named(dimensions) & set(view.resources)}
            if watched != {kind} or set(dimensions) != {dimension}:
                yield f"{name} watches {metric} in {namespace}, of {watched}"
        elif namespace != {"Ref": "AWS::StackName"} or (metric, dimensions) not in own:
            yield f"{name} watches {metric} of {dimensions} in {namespace}, which the sweep does not write"
    for metric in sorted(ALARMING - {alarm["MetricName"] for alarm in alarmed.values()}):
        yield f"{metric} is something to be woken for, and no alarm watches it"
    for queue, _ in view.of("AWS::SQS::Queue"):
        if not any(queue in named(alarm["Dimensions"]) for alarm in alarmed.values()):
            yield f"{queue}: what stays in it wakes nobody, for no alarm watches it"


ALL: tuple[Callable[[View], Problems], ...] = (
    log_groups, roles, families, time_outs, failures, permissions_of_services, schedules, environments,
    task_environment, routes, ways_in, event_sources, keys, expiry, alarms, metrics,
)  # fmt: skip


# ------------------------------------------------------------ what the code says
# Asked for again with every mutation of the template, and always the same: the code stays as it is.


@cache
def settings_of(folder: Path) -> type[settings.Settings]:
    """Give the settings class of a function: the one that its handler asks `wiring` for."""
    source = (folder / "handler.py").read_text("utf-8")
    name = "".join(part.capitalize() for part in folder.name.split("_")) + "Settings"
    found: type[settings.Settings] = getattr(settings, name)
    asked = set(re.findall(r"wiring\.(\w+_settings)\(\)", source))
    assert asked <= {f"{folder.name}_settings"}, f"{folder.name} reads the settings of others: {asked}"
    return found


@cache
def powertools_variables() -> set[str]:
    """Give the variables of those parts of Powertools that the code uses."""
    sources = [path.read_text("utf-8") for path in (ROOT / "layers" / "zentrigger" / "zentrigger").glob("*.py")]
    return {
        name
        for part, names in POWERTOOLS.items()
        if any(
            re.search(rf"^from aws_lambda_powertools.* import .*\b{part}\b", source, re.MULTILINE) for source in sources
        )
        for name in names
    }


@cache
def own_metrics() -> list[tuple[str, Json]]:
    """Give name and dimensions of each metric that a sweep writes, as CloudWatch reads them out of its log."""
    written = io.StringIO()
    variables = {"POWERTOOLS_METRICS_NAMESPACE": "n", "POWERTOOLS_SERVICE_NAME": "zentrigger"}
    with patch.dict(os.environ, variables), redirect_stdout(written):
        measure(SweepReport(active=1))
    line = json.loads(written.getvalue())
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    (names,) = directive["Dimensions"]
    dimensions = {name: line[name] for name in names}
    return [(metric["Name"], dimensions) for metric in directive["Metrics"]]


@cache
def task_variables() -> set[str]:
    """Give the variables that the runner looks up: by its settings, and by `os.environ` anywhere."""
    looked_up: set[str] = set()
    settings_source = (RUNNER / "settings.py").read_text("utf-8")
    looked_up |= set(re.findall(r'"([A-Z][A-Z0-9_]+)"', settings_source))
    for path in (*RUNNER.glob("*.py"), *(ROOT / "pipelines").glob("*.py")):
        if path.stem != "self_test":
            text = path.read_text("utf-8")
            looked_up |= set(re.findall(r'os\.environ(?:\.get\(|\[)"([A-Z][A-Z0-9_]+)"', text))
    return looked_up


def overridden_variables() -> set[str]:
    """Give the variables that RunTask's overrides set."""
    (override,) = _request()["overrides"]["containerOverrides"]
    return {entry["name"] for entry in override["environment"]}


def launch_request_container() -> str:
    """Give the name of the container that RunTask's overrides go to."""
    (override,) = _request()["overrides"]["containerOverrides"]
    return str(override["name"])


def image_variables() -> set[str]:
    """Give the variables that the image sets itself."""
    text = (RUNNER / "Dockerfile").read_text("utf-8")
    return set(re.findall(r"\b([A-Z][A-Z0-9_]+)=", text))


@cache
def handled_routes(folder: Path) -> set[tuple[str, str]]:
    """Give method and path of each route that a handler registers; ANY $default if it handles what is not found."""
    found = set()
    for node in ast.walk(ast.parse((folder / "handler.py").read_text("utf-8"))):
        for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
            match ast.unparse(decorator):
                case "app.not_found":
                    found.add(("ANY", "$default"))
                case text if call := re.fullmatch(r"app\.(get|post|put|patch|delete)\('([^']+)'\)", text):
                    found.add((call[1].upper(), call[2].replace("<", "{").replace(">", "}")))
    return found


@cache
def handled_events(folder: Path) -> set[tuple[str, ...]]:
    """Give what a handler distinguishes: cases of (source, detail-type), actions, and the kind of its batches."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse((folder / "handler.py").read_text("utf-8"))):
        if isinstance(node, ast.match_case) and isinstance(node.pattern, ast.MatchSequence):
            texts = [part.value.value for part in node.pattern.patterns if isinstance(part, ast.MatchValue)
                     and isinstance(part.value, ast.Constant)]  # fmt: skip
            if len(texts) == len(node.pattern.patterns):
                found.add(("event", *(str(text) for text in texts)))
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == "event.get('action')":
            found |= {("invoke", str(each.value)) for each in node.comparators if isinstance(each, ast.Constant)}
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "EventType":
            found.add({"DynamoDBStreams": ("stream",), "SQS": ("queue",)}[node.attr])
    return found


def kinds_of(sample: Json) -> set[tuple[str, ...]]:
    """Give what kind of event a sample is; of a batch, the kinds of its records."""
    if "routeKey" in sample:
        return {("http", *sample["routeKey"].split(" "))}
    if "Records" in sample:
        bodies = [record.get("body") for record in sample["Records"]]
        return {("queue", *kind) for body in bodies if body for kind in kinds_of(json.loads(body))} or {("stream",)}
    if "source" in sample:
        return {("event", *(sample[key] for key in ("source", "detail-type") if key in sample))}
    return {("invoke", sample["action"])}


def statements_of(role: Json) -> Iterator[Json]:
    """Give all statements of a role's policies, those that depend on a condition included."""
    for policy in role.get("Policies", []):
        yield from _chosen(policy)["PolicyDocument"]["Statement"]


# ------------------------------------------------------------ what the template says


def _passed_roles(view: View) -> set[str]:
    """Give the roles that functions pass on: to tasks and to schedules."""
    definitions = [definition for _, definition in view.of("AWS::ECS::TaskDefinition")]
    of_tasks = named([definition.get(key) for definition in definitions for key in ("TaskRoleArn", "ExecutionRoleArn")])
    return of_tasks | named([function.variables.get("SCHEDULE_ROLE_ARN") for function in view.functions()])


def _ways(view: View) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give (function, kind of event) for everything that the template brings to a function."""
    readers = {}
    for _, mapping in view.mappings():
        (source,) = named(mapping["EventSourceArn"])
        (function,) = named(mapping["FunctionName"])
        queue = view.resources[source]["Type"] == "AWS::SQS::Queue"
        yield function, ("queue",) if queue else ("stream",)
        readers[source] = function
    for _, rule, target in view.targets():
        kinds = list(_events(rule, target))
        for name in named(target["Arn"]):
            for kind in kinds:
                if name in readers:
                    yield readers[name], ("queue", *kind)
                elif view.resources[name]["Type"] == "AWS::Lambda::Function":
                    yield name, kind
    for variable, kind in SENT.items():
        queues = named([function.variables.get(variable) for function in view.functions()])
        yield from ((readers[queue], ("queue", *kind)) for queue in queues & set(readers))
    for method, path, function in view.routes():
        yield function, ("http", "$default") if path == "$default" else ("http", method, path)


def _events(rule: Json, target: Json) -> Iterator[tuple[str, ...]]:
    if "InputTransformer" in target:
        template = target["InputTransformer"]["InputTemplate"]
        text = template["Fn::Sub"] if isinstance(template, dict) else template
        yield "event", re.findall(r'"source": "([^"]+)"', text)[0]
    elif "Input" in target:
        yield "invoke", json.loads(target["Input"])["action"]
    elif "ScheduleExpression" in rule:
        yield "event", "aws.events", "Scheduled Event"
    else:
        for source in rule["EventPattern"]["source"]:
            for detail_type in rule["EventPattern"]["detail-type"]:
                yield "event", source, detail_type


def _stages(view: View) -> Iterator[tuple[str, Json]]:
    return view.of("AWS::ApiGatewayV2::Stage")


def _request() -> Json:
    network = Network(subnets=("s",), security_groups=("g",), assign_public_ip="DISABLED")
    return launch_request(factories.run(), cluster="c", network=network)


def _chosen(entry: Json) -> Json:
    """Give what an `If` sets where its condition holds."""
    chosen: Json = entry["Fn::If"][1] if "Fn::If" in entry else entry
    return chosen


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
