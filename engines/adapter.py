"""Makes an engine of a plain class: four methods, not async, inheriting nothing."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Sequence,
)
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self, TypeVar, cast

from engines.base import Capability, Changed, Engine, Event, Job, Removed, Status, spec_hash
from engines.counts import deleted_status, next_status
from engines.errors import (
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    JobAlreadyExists,
    JobNotFound,
    UidMismatch,
)
from engines.features import SPEC_CAPABILITIES
from engines.feed import Feed
from engines.plain import PlainCalls
from engines.threads import PATIENCE_SECONDS, TooManyCalls
from jobengine.v1.job_pb2 import JobSpec

CALL_TIMEOUT_SECONDS = 30.0
POLL_INTERVAL_SECONDS = 0.2

POLLS_AT_ONCE = 16
"""How many jobs of an engine that may be called concurrently are asked about at once."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Record:
    """A job, and the question about its status that is under way."""

    job: Job
    poll: asyncio.Task[None] | None = None
    failing: bool = False


class PlainEngine(Engine):
    """A plain object as an engine.

    `read_job` and `read_status` say that there is no such job by returning None or raising a
    LookupError, `delete_job` by raising one. Errors of `engines.errors` mean what they mean
    there, NotImplementedError that the engine can't do it, any other that it failed.
    `read_status` is given a `Job(name, None)` of the class's own inner class, or an
    `engines.Job`. Uids, labels, request ids and times are kept here, in memory.

    The class may set: `thread_safe` (default False: one call at a time, except next to one
    that takes longer than 1 s; a class that must never be entered twice holds its own lock),
    `call_timeout_seconds` (30), `poll_interval_seconds` (0.2), `name`, and `capabilities`
    (those about specs that it has, or their names: other specs are refused; a class that doesn't
    say is handed every spec as it is, and decides for itself).

    Raises:
        ValueError: there is no capability of that name.
    """

    capabilities = SPEC_CAPABILITIES

    def __init__(self, plain: object) -> None:
        self._calls = PlainCalls(plain)
        self.name = str(getattr(plain, "name", type(plain).__name__))
        declared: Iterable[Capability | str] | None = getattr(plain, "capabilities", None)
        if declared is not None:
            self.capabilities = frozenset(map(_capability, declared)) & SPEC_CAPABILITIES
        self._retries = declared is not None and Capability.RETRIES in self.capabilities
        self.poll_interval_seconds = getattr(plain, "poll_interval_seconds", POLL_INTERVAL_SECONDS)
        self._timeout: float = getattr(plain, "call_timeout_seconds", CALL_TIMEOUT_SECONDS)
        self._records: dict[str, _Record] = {}
        self._creating: dict[str, _Record] = {}
        self._writes: dict[str, asyncio.Task[object]] = {}
        self._feed = Feed()
        self._wake = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._poller = asyncio.create_task(self._poll())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        polls = [record.poll for record in self._records.values()]
        tasks = [t for t in (self._poller, *self._writes.values(), *polls) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """As in the contract; where the caller leaves, the creation goes on."""
        kept = JobSpec()
        kept.CopyFrom(spec)
        job = Job(
            name,
            Status(create_time=time.time()),
            uid=str(uuid.uuid4()),
            labels=dict(spec.labels),
            request_id=request_id,
            spec_hash=spec_hash(spec),
            spec=kept,
        )
        return await self._write(name, "create_job", lambda: self._create(_Record(job)))

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        """As in the contract, save that the class decides about the grace period."""
        del grace_seconds
        await self._write(name, "delete_job", lambda: self._delete(name, uid))

    async def read_job(self, name: str) -> Job:
        """As in the contract."""
        async with self._deadline("read_job"):
            return (await self._find(name)).job

    async def read_status(self, job: Job) -> Status:
        """As in the contract; the class isn't asked again about a job that has ended."""
        async with self._deadline("read_status"):
            record = self._records.get(job.name) or await self._find(job.name)
            if not record.job.status.state.terminal:
                await self._refresh(record)
            return record.job.status

    def watch(self) -> AsyncIterator[Event]:
        """As in the contract, for any number of consumers; knows the jobs seen so far."""
        return self._feed.watch(self._jobs)

    def _jobs(self) -> Sequence[Job]:
        return [replace(record.job, spec=None) for record in self._records.values()]

    async def _create(self, record: _Record) -> Job:
        job = record.job
        with contextlib.suppress(JobNotFound):
            await self._find(job.name)
            raise JobAlreadyExists(job.name)
        self._creating[job.name] = record
        try:
            told = await self._calls.create_job(job.name, cast("JobSpec", job.spec))
        finally:
            del self._creating[job.name]
        self._keep(record)
        self._observe(record, self._calls.status_of(told, "create_job"), "create_job")
        return record.job

    async def _delete(self, name: str, uid: str) -> None:
        record = self._records.get(name) or await self._find(name)
        if uid not in {"", record.job.uid}:
            raise UidMismatch(name, uid, record.job.uid)
        with self._forgetting(record):
            await self._calls.delete_job(name)
        self._forget(record, deleted_status(record.job.status, now=time.time()))

    async def _find(self, name: str) -> _Record:
        """Ask the class for the job; one that is new to us is kept from now on."""
        known = self._records.get(name)
        with self._forgetting(known):
            told = await self._calls.read_job(name)
        record = self._records.get(name)
        if known is not None and record is not known:
            raise JobNotFound(name)  # it was deleted while we asked
        if record is None:
            record = self._creating.get(name) or _Record(
                Job(name, Status(create_time=time.time()), uid=str(uuid.uuid4()))
            )
            self._keep(record)
        status = self._calls.status_of(told, "read_job")
        if status is None:
            await self._refresh(record)
        else:
            self._observe(record, status, "read_job")
        return record

    async def _refresh(self, record: _Record) -> None:
        """Ask the class for the status of the job."""
        with self._forgetting(record):
            told = await self._calls.read_status(record.job.name)
        self._observe(record, told, "read_status")

    def _observe(self, record: _Record, told: object, method: str) -> None:
        """Take over the status that a method told, if it told one."""
        job = record.job
        if told is None:
            return
        retries = job.spec.max_retries if job.spec is not None and self._retries else 0
        try:
            status = next_status(job.status, told, job.spec, retries=retries, now=time.time())
        except EngineFailed as error:
            raise EngineFailed(f"{self._calls.label(method)}: {error}") from error
        if status != job.status:
            record.job = replace(job, status=status)
            if self._records.get(job.name) is record:
                self._publish(record)

    def _keep(self, record: _Record) -> None:
        if self._records.get(record.job.name) is not record:
            self._records[record.job.name] = record
            self._publish(record)
            self._wake.set()

    def _forget(self, record: _Record | None, status: Status | None) -> None:
        if record is not None and self._records.get(record.job.name) is record:
            del self._records[record.job.name]
            self._feed.publish(Removed(record.job.name, record.job.uid, status))

    @contextlib.contextmanager
    def _forgetting(self, record: _Record | None) -> Generator[None]:
        """Forget the job where it turns out to be gone."""
        try:
            yield
        except JobNotFound:
            self._forget(record, None)
            raise

    def _publish(self, record: _Record) -> None:
        self._feed.publish(Changed(replace(record.job, spec=None)))

    async def _poll(self) -> None:
        """Ask about all unfinished jobs, again and again."""
        while True:
            self._wake.clear()
            unfinished = [r for r in self._records.values() if not r.job.status.state.terminal]
            if not unfinished:
                await self._wake.wait()
                continue
            due = [r for r in unfinished if r.poll is None or r.poll.done()]
            width = POLLS_AT_ONCE if self._calls.concurrent else 1
            for start in range(0, len(due), width):
                batch = due[start : start + width]
                for record in batch:
                    record.poll = asyncio.create_task(self._poll_one(record))
                polls = [record.poll for record in batch if record.poll is not None]
                await asyncio.wait(polls, timeout=PATIENCE_SECONDS)
            await asyncio.sleep(self.poll_interval_seconds)

    async def _poll_one(self, record: _Record) -> None:
        """Ask about one job, however long it takes: it isn't asked about twice at once."""
        try:
            await self._refresh(record)
        except (JobNotFound, TooManyCalls):
            pass
        except EngineUnavailable as error:
            self._feed.fail(error)
        except EngineError as error:
            if not record.failing:
                logger.warning("the status of the job %r can't be read: %s", record.job.name, error)
            record.failing = True
        else:
            record.failing = False

    async def _write(
        self, name: str, method: str, step: Callable[[], Coroutine[object, object, T]]
    ) -> T:
        """Change one job: one change at a time, which goes on where its caller leaves."""
        async with self._deadline(method):
            while (earlier := self._writes.get(name)) is not None:
                await asyncio.wait({earlier})
            task = asyncio.create_task(step())
            self._writes[name] = cast("asyncio.Task[object]", task)
            task.add_done_callback(lambda _: self._written(name))
            return await asyncio.shield(task)

    def _written(self, name: str) -> None:
        task = self._writes.pop(name)
        if not task.cancelled():
            task.exception()  # or asyncio complains where nobody waits for it any more

    @contextlib.asynccontextmanager
    async def _deadline(self, method: str) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError as error:
            raise EngineTimeout(
                f"{self._calls.label(method)} has not returned in {self._timeout:g} s"
            ) from error


def _capability(declared: Capability | str) -> Capability:
    if not isinstance(declared, str):
        return declared
    try:
        return Capability[declared]
    except KeyError:
        known = ", ".join(sorted(each.name for each in SPEC_CAPABILITIES))
        raise ValueError(f"capabilities: there is no {declared!r}, only {known}") from None
