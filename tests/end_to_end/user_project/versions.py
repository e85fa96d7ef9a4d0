"""A pipeline in its first version; the test makes a second of it."""

import os

from zenml import pipeline, step


@step
def tell(greeting: str, times: int = 1) -> str:
    """Say which code this is, and how long the secret is that it was given."""
    return f"{greeting} " * times + f"from version one, {len(os.environ.get('TOKEN', ''))}"


@pipeline
def versions_pipeline(greeting: str = "hello") -> None:
    """Tell."""
    tell(greeting)
