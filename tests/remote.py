"""A server somewhere else as an engine, so that the conformance suite can cross the wire."""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self, cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2

from engines.base import (
    Capability,
    Changed,
    Contact,
    Engine,
    Event,
    Job,
    LogChunk,
    LogQuery,
    LogStream,
    Reason,
    Removed,
    Snapshot,
    State,
    Status,
    spec_hash,
)
from engines.errors import (
    CapabilityMissing,
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    FieldViolation,
    InvalidSpec,
    InvalidToken,
    JobAlreadyExists,
    JobNotFound,
    LimitReached,
    UidMismatch,
)
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub

if TYPE_CHECKING:
    from jobengine.v1.job_engine_pb2_grpc import JobEngineAsyncStub

CALL_SECONDS = 30.0


class RemoteEngine(Engine):
    """The jobs of a server, over its generated stub and nothing else."""

    name = "remote"

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        self._stub = cast("JobEngineAsyncStub", JobEngineStub(self._channel))

    async def __aenter__(self) -> Self:
        about = await self._stub.ReadEngine(api.ReadEngineRequest(), timeout=CALL_SECONDS)
        self.capabilities = frozenset(Capability(number) for number in about.capabilities)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._channel.close()

    async def create_job(self, name: str, spec: job_pb2.JobSpec, *, request_id: str = "") -> Job:
        request = api.CreateJobRequest(name=name, spec=spec, request_id=request_id)
        with _errors(name):
            answer = await self._stub.CreateJob(request, timeout=CALL_SECONDS)
        return _job(answer.job)

    async def delete_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> None:
        request = api.DeleteJobRequest(name=name, uid=uid, grace_period=_duration(grace_seconds))
        with _errors(name):
            await self._stub.DeleteJob(request, timeout=CALL_SECONDS)

    async def read_job(self, name: str) -> Job:
        with _errors(name):
            answer = await self._stub.ReadJob(api.ReadJobRequest(name=name), timeout=CALL_SECONDS)
        return _job(answer.job)

    async def read_status(self, job: Job) -> Status:
        request = api.ReadStatusRequest(name=job.name, fresh=True)
        with _errors(job.name):
            answer = await self._stub.ReadStatus(request, timeout=CALL_SECONDS)
        return _status(answer.status)

    async def list_jobs(self) -> Sequence[Job]:
        jobs: list[Job] = []
        request = api.ListJobsRequest(page_size=2)
        while True:
            with _errors(""):
                page = await self._stub.ListJobs(request, timeout=CALL_SECONDS)
            jobs += [_job(job) for job in page.jobs]
            if not page.next_page_token:
                return jobs
            request.page_token = page.next_page_token

    async def cancel_job(
        self, name: str, *, uid: str = "", grace_seconds: float | None = None
    ) -> Status:
        request = api.CancelJobRequest(name=name, uid=uid, grace_period=_duration(grace_seconds))
        with _errors(name):
            answer = await self._stub.CancelJob(request, timeout=CALL_SECONDS)
        return _status(answer.status)

    async def watch(self) -> AsyncGenerator[Event]:
        began = time.monotonic()
        present: list[Job] | None = []
        call = self._stub.WatchJobs(api.WatchJobsRequest(heartbeat_interval=Duration(seconds=1)))
        with _errors(""), _cancelling(call):
            async for message in call:
                if message.event == api.WATCH_EVENT_HEARTBEAT:
                    yield Contact()
                elif message.event == api.WATCH_EVENT_SYNCED:
                    assert message.full
                    assert present is not None
                    yield Snapshot(present, began)
                    present = None
                elif message.event == api.WATCH_EVENT_DELETED:
                    job = _job(message.job)
                    yield Removed(job.name, job.uid, job.status)
                elif present is not None:
                    present.append(_job(message.job))
                else:
                    yield Changed(_job(message.job))

    async def watch_status(self, name: str) -> AsyncIterator[Status]:
        """What WatchStatus tells of one job until it ends the stream."""
        call = self._stub.WatchStatus(api.WatchStatusRequest(name=name), timeout=CALL_SECONDS)
        with _errors(name), _cancelling(call):
            async for message in call:
                if message.event != api.WATCH_EVENT_HEARTBEAT:
                    yield _status(message.status)

    async def read_logs(self, name: str, query: LogQuery) -> AsyncGenerator[LogChunk]:
        request = api.ReadLogsRequest(
            name=name,
            instance=query.instance,
            stream=int(query.stream),  # type: ignore[arg-type]
            follow=query.follow,
            tail_lines=query.tail_lines,
            cursor=query.cursor,
        )
        call = self._stub.ReadLogs(request, timeout=CALL_SECONDS)
        with _errors(name), _cancelling(call):
            async for message in call:
                yield LogChunk(
                    message.data,
                    LogStream(message.stream),
                    message.cursor,
                    write_time=_seconds(message.write_time),
                    attempt=message.attempt,
                    skipped_bytes=message.skipped_bytes,
                )


