"""Apply the model of an earlier training run to a table."""

from typing import Annotated, Any

import numpy as np
import pandas as pd
from zenml import pipeline, step

from pipelines.classifier import json_label, load_classifier
from pipelines.training import DATA_URL, load_data


@step(enable_cache=False)
def predict(
    table: pd.DataFrame, model_uri: str
) -> tuple[Annotated[pd.DataFrame, "predictions"], Annotated[dict[str, Any], "summary"]]:
    """Predict a class for every row, with its probability, in the order of the table."""
    model = load_classifier(model_uri)
    probabilities = model.estimator.predict_proba(model.features(table))
    best = np.argmax(probabilities, axis=1)
    labels = model.estimator.classes_
    predictions = pd.DataFrame(
        {model.target: labels[best], "probability": probabilities[np.arange(len(best)), best]}, index=table.index
    )
    counts = {str(json_label(label)): int((best == position).sum()) for position, label in enumerate(labels)}
    print(f"Predicted {len(predictions)} rows: {counts}.")  # noqa: T201 - a step's words go to the run's log
    return predictions, {"rows": len(predictions), "predicted": counts}


@pipeline
def batch_inference_pipeline(model_uri: str, data_url: str = DATA_URL) -> None:
    """Predict the rows of a table with a model: the `uri` of the output `model` of a training run."""
    predict(load_data(data_url), model_uri)
