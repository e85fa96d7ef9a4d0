"""Triggers over HTTP: each type starts runs, every outcome leaves its receipt, and what is wrong is said when saved."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import requests

from local.scheduler_requests import SchedulerError
from tests.factories import TRAINING
from tests.integration.stack.conftest import Stack
from zentrigger.api import OPERATIONS
from zentrigger.receipts import REFUSED_KEPT
from zentrigger.runs import Output, Report

Json = dict[str, Any]

STANDARD: Json = {"type": "webhook", "pipeline": TRAINING.pipeline, "signature": {"scheme": "standard"}}
SCHEDULE: Json = {"type": "schedule", "pipeline": TRAINING.pipeline}
S3: Json = {"type": "s3", "pipeline": TRAINING.pipeline}
RUN: Json = {"type": "run", "pipeline": TRAINING.pipeline}

MODEL = "s3://artifacts/runs/1/model"
SUCCESS = Report(
    outcome="succeeded",
    outputs=(
        Output(name="metrics", step="evaluate", value={"f1": 0.9}),
        Output(name="model", step="train_model", artifact_id="0b7e", uri=MODEL),
    ),
)


# ------------------------------------------------------------------------------------------------------------- helpers


@pytest.fixture(autouse=True)
def _no_triggers_stay(stack: Stack) -> Iterator[None]:
    """Delete what triggers a test made, so that no event of the next one concerns them."""
    yield
    stack.cloud.faults.clear()
    assert apply(stack, {}, prune=True).status_code == 200


def put(stack: Stack, name: str, definition: Json) -> Json:
    """Make a trigger and give it."""
    answer = stack.call("PUT", f"/triggers/{name}", definition)
    assert answer.status_code == 200, answer.text
    trigger: Json = answer.json()
    return trigger


def get(stack: Stack, path: str) -> Json:
    """Give what the API answers."""
    answer = stack.call("GET", path)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def apply(
    stack: Stack, triggers: Mapping[str, Any], *, dry_run: bool = False, prune: bool = False, plan: str | None = None
) -> requests.Response:
    """Make triggers as they are wanted."""
    path = f"/triggers?dry_run={json.dumps(dry_run)}"
    return stack.call("PUT", path, {"triggers": triggers, "prune": prune, "plan": plan})


def receipts(stack: Stack, name: str, count: int = 1, outcome: str = "") -> list[Json]:
    """Wait until a trigger has so many receipts, and give them, newest first."""
    path = f"/triggers/{name}/receipts?limit=100" + (f"&outcome={outcome}" if outcome else "")

    def look() -> list[Json] | None:
        found: list[Json] = get(stack, path)["items"]
        return found if len(found) >= count else None

    return stack.wait(look)


def outcomes(stack: Stack, name: str, count: int) -> list[str]:
    """Wait until a trigger has so many receipts, and give their outcomes in order of the alphabet."""
    return sorted(receipt["outcome"] for receipt in receipts(stack, name, count))


def run_of(stack: Stack, name: str) -> Json:
    """Wait for the receipt of a trigger's only event, and give the run that it started."""
    (receipt,) = receipts(stack, name)
    assert receipt["outcome"] == "started", receipt
    assert receipt["links"]["run"] == f"/runs/{receipt['run_id']}"
    return stack.get_run(receipt["run_id"])


def upload(stack: Stack, key: str, body: bytes = b"x") -> str:
    """Put an object into the data bucket and give the bucket's name."""
    bucket = stack.cloud.outputs["DataBucket"]
    stack.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    return bucket


def arrival(key: str, **values: Any) -> Json:
    """Make the event of an arrival, as S3 sends it."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-11-20T04:00:00Z",
        "detail": {
            "bucket": {"name": "bucket"},
            "object": {"key": key, "size": 5, "etag": "0" * 32, "sequencer": "00617F08299329D189"} | values,
            "reason": "PutObject",
        },
    }


def send(stack: Stack, event: Json) -> None:
    """Deliver an event to the event queue."""
    url = stack.cloud.stack.resources["EventQueue"].physical_id
    stack.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(event))


def new_secret(stack: Stack, name: str) -> str:
    """Have a secret made for a webhook, and give it."""
    answer = stack.call("POST", f"/triggers/{name}/secret", {})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["secret"])


def hook(stack: Stack, name: str, body: bytes, headers: Mapping[str, str]) -> requests.Response:
    """Call a webhook as a sender does: without an API key."""
    sent = {"Content-Type": "application/json"} | dict(headers)
    return stack.call("POST", f"/hooks/{name}", key=None, data=body, headers=sent)


def standard(secret: str, body: bytes, *, identifier: str = "", at: float | None = None) -> dict[str, str]:
    """Sign as Standard Webhooks do."""
    identifier, moment = identifier or f"msg_{uuid.uuid4().hex}", str(int(at or time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.new(key, f"{identifier}.{moment}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def called(stack: Stack, name: str, secret: str, body: Json, identifier: str = "") -> Json:
    """Call a webhook, signed, and give the receipt that its answer names."""
    text = json.dumps(body).encode()
    answer = hook(stack, name, text, standard(secret, text, identifier=identifier))
    assert answer.status_code == 202, answer.text
    link = answer.json()["links"]["receipt"]
    assert link.endswith(answer.json()["receipt_id"])

    def look() -> Json | None:
        found = stack.call("GET", link)
        receipt: Json | None = found.json() if found.status_code == 200 else None
        return receipt

    return stack.wait(look)


def hmac_hex(secret: str, signed: bytes, algorithm: str = "sha256") -> str:
    """Give an HMAC in hex digits."""
    return hmac.new(secret.encode(), signed, algorithm).hexdigest()


# --------------------------------------------------------------------------------- each type, with mapped parameters


def test_an_object_starts_a_run_with_mapped_parameters(stack: Stack) -> None:
    """Text around fields, and a field alone, which stays a number; at the pipeline and at a step."""
    put(
        stack,
        "tables",
        S3
        | {
            "prefix": "tables/",
            "glob": "tables/**/*.csv",
            "min_size": 2,
            "max_size": 9,
            "reasons": ["PutObject"],
            "parameters": {"data_url": "s3://{bucket.name}/{object.key}?etag={object.etag}"},
            "steps": {"train_model": {"trees": "{object.size}"}},
            "tags": ["tables"],
            "timeout_seconds": 900,
            "priority": 2,
            "retry": {"max_attempts": 2},
        },
    )
    bucket = upload(stack, "tables/2026/ä b+c%.csv", b"12345")

    run = run_of(stack, "tables")

    etag = hashlib.md5(b"12345", usedforsecurity=False).hexdigest()
    assert run["parameters"]["data_url"] == f"s3://{bucket}/tables/2026/ä b+c%.csv?etag={etag}"
    assert run["steps"]["train_model"]["parameters"]["trees"] == 5
    assert (run["tags"], run["enable_cache"], run["priority"]) == (["tables"], False, 2)
    assert (run["timeout_seconds"], run["retry"]["max_attempts"]) == (900, 2)
    assert (run["source"]["type"], run["source"]["trigger"]) == ("s3", "tables")


def group_of(stack: Stack) -> str:
    """Give the name of the group that the triggers' schedules are in."""
    return str(stack.cloud.stack.resources["ScheduleGroup"].physical_id)


def schedule_of(stack: Stack, name: str) -> Json | None:
    """Give a trigger's schedule as EventBridge Scheduler has it; None: there is none."""
    scheduler = stack.client("scheduler")
    try:
        found: Json = scheduler.get_schedule(GroupName=group_of(stack), Name=name)
    except scheduler.exceptions.ResourceNotFoundException:
        return None
    return {name: value for name, value in found.items() if name != "ResponseMetadata"}


