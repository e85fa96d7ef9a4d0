"""The demonstration: everything a caller can do, shown once on this machine (``python -m local.demo``, ``make demo``).

Exit status 0 when everything went as it should; 1 with one sentence on what did not.
"""

# ruff: noqa: T201 - a demonstration talks

import io
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import boto3
import requests
from botocore.exceptions import BotoCoreError, ClientError

from local.cloud import Cloud
from local.errors import TemplateError
from local.images import ImageError
from local.prepare import PreparationError, prepare_stack
from zentrigger_client import Client, ZentriggerError, rendering
from zentrigger_client.follow import display_for, follow, print_end, run_id_of

DATASET = Path(__file__).resolve().parent.parent / "pipelines" / "data" / "breast_cancer.csv"
PIPELINE = "training_pipeline"
RUN_TIMEOUT_SECONDS = 120.0
EVENT_TIMEOUT_SECONDS = 30.0

Json = dict[str, Any]


class DemoError(Exception):
    """Something went otherwise; the text says what."""


_FAILURES = (
    DemoError,
    TemplateError,
    ImageError,
    PreparationError,
    ZentriggerError,
    ClientError,
    BotoCoreError,
    requests.RequestException,
)


class Narrator:
    """Says what happens, and how long it has been going on."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """Say one line, with the seconds since the start."""
        print(f"[{time.monotonic() - self._started:4.0f} s] {text}", flush=True)

    def chapter(self, text: str) -> None:
        """Begin a chapter."""
        print(flush=True)
        self.say(text)

    def show(self, text: str) -> None:
        """Show what was sent or answered, indented."""
        print("".join(f"         {line}\n" for line in rendering.plain(text).splitlines()), end="", flush=True)


def main() -> int:
    """Run the demonstration and return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    signal.signal(signal.SIGTERM, _leave)
    narrator = Narrator()
    log_folder: Path | None = None
    try:
        narrator.say("Starting the embedded AWS: it deploys template.yaml on this machine (no account, no Docker)")
        with Cloud() as cloud:
            log_folder = Path(cloud.log_folder)
            _story(cloud, narrator)
            narrator.chapter("Stopping the embedded AWS and every process it started")
        _nothing_left()
    except _FAILURES as error:
        print(f"\nThe demonstration failed: {rendering.plain(error)}", file=sys.stderr)
        if log_folder is not None:
            print(f"What functions and tasks said is in {log_folder}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything that was started has been stopped.", file=sys.stderr)
        return 130
    narrator.say("Done. `make up` keeps it running for you to try.")
    return 0


def _story(cloud: Cloud, narrator: Narrator) -> None:
    narrator.say(f"The API answers at {cloud.api_url}, AWS at {cloud.endpoint_url}")
    key = prepare_stack(cloud, narrator.say).api_key
    with Client(cloud.api_url, key) as client:
        _over_http(client, cloud, narrator)
        _by_an_upload(client, cloud, narrator)
        _refused(cloud, key, narrator)


def _over_http(client: Client, cloud: Cloud, narrator: Narrator) -> None:
    narrator.chapter("1. An HTTPS call starts the training pipeline")
    body: Json = {"pipeline": PIPELINE, "parameters": {"model_type": "random_forest"}}
    narrator.show(_curl(cloud.api_url, body))
    asked = time.monotonic()
    first = client.start(PIPELINE, parameters=body["parameters"], tags=["demo"])
    narrator.say(
        f"Answered after {1000 * (time.monotonic() - asked):.0f} ms: run {run_id_of(first)}, {first['status']}"
    )
    second = client.start(PIPELINE, parameters={"model_type": "gradient_boosting"}, tags=["demo"])
    narrator.say(f"A second run at the same time, with another model: {run_id_of(second)}, {second['status']}")
    for model_type, run in (("random_forest", first), ("gradient_boosting", second)):
        narrator.say(f"Following the {model_type} run")
        _succeeded(client, run_id_of(run))


