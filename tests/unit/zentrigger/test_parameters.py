"""Parameters against a snapshot's schemas."""

from typing import Any

import pytest

from tests.factories import TRAINING, content
from zentrigger.errors import NotSettable
from zentrigger.parameters import check, effective, fit

HANDING_ON = content(
    steps={
        **{name: step.model_dump() for name, step in TRAINING.steps.items()},
        "split": {"fixed": ["share"], "passed": {"share": "test_size"}},
        # `metric` is what the body computes; `share` is the pipeline's test_size, which split gets, too.
        "evaluate": {"fixed": ["metric", "share"], "passed": {"share": "test_size"}},
    }
)


def test_what_the_pipeline_hands_on_is_taken_at_its_step() -> None:
    """It becomes the pipeline's parameter, by whatever name; the rest stays the step's."""
    fitted = fit(
        HANDING_ON,
        {"model_type": "gradient_boosting"},
        {
            "load_data": {"data_url": "s3://b/k"},
            "train_model": {"model_type": "gradient_boosting", "trees": 3},
            "split": {"share": 0.3},
            "evaluate": {"share": 0.3},
        },
    )

    assert fitted.problems == ()
    assert fitted.parameters == {"data_url": "s3://b/k", "model_type": "gradient_boosting", "test_size": 0.3}
    assert fitted.steps == {"train_model": {"trees": 3}}


SPLIT, EVALUATE, PIPELINE = "/steps/split/parameters/share", "/steps/evaluate/parameters/share", "/parameters/test_size"


@pytest.mark.parametrize(
    ("parameters", "steps", "pointers"),
    [
        ({}, {"split": {"share": 0.3}}, [SPLIT]),
        ({"test_size": 0.3}, {"split": {"share": 0.3}}, []),
        ({"test_size": 0.2}, {"split": {"share": 0.3}}, [SPLIT, PIPELINE]),
        ({}, {"split": {"share": 0.3}, "evaluate": {"share": 0.2}}, [SPLIT, EVALUATE]),
        ({"test_size": 0.2}, {"split": {"share": 0.3}, "evaluate": {"share": 0.2}}, [SPLIT, EVALUATE, PIPELINE]),
        ({}, {"split": {"share": 3}, "evaluate": {"share": 3}}, [SPLIT, EVALUATE]),
        ({"test_size": 1}, {"split": {"share": True}}, [SPLIT, PIPELINE, SPLIT, PIPELINE]),
    ],
)
def test_a_parameter_has_one_value(
    parameters: dict[str, Any], steps: dict[str, dict[str, Any]], pointers: list[str]
) -> None:
    """All steps that it is handed on to get the same; each place that says otherwise is named, and each wrong value."""
    assert [problem.pointer for problem in check(HANDING_ON, parameters, steps)] == pointers


def test_a_conflict_names_the_other_places() -> None:
    """Those with another value, and no others."""
    problems = check(HANDING_ON, {"test_size": 0.2}, {"split": {"share": 0.3}, "evaluate": {"share": 0.2}})

    assert [(SPLIT in problem.detail, EVALUATE in problem.detail) for problem in problems] == [
        (False, True),
        (True, False),
        (True, False),
    ]


def test_a_required_parameter_may_be_given_at_its_step() -> None:
    """It is there, then."""
    needing = content(parameters_schema={"properties": {"data_url": {"type": "string"}}, "required": ["data_url"]})

    assert check(needing, {}, {"load_data": {"data_url": "x"}}) == []
    assert [problem.pointer for problem in check(needing, {}, {})] == ["/parameters"]


def test_what_is_handed_on_from_nowhere_cannot_be_set() -> None:
    """Where the pipeline has no such parameter, setting it would do nothing."""
    (problem,) = check(content(parameters_schema={}), {}, {"load_data": {"data_url": "x"}})

    assert isinstance(problem, NotSettable)
    assert problem.pointer == "/steps/load_data/parameters/data_url"


