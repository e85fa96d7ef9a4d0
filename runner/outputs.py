"""Outputs of a finished run: small JSON values as they are, everything else as artifact id, URI and data type."""

import json
import logging
from dataclasses import dataclass

from pydantic import JsonValue
from zenml.client import Client
from zenml.models import ArtifactVersionResponse, PipelineRunResponse

from runner.artifacts import ArtifactCopies, is_local
from zentrigger.runs import Output

MAX_VALUE_BYTES = 32 * 1024
"""The largest value, as compact JSON, that goes into the run's record."""

MAX_VALUES_BYTES = 128 * 1024
"""What the values of one run may take together; the last steps' values go in first."""

MAX_OUTPUTS = 100
"""The last outputs of a run that has more."""

_VALUE_FILE = "data.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Produced:
    """One output as ZenML knows it; `step` is None for an output of a (dynamic) pipeline itself."""

    step: str | None
    name: str
    artifact: ArtifactVersionResponse


def collect(run: PipelineRunResponse, copies: ArtifactCopies) -> tuple[Output, ...]:
    """Give the outputs of a finished run, in the order of its steps.

    Of a static pipeline these are its steps' outputs; of a dynamic one what it returns, or, if it returns nothing, its
    steps' outputs. What is not inline and lies in a local artifact store is copied, the last steps' outputs first.

    Raises:
        ArtifactCopyError: something could not be copied.

    """
    produced = _produced(run)
    if len(produced) > MAX_OUTPUTS:
        _log.warning("the run has %d outputs; its record keeps the last %d", len(produced), MAX_OUTPUTS)
    room = MAX_VALUES_BYTES
    outputs: list[Output] = []
    for item in reversed(produced[-MAX_OUTPUTS:]):
        small = _small_value(item.artifact, min(room, MAX_VALUE_BYTES))
        output = Output(
            name=item.name,
            step=item.step,
            artifact_id=str(item.artifact.id),
            data_type=item.artifact.data_type.import_path,
            uri=None if is_local(item.artifact.uri) else item.artifact.uri,
        )
        if small is not None:
            room -= small.size
            outputs.append(output.model_copy(update={"value": small.value}))
        elif is_local(item.artifact.uri):
            uri = copies.copy(item.artifact.uri, step=item.step or "pipeline", output=item.name)
            outputs.append(output.model_copy(update={"uri": uri}))
        else:
            outputs.append(output)
    return tuple(reversed(outputs))


@dataclass(frozen=True)
class SmallValue:
    """A value of bounded size, and that size in bytes of compact JSON."""

    value: JsonValue
    size: int


def small_value(content: bytes, limit: int) -> SmallValue | None:
    """Read JSON, if it is one value of at most `limit` bytes in compact form; NaN and infinities become null.

    JSON knows neither (RFC 8259, section 6), and the files of ZenML may hold them.
    """
    try:
        value: JsonValue = json.loads(content, parse_constant=lambda _: None)
        compact = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):  # not JSON, numbers beyond a float, lone surrogates, or nested without end
        return None
    return SmallValue(value, len(compact)) if len(compact) <= limit else None


def _produced(run: PipelineRunResponse) -> list[Produced]:
    if run.outputs:
        return [Produced(None, name, artifact) for name, artifact in run.outputs.items()]
    steps = sorted(run.steps.values(), key=lambda step: (step.start_time is None, step.start_time))
    return [
        Produced(step.name, name, artifacts[0])
        for step in steps
        for name, artifacts in step.outputs.items()
        if artifacts
    ]


def _small_value(artifact: ArtifactVersionResponse, limit: int) -> SmallValue | None:
    """Read the value of an artifact that ZenML keeps as JSON (numbers, texts, lists, dicts, pydantic models).

    The file is read and not the artifact loaded: loading runs code of the artifact's, and may need all the memory.
    """
    store = Client().active_stack.artifact_store
    if artifact.artifact_store_id != store.id:
        return None
    path = f"{artifact.uri.rstrip('/')}/{_VALUE_FILE}"
    # Indented or not, a file four times the limit holds no value within it; it is not even opened.
    if not store.exists(path) or store.size(path) is None or (store.size(path) or 0) > 4 * MAX_VALUE_BYTES:
        return None
    with store.open(path, "rb") as file:
        return small_value(file.read(), limit)
