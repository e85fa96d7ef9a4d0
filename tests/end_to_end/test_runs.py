"""Runs from every way in, to their outputs; and what misbehaves, to its defined end."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from tests.end_to_end.conftest import ROOT, Product, processes

Json = dict[str, Any]
DATASET = ROOT / "pipelines" / "data" / "breast_cancer.csv"

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]


def metrics(run: Json) -> Json:
    """Give the metrics of a training run."""
    assert run["status"] == "succeeded", run
    return next(output["value"] for output in run["outputs"] if output["name"] == "metrics")


def log_of(product: Product, run: Json) -> str:
    """Give what a run has printed."""
    answer = product.call("GET", f"/runs/{run['run_id']}/logs")
    assert answer.status_code == 200, answer.text
    return answer.text


def test_eight_at_the_same_time_all_succeed(product: Product) -> None:
    """The tutorial's server fails three of eight; here each run is a task of its own."""

    def start(number: int) -> str:
        if number % 2:
            return product.start("training_pipeline", random_state=number)
        body = {"pipeline_name": "training_pipeline", "parameters": {"model_type": "gradient_boosting"}}
        answer = product.call("POST", "/trigger", body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["run_id"])

    with ThreadPoolExecutor(8) as pool:
        runs = [product.end(run_id, 200) for run_id in pool.map(start, range(8))]

    for run in runs:
        assert metrics(run)["accuracy"] > 0.9
        assert [step["name"] for step in run["progress"]["steps"]] == [
            "load_data",
            "preprocess",
            "train_model",
            "evaluate",
        ]
        assert {step["status"] for step in run["progress"]["steps"]} == {"completed"}
        assert run["zenml_run_id"]


def test_the_tutorials_pipeline_runs_unchanged(product: Product) -> None:
    """In a module of a user's own: published, and run with the tutorial's own body. It says where its time went."""
    assert "tutorial_pipeline" in product.publish("tutorial")
    steps = {"train_model": {"parameters": {"model_type": "gradient_boosting"}}}

    answer = product.call("POST", "/trigger", {"pipeline_name": "tutorial_pipeline", "steps": steps})

    assert answer.status_code == 202, answer.text
    run = product.end(answer.json()["run_id"])
    assert run["status"] == "succeeded", run
    (evaluated,) = [output for output in run["outputs"] if isinstance(output["value"], dict)]
    assert evaluated["step"] == "evaluate"
    assert "accuracy" in evaluated["value"]
    assert "Training a gradient_boosting model..." in log_of(product, run)
    timings = run["timings"]
    assert None not in timings.values()
    phases = ("pulled_at", "container_started_at", "claimed_at", "first_step_at", "ended_at")
    assert [timings[phase] for phase in phases] == sorted(timings[phase] for phase in phases)


def test_an_overwritten_object_is_read_again(product: Product, tmp_path: Path) -> None:
    """Single and multipart uploads under the watched prefix; the second run sees the new bytes."""
    s3, bucket = product.client("s3"), product.cloud.outputs["DataBucket"]
    key = "incoming/größe + 1% #2?.csv"
    longer = tmp_path / "longer.csv"
    header, *rows = DATASET.read_text("utf-8").splitlines()
    longer.write_text("\n".join([header, *rows * 80]) + "\n", "utf-8")

    def newest(count: int) -> str | None:
        items = product.call("GET", "/runs?trigger=arrivals").json()["items"]
        mine = [item["run_id"] for item in items if item["source"]["key"] == key]
        return mine[0] if len(mine) == count else None

    s3.upload_file(str(DATASET), bucket, key)
    older = product.end(product.wait(lambda: newest(1)))
    s3.upload_file(str(longer), bucket, key, Config=TransferConfig(multipart_threshold=5 * 1024**2))
    newer = product.end(product.wait(lambda: newest(2)))

    assert older["source"] == older["source"] | {"type": "s3", "bucket": bucket, "key": key, "trigger": "arrivals"}
    assert metrics(older)["rows"] == len(rows)
    assert metrics(newer)["rows"] == len(rows) * 80


def test_an_object_that_is_no_table_fails_its_run(product: Product) -> None:
    """With the step, the URL and what to do."""
    bucket = product.cloud.outputs["DataBucket"]
    product.client("s3").put_object(Bucket=bucket, Key="incoming/picture.csv", Body=os.urandom(5000))

    def mine() -> str | None:
        items = product.call("GET", "/runs?trigger=arrivals").json()["items"]
        return next((item["run_id"] for item in items if item["source"]["key"] == "incoming/picture.csv"), None)

    run = product.end(product.wait(mine))

    assert (run["status"], run["reason"]) == ("failed", "pipeline_failed")
    assert run["error"]["step"] == "load_data"
    assert f"s3://{bucket}/incoming/picture.csv" in run["error"]["message"]


