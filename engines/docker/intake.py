"""Takes in jobs, new ones and those that are found, and what is heard of them."""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

import structlog

from engines.backoff import Backoff
from engines.base import Job
from engines.docker import record
from engines.docker.api import Api
from engines.docker.container import exit_of
from engines.docker.controller import Controller
from engines.docker.history import History
from engines.docker.jobs import DockerJob
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
from engines.lifecycle.facts import Key
from engines.link import outcome

LOOK_AGAIN: Final = Backoff(first=0.2, longest=30.0)

_log = structlog.get_logger(__name__)


class Intake:
    """The jobs of one connection, by way of its `controller`, which carries them."""

    def __init__(
        self, api: Api, labels: Labels, settings: Settings, about: About, history: History
    ) -> None:
        self.controller = Controller(api, labels, settings, about, history, self.look_again)
        self._ledger = self.controller.ledger
        self._api = api
        self._labels = labels
        self._taking_up: dict[str, asyncio.Task[None]] = {}
        self._missed: dict[str, dict[str, Key]] = {}
        self._accepting: set[str] = set()

    async def close(self, error: EngineError) -> None:
        """Leave the jobs as they are, and take in no more."""
        self.controller.closed = True
        tasks = list(self._taking_up.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.controller.close(error)

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
        if self.controller.closed:
            raise EngineUnavailable("Docker went away; the job may have been accepted: ask again")
        if found.get(record.UID) != intent.uid:
            owner = self._labels.owner(found)
            if owner is None:
                volume = self._labels.job_volume(intent.name)
                raise EngineFailed(
                    f"the volume {volume} is somebody else's, or another release's: choose another "
                    "name for the job"
                )
            await self.take_up(owner, own=False)
            raise JobAlreadyExists(intent.name)
        job = DockerJob(kept)
        self.controller.begin(job)
        return self._ledger.jobs[intent.name]

    async def take_up(self, owner: Owner, *, own: bool) -> None:
        """Take up a job where it stands; nothing if it is known.

        `own`: whether to start at once what waits to be started.
        """
        if not self._ledger.knows(owner.uid, owner.name):
            if owner.uid not in self._taking_up:
                self._take(owner.uid, self._take_up(owner.uid, own=own))
            await outcome(self._taking_up[owner.uid], "Docker")

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
        findings = await self.controller.inspector.findings(uid)
        if not self.meet_ended(uid, findings):
            assert findings.kept is not None  # noqa: S101  (otherwise the job is gone)
            self.controller.begin(
                await self.controller.inspector.job(findings.kept, findings, own=own)
            )

    def meet_ended(self, uid: str, findings: Findings) -> bool:
        """Take up a job that is over; False if this isn't one, or if it is active here."""
        kept, end = findings.kept, findings.end
        if kept is None or end is None or uid in self.controller.active:
            return False
        if not self._ledger.knows(uid, kept.intent.name):
            self.controller.show(kept.intent, end)
            self.controller.over(kept.intent, end, deleted=findings.delete is not None)
        return True

    def look_again(self, job: DockerJob, why: str) -> None:
        """Look at a job anew, after a pause that grows with each time."""
        if (
            self.controller.active.get(job.intent.uid) is job
            and job.intent.uid not in self._taking_up
        ):
            _log.info("docker_job_looked_at_again", job=job.intent.name, why=why)
            self._take(job.intent.uid, self._look_again(job))

    async def _look_again(self, job: DockerJob) -> None:
        for task in job.pulling:
            task.cancel()
        await asyncio.gather(*job.tasks, return_exceptions=True)
        uid, failures = job.intent.uid, job.failures
        while self.controller.active.get(uid) is job:
            failures += 1
            await asyncio.sleep(LOOK_AGAIN.after(failures))
            try:
                findings = await self.controller.inspector.findings(uid)
                fresh = await self.controller.inspector.job(job.kept, findings, own=job.own)
            except JobNotFound:
                self.controller.forget(uid, job.intent.name)
                return
            except EngineError as error:
                _log.info("docker_job_not_seen", job=job.intent.name, error=str(error))
                continue
            fresh.failures = failures
            if self.controller.active.get(uid) is job:
                self.controller.begin(fresh)
                job.changed.set()

    # -- news ---------------------------------------------------------------------------------

    def container_changed(self, uid: str, key: Key, container: str) -> None:
        """Something happened to a container: look at it, once it is known."""
        if uid in self._taking_up:
            self._missed.setdefault(uid, {})[container] = key
        elif (job := self.controller.active.get(uid)) is None:
            return
        elif key in job.launching:
            job.missed.add(key)
        else:
            self.controller.spawn(job, self.controller.look(job, key, container))

    def container_started(self, uid: str, key: Key, container: str) -> None:
        """A container has started: look at it, unless it was started here."""
        job = self.controller.active.get(uid)
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
        job = self.controller.active.get(uid)
        known = None if job is None or uid in self._taking_up else job.running.get(key)
        code = self.controller.inspector.plain_exit(container)
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
            self.controller.apply(job, known._replace(end=end))

    def decided(self, uid: str, findings: Findings) -> None:
        """Something was decided about a job, maybe by another server."""
        job = self.controller.active.get(uid)
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
            self.controller.spawn(job, self.controller.heed(job))

    async def missing(self, job: Job) -> None:
        """The volume of a job seems to be gone, by another server's doing or anybody else's."""
        said = await self._api.volume_labels(self._labels.job_volume(job.name)) or {}
        if said.get(record.UID) != job.uid and job.name not in self.controller.removals.tasks:
            self.controller.forget(job.uid, job.name)
            await self.controller.removals.sweep(job.uid)

    def compare(self, job: DockerJob, listed: Sequence[Listed]) -> None:
        """Hold what is known of a job's containers against a list of them."""
        uid = job.intent.uid
        stuck = bool(job.handed_out) and not job.tasks
        present = {container.id for container in listed}
        for container in listed:
            attempt = job.running.get(container.key)
            known = attempt is not None and attempt.container == container.id
            if not (known and container.state == "running") and not job.has_ended(container.key):
                self.container_changed(uid, container.key, container.id)
        for key, attempt in job.running.items():
            if attempt.container not in present:
                self.container_changed(uid, key, attempt.container)
        if stuck:
            self.look_again(job, "what was handed out doesn't show")

    def expects(self, name: str, *, there: bool) -> bool:
        """Whether a volume's coming or going is no news: mostly it's our own doing."""
        job_name, uid, kind = self._labels.parse_volume(name)
        job = self._ledger.jobs.get(job_name)
        if kind == record.JOB:
            expected = job_name in (self._accepting if there else self.controller.removals.tasks)
            return expected or (job is not None) == there
        active = self.controller.active.get(job.uid) if job is not None else None
        if active is None or not active.intent.uid.startswith(uid) or not there:
            return True
        decided = {
            record.STOP: active.stopping,
            record.DELETE: active.deleted,
            record.END: active.ending,
        }
        return decided.get(kind, True)