def test_a_schedule_starts_a_run_with_its_scheduled_time(stack: Stack) -> None:
    """However often one firing is delivered, it is one run."""
    put(
        stack,
        "daily",
        SCHEDULE
        | {
            "schedule": "cron(0 6 * * ? *)",
            "parameters": {"data_url": "s3://b/{event.time}.csv"},
        },
    )
    stack.cloud.faults.next("scheduler.repeat")

    stack.cloud.scheduler.fire("daily", group_of(stack))

    found = receipts(stack, "daily", 2)
    assert [one["outcome"] for one in found] == ["duplicate", "started"]
    assert len({one["run_id"] for one in found}) == 1
    run = stack.get_run(found[0]["run_id"])
    scheduled_at = run["source"]["scheduled_at"]
    assert {one["scheduled_at"] for one in found} == {scheduled_at}
    assert run["source"]["type"] == "schedule"
    assert run["parameters"]["data_url"] == f"s3://b/{scheduled_at}.csv"


def test_the_end_of_a_run_starts_another_with_its_outputs(stack: Stack) -> None:
    """A number stays one, an artifact comes as its URI; the lineage is readable from both ends."""
    put(
        stack,
        "next",
        RUN
        | {
            "of": {"pipeline": TRAINING.pipeline, "tag": "first"},
            "parameters": {
                "data_url": "{run.outputs.train_model.model.uri}#{run.id}",
                "test_size": "{run.outputs.evaluate.metrics.value.f1}",
                "model_type": "{run.parameters.model_type}",
            },
        },
    )
    first = stack.post_run(tags=["first"], parameters={"model_type": "gradient_boosting"})
    stack.finish(first["run_id"], SUCCESS)

    second = run_of(stack, "next")

    assert second["parameters"]["data_url"] == f"{MODEL}#{first['run_id']}"
    assert (second["parameters"]["test_size"], second["parameters"]["model_type"]) == (0.9, "gradient_boosting")
    assert (second["source"]["type"], second["source"]["run_id"]) == ("run", first["run_id"])
    assert second["source"]["chain"] == ["next"]
    (downstream,) = stack.get_run(first["run_id"])["downstream"]
    assert (downstream["run_id"], downstream["trigger"]) == (second["run_id"], "next")
    (receipt,) = receipts(stack, "next")
    assert receipt["upstream"] == first["run_id"]


def test_failed_and_cancelled_runs_start_others_only_where_they_are_meant(stack: Stack) -> None:
    """`on` says which ends; an end that is not meant is counted, and kept among those that were refused."""
    of = {"pipeline": TRAINING.pipeline, "tag": "upstream"}
    put(stack, "on-success", RUN | {"of": of})
    put(stack, "on-failure", RUN | {"of": of, "on": ["failed"], "parameters": {"data_url": "{run.reason}"}})
    put(stack, "on-cancel", RUN | {"of": of, "on": ["cancelled"], "parameters": {"data_url": "{run.status}"}})
    failed, cancelled = stack.post_run(tags=["upstream"]), stack.post_run(tags=["upstream"])
    stack.finish(failed["run_id"], Report(outcome="failed", reason="pipeline_failed", message="No table."))
    stack.call("DELETE", f"/runs/{cancelled['run_id']}")

    assert run_of(stack, "on-failure")["parameters"]["data_url"] == "pipeline_failed"
    assert run_of(stack, "on-cancel")["parameters"]["data_url"] == "cancelled"
    refused = receipts(stack, "on-success", 2, "not_matched")
    assert {one["upstream"] for one in refused} == {failed["run_id"], cancelled["run_id"]}
    assert get(stack, "/triggers/on-success")["counts"]["not_matched"] == 2
    assert get(stack, "/triggers/on-success/receipts")["items"] == []


def test_two_triggers_on_one_object_start_two_runs(stack: Stack) -> None:
    """Each has its own receipt, run and parameters."""
    for name in ("one", "two"):
        put(stack, name, S3 | {"prefix": "both/", "parameters": {"data_url": f"{name}:{{object.key}}"}})
    upload(stack, "both/a.csv")

    runs = [run_of(stack, name) for name in ("one", "two")]

    assert [run["parameters"]["data_url"] for run in runs] == ["one:both/a.csv", "two:both/a.csv"]
    assert len({run["run_id"] for run in runs}) == 2
    assert stack.call("DELETE", "/triggers/one").status_code == 204
    (kept,) = receipts(stack, "one")
    assert kept["run_id"] == runs[0]["run_id"]
    assert put(stack, "one", S3 | {"prefix": "both/"})["counts"]["started"] == 0


def test_one_event_delivered_five_times_starts_one_run(stack: Stack) -> None:
    """Through the queue, as AWS may deliver it; each delivery has a receipt, and all name the one run."""
    put(stack, "often", S3 | {"prefix": "often/"})
    event = arrival("often/a.csv")
    for _ in range(5):
        send(stack, event)

    found = receipts(stack, "often", 5)

    assert sorted(one["outcome"] for one in found) == ["duplicate"] * 4 + ["started"]
    assert len({one["run_id"] for one in found}) == 1
    assert len(get(stack, "/runs?trigger=often")["items"]) == 1
    counts = get(stack, "/triggers/often")["counts"]
    assert (counts["started"], counts["duplicate"]) == (1, 4)


# ------------------------------------------------------------------------------------------------------ every outcome


def test_an_event_over_a_limit_leaves_a_receipt_that_says_which(stack: Stack) -> None:
    """`max_runs` in all, `max_runs_per_hour` in one hour, `overlap` at once; raising one lets the next through."""
    put(stack, "limited", STANDARD | {"max_runs": 1})
    secret = new_secret(stack, "limited")
    assert called(stack, "limited", secret, {})["outcome"] == "started"
    over = called(stack, "limited", secret, {})
    assert (over["outcome"], over["run_id"]) == ("skipped_max_runs", None)
    assert "max_runs" in over["detail"]

    put(stack, "limited", STANDARD | {"max_runs_per_hour": 1})
    capped = called(stack, "limited", secret, {})
    # Unless the hour is over just now; then the cap is reached by the next one.
    capped = capped if capped["outcome"] != "started" else called(stack, "limited", secret, {})
    assert (capped["outcome"], capped["run_id"]) == ("skipped_cap", None)

    put(stack, "limited", STANDARD | {"max_runs": 9, "overlap": "skip"})
    assert called(stack, "limited", secret, {})["outcome"] == "started"
    skipped = called(stack, "limited", secret, {})
    assert skipped["outcome"] == "skipped_overlap"
    ended = stack.get_run(skipped["run_id"])
    assert (ended["status"], ended["reason"]) == ("cancelled", "skipped_overlap")
    put(stack, "limited", STANDARD | {"overlap": "queue"})
    waiting = called(stack, "limited", secret, {})
    assert (waiting["outcome"], stack.get_run(waiting["run_id"])["status"]) == ("started", "queued")
    put(stack, "limited", STANDARD | {"overlap": "allow"})
    beside = called(stack, "limited", secret, {})
    assert (beside["outcome"], stack.get_run(beside["run_id"])["concurrency"]) == ("started", None)

    counts = get(stack, "/triggers/limited")["counts"]
    assert (counts["skipped_max_runs"], counts["skipped_cap"], counts["skipped_overlap"]) == (1, 1, 1)
    (listed,) = receipts(stack, "limited", 1, "skipped_cap")
    assert listed["receipt_id"] == capped["receipt_id"]


