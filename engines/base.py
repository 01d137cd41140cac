"""The engine contract: what the server asks of whatever runs the jobs.

The docstrings here are the specification; implementations document only what differs. How
to write an engine is told in docs/engines.md, and `engines.testing` has the suite that checks
one.
"""

import abc
import asyncio
import contextlib
import enum
import hashlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from engines.errors import CapabilityMissing, EngineUnavailable, FieldViolation
from engines.findings import Finding, fine, many
from jobengine.v1 import job_engine_pb2, job_pb2
from jobengine.v1.job_pb2 import JobSpec


class State(enum.IntEnum):
    """Where a job is; the numbers are those of `jobengine.v1.JobState`."""

    PENDING = job_pb2.JOB_STATE_PENDING
    RUNNING = job_pb2.JOB_STATE_RUNNING
    SUCCEEDED = job_pb2.JOB_STATE_SUCCEEDED
    FAILED = job_pb2.JOB_STATE_FAILED
    CANCELLED = job_pb2.JOB_STATE_CANCELLED
    LOST = job_pb2.JOB_STATE_LOST

    @property
    def terminal(self) -> bool:
        """Whether this state is final."""
        return self >= State.SUCCEEDED


class Reason(enum.IntEnum):
    """Why a job is where it is; the numbers are those of `jobengine.v1.JobReason`."""

    NONE = job_pb2.JOB_REASON_UNSPECIFIED
    COMPLETED = job_pb2.JOB_REASON_COMPLETED
    NON_ZERO_EXIT = job_pb2.JOB_REASON_NON_ZERO_EXIT
    SIGNALLED = job_pb2.JOB_REASON_SIGNALLED
    OOM_KILLED = job_pb2.JOB_REASON_OOM_KILLED
    DEADLINE_EXCEEDED = job_pb2.JOB_REASON_DEADLINE_EXCEEDED
    START_TIMEOUT = job_pb2.JOB_REASON_START_TIMEOUT
    IMAGE_PULL_FAILED = job_pb2.JOB_REASON_IMAGE_PULL_FAILED
    START_FAILED = job_pb2.JOB_REASON_START_FAILED
    UNSCHEDULABLE = job_pb2.JOB_REASON_UNSCHEDULABLE
    EVICTED = job_pb2.JOB_REASON_EVICTED
    NODE_LOST = job_pb2.JOB_REASON_NODE_LOST
    CANCELLED = job_pb2.JOB_REASON_CANCELLED
    DELETED = job_pb2.JOB_REASON_DELETED
    ENGINE_ERROR = job_pb2.JOB_REASON_ENGINE_ERROR
    UNKNOWN = job_pb2.JOB_REASON_UNKNOWN


class LogStream(enum.IntEnum):
    """An output stream; the numbers are those of `jobengine.v1.LogStream`."""

    BOTH = job_engine_pb2.LOG_STREAM_UNSPECIFIED
    STDOUT = job_engine_pb2.LOG_STREAM_STDOUT
    STDERR = job_engine_pb2.LOG_STREAM_STDERR


class Capability(enum.IntEnum):
    """What not every engine can do; the numbers are those of `jobengine.v1.Capability`."""

    LIST = job_engine_pb2.CAPABILITY_LIST
    CANCEL = job_engine_pb2.CAPABILITY_CANCEL
    LOGS = job_engine_pb2.CAPABILITY_LOGS
    IMAGES = job_engine_pb2.CAPABILITY_IMAGES
    COMMANDS = job_engine_pb2.CAPABILITY_COMMANDS
    INSTANCES = job_engine_pb2.CAPABILITY_INSTANCES
    RETRIES = job_engine_pb2.CAPABILITY_RETRIES
    TIMEOUT = job_engine_pb2.CAPABILITY_TIMEOUT
    START_TIMEOUT = job_engine_pb2.CAPABILITY_START_TIMEOUT
    TTL = job_engine_pb2.CAPABILITY_TTL
    CPU_LIMIT = job_engine_pb2.CAPABILITY_CPU_LIMIT
    MEMORY_LIMIT = job_engine_pb2.CAPABILITY_MEMORY_LIMIT
    GPU = job_engine_pb2.CAPABILITY_GPU
    MOUNTS = job_engine_pb2.CAPABILITY_MOUNTS
    SECRET_ENV = job_engine_pb2.CAPABILITY_SECRET_ENV
    USER = job_engine_pb2.CAPABILITY_USER
    ENGINE_OPTIONS = job_engine_pb2.CAPABILITY_ENGINE_OPTIONS
    DURABLE = job_engine_pb2.CAPABILITY_DURABLE


