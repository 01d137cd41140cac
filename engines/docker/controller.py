"""Carries every job from its acceptance to its removal, while the daemon is in touch."""

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from engines.base import Changed, Job, Removed, Status
from engines.docker import record
from engines.docker.api import Api
from engines.docker.container import Attempt, exit_of
from engines.docker.history import History
from engines.docker.inspector import Inspector
from engines.docker.jobs import DockerJob
from engines.docker.launcher import Launcher
from engines.docker.pulls import PullFailed
from engines.docker.record import KeptJob, Labels, Owner
from engines.docker.settings import About, Settings
from engines.docker.survey import Findings, Listed
from engines.errors import (
    EngineError,
    EngineFailed,
    EngineUnavailable,
    JobAlreadyExists,
    JobNotFound,
)
from engines.feed import Feed
from engines.lifecycle import facts
from engines.lifecycle.active import make_job
from engines.lifecycle.facts import Intent, Key, Stop
from engines.lifecycle.timers import Timer, Timers

TAKEOVER_SECONDS: Final = 15.0
"""How long another server's job may wait to be started before this one starts it."""

KILL_AGAIN_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.2
LAST_PAUSE_SECONDS: Final = 30.0

_DUE, _TTL, _KILL, _TAKEOVER = "due", "ttl", "kill", "takeover"

_log = structlog.get_logger(__name__)


T = TypeVar("T")


async def outcome(task: asyncio.Task[T]) -> T:
    """What becomes of a task that goes on when its caller gives up.

    Raises:
        EngineUnavailable: it was ended because the connection is lost.
    """
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if task.cancelled() and current is not None and not current.cancelling():
            raise EngineUnavailable("Docker went away meanwhile: ask again") from None
        raise


