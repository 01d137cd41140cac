"""The local engine: runs commands of this machine as jobs that outlive the server."""

import asyncio
import errno
import os
import platform
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from engines.base import (
    Capability,
    Engine,
    Event,
    Job,
    Limits,
    LogChunk,
    LogQuery,
    Status,
)
from engines.errors import (
    EngineFailed,
    EngineUnavailable,
    FieldViolation,
    JobAlreadyExists,
    JobNotFound,
    LimitReached,
    UidMismatch,
)
from engines.findings import Finding, fine
from engines.lifecycle import facts
from engines.lifecycle.intent import make_intent
from engines.local import plan
from engines.local.cgroup import Groups
from engines.local.controller import Controller
from engines.local.examination import examine
from engines.local.jobs import LocalJob
from engines.local.output import read_output
from engines.local.shim import Settings
from engines.local.store import Store
from jobengine.v1.job_pb2 import JobSpec

_CAPABILITIES: Final = frozenset(
    {
        Capability.LIST,
        Capability.CANCEL,
        Capability.LOGS,
        Capability.COMMANDS,
        Capability.INSTANCES,
        Capability.RETRIES,
        Capability.TIMEOUT,
        Capability.START_TIMEOUT,
        Capability.TTL,
        Capability.DURABLE,
    }
)


class LocalEngine(Engine):
    """Runs each instance of a job as a process of this machine.

    All it knows stands in `state_dir`, which one server at a time may use. At most
    `max_running` instances run at once, by default two per processor and at least four; the
    others wait their turn. Output above `log_limit_bytes` per run is dropped, the oldest
    first. `grace_seconds` is what a job gets to end by itself where a caller says nothing.
    """

    name = "local"

    def __init__(
        self,
        state_dir: Path,
        *,
        max_running: int | None = None,
        default_start_timeout: float | None = None,
        log_limit_bytes: int = 64 * 1024 * 1024,
        grace_seconds: float = 10.0,
    ) -> None:
        places = max_running or max(4, 2 * (os.cpu_count() or 1))
        self._store = Store(state_dir)
        self._log_limit_bytes = log_limit_bytes
        self._grace_seconds = grace_seconds
        self._creating: dict[str, asyncio.Future[None]] = {}
        self._running: Controller | None = None
        self.limits = Limits(
            max_running_instances=places, default_start_timeout=default_start_timeout
        )

    async def __aenter__(self) -> Self:
        """Take the state directory, and take up the jobs in it.

        Raises:
            EngineFailed: another server has the directory, or it can't be used.
        """
        await asyncio.to_thread(self._store.open)
        try:
            # Groups are told apart by directory: several engines may share a machine.
            digest = blake2b(self._store.path.encode(), digest_size=6).hexdigest()
            groups = await asyncio.to_thread(Groups, f"jobengine-{digest}")
            self.capabilities = _capabilities(groups)
            settings = Settings(
                self._store.path,
                self._grace_seconds,
                groups.prefix,
                list(groups.all),
            )
            assert self.limits.max_running_instances is not None  # noqa: S101  (set above)
            places = self.limits.max_running_instances
            self._running = Controller(self._store, groups, settings, places)
            await self._running.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        controller, self._running = self._running, None
        if controller is not None:
            await controller.close()
        self._store.close()

    @property
    def _controller(self) -> Controller:
        if self._running is None:
            raise EngineUnavailable("the local engine isn't started")
        return self._running

    def check_spec(self, spec: JobSpec) -> Sequence[FieldViolation]:
        """As in the contract."""
        return plan.violations(spec, self.capabilities)

    async def read_version(self) -> str:
        """As in the contract."""
        return f"{platform.system()} {platform.release()}"

    async def examine(self) -> AsyncIterator[Finding]:
        """As in the contract, without taking the state directory."""
        yield fine(self.name, await self.read_version())
        async for finding in examine(self._store):
            yield finding

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """As in the contract."""
        controller = self._controller
        await self._settled(name)
        if name in controller.jobs:
            raise JobAlreadyExists(name)
        start_timeout = self.limits.default_start_timeout
        intent = make_intent(name, spec, request_id, start_timeout, now=time.time())
        what = plan.make_plan(spec, self._log_limit_bytes)
        data = spec.SerializeToString(deterministic=True)
        written = self._creating[name] = controller.committer.submit(
            lambda: self._store.create(intent, what, data), lambda: self._store.forget(name)
        )

        active = LocalJob(intent)

        def accept(future: asyncio.Future[None]) -> None:
            del self._creating[name]
            if future.exception() is None:
                controller.accept(active)

        # By callback, so that a caller that gives up leaves a whole job behind.
        written.add_done_callback(accept)
        try:
            await asyncio.shield(written)
        except OSError as exc:
            raise _unwritten(exc) from exc
        return replace(active.job, spec=spec)

    async def _settled(self, name: str) -> None:
        """Wait for what is under way with a name: afterwards it is taken, or free."""
        controller = self._controller
        while True:
            active = controller.active.get(name)
            if active is not None and active.deleted:
                await active.changed.wait()
            elif before := self._creating.get(name) or controller.removals.get(name):
                await asyncio.wait([before])
            else:
                return

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        """As in the contract."""
        job = self._find(name, uid)
        controller = self._controller
        active = controller.active.get(name)
        try:
            if active is not None:
                await controller.stop(active, facts.DELETED, grace_seconds, delete=True)
            elif name not in controller.removals and controller.jobs.get(name) is job:
                await asyncio.shield(controller.remove(name, noted=False))
        except OSError as exc:
            raise _unwritten(exc) from exc

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        """As in the contract."""
        job = self._find(name, uid)
        controller = self._controller
        active = controller.active.get(name)
        if active is None:
            return job.status
        try:
            await controller.stop(active, facts.CANCELLED, grace_seconds)
        except OSError as exc:
            raise _unwritten(exc) from exc
        return active.status

    async def read_job(self, name: str) -> Job:
        """As in the contract."""
        job = self._find(name)
        try:
            data = await asyncio.to_thread(self._store.read_spec, name)
        except FileNotFoundError:
            raise JobNotFound(name) from None
        spec = JobSpec.FromString(data)
        return replace(self._find(name, job.uid), spec=spec)

    async def read_status(self, job: Job) -> Status:
        """As in the contract."""
        return self._find(job.name).status

    async def list_jobs(self) -> Sequence[Job]:
        """As in the contract."""
        return list(self._controller.jobs.values())

    async def watch(self) -> AsyncIterator[Event]:
        """As in the contract."""
        controller = self._controller
        async for event in controller.feed.watch(lambda: list(controller.jobs.values())):
            yield event

    def read_logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        """Yield what an instance of the job wrote.

        An instance that the job doesn't have is an InvalidSpec for the field `instance`.
        """
        return read_output(self._store, self._controller, name, query)

    def _find(self, name: str, uid: str = "") -> Job:
        job = self._controller.jobs.get(name)
        if job is None:
            raise JobNotFound(name)
        if uid and uid != job.uid:
            raise UidMismatch(name, uid, job.uid)
        return job


def _capabilities(groups: Groups) -> frozenset[Capability]:
    found = set(_CAPABILITIES)
    if groups.cpu:
        found.add(Capability.CPU_LIMIT)
    if groups.memory:
        found.add(Capability.MEMORY_LIMIT)
    if os.geteuid() == 0:
        found.add(Capability.USER)
    return frozenset(found)


def _unwritten(exc: OSError) -> LimitReached | EngineFailed:
    message = f"it can't be written down: {exc}"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return LimitReached("disk space", f"{message}; free space, or delete finished jobs")
    return EngineFailed(message)
