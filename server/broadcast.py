"""Wakes everybody who waits, at a cost that doesn't depend on how the others wait."""

import asyncio


class Broadcast:
    """A wake-up call for any number of tasks on one event loop.

    Each waiter has a future of its own: a shared one would pay for every timeout of one waiter
    with a search through all others.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[bool]] = set()

    def wake_all(self) -> None:
        """Wake all tasks that wait now."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(True)
        self._waiters.clear()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for the next wake-up call; False if none came in time."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.add(waiter)
        timer = loop.call_later(timeout_seconds, _expire, waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            self._waiters.discard(waiter)


def _expire(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
