"""All that the stack's functions, tasks and schedules do with AWS, done once: their permissions are held to it."""

import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from local.cloud import Cloud
from local.containers import ManualRuntime
from local.iam import Call, Statement, role_statements
from local.prepare import prepare_stack
from tests import factories
from tests.factories import TRAINING
from tests.integration.stack.conftest import Stack, sample
from zentrigger.catalogue_store import CatalogueStore
from zentrigger.runs import Refusal, Report, RunStatus, Source

SUCCESS = Report(outcome="succeeded")
SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:zenml-a1b2c3"
PIPELINE_SECRETS = "arn:aws:secretsmanager:us-east-1:123456789012:secret:pipelines/*"
DATASET = "pipelines/data/breast_cancer.csv"
OWN_BUCKET = "own-data"
BUCKETS = {"TriggerBucketArns": f"arn:aws:s3:::{OWN_BUCKET}"}


@dataclass(frozen=True)
class Evidence:
    """What one deployed stack's roles say, and what was done with them."""

    policies: dict[str, tuple[Statement, ...]]
    calls: frozenset[tuple[str, Call]]
    alarms: frozenset[str]


def evidence_of(cloud: Cloud) -> Evidence:
    """Take down what a running stack has seen so far."""
    roles = cloud.stack.of_kind("AWS::IAM::Role")
    policies = {role.logical_id: role_statements(role.properties) for role in roles}
    calls = frozenset([*cloud.access.allowed_calls, *cloud.stack.service_calls])
    alarms = frozenset(alarm.logical_id for alarm in cloud.stack.of_kind("AWS::CloudWatch::Alarm"))
    return Evidence(policies, calls, alarms)


@contextmanager
def naming_refusals(cloud: Cloud) -> Iterator[None]:
    """Name the permissions that were missing, where something did not go as it should."""
    try:
        yield
    except AssertionError as error:
        refused = "; ".join(dict.fromkeys(cloud.access.refusals))
        raise AssertionError(f"{refused or 'no call was refused'} ({error})") from error


def functions_evidence() -> Evidence:
    """Let each function make each of its calls, with somebody on call; what tasks do is done by hand."""
    tasks = ManualRuntime(obedient=True)
    parameters = {
        "MaxActiveRuns": "2",
        "ScheduledTrigger": "nightly",
        "ZenmlStoreUrl": "https://zenml.example.com",
        "ZenmlApiKeySecretArn": SECRET,
        "PipelineSecretArns": PIPELINE_SECRETS,
        "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:on-call",
        **BUCKETS,
    }
    with Cloud(parameters=parameters, container_runtime=tasks, api_port=0, aws_port=0) as cloud:
        stack = Stack(cloud, tasks, "")
        stack.key = stack.invoke("AdminFunction", sample("admin_create_first_key"))["key"]
        with naming_refusals(cloud):
            _operate(stack)
            _run(stack)
            _arrive(stack)
            _schedule(stack)
            _call_hooks(stack)
            _sweep(stack)
        return evidence_of(cloud)


def tasks_evidence() -> Evidence:
    """Train on an object, with a secret, and predict with the model: real tasks, real ZenML.

    The one object is of the data bucket, the other of a bucket of the operator's own.
    """
    parameters = {"TaskMemory": "2048", "PipelineSecretArns": PIPELINE_SECRETS, **BUCKETS}
    with Cloud(parameters=parameters, api_port=0, aws_port=0) as cloud:
        stack = Stack(cloud, ManualRuntime(), prepare_stack(cloud, print).api_key)
        bucket = cloud.outputs["DataBucket"]
        stack.client("s3").upload_file(DATASET, bucket, "training/table.csv")
        stack.client("s3").create_bucket(Bucket=OWN_BUCKET)
        stack.client("s3").upload_file(DATASET, OWN_BUCKET, "table.csv")
        with naming_refusals(cloud):
            _publish_with_secret(stack)
            training = _followed(stack, "training_pipeline", data_url=f"s3://{bucket}/training/table.csv")
            (model,) = (output["uri"] for output in training["outputs"] if output["name"] == "model")
            _followed(stack, "batch_inference_pipeline", model_uri=model, data_url=f"s3://{OWN_BUCKET}/table.csv")
        return evidence_of(cloud)


