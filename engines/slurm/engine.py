"""The Slurm engine: runs each instance of a job as a job of a Slurm cluster."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engines import (
    Engine,
    EngineError,
    EngineUnavailable,
    Event,
    FieldViolation,
    Job,
    JobAlreadyExists,
    JobNotFound,
    Limits,
    LogChunk,
    LogQuery,
    Status,
    UidMismatch,
)
from engines.findings import Finding
from engines.lifecycle import facts
from engines.lifecycle.intent import make_intent
from engines.link import Link, outcome
from engines.slurm.client import Slurm
from engines.slurm.cluster import Cluster
from engines.slurm.commands import Commands
from engines.slurm.disk import Disk
from engines.slurm.examination import Examination
from engines.slurm.logs import read_output
from engines.slurm.manifest import violations
from engines.slurm.record import KeptJob
from engines.slurm.session import Session
from engines.slurm.settings import About, Settings, capabilities
from engines.slurm.store import Store
from jobengine.v1.job_pb2 import JobSpec

_ENTER_SECONDS: Final = 1.0


class SlurmEngine(Engine):
    """Runs jobs on the Slurm cluster that `conf` (SLURM_CONF) names, as the server's own user.

    `state_dir` is a directory that all servers and nodes see by this path. Jobs go to `partition`
    and `account` where they don't say, which is the cluster's default without. The queue is read
    every `poll_interval_seconds` while jobs are under way, and a job that has to end gets
    `grace_seconds` where the caller says nothing.
    """

    name = "slurm"

    def __init__(  # noqa: PLR0913  (each is a setting of its own)
        self,
        state_dir: Path | str,
        *,
        conf: Path | None = None,
        partition: str = "",
        account: str = "",
        poll_interval_seconds: float = Settings.poll_interval,
        grace_seconds: float = Settings.grace_seconds,
        default_start_timeout: float | None = None,
    ) -> None:
        self._settings = Settings(
            Path(state_dir),
            partition,
            account,
            poll_interval_seconds,
            grace_seconds,
            default_start_timeout,
        )
        self._store = Store(self._settings.directory)
        self._disk = Disk()
        self._slurm = Slurm(Commands(os.fspath(conf) if conf else ""), self._store.tag)
        self._about = About()
        self._link = Link("Slurm", self._connect)
        self.capabilities = capabilities(self._about)
        self.limits = Limits(default_start_timeout=default_start_timeout)

    async def __aenter__(self) -> Self:
        """Begin to look for the cluster; it may be away.

        One that is there is waited for, since what it can do is asked next.
        """
        self._link.open()
        with contextlib.suppress(TimeoutError, EngineError):
            async with asyncio.timeout(_ENTER_SECONDS):
                await self._link.session()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._link.close()

    async def _connect(self) -> Session:
        await self._disk.do("open", self._store.open)
        self._about = await self._slurm.connect()
        self.capabilities = capabilities(self._about)
        return Session(Cluster(self._store, self._disk, self._slurm, self._settings, self._about))

    @property
    def commands_run(self) -> int:
        """How many commands of Slurm's there were so far."""
        return self._slurm.commands_run

    # -- the contract -------------------------------------------------------------------------

    def check_spec(self, spec: JobSpec) -> Sequence[FieldViolation]:
        """As in the contract."""
        return violations(spec, self._about)

    async def read_version(self) -> str:
        """As in the contract."""
        await self._link.session()
        return f"Slurm {self._about.version}"

    async def examine(self) -> AsyncIterator[Finding]:
        """As in the contract, without taking up the jobs."""
        looks = Examination(self._store, self._slurm, self._settings)
        async for finding in looks.findings():
            yield finding

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """As in the contract."""
        session = await self._link.session()
        await self._settled(session, name)
        if await session.intake.find(name) is not None:
            raise JobAlreadyExists(name)
        start_timeout = self._settings.default_start_timeout
        intent = make_intent(name, spec, request_id, start_timeout, now=time.time())
        kept = KeptJob(intent, spec.SerializeToString(deterministic=True))
        job = await session.intake.create(kept, JobSpec.FromString(kept.spec))
        return replace(job, spec=spec)

    async def _settled(self, session: Session, name: str) -> None:
        """Wait for what is under way with a name: afterwards it is taken, or free."""
        controller, intake = session.controller, session.intake
        while not controller.closed:
            job = await intake.find(name)
            active = controller.active.get(job.uid) if job is not None else None
            if active is not None and active.deleted:
                await active.changed.wait()
            elif before := intake.creating.get(name) or controller.removals.tasks.get(name):
                await asyncio.wait([before])
            else:
                return
        raise EngineUnavailable("Slurm went away meanwhile: ask again")

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        """As in the contract."""
        session, job = await self._find(name, uid)
        controller = session.controller
        grace = self._settings.grace_seconds if grace_seconds is None else grace_seconds
        active = controller.active.get(job.uid)
        if active is not None:
            work = controller.stops.stop(active, facts.DELETED, grace, delete=True)
            await outcome(controller.spawn(active, work), "Slurm")
        elif name not in controller.removals.tasks:
            intent = controller.ledger.intent(job)
            await outcome(asyncio.create_task(controller.removals.note(intent)), "Slurm")

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        """As in the contract."""
        session, job = await self._find(name, uid)
        controller = session.controller
        grace = self._settings.grace_seconds if grace_seconds is None else grace_seconds
        active = controller.active.get(job.uid)
        if active is None:
            return job.status
        work = controller.stops.stop(active, facts.CANCELLED, grace)
        await outcome(controller.spawn(active, work), "Slurm")
        return controller.ledger.jobs.get(name, job).status

    async def read_job(self, name: str) -> Job:
        """As in the contract."""
        session, job = await self._find(name)
        kept = await self._disk.do(name, lambda: self._store.read_job(name))
        if kept is None or kept.intent.uid != job.uid:
            raise JobNotFound(name)
        spec = JobSpec.FromString(kept.spec)
        return replace(session.controller.ledger.jobs.get(name, job), spec=spec)

    async def read_status(self, job: Job) -> Status:
        """As in the contract."""
        session, found = await self._find(job.name)
        active = session.controller.active.get(found.uid)
        if active is not None:
            await session.controller.look(active)
        return session.controller.ledger.jobs.get(job.name, found).status

    async def list_jobs(self) -> Sequence[Job]:
        """As in the contract."""
        return list((await self._link.session()).controller.ledger.jobs.values())

    async def watch(self) -> AsyncIterator[Event]:
        """As in the contract."""
        ledger = (await self._link.session()).controller.ledger
        async for event in ledger.feed.watch(lambda: list(ledger.jobs.values())):
            yield event

    async def read_logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        """Yield what an instance of the job wrote.

        An instance that the job doesn't have is an InvalidSpec for the field `instance`.
        """
        session, job = await self._find(name)
        async with contextlib.aclosing(read_output(session.controller, job, query)) as output:
            async for chunk in output:
                yield chunk

    async def _find(self, name: str, uid: str = "") -> tuple[Session, Job]:
        """The job, also one that another server has accepted a moment ago."""
        session = await self._link.session()
        job = await session.intake.find(name)
        if job is None:
            raise JobNotFound(name)
        if uid and uid != job.uid:
            raise UidMismatch(name, uid, job.uid)
        return session, job
