"""Train a classifier on a table and say how good it is: load → preprocess → train → evaluate."""

from typing import Annotated, Any

import pandas as pd
from pydantic import Field
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from sklearn.model_selection import train_test_split
from zenml import pipeline, step

from pipelines.classifier import (
    Classifier,
    ClassifierMaterializer,
    ModelType,
    feature_table,
    is_numeric,
    json_label,
    listed,
    new_estimator,
)
from pipelines.tables import TableError, read_table

DATA_URL = "pipelines/data/breast_cancer.csv"
TARGET = "diagnosis"
MODEL_TYPE: ModelType = "random_forest"
TEST_SIZE = 0.2
RANDOM_STATE = 42

MAX_CLASSES = 50
"""More different values than this in a target of numbers, and it is taken for something to regress on."""


# Never cached: ZenML compares parameters, and a URL stays the same when the file behind it changes.
@step(enable_cache=False)
def load_data(data_url: str) -> Annotated[pd.DataFrame, "table"]:
    """Read the table."""
    table = read_table(data_url)
    print(f"Read {len(table)} rows and {len(table.columns)} columns.")  # noqa: T201 - a step's words go to the run's log
    return table


@step
def preprocess(
    table: pd.DataFrame, target: str, test_size: float, random_state: int
) -> tuple[Annotated[pd.DataFrame, "train_table"], Annotated[pd.DataFrame, "test_table"]]:
    """Check that the table can be classified, and split it, each class in the same proportion."""
    # ZenML makes two outputs of a step only if its return statement is written as a tuple.
    train_table, test_table = split_table(table, target, test_size, random_state)
    return train_table, test_table


@step(output_materializers=ClassifierMaterializer)
def train_model(
    train_table: pd.DataFrame,
    target: str,
    model_type: ModelType,
    random_state: int,
) -> Annotated[Classifier, "model"]:
    """Train a classifier of the given type on all columns but the target."""
    names = [column for column in train_table.columns if column != target]
    numeric = tuple(name for name in names if is_numeric(train_table[name]))
    categorical = tuple(name for name in names if name not in numeric)
    estimator = new_estimator(model_type, numeric, categorical, random_state)
    estimator.fit(feature_table(train_table, numeric, categorical), train_table[target].to_numpy())
    print(f"Trained a {model_type} model.")  # noqa: T201 - a step's words go to the run's log
    return Classifier(estimator=estimator, numeric=numeric, categorical=categorical, target=target)


@step
def evaluate(
    model: Classifier, train_table: pd.DataFrame, test_table: pd.DataFrame
) -> Annotated[dict[str, Any], "metrics"]:
    """Measure the model on the rows it has not seen."""
    actual = test_table[model.target].to_numpy()
    predicted = model.estimator.predict(model.features(test_table))
    labels = model.estimator.classes_
    metrics = {
        "accuracy": float(accuracy_score(actual, predicted)),
        "f1_macro": float(f1_score(actual, predicted, average="macro", labels=labels, zero_division=0)),
        "confusion_matrix": confusion_matrix(actual, predicted, labels=labels).tolist(),
        "labels": model.labels,
        "rows": len(train_table) + len(test_table),
        "test_rows": len(test_table),
        "columns": len(test_table.columns),
    }
    print(f"Accuracy {metrics['accuracy']:.4f}, F1 {metrics['f1_macro']:.4f}.")  # noqa: T201 - the run's log
    return metrics


@pipeline
def training_pipeline(
    data_url: str = DATA_URL,
    model_type: ModelType = MODEL_TYPE,
    target: str = TARGET,
    test_size: Annotated[float, Field(gt=0, lt=1)] = TEST_SIZE,
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)] = RANDOM_STATE,
) -> None:
    """Train a classifier on a table (CSV or Parquet; s3://, https:// or a file) and evaluate it."""
    table = load_data(data_url)
    train_table, test_table = preprocess(table, target, test_size, random_state)
    model = train_model(train_table, target, model_type, random_state)
    evaluate(model, train_table, test_table)


def split_table(
    table: pd.DataFrame, target: str, test_size: float, random_state: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into a part to train on and a part to test on; rows without a target are left out.

    Raises:
        TableError: when the table cannot be classified; the text says what is wrong with it.

    """
    if not 0 < test_size < 1:
        raise TableError(f"test_size is {test_size}. Give the part of the rows to test on, between 0 and 1, e.g. 0.2.")
    if target not in table.columns:
        raise TableError(
            f"The table has no column {target!r}. Set the parameter `target` to one of {listed(table.columns)}."
        )
    if len(table.columns) == 1:
        raise TableError(f"The table has no column but the target {target!r}. Add columns to predict it from.")
    _check_features(table.drop(columns=target))
    labelled = table[table[target].notna()]
    counts = _class_counts(labelled[target], target)
    test_rows = round(len(labelled) * test_size)
    needed = max(2, len(counts))
    if not needed <= test_rows <= len(labelled) - needed:
        raise TableError(
            f"test_size {test_size} leaves {test_rows} of {len(labelled)} rows to test on. With {len(counts)} classes, "
            f"at least {needed} rows are needed on either side. Give more rows or another test_size."
        )
    train_table, test_table = train_test_split(
        labelled, test_size=test_rows, random_state=random_state, stratify=labelled[target].to_numpy()
    )
    return train_table, test_table


def _check_features(features: pd.DataFrame) -> None:
    dates = [name for name in features.columns if pd.api.types.is_datetime64_any_dtype(features[name])]
    nested = [name for name in features.columns if _is_nested(features[name])]
    if dates or nested:
        raise TableError(
            f"Columns with dates, lists or objects cannot be learned from: {listed([*dates, *nested])}. "
            "Turn them into numbers or text, or leave them out."
        )


def _is_nested(column: "pd.Series[Any]") -> bool:
    if column.dtype != object:
        return False
    present = column.dropna()
    return not present.empty and not present.map(lambda value: isinstance(value, str | int | float | bool)).all()


def _class_counts(column: "pd.Series[Any]", target: str) -> "pd.Series[int]":
    """Count the rows of each class, and refuse a target that is not one of classes."""
    if pd.api.types.is_datetime64_any_dtype(column) or _is_nested(column):
        raise TableError(f"The target {target!r} holds no classes. Choose a column of text or whole numbers.")
    counts = column.value_counts()
    if len(counts) == 0:
        raise TableError(f"The target {target!r} is empty in every row. Choose another column.")
    if len(counts) == 1:
        raise TableError(
            f"The target {target!r} has one class only, {json_label(counts.index[0])!r}. "
            "Two or more are needed to learn from."
        )
    fractions = pd.api.types.is_float_dtype(column) and bool((column.astype(float) % 1 != 0).any())
    if is_numeric(column) and (len(counts) > MAX_CLASSES or (fractions and len(counts) > len(column) // 10)):
        raise TableError(
            f"The target {target!r} has {len(counts)} different numbers in {len(column)} rows: that is something to "
            "regress on, and this pipeline classifies. Choose another target, or put its values into classes."
        )
    few = counts[counts < 2]  # noqa: PLR2004 - one row to train on and one to test on
    if len(few):
        raise TableError(
            f"{len(few)} of the {len(counts)} classes of {target!r} have one row only: "
            f"{listed([json_label(label) for label in few.index], 10)}. Each needs at least two: add rows, or drop it."
        )
    return counts
