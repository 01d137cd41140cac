"""A TCP proxy that cuts its connections, blocks or slows them, or falls silent, when told to."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

_CHUNK_BYTES = 64 * 1024


class Proxy:
    """Passes connections on to one address, host:port or unix://PATH, on a thread of its own."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._muted: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._delay_seconds = 0.0
        self._blocked = False
        self.connections = 0
        self.address = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Reset all connections; new ones are welcome."""
        self._call(self._cut())

    def block(self) -> None:
        """Reset all connections, and new ones too."""
        self._blocked = True
        self._call(self._cut())

    def unblock(self) -> None:
        """New connections are welcome again."""
        self._blocked = False

    def fall_silent(self) -> None:
        """Pass nothing on any more over the present connections, and leave them open."""
        self._call(self._fall_silent())

    def slow_down(self, seconds: float) -> None:
        """Hold back by so long whatever is passed on from now, each way."""
        self._delay_seconds = seconds

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._blocked:
            writer.transport.abort()
            return
        self.connections += 1
        self._writers.add(writer)
        try:
            far_reader, far_writer = await self._connect()
            self._writers.add(far_writer)
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        except OSError:
            writer.transport.abort()
        except asyncio.CancelledError:
            pass  # by `_stop`; asyncio's streams would complain of it aloud

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.startswith("unix://"):
            return await asyncio.open_unix_connection(self._target.removeprefix("unix://"))
        host, _, port = self._target.rpartition(":")
        return await asyncio.open_connection(host, int(port))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await asyncio.sleep(self._delay_seconds)
                if writer not in self._muted:
                    writer.write(data)
                    await writer.drain()
        if writer not in self._muted:
            writer.close()

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _fall_silent(self) -> None:
        self._muted |= self._writers

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