def test_defaults_are_filled_in() -> None:
    """What the run says goes before the configuration, that before the code; wrong defaults are left to the code."""
    known: Any = TRAINING.parameters_schema["properties"]
    configured = content(
        configuration={"parameters": {"data_url": "configured.csv", "test_size": 0.4}},
        parameters_schema={
            "properties": {
                **known,
                "rows": {"$ref": "#/$defs/rows", "default": 7},
                "none": {"type": "integer", "default": None},
                "home": {"type": "string", "default": "${HOME}"},
                "needed": {"type": "integer"},
            },
            "required": ["needed"],
            "$defs": {"rows": {"type": "integer"}},
        },
    )

    assert effective(configured, {"test_size": 0.5, "needed": 1}) == {
        "data_url": "configured.csv",
        "model_type": "random_forest",
        "test_size": 0.5,
        "rows": 7,
        "needed": 1,
    }


def test_many_parameters_are_checked_at_once() -> None:
    """Two hundred, each wrong, each handed on by the pipeline."""
    names = [f"p{number}" for number in range(200)]
    many = content(
        parameters_schema={"properties": {name: {"type": "integer"} for name in names}},
        steps={"s": {"fixed": names, "passed": {name: name for name in names}}},
    )

    assert len(check(many, {}, {"s": dict.fromkeys(names, "x")})) == 200


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
        ({}, {"train_model": {"model_type": "x"}}, "/steps/train_model/parameters/model_type", "random_forest"),
        ({}, {"load_data": {"data_url": "${X}"}}, "/steps/load_data/parameters/data_url", "${NAME}"),
        ({}, {"evaluate": {"metric": "f1"}}, "/steps/evaluate/parameters/metric", "under `parameters`"),
    ],
)
def test_what_is_wrong_is_named(
    parameters: dict[str, Any], steps: dict[str, dict[str, Any]], pointer: str, said: str
) -> None:
    """The problem points at the place and says what to do."""
    (problem,) = check(HANDING_ON, parameters, steps)

    assert problem.pointer == pointer
    assert said in problem.detail


def test_everything_wrong_is_said_at_once() -> None:
    """One answer names all problems."""
    problems = check(
        HANDING_ON,
        {"modle_type": 1, "test_size": 5},
        {"train": {}, "load_data": {"data_url": 7, "n": 1}, "evaluate": {"metric": "f1", "share": 0.1}},
    )

    assert [problem.pointer for problem in problems] == [
        "/steps/train",
        "/steps/load_data/parameters/n",
        "/steps/evaluate/parameters/metric",
        "/parameters/modle_type",
        "/steps/load_data/parameters/data_url",
        "/steps/evaluate/parameters/share",
        "/parameters/test_size",
        "/parameters/test_size",
    ]


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


def test_long_values_are_not_repeated_whole() -> None:
    """An error shows enough of a value to find it."""
    (problem,) = check(TRAINING, {"test_size": "x" * 10_000}, {})

    assert len(problem.detail) < 300


def test_a_deep_wrong_value_of_a_recursive_type_is_refused_in_time() -> None:
    """The validator would describe each branch of each level: millions of them, in the memory of one function."""
    branches = [
        {
            "type": "object",
            "properties": {"op": {"const": op}, "of": {"$ref": "#/$defs/Term"}},
            "required": ["op", "of"],
        }
        for op in ("not", "neg")
    ]
    schema = {
        "properties": {"q": {"$ref": "#/$defs/Term"}},
        "$defs": {"Term": {"anyOf": [*branches, {"type": "integer"}]}},
    }
    of = content(parameters_schema=schema, steps={})

    def term(depth: int, inmost: Any) -> Any:
        return inmost if depth == 0 else {"op": "not", "of": term(depth - 1, inmost)}

    assert check(of, {"q": term(40, 1)}, {}) == []
    (problem,) = check(of, {"q": term(40, "bad")}, {})
    assert (problem.pointer, problem.detail) == (
        "/parameters/q", "This does not fit the parameter's schema, somewhere in its 41 levels."
    )  # fmt: skip
    (problem,) = check(of, {"q": term(2, "bad")}, {})
    assert "anyOf" in problem.detail


def test_so_many_wrong_items_are_told_and_no_more() -> None:
    """The answer must fit a function's, however many are wrong."""
    of = content(parameters_schema={"properties": {"rows": {"type": "array", "items": {"type": "integer"}}}}, steps={})
    assert len(check(of, {"rows": ["a"] * 10_000}, {})) == 20
