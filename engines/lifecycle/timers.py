"""Many deadlines of jobs with one timer of the event loop."""

import asyncio
import heapq
import time
from collections.abc import Callable
from typing import Final, NamedTuple

_LONGEST_WAIT_SECONDS: Final = 60.0
"""The wall clock may be set meanwhile; deadlines go by it because they outlive the server."""


class Timer(NamedTuple):
    """Something to do about a job at a time (seconds since the epoch)."""

    time: float
    kind: str
    name: str
    uid: str


class Timers:
    """A heap of timers. One that no longer applies is ignored by whoever it is handed to."""

    def __init__(self, fire: Callable[[Timer], None]) -> None:
        self._fire = fire
        self._heap: list[Timer] = []
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def add(self, timer: Timer) -> None:
        """Have `fire` called with it when its time has come."""
        heapq.heappush(self._heap, timer)
        if self._heap[0] is timer:
            self._arm()

    def close(self) -> None:
        """Forget all."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._heap:
            delay = min(max(self._heap[0].time - time.time(), 0.0), _LONGEST_WAIT_SECONDS)
            self._handle = self._loop.call_later(delay, self._run)

    def _run(self) -> None:
        now = time.time()
        while self._heap and self._heap[0].time <= now:
            self._fire(heapq.heappop(self._heap))
        self._arm()
