"""What the client raises: one class for each way in which a call can fail."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from grpc import StatusCode


class FieldViolation(NamedTuple):
    """One wrong field of a request: its path (`spec.args[2]`) and what to do about it."""

    field: str
    description: str


class JobEngineError(Exception):
    """Base of all errors of this package, and any failure that has no class of its own.

    Attributes:
        code: the gRPC code.
        reason: a name of jobengine.v1.ErrorReason without its prefix, for example
            "JOB_NOT_FOUND"; empty where the failure isn't the service's own (a lost
            connection, a proxy).
        violations: the request's wrong fields.
        retry_delay_seconds: how long the server asks to wait before trying again.
        metadata: further facts about the reason, for example `limit`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: StatusCode = StatusCode.UNKNOWN,
        reason: str = "",
        violations: Sequence[FieldViolation] = (),
        retry_delay_seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.violations = tuple(violations)
        self.retry_delay_seconds = retry_delay_seconds
        self.metadata = dict(metadata or {})


class InvalidRequest(JobEngineError):
    """Fields of the request are wrong, or ask for what the engine can't do; see `violations`."""


class JobNotFound(JobEngineError, KeyError):
    """There is no such job, or the one that was followed is gone.

    A KeyError, too: what keeps its jobs in a dict raises that, and callers of
    `jobengine.RemoteEngine` may have been written for such a class.
    """

    __str__ = Exception.__str__  # a KeyError's shows its message in quotes


class JobAlreadyExists(JobEngineError):
    """The name is taken by another job."""


class UidMismatch(JobEngineError):
    """The job of that name isn't the one with the uid that was given."""


class Unsupported(JobEngineError):
    """The engine, or the server, can't do this at all; `metadata["capability"]` says what."""


class LimitReached(JobEngineError):
    """A limit of the server or the engine is reached; `metadata["limit"]` names it."""


class Unavailable(JobEngineError):
    """The server or its engine can't be reached, also after the client's own retries."""


class ConnectionSilent(Unavailable):
    """Nothing was heard on a watch for too long, not even a heartbeat."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=StatusCode.UNAVAILABLE)


class DeadlineExceeded(JobEngineError):
    """There was no answer in time. What was asked for may still happen."""


class EngineFailed(JobEngineError):
    """The engine or the server failed in a way that it should not."""


class Unauthenticated(JobEngineError):
    """The call brought no credential, or none that the server takes."""


class PermissionDenied(JobEngineError):
    """The caller is known, and may not do this; `metadata["verb"]` says what it lacks."""


class ClientClosed(JobEngineError):
    """The client was closed, before or during the call."""
