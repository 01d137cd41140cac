"""Hands attempts to Slurm, so that each is there in the end and runs once."""

import asyncio
import time
from typing import Final

import structlog

from engines import EngineFailed, EngineTimeout, EngineUnavailable, InvalidSpec, LimitReached
from engines.backoff import Backoff
from engines.slurm.cluster import Cluster
from engines.slurm.jobs import SlurmJob
from engines.slurm.manifest import make_arguments
from engines.slurm.queue import Batch, Ended
from engines.slurm.record import Attempt
from engines.slurm.script import make_batch

AGAIN: Final = Backoff(first=1.0, longest=60.0)

_log = structlog.get_logger(__name__)


class Submissions:
    """Of the jobs of one session.

    A submission whose answer was lost may be repeated, for the script begins an attempt once. The
    queue is looked at first: see Comparison.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def place(self, job: SlurmJob, batch: Batch) -> None:
        """Submit some attempts.

        Raises:
            InvalidSpec, LimitReached, EngineFailed: Slurm refuses them.
            EngineUnavailable, EngineTimeout: they may be in the queue or not.
        """
        cluster, intent = self._cluster, job.intent
        home = cluster.store.job_directory(intent.name, intent.uid)
        arguments = make_arguments(intent, job.spec, batch, cluster.store.tag, cluster.settings)
        job.submitting.add(batch)
        try:
            number = await cluster.slurm.submit(arguments, make_batch(home, batch), job.spec)
            job.note_submitted(batch, number)
            await cluster.disk.do(
                intent.uid, lambda: cluster.store.note_submitted(intent, batch, number)
            )
        finally:
            job.submitting.discard(batch)
            job.asked[batch] = time.monotonic()

    async def submit(self, job: SlurmJob, batch: Batch) -> Attempt | None:
        """Submit some attempts of a job that was accepted.

        What Slurm refuses for what it asks for ends as START_FAILED, which this returns; what it
        can't take at the moment waits, and is tried again.
        """
        try:
            await self.place(job, batch)
        except (EngineUnavailable, EngineTimeout) as doubt:
            _log.info("slurm_submission_in_doubt", job=job.intent.name, error=str(doubt))
        except InvalidSpec as refusal:
            first, *others = batch.keys
            job.give_back(others)
            ended = Ended("FAILED", reason=str(refusal))
            return await self._cluster.desk.unbegun(job.intent, first, ended, job.stop, time.time())
        except (LimitReached, EngineFailed) as trouble:
            job.failures += 1
            job.waiting = str(trouble)
            _log.info("slurm_submission_put_off", job=job.intent.name, error=str(trouble))
            await asyncio.sleep(AGAIN.after(job.failures))
            job.give_back(batch.keys)
        return None
