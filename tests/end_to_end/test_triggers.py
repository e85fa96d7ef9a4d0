"""Pipelines that start each other: what one has made reaches the next, and who led to whom is known from both ends."""

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Product

Json = dict[str, Any]

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

SOURCE = Path(__file__).parent / "user_project" / "chain.py"

DATASET = "{run.outputs.create_dataset.dataset.%s}"
WEIGHTS = "{run.outputs.train_with_artifact.weights.%s}"
TRIGGERS: Json = {
    "train-on-dataset": {
        "type": "run",
        "pipeline": "training_with_artifact_pipeline",
        "of": {"pipeline": "dataset_pipeline"},
        "parameters": {"dataset_artifact_id": DATASET % "artifact_id", "dataset_uri": DATASET % "uri"},
    },
    "report-on-training": {
        "type": "run",
        "pipeline": "report_pipeline",
        "of": {"trigger": "train-on-dataset"},
        "parameters": {
            "weights_artifact_id": WEIGHTS % "artifact_id",
            "weights_uri": WEIGHTS % "uri",
            "rows": "{run.outputs.train_with_artifact.metrics.value.rows}",
            "artifact_ids": ["{run.parameters.dataset_artifact_id}", WEIGHTS % "artifact_id"],
        },
    },
}


def output(run: Json, name: str) -> Json:
    """Give an output of a run that has succeeded."""
    assert run["status"] == "succeeded", run
    return next(one for one in run["outputs"] if one["name"] == name)


def test_a_chain_of_three_pipelines_passes_artifacts_along(product: Product) -> None:
    """Each starts at the end of the one before, and loads what that has made; the third knows the first's id, too."""
    (product.project / "chain.py").write_text(SOURCE.read_text("utf-8"), "utf-8")
    product.publish("chain")
    applied = product.call("PUT", "/triggers", {"triggers": TRIGGERS})
    assert applied.status_code == 200, applied.text

    first = product.end(product.start("dataset_pipeline", rows=5))
    second = product.end(product.wait(lambda: _started_by(product, first)))
    third = product.end(product.wait(lambda: _started_by(product, second)))

    dataset, weights = output(first, "dataset"), output(second, "weights")
    assert dataset["uri"].startswith(f"s3://{product.cloud.outputs['ArtifactBucket']}/runs/{first['run_id']}/")
    assert second["parameters"] == {"dataset_artifact_id": dataset["artifact_id"], "dataset_uri": dataset["uri"]}
    assert output(second, "metrics")["value"] == {"rows": 5}
    assert output(third, "output")["value"] == {
        "weight": 15.0,
        "rows": 5,
        "artifact_ids": [dataset["artifact_id"], weights["artifact_id"]],
    }
    assert [run["source"]["type"] for run in (first, second, third)] == ["http", "run", "run"]
    # From the end to the beginning, and back.
    assert third["source"]["run_id"] == second["run_id"]
    assert second["source"]["run_id"] == first["run_id"]
    assert third["source"]["chain"] == ["train-on-dataset", "report-on-training"]
    down = [product.run(run["run_id"])["downstream"] for run in (first, second, third)]
    assert [[one["run_id"] for one in runs] for runs in down] == [[second["run_id"]], [third["run_id"]], []]
    assert [one["trigger"] for one in (*down[0], *down[1])] == third["source"]["chain"]


def _started_by(product: Product, run: Json) -> str | None:
    """Give the run that another's end has started, if it is there yet."""
    downstream = product.run(run["run_id"])["downstream"]
    return downstream[0]["run_id"] if downstream else None
