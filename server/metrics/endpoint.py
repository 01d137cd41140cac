"""The HTTP port for Prometheus and probes: /metrics, /healthz and /readyz.

It has a thread with an event loop of its own. On the server's loop, making a page would hold up
calls, and a loop that is stuck or overloaded couldn't be asked any more. With a thread for each
request, slow clients would take them all; here they cost a buffer, each has a few seconds from its
connection to its answer's last byte, and where there are too many, the oldest makes room.

Python runs one thread at a time all the same. So pages of metrics are made with rests between
them: whoever asks without a pause waits, rather than that the server's calls do.
"""

import asyncio
import gzip
import re
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import Final, NamedTuple, Self, cast
from urllib.parse import urlsplit

import structlog
from prometheus_client.exposition import choose_encoder, gzip_accepted

from server.metrics.collector import Metrics

EXCHANGE_SECONDS: Final = 10.0
"""From the connection to the end of the answer."""

MAX_REQUEST_BYTES: Final = 8192

MAX_CONNECTIONS: Final = 64
"""Open at once; one more ends the oldest."""

RESTS: Final = 4.0
"""How long no page is made after a page, in times of the processor's time that it took."""

_REQUEST_LINE: Final = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.[01]")
_PLAIN: Final = "text/plain; charset=utf-8"

_log = structlog.get_logger()


class _Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


class _Answer(NamedTuple):
    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", _PLAIN),)


