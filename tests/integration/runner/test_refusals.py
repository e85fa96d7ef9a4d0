"""What ZenML would ignore or fail on half way is refused before anything runs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.classifier import ModelError, load_classifier
from runner.failures import Refused
from runner.pipeline_source import load_pipeline
from runner.refusals import prepare
from tests.integration.runner.tasks import HERE, zenml_environment
from zentrigger.runs import Assignment


@pytest.fixture(autouse=True)
def _user_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name, value in zenml_environment(tmp_path).items():
        if name.startswith("ZENML_"):
            monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(HERE / "user_project"))
    yield
    sys.modules.pop("hard_cases", None)


def refused(source: str, **assignment: object) -> str:
    """Give the message with which an assignment is refused."""
    told = {"run_id": "r", "attempt": 1, "pipeline": "p", "snapshot": "p:1", "source": source, **assignment}
    with pytest.raises(Refused) as refusal:
        prepare(load_pipeline(source).copy(), Assignment.model_validate(told))
    assert refusal.value.reason in {"parameters_refused", "pipeline_not_importable"}
    return refusal.value.message


TRAINING = "pipelines.training:training_pipeline"


def test_everything_that_is_wrong_with_steps_is_said_at_once() -> None:
    """Unknown steps and parameters, inputs, wrong types and fixed parameters; no value is repeated."""
    message = refused(
        TRAINING,
        steps={
            "train_modell": {"model_type": "random_forest"},
            "train_model": {"modeltype": 1, "train_table": 1, "target": "s3cret"},
        },
    )
    assert "steps.train_modell: the pipeline has no such step, it has load_data, preprocess" in message
    assert "train_model.parameters.modeltype: the step has no such parameter" in message
    assert "train_model.parameters.train_table: the step gets this from another step" in message
    assert "train_model.parameters.target: the pipeline sets this itself" in message
    assert "s3cret" not in message


def test_values_of_a_wrong_type_are_refused_at_steps_too() -> None:
    """Without repeating them."""
    message = refused("hard_cases:scaling_pipeline", steps={"scale": {"factor": "s3cret"}})
    assert "scale.parameters.factor: is not of the type" in message
    assert "s3cret" not in message


def test_unknown_and_missing_parameters_are_refused() -> None:
    """Parameters of the pipeline."""
    assert "parameters.epochs: the pipeline has no such parameter" in refused(TRAINING, parameters={"epochs": 3})
    message = refused("pipelines:batch_inference_pipeline", parameters={"dat_url": "x"})
    assert "parameters.dat_url" in message
    assert "parameters.model_uri: is missing" in message


def test_values_of_a_wrong_type_are_refused_all_at_once() -> None:
    """What pydantic says of the pipeline's parameters."""
    message = refused(TRAINING, parameters={"test_size": 2, "random_state": "often", "model_type": "xgboost"})
    assert "parameters.test_size" in message
    assert "parameters.random_state" in message
    assert "parameters.model_type" in message


def test_step_parameters_of_a_dynamic_pipeline_are_refused() -> None:
    """ZenML would ignore them."""
    assert "dynamic" in refused("hard_cases:dynamic_pipeline", steps={"double": {"value": 3}})


def test_placeholders_of_environment_variables_are_refused() -> None:
    """ZenML would put the key of its server into the URL that the caller chose."""
    message = refused(TRAINING, parameters={"data_url": "https://example.com/${ZENML_STORE_API_KEY}"})
    assert "parameters.data_url holds ${…}" in message


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no_such_module:p", "cannot be imported"),
        ("pipelines.training:evaluates", "has no 'evaluates'"),
        ("pipelines.training:load_data", "not a pipeline"),
        ("pipelines.training", "no source of a pipeline"),
    ],
)
def test_a_source_without_a_pipeline_is_refused(source: str, said: str) -> None:
    """The text names what is missing."""
    assert said in refused(source)


def test_a_model_from_elsewhere_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model file can run code, so it is taken only from where runs keep their outputs."""
    monkeypatch.setenv("ARTIFACT_BUCKET", "artifacts")
    for uri in ("s3://uploads/runs/model", "s3://artifacts-2/runs/x", "/etc", "https://example.com/model"):
        with pytest.raises(ModelError, match="is not where runs keep their outputs"):
            load_classifier(uri)