def test_a_model_of_an_earlier_run_predicts(product: Product) -> None:
    """Metrics stand in the training run's record, the model's URI, too; and that is all that batch inference needs."""

    def copies_of(run: Json) -> str:
        task_id = run["task_arn"].rpartition("/")[2]
        return f"s3://{product.cloud.outputs['ArtifactBucket']}/runs/{run['run_id']}/{task_id}"

    training = product.end(product.start("training_pipeline", test_size=0.3, model_type="gradient_boosting"))
    measured = metrics(training)
    assert measured["accuracy"] > 0.9
    assert (measured["rows"], measured["test_rows"], measured["columns"]) == (569, 171, 31)
    assert "gradient_boosting" in log_of(product, training)
    assert all(output["artifact_id"] for output in training["outputs"])
    model = next(output for output in training["outputs"] if output["name"] == "model")
    assert model["uri"] == f"{copies_of(training)}/train_model/model"

    run = product.end(
        product.start("batch_inference_pipeline", model_uri=model["uri"], data_url="pipelines/data/breast_cancer.csv")
    )

    assert run["status"] == "succeeded", run
    outputs = {output["name"]: output for output in run["outputs"]}
    assert outputs["summary"]["value"]["rows"] == 569
    assert outputs["predictions"]["uri"] == f"{copies_of(run)}/predict/predictions"


@pytest.fixture(scope="module")
def _misbehaving(product: Product) -> None:
    """Publish the pipeline that misbehaves as it is told."""
    product.publish("misbehaving")


@pytest.fixture(scope="module")
def misbehaved(product: Product, _misbehaving: None) -> dict[str, Json]:
    """Let all misbehave at once, and give how each ended."""
    manners = ("raise", "segfault", "exit", "print", "eat", "leave_children")
    started = {manner: product.start("misbehaving_pipeline", manner=manner) for manner in manners}
    return {manner: product.end(run_id, 200) for manner, run_id in started.items()}


@pytest.mark.parametrize(
    ("manner", "status", "reason", "said"),
    [
        ("raise", "failed", "pipeline_failed", "no such customer: größe"),
        ("segfault", "failed", "killed", "SIGSEGV"),
        ("exit", "failed", "result_missing", "exit code 0"),
        ("print", "succeeded", None, ""),
        ("eat", "failed", "out_of_memory", "memory"),
        ("leave_children", "succeeded", None, ""),
    ],
)
def test_what_misbehaves_has_its_defined_end(  # noqa: PLR0913, PLR0917 - one parameter a column
    product: Product,
    misbehaved: dict[str, Json],
    manner: str,
    status: str,
    reason: str | None,
    said: str,
) -> None:
    """A true status, a stable reason, a sentence; and no process is left."""
    run = misbehaved[manner]

    assert (run["status"], run["reason"]) == (status, reason), run
    assert said in (run["message"] or "")
    assert product.wait(lambda: not processes(run["run_id"]), 20)


@pytest.mark.usefixtures("_misbehaving")
@pytest.mark.parametrize(("victim", "reason"), [("runner.child", "killed"), ("-m runner", "task_killed")])
def test_kill_9_ends_the_run_with_the_true_reason(product: Product, victim: str, reason: str) -> None:
    """Of the runner's child and of its parent; no second task is started."""
    run_id = product.start("misbehaving_pipeline", manner="sleep")
    product.wait(lambda: any(step["status"] == "running" for step in product.run(run_id)["progress"]["steps"]))
    pids = [
        pid
        for pid, command in processes(run_id).items()
        if victim in command
        and "container_init" not in command
        and ("runner.child" in command) == (victim == "runner.child")
    ]
    assert len(pids) == 1, processes(run_id)

    os.kill(pids[0], signal.SIGKILL)

    run = product.end(run_id, 30)
    assert (run["status"], run["reason"], run["attempt"]) == ("failed", reason, 1)
    time.sleep(2)
    assert not processes(run_id)
    assert product.run(run_id)["status"] == "failed"


@pytest.mark.usefixtures("_misbehaving")
def test_cancelling_stops_the_pipeline(product: Product) -> None:
    """With SIGTERM, and the end is `cancelled`."""
    run_id = product.start("misbehaving_pipeline", manner="sleep")
    product.wait(lambda: any(step["status"] == "running" for step in product.run(run_id)["progress"]["steps"]))

    assert product.call("DELETE", f"/runs/{run_id}").status_code == 202

    assert product.end(run_id, 30)["status"] == "cancelled"
    assert product.wait(lambda: not processes(run_id), 20)


def test_the_schedule_starts_runs(product: Product) -> None:
    """At the minute that its expression names, and only then."""
    assert product.scheduled_at is not None
    (run,) = product.wait(lambda: product.call("GET", "/runs?trigger=nightly").json()["items"], seconds=150)

    assert run["source"]["type"] == "schedule"
    assert datetime.fromisoformat(run["source"]["scheduled_at"]) == product.scheduled_at
    assert product.end(run["run_id"])["status"] == "succeeded"


def test_every_slot_is_free_in_the_end(product: Product) -> None:
    """Whatever happened above: once nothing is active, nothing is counted."""

    def idle() -> bool:
        items = product.call("GET", "/runs?limit=100").json()["items"]
        return all(item["ended_at"] for item in items)

    def counted() -> dict[str, str]:
        key = {"run_id": {"S": "capacity#all"}, "part": {"S": "capacity"}}
        table = product.cloud.stack.resources["RunsTable"].physical_id
        item = product.client("dynamodb").get_item(TableName=table, Key=key)["Item"]
        return {name: item[name]["N"] for name in ("active_runs", "waiting_runs") if name in item}

    # The schedule may start another run between two looks.
    assert product.wait(lambda: idle() and set(counted().values()) <= {"0"}, 60)