class Controller:
    """All jobs of a namespace, on one event loop, for one connection.

    `jobs` has every job as callers see it, `active` by uid those that aren't over, `removals` those
    that are being removed. All that it knows can be found again in Docker: whatever fails about
    a job, the job is looked at anew.
    """

    def __init__(
        self, api: Api, labels: Labels, settings: Settings, about: About, history: History
    ) -> None:
        self.jobs: dict[str, Job] = {}
        self.active: dict[str, DockerJob] = {}
        self.removals: dict[str, asyncio.Task[None]] = {}
        self.feed = Feed()
        self.about = about
        self._intents: dict[str, Intent] = {}
        self._taking_up: dict[str, asyncio.Task[None]] = {}
        self._missed: dict[str, dict[str, Key]] = {}
        self._api = api
        self._labels = labels
        self._settings = settings
        self._inspector = Inspector(api, labels, about, history, self.now)
        self._launcher = Launcher(api, labels, settings, about, self._inspector, self.now)
        self._timers = Timers(self._timer)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._accepting: set[str] = set()
        self._closed = False

    def now(self) -> float:
        """The time by the daemon's clock, by which all times of jobs are kept."""
        return time.time() + self.about.clock

    async def close(self, error: EngineError) -> None:
        """Leave the jobs as they are, and end what is under way about them."""
        self._closed = True
        self._timers.close()
        self.feed.fail(error)
        tasks = [*self._tasks, *self.removals.values(), *self._taking_up.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

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
        self.look_again(job, str(error))

    # -- taking jobs up -----------------------------------------------------------------------

    async def create(self, kept: KeptJob) -> Job:
        """Accept a job; JobAlreadyExists where its name is taken."""
        intent = kept.intent
        self._accepting.add(intent.name)
        try:
            return await self._create(kept)
        finally:
            self._accepting.discard(intent.name)

    async def _create(self, kept: KeptJob) -> Job:
        intent = kept.intent
        wanted = self._labels.of_job(kept)
        found = await self._api.put_volume(self._labels.job_volume(intent.name), wanted)
        if self._closed:
            raise EngineUnavailable("Docker went away; the job may have been accepted: ask again")
        if found.get(record.UID) != intent.uid:
            owner = self._labels.owner(found)
            if owner is None:
                volume = self._labels.job_volume(intent.name)
                raise EngineFailed(f"the volume {volume} is somebody else's: remove or rename it")
            await self.take_up(owner, own=False)
            raise JobAlreadyExists(intent.name)
        job = DockerJob(kept)
        self._begin(job)
        return self.jobs[intent.name]

    async def take_up(self, owner: Owner, *, own: bool) -> None:
        """Take up a job where it stands; nothing if it is known.

        `own`: whether to start at once what waits to be started.
        """
        if not self.knows(owner.uid, owner.name):
            if owner.uid not in self._taking_up:
                self._take(owner.uid, self._take_up(owner.uid, own=own))
            await outcome(self._taking_up[owner.uid])

    def _take(self, uid: str, work: Coroutine[Any, Any, None]) -> None:
        task = self._taking_up[uid] = asyncio.create_task(work)
        task.add_done_callback(partial(self._taken, uid))

    def _taken(self, uid: str, task: asyncio.Task[None]) -> None:
        """Look at what was missed while a job was taken up."""
        del self._taking_up[uid]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.info("docker_job_not_taken_up", uid=uid, error=str(error))
        for container, key in self._missed.pop(uid, {}).items():
            self.container_changed(uid, key, container)

    async def _take_up(self, uid: str, *, own: bool) -> None:
        findings = await self._inspector.findings(uid)
        if not self.meet_ended(uid, findings):
            assert findings.kept is not None  # noqa: S101  (otherwise the job is gone)
            self._begin(await self._inspector.job(findings.kept, findings, own=own))

    async def findings(self, uid: str) -> Findings:
        """What there is of a job; JobNotFound if it is gone."""
        return await self._inspector.findings(uid)

    def intent(self, job: Job) -> Intent:
        """What is known of a job that is in `jobs`; JobNotFound if it is gone."""
        if not self.knows(job.uid, job.name):
            raise JobNotFound(job.name)
        return self._intents[job.name]

    def knows(self, uid: str, name: str) -> bool:
        """Whether this job, and no other of its name, is in `jobs`."""
        job = self.jobs.get(name)
        return job is not None and job.uid == uid

    async def missing(self, job: Job) -> None:
        """The volume of a job seems to be gone, by another server's doing or anybody else's."""
        said = await self._api.volume_labels(self._labels.job_volume(job.name)) or {}
        if said.get(record.UID) != job.uid and job.name not in self.removals:
            self.forget(job.uid, job.name)

    def compare(self, job: DockerJob, listed: Sequence[Listed]) -> None:
        """Hold what is known of a job's containers against a list of them."""
        uid = job.intent.uid
        present = {container.id for container in listed}
        for container in listed:
            attempt = job.running.get(container.key)
            known = attempt is not None and attempt.container == container.id
            if not (known and container.state == "running") and not job.has_ended(container.key):
                self.container_changed(uid, container.key, container.id)
        for key, attempt in job.running.items():
            if attempt.container not in present:
                self.container_changed(uid, key, attempt.container)
        if job.handed_out and not job.tasks:
            self.look_again(job, "what was handed out doesn't show")

    def expects(self, name: str, *, there: bool) -> bool:
        """Whether a volume's coming or going is no news: mostly it's our own doing."""
        job_name, uid, kind = self._labels.parse_volume(name)
        job = self.jobs.get(job_name)
        if kind == record.JOB:
            expected = job_name in (self._accepting if there else self.removals)
            return expected or (job is not None) == there
        active = self.active.get(job.uid) if job is not None else None
        if active is None or not active.intent.uid.startswith(uid) or not there:
            return True
        decided = {
            record.STOP: active.stopping,
            record.DELETE: active.deleted,
            record.END: active.ending,
        }
        return decided.get(kind, True)

    def _begin(self, job: DockerJob) -> None:
        self.active[job.intent.uid] = job
        self._show(job.intent, job.status)
        self._arm(job)
        if job.stop is not None:
            self._signal(job)
        self._update(job)

    def meet_ended(self, uid: str, findings: Findings) -> bool:
        """Take up a job that is over; False if this isn't one, or if it is active here."""
        kept, end = findings.kept, findings.end
        if kept is None or end is None or uid in self.active:
            return False
        if not self.knows(uid, kept.intent.name):
            self._show(kept.intent, end)
            self._over(kept.intent, end, deleted=findings.delete is not None)
        return True

    def look_again(self, job: DockerJob, why: str) -> None:
        """Look at a job anew, after a pause that grows with each time."""
        if self.active.get(job.intent.uid) is job and job.intent.uid not in self._taking_up:
            _log.info("docker_job_looked_at_again", job=job.intent.name, why=why)
            self._take(job.intent.uid, self._look_again(job))

    async def _look_again(self, job: DockerJob) -> None:
        for task in job.pulling:
            task.cancel()
        await asyncio.gather(*job.tasks, return_exceptions=True)
        uid, failures = job.intent.uid, job.failures
        while self.active.get(uid) is job:
            pause = min(FIRST_PAUSE_SECONDS * 2**failures, LAST_PAUSE_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            failures += 1
            try:
                findings = await self._inspector.findings(uid)
                fresh = await self._inspector.job(job.kept, findings, own=job.own)
            except JobNotFound:
                self.forget(uid, job.intent.name)
                return
            except EngineError as error:
                _log.info("docker_job_not_seen", job=job.intent.name, error=str(error))
                continue
            fresh.failures = failures
            if self.active.get(uid) is job:
                self._begin(fresh)
                job.changed.set()

    # -- what happens to them -----------------------------------------------------------------

    def container_changed(self, uid: str, key: Key, container: str) -> None:
        """Something happened to a container: look at it, once it is known."""
        if uid in self._taking_up:
            self._missed.setdefault(uid, {})[container] = key
        elif (job := self.active.get(uid)) is None:
            return
        elif key in job.launching:
            job.missed.add(key)
        else:
            self.spawn(job, self.look(job, key, container))

    def container_started(self, uid: str, key: Key, container: str) -> None:
        """A container has started: look at it, unless it was started here."""
        job = self.active.get(uid)
        if job is not None and key in job.launching:
            return
        known = None if job is None else job.running.get(key)
        if known is None or known.container != container:
            self.container_changed(uid, key, container)

    def container_died(self, uid: str, key: Key, container: str, when: float) -> None:
        """A container has ended, by the daemon's own word.

        That is enough where its exit code can mean one thing only. Inspecting it would take until
        its network and its mounts are down: 50 to 70 ms.
        """
        job = self.active.get(uid)
        known = None if job is None or uid in self._taking_up else job.running.get(key)
        code = self._inspector.plain_exit(container)
        if (
            job is None
            or known is None
            or known.container != container
            or code is None
            or job.stop is not None
        ):
            self.container_changed(uid, key, container)
        else:
            end = exit_of(code, max(when, known.start_time))
            self._apply(job, known._replace(end=end))

    def decided(self, uid: str, findings: Findings) -> None:
        """Something was decided about a job, maybe by another server."""
        job = self.active.get(uid)
        if job is None or job.ending:
            return
        if findings.end is not None:
            self.look_again(job, "another server has seen its end")
        elif (findings.delete is not None and not job.deleted) or (
            job.stop is None and findings.decision is not None
        ):
            job.deleted = findings.delete is not None
            job.stop = job.stop or findings.decision
            job.stopping = True
            self.spawn(job, self._heed(job))

    async def _heed(self, job: DockerJob) -> None:
        await self._take_back(job)
        if self.active.get(job.intent.uid) is job:
            self._signal(job)
            self._update(job)

    async def look(self, job: DockerJob, key: Key, container: str) -> None:
        """See how a container of a job is doing."""
        seen = await self._inspector.see(container, key)
        if self.active.get(job.intent.uid) is not job:
            return
        if seen is not None and (seen.started or seen.attempt.end is not None):
            self._apply(job, await self._inspector.attempt(seen, job.stop))
        elif seen is None and (known := job.running.get(key)) and known.container == container:
            gone = self._inspector.missing(key, container, known.start_time, job.stop)
            self._apply(job, gone)

    async def refresh(self, uid: str) -> None:
        """Look at all that runs of a job."""
        if (job := self.active.get(uid)) is not None:
            running = [*job.running.items()]
            await asyncio.gather(*(self.look(job, key, run.container) for key, run in running))

    def _apply(self, job: DockerJob, attempt: Attempt) -> None:
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
            self._show(job.intent, job.status)
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
            self._apply(job, attempt)
        if key in job.missed and attempt is not None and attempt.end is None:
            self.spawn(job, self.look(job, key, attempt.container))

    def _waits(self, job: DockerJob, progress: str) -> None:
        job.waiting = progress
        if self.active.get(job.intent.uid) is job and job.refresh():
            self._show(job.intent, job.status)

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
            stop = record.deletion(await self._decide(intent, record.DELETE, stop))
            job.deleted = True
        elif job.stop is None:
            stop = await self._decide(intent, record.STOP, stop)
        job.stop = stop if job.stop is None else job.stop
        if grace < job.stop.grace:
            job.stop = job.stop._replace(grace=grace)
        if self.active.get(intent.uid) is job:
            # Not waited for: the caller has what he asked for once it is noted.
            self.spawn(job, self._heed(job))
        elif delete and self.knows(intent.uid, intent.name):  # it has ended meanwhile
            self.remove(intent, noted=True)

    async def _decide(self, intent: Intent, kind: str, stop: Stop) -> Stop:
        """What was decided first."""
        name = self._labels.fact_volume(intent, kind)
        said = await self._api.put_volume(name, self._labels.of_stop(intent, kind, stop))
        return record.read_stop(said, stop)

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
        intent, status = job.intent, job.status
        if not job.deleted:
            name = self._labels.fact_volume(intent, record.END)
            said = await self._api.put_volume(name, self._labels.of_end(intent, status))
            status = record.read_end(said)
        if self.active.get(intent.uid) is job:
            del self.active[intent.uid]
            self._show(intent, status)
            job.changed.set()
            self._over(intent, status, deleted=job.deleted)

    def _over(self, intent: Intent, status: Status, *, deleted: bool) -> None:
        if deleted:
            self.remove(intent, noted=True)
        elif intent.ttl is not None:
            due = (status.end_time or self.now()) + intent.ttl
            self._timers.add(self._at(due, _TTL, intent))

    # -- removal ------------------------------------------------------------------------------

    async def delete_ended(self, job: Job) -> None:
        """Note durably that a job that is over has to go, and remove it."""
        if not self.knows(job.uid, job.name):
            return
        intent = self._intents[job.name]
        await self._decide(intent, record.DELETE, Stop(facts.DELETED, self.now(), 0.0))
        self.remove(intent, noted=True)

    def remove(self, intent: Intent, *, noted: bool) -> None:
        """Remove a job that is over, however often that fails."""
        name = intent.name
        if name not in self.removals and self.knows(intent.uid, name):
            task = asyncio.create_task(self._remove(intent, noted=noted))
            self.removals[name] = task
            task.add_done_callback(lambda _: self.removals.pop(name, None))

    async def _remove(self, intent: Intent, *, noted: bool) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                if not noted:
                    stop = Stop(facts.DELETED, self.now(), 0.0)
                    await self._decide(intent, record.DELETE, stop)
                await self._api.remove_volume(self._labels.job_volume(intent.name))
                await self.sweep(intent.uid)
            except EngineError as error:
                _log.info("docker_job_not_removed", job=intent.name, error=str(error))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
                pause = min(2 * pause, LAST_PAUSE_SECONDS)
            else:
                self.forget(intent.uid, intent.name)
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

    def forget(self, uid: str, name: str) -> None:
        """A job is gone."""
        if not self.knows(uid, name):
            return
        job = self.jobs.pop(name)
        del self._intents[name]
        if (active := self.active.pop(uid, None)) is not None:
            active.changed.set()
        self.feed.publish(Removed(name, uid, job.status))

    # -- showing, and time --------------------------------------------------------------------

    def _show(self, intent: Intent, status: Status) -> None:
        known = self.jobs.get(intent.name)
        if known is not None and known.uid != intent.uid:
            self.forget(known.uid, intent.name)
        job = make_job(intent, status)
        if job != self.jobs.get(intent.name):
            self.jobs[intent.name] = job
            self._intents[intent.name] = intent
            self.feed.publish(Changed(job))

    def _arm(self, job: DockerJob) -> None:
        if (due := job.next_due) is not None:
            self._timers.add(self._at(due, _DUE, job.intent))

    def _at(self, when: float, kind: str, intent: Intent) -> Timer:
        return Timer(when - self.about.clock, kind, intent.name, intent.uid)

    def _timer(self, timer: Timer) -> None:
        job = self.active.get(timer.uid)
        if timer.kind == _TTL and self.knows(timer.uid, timer.name):
            self.remove(self._intents[timer.name], noted=False)
        if job is None:
            return
        match timer.kind:
            case "kill":
                if job.stop is not None:
                    self._kill(job)
            case "takeover":
                job.own = True
                if job.handed_out and not job.tasks:
                    self.look_again(job, "the server that has it doesn't start it")
                else:
                    self._advance(job)
            case _:
                self._settle(job)
