"""Objects, events, schedules, queues and streams, each on its way to a function."""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.integration.local.conftest import eventually

if TYPE_CHECKING:
    from tests.integration.local.conftest import Running

ODD_KEY = "incoming/a b+c%20ü/ä&x=1.csv"


def _s3(running: Running) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=running.cloud.endpoint_url,
        aws_access_key_id="any",
        aws_secret_access_key="any",
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


def _details(running: Running, count: int) -> list[dict[str, Any]]:
    events = running.receive("Seen", count=count)
    return [event["detail"] for event in events if event["source"] == "aws.s3"]


def test_a_put_object_becomes_an_event_of_awss_shape(running: Running) -> None:
    """Put, with a key of everything that is hard to encode; the event names it in clear and reaches the function."""
    bucket = running.cloud.outputs["Bucket"]
    s3 = _s3(running)
    s3.put_object(Bucket=bucket, Key=ODD_KEY, Body=b"12345")
    event = running.receive("Seen")[0]
    assert set(event) == {
        "version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail",
    }  # fmt: skip
    assert event["detail-type"] == "Object Created"
    assert event["resources"] == [f"arn:aws:s3:::{bucket}"]
    detail = event["detail"]
    assert detail["version"] == "0"
    assert detail["bucket"] == {"name": bucket}
    subject = detail["object"]
    assert subject == {
        "key": ODD_KEY,
        "size": 5,
        "etag": "827ccb0eea8a706c4c34a16891f84e7b",
        "sequencer": subject["sequencer"],
    }
    assert detail["reason"] == "PutObject"
    assert detail["requester"] == "123456789012"
    assert detail["source-ip-address"] == "127.0.0.1"
    assert detail["request-id"]
    assert s3.get_object(Bucket=bucket, Key=ODD_KEY)["Body"].read() == b"12345"
    eventually(lambda: any(ODD_KEY in json.dumps(one, ensure_ascii=False) for one in _queue_keys(running)))


def _queue_keys(running: Running) -> list[str]:
    return [json.loads(one["body"]).get("detail", {}).get("object", {}).get("key", "") for one in running.read("queue")]


def test_overwriting_rises_the_sequencer(running: Running) -> None:
    """Two puts of one key: two events, the later with the greater sequencer."""
    bucket = running.cloud.outputs["Bucket"]
    for body in (b"1", b"2"):
        _s3(running).put_object(Bucket=bucket, Key="twice.csv", Body=body)
    first, second = _details(running, 2)
    assert first["object"]["sequencer"] < second["object"]["sequencer"]
    assert len(first["object"]["sequencer"]) == len(second["object"]["sequencer"])
    assert first["object"]["etag"] != second["object"]["etag"]


def test_multipart_copy_and_streams(running: Running) -> None:
    """A multipart upload is one event with its own reason; a copy too; a body of unknown length is sent in chunks."""
    bucket, s3 = running.cloud.outputs["Bucket"], _s3(running)
    megabyte = 1024 * 1024
    s3.upload_fileobj(
        io.BytesIO(b"x" * (12 * megabyte)), bucket, "big.bin",
        Config=TransferConfig(multipart_threshold=5 * megabyte, multipart_chunksize=5 * megabyte),
    )  # fmt: skip
    s3.copy_object(Bucket=bucket, Key="copy of big.bin", CopySource={"Bucket": bucket, "Key": "big.bin"})
    first, second = _details(running, 2)
    assert (first["reason"], first["object"]["size"]) == ("CompleteMultipartUpload", 12 * megabyte)
    assert first["object"]["etag"].endswith("-3")
    assert (second["reason"], second["object"]["key"]) == ("CopyObject", "copy of big.bin")


def test_a_posted_form_becomes_an_event(running: Running) -> None:
    """What a browser uploads with a form."""
    bucket = running.cloud.outputs["Bucket"]
    post = _s3(running).generate_presigned_post(bucket, "forms/${filename}")
    answer = requests.post(post["url"], data=post["fields"], files={"file": ("data.csv", b"a,b\n")}, timeout=30)
    assert answer.ok, answer.text
    detail = _details(running, 1)[0]
    assert (detail["reason"], detail["object"]["key"]) == ("POST Object", "forms/data.csv")


