"""Brings what a blocking iterator yields to the event loop, from a thread of its own."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

MAX_WAITING: Final = 1000
"""So many items wait for their reader; then the thread waits."""


class Pump(Generic[T]):
    """One thread, and what it has read that nobody has taken yet.

    `source` is called on the thread and gives what to read and how to end that from outside.
    The thread is a daemon: one that hangs keeps nobody from ending.
    """

    def __init__(self, source: Callable[[], tuple[Iterator[T], Callable[[], None]]]) -> None:
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._change = threading.Condition()
        self._items: deque[T] = deque()
        self._interrupt: Callable[[], None] | None = None
        self._closed = False
        self._over = False
        self._error: BaseException | None = None
        threading.Thread(target=self._work, name="docker-stream", daemon=True).start()

    async def read(self) -> AsyncGenerator[T]:
        """Yield the items, then raise what the source raised."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                for item in self._take():
                    yield item
                if self._over and not self._items:
                    break
        finally:
            self._close()
        if self._error is not None:
            raise self._error

    def _take(self) -> list[T]:
        with self._change:
            items = list(self._items)
            self._items.clear()
            self._change.notify()
            return items

    def _close(self) -> None:
        with self._change:
            self._closed = True
            self._items.clear()
            self._change.notify()
        if self._interrupt is not None and not self._over:
            with contextlib.suppress(Exception):  # it may be broken already
                self._interrupt()

    def _work(self) -> None:
        try:
            items, self._interrupt = self._source()
            for item in items:
                with self._change:
                    self._change.wait_for(lambda: self._closed or len(self._items) < MAX_WAITING)
                    if self._closed:
                        break
                    self._items.append(item)
                self._tell()
            self._interrupt()
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are read
            self._error = error
        self._over = True
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._news.set)