def _ok(stack: Stack, method: str, path: str, body: Any = None) -> Any:
    answer = stack.call(method, path, body)
    assert answer.ok, answer.text
    return answer.json() if answer.content else None


def _publish(stack: Stack, **values: Any) -> dict[str, Any]:
    body = factories.publication(**values).model_dump(mode="json")
    published: dict[str, Any] = _ok(stack, "POST", "/snapshots", body)
    return published


def _publish_with_secret(stack: Stack) -> None:
    """Publish what is published of the training pipeline again, with a secret for its tasks."""
    secret = stack.client("secretsmanager").create_secret(Name="pipelines/token", SecretString="x")["ARN"]
    catalogue = CatalogueStore(stack.cloud.stack.resources["CatalogueTable"].physical_id, stack.client("dynamodb"))
    _publish(stack, content=catalogue.find("training_pipeline").content, secrets={"TOKEN": secret})


def _forget_task_definitions(stack: Stack) -> None:
    """Leave the catalogue as it is after a stack update that changed the base: the next use registers again."""
    dynamodb = stack.client("dynamodb")
    table = stack.cloud.stack.resources["CatalogueTable"].physical_id
    found = dynamodb.query(
        TableName=table,
        KeyConditionExpression="#collection = :collection",
        ExpressionAttributeNames={"#collection": "collection"},
        ExpressionAttributeValues={":collection": {"S": "task_definitions"}},
    )["Items"]
    assert found
    for item in found:
        dynamodb.delete_item(TableName=table, Key={name: item[name] for name in ("collection", "item")})


def _operate(stack: Stack) -> None:
    """Publish with a name and tags and, for the stack's own image, without; change and delete the second."""
    _publish(stack, name="production", tags=["nightly"])
    second = _publish(stack, image=None, tags=["spare"])["id"]
    _ok(stack, "PATCH", f"/snapshots/{second}", {"name": "next", "tags": ["other"]})
    _ok(stack, "PATCH", f"/snapshots/{second}", {"name": None, "description": "no longer"})
    _ok(stack, "DELETE", f"/snapshots/{second}")
    _ok(stack, "PATCH", f"/pipelines/{TRAINING.pipeline}", {"max_active_runs": None})
    key = _ok(stack, "POST", "/keys", {"name": "n", "scopes": ["read"]})
    _ok(stack, "GET", "/keys")
    _ok(stack, "DELETE", f"/keys/{key['id']}")
    for name, definition in {
        "arrivals": {"type": "s3", "pipeline": TRAINING.pipeline, "snapshot": "tag:nightly"},
        "nightly": {"type": "schedule", "pipeline": TRAINING.pipeline},
        "other": {"type": "schedule", "pipeline": TRAINING.pipeline},
    }.items():
        _ok(stack, "PUT", f"/triggers/{name}", definition)
    _ok(stack, "GET", "/triggers")
    _ok(stack, "GET", "/triggers/other")
    _ok(stack, "GET", "/triggers/other/receipts")
    _ok(stack, "DELETE", "/triggers/other")


