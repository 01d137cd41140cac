"""One connection to Slurm: takes up what is there, and keeps up with the queue and the files.

One command reads the queue for all jobs, however many watch them. Beside it the directories of jobs
that aren't over are looked at, which tells of begins and ends sooner than the queue does.
"""

import asyncio
import contextlib
import time
from functools import partial
from typing import Final

import structlog

from engines import EngineError
from engines.slurm.cluster import Cluster
from engines.slurm.comparison import Comparison
from engines.slurm.controller import Controller
from engines.slurm.intake import Intake
from engines.slurm.survey import glances

IDLE_SECONDS: Final = 8.0
"""How often the queue is read where nothing is under way, as a sign of contact."""

NUDGED_SECONDS: Final = 0.25
"""How often it is read at most, where there is a reason to."""

LOOK_SECONDS: Final = 0.2
LOOK_SHARE: Final = 4.0
"""A look is followed by a pause of so many times what it took, on a slow file system."""

LIST_SECONDS: Final = 1.0
"""How often the directory is looked at for what other servers have accepted and removed."""

COMPARE_SECONDS: Final = 30.0
"""How often each job that is over is looked for."""

_log = structlog.get_logger(__name__)


class Session:
    """From a connection's beginning until it is lost; see `engines.link.Session`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._nudged = asyncio.Event()
        self.in_sync = asyncio.Event()
        self.controller = Controller(cluster, self._nudged.set)
        self.intake = Intake(self.controller)
        self._comparison = Comparison(self.controller)

    async def run(self) -> None:
        """Keep up with Slurm.

        Raises:
            EngineError: it is lost, or the directory is.
        """
        try:
            await self.intake.scan(own=True)
            await self._read_queue()
            self.in_sync.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read_queue_for_ever())
                group.create_task(self._look_for_ever())
                group.create_task(self._list_for_ever())
                group.create_task(self._tidy())
        except* EngineError as errors:
            raise _first(errors) from None

    async def close(self, error: EngineError) -> None:
        """Leave the jobs as they are."""
        await self.intake.close(error)

    async def _read_queue(self) -> None:
        began = time.monotonic()
        entries = await self._cluster.slurm.entries()
        await self._comparison.meet(entries, began)

    async def _read_queue_for_ever(self) -> None:
        interval = self._cluster.settings.poll_interval
        while True:
            pause = min(NUDGED_SECONDS, interval)
            await asyncio.sleep(pause)
            busy = self.controller.active or self.controller.removals.tasks
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((interval if busy else IDLE_SECONDS) - pause):
                    await self._nudged.wait()
            self._nudged.clear()
            await self._read_queue()

    async def _look_for_ever(self) -> None:
        store, disk = self._cluster.store, self._cluster.disk
        while True:
            began = time.monotonic()
            jobs = [job for job in self.controller.active.values() if not job.ending]
            if jobs:
                known = [job.known for job in jobs]
                seen = await disk.do("look", partial(glances, store, known))
                for job, glance in zip(jobs, seen, strict=True):
                    self.controller.take(job, glance)
                    await self.intake.heed(job, glance.decided)
            took = time.monotonic() - began
            await asyncio.sleep(max(LOOK_SECONDS, LOOK_SHARE * took))

    async def _list_for_ever(self) -> None:
        compared = time.monotonic()
        while True:
            await asyncio.sleep(LIST_SECONDS)
            await self.intake.scan(own=False)
            if time.monotonic() - compared > COMPARE_SECONDS:
                compared = time.monotonic()
                await self.intake.compare()

    async def _tidy(self) -> None:
        with contextlib.suppress(EngineError):
            await self._cluster.disk.do("tidy", self._cluster.store.tidy)


def _first(errors: BaseExceptionGroup[EngineError]) -> EngineError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, EngineError)  # noqa: S101  (the group has nothing else)
    return error
