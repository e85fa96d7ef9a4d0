"""Parameters against a snapshot's schemas."""

from typing import Any

import pytest

from tests.factories import TRAINING
from zentrigger.parameters import check, check_schemas


def test_good_parameters_pass() -> None:
    """Defaults may be left out, and steps set what the pipeline does not."""
    assert check(TRAINING, {}, {}) == []
    assert check(TRAINING, {"model_type": "gradient_boosting"}, {"train_model": {"trees": 10}}) == []


@pytest.mark.parametrize(
    ("parameters", "steps", "pointer", "said"),
    [
        ({"modle_type": "x"}, {}, "/parameters/modle_type", "Did you mean 'model_type'?"),
        ({"zzz": 1}, {}, "/parameters/zzz", "Known: data_url, model_type, test_size."),
        ({"model_type": "svm"}, {}, "/parameters/model_type", "random_forest"),
        ({"test_size": "0.2"}, {}, "/parameters/test_size", "number"),
        ({"test_size": 2}, {}, "/parameters/test_size", "1"),
        ({"data_url": None}, {}, "/parameters/data_url", "string"),
        ({"a/b~c": 1}, {}, "/parameters/a~1b~0c", "a/b~c"),
        ({"data_url": "https://x/${ZENML_STORE_API_KEY}"}, {}, "/parameters/data_url", "${NAME}"),
        ({}, {"train": {}}, "/steps/train", "Did you mean 'train_model'?"),
        ({}, {"train_model": {"tree": 1}}, "/steps/train_model/parameters/tree", "Did you mean 'trees'?"),
        ({}, {"train_model": {"trees": 0}}, "/steps/train_model/parameters/trees", "1"),
        ({}, {"train_model": {"model_type": "x"}}, "/steps/train_model/parameters/model_type", "under `parameters`"),
    ],
)
def test_what_is_wrong_is_named(
    parameters: dict[str, Any], steps: dict[str, dict[str, Any]], pointer: str, said: str
) -> None:
    """The problem points at the place and says what to do."""
    (problem,) = check(TRAINING, parameters, steps)

    assert problem.pointer == pointer
    assert said in problem.detail


def test_everything_wrong_is_said_at_once() -> None:
    """One answer names all problems."""
    problems = check(TRAINING, {"modle_type": 1, "test_size": 5}, {"train": {}, "load_data": {"data_url": "x", "n": 1}})

    assert len(problems) == 5


def test_a_required_parameter_is_asked_for() -> None:
    """A parameter without a default must be given."""
    content = TRAINING.model_copy(
        update={
            "parameters_schema": {"type": "object", "properties": {"rows": {"type": "integer"}}, "required": ["rows"]}
        }
    )

    (problem,) = check(content, {}, {})

    assert problem.pointer == "/parameters"
    assert "rows" in problem.detail


def test_steps_of_a_dynamic_pipeline_take_nothing() -> None:
    """ZenML ignores them silently; here they are refused."""
    (problem,) = check(TRAINING.model_copy(update={"dynamic": True}), {}, {"train_model": {"trees": 1}})

    assert "dynamic" in problem.detail


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "nonsense"}, "nonsense"),
        ({"properties": {"a": {"pattern": "("}}}, "JSON Schema"),
        ({"$ref": "https://example.com/schema"}, "itself"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "itself"),
        ({"properties": {"a": {"$ref": "#/$defs/missing"}}}, "JSON Schema"),
    ],
)
def test_schemas_that_cannot_be_used_are_refused(schema: dict[str, Any], said: str) -> None:
    """When they are published, and without fetching anything."""
    (problem,) = check_schemas(TRAINING.model_copy(update={"parameters_schema": schema}))

    assert problem.pointer == "/parameters_schema"
    assert said in problem.detail


def test_good_schemas_pass() -> None:
    """Also those that refer to themselves."""
    assert check_schemas(TRAINING) == []
    tree = {"$ref": "#/$defs/tree", "$defs": {"tree": {"properties": {"next": {"$ref": "#/$defs/tree"}}}}}
    assert check_schemas(TRAINING.model_copy(update={"parameters_schema": tree})) == []


def test_long_values_are_not_repeated_whole() -> None:
    """An error shows enough of a value to find it."""
    (problem,) = check(TRAINING, {"test_size": "x" * 10_000}, {})

    assert len(problem.detail) < 300