def _run(stack: Stack) -> None:
    """Two that run, one that waits; one that is cancelled; an ambiguous repetition; a dry run; one run again."""
    snapshot = f"{TRAINING.pipeline}:1"
    _forget_task_definitions(stack)
    first = stack.post_run(snapshot="tag:nightly")
    second = _ok(stack, "POST", f"/snapshots/{snapshot}/runs", {})
    third = stack.post_run()
    assert _ok(stack, "POST", "/runs?dry_run=true", {"pipeline": TRAINING.pipeline})["would"] == "queue"
    stack.finish(first["run_id"], SUCCESS)
    stack.task_of(third["run_id"])
    stack.claim(second["run_id"])
    _ok(stack, "GET", f"/runs/{second['run_id']}/logs")
    for path in ("/runs", f"/runs?pipeline={TRAINING.pipeline}", "/runs?trigger=nightly", "/pipelines"):
        _ok(stack, "GET", path)
    for path in ("", "/snapshots", "/snapshots?tag=nightly", "/changes"):
        _ok(stack, "GET", f"/pipelines/{TRAINING.pipeline}{path}")
    _ok(stack, "GET", f"/snapshots/{snapshot}")
    for run in (second, third):
        _ok(stack, "DELETE", f"/runs/{run['run_id']}")
    for run in (first, second, third):
        stack.ended(run["run_id"])
    _ok(stack, "POST", f"/runs/{first['run_id']}/retry")
    body = {"pipeline": TRAINING.pipeline}
    headers = {"Idempotency-Key": "k"}
    assert stack.call("POST", "/runs", body, headers=headers).status_code == 202
    # Refused on its own, and answered by the run that has the key.
    assert stack.call("POST", "/runs", body | {"parameters": {"nobody": 1}}, headers=headers).status_code == 422
    _end_all(stack)


def _arrive(stack: Stack) -> None:
    _forget_task_definitions(stack)
    stack.client("s3").put_object(Bucket=stack.cloud.outputs["DataBucket"], Key="incoming/a.csv", Body=b"x")
    stack.wait(lambda: stack.call("GET", "/runs?trigger=arrivals").json()["items"])
    assert stack.invoke("OnEventFunction", sample("on_event_schedule")) == {"batchItemFailures": []}
    # What a trigger cannot have: perhaps its run is there already, so it is looked up.
    unfit = {"type": "s3", "pipeline": TRAINING.pipeline, "prefix": "un", "parameters": {"test_size": "{object.size}"}}
    _ok(stack, "PUT", "/triggers/unfit", unfit)
    stack.client("s3").put_object(Bucket=stack.cloud.outputs["DataBucket"], Key="unfit", Body=b"x")
    (receipt,) = stack.wait(lambda: _ok(stack, "GET", "/triggers/unfit/receipts")["items"])
    assert receipt["outcome"] == "rejected", receipt
    _end_all(stack)


