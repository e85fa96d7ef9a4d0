"""The HTTP API over HTTP: what callers send, rightly and wrongly, and what they get."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest

from tests.factories import TASK, TRAINING
from tests.integration.stack.conftest import Stack, sample
from zentrigger.api import OPERATIONS
from zentrigger.runs import Output, Report, RunError, StepProgress, Timings

STEPS = (StepProgress(name="load_data", status="completed"),)
SUCCESS = Report(
    outcome="succeeded", outputs=(Output(name="metrics", step="evaluate", value={"f1": 0.9}),), steps=STEPS
)
FAILURE = Report(
    outcome="failed",
    reason="pipeline_failed",
    message="Step load_data raised ValueError: no table.",
    error=RunError(step="load_data", type="ValueError", message="no table", traceback="Traceback …"),
)


def test_a_run_from_call_to_outputs(stack: Stack) -> None:
    """Answered at once, followed, succeeded, with outputs; its end is published and its slot free."""
    answer = stack.call(
        "POST", "/runs", {"pipeline": TRAINING.pipeline, "parameters": {"test_size": 0.3}, "tags": ["ü"]}
    )

    assert answer.status_code == 202
    run = answer.json()
    assert answer.headers["Location"] == f"/runs/{run['run_id']}"
    assert int(answer.headers["Retry-After"]) > 0
    assert run["status"] in ("starting", "queued")
    stack.finish(run["run_id"], SUCCESS)
    ended = stack.ended(run["run_id"])
    assert ended["status"] == "succeeded"
    assert ended["outputs"][0]["value"] == {"f1": 0.9}
    assert ended["progress"]["steps"][0]["name"] == "load_data"
    assert ended["parameters"] == {"data_url": "data.csv", "model_type": "random_forest", "test_size": 0.3}
    assert ended["tags"] == ["ü"]
    assert ended["task_arn"].startswith("arn:aws:ecs:")


def test_a_failure_says_where_and_why(stack: Stack) -> None:
    """Reason, sentence and the pipeline's own error."""
    run = stack.post_run()
    stack.finish(run["run_id"], FAILURE)

    ended = stack.ended(run["run_id"])

    assert (ended["status"], ended["reason"]) == ("failed", "pipeline_failed")
    assert ended["error"]["type"] == "ValueError"


def test_the_tutorials_body_works_unchanged(stack: Stack) -> None:
    """As the tutorial's pages send it: with parameters, and with steps."""
    for body in (
        {
            "pipeline_name": TRAINING.pipeline,
            "parameters": {"data_url": "s3://b/k.csv", "model_type": "gradient_boosting"},
        },
        json.loads(sample("trigger_post_trigger")["body"]),
    ):
        answer = stack.call("POST", "/trigger", body)
        assert answer.status_code == 202, answer.text
        run = stack.get_run(answer.json()["run_id"])
        assert run["parameters"]["model_type"] == "gradient_boosting"
        assert run["parameters"]["data_url"].startswith("s3://")
        assert run["steps"] == {}


def test_the_same_key_is_the_same_run(stack: Stack) -> None:
    """Also for many at once; another body is refused, with the run that has the key."""
    body = {"pipeline": TRAINING.pipeline}
    headers = {"Idempotency-Key": "order-1"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: stack.call("POST", "/runs", body, headers=headers), range(8)))
    (run_id,) = {answer.json()["run_id"] for answer in answers}
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len(stack.tasks_of(run_id)) == 1

    clash = stack.call("POST", "/runs", body | {"tags": ["x"]}, headers=headers)
    assert clash.status_code == 422
    assert run_id in clash.json()["detail"]


def test_more_than_the_slots_wait_and_start_in_order_and_then_are_refused(stack: Stack) -> None:
    """4 start, 2 wait, the 7th is 429 with Retry-After; a freed slot goes to the first who waits."""
    runs = [stack.post_run() for _ in range(6)]
    assert [run["status"] for run in runs] == ["starting"] * 4 + ["queued"] * 2
    refused = stack.call("POST", "/runs", {"pipeline": TRAINING.pipeline})
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0

    stack.finish(runs[0]["run_id"], SUCCESS)

    assert stack.task_of(runs[4]["run_id"])
    assert stack.get_run(runs[5]["run_id"])["status"] == "queued"


@pytest.fixture
def _unlimited(stack: Stack) -> Iterator[None]:
    """Take away what limit a test has set."""
    yield
    assert stack.call("PATCH", LIMITED, {"max_active_runs": None}).status_code == 200


