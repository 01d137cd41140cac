"""Every metric of this service: its name, type, labels with all their values, and what it means.

docs/metrics.md is made from this by scripts/metrics-docs. No label has a value that callers choose:
neither names of jobs nor of callers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from grpc import StatusCode

from engines.base import Reason, State
from jobengine.v1 import job_engine_pb2

Kind = Literal["counter", "gauge", "histogram"]

SERVICE: Final = job_engine_pb2.DESCRIPTOR.services_by_name["JobEngine"]

UNARY: Final = "unary"
SERVER_STREAM: Final = "server_stream"

CODE_NAMES: Final = {
    code: "".join(part.capitalize() for part in code.name.split("_")) for code in StatusCode
} | {StatusCode.OK: "OK", StatusCode.CANCELLED: "Canceled"}
"""How gRPC's codes are called in metrics, by everybody since the first library in Go."""

AUTHENTICATION_FAILURES: Final[tuple[str, ...]] = (
    "missing",
    "malformed",
    "unknown",
    "invalid",
    "expired",
)

REFUSALS: Final[tuple[str, ...]] = (
    "permission",
    "reauthenticate",
    "subject.requests_per_second",
    "subject.streams",
    "subject.jobs",
    "max_calls",
    "max_streams",
    "slow_reader_timeout",
    "other",
)
"""Why callers that are known are refused; limits by the names that callers are told."""

FILES: Final[tuple[str, ...]] = ("policy", "tokens", "issuers", "certificate")
"""What is read again when it changes."""

USUAL: Final = (
    (State.PENDING, Reason.NONE),
    (State.PENDING, Reason.UNSCHEDULABLE),
    (State.RUNNING, Reason.NONE),
    (State.SUCCEEDED, Reason.COMPLETED),
    (State.FAILED, Reason.NON_ZERO_EXIT),
    (State.FAILED, Reason.SIGNALLED),
    (State.FAILED, Reason.OOM_KILLED),
    (State.FAILED, Reason.DEADLINE_EXCEEDED),
    (State.FAILED, Reason.START_TIMEOUT),
    (State.FAILED, Reason.IMAGE_PULL_FAILED),
    (State.FAILED, Reason.START_FAILED),
    (State.FAILED, Reason.EVICTED),
    (State.FAILED, Reason.ENGINE_ERROR),
    (State.FAILED, Reason.UNKNOWN),
    (State.CANCELLED, Reason.CANCELLED),
    (State.CANCELLED, Reason.DELETED),
    (State.LOST, Reason.NODE_LOST),
    (State.LOST, Reason.DELETED),
    (State.LOST, Reason.UNKNOWN),
)
"""Where jobs can be, by docs/reasons.md: series that are there from the start, as 0.

A counter that first shows up as 1 has never grown, as far as Prometheus can tell.
"""

_METHODS: Final = tuple(method.name for method in SERVICE.methods)
_STREAMS: Final = tuple(method.name for method in SERVICE.methods if method.server_streaming)
_CALLS: Final = tuple(name for name in _METHODS if name not in _STREAMS)
_STATES: Final = tuple(state.name for state in State)
_ENDS: Final = tuple(state.name for state in State if state.terminal)
_REASONS: Final = tuple(reason.name for reason in Reason)

