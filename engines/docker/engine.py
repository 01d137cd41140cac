"""The Docker engine: runs each instance of a job as a container of a Docker daemon."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from engines.base import (
    Engine,
    Event,
    Job,
    Limits,
    LogChunk,
    LogQuery,
    Status,
)
from engines.docker import manifest, record
from engines.docker.api import Api
from engines.docker.controller import Controller
from engines.docker.daemon import Daemon
from engines.docker.examination import Examination
from engines.docker.history import History
from engines.docker.intake import Intake
from engines.docker.logs import read_output
from engines.docker.record import KeptJob, Labels
from engines.docker.secrets import Secrets
from engines.docker.session import Session
from engines.docker.settings import About, Settings, capabilities
from engines.errors import (
    EngineUnavailable,
    FieldViolation,
    JobAlreadyExists,
    JobNotFound,
    UidMismatch,
)
from engines.findings import Finding
from engines.lifecycle import facts
from engines.lifecycle.intent import make_intent
from engines.link import Link, outcome
from jobengine.v1.job_pb2 import JobSpec


class DockerEngine(Engine):
    """Runs jobs on the Docker daemon at `host` (as DOCKER_HOST has it), or Podman's like it.

    `cert_path` is a directory with ca.pem, cert.pem and key.pem, for TLS. Of several servers on
    one daemon, those with the same `namespace` share their jobs, and those with others see none of
    theirs. Jobs are on the daemon's `network`, may mount paths of the host below `host_paths`,
    take secrets from `secrets_dir`, and may give `engine_options` only if that is allowed: who may,
    can do anything on the daemon's machine. Of the output of each run, `log_limit_bytes` are kept.
    Times in seconds.
    """

    name = "docker"

    def __init__(  # noqa: PLR0913  (each is a setting of its own)
        self,
        *,
        host: str | None = None,
        cert_path: Path | None = None,
        namespace: str = "default",
        network: str = "bridge",
        host_paths: Sequence[str] = (),
        secrets_dir: Path | None = None,
        engine_options: bool = False,
        log_limit_bytes: int = Settings.log_limit_bytes,
        grace_seconds: float = Settings.grace_seconds,
        default_start_timeout: float | None = Settings.default_start_timeout,
    ) -> None:
        self._settings = Settings(
            namespace=check_namespace(namespace),
            network=network,
            host_paths=tuple(host_paths),
            secrets=secrets_dir,
            engine_options=engine_options,
            log_limit_bytes=log_limit_bytes,
            grace_seconds=grace_seconds,
            default_start_timeout=default_start_timeout,
        )
        self._daemon = Daemon(_environment(host, cert_path))
        self._labels = Labels(namespace)
        self._api = Api(self._daemon, namespace)
        self._secrets = Secrets(secrets_dir)
        self._history = History()
        self._about = About()
        self._link = Link("Docker", self._connect)
        self._creating: dict[str, asyncio.Task[Job]] = {}
        self.capabilities = capabilities(self._settings, self._about)
        self.limits = Limits(default_start_timeout=default_start_timeout)

    async def __aenter__(self) -> Self:
        """Begin to look for the daemon; it may be away."""
        self._link.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._link.close()
        self._daemon.close()

    async def _connect(self) -> Session:
        self._about = await self._daemon.connect()
        self.capabilities = capabilities(self._settings, self._about)
        self._history.begin()
        intake = Intake(self._api, self._labels, self._settings, self._about, self._history)
        return Session(self._daemon, self._api, self._labels, intake, self._history)

    # -- the contract -------------------------------------------------------------------------

    def check_spec(self, spec: JobSpec) -> Sequence[FieldViolation]:
        """As in the contract."""
        return manifest.violations(spec, self._settings, self._about)

    async def read_version(self) -> str:
        """As in the contract."""
        await self._link.session()
        product = "Podman" if self._about.podman else "Docker"
        return f"{product} {self._about.version}"

    async def examine(self) -> AsyncIterator[Finding]:
        """As in the contract, without taking up the jobs."""
        try:
            looks = Examination(self._daemon, self._api, self._labels, self._settings)
            async for finding in looks.findings():
                yield finding
        finally:
            self._daemon.close()

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """As in the contract; secrets that aren't there are an InvalidSpec."""
        intake = (await self._link.session()).intake
        self._secrets.env(spec)
        self._secrets.registry(spec)
        await self._settled(intake.controller, name)
        if name in intake.controller.ledger.jobs:
            raise JobAlreadyExists(name)
        start_timeout = self._settings.default_start_timeout
        intent = make_intent(name, spec, request_id, start_timeout, now=intake.controller.now())
        kept = KeptJob(intent, JobSpec.FromString(spec.SerializeToString()))
        task = asyncio.create_task(intake.create(kept))
        self._creating[name] = task
        task.add_done_callback(lambda _: self._creating.pop(name, None))
        # Shielded, so that a caller that gives up leaves a whole job behind.
        return replace(await outcome(task, "Docker"), spec=spec)

    async def _settled(self, controller: Controller, name: str) -> None:
        """Wait for what is under way with a name: afterwards it is taken, or free."""
        while not controller.closed:
            job = controller.ledger.jobs.get(name)
            active = controller.active.get(job.uid) if job is not None else None
            if active is not None and active.deleted:
                await active.changed.wait()
            elif before := self._creating.get(name) or controller.removals.tasks.get(name):
                await asyncio.wait([before])
            else:
                return
        raise EngineUnavailable("Docker went away meanwhile: ask again")

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        """As in the contract."""
        controller, job = await self._find(name, uid)
        grace = self._settings.grace_seconds if grace_seconds is None else grace_seconds
        active = controller.active.get(job.uid)
        if active is not None:
            work = controller.stop(active, facts.DELETED, grace, delete=True)
            await outcome(controller.spawn(active, work), "Docker")
        elif name not in controller.removals.tasks:
            intent = controller.ledger.intent(job)
            await outcome(asyncio.create_task(controller.removals.note(intent)), "Docker")

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        """As in the contract."""
        controller, job = await self._find(name, uid)
        grace = self._settings.grace_seconds if grace_seconds is None else grace_seconds
        active = controller.active.get(job.uid)
        if active is None:
            return job.status
        work = controller.stop(active, facts.CANCELLED, grace)
        await outcome(controller.spawn(active, work), "Docker")
        return controller.ledger.jobs.get(name, job).status

    async def read_job(self, name: str) -> Job:
        """As in the contract."""
        controller, job = await self._find(name)
        said = await self._api.volume_labels(self._labels.job_volume(name))
        kept = None if said is None else record.read_job(said)
        if kept is None or kept.intent.uid != job.uid:
            raise JobNotFound(name)
        return replace(controller.ledger.jobs.get(name, job), spec=kept.spec)

    async def read_status(self, job: Job) -> Status:
        """As in the contract."""
        controller, found = await self._find(job.name)
        await controller.refresh(found.uid)
        return controller.ledger.jobs.get(job.name, found).status

    async def list_jobs(self) -> Sequence[Job]:
        """As in the contract."""
        return list((await self._link.session()).intake.controller.ledger.jobs.values())

    async def watch(self) -> AsyncIterator[Event]:
        """As in the contract."""
        ledger = (await self._link.session()).intake.controller.ledger
        async for event in ledger.feed.watch(lambda: list(ledger.jobs.values())):
            yield event

    async def read_logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        """Yield what an instance of the job wrote.

        An instance that the job doesn't have is an InvalidSpec for the field `instance`.
        """
        controller, job = await self._find(name)
        output = read_output(self._api, self._labels, controller, job, query)
        async with contextlib.aclosing(output):
            async for chunk in output:
                yield chunk

    async def _find(self, name: str, uid: str = "") -> tuple[Controller, Job]:
        """The job, also one that another server has accepted a moment ago."""
        intake = (await self._link.session()).intake
        ledger = intake.controller.ledger
        if name not in ledger.jobs:
            said = await self._api.volume_labels(self._labels.job_volume(name))
            if (owner := self._labels.owner(said)) is not None:
                await intake.take_up(owner, own=False)
        job = ledger.jobs.get(name)
        if job is None:
            raise JobNotFound(name)
        if uid and uid != job.uid:
            raise UidMismatch(name, uid, job.uid)
        return intake.controller, job


def check_namespace(namespace: str) -> str:
    """The namespace, or ValueError if it can't be part of a volume's name."""
    if not namespace or len(namespace) > 32 or not namespace.replace("-", "").isalnum():
        raise ValueError(f"namespace {namespace!r}: use at most 32 letters, digits and '-'")
    if not namespace.isascii() or namespace[0] == "-":
        raise ValueError(f"namespace {namespace!r}: use ASCII, and a letter or digit first")
    return namespace


def _environment(host: str | None, cert_path: Path | None) -> dict[str, str]:
    """Docker's own variables, where nothing else is said."""
    names = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    found = {name: os.environ[name] for name in names if os.environ.get(name)}
    if host is not None:
        found = {"DOCKER_HOST": host}
    if cert_path is not None:
        found |= {"DOCKER_CERT_PATH": str(cert_path), "DOCKER_TLS_VERIFY": "1"}
    return found