def test_what_makes_no_object_makes_no_event(running: Running) -> None:
    """Tags, deletions, failed copies and buckets without the flag are silent."""
    bucket, s3 = running.cloud.outputs["Bucket"], _s3(running)
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"")
    s3.put_object_tagging(Bucket=bucket, Key="tagged", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object(Bucket=bucket, Key="tagged")
    with pytest.raises(s3.exceptions.ClientError):
        s3.copy_object(Bucket=bucket, Key="never", CopySource={"Bucket": bucket, "Key": "missing"})
    s3.put_object(Bucket=running.cloud.outputs["SilentBucket"], Key="silent", Body=b"")
    s3.put_object(Bucket=bucket, Key="last", Body=b"")
    assert [detail["object"]["key"] for detail in _details(running, 2)] == ["tagged", "last"]


def test_a_client_of_another_process_streams(running: Running) -> None:
    """An upload of unknown length from a process that knows nothing but its environment."""
    code = "import boto3, sys\nboto3.client('s3').upload_fileobj(sys.stdin.buffer, sys.argv[1], 'streamed')\n"
    bucket = running.cloud.outputs["Bucket"]
    subprocess.run(
        [sys.executable, "-c", code, bucket], env=dict(running.cloud.environment), input=b"y" * 3_000_000, check=True,
        timeout=60,
    )  # fmt: skip
    assert _details(running, 1)[0]["object"]["size"] == 3_000_000
    assert _s3(running).get_object(Bucket=bucket, Key="streamed")["Body"].read() == b"y" * 3_000_000


@pytest.mark.parametrize("transfer", ["chunked", "length"])
@pytest.mark.parametrize("signed", ["unsigned", "signed"])
def test_aws_chunked_bodies(running: Running, transfer: str, signed: str) -> None:
    """What other SDKs send: chunks with a trailer or with signatures, within HTTP chunks, after `100 Continue`."""
    bucket = running.cloud.outputs["Bucket"]
    signature = ";chunk-signature=" + "0" * 64 if signed == "signed" else ""
    trailer = "" if signed == "signed" else "x-amz-checksum-crc32:AAAAAA==\r\n"
    body = f"5{signature}\r\nhello\r\n0{signature}\r\n{trailer}\r\n".encode()
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/s3/aws4_request, SignedHeaders=host",
        "Content-Encoding": "aws-chunked",
        "Expect": "100-continue",
        "x-amz-content-sha256": (
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" if signed == "signed" else "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        ),
        "x-amz-decoded-content-length": "5",
    }
    if trailer:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    if transfer == "length":
        headers["Content-Length"] = str(len(body))
    connection = http.client.HTTPConnection(running.cloud.endpoint_url.removeprefix("http://"), timeout=30)
    connection.putrequest("PUT", f"/{bucket}/chunked", skip_accept_encoding=True)
    for name, value in (headers | ({"Transfer-Encoding": "chunked"} if transfer == "chunked" else {})).items():
        connection.putheader(name, value)
    connection.endheaders(
        iter([body[:7], body[7:]]) if transfer == "chunked" else body, encode_chunked=transfer == "chunked"
    )
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
    assert _s3(running).get_object(Bucket=bucket, Key="chunked")["Body"].read() == b"hello"
    assert _details(running, 1)[0]["object"]["size"] == 5


def test_a_queue_with_partial_failures(running: Running) -> None:
    """Good messages are handled once; a bad one comes again after the visibility time-out, and then goes to the DLQ."""
    sqs = running.cloud.clients.get("sqs")
    name = uuid.uuid4().hex
    started = time.monotonic()
    for suffix in ("good-1", "poison", "good-2"):
        sqs.send_message(QueueUrl=running.cloud.outputs["Queue"], MessageBody=json.dumps({"name": f"{name}-{suffix}"}))
    dead = running.receive("DeadLetters", seconds=20)
    assert [one["name"] for one in dead] == [f"{name}-poison"]
    assert time.monotonic() - started > 3.5  # two receives, 2 s of visibility each
    handled = [json.loads(one["body"])["name"] for one in running.read("queue") if name in one["body"]]
    assert sorted(handled) == [f"{name}-good-1", f"{name}-good-2"]
    record = next(one for one in running.read("queue") if name in one["body"])
    assert record["eventSource"] == "aws:sqs"
    assert record["eventSourceARN"].endswith(running.cloud.outputs["Queue"].rpartition("/")[2])
    assert record["attributes"]["ApproximateReceiveCount"] == "1"


def _put(running: Running, name: str, part: str = "head") -> None:
    running.cloud.clients.get("dynamodb").put_item(
        TableName=running.cloud.outputs["Table"], Item={"id": {"S": name}, "part": {"S": part}, "n": {"N": "1"}}
    )


def _streamed(running: Running) -> list[str]:
    return [one["dynamodb"]["Keys"]["id"]["S"] for one in running.read("stream")]


def test_a_stream_with_filter_and_order(running: Running) -> None:
    """Only heads are seen, in the order of their writes, within a moment."""
    names = [f"{index}-{uuid.uuid4().hex}" for index in range(25)]
    started = time.monotonic()
    for name in names:
        _put(running, name, "input")
        _put(running, name)
    eventually(lambda: names[-1] in _streamed(running))
    assert [name for name in _streamed(running) if name in names] == names
    assert time.monotonic() - started < 10
    record = next(one for one in running.read("stream") if one["dynamodb"]["Keys"]["id"]["S"] == names[0])
    assert record["eventName"] == "INSERT"
    assert record["eventSource"] == "aws:dynamodb"
    assert "/stream/" in record["eventSourceARN"]
    assert record["dynamodb"]["NewImage"]["n"] == {"N": "1"}


