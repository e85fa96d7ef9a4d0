"""`python -m runner` as ECS starts it: metadata endpoint, the real run store, the real exit code."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.factories import Runs
from tests.integration.runner.tasks import REPOSITORY, RUN_ID, Task
from zentrigger.runs import Run, RunInput, RunStatus, Source, Timings

TABLE = "runs-of-a-whole-task"
TASK_ARN = "arn:aws:ecs:eu-central-1:123456789012:task/cluster/0123456789abcdef"
AWS = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class _Metadata(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v4/abc/task" else 404)
        self.end_headers()
        container = {"Name": "runner", "StartedAt": "2026-11-20T12:00:42.5Z"}
        task = {"TaskARN": TASK_ARN, "Limits": {"CPU": 1.0, "Memory": 4096}, "Containers": [container]}
        self.wfile.write(json.dumps(task | {"PullStartedAt": "2026-11-20T12:00:00Z", "PullStoppedAt": "odd"}).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def metadata_uri() -> Iterator[str]:
    """Give the address of a task metadata endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v4/abc"
    server.shutdown()
    server.server_close()


@pytest.fixture
def endpoint() -> Iterator[str]:
    """Give the address of a DynamoDB with the runs table's keys."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_task_claims_runs_and_reports(make_task: Callable[..., Task], endpoint: str, metadata_uri: str) -> None:
    """With when its image was pulled and its container ran. A task of another attempt finds nothing to do."""
    client = boto3.client(
        "dynamodb",
        endpoint_url=endpoint,
        region_name=AWS["AWS_DEFAULT_REGION"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "run_id", "KeyType": "HASH"}, {"AttributeName": "part", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "run_id", "AttributeType": "S"},
            {"AttributeName": "part", "AttributeType": "S"},
        ],
    )
    moment = datetime.now(UTC)
    run = Run(
        run_id=RUN_ID,
        pipeline="training_pipeline",
        snapshot="training_pipeline:1",
        status=RunStatus.STARTING,
        task_definition="runner:1",
        source=Source(type="http"),
        request_hash="h",
        rank="0",
        accepted_at=moment,
        status_at=moment,
        retention_days=1,
    )
    store = Runs(TABLE, client)
    told = RunInput(source="pipelines:training_pipeline", steps={"evaluate": {"secret": "never shown"}})
    store.create(run, told, max_active=1, max_waiting=0)
    environment = {
        **make_task().environment,
        **AWS,
        "AWS_ENDPOINT_URL": endpoint,
        "RUN_ID": RUN_ID,
        "ATTEMPT": "1",
        "RUNS_TABLE": TABLE,
        "ECS_CONTAINER_METADATA_URI_V4": metadata_uri,
    }
    command = [sys.executable, "-m", "runner"]
    first = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert first.returncode == 1, first.stderr
    record = store.get(RUN_ID)
    assert record is not None
    assert (record.run.status, record.run.claimed_by) == (RunStatus.RUNNING, TASK_ARN)
    assert record.run.timings == Timings(
        pull_started_at=datetime(2026, 11, 20, 12, tzinfo=UTC),
        container_started_at=datetime(2026, 11, 20, 12, 0, 42, 500000, UTC),
    )
    assert record.run.report is not None
    assert record.run.report.reason == "parameters_refused"
    assert "evaluate.parameters.secret" in (record.run.report.message or "")
    assert "never shown" not in first.stdout + first.stderr + record.model_dump_json(exclude={"input"})

    environment["ATTEMPT"] = "2"
    second = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert second.returncode == 0
    assert "nothing to do" in second.stderr
