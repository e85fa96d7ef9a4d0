"""A ZenML run configuration: what is refused, and what becomes of the rest."""

import datetime as dt
import inspect
import json
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field
from zenml import pipeline, step
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration
from zenml.orchestrators.base_orchestrator import BaseOrchestratorConfig
from zenml.pipelines.pipeline_definition import Pipeline

from zentrigger_client.compilation import Found, compile_pipeline
from zentrigger_client.run_configuration import ConfigurationError, RunConfiguration, read


class Options(BaseModel):
    depth: int = 3


@step
def load(url: str, rows: int = 10, options: Options | None = None) -> int:  # noqa: ARG001 - its signature is what counts
    return rows


@step
def train(rows: int, depth: int = 3) -> None:
    """Train."""


@pipeline
def training(  # its signature is what counts
    url: str,
    size: Annotated[float, Field(gt=0, lt=1)] = 0.2,  # noqa: ARG001
    day: dt.date | None = None,  # noqa: ARG001
) -> None:
    train(load(url))


@pipeline(dynamic=True, depends_on=[train])
def dynamic(count: int = 2) -> None:
    """Make as many steps as asked for."""


WHOLE = """
parameters:
  url: s3://bucket/key
  day: 2026-11-20
  nothing: null
enable_cache: false
enable_step_logs: true
tags: [nightly]
retry: &retry {max_retries: 2}
model: {name: breast_cancer, version: production}
cache_policy: default
execution_mode: fail_fast
failure_hook_source: hooks.alert
init_hook_kwargs: {level: 3}
substitutions: {who: me}
extra: {owner: {team: null}}
settings:
  resources: {memory: 2GB}
  orchestrator.kubernetes: {pod_settings: {}}
steps:
  load:
    parameters: {rows: 5}
    enable_cache: null
    success_hook_source: hooks.tell
    retry: {<<: *retry, delay: 3}
    outputs: {output: {materializer_source: own.Materializer}}
    settings: {orchestrator: {anything: 1}}
"""


def test_everything_is_put_in_its_place_as_json_that_zenml_takes() -> None:
    """What has a place of its own, and the rest in ZenML's words; null at a key of ZenML's says nothing."""
    configuration = read(WHOLE)
    assert configuration.problems == []
    assert configuration.parameters == {"url": "s3://bucket/key", "day": "2026-11-20", "nothing": None}
    assert configuration.enable_cache is False
    assert configuration.tags == ["nightly"]
    assert configuration.steps["load"]["parameters"] == {"rows": 5}
    assert configuration.steps["load"]["retry"] == {"max_retries": 2, "delay": 3}
    assert configuration.steps["load"]["success_hook_source"] == "hooks.tell"
    assert "enable_cache" not in configuration.steps["load"]
    assert configuration.options["failure_hook_source"] == "hooks.alert"
    assert configuration.options["extra"] == {"owner": {"team": None}}
    assert configuration.options["model"]["name"] == "breast_cancer"
    assert sorted(configuration.options) == [
        "cache_policy", "enable_step_logs", "execution_mode", "extra", "failure_hook_source", "init_hook_kwargs",
        "model", "retry", "settings", "substitutions",
    ]  # fmt: skip
    sent = json.loads(json.dumps({**configuration.options, "steps": configuration.steps}, allow_nan=False))
    taken = PipelineRunConfiguration.model_validate(sent)
    assert taken.retry is not None
    assert taken.retry.max_retries == 2
    assert taken.failure_hook_source is not None
    assert taken.failure_hook_source.import_path == "hooks.alert"


def test_what_a_pipeline_is_configured_with() -> None:
    """Hooks under the names of `configure`; settings of components that a local stack has not are left out."""
    configuration = read(WHOLE)
    options = configuration.pipeline_options
    assert options["on_failure"] == "hooks.alert"
    assert options["on_init_kwargs"] == {"level": 3}
    assert options["settings"] == {"resources": {"memory": "2GB"}}
    assert set(options) <= set(inspect.signature(Pipeline.configure).parameters)
    assert configuration.step_options["load"]["settings"] == {}
    assert configuration.steps["load"]["settings"] == {"orchestrator": {"anything": 1}}


