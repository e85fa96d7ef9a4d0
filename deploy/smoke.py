"""The smoke test: the deployed API answers, and a run succeeds in a real task."""

import sys
import time
from collections.abc import Callable

from deploy.errors import DeployError
from zentrigger_client import Client, ZentriggerError, rendering
from zentrigger_client.follow import display_for, follow, headline, run_id_of

TAG = "smoke"
_HEALTH_SECONDS = 60.0
_PAUSE_SECONDS = 3.0
_LOG_LINES = 30


def smoke(  # noqa: PLR0913 - the last two have defaults
    api_url: str,
    key: str,
    *,
    pipeline: str,
    timeout_seconds: float,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """GET /health, POST /runs, and follow the run; raises DeployError unless it succeeds in time."""
    say(f"GET {api_url}/health")
    _healthy(api_url, sleep, clock)
    with Client(api_url, key) as client:
        run = client.start(pipeline, tags=[TAG])
        run_id = run_id_of(run)
        say(f"POST /runs of {pipeline}: {run_id}, {run['status']}; the first task pulls the image, for a minute or two")
        try:
            with display_for(sys.stdout) as display:
                run = follow(client, run_id, display, timeout_seconds=timeout_seconds)
        except ZentriggerError as error:
            raise DeployError(f"The smoke test ended: {error}\nThe run: zentrigger status {run_id}") from error
        if run["status"] != "succeeded":
            raise DeployError(_told(client, run))
    say(f"the run {run_id} succeeded")


def _healthy(api_url: str, sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
    """Wait until the API answers: a new one may need some seconds until all of AWS knows it."""
    until = clock() + _HEALTH_SECONDS
    with Client(api_url, None) as client:
        while True:
            try:
                client.health()
            except ZentriggerError as error:
                if clock() >= until:
                    raise DeployError(f"The API is not well: {error}") from error
                sleep(_PAUSE_SECONDS)
            else:
                return


def _told(client: Client, run: dict[str, object]) -> str:
    lines = [f"The smoke test's run did not succeed: {headline(run)}", f"reason: {run.get('reason')}"]
    try:
        items = client.logs(run_id_of(run))["items"]
    except ZentriggerError as error:
        lines.append(f"Its log cannot be read: {error}")
    else:
        lines += [f"  {rendering.plain(str(item['line'])).rstrip()}" for item in items[-_LOG_LINES:]]
    return "\n".join(lines)
