"""Client of the job engine: run commands and containers as jobs, over gRPC.

`Client` and `AsyncClient` have the same methods. The messages are those of
`jobengine.v1`, the most common of which are also found here.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobengine import errors
    from jobengine._async.client import AsyncClient
    from jobengine._sync.client import Client
    from jobengine.errors import FieldViolation, JobEngineError
    from jobengine.remote import RemoteEngine
    from jobengine.retry import RetryPolicy
    from jobengine.states import TERMINAL_STATES, is_terminal, reason_name, state_name
    from jobengine.tls import TLS
    from jobengine.v1.job_engine_pb2 import (
        Capability,
        EngineHealth,
        LogStream,
        ReadEngineResponse,
        ReadLogsResponse,
        WatchEvent,
        WatchJobsResponse,
        WatchStatusResponse,
    )
    from jobengine.v1.job_pb2 import (
        EmptyDirectory,
        ImagePullPolicy,
        Job,
        JobReason,
        JobSpec,
        JobState,
        JobStatus,
        Mount,
        Resources,
        SecretReference,
    )

__all__ = [
    "TERMINAL_STATES",
    "TLS",
    "AsyncClient",
    "Capability",
    "Client",
    "EmptyDirectory",
    "EngineHealth",
    "FieldViolation",
    "ImagePullPolicy",
    "Job",
    "JobEngineError",
    "JobReason",
    "JobSpec",
    "JobState",
    "JobStatus",
    "LogStream",
    "Mount",
    "ReadEngineResponse",
    "ReadLogsResponse",
    "RemoteEngine",
    "Resources",
    "RetryPolicy",
    "SecretReference",
    "WatchEvent",
    "WatchJobsResponse",
    "WatchStatusResponse",
    "errors",
    "is_terminal",
    "reason_name",
    "state_name",
]

# Everything is imported when it is first asked for: the server, which shares the messages
# below, needs no client, and the command line shows its help without gRPC.
_HOMES = {
    "jobengine._async.client": ("AsyncClient",),
    "jobengine._sync.client": ("Client",),
    "jobengine.errors": ("FieldViolation", "JobEngineError"),
    "jobengine.remote": ("RemoteEngine",),
    "jobengine.retry": ("RetryPolicy",),
    "jobengine.states": ("TERMINAL_STATES", "is_terminal", "reason_name", "state_name"),
    "jobengine.tls": ("TLS",),
    "jobengine.v1.job_engine_pb2": (
        "Capability",
        "EngineHealth",
        "LogStream",
        "ReadEngineResponse",
        "ReadLogsResponse",
        "WatchEvent",
        "WatchJobsResponse",
        "WatchStatusResponse",
    ),
    "jobengine.v1.job_pb2": (
        "EmptyDirectory",
        "ImagePullPolicy",
        "Job",
        "JobReason",
        "JobSpec",
        "JobState",
        "JobStatus",
        "Mount",
        "Resources",
        "SecretReference",
    ),
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return importlib.import_module("jobengine.errors")
    for home, names in _HOMES.items():
        if name in names:
            value: object = getattr(importlib.import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
