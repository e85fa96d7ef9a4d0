"""Store a snapshot of the adding pipeline, by the name that is the first argument, and print its id."""

import importlib
import sys
from typing import Any

if __name__ == "__main__":
    pipelines: Any = importlib.import_module("server_pipelines")
    stored = pipelines.adding_pipeline.create_snapshot(sys.argv[1])
    sys.stdout.write(f"\n{stored.id}\n")
