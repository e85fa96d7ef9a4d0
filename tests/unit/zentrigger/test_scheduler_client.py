"""What EventBridge Scheduler is told and says: read back as it was told, and refusals apart from what may pass."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from tests.factories import MOMENT
from zentrigger.schedule_sync import ScheduleRefusedError, StandingSchedule, WantedSchedule
from zentrigger.scheduler import Scheduler

QUEUE, ROLE, DEAD = "arn:aws:sqs:us-east-1:1:q", "arn:aws:iam::1:role/r", "arn:aws:sqs:us-east-1:1:d"
CHANGED = datetime(2026, 11, 19, tzinfo=UTC)
WANTED = WantedSchedule("rate(1 hour)", "UTC", True, 15, MOMENT, MOMENT + timedelta(days=1))


class Bench:
    """A scheduler whose client answers what it is told to."""

    def __init__(self) -> None:
        client = boto3.client("scheduler", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        self.aws = Stubber(client)
        self.scheduler = Scheduler(client, group="g", queue_arn=QUEUE, role_arn=ROLE, dead_letter_queue_arn=DEAD)

    def told(self, wanted: WantedSchedule) -> dict[str, Any]:
        """Give what AWS is told when a schedule is set."""
        asked: dict[str, Any] = {}

        def keep(params: dict[str, Any], **_: Any) -> None:
            asked.update(params)

        self.aws.client.meta.events.register("provide-client-params.scheduler.UpdateSchedule", keep)
        self.aws.add_response("update_schedule", {"ScheduleArn": "arn:aws:scheduler:us-east-1:1:schedule/g/t"})
        self.scheduler.put("t", wanted)
        return asked

    def stands(self, **values: Any) -> StandingSchedule | None:
        """Give what is found of a schedule that stands so."""
        self.aws.add_response(
            "get_schedule", {"LastModificationDate": CHANGED, **values}, {"Name": "t", "GroupName": "g"}
        )
        return self.scheduler.find("t")


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Give the bench."""
    bench = Bench()
    with bench.aws:
        yield bench
        bench.aws.assert_no_pending_responses()


@pytest.mark.parametrize(
    "wanted", [WANTED, WantedSchedule("cron(0 4 ? * MON *)", "Europe/Berlin", False, None, None, None)]
)
def test_what_was_told_is_found(bench: Bench, wanted: WantedSchedule) -> None:
    """Also where AWS shows defaults that it was not told."""
    asked = bench.told(wanted)
    more = {"ActionAfterCompletion": "NONE", "CreationDate": MOMENT}
    target = asked["Target"] | {"SqsParameters": {"MessageGroupId": "aws"}}

    assert bench.stands(**asked | more) == StandingSchedule(wanted, CHANGED)
    assert bench.stands(**asked | {"Target": target}) == StandingSchedule(wanted, CHANGED)


@pytest.mark.parametrize(
    "changed",
    [
        {"Arn": f"{QUEUE}-other"},
        {"RoleArn": f"{ROLE}-other"},
        {"Input": "{}"},
        {"RetryPolicy": {"MaximumRetryAttempts": 0}},
        {"DeadLetterConfig": {}},
        None,
    ],
)
def test_what_a_hand_has_changed_is_not_ours(bench: Bench, changed: dict[str, Any] | None) -> None:
    """Where it sends, what, and how often; and that it goes when it is over, which is the trigger's to say."""
    asked = bench.told(WANTED)
    target = {"Target": asked["Target"] | changed} if changed is not None else {"ActionAfterCompletion": "DELETE"}

    found = bench.stands(**asked | target)

    assert found == StandingSchedule(WANTED, CHANGED, ours=False)


def test_none_is_found_where_there_is_none(bench: Bench) -> None:
    """That is no error."""
    bench.aws.add_client_error("get_schedule", "ResourceNotFoundException")
    assert bench.scheduler.find("t") is None


@pytest.mark.parametrize("code", ["ValidationException", "ServiceQuotaExceededException"])
@pytest.mark.parametrize("made", [True, False])
def test_a_refusal_for_good_has_the_words_of_aws(bench: Bench, code: str, made: bool) -> None:
    """Of the update as of the making; not more of them than somebody reads."""
    if made:
        bench.aws.add_client_error("update_schedule", "ResourceNotFoundException")
    bench.aws.add_client_error("create_schedule" if made else "update_schedule", code, "too many " + "x" * 1000)

    with pytest.raises(ScheduleRefusedError, match=r"^too many x{491}$"):
        bench.scheduler.put("t", WANTED)


@pytest.mark.parametrize("code", ["ThrottlingException", "InternalServerException", "AccessDeniedException"])
def test_what_may_pass_is_no_refusal(bench: Bench, code: str) -> None:
    """Nor is a missing permission: it is the stack's, and not one trigger's."""
    bench.aws.add_client_error("update_schedule", code)
    with pytest.raises(ClientError, match=code):
        bench.scheduler.put("t", WANTED)
