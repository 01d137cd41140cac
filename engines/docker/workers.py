"""Runs blocking calls on a bounded number of threads that don't keep the process alive."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar, cast

from engines.errors import EngineUnavailable

T = TypeVar("T")
State = TypeVar("State")


class Workers(Generic[State]):
    """So many threads, each with a state of its own; calls beyond that wait their turn.

    `concurrent.futures.ThreadPoolExecutor` joins its threads when the interpreter ends, and so a
    daemon that hangs would keep a server from ending.
    """

    def __init__(self, count: int, make_state: Callable[[], State]) -> None:
        self._count = count
        self._make_state = make_state
        self._queue: queue.SimpleQueue[_Call[State] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = threading.Semaphore(0)
        self._closed = False

    async def run(self, function: Callable[[State], T]) -> T:
        """Call the function with a thread's state.

        For a caller that gives up before its turn, nothing is called.

        Raises:
            EngineUnavailable: the workers were closed.
        """
        if self._closed:
            raise EngineUnavailable("the docker engine was stopped")
        future: Future[object] = Future()
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._count:
            thread = threading.Thread(target=self._work, name="docker", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._queue.put(_Call(future, function))
        return cast("T", await asyncio.wrap_future(future))

    def close(self) -> None:
        """Let the threads end once they have done what they were given."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)

    def _work(self) -> None:
        state = self._make_state()
        while (call := self._queue.get()) is not None:
            call.run(state, self._idle.release)
            del call  # so that an idle thread holds nothing


class _Call(Generic[State]):
    def __init__(self, future: Future[object], function: Callable[[State], object]) -> None:
        self._future = future
        self._function = function

    def run(self, state: State, idle: Callable[[], None]) -> None:
        """Call the function; `idle` is called before anybody knows of its result."""
        if not self._future.set_running_or_notify_cancel():
            idle()
            return
        try:
            result = self._function(state)
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            idle()
            self._future.set_exception(error)
        else:
            idle()
            self._future.set_result(result)
