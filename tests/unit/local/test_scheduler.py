"""EventBridge Scheduler's API, and what its schedules send: with a clock and queues of the test's own."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError

from local.deploy import Resource, Stack
from local.errors import TemplateError
from local.faults import Faults
from local.http_server import Request
from local.sam import CloudFormationTemplate
from local.scheduler import Scheduler

if TYPE_CHECKING:
    from local.clients import Clients
    from local.workers import Answer

REGION, ACCOUNT = "eu-west-1", "123456789012"
START = datetime(2026, 11, 20, 10, 0, 30, tzinfo=UTC)
QUEUE, GRAVE, GONE = (f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}" for name in ("queue", "grave", "gone"))
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
TEXT = (
    '{"id": "<aws.scheduler.execution-id>", "time": "<aws.scheduler.scheduled-time>", '
    '"arn": "<aws.scheduler.schedule-arn>", "attempt": "<aws.scheduler.attempt-number>", "other": "<id>"}'
)


def role_arn(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"


def role(name: str, *, may: list[str], service: str = "scheduler.amazonaws.com", **condition: Any) -> Resource:
    """Make a role that `service` may assume, and that may send to those."""
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    sends = {"Effect": "Allow", "Action": ["sqs:SendMessage", "lambda:InvokeFunction"], "Resource": may}
    properties = {
        "AssumeRolePolicyDocument": {"Statement": [{**trust, **({"Condition": condition} if condition else {})}]},
        "Policies": [{"PolicyDocument": {"Statement": [sends]}}],
    }
    return Resource(name, "AWS::IAM::Role", properties, name)


def group(logical_id: str, name: str) -> Resource:
    return Resource(logical_id, "AWS::Scheduler::ScheduleGroup", {"Name": name}, name)


GROUP_ARN = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/stack"
RESOURCES = [
    group("Group", "stack"),
    role("sender", may=[QUEUE, GRAVE, GONE, FUNCTION]),
    role("mute", may=[GRAVE]),
    role("mute-everywhere", may=[FUNCTION]),
    role("lambdas", may=[QUEUE], service="lambda.amazonaws.com"),
    role("of-the-group", may=[QUEUE], StringEquals={"aws:SourceAccount": ACCOUNT, "aws:SourceArn": GROUP_ARN}),
    role("of-another", may=[QUEUE], StringEquals={"aws:SourceArn": f"{GROUP_ARN}-b"}),
]


class Sqs:
    """Queues that only remember."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, str]]] = []

    def get(self, service: str) -> Sqs:
        assert service == "sqs"
        return self

    def get_queue_url(self, *, QueueName: str) -> dict[str, str]:  # noqa: N803 - boto3's names
        if QueueName == "gone":
            error = {"Error": {"Code": "AWS.SimpleQueueService.NonExistentQueue", "Message": "There is none."}}
            raise ClientError(cast("Any", error), "GetQueueUrl")
        return {"QueueUrl": QueueName}

    def send_message(self, *, QueueUrl: str, MessageBody: str, MessageAttributes: dict[str, Any]) -> None:  # noqa: N803
        attributes = {name: value["StringValue"] for name, value in MessageAttributes.items()}
        self.sent.append((QueueUrl, MessageBody, attributes))

    def take(self, queue: str = "queue") -> list[Any]:
        """Give the bodies of what came to a queue since the last call."""
        taken = [json.loads(body) for name, body, _ in self.sent if name == queue]
        self.sent = [one for one in self.sent if one[0] != queue]
        return taken


