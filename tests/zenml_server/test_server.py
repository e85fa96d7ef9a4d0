"""A run with a ZenML server: what stands there afterwards, and what becomes of it when the server is not well."""

import logging
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.runner.tasks import RUN_ID, Task, zenml_environment
from tests.zenml_server.conftest import SECRET, SECRET_ARN, Installation, operate
from tests.zenml_server.server import ServiceAccountKey, ZenmlServer

pytestmark = [pytest.mark.zenml_server, pytest.mark.timeout(300)]

_log = logging.getLogger(__name__)

PROJECT = Path(__file__).parent / "user_project"

Run = dict[str, Any]


def waiting_run(installation: Installation, gate: Path) -> str:
    """Start a run that waits for a file in its first step, and give its id once it waits."""
    product = installation.product
    run_id = product.start("waiting_pipeline", gate=str(gate))

    def waits() -> bool:
        run = product.run(run_id)
        assert not run["ended_at"], run
        return any(step["status"] == "running" for step in run["progress"]["steps"])

    product.wait(waits)
    return run_id


def timed_end(installation: Installation, run_id: str, seconds: float) -> tuple[Run, float]:
    """Wait for a run's end; give it, and how many seconds that took."""
    began = time.monotonic()
    run = installation.product.end(run_id, seconds)
    return run, time.monotonic() - began


def statuses(run: Run) -> dict[str, str]:
    """Give the steps of a run with their status."""
    return {step["name"]: step["status"] for step in run["progress"]["steps"]}


def adding_run(installation: Installation, **body: Any) -> Run:
    """Run the adding pipeline to its end."""
    answer = installation.product.call("POST", "/runs", {"pipeline": "adding_pipeline", **body})
    assert answer.status_code == 202, answer.text
    return installation.product.end(answer.json()["run_id"])


def test_a_run_stands_on_the_server_and_the_dashboard_link_leads_to_it(installation: Installation) -> None:
    """Run name, tags, steps; the link answers and names this run."""
    run = adding_run(installation, parameters={"rows": 4}, tags=["monthly"])

    assert run["status"] == "succeeded", run
    assert [output["value"] for output in run["outputs"] if output["step"] == "add"] == [6]
    there = installation.server.call("GET", f"/runs/{run['zenml_run_id']}", params={"hydrate": True})
    task_id = run["task_arn"].rpartition("/")[2]
    assert there["name"] == f"adding_pipeline-{run['run_id']}-1-{task_id}"
    assert there["body"]["status"] == "completed"
    assert {"zentrigger", f"zentrigger:{run['run_id']}", "monthly"} <= {
        tag["name"] for tag in there["resources"]["tags"]
    }
    assert installation.server.steps(run["zenml_run_id"]) == {"draw": "completed", "add": "completed"}
    assert run["dashboard_url"] == f"{installation.line.url}/projects/default/runs/{there['id']}"
    page = requests.get(run["dashboard_url"], timeout=10)
    assert page.ok
    assert "<title>ZenML" in page.text


def test_the_run_is_found_by_its_tag(installation: Installation) -> None:
    """From an id of this product to the run on the server."""
    run = adding_run(installation, parameters={"rows": 5})

    found = installation.server.call("GET", "/runs", params={"tags": f"zentrigger:{run['run_id']}"})["items"]

    assert [item["id"] for item in found] == [run["zenml_run_id"]]


def test_steps_are_cached_as_configured(installation: Installation) -> None:
    """With an artifact store that outlives the task: the second run takes from the cache, unless told not to."""
    first = adding_run(installation, parameters={"rows": 6}, enable_cache=True)
    second = adding_run(installation, parameters={"rows": 6}, enable_cache=True)
    without = adding_run(installation, parameters={"rows": 6}, enable_cache=False)
    other = adding_run(installation, parameters={"rows": 7}, enable_cache=True)

    assert set(statuses(first).values()) == {"completed"}
    assert set(statuses(second).values()) == {"cached"}
    assert installation.server.steps(second["zenml_run_id"]) == {"draw": "cached", "add": "cached"}
    assert [output["value"] for output in second["outputs"]] == [output["value"] for output in first["outputs"]]
    assert set(statuses(without).values()) == {"completed"}
    assert set(statuses(other).values()) == {"completed"}


def test_steps_are_never_cached_on_a_stack_whose_artifacts_go_with_the_task(
    installation: Installation, tmp_path: Path
) -> None:
    """The server's default stack: what an earlier task has cached lay on that task's disk."""
    for attempt in (1, 2):
        report = task(installation, tmp_path / str(attempt)).run(
            "server_pipelines:adding_pipeline", parameters={"rows": 8}, enable_cache=True, attempt=attempt
        )

        assert report.outcome == "succeeded", report
        assert {step.name: step.status for step in report.steps} == {"draw": "completed", "add": "completed"}
        assert [output.value for output in report.outputs] == [list(range(8)), 28]


