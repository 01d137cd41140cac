"""Blocking calls on a bounded number of threads."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from engines.docker.workers import Workers
from engines.errors import EngineUnavailable

DEADLINE_SECONDS = 10.0


class State:
    """A thread's own; counts the calls that it has taken part in."""

    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.calls = 0

    def count(self) -> int:
        assert threading.current_thread() is self.thread
        self.calls += 1
        return self.calls


@pytest.fixture
async def workers() -> AsyncIterator[Workers[State]]:
    """Two threads, which have ended afterwards."""
    made: list[State] = []

    def make() -> State:
        made.append(State())
        return made[-1]

    workers = Workers(2, make)
    yield workers
    workers.close()
    for state in made:
        await asyncio.to_thread(state.thread.join, DEADLINE_SECONDS)
        assert not state.thread.is_alive()
    assert len(made) <= 2


class Block:
    """Holds threads until it is opened, and counts them."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._held = threading.Semaphore(0)
        self.calls = 0

    def __call__(self, state: State) -> threading.Thread:
        self.calls += 1
        self._held.release()
        assert self._open.wait(DEADLINE_SECONDS)
        return state.thread

    async def holds(self, count: int) -> None:
        """Wait until it holds so many."""
        for _ in range(count):
            assert await asyncio.to_thread(self._held.acquire, timeout=DEADLINE_SECONDS)

    def open(self) -> None:
        self._open.set()


async def test_results(workers: Workers[State]) -> None:
    assert await workers.run(lambda _: "result") == "result"


async def test_a_thread_keeps_its_state(workers: Workers[State]) -> None:
    assert [await workers.run(State.count) for _ in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
async def test_errors(workers: Workers[State], error: BaseException) -> None:
    def fail(state: State) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await workers.run(fail)
    assert caught.value is error
    assert await workers.run(lambda _: 1) == 1


async def test_threads_are_bounded(workers: Workers[State]) -> None:
    block = Block()
    calls = [asyncio.create_task(workers.run(block)) for _ in range(10)]
    await block.holds(2)
    assert block.calls == 2
    block.open()
    assert len(set(await asyncio.gather(*calls))) == 2
    assert block.calls == 10


async def test_threads_are_daemons(workers: Workers[State]) -> None:
    assert await workers.run(lambda state: state.thread.daemon)


async def test_a_call_that_waits_and_is_abandoned_is_never_made(workers: Workers[State]) -> None:
    block = Block()
    calls = [asyncio.create_task(workers.run(block)) for _ in range(2)]
    await block.holds(2)
    made: list[State] = []
    waiting = asyncio.create_task(workers.run(made.append))
    last = asyncio.create_task(workers.run(lambda _: "next"))
    await asyncio.sleep(0)  # both are in the queue now
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    block.open()
    assert await last == "next"
    await asyncio.gather(*calls)
    assert made == []


async def test_a_call_under_way_that_is_abandoned_goes_on(workers: Workers[State]) -> None:
    block = Block()
    call = asyncio.create_task(workers.run(block))
    await block.holds(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await workers.run(lambda _: "meanwhile") == "meanwhile"
    block.open()
    others = [asyncio.create_task(workers.run(block)) for _ in range(4)]
    assert len(set(await asyncio.gather(*others))) <= 2


async def test_closing_lets_calls_come_to_their_ends() -> None:
    workers, block = Workers(1, State), Block()
    calls = [asyncio.create_task(workers.run(block)) for _ in range(3)]
    await block.holds(1)
    workers.close()
    block.open()
    threads = set(await asyncio.gather(*calls))
    assert len(threads) == 1
    for thread in threads:
        await asyncio.to_thread(thread.join, DEADLINE_SECONDS)
        assert not thread.is_alive()


async def test_nothing_is_called_after_closing() -> None:
    for used in (True, False):
        workers = Workers(1, State)
        if used:
            await workers.run(State.count)
        workers.close()
        with pytest.raises(EngineUnavailable):
            await workers.run(State.count)
