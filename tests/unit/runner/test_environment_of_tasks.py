"""What a task must be told, and what it says when it is not."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest

from runner import __main__ as program
from runner.parent import Parent
from runner.settings import Settings, SettingsError
from runner.task_metadata import Task, TaskMetadataError, _task, read_task
from zentrigger.attempt_store import AttemptStore, NotClaimableError
from zentrigger.runs import Timings

ENVIRONMENT = {
    "RUN_ID": "r",
    "ATTEMPT": "2",
    "RUNS_TABLE": "runs",
    "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x",
}


def test_every_missing_variable_is_named() -> None:
    """All at once, not one a start."""
    with pytest.raises(SettingsError, match=r"RUN_ID.*RUNS_TABLE"):
        Settings.from_environment({"ATTEMPT": "1"})


def test_an_attempt_is_a_number() -> None:
    """Otherwise the record would never match."""
    assert Settings.from_environment(ENVIRONMENT).attempt == 2
    with pytest.raises(SettingsError, match="ATTEMPT"):
        Settings.from_environment({**ENVIRONMENT, "ATTEMPT": "one"})


def test_the_smallest_memory_limit_counts() -> None:
    """A container may have less than its task."""
    body = {"TaskARN": "arn:t", "Limits": {"CPU": 1, "Memory": 4096}, "Containers": [{"Limits": {"Memory": 2048}}, {}]}
    assert _task(json.dumps(body).encode()) == Task("arn:t", 2048 * 1024**2)
    assert _task(b'{"TaskARN": "arn:t"}') == Task("arn:t", None)


def test_when_the_image_was_there_and_the_container_ran() -> None:
    """As the agent writes it, in nanoseconds; of several containers the runner's counts."""
    body = {
        "TaskARN": "arn:t",
        "PullStartedAt": "2026-11-20T12:00:00.123456789Z",
        "PullStoppedAt": "2026-11-20T13:00:41+01:00",
        "Containers": [
            {"Name": "sidecar", "StartedAt": "2026-11-20T12:00:42Z"},
            {"Name": "runner", "StartedAt": "2026-11-20T12:00:43.5Z"},
        ],
    }
    assert _task(json.dumps(body).encode()).timings == Timings(
        pull_started_at=datetime(2026, 11, 20, 12, 0, 0, 123456, UTC),
        pulled_at=datetime(2026, 11, 20, 12, 0, 41, 0, UTC),
        container_started_at=datetime(2026, 11, 20, 12, 0, 43, 500000, UTC),
    )


@pytest.mark.parametrize(
    "odd",
    [None, "", "soon", "2026-11-20T12:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:00", 7, True, [], {}],
    ids=repr,
)
def test_an_odd_time_is_unknown(odd: object) -> None:
    """The run is claimed all the same, and what is known beside it is kept."""
    containers: list[Any] = [odd, {"Name": "runner", "StartedAt": odd}]
    body = {"TaskARN": "arn:t", "PullStartedAt": odd, "PullStoppedAt": odd, "Containers": containers}
    assert _task(json.dumps(body).encode()) == Task("arn:t", None)
    known = body | {"PullStoppedAt": "2026-11-20T12:00:00Z"}
    assert _task(json.dumps(known).encode()).timings == Timings(pulled_at=datetime(2026, 11, 20, 12, tzinfo=UTC))


def test_an_address_that_is_none_is_refused() -> None:
    """Nothing is asked."""
    with pytest.raises(TaskMetadataError, match="http://"):
        read_task("file:///etc/passwd")


def test_outside_of_a_task_the_program_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Exit code 64, as sysexits.h has it for wrong use."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    assert program.main() == 64
    assert "RUN_ID" in caplog.text


def test_a_run_that_is_not_to_be_claimed_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Exit code 0: a second task for one attempt is nobody's failure."""
    caplog.set_level(logging.INFO, logger="runner")
    told = Timings(pulled_at=datetime(2026, 11, 20, 12, tzinfo=UTC))

    def refuse(_store: AttemptStore, *arguments: object) -> None:
        assert arguments == ("r", 2, "arn:t", told)
        raise NotClaimableError("it is cancelled")

    aws = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    for name, value in {**ENVIRONMENT, **aws}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(program, "read_task", lambda _uri: Task("arn:t", None, told))
    monkeypatch.setattr(AttemptStore, "claim", refuse)
    monkeypatch.setattr(Parent, "listen_for_stop", lambda _self: None)
    assert program.main() == 0
    assert "it is cancelled" in caplog.text
