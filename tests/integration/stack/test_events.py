"""Events in: S3 arrivals and schedules through rule, queue and function; and every payload of `events/`."""

import json
from typing import Any

import pytest

from tests.factories import TRAINING
from tests.integration.stack.conftest import EVENTS, Stack, sample
from tests.samples import BEFORE, NAMES_NOTHING
from zentrigger.runs import Report

ARRIVALS = {
    "type": "s3",
    "pipeline": TRAINING.pipeline,
    "prefix": "incoming/",
    "suffix": ".csv",
    "parameters": {"data_url": "s3://{bucket.name}/{object.key}"},
}
SUCCESS = Report(outcome="succeeded")


def runs_of(stack: Stack, trigger: str) -> list[dict[str, Any]]:
    """Give the runs that a trigger started, newest first."""
    items: list[dict[str, Any]] = stack.call("GET", f"/runs?trigger={trigger}&limit=100").json()["items"]
    return items


def receipts_of(stack: Stack, trigger: str) -> list[dict[str, Any]]:
    """Give a trigger's receipts, newest first."""
    items: list[dict[str, Any]] = stack.call("GET", f"/triggers/{trigger}/receipts?limit=100").json()["items"]
    return items


def put(stack: Stack, name: str, definition: dict[str, Any]) -> None:
    """Make a trigger."""
    answer = stack.call("PUT", f"/triggers/{name}", definition)
    assert answer.status_code == 200, answer.text


def test_an_object_starts_a_run(stack: Stack) -> None:
    """Under the prefix, with the suffix, whatever its name; others start nothing."""
    put(stack, "arrivals", ARRIVALS)
    s3, bucket = stack.client("s3"), stack.cloud.outputs["DataBucket"]
    key = "incoming/ümläut + 100% (1) ../a.csv"
    for ignored in ("outgoing/a.csv", "incoming/a.parquet", "incoming/"):
        s3.put_object(Bucket=bucket, Key=ignored, Body=b"x")
    s3.put_object(Bucket=bucket, Key=key, Body=b"a,b\n1,2\n")

    (summary,) = stack.wait(lambda: runs_of(stack, "arrivals"))

    run = stack.get_run(summary["run_id"])
    assert (run["source"]["bucket"], run["source"]["key"], run["source"]["size"]) == (bucket, key, 8)
    assert run["parameters"]["data_url"] == f"s3://{bucket}/{key}"
    assert run["enable_cache"] is False
    stack.finish(run["run_id"], SUCCESS)
    assert stack.ended(run["run_id"])["status"] == "succeeded"
    (receipt,) = receipts_of(stack, "arrivals")
    assert (receipt["outcome"], receipt["run_id"], receipt["key"]) == ("started", run["run_id"], key)


def test_writing_again_is_another_run_and_two_triggers_are_two(stack: Stack) -> None:
    """Each writing counts, also of the same bytes; a disabled trigger leaves a receipt."""
    put(stack, "first", ARRIVALS | {"prefix": "twice/"})
    put(stack, "second", ARRIVALS | {"prefix": "twice/", "tags": ["second"]})
    put(stack, "off", ARRIVALS | {"prefix": "twice/", "enabled": False})
    for _ in range(2):
        stack.client("s3").put_object(Bucket=stack.cloud.outputs["DataBucket"], Key="twice/a.csv", Body=b"x")

    stack.wait(lambda: len(runs_of(stack, "first")) == 2 and len(runs_of(stack, "second")) == 2)
    outcomes = stack.wait(lambda: found if len(found := receipts_of(stack, "off")) == 2 else None)
    assert {receipt["outcome"] for receipt in outcomes} == {"disabled"}
    for name in ("first", "second", "off"):
        assert stack.call("DELETE", f"/triggers/{name}").status_code == 204
    assert stack.call("GET", "/triggers/first").status_code == 404


