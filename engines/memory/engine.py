"""The engine that keeps fake jobs."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType

from engines.base import (
    Capability,
    Changed,
    Engine,
    Event,
    Job,
    LogChunk,
    LogQuery,
    Reason,
    Removed,
    State,
    Status,
    spec_hash,
)
from engines.errors import (
    EngineFailed,
    EngineUnavailable,
    FieldViolation,
    JobAlreadyExists,
    JobNotFound,
    UidMismatch,
)
from engines.feed import Feed
from engines.memory.job import FakeJob
from engines.memory.knobs import Knobs, knob_violations, read_knobs
from jobengine.v1.job_pb2 import JobSpec


@dataclass(slots=True, eq=False)
class _Record:
    """A job and the task that moves it on."""

    fake: FakeJob
    life: asyncio.Task[None] | None = None
    deleting: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class MemoryEngine(Engine):
    """Pretends to run jobs, for the tests of callers.

    A job is accepted whatever it asks for, and succeeds at once, or does what its annotations
    say: see `engines.memory.knobs.Knobs`. Leaving the engine stops all jobs where they are.
    """

    name = "fake"
    capabilities = frozenset(Capability) - {Capability.DURABLE}

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        self._feed = Feed()
        self._connected = True

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lives = [r.life for r in self._records.values() if r.life is not None]
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)

    def disconnect(self) -> None:
        """Make every call and every watch fail with EngineUnavailable; the jobs go on."""
        self._connected = False
        self._feed.fail(EngineUnavailable("the fake engine was told to be away"))

    def reconnect(self) -> None:
        """End what `disconnect` began."""
        self._connected = True

    def check_spec(self, spec: JobSpec) -> Sequence[FieldViolation]:
        """Only its knobs can be wrong."""
        return knob_violations(spec.annotations)

    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """As in the contract."""
        knobs = read_knobs(spec.annotations)
        self._require_connection()
        await _behave(knobs, "create_job")
        while (earlier := self._records.get(name)) is not None:
            if not earlier.deleting:
                raise JobAlreadyExists(name)
            await earlier.gone.wait()
        if knobs.start_error:
            raise EngineFailed(knobs.start_error)
        kept = JobSpec()
        kept.CopyFrom(spec)
        job = Job(
            name,
            Status(create_time=time.time()),
            uid=str(uuid.uuid4()),
            labels=dict(spec.labels),
            request_id=request_id,
            spec_hash=spec_hash(spec),
        )
        record = _Record(FakeJob(job, kept, knobs, self._publish))
        self._records[name] = record
        self._publish(job)
        record.life = asyncio.create_task(self._live(record))
        return replace(job, spec=kept)

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        """As in the contract; the job goes once its instances have stopped."""
        record = await self._find(name, "delete_job", uid)
        if not record.deleting:
            record.deleting = True
            self._stop(record, Reason.DELETED, grace_seconds)

    async def read_job(self, name: str) -> Job:
        """As in the contract."""
        record = await self._find(name, "read_job")
        return replace(record.fake.job, spec=record.fake.spec)

    async def read_status(self, job: Job) -> Status:
        """As in the contract."""
        return (await self._find(job.name, "read_status")).fake.status

    async def list_jobs(self) -> Sequence[Job]:
        """As in the contract."""
        self._require_connection()
        return self._jobs()

    def watch(self) -> AsyncIterator[Event]:
        """As in the contract, for any number of consumers."""
        self._require_connection()
        return self._feed.watch(self._jobs)

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        """As in the contract; the job ends once its instances have stopped."""
        record = await self._find(name, "cancel_job", uid)
        if not (record.fake.status.state.terminal or record.deleting):
            self._stop(record, Reason.CANCELLED, grace_seconds)
        return record.fake.status

    async def read_logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        """As in the contract; a chunk is a line."""
        record = await self._find(name, "read_logs")
        async with contextlib.aclosing(record.fake.read_logs(query)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _jobs(self) -> Sequence[Job]:
        return [record.fake.job for record in self._records.values()]

    def _publish(self, job: Job) -> None:
        self._feed.publish(Changed(job))

    def _require_connection(self) -> None:
        if not self._connected:
            raise EngineUnavailable("the fake engine was told to be away")

    async def _find(self, name: str, method: str, uid: str = "") -> _Record:
        self._require_connection()
        if (record := self._records.get(name)) is not None:
            await _behave(record.fake.knobs, method)
        if record is None or self._records.get(name) is not record:
            raise JobNotFound(name)
        actual = record.fake.job.uid
        if uid not in {"", actual}:
            raise UidMismatch(name, uid, actual)
        return record

    async def _live(self, record: _Record) -> None:
        """Run the job, and remove it when its time has come."""
        fake = record.fake
        try:
            async with asyncio.timeout(fake.knobs.vanish):
                await fake.run()
        except TimeoutError:
            self._remove(record, None)
        else:
            await self._expire(record)

    def _stop(self, record: _Record, reason: Reason, grace_seconds: float | None) -> None:
        if record.life is not None:
            record.life.cancel()
        record.life = asyncio.create_task(self._die(record, reason, grace_seconds))

    async def _die(self, record: _Record, reason: Reason, grace_seconds: float | None) -> None:
        fake = record.fake
        if not fake.status.state.terminal:
            stop_for = fake.knobs.stop_for
            await asyncio.sleep(stop_for if grace_seconds is None else min(stop_for, grace_seconds))
            fake.end(State.CANCELLED, reason)
        if record.deleting:
            self._remove(record, fake.status)
        else:
            await self._expire(record)

    async def _expire(self, record: _Record) -> None:
        ttl = record.fake.span("ttl_after_finished")
        if ttl is not None:
            await asyncio.sleep(ttl)
            self._remove(record, record.fake.status)

    def _remove(self, record: _Record, status: Status | None) -> None:
        job = record.fake.job
        if self._records.get(job.name) is not record:
            return  # a cancellation came as its run failed, which swallows it (TaskGroup of 3.11)
        del self._records[job.name]
        record.gone.set()
        self._feed.publish(Removed(job.name, job.uid, status))


async def _behave(knobs: Knobs, method: str) -> None:
    """Be slow or hang, if told to."""
    await asyncio.sleep(knobs.slow)
    if method in knobs.hang:
        await asyncio.Event().wait()
