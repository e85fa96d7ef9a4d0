"""Publishing against the real ZenML: what is found, what is said of it, and what is said when it fails.

ZenML takes seconds to start, so the fixture compiles everything once and the tests look at the result.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.integration.client.fake_api import Answer, FakeApi
from zentrigger.catalogue import PublishRequest
from zentrigger.parameters import check_configuration, check_schemas
from zentrigger.publishing import wrong_passes
from zentrigger_client.api import ZentriggerError
from zentrigger_client.publish import Compilation, compile_modules, describe_stored

FILES = {
    "shop/__init__.py": "",
    "shop/training.py": """
from __future__ import annotations

import enum
from typing import Annotated, Any, Dict, List, Literal, Optional

from pydantic import BaseModel, Field
from zenml import pipeline, step


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Options(BaseModel):
    depth: int = 3
    name: str


@step
def load(url: str, rows: int = 10, encoding: Optional[str] = None) -> Dict[str, Any]:
    return {}


@step
def train(data: Dict[str, Any], kind: str = "a", options: Optional[Options] = None) -> float:
    return 1.0


class Handle: ...


@step
def opaque(handle: Handle | None = None, size: int = 1) -> int:
    return 1


@pipeline(enable_cache=False, tags=["nightly"])
def training(
    url: str,
    _seed: int,
    rounds: Annotated[int, Field(ge=5)],
    options: Options,
    colour: Colour = Colour.RED,
    kind: Literal["a", "b"] = "a",
    sizes: List[int] = [1, 2],
    rate: Optional[float] = None,
):
    \"\"\"Trains.

    On data.
    \"\"\"
    data = load(url)
    train(data, kind=kind)
    train(data, options=options)


@pipeline
def loose(x=3, encoding: Optional[str] = None, prefix: str = ""):
    opaque()
    load(prefix + "u", rows=x, encoding=encoding)


@pipeline(dynamic=True)
def dynamic(count: int = 2) -> None:
    for _ in range(count):
        load("u")


# No `if __name__ == "__main__"`: importing must not run it.
loose()
""",
    "shop/hooks.py": "def tell() -> None: ...\n",
    "shop/nested/__init__.py": "",
    "shop/nested/again.py": "from shop.training import training, loose as other_name\n",
    "shop/__main__.py": "raise SystemExit('not to be imported')\n",
    "broken.py": """
from zenml import pipeline, step


@step
def double(a: int) -> int:
    return 2 * a


@pipeline
def raises(path: str):
    raise FileNotFoundError(path)


@pipeline
def empty(): ...


@pipeline
def misses_an_input():
    double()


@pipeline
def anything(**parameters):
    double(1)


@pipeline
def not_a_number(x: float = float("nan")):
    double(1)


@pipeline
def pattern(url: "Annotated[str, Field(pattern='^s3://')]"):
    double(1)


@pipeline(name="twice")
def first():
    double(1)


@pipeline(name="twice")
def second():
    double(1)


from typing import Annotated  # noqa
from pydantic import Field  # noqa
""",
    "syntax.py": "def broken(:\n",
    "leaves.py": "raise SystemExit('no database here')\n",
    "no_pipeline.py": "x = 1\n",
    "dies.py": "import os\nprint('last words', flush=True)\nos._exit(4)\n",
    "hangs.py": "import time\ntime.sleep(60)\n",
}


def git(folder: Path, *arguments: str) -> str:
    """Ask git, as somebody."""
    identity = ["-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay the modules out in a folder that also holds a ZenML repository, whose configuration must not be touched."""
    folder = tmp_path_factory.mktemp("project")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "first")
    (folder / ".zen").mkdir()
    (folder / ".zen" / "config.yaml").write_text("active_stack_id: 11111111-1111-4111-8111-111111111111\n")
    return folder


@pytest.fixture(scope="module")
def compilation(project: Path) -> Compilation:
    """Compile all of it, once."""
    modules = ["shop", "shop.training", "broken", "syntax", "leaves", "no_pipeline", "missing.module"]
    return compile_modules(modules, folder=project, samples={"pattern": {"url": "s3://bucket/key"}})


@pytest.fixture(scope="module")
def snapshots(compilation: Compilation) -> dict[str, dict[str, Any]]:
    """Give the snapshots by pipeline."""
    return {snapshot["pipeline"]: snapshot for snapshot in compilation.snapshots}


@pytest.fixture(scope="module")
def failures(compilation: Compilation) -> dict[str, str]:
    """Give what failed and why."""
    return {failure.subject: failure.message for failure in compilation.failures}