@pytest.mark.parametrize(("overlap", "second"), [("skip", "skipped_overlap"), ("queue", "started")])
def test_runs_of_a_trigger_that_must_not_overlap(stack: Stack, overlap: str, second: str) -> None:
    """While one is active, the next object starts none, or one that waits; each has its receipt and its run."""
    name = f"overlap-{overlap}"
    put(stack, name, ARRIVALS | {"prefix": f"{name}/", "overlap": overlap})
    s3, bucket = stack.client("s3"), stack.cloud.outputs["DataBucket"]
    s3.put_object(Bucket=bucket, Key=f"{name}/1.csv", Body=b"x")
    (first,) = stack.wait(lambda: runs_of(stack, name))
    s3.put_object(Bucket=bucket, Key=f"{name}/2.csv", Body=b"x")

    receipts = stack.wait(lambda: found if len(found := receipts_of(stack, name)) == 2 else None)

    assert [receipt["outcome"] for receipt in receipts] == [second, "started"]
    other = stack.get_run(receipts[0]["run_id"])
    assert other["concurrency"]["key"] == f"trigger:{name}"
    assert (other["status"], other["reason"]) == {
        "skip": ("cancelled", "skipped_overlap"),
        "queue": ("queued", None),
    }[overlap]
    stack.finish(first["run_id"], SUCCESS)
    stack.ended(first["run_id"])
    if overlap == "queue":
        assert stack.task_of(other["run_id"])
    assert stack.call("DELETE", f"/triggers/{name}").status_code == 204


def test_the_same_event_five_times_is_one_run(stack: Stack) -> None:
    """At least once is what AWS promises; the receipts say which were duplicates."""
    put(stack, "repeated", ARRIVALS | {"prefix": "incoming/2026"})
    for _ in range(5):
        assert stack.invoke("OnEventFunction", sample("on_event_s3_arrival")) == {"batchItemFailures": []}

    assert len(runs_of(stack, "repeated")) == 1
    outcomes = sorted(receipt["outcome"] for receipt in receipts_of(stack, "repeated"))
    assert outcomes == ["duplicate"] * 4 + ["started"]
    stack.call("DELETE", "/triggers/repeated")


def test_what_a_trigger_cannot_have_is_its_receipt(stack: Stack) -> None:
    """An object whose values do not fit the pipeline starts nothing and is not tried again for ever."""
    put(stack, "unfit", ARRIVALS | {"prefix": "incoming/2026", "parameters": {"test_size": "{object.size}"}})

    assert stack.invoke("OnEventFunction", sample("on_event_s3_arrival")) == {"batchItemFailures": []}

    (receipt,) = receipts_of(stack, "unfit")
    assert receipt["outcome"] == "rejected"
    assert "/parameters/test_size" in receipt["detail"]
    stack.call("DELETE", "/triggers/unfit")


def test_one_bad_message_does_not_hold_up_the_others(stack: Stack) -> None:
    """Only what failed comes again."""
    put(stack, "nightly", {"type": "schedule", "pipeline": TRAINING.pipeline})
    batch = sample("on_event_schedule")
    batch["Records"].append(batch["Records"][0] | {"messageId": "bad", "body": json.dumps({"source": "nobody"})})

    answer = stack.invoke("OnEventFunction", batch)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    (run,) = runs_of(stack, "nightly")
    assert run["source"]["scheduled_at"] == "2026-11-20T04:00:00.000000Z"


def test_the_end_of_a_run_is_published(stack: Stack) -> None:
    """As an event that rules can be made for; the record knows that it was."""
    run = stack.post_run()
    stack.finish(run["run_id"], SUCCESS)
    stack.ended(run["run_id"])

    def announced() -> bool:
        head = stack.runs().head(run["run_id"])
        return head is not None and head.announced_at is not None

    assert stack.wait(announced)


PAYLOADS = {
    "admin": "AdminFunction",
    "lifecycle": "LifecycleFunction",
    "on_event": "OnEventFunction",
    "status": "StatusFunction",
    "trigger": "TriggerFunction",
}


def answer_to(stack: Stack, name: str) -> Any:
    """Feed a payload to the function that it is named for."""
    event = sample(name)
    # The signature is the authentication of hooks.
    if "headers" in event and "x-api-key" in event["headers"]:
        event["headers"]["x-api-key"] = stack.key
    return stack.invoke(next(PAYLOADS[prefix] for prefix in PAYLOADS if name.startswith(f"{prefix}_")), event)


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_every_sample_is_understood_by_its_handler(stack: Stack, name: str) -> None:
    """Each payload of `events/` is fed to the function it is named for, and gets the answer of one that knows it."""
    for before in BEFORE.get(name, ()):
        assert answer_to(stack, before)["statusCode"] == 200

    answer = answer_to(stack, name)

    if "statusCode" in (answer or {}):
        expected = {"status_default": {405}, **{sample: {404} for sample in NAMES_NOTHING}}
        assert answer["statusCode"] in expected.get(name, {200, 201, 202}), answer
    elif name.startswith("on_event") or name == "lifecycle_runs_stream":
        assert answer == {"batchItemFailures": []}
    elif name == "admin_create_first_key":
        assert answer["key"].startswith("zt_")
    elif name == "admin_settle_schedules":
        assert answer["settled"] >= 0
    else:
        assert answer is None