LIMITED = f"/pipelines/{TRAINING.pipeline}"


@pytest.mark.usefixtures("_unlimited")
def test_a_pipeline_is_limited_paused_and_let_go(stack: Stack) -> None:
    """Runs beyond its limit wait although the stack has slots; when the limit is gone, the sweep starts them."""
    answer = stack.call("PATCH", LIMITED, {"max_active_runs": 1})
    assert answer.status_code == 200
    assert answer.json()["name"] == TRAINING.pipeline
    assert answer.json()["capacity"] == {"active_runs": 0, "waiting_runs": 0, "max_active_runs": 1}
    active, waiting = stack.post_run(), stack.post_run()
    assert (active["status"], waiting["status"]) == ("starting", "queued")
    assert stack.call("GET", LIMITED).json()["capacity"] == {
        "active_runs": 1,
        "waiting_runs": 1,
        "max_active_runs": 1,
    }
    tried = stack.call("POST", "/runs?dry_run=true", {"pipeline": TRAINING.pipeline}).json()
    assert (tried["would"], tried["capacity"]["pipeline"]["max_active_runs"]) == ("queue", 1)

    assert stack.call("PATCH", LIMITED, {"max_active_runs": 0}).json()["capacity"]["max_active_runs"] == 0
    stack.finish(active["run_id"], SUCCESS)
    stack.ended(active["run_id"])
    stack.invoke("LifecycleFunction", sample("lifecycle_sweep"))
    assert stack.get_run(waiting["run_id"])["status"] == "queued"

    stack.call("PATCH", LIMITED, {"max_active_runs": None})
    stack.invoke("LifecycleFunction", sample("lifecycle_sweep"))
    assert stack.task_of(waiting["run_id"])


def test_one_run_of_a_key_at_a_time(stack: Stack) -> None:
    """A further one waits for it, is skipped, or is refused; the other key's are none of its concern."""
    key = {"key": "customer-7"}
    first = stack.post_run(concurrency=key)
    waiting = stack.post_run(concurrency=key)
    skipped = stack.call(
        "POST", "/runs", {"pipeline": TRAINING.pipeline, "concurrency": key | {"on_conflict": "skip"}}
    ).json()
    refused = stack.call(
        "POST", "/runs", {"pipeline": TRAINING.pipeline, "concurrency": key | {"on_conflict": "reject"}}
    )

    assert (first["status"], waiting["status"]) == ("starting", "queued")
    assert (skipped["status"], skipped["reason"]) == ("cancelled", "skipped_overlap")
    assert refused.status_code == 409
    assert "customer-7" in refused.json()["detail"]
    assert "Retry-After" not in refused.headers
    assert stack.tasks_of(skipped["run_id"]) == []
    stack.finish(first["run_id"], SUCCESS)
    assert stack.task_of(waiting["run_id"])


def test_a_pipeline_is_attempted_again(stack: Stack) -> None:
    """With each attempt's story; the run goes on under its id, and fails for good when its attempts are spent."""
    run = stack.post_run(retry={"max_attempts": 2, "backoff_seconds": 0, "on": ["ValueError"]}, priority=3)
    stack.finish(run["run_id"], FAILURE)
    again = stack.wait(lambda: shown if (shown := stack.get_run(run["run_id"]))["attempt"] == 2 else None)
    assert again["ended_at"] is None

    task = stack.wait(lambda: found[1] if len(found := stack.tasks_of(run["run_id"])) == 2 else None)
    stack.tasks.run(task.arn)
    stack.runs().claim(run["run_id"], 2, task.arn, Timings(pulled_at=datetime.now(UTC)))
    assert stack.runs().report(run["run_id"], 2, task.arn, FAILURE)

    ended = stack.ended(run["run_id"])
    assert (ended["status"], ended["reason"]) == ("failed", "pipeline_failed")
    stories = [(one["number"], one["outcome"], one["error_type"]) for one in ended["attempts"]]
    assert stories == [(1, "failed", "ValueError"), (2, "failed", "ValueError")]
    assert ended["attempts"][1]["task_arn"] == task.arn
    moments = [moment for moment in ended["timings"].values() if moment]
    assert moments == sorted(moments)
    assert ended["timings"]["pulled_at"]
    assert ended["timings"]["claimed_at"]