@pytest.mark.parametrize("poison", ["poison-report", "poison-raise"])
def test_a_poison_record_is_set_aside(running: Running, poison: str) -> None:
    """Reported or raised, the bad record ends in the DLQ, alone; what was written after it is handled."""
    name = uuid.uuid4().hex
    running.receive("DeadLetters", count=1, seconds=0.1)
    names = [f"{name}-1", f"{name}-2", f"{name}-{poison}", f"{name}-3", f"{name}-4"]
    for one in names:
        _put(running, one)
    dead = running.receive("DeadLetters", seconds=20)[0]
    assert dead["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert dead["DDBStreamBatchInfo"]["batchSize"] == 1
    eventually(lambda: names[-1] in _streamed(running))
    seen = [one for one in _streamed(running) if name in one]
    assert list(dict.fromkeys(seen)) == [one for one in names if "poison" not in one]


def test_a_cancelled_transaction_hides_no_record(running: Running) -> None:
    """Moto swaps tables when it cancels a transaction: nothing false may be seen, and nothing later be missed."""
    dynamodb = running.cloud.clients.get("dynamodb")
    name = uuid.uuid4().hex
    table = running.cloud.outputs["Table"]
    _put(running, f"{name}-before")
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": table, "Item": {"id": {"S": f"{name}-rolled-back"}, "part": {"S": "head"}}}},
                {
                    "Put": {
                        "TableName": table,
                        "Item": {"id": {"S": f"{name}-before"}, "part": {"S": "head"}},
                        "ConditionExpression": "attribute_not_exists(id)",
                    }
                },
            ]
        )
    _put(running, f"{name}-after")
    eventually(lambda: f"{name}-after" in _streamed(running))
    assert [one for one in _streamed(running) if name in one] == [f"{name}-before", f"{name}-after"]


def test_own_events_reach_the_function(running: Running) -> None:
    """PutEvents → rule → asynchronous invocation; wrong entries are refused one by one."""
    name = uuid.uuid4().hex
    answer = running.cloud.clients.get("events").put_events(
        Entries=[
            {"Source": "test", "DetailType": "Told", "Detail": json.dumps({"name": name})},
            {"Source": "aws.s3", "DetailType": "Told", "Detail": "{}"},
            {"Source": "test", "DetailType": "Told", "Detail": "no json"},
        ]
    )
    assert answer["FailedEntryCount"] == 2
    assert [entry.get("ErrorCode") for entry in answer["Entries"]] == [
        None, "NotAuthorizedForSourceException", "MalformedDetail",
    ]  # fmt: skip
    eventually(lambda: any(event["detail"].get("name") == name for event in running.read("event")))


def test_an_asynchronous_failure_is_retried_twice_and_then_recorded(running: Running) -> None:
    """Three attempts, then the failure destination with request and response."""
    name = uuid.uuid4().hex
    detail = {"name": name, "fail": True}
    running.cloud.clients.get("events").put_events(
        Entries=[{"Source": "test", "DetailType": "Told", "Detail": json.dumps(detail)}]
    )
    record = running.receive("DeadLetters", seconds=20)[0]
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["requestPayload"]["detail"] == detail
    assert record["responsePayload"]["errorType"] == "ValueError"
    assert sum(event["detail"].get("name") == name for event in running.read("event")) == 3


def test_a_schedule_fires_with_its_transformed_input(running: Running) -> None:
    """The scheduled event has the rule's real shape; here its transformer has rewritten it."""
    running.cloud.bus.fire("ScheduleRule")
    event = running.receive("Seen")[0]
    assert event["text"] == f"at {event['time']} in local"
    assert time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")


def test_tasks_pass_through_the_endpoint(running: Running) -> None:
    """RunTask reaches the ECS model with the deployed task definition; its events reach the rules."""
    ecs = running.cloud.clients.get("ecs")
    outputs = running.cloud.outputs
    answer = ecs.run_task(
        cluster=outputs["Cluster"], taskDefinition=outputs["TaskDefinition"], launchType="FARGATE", clientToken="t1",
        networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}},
    )  # fmt: skip
    assert answer["failures"] == []
    arn = answer["tasks"][0]["taskArn"]
    running.tasks.run(arn)
    running.tasks.exit(arn, 0)
    events = running.receive("Seen", count=3)
    assert {event["detail-type"] for event in events} == {"ECS Task State Change"}
    assert ecs.describe_tasks(cluster=outputs["Cluster"], tasks=[arn])["tasks"][0]["taskArn"] == arn
    running.receive("Seen", count=10, seconds=1)


