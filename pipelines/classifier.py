"""The trained model: a scikit-learn pipeline with what it needs to know of its table, and how it is kept."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import boto3
import joblib
import numpy as np
import pandas as pd
import sklearn
from botocore.exceptions import BotoCoreError, ClientError
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from zenml.client import Client
from zenml.enums import ArtifactType
from zenml.materializers.base_materializer import BaseMaterializer

ModelType = Literal["random_forest", "gradient_boosting"]

MODEL_FILE = "model.joblib"
DESCRIPTION_FILE = "model.json"
MAX_CATEGORIES = 50
"""A text column with more values than this has its rarest ones taken together."""


class ModelError(ValueError):
    """A model that cannot be loaded, or not applied to a table; the text says what to do."""


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier, the columns it reads (`numeric`, `categorical`) and the column it predicts."""

    estimator: Pipeline
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    target: str

    @property
    def labels(self) -> list[Any]:
        """The classes, in the order of the columns of `predict_proba`, as JSON has them."""
        return [json_label(label) for label in self.estimator.classes_]

    def features(self, table: pd.DataFrame) -> pd.DataFrame:
        """Take this classifier's columns from a table; further columns are left aside.

        Raises:
            ModelError: when columns are missing, or hold text where the training table held numbers.

        """
        missing = [column for column in (*self.numeric, *self.categorical) if column not in table.columns]
        if missing:
            raise ModelError(
                f"The table lacks {len(missing)} of the {len(self.numeric) + len(self.categorical)} columns that the "
                f"model was trained on: {listed(missing)}. It has {listed(table.columns)}. Give a table with the "
                "columns of the training table; the target column may be left out."
            )
        wrong = [column for column in self.numeric if not is_numeric(table[column]) and table[column].notna().any()]
        if wrong:
            raise ModelError(
                f"The model was trained on numbers in {listed(wrong)}, and this table has text there. "
                "Clean these columns."
            )
        return feature_table(table, self.numeric, self.categorical)


def new_estimator(
    model_type: ModelType, numeric: Sequence[str], categorical: Sequence[str], random_state: int
) -> Pipeline:
    """Make an unfitted classifier that fills gaps (median, most frequent value) and encodes text columns."""
    text = make_pipeline(
        SimpleImputer(strategy="most_frequent", keep_empty_features=True),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=MAX_CATEGORIES),
    )
    columns = ColumnTransformer(
        [
            ("numeric", SimpleImputer(strategy="median", keep_empty_features=True), list(numeric)),
            ("categorical", text, list(categorical)),
        ]
    )
    kinds = {"random_forest": RandomForestClassifier, "gradient_boosting": GradientBoostingClassifier}
    return Pipeline([("columns", columns), ("classifier", kinds[model_type](random_state=random_state))])


def is_numeric(column: "pd.Series[Any]") -> bool:
    """Tell whether a column holds numbers or truth values."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)


def feature_table(table: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> pd.DataFrame:
    """Give the columns in one form: numbers as float64, text as objects, gaps and infinities as NaN."""
    columns: dict[str, Any] = {}
    for name in numeric:
        values = pd.to_numeric(table[name]).astype("Float64").to_numpy(dtype="float64", na_value=np.nan)
        columns[name] = np.where(np.isfinite(values), values, np.nan)
    for name in categorical:
        texts = [
            np.nan if missing else str(value) for value, missing in zip(table[name], table[name].isna(), strict=True)
        ]
        columns[name] = np.array(texts, dtype=object)
    return pd.DataFrame(columns, index=table.index)


def json_label(label: Any) -> Any:  # noqa: ANN401 - a class is a text, a number or a truth value
    """Give a class as JSON has it: NumPy's numbers become Python's, whole floats whole numbers."""
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float | bool) else str(value)


def listed(names: Sequence[Any] | pd.Index, most: int = 20) -> str:
    """List names for a person, the first `most` of them."""
    texts = [repr(str(name)) for name in list(names)[:most]]
    rest = len(names) - len(texts)
    return ", ".join(texts) + (f" and {rest} more" if rest > 0 else "")


class ClassifierMaterializer(BaseMaterializer):
    """Keeps a classifier as two files, so that a later run can load it by URI alone, whatever ZenML store it has."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Classifier,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.MODEL

    def save(self, data: Classifier) -> None:
        """Write the fitted classifier and a description of it."""
        description = {
            "scikit_learn": sklearn.__version__,
            "target": data.target,
            "labels": data.labels,
            "numeric": data.numeric,
            "categorical": data.categorical,
        }
        with self.artifact_store.open(f"{self.uri}/{DESCRIPTION_FILE}", "w") as file:
            json.dump(description, file, indent=2)
        with self.artifact_store.open(f"{self.uri}/{MODEL_FILE}", "wb") as file:
            joblib.dump(data, file, compress=3)

    def load(self, data_type: type[Any]) -> Classifier:
        """Read the classifier back."""
        with self.artifact_store.open(f"{self.uri}/{MODEL_FILE}", "rb") as file:
            return _checked(joblib.load(file), f"{self.uri} ({data_type.__name__})")


def load_classifier(uri: str) -> Classifier:
    """Load the `model` output of an earlier run by its URI.

    A model file can run code when it is loaded, so it is only taken from where runs keep their outputs: the bucket
    of the environment variable ARTIFACT_BUCKET, or the active artifact store of ZenML.

    Raises:
        ModelError: when the URI is elsewhere, nothing is there, or what is there is no such model.

    """
    uri = uri.rstrip("/")
    bucket = os.environ.get("ARTIFACT_BUCKET", "")
    try:
        if bucket and uri.startswith(f"s3://{bucket}/runs/"):
            return _load_object(bucket, uri.removeprefix(f"s3://{bucket}/"))
        return _load_from_artifact_store(uri, bucket)
    except FileNotFoundError as error:
        raise ModelError(f"There is no model at {uri}. {_WHERE_TO_LOOK}") from error


_WHERE_TO_LOOK = "Take the `uri` of the output `model` of a succeeded training run from GET /runs/{id}."


def _load_object(bucket: str, prefix: str) -> Classifier:
    uri = f"s3://{bucket}/{prefix}"
    with tempfile.TemporaryFile() as file:
        try:
            boto3.client("s3").download_fileobj(bucket, f"{prefix}/{MODEL_FILE}", file)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in {"404", "NoSuchKey", "403", "AccessDenied"}:
                raise ModelError(f"There is no model at {uri}, or it may not be read. {_WHERE_TO_LOOK}") from error
            raise ModelError(f"The model at {uri} cannot be read: S3 answered {code}.") from error
        except BotoCoreError as error:
            raise ModelError(f"The model at {uri} cannot be read: {error}") from error
        file.seek(0)
        return _checked(joblib.load(file), uri)


def _load_from_artifact_store(uri: str, bucket: str) -> Classifier:
    store = Client().active_stack.artifact_store
    root = str(store.path).rstrip("/")
    resolved = uri if "://" in uri else str(Path(uri).resolve())
    if not resolved.startswith(f"{root}/"):
        places = f"s3://{bucket}/runs/ or {root}/" if bucket else f"{root}/"
        raise ModelError(f"{uri} is not where runs keep their outputs ({places}). {_WHERE_TO_LOOK}")
    with store.open(f"{resolved}/{MODEL_FILE}", "rb") as file:
        return _checked(joblib.load(file), uri)


def _checked(loaded: object, uri: str) -> Classifier:
    if not isinstance(loaded, Classifier):
        raise ModelError(f"What lies at {uri} is no classifier of this pipeline. {_WHERE_TO_LOOK}")
    return loaded