def test_cancelling_at_each_status(stack: Stack) -> None:
    """Queued: at once. Starting and running: when the task has stopped. Ended: 409."""
    runs = [stack.post_run() for _ in range(5)]
    running, starting, queued = runs[0], runs[1], runs[4]
    stack.claim(running["run_id"])
    for run in (queued, starting, running):
        answer = stack.call("DELETE", f"/runs/{run['run_id']}")
        assert answer.status_code == 202
        assert answer.json()["cancel_requested_at"]
        assert stack.ended(run["run_id"])["status"] == "cancelled"
        assert stack.call("DELETE", f"/runs/{run['run_id']}").status_code == 409


def test_a_killed_task_ends_its_run(stack: Stack) -> None:
    """By ECS's event, with the true reason."""
    run = stack.post_run()
    stack.tasks.exit(stack.claim(run["run_id"]), 137)

    ended = stack.ended(run["run_id"])

    assert (ended["status"], ended["reason"]) == ("failed", "task_killed")


def test_waiting_for_a_change(stack: Stack) -> None:
    """`wait` answers when the run changes; `If-None-Match` of what is known gives 304."""
    run = stack.post_run()
    stack.task_of(run["run_id"])
    first = stack.call("GET", f"/runs/{run['run_id']}")
    etag = {"If-None-Match": first.headers["ETag"]}
    assert stack.call("GET", f"/runs/{run['run_id']}?wait=1", headers=etag).status_code == 304
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stack.call, "GET", f"/runs/{run['run_id']}?wait=20", headers=etag)
        stack.claim(run["run_id"])
        answer = waiting.result()
    assert answer.json()["status"] == "running"
    assert answer.elapsed.total_seconds() < 10


def test_logs_are_paged(stack: Stack) -> None:
    """Lines of the task's stream, and a cursor for what comes after."""
    run = stack.post_run()
    assert stack.call("GET", f"/runs/{run['run_id']}/logs").json()["items"] == []
    arn = stack.claim(run["run_id"])
    logs, group = stack.client("logs"), stack.cloud.stack.resources["TaskLogGroup"].physical_id
    stream = f"run/runner/{arn.rsplit('/', 1)[-1]}"
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    moment = int(time.time() * 1000)
    lines = [{"timestamp": moment + number, "message": f"line {number}"} for number in range(3)]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=lines)

    page = stack.call("GET", f"/runs/{run['run_id']}/logs?limit=2").json()

    assert [item["line"] for item in page["items"]] == ["line 0", "line 1"]
    rest = stack.call("GET", f"/runs/{run['run_id']}/logs", params={"cursor": page["next"]}).json()
    assert [item["line"] for item in rest["items"]] == ["line 2"]
    first = stack.call("GET", f"/runs/{run['run_id']}/logs?attempt=1").json()["items"]
    assert [item["line"] for item in first] == ["line 0", "line 1", "line 2"]
    for wrong in ("attempt=2", "attempt=0", "attempt=x", "task=1"):
        assert stack.call("GET", f"/runs/{run['run_id']}/logs?{wrong}").status_code == 422


def test_discovery(stack: Stack) -> None:
    """Pipelines are listed and shown, with a request that works."""
    assert TRAINING.pipeline in [item["name"] for item in stack.call("GET", "/pipelines").json()["items"]]
    shown = stack.call("GET", f"/pipelines/{TRAINING.pipeline}").json()
    assert shown["parameters_schema"] == TRAINING.parameters_schema
    assert stack.call("POST", "/runs", shown["example"]["request"]).status_code == 202


def test_publishing_again_and_anew(stack: Stack) -> None:
    """The same content is the same snapshot; another gets the next number. Names may be in any script."""
    content = TRAINING.model_dump(mode="json") | {"pipeline": "größe 予測"}
    answers = [
        stack.call("POST", "/snapshots", content | {"description": text, "zenml_version": text[0]})
        for text in ("a1", "a2", "b")
    ]
    assert [(answer.status_code, answer.json()["number"]) for answer in answers] == [(201, 1), (200, 1), (201, 2)]
    assert stack.call("GET", "/pipelines/gr%C3%B6%C3%9Fe%20%E4%BA%88%E6%B8%AC").json()["description"] == "b"


