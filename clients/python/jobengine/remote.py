"""The four methods of a plain engine class, done by a job engine's server."""

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self, TypedDict, Unpack

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from jobengine._sync.client import Client
from jobengine.errors import DeadlineExceeded, JobNotFound, UidMismatch, Unavailable
from jobengine.retry import RetryPolicy
from jobengine.states import reason_name, state_name
from jobengine.tls import TLS
from jobengine.v1 import job_pb2
from jobengine.v1.job_pb2 import JobSpec, JobStatus

DELETE_WAIT_SECONDS = 5.0
"""How long `delete_job` waits for the job to be gone."""

MAX_UNDECIDED = 1_000
"""So many creations of which no answer came are remembered; the oldest are forgotten first."""


class ClientSettings(TypedDict, total=False):
    """The settings of `jobengine.Client`, which says what they mean."""

    timeout_seconds: float
    retry: RetryPolicy | None
    token: str | Callable[[], str] | None
    tls: bool | TLS
    metadata: Sequence[tuple[str, str]]
    credentials: grpc.ChannelCredentials | None
    options: Sequence[tuple[str, str | int]]


class RemoteEngine:
    """Runs jobs through a job engine's server, as if in this process.

    For applications that were written for an object with these four methods, and for nothing
    else: `jobengine.Client` can do more. May be used by any number of threads, and in forked
    processes. All methods raise errors of `jobengine.errors`; JobNotFound is a KeyError, too.

    Args:
        server: host:port or unix:PATH of the server, or a Client, which stays its owner's to
            close. Default: the environment variable JOBENGINE_ADDRESS, else 127.0.0.1:50051.
        settings: those of `jobengine.Client`; none where `server` is one.

    Raises ValueError where the settings can't work, and OSError for a file that can't be read.
    """

    thread_safe = True
    """Read by a server that serves this very class: its methods may run side by side."""

    @dataclass(slots=True)
    class Status:
        """How a job is doing.

        `active`, `succeed` and `failed` count instances: a positive number, or None, never 0.
        `state` and `reason` are names as in `jobengine.v1`, without prefix: "RUNNING",
        "OOM_KILLED". An instance that failed may be run again: by `state` a job has ended, not by
        `failed`.
        """

        active: int | None = None
        succeed: int | None = None
        failed: int | None = None
        state: str = "PENDING"
        reason: str = ""
        message: str = ""
        exit_code: int | None = None
        signal: int = 0
        create_time: datetime | None = None
        start_time: datetime | None = None
        end_time: datetime | None = None
        retries: int = 0

    @dataclass(slots=True)
    class Job:
        """A job. A name alone, `Job(name, None)`, is enough to ask `read_status` about."""

        name: str
        status: "RemoteEngine.Status | None"
        uid: str = ""

    def __init__(
        self, server: "str | Client | None" = None, **settings: Unpack[ClientSettings]
    ) -> None:
        if isinstance(server, Client):
            if settings:
                raise ValueError(f"the client has its settings: leave out {', '.join(settings)}")
            self._client, self._own = server, False
        else:
            self._client, self._own = Client(server, **settings), True
        self._undecided: OrderedDict[tuple[str, bytes], str] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, unless it is that of a client that was given; jobs go on."""
        if self._own:
            self._client.close()

    def create_job(self, name: str, spec: JobSpec, *, request_id: str = "") -> Job:
        """Start a job; return it once the engine holds it durably, usually before it runs.

        The name decides: however often this is called, no second job of the name is started. A
        call that fails without an answer (Unavailable, DeadlineExceeded) may have started the job:
        call again with the same name and spec, and that job is returned. Where the repeat comes
        from another process (a task that another worker takes up), give both the same
        `request_id`; without, it gets JobAlreadyExists.

        Raises:
            InvalidRequest: `violations` names every wrong field; nothing was started.
            JobAlreadyExists: the name is taken by another job.
        """
        digest = hashlib.sha256(spec.SerializeToString(deterministic=True)).digest()
        # By one operation each, for threads and forks: no lock is needed, nor left behind.
        request_id = request_id or self._undecided.pop((name, digest), "") or str(uuid.uuid4())
        try:
            job = self._client.create_job(spec, name=name, request_id=request_id)
        except (Unavailable, DeadlineExceeded):
            self._undecided[name, digest] = request_id
            if len(self._undecided) > MAX_UNDECIDED:
                self._undecided.popitem(last=False)
            raise
        return _job(job)

    def delete_job(self, name: str) -> None:
        """End a job if it still runs, then remove it with its instances and their output.

        Waits up to 5 s for it to be gone. One that takes longer to end goes on ending, and shows
        until it is gone; a new job may be given its name at once.

        Raises:
            JobNotFound: there is no such job.
        """
        uid = self._client.read_job(name).uid
        # By the uid, so that no repeat can meet a later job of the name.
        with suppress(UidMismatch):
            try:
                self._client.delete_job(
                    name, uid=uid, wait=True, timeout_seconds=DELETE_WAIT_SECONDS
                )
            except DeadlineExceeded:
                self._client.delete_job(name, uid=uid, allow_missing=True)

    def read_job(self, name: str) -> Job | None:
        """Read a job; None if there is none of that name."""
        try:
            return _job(self._client.read_job(name))
        except JobNotFound:
            return None

    def read_status(self, job: Job) -> Status:
        """Read the status of the job of that name, as new as the server knows it.

        Raises:
            JobNotFound: there is no such job.
        """
        return _status(self._client.read_status(job.name))


def _job(message: job_pb2.Job) -> RemoteEngine.Job:
    return RemoteEngine.Job(message.name, _status(message.status), message.uid)


def _status(message: JobStatus) -> RemoteEngine.Status:
    return RemoteEngine.Status(
        active=message.active if message.HasField("active") else None,
        succeed=message.succeed if message.HasField("succeed") else None,
        failed=message.failed if message.HasField("failed") else None,
        state=state_name(message),
        reason=reason_name(message),
        message=message.message,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal,
        create_time=_time(message.create_time) if message.HasField("create_time") else None,
        start_time=_time(message.start_time) if message.HasField("start_time") else None,
        end_time=_time(message.end_time) if message.HasField("end_time") else None,
        retries=message.retries,
    )


def _time(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=UTC)
