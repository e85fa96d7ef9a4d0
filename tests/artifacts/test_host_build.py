"""The build for this machine under the official runtime client: every function, on every sample of `events/`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.cloud import Cloud
from local.containers import ManualRuntime
from local.function_log import FunctionLog
from local.layers import CodeStore
from local.workers import Spawner, Worker, WorkerSettings
from tests.artifacts.build import FUNCTIONS, ROOT, Layers
from tests.factories import TRAINING
from tests.samples import BEFORE, NAMES_NOTHING

SAMPLES = sorted((ROOT / "events").glob("*.json"))
EXPECTED = {"status_default": 405, **dict.fromkeys(NAMES_NOTHING, 404)}
MODULES = """
import sys
sys.path[:0] = sys.argv[1:]
import handler
assert callable(handler.handler)
print("\\n".join(sorted({str(getattr(m, "__file__", None) or "") for m in list(sys.modules.values())})))
"""


@dataclass
class Deployed:
    """Workers of the built functions, on the tables and queues of the stack."""

    workers: dict[str, Worker]

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke a function by the name of its folder."""
        answer = self.workers[function].invoke(json.dumps(event).encode())
        assert answer.error is None, answer.payload.decode()
        return json.loads(answer.payload)


def function_of(sample: Path) -> Path:
    """Give the function that a sample is named for."""
    (folder,) = (folder for folder in FUNCTIONS if sample.stem.startswith(f"{folder.name}_"))
    return folder


@pytest.fixture(scope="module")
def deployed(host_layers: Layers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Start each function from its build; AWS is the embedded one, without functions of its own."""
    logs = tmp_path_factory.mktemp("logs")
    runtime = CodeStore(ROOT / ".local", lock_file=ROOT / "uv.lock").runtime()
    spawner = Spawner()
    workers: dict[str, Worker] = {}
    parameters = {"ScheduledTrigger": "nightly"}
    with Cloud(
        parameters=parameters, functions=False, container_runtime=ManualRuntime(), api_port=0, aws_port=0
    ) as cloud:
        try:
            for resource in cloud.stack.of_kind("AWS::Lambda::Function"):
                folder = cloud.stack.code_of(resource).folder
                variables = resource["Environment"]["Variables"]
                settings = WorkerSettings(
                    logical_id=resource.logical_id,
                    name=resource.physical_id,
                    arn=cloud.stack.arn(resource.logical_id),
                    code=folder,
                    import_path=(folder, *reversed(host_layers.import_path), runtime),
                    environment={
                        **{name: str(value) for name, value in variables.items()},
                        **cloud.environment,
                        "_HANDLER": "handler.handler",
                        "LAMBDA_TASK_ROOT": str(folder),
                        "AWS_LAMBDA_FUNCTION_NAME": resource.physical_id,
                        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                        "AWS_LAMBDA_LOG_GROUP_NAME": "group",
                        "PATH": os.defpath,
                    },
                    memory_mib=512,
                    timeout_seconds=30.0,
                )
                log = FunctionLog(logs / f"{folder.name}.log")
                workers[folder.name] = Worker(settings, log=log, spawner=spawner, on_death=lambda _: None)
            yield Deployed(workers)
        finally:
            for worker in workers.values():
                worker.close()
            spawner.close()


@pytest.fixture(scope="module")
def key(deployed: Deployed) -> str:
    """Make the first API key and publish the pipeline that the samples name."""
    first = json.loads((ROOT / "events" / "admin_create_first_key.json").read_text("utf-8"))
    text: str = deployed.invoke("admin", first)["key"]
    publish = json.loads((ROOT / "events" / "admin_post_snapshot.json").read_text("utf-8"))
    publish["headers"]["x-api-key"] = text
    publish["body"] = json.dumps(TRAINING.model_dump(mode="json"))
    assert deployed.invoke("admin", publish)["statusCode"] == 201
    return text


def answer_to(deployed: Deployed, key: str, sample: Path) -> Any:
    """Feed a sample to the function that it is named for."""
    event = json.loads(sample.read_text("utf-8"))
    # The signature is the authentication of hooks.
    if "headers" in event and "x-api-key" in event["headers"]:
        event["headers"]["x-api-key"] = key
    return deployed.invoke(function_of(sample).name, event)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_answered(deployed: Deployed, key: str, sample: Path) -> None:
    """By the function that it is named for, as by one that knows it."""
    for before in BEFORE.get(sample.stem, ()):
        assert answer_to(deployed, key, sample.with_stem(before))["statusCode"] == 200

    answer = answer_to(deployed, key, sample)

    if "statusCode" in (answer or {}):
        assert answer["statusCode"] in {EXPECTED.get(sample.stem, 200), 201, 202}, answer
    elif sample.stem.startswith("on_event") or sample.stem == "lifecycle_runs_stream":
        assert answer == {"batchItemFailures": []}
    elif sample.stem == "admin_create_first_key":
        assert answer["key"].startswith("zt_")
    elif sample.stem == "admin_settle_schedules":
        assert answer["settled"] >= 0
    else:
        assert answer is None


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda folder: folder.name)
def test_nothing_else_is_on_the_path(host_layers: Layers, function: Path) -> None:
    """A handler imports from its folder, the layers and the standard library: nothing of this environment helps it."""
    path = [str(function), *(str(folder) for folder in reversed(host_layers.import_path))]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", MODULES, *path],
        env={
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "POWERTOOLS_SERVICE_NAME": "s",
            "POWERTOOLS_METRICS_NAMESPACE": "n",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    allowed = (*path, str(Path(os.__file__).parent))
    foreign = [
        line for line in done.stdout.splitlines() if line and (not line.startswith(allowed) or "site-packages" in line)
    ]
    assert foreign == []


def test_every_function_has_a_sample() -> None:
    """None is left out."""
    assert {function_of(sample) for sample in SAMPLES} == set(FUNCTIONS)
