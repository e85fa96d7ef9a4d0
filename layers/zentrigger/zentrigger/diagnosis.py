"""Diagnosis: how a task died, as a stable reason and a sentence that says what to do about it.

Rules: ECS's stop codes and stopped reasons (AWS: "Amazon ECS stopped tasks error messages", "Stopped task error
codes"); exit codes above 128 name a signal (128 + n); no exit code means that the container never ran or that the
infrastructure ended it.
"""

import re

from zentrigger.events import TaskState
from zentrigger.launches import CONTAINER
from zentrigger.retries import Failure, Kind
from zentrigger.runs import Run, RunStatus

_SIGNALS = 128
_HIGHEST_SIGNAL = 64
_TEMPORARY_EXITS = frozenset({69, 75})
"""The runner's exit codes for services that did not answer (sysexits.h: EX_UNAVAILABLE, EX_TEMPFAIL)."""

_NO_EGRESS = re.compile(
    r"i/o timeout|deadline exceeded|request canceled|dial tcp|no route to host|network is unreachable"
    r"|connection (?:refused|reset|timed out)|connection issue|RequestError: send request failed|no such host",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"toomanyrequests|rate limit|throttl|\b50[0-9]\b|InternalServiceError|InternalError|internal error|unexpected EOF"
    r"|TLS handshake",
    re.IGNORECASE,
)
_PREFIX = "unable to pull secrets or registry auth:"
_SECRET = re.compile(r"secret|ssm|parameter store", re.IGNORECASE)
_CAPACITY = re.compile(r"capacity is unavailable|insufficient capacity", re.IGNORECASE)
_PROVISIONING = re.compile(r"network interface|provisioning|InternalError|internal error", re.IGNORECASE)


def diagnose(run: Run, task: TaskState) -> Failure:
    """Say why a task stopped that left no report, or none that says why."""
    return (
        _out_of_memory(run, task)
        or _failed_to_start(task)
        or _interrupted(run, task)
        or _stopped(task)
        or _reported_stop(run)
        or _no_exit_code(task)
        or _signal(run, task)
        or _not_claimed(run, task)
        or _result_missing(task)
    )


def lost(run: Run) -> Failure:
    """Say what became of a run whose task ECS has forgotten, as it does an hour after a task's end."""
    claimed = " after it had claimed the run" if run.claimed_by else " before it claimed the run"
    return Failure(
        "task_lost",
        f"ECS no longer knows the run's task, which ended over an hour ago{claimed} and left no report. See its logs.",
        "infrastructure",
    )


def never_known() -> Failure:
    """Say what became of a launch that ECS never answered and knows nothing of."""
    return Failure(
        "launch_unknown",
        "ECS never said whether it started the run's task, and knows none. Check ECS's health, then run it again.",
        "permanent",
    )


# ------------------------------------------------------------ the rules, in their order


def _out_of_memory(run: Run, task: TaskState) -> Failure | None:
    if "OutOfMemory" not in f"{_container_reason(task)} {task.stopped_reason}":
        return None
    memory = run.resources.memory if run.resources else task.memory
    had = f"of its {memory} MiB of memory" if memory else "of memory"
    return Failure(
        "out_of_memory",
        f"The task ran out {had}. Ask for more with `resources.memory` (in the request or when publishing), or read"
        " less at a time.",
        "permanent",
    )


def _failed_to_start(task: TaskState) -> Failure | None:
    if task.stop_code != "TaskFailedToStart":
        return None
    said = f"{_said(task)} {_container_reason(task)}".strip()
    if _CAPACITY.search(said):
        return Failure("capacity", f"AWS had no room for the task: {said}", "infrastructure")
    if "CannotPull" in said:
        return _image_pull(said)
    if "ResourceInitializationError" in said:
        return _initialization(said)
    kind: Kind = "infrastructure" if _PROVISIONING.search(said) or _NO_EGRESS.search(said) else "permanent"
    return Failure("task_failed_to_start", f"ECS could not start the task: {said}", kind)


def _image_pull(said: str) -> Failure:
    if "no space left" in said:
        return Failure("image_pull_failed", f"The image is larger than the task's disk: {said}", "permanent")
    if _NO_EGRESS.search(said):
        return _no_egress(said)
    passing = _PASSING.search(said) is not None
    return Failure(
        "image_pull_failed",
        f"Check that the image exists, for this architecture, and that the task's execution role may pull it: {said}",
        "infrastructure" if passing else "permanent",
    )


