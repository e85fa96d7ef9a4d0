"""Deleting a stack: what goes, what stays, and how to delete that, too."""

# ruff: noqa: ANN401 - boto3 makes its clients at run time

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import WaiterError

from deploy.account import Account
from deploy.api_key import forget_key
from deploy.errors import DeployError
from deploy.image import REPOSITORY
from deploy.settings import Target
from deploy.stack import describe, failures

_RETAINING = {"Retain", "RetainExceptOnCreate"}


@dataclass(frozen=True)
class Contents:
    """What of a stack matters to whoever deletes it: physical names."""

    tables: tuple[str, ...]
    retained: tuple[tuple[str, str], ...]
    cluster: str | None
    others: int


def destroy(account: Account, target: Target, *, yes: bool, say: Callable[[str], None]) -> None:
    """Say what deleting the stack means; with `yes` delete it, and the key of its API. Raises DeployError if it cannot.

    No bucket is ever emptied or deleted here, nor the repository of the images, which other stages use.
    """
    cloudformation = account.client("cloudformation")
    state = describe(cloudformation, target.stack_name)
    if state is None:
        say(f"there is no stack {target.stack_name} in {account.region}")
        if yes and forget_key(account, target):
            say(f"deleted the secret {target.key_secret}")
        return
    contents = read_contents(cloudformation, target.stack_name)
    for table in contents.tables:
        say(f"deletes the table {table}, with all that is in it")
    say(f"deletes {contents.others} other resources: functions, roles, rules, queues, log groups, the network")
    say(f"deletes the secret {target.key_secret}, the operator's API key")
    for kind, name in contents.retained:
        say(f"keeps {kind} {name}")
    say(f"keeps the task definitions of the family {target.stack_name}-snapshot, which cost nothing")
    if not yes:
        say(f"nothing was deleted. To do it: make destroy STAGE={target.stage} YES=1")
        return
    _check_protection(account, contents, target)
    _check_tasks(account, contents)
    _delete(cloudformation, target, say)
    if forget_key(account, target):
        say(f"deleted the secret {target.key_secret}")
    say("what is left, and how to delete it for good:")
    for line in leftovers(account, contents):
        say(f"  {line}")


def read_contents(cloudformation: Any, stack_name: str) -> Contents:
    """Return what is in the stack, and what of it its template says to retain."""
    policies = _deletion_policies(cloudformation, stack_name)
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack_name)
    resources = [
        resource
        for page in pages
        for resource in page["StackResourceSummaries"]
        if resource.get("PhysicalResourceId") and resource["ResourceStatus"] != "DELETE_COMPLETE"
    ]
    tables, retained, cluster, others = [], [], None, 0
    for resource in resources:
        kind, name = str(resource["ResourceType"]), str(resource["PhysicalResourceId"])
        if policies.get(resource["LogicalResourceId"]) in _RETAINING:
            retained.append((kind, name))
        elif kind == "AWS::DynamoDB::Table":
            tables.append(name)
        else:
            others += 1
            cluster = name if kind == "AWS::ECS::Cluster" else cluster
    return Contents(tuple(tables), tuple(retained), cluster, others)


def leftovers(account: Account, contents: Contents) -> list[str]:
    """Return the commands that delete what deleting the stack does not."""
    lines = [
        f"aws s3 rb --force s3://{name}    # with all that is in it"
        for kind, name in contents.retained
        if kind == "AWS::S3::Bucket"
    ]
    region = f"--region {account.region}"
    lines.append(f"aws ecr delete-repository {region} --repository-name {REPOSITORY} --force    # images of all stages")
    return lines


def _deletion_policies(cloudformation: Any, stack_name: str) -> Mapping[str, str]:
    body = cloudformation.get_template(StackName=stack_name, TemplateStage="Processed")["TemplateBody"]
    template = json.loads(body) if isinstance(body, str) else body
    return {name: resource.get("DeletionPolicy", "Delete") for name, resource in template["Resources"].items()}


def _check_protection(account: Account, contents: Contents, target: Target) -> None:
    """Raise DeployError if a table is protected: CloudFormation would fail halfway."""
    dynamodb = account.client("dynamodb")
    protected = [
        table
        for table in contents.tables
        if dynamodb.describe_table(TableName=table)["Table"].get("DeletionProtectionEnabled")
    ]
    if not protected:
        return
    region = f"--region {account.region}"
    commands = [
        f"aws dynamodb update-table {region} --table-name {table} --no-deletion-protection-enabled"
        for table in protected
    ]
    again = f"make destroy STAGE={target.stage} YES=1"
    raise DeployError(
        "\n  ".join(["Nothing was deleted: these tables are protected. If you mean it:", *commands, again])
    )


def _check_tasks(account: Account, contents: Contents) -> None:
    """Raise DeployError while tasks run: ECS deletes no cluster with tasks in it."""
    if contents.cluster is None:
        return
    ecs = account.client("ecs")
    running = len(ecs.list_tasks(cluster=contents.cluster, desiredStatus="RUNNING")["taskArns"])
    if running:
        raise DeployError(
            f"Nothing was deleted: {running} task(s) of runs are under way in {contents.cluster}. Wait for their end, "
            "or cancel them: zentrigger list --status running, zentrigger cancel RUN_ID"
        )


def _delete(cloudformation: Any, target: Target, say: Callable[[str], None]) -> None:
    say(f"deleting the stack {target.stack_name}; this takes some minutes")
    cloudformation.delete_stack(StackName=target.stack_name)
    try:
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=target.stack_name, WaiterConfig={"Delay": 10, "MaxAttempts": 120}
        )
    except WaiterError as error:
        reasons = failures(cloudformation, target.stack_name)
        message = f"The stack {target.stack_name} could not be deleted as a whole; mend this and call it again:"
        raise DeployError("\n  ".join([message, *(reasons or [str(error)])])) from error
