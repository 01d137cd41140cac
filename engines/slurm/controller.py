"""Carries every job from its acceptance to its end, while Slurm is in touch."""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import structlog

from engines import EngineError, Status
from engines.backoff import Backoff
from engines.lifecycle.facts import Intent, Key
from engines.lifecycle.ledger import Ledger
from engines.lifecycle.timers import Timer, Timers
from engines.slurm import stops
from engines.slurm.cluster import Cluster
from engines.slurm.jobs import SlurmJob
from engines.slurm.queue import Batch
from engines.slurm.record import Attempt, Written
from engines.slurm.removals import Removals
from engines.slurm.stops import Stops
from engines.slurm.submissions import Submissions
from engines.slurm.survey import Glance, glance
from engines.slurm.verdict import asks_slurm, written_end

TAKEOVER_SECONDS: Final = 15.0
"""How long another server's job may wait to be submitted before this one does it."""

AGAIN: Final = Backoff(first=0.5, longest=30.0)

_DUE, _TTL, _TAKEOVER = "due", "ttl", "takeover"

_log = structlog.get_logger(__name__)


class Controller:
    """The jobs that aren't over, on one event loop, by uid in `active`.

    All that is known of them can be found again in the directory and in Slurm. What fails about a
    job is tried again as the queue is read next, or by `nudge` at once.
    """

    def __init__(self, cluster: Cluster, nudge: Callable[[], None]) -> None:
        self.active: dict[str, SlurmJob] = {}
        self.closed = False
        self.ledger = Ledger()
        self.cluster = cluster
        self.removals = Removals(cluster, self.ledger, nudge)
        self.stops = Stops(self)
        self._submissions = Submissions(cluster)
        self._nudge = nudge
        self._timers = Timers(self._timer)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self, error: EngineError) -> None:
        """Leave the jobs as they are, and end what is under way about them."""
        self.closed = True
        for job in self.active.values():
            job.changed.set()
        self._timers.close()
        self.ledger.feed.fail(error)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.removals.close()

    def spawn(self, job: SlurmJob, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something about a job; if it fails, it is tried again later."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        job.tasks.add(task)
        task.add_done_callback(partial(self._done, job))
        return task

    def _done(self, job: SlurmJob, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        job.tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, EngineError):
            _log.info("slurm_job_step_failed", job=job.intent.name, error=str(error))
        else:
            _log.error("slurm_job_failed", job=job.intent.name, exc_info=error)

    def begin(self, job: SlurmJob) -> None:
        """Carry a job on from where it stands."""
        self.active[job.intent.uid] = job
        self.show(job.intent, job.status)
        self._arm(job)
        if job.stop is not None:
            self.stops.signal(job)
        self.update(job)
        self._nudge()

    # -- what happens to them -----------------------------------------------------------------

    def apply(self, job: SlurmJob, attempt: Attempt) -> None:
        """Take in what is known of an attempt."""
        key = (attempt.instance, attempt.attempt)
        if self.active.get(job.intent.uid) is not job or not job.apply(attempt):
            return
        job.failures = 0
        job.absent.pop(key, None)
        if attempt.end is None:
            job.began[key] = time.monotonic()
            if job.stop is not None:
                self.stops.signal(job)
        else:
            job.written.pop(key, None)
            job.began.pop(key, None)
        self.update(job)

    def update(self, job: SlurmJob) -> None:
        """Act on a job's new state."""
        started = job.status.start_time is not None
        changed = job.refresh()
        if job.status.state.terminal:
            if not job.ending:
                job.ending = True
                self.spawn(job, self._finish(job))
            return
        if changed:
            self.show(job.intent, job.status)
        if not started:
            self._arm(job)
        self.stops.settle(job)
        self.advance(job)

    def advance(self, job: SlurmJob) -> None:
        """Submit what may be submitted."""
        if not job.met or not job.ready:
            return
        if not job.own:
            self.remind(time.time() + TAKEOVER_SECONDS, _TAKEOVER, job.intent)
            return
        while (batch := job.next_batch(self.cluster.about.array_size)) is not None:
            job.submitting.add(batch)
            self.spawn(job, self._submit(job, batch))

    async def _submit(self, job: SlurmJob, batch: Batch) -> None:
        attempt = await self._submissions.submit(job, batch)
        if attempt is not None:
            self.apply(job, attempt)
        else:
            self.update(job)
        self._nudge()

    async def place(self, job: SlurmJob) -> None:
        """Submit what is to be submitted first of a job that isn't carried yet.

        Raises as Submissions.place does.
        """
        job.met = True
        batch = job.next_batch(self.cluster.about.array_size)
        if batch is not None:
            await self._submissions.place(job, batch)

    def decide(self, job: SlurmJob, key: Key, work: Coroutine[Any, Any, Attempt | None]) -> None:
        """Have it worked out how an attempt ended, unless that is under way."""
        if key in job.deciding:
            work.close()
        else:
            job.deciding.add(key)
            self.spawn(job, self._decide(job, key, work))

    async def _decide(
        self, job: SlurmJob, key: Key, work: Coroutine[Any, Any, Attempt | None]
    ) -> None:
        try:
            attempt = await work
        finally:
            job.deciding.discard(key)
        if attempt is not None:
            self.apply(job, attempt)

    # -- its files ----------------------------------------------------------------------------

    async def look(self, job: SlurmJob) -> None:
        """See what is new in the files of a job."""
        known = job.known._replace(changed=0)
        store = self.cluster.store
        self.take(job, await self.cluster.disk.do(job.intent.uid, lambda: glance(store, known)))

    def take(self, job: SlurmJob, seen: Glance) -> None:
        """Take in what is new in the files of a job."""
        if self.active.get(job.intent.uid) is not job:
            return
        if seen.gone:
            self.forget(job.intent.uid, job.intent.name)
            return
        job.looked(seen.changed, seen.running)
        for attempt in seen.attempts:
            self.apply(job, attempt)
        for key, written in seen.written.items():
            self.end_as_written(job, key, written)

    def end_as_written(self, job: SlurmJob, key: Key, written: Written) -> None:
        """Take in how an attempt's script says that it ended, unless Slurm has to be asked."""
        attempt = job.running.get(key)
        if attempt is None:
            return
        if not asks_slurm(written, job.stop):
            self.apply(job, attempt._replace(end=written_end(written, job.stop)))
        elif key not in job.written:
            job.written[key] = written
            job.began[key] = time.monotonic()
            self._nudge()

    # -- the end ------------------------------------------------------------------------------

    async def _finish(self, job: SlurmJob) -> None:
        """Note how a job ended, before anybody is told."""
        intent = job.intent
        for failures in itertools.count(1):
            try:
                status = await self.cluster.desk.end(intent, job.status)
            except EngineError as error:
                _log.info("slurm_job_end_not_noted", job=intent.name, error=str(error))
                await asyncio.sleep(AGAIN.after(failures))
            else:
                self.end(job, status)
                return

    def end(self, job: SlurmJob, status: Status) -> None:
        """Tell how a job ended, once that is noted."""
        intent = job.intent
        if self.active.get(intent.uid) is job:
            job.ending = True
            del self.active[intent.uid]
            self.show(intent, status)
            job.changed.set()
            self.over(intent, status, deleted=job.deleted)

    def over(self, intent: Intent, status: Status, *, deleted: bool) -> None:
        """See to the removal of a job that is over, now or when its time has come."""
        if deleted:
            self.removals.begin(intent, noted=True)
        elif intent.ttl is not None:
            due = (status.end_time or time.time()) + intent.ttl
            self.remind(due, _TTL, intent)

    def show(self, intent: Intent, status: Status) -> None:
        """Tell how a job is doing. One of its name that was there before is gone."""
        known = self.ledger.jobs.get(intent.name)
        if known is not None and known.uid != intent.uid:
            self.forget(known.uid, intent.name)
        self.ledger.show(intent, status)

    def forget(self, uid: str, name: str) -> None:
        """A job is gone."""
        if (active := self.active.pop(uid, None)) is not None:
            active.stopping = True
            active.changed.set()
        self.ledger.forget(uid, name)

    # -- time ---------------------------------------------------------------------------------

    def _arm(self, job: SlurmJob) -> None:
        if (due := job.next_due) is not None:
            self.remind(due, _DUE, job.intent)

    def remind(self, when: float, kind: str, intent: Intent) -> None:
        """Do something about a job at a time."""
        self._timers.add(Timer(when, kind, intent.name, intent.uid))

    def _timer(self, timer: Timer) -> None:
        job = self.active.get(timer.uid)
        if timer.kind == _TTL and self.ledger.knows(timer.uid, timer.name):
            self.removals.begin(self.ledger.intent(self.ledger.jobs[timer.name]), noted=False)
        if job is None:
            return
        match timer.kind:
            case stops.KILL:
                if job.stop is not None:
                    self.stops.kill(job)
            case "takeover":
                job.own = True
                self.advance(job)
            case _:
                self.stops.settle(job)
