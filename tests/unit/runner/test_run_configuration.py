"""What ZenML is asked for: the snapshot's configuration, and over it what the run says."""

from types import SimpleNamespace
from typing import Any

import pytest
from zenml import pipeline, step
from zenml.config.pipeline_run_configuration import PipelineRunConfiguration

from runner.failures import Refused
from runner.run_configuration import RunConfiguration, check_settings, run_configuration
from zentrigger.parameters import NOT_OPTIONS, OPTIONS, OWN_FIELDS
from zentrigger.runs import Assignment


def configured(*, lasting: bool = True, **assignment: Any) -> RunConfiguration:
    """Give the configuration of an assignment."""
    return run_configuration(made(**assignment), lasting=lasting)


def made(**assignment: Any) -> Assignment:
    """Make an assignment."""
    return Assignment.model_validate(
        {
            "run_id": "r",
            "attempt": 1,
            "execution": "t",
            "pipeline": "p",
            "snapshot": "p:1",
            "source": "m:p",
            **assignment,
        }
    )


def refusal(**assignment: Any) -> str:
    """Give the text with which an assignment's configuration is refused."""
    with pytest.raises(Refused) as refused:
        configured(**assignment)
    assert refused.value.reason == "configuration_refused"
    return refused.value.message


def test_the_runs_parameters_go_before_the_configured_ones() -> None:
    """Parameter by parameter; what else is configured for the step stays, and the assignment stays as it was."""
    steps: dict[str, dict[str, Any]] = {
        "train": {"parameters": {"a": 1, "b": 1}, "extra": {"x": 1}},
        "load": {"enable_cache": False},
    }
    configuration = configured(configured_steps=steps, steps={"train": {"b": 2}, "test": {"c": 3}, "nothing": {}})
    assert configuration.of_steps([]) == {
        "train": {"parameters": {"a": 1, "b": 2}, "extra": {"x": 1}},
        "load": {"enable_cache": False},
        "test": {"parameters": {"c": 3}},
    }
    assert configuration.parameters("train") == {"a": 1, "b": 2}
    assert configuration.parameters("load") == {}
    assert steps["train"]["parameters"] == {"a": 1, "b": 1}


def test_tags_are_merged() -> None:
    """The snapshot's, the run's, ours; each once."""
    tags = [{"name": "team", "cascade": True}, "nightly"]
    options = configured(options={"tags": tags, "extra": {"a": 1}}, tags=("nightly", "mine")).options
    assert options == {
        "tags": [{"name": "team", "cascade": True}, "nightly", "mine", "zentrigger", "zentrigger:r"],
        "extra": {"a": 1},
    }


# For a pipeline of two steps, of which the configuration says of the second that it is not cached.
@pytest.mark.parametrize(
    ("configuration", "run", "lasting", "of_pipeline", "first", "second"),
    [
        (None, None, True, None, None, False),
        (True, None, True, True, True, False),
        (False, None, True, False, False, False),
        (False, True, True, True, None, False),
        (True, False, True, False, False, False),
        (None, True, False, False, False, False),
    ],
)
def test_caching_is_as_the_run_says_then_as_configured(  # noqa: PLR0913, PLR0917 - one parameter a column
    configuration: bool | None,
    run: bool | None,
    lasting: bool,
    of_pipeline: bool | None,
    first: bool | None,
    second: bool | None,
) -> None:
    """What is configured is for all steps, as in ZenML; a run's true is a default; only what lasts is cached."""
    options = {} if configuration is None else {"enable_cache": configuration}
    asked = configured(
        configured_steps={"second": {"enable_cache": False}}, options=options, enable_cache=run, lasting=lasting
    )
    steps = asked.of_steps(["first", "second"])
    assert asked.options.get("enable_cache") is of_pipeline
    assert steps.get("first", {}).get("enable_cache") is first
    assert steps["second"]["enable_cache"] is second


def test_a_false_of_the_run_goes_before_a_step_that_asks_for_its_cache() -> None:
    """Wherever that stands; other switches are for the steps that say nothing."""
    steps = {"train": {"enable_cache": True, "enable_step_logs": True}}
    asked = configured(configured_steps=steps, options={"enable_step_logs": False}, enable_cache=False)
    assert asked.of_steps(["load", "train"]) == {
        "load": {"enable_step_logs": False, "enable_cache": False},
        "train": {"enable_step_logs": True, "enable_cache": False},
    }


