"""The one table from errors to gRPC codes and google.rpc details."""

import random
from collections.abc import Iterable, Sequence
from typing import Literal

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from engines import errors as engine_errors
from engines.errors import EngineError, FieldViolation
from jobengine.v1 import error_reason_pb2 as reasons

DOMAIN = "jobengine"

# An error travels in trailing metadata, of which gRPC takes 8 KiB in all; a larger one would reach
# its caller as RESOURCE_EXHAUSTED without a word. Bytes of UTF-8.
MAX_MESSAGE_BYTES = 600
MAX_VIOLATIONS_BYTES = 2000
MAX_TEXT_BYTES = 200

_REASON_PREFIX = "ERROR_REASON_"


class RequestError(Exception):
    """Base of what the server itself refuses, before or instead of asking the engine."""


class InvalidRequest(RequestError):
    """Fields of the request are wrong; nothing was done."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)


class ServerStopping(RequestError):
    """The server is being stopped; another, or its successor, will answer."""

    def __init__(self) -> None:
        super().__init__("the server is stopping: call again, streams with their last cursor")


class Unauthenticated(RequestError):
    """The call brought no credential, or none that is good; the message says what to do.

    It never repeats the credential, nor says more of what was wrong with it than its holder needs.
    `reason` is for metrics.
    """

    def __init__(
        self,
        message: str,
        reason: Literal["missing", "malformed", "unknown", "invalid", "expired"] = "invalid",
    ) -> None:
        super().__init__(message)
        self.reason = reason


class IssuerUnavailable(Unauthenticated):
    """The keys of a token's issuer can't be had, so it can't be judged; later it may be."""

    def __init__(self) -> None:
        super().__init__(
            "the keys of the token's issuer can't be had at present: try again later", "unknown"
        )


class PermissionDenied(RequestError):
    """The caller is known, and its rights don't cover this; nothing was done.

    `verb` is what it lacks. `violations` are the fields, where some of the request are why.
    """

    def __init__(self, verb: str, message: str, violations: Sequence[FieldViolation] = ()) -> None:
        super().__init__(message)
        self.verb = verb
        self.violations = tuple(violations)


class Reauthenticate(RequestError):
    """A stream's credential has expired, was withdrawn, or gives other rights now."""

    def __init__(self) -> None:
        super().__init__(
            "what the stream's credential allowed has ended or changed: call again with the last "
            "cursor and a credential that is good now"
        )