@dataclass(frozen=True, slots=True)
class Status:
    """How a job is doing.

    `active`, `succeed` and `failed` count instances: a positive number, or None, never 0.
    Times are seconds since the epoch. Fields as in `jobengine.v1.JobStatus`.
    """

    active: int | None = None
    succeed: int | None = None
    failed: int | None = None
    state: State = State.PENDING
    reason: Reason = Reason.NONE
    message: str = ""
    exit_code: int | None = None
    signal: int = 0
    create_time: float | None = None
    start_time: float | None = None
    end_time: float | None = None
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """A job as its engine knows it.

    A Job made from a name alone is enough to ask `read_status` about. `spec` is filled by
    `create_job` and `read_job`, and left out of lists and watches. `spec_hash` is
    `spec_hash(spec)` of the spec that the job was created with; it and `request_id` are
    empty where the engine can't remember them.
    """

    name: str
    status: Status = field(default_factory=Status)
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    request_id: str = ""
    spec_hash: str = ""
    spec: JobSpec | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All jobs that there are; what isn't among them is gone.

    `began` is `time.monotonic()` from before the engine was asked: what the server itself
    wrote after that may be missing from the snapshot, and stands.
    """

    jobs: Sequence[Job]
    began: float


@dataclass(frozen=True, slots=True)
class Changed:
    """A job is new, or its status is now this."""

    job: Job


@dataclass(frozen=True, slots=True)
class Removed:
    """A job is gone from the engine.

    `status` is its last one where the engine knows it; it counts only if it is terminal.
    """

    name: str
    uid: str
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class Contact:
    """Nothing changed, but the engine was just heard of."""


Event = Snapshot | Changed | Removed | Contact
"""What `Engine.watch` yields."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What to read of a job's output; fields as in `jobengine.v1.ReadLogsRequest`."""

    instance: int = 0
    stream: LogStream = LogStream.BOTH
    follow: bool = False
    tail_lines: int | None = None
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A piece of output; fields as in `jobengine.v1.ReadLogsResponse`."""

    data: bytes
    stream: LogStream
    cursor: str
    write_time: float | None = None
    attempt: int = 0
    skipped_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What limits an engine has; None where it knows of none. Times in seconds."""

    max_running_instances: int | None = None
    default_start_timeout: float | None = None


def spec_hash(spec: JobSpec) -> str:
    """A digest by which two specs can be told apart (32 hexadecimal digits)."""
    return hashlib.blake2b(spec.SerializeToString(deterministic=True), digest_size=16).hexdigest()