def test_finds_each_pipeline_once_where_it_is_defined(snapshots: dict[str, dict[str, Any]]) -> None:
    """Submodules are walked; importing a pipeline elsewhere does not define it again."""
    assert {name: snapshot["source"] for name, snapshot in snapshots.items()} == {
        "dynamic": "shop.training:dynamic",
        "loose": "shop.training:loose",
        "pattern": "broken:pattern",
        "training": "shop.training:training",
    }


def test_describes_the_pipeline(snapshots: dict[str, dict[str, Any]]) -> None:
    """Docstring and tags as declared; the version it was compiled with. Of caching, the code itself speaks."""
    training = snapshots["training"]
    assert training["description"] == "Trains.\n\nOn data."
    nothing: dict[str, Any] = {"parameters": {}, "steps": {}, "options": {}}
    assert training["configuration"] == {"enable_cache": None, "tags": ["nightly"], **nothing}
    assert snapshots["loose"]["configuration"] == {"enable_cache": None, "tags": [], **nothing}
    assert training["dynamic"] is False
    assert training["zenml_version"].startswith("0.")


def test_parameters_without_a_default_stay_required(snapshots: dict[str, dict[str, Any]]) -> None:
    """The values made up to find the steps get into no schema."""
    schema = snapshots["training"]["parameters_schema"]
    assert schema["required"] == ["url", "_seed", "rounds", "options"]
    properties = schema["properties"]
    assert properties["url"] == {"type": "string"}
    assert properties["rounds"] == {"type": "integer", "minimum": 5}
    assert properties["kind"] == {"type": "string", "enum": ["a", "b"], "default": "a"}
    assert properties["colour"]["default"] == "red"
    assert properties["sizes"]["default"] == [1, 2]
    assert properties["rate"]["default"] is None
    assert snapshots["loose"]["parameters_schema"]["properties"]["x"] == {"default": 3}
    assert snapshots["pattern"]["parameters_schema"]["required"] == ["url"]


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"colour": "blue", "rate": 0.5, "sizes": []}, True),
        ({"options": {"name": "n", "depth": 9}}, True),
        ({"options": {"name": "n", "dpeth": 9}}, False),
        ({"options": {}}, False),
        ({"colour": "green"}, False),
        ({"kind": "c"}, False),
        ({"rounds": 4}, False),
        ({"rounds": "5"}, False),
        ({"sizes": ["1"]}, False),
        ({"unknown": 1}, False),
    ],
)
def test_schemas_accept_what_the_pipeline_takes_and_nothing_else(
    snapshots: dict[str, dict[str, Any]], change: dict[str, Any], *, accepted: bool
) -> None:
    """Unknown names are refused at every level."""
    parameters = {"url": "s3://b/k", "_seed": 1, "rounds": 5, "options": {"name": "n"}, **change}
    validator = jsonschema_rs.Draft202012Validator(snapshots["training"]["parameters_schema"])
    assert validator.is_valid(parameters) is accepted


def test_steps_tell_what_may_be_overridden(snapshots: dict[str, dict[str, Any]]) -> None:
    """What the body passes is fixed; what has a default is open; artifacts and what JSON cannot hold are neither."""
    steps = snapshots["training"]["steps"]
    assert {name: step["upstream"] for name, step in steps.items()} == {
        "load": [],
        "train": ["load"],
        "train_2": ["load"],
    }
    assert {name: step["fixed"] for name, step in steps.items()} == {
        "load": ["url"],
        "train": ["kind"],
        "train_2": ["options"],
    }
    assert {name: list(step["parameters_schema"]["properties"]) for name, step in steps.items()} == {
        "load": ["rows", "encoding"],
        "train": ["options"],
        "train_2": ["kind"],
    }
    assert all(step["parameters_schema"]["additionalProperties"] is False for step in steps.values())
    assert steps["load"]["parameters_schema"]["properties"]["rows"] == {"type": "integer", "default": 10}
    assert snapshots["loose"]["steps"]["load"]["fixed"] == ["encoding", "rows", "url"]
    assert list(snapshots["loose"]["steps"]["opaque"]["parameters_schema"]["properties"]) == ["size"]


def test_tells_what_the_pipeline_hands_on_unchanged(snapshots: dict[str, dict[str, Any]]) -> None:
    """By the same name; `rows=x` is another one, and `prefix + "u"` is the body's own."""
    assert {name: step["passed"] for name, step in snapshots["training"]["steps"].items()} == {
        "load": {"url": "url"},
        "train": {"kind": "kind"},
        "train_2": {"options": "options"},
    }
    assert snapshots["loose"]["steps"]["load"]["passed"] == {"encoding": "encoding"}


