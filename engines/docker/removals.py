"""Removes jobs that are over, however often that fails."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

import structlog

from engines.backoff import Backoff
from engines.docker import record
from engines.docker.api import Api
from engines.docker.decisions import Decisions
from engines.docker.record import Labels
from engines.errors import EngineError
from engines.lifecycle import facts
from engines.lifecycle.facts import Intent, Stop
from engines.lifecycle.ledger import Ledger

TRY_AGAIN: Final = Backoff(first=0.2, longest=30.0)

_log = structlog.get_logger(__name__)


class Removals:
    """The removals that are under way, by the job's name. `now` is the daemon's clock."""

    def __init__(
        self,
        api: Api,
        labels: Labels,
        decisions: Decisions,
        ledger: Ledger,
        now: Callable[[], float],
    ) -> None:
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._api = api
        self._labels = labels
        self._decisions = decisions
        self._ledger = ledger
        self._now = now

    async def close(self) -> None:
        """Leave them to the next connection."""
        tasks = list(self.tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def note(self, intent: Intent) -> None:
        """Note durably that a job that is over has to go, and begin to remove it."""
        await self._decisions.delete(intent, self._stop())
        self.begin(intent, noted=True)

    def begin(self, intent: Intent, *, noted: bool) -> None:
        """Remove a job; nothing if it is gone or that is under way."""
        name = intent.name
        if name not in self.tasks and self._ledger.knows(intent.uid, name):
            task = asyncio.create_task(self._remove(intent, noted=noted))
            self.tasks[name] = task
            task.add_done_callback(lambda _: self.tasks.pop(name, None))

    async def _remove(self, intent: Intent, *, noted: bool) -> None:
        for failures in itertools.count(1):
            try:
                if not noted:
                    await self._decisions.delete(intent, self._stop())
                await self._api.remove_volume(self._labels.job_volume(intent.name))
                await self.sweep(intent.uid)
            except EngineError as error:
                _log.info("docker_job_not_removed", job=intent.name, error=str(error))
                await asyncio.sleep(TRY_AGAIN.after(failures))
            else:
                self._ledger.forget(intent.uid, intent.name)
                return

    async def sweep(self, uid: str) -> None:
        """Remove what there is of a job whose own volume is gone.

        Whatever is left when this is cut short tells the next server to go on with it; that the
        job was to go has to be the last thing forgotten.
        """
        containers = [
            str(found["Id"])
            for found in await self._api.containers(uid)
            if self._labels.run(found.get("Labels"), found["Names"][0]) is not None
        ]
        await asyncio.gather(*(self._api.remove(each, force=True) for each in containers))
        volumes = [str(found["Name"]) for found in await self._api.volumes(uid)]
        last = [name for name in volumes if name.endswith(f".{record.DELETE}")]
        first = [name for name in volumes if name not in last]
        for names in (first, last):
            await asyncio.gather(*map(self._api.remove_volume, names))

    def _stop(self) -> Stop:
        return Stop(facts.DELETED, self._now(), 0.0)