def test_a_stack_that_is_not_there(installation: Installation, tmp_path: Path) -> None:
    """The parameter ZenmlStackId is wrong; the message names it."""
    unknown = task(installation, tmp_path / "task", ZENML_ACTIVE_STACK_ID="00000000-0000-4000-8000-000000000000")

    report = unknown.run("server_pipelines:adding_pipeline")

    assert (report.outcome, report.reason) == ("failed", "zenml_stack_unusable")
    assert "ZenmlStackId" in (report.message or "")


def task(installation: Installation, folder: Path, **environment: str) -> Task:
    """Give a task on the server with a stack of its own choice; only its run's record is a folder."""
    return task_of(installation.server, installation.key, folder, **environment)


def task_of(server: ZenmlServer, key: ServiceAccountKey, folder: Path, **environment: str) -> Task:
    """Give a task on a server, without the product around it."""
    folder.mkdir()
    own = zenml_environment(folder)
    store = {"ZENML_STORE_URL": server.url, "ZENML_STORE_API_KEY": key.value}
    return Task(folder, {**own, "PYTHONPATH": f"{own['PYTHONPATH']}:{PROJECT}", **store, **environment})


def test_a_snapshot_of_the_server_is_run(zenml_server: ZenmlServer, tmp_path: Path) -> None:
    """Without ZenML Pro: by its name, with other parameters than it was stored with, and it stays as it is."""
    key = zenml_server.make_key("snapshots")
    snapshot_id = operate(zenml_server, key, tmp_path, "store_snapshot.py", "monthly")
    stored = zenml_server.call("GET", f"/pipeline_snapshots/{snapshot_id}", params={"hydrate": True})
    run = task_of(zenml_server, key, tmp_path / "task")

    report = run.run(
        source=None,
        pipeline="adding_pipeline",
        zenml_snapshot="monthly",
        steps={"draw": {"rows": 4}},
        tags=["mine"],
        stack="default",
    )

    assert report.outcome == "succeeded", run.log[-4000:]
    assert [output.value for output in report.outputs] == [[0, 1, 2, 3], 6]
    there = zenml_server.call("GET", f"/runs/{report.zenml_run_id}", params={"hydrate": True})
    assert there["name"] == f"adding_pipeline-{RUN_ID}-1-t"
    assert {tag["name"] for tag in there["resources"]["tags"]} == {"mine", "zentrigger", f"zentrigger:{RUN_ID}"}
    assert there["resources"]["source_snapshot"]["id"] == snapshot_id
    assert zenml_server.steps(str(report.zenml_run_id)) == {"draw": "completed", "add": "completed"}
    assert report.dashboard_url == f"{zenml_server.url}/projects/default/runs/{there['id']}"
    after = zenml_server.call("GET", f"/pipeline_snapshots/{snapshot_id}", params={"hydrate": True})
    assert {name: after[name] for name in ("id", "body", "metadata")} == {
        name: stored[name] for name in ("id", "body", "metadata")
    }
    assert key.value not in run.log + report.model_dump_json()


def test_a_restart_of_the_server_is_waited_for(installation: Installation, tmp_path: Path) -> None:
    """Killed and started again while a step runs: ZenML's token is no longer good then, the key is."""
    run_id = waiting_run(installation, tmp_path / "gate")

    installation.server.kill()
    (tmp_path / "gate").touch()
    time.sleep(3)
    installation.server.start()

    run = installation.product.end(run_id)
    assert run["status"] == "succeeded", run
    assert installation.server.steps(run["zenml_run_id"]) == {"wait": "completed", "follow": "completed"}


def test_a_key_is_rotated_without_losing_a_run(installation: Installation, tmp_path: Path) -> None:
    """The old key is good until the runs that have it are done; the next run has the new one."""
    run_id = waiting_run(installation, tmp_path / "gate")

    installation.key.rotate(retain_minutes=60)
    installation.put_key(installation.key.value)
    (tmp_path / "gate").touch()

    assert installation.product.end(run_id)["status"] == "succeeded"
    assert adding_run(installation)["status"] == "succeeded"


def test_a_server_that_is_down(installation: Installation, tmp_path: Path) -> None:
    """A new run says that it could not be reached, one in the middle that it was lost; both within their time."""
    lost = waiting_run(installation, tmp_path / "gate")
    installation.line.cut()
    try:
        (tmp_path / "gate").touch()
        new = installation.product.start("adding_pipeline")
        refused, seconds_to_refuse = timed_end(installation, new, 60)
        ended, more = timed_end(installation, lost, 120)
    finally:
        installation.line.open()

    _log.info("down: new run %.0f s, run in the middle %.0f s", seconds_to_refuse, seconds_to_refuse + more)
    assert (refused["status"], refused["reason"]) == ("failed", "zenml_unreachable"), refused
    assert f"{installation.line.url} (connection refused)" in refused["message"]
    assert seconds_to_refuse < 50
    assert (ended["status"], ended["reason"]) == ("failed", "zenml_lost"), ended
    assert "connection refused" in ended["message"]
    assert ended["dashboard_url"]
    assert seconds_to_refuse + more < 100


