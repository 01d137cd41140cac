"""The three streams of the service, each resumed by itself."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from grpc import StatusCode

from jobengine._async.calls import AsyncCalls, Stream
from jobengine._fold import JobsFold
from jobengine.errors import JobNotFound
from jobengine.retry import RetryPolicy
from jobengine.states import is_terminal
from jobengine.v1 import job_engine_pb2 as pb
from jobengine.v1.job_engine_pb2 import (
    ReadLogsRequest,
    ReadLogsResponse,
    WatchJobsRequest,
    WatchJobsResponse,
    WatchStatusRequest,
    WatchStatusResponse,
)
from jobengine.v1.job_pb2 import JobStatus


async def watch_status(
    calls: AsyncCalls,
    request: WatchStatusRequest,
    *,
    deadline: float | None = None,
    established: bool = False,
) -> AsyncGenerator[WatchStatusResponse, None]:
    """Yield each status of one job once, until it has ended."""
    _ask_for_heartbeats(request, calls.settings.retry)
    resumed_by_caller = bool(request.cursor)
    latest: WatchStatusResponse | None = None
    stream = Stream(
        method=lambda stub: stub.WatchStatus,
        request=request,
        begin=lambda: None,
        # Nothing more comes after the cursor of a terminal status.
        complete=lambda: latest is None and resumed_by_caller,
        over=lambda: latest is not None and _is_last(latest),
        silence_seconds=calls.settings.retry.silence_seconds,
    )
    async with aclosing(
        calls.stream(stream, deadline=deadline, established=established)
    ) as messages:
        # To the end that the server makes: a call that is cancelled just as it ends costs the
        # server 80 bytes for good (https://github.com/grpc/grpc/issues/43360).
        async for message in messages:
            request.cursor = message.cursor or request.cursor
            if message.event == pb.WATCH_EVENT_HEARTBEAT or _repeats(latest, message):
                continue
            _check_same_job(latest, message, request.name)
            latest = message
            yield message


async def wait(
    calls: AsyncCalls, name: str, timeout_seconds: float | None, *, established: bool = False
) -> JobStatus:
    """Follow a job until it has ended; return its last status."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    request = WatchStatusRequest(name=name)
    status = JobStatus()
    async with aclosing(
        watch_status(calls, request, deadline=deadline, established=established)
    ) as events:
        async for event in events:
            status = event.status
    return status


async def watch_jobs(
    calls: AsyncCalls, request: WatchJobsRequest
) -> AsyncGenerator[WatchJobsResponse, None]:
    """Yield what happens to all jobs that match, for ever."""
    _ask_for_heartbeats(request, calls.settings.retry)
    jobs = JobsFold(request.cursor)

    def begin() -> None:
        request.cursor = jobs.cursor
        jobs.begin()

    stream = Stream(
        method=lambda stub: stub.WatchJobs,
        request=request,
        begin=begin,
        complete=lambda: False,
        silence_seconds=calls.settings.retry.silence_seconds,
    )
    async with aclosing(calls.stream(stream)) as messages:
        async for message in messages:
            for event in jobs.fold(message):
                yield event


async def watch_jobs_once(
    calls: AsyncCalls, request: WatchJobsRequest
) -> AsyncGenerator[WatchJobsResponse, None]:
    """Yield the messages of one WatchJobs as they come, heartbeats included."""
    _ask_for_heartbeats(request, calls.settings.retry)
    stream = Stream(
        method=lambda stub: stub.WatchJobs,
        request=request,
        begin=lambda: None,
        complete=lambda: True,
        silence_seconds=calls.settings.retry.silence_seconds,
    )
    async with aclosing(calls.once(stream)) as messages:
        async for message in messages:
            yield message


async def read_logs(
    calls: AsyncCalls, request: ReadLogsRequest
) -> AsyncGenerator[ReadLogsResponse, None]:
    """Yield what an instance of a job wrote, without gap or repeat."""
    stream = Stream(
        method=lambda stub: stub.ReadLogs,
        request=request,
        begin=lambda: None,
        complete=lambda: True,
    )
    async with aclosing(calls.stream(stream)) as messages:
        async for message in messages:
            request.cursor = message.cursor or request.cursor
            yield message


def _ask_for_heartbeats(request: WatchStatusRequest | WatchJobsRequest, retry: RetryPolicy) -> None:
    request.heartbeat_interval.FromMilliseconds(round(retry.heartbeat_seconds * 1_000))


def _is_last(message: WatchStatusResponse) -> bool:
    return message.event == pb.WATCH_EVENT_DELETED or is_terminal(message.status)


def _repeats(latest: WatchStatusResponse | None, message: WatchStatusResponse) -> bool:
    return (
        latest is not None
        and message.event == latest.event
        and message.uid == latest.uid
        and message.status == latest.status
    )


def _check_same_job(
    latest: WatchStatusResponse | None, message: WatchStatusResponse, name: str
) -> None:
    """Refuse to go on with another job, which got the name while the stream was away."""
    if latest is not None and message.uid != latest.uid:
        raise JobNotFound(
            f"the job {name!r} that was watched (uid {latest.uid}) is gone; there is another of "
            f"its name now (uid {message.uid})",
            code=StatusCode.NOT_FOUND,
            reason="JOB_NOT_FOUND",
        )
