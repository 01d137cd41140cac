"""What can be asked of a job's status."""

from typing import Any, Protocol

from jobengine.v1 import job_pb2
from jobengine.v1.job_pb2 import JobStatus


class _Enum(Protocol):
    def Name(self, number: Any) -> str: ...  # noqa: ANN401, N802


TERMINAL_STATES = frozenset(
    {
        job_pb2.JOB_STATE_SUCCEEDED,
        job_pb2.JOB_STATE_FAILED,
        job_pb2.JOB_STATE_CANCELLED,
        job_pb2.JOB_STATE_LOST,
    }
)
"""The states that are final."""


def is_terminal(status: JobStatus) -> bool:
    """Whether the job has ended; such a status never changes."""
    return status.state in TERMINAL_STATES


def state_name(status: JobStatus) -> str:
    """The state's name without its prefix, for example "SUCCEEDED"."""
    return enum_name(job_pb2.JobState, status.state, "JOB_STATE_")


def reason_name(status: JobStatus) -> str:
    """The reason's name without its prefix, for example "OOM_KILLED"; empty for none."""
    if status.reason == job_pb2.JOB_REASON_UNSPECIFIED:
        return ""
    return enum_name(job_pb2.JobReason, status.reason, "JOB_REASON_")


def enum_name(enum: _Enum, number: int, prefix: str) -> str:
    """The value's name without its prefix; the number itself where the server is newer."""
    try:
        return enum.Name(number).removeprefix(prefix)
    except ValueError:
        return str(number)