@pytest.mark.parametrize("text", ["", "{}", "# nothing\n"])
def test_an_empty_file_says_nothing(text: str) -> None:
    assert read(text) == RunConfiguration()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [", "This is no YAML"),
        ("- a", "is a mapping"),
        ("retry: {max_retries: 1}\nretry: {}", "the key 'retry' is given twice"),
        ("extra: {x: .nan}", "what JSON cannot"),
        ("extra: {x: !!binary aGk=}", "a value of type bytes"),
        ("extra: &a {x: *a}", "no YAML"),
        ("? [a]\n: 1", "no YAML"),
        ("!!python/object:os.system {}", "no YAML"),
        ("extra: " + "[" * 1500, "JSON cannot|no YAML"),
    ],
)
def test_refuses_what_is_no_configuration(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        read(text)


@pytest.mark.parametrize(
    ("text", "pointer", "expected"),
    [
        ("stpes: {}", "/stpes", "no such key. Did you mean 'steps'?"),
        ("xyz: 1", "/xyz", "no such key. Known: build, cache_policy"),
        ("retry: {max_retry: 3}", "/retry/max_retry", "Did you mean 'max_retries'?"),
        ("model: {nmae: x, name: y}", "/model/nmae", "Did you mean 'name'?"),
        ("cache_policy: {include_step_cod: true}", "/cache_policy/include_step_cod", "'include_step_code'"),
        ("steps: {load: {paramters: {}}}", "/steps/load/paramters", "Did you mean 'parameters'?"),
        ("steps: {load: {retry: {delai: 1}}}", "/steps/load/retry/delai", "Did you mean 'delay'?"),
        ("steps: {load: {outputs: {o: {materialiser: x}}}}", "/steps/load/outputs/o/materialiser", "no such key"),
        ("settings: {resources: {cpu: 1}}", "/settings/resources/cpu", "no such key"),
        ("settings: {resources: {cpu_count: lots}}", "/settings/resources/cpu_count", "valid number"),
        ("settings: {resorces: {}}", "/settings/resorces", "no such settings. Did you mean 'resources'?"),
        ("steps: {a/b: {settings: {nix: {}}}}", "/steps/a~1b/settings/nix", "no such settings"),
        ("settings: {docker: {}}", "/settings/docker", "makes no sense here. Nothing is built"),
        ("run_name: x", "/run_name", "makes no sense here. Runs are named"),
        ("schedule: {cron_expression: '* * * * *'}", "/schedule", "trigger of type schedule"),
        ("build: 00000000-0000-4000-8000-000000000000", "/build", "--image"),
        ("secrets: [a]", "/secrets", "--secret"),
        ("environment: {A: b}", "/environment", "in clear"),
        ("steps: {load: {secrets: [a]}}", "/steps/load/secrets", "--secret"),
        ("steps: {load: {environment: {A: b}}}", "/steps/load/environment", "in clear"),
        ("tags: [{name: x}]", "/tags/0", "its name alone"),
        ("tags: nightly", "/tags", "valid list"),
        ("enable_cache: maybe", "/enable_cache", "boolean"),
        ("retry: {max_retries: 0}", "/retry/max_retries", "greater than 0"),
        ("parameters: {a: '${HOME}'}", "/parameters/a", "what the task's environment has"),
        ("extra: {a: [b, 'x${Y}']}", "/extra/a/1", "what the task's environment has"),
        ("extra: {'${Y}': 1}", "/extra", "what the task's environment has"),
        ("steps: [load]", "/steps", "valid dictionary"),
        ("steps: {load: 3}", "/steps/load", "valid dictionary"),
    ],
)
def test_names_what_is_wrong_and_where(text: str, pointer: str, expected: str) -> None:
    """ZenML itself ignores most of these silently."""
    (problem,) = read(text).problems
    assert problem.pointer == pointer
    assert expected in problem.detail


def test_what_is_wrong_does_not_hide_the_rest() -> None:
    """All problems at once; what is right is kept, parameter by parameter."""
    configuration = read("parameters: {a: 1, b: '${X}'}\nsteps: {load: {retry: 3, extra: {c: 1}}}\nrun_name: x")
    assert [problem.pointer for problem in configuration.problems] == [
        "/parameters/b",
        "/run_name",
        "/steps/load/retry",
    ]
    assert configuration.parameters == {"a": 1}
    assert configuration.steps == {"load": {"extra": {"c": 1}}}


def test_a_value_that_is_wrong_is_not_repeated() -> None:
    """It may be a secret in the wrong place."""
    (problem,) = read("enable_cache: hunter2").problems
    assert "hunter2" not in problem.detail


def stack(**settings: Any) -> Any:
    return SimpleNamespace(name="aws", setting_classes=settings)


def refused(text: str, made: Pipeline = training, *, own: bool = False, **settings: Any) -> dict[str, str]:
    """Compile a pipeline with a configuration and give what is wrong with it."""
    with pytest.raises(ConfigurationError) as raised:
        compile_pipeline(Found(made, "m:p"), {}, read(text), stack(**settings), tasks_own_stack=own)
    return dict(raised.value.problems)


def test_all_that_does_not_fit_a_pipeline_is_told_at_once() -> None:
    """Misspelt keys, unknown parameters and steps, wrong types and values: each with its place."""
    problems = refused(
        """
        retyr: {}
        parameters: {ulr: x, size: 3, day: tomorrow}
        steps:
          laod: {parameters: {rows: 1}}
          load: {parameters: {url: x, rwos: 1, rows: many, options: {depht: 1}}}
          train: {parameters: {rows: 1, depth: 4}}
        """
    )
    assert {pointer: detail.split(".")[0] for pointer, detail in problems.items()} == {
        "/retyr": "There is no such key",
        "/parameters/ulr": "The pipeline has no such parameter",
        "/parameters/size": "Input should be less than 1",
        "/parameters/day": "Input should be a valid date or datetime, input is too short",
        "/steps/laod": "training has no such step",
        "/steps/load/parameters/url": "The pipeline passes this itself, so ZenML does not let it be set here",
        "/steps/load/parameters/rwos": "The step load has no such parameter",
        "/steps/load/parameters/rows": "Input should be a valid integer, unable to parse string as an integer",
        "/steps/load/parameters/options/depht": "There is no such key",
        "/steps/train/parameters/rows": "This comes from another step or artifact, and is no parameter",
    }
    assert problems["/parameters/ulr"].endswith("Did you mean 'url'?")
    assert problems["/steps/laod"].endswith("Did you mean 'load'?")
    assert problems["/steps/load/parameters/rwos"].endswith("Did you mean 'rows'?")


def test_a_body_that_raises_does_not_hide_what_is_wrong_with_the_configuration() -> None:
    @pipeline
    def picky(kind: str = "a") -> None:
        raise KeyError(kind)

    assert list(refused("parameters: {knid: b}", picky)) == ["/parameters/knid"]


def test_what_a_dynamic_pipeline_ignores_is_refused() -> None:
    """Steps that are not known before it runs, and parameters of those that are."""
    problems = refused("steps: {load: {}, train: {parameters: {depth: 1}}}", dynamic)
    assert "depends_on" in problems["/steps/load"]
    assert "Use parameters of the pipeline" in problems["/steps/train/parameters"]


def test_settings_of_the_stacks_components() -> None:
    """Unknown attributes are refused; a component that is not there only where the stack is the one of the tasks."""
    text = "settings: {orchestrator: {nix: 1}}\nsteps: {load: {settings: {step_operator.sagemaker: {}}}}"
    known: Any = {"orchestrator": BaseOrchestratorConfig}
    assert list(refused(text, **known)) == ["/settings/orchestrator/nix"]
    assert list(refused(text, own=True, **known)) == [
        "/settings/orchestrator/nix",
        "/steps/load/settings/step_operator.sagemaker",
    ]