class World:
    """A scheduler, with what it talks to. Nothing runs by itself: `pass_time` lets it fire."""

    def __init__(self, *more: Resource) -> None:
        self.now = START
        self.sqs = Sqs()
        self.invoked: list[tuple[str, bytes]] = []
        self.faults = Faults()
        resources = {resource.logical_id: resource for resource in (*RESOURCES, *more)}
        arns = {name: role_arn(name) for name, one in resources.items() if one.kind == "AWS::IAM::Role"}
        self.stack = Stack("s", REGION, ACCOUNT, CloudFormationTemplate({}, {}, {}), resources, {}, arns)
        self.scheduler = Scheduler(
            self.stack,
            clients=cast("Clients", self.sqs),
            functions=self,
            clock=lambda: self.now,
            faults=self.faults,
            chance=random.Random(7),  # noqa: S311 - no secret
        )

    def invoke(self, name: str, payload: bytes) -> Answer:
        raise KeyError(name, payload)

    def invoke_later(self, name: str, payload: bytes) -> None:
        self.invoked.append((name, payload))

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: Any) -> tuple[int, str, Any]:
        """Ask the API; gives status, error code and body."""
        target = f"{path}?{urlencode(query)}" if query else path
        text = b"" if body is None else json.dumps(body).encode()
        answer = self.scheduler.answer(Request(method, target, (), text, "127.0.0.1"))
        return answer.status, dict(answer.headers).get("x-amzn-errortype", ""), json.loads(answer.body)

    def put(self, name: str = "nightly", *, method: str = "POST", **changes: Any) -> tuple[int, str, Any]:
        """Create (or update) a schedule of the stack's group; None leaves a member out."""
        body = {
            "GroupName": "stack",
            "ScheduleExpression": "cron(0 4 * * ? *)",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": target(),
            **changes,
        }
        return self.ask(method, f"/schedules/{name}", {key: value for key, value in body.items() if value is not None})

    def made(self, name: str = "nightly", **changes: Any) -> None:
        status, _, body = self.put(name, **changes)
        assert status == 200, body

    def shown(self, name: str = "nightly") -> dict[str, Any]:
        status, _, body = self.ask("GET", f"/schedules/{name}", groupName="stack")
        assert status == 200, body
        return dict(body)

    def pass_time(self, **much: float) -> list[Any]:
        """Let time pass at once; gives what the queue got."""
        self.now += timedelta(**much)
        self.scheduler.fire_due()
        return self.sqs.take()

    def at(self, text: str) -> list[Any]:
        """Let it be that time, in UTC; gives the scheduled times that the queue was told of."""
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC)
        self.scheduler.fire_due()
        return [event["time"] for event in self.sqs.take()]


def target(**changes: Any) -> dict[str, Any]:
    return {"Arn": QUEUE, "RoleArn": role_arn("sender"), "Input": TEXT, **changes}


@pytest.fixture
def world() -> World:
    return World()