def test_what_an_event_cannot_have_is_rejected_with_the_reason(stack: Stack) -> None:
    """A field that it lacks, a value of the wrong type: receipts, and no run."""
    put(stack, "mapped", STANDARD | {"parameters": {"test_size": "{body.size}"}})
    secret = new_secret(stack, "mapped")

    missing, wrong = called(stack, "mapped", secret, {}), called(stack, "mapped", secret, {"size": "big"})

    assert (missing["outcome"], missing["run_id"]) == ("rejected", None)
    assert "{body.size}" in missing["detail"]
    assert wrong["outcome"] == "rejected"
    assert "/parameters/test_size" in wrong["detail"]
    assert called(stack, "mapped", secret, {"size": 0.5})["outcome"] == "started"


def test_what_is_switched_off_or_out_of_its_time_starts_nothing(stack: Stack) -> None:
    """And says so; a refused call of a webhook is found by the link in its answer, too."""
    put(stack, "timed", STANDARD | {"enabled": False})
    secret = new_secret(stack, "timed")
    assert called(stack, "timed", secret, {})["outcome"] == "disabled"
    put(stack, "timed", STANDARD | {"end_at": "2026-01-01T00:00:00Z"})
    over = called(stack, "timed", secret, {})
    assert over["outcome"] == "disabled"
    assert "2026-01-01" in over["detail"]
    put(stack, "timed", STANDARD | {"filter": {"body.ref": ["refs/heads/main"]}})

    refused = called(stack, "timed", secret, {"ref": "refs/heads/other"})

    assert refused["outcome"] == "not_matched"
    assert "body.ref" in refused["detail"]
    assert "other" not in refused["detail"]
    assert called(stack, "timed", secret, {"ref": "refs/heads/main"})["outcome"] == "started"


def test_a_circle_is_stopped(stack: Stack) -> None:
    """Two triggers that lead to each other start one run each, and then no more."""
    put(stack, "there", RUN | {"of": {"tag": "there"}, "tags": ["back"]})
    put(stack, "back", RUN | {"of": {"tag": "back"}, "tags": ["there"]})
    first = stack.post_run(tags=["there"])
    stack.finish(first["run_id"], SUCCESS)
    second = run_of(stack, "there")
    stack.finish(second["run_id"], SUCCESS)
    third = run_of(stack, "back")
    stack.finish(third["run_id"], SUCCESS)

    newest, _ = receipts(stack, "there", 2)

    assert (newest["outcome"], newest["run_id"], newest["upstream"]) == ("skipped_cycle", None, third["run_id"])
    assert "there -> back -> there" in newest["detail"]


def test_an_event_that_cannot_be_handled_just_now_comes_again(stack: Stack) -> None:
    """Its receipt says `error` meanwhile; when the cause is gone, the same event starts its run."""
    # A pipeline that no function has looked up before: all remember for seconds what they found.
    content = TRAINING.model_copy(update={"pipeline": "shaky_pipeline"})
    assert stack.call("POST", "/snapshots", content.model_dump(mode="json")).status_code == 201
    put(stack, "shaky", S3 | {"pipeline": "shaky_pipeline", "prefix": "shaky/"})
    event = arrival("shaky/a.csv")
    batch = {"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps(event)}]}
    stack.cloud.faults.always("dynamodb.GetItem.server_error")

    assert stack.invoke("OnEventFunction", batch) == {"batchItemFailures": [{"itemIdentifier": "1"}]}

    stack.cloud.faults.never("dynamodb.GetItem.server_error")
    (failed,) = receipts(stack, "shaky")
    assert (failed["outcome"], failed["run_id"]) == ("error", None)
    assert "tried again" in failed["detail"]
    assert stack.invoke("OnEventFunction", batch) == {"batchItemFailures": []}
    assert outcomes(stack, "shaky", 2) == ["error", "started"]


# ----------------------------------------------------------------------------------------------------------- webhooks

GIVEN = "a secret that the sender made"
SLACK = "8f742231b10e8888abcd99yyyzzz85a5"


def _zenml(secret: str, body: bytes, _: int) -> dict[str, str]:
    return {"X-ZenML-Signature-256": f"sha256={hmac_hex(secret, body)}", "X-ZenML-Event": "model.published"}


def _github(secret: str, body: bytes, _: int) -> dict[str, str]:
    delivery = {"X-GitHub-Delivery": str(uuid.uuid4()), "X-GitHub-Event": "push"}
    return {"X-Hub-Signature-256": f"sha256={hmac_hex(secret, body)}"} | delivery


def _slack(secret: str, body: bytes, at: int) -> dict[str, str]:
    signature = hmac_hex(secret, f"v0:{at}:".encode() + body)
    return {"X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": f"v0={signature}"}


def _standard(secret: str, body: bytes, at: int) -> dict[str, str]:
    return standard(secret, body, at=at)


def _plain(secret: str, body: bytes, _: int) -> dict[str, str]:
    """Sign as ClickUp does."""
    return {"X-Signature": hmac_hex(secret, body)}


def _timed(secret: str, body: bytes, at: int) -> dict[str, str]:
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, "sha512").digest()
    return {"X-Sent-At": str(at), "X-Sum": f"v2:{base64.b64encode(digest).decode()}"}


SCHEMES: list[tuple[Json, str | None, Callable[[str, bytes, int], dict[str, str]], bool]] = [
    ({"scheme": "standard"}, None, _standard, True),
    ({"scheme": "github"}, GIVEN, _github, False),
    ({"scheme": "slack"}, SLACK, _slack, True),
    ({"scheme": "zenml"}, None, _zenml, False),
    ({"scheme": "hmac", "header": "X-Signature"}, GIVEN, _plain, False),
    (
        {
            "scheme": "hmac",
            "header": "X-Sum",
            "prefix": "v2:",
            "encoding": "base64",
            "algorithm": "sha512",
            "timestamp_header": "X-Sent-At",
        },
        GIVEN,
        _timed,
        True,
    ),
]


@pytest.mark.parametrize(
    ("signature", "given", "sign", "timed"),
    SCHEMES,
    ids=["standard", "github", "slack", "zenml", "clickup", "hmac-timed"],
)
def test_a_webhook_takes_what_is_signed_and_nothing_else(
    stack: Stack, signature: Json, given: str | None, sign: Callable[[str, bytes, int], dict[str, str]], *, timed: bool
) -> None:
    """By each scheme: 202 with a receipt that leads to the run; 401 for another secret, another body, an old time."""
    # Receipts stay when a trigger is deleted: a name for each case.
    name = f"signed-{SCHEMES.index((signature, given, sign, timed))}"
    put(stack, name, STANDARD | {"signature": signature, "parameters": {"data_url": "{body.url}"}})
    body, moment = b'{"url": "s3://b/\xc3\xbc.csv"}', int(time.time())
    assert hook(stack, name, body, sign(given or "whsec_" + "A" * 44, body, moment)).status_code == 401
    made = stack.call("POST", f"/triggers/{name}/secret", {"secret": given} if given else {}).json()
    secret = given or made["secret"]
    assert (made["secret"] is None) == (given is not None)

    answer = hook(stack, name, body, sign(secret, body, moment))

    assert answer.status_code == 202, answer.text
    run = run_of(stack, name)
    assert run["source"]["type"] == "webhook"
    assert run["parameters"]["data_url"] == "s3://b/ü.csv"
    other = "whsec_" + base64.b64encode(b"another secret of bytes!").decode() if given is None else given[::-1]
    wrong = {
        "another secret": hook(stack, name, body, sign(other, body, moment)),
        "another body": hook(stack, name, body + b" ", sign(secret, body, moment)),
        "no signature": hook(stack, name, body, {}),
    }
    if timed:
        wrong["an old time"] = hook(stack, name, body, sign(secret, body, moment - 301))
        wrong["a time to come"] = hook(stack, name, body, sign(secret, body, moment + 360))
    for what, refused in wrong.items():
        assert (refused.status_code, refused.headers["Content-Type"]) == (401, "application/problem+json"), what
        assert secret not in refused.text
    assert len(receipts(stack, name)) == 1


