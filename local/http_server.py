"""A small threaded HTTP/1.1 server on 127.0.0.1, for the AWS endpoint, the HTTP API and the Lambda Runtime API."""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
Headers = Sequence[tuple[str, str]]
_LINE_LIMIT = 65_536
_DRAIN_LIMIT_BYTES = 256 * 1024 * 1024


class MalformedRequestError(ValueError):
    """What arrived is no HTTP request that can be read to its end."""


@dataclass(frozen=True)
class Request:
    """One request as it came over the wire; nothing in it is decoded."""

    method: str
    target: str
    headers: Headers
    body: bytes
    client: str
    client_port: int = 0
    protocol: str = "HTTP/1.1"
    too_large: bool = False

    @property
    def path(self) -> str:
        """The target up to the question mark, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target after the question mark, still percent-encoded."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the first header of that name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True)
class Response:
    """One answer. Content-Length is added by the server; `close` ends the connection after it.

    Of one that is `lost` nothing is sent: the connection ends instead.
    """

    status: int
    headers: Headers = field(default=())
    body: bytes = b""
    close: bool = False
    lost: bool = False


Handler = Callable[[Request], Response]


class HttpServer:
    """Answers requests with `handler`, one thread a connection, keep-alive, no Nagle delay.

    The socket is bound by the constructor (port 0: any free one), so the address is known before anything is served.
    A body of more than `max_body_bytes` is read and thrown away; the handler then sees `too_large` and an empty body.
    """

    def __init__(self, handler: Handler, *, port: int = 0, name: str, max_body_bytes: int | None = None) -> None:
        self._server = _Server((HOST, port), handler, max_body_bytes)
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._started = False

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Serve from now on, in the background."""
        self._started = True
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut every open connection."""
        if self._started:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.cut_connections()

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.1)


def free_port(preferred: int) -> int:
    """Return `preferred` if nothing listens there, else 0 (let the system choose)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, preferred))
        except OSError:
            return 0
    return preferred


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: Handler, max_body_bytes: int | None) -> None:
        self.handler = handler
        self.max_body_bytes = max_body_bytes
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(address, _Connection)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        if not isinstance(request, socket.socket):
            raise TypeError("A TCP server got a datagram.")
        with self._connections_lock:
            self._connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._connections_lock:
                self._connections.discard(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log it for the curious: a client that hangs up is no news, and the handler logs its own errors."""
        del request
        logger.debug("The connection of %s ended early.", client_address)

    def cut_connections(self) -> None:
        with self._connections_lock:
            connections = list(self._connections)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                logger.debug("A connection was already closed.")


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def version_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        del format, args

    def handle_expect_100(self) -> bool:
        self.send_response_only(HTTPStatus.CONTINUE)
        self.end_headers()
        self.wfile.flush()
        return True

    def answer(self) -> None:
        try:
            body, too_large = self._read_body()
        except MalformedRequestError as error:
            self.send_error(HTTPStatus.BAD_REQUEST, str(error))
            self.close_connection = True
            return
        request = Request(
            method=self.command,
            target=self.raw_target,
            headers=tuple(self.headers.items()),
            body=body,
            client=str(self.client_address[0]),
            client_port=int(self.client_address[1]),
            protocol=self.request_version,
            too_large=too_large,
        )
        try:
            response = self.server.handler(request)
        except Exception:
            logger.exception("%s %s could not be answered.", request.method, request.path)
            response = Response(500, [("Content-Type", "text/plain")], b"The embedded AWS failed; see its own log.\n")
        self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the base class calls them so

    @property
    def raw_target(self) -> str:
        """The request target as sent; the base class folds leading slashes."""
        target = self.requestline.split()[1]
        if target.startswith("/"):
            return target
        # Absolute form (RFC 9112 section 3.2.2): proxies send it.
        _, separator, rest = target.partition("://")
        return "/" + rest.partition("/")[2] if separator else target

    def _read_body(self) -> tuple[bytes, bool]:
        limit = self.server.max_body_bytes
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._read_chunks(limit)
        try:
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError as error:
            raise MalformedRequestError("Content-Length is not a number.") from error
        if length < 0:
            raise MalformedRequestError("Content-Length is negative.")
        if limit is not None and length > limit:
            self._drain(length)
            return b"", True
        body = self.rfile.read(length) if length else b""
        if len(body) < length:
            raise MalformedRequestError("The body ended early.")
        return body, False

    def _read_chunks(self, limit: int | None) -> tuple[bytes, bool]:
        """Chunked transfer coding, RFC 9112 section 7.1."""
        chunks: list[bytes] = []
        total = 0
        while True:
            line = self.rfile.readline(_LINE_LIMIT)
            try:
                size = int(line.split(b";", 1)[0].strip(), 16)
            except ValueError as error:
                raise MalformedRequestError("A chunk has no size.") from error
            if size == 0:
                while self.rfile.readline(_LINE_LIMIT).strip():
                    pass
                break
            chunk = self.rfile.read(size)
            if len(chunk) < size or self.rfile.readline(_LINE_LIMIT).strip():
                raise MalformedRequestError("A chunk ended early.")
            total += size
            if limit is None or total <= limit:
                chunks.append(chunk)
        if limit is not None and total > limit:
            return b"", True
        return b"".join(chunks), False

    def _drain(self, length: int) -> None:
        """Read and forget, or a client that is still sending sees a reset instead of the answer."""
        remaining = min(length, _DRAIN_LIMIT_BYTES)
        while remaining > 0:
            read = len(self.rfile.read(min(remaining, 1 << 20)))
            if read == 0:
                break
            remaining -= read
        if length > _DRAIN_LIMIT_BYTES:
            self.close_connection = True

    def _send(self, response: Response) -> None:
        if response.lost:
            self.close_connection = True
            return
        has_body = self.command != "HEAD" and response.status not in {204, 304}
        self.send_response_only(response.status)
        named = {name.lower() for name, _ in response.headers}
        if "date" not in named:
            self.send_header("Date", self.date_time_string())
        for name, value in response.headers:
            self.send_header(name, _safe(value))
        if "content-length" not in named and response.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(response.body)))
        if response.close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if has_body:
            self.wfile.write(response.body)
        self.wfile.flush()


def _safe(value: str) -> str:
    """Header values are latin-1 on one line; whatever else is in one is replaced."""
    return value.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace").decode("latin-1")
