"""The AWS account: whose it is, in which Region, and its clients."""

# ruff: noqa: ANN401 - boto3 makes its clients at run time

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound

from deploy.errors import DeployError
from deploy.settings import Target

_LOG_IN = (
    "Log in (`aws sso login`, or AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY) until "
    "`aws sts get-caller-identity` answers."
)
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


@dataclass(frozen=True)
class Account:
    """An account in one Region, reached with the credentials that were found."""

    session: boto3.session.Session
    region: str

    def client(self, service: str) -> Any:
        """Return a client; the SDK repeats its calls when AWS throttles."""
        return self.session.client(
            service,  # type: ignore[call-overload]
            region_name=self.region,
            # An invocation of the admin function may take its whole 20 s.
            config=Config(retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=10, read_timeout=60),
        )

    @cached_property
    def account_id(self) -> str:
        """Return the account's number; raises DeployError where there are no credentials that AWS takes."""
        try:
            return str(self.client("sts").get_caller_identity()["Account"])
        except NoCredentialsError as error:
            raise DeployError(f"There are no AWS credentials. {_LOG_IN}") from error
        except ClientError as error:
            raise DeployError(f"AWS does not take your credentials ({code_of(error)}). {_LOG_IN}") from error
        except BotoCoreError as error:
            raise DeployError(f"AWS cannot be asked who you are: {error} {_LOG_IN}") from error

    @property
    def environment(self) -> Mapping[str, str]:
        """Return what a program needs in its environment to reach the same account and Region."""
        profile = self.session.profile_name
        chosen = {"AWS_PROFILE": profile} if profile != "default" else {}
        return {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region, **chosen}


def connect(target: Target, region: str | None) -> Account:
    """Choose the Region: the option, samconfig.toml, the environment, the profile; in this order.

    samconfig.toml comes before the environment, so that a stage does not move with the shell it is deployed from.
    """
    try:
        session = boto3.session.Session(profile_name=target.profile)
    except ProfileNotFound as error:
        raise DeployError(f"samconfig.toml or AWS_PROFILE names a profile that is not there: {error}") from error
    chosen = (
        region
        or target.region
        or os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION")
        or session.region_name
    )
    if not chosen:
        raise DeployError(
            "Which Region? Give REGION=eu-central-1 to make, --region to the command, or set region in samconfig.toml "
            f"under [{target.stage}.deploy.parameters]."
        )
    return Account(session, chosen)


def code_of(error: ClientError) -> str:
    """Return AWS's code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def explain(error: Exception) -> str:
    """Say what an error of AWS means for whoever deploys."""
    if isinstance(error, ClientError) and code_of(error) in _DENIED:
        return f"You may not do this: {error}. deploy/deployer-policy.json is what a deployment needs."
    return f"AWS refused: {error}" if isinstance(error, ClientError) else f"AWS could not be reached: {error}"