class Endpoint:
    """Serves a server's metrics and probes while it is entered.

    `listen`: host:port; with port 0 a free one, which `address` then tells. `ready`: whether
    calls should be sent to this server; it is asked on the thread of this port.
    """

    def __init__(self, listen: str, metrics: Metrics, ready: Callable[[], bool]) -> None:
        self._listen = listen
        self._metrics = metrics
        self._ready = ready
        self._stop = asyncio.Event()
        self._connections: dict[asyncio.Transport, None] = {}
        self._rested = 0.0
        self.address = ""

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            ValueError: the address isn't host:port.
            OSError: nobody can listen there.
        """
        host, port = _host_and_port(self._listen)
        listener = _bind(host, port)
        self.address = f"{self._listen.rpartition(':')[0]}:{listener.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="metrics", daemon=True
        )
        self._thread.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        await asyncio.to_thread(self._thread.join)

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        async with await self._loop.create_server(lambda: _Exchange(self), sock=listener) as server:
            await self._stop.wait()
            server.close()
            for transport in tuple(self._connections):
                transport.abort()

    def connected(self, transport: asyncio.Transport) -> None:
        """A client has come; if that is one too many, the one that is here longest has to go."""
        self._connections[transport] = None
        if len(self._connections) > MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.abort()

    def gone(self, transport: asyncio.Transport) -> None:
        """A client has left."""
        self._connections.pop(transport, None)

    def wait_seconds(self, request: _Request) -> float:
        """How long that has to wait, since metrics were told just now."""
        return self._rested - time.monotonic() if request.path == "/metrics" else 0.0

    def answer(self, request: _Request) -> bytes:
        """What is answered to it."""
        try:
            answer = self._page(*request)
        except Exception:  # noqa: BLE001
            _log.exception("metrics_failed")
            answer = _plain(HTTPStatus.INTERNAL_SERVER_ERROR)
        return _serialise(answer, with_body=request.method != "HEAD")

    def _page(self, method: str, path: str, headers: dict[str, str]) -> _Answer:
        if path not in ("/metrics", "/healthz", "/readyz"):
            return _plain(HTTPStatus.NOT_FOUND)
        if method not in ("GET", "HEAD"):
            refusal = _plain(HTTPStatus.METHOD_NOT_ALLOWED)
            return refusal._replace(headers=(*refusal.headers, ("Allow", "GET, HEAD")))
        if path == "/metrics":
            return self._exposition(headers)
        fine = path == "/healthz" or self._ready()
        return _plain(HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE)

    def _exposition(self, headers: dict[str, str]) -> _Answer:
        began = time.thread_time()
        encode, content_type = choose_encoder(headers.get("accept", ""))
        body = encode(self._metrics.registry)
        fields = [("Content-Type", content_type), ("Vary", "Accept, Accept-Encoding")]
        if gzip_accepted(headers.get("accept-encoding", "")):
            body = gzip.compress(body, compresslevel=1)
            fields.append(("Content-Encoding", "gzip"))
        self._rested = time.monotonic() + RESTS * (time.thread_time() - began)
        return _Answer(HTTPStatus.OK, body, tuple(fields))


class _Exchange(asyncio.Protocol):
    """One connection: a request, its answer, and the end."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._received = b""
        self._asked = False
        self._answered = False
        self._heard_all = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(EXCHANGE_SECONDS, self._transport.abort)
        self._endpoint.connected(self._transport)

    def data_received(self, data: bytes) -> None:
        """Take what comes; what comes after the head is dropped."""
        self._received += data
        head, end, _ = self._received[:MAX_REQUEST_BYTES].partition(b"\r\n\r\n")
        too_large = len(self._received) > MAX_REQUEST_BYTES
        if self._asked:
            if too_large:
                self._transport.abort()
        elif end:
            self._take(_parse(head))
        elif too_large:
            self._take(None, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _take(self, request: _Request | None, problem: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        self._asked = True
        self._received = b""
        if request is None:
            self._end_with(_serialise(_plain(problem)))
        else:
            self._answer(request)

    def _answer(self, request: _Request) -> None:
        if self._transport.is_closing():
            return
        if (wait_seconds := self._endpoint.wait_seconds(request)) > 0:
            self._loop.call_later(wait_seconds, self._answer, request)
        else:
            self._end_with(self._endpoint.answer(request))

    def _end_with(self, answer: bytes) -> None:
        """Answer, and let the client close: if we did, what it still sends could undo that."""
        self._answered = True
        self._transport.write(answer)
        if self._heard_all:
            self._transport.close()
        else:
            self._transport.write_eof()

    def eof_received(self) -> bool:
        """Keep the connection for the answer, where a client that waits for it sends no more."""
        self._heard_all = True
        return self._asked and not self._answered

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._timer.cancel()
        self._endpoint.gone(self._transport)


def _host_and_port(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"--metrics-listen {listen!r} isn't host:port, for example 127.0.0.1:9464")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _bind(host: str, port: int) -> socket.socket:
    try:
        (family, _, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server(
            cast("tuple[str, int]", address[:2]), family=family, dualstack_ipv6=host == "::"
        )
    except OSError as error:
        raise OSError(
            f"can't listen on --metrics-listen {host}:{port}: {error.strerror or error}. "
            "Choose another address, port 0 for any free one"
        ) from error


def _parse(head: bytes) -> _Request | None:
    line, *fields = head.split(b"\r\n")
    request = _REQUEST_LINE.fullmatch(line)
    if request is None:
        return None
    path = _path(request[2].decode("latin-1"))
    return _Request(request[1].decode(), path, dict(_header(field) for field in fields))


def _path(target: str) -> str:
    """The path of what is asked for, be it a whole URL."""
    try:
        return urlsplit(target).path
    except ValueError:
        return ""


def _header(line: bytes) -> tuple[str, str]:
    name, _, value = line.decode("latin-1").partition(":")
    return name.lower(), value.strip()


def _plain(status: HTTPStatus) -> _Answer:
    return _Answer(status, f"{status.phrase}\n".encode())


def _serialise(answer: _Answer, *, with_body: bool = True) -> bytes:
    status, body, headers = answer
    fields = [
        *headers,
        ("Content-Length", str(len(body))),
        ("Date", formatdate(usegmt=True)),
        ("Cache-Control", "no-store"),
        ("Connection", "close"),
    ]
    head = f"HTTP/1.1 {int(status)} {status.phrase}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields)
    return head.encode() + b"\r\n" + (body if with_body else b"")
