"""DynamoDB Local: fetched by Maven, started on a free port, ended with the tests.

moto is not atomic under threads; whatever claims atomicity is proven here.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
JARS = HERE.parents[1] / ".local" / "dynamodb-local-3.1.0"
MAIN_CLASS = "software.amazon.dynamodb.services.local.main.ServerRunner"
STARTS_WITHIN_SECONDS = 30
REQUIRED = os.environ.get("ZENTRIGGER_REQUIRE_DYNAMODB_LOCAL") == "1"


def missing() -> str | None:
    """Say what this machine lacks for DynamoDB Local, or None."""
    lacking = [program for program in ("java", "mvn") if shutil.which(program) is None]
    return f"DynamoDB Local needs {' and '.join(lacking)} on PATH" if lacking else None


@contextmanager
def running() -> Iterator[str]:
    """Run DynamoDB Local, in memory; gives its URL."""
    if not (JARS / "complete").exists():
        fetch = [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(HERE / "pom.xml"),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={JARS}",
        ]
        subprocess.run(fetch, check=True)
        (JARS / "complete").touch()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # It lives for a minute or two: the second compiler would cost more than it brings.
    java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", f"-Djava.library.path={JARS}", "-cp", f"{JARS}/*"]
    command = [*java, MAIN_CLASS, "-inMemory", "-port", str(port)]
    # It leaves a metadata file in its working directory.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=JARS) as server:
        try:
            _wait_for(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise RuntimeError(f"DynamoDB Local ended with exit code {server.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"DynamoDB Local did not start within {STARTS_WITHIN_SECONDS} s")
