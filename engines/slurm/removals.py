"""Removes jobs that are over, however often that fails."""

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Final

import structlog

from engines import EngineError
from engines.backoff import Backoff
from engines.lifecycle import facts
from engines.lifecycle.facts import Intent, Stop
from engines.lifecycle.ledger import Ledger
from engines.slurm.cluster import Cluster
from engines.slurm.queue import Entry

TRY_AGAIN: Final = Backoff(first=0.2, longest=30.0)

CLEANING_SECONDS: Final = 60.0
"""How long a job may be COMPLETING before its files are removed all the same: on a node that is
down that is for ever, and nothing of it can begin any more."""

_log = structlog.get_logger(__name__)


class Removals:
    """The removals that are under way, by the job's name. `nudge` has the queue read soon."""

    def __init__(self, cluster: Cluster, ledger: Ledger, nudge: Callable[[], None]) -> None:
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._cluster = cluster
        self._ledger = ledger
        self._nudge = nudge
        self._left: dict[str, list[Entry]] = {}
        self._read_at = 0.0
        self._news = asyncio.Event()

    async def close(self) -> None:
        """Leave them to the next session."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def meet(self, left: dict[str, list[Entry]], began: float) -> None:
        """Take note of what was in the queue and not over, by uid."""
        self._left, self._read_at = left, began
        self._news.set()
        self._news = asyncio.Event()

    async def note(self, intent: Intent) -> None:
        """Note durably that a job that is over has to go, and begin to remove it."""
        await self._cluster.desk.delete(intent, self._stop())
        self.begin(intent, noted=True)

    def begin(self, intent: Intent, *, noted: bool) -> None:
        """Remove a job; nothing if it is gone or that is under way."""
        name = intent.name
        if name not in self.tasks and self._ledger.knows(intent.uid, name):
            task = asyncio.create_task(self._remove(intent, noted=noted))
            self.tasks[name] = task
            task.add_done_callback(lambda _: self.tasks.pop(name, None))

    async def _remove(self, intent: Intent, *, noted: bool) -> None:
        store = self._cluster.store
        for failures in itertools.count(1):
            try:
                if not noted:
                    await self._cluster.desk.delete(intent, self._stop())
                await self._clear(intent)
                await self._cluster.disk.do(
                    intent.uid, lambda: store.discard(intent.name, intent.uid)
                )
            except EngineError as error:
                _log.info("slurm_job_not_removed", job=intent.name, error=str(error))
                await asyncio.sleep(TRY_AGAIN.after(failures))
            else:
                self._ledger.forget(intent.uid, intent.name)
                return

    async def _clear(self, intent: Intent) -> None:
        """See to it that Slurm has nothing more of a job; what it has is ended."""
        since = time.monotonic()
        while True:
            asked = time.monotonic()
            while self._read_at < asked:
                self._nudge()
                await self._news.wait()
            left = self._left.get(intent.uid, [])
            if time.monotonic() - since > CLEANING_SECONDS:
                left = [entry for entry in left if entry.state != "COMPLETING"]
            if not left:
                return
            running = [entry.id for entry in left if entry.state != "COMPLETING"]
            if running:
                await self._cluster.slurm.signal(intent.name, running, "KILL")

    @staticmethod
    def _stop() -> Stop:
        return Stop(facts.DELETED, time.time(), 0.0)
