"""The stack: `sam deploy`, and what CloudFormation says of it."""

# ruff: noqa: ANN401 - boto3 makes its clients at run time

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy import programs
from deploy.account import Account, code_of
from deploy.errors import DeployError
from deploy.settings import Target, format_overrides

BUILT_TEMPLATE = Path(".aws-sam/build/template.yaml")
_MOST_REASONS = 5
_CAN_BE_DEPLOYED = {
    "CREATE_COMPLETE",
    "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_COMPLETE",
    "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
    "REVIEW_IN_PROGRESS",  # a change set was made for it, and never executed
}
_MUST_GO_FIRST = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}


@dataclass(frozen=True)
class StackState:
    """A stack as CloudFormation describes it."""

    name: str
    status: str
    outputs: Mapping[str, str]

    def output(self, name: str) -> str:
        """Return an output of the template."""
        try:
            return self.outputs[name]
        except KeyError:
            raise DeployError(f"The stack {self.name} ({self.status}) has no output {name}: deploy it first.") from None


def describe(cloudformation: Any, name: str) -> StackState | None:
    """Return the stack, or None if there is none of this name."""
    try:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if code_of(error) == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return StackState(name, str(stack["StackStatus"]), outputs)


def deployed(cloudformation: Any, target: Target) -> StackState:
    """Return the stack; raises DeployError if it has not been deployed."""
    state = describe(cloudformation, target.stack_name)
    if state is None:
        raise DeployError(f"There is no stack {target.stack_name} here: make deploy-stack STAGE={target.stage}")
    return state


def deploy_stack(  # noqa: PLR0913 - the parts of one step, by name
    account: Account,
    target: Target,
    *,
    image: str,
    root: Path,
    sam: Sequence[str],
    say: Callable[[str], None],
) -> StackState:
    """Create or update the stack with this image; returns it when it is complete. No change is no error."""
    if not (root / BUILT_TEMPLATE).is_file():
        raise DeployError(f"Nothing is built ({BUILT_TEMPLATE} is missing): make deploy-build")
    if not programs.is_there(sam[0]):
        raise DeployError(
            f"`{sam[0]}` is not on PATH. Call make deploy-stack, which brings it, or: uv tool install aws-sam-cli"
        )
    cloudformation = account.client("cloudformation")
    check_deployable(cloudformation, target)
    # An option given to sam replaces samconfig.toml's parameter_overrides as a whole, so all are given.
    overrides = format_overrides({**target.parameters, "ImageUri": image})
    say(f"sam deploy: {target.stack_name} with {image}")
    command = [*sam, "deploy", "--config-env", target.stage, "--region", account.region]
    options = ["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--parameter-overrides", *overrides]
    try:
        programs.run(
            [*command, *options], folder=root, failure="The stack was not deployed.", environment=account.environment
        )
    except DeployError as error:
        reasons = failures(cloudformation, target.stack_name)
        raise DeployError("\n  ".join([str(error), *reasons])) from error
    return deployed(cloudformation, target)


def check_deployable(cloudformation: Any, target: Target) -> None:
    """Raise DeployError, which says what to do, for a stack in a state from which it cannot be deployed."""
    state = describe(cloudformation, target.stack_name)
    if state is None or state.status in _CAN_BE_DEPLOYED:
        return
    stack = f"The stack {target.stack_name} is in {state.status}"
    if state.status in _MUST_GO_FIRST:
        reasons = failures(cloudformation, target.stack_name)
        advice = f"{stack}: it can only be deleted. make destroy STAGE={target.stage} YES=1, then deploy again."
        raise DeployError("\n  ".join([advice, *(["What had failed:", *reasons] if reasons else [])]))
    if state.status == "UPDATE_ROLLBACK_FAILED":
        raise DeployError(
            f"{stack}: CloudFormation could not undo an update. Mend what its events name, then: "
            f"aws cloudformation continue-update-rollback --stack-name {target.stack_name}"
        )
    raise DeployError(f"{stack}: somebody is changing it. Wait until that is done.")


def failures(cloudformation: Any, name: str) -> list[str]:
    """Return why the newest operation on the stack failed: the resources that began it, not those it took along."""
    try:
        pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=name)
        events = [event for page in pages for event in page["StackEvents"]]
    except ClientError:
        return []  # The stack never came to be: sam's own words are all there is.
    found = []
    for event in events:  # newest first
        reason = event.get("ResourceStatusReason", "")
        status = str(event.get("ResourceStatus", ""))
        if status.endswith("_FAILED") and "cancelled" not in reason.lower():
            found.append(f"{event['LogicalResourceId']} ({event.get('ResourceType', '')}): {reason}")
        if reason == "User Initiated" and event["LogicalResourceId"] == name:
            break
    return list(reversed(found))[:_MOST_REASONS]