class TestApi:
    def test_a_schedule_is_shown_with_its_defaults(self, world: World) -> None:
        """What was not said is what AWS takes it for."""
        status, _, made = world.put(StartDate=START.timestamp(), EndDate=(START + timedelta(days=9)).timestamp())
        arn = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/stack/nightly"
        assert (status, made) == (200, {"ScheduleArn": arn})
        assert world.shown() == {
            "Arn": arn,
            "Name": "nightly",
            "GroupName": "stack",
            "ScheduleExpression": "cron(0 4 * * ? *)",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "ActionAfterCompletion": "NONE",
            "Target": {
                **target(), "RetryPolicy": {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185},
            },
            "StartDate": START.timestamp(),
            "EndDate": START.timestamp() + 9 * 86400,
            "CreationDate": START.timestamp(),
            "LastModificationDate": START.timestamp(),
        }  # fmt: skip

    def test_an_update_replaces_all(self, world: World) -> None:
        """What it leaves out is as if it had never been said; the day of its making stays."""
        world.made(State="DISABLED", Description="old")
        world.now += timedelta(hours=1)
        world.made(method="PUT", ScheduleExpression="rate(2 days)")
        shown = world.shown()
        assert "Description" not in shown
        assert (shown["State"], shown["ScheduleExpression"]) == ("ENABLED", "rate(2 days)")
        assert shown["LastModificationDate"] - shown["CreationDate"] == 3600

    def test_what_is_not_there(self, world: World) -> None:
        """Neither schedules nor groups."""
        for answer in (
            world.put(method="PUT"),
            world.put(GroupName="nobody"),
            world.ask("GET", "/schedules/nightly", groupName="stack"),
            world.ask("DELETE", "/schedules/nightly"),
            world.ask("GET", "/schedules", ScheduleGroup="nobody"),
            world.ask("GET", "/schedule-groups/nobody"),
            world.ask("DELETE", "/schedule-groups/nobody"),
        ):
            assert answer[:2] == (404, "ResourceNotFoundException")

    def test_a_schedule_is_deleted(self, world: World) -> None:
        """It never fires again, and its name is free."""
        world.made()
        assert world.ask("DELETE", "/schedules/nightly", groupName="stack")[0] == 200
        assert world.pass_time(days=2) == []
        world.made()

    def test_a_name_is_taken_once_in_a_group(self, world: World) -> None:
        """And is free in another."""
        world.made()
        assert world.put()[:2] == (409, "ConflictException")
        world.made(GroupName=None)

    def test_a_request_that_comes_again_is_answered_again(self, world: World) -> None:
        """As the SDK does it when an answer was lost: with the same token."""
        first = world.put(ClientToken="t")
        assert world.put(ClientToken="t") == first
        assert world.put(ClientToken="t", State="DISABLED")[:2] == (409, "ConflictException")
        assert world.put(ClientToken="u")[:2] == (409, "ConflictException")
        world.ask("DELETE", "/schedules/nightly", groupName="stack", clientToken="v")
        assert world.ask("DELETE", "/schedules/nightly", groupName="stack", clientToken="v")[0] == 200

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"ScheduleExpression": "cron(0 4 * * *)"}, "Invalid Schedule Expression cron(0 4 * * *)."),
            ({"ScheduleExpression": None}, "'scheduleExpression' failed to satisfy constraint"),
            ({"ScheduleExpressionTimezone": "Europe/Bonn"}, "Europe/Bonn"),
            ({"State": "PAUSED"}, "enum value set: [ENABLED, DISABLED]"),
            ({"ActionAfterCompletion": "KEEP"}, "enum value set: [NONE, DELETE]"),
            ({"FlexibleTimeWindow": None}, "'flexibleTimeWindow' failed"),
            ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes"),
            ({"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 5}}, "MaximumWindowInMinutes"),
            ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 0}}, "greater than or equal to 1"),
            ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1441}}, "equal to 1440"),
            ({"StartDate": START.timestamp() - 301}, "cannot be earlier than 5 minutes ago"),
            ({"StartDate": START.timestamp(), "EndDate": START.timestamp()}, "must come before the EndDate"),
            ({"Description": "x" * 513}, "less than or equal to 512"),
            ({"GroupName": "no group"}, "regular expression"),
            ({"Target": {"Arn": QUEUE}}, "'target.roleArn' failed"),
            ({"Target": target(Arn="queue")}, "Provided Arn is not in correct format."),
            ({"Target": target(Arn=f"{QUEUE}.fifo")}, "not to"),
            ({"Target": target(Arn="arn:aws:states:eu-west-1:1:stateMachine:m")}, "not to"),
            ({"Target": target(SqsParameters={"MessageGroupId": "g"})}, "SqsParameters"),
            ({"Target": target(RoleArn="arn:aws:iam::1:user/u")}, "'target.roleArn' failed"),
            ({"Target": target(RoleArn=role_arn("nobody"))}, "must allow AWS EventBridge Scheduler to assume"),
            ({"Target": target(RoleArn=role_arn("lambdas"))}, "must allow AWS EventBridge Scheduler to assume"),
            ({"Target": target(RoleArn=role_arn("of-another"))}, "must allow AWS EventBridge Scheduler to assume"),
            ({"Target": target(DeadLetterConfig={"Arn": "grave"})}, "'target.deadLetterConfig.arn' failed"),
            ({"Target": target(RetryPolicy={"MaximumRetryAttempts": 186})}, "less than or equal to 185"),
            ({"Target": target(RetryPolicy={"MaximumEventAgeInSeconds": 59})}, "greater than or equal to 60"),
            ({"Target": target(Input="")}, "'target.input' failed"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_refused(self, world: World, changes: dict[str, Any], problem: str) -> None:
        """Whether it is created or updated, with a sentence that names it; nothing is changed."""
        status, code, body = world.put(**changes)
        assert (status, code) == (400, "ValidationException")
        assert problem in body["Message"]
        world.made("there")
        if "GroupName" not in changes:
            assert world.put("there", method="PUT", **changes)[:2] == (400, "ValidationException")
            assert world.shown("there")["ScheduleExpression"] == "cron(0 4 * * ? *)"

    def test_all_that_is_wrong_is_told_at_once(self, world: World) -> None:
        """As far as it is a matter of form."""
        message = world.put("no name", State="X")[2]["Message"]
        assert message.startswith("2 validation errors detected: ")

    @pytest.mark.parametrize("wrong", [{"Target": "queue"}, {"StartDate": "soon"}, {"State": 1}, {"State": True}])
    def test_what_has_the_wrong_type_is_refused(self, world: World, wrong: dict[str, Any]) -> None:
        """Before anything else is looked at."""
        assert world.put(**wrong)[:2] == (400, "SerializationException")

    def test_a_role_may_be_for_one_group_alone(self, world: World) -> None:
        """Its trust policy names account and group."""
        world.made(Target=target(RoleArn=role_arn("of-the-group")))
        answer = world.put(GroupName=None, Target=target(RoleArn=role_arn("of-the-group")))
        assert answer[:2] == (400, "ValidationException")

    def test_lists_come_in_pages(self, world: World) -> None:
        """By group, prefix and state; each schedule on one page."""
        for name in ("a", "a-1", "a.2", "b"):
            world.made(name, State="DISABLED" if name == "a-1" else "ENABLED")
        world.made("c", GroupName=None)
        names: list[str] = []
        more: dict[str, Any] = {}
        while True:
            _, _, page = world.ask("GET", "/schedules", MaxResults=2, **more)
            assert 1 <= len(page["Schedules"]) <= 2
            names += [one["Name"] for one in page["Schedules"]]
            if "NextToken" not in page:
                break
            more = {"NextToken": page["NextToken"]}
        assert sorted(names) == ["a", "a-1", "a.2", "b", "c"]

        def listed(**query: Any) -> list[str]:
            return [one["Name"] for one in world.ask("GET", "/schedules", **query)[2]["Schedules"]]

        assert listed(ScheduleGroup="stack", NamePrefix="a", State="ENABLED") == ["a", "a.2"]
        assert listed(ScheduleGroup="default") == ["c"]
        (summary,) = world.ask("GET", "/schedules", NamePrefix="b")[2]["Schedules"]
        assert summary["Target"] == {"Arn": QUEUE}
        for wrong in ({"MaxResults": 101}, {"MaxResults": 0}, {"NextToken": "ü"}):
            assert world.ask("GET", "/schedules", **wrong)[:2] == (400, "ValidationException")

    def test_groups(self, world: World) -> None:
        """With a group its schedules go; the default one stays."""
        _, _, made = world.ask("POST", "/schedule-groups/more", {})
        assert made["ScheduleGroupArn"].endswith(":schedule-group/more")
        assert world.ask("POST", "/schedule-groups/more", {})[:2] == (409, "ConflictException")
        world.made(GroupName="more", ScheduleExpression="rate(1 minute)")
        _, _, listed = world.ask("GET", "/schedule-groups")
        assert [one["Name"] for one in listed["ScheduleGroups"]] == ["default", "more", "stack"]
        assert world.ask("GET", "/schedule-groups/more")[2]["State"] == "ACTIVE"
        assert world.ask("DELETE", "/schedule-groups/more")[0] == 200
        assert world.pass_time(minutes=5) == []
        assert world.ask("DELETE", "/schedule-groups/default")[:2] == (400, "ValidationException")

    def test_what_the_api_has_not(self, world: World) -> None:
        """Tags are not kept."""
        assert world.ask("GET", "/tags/arn")[:2] == (404, "UnknownOperationException")
        assert world.ask("PATCH", "/schedules/nightly")[:2] == (404, "UnknownOperationException")


class TestFiring:
    def test_what_is_sent(self, world: World) -> None:
        """The input, with the context attributes filled in: the time is the scheduled one."""
        world.made(ScheduleExpressionTimezone="Europe/Berlin")
        assert world.pass_time(hours=16) == []
        (event,) = world.pass_time(hours=1, seconds=17)
        assert len(event["id"]) == 16
        assert event == {
            "id": event["id"], "time": "2026-11-21T03:00:00Z", "arn": world.shown()["Arn"], "attempt": "1",
            "other": "<id>",
        }  # fmt: skip
        (other,) = world.pass_time(days=1)
        assert other["id"] != event["id"]
        sending = [call for role, call in world.stack.service_calls if role == "sender"]
        assert [(call.action, call.resource) for call in sending] == [("sqs:SendMessage", QUEUE)]

    def test_without_an_input_there_is_an_event(self, world: World) -> None:
        world.made(Target={"Arn": QUEUE, "RoleArn": role_arn("sender")})
        (event,) = world.pass_time(days=1)
        assert (event["source"], event["time"]) == ("aws.scheduler", "2026-11-21T04:00:00Z")

    def test_a_function_is_invoked(self, world: World) -> None:
        """Asynchronously, with the input."""
        world.made(Target=target(Arn=FUNCTION, Input='{"t": "<aws.scheduler.scheduled-time>"}'))
        world.pass_time(days=1)
        assert world.invoked == [(FUNCTION, b'{"t": "2026-11-21T04:00:00Z"}')]

    def test_over_a_change_of_the_clocks(self, world: World) -> None:
        """The time that Berlin's clocks leave out is skipped, the one that comes twice is fired at once."""
        world.now = datetime(2027, 3, 27, tzinfo=UTC)
        world.made(ScheduleExpression="cron(30 2 * * ? *)", ScheduleExpressionTimezone="Europe/Berlin")
        times = [time for hour in range(72) for time in world.at(f"2027-03-{27 + hour // 24}T{hour % 24:02}:45:00")]
        assert times == ["2027-03-27T01:30:00Z", "2027-03-29T00:30:00Z"]
        world.now = datetime(2027, 10, 30, 12, tzinfo=UTC)
        world.made(method="PUT", ScheduleExpression="cron(30 2 * * ? *)", ScheduleExpressionTimezone="Europe/Berlin")
        assert [world.at(f"2027-10-31T0{hour}:45:00") for hour in range(3)] == [["2027-10-31T00:30:00Z"], [], []]

    def test_a_rate_without_a_start_begins_at_once(self, world: World) -> None:
        """And goes on from there; a machine that slept fires once."""
        world.made(ScheduleExpression="rate(10 minutes)")
        assert world.at("2026-11-20T10:00:30") == ["2026-11-20T10:00:30Z"]
        assert world.at("2026-11-20T10:10:29") == []
        assert world.at("2026-11-20T10:10:30") == ["2026-11-20T10:10:30Z"]
        assert world.at("2026-11-20T10:55:00") == ["2026-11-20T10:20:30Z"]
        assert world.at("2026-11-20T11:00:30") == ["2026-11-20T11:00:30Z"]

    def test_nothing_before_the_start_and_nothing_behind_the_end(self, world: World) -> None:
        start, end = START + timedelta(days=2), START + timedelta(days=3)
        world.made(ScheduleExpression="rate(12 hours)", StartDate=start.timestamp(), EndDate=end.timestamp())
        assert world.at("2026-11-22T10:00:29") == []
        assert world.at("2026-11-22T10:00:30") == ["2026-11-22T10:00:30Z"]
        assert world.at("2026-11-23T00:00:00") == ["2026-11-22T22:00:30Z"]
        assert world.at("2026-11-23T10:00:30") == ["2026-11-23T10:00:30Z"]
        assert world.at("2026-11-30T00:00:00") == []

    def test_a_disabled_schedule_waits_and_keeps_its_place(self, world: World) -> None:
        """What it misses is lost; then it goes on as if it had never been disabled."""
        rate = {"ScheduleExpression": "rate(1 hour)"}
        world.made(State="DISABLED", **rate)
        assert world.pass_time(hours=3, minutes=30) == []
        world.made(method="PUT", **rate)
        assert world.pass_time() == []
        assert world.at("2026-11-20T14:00:30") == ["2026-11-20T14:00:30Z"]

    def test_an_update_counts_from_then_on(self, world: World) -> None:
        """The old times are forgotten."""
        world.made()
        world.made(method="PUT", ScheduleExpression="cron(0 12 * * ? *)")
        assert world.at("2026-11-21T04:30:00") == ["2026-11-20T12:00:00Z"]
        assert world.at("2026-11-21T13:00:00") == ["2026-11-21T12:00:00Z"]

    def test_a_one_time_schedule_fires_once(self, world: World) -> None:
        """And stays, unless it is to be deleted; an update alone does not fire it again, another time does."""
        once = {"ScheduleExpression": "at(2026-11-20T12:00:00)", "ScheduleExpressionTimezone": "Europe/Berlin"}
        world.made("kept", **once)
        world.made("gone", ActionAfterCompletion="DELETE", **once)
        assert world.at("2026-11-20T10:59:59") == []
        assert world.at("2026-11-20T11:00:00") == ["2026-11-20T11:00:00Z"] * 2
        assert world.pass_time(days=1) == []
        assert world.ask("GET", "/schedules/gone", groupName="stack")[0] == 404
        world.made("kept", method="PUT", **once)
        assert world.pass_time(days=1) == []
        world.made("kept", method="PUT", ScheduleExpression="at(2026-12-01T00:00:00)")
        assert world.at("2026-12-01T00:00:00") == ["2026-12-01T00:00:00Z"]

    def test_a_one_time_schedule_that_is_over_fires_at_once(self, world: World) -> None:
        world.made(ScheduleExpression="at(2026-11-20T09:00:00)")
        assert world.at("2026-11-20T10:00:30") == ["2026-11-20T09:00:00Z"]

    def test_a_recurring_schedule_can_be_deleted_after_its_last_time(self, world: World) -> None:
        end = (START + timedelta(days=2)).timestamp()
        world.made(EndDate=end, ActionAfterCompletion="DELETE")
        world.pass_time(days=1)
        assert world.shown()
        world.pass_time(days=1)
        assert world.ask("GET", "/schedules/nightly", groupName="stack")[0] == 404

    def test_within_its_flexible_window(self, world: World) -> None:
        """Some time from the scheduled one on, which the event still names; each exactly once."""
        world.made(FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60})
        times, delays = [], []
        for hour in range(24 * 40):
            for event in world.pass_time(hours=1):
                scheduled = datetime.fromisoformat(event["time"])
                times.append(event["time"])
                delays.append((START + timedelta(hours=hour + 1) - scheduled) / timedelta(minutes=1))
        assert len(times) == len(set(times)) == 40
        # The test looks each hour, at half a minute past: so what was put off by less than 30 seconds comes early.
        assert all(0.5 <= delay <= 61 for delay in delays)
        assert world.shown()["FlexibleTimeWindow"]["MaximumWindowInMinutes"] == 60

    def test_a_window_puts_off(self, world: World) -> None:
        """Not everything comes at the scheduled minute."""
        world.made(FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1440})
        assert world.at("2026-11-21T04:00:00") == []
        assert world.at("2026-11-22T03:59:59") == ["2026-11-21T04:00:00Z"]

    def test_by_hand(self, world: World) -> None:
        """Whatever its state."""
        world.made(State="DISABLED")
        world.scheduler.fire("nightly", "stack")
        assert [event["time"] for event in world.sqs.take()] == ["2026-11-20T10:00:30Z"]


