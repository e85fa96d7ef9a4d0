"""Nothing is left behind: not after close(), not after a part was killed, not after the supervisor itself was."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from local.cloud import Cloud
from local.containers import ManualRuntime
from tests.integration.local.conftest import STACK, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

SUPERVISOR = """
import json, sys, time
from pathlib import Path
from local.cloud import Cloud
from local.containers import ManualRuntime
with Cloud(template=Path(sys.argv[1]), parameters={"RecordFolder": sys.argv[2]},
           state_folder=Path(sys.argv[2]) / "state", api_port=0, aws_port=0,
           container_runtime=ManualRuntime()) as cloud:
    print(json.dumps({"url": cloud.api_url, "pids": cloud.functions.worker_pids}), flush=True)
    time.sleep(120)
"""


def _exists(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _cloud(folder: Path) -> Cloud:
    return Cloud(
        template=STACK / "template.yaml", parameters={"RecordFolder": str(folder)}, state_folder=folder / "state",
        api_port=0, aws_port=0, container_runtime=ManualRuntime(),
    )  # fmt: skip


def test_close_leaves_no_process_and_no_port(tmp_path: Path) -> None:
    """All workers are gone, also one that hangs and one that was killed; the ports are free; it can start again."""
    cloud = _cloud(tmp_path)
    for _ in range(2):
        cloud.start()
        assert cloud.functions is not None
        url = cloud.api_url
        pids = cloud.functions.worker_pids
        assert len(pids) == 2
        cloud.clients.get("lambda").invoke(
            FunctionName=cloud.outputs["Echo"], InvocationType="Event",
            Payload=json.dumps({"pathParameters": {"act": "hang"}}),
        )  # fmt: skip
        eventually((tmp_path / "hang.jsonl").exists)
        os.kill(pids[1], signal.SIGKILL)
        pids = (*pids, *cloud.functions.worker_pids)
        started = time.monotonic()
        cloud.close()
        assert time.monotonic() - started < 10
        assert not [pid for pid in pids if _exists(pid)]
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)
        (tmp_path / "hang.jsonl").unlink()


def test_the_workers_die_with_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    """Kill -9 of the supervisor takes its workers along."""
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(STACK / "template.yaml"), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as supervisor:
        assert supervisor.stdout is not None
        told = json.loads(supervisor.stdout.readline())
        assert len(told["pids"]) == 2
        assert all(_exists(pid) for pid in told["pids"])
        supervisor.kill()
    eventually(lambda: not [pid for pid in told["pids"] if _exists(pid)], seconds=5)


def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A stack that does not start gives its ports back, and the next one starts."""
    broken = tmp_path / "template.yaml"
    broken.write_text(
        (STACK / "template.yaml").read_text().replace("Handler: handler.handler", "Handler: nowhere.handler")
    )
    for name in ("functions", "layers"):
        (tmp_path / name).symlink_to(STACK / name)
    cloud = Cloud(template=broken, parameters={"RecordFolder": str(tmp_path)}, state_folder=tmp_path / "state",
                  api_port=0, aws_port=0, container_runtime=ManualRuntime())  # fmt: skip
    with pytest.raises(Exception, match=r"EchoFunction.*Unable to import module 'nowhere'"):
        cloud.start()
    with _cloud(tmp_path) as working:
        assert requests.post(f"{working.api_url}/echo", timeout=30).status_code == 200


def test_another_port_is_taken_if_the_usual_one_is_busy(tmp_path: Path) -> None:
    """The wanted port is used if it is free, and any other if not."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        taken = busy.getsockname()[1]
        cloud = Cloud(
            template=STACK / "template.yaml", parameters={"RecordFolder": str(tmp_path)},
            state_folder=tmp_path / "state", api_port=taken,
            aws_port=taken, functions=False, container_runtime=ManualRuntime(),
        )  # fmt: skip
        with cloud:
            assert not cloud.api_url.endswith(f":{taken}")
            assert cloud.outputs["ApiUrl"] == cloud.api_url


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Start the test stack without its functions."""
    folder = tmp_path_factory.mktemp("tables")
    with Cloud(
        template=STACK / "template.yaml", parameters={"RecordFolder": str(folder)}, state_folder=folder / "state",
        api_port=0, aws_port=0, functions=False, container_runtime=ManualRuntime(),
    ) as cloud:  # fmt: skip
        yield cloud


def test_without_functions_invocations_are_recorded(tables: Cloud) -> None:
    """Rules still run: queues get messages, functions' invocations are kept for the test."""
    tables.clients.get("events").put_events(Entries=[{"Source": "test", "DetailType": "Told", "Detail": '{"a": 1}'}])
    tables.bus.drain()
    ((name, payload),) = tables.recorded.take()
    assert name == tables.outputs["Records"]
    assert json.loads(payload)["detail"] == {"a": 1}


def test_reset_empties_everything_quickly(tables: Cloud) -> None:
    """Items, objects, messages and tasks are gone; tables, buckets and queues stand."""
    table, bucket, queue = (tables.outputs[name] for name in ("Table", "Bucket", "Queue"))
    tables.clients.get("dynamodb").put_item(TableName=table, Item={"id": {"S": "1"}, "part": {"S": "head"}})
    tables.clients.get("s3").put_object(Bucket=bucket, Key="a", Body=b"")
    tables.clients.get("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    started = time.monotonic()
    tables.reset(ManualRuntime())
    assert time.monotonic() - started < 0.5
    assert tables.clients.get("dynamodb").scan(TableName=table)["Items"] == []
    assert tables.clients.get("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert "Messages" not in tables.clients.get("sqs").receive_message(QueueUrl=queue)
    tables.clients.get("dynamodb").put_item(TableName=table, Item={"id": {"S": "2"}, "part": {"S": "head"}})
    assert len(tables.backend.stream_records(table, None, 10)) == 1


def test_moto_is_completed(tables: Cloud) -> None:
    """What moto's CloudFormation leaves out is there: TTL, point-in-time recovery, public access block's likes."""
    dynamodb = tables.clients.get("dynamodb")
    table = tables.outputs["Table"]
    expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    backups = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert "Extra" not in tables.outputs
