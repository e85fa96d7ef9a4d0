"""Three pipelines of a user, of which each takes up what the one before has made."""

import io
from typing import Annotated, Any

import boto3
import pandas as pd
from zenml import pipeline, step
from zenml.artifacts.utils import load_artifact


@step
def create_dataset(rows: int) -> Annotated[pd.DataFrame, "dataset"]:
    """Make a table."""
    return pd.DataFrame({"feature": range(1, rows + 1), "target": [row % 2 for row in range(rows)]})


@pipeline
def dataset_pipeline(rows: int = 3) -> None:
    """Make a dataset."""
    create_dataset(rows)


def artifact(artifact_id: str, uri: str) -> pd.DataFrame:
    """Load a table that another run has made: by its id where the runs share a ZenML server, else from its files."""
    try:
        table: pd.DataFrame = load_artifact(artifact_id)
    except KeyError:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        file = boto3.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/df.parquet.gzip")["Body"]
        table = pd.read_parquet(io.BytesIO(file.read()))
    return table


@step(enable_cache=False)
def train_with_artifact(
    dataset_artifact_id: str, dataset_uri: str
) -> tuple[Annotated[pd.DataFrame, "weights"], Annotated[dict[str, Any], "metrics"]]:
    """Learn how much a feature weighs."""
    dataset = artifact(dataset_artifact_id, dataset_uri)
    weights = pd.DataFrame({"weight": [float(dataset["feature"].sum())]})
    return weights, {"rows": len(dataset)}


@pipeline
def training_with_artifact_pipeline(dataset_artifact_id: str, dataset_uri: str) -> None:
    """Train on the dataset of another run."""
    train_with_artifact(dataset_artifact_id, dataset_uri)


@step(enable_cache=False)
def report(weights_artifact_id: str, weights_uri: str, rows: int, artifact_ids: list[str]) -> dict[str, Any]:
    """Say what the two before have come to."""
    weights = artifact(weights_artifact_id, weights_uri)
    return {"weight": float(weights["weight"][0]), "rows": rows, "artifact_ids": artifact_ids}


@pipeline
def report_pipeline(weights_artifact_id: str, weights_uri: str, rows: int, artifact_ids: list[str]) -> None:
    """Report on the training of another run, and on the dataset of the one before that."""
    report(weights_artifact_id, weights_uri, rows, artifact_ids)
