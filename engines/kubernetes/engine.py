"""The Kubernetes engine: runs a job as a batch/v1 Job of one namespace."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from engines.backoff import Backoff
from engines.base import Engine, Event, Job, Limits, LogChunk, LogQuery, Status
from engines.errors import (
    EngineTimeout,
    FieldViolation,
    InvalidSpec,
    JobAlreadyExists,
    JobNotFound,
    UidMismatch,
)
from engines.findings import Finding
from engines.kubernetes import manifest, record
from engines.kubernetes.api import Api
from engines.kubernetes.cluster import Cluster, Refused
from engines.kubernetes.controller import Controller
from engines.kubernetes.examination import Examination
from engines.kubernetes.logs import read_output
from engines.kubernetes.session import ClusterSession
from engines.kubernetes.settings import Settings, capabilities
from engines.lifecycle import facts
from engines.lifecycle.intent import make_intent
from engines.link import Link
from jobengine.v1.job_pb2 import JobSpec

LOOK_AGAIN: Final = Backoff(first=0.1, longest=2.0)
MAX_LOOKS: Final = 1_000
"""How often a name is tried that isn't free yet; the caller's deadline ends that much sooner."""


class KubernetesEngine(Engine):
    """Runs jobs in a namespace of a cluster.

    The cluster is the one of `context` in `kubeconfig`; by default what kubectl would take, and
    within a pod its own cluster. `namespace` is by default that of the context or the pod; servers
    with the same one share their jobs. For the rest see Settings.
    """

    name = "kubernetes"

    def __init__(  # noqa: PLR0913  (each is a setting of its own)
        self,
        *,
        kubeconfig: Path | None = None,
        context: str = "",
        namespace: str = "",
        service_account: str = "",
        node_selector: Mapping[str, str] | None = None,
        gpu_resource: str = Settings.gpu_resource,
        host_paths: Sequence[str] = (),
        engine_options: bool = False,
        grace_seconds: float = Settings.grace_seconds,
        default_start_timeout: float | None = Settings.default_start_timeout,
    ) -> None:
        self._settings = Settings(
            service_account=service_account,
            node_selector=dict(node_selector or {}),
            gpu_resource=gpu_resource,
            host_paths=tuple(host_paths),
            engine_options=engine_options,
            grace_seconds=grace_seconds,
            default_start_timeout=default_start_timeout,
        )
        self._cluster = Cluster(kubeconfig, context, namespace)
        self._api = Api(self._cluster)
        self._link = Link("Kubernetes", self._connect)
        self.capabilities = capabilities(self._settings)
        self.limits = Limits(default_start_timeout=default_start_timeout)

    async def __aenter__(self) -> Self:
        """Begin to look for the cluster; it may be away."""
        self._link.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._link.close()
        await self._cluster.close()

    async def _connect(self) -> ClusterSession:
        await self._cluster.connect()
        return ClusterSession(self._cluster, self._api)

    # -- the contract -------------------------------------------------------------------------

    def check_spec(self, spec: JobSpec) -> Sequence[FieldViolation]:
        """As in the contract."""
        return manifest.violations(spec, self._settings)

    async def read_version(self) -> str:
        """As in the contract."""
        await self._link.session()
        return f"Kubernetes {await self._api.version()}"

    async def examine(self) -> AsyncIterator[Finding]:
        """As in the contract, without taking up the jobs."""
        try:
            async for finding in Examination(self._cluster, self._api, self._settings).findings():
                yield finding
        finally:
            await self._cluster.close()

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """As in the contract."""
        controller = (await self._link.session()).controller
        if violations := manifest.name_violations(name, spec):
            raise InvalidSpec(violations)
        start_timeout = self._settings.default_start_timeout
        intent = make_intent(name, spec, request_id, start_timeout, now=0.0)
        body = manifest.make_job(intent, spec, self._settings)
        for looks in range(1, MAX_LOOKS):
            if (made := await self._api.create_job(body)) is not None:
                controller.put(made)
                return replace(_job(controller, made), spec=spec)
            found = await self._api.read_job(name)
            if found is not None and not found["metadata"].get("deletionTimestamp"):
                if record.read_intent(found) is None:
                    raise InvalidSpec([_taken_by_others(name)])
                controller.put(found)
                raise JobAlreadyExists(name)
            # One that is being removed is waited for, by the caller's deadline.
            await asyncio.sleep(LOOK_AGAIN.after(looks))
        raise EngineTimeout(f"the job {name!r} that was there before doesn't go away")

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        """As in the contract; a grace time longer than the engine's own has no effect."""
        controller, job = await self._find(name, uid)
        tracked = controller.active.get(job.uid)
        if tracked is not None:
            with contextlib.suppress(Refused):  # who may not note it may still delete it
                await controller.note_start(tracked)  # its pods go before it does
        if not await self._api.delete_job(name, job.uid):
            raise JobNotFound(name)
        if tracked is not None and grace_seconds is not None:
            await controller.end_pods(tracked, grace_seconds)

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        """As in the contract; a grace time longer than the engine's own has no effect."""
        controller, job = await self._find(name, uid)
        if (tracked := controller.active.get(job.uid)) is not None:
            await controller.stop(tracked, facts.CANCELLED, grace_seconds)
        return controller.jobs.get(name, job).status

    async def read_job(self, name: str) -> Job:
        """As in the contract."""
        controller = (await self._link.session()).controller
        found = await self._api.read_job(name)
        if found is None or record.read_intent(found) is None:
            raise JobNotFound(name)
        controller.put(found)
        return replace(_job(controller, found), spec=record.read_spec(found))

    async def read_status(self, job: Job) -> Status:
        """As in the contract."""
        controller, found = await self._find(job.name)
        await controller.refresh(found.uid)
        return controller.jobs.get(job.name, found).status

    async def list_jobs(self) -> Sequence[Job]:
        """As in the contract."""
        return list((await self._link.session()).controller.jobs.values())

    async def watch(self) -> AsyncIterator[Event]:
        """As in the contract."""
        controller = (await self._link.session()).controller
        async for event in controller.feed.watch(lambda: list(controller.jobs.values())):
            yield event

    async def read_logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        """Yield what an instance of the job wrote.

        An instance that the job doesn't have is an InvalidSpec for the field `instance`.
        """
        controller, job = await self._find(name)
        output = read_output(self._api, controller, job, query)
        async with contextlib.aclosing(output):
            async for chunk in output:
                yield chunk

    async def _find(self, name: str, uid: str = "") -> tuple[Controller, Job]:
        """The job, also one that another server has accepted a moment ago."""
        controller = (await self._link.session()).controller
        if name not in controller.jobs and (found := await self._api.read_job(name)) is not None:
            controller.put(found)
        job = controller.jobs.get(name)
        if job is None:
            raise JobNotFound(name)
        if uid and uid != job.uid:
            raise UidMismatch(name, uid, job.uid)
        return controller, job


def _job(controller: Controller, found: Mapping[str, Any]) -> Job:
    """The job that a Job of ours is, as callers see it."""
    name = str(found["metadata"]["name"])
    job = controller.jobs.get(name)
    if job is None or job.uid != found["metadata"]["uid"]:
        raise JobNotFound(name)  # it went away at this moment
    return job


def _taken_by_others(name: str) -> FieldViolation:
    why = f"the namespace has a Job {name!r} that this release didn't make: choose another name"
    return FieldViolation("name", why)