def test_what_is_signed_and_wrong_has_its_own_answer(stack: Stack) -> None:
    """No JSON 400, too large 413, no such webhook or none at all 404; nothing of it leaves a receipt."""
    put(stack, "strict", STANDARD)
    put(stack, "other", S3 | {"prefix": "other/"})
    secret = new_secret(stack, "strict")
    large = json.dumps("x" * 210_000).encode()

    assert hook(stack, "strict", b"{'a': 1}", standard(secret, b"{'a': 1}")).status_code == 400
    assert hook(stack, "strict", large, standard(secret, large)).status_code == 413
    assert hook(stack, "nobody", b"{}", standard(secret, b"{}")).status_code == 404
    assert hook(stack, "other", b"{}", standard(secret, b"{}")).status_code == 404
    assert hook(stack, "strict", b"{}", standard(secret, b"{}")).status_code == 202
    assert [one["outcome"] for one in receipts(stack, "strict")] == ["started"]


def test_slacks_challenge_is_answered_and_starts_nothing(stack: Stack) -> None:
    """As Slack wants it when a URL is entered."""
    put(stack, "slack", STANDARD | {"signature": {"scheme": "slack"}})
    refused = stack.call("POST", "/triggers/slack/secret", {})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/secret")
    assert stack.call("POST", "/triggers/slack/secret", {"secret": SLACK}).status_code == 200
    body = b'{"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}'

    answer = hook(stack, "slack", body, _slack(SLACK, body, int(time.time())))

    assert (answer.status_code, answer.json()) == (200, {"challenge": json.loads(body)["challenge"]})
    assert get(stack, "/triggers/slack/receipts")["items"] == []


def test_a_delivery_sent_again_is_one_run(stack: Stack) -> None:
    """By the sender's id, or by what the trigger takes for the identity of a call."""
    put(stack, "again", STANDARD)
    secret = new_secret(stack, "again")
    first = called(stack, "again", secret, {"n": 1}, "msg_1")
    assert first["delivery_id"] == "msg_1"
    repeated = called(stack, "again", secret, {"n": 1}, "msg_1")
    assert (repeated["outcome"], repeated["run_id"]) == ("duplicate", first["run_id"])

    put(stack, "again", STANDARD | {"deduplicate_by": "body.commit.id"})
    commit = {"commit": {"id": "c0ffee"}}
    outcomes_seen = [called(stack, "again", secret, commit)["outcome"] for _ in range(2)]
    assert outcomes_seen == ["started", "duplicate"]
    nameless = called(stack, "again", secret, {})
    assert (nameless["outcome"], "deduplicate_by" in nameless["detail"]) == ("rejected", True)


def test_filters_and_templates_see_the_body_and_what_headers_have_no_secret(stack: Stack) -> None:
    """The event's name of ZenML's senders, a pull request of GitHub's that was merged, the whole body as it is."""
    definition = STANDARD | {
        "signature": {"scheme": "zenml"},
        "filter": {
            "header.x-zenml-event": ["model.published"],
            "body.action": ["closed"],
            "body.pull_request.merged": [True],
        },
        "parameters": {"data_url": "{body}", "model_type": "{header.x-zenml-signature-256}"},
    }
    put(stack, "models", definition | {"parameters": {"data_url": "{header.x-zenml-event}: {body}"}})
    secret, body = new_secret(stack, "models"), b'{"action": "closed", "pull_request": {"merged": true}}'
    assert hook(stack, "models", body, _zenml(secret, body, 0)).status_code == 202
    assert run_of(stack, "models")["parameters"]["data_url"] == f"model.published: {body.decode()}"

    put(stack, "models", definition | {"parameters": {"data_url": "{body}"}})
    (recent,) = trial(stack, "models", query="?recent=true")
    assert recent["request"]["parameters"] == {"data_url": json.loads(body)}
    put(stack, "models", definition)
    (secretive,) = trial(stack, "models", query="?recent=true")
    assert (secretive["outcome"], "x-zenml-signature-256" in secretive["detail"]) == ("rejected", True)
    other = body.replace(b"true", b"false")
    hook(stack, "models", other, _zenml(secret, other, 0))
    assert "merged" in receipts(stack, "models", 1, "not_matched")[0]["detail"]


def test_a_secret_is_replaced_while_calls_come(stack: Stack) -> None:
    """The one before stays good for a day; no secret is shown again, and none is in any log."""
    put(stack, "rotated", STANDARD)
    first = new_secret(stack, "rotated")
    answer = stack.call("POST", "/triggers/rotated/secret", {}).json()
    second = answer["secret"]
    assert first != second
    assert answer["previous_valid_until"] is not None

    for secret in (first, second):
        assert called(stack, "rotated", secret, {})["outcome"] == "started"

    third = new_secret(stack, "rotated")
    assert hook(stack, "rotated", b"{}", standard(first, b"{}")).status_code == 401
    shown = stack.call("GET", "/triggers/rotated").text + stack.call("GET", "/triggers").text
    logs = "".join(log.read_text("utf-8", "replace") for log in stack.cloud.log_folder.rglob("*.log"))
    for secret in (first, second, third):
        assert secret not in shown
        assert secret not in logs
    assert stack.call("POST", "/triggers/rotated/secret", {"secret": "short"}).status_code == 422
    put(stack, "rotated", S3 | {"prefix": "rotated/"})
    assert stack.call("POST", "/triggers/rotated/secret", {}).status_code == 409


def test_a_secret_ends_with_its_webhook(stack: Stack) -> None:
    """Who has the old one is not let in when a webhook of the name is made again, or becomes one again."""
    put(stack, "ended", STANDARD)
    secret = new_secret(stack, "ended")
    put(stack, "ended", S3 | {"prefix": "ended/"})
    put(stack, "ended", STANDARD)
    assert hook(stack, "ended", b"{}", standard(secret, b"{}")).status_code == 401

    secret = new_secret(stack, "ended")
    assert stack.call("DELETE", "/triggers/ended").status_code == 204
    put(stack, "ended", STANDARD)
    assert hook(stack, "ended", b"{}", standard(secret, b"{}")).status_code == 401


# ---------------------------------------------------------------------------------------------------------- schedules


