"""What can be classified, and what is said of tables that cannot."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.classifier import Classifier, ModelError, feature_table, is_numeric, json_label, new_estimator
from pipelines.tables import TableError, read_table
from pipelines.training import DATA_URL, TARGET, split_table

RNG = np.random.default_rng(1)


def table(**columns: Any) -> pd.DataFrame:
    """Make a table of 40 rows with a number and a class, and the given columns in their place or besides."""
    return pd.DataFrame({"x": range(40), "target": ["a", "b"] * 20, **columns})


def trained(frame: pd.DataFrame) -> Classifier:
    """Train on a table whose target is `target`."""
    names = [name for name in frame.columns if name != "target"]
    numeric = tuple(name for name in names if is_numeric(frame[name]))
    categorical = tuple(name for name in names if name not in numeric)
    estimator = new_estimator("random_forest", numeric, categorical, 0)
    estimator.fit(feature_table(frame, numeric, categorical), frame["target"].to_numpy())
    return Classifier(estimator, numeric, categorical, "target")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (table(target="a"), "one class only, 'a'"),
        (table(target=None), "is empty in every row"),
        (table(target=["a"] * 39 + ["b"]), "one row only: 'b'"),
        (table(target=RNG.normal(size=40)), "regress"),
        (pd.DataFrame({"x": range(60), "target": range(60)}), "regress"),
        (table(target=pd.date_range("2024-01-01", periods=40)), "holds no classes"),
        (table(when=pd.date_range("2024-01-01", periods=40)), "dates, lists or objects.*'when'"),
        (table(nested=[[1]] * 40), "'nested'"),
        (pd.DataFrame({"x": [1], "y": [2]}), "no column 'target'.*'x', 'y'"),
        (pd.DataFrame({"target": ["a", "b"] * 4}), "no column but the target"),
    ],
)
def test_a_table_that_cannot_be_classified_is_refused(frame: pd.DataFrame, said: str) -> None:
    """The text says what is wrong with it."""
    with pytest.raises(TableError, match=said):
        split_table(frame, "target", 0.25, 0)


@pytest.mark.parametrize("test_size", [0, 1, -0.5, 2, float("nan")])
def test_a_test_size_outside_of_its_range_is_refused(test_size: float) -> None:
    """Also when it was set on the step, past the pipeline's own check."""
    with pytest.raises(TableError, match="test_size"):
        split_table(table(), "target", test_size, 0)


@pytest.mark.parametrize("test_size", [0.01, 0.99])
def test_a_test_size_that_leaves_a_side_without_rows_is_refused(test_size: float) -> None:
    """With the number of rows that are needed."""
    with pytest.raises(TableError, match="at least 2 rows"):
        split_table(table(), "target", test_size, 0)


def test_rows_without_a_target_are_left_out() -> None:
    """There is nothing to learn from them."""
    train, test = split_table(table(target=["a", "b", None, "a"] * 10), "target", 0.2, 0)
    assert len(train) + len(test) == 30
    assert len(test) == 6


@pytest.mark.parametrize("target", [[0, 1] * 20, [0.0, 1.0] * 20, [True, False] * 20, ["yes", "no"] * 20])
def test_classes_of_any_kind_are_learned(target: list[object]) -> None:
    """Numbers, truth values and texts; labels are JSON."""
    model = trained(table(target=target))
    assert all(type(label) in {int, bool, str} for label in model.labels)


def test_gaps_infinities_and_unknown_categories_are_no_obstacle() -> None:
    """Gaps are filled, and a category of tomorrow is taken with the rarest ones."""
    frame = table(
        x=[np.nan, np.inf, *range(38)],
        colour=["red", None, "green", "blue"] * 10,
        empty=None,
        flag=[True, False] * 20,
        whole=pd.array([1, None] * 20, dtype="Int64"),
    )
    model = trained(frame)
    later = frame.drop(columns="target").assign(colour="ultraviolet", another=1)
    assert len(model.estimator.predict(model.features(later))) == 40


def test_a_table_with_other_columns_is_refused_by_the_model() -> None:
    """Both what is missing and what is there are named."""
    with pytest.raises(ModelError, match=r"lacks 1 of the 1 columns.*'x'.*It has 'y'"):
        trained(table()).features(pd.DataFrame({"y": [1]}))
    with pytest.raises(ModelError, match="numbers in 'x'"):
        trained(table()).features(pd.DataFrame({"x": ["one"]}))


def test_labels_are_json() -> None:
    """NumPy's numbers are none."""
    assert [json_label(value) for value in (np.int64(3), np.float64(2.0), np.bool_(1), "a", 0.5)] == [
        3,
        2,
        True,
        "a",
        0.5,
    ]


def test_the_shipped_table_suits_the_defaults() -> None:
    """A run without any parameter works."""
    train, test = split_table(read_table(DATA_URL), TARGET, 0.2, 42)
    assert (len(train), len(test)) == (455, 114)