def _initialization(said: str) -> Failure:
    if _NO_EGRESS.search(said):
        return _no_egress(said)
    if _PASSING.search(said):
        return Failure("task_failed_to_start", f"AWS could not prepare the task: {said}", "infrastructure")
    # What stands before it names secrets, whatever it was.
    cause = said.partition(_PREFIX)[2] or said
    if "ecr:" in cause or "ecr registry auth" in cause:
        return _image_pull(said)
    if _SECRET.search(cause):
        return Failure(
            "secrets_unreadable",
            "Check that the snapshot's secrets exist and are among the stack's PipelineSecretArns, and check"
            f" ZenmlApiKeySecretArn: {said}",
            "permanent",
        )
    return Failure("task_failed_to_start", f"ECS could not prepare the task: {said}", "infrastructure")


def _no_egress(said: str) -> Failure:
    return Failure(
        "subnet_without_egress",
        "The task's subnet does not reach AWS. Public subnets need an internet gateway and AssignPublicIp ENABLED,"
        f" private ones a NAT gateway or VPC endpoints for ECR, S3, CloudWatch Logs and Secrets Manager: {said}",
        "infrastructure",
    )


def _interrupted(run: Run, task: TaskState) -> Failure | None:
    # Some have the code of a termination, and Spot in the reason alone (AWS: "Fargate Spot termination notices").
    if task.stop_code == "SpotInterruption" or (
        task.stop_code == "TerminationNotice" and "Spot" in (task.stopped_reason or "")
    ):
        repeated = "" if run.attempt > 1 else " A further attempt runs on demand."
        return Failure(
            "spot_interrupted", f"AWS took the Spot capacity back: {_said(task)}{repeated}", "infrastructure"
        )
    if task.stop_code in ("TerminationNotice", "InfrastructureHealth"):
        return Failure("infrastructure", f"AWS ended the task ({task.stop_code}): {_said(task)}", "infrastructure")
    return None


def _stopped(task: TaskState) -> Failure | None:
    if task.stop_code != "UserInitiated":
        return None
    return Failure("task_stopped", f"Someone or something stopped the task: {_said(task)}", "permanent")


def _reported_stop(run: Run) -> Failure | None:
    if run.report is None:
        return None
    return Failure(run.report.reason or "stopped", run.report.message, "infrastructure")


def _no_exit_code(task: TaskState) -> Failure | None:
    if _exit_code(task) is not None:
        return None
    return Failure("infrastructure", f"The task stopped without an exit code: {_said(task)}", "infrastructure")


def _signal(run: Run, task: TaskState) -> Failure | None:
    code = _exit_code(task)
    if code is None or not _SIGNALS < code <= _SIGNALS + _HIGHEST_SIGNAL:
        return None
    return Failure(
        "task_killed",
        f"Signal {code - _SIGNALS} killed the runner before it could report: {_said(task)} See the run's logs.",
        "infrastructure" if run.claimed_by is None else "pipeline",
    )


def _not_claimed(run: Run, task: TaskState) -> Failure | None:
    if run.status != RunStatus.STARTING:
        return None
    code = _exit_code(task)
    return Failure(
        "not_claimed",
        f"The task ended with exit code {code} before it claimed the run: {_said(task)} See the run's logs.",
        "infrastructure" if code in _TEMPORARY_EXITS else "permanent",
    )


def _result_missing(task: TaskState) -> Failure:
    code = _exit_code(task)
    return Failure(
        "result_missing",
        f"The task ended with exit code {code} and left no report: {_said(task)} See the run's logs.",
        # Then the runner could not reach the record.
        "infrastructure" if code in _TEMPORARY_EXITS else "pipeline",
    )


def _said(task: TaskState) -> str:
    return (task.stopped_reason or "no reason given").rstrip(".") + "."


def _exit_code(task: TaskState) -> int | None:
    container = next((container for container in task.containers if container.name == CONTAINER), None)
    return container.exit_code if container else None


def _container_reason(task: TaskState) -> str:
    container = next((container for container in task.containers if container.name == CONTAINER), None)
    return (container.reason or "") if container else ""
