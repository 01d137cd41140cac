"""From the messages of jobengine.v1 to the engine contract's dataclasses."""

from google.protobuf.timestamp_pb2 import Timestamp

from engines.base import (
    Capability,
    Job,
    Limits,
    LogChunk,
    LogStream,
    Reason,
    State,
    Status,
    spec_hash,
)
from engines.errors import EngineFailed
from engines.remote.owners import labels_received, spec_received
from jobengine.v1 import job_pb2
from jobengine.v1.job_engine_pb2 import ReadEngineResponse, ReadLogsResponse

_CAPABILITIES = frozenset(map(int, Capability))
_REASONS = frozenset(map(int, Reason))


def job_of(message: job_pb2.Job) -> Job:
    """The job, as this side sees it."""
    spec = spec_received(message.spec) if message.HasField("spec") else None
    return Job(
        message.name,
        status_of(message.status),
        uid=message.uid,
        labels=labels_received(message.labels),
        spec_hash="" if spec is None else spec_hash(spec),
        spec=spec,
    )


def status_of(message: job_pb2.JobStatus) -> Status:
    """The status; a reason that only a newer server knows is UNKNOWN.

    Raises:
        EngineFailed: its state means nothing here.
    """
    try:
        state = State(message.state)
    except ValueError:
        raise EngineFailed(
            f"the other server tells the state {message.state}, which this one doesn't know: "
            "upgrade this one"
        ) from None
    return Status(
        active=message.active if message.HasField("active") else None,
        succeed=message.succeed if message.HasField("succeed") else None,
        failed=message.failed if message.HasField("failed") else None,
        state=state,
        reason=Reason(message.reason) if message.reason in _REASONS else Reason.UNKNOWN,
        message=message.message,
        exit_code=message.exit_code if message.HasField("exit_code") else None,
        signal=message.signal,
        create_time=_seconds(message.create_time) if message.HasField("create_time") else None,
        start_time=_seconds(message.start_time) if message.HasField("start_time") else None,
        end_time=_seconds(message.end_time) if message.HasField("end_time") else None,
        retries=message.retries,
    )


def chunk_of(message: ReadLogsResponse) -> LogChunk:
    """The chunk of output, with the cursor that the other server made."""
    return LogChunk(
        message.data,
        LogStream(message.stream),
        message.cursor,
        write_time=_seconds(message.write_time) if message.HasField("write_time") else None,
        attempt=message.attempt,
        skipped_bytes=message.skipped_bytes,
    )


def capabilities_of(about: ReadEngineResponse) -> frozenset[Capability]:
    """What the other engine can do, as far as this side knows of it."""
    return frozenset(Capability(each) for each in about.capabilities if each in _CAPABILITIES)


def limits_of(about: ReadEngineResponse) -> Limits:
    """The limits of the other engine."""
    limits = about.limits
    start = limits.default_start_timeout
    return Limits(
        max_running_instances=limits.max_running_instances or None,
        default_start_timeout=(
            start.ToMilliseconds() / 1_000 if limits.HasField("default_start_timeout") else None
        ),
    )


def _seconds(timestamp: Timestamp) -> float:
    return timestamp.ToMicroseconds() / 1e6
