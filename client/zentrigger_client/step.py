"""Run a published pipeline from inside another: as a function in a step, or as a step of its own.

The environment has to have ZENTRIGGER_API_URL and ZENTRIGGER_API_KEY; in a task, the key is a secret that the pipeline
was published with.
"""

import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

from zenml import step

from zentrigger_client.api import Client, ZentriggerError
from zentrigger_client.follow import PlainDisplay, follow, headline, run_id_of

Json = dict[str, Any]


def trigger_run(  # noqa: PLR0913 - all but the pipeline by name
    pipeline: str,
    *,
    snapshot: int | str | None = None,
    parameters: Mapping[str, Any] | None = None,
    steps: Mapping[str, Mapping[str, Any]] | None = None,
    tags: tuple[str, ...] = (),
    wait: bool = True,
    wait_seconds: float | None = None,
    idempotency_key: str | None = None,
) -> Json:
    """Start a run of a published pipeline and return it: with its outputs when it was waited for.

    Args:
        pipeline: Its name.
        snapshot: A number, an id, a name or ``tag:<tag>``; the one published last unless given.
        parameters: The pipeline's.
        steps: Step -> its parameters.
        tags: The run's.
        wait: Until the run has ended; its progress is printed.
        wait_seconds: How long to wait at most. The run goes on then.
        idempotency_key: The same key starts the same run once, however often this is called.

    Raises:
        ZentriggerError: The API refused; or the run was waited for and did not succeed.

    """
    with _client(os.environ) as client:
        run = client.start(
            pipeline,
            snapshot=snapshot,
            parameters=parameters,
            steps=steps,
            tags=tags,
            idempotency_key=idempotency_key,
        )
        if not wait:
            return run
        run = follow(client, run_id_of(run), PlainDisplay(sys.stdout), timeout_seconds=wait_seconds)
    if run["status"] != "succeeded":
        raise ZentriggerError(f"the run did not succeed: {headline(run)}")
    return run


def _client(environment: Mapping[str, str]) -> Client:
    missing = [name for name in ("ZENTRIGGER_API_URL", "ZENTRIGGER_API_KEY") if not environment.get(name)]
    if missing:
        raise ZentriggerError(
            f"the environment lacks {' and '.join(missing)}",
            detail="publish with --secret ZENTRIGGER_API_KEY=ARN, and the same for the URL or set it in the image",
        )
    try:
        return Client(environment["ZENTRIGGER_API_URL"], environment["ZENTRIGGER_API_KEY"])
    except ValueError as error:
        raise ZentriggerError(str(error)) from error


# Never cached: the same parameters are meant to start another run.
@step(enable_cache=False)
def trigger_run_step(
    pipeline: str,
    snapshot: int | str | None = None,
    parameters: dict[str, Any] | None = None,
    wait: bool = True,
) -> Annotated[Json, "run"]:
    """Start a run of a published pipeline; its record, with its outputs, is the step's output."""
    return trigger_run(pipeline, snapshot=snapshot, parameters=parameters, wait=wait)
