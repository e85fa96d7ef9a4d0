"""What events missed, the sweep mends: from the table and ECS alone, and safely twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests import factories
from tests.factories import TRAINING
from tests.integration.stack.conftest import Stack, sample
from zentrigger.runs import Refusal, Report, Run, RunStatus, Source

SUCCESS = Report(outcome="succeeded")


def two_minutes_ago() -> datetime:
    """Give a moment at which a launch's caller has surely ended by now."""
    return datetime.now(UTC) - timedelta(minutes=2)


def record(stack: Stack, **values: Any) -> Run:
    """Record a run that holds a slot, as a function does that dies right after."""
    wanted = factories.run(task_definition=_definition(stack), source=Source(type="http", key_id="k"), **values)
    created = stack.runs().create(wanted, factories.run_input(), max_active=4, max_waiting=None).run
    assert created.status == RunStatus.STARTING
    return created


def launch_by_hand(stack: Stack, run: Run) -> str:
    """Start a run's task as its launch would, and give its ARN; the record does not learn of it."""
    environment = stack.cloud.stack.resources["TriggerFunction"]["Environment"]["Variables"]
    answer = stack.client("ecs").run_task(
        cluster=environment["CLUSTER"],
        taskDefinition=run.task_definition,
        launchType="FARGATE",
        startedBy=run.started_by,
        networkConfiguration={
            "awsvpcConfiguration": {
                "subnets": environment["SUBNETS"].split(","),
                "securityGroups": environment["SECURITY_GROUPS"].split(","),
            }
        },
        overrides={
            "containerOverrides": [{"name": "runner", "environment": [{"name": "RUN_ID", "value": run.run_id}]}]
        },
    )
    return str(answer["tasks"][0]["taskArn"])


def sweep(stack: Stack) -> None:
    """Let a minute pass, twice at once."""
    for _ in range(2):
        stack.invoke("LifecycleFunction", sample("lifecycle_sweep"))


def test_a_run_that_was_recorded_and_never_launched_is_launched(stack: Stack) -> None:
    """The function died between the record and RunTask. Two sweeps launch it once: the token is the same."""
    run = record(stack, accepted_at=two_minutes_ago())

    sweep(stack)

    assert len(stack.tasks_of(run.run_id)) == 1
    stack.finish(run.run_id, SUCCESS)
    assert stack.ended(run.run_id)["status"] == "succeeded"


def test_a_young_launch_is_left_to_its_caller(stack: Stack) -> None:
    """Who records a run launches it; the sweep does not interfere."""
    run = record(stack, accepted_at=datetime.now(UTC))

    sweep(stack)

    assert stack.tasks_of(run.run_id) == []
    assert stack.runs().head(run.run_id) == run
    stack.runs().end(run, RunStatus.FAILED, "test", None)


def test_a_task_whose_answer_was_lost_is_adopted(stack: Stack) -> None:
    """ECS started it and nobody kept its ARN."""
    unrecorded = factories.run(task_definition=_definition(stack))
    # In this order, for the stream wakes `lifecycle` as soon as the run is recorded.
    arn = launch_by_hand(stack, unrecorded)
    run = record(stack, run_id=unrecorded.run_id, accepted_at=two_minutes_ago())

    sweep(stack)

    assert len(stack.tasks_of(run.run_id)) == 1
    assert stack.get_run(run.run_id)["task_arn"] == arn


def test_a_stop_whose_event_was_lost_is_found(stack: Stack) -> None:
    """DescribeTasks says what the event would have said."""
    unrecorded = factories.run(task_definition=_definition(stack))
    arn = launch_by_hand(stack, unrecorded)
    stack.tasks.run(arn)
    stack.tasks.exit(arn, 137)
    run = record(stack, run_id=unrecorded.run_id, accepted_at=two_minutes_ago(), task_arn=arn)
    stack.runs().claim(run.run_id, 1, arn)

    sweep(stack)

    ended = stack.ended(run.run_id)
    assert (ended["status"], ended["reason"]) == ("failed", "task_killed")


def test_a_task_that_ecs_forgot_is_lost_after_a_while(stack: Stack) -> None:
    """Not at once: ECS may not know a new task yet."""
    gone = stack.forgotten_task()
    young = record(stack, accepted_at=two_minutes_ago(), task_arn=gone)
    old = record(stack, accepted_at=datetime.now(UTC) - timedelta(hours=2), task_arn=gone)

    sweep(stack)

    again = stack.wait(lambda: shown if (shown := stack.get_run(old.run_id))["attempt"] == 2 else None)
    assert (again["status"], again["reason"]) == ("queued", "task_lost")
    assert [(attempt["number"], attempt["reason"]) for attempt in again["attempts"]] == [(1, "task_lost")]
    assert stack.get_run(young.run_id)["status"] == "starting"
    standing = stack.runs().head(young.run_id)
    assert standing is not None
    stack.runs().end(standing, RunStatus.FAILED, "test", None)


def test_a_refusal_is_acted_on(stack: Stack) -> None:
    """A lasting one ends the run, a passing one sends it back to waiting, from where it is launched anew."""
    lasting, passing = (record(stack, accepted_at=datetime.now(UTC)) for _ in range(2))
    runs = stack.runs()
    runs.record_refusal(lasting, Refusal(launch=1, transient=False, reason="launch_refused", message="no such subnet"))
    runs.record_refusal(passing, Refusal(launch=1, transient=True, reason="throttled", message="slow down"))

    ended = stack.ended(lasting.run_id)
    assert (ended["reason"], ended["message"]) == ("launch_refused", "no such subnet")
    waiting = stack.wait(lambda: head if (head := runs.head(passing.run_id)) and head.launch == 2 else None)
    assert waiting.status == RunStatus.QUEUED


def test_a_cancelled_launch_of_unknown_fate_ends_as_cancelled(stack: Stack) -> None:
    """Nobody knows whether there is a task: none is started for it, and after a while there is none."""
    young = record(stack, accepted_at=datetime.now(UTC))
    assert stack.call("DELETE", f"/runs/{young.run_id}").status_code == 202

    sweep(stack)

    standing = stack.runs().head(young.run_id)
    assert standing is not None
    assert standing.status == RunStatus.STARTING
    assert stack.tasks_of(young.run_id) == []
    stack.runs().end(standing, RunStatus.CANCELLED, "test", None)


def _definition(stack: Stack) -> str:
    return str(stack.call("GET", f"/snapshots/{TRAINING.pipeline}:1").json()["task_definition"])
