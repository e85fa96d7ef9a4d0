"""The commands of README.md, docs/snapshots.md and docs/triggers.md, run as they stand there, in order, as users do."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import ROOT, Product

AWS_CLI = "awscli==1.46.2"


def blocks(page: str) -> list[str]:
    """Give the commands of a page; what is not marked as bash needs an AWS account, or a reader's own names."""
    return re.findall(r"^```bash\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shell(product: Product, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the environment of a user's shell, with an `aws` on PATH that is kept apart from our packages."""
    programs = tmp_path_factory.mktemp("bin")
    aws = programs / "aws"
    uvx = Path(sys.executable).parent / "uvx"
    aws.write_text(f'#!/bin/sh\nexec "{uvx}" --quiet --from "{AWS_CLI}" aws "$@"\n', "utf-8")
    aws.chmod(0o755)
    return product.environment | {"PATH": f"{programs}:{product.environment['PATH']}"}


def run_blocks(page: str, shell: dict[str, str]) -> Iterator[str]:
    """Run all commands of a page, one block after the other; gives what each printed."""
    for block in blocks(page):
        done = subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", block],
            env=shell,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        assert "urn:zentrigger:problem" not in done.stdout or "modle_type" in block, (block, done.stdout)
        yield done.stdout


def started(product: Product) -> set[str]:
    """Give the runs that were asked for over HTTP and have not ended."""
    return {run["run_id"] for run in active(product) if run["source"]["type"] == "http"}


def active(product: Product) -> list[dict[str, Any]]:
    """Give the runs that have not ended."""
    items = product.call("GET", "/runs?limit=100").json()["items"]
    return [item for item in items if not item["ended_at"]]


def test_every_block_of_the_readme_does_what_it_says(product: Product, shell: dict[str, str]) -> None:
    """Each answers without an error of the shell, with the JSON that the text around it promises."""
    printed = []
    for text in run_blocks("README.md", shell):
        printed.append(text)
        if len(printed) < 3:  # the third one is followed
            product.cancel(json.loads(text)["run_id"])
    runs = [json.loads(text) for text in printed[:3]]
    assert {run["pipeline"] for run in runs} == {"training_pipeline"}
    assert "succeeded" in printed[3]
    assert "Did you mean 'model_type'?" in printed[4]

    def receipt() -> str | None:
        items = product.call("GET", "/triggers/arrivals/receipts").json()["items"]
        return next((item["run_id"] for item in items if item["key"] == "incoming/patients.csv"), None)

    ended = product.end(product.wait(receipt), 200)
    assert ended["status"] == "succeeded"
    assert ended["source"]["key"] == "incoming/patients.csv"


def test_every_block_about_snapshots_does_what_it_says(product: Product, shell: dict[str, str]) -> None:
    """ZenML's walk-through among them: the pipeline, its snapshot, a run of it with parameters of steps."""
    printed = []
    for text in run_blocks("docs/snapshots.md", shell):
        printed.append(text)
        awaited = {json.loads(printed[5])["run_id"]} if len(printed) > 5 else set()
        for run_id in started(product) - awaited:
            product.cancel(run_id)
    published, _careful, again, pipelines, snapshots, run, listed, *others = printed

    assert "production" in published
    assert "unchanged" in again
    assert [item["name"] for item in json.loads(pipelines)["items"]] == ["training_pipeline"]
    assert [item["name"] for item in json.loads(snapshots)["items"]] == ["production"]
    assert "nightly" in listed
    ended = product.end(json.loads(run)["run_id"], 200)
    assert ended["status"] == "succeeded", ended
    assert ended["snapshot"] == json.loads(snapshots)["items"][0]["id"]
    assert ended["parameters"]["model_type"] == "gradient_boosting"
    assert any("Did you mean 'model_type'?" in text for text in others)


@pytest.fixture
def _own_triggers(product: Product) -> Iterator[None]:
    """Delete what triggers a page made, so that no event of another test concerns them."""
    before = {one["name"]: one["definition"] for one in product.call("GET", "/triggers").json()["items"]}
    yield
    assert product.call("PUT", "/triggers", {"triggers": before, "prune": True}).status_code == 200


@pytest.mark.usefixtures("_own_triggers")
def test_every_block_about_triggers_does_what_it_says(product: Product, shell: dict[str, str]) -> None:
    """Each type starts a run; the end of one hands its model on to the next, which is followed to its end."""
    printed = []
    for text in run_blocks("docs/triggers.md", shell):
        printed.append(text)
        for run in active(product):
            # Not those of the schedule, which other tests wait for, nor the one that is followed to its end here.
            if run["source"]["trigger"] in (None, "approvals", "pushes", "tables"):
                product.cancel(run["run_id"])
    _tables, shown, paused, chained, downstream, called, pushed, _listed, _why, tried, applied, times, looped = printed

    assert receipt(product, "tables", "started")["key"] == "tables/2026/a b+c.csv"
    assert "weekdays\tENABLED" in shown
    assert json.loads(paused)["next_times"] == []
    assert "succeeded" in chained
    predicted = receipt(product, "predict", "started")
    assert predicted["run_id"] in str(product.run(predicted["upstream"])["downstream"])
    assert downstream.startswith("[")
    assert {output["name"] for output in product.end(predicted["run_id"], 200)["outputs"]} >= {"predictions", "summary"}
    approval = receipt(product, "approvals", "started")
    assert f'"receipt_id":"{approval["receipt_id"]}"' in called
    assert product.run(approval["run_id"])["parameters"]["test_size"] == 0.3
    ping, push = re.findall(r'"receipt_id":"([^"]+)"', pushed)
    assert receipt(product, "pushes", "not_matched")["receipt_id"] == ping
    assert receipt(product, "pushes", "started")["receipt_id"] == push
    refused = receipt(product, "tables", "not_matched")
    assert (refused["key"], refused["detail"]) == ("tables/new.CSV", "The key does not match 'tables/**/*.csv'.")
    assert "not_matched" in tried
    assert "+ monthly" in applied
    assert "deleted temporary" in times
    assert "training_pipeline" in looped
    assert product.call("GET", "/triggers/loop").status_code == 404


def receipt(product: Product, trigger: str, outcome: str) -> dict[str, Any]:
    """Wait for the receipt of a trigger with an outcome, which is to be the only one."""
    path = f"/triggers/{trigger}/receipts?outcome={outcome}"
    (found,) = product.wait(lambda: product.call("GET", path).json()["items"])
    return dict(found)


@pytest.mark.parametrize(
    ("page", "tests", "least", "names"),
    [
        ("docs/snapshots.md", (), 15, None),
        ("docs/triggers.md", ("integration/stack/test_triggers.py", "end_to_end/test_triggers.py"), 60, 1),
    ],
)
def test_every_row_about_zenml_pro_is_answered(
    page: str, tests: tuple[str, ...], least: int, names: int | None
) -> None:
    """By a command or field that the tests above run, or others of the same things, or by a reason."""
    text = (ROOT / page).read_text("utf-8")
    sources = [*blocks(page), *((ROOT / "tests" / name).read_text("utf-8") for name in tests)]
    tested = " ".join(" ".join(sources).split())
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", text.partition("## What ZenML Pro's")[2], re.MULTILINE)[1:]
    assert len(rows) > least
    for offered, here in rows:
        named = re.findall(r"`([^`]+)`", here)
        given_reason = re.match(r"(No|Not needed|Not yet): \w", here)
        assert given_reason or any(name in tested for name in named[:names]), offered


def test_no_path_of_a_machine_is_in_the_docs() -> None:
    """The docs speak of the repository alone."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text("utf-8")
        assert os.environ.get("HOME", "/root") not in text, page
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (page.parent / link).exists(), (page, link)
