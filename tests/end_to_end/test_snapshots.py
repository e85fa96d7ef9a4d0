"""Snapshots: each runs the code, and gets the secrets, that it was published with."""

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Product

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

SOURCE = (Path(__file__).parent / "user_project" / "versions.py").read_text("utf-8")
SECRET = "correct horse battery staple"


def told(run: dict[str, Any]) -> Any:
    """Give what a run's step said."""
    assert run["status"] == "succeeded", run
    (output,) = run["outputs"]
    return output["value"]


def test_each_version_runs_its_own_code(product: Product) -> None:
    """Also the first, after the second exists; and a secret reaches the tasks of the snapshot that declares it."""
    secret = product.client("secretsmanager").create_secret(Name="pipelines/token", SecretString=SECRET)["ARN"]
    module = product.project / "versions.py"
    module.write_text(SOURCE, "utf-8")
    product.publish("versions", "--name", "first")
    module.write_text(SOURCE.replace("version one", "version two"), "utf-8")
    product.publish("versions", "--tag", "later", "--secret", f"TOKEN={secret}")

    asked: dict[str, dict[str, Any]] = {
        "by name": {"snapshot": "first", "steps": {"tell": {"parameters": {"greeting": "good morning", "times": 2}}}},
        "by tag": {"snapshot": "tag:later"},
        "newest": {"parameters": {"greeting": "good evening"}},
    }
    started = {}
    for way, request in asked.items():
        answer = product.call("POST", "/runs", {"pipeline": "versions_pipeline"} | request)
        assert answer.status_code == 202, answer.text
        started[way] = answer.json()["run_id"]
    runs = {way: product.end(run_id) for way, run_id in started.items()}

    assert told(runs["by name"]) == "good morning good morning from version one, 0"
    assert told(runs["by tag"]) == f"hello from version two, {len(SECRET)}"
    assert told(runs["newest"]) == f"good evening from version two, {len(SECRET)}"
    assert [run["snapshot"] for run in runs.values()] == [
        "versions_pipeline:1", "versions_pipeline:2", "versions_pipeline:2",
    ]  # fmt: skip
    assert SECRET not in str(runs)
    shown = product.call("GET", "/snapshots/versions_pipeline:1").json()
    assert shown["runs"]["success_rate"] == 1.0
    assert shown["runs"]["last"]["run_id"] == started["by name"]