def test_a_long_poll_blocks_nobody(running: Running) -> None:
    """While one client waits for messages, others are served; the waiting one gets a message at once."""
    sqs = boto3.client("sqs", endpoint_url=running.cloud.endpoint_url, region_name="us-east-1",
                       aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip
    url = running.cloud.outputs["Seen"]
    import threading  # noqa: PLC0415 - only here

    got: list[float] = []

    def wait() -> None:
        sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)
        got.append(time.monotonic())

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(0.3)
    started = time.monotonic()
    _put(running, f"quick-{uuid.uuid4().hex}", "input")
    assert time.monotonic() - started < 0.5
    running.cloud.clients.get("sqs").send_message(QueueUrl=url, MessageBody="{}")
    sent = time.monotonic()
    waiter.join(timeout=10)
    assert got[0] - sent < 0.5


def test_what_curl_uploads_is_kept(running: Running) -> None:
    """`curl --data-binary` calls every file a form; S3 keeps the bytes all the same."""
    bucket = running.cloud.outputs["Bucket"]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{running.cloud.endpoint_url}/{bucket}/curl.csv"

    assert requests.put(url, data=b"a=b&c", headers=form, timeout=10).status_code == 200

    assert _s3(running).get_object(Bucket=bucket, Key="curl.csv")["Body"].read() == b"a=b&c"
    assert running.receive("Seen")


def _run_task(running: Running, **changes: Any) -> dict[str, Any]:
    outputs = running.cloud.outputs
    request = {
        "cluster": outputs["Cluster"],
        "taskDefinition": outputs["TaskDefinition"],
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}},
        **changes,
    }
    return dict(running.cloud.clients.get("ecs").run_task(**request))


def test_a_task_whose_request_was_not_answered_is_found_with_its_token(running: Running) -> None:
    """The connection is cut after the task was made; the same request again gets the answer that was lost."""
    running.cloud.faults.next("ecs.RunTask.lost_answer")
    with pytest.raises(ConnectionClosedError):
        _run_task(running, clientToken="lost")
    arn = _run_task(running, clientToken="lost")["tasks"][0]["taskArn"]
    assert running.tasks.live == [arn.rpartition("/")[2]]
    running.tasks.exit(arn, 0)
    running.receive("Seen", count=10, seconds=1)


def test_spot_needs_the_clusters_capacity_provider(running: Running) -> None:
    """The template's cluster has none, so AWS would refuse."""
    spot = [{"capacityProvider": "FARGATE_SPOT", "weight": 1}]
    with pytest.raises(ClientError, match="not associated with the cluster"):
        running.cloud.clients.get("ecs").run_task(
            cluster=running.cloud.outputs["Cluster"],
            taskDefinition=running.cloud.outputs["TaskDefinition"],
            capacityProviderStrategy=spot,
            networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        )


def test_delivery_can_be_stopped_and_resumed(running: Running) -> None:
    """Events of that time are lost; the stream is late, and then complete and in order."""
    names = [f"{index}-{uuid.uuid4().hex}" for index in range(3)]
    events = running.cloud.clients.get("events")
    running.cloud.faults.stop_delivery()
    for name in names[:2]:
        _put(running, name)
    events.put_events(Entries=[{"Source": "test", "DetailType": "T", "Detail": json.dumps({"name": names[0]})}])
    assert running.cloud.bus.drain()
    eventually(lambda: _delays(running))
    assert not set(names) & set(_streamed(running))
    running.cloud.faults.resume_delivery()
    _put(running, names[2])
    events.put_events(Entries=[{"Source": "test", "DetailType": "T", "Detail": json.dumps({"name": names[2]})}])
    eventually(lambda: names[2] in _streamed(running))
    assert [name for name in _streamed(running) if name in names] == names
    eventually(lambda: any(event["detail"].get("name") == names[2] for event in running.read("event")))
    assert not any(event["detail"].get("name") == names[0] for event in running.read("event"))


def _delays(running: Running) -> int:
    return sum(count for name, count in running.cloud.faults.counts.items() if name.endswith(".delay"))


def test_events_and_batches_can_come_twice(running: Running) -> None:
    """At least once is not exactly once."""
    name = uuid.uuid4().hex
    running.cloud.faults.next("events.test.repeat")
    running.cloud.faults.next("stream.repeat")
    _put(running, name)
    running.cloud.clients.get("events").put_events(
        Entries=[{"Source": "test", "DetailType": "T", "Detail": json.dumps({"name": name})}]
    )
    eventually(lambda: _streamed(running).count(name) == 2)
    eventually(lambda: sum(event["detail"].get("name") == name for event in running.read("event")) == 2)
