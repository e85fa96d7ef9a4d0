"""The stack's first API key: made by its admin function, kept in Secrets Manager, shown to nobody."""

# ruff: noqa: ANN401 - boto3 makes its clients at run time

import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy.account import Account, code_of
from deploy.errors import DeployError
from deploy.settings import Target
from deploy.stack import StackState
from zentrigger_client import Client, ZentriggerError

REQUEST = Path("events/admin_create_first_key.json")


def operator_key(account: Account, target: Target, stack: StackState, *, root: Path, say: Callable[[str], None]) -> str:
    """Return the key that Secrets Manager has, if the API still takes it; otherwise make one and keep it there.

    The secret is made before the key, so that no key is made that could not be kept.
    """
    api_url, function = stack.output("ApiUrl"), stack.output("AdminFunction")
    secrets = account.client("secretsmanager")
    key = _read_or_create(secrets, target, say)
    if key is not None and _is_taken(api_url, key):
        return key
    say(f"making an API key; it is kept in Secrets Manager as {target.key_secret}")
    key = _make_key(account.client("lambda"), function, root)
    secrets.put_secret_value(SecretId=target.key_secret, SecretString=key)
    return key


def forget_key(account: Account, target: Target) -> bool:
    """Delete the secret at once: its stack is gone. Returns whether there was one."""
    secrets = account.client("secretsmanager")
    try:
        secrets.describe_secret(SecretId=target.key_secret)
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            return False
        raise
    secrets.delete_secret(SecretId=target.key_secret, ForceDeleteWithoutRecovery=True)
    return True


def _read_or_create(secrets: Any, target: Target, say: Callable[[str], None]) -> str | None:
    """Return the secret's value; None for one that has none yet, and for one that had to be made."""
    name = target.key_secret
    try:
        described = secrets.describe_secret(SecretId=name)
    except ClientError as error:
        if code_of(error) != "ResourceNotFoundException":
            raise
        secrets.create_secret(Name=name, Description=f"API key of an operator of the stack {target.stack_name}")
        return None
    if "DeletedDate" in described:
        say(f"the secret {name} was to be deleted: restoring it")
        secrets.restore_secret(SecretId=name)
    try:
        return str(secrets.get_secret_value(SecretId=name)["SecretString"])
    except ClientError as error:
        if code_of(error) == "ResourceNotFoundException":
            return None
        raise


def _is_taken(api_url: str, key: str) -> bool:
    """Tell whether the API knows the key: it may have been deleted, or be of a stack that is gone."""
    try:
        with Client(api_url, key) as client:
            client.keys()
    except ZentriggerError as error:
        if error.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return False
        raise
    return True


def _make_key(functions: Any, name: str, root: Path) -> str:
    answer = functions.invoke(FunctionName=name, Payload=(root / REQUEST).read_bytes())
    told = json.loads(answer["Payload"].read())
    if "FunctionError" in answer or not isinstance(told, dict) or "key" not in told:
        # An error's own words hold no key; anything else might.
        said = f"{told.get('errorType')}: {told.get('errorMessage')}" if "FunctionError" in answer else "no key"
        raise DeployError(f"The function {name} made no API key: {said}. Its log says more.")
    return str(told["key"])
