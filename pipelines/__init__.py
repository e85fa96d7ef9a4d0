"""Your pipelines. What stands here can be published and then triggered by name."""

from pipelines.batch_inference import batch_inference_pipeline
from pipelines.training import training_pipeline

__all__ = ["batch_inference_pipeline", "training_pipeline"]