def test_a_server_that_takes_connections_and_never_answers(installation: Installation, tmp_path: Path) -> None:
    """ZenML alone would wait for minutes, for each call."""
    lost = waiting_run(installation, tmp_path / "gate")
    installation.line.silence()
    try:
        (tmp_path / "gate").touch()
        new = installation.product.start("adding_pipeline")
        refused, seconds_to_refuse = timed_end(installation, new, 60)
        ended, more = timed_end(installation, lost, 120)
    finally:
        installation.line.open()

    _log.info("silent: new run %.0f s, run in the middle %.0f s", seconds_to_refuse, seconds_to_refuse + more)
    assert (refused["status"], refused["reason"]) == ("failed", "zenml_not_answering"), refused
    assert seconds_to_refuse < 60
    assert (ended["status"], ended["reason"]) == ("failed", "zenml_lost"), ended
    assert "no answer in time" in ended["message"]
    assert seconds_to_refuse + more < 120


def test_a_key_that_is_refused(installation: Installation) -> None:
    """One that never was a key, and one that is switched off: at once, and the message says where it comes from."""
    installation.put_key("ZENKEY_this-never-was-a-key")
    never = adding_run(installation)
    installation.put_key(installation.key.value)
    installation.key.activate(active=False)
    try:
        off = adding_run(installation)
    finally:
        installation.key.activate(active=True)

    for run in (never, off):
        assert (run["status"], run["reason"]) == ("failed", "zenml_key_refused"), run
        assert "ZenmlApiKeySecretArn" in run["message"]
    assert adding_run(installation)["status"] == "succeeded"


def test_a_key_that_is_switched_off_in_the_middle(installation: Installation, tmp_path: Path) -> None:
    """The run ends, and says why."""
    run_id = waiting_run(installation, tmp_path / "gate")
    installation.key.activate(active=False)
    try:
        (tmp_path / "gate").touch()
        run, seconds = timed_end(installation, run_id, 60)
    finally:
        installation.key.activate(active=True)

    assert (run["status"], run["reason"]) == ("failed", "zenml_key_refused"), run
    assert seconds < 30


def test_a_secret_that_cannot_be_read(installation: Installation) -> None:
    """The task never starts; the run says which parameter to look at."""
    secrets = installation.product.client("secretsmanager")
    secrets.delete_secret(SecretId=SECRET, RecoveryWindowInDays=7)
    try:
        run = adding_run(installation)
    finally:
        secrets.restore_secret(SecretId=SECRET)

    assert (run["status"], run["reason"]) == ("failed", "secrets_unreadable"), run
    assert "ZenmlApiKeySecretArn" in run["message"]
    assert "ResourceInitializationError" in run["message"]
    assert secrets.get_secret_value(SecretId=SECRET_ARN)["SecretString"] == installation.key.value
    assert adding_run(installation)["status"] == "succeeded"


def test_the_key_is_found_nowhere(installation: Installation) -> None:
    """After all of the above: in no log of task or function, in no record, table, answer or log of the server."""
    product, key = installation.product, installation.key
    run_id = str(adding_run(installation)["run_id"]).encode()
    places: dict[str, bytes] = {
        str(path): path.read_bytes() for path in product.cloud.log_folder.rglob("*") if path.is_file()
    }
    assert len(places) > 5
    dynamodb = product.client("dynamodb")
    for table in dynamodb.list_tables()["TableNames"]:
        for number, page in enumerate(dynamodb.get_paginator("scan").paginate(TableName=table)):
            places[f"{table} {number}"] = repr(page["Items"]).encode()
    logs = product.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for stream in logs.describe_log_streams(logGroupName=group["logGroupName"])["logStreams"]:
            events = logs.filter_log_events(
                logGroupName=group["logGroupName"], logStreamNames=[stream["logStreamName"]]
            )["events"]
            places[f"{group['logGroupName']} {stream['logStreamName']}"] = repr(events).encode()
    runs = product.call("GET", "/runs?limit=100").json()["items"]
    for run in runs:
        places[f"GET {run['run_id']}"] = repr(product.run(run["run_id"])).encode()
        places[f"GET {run['run_id']} logs"] = product.call("GET", f"/runs/{run['run_id']}/logs").content
    places["the server's log"] = installation.server.log.encode()
    for path in installation.server.folder.glob("zenml.db*"):
        places[path.name] = path.read_bytes()
    for path in installation.artifacts.rglob("*"):
        if path.is_file():
            places[str(path)] = path.read_bytes()

    # The search finds what is there: a run's id stands in its log, in its record and on the server.
    assert sum(run_id in content for content in places.values()) > 4
    # Also a key's second half: that is what is secret in it.
    wanted = [part.encode() for value in key.values for part in (value, value[-60:], value.removeprefix("ZENKEY_"))]
    found = [name for name, content in places.items() if any(part in content for part in wanted)]

    assert not found
