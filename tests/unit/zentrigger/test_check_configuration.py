"""A snapshot's configuration that no run could use is refused when it is published."""

from typing import Any

import pytest

from tests.factories import TRAINING, content
from zentrigger.errors import NotSettable, UnknownName
from zentrigger.parameters import OPTIONS, check_configuration

STORED = "6f1c52b4-7b0e-5d8a-9a55-3f5a2f8e1c07"


def problems_of(configuration: dict[str, Any], **values: Any) -> list[tuple[str, type]]:
    """Give where something is wrong, and of which kind it is."""
    found = check_configuration(content(configuration=configuration, **values))
    return [(problem.pointer, type(problem)) for problem in found]


def pointers(configuration: dict[str, Any], **values: Any) -> list[str]:
    """Give where something is wrong."""
    return [pointer for pointer, _ in problems_of(configuration, **values)]


def test_what_fits_is_taken() -> None:
    """Nothing is required: what is missing, a run says."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a", "b"]}
    configuration = {
        "parameters": {"a": 1},
        "steps": {"train_model": {"parameters": {"trees": 3}, "enable_cache": False}, "load_data": {}},
        "tags": ["nightly"],
        "enable_cache": True,
        "options": {name: {} for name in OPTIONS},
    }
    assert pointers(configuration, parameters_schema=schema) == []
    assert pointers({}) == []


def test_parameters_fit_the_schema() -> None:
    """Unknown names, and values of another type."""
    assert problems_of({"parameters": {"nobody": 1}}) == [("/configuration/parameters/nobody", UnknownName)]
    assert pointers({"parameters": {"test_size": "much"}}) == ["/configuration/parameters/test_size"]


@pytest.mark.parametrize(
    ("step", "configured", "place"),
    [
        ("nobody/~", {}, "nobody~1~0"),
        ("train_model", {"parameters": {"nobody": 1}}, "train_model/parameters/nobody"),
        ("train_model", {"parameters": {"trees": 0}}, "train_model/parameters/trees"),
        ("train_model", {"parameters": [1]}, "train_model/parameters"),
        ("train_model", {"parameters": {"model_type": "random_forest"}}, "train_model/parameters/model_type"),
    ],
)
def test_steps_fit_the_pipeline(step: str, configured: dict[str, Any], place: str) -> None:
    """They exist, and take the parameters; those that the pipeline's body sets are its own."""
    assert pointers({"steps": {step: configured}}) == [f"/configuration/steps/{place}"]


def test_steps_of_a_dynamic_pipeline_take_no_parameters() -> None:
    """Which steps there are, nobody knows beforehand; what else is configured for one may stay."""
    configuration = {"steps": {"some": {"retry": {"max_retries": 2}}, "other": {"parameters": {"a": 1}}}}
    assert problems_of(configuration, dynamic=True, steps={}) == [
        ("/configuration/steps/other/parameters", NotSettable)
    ]


def test_a_stored_snapshot_is_checked_like_any_other() -> None:
    """The pipeline's own parameters are fixed in that of a static pipeline: its schema has none."""
    values = {"source": None, "zenml_snapshot": STORED, "parameters_schema": {"type": "object", "properties": {}}}
    assert pointers({"parameters": {"test_size": 0.5}}, **values) == ["/configuration/parameters/test_size"]
    assert pointers({"steps": {"train_model": {"parameters": {"trees": 3}}}}, **values) == []


@pytest.mark.parametrize(
    "name", ["run_name", "schedule", "build", "parameters", "steps", "enable_cache", "tags", "nobody", "a/b"]
)
def test_options_are_those_that_are_handed_on(name: str) -> None:
    """Not what stands beside them, what makes no sense for a run, or what ZenML does not know."""
    assert pointers({"options": {name: {}}}) == [f"/configuration/options/{name.replace('/', '~1')}"]


@pytest.mark.parametrize(
    ("configuration", "place"),
    [
        ({"parameters": {"data_url": "${HOME}/x"}}, "parameters/data_url"),
        ({"steps": {"train_model": {"settings": {"docker": {"environment": ["a${B}"]}}}}},
         "steps/train_model/settings/docker/environment/0"),
        ({"tags": ["a", "${B}"]}, "tags/1"),
        ({"options": {"extra": {"${B}": 1}}}, "options/extra"),
    ],
)  # fmt: skip
def test_no_variable_of_the_environment_is_put_in(configuration: dict[str, Any], place: str) -> None:
    """ZenML would, and a task's environment has its secrets."""
    assert pointers(configuration) == [f"/configuration/{place}"]


def test_the_training_pipeline_is_in_order() -> None:
    """What other tests publish."""
    assert check_configuration(TRAINING) == []
