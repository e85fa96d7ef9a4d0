"""How long the run path takes, each figure against a floor in the same run: `python -m benchmarks.run_path`.

- A call that records and launches a run, against the cheapest call there is (GET /health): what recording costs.
- A run from call to success, against the same pipeline run directly in a fresh process: what the path around it costs.
- Eight runs at once, against one: what they cost each other.

Absolute times depend on the machine; the ratios are what to compare.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from local.cloud import Cloud
from local.containers import ManualRuntime
from local.prepare import prepare_stack

EVENTS = Path(__file__).resolve().parent.parent / "events"
CALLS = 40
RUNS = 3
AT_ONCE = 8
DIRECT = "from pipelines.training import training_pipeline\n\ntraining_pipeline()\n"


def timed(action: Callable[[], object]) -> float:
    """Give how many seconds an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def median(action: Callable[[], object], count: int) -> float:
    """Give the median of some timings, after one that is not counted."""
    action()
    return statistics.median(timed(action) for _ in range(count))


def main() -> None:
    """Measure and print."""
    lines = [_accepting(), *_running()]
    print()  # noqa: T201 - a benchmark prints
    for line in lines:
        print(line)  # noqa: T201


def _accepting() -> str:
    """Measure the calls alone: tasks are started and do nothing."""
    parameters = {"MaxActiveRuns": str(10 * CALLS)}
    with Cloud(api_port=0, aws_port=0, parameters=parameters, container_runtime=ManualRuntime(obedient=True)) as cloud:
        invoked = cloud.clients.get("lambda").invoke(
            FunctionName=cloud.outputs["AdminFunction"], Payload=(EVENTS / "admin_create_first_key.json").read_text()
        )
        session = requests.Session()
        session.headers["X-API-Key"] = json.loads(invoked["Payload"].read())["key"]
        snapshot = json.loads((EVENTS / "admin_post_snapshot.json").read_text())["body"]
        session.post(f"{cloud.api_url}/snapshots", json=json.loads(snapshot), timeout=30).raise_for_status()

        def start() -> None:
            body = {"pipeline": "training_pipeline"}
            session.post(f"{cloud.api_url}/runs", json=body, timeout=30).raise_for_status()

        health = median(lambda: session.get(f"{cloud.api_url}/health", timeout=30), CALLS)
        return _line("POST /runs, accepted", median(start, CALLS), "GET /health", health)


def _running() -> list[str]:
    """Measure whole runs, with tasks that do their work."""
    with Cloud(api_port=0, aws_port=0, parameters={"MaxActiveRuns": str(AT_ONCE)}) as cloud:
        headers = {"X-API-Key": prepare_stack(cloud, print).api_key}
        session = requests.Session()

        def start() -> str:
            body = {"pipeline": "training_pipeline"}
            answer = session.post(f"{cloud.api_url}/runs", json=body, headers=headers, timeout=30)
            answer.raise_for_status()
            return str(answer.json()["run_id"])

        def follow(run_id: str) -> None:
            while True:
                answer = session.get(f"{cloud.api_url}/runs/{run_id}?wait=20", headers=headers, timeout=40)
                if answer.json()["ended_at"]:
                    if answer.json()["status"] != "succeeded":
                        raise RuntimeError(answer.text)
                    return

        def together() -> None:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(follow, [start() for _ in range(AT_ONCE)]))

        one = median(lambda: follow(start()), RUNS)
        direct = median(_run_directly(cloud), RUNS)
        eight = timed(together)
    return [
        _line("one run, call to success", one, "the pipeline in a process", direct),
        _line(f"{AT_ONCE} runs at once, all succeeded", eight, "one run", one),
    ]


def _run_directly(cloud: Cloud) -> Callable[[], object]:
    """Give what runs the pipeline as its author would, on a copy of the tasks' image."""
    folder = Path(tempfile.mkdtemp(dir=cloud.log_folder.parent))
    image = cloud.images.unpack(cloud.images.resolve("local"), folder)
    # ZenML wants to know the file that a pipeline is called from.
    script = image.working_directory / "direct.py"
    script.write_text(DIRECT, "utf-8")
    command = [sys.executable, str(script)]

    def run() -> None:
        environment = os.environ | image.environment
        subprocess.run(  # noqa: S603 - this interpreter, our script
            command, env=environment, cwd=image.working_directory, check=True, capture_output=True
        )

    return run


def _line(what: str, seconds: float, floor: str, floor_seconds: float) -> str:
    ratio = seconds / floor_seconds
    return f"{what:32} {seconds:8.3f} s   {floor:26} {floor_seconds:8.3f} s   ratio {ratio:6.1f}"


if __name__ == "__main__":
    main()
