"""What ZenML would ignore or fail on half way is refused before anything runs."""

import pytest

from pipelines.classifier import ModelError, load_classifier
from runner.failures import Refused
from runner.pipeline_source import load_pipeline
from runner.refusals import arguments, prepare, without_passed
from runner.run_configuration import run_configuration
from zentrigger.runs import Assignment

pytestmark = pytest.mark.usefixtures("user_project")


def refused(source: str, **assignment: object) -> str:
    """Give the message with which an assignment is refused."""
    told = Assignment.model_validate(
        {
            "run_id": "r",
            "attempt": 1,
            "execution": "t",
            "pipeline": "p",
            "snapshot": "p:1",
            "source": source,
            **assignment,
        }
    )
    with pytest.raises(Refused) as refusal:
        prepare(load_pipeline(source).copy(), told, run_configuration(told, lasting=True))
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


def test_what_is_configured_for_steps_is_looked_at_like_what_the_run_says() -> None:
    """Steps that are not there, and parameters, of both at once."""
    message = refused(
        TRAINING,
        configured_steps={"evaluat": {"extra": {"a": 1}}, "train_model": {"parameters": {"modeltype": 1}}},
        steps={"train_model": {"target": "other"}},
    )
    assert "steps.evaluat: the pipeline has no such step" in message
    assert "train_model.parameters.modeltype: the step has no such parameter" in message
    assert "train_model.parameters.target: the pipeline sets this itself" in message


def test_steps_of_a_dynamic_pipeline_are_refused() -> None:
    """ZenML would ignore their parameters, and what is configured for steps that the pipeline does not depend on."""
    assert "dynamic" in refused("hard_cases:dynamic_pipeline", steps={"double": {"value": 3}})
    assert "depends_on" in refused("hard_cases:dynamic_pipeline", configured_steps={"double": {"extra": {"a": 1}}})


def test_what_the_code_configures_may_be_given_again_as_json() -> None:
    """A default that was filled in is no second value: a list for a tuple. Another value is."""
    pipeline = load_pipeline("hard_cases:shaped_pipeline").copy()
    parameters = {"pair": [2, "b"], "day": "2020-02-29"}
    told = Assignment(run_id="r", attempt=1, execution="t", pipeline="p", snapshot="p:1", parameters=parameters)
    assert prepare(pipeline, told, run_configuration(told, lasting=True)) == ("describe",)
    assert arguments(pipeline, parameters) == {"day": "2020-02-29"}
    message = refused("hard_cases:shaped_pipeline", parameters={"pair": [2, "c"]})
    assert "parameters.pair: the pipeline's own configuration sets it to another value" in message


def test_what_the_code_passes_to_a_step_may_be_given_again_as_json() -> None:
    """ZenML, which takes a list and the tuple for two values, is not told of it. Another value is refused."""
    pipeline = load_pipeline("hard_cases:shaped_pipeline").copy()
    steps: dict[str, dict[str, object]] = {"describe": {"pair": [2, "b"], "day": "2020-02-29", "size": 3}}
    told = Assignment(
        run_id="r",
        attempt=1,
        execution="t",
        pipeline="p",
        snapshot="p:1",
        parameters={"day": "2020-02-29"},
        steps=steps,
    )
    configuration = run_configuration(told, lasting=True)
    prepare(pipeline, told, configuration)
    assert without_passed(pipeline, configuration).parameters("describe") == {"size": 3}
    message = refused(
        "hard_cases:shaped_pipeline",
        parameters={"day": "2020-02-29"},
        steps={"describe": {"pair": [2, "c"], "size": 3}},
    )
    assert message.count("the pipeline sets this itself") == 1
    assert "describe.parameters.pair: the pipeline sets this itself" in message


def test_placeholders_of_environment_variables_are_refused() -> None:
    """ZenML would put the key of its server into the URL that the caller, or the configuration, chose."""
    message = refused(
        TRAINING,
        parameters={"data_url": "https://example.com/${ZENML_STORE_API_KEY}"},
        options={"extra": {"a": ["${TOKEN}"]}},
        configured_steps={"evaluate": {"environment": {"A": "${TOKEN}"}}},
    )
    assert "parameters.data_url holds ${…}" in message
    assert "configuration.extra.a.0 holds ${…}" in message
    assert "configuration.steps.evaluate.environment.A holds ${…}" in message


def test_a_placeholder_in_the_pipelines_own_default_is_its_authors() -> None:
    """The default is given like any other parameter."""
    pipeline = load_pipeline("hard_cases:shaped_pipeline").copy()
    told = Assignment(
        run_id="r",
        attempt=1,
        execution="t",
        pipeline="p",
        snapshot="p:1",
        parameters={"folder": "${HOME}", "day": "2020-02-29"},
    )
    assert prepare(pipeline, told, run_configuration(told, lasting=True)) == ("describe",)
    assert "parameters.folder holds" in refused("hard_cases:shaped_pipeline", parameters={"folder": "${PATH}"})


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