class ServerLimit(RequestError):
    """A limit of this server is reached; `limit` names it.

    `retry_seconds`: when to try again at the earliest; None: at the usual time.
    """

    def __init__(self, limit: str, message: str, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.retry_seconds = retry_seconds


class SlowReader(ServerLimit):
    """A stream's client has left for too long what was sent to it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "slow_reader_timeout",
            f"the stream was ended, for nothing of it was read for {seconds:g} s: "
            "call again with the last cursor, and read on",
        )


_Code = grpc.StatusCode
_TABLE: dict[type[Exception], tuple[grpc.StatusCode, int]] = {
    InvalidRequest: (_Code.INVALID_ARGUMENT, reasons.ERROR_REASON_INVALID_FIELD),
    ServerStopping: (_Code.UNAVAILABLE, reasons.ERROR_REASON_SERVER_STOPPING),
    ServerLimit: (_Code.RESOURCE_EXHAUSTED, reasons.ERROR_REASON_LIMIT_REACHED),
    IssuerUnavailable: (_Code.UNAVAILABLE, reasons.ERROR_REASON_REAUTHENTICATE),
    Unauthenticated: (_Code.UNAUTHENTICATED, reasons.ERROR_REASON_UNAUTHENTICATED),
    PermissionDenied: (_Code.PERMISSION_DENIED, reasons.ERROR_REASON_PERMISSION_DENIED),
    Reauthenticate: (_Code.UNAVAILABLE, reasons.ERROR_REASON_REAUTHENTICATE),
    engine_errors.InvalidSpec: (_Code.INVALID_ARGUMENT, reasons.ERROR_REASON_UNSUPPORTED_FIELD),
    engine_errors.InvalidToken: (_Code.INVALID_ARGUMENT, reasons.ERROR_REASON_INVALID_TOKEN),
    engine_errors.JobNotFound: (_Code.NOT_FOUND, reasons.ERROR_REASON_JOB_NOT_FOUND),
    engine_errors.JobAlreadyExists: (
        _Code.ALREADY_EXISTS,
        reasons.ERROR_REASON_JOB_ALREADY_EXISTS,
    ),
    engine_errors.UidMismatch: (_Code.FAILED_PRECONDITION, reasons.ERROR_REASON_UID_MISMATCH),
    engine_errors.CapabilityMissing: (
        _Code.UNIMPLEMENTED,
        reasons.ERROR_REASON_UNSUPPORTED_CAPABILITY,
    ),
    engine_errors.EngineUnavailable: (
        _Code.UNAVAILABLE,
        reasons.ERROR_REASON_ENGINE_UNAVAILABLE,
    ),
    engine_errors.EngineTimeout: (_Code.DEADLINE_EXCEEDED, reasons.ERROR_REASON_ENGINE_TIMEOUT),
    engine_errors.EngineFailed: (_Code.INTERNAL, reasons.ERROR_REASON_ENGINE_FAILED),
    engine_errors.LimitReached: (
        _Code.RESOURCE_EXHAUSTED,
        reasons.ERROR_REASON_LIMIT_REACHED,
    ),
}
_RETRYABLE = (
    ServerStopping,
    ServerLimit,
    Reauthenticate,
    IssuerUnavailable,
    engine_errors.EngineUnavailable,
)


def to_status(error: EngineError | RequestError) -> tuple[grpc.StatusCode, status_pb2.Status]:
    """The gRPC code of an error, and its google.rpc.Status with all details."""
    home = next((cls for cls in type(error).__mro__ if cls in _TABLE), None)
    code, reason = _TABLE[home or engine_errors.EngineFailed]
    packed = [_pack(detail) for detail in _details(error, reason)]
    number: int = code.value[0]
    message = _shorten(str(error), MAX_MESSAGE_BYTES)
    return code, status_pb2.Status(code=number, message=message, details=packed)


def _details(error: EngineError | RequestError, reason: int) -> Iterable[Message]:
    info = error_details_pb2.ErrorInfo(
        reason=reasons.ErrorReason.Name(reason).removeprefix(_REASON_PREFIX),  # type: ignore[arg-type]
        domain=DOMAIN,
    )
    if isinstance(error, ServerLimit | engine_errors.LimitReached):
        info.metadata["limit"] = error.limit
    if isinstance(error, engine_errors.CapabilityMissing):
        info.metadata["capability"] = error.capability
    if isinstance(error, PermissionDenied):
        info.metadata["verb"] = error.verb
    yield info
    if violations := _violations(error):
        yield _bad_request(violations)
    if isinstance(
        error,
        engine_errors.JobNotFound | engine_errors.JobAlreadyExists | engine_errors.UidMismatch,
    ):
        yield error_details_pb2.ResourceInfo(
            resource_type="jobengine.v1.Job", resource_name=_shorten(error.name, MAX_TEXT_BYTES)
        )
    if isinstance(error, _RETRYABLE):
        delay = duration_pb2.Duration()
        delay.FromMicroseconds(round(_retry_seconds(error) * 1_000_000))
        yield error_details_pb2.RetryInfo(retry_delay=delay)


def _retry_seconds(error: EngineError | RequestError) -> float:
    """When to come back: spread over a second, so that all clients don't do so at once."""
    earliest = error.retry_seconds if isinstance(error, ServerLimit) else None
    return (0.5 if earliest is None else earliest) + random.random()  # noqa: S311


def _bad_request(violations: Sequence[FieldViolation]) -> error_details_pb2.BadRequest:
    """As many of the violations as fit, and how many more there are."""
    request = error_details_pb2.BadRequest()
    for index, violation in enumerate(violations):
        if request.ByteSize() > MAX_VIOLATIONS_BYTES:
            rest = f"and {len(violations) - index} more: mend these first"
            request.field_violations.add(field=_shorten(violation.field, 50), description=rest)
            break
        request.field_violations.add(
            field=_shorten(violation.field, MAX_TEXT_BYTES),
            description=_shorten(violation.description, MAX_TEXT_BYTES),
        )
    return request


def _shorten(text: str, size: int) -> str:
    raw = text.encode(errors="replace")
    if len(raw) <= size:
        return text
    return raw[: size - 3].decode(errors="ignore") + "…"


def _violations(error: EngineError | RequestError) -> Sequence[FieldViolation]:
    if isinstance(error, InvalidRequest | PermissionDenied | engine_errors.InvalidSpec):
        return error.violations
    if isinstance(error, engine_errors.InvalidToken):
        return (FieldViolation(error.field, str(error)),)
    return ()


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
