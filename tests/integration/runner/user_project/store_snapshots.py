"""Store two snapshots and a second stack in ZenML, and print the id of the snapshot that is dynamic."""

import importlib
import sys
from typing import Any

from zenml.client import Client
from zenml.enums import StackComponentType

if __name__ == "__main__":
    hard_cases: Any = importlib.import_module("hard_cases")
    hard_cases.scaling_pipeline.with_options(tags=["of the snapshot"]).create_snapshot("nightly")
    dynamic = hard_cases.dynamic_pipeline.create_snapshot("nightly")
    both = StackComponentType.ORCHESTRATOR, StackComponentType.ARTIFACT_STORE
    Client().create_stack("second", dict.fromkeys(both, "default"))
    sys.stdout.write(f"\n{dynamic.id}\n")
