"""Passes on what a server and its Docker daemon or API server say, and notes each request.

A connection carries many requests, so that counting connections would tell nothing: the requests
are told apart as HTTP does it, by the lengths of their bodies.
"""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_CHUNK_BYTES = 64 * 1024
_START_SECONDS = 10.0
_QUIET_SECONDS = 0.5
_QUIET_LOOKS = 60


@dataclass(slots=True)
class Request:
    """A request. Times by `time.perf_counter`, 0 for an answer that hasn't come."""

    method: str
    target: str
    began: float
    answered: float = 0.0


class Splitter:
    """Finds the requests in what a client sends, in whatever pieces it comes."""

    def __init__(self) -> None:
        self._head = b""
        self._body = 0

    def feed(self, data: bytes) -> Iterator[tuple[str, str]]:
        """Yield method and target of each request whose head is complete now.

        Raises:
            ValueError: a body whose length isn't told beforehand, as the SDK never sends one.
        """
        while data:
            if self._body:
                data, self._body = data[self._body :], max(self._body - len(data), 0)
                continue
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head = head
                return
            self._head = b""
            line, *fields = head.decode("latin-1").split("\r\n")
            self._body = _body_bytes(fields)
            method, target, _ = line.split(" ")
            yield method, target


def _body_bytes(fields: list[str]) -> int:
    values = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    if "transfer-encoding" in values:
        raise ValueError(f"a body of unknown length: {values}")
    return int(values.get("content-length", 0))


class Proxy:
    """The requests so far, which other threads may read.

    `host` is where it listens, as DOCKER_HOST has it: at a path; without one, on a port of
    loopback, which is known once it serves. With `tls`, it speaks that to what is behind it.
    """

    def __init__(self, upstream: str, path: Path | None, tls: ssl.SSLContext | None = None) -> None:
        self.host = "" if path is None else f"unix://{path}"
        self.requests: list[Request] = []
        self._upstream = urlsplit(upstream)
        self._path = path
        self._tls = tls
        if self._upstream.scheme not in {"unix", "tcp"}:
            raise ValueError(f"no way to count the requests to {upstream}: use unix:// or tcp://")

    def count(self, wanted: Callable[[Request], bool]) -> int:
        """How many such requests there were."""
        return sum(map(wanted, list(self.requests)))

    def settle(self, wanted: Callable[[Request], bool]) -> int:
        """The same, once no such request has come for a while."""
        before = -1
        for _ in range(_QUIET_LOOKS):
            if (now := self.count(wanted)) == before:
                return now
            before = now
            time.sleep(_QUIET_SECONDS)
        raise RuntimeError(f"there is no end of requests: {before}")

    def per_minute(self, seconds: float) -> float:
        """How many requests a minute has, by those that come within so many seconds from now."""
        before, began = len(self.requests), time.perf_counter()
        time.sleep(seconds)
        return (len(self.requests) - before) / (time.perf_counter() - began) * 60

    async def serve(self, started: threading.Event, stopping: asyncio.Event) -> None:
        """Pass on until told to stop."""
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._connection(reader, writer)

        server = await self._listen(accept)
        started.set()
        await stopping.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, accept: Accept) -> asyncio.Server:
        if self._path is not None:
            return await asyncio.start_unix_server(accept, self._path)
        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.host = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._upstream.scheme == "unix":
            return await asyncio.open_unix_connection(self._upstream.path)
        host, port = self._upstream.hostname, self._upstream.port
        return await asyncio.open_connection(host, port, ssl=self._tls)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await self._connect()
        splitter, waiting = Splitter(), list[Request]()

        def sent(data: bytes) -> None:
            for method, target in splitter.feed(data):
                waiting.append(Request(method, unquote(target), time.perf_counter()))
                self.requests.append(waiting[-1])

        def answered(_: bytes) -> None:
            for request in waiting:
                request.answered = time.perf_counter()
            waiting.clear()

        try:
            # Whichever side closes, the other one's connection is of no more use.
            both = [
                asyncio.ensure_future(_pass_on(reader, upstream_writer, sent)),
                asyncio.ensure_future(_pass_on(upstream_reader, writer, answered)),
            ]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        finally:
            upstream_writer.close()
            writer.close()


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None]
) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        note(data)
        writer.write(data)
        await writer.drain()


@contextlib.contextmanager
def counting(upstream: str, directory: Path) -> Iterator[Proxy]:
    """A proxy to the daemon at `upstream`, on a thread of its own, with a socket in the directory.

    Raises:
        ValueError: it can't be counted what is said there.
    """
    with serving(Proxy(upstream, directory / "proxy.sock")) as proxy:
        yield proxy


@contextlib.contextmanager
def serving(proxy: Proxy) -> Iterator[Proxy]:
    """Have it serve on a thread of its own."""
    started, stopping = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(
        target=loop.run_until_complete, args=(proxy.serve(started, stopping),), daemon=True
    )
    thread.start()
    try:
        if not started.wait(_START_SECONDS):
            raise RuntimeError("the proxy doesn't start")
        yield proxy
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(_START_SECONDS)
        loop.close()
