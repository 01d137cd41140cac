"""Ends jobs that have to end: notes that, asks what runs to end, and has it killed in the end."""

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, Final

import structlog

from engines import EngineError
from engines.backoff import Backoff
from engines.lifecycle import facts
from engines.lifecycle.facts import Stop
from engines.slurm.jobs import SlurmJob

if TYPE_CHECKING:  # it has one of these
    from engines.slurm.controller import Controller

AGAIN: Final = Backoff(first=0.5, longest=30.0)
KILL_AGAIN_SECONDS: Final = 5.0
KILL: Final = "kill"
"""The timer that says that a grace time is over."""

_log = structlog.get_logger(__name__)


class Stops:
    """Of the jobs of one controller."""

    def __init__(self, controller: "Controller") -> None:
        self._controller = controller
        self._cluster = controller.cluster

    def settle(self, job: SlurmJob) -> None:
        """Stop what still runs of a job whose outcome is decided, or whose time is over."""
        if not job.stopping and (reason := job.due(time.time())) is not None:
            job.stopping = True
            message = job.waiting if reason == facts.START_TIMEOUT else ""
            self._controller.spawn(job, self._stop_again(job, reason, message))

    async def _stop_again(self, job: SlurmJob, reason: str, message: str) -> None:
        for failures in itertools.count(1):
            try:
                await self.stop(job, reason, self._cluster.settings.grace_seconds, message=message)
            except EngineError as error:
                _log.info("slurm_job_not_stopped", job=job.intent.name, error=str(error))
                await asyncio.sleep(AGAIN.after(failures))
            else:
                return

    async def stop(
        self,
        job: SlurmJob,
        reason: str,
        grace: float,
        *,
        message: str = "",
        delete: bool = False,
    ) -> None:
        """Note durably that a job has to end, and end what runs of it.

        The first reason stands; a later call may shorten the grace time.
        """
        intent = job.intent
        job.stopping = True
        stop = Stop(reason, time.time(), grace, message)
        try:
            if delete:
                stop = await self._cluster.desk.delete(intent, stop)
                job.deleted = True
            elif job.stop is None:
                stop = await self._cluster.desk.stop(intent, stop)
        except EngineError:
            job.stopping = job.stop is not None
            raise
        self.heed(job, stop._replace(grace=min(grace, stop.grace)))
        if delete and self._controller.active.get(intent.uid) is not job:  # it has ended meanwhile
            self._controller.removals.begin(intent, noted=True)

    def heed(self, job: SlurmJob, stop: Stop) -> None:
        """End a job of which it is noted that it has to end."""
        job.stopping = True
        job.stop = job.stop or stop
        if stop.grace < job.stop.grace:
            job.stop = job.stop._replace(grace=stop.grace)
        if self._controller.active.get(job.intent.uid) is job:
            # Not waited for: the caller has what he asked for once it is noted.
            self._controller.spawn(job, self._heed(job))

    async def _heed(self, job: SlurmJob) -> None:
        # What begins from now on sees that it must not; what has begun is to be seen.
        await self._controller.look(job)
        job.take_back()
        if self._controller.active.get(job.intent.uid) is job:
            self.signal(job)
            for key, written in list(job.written.items()):
                self._controller.end_as_written(job, key, written)
            self._controller.update(job)

    def signal(self, job: SlurmJob) -> None:
        """Ask what runs to end, and have it killed when its grace time is over."""
        assert job.stop is not None  # noqa: S101  (callers have seen to it)
        running = {attempt.slurm for attempt in job.running.values() if attempt.slurm.isdecimal()}
        waiting = {number for ids in job.submitted.values() for number in ids} - running
        if waiting:
            self._controller.spawn(
                job, self._cluster.slurm.cancel_waiting(job.intent.name, waiting)
            )
        if job.stop.grace > 0 and running and time.time() < job.stop.time + job.stop.grace:
            self._controller.spawn(job, self._ask(job, running))
        self.kill(job)

    async def _ask(self, job: SlurmJob, running: set[str]) -> None:
        job.signalled = False
        await self._cluster.slurm.signal(job.intent.name, running, "TERM")
        job.signalled = True

    def again(self, job: SlurmJob) -> None:
        """Do what failed about a job that has to end."""
        assert job.stop is not None  # noqa: S101  (callers have seen to it)
        if job.handed_out:
            self.heed(job, job.stop)
        elif job.running and not job.signalled and not job.tasks:
            self.signal(job)

    def kill(self, job: SlurmJob) -> None:
        """Kill what runs beyond its grace time, and again for as long as it does."""
        assert job.stop is not None  # noqa: S101  (callers have seen to it)
        running = {attempt.slurm for attempt in job.running.values() if attempt.slurm.isdecimal()}
        due = job.stop.time + job.stop.grace
        if time.time() >= due:
            if running:
                self._controller.spawn(
                    job, self._cluster.slurm.signal(job.intent.name, running, "KILL")
                )
            due = time.time() + KILL_AGAIN_SECONDS
        if job.running:
            self._controller.remind(due, KILL, job.intent)
