"""From the engine contract's dataclasses to the messages of jobengine.v1."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from engines.base import Job, LogChunk, Status
from jobengine.v1 import job_engine_pb2, job_pb2
from server.ownership import OWNER_LABEL


def timestamp(seconds: float | None) -> Timestamp | None:
    """A Timestamp of seconds since the epoch, exact to the microsecond; None stays None."""
    if seconds is None:
        return None
    micros = round(seconds * 1_000_000)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1_000)


def duration(seconds: float | None) -> Duration | None:
    """A Duration of seconds, exact to the millisecond; None stays None."""
    if seconds is None:
        return None
    message = Duration()
    message.FromMilliseconds(round(seconds * 1_000))
    return message


def status_message(status: Status) -> job_pb2.JobStatus:
    """The status as callers see it."""
    return job_pb2.JobStatus(
        active=status.active or None,
        succeed=status.succeed or None,
        failed=status.failed or None,
        state=int(status.state),  # type: ignore[arg-type]
        reason=int(status.reason),  # type: ignore[arg-type]
        message=status.message,
        exit_code=status.exit_code,
        signal=status.signal,
        create_time=timestamp(status.create_time),
        start_time=timestamp(status.start_time),
        end_time=timestamp(status.end_time),
        retries=status.retries,
    )


def job_message(job: Job, *, with_spec: bool) -> job_pb2.Job:
    """The job as callers see it, without its spec in lists and watches."""
    return job_pb2.Job(
        name=job.name,
        uid=job.uid,
        spec=_as_sent(job.spec) if with_spec and job.spec is not None else None,
        labels=job.labels,
        status=status_message(job.status),
    )


def planned_message(name: str, spec: job_pb2.JobSpec) -> job_pb2.Job:
    """A job that would be made of the spec."""
    return job_pb2.Job(name=name, spec=_as_sent(spec), labels=spec.labels)


def _as_sent(spec: job_pb2.JobSpec) -> job_pb2.JobSpec:
    """The spec without what the server has added to it."""
    if OWNER_LABEL not in spec.labels:
        return spec
    sent = job_pb2.JobSpec()
    sent.CopyFrom(spec)
    del sent.labels[OWNER_LABEL]
    return sent


def log_message(chunk: LogChunk) -> job_engine_pb2.ReadLogsResponse:
    """A chunk of output as callers see it."""
    return job_engine_pb2.ReadLogsResponse(
        data=chunk.data,
        stream=int(chunk.stream),  # type: ignore[arg-type]
        write_time=timestamp(chunk.write_time),
        cursor=chunk.cursor,
        attempt=chunk.attempt,
        skipped_bytes=chunk.skipped_bytes,
    )
