"""From `module:attribute` to the pipeline that stands there."""

import importlib
from pathlib import Path
from types import ModuleType

from zenml.pipelines.pipeline_definition import Pipeline
from zenml.utils import source_utils

from runner.failures import Refused


def load_pipeline(source: str) -> Pipeline:
    """Import a pipeline, and tell ZenML which folder its code is in.

    Raises:
        Refused: `pipeline_not_importable`, naming what is missing.

    """
    module_name, colon, attribute = source.partition(":")
    if not (module_name and colon and attribute):
        raise Refused("pipeline_not_importable", f"{source!r} is no source of a pipeline, which is module:attribute.")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        raise Refused(
            "pipeline_not_importable",
            f"The module {module_name} cannot be imported in the task ({type(error).__name__}: {error}). "
            "Check that the image holds it and what it needs, and publish again.",
        ) from error
    pipeline = getattr(module, attribute, None)
    if not isinstance(pipeline, Pipeline):
        what = "has no" if pipeline is None else f"has a {type(pipeline).__name__}, not a pipeline, as"
        raise Refused(
            "pipeline_not_importable",
            f"The module {module_name} {what} {attribute!r}. Publish again from the code that is in the image.",
        )
    _set_source_root(module)
    return pipeline


def find_source_root(module_name: str) -> None:
    """Import a module, and tell ZenML which folder its code is in.

    Raises:
        Exception: whatever the module raises.

    """
    _set_source_root(importlib.import_module(module_name))


def _set_source_root(module: ModuleType) -> None:
    root = source_root(module)
    if root is not None:
        # ZenML would take the folder of the main module, which is the runner's.
        source_utils.set_custom_source_root(str(root))


def source_root(module: ModuleType) -> Path | None:
    """Give the folder from which a module's top-level package is imported."""
    if not module.__file__:
        return None
    path = Path(module.__file__).resolve()
    depth = module.__name__.count(".") + (1 if path.name == "__init__.py" else 0)
    return path.parents[depth]