def test_from_pipeline_to_snapshot_to_run(stack: Stack) -> None:
    """As ZenML's walk-through goes: find the pipeline, find the snapshot, run it with parameters of steps.

    With a name that must be escaped everywhere; then what may be changed of a snapshot, and what may not.
    """
    name = "größe: [1] 予測"
    body = TRAINING.model_dump(mode="json") | {"pipeline": name, "name": "first one", "tags": ["nightly"]}
    assert stack.call("POST", "/snapshots", body).status_code == 201
    (found,) = stack.call("GET", f"/pipelines?name={quote(name)}&tag=nightly").json()["items"]
    (snapshot,) = stack.call("GET", found["links"]["snapshots"] + "?name=first+one").json()["items"]
    assert (snapshot["id"], snapshot["newest"]) == (f"{name}:1", True)
    steps = {"train_model": {"parameters": {"model_type": "gradient_boosting"}}}
    answer = stack.call("POST", snapshot["links"]["runs"], {"steps": steps})
    assert answer.status_code == 202, answer.text
    run = answer.json()
    assert run["snapshot"] == snapshot["id"]
    stack.finish(run["run_id"], SUCCESS)
    stack.ended(run["run_id"])
    shown = stack.call("GET", snapshot["links"]["self"]).json()
    assert shown["parameters_schema"] == TRAINING.parameters_schema
    assert shown["runs"]["last"]["run_id"] == run["run_id"]
    assert shown["runs"]["success_rate"] == 1.0
    assert stack.call("POST", "/runs", shown["example"]["request"]).status_code == 202

    refused = stack.call("DELETE", snapshot["links"]["self"])
    assert refused.status_code == 409
    assert [wrong["pointer"] for wrong in refused.json()["errors"]] == ["/names/first one"]
    patched = stack.call("PATCH", snapshot["links"]["self"], {"name": None, "description": "d"})
    assert (patched.status_code, patched.json()["name"], patched.json()["description"]) == (200, None, "d")
    assert stack.call("DELETE", snapshot["links"]["self"]).status_code == 204
    assert stack.call("GET", snapshot["links"]["self"]).status_code == 404
    (entry, renamed, _) = stack.call("GET", found["links"]["changes"]).json()["items"]
    assert (entry["action"], entry["snapshot"], entry["newest"]) == ("deleted", f"{name}:1", None)
    assert (renamed["action"], renamed["moved"]) == (
        "updated",
        [{"choice": "first one", "from": f"{name}:1", "to": None}],
    )
    assert stack.call("POST", "/runs", {"pipeline": name}).status_code == 404
    assert stack.get_run(run["run_id"])["image"] == TRAINING.image


