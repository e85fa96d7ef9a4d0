"""The commands of the README and of docs/snapshots.md, run as they stand there, in order, as a user would."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
    items = product.call("GET", "/runs?limit=100").json()["items"]
    return {item["run_id"] for item in items if item["source"]["type"] == "http" and not item["ended_at"]}


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


def test_every_row_about_zenml_pro_is_answered() -> None:
    """By a command that the test above runs, or by a reason."""
    page = (ROOT / "docs" / "snapshots.md").read_text("utf-8")
    tested = " ".join(" ".join(blocks("docs/snapshots.md")).split())
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", page.partition("## What ZenML Pro's")[2], re.MULTILINE)[1:]
    assert len(rows) > 15
    for offered, here in rows:
        commands = re.findall(r"`([^`]+)`", here)
        given_reason = here.startswith(("No:", "Not needed:", "Not yet:"))
        assert given_reason or any(command in tested for command in commands), offered


def test_no_path_of_a_machine_is_in_the_docs() -> None:
    """The docs speak of the repository alone."""
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text("utf-8")
        assert os.environ.get("HOME", "/root") not in text, page
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (page.parent / link).exists(), (page, link)
