"""Carries every job from its acceptance to its end and its removal."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Coroutine, Iterable
from typing import Any, Final

import structlog

from engines.base import Changed, Job, Removed
from engines.errors import EngineUnavailable
from engines.feed import Feed
from engines.lifecycle.active import make_job
from engines.lifecycle.facts import Key, Stop
from engines.lifecycle.status import Progress, status
from engines.lifecycle.timers import Timer, Timers
from engines.local import record
from engines.local.cgroup import Groups
from engines.local.commit import Committer
from engines.local.jobs import LocalJob
from engines.local.orphans import Orphans
from engines.local.pool import Pool
from engines.local.record import Attempt
from engines.local.scheduler import Scheduler
from engines.local.shim import Settings
from engines.local.store import Store

_SWEEP_SECONDS: Final = 1.0
_RESUBMIT_SWEEPS: Final = 30
_REMOVE_AGAIN_SECONDS: Final = 60.0
_DUE, _TTL = "due", "ttl"

_log = structlog.get_logger(__name__)


class Controller:
    """All jobs of an engine, on one event loop.

    `jobs` has every job as callers see it; of those that are over nothing else is kept.
    `active` has those that aren't, `removals` those that are being removed.
    """

    def __init__(self, store: Store, groups: Groups, settings: Settings, max_running: int) -> None:
        self.jobs: dict[str, Job] = {}
        self.active: dict[str, LocalJob] = {}
        self.removals: dict[str, asyncio.Task[None]] = {}
        self.feed = Feed()
        self.committer = Committer(store.sync)
        self._store = store
        self._orphans = Orphans(store, groups)
        self._grace = settings.grace
        self._loop = asyncio.get_running_loop()
        self._timers = Timers(self._timer)
        self._pool = Pool(settings, self._submit_again)
        self._scheduler = Scheduler(self._pool, max_running)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._line = b""

    async def start(self) -> None:
        """Find what there is, and take it up where it stands."""
        removed = await asyncio.to_thread(self._scan)
        running = [
            (job, attempt) for job in self.active.values() for attempt in job.running.values()
        ]
        await asyncio.to_thread(self._orphans.remove_groups, running)
        self._loop.add_reader(self._store.events, self._events)
        self._pool.start()
        for name in removed:
            self.remove(name)
        for job in list(self.active.values()):
            self._arm(job)
            self._scheduler.update(job)
            self._settle(job)
        self._scheduler.run()
        self.spawn(self._sweep_for_ever())
        self.spawn(asyncio.to_thread(self._store.empty_trash))

    async def close(self) -> None:
        """Leave the jobs as they are, and let go of everything else."""
        self._loop.remove_reader(self._store.events)
        self._timers.close()
        self.feed.fail(EngineUnavailable("the local engine was stopped"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self.removals.values(), return_exceptions=True)
        await self.committer.close()
        await self._pool.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that ends with the engine."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            _log.error("a task of the local engine failed", exc_info=exc)

    def _scan(self) -> list[str]:
        """Read all jobs; return the names of those whose deletion was noted. Blocks."""
        removed: list[str] = []
        for stored in self._store.scan():
            intent = stored.intent
            found = status(intent, Progress(stored.attempts), stored.stop)
            self.jobs[intent.name] = make_job(intent, found)
            if not found.state.terminal:
                job = LocalJob(intent, stored.attempts, stored.stop)
                job.deleted = stored.deleted
                self.active[intent.name] = job
            elif stored.deleted:
                removed.append(intent.name)
            elif intent.ttl is not None:
                self._arm_ttl(self.jobs[intent.name], intent.ttl)
        order = sorted(self.active.values(), key=lambda job: job.intent.create_time)
        self.active = {job.intent.name: job for job in order}
        return removed

    # What comes in.

    def accept(self, job: LocalJob) -> None:
        """Take up a job that was just written down."""
        name = job.intent.name
        self.active[name] = job
        self.jobs[name] = job.job
        self.feed.publish(Changed(self.jobs[name]))
        self._arm(job)
        self._scheduler.update(job)
        self._scheduler.run()

    def _events(self) -> None:
        """Look at the attempts that shims ask to be looked at."""
        try:
            data = self._line + os.read(self._store.events, 65536)
        except BlockingIOError:
            return
        *lines, self._line = data.split(b"\n")
        for line in dict.fromkeys(lines):
            name, _, key = line.decode(errors="replace").partition(" ")
            parsed = record.parse_attempt_name(key)
            if parsed is not None and name in self.active:
                self._look(self.active[name], [parsed])
        self._scheduler.run()

    def _look(self, job: LocalJob, keys: Iterable[Key]) -> None:
        """Read attempts' records, and act on what they say."""
        name = job.intent.name
        news = False
        for key in keys:
            attempt = self._store.read_attempt(name, *key)
            news = (attempt is not None and job.apply(attempt)) or news
        if news:
            self._update(job)

    def _update(self, job: LocalJob) -> None:
        """Act on a job's new state."""
        started = job.status.start_time is not None
        changed = job.refresh()
        name = job.intent.name
        if changed:
            self.jobs[name] = job.job
            self.feed.publish(Changed(self.jobs[name]))
        self._scheduler.update(job)
        if job.status.state.terminal:
            self._end(job)
            return
        if not started:
            self._arm(job)
        self._settle(job)

    def _settle(self, job: LocalJob) -> None:
        """Stop what still runs of a job whose outcome is decided."""
        if not job.stopping and (reason := job.due(time.time())) is not None:
            job.stopping = True
            self.spawn(self._stop(job, reason, self._grace, delete=False))

    def _end(self, job: LocalJob) -> None:
        name = job.intent.name
        del self.active[name]
        if job.deleted:
            self.remove(name)
        elif job.intent.ttl is not None:
            self._arm_ttl(self.jobs[name], job.intent.ttl)

    # What is decided here.

    async def stop(
        self, job: LocalJob, reason: str, grace: float | None = None, *, delete: bool = False
    ) -> None:
        """Note durably that a job has to end, and end what runs of it.

        The first reason stands; a later call may shorten the grace time. OSError where it
        can't be noted; the job is as before then.
        """
        grace = self._grace if grace is None else grace
        # In a task of its own, so that a caller that gives up doesn't leave half of it.
        await asyncio.shield(self.spawn(self._stop(job, reason, grace, delete=delete)))

    async def _stop(self, job: LocalJob, reason: str, grace: float, *, delete: bool) -> None:
        stop: Stop | None = Stop(reason, time.time(), grace)
        if job.stop is not None:
            stop = job.stop._replace(grace=grace) if grace < job.stop.grace else None
        delete = delete and not job.deleted
        if stop is None and not delete:
            return
        name = job.intent.name
        job.stopping = True
        try:
            await self.committer.submit(lambda: self._store.stop(name, stop, delete=delete))
        except OSError:
            if self.active.get(name) is not job:
                return  # it has ended meanwhile, and is removed already
            job.stopping = job.stop is not None
            self._scheduler.update(job)
            raise
        job.deleted = job.deleted or delete
        if self.active.get(name) is not job:  # it has ended meanwhile
            if delete and name in self.jobs and self.jobs[name].uid == job.intent.uid:
                self.remove(name)
            return
        job.stop = job.stop if stop is None else stop
        # A shim that claims an attempt from now on sees the stop, and runs nothing.
        self._look(job, self._store.attempts(name))
        job.take_back()
        if self.active.get(name) is job:  # by that look it may have turned out to be over
            self._signal(job)
            self._update(job)
        self._scheduler.run()

    def _signal(self, job: LocalJob) -> None:
        for attempt in list(job.running.values()):
            self._store.signal(job.intent.name, attempt, signal.SIGTERM)

    def remove(self, name: str, *, noted: bool = True) -> asyncio.Task[None]:
        """Remove a job that is over; try again later if that fails and it is noted."""
        if name not in self.removals:
            task = asyncio.create_task(self._remove(name, self.jobs[name], noted=noted))
            self.removals[name] = task
            task.add_done_callback(self._done)
        return self.removals[name]

    async def _remove(self, name: str, job: Job, *, noted: bool) -> None:
        try:
            await self.committer.submit(lambda: self._store.discard(name, job.uid))
            await asyncio.to_thread(self._store.empty_trash, job.uid)
            del self.jobs[name]
            self.feed.publish(Removed(name, job.uid, job.status))
        except OSError:
            if noted:
                self._timers.add(Timer(time.time() + _REMOVE_AGAIN_SECONDS, _TTL, name, job.uid))
            raise
        finally:
            del self.removals[name]

    # Time.

    def _arm(self, job: LocalJob) -> None:
        if (due := job.next_due) is not None:
            self._timers.add(Timer(due, _DUE, job.intent.name, job.intent.uid))

    def _arm_ttl(self, job: Job, ttl: float) -> None:
        self._timers.add(Timer((job.status.end_time or time.time()) + ttl, _TTL, job.name, job.uid))

    def _timer(self, timer: Timer) -> None:
        if timer.kind == _TTL:
            job = self.jobs.get(timer.name)
            if job is not None and job.uid == timer.uid:
                self.remove(timer.name)
            return
        active = self.active.get(timer.name)
        if active is not None and active.intent.uid == timer.uid:
            self._settle(active)

    async def _sweep_for_ever(self) -> None:
        for sweeps in itertools.count(1):
            await self._sweep_now()
            if sweeps % _RESUBMIT_SWEEPS == 0:
                self._submit_again()
            self._pool.tick()
            await asyncio.sleep(_SWEEP_SECONDS)

    def _submit_again(self) -> None:
        for job in self.active.values():
            self._scheduler.submit_again(job)
        self.spawn(self._sweep_now())

    async def _sweep_now(self) -> None:
        """Make up for notifications that were missed, and find attempts whose shim is gone."""
        for job in list(self.active.values()):
            if job.handed_out:
                self._look(job, list(job.handed_out))
            if job.stop is not None:
                self._signal(job)
            self._settle(job)
        async for job, ended in self._orphans.find(self._running()):
            if self.active.get(job.intent.name) is job and job.apply(ended):
                self._update(job)
        self._scheduler.run()

    def _running(self) -> list[tuple[LocalJob, Attempt]]:
        return [(job, attempt) for job in self.active.values() for attempt in job.running.values()]
