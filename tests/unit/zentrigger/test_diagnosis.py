"""How tasks die, in ECS's own words, and what a person is told of it."""

from typing import Any

import pytest

from tests.factories import TASK, run, stopped_task
from zentrigger.diagnosis import diagnose, lost, never_known
from zentrigger.events import task_state
from zentrigger.resources import Resources

NEVER_STARTED: dict[str, Any] = {"stop_code": "TaskFailedToStart", "exit_code": None}
NO_WAY_OUT = (
    'CannotPullContainerError: Get "https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/": dial tcp 10.0.0.1:443: i/o timeout'
)
NO_SUCH_IMAGE = (
    "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref"
    " 1.dkr.ecr.eu-west-1.amazonaws.com/z@sha256:0: not found"
)
INITIALIZATION = "ResourceInitializationError: unable to pull secrets or registry auth: "


@pytest.mark.parametrize(
    ("said", "reason", "kind"),
    [
        (
            NO_SUCH_IMAGE,
            "image_pull_failed",
            "permanent",
        ),
        ("CannotPullContainerError: image Manifest does not contain descriptor matching platform", "image_pull_failed",
         "permanent"),
        ("CannotPullContainerError: toomanyrequests: You have reached your pull rate limit", "image_pull_failed",
         "infrastructure"),
        ("CannotPullContainerError: write /var/lib: no space left on device", "image_pull_failed", "permanent"),
        (
            NO_WAY_OUT,
            "subnet_without_egress",
            "infrastructure",
        ),
        (
            INITIALIZATION + "execution resource retrieval failed: unable to retrieve secret from asm: service call has"
            " been retried 5 time(s): RequestCanceled: request context canceled caused by: context deadline exceeded",
            "subnet_without_egress",
            "infrastructure",
        ),
        (
            INITIALIZATION + "execution resource retrieval failed: unable to retrieve secret from asm:"
            " ResourceNotFoundException: Secrets Manager can't find the specified secret.",
            "secrets_unreadable",
            "permanent",
        ),
        (INITIALIZATION + "AccessDeniedException: not authorized to perform: secretsmanager:GetSecretValue",
         "secrets_unreadable", "permanent"),
        ("ResourceInitializationError: failed to validate logger args", "task_failed_to_start", "infrastructure"),
        ("Timeout waiting for network interface provisioning to complete.", "task_failed_to_start", "infrastructure"),
        ("Capacity is unavailable at this time. Please try again later or in a different availability zone", "capacity",
         "infrastructure"),
        ("Task failed to start", "task_failed_to_start", "permanent"),
    ],
)  # fmt: skip
def test_a_task_that_never_started(said: str, reason: str, kind: str) -> None:
    """What ECS said stands in the message; what another attempt would meet again is told from what may pass."""
    standing = run(status="starting", task_arn=TASK)

    failure = diagnose(standing, stopped_task(standing, stopped_reason=said, **NEVER_STARTED))

    assert (failure.reason, failure.kind) == (reason, kind)
    assert said in (failure.message or "")


@pytest.mark.parametrize(
    ("status", "task", "reason", "kind"),
    [
        ("running", {"stop_code": "SpotInterruption", "exit_code": 143}, "spot_interrupted", "infrastructure"),
        (
            "running",
            {"stop_code": "TerminationNotice", "stopped_reason": "Your Spot Task was interrupted.", "exit_code": 137},
            "spot_interrupted",
            "infrastructure",
        ),
        ("running", {"stop_code": "TerminationNotice", "exit_code": 143}, "infrastructure", "infrastructure"),
        ("running", {"stop_code": "InfrastructureHealth", "exit_code": None}, "infrastructure", "infrastructure"),
        ("running", {"stop_code": "UserInitiated", "exit_code": 143}, "task_stopped", "permanent"),
        ("running", {"exit_code": None}, "infrastructure", "infrastructure"),
        ("running", {"containers": ()}, "infrastructure", "infrastructure"),
        ("running", {"exit_code": 139}, "task_killed", "pipeline"),
        ("starting", {"exit_code": 137}, "task_killed", "infrastructure"),
        ("starting", {"exit_code": 75}, "not_claimed", "infrastructure"),
        ("starting", {"exit_code": 64}, "not_claimed", "permanent"),
        ("starting", {"exit_code": 0}, "not_claimed", "permanent"),
        ("running", {"exit_code": 0}, "result_missing", "pipeline"),
        ("running", {"exit_code": 1, "stopped_reason": None}, "result_missing", "pipeline"),
    ],
)
def test_a_task_that_ran(status: str, task: dict[str, Any], reason: str, kind: str) -> None:
    """By its stop code, then by its exit code."""
    standing = run(status=status, task_arn=TASK, claimed_by=TASK if status == "running" else None)

    failure = diagnose(standing, stopped_task(standing, **task))

    assert (failure.reason, failure.kind) == (reason, kind)
    assert failure.message


@pytest.mark.parametrize(
    ("resources", "memory", "said"),
    [
        (Resources(cpu=1024, memory=4096), 2048, "its 4096 MiB of memory"),
        (None, 2048, "its 2048 MiB"),
        (None, None, "of memory"),
    ],
)
def test_out_of_memory_says_how_much_there_was(resources: Resources | None, memory: int | None, said: str) -> None:
    """And where to ask for more. ECS says it of the container, whatever the exit code."""
    standing = run(status="running", task_arn=TASK, resources=resources)
    task = stopped_task(
        standing, exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage", memory=memory
    )

    failure = diagnose(standing, task)

    assert (failure.reason, failure.kind) == ("out_of_memory", "permanent")
    assert said in (failure.message or "")
    assert "`resources.memory`" in (failure.message or "")


def test_what_ecs_forgot_or_never_told() -> None:
    """Whether the task had claimed the run is said."""
    assert "before it claimed" in (lost(run(status="starting", task_arn=TASK)).message or "")
    assert "after it had claimed" in (lost(run(status="running", task_arn=TASK, claimed_by=TASK)).message or "")
    assert never_known().kind == "permanent"


def test_times_and_memory_of_a_task_are_read_from_events_and_from_descriptions() -> None:
    """Events have text, DescribeTasks has moments; what is not there yet is None."""
    task = {"taskArn": TASK, "lastStatus": "STOPPED", "memory": "2048", "pullStoppedAt": "2026-11-20T12:00:01.5Z"}

    state = task_state(task)

    assert state.memory == 2048
    assert state.pulled_at is not None
    assert state.pulled_at.isoformat() == "2026-11-20T12:00:01.500000+00:00"
    assert task_state(task | {"pullStoppedAt": state.pulled_at}).pulled_at == state.pulled_at
    assert (state.started_at, state.pull_started_at) == (None, None)
