"""Ends what shims have left behind that were killed."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog

from engines.local import record
from engines.local.cgroup import Group, Groups
from engines.local.jobs import LocalJob
from engines.local.record import Attempt
from engines.local.store import Store

_log = structlog.get_logger(__name__)

Running = Sequence[tuple[LocalJob, Attempt]]
"""Attempts that are believed to run, with their jobs."""


class Orphans:
    """Finds attempts whose shim is gone, and settles how they ended."""

    def __init__(self, store: Store, groups: Groups) -> None:
        self._store = store
        self._groups = groups

    async def find(self, running: Running) -> AsyncIterator[tuple[LocalJob, Attempt]]:
        """Yield those whose shim is gone, with the end that their record has by now."""
        for job, attempt in await asyncio.to_thread(self._unattended, running):
            group = self._group(job, attempt)
            try:
                ended = await asyncio.to_thread(self._store.settle, job.intent, attempt, group)
            except OSError as exc:
                _log.error("an attempt's end can't be written", job=job.intent.name, error=str(exc))
                continue
            if ended is not None:
                yield job, ended

    def _unattended(self, running: Running) -> Running:
        return [
            (job, attempt)
            for job, attempt in running
            if not self._store.looked_after(job.intent.name, *attempt[:2])
        ]

    def remove_groups(self, running: Running) -> None:
        """Remove control groups of shims that were killed, save of what still runs. Blocks."""
        kept = {self._group(job, attempt).name for job, attempt in running}
        for name, group in self._groups.leftovers().items():
            if name not in kept:
                group.kill()
                group.remove()

    def _group(self, job: LocalJob, attempt: Attempt) -> Group:
        return self._groups.group(job.intent.uid, record.attempt_name(*attempt[:2]))