def test_every_body_is_one_that_the_api_takes(snapshots: dict[str, dict[str, Any]]) -> None:
    """The two sides share no code; this holds them together."""
    for snapshot in snapshots.values():
        content = PublishRequest.model_validate(json.loads(json.dumps(snapshot))).content(
            "r@sha256:" + "0" * 64, "ARM64"
        )
        assert check_schemas(content) == []
        assert check_configuration(content) == []
        assert wrong_passes(content) == []


def test_tells_the_commit(project: Path, snapshots: dict[str, dict[str, Any]]) -> None:
    """Of the repository that the source is in; here it has files that were never committed."""
    head = git(project, "rev-parse", "HEAD")
    assert all(snapshot["git"] == {"commit": head, "dirty": True} for snapshot in snapshots.values())


CONFIG = """
parameters: {url: s3://bucket/nightly.csv, options: {name: n}, colour: blue}
enable_cache: true
tags: [nightly, eu]
enable_step_logs: false
retry: {max_retries: 2}
execution_mode: continue_on_failure
success_hook_source: shop.hooks.tell
extra: {team: vision}
settings: {resources: {memory: 2GB}, orchestrator.kubernetes: {pod_settings: {}}}
steps:
  load:
    parameters: {rows: "5"}
    cache_policy: {include_step_code: false}
    settings: {step_operator.sagemaker: {instance_type: x}}
"""


def test_publishes_with_a_run_configuration(project: Path, api: FakeApi) -> None:
    """Its parameters become defaults, as their types have them; the rest goes along in ZenML's words."""
    (project / "nightly.yaml").write_text(CONFIG)
    told = {"number": 1, "created": True, "name": "nightly", "tags": [], "image": "r@sha256:" + "0" * 64, "changes": []}
    api.answers = [Answer(201, {**told, "breaks": {"triggers": [], "snapshots": []}})]
    options = ["--pipeline", "training", "--config", "nightly.yaml", "--name", "nightly", "--description", "At night."]
    ended = zentrigger(project, api, "publish", "shop", *options)
    assert ended.returncode == 0, ended.stderr
    (call,) = api.calls
    body = PublishRequest.model_validate(call.body)
    assert (body.pipeline, body.name, body.description) == ("training", "nightly", "At night.")
    schema = body.parameters_schema
    assert schema["required"] == ["_seed", "rounds"]
    properties = call.body["parameters_schema"]["properties"]
    defaults = {name: declared.get("default") for name, declared in properties.items()}
    assert defaults["url"] == "s3://bucket/nightly.csv"
    assert defaults["options"] == {"depth": 3, "name": "n"}
    assert call.body["steps"]["load"]["parameters_schema"]["properties"]["rows"]["default"] == 5
    configuration = body.configuration
    assert configuration.parameters == {
        "url": "s3://bucket/nightly.csv",
        "options": {"depth": 3, "name": "n"},
        "colour": "blue",
    }
    assert configuration.enable_cache is True
    assert configuration.tags == ("nightly", "eu")
    assert configuration.steps == {
        "load": {
            "parameters": {"rows": 5},
            "cache_policy": {"include_step_code": False},
            "settings": {"step_operator.sagemaker": {"instance_type": "x"}},
        }
    }
    assert configuration.options == {
        "enable_step_logs": False,
        "retry": {"max_retries": 2},
        "execution_mode": "continue_on_failure",
        "success_hook_source": "shop.hooks.tell",
        "extra": {"team": "vision"},
        "settings": {"resources": {"memory": "2GB"}, "orchestrator.kubernetes": {"pod_settings": {}}},
    }
    assert ended.stdout.splitlines()[1].split()[:3] == ["training", "1", "new"]


def test_zenml_itself_draws_the_line_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZenML refuses to override what is published as fixed, and takes what is published as open.

    And of a snapshot in ZenML's own store, all parameters of steps are open, and none of the pipeline's.
    """
    script = """
from zenml import pipeline, step

@step
def load(url: str, rows: int = 10) -> int:
    return rows

@pipeline(enable_cache=False)
def p(url: str = "u"):
    load(url)

if __name__ == "__main__":
    run = p.with_options(steps={"load": {"parameters": {"rows": 11}}})()
    print("rows", run.steps["load"].output.load())
    try:
        p.with_options(steps={"load": {"parameters": {"url": "v"}}})()
    except RuntimeError as error:
        print("refused", "url" in str(error))
    print("stored", p.create_snapshot(name="nightly", description="What runs at night.").id)
