"""The client: one method for each RPC, and what most callers do with several."""

import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Self

import grpc

from jobengine._async import health, watch
from jobengine._async.calls import AsyncCalls
from jobengine._settings import Settings, duration, find_address
from jobengine.retry import RetryPolicy
from jobengine.states import is_terminal
from jobengine.tls import TLS
from jobengine.v1 import job_engine_pb2 as pb
from jobengine.v1.job_engine_pb2 import (
    LogStream,
    ReadEngineResponse,
    ReadLogsResponse,
    WatchJobsResponse,
    WatchStatusResponse,
)
from jobengine.v1.job_pb2 import Job, JobSpec, JobState, JobStatus


class AsyncClient:
    """Runs jobs on a job engine's server.

    The connection is opened when it is first needed, and again in a forked process. Calls
    that find the service unavailable are made again for a few seconds; streams that are
    interrupted go on by themselves. All methods raise errors of `jobengine.errors`.

    Args:
        address: host:port or unix:PATH of the server. Default: the environment variable
            JOBENGINE_ADDRESS, else 127.0.0.1:50051.
        timeout_seconds: how long each call with a single answer may take, retries included.
        retry: how long the client keeps trying.
        token: bearer token, sent with every call; a function is asked for it at each attempt, also
            before a stream goes on. Refused without encryption, but to this machine itself.
        tls: whether, or how, to encrypt.
        metadata: further headers, sent with every call.
        credentials: instead of `tls`, for what that doesn't offer.
        options: gRPC channel options, which overrule this client's own.

    Raises ValueError where the settings can't work, and OSError for a file that can't be read.
    """

    def __init__(  # noqa: PLR0913  (each is a setting)
        self,
        address: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
        token: str | Callable[[], str] | None = None,
        tls: bool | TLS = False,
        metadata: Sequence[tuple[str, str]] = (),
        credentials: grpc.ChannelCredentials | None = None,
        options: Sequence[tuple[str, str | int]] = (),
    ) -> None:
        settings = Settings(
            address=find_address(address),
            timeout_seconds=timeout_seconds,
            retry=retry or RetryPolicy(),
            token=token,
            tls=tls if isinstance(tls, TLS) else TLS() if tls else None,
            metadata=tuple(metadata),
            credentials=credentials,
            options=tuple(options),
        )
        self.address = settings.address
        self._calls = AsyncCalls(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls that are under way end with ClientClosed."""
        await self._calls.transport.close()

    async def create_job(
        self, spec: JobSpec, *, name: str = "", request_id: str = "", validate_only: bool = False
    ) -> Job:
        """Start a job; return it once the engine holds it durably, usually before it runs.

        Repeating the call with the same `request_id` never starts a second job. The client
        makes one where none is given, so its own retries are safe.

        Raises:
            InvalidRequest: `violations` names every wrong field; nothing was started.
            JobAlreadyExists: the name is taken by another job.
        """
        request = pb.CreateJobRequest(
            name=name,
            request_id=request_id or str(uuid.uuid4()),
            spec=spec,
            validate_only=validate_only,
        )
        return (await self._calls.unary(lambda stub: stub.CreateJob, request)).job

    async def read_job(self, name: str) -> Job:
        """Read a job, with its spec.

        Raises:
            JobNotFound: there is no such job.
        """
        request = pb.ReadJobRequest(name=name)
        return (await self._calls.unary(lambda stub: stub.ReadJob, request)).job

    async def read_status(self, name: str, *, fresh: bool = False) -> JobStatus:
        """Read a job's status, out of the server's memory, or with `fresh` from the engine.

        Raises:
            JobNotFound: there is no such job.
        """
        request = pb.ReadStatusRequest(name=name, fresh=fresh)
        return (await self._calls.unary(lambda stub: stub.ReadStatus, request)).status

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> JobStatus:
        """Stop a job and keep its record; return its status right after that.

        That is often not terminal yet: `wait` for it. Jobs that have ended stay as they are.

        Args:
            name: the job's name.
            uid: only if the job has this uid.
            grace_seconds: how long the job gets to end by itself. Default: the engine's.

        Raises:
            JobNotFound: there is no such job.
            UidMismatch: the job has another uid.
        """
        request = pb.CancelJobRequest(name=name, uid=uid, grace_period=duration(grace_seconds))
        return (await self._calls.unary(lambda stub: stub.CancelJob, request)).status

    async def delete_job(
        self,
        name: str,
        *,
        uid: str = "",
        allow_missing: bool = False,
        wait: bool = False,
        grace_seconds: float | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        """End a job if it still runs, then remove it with its instances and their output.

        Args:
            name: the job's name.
            uid: only if the job has this uid.
            allow_missing: succeed where there is no such job.
            wait: return only when all is gone.
            grace_seconds: how long the job gets to end by itself. Default: the engine's.
            timeout_seconds: how long the call may take. Default: the client's.

        Raises:
            JobNotFound: there is no such job.
            UidMismatch: the job has another uid.
            DeadlineExceeded: with `wait`, it isn't gone yet; the deletion goes on.
        """
        request = pb.DeleteJobRequest(
            name=name,
            uid=uid,
            allow_missing=allow_missing,
            wait=wait,
            grace_period=duration(grace_seconds),
        )

        def expect_it_gone() -> None:
            # The attempt whose answer was lost may well have removed the job.
            request.allow_missing = True

        await self._calls.unary(
            lambda stub: stub.DeleteJob,
            request,
            timeout_seconds=timeout_seconds,
            before_retry=expect_it_gone,
        )

    async def list_jobs(
        self, label_selector: str = "", *, states: "Sequence[JobState.ValueType]" = ()
    ) -> AsyncGenerator[Job, None]:
        """Yield all jobs that match, by name and without specs, page after page.

        Args:
            label_selector: as in Kubernetes, for example "app=web,tier!=test".
            states: only jobs in one of these.
        """
        request = pb.ListJobsRequest(label_selector=label_selector, states=states)
        while True:
            page = await self._calls.unary(lambda stub: stub.ListJobs, request)
            for job in page.jobs:
                yield job
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def watch_status(
        self, name: str, *, cursor: str = ""
    ) -> AsyncGenerator[WatchStatusResponse, None]:
        """Yield a job's status as it is now, then each change, until it has ended.

        The last event is a terminal status, or the job's deletion. Interruptions are bridged;
        no event comes twice. With the cursor of an event seen earlier, only what changed
        since comes, which is nothing if that one was the last.

        Raises:
            JobNotFound: there is no such job, or it is gone.
            Unavailable: the interruption took longer than the retry policy allows.
        """
        request = pb.WatchStatusRequest(name=name, cursor=cursor)
        return watch.watch_status(self._calls, request)

    def watch_jobs(
        self, label_selector: str = "", *, cursor: str = ""
    ) -> AsyncGenerator[WatchJobsResponse, None]:
        """Yield all jobs that match, then SYNCED, then what is added, changes or is deleted.

        Interruptions are bridged: afterwards come only the changes, and a DELETED event for
        each job that vanished meanwhile, then SYNCED again. With the cursor of an event seen
        by an earlier watch, only what changed since comes before the first SYNCED; but if
        a SYNCED says `full`, forget every job that this watch hasn't told of.

        Raises:
            Unavailable: the interruption took longer than the retry policy allows.
        """
        request = pb.WatchJobsRequest(label_selector=label_selector, cursor=cursor)
        return watch.watch_jobs(self._calls, request)

    def watch_jobs_once(
        self, label_selector: str = "", *, cursor: str = ""
    ) -> AsyncGenerator[WatchJobsResponse, None]:
        """Yield the messages of a single WatchJobs as the server sends them, heartbeats included.

        For programs that keep account of the jobs by themselves, and want to know of each
        interruption: `watch_jobs` does both for all others. Heartbeats come as often as the retry
        policy says.

        Raises:
            Unavailable: the stream was interrupted.
            ConnectionSilent: nothing came for too long, not even a heartbeat.
        """
        request = pb.WatchJobsRequest(label_selector=label_selector, cursor=cursor)
        return watch.watch_jobs_once(self._calls, request)

    def logs(
        self,
        name: str,
        *,
        instance: int = 0,
        stream: "LogStream.ValueType" = LogStream.LOG_STREAM_UNSPECIFIED,
        follow: bool = False,
        tail_lines: int | None = None,
        cursor: str = "",
    ) -> AsyncGenerator[ReadLogsResponse, None]:
        """Yield what an instance of a job wrote, in chunks of bytes, without gap or repeat.

        Args:
            name: the job's name.
            instance: which instance, counted from 0.
            stream: only this one. Default: both.
            follow: go on as more is written, until the instance has ended.
            tail_lines: begin this many lines before the present end.
            cursor: begin after the chunk that had this cursor.

        Raises:
            JobNotFound: there is no such job.
            Unsupported: the engine has no logs.
        """
        request = pb.ReadLogsRequest(
            name=name,
            instance=instance,
            stream=stream,
            follow=follow,
            tail_lines=tail_lines,
            cursor=cursor,
        )
        return watch.read_logs(self._calls, request)

    async def wait(self, name: str, *, timeout_seconds: float | None = None) -> JobStatus:
        """Wait until a job has ended; return how.

        Raises:
            JobNotFound: there is no such job, or it is gone.
            DeadlineExceeded: it hasn't ended within `timeout_seconds`.
        """
        return await watch.wait(self._calls, name, timeout_seconds)

    async def run(
        self,
        spec: JobSpec,
        *,
        name: str = "",
        request_id: str = "",
        timeout_seconds: float | None = None,
    ) -> JobStatus:
        """Start a job, wait until it has ended, and return how. A job that fails is no error.

        Raises:
            InvalidRequest: `violations` names every wrong field; nothing was started.
            JobAlreadyExists: the name is taken by another job.
            DeadlineExceeded: it hasn't ended within `timeout_seconds`; it runs on.
        """
        job = await self.create_job(spec, name=name, request_id=request_id)
        if is_terminal(job.status):
            return job.status
        return await watch.wait(self._calls, job.name, timeout_seconds, established=True)

    async def read_engine(self) -> ReadEngineResponse:
        """Ask which engine runs the jobs, how it is, what it can do and what limits apply."""
        return await self._calls.unary(lambda stub: stub.ReadEngine, pb.ReadEngineRequest())

    async def check_health(self, service: str = "jobengine.v1.JobEngine") -> bool:
        """Ask the server's health service whether it serves this service; "" is the server."""
        return await health.check(self._calls, service)
