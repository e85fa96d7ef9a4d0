"""Finding pipelines and choosing among them, where no ZenML store is needed."""

import json
from pathlib import Path

import pytest

from zentrigger_client.compilation import run

MODULE = """
from zenml import pipeline, step

@step
def load(url: str) -> int:
    return 1

@pipeline
def one(url: str = "u"):
    load(url)

@pipeline
def two(url: str = "u"):
    load(url)

@pipeline(name="twice")
def first():
    load("u")

@pipeline(name="twice")
def second():
    load("u")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"module_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


def failures(module: str, **request: object) -> dict[str, str]:
    """Give what fails of a request that gets no further than finding."""
    asked: dict[str, object] = {
        "pipelines": ["missing"],
        "samples": {},
        "config": None,
        "config_name": "c.yaml",
        "use_my_zenml": False,
    }
    result = run({"modules": [module], "stack": None, **asked, **request}, lambda _: None)
    assert result["snapshots"] == []
    return {failure["subject"]: failure["message"] for failure in json.loads(json.dumps(result))["failures"]}


def test_says_which_pipelines_there_are_instead(module: str) -> None:
    assert failures(module) == {"pipeline missing": "is not among those found: one, twice, two"}


def test_a_name_that_two_pipelines_have_is_no_choice(module: str) -> None:
    """Unless another one was asked for."""
    assert "is defined more than once" in failures(module, pipelines=["twice"])["pipeline twice"]


def test_a_configuration_is_for_one_pipeline(module: str) -> None:
    """With two, neither is compiled."""
    told = failures(module, pipelines=["one", "two"], config="enable_cache: false")
    assert told == {"configuration c.yaml": "is for one pipeline, and here are one, two. Say which: --pipeline NAME"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("a: [", "cannot be used\n    /: This is no YAML"),
        ("stpes: 1", "cannot be used\n    /stpes: There is no such key"),
    ],
)
def test_a_configuration_that_is_wrong_by_itself(module: str, config: str, expected: str) -> None:
    """It is told of also where nothing is found that it could fit."""
    assert failures(module, config=config)["configuration c.yaml"].startswith(expected)


def test_a_sample_for_a_pipeline_that_is_not_wanted(module: str) -> None:
    told = failures(module, samples={"one": {"url": "x"}})
    assert told["pipeline one"] == "a sample is given for it, but it is not among those found"


def test_a_module_without_any_is_named_beside_one_that_has_some(module: str, tmp_path: Path) -> None:
    """One that only shows another's pipelines has some."""
    (tmp_path / f"bare_{module}.py").write_text("x = 1\n")
    (tmp_path / f"shows_{module}.py").write_text(f"from {module} import one\n")
    told = failures(module, modules=[module, f"bare_{module}", f"shows_{module}"])
    assert sorted(told) == [f"module bare_{module}", "pipeline missing"]
    assert told[f"module bare_{module}"].startswith("defines no pipeline")


def test_what_cannot_be_imported_is_told_with_the_rest(module: str) -> None:
    assert "No module named 'nix'" in failures(module, modules=[module, "nix"])["module nix"]
