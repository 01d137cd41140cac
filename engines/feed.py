"""Tells any number of watchers what changed, each at its own pace."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence

from engines.base import Changed, Contact, Event, Job, Removed, Snapshot
from engines.errors import EngineError

CONTACT_INTERVAL_SECONDS = 5.0
"""A watcher hears something at least this often; the contract asks for 10 s."""

MAX_PENDING_EVENTS = 10_000
"""A watcher that is further behind than this gets a Snapshot in place of the events."""


class Feed:
    """The watchers of one engine.

    Of each job a watcher is kept only the newest event that it hasn't seen, so that a slow
    one costs memory for jobs, not for changes.
    """

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()

    def publish(self, event: Changed | Removed) -> None:
        """Tell every watcher."""
        uid = event.job.uid if isinstance(event, Changed) else event.uid
        for watcher in self._watchers:
            watcher.add(uid, event)

    def fail(self, error: EngineError) -> None:
        """End every watch that is open with this error."""
        for watcher in self._watchers:
            watcher.error = error
            watcher.wake.set()

    async def watch(self, jobs: Callable[[], Sequence[Job]]) -> AsyncGenerator[Event]:
        """Yield a Snapshot of `jobs()`, then what is published, with Contact in between."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            yield Snapshot(jobs(), time.monotonic())
            while True:
                for event in await watcher.next():
                    yield event
                if watcher.overflowed:
                    watcher.overflowed = False
                    yield Snapshot(jobs(), time.monotonic())
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    """What one watcher has not seen yet, by uid and in order of each job's first event."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.error: EngineError | None = None
        self.overflowed = False
        self._pending: dict[str, Changed | Removed] = {}

    def add(self, uid: str, event: Changed | Removed) -> None:
        self._pending[uid] = event
        if len(self._pending) > MAX_PENDING_EVENTS:
            self._pending.clear()
            self.overflowed = True
        self.wake.set()

    async def next(self) -> Sequence[Event]:
        try:
            async with asyncio.timeout(CONTACT_INTERVAL_SECONDS):
                await self.wake.wait()
        except TimeoutError:
            return [Contact()]
        pending = list(self._pending.values())
        self._pending.clear()
        if self.error is None:
            self.wake.clear()
        elif not pending:
            raise self.error
        return pending
