"""What a blocking iterator yields, brought to the event loop."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from engines.docker.pump import MAX_WAITING, Pump

DEADLINE_SECONDS = 10.0

Source = tuple[Iterator[int], Callable[[], None]]


class Stream:
    """Numbers from 0 on; an interrupt ends them, also where they hang."""

    def __init__(self, count: int, *, hangs: bool = False, error: Exception | None = None) -> None:
        self._count = count
        self._hangs = hangs
        self._error = error
        self._interrupted = threading.Event()
        self.given = 0
        self.interrupts = 0
        self.hanging = threading.Event()
        self.over = threading.Event()

    def open(self) -> Source:
        return self._items(), self._interrupt

    def _interrupt(self) -> None:
        self.interrupts += 1
        self._interrupted.set()

    def _items(self) -> Iterator[int]:
        try:
            for number in range(self._count):
                self.given += 1
                yield number
            if self._hangs:
                self.hanging.set()
                assert self._interrupted.wait(DEADLINE_SECONDS)
            if self._error is not None:
                raise self._error
        finally:
            self.over.set()

    async def ends(self) -> None:
        """Wait until nobody reads it any more."""
        assert await asyncio.to_thread(self.over.wait, DEADLINE_SECONDS)


async def read(stream: Stream) -> list[int]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return [item async for item in Pump(stream.open).read()]


@pytest.mark.parametrize("count", [0, 1, 7, MAX_WAITING, 3 * MAX_WAITING])
async def test_all_items_in_order(count: int) -> None:
    stream = Stream(count)
    assert await read(stream) == list(range(count))
    assert stream.interrupts == 1


async def test_errors_come_after_the_items() -> None:
    items = Pump(Stream(3, error=ValueError("mine")).open).read()
    assert [await anext(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="mine"):
        await anext(items)


async def test_an_error_of_the_source() -> None:
    def fail() -> Source:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        async for _ in Pump(fail).read():
            pass


async def test_closing_interrupts() -> None:
    stream = Stream(1, hangs=True)
    async with contextlib.aclosing(Pump(stream.open).read()) as items:
        assert await anext(items) == 0
    await stream.ends()
    assert stream.interrupts >= 1


async def test_a_reader_that_is_cancelled_interrupts() -> None:
    stream = Stream(0, hangs=True)
    task = asyncio.create_task(read(stream))
    assert await asyncio.to_thread(stream.hanging.wait, DEADLINE_SECONDS)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stream.ends()


async def test_closing_before_the_source_is_there() -> None:
    stream, opened = Stream(5, hangs=True), threading.Event()

    def open_late() -> Source:
        assert opened.wait(DEADLINE_SECONDS)
        return stream.open()

    task = asyncio.create_task(anext(Pump(open_late).read()))
    await asyncio.sleep(0)  # it waits for the first item now
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    opened.set()
    await stream.ends()
    assert stream.given <= 1


async def test_an_interrupt_that_fails_does_no_harm() -> None:
    stream = Stream(1, hangs=True)

    def interrupt() -> None:
        stream._interrupt()
        raise OSError("broken already")

    async with contextlib.aclosing(Pump(lambda: (stream.open()[0], interrupt)).read()) as items:
        assert await anext(items) == 0
    await stream.ends()


async def test_a_slow_reader_holds_the_thread_up() -> None:
    stream = Stream(10 * MAX_WAITING)
    async with contextlib.aclosing(Pump(stream.open).read()) as items:
        assert await anext(items) == 0
        async with asyncio.timeout(DEADLINE_SECONDS):
            while stream.given <= MAX_WAITING:  # nobody tells
                await asyncio.sleep(0.001)
        # It may have taken some before it was read for the first time.
        assert stream.given <= 2 * MAX_WAITING + 2
        assert [await anext(items) for _ in range(5000)] == list(range(1, 5001))
    await stream.ends()
    assert stream.given < 10 * MAX_WAITING