"""
    (project / "override.py").write_text(script)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ZENML_")}
    own = {
        "ZENML_CONFIG_PATH": str(project / "config"),
        "ZENML_LOCAL_STORES_PATH": str(project / "stores"),
        "ZENML_REPOSITORY_PATH": str(project / "shop"),
        "ZENML_ANALYTICS_OPT_IN": "false",
    }
    ended = subprocess.run(
        [sys.executable, "override.py"],
        cwd=project,
        env={**environment, **own},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "rows 11" in ended.stdout, ended.stderr
    assert "refused True" in ended.stdout, ended.stderr
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    compilation = describe_stored("nightly", "p", folder=project)
    assert compilation.failures == ()
    (stored,) = compilation.snapshots
    body = PublishRequest.model_validate(stored)
    # ZenML may give the name to another snapshot; the id stays.
    assert f"stored {body.zenml_snapshot}\n" in ended.stdout
    assert (body.source, body.description) == (None, "What runs at night.")
    assert stored["parameters_schema"] == {"type": "object", "properties": {}, "additionalProperties": False}
    assert stored["steps"]["load"] == {
        "upstream": [],
        "parameters_schema": {
            "type": "object",
            "properties": {"url": {"type": "string", "default": "u"}, "rows": {"type": "integer", "default": 10}},
            "additionalProperties": False,
        },
        "fixed": [],
        "passed": {},
    }


def test_a_dynamic_pipeline_has_no_steps_before_it_runs(snapshots: dict[str, dict[str, Any]]) -> None:
    """ZenML ignores parameters of its steps, so none are offered."""
    assert snapshots["dynamic"]["dynamic"] is True
    assert snapshots["dynamic"]["steps"] == {}
    assert snapshots["dynamic"]["parameters_schema"]["properties"] == {"count": {"type": "integer", "default": 2}}


def test_snapshots_are_json(compilation: Compilation) -> None:
    """Every body can be sent, and says the same when compiled again: no sample, path or time is in it."""
    text = json.dumps(compilation.snapshots, allow_nan=False)
    assert "sample" not in text
    assert "/tmp" not in text  # noqa: S108 - searched for, not written to


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("module syntax", "SyntaxError"),
        ("module leaves", "SystemExit: no database here"),
        ("module no_pipeline", "defines no pipeline"),
        ("module missing.module", "No module named 'missing'"),
        ("pipeline raises", "FileNotFoundError: sample"),
        ("pipeline raises", "--sample raises.path=VALUE"),
        ("pipeline raises", 'broken.py", line 12, in raises'),
        ("pipeline empty", "no steps"),
        ("pipeline misses_an_input", "Missing entrypoint input 'a' in step 'double'"),
        ("pipeline anything", "Variable args or kwargs not allowed"),
        ("pipeline not_a_number", "not JSON compliant"),
        ("pipeline twice", "broken:first and broken:second"),
    ],
)
def test_says_which_one_failed_and_why(failures: dict[str, str], subject: str, expected: str) -> None:
    """One failure hides no other, and the last lines of the traceback are the user's own."""
    assert expected in failures[subject]
    assert "site-packages" not in failures[subject]


def test_leaves_the_user_s_zenml_alone(project: Path, compilation: Compilation) -> None:
    """The repository above the modules still names its own stack."""
    assert compilation.snapshots
    assert "11111111-1111-4111-8111-111111111111" in (project / ".zen" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("module", "expected"),
    [("dies", "exit status 4"), ("shop/training.py", "like 'shop.training'"), ("..", "is no module name")],
)
def test_nothing_can_be_tried(project: Path, module: str, expected: str) -> None:
    """A module that ends the process, or a path instead of a name."""
    with pytest.raises(ZentriggerError, match=expected):
        compile_modules([module], folder=project)


def test_does_not_wait_for_ever(project: Path) -> None:
    """A module that never comes back from its import."""
    with pytest.raises(ZentriggerError, match="took longer than 6 s"):
        compile_modules(["hangs"], folder=project, timeout_seconds=6)


def zentrigger(project: Path, api: FakeApi, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in the project's folder."""
    return subprocess.run(
        [sys.executable, "-m", "zentrigger_client.cli", *arguments],
        cwd=project,
        env={**os.environ, "ZENTRIGGER_API_URL": api.url, "ZENTRIGGER_API_KEY": "zt_a_bbbbbbbb"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_says_that_there_is_no_pipeline(project: Path, api: FakeApi) -> None:
    """Exit status 1, nothing sent."""
    api.answers = [Answer(201, {})]
    ended = zentrigger(project, api, "publish", "no_pipeline")
    assert ended.returncode == 1
    assert "no_pipeline: defines no pipeline" in ended.stderr
    assert api.calls == []