def test_a_schedule_is_made_paused_resumed_and_deleted(stack: Stack) -> None:
    """Its next times are shown; EventBridge Scheduler has what the trigger says, with a dead-letter queue."""
    shown = put(
        stack,
        "weekdays",
        SCHEDULE | {"schedule": "30 6 * * 1-5", "time_zone": "Europe/Berlin", "flexible_window_minutes": 10},
    )
    assert shown["schedule_state"] == "in_sync"
    assert len(shown["next_times"]) == 5
    assert all(moment[11:16] in ("04:30", "05:30") for moment in shown["next_times"])
    made = schedule_of(stack, "weekdays")
    assert made is not None
    assert (made["ScheduleExpression"], made["ScheduleExpressionTimezone"], made["State"]) == (
        "cron(30 6 ? * MON-FRI *)",
        "Europe/Berlin",
        "ENABLED",
    )
    assert made["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 10}
    assert made["Target"]["DeadLetterConfig"]["Arn"].endswith(":" + _queue_name(stack, "DeadLetterQueue"))

    paused = put(stack, "weekdays", shown["definition"] | {"enabled": False})

    assert (paused["next_times"], paused["schedule_state"]) == ([], "in_sync")
    disabled = schedule_of(stack, "weekdays")
    assert disabled is not None
    assert disabled["State"] == "DISABLED"
    assert put(stack, "weekdays", shown["definition"])["next_times"] == shown["next_times"]
    resumed = schedule_of(stack, "weekdays")
    assert resumed is not None
    assert resumed["State"] == "ENABLED"
    assert stack.call("DELETE", "/triggers/weekdays").status_code == 204
    assert schedule_of(stack, "weekdays") is None


def _queue_name(stack: Stack, logical_id: str) -> str:
    return str(stack.cloud.stack.resources[logical_id].physical_id).rpartition("/")[2]


def test_a_rate_keeps_its_place_over_a_pause(stack: Stack) -> None:
    """It counts from where it began, whatever was changed meanwhile but the rate itself."""
    definition = SCHEDULE | {"schedule": "rate(7 hours)"}
    made = put(stack, "rate", definition)

    put(stack, "rate", definition | {"enabled": False})
    resumed = put(stack, "rate", definition | {"tags": ["resumed"]})

    assert resumed["next_times"] == made["next_times"]
    later = put(stack, "rate", definition | {"schedule": "rate(8 hours)"})
    assert later["next_times"] != made["next_times"]


def test_a_trigger_of_another_type_has_no_schedule_any_more(stack: Stack) -> None:
    """Nor has one that only the stack's rule fires, or one that will not fire again."""
    put(stack, "turned", SCHEDULE | {"schedule": "rate(1 day)"})
    for definition in (
        S3 | {"prefix": "turned/"},
        SCHEDULE,
        SCHEDULE | {"schedule": "at(2026-01-01T00:00:00)"},
    ):
        shown = put(stack, "turned", definition)
        assert schedule_of(stack, "turned") is None
        assert shown["next_times"] == []
        put(stack, "turned", SCHEDULE | {"schedule": "rate(1 day)"})
        assert schedule_of(stack, "turned") is not None


def test_a_schedule_is_written_only_where_it_differs(stack: Stack) -> None:
    """No other put or apply touches it, or its firing might be lost; what a hand has changed, a put mends."""
    definition = SCHEDULE | {"schedule": "rate(1 day)", "flexible_window_minutes": 30, "end_at": "2199-01-01T00:00:00Z"}
    put(stack, "kept", definition)
    made = schedule_of(stack, "kept")
    assert made is not None
    assert put(stack, "kept", definition | {"tags": ["edited"]})["schedule_state"] == "in_sync"
    assert put(stack, "kept", definition | {"tags": ["edited"]})["schedule_state"] == "in_sync"
    assert apply(stack, {"kept": definition}).status_code == 200
    assert schedule_of(stack, "kept") == made

    scheduler = stack.client("scheduler")
    told = ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "StartDate", "EndDate")
    for target in (made["Target"], made["Target"] | {"Input": "{}"}):
        scheduler.update_schedule(**{name: made[name] for name in told}, Target=target, State="DISABLED")
        assert apply(stack, {"kept": definition}).status_code == 200
        assert (schedule_of(stack, "kept") or {})["State"] == "DISABLED"
        assert put(stack, "kept", definition)["schedule_state"] == "in_sync"
        mended = schedule_of(stack, "kept")
        assert mended is not None
        changed = "LastModificationDate"
        assert mended == made | {changed: mended[changed]}


