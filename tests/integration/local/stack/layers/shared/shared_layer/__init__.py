"""What both functions of the test stack share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def record(kind: str, value: Any) -> None:
    """Append one line of JSON to the file of that kind, for the test to read."""
    with (Path(os.environ["RECORD_FOLDER"]) / f"{kind}.jsonl").open("a") as file:
        file.write(json.dumps({"pid": os.getpid(), "value": value}) + "\n")