@contextlib.contextmanager
def _cancelling(call: grpc.aio.RpcContext) -> Iterator[None]:
    try:
        yield
    finally:
        call.cancel()


@contextlib.contextmanager
def _errors(name: str) -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _engine_error(name, error) from error


def _engine_error(name: str, error: grpc.aio.AioRpcError) -> EngineError:
    """The error of the contract that the server turned into this one."""
    message = error.details() or ""
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in _details(error):
        for known in (info, bad_request):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    assert info.domain == "jobengine", error
    violations = [FieldViolation(v.field, v.description) for v in bad_request.field_violations]
    errors: dict[str, EngineError] = {
        "INVALID_FIELD": InvalidSpec(violations),
        "UNSUPPORTED_FIELD": InvalidSpec(violations),
        "JOB_NOT_FOUND": JobNotFound(name),
        "JOB_ALREADY_EXISTS": JobAlreadyExists(name),
        "UID_MISMATCH": UidMismatch(name, "that", "another one"),
        "UNSUPPORTED_CAPABILITY": CapabilityMissing("remote", info.metadata["capability"]),
        "ENGINE_UNAVAILABLE": EngineUnavailable(message),
        "ENGINE_TIMEOUT": EngineTimeout(message),
        "ENGINE_FAILED": EngineFailed(message),
        "SERVER_STOPPING": EngineUnavailable(message),
        "LIMIT_REACHED": LimitReached(info.metadata["limit"], message),
        "INVALID_TOKEN": InvalidToken(violations[0].field if violations else ""),
    }
    return errors[info.reason]


def _details(error: grpc.aio.AioRpcError) -> list[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return list(status_pb2.Status.FromString(value).details)
    return []


def _job(message: job_pb2.Job) -> Job:
    spec = message.spec if message.HasField("spec") else None
    return Job(
        message.name,
        _status(message.status),
        uid=message.uid,
        labels=dict(message.labels),
        spec_hash=spec_hash(spec) if spec is not None else "",
        spec=spec,
    )


def _status(message: job_pb2.JobStatus) -> Status:
    return Status(
        active=message.active if message.HasField("active") else None,
        succeed=message.succeed if message.HasField("succeed") else None,
        failed=message.failed if message.HasField("failed") else None,
        state=State(message.state),
        reason=Reason(message.reason),
        message=message.message,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal,
        create_time=_seconds(message.create_time) if message.HasField("create_time") else None,
        start_time=_seconds(message.start_time) if message.HasField("start_time") else None,
        end_time=_seconds(message.end_time) if message.HasField("end_time") else None,
        retries=message.retries,
    )


def _seconds(time_stamp: Timestamp) -> float:
    return time_stamp.ToMicroseconds() / 1e6


def _duration(seconds: float | None) -> Duration | None:
    if seconds is None:
        return None
    duration = Duration()
    duration.FromMilliseconds(round(seconds * 1000))
    return duration