class TestFailures:
    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"RoleArn": role_arn("mute")}, "AccessDeniedException"),
            ({"Arn": GONE}, "AWS.SimpleQueueService.NonExistentQueue"),
            ({"Arn": FUNCTION, "Input": "no JSON"}, "InvalidRequestContentException"),
        ],
    )
    def test_what_cannot_be_delivered_goes_to_the_dead_letter_queue(
        self, world: World, changes: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With AWS's attributes, and a warning."""
        world.made(Target=target(DeadLetterConfig={"Arn": GRAVE}, **({"Input": '"text"'} | changes)))
        assert world.pass_time(days=1) == []
        ((queue, body, attributes),) = world.sqs.sent
        assert (queue, body) == ("grave", changes.get("Input", '"text"'))
        assert attributes.pop("EXECUTION_ID")
        assert attributes.pop("ERROR_MESSAGE")
        assert attributes == {
            "ERROR_CODE": code,
            "IS_PAYLOAD_TRUNCATED": "false",
            "RETRY_ATTEMPTS": "0",
            "SCHEDULED_TIME": "2026-11-21T04:00:00Z",
            "SCHEDULE_ARN": world.shown()["Arn"],
            "TARGET_ARN": changes.get("Arn", QUEUE),
        }
        assert "could not be delivered" in caplog.text

    def test_a_role_must_be_allowed_to_bury_too(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        """Otherwise the event is lost, and the log says so."""
        world.made(Target=target(RoleArn=role_arn("mute-everywhere"), DeadLetterConfig={"Arn": GRAVE}))
        world.pass_time(days=1)
        assert world.sqs.sent == []
        assert "could not be dead-lettered either" in caplog.text

    def test_one_that_fails_keeps_no_other_from_firing(self, world: World) -> None:
        world.made("a", Target=target(Arn=GONE))
        world.made("b")
        assert len(world.pass_time(days=1)) == 1

    def test_delivery_is_at_least_once(self, world: World) -> None:
        """A repetition has the same scheduled time, and another execution id; a late one comes later."""
        world.made()
        world.faults.next("scheduler.nightly.repeat")
        first, second = world.pass_time(days=1)
        assert first["time"] == second["time"]
        assert first["id"] != second["id"]
        world.faults.next("scheduler.delay")
        assert world.pass_time(days=1) == []
        world.faults.release()
        assert len(world.sqs.take()) == 1
        world.faults.next("scheduler.missing")
        assert world.pass_time(days=1) == []


class TestStack:
    def test_the_templates_schedules_are_there_and_come_back(self) -> None:
        """After a reset there is nothing else."""
        properties = {
            "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}, "GroupName": "stack",
            "StartDate": "2026-12-01T00:00:00Z", "Target": target(),
        }  # fmt: skip
        world = World(Resource("Daily", "AWS::Scheduler::Schedule", properties, "daily"))
        world.made()
        world.scheduler.reset()
        names = [one["Name"] for one in world.ask("GET", "/schedules")[2]["Schedules"]]
        assert names == ["daily"]
        assert world.at("2026-12-01T00:00:01") == ["2026-12-01T00:00:00Z"]

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"ScheduleExpression": "rate(1 dya)"}, "rate(1 dya)"),
            ({"FlexibleTimeWindow": {"Mode": "OFF", "Maximum": 1}}, "'Maximum' at 'flexibleTimeWindow' is not known"),
            ({"Target": target(RoleArn=role_arn("lambdas"))}, "assume the role"),
            ({"GroupName": "nobody"}, "Schedule group nobody does not exist."),
        ],
    )
    def test_a_wrong_one_is_refused(self, changes: dict[str, Any], problem: str) -> None:
        """With a sentence that names it."""
        right = {
            "ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}, "GroupName": "stack",
            "Target": target(),
        }  # fmt: skip
        with pytest.raises(TemplateError) as refusal:
            World(Resource("Daily", "AWS::Scheduler::Schedule", {**right, **changes}, "daily"))
        assert str(refusal.value).startswith("Daily: ")
        assert problem in str(refusal.value)

    def test_a_group_with_a_wrong_name_is_refused(self) -> None:
        with pytest.raises(TemplateError, match=r"^Wrong: .*regular expression"):
            World(group("Wrong", "a b"))