def test_everything_that_zenml_would_ignore_is_refused_at_once() -> None:
    """Unknown keys at every depth, wrong values, and what a run's configuration has no place for."""
    message = refusal(
        options={"enable_cach": True, "retry": {"max_retries": "s3cret", "dealy": 1}, "run_name": "x", "schedule": {}},
        configured_steps={"train": {"parameter": {}, "retry": {"max_retry": 1}}},
    )
    for said in (
        "configuration.enable_cach: there is no such key",
        "configuration.retry.max_retries: Input should be a valid integer",
        "configuration.retry.dealy: there is no such key",
        "configuration.steps.train.parameter: there is no such key",
        "configuration.steps.train.retry.max_retry: there is no such key",
        "configuration.run_name has no place",
        "configuration.schedule has no place",
    ):
        assert said in message
    assert "s3cret" not in message


class Stack:
    """A stack without components."""

    name = "bare"
    model = SimpleNamespace(components={})
    setting_classes: dict[str, Any] = {}  # noqa: RUF012 - as ZenML has it


def test_settings_are_checked_where_zenml_ignores_what_it_does_not_know(caplog: pytest.LogCaptureFixture) -> None:
    """At the pipeline and at steps; those of components that this stack has not are named in the log."""
    asked = configured(
        options={"settings": {"docker": {"requirement": ["x"]}, "dokcer": {}, "orchestrator.other": {"a": 1}}},
        configured_steps={"train": {"settings": {"resources": {"cpu_count": "many", "gpus": 1}}}},
    )
    stack: Any = Stack()
    with pytest.raises(Refused) as refused:
        check_settings(asked, stack)
    for said in (
        "configuration.settings.docker.requirement: there is no such key",
        "configuration.settings.dokcer: there are no settings of this name",
        "configuration.steps.train.settings.resources.cpu_count: Input should be a valid number",
        "configuration.steps.train.settings.resources.gpus: there is no such key",
    ):
        assert said in refused.value.message
    assert "settings.orchestrator.other are left out: stack bare" in caplog.text


@step
def nothing() -> None:
    """Do nothing."""


def on_failure() -> None:
    """Stand here for a hook."""


@pipeline(tags=["of the code"], extra={"a": 1, "b": 1})
def configured_pipeline() -> None:
    """Have a configuration in its code."""
    nothing()


def test_a_pipeline_is_configured_over_its_code() -> None:
    """With hooks too, for which a configuration in code has other words; the pipeline itself stays as it is."""
    options = {"extra": {"b": 2}, "failure_hook_source": f"{__name__}.on_failure", "enable_cache": True}
    asked = configured(options=options, tags=("mine",))
    pipeline = asked.apply(configured_pipeline, "name", ["nothing"])
    configuration = pipeline.configuration
    assert configuration.tags == ["of the code", "mine", "zentrigger", "zentrigger:r"]
    assert configuration.extra == {"a": 1, "b": 2}
    assert configuration.failure_hook_source is not None
    assert configuration.failure_hook_source.attribute == "on_failure"
    assert configured_pipeline.configuration.tags == ["of the code"]
    assert configured_pipeline.configuration.enable_cache is None


def test_a_hook_that_cannot_be_imported_is_refused() -> None:
    """Before anything runs."""
    asked = configured(options={"failure_hook_source": "no_such_module.hook"})
    with pytest.raises(Refused, match="no_such_module") as refused:
        asked.apply(configured_pipeline, "name", [])
    assert refused.value.reason == "configuration_refused"


def test_publishing_knows_every_key_of_a_run_configuration() -> None:
    """Of a key that ZenML gets or drops, somebody has to say whether it may be handed on."""
    known = [OPTIONS, OWN_FIELDS, NOT_OPTIONS]
    assert set().union(*known) == set(PipelineRunConfiguration.model_fields)
    assert sum(map(len, known)) == len(PipelineRunConfiguration.model_fields)