class Engine(abc.ABC):
    """What runs jobs. One instance serves one server, on one event loop.

    `async with engine` owns its lifetime: entering starts what the engine needs, leaving
    stops that, and leaves the jobs as they are. Entering must not wait for a backend that is
    away; `watch` does that.

    Every method may be called at any time and concurrently with itself and the others. It
    may raise any error of `engines.errors`, of which EngineUnavailable and EngineTimeout are
    not repeated below. It must not block the event loop, and when cancelled (the caller's
    deadline) it leaves things as if it had either not begun or been completed.

    An engine owns only the jobs it made: any other it treats as missing.
    """

    name: str
    """What operators call this engine."""

    capabilities: frozenset[Capability] = frozenset()
    """What the engine can do; may become known on entering, or later."""

    limits: Limits = Limits()
    """What limits apply."""

    poll_interval_seconds: float = 1.0
    """How often the default `watch` asks."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    @abc.abstractmethod
    async def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """Accept a job; return it once it is held durably (it may run later).

        The spec has passed the server's validation and `check_spec`. It, its hash and the
        request id are stored with the job. The name decides: of two concurrent calls with
        one name, exactly one succeeds. A job of that name that is being deleted is waited
        for. Once the method has returned, the job shows in `read_job` and in `watch`.

        Raises:
            JobAlreadyExists: the name is taken; nothing was started, and `read_job` finds the
                job that has it.
            InvalidSpec: the engine can't do this; nothing was started.
            LimitReached: no more jobs fit.
        """

    @abc.abstractmethod
    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        """End the job if it runs, then remove it, its instances and their output.

        Returns once that is durably noted, and goes on by itself: the job may show for a
        while, first with its terminal status, until `watch` yields Removed. Deleting again
        meanwhile is fine. `grace_seconds` is what running instances get to end by themselves;
        None: the engine's default.

        Raises:
            JobNotFound: there is no such job.
            UidMismatch: a uid is given, and the job has another.
        """

    @abc.abstractmethod
    async def read_job(self, name: str) -> Job:
        """Read the job, with its spec where the engine keeps it.

        Raises:
            JobNotFound: there is no such job.
        """

    @abc.abstractmethod
    async def read_status(self, job: Job) -> Status:
        """Read the status of the job of that name, from the engine itself.

        A terminal status never changes.

        Raises:
            JobNotFound: there is no such job.
        """

    def check_spec(self, spec: JobSpec) -> Sequence[FieldViolation]:
        """Say which fields of the spec this engine can't honour (paths from `spec.`).

        Pure and quick; called before `create_job`. This default goes by the capabilities.
        """
        from engines.features import unsupported_fields

        return unsupported_fields(spec, self.capabilities, self.name)

    async def read_version(self) -> str:
        """The version of what runs the jobs, empty where there is none."""
        return ""

    async def examine(self) -> AsyncIterator[Finding]:
        """Yield what can be found out about this installation, changing nothing that lasts.

        For `jobengine doctor`, on an engine that nobody has entered or will enter, while servers
        may be at work on the same jobs. Findings are yielded as they are made: the caller has so
        many seconds, and keeps what it got by then. An error ends them, and counts as one more.

        This default enters the engine, and asks it for its version and its jobs. One that takes
        jobs up as it is entered overrides it.
        """
        async with self:
            yield fine(self.name, await self.read_version() or "is there")
            yield fine("jobs", many(len((await _first_snapshot(self)).jobs), "job"))

    async def list_jobs(self) -> Sequence[Job]:
        """All jobs that this engine made, without specs. Needs Capability.LIST."""
        raise CapabilityMissing(self.name, "list of its jobs")

    async def watch(self) -> AsyncIterator[Event]:
        """Yield a Snapshot, then what changes, until closed or in trouble.

        The server runs one such watch, whatever the number of its callers. It may yield
        further Snapshots at any time, has to yield something (Contact will do) at least
        every 10 s while it is in touch with its backend, and raises an EngineError when it
        has lost touch: the server then calls it again, with back-off. Every terminal status
        is yielded, intermediate ones may be skipped.

        This default asks `list_jobs` every `poll_interval_seconds`.
        """
        while True:
            began = time.monotonic()
            yield Snapshot(await self.list_jobs(), began)
            await asyncio.sleep(self.poll_interval_seconds)

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        """Stop the job's instances, keep its record; return the status right after that.

        Returns once that is durably noted; the job then ends as CANCELLED, or as what it
        ended before. A job that has ended is left as it is. Needs Capability.CANCEL.

        Raises:
            JobNotFound: there is no such job.
            UidMismatch: a uid is given, and the job has another.
        """
        raise CapabilityMissing(self.name, "way to cancel a job")

    def read_logs(self, name: str, query: LogQuery) -> AsyncIterator[LogChunk]:
        """Yield what an instance of the job wrote. Needs Capability.LOGS.

        Without `follow` it ends at the end of what there is; with it, at the end of what
        there will be. A read that begins with a chunk's cursor goes on right after that
        chunk.

        Raises:
            JobNotFound: there is no such job.
            InvalidToken: the cursor isn't one of this engine.
        """
        raise CapabilityMissing(self.name, "logs")


async def _first_snapshot(engine: Engine) -> Snapshot:
    async with contextlib.AsyncExitStack() as stack:
        events = engine.watch()
        if (close := getattr(events, "aclose", None)) is not None:
            stack.push_async_callback(close)
        async for event in events:
            if isinstance(event, Snapshot):
                return event
    raise EngineUnavailable(f"the engine {engine.name!r} doesn't tell what jobs there are")
