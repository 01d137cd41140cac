"""Takes in jobs, new ones and those that are found, and what other servers decide of them."""

import asyncio
import time
from functools import partial
from typing import Final

import structlog

from engines import (
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    InvalidSpec,
    Job,
    JobAlreadyExists,
    LimitReached,
)
from engines.link import outcome
from engines.slurm import record
from engines.slurm.controller import Controller
from engines.slurm.jobs import SlurmJob
from engines.slurm.record import KeptJob
from engines.slurm.script import make_run
from engines.slurm.survey import Sighting, see, see_all
from jobengine.v1.job_pb2 import JobSpec

FRESH_SECONDS: Final = 15.0
"""How long another server's job may be without a submission before it is taken up: until then it
may be refused still."""

HALF_GONE_SECONDS: Final = 60.0
SEEN_AT_ONCE: Final = 500

_log = structlog.get_logger(__name__)


class Intake:
    """The jobs of one session, by way of its `controller`, which carries them."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.creating: dict[str, asyncio.Task[Job]] = {}
        self._cluster = controller.cluster
        self._names: dict[str, int] = {}
        self._odd: dict[str, float] = {}

    async def close(self, error: EngineError) -> None:
        """Leave the jobs as they are, and take in no more."""
        self.controller.closed = True
        tasks = list(self.creating.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.controller.close(error)

    # -- new ones -------------------------------------------------------------------------------

    async def create(self, kept: KeptJob, spec: JobSpec) -> Job:
        """Accept a job.

        Raises:
            JobAlreadyExists: its name is taken.
            InvalidSpec, LimitReached, EngineFailed: Slurm refuses it; nothing was started.
        """
        intent = kept.intent
        task = asyncio.create_task(self._create(kept, spec))
        self.creating[intent.name] = task
        task.add_done_callback(lambda _: self.creating.pop(intent.name, None))
        # Shielded, so that a caller that gives up leaves a whole job behind.
        return await outcome(task, "Slurm")

    async def _create(self, kept: KeptJob, spec: JobSpec) -> Job:
        intent, store, disk = kept.intent, self._cluster.store, self._cluster.disk
        script = make_run(intent, spec, store.job_directory(intent.name, intent.uid))
        if not await disk.do(intent.uid, lambda: store.create(kept, script)):
            raise JobAlreadyExists(intent.name)
        job = SlurmJob(Sighting(kept), own=True)
        try:
            await self.controller.place(job)
        except (InvalidSpec, LimitReached, EngineFailed):
            await disk.do(intent.uid, lambda: store.discard(intent.name, intent.uid))
            raise
        except (EngineUnavailable, EngineTimeout) as doubt:
            _log.info("slurm_submission_in_doubt", job=intent.name, error=str(doubt))
        self.controller.begin(job)
        return self.controller.ledger.jobs[intent.name]

    # -- those that are found -------------------------------------------------------------------

    async def find(self, name: str) -> Job | None:
        """The job of this name, also one that another server has accepted a moment ago."""
        job = self.controller.ledger.jobs.get(name)
        if job is None and name not in self.creating:
            store = self._cluster.store
            seen = await self._cluster.disk.do(name, lambda: see(store, name))
            if seen is not None:
                self._take_up(seen, own=False)
        return self.controller.ledger.jobs.get(name)

    async def scan(self, *, own: bool) -> None:
        """Take up what there is, and let go of what there isn't.

        `own`: whether to submit at once what waits to be submitted.
        """
        store, disk = self._cluster.store, self._cluster.disk
        known = dict(self.controller.ledger.jobs)
        names = await disk.do("scan", store.names)
        for name, job in known.items():
            if name not in names and name not in self.controller.removals.tasks:
                self.controller.forget(job.uid, name)
        new = [
            name
            for name, mark in names.items()
            if (name not in known or self._names.get(name, mark) != mark)
            and name not in self.creating
        ]
        self._names = names
        for start in range(0, len(new), SEEN_AT_ONCE):
            part = new[start : start + SEEN_AT_ONCE]
            found = await disk.do("scan", partial(see_all, store, part))
            for seen in found:
                if own or not _fresh(seen):
                    self._take_up(seen, own=own)
            await self._mend(set(part) - {seen.kept.intent.name for seen in found})
        self._odd = {name: when for name, when in self._odd.items() if name in names}

    def _take_up(self, seen: Sighting, *, own: bool) -> None:
        """Take up a job where it stands; nothing if it is known, or being made here."""
        intent, controller = seen.kept.intent, self.controller
        if controller.ledger.knows(intent.uid, intent.name) or intent.name in self.creating:
            return
        if seen.end is not None:
            controller.show(intent, seen.end)
            controller.over(intent, seen.end, deleted=seen.deleted)
        else:
            controller.begin(SlurmJob(seen, own=own))

    async def _mend(self, odd: set[str]) -> None:
        """Free names of which a killed server has left half a job."""
        store, now = self._cluster.store, time.monotonic()
        for name in odd:
            if now - self._odd.setdefault(name, now) > HALF_GONE_SECONDS:
                self._odd[name] = now
                await self._cluster.disk.do(name, partial(store.mend, name))

    async def compare(self) -> None:
        """Let go of jobs that others have removed, and whose names are taken again."""
        store = self._cluster.store
        known = list(self.controller.ledger.jobs.values())
        gone = await self._cluster.disk.do(
            "compare", lambda: [job for job in known if not store.is_there(job.name, job.uid)]
        )
        for job in gone:
            if job.name not in self.controller.removals.tasks:
                self.controller.forget(job.uid, job.name)

    async def heed(self, job: SlurmJob, decided: frozenset[str]) -> None:
        """Take note of what another server has decided of a job."""
        news = (
            (record.STOP in decided and job.stop is None)
            or (record.DELETE in decided and not job.deleted)
            or record.END in decided
        )
        if not news or job.ending or job.stopping != (job.stop is not None):
            return
        store, kept = self._cluster.store, job.kept
        seen = await self._cluster.disk.do(job.intent.uid, lambda: store.look(kept))
        if seen is None or self.controller.active.get(job.intent.uid) is not job:
            return
        job.deleted = job.deleted or seen.deleted
        if seen.end is not None and not job.ending:
            self.controller.end(job, seen.end)
        elif seen.stop is not None:
            self.controller.stops.heed(job, seen.stop)


def _fresh(seen: Sighting) -> bool:
    return (
        seen.end is None
        and not seen.submitted
        and not seen.attempts
        and time.time() - seen.kept.intent.create_time < FRESH_SECONDS
    )
