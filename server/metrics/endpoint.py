"""The HTTP port for Prometheus and probes: /metrics, /healthz and /readyz.

On threads of its own: on the server's event loop, making a page would hold up calls, and a loop
that is stuck could no longer be asked. A slow client holds one of a bounded number of threads, for
a few seconds from its connection to its answer's last byte; where there are too many, the oldest
makes room, so that nobody can keep probes out.
"""

import asyncio
import contextlib
import gzip
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

import structlog
from prometheus_client.exposition import choose_encoder, gzip_accepted

from server.metrics.collector import Metrics

EXCHANGE_SECONDS: Final = 10.0
"""From the connection to the end of the answer."""

MAX_CONNECTIONS: Final = 64
"""Open at once; one more ends the oldest."""

RESTS: Final = 4.0
"""How long no further page is made after one, in times of the processor's time that it took."""

_LOOK_SECONDS: Final = 0.1

_log = structlog.get_logger()


class Endpoint:
    """Serves a server's metrics and probes while it is entered.

    `listen`: host:port; with port 0 a free one, which `address` then tells. `ready`: whether
    calls should be sent to this server; it is asked on threads of this port.

    Raises:
        ValueError: the address isn't host:port.
    """

    def __init__(self, listen: str, metrics: Metrics, ready: Callable[[], bool]) -> None:
        self._host, self._port = _host_and_port(listen)
        self._metrics = metrics
        self._ready = ready
        self._making = threading.Lock()
        self._shown_host = listen.rpartition(":")[0]
        self.address = ""

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: nobody can listen there.
        """
        self._server = _Server(self._host, self._port, self)
        self.address = f"{self._shown_host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_LOOK_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._server.shutdown)
        self._server.server_close()
        self._server.cut_all()

    def health(self, path: str) -> HTTPStatus:
        """The answer to a probe."""
        fine = path == "/healthz" or self._ready()
        return HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE

    def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the form that is asked for, and its content type.

        Who asks without a pause waits, since all threads share one processor with the calls.
        """
        encode, content_type = choose_encoder(accept)
        with self._making:
            began = time.thread_time()
            page = encode(self._metrics.registry)
            time.sleep(RESTS * (time.thread_time() - began))
        return page, content_type


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection, of a bounded number and for a bounded time."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._began: dict[socket.socket, float] = {}
        try:
            (self.address_family, _, _, _, address), *_ = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
            super().__init__(address[:2], _Handler)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except OSError as error:
            raise OSError(
                f"can't listen on --metrics-listen {host}:{port}: {error.strerror or error}. "
                "Choose another address, port 0 for any free one"
            ) from error

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve a connection; if that is one too many, the one that is here longest has to go."""
        self._began[request] = time.monotonic()
        if len(self._began) > MAX_CONNECTIONS:
            self._cut(next(iter(self._began)))
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Cut off who takes too long; called again and again while serving."""
        now = time.monotonic()
        for connection, began in list(self._began.items()):
            if now - began > EXCHANGE_SECONDS:
                self._cut(connection)

    def cut_all(self) -> None:
        """Leave nobody waiting."""
        for connection in list(self._began):
            self._cut(connection)

    def _cut(self, connection: socket.socket) -> None:
        self._began.pop(connection, None)
        # Its thread may have closed it meanwhile.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """A connection has been served."""
        self._began.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Nothing: clients may leave at any time."""


class _Handler(BaseHTTPRequestHandler):
    """One request: HTTP/1.0, so that the connection ends with its answer."""

    @property
    def _endpoint(self) -> Endpoint:
        return cast("_Server", self.server).endpoint

    def do_GET(self) -> None:
        """Answer."""
        path = urlsplit(self.path).path
        try:
            if path == "/metrics":
                self._send_page()
            elif path in ("/healthz", "/readyz"):
                self._send_status(self._endpoint.health(path))
            else:
                self._send_status(HTTPStatus.NOT_FOUND)
        except OSError:
            raise
        except Exception:  # noqa: BLE001
            _log.exception("metrics_failed")
            self._send_status(HTTPStatus.INTERNAL_SERVER_ERROR)

    do_HEAD = do_GET  # noqa: N815

    def _send_page(self) -> None:
        page, content_type = self._endpoint.page(self.headers.get("Accept", ""))
        fields = {"Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(self.headers.get("Accept-Encoding", "")):
            page = gzip.compress(page, compresslevel=1)
            fields["Content-Encoding"] = "gzip"
        self._send(HTTPStatus.OK, page, content_type, fields)

    def _send_status(self, status: HTTPStatus) -> None:
        self._send(status, f"{status.phrase}\n".encode(), "text/plain; charset=utf-8", {})

    def _send(
        self, status: HTTPStatus, body: bytes, content_type: str, fields: dict[str, str]
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            **fields,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Instead of Python's own version, which is nobody's business."""
        return "jobengine"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: probes come every few seconds."""


def _host_and_port(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"--metrics-listen {listen!r} isn't host:port, for example 127.0.0.1:9464")
    return host.removeprefix("[").removesuffix("]"), int(port)
