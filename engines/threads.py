"""Calls blocking functions from the event loop, on threads that can be abandoned."""

import asyncio
import contextlib
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from engines.errors import EngineUnavailable

MAX_THREADS = 64
"""More calls than these aren't begun: it takes that many hanging ones to get there."""

MAX_THREADS_PER_JOB = 8
"""The same for calls about one job, so that one job can't use up all threads."""

PATIENCE_SECONDS = 1.0
"""How long a call keeps the next one waiting. Slow can't be told from hung."""


class TooManyCalls(EngineUnavailable):
    """So many calls have not returned that no other is begun."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call returned, or raised."""

    value: object = None
    error: BaseException | None = None


class Threads:
    """Runs one call at a time, or with `exclusive=False` any number of them.

    The turn passes on when the call has returned or has taken PATIENCE_SECONDS. Who waits
    for a call may stop waiting at any time: before its turn the call is dropped, after that
    its outcome is. The threads are daemons, so that one that hangs doesn't keep the process
    alive; that's why this isn't a ThreadPoolExecutor.
    """

    def __init__(self, *, exclusive: bool) -> None:
        self._turn = asyncio.Semaphore(1 if exclusive else MAX_THREADS)
        self._running = Counter[str]()

    async def call(self, job: str, function: Callable[[], object]) -> Outcome:
        """Call the function, which is about that job, on a thread; return what came of it.

        Raises:
            TooManyCalls: too many calls have not returned.
        """
        await self._turn.acquire()
        pass_on = _Once(self._turn.release)
        try:
            outcome = self._start(job, function, pass_on)
        except BaseException:
            pass_on()
            raise
        return await outcome

    def _start(
        self, job: str, function: Callable[[], object], pass_on: Callable[[], None]
    ) -> asyncio.Future[Outcome]:
        self._require_room(job)
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()

        def finish(result: Outcome) -> None:
            self._running[job] -= 1
            self._running += Counter()  # drops what is at 0
            patience.cancel()
            pass_on()
            if not outcome.done():
                outcome.set_result(result)

        def work() -> None:
            result = _call(function)
            with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
                loop.call_soon_threadsafe(finish, result)

        context = contextvars.copy_context()
        try:
            threading.Thread(target=context.run, args=(work,), daemon=True).start()
        except RuntimeError as error:
            raise TooManyCalls(f"no thread for a call of the engine: {error}") from error
        self._running[job] += 1
        patience = loop.call_later(PATIENCE_SECONDS, pass_on)
        return outcome

    def _require_room(self, job: str) -> None:
        if self._running[job] >= MAX_THREADS_PER_JOB:
            raise TooManyCalls(
                f"{MAX_THREADS_PER_JOB} calls of the engine about the job {job!r} have not "
                "returned: it may hang"
            )
        if self._running.total() >= MAX_THREADS:
            raise TooManyCalls(f"{MAX_THREADS} calls of the engine have not returned: it may hang")


class _Once:
    """Calls a function once, however often it is called itself."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function: Callable[[], None] | None = function

    def __call__(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            function()


def _call(function: Callable[[], object]) -> Outcome:
    try:
        return Outcome(value=function())
    except BaseException as error:  # noqa: BLE001 - it is raised again on the event loop
        return Outcome(error=error)
