"""The ZenML store and stack of a task: found, and ready for a pipeline, before anything runs."""

import os

from zenml.client import Client
from zenml.constants import ENV_ZENML_ACTIVE_STACK_ID
from zenml.models import StackResponse
from zenml.stack import Stack
from zenml.utils.uuid_utils import is_valid_uuid

from runner import zenml_server
from runner.failures import Refused


def connect(stack: str | None) -> Stack:
    """Connect to the ZenML store and give the stack to run on: the one of that name or id, or the task's own.

    The stack is active for this process alone.

    Raises:
        Refused: `zenml_unreachable`, `zenml_not_answering`, `zenml_key_refused`; or `zenml_stack_unusable` when there
            is no such stack, or the image lacks what it needs.

    """
    url = os.environ.get("ZENML_STORE_URL")
    if url:
        zenml_server.reach(url)
    try:
        # The first call that needs the key.
        Client().active_user  # noqa: B018
    except Exception as error:  # requests, SQLAlchemy, ZenML's own: every store has its errors
        if url:
            raise zenml_server.refusal(error, url) from error
        raise Refused(
            "zenml_unreachable", f"The task's own ZenML store cannot be used ({type(error).__name__}: {error})."
        ) from error
    try:
        if stack is not None:
            _activate(stack)
        return Client().active_stack  # loads what the stack's components need
    except Refused:
        raise
    except Exception as error:  # an integration that is missing raises in its own way
        if url and zenml_server.cause_of(error):
            raise zenml_server.refusal(error, url) from error
        which, instead = (
            (f"The stack {stack}", "publish the pipeline with another stack")
            if stack is not None
            else ("The active stack", "set ZenmlStackId to another stack")
        )
        raise Refused(
            "zenml_stack_unusable",
            f"{which} cannot be used in the task ({type(error).__name__}: {error}). "
            f"Put the integrations that it needs into the image, or {instead}.",
        ) from error


def _activate(name: str) -> None:
    """Activate a stack by ZenML's variable for it: its other ways are kept in files."""
    found = _find(name)
    if found is None:
        where = "ZenML server" if os.environ.get("ZENML_STORE_URL") else "task's own ZenML store"
        raise Refused(
            "zenml_stack_unusable",
            f"The {where} has no stack {name!r}. Register it there, or publish the pipeline with one that "
            "`zenml stack list` shows.",
        )
    os.environ[ENV_ZENML_ACTIVE_STACK_ID] = str(found.id)


def _find(name: str) -> StackResponse | None:
    if is_valid_uuid(name):
        try:
            return Client().get_stack(name, hydrate=False)
        except KeyError:
            return None
    # Not get_stack: it takes the beginning of another stack's id for one.
    return next(iter(Client().list_stacks(name=f"equals:{name}", size=1)), None)
