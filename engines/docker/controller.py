"""Carries every job from its acceptance to its end, while the daemon is in touch."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import structlog

from engines.base import Status
from engines.docker import record
from engines.docker.api import Api
from engines.docker.container import Attempt
from engines.docker.decisions import Decisions
from engines.docker.history import History
from engines.docker.inspector import Inspector
from engines.docker.jobs import DockerJob
from engines.docker.launcher import Launcher
from engines.docker.pulls import PullFailed
from engines.docker.record import Labels
from engines.docker.removals import Removals
from engines.docker.settings import About, Settings
from engines.errors import EngineError
from engines.lifecycle import facts
from engines.lifecycle.facts import Intent, Key, Stop
from engines.lifecycle.ledger import Ledger
from engines.lifecycle.timers import Timer, Timers

TAKEOVER_SECONDS: Final = 15.0
"""How long another server's job may wait to be started before this one starts it."""

KILL_AGAIN_SECONDS: Final = 5.0

_DUE, _TTL, _KILL, _TAKEOVER = "due", "ttl", "kill", "takeover"

_log = structlog.get_logger(__name__)


class Controller:
    """The jobs that aren't over, on one event loop, for one connection.

    `active` has them by uid. All that is known of them can be found again in Docker: `trouble` is
    called for a job about which something failed, and has it looked at anew.
    """

    def __init__(
        self,
        api: Api,
        labels: Labels,
        settings: Settings,
        about: About,
        history: History,
        trouble: Callable[[DockerJob, str], None],
    ) -> None:
        self.active: dict[str, DockerJob] = {}
        self.closed = False
        self.about = about
        self.ledger = Ledger()
        self.inspector = Inspector(api, labels, about, history, self.now)
        self.decisions = Decisions(api, labels)
        self.removals = Removals(api, labels, self.decisions, self.ledger, self.now)
        self._api = api
        self._settings = settings
        self._trouble = trouble
        self._launcher = Launcher(api, labels, settings, about, self.inspector, self.now)
        self._timers = Timers(self._timer)
        self._tasks: set[asyncio.Task[Any]] = set()

    def now(self) -> float:
        """The time by the daemon's clock, by which all times of jobs are kept."""
        return time.time() + self.about.clock

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

    def spawn(self, job: DockerJob, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something about a job; if it fails, the job is looked at anew."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        job.tasks.add(task)
        task.add_done_callback(partial(self._done, job))
        return task

    def _done(self, job: DockerJob, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        job.tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, EngineError):
            _log.error("docker_job_failed", job=job.intent.name, exc_info=error)
        self._trouble(job, str(error))

    def begin(self, job: DockerJob) -> None:
        """Carry a job on from where it stands."""
        self.active[job.intent.uid] = job
        self.show(job.intent, job.status)
        self._arm(job)
        if job.stop is not None:
            self._signal(job)
        self._update(job)

    # -- what happens to them -----------------------------------------------------------------

    async def heed(self, job: DockerJob) -> None:
        """End a job that has to end."""
        await self._take_back(job)
        if self.active.get(job.intent.uid) is job:
            self._signal(job)
            self._update(job)

    async def look(self, job: DockerJob, key: Key, container: str) -> None:
        """See how a container of a job is doing."""
        seen = await self.inspector.see(container, key)
        if self.active.get(job.intent.uid) is not job:
            return
        if seen is not None and (seen.started or seen.attempt.end is not None):
            self.apply(job, await self.inspector.attempt(seen, job.stop))
        elif seen is None and (known := job.running.get(key)) and known.container == container:
            gone = self.inspector.missing(key, container, known.start_time, job.stop)
            self.apply(job, gone)

    async def refresh(self, uid: str) -> None:
        """Look at all that runs of a job."""
        if (job := self.active.get(uid)) is not None:
            running = [*job.running.items()]
            await asyncio.gather(*(self.look(job, key, run.container) for key, run in running))

    def apply(self, job: DockerJob, attempt: Attempt) -> None:
        """Take in what is known of an attempt."""
        if self.active.get(job.intent.uid) is job and job.apply(attempt):
            job.failures = 0
            if job.stop is not None and attempt.end is None:
                self._signal(job)  # another server has started it meanwhile
            self._update(job)

    def _update(self, job: DockerJob) -> None:
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
        self._settle(job)
        self._advance(job)

    def _advance(self, job: DockerJob) -> None:
        """Start what may be started."""
        if not job.own and (job.ready or job.handed_out):
            self._timers.add(self._at(TAKEOVER_SECONDS + self.now(), _TAKEOVER, job.intent))
        while job.ready and job.own:
            key = job.hand_out()
            job.launching.add(key)
            self.spawn(job, self._launch(job, key))

    async def _launch(self, job: DockerJob, key: Key) -> None:
        try:
            attempt = await self._launcher.launch(job, key, partial(self._waits, job))
        except PullFailed as failure:
            grace = self._settings.grace_seconds
            await self.stop(job, facts.PULL_FAILED, grace, message=str(failure))
            return
        finally:
            job.launching.discard(key)
        if attempt is not None:
            self.apply(job, attempt)
        if key in job.missed and attempt is not None and attempt.end is None:
            self.spawn(job, self.look(job, key, attempt.container))

    def _waits(self, job: DockerJob, progress: str) -> None:
        job.waiting = progress
        if self.active.get(job.intent.uid) is job and job.refresh():
            self.show(job.intent, job.status)

    def _settle(self, job: DockerJob) -> None:
        """Stop what still runs of a job whose outcome is decided."""
        if not job.stopping and (reason := job.due(self.now())) is not None:
            job.stopping = True
            message = job.waiting if reason == facts.START_TIMEOUT else ""
            grace = self._settings.grace_seconds
            self.spawn(job, self.stop(job, reason, grace, message=message))

    async def stop(
        self, job: DockerJob, reason: str, grace: float, *, message: str = "", delete: bool = False
    ) -> None:
        """Note durably that a job has to end, and end what runs of it.

        The first reason stands; a later call may shorten the grace time.
        """
        intent = job.intent
        job.stopping = True
        stop = Stop(reason, self.now(), grace, message)
        if delete:
            stop = record.deletion(await self.decisions.delete(intent, stop))
            job.deleted = True
        elif job.stop is None:
            stop = await self.decisions.stop(intent, stop)
        job.stop = stop if job.stop is None else job.stop
        if grace < job.stop.grace:
            job.stop = job.stop._replace(grace=grace)
        if self.active.get(intent.uid) is job:
            # Not waited for: the caller has what he asked for once it is noted.
            self.spawn(job, self.heed(job))
        elif delete:  # it has ended meanwhile
            self.removals.begin(intent, noted=True)

    async def _take_back(self, job: DockerJob) -> None:
        """See to it that nothing more is started; what is being started comes to its start."""
        current = asyncio.current_task()
        for task in job.pulling - {current}:
            task.cancel()
        await asyncio.gather(*(job.starting - {current}), return_exceptions=True)
        job.take_back()

    def _signal(self, job: DockerJob) -> None:
        """Ask what runs to end, and have it killed when its grace time is over."""
        assert job.stop is not None  # noqa: S101  (callers have seen to it)
        if job.stop.grace > 0:
            for attempt in job.running.values():
                self.spawn(job, self._api.kill(attempt.container, attempt.stop_signal))
        self._kill(job)

    def _kill(self, job: DockerJob) -> None:
        assert job.stop is not None  # noqa: S101  (callers have seen to it)
        due = job.stop.time + job.stop.grace
        if self.now() >= due:
            for attempt in job.running.values():
                self.spawn(job, self._api.kill(attempt.container, "SIGKILL"))
            due = self.now() + KILL_AGAIN_SECONDS
        if job.running:
            self._timers.add(self._at(due, _KILL, job.intent))

    async def _finish(self, job: DockerJob) -> None:
        """Note how a job ended, before anybody is told."""
        intent = job.intent
        status = await self.decisions.end(intent, job.status)
        if self.active.get(intent.uid) is job:
            del self.active[intent.uid]
            self.show(intent, status)
            job.changed.set()
            self.over(intent, status, deleted=job.deleted)

    def over(self, intent: Intent, status: Status, *, deleted: bool) -> None:
        """See to the removal of a job that is over, now or when its time has come."""
        if deleted:
            self.removals.begin(intent, noted=True)
        elif intent.ttl is not None:
            due = (status.end_time or self.now()) + intent.ttl
            self._timers.add(self._at(due, _TTL, intent))

    # -- showing, and time --------------------------------------------------------------------

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
            for task in active.pulling:
                task.cancel()
            active.changed.set()
        self.ledger.forget(uid, name)

    def _arm(self, job: DockerJob) -> None:
        if (due := job.next_due) is not None:
            self._timers.add(self._at(due, _DUE, job.intent))

    def _at(self, when: float, kind: str, intent: Intent) -> Timer:
        return Timer(when - self.about.clock, kind, intent.name, intent.uid)

    def _timer(self, timer: Timer) -> None:
        job = self.active.get(timer.uid)
        if timer.kind == _TTL and self.ledger.knows(timer.uid, timer.name):
            intent = self.ledger.intent(self.ledger.jobs[timer.name])
            self.removals.begin(intent, noted=False)
        if job is None:
            return
        match timer.kind:
            case "kill":
                if job.stop is not None:
                    self._kill(job)
            case "takeover":
                job.own = True
                if job.handed_out and not job.tasks:
                    self._trouble(job, "the server that has it doesn't start it")
                else:
                    self._advance(job)
            case _:
                self._settle(job)
