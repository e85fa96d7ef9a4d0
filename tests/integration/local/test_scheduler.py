"""EventBridge Scheduler as boto3 sees it, from a function's role to the queue that a schedule sends to."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from local.access import access_key_id
from local.cloud import Cloud
from local.containers import ManualRuntime
from tests.integration.local.conftest import STACK, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

GROUP = "local-group"
NIGHTLY = {
    "Name": "nightly",
    "GroupName": GROUP,
    "ScheduleExpression": "cron(0 4 * * ? *)",
    "ScheduleExpressionTimezone": "Europe/Berlin",
    "FlexibleTimeWindow": {"Mode": "OFF"},
    "State": "ENABLED",
}
INPUT = '{"source": "test.schedule", "id": "<aws.scheduler.execution-id>", "time": "<aws.scheduler.scheduled-time>"}'


class Clock:
    """The real time, and what the test adds to it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def cloud(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Deploy the stack of the tests, without its functions."""
    with Cloud(
        template=STACK / "template.yaml", parameters={"RecordFolder": "/"}, api_port=0, aws_port=0, functions=False,
        container_runtime=ManualRuntime(), state_folder=tmp_path_factory.mktemp("state"), clock=clock,
    ) as running:  # fmt: skip
        yield running


@pytest.fixture(autouse=True)
def fresh(cloud: Cloud) -> None:
    cloud.reset()


def client(cloud: Cloud, role: str) -> Any:
    """Make a client for whoever has assumed a role of the stack."""
    return boto3.client(
        "scheduler",
        endpoint_url=cloud.endpoint_url,
        region_name=cloud.environment["AWS_REGION"],
        aws_access_key_id=access_key_id(cloud.stack.arn(role)),
        aws_secret_access_key="local",
    )


@pytest.fixture
def planner(cloud: Cloud) -> Any:
    return client(cloud, "PlannerRole")


def target(cloud: Cloud, **changes: Any) -> dict[str, Any]:
    return {
        "Arn": cloud.outputs["PlannedArn"],
        "RoleArn": cloud.outputs["ScheduleRole"],
        "Input": INPUT,
        "DeadLetterConfig": {"Arn": cloud.outputs["DeadLettersArn"]},
        "RetryPolicy": {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 3},
        **changes,
    }


def received(cloud: Cloud, queue: str = "Planned") -> list[dict[str, Any]]:
    """Give what is in a queue now, and take it out."""
    sqs = cloud.clients.get("sqs")
    asked = {"QueueUrl": cloud.outputs[queue], "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"]}
    messages: list[dict[str, Any]] = sqs.receive_message(**asked).get("Messages", [])
    for message in messages:
        sqs.delete_message(QueueUrl=cloud.outputs[queue], ReceiptHandle=message["ReceiptHandle"])
    return messages


def refused(call: Any, **arguments: Any) -> str:
    """Give the code with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_the_templates_group_and_schedule_are_there(cloud: Cloud) -> None:
    """With the names and ARNs that the template's references gave."""
    operator = cloud.clients.get("scheduler")
    assert operator.get_schedule_group(Name=GROUP)["Arn"] == cloud.outputs["ScheduleGroupArn"]
    assert cloud.outputs["ScheduleGroup"] == GROUP
    assert operator.get_schedule(Name="yearly", GroupName=GROUP)["Arn"] == cloud.outputs["YearlySchedule"]


def test_a_schedule_from_its_making_to_its_end(cloud: Cloud, planner: Any, clock: Clock) -> None:
    """Created, fired, changed, shown, deleted: all of it as a function does it."""
    now = datetime.now(UTC).replace(microsecond=0) + clock.ahead
    start, end = now + timedelta(hours=1), now + timedelta(days=30)
    made = planner.create_schedule(**NIGHTLY, Target=target(cloud), StartDate=start, EndDate=end)
    shown = planner.get_schedule(Name="nightly", GroupName=GROUP)
    assert (shown["Arn"], shown["StartDate"], shown["EndDate"]) == (made["ScheduleArn"], start, end)
    assert shown["Target"] == target(cloud)
    assert received(cloud) == []

    clock.ahead += timedelta(days=2)
    cloud.scheduler.fire_due()
    (message,) = received(cloud)
    event = json.loads(message["Body"])
    assert datetime.fromisoformat(event["time"]).second == 0

    planner.update_schedule(**{**NIGHTLY, "State": "DISABLED"}, Target=target(cloud))
    assert planner.get_schedule(Name="nightly", GroupName=GROUP)["State"] == "DISABLED"
    (listed,) = planner.list_schedules(GroupName=GROUP, NamePrefix="night")["Schedules"]
    assert listed["State"] == "DISABLED"
    clock.ahead += timedelta(days=2)
    cloud.scheduler.fire_due()
    assert received(cloud) == []

    planner.delete_schedule(Name="nightly", GroupName=GROUP)
    assert refused(planner.get_schedule, Name="nightly", GroupName=GROUP) == "ResourceNotFoundException"


def test_it_fires_by_itself(cloud: Cloud, planner: Any, clock: Clock) -> None:
    """At once, when a rate has no start; and when the time has come."""
    planner.create_schedule(**NIGHTLY | {"ScheduleExpression": "rate(1 minute)"}, Target=target(cloud))
    found: list[dict[str, Any]] = []

    def come(count: int) -> bool:
        found.extend(received(cloud))
        return len(found) == count

    eventually(lambda: come(1))
    clock.ahead += timedelta(minutes=1)
    eventually(lambda: come(2))
    times = [datetime.fromisoformat(json.loads(message["Body"])["time"]) for message in found]
    assert times[1] - times[0] == timedelta(minutes=1)


def test_a_one_time_schedule_goes_when_it_has_fired(cloud: Cloud, planner: Any, clock: Clock) -> None:
    """In a second: the thread does not wait for its next look."""
    moment = (clock() + timedelta(seconds=1)).strftime("at(%Y-%m-%dT%H:%M:%S)")
    once = {"ScheduleExpression": moment, "ScheduleExpressionTimezone": "UTC", "ActionAfterCompletion": "DELETE"}
    planner.create_schedule(**{**NIGHTLY, **once}, Target=target(cloud))
    eventually(lambda: received(cloud), seconds=5)
    assert refused(planner.get_schedule, Name="nightly", GroupName=GROUP) == "ResourceNotFoundException"


def test_what_a_role_may_not_do(cloud: Cloud, planner: Any) -> None:
    """Other groups, other roles, other operations."""
    assert refused(planner.create_schedule, **{**NIGHTLY, "GroupName": "default"}, Target=target(cloud)) == (
        "AccessDeniedException"
    )
    other = target(cloud, RoleArn=cloud.stack.arn("Role"))
    assert refused(planner.create_schedule, **NIGHTLY, Target=other) == "AccessDeniedException"
    assert refused(planner.delete_schedule_group, Name=GROUP) == "AccessDeniedException"
    assert refused(planner.list_schedule_groups) == "AccessDeniedException"
    nobody = client(cloud, "ScheduleRole")
    assert refused(nobody.get_schedule, Name="yearly", GroupName=GROUP) == "AccessDeniedException"
    assert refused(nobody.list_schedules) == "AccessDeniedException"
    allowed = {(role, call.action) for role, call in cloud.access.allowed_calls}
    assert ("PlannerRole", "scheduler:CreateSchedule") in allowed


def test_what_is_wrong_is_told_as_boto3_knows_it(cloud: Cloud, planner: Any) -> None:
    """By code, whatever the operator or a role asks."""
    errors = planner.exceptions
    planner.create_schedule(**NIGHTLY, Target=target(cloud))
    with pytest.raises(errors.ConflictException, match="already exists"):
        planner.create_schedule(**NIGHTLY, Target=target(cloud))
    with pytest.raises(errors.ValidationException, match="Invalid Schedule Expression"):
        planner.update_schedule(**NIGHTLY | {"ScheduleExpression": "cron(0 4 * * *)"}, Target=target(cloud))
    with pytest.raises(errors.ResourceNotFoundException):
        planner.delete_schedule(Name="nobody", GroupName=GROUP)


def test_what_a_role_may_not_send_is_buried(cloud: Cloud, planner: Any, clock: Clock) -> None:
    """In the schedule's dead-letter queue, with what AWS tells of it."""
    elsewhere = target(cloud, Arn=cloud.stack.arn("Queue"))
    planner.create_schedule(**NIGHTLY | {"ScheduleExpression": "rate(1 day)"}, Target=elsewhere)
    cloud.scheduler.fire_due()
    (message,) = received(cloud, "DeadLetters")
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["ERROR_CODE"] == "AccessDeniedException"
    assert attributes["TARGET_ARN"] == cloud.stack.arn("Queue")
    assert json.loads(message["Body"])["source"] == "test.schedule"
    clock.ahead += timedelta(seconds=1)


def test_a_lost_answer_is_asked_for_again(cloud: Cloud, planner: Any) -> None:
    """The SDK repeats a request with its token, so the schedule is made once and nothing is in conflict."""
    cloud.faults.next("scheduler.CreateSchedule.lost_answer")
    planner.create_schedule(**NIGHTLY, Target=target(cloud))
    assert cloud.faults.counts["scheduler.CreateSchedule.lost_answer"] == 1
    cloud.faults.next("scheduler.GetSchedule.throttle")
    assert planner.get_schedule(Name="nightly", GroupName=GROUP)["Name"] == "nightly"
    cloud.faults.next("scheduler.DeleteSchedule.lost_answer", 10)
    started = time.monotonic()
    with pytest.raises(ConnectionClosedError):
        planner.delete_schedule(Name="nightly", GroupName=GROUP)
    assert time.monotonic() - started < 60
    cloud.faults.clear()