def _schedule(stack: Stack) -> None:
    """Make, change and fire a schedule, once in vain; let the minute's invocation delete what its trigger left."""
    cloud, scheduler = stack.cloud, stack.client("scheduler")
    group = cloud.stack.resources["ScheduleGroup"].physical_id
    hourly = {"type": "schedule", "pipeline": TRAINING.pipeline, "schedule": "rate(1 hour)"}
    for definition in (hourly, hourly | {"time_zone": "Europe/Berlin"}):
        shown = _ok(stack, "PUT", "/triggers/hourly", definition)
        assert shown["schedule_state"] == "in_sync", shown
    cloud.scheduler.fire("hourly", group)
    stack.wait(lambda: stack.call("GET", "/runs?trigger=hourly").json()["items"])
    # To a queue that is gone nothing can be delivered, which is told to the dead letters.
    made = scheduler.get_schedule(Name="hourly", GroupName=group)
    kept = {name: made[name] for name in ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow")}
    scheduler.update_schedule(**kept, Target=made["Target"] | {"Arn": f"{made['Target']['Arn']}-gone"})
    cloud.scheduler.fire("hourly", group)
    cloud.faults.always("scheduler.DeleteSchedule.throttle")
    _ok(stack, "DELETE", "/triggers/hourly")
    assert scheduler.list_schedules(GroupName=group)["Schedules"]
    cloud.faults.never("scheduler.DeleteSchedule.throttle")
    stack.invoke("AdminFunction", sample("admin_settle_schedules"))
    assert scheduler.list_schedules(GroupName=group)["Schedules"] == []
    _end_all(stack)


def _call_hooks(stack: Stack) -> None:
    """Make webhooks together, give one a secret and another, call it, read its receipt, try it, and delete it."""
    github = {"type": "webhook", "pipeline": TRAINING.pipeline, "signature": {"scheme": "github"}}
    _ok(stack, "PUT", "/triggers", {"triggers": {"deployments": github, "releases": github}})
    path = "/triggers/deployments"
    secret = [_ok(stack, "POST", f"{path}/secret", {})["secret"] for _ in range(2)][-1]
    headers = {"X-Hub-Signature-256": f"sha256={hmac.new(secret.encode(), b'{}', 'sha256').hexdigest()}"}
    received = stack.call("POST", "/hooks/deployments", key=None, data=b"{}", headers=headers)
    assert received.status_code == 202, received.text
    receipt_path = f"{path}/receipts/{received.json()['receipt_id']}"
    receipt = stack.wait(lambda: answer.json() if (answer := stack.call("GET", receipt_path)).ok else None)
    assert receipt["outcome"] == "started", receipt
    for query in ("", "?recent=true"):
        (trial,) = _ok(stack, "POST", f"{path}/test{query}")["items"]
        assert trial["matches"], trial
    _ok(stack, "DELETE", path)
    _ok(stack, "GET", "/events/unmatched")
    _end_all(stack)


def _sweep(stack: Stack) -> None:
    """Leave a launch that nobody sent, a task that is lost, a refusal, and a cancel that stopped nothing."""
    definition = _ok(stack, "GET", f"/snapshots/{TRAINING.pipeline}:1")["task_definition"]
    runs = stack.runs()

    def recorded(minutes: int = 3, **values: Any) -> Any:
        run = factories.run(
            task_definition=definition,
            source=Source(type="http", key_id="k"),
            accepted_at=datetime.now(UTC) - timedelta(minutes=minutes),
            **values,
        )
        created = runs.create(run, factories.run_input(), max_active=2, max_waiting=None).run
        assert created.status == RunStatus.STARTING
        return created

    unsent = recorded()
    stack.invoke("LifecycleFunction", sample("lifecycle_sweep"))
    standing = stack.wait(lambda: head if (head := runs.head(unsent.run_id)) and head.task_arn else None)
    stack.invoke("LifecycleFunction", sample("lifecycle_sweep"))
    assert runs.request_cancel(standing)
    stack.invoke("LifecycleFunction", sample("lifecycle_sweep"))
    assert stack.ended(unsent.run_id)["status"] == "cancelled"
    # Claimed an hour ago and silent since, or never claimed at all: the one ends, the other is attempted again.
    gone = stack.forgotten_task()
    silent, lost = recorded(120, task_arn=gone), recorded(120, task_arn=gone)
    stack.runs(clock=lambda: datetime.now(UTC) - timedelta(hours=1)).claim(silent.run_id, 1, gone)
    stack.invoke("LifecycleFunction", sample("lifecycle_sweep"))
    assert stack.ended(silent.run_id)["reason"] == "task_lost"
    stack.wait(lambda: (head := runs.head(lost.run_id)) and head.attempt == 2)
    _ok(stack, "DELETE", f"/runs/{lost.run_id}")
    stack.ended(lost.run_id)
    # Young, or `lifecycle` would launch it before the refusal is there.
    refused = recorded(0)
    runs.record_refusal(refused, Refusal(launch=1, transient=True, reason="throttled", message="slow down"))
    stack.wait(lambda: (head := runs.head(refused.run_id)) and head.launch == 2)
    _end_all(stack)


def _end_all(stack: Stack) -> None:
    active = [run for run in stack.call("GET", "/runs?limit=100").json()["items"] if run["ended_at"] is None]
    for run in active:
        _ok(stack, "DELETE", f"/runs/{run['run_id']}")
    for run in active:
        stack.ended(run["run_id"])


def _followed(stack: Stack, pipeline: str, **parameters: str) -> dict[str, Any]:
    run = stack.post_run(pipeline=pipeline, parameters=parameters)
    for _ in range(6):
        ended: dict[str, Any] = _ok(stack, "GET", f"/runs/{run['run_id']}?wait=20")
        if ended["ended_at"]:
            break
    assert ended["status"] == "succeeded", json.dumps(ended)
    return ended