SECRET = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x"
S3_TRIGGER = {"type": "s3", "pipeline": TRAINING.pipeline}
WRONG: list[tuple[str, str, Any, dict[str, str], int, str]] = [
    ("POST", "/runs", "{", {}, 400, "not JSON"),
    ("POST", "/runs", '{"pipeline": NaN}', {}, 400, "NaN"),
    ("POST", "/runs", '{"pipeline": "\\ud800"}', {}, 400, "surrogate"),
    ("POST", "/runs", b"\xff\xfe{}", {}, 400, ""),
    ("POST", "/runs", "pipeline=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json"),
    ("POST", "/runs", "{}", {"Content-Type": "text/plain"}, 415, ""),
    ("POST", "/runs", {"pipeline": "nobody"}, {}, 404, "publish"),
    ("POST", "/runs", {"pipeline": "a\x00b"}, {}, 422, ""),
    ("POST", "/runs", {"pipeline": "cafe\u0301"}, {}, 422, "NFC"),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "parameters": {"test_size": 10**308}}, {}, 400, "too large"),
    ("GET", "/runs?cursor=e30", None, {}, 422, "cursor"),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "parameter": {}}, {}, 422, "Known"),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "parameters": {"modle_type": "x"}}, {}, 422, "Did you mean"),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "parameters": {"test_size": "x"}}, {}, 422, ""),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "steps": {"train": {}}}, {}, 422, "Did you mean"),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "parameters": {"data_url": "x" * 300_000}}, {}, 413, "S3"),
    ("POST", "/runs", {"pipeline": "x" * 2_000_000}, {}, 413, ""),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline}, {"Idempotency-Key": "x" * 201}, 422, "Idempotency-Key"),
    ("POST", "/trigger", {"pipeline_name": TRAINING.pipeline, "config_path": "x.yaml"}, {}, 422, "path"),
    ("POST", "/trigger", {"pipeline": TRAINING.pipeline}, {}, 422, ""),
    ("GET", "/runs/nobody", None, {}, 404, "no run"),
    ("GET", "/runs?pipline=x", None, {}, 422, "pipline"),
    ("GET", "/runs?status=done", None, {}, 422, "succeeded"),
    ("GET", "/runs?cursor=x", None, {}, 422, "cursor"),
    ("GET", "/runs?limit=-1", None, {}, 422, "limit"),
    ("GET", "/runs?limit=0", None, {}, 422, "limit"),
    ("GET", "/pipelines/%E2%98%83", None, {}, 404, ""),
    ("GET", "/runs/%00", None, {}, 404, ""),
    ("POST", "/runs?dry_run=yes", {"pipeline": TRAINING.pipeline}, {}, 422, "dry_run"),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "parameters": {"data_url": "${HOME}"}}, {}, 422, "${NAME}"),
    ("POST", "/snapshots", TRAINING.model_dump(mode="json") | {"parameters_schema": {"type": "x"}}, {}, 422, ""),
    ("POST", "/snapshots", TRAINING.model_dump(mode="json") | {"parameters_schema": {"x": "y" * 400_000}}, {}, 413, ""),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "priority": 11}, {}, 422, "/priority"),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "concurrency": {"key": "x" * 201}}, {}, 422, "/concurrency/key"),
    ("POST", "/runs", {"pipeline": TRAINING.pipeline, "retry": {"max_attempts": 0}}, {}, 422, "/retry/max_attempts"),
    ("PATCH", "/pipelines/nobody", {"max_active_runs": 1}, {}, 404, "publish"),
    ("PATCH", "/pipelines/training_pipeline", {}, {}, 422, "/max_active_runs"),
    ("PATCH", "/pipelines/training_pipeline", {"max_active_runs": -1}, {}, 422, "/max_active_runs"),
    ("PATCH", "/pipelines/training_pipeline?dry_run=true", {"max_active_runs": 1}, {}, 422, "dry_run"),
    ("POST", "/pipelines/training_pipeline", {"max_active_runs": 1}, {}, 405, "GET, PATCH"),
    ("GET", "/pipelines/nobody", None, {}, 404, "publish"),
    ("GET", "/pipelines/nobody/snapshots", None, {}, 404, "publish"),
    ("GET", "/pipelines/nobody/changes", None, {}, 404, "publish"),
    ("GET", "/pipelines/" + "n" * 3000, None, {}, 404, "publish"),
    ("GET", "/pipelines?nam=x", None, {}, 422, "name"),
    ("GET", "/pipelines?limit=0", None, {}, 422, "limit"),
    ("GET", "/pipelines?cursor=x", None, {}, 422, "cursor"),
    ("GET", "/snapshots/nobody:1", None, {}, 404, "no snapshot"),
    ("GET", "/snapshots/training_pipeline", None, {}, 404, "no snapshot"),
    ("PATCH", "/snapshots/training_pipeline:999", {"name": "x"}, {}, 404, "no snapshot"),
    ("PATCH", "/snapshots/training_pipeline:1", {"name": "1"}, {}, 422, "digits"),
    ("PATCH", "/snapshots/training_pipeline:1", {"source": "x"}, {}, 422, "Known"),
    ("DELETE", "/snapshots/training_pipeline:999", None, {}, 404, "no snapshot"),
    ("POST", "/snapshots?dry_run=true", TRAINING.model_dump(mode="json"), {}, 422, "dry_run"),
    ("POST", "/snapshots", TRAINING.model_dump(mode="json") | {"image": "i:latest"}, {}, 422, "/image"),
    ("POST", "/snapshots", TRAINING.model_dump(mode="json") | {"secrets": {"A": SECRET}}, {}, 422, "SecretArns"),
    ("DELETE", "/runs/nobody", None, {}, 404, ""),
    ("GET", "/nowhere", None, {}, 404, "/docs"),
    ("GET", "/", None, {}, 404, ""),
    ("PATCH", "/runs", None, {}, 405, "GET, POST"),
    ("POST", "/runs/x", None, {}, 405, "DELETE, GET"),
    ("POST", "/keys", {"name": "n", "scopes": ["root"]}, {}, 422, ""),
    ("POST", "/snapshots", {"pipeline": "p", "source": "no colon"}, {}, 422, ""),
    ("PUT", "/triggers/Bad Name", {"type": "s3", "pipeline": TRAINING.pipeline}, {}, 422, ""),
    ("PUT", "/triggers/t", {"type": "s3", "pipeline": "nobody"}, {}, 404, "Publish"),
    ("PUT", "/triggers/t", S3_TRIGGER | {"parameters": {"x": "{object.key}"}}, {}, 422, "no parameter"),
    ("PUT", "/triggers/t", S3_TRIGGER | {"parameters": {"data_url": "{nothing}"}}, {}, 422, "nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "said"), WRONG)
def test_wrong_requests_have_their_answer(  # noqa: PLR0913, PLR0917 - one parameter a column
    stack: Stack, method: str, path: str, body: Any, headers: dict[str, str], status: int, said: str
) -> None:
    """A problem with status, title and a detail that says what to do; nothing is recorded."""
    before = stack.call("GET", "/runs?limit=1").json()["items"]
    if isinstance(body, str | bytes):
        answer = stack.call(method, path, data=body, headers={"Content-Type": "application/json"} | headers)
    else:
        answer = stack.call(method, path, body, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert said in json.dumps(problem)
    assert stack.call("GET", "/runs?limit=1").json()["items"] == before


def test_wrong_methods_name_the_right_ones(stack: Stack) -> None:
    """405 with Allow (RFC 9110)."""
    assert stack.call("PUT", "/runs").headers["Allow"] == "GET, POST"


def test_keys_are_needed_and_scoped(stack: Stack) -> None:
    """No key, a wrong, a cut and a deleted one: 401. A key without the scope: 403. Bearer works, too."""
    made = stack.call("POST", "/keys", {"name": "reader", "scopes": ["read"]}).json()
    assert stack.call("GET", "/runs", key=None).status_code == 401
    for key in ("hunter2", made["key"][:-1], made["key"].replace("_", "-")):
        answer = stack.call("GET", "/runs", key=key)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"]
        assert key not in answer.text
    assert stack.call("GET", "/runs", key=made["key"]).status_code == 200
    bearer = stack.call("GET", "/runs", key=None, headers={"Authorization": f"Bearer {made['key']}"})
    assert bearer.status_code == 200
    assert stack.call("POST", "/runs", {"pipeline": TRAINING.pipeline}, key=made["key"]).status_code == 403
    assert stack.call("GET", "/keys", key=made["key"]).status_code == 403
    assert stack.call("PATCH", LIMITED, {"max_active_runs": 0}, key=made["key"]).status_code == 403
    listed = stack.call("GET", "/keys").text
    assert made["id"] in listed
    assert made["key"] not in listed
    assert stack.call("DELETE", f"/keys/{made['id']}").status_code == 204
    assert stack.call("DELETE", f"/keys/{made['id']}").status_code == 404


def test_every_operation_that_needs_a_key_refuses_without(stack: Stack) -> None:
    """Whatever else is wrong with the call."""
    for operation in OPERATIONS:
        path = operation.path.replace("{", "").replace("}", "")
        answer = stack.call(operation.method, path, key=None)
        assert (answer.status_code == 401) == (operation.scope is not None), (operation, answer.text)


def test_a_body_of_ten_megabytes_is_refused_by_somebody(stack: Stack) -> None:
    """By the gateway with its own body, below that by us."""
    for size, problem in ((11_000_000, False), (5_000_000, True)):
        answer = stack.call("POST", "/runs", data="x" * size, headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
        assert ("title" in answer.json()) == problem


def test_no_key_is_in_any_log(stack: Stack) -> None:
    """Neither the operator's, nor one that was wrong."""
    wrong = "zt_0123456789_" + "z" * 47
    stack.call("GET", "/runs", key=wrong)
    stack.post_run()
    for log in stack.cloud.log_folder.rglob("*.log"):
        text = log.read_text("utf-8", "replace")
        assert stack.key not in text, log
        assert wrong not in text, log


def test_documents_are_open(stack: Stack) -> None:
    """The API says what it is, without a key."""
    assert stack.call("GET", "/health", key=None).json() == {"status": "ok"}
    assert stack.call("GET", "/openapi.json", key=None).json()["openapi"].startswith("3.1")
    assert "swagger" in stack.call("GET", "/docs", key=None).text.lower()


def test_a_task_of_nobody_is_nobodys_concern(stack: Stack) -> None:
    """Events of other tasks in the cluster end nothing and fail nothing."""
    event = sample("lifecycle_task_state_change")
    assert stack.invoke("LifecycleFunction", event) is None
    event["detail"]["startedBy"] = "ecs-svc/1234"
    event["detail"]["taskArn"] = TASK
    assert stack.invoke("LifecycleFunction", event) is None