def _by_an_upload(client: Client, cloud: Cloud, narrator: Narrator) -> None:
    bucket = cloud.outputs["DataBucket"]
    key = "incoming/breast_cancer.csv"
    name, trigger = _upload_trigger(client)
    narrator.chapter(f"2. A file that arrives in S3 starts the pipeline (trigger {name!r})")
    narrator.show(
        json.dumps({part: trigger[part] for part in ("type", "prefix", "suffix", "parameters") if part in trigger})
    )
    narrator.show(f"aws --endpoint-url {cloud.endpoint_url} s3 cp {_short(DATASET)} s3://{bucket}/{key}")
    _client(cloud, "s3").upload_file(str(DATASET), bucket, key)
    narrator.say("Uploaded; waiting for the run that this starts")
    run = _run_of_trigger(client, name)
    source = run["source"]
    narrator.say(f"Run {run_id_of(run)} was started by s3://{source['bucket']}/{source['key']}")
    if (source["bucket"], source["key"]) != (bucket, key):
        raise DemoError(f"the run names another object than the one uploaded: {source}")
    _succeeded(client, run_id_of(run))


def _refused(cloud: Cloud, key: str, narrator: Narrator) -> None:
    narrator.chapter("3. A wrong request is refused before anything starts, with all that is wrong at once")
    body = {"pipeline": PIPELINE, "parameters": {"model_tpye": "random_forest", "test_size": "a fifth"}}
    narrator.show(_curl(cloud.api_url, body))
    answer = requests.post(f"{cloud.api_url}/runs", json=body, headers={"X-API-Key": key}, timeout=30)
    narrator.say(f"Answered {answer.status_code} {answer.reason}, {answer.headers.get('Content-Type')}")
    narrator.show(json.dumps(answer.json(), indent=2))
    if answer.status_code != requests.codes.unprocessable_entity:
        raise DemoError(f"a request with wrong parameters was answered {answer.status_code} instead of 422")


def _succeeded(client: Client, run_id: str) -> None:
    """Follow the run to its end and print its outputs; raise DemoError unless it succeeds."""
    with display_for(sys.stdout) as display:
        run = follow(client, run_id, display, timeout_seconds=RUN_TIMEOUT_SECONDS)
    print_end({**run, "outputs": [output for output in run["outputs"] if output["name"] == "metrics"]})
    if run["status"] != "succeeded":
        raise DemoError(f"run {run_id} {run['status']}: {run.get('message')}")
    if not any(output["name"] == "metrics" and output["value"] for output in run["outputs"]):
        raise DemoError(f"run {run_id} succeeded without metrics")


def _upload_trigger(client: Client) -> tuple[str, Json]:
    for trigger in client.triggers()["items"]:
        definition = trigger["definition"]
        if definition["type"] == "s3" and definition["pipeline"] == PIPELINE:
            return str(trigger["name"]), definition
    raise DemoError(f"no s3 trigger of {PIPELINE} is set up")


def _run_of_trigger(client: Client, name: str) -> Json:
    deadline = time.monotonic() + EVENT_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        runs = client.runs(trigger=name, limit=1)["items"]
        if runs:
            return dict(runs[0])
        time.sleep(0.5)
    raise DemoError(f"the upload started no run within {EVENT_TIMEOUT_SECONDS:g} s")


def _client(cloud: Cloud, service: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
    """Return an AWS client of the embedded AWS, made only from what it gives out."""
    environment = cloud.environment
    return boto3.session.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    ).client(service, endpoint_url=environment["AWS_ENDPOINT_URL"])  # type: ignore[call-overload]


def _curl(api_url: str, body: Json) -> str:
    return (
        f"curl -X POST {api_url}/runs -H 'X-API-Key: '$ZENTRIGGER_API_KEY "
        f"-H 'Content-Type: application/json' \\\n     -d {shlex.quote(json.dumps(body))}"
    )


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _nothing_left() -> None:
    """Raise DemoError if a child process of this one still lives; ended ones are collected."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            process_id, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if process_id == 0:
            time.sleep(0.1)
    raise DemoError("a process that the embedded AWS started is still alive")


def _leave(*_: object) -> NoReturn:
    """Turn SIGTERM into what Ctrl-C does, so that everything is stopped; once is enough."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
