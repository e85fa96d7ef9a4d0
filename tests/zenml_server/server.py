"""A real ZenML server on 127.0.0.1, with SQLite, and the line between it and the tasks, which can be cut.

It runs in an environment of its own (the dependency group `zenml-server` of uv.lock, which `make test-zenml-server`
installs), for its packages are nothing that the product or its other tests may lean on.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import requests

PYTHON = os.environ.get("ZENTRIGGER_ZENML_SERVER_PYTHON")
"""The interpreter of that environment; without it the tests are skipped."""

ADMIN_PASSWORD = "an operator's"
STARTS_WITHIN_SECONDS = 90
_APPLICATION = "zenml.zen_server.zen_server_api:app"
_BUFFER = 65536


def free_port() -> int:
    """Give a port of 127.0.0.1 that nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class ZenmlServer:
    """The server and its operator. What it knows is in a folder, so that it can be killed and started again."""

    def __init__(self, python: str, folder: Path) -> None:
        self._python = python
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._token: str | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "ZENML_SERVER": "true",
            "ZENML_SERVER_DEPLOYMENT_TYPE": "other",
            "ZENML_SERVER_AUTO_ACTIVATE": "true",
            "ZENML_DEFAULT_USER_PASSWORD": ADMIN_PASSWORD,
            "ZENML_STORE_TYPE": "sql",
            "ZENML_STORE_URL": f"sqlite:///{self.folder}/zenml.db",
            "ZENML_CONFIG_PATH": str(self.folder / "config"),
            "ZENML_LOCAL_STORES_PATH": str(self.folder / "stores"),
            "ZENML_ANALYTICS_OPT_IN": "false",
        }
        command = [self._python, "-m", "uvicorn", _APPLICATION, "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + STARTS_WITHIN_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the ZenML server does not start: {self.log[-4000:]}")
            time.sleep(0.2)
        # Tokens are signed with a key of the process.
        self._token = None

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "server.log").read_text("utf-8", "replace")

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Make a call as the operator; below 400 only."""
        if self._token is None:
            login = {"username": "default", "password": ADMIN_PASSWORD}
            answer = requests.post(f"{self.url}/api/v1/login", data=login, timeout=30)
            answer.raise_for_status()
            self._token = str(answer.json()["access_token"])
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = requests.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=30, **arguments)
        assert answer.ok, answer.text
        return answer.json()

    def make_key(self, service_account: str) -> "ServiceAccountKey":
        """Make a service account with one key."""
        account = self.call("POST", "/service_accounts", json={"name": service_account, "active": True})["id"]
        made = self.call("POST", f"/service_accounts/{account}/api_keys", json={"name": "key"})
        return ServiceAccountKey(self, f"/service_accounts/{account}/api_keys/{made['id']}", made["body"]["key"])

    def steps(self, zenml_run_id: str) -> dict[str, str]:
        """Give the steps of a run with their status."""
        found = self.call("GET", "/steps", params={"pipeline_run_id": zenml_run_id, "size": 50})["items"]
        return {step["name"]: step["body"]["status"] for step in found}

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=2).ok
        except requests.RequestException:
            return False


class ServiceAccountKey:
    """A service account's key. Every value it ever had is kept, for they must be found nowhere."""

    def __init__(self, server: ZenmlServer, path: str, value: str) -> None:
        self._server = server
        self._path = path
        self.values = [value]

    @property
    def value(self) -> str:
        """The key as it is now."""
        return self.values[-1]

    def activate(self, active: bool) -> None:
        """Switch it on or off."""
        self._server.call("PUT", self._path, json={"active": active})

    def rotate(self, retain_minutes: int) -> None:
        """Replace it; the old value is good for so many minutes more."""
        body = {"retain_period_minutes": retain_minutes}
        self.values.append(self._server.call("PUT", f"{self._path}/rotate", json=body)["body"]["key"])


class Line:
    """A TCP line from a port of its own to the server: open, cut (refuses connections) or silent (never answers)."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._listener: socket.socket | None = None
        self._ends: set[socket.socket] = set()
        self._silent = False
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """What a task takes for the server's address."""
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Let everything through."""
        self.cut()
        self._silent = False
        self._listen()

    def silence(self) -> None:
        """Take connections, and let nothing through; the ones that are open stay so."""
        self._silent = True
        if self._listener is None:
            self._listen()

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        with self._lock:
            listener, self._listener = self._listener, None
            ends, self._ends = self._ends, set()
        for end in (*ends, *([listener] if listener else [])):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its other side was faster
            finally:
                end.close()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._ends.add(near)
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        with self._lock:
            self._ends.add(far)
        threading.Thread(target=self._pump, args=(near, far), daemon=True).start()
        self._pump(far, near)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(_BUFFER):
                if not self._silent:
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # cut, or its other side has gone