_REPLICAS: Final = "Every server of an engine tells the same: take one's, not their sum"


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric. `name` is without the suffixes `_bucket`, `_sum` and `_count` of histograms.

    `labels`: the values that each label can have; none where they are what is told.
    """

    group: str
    name: str
    kind: Kind
    meaning: str
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    bounds: tuple[float, ...] = ()

    @property
    def unit(self) -> str:
        """The base unit that the name ends with, if any."""
        stem = self.name.removesuffix("_total")
        return next((unit for unit in ("seconds", "bytes") if stem.endswith(f"_{unit}")), "")


def _of_rpcs(*methods: str, kinds: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return {"grpc_type": kinds, "grpc_service": (SERVICE.full_name,), "grpc_method": methods}


STARTED: Final = Family(
    "RPCs",
    "grpc_server_started_total",
    "counter",
    "RPCs that were begun. Less those handled, it is how many are under way",
    _of_rpcs(*_METHODS, kinds=(UNARY, SERVER_STREAM)),
)
HANDLED: Final = Family(
    "RPCs",
    "grpc_server_handled_total",
    "counter",
    "RPCs that were ended, by the code that their callers got. Canceled: the caller went away, or "
    "its deadline ran out",
    {
        **_of_rpcs(*_METHODS, kinds=(UNARY, SERVER_STREAM)),
        "grpc_code": tuple(CODE_NAMES.values()),
    },
)
HANDLING: Final = Family(
    "RPCs",
    "grpc_server_handling_seconds",
    "histogram",
    "How long RPCs with a single answer took in the server, the engine included. DeleteJob with "
    "`wait` takes as long as the job does",
    _of_rpcs(*_CALLS, kinds=(UNARY,)),
    bounds=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

JOBS: Final = Family(
    "Jobs",
    "jobengine_jobs",
    "gauge",
    f"Jobs that the engine has, by where they are and why. {_REPLICAS}",
    {"state": _STATES, "reason": _REASONS},
)
CREATED: Final = Family(
    "Jobs",
    "jobengine_jobs_created_total",
    "counter",
    "Jobs that this server created; repeats of a request count once",
)
ENDED: Final = Family(
    "Jobs",
    "jobengine_jobs_ended_total",
    "counter",
    f"Jobs whose end this server has seen. {_REPLICAS}",
    {"state": _ENDS, "reason": _REASONS},
)
START: Final = Family(
    "Jobs",
    "jobengine_job_start_seconds",
    "histogram",
    "How long jobs waited from their creation to the start of their first instance, by the "
    f"engine's clock. {_REPLICAS}",
    bounds=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
)
RUN: Final = Family(
    "Jobs",
    "jobengine_job_run_seconds",
    "histogram",
    "How long jobs ran that have ended, from the start of their first instance to the end, retries "
    f"included. {_REPLICAS}",
    bounds=(0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 86_400),
)

STREAMS: Final = Family(
    "Streams",
    "jobengine_streams_open",
    "gauge",
    "Streams that are open",
    {"rpc": _STREAMS},
)
STREAMS_LIMIT: Final = Family(
    "Streams",
    "jobengine_streams_limit",
    "gauge",
    "Streams that may be open at once (--max-streams)",
)

IN_TOUCH: Final = Family(
    "Engine",
    "jobengine_engine_in_touch",
    "gauge",
    "Whether the server is in touch with its engine: 1, or 0 while the engine is away",
)
CONTACT_AGE: Final = Family(
    "Engine",
    "jobengine_engine_contact_age_seconds",
    "gauge",
    "How long ago the engine was last heard of. Missing before the first contact",
)
CONNECTIONS_LOST: Final = Family(
    "Engine",
    "jobengine_engine_connections_lost_total",
    "counter",
    "How often the engine went away after the server had been in touch with it",
)

AUTHENTICATION: Final = Family(
    "Security",
    "jobengine_authentication_failures_total",
    "counter",
    "Calls whose callers didn't prove who they are: they brought no credential (missing), one that "
    "can't be read (malformed), that nobody issued (unknown), that isn't for this server or was "
    "tampered with (invalid), or whose time is over (expired)",
    {"reason": AUTHENTICATION_FAILURES},
)
REFUSED: Final = Family(
    "Security",
    "jobengine_requests_refused_total",
    "counter",
    "Calls of known callers that were refused or ended: by the policy (permission), because a "
    "stream's credential ended or changed (reauthenticate), by a limit of the caller (subject.…) "
    "or of the server (max_…), or because nobody read the stream (slow_reader_timeout)",
    {"reason": REFUSALS},
)
CERTIFICATE: Final = Family(
    "Security",
    "jobengine_tls_certificate_expiry_timestamp_seconds",
    "gauge",
    "When the certificate that the server shows ends, since the epoch. Missing without TLS",
)
RELOADED: Final = Family(
    "Security",
    "jobengine_last_reload_successful",
    "gauge",
    "Whether the file could be used when it last changed: 1, or 0 while the server goes on with "
    "what it read before. Missing for files that aren't used",
    {"file": FILES},
)
RELOAD_TIME: Final = Family(
    "Security",
    "jobengine_last_reload_success_timestamp_seconds",
    "gauge",
    "When that was read of the file which is in use, since the epoch. Missing for files that "
    "aren't used",
    {"file": FILES},
)
AUDIT: Final = Family(
    "Security",
    "jobengine_audit_lines_total",
    "counter",
    "Lines that were written to the audit log",
)

BUILD: Final = Family(
    "Server",
    "jobengine_build_info",
    "gauge",
    "Always 1; its labels tell the server's version, its engine, and Python's version",
    {"version": (), "engine": (), "python": ()},
)

CATALOGUE: Final = (
    STARTED,
    HANDLED,
    HANDLING,
    JOBS,
    CREATED,
    ENDED,
    START,
    RUN,
    STREAMS,
    STREAMS_LIMIT,
    IN_TOUCH,
    CONTACT_AGE,
    CONNECTIONS_LOST,
    AUTHENTICATION,
    REFUSED,
    CERTIFICATE,
    RELOADED,
    RELOAD_TIME,
    AUDIT,
    BUILD,
)
"""All of them, in the order in which they are told."""