def test_a_schedule_that_aws_refuses_says_why(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute's function does not fail for it, and leaves it; a better one is set at once."""

    def refuse(_: Any) -> Any:
        raise SchedulerError("ServiceQuotaExceededException", "You have too many schedules.")

    operations = dict(stack.cloud.scheduler._operations)  # noqa: SLF001 - the embedded AWS has no quota to reach
    monkeypatch.setattr(stack.cloud.scheduler, "_operations", operations | {"CreateSchedule": refuse})
    definition = SCHEDULE | {"schedule": "rate(1 day)"}

    shown = put(stack, "many", definition)

    assert (shown["schedule_state"], shown["schedule_problem"]) == ("refused", "You have too many schedules.")
    assert stack.invoke("AdminFunction", {"action": "settle_schedules"}) == {"settled": 0}
    assert [one["schedule_problem"] for one in get(stack, "/triggers")["items"]] == ["You have too many schedules."]
    monkeypatch.undo()
    assert stack.invoke("AdminFunction", {"action": "settle_schedules"}) == {"settled": 0}
    mended = put(stack, "many", definition)
    assert (mended["schedule_state"], mended["schedule_problem"]) == ("in_sync", None)
    assert stack.invoke("AdminFunction", {"action": "settle_schedules"}) == {"settled": 0}


def test_a_schedule_that_could_not_be_set_is_set_within_the_minute(stack: Stack) -> None:
    """The trigger is written, its schedule is pending and said to be; the minute's rule settles it, and deletions."""
    stack.cloud.faults.always("scheduler.UpdateSchedule.throttle")
    shown = put(stack, "late", SCHEDULE | {"schedule": "rate(1 day)"})
    assert shown["schedule_state"] == "pending"
    assert get(stack, "/triggers/late")["schedule_state"] == "pending"
    assert [one["schedule_state"] for one in get(stack, "/triggers")["items"]] == ["pending"]
    assert schedule_of(stack, "late") is None
    stack.cloud.faults.clear()

    assert stack.invoke("AdminFunction", {"action": "settle_schedules"})["settled"] >= 1

    assert get(stack, "/triggers/late")["schedule_state"] == "in_sync"
    assert schedule_of(stack, "late") is not None
    stack.cloud.faults.always("scheduler.DeleteSchedule.throttle")
    assert stack.call("DELETE", "/triggers/late").status_code == 204
    assert schedule_of(stack, "late") is not None
    stack.cloud.faults.clear()
    stack.invoke("AdminFunction", {"action": "settle_schedules"})
    assert schedule_of(stack, "late") is None
    assert stack.invoke("AdminFunction", {"action": "settle_schedules"}) == {"settled": 0}


# --------------------------------------------------------------------------------------------- what is wrong when saved

WRONG: list[tuple[Any, str, str]] = [
    ([], "", "object"),
    ({"pipeline": "p"}, "/type", "one of"),
    (S3 | {"type": "kafka"}, "/type", "one of"),
    (S3 | {"prefxi": "a/"}, "/prefxi", ""),
    (SCHEDULE | {"prefix": "a/"}, "/prefix", ""),
    (S3 | {"min_size": 2, "max_size": 1}, "", "max_size"),
    (S3 | {"min_size": True}, "/min_size", ""),
    (S3 | {"reasons": ["Rename"]}, "/reasons/0", ""),
    (S3 | {"enabled": "yes"}, "/enabled", ""),
    (S3 | {"overlap": "wait"}, "/overlap", ""),
    (S3 | {"max_runs": 0}, "/max_runs", ""),
    (S3 | {"max_runs_per_hour": 100_001}, "/max_runs_per_hour", ""),
    (S3 | {"end_at": "tomorrow"}, "/end_at", ""),
    (S3 | {"start_at": "2027-01-02T00:00:00Z", "end_at": "2027-01-01T00:00:00Z"}, "", "end_at"),
    (S3 | {"parameters": {"data_url": "{object.kye}"}}, "", "object.kye"),
    (S3 | {"parameters": {"data_url": "{body.url}"}}, "", "body.url"),
    (S3 | {"parameters": {"data_ulr": "{object.key}"}}, "/parameters/data_ulr", "data_url"),
    (S3 | {"parameters": {"test_size": 2}}, "/parameters/test_size", ""),
    (S3 | {"steps": {"train": {"trees": 1}}}, "/steps/train", "train_model"),
    (S3 | {"steps": {"train_model": {"trees": 0}}}, "/steps/train_model/parameters/trees", ""),
    (SCHEDULE | {"schedule": "cron(0 6 * * *)"}, "/schedule", "six fields"),
    (SCHEDULE | {"schedule": "0 6 1 * 1"}, "/schedule", "two schedules"),
    (SCHEDULE | {"schedule": "rate(0 minutes)"}, "/schedule", "rate"),
    (SCHEDULE | {"schedule": "rate(1 day)", "time_zone": "Europe/Berln"}, "/time_zone", "Europe/Berlin"),
    (SCHEDULE | {"schedule": "rate(1 day)", "flexible_window_minutes": 1441}, "/flexible_window_minutes", ""),
    (RUN, "/of", ""),
    (RUN | {"of": {}}, "/of", "pipeline, snapshot, tag or trigger"),
    (RUN | {"of": {"pipeline": "p"}, "on": []}, "/on", ""),
    (RUN | {"of": {"pipeline": "p"}, "on": ["done"]}, "/on/0", ""),
    (STANDARD | {"signature": {"scheme": "paypal"}}, "/signature/scheme", ""),
    (STANDARD | {"signature": {"scheme": "hmac"}}, "/signature", "header"),
    (STANDARD | {"signature": {"scheme": "github", "header": "x"}}, "/signature", "settles this itself"),
    (STANDARD | {"tolerance_seconds": 5}, "/tolerance_seconds", ""),
    (STANDARD | {"filter": {"ref": ["main"]}}, "", "body."),
    (STANDARD | {"filter": {"body.ref": []}}, "", "body.ref"),
    (STANDARD | {"filter": {"body.ref": "main"}}, "/filter/body.ref", ""),
    (STANDARD | {"deduplicate_by": "delivery"}, "", "body."),
]


def test_what_is_wrong_with_a_trigger_is_said_where_it_stands(stack: Stack) -> None:
    """422 with a JSON pointer each, and nothing is written; of several in one call, all are told at once."""
    for definition, pointer, said in WRONG:
        answer = stack.call("PUT", "/triggers/wrong", definition)
        assert answer.status_code == 422, (definition, answer.text)
        pointers = [error["pointer"] for error in answer.json()["errors"]]
        assert pointer in pointers, (definition, answer.text)
        assert said in answer.text, (definition, answer.text)
    assert stack.call("GET", "/triggers/wrong").status_code == 404

    together = apply(
        stack,
        {
            "good": S3 | {"prefix": "good/"},
            "typo": S3 | {"prefxi": "a/"},
            "none": S3 | {"pipeline": "nobody"},
            "unfit": S3 | {"parameters": {"test_size": 2}},
        },
    )
    assert together.status_code == 422
    assert "/triggers/typo/prefxi" in {error["pointer"] for error in together.json()["errors"]}
    assert get(stack, "/triggers")["items"] == []
    fitting = apply(stack, {"none": S3 | {"pipeline": "nobody"}, "unfit": S3 | {"parameters": {"test_size": 2}}})
    assert [error["pointer"] for error in fitting.json()["errors"]] == [
        "/triggers/none/pipeline",
        "/triggers/unfit/parameters/test_size",
    ]


def test_a_trigger_is_not_to_watch_what_its_own_pipeline_writes(stack: Stack) -> None:
    """Neither a place that the snapshot declares, nor the one where the stack keeps artifacts."""
    content = TRAINING.model_copy(update={"pipeline": "writing_pipeline", "writes": ("s3://lake/out/",)})
    assert stack.call("POST", "/snapshots", content.model_dump(mode="json")).status_code == 201
    for bucket, prefix, status in (
        ("lake", "out/daily/", 422),
        ("lake", "", 422),
        (None, "o", 422),
        ("lake", "in/", 200),
        ("pond", "out/", 200),
        (stack.cloud.outputs["ArtifactBucket"], "runs/", 422),
    ):
        definition = S3 | {"pipeline": "writing_pipeline", "bucket": bucket, "prefix": prefix}
        answer = stack.call("PUT", "/triggers/loop", definition)
        assert answer.status_code == status, answer.text
        if status == 422:
            assert [error["pointer"] for error in answer.json()["errors"]] == ["/prefix"]
    assert stack.call("GET", "/triggers/loop").json()["definition"]["bucket"] == "pond"
    looping = content.model_copy(update={"writes": ("s3://pond/",)})
    refused = stack.call("POST", "/snapshots", looping.model_dump(mode="json"))
    assert (refused.status_code, "loop" in refused.text) == (409, True)


# -------------------------------------------------------------------------------------------------------------- apply


def test_triggers_are_applied_together_and_pruned(stack: Stack) -> None:
    """A dry run says what would change and writes nothing; what is applied again changes nothing."""
    wanted = {
        "files": S3 | {"prefix": "files/"},
        "nights": SCHEDULE | {"schedule": "rate(1 day)"},
        "calls": STANDARD,
    }
    put(stack, "files", S3 | {"prefix": "old/"})
    put(stack, "old", S3 | {"prefix": "old/"})

    dry = apply(stack, wanted, dry_run=True, prune=True).json()

    assert dry["written"] is False
    changes = {one["name"]: one for one in dry["changes"]}
    assert {name: one["change"] for name, one in changes.items()} == {
        "calls": "create",
        "files": "update",
        "nights": "create",
        "old": "delete",
    }
    assert (changes["files"]["before"]["prefix"], changes["files"]["after"]["prefix"]) == ("old/", "files/")
    assert (changes["calls"]["before"], changes["old"]["after"]) == (None, None)
    assert [one["name"] for one in get(stack, "/triggers")["items"]] == ["files", "old"]

    kept = apply(stack, wanted).json()

    # What was done is told without definitions: it must not fail for their size.
    created = {"name": "calls", "change": "create", "type": "webhook", "pipeline": TRAINING.pipeline}
    assert (kept["written"], kept["changes"][0], "plan" in kept) == (True, created, False)
    assert [one["name"] for one in get(stack, "/triggers")["items"]] == ["calls", "files", "nights", "old"]
    assert schedule_of(stack, "nights") is not None
    pruned = apply(stack, wanted, prune=True).json()["changes"]
    assert {one["name"]: one["change"] for one in pruned} == dict.fromkeys(wanted, "unchanged") | {"old": "delete"}
    shown = {one["name"]: one["definition"] for one in get(stack, "/triggers")["items"]}
    assert {one["change"] for one in apply(stack, shown, prune=True).json()["changes"]} == {"unchanged"}
    apply(stack, {}, prune=True)
    assert schedule_of(stack, "nights") is None


def test_what_was_planned_is_done_or_nothing(stack: Stack) -> None:
    """One that a colleague makes between what was shown and what is done is not pruned: 409, and it is shown then."""
    wanted = {"files": S3}
    put(stack, "old", S3)
    dry = apply(stack, wanted, dry_run=True, prune=True).json()
    put(stack, "new", STANDARD)

    refused = apply(stack, wanted, prune=True, plan=dry["plan"])

    assert (refused.status_code, refused.json()["title"]) == (409, "This cannot be done now")
    assert "Nothing was written" in refused.json()["detail"]
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/plan"]
    assert [one["name"] for one in get(stack, "/triggers")["items"]] == ["new", "old"]
    again = apply(stack, wanted, dry_run=True, prune=True).json()
    assert {one["name"]: one["change"] for one in again["changes"]} == {
        "files": "create",
        "new": "delete",
        "old": "delete",
    }
    assert apply(stack, wanted, prune=True, plan=again["plan"]).status_code == 200
    # The answer was lost: all is as it was to be.
    repeated = apply(stack, wanted, prune=True, plan=again["plan"])
    assert (repeated.status_code, [one["change"] for one in repeated.json()["changes"]]) == (200, ["unchanged"])


def test_triggers_are_listed_in_pages(stack: Stack) -> None:
    """By name; what is no parameter of a list is refused."""
    for name in "bdac":
        put(stack, name, S3)
    first = get(stack, "/triggers?limit=3")
    assert [one["name"] for one in first["items"]] == ["a", "b", "c"]
    last = get(stack, f"/triggers?limit=3&cursor={first['next']}")
    assert ([one["name"] for one in last["items"]], last["next"]) == (["d"], None)
    for query in ("limit=0", "limit=101", "cursor=x", "type=s3"):
        assert stack.call("GET", f"/triggers?{query}").status_code == 422, query


def test_large_triggers_are_listed_planned_and_changed(stack: Stack) -> None:
    """All that is written can be told: a function answers 6 MB at most, in which each quote of these is four bytes."""
    large = S3 | {"parameters": {"data_url": '"' * 125_000}}
    names = [f"t{number:02d}" for number in range(12)]
    for name in names:
        assert stack.call("PUT", f"/triggers/{name}", large).status_code == 200
    shown: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        found = get(stack, f"/triggers?limit=100{cursor and f'&cursor={cursor}'}")
        shown += [one["name"] for one in found["items"]]
        cursor, pages = found["next"], pages + 1
    assert (shown, pages) == (names, 3)

    wanted = dict.fromkeys(names, S3) | dict.fromkeys(names[:3], large | {"prefix": "in/"})
    dry = apply(stack, wanted, dry_run=True)
    assert dry.status_code == 200
    changes = dry.json()["changes"]
    assert {one["name"]: one["change"] for one in changes} == dict.fromkeys(names, "update")
    # The definitions that there is room for, and of the others that they change.
    assert 0 < sum("after" in one for one in changes) < len(names)
    done = apply(stack, wanted, plan=dry.json()["plan"])
    assert (done.status_code, [one["name"] for one in done.json()["changes"]]) == (200, names)
    too_large = dict.fromkeys(names, large)
    assert apply(stack, too_large).status_code == 413
    for name in names[3:]:
        put(stack, name, large)
    # They would all be deleted in one transaction, which has 4 MB.
    assert apply(stack, {}, prune=True, dry_run=True).status_code == 200
    put(stack, "one-more", large)
    refused = apply(stack, {}, prune=True)
    assert (refused.status_code, "in parts" in refused.json()["detail"]) == (422, True)
    for name in ("one-more", *names):
        assert stack.call("DELETE", f"/triggers/{name}").status_code == 204


def test_large_events_are_tried_together(stack: Stack) -> None:
    """Ten, each of which would be a request of 250 KB, in JSON twice that: all are told, and some of the requests."""
    definition = STANDARD | {"parameters": {"data_url": "{body}" * 35}}
    put(stack, "large", definition | {"enabled": False})
    for number in range(10):
        detail = {"trigger": "large", "receipt_id": f"r{number}", "body": f"{number}" + '"' * 7000}
        event = {"source": "zentrigger.webhook", "detail-type": "Webhook", "id": f"e{number}"}
        send(stack, event | {"time": "2026-11-20T04:00:00Z", "detail": detail})
    receipts(stack, "large", 10)
    put(stack, "large", definition)

    tried = trial(stack, "large", query="?recent=true")

    assert {one["event"]["id"] for one in tried} == {f"e{number}" for number in range(10)}
    assert 0 < sum("request" in one for one in tried) < 10
    assert {one["matches"] for one in tried} == {True}


# --------------------------------------------------------------------------------------------------------- trying


def trial(stack: Stack, name: str, body: Json | None = None, query: str = "") -> list[Json]:
    """Try a trigger."""
    answer = stack.call("POST", f"/triggers/{name}/test{query}", body or {})
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


def test_trying_a_trigger_says_what_would_happen_and_starts_nothing(stack: Stack) -> None:
    """With a sample, with an event of one's own, and with its last events."""
    put(
        stack,
        "tried",
        S3
        | {
            "prefix": "tried/",
            "suffix": ".csv",
            "overlap": "skip",
            "parameters": {"data_url": "s3://{bucket.name}/{object.key}", "test_size": "{object.size}"},
        },
    )
    (sampled,) = trial(stack, "tried")
    assert (sampled["matches"], sampled["outcome"]) == (True, "rejected")
    assert "/parameters/test_size" in sampled["detail"]

    for pattern in ({"glob": "tried/**/2026-??/*.csv"}, {"glob": "**/tried/*"}, {"suffix": ".csv", "glob": "**.csv"}):
        put(stack, "tried", S3 | pattern)
        (sampled,) = trial(stack, "tried")
        assert (sampled["matches"], sampled["outcome"]) == (True, "started"), sampled
    put(stack, "tried", S3 | {"prefix": "tried/", "overlap": "skip", "parameters": {"data_url": "{object.key}"}})
    (matching,) = trial(stack, "tried", {"event": arrival("tried/a.csv")})
    assert (matching["matches"], matching["outcome"], matching["would"]) == (True, "started", "start")
    assert matching["request"]["parameters"] == {"data_url": "tried/a.csv"}
    assert matching["event"]["detail"]["object"]["key"] == "tried/a.csv"
    (other,) = trial(stack, "tried", {"event": arrival("elsewhere/a.csv")})
    assert (other["matches"], other["outcome"], other["request"]) == (False, "not_matched", None)
    assert "tried/" in other["detail"]
    assert get(stack, "/triggers/tried/receipts")["items"] == []
    assert get(stack, "/runs?trigger=tried")["items"] == []

    send(stack, arrival("tried/a.csv"))
    run = run_of(stack, "tried")
    (repeated,) = trial(stack, "tried", query="?recent=true")
    assert (repeated["outcome"], repeated["run_id"]) == ("duplicate", run["run_id"])
    assert repeated["run_id"] == matching["run_id"]
    (taken,) = trial(stack, "tried", {"event": arrival("tried/b.csv")})
    assert (taken["outcome"], taken["would"]) == ("skipped_overlap", None)
    put(stack, "tried", S3 | {"prefix": "tried/", "suffix": ".json"})
    (refused,) = trial(stack, "tried", query="?recent=true")
    assert (refused["matches"], refused["outcome"]) == (False, "not_matched")


def test_trying_with_what_cannot_come_is_refused(stack: Stack) -> None:
    """No event at all, one of a run that is not there, one beside `recent`; the end of a run needs to be named."""
    snapshot = f"{TRAINING.pipeline}:1"
    put(stack, "chained", RUN | {"of": {"pipeline": TRAINING.pipeline, "snapshot": snapshot}})
    assert stack.call("POST", "/triggers/chained/test", {}).json()["errors"][0]["pointer"] == "/event"
    end = {"source": "zentrigger", "detail-type": "Pipeline Run Succeeded", "id": "1", "time": "2026-01-01T00:00:00Z"}
    absent = stack.call("POST", "/triggers/chained/test", {"event": end | {"detail": {"run_id": "nobody"}}})
    assert (absent.status_code, absent.json()["errors"][0]["pointer"]) == (422, "/event/detail/run_id")
    assert stack.call("POST", "/triggers/chained/test", {"event": {"a": 1}}).status_code == 422
    both = stack.call("POST", "/triggers/chained/test?recent=true", {"event": end})
    assert both.status_code == 422
    assert stack.call("POST", "/triggers/nobody/test", {}).status_code == 404
    first = stack.post_run()
    stack.finish(first["run_id"], SUCCESS)
    stack.ended(first["run_id"])
    (tried,) = trial(stack, "chained", {"event": end | {"detail": {"run_id": first["run_id"]}}})
    assert (tried["matches"], tried["request"]["pipeline"]) == (True, TRAINING.pipeline)


# --------------------------------------------------------------------------------- why did my file not start anything?


def test_an_event_that_matched_no_trigger_is_found_for_a_day(stack: Stack) -> None:
    """With the triggers that came near, and why not; by bucket and key."""
    put(stack, "near", S3 | {"prefix": "data/", "suffix": ".csv"})
    put(stack, "off", S3 | {"bucket": "another"})
    key = "data/ü 1.CSV"
    bucket = upload(stack, key)

    def look() -> list[Json] | None:
        answer = stack.call("GET", "/events/unmatched", params={"bucket": bucket, "key": key})
        items: list[Json] = answer.json()["items"]
        return items or None

    (found,) = stack.wait(look)
    assert (found["type"], found["bucket"], found["key"]) == ("s3", bucket, key)
    assert [one["name"] for one in found["triggers"]] == ["near"]
    assert ".csv" in found["triggers"][0]["why"]
    assert stack.call("GET", "/events/unmatched", params={"key": "data/other"}).json()["items"] == []
    (refused,) = receipts(stack, "near", 1, "not_matched")
    assert (refused["key"], refused["event_id"]) == (key, found["event_id"])
    put(stack, "far", S3 | {"prefix": "far/"})
    upload(stack, "far/a.csv")
    run_of(stack, "far")
    assert stack.call("GET", "/events/unmatched", params={"key": "far/a.csv"}).json()["items"] == []


def test_of_refused_events_all_are_counted_and_a_hundred_kept(stack: Stack) -> None:
    """So that a busy bucket does not fill the table."""
    put(stack, "picky", S3 | {"prefix": "picky/"})
    over = REFUSED_KEPT + 5
    records = [
        {"messageId": str(number), "eventSource": "aws:sqs", "body": json.dumps(arrival(f"many/{number}.csv"))}
        for number in range(over)
    ]

    assert stack.invoke("OnEventFunction", {"Records": records}) == {"batchItemFailures": []}

    kept = receipts(stack, "picky", REFUSED_KEPT, "not_matched")
    assert len(kept) == REFUSED_KEPT
    assert kept[0]["key"] == f"many/{over - 1}.csv"
    assert get(stack, "/triggers/picky")["counts"]["not_matched"] == over


def test_a_trigger_of_a_later_version_is_shown_replaced_and_deleted(stack: Stack) -> None:
    """Its events go back to the queue, after the others have started their runs; all else goes on around it."""
    put(stack, "later", S3 | {"prefix": "later/"})
    put(stack, "beside", S3 | {"prefix": "later/"})
    spoil(stack, "later")

    answer = stack.call("GET", "/triggers/later")
    assert answer.status_code == 409
    assert "'later' cannot be read" in answer.json()["detail"]
    listed = stack.call("GET", "/triggers?limit=100").json()
    assert "beside" in {one["name"] for one in listed["items"]}
    (unread,) = listed["unreadable"]
    assert (unread["name"], unread["type"]) == ("later", "s3")
    assert "colour" in unread["detail"]
    record = {"messageId": "m", "eventSource": "aws:sqs", "body": json.dumps(arrival("later/a.csv"))}
    assert stack.invoke("OnEventFunction", {"Records": [record]}) == {"batchItemFailures": [{"itemIdentifier": "m"}]}
    run_of(stack, "beside")
    (told,) = receipts(stack, "later", 1)
    assert told["outcome"] == "error"

    put(stack, "later", S3 | {"prefix": "later/"})

    assert stack.call("GET", "/triggers?limit=100").json()["unreadable"] == []
    assert stack.invoke("OnEventFunction", {"Records": [record]}) == {"batchItemFailures": []}
    assert outcomes(stack, "later", 2) == ["error", "started"]
    spoil(stack, "later")
    assert stack.call("DELETE", "/triggers/later").status_code == 204
    assert stack.call("GET", "/triggers/later").status_code == 404


def spoil(stack: Stack, name: str) -> None:
    """Have a trigger say something that only a later version understands."""
    dynamodb, table = stack.client("dynamodb"), stack.cloud.stack.resources["TriggersTable"].physical_id
    key = {"collection": {"S": "triggers"}, "item": {"S": name}}
    item = dynamodb.get_item(TableName=table, Key=key)["Item"]
    body = json.loads(item["body"]["S"])
    body["definition"]["colour"] = "red"
    dynamodb.put_item(TableName=table, Item=item | {"body": {"S": json.dumps(body)}})


def test_a_call_whose_trigger_is_deleted_has_its_receipt(stack: Stack) -> None:
    """Its caller was told where to look, and finds out there."""
    record = {
        "source": "zentrigger.webhook",
        "detail-type": "Webhook",
        "id": "d",
        "time": "2026-11-20T12:00:00Z",
        "detail": {"trigger": "gone", "receipt_id": "20261120T120000000000Z-0", "headers": {}, "body": {}},
    }
    message = {"messageId": "m", "eventSource": "aws:sqs", "body": json.dumps(record)}

    assert stack.invoke("OnEventFunction", {"Records": [message]}) == {"batchItemFailures": []}

    found = get(stack, "/triggers/gone/receipts/20261120T120000000000Z-0")
    assert (found["outcome"], found["run_id"]) == ("rejected", None)


# ------------------------------------------------------------------------------------------------------- the document


def test_triggers_are_for_operators(stack: Stack) -> None:
    """A key that may run and read, and not administer, can neither see nor change them; with `admin` it can."""
    made = stack.call("POST", "/keys", {"name": "caller", "scopes": ["run", "read"]}).json()
    for operation in OPERATIONS:
        if operation.path.startswith(("/triggers", "/events")):
            path = operation.path.replace("{", "").replace("}", "")
            assert operation.scope == "admin"
            assert stack.call(operation.method, path, {}, key=made["key"]).status_code == 403, operation


def test_the_document_has_every_call_about_triggers(stack: Stack) -> None:
    """With a schema of what a trigger is, by its type."""
    document = stack.call("GET", "/openapi.json", key=None).json()
    ours = [one for one in OPERATIONS if one.path.startswith(("/triggers", "/hooks", "/events"))]
    assert len(ours) == 11
    for operation in ours:
        assert operation.method.lower() in document["paths"][operation.path], operation
    text = json.dumps(document)
    for name in ("S3Trigger", "ScheduleTrigger", "RunTrigger", "WebhookTrigger", "deduplicate_by"):
        assert name in text
