"""From a failed RPC to an error of jobengine.errors."""

from typing import Any, cast

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2  # pyright: ignore[reportMissingTypeStubs]
from grpc import StatusCode
from grpc_status import rpc_status

from jobengine import errors
from jobengine.errors import FieldViolation, JobEngineError

_DOMAIN = "jobengine"

_BY_REASON: dict[str, type[JobEngineError]] = {
    "INVALID_FIELD": errors.InvalidRequest,
    "UNSUPPORTED_FIELD": errors.InvalidRequest,
    "INVALID_TOKEN": errors.InvalidRequest,
    "JOB_NOT_FOUND": errors.JobNotFound,
    "JOB_ALREADY_EXISTS": errors.JobAlreadyExists,
    "UID_MISMATCH": errors.UidMismatch,
    "UNSUPPORTED_CAPABILITY": errors.Unsupported,
    "ENGINE_UNAVAILABLE": errors.Unavailable,
    "ENGINE_TIMEOUT": errors.DeadlineExceeded,
    "ENGINE_FAILED": errors.EngineFailed,
    "SERVER_STOPPING": errors.Unavailable,
    "LIMIT_REACHED": errors.LimitReached,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "PERMISSION_DENIED": errors.PermissionDenied,
    "REAUTHENTICATE": errors.Unavailable,
}

# For failures that aren't the service's own, and for reasons newer than this client.
_BY_CODE: dict[StatusCode, type[JobEngineError]] = {
    StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    StatusCode.UNIMPLEMENTED: errors.Unsupported,
    StatusCode.RESOURCE_EXHAUSTED: errors.LimitReached,
    StatusCode.UNAVAILABLE: errors.Unavailable,
    # By a server that stops: so gRPC ends calls that came too late to be looked at. (Calls that
    # are cancelled on this side have no error to tell.)
    StatusCode.CANCELLED: errors.Unavailable,
    StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    StatusCode.INTERNAL: errors.EngineFailed,
    StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
}

_INTERRUPTIONS = frozenset(
    {"ENGINE_UNAVAILABLE", "ENGINE_TIMEOUT", "SERVER_STOPPING", "REAUTHENTICATE"}
)

# What connections and proxies end a stream with, when no reason of the service is given.
_BROKEN_STREAM = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.CANCELLED,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.UNKNOWN,
    }
)


def from_rpc_error(error: grpc.RpcError) -> JobEngineError:
    """The error that a failed call means, with all that its details tell."""
    code = error.code()
    info, bad_request, retry = _details(error)
    reason = info.reason if info.domain == _DOMAIN else ""
    cls = _BY_REASON.get(reason) or _BY_CODE.get(code) or JobEngineError
    return cls(
        error.details() or code.name,
        code=code,
        reason=reason,
        violations=[FieldViolation(v.field, v.description) for v in bad_request.field_violations],
        retry_delay_seconds=(
            retry.retry_delay.ToMilliseconds() / 1_000 if retry.HasField("retry_delay") else None
        ),
        metadata=info.metadata if reason else None,
    )


def is_interruption(error: JobEngineError) -> bool:
    """Whether a stream that ended like this may go on in a new call."""
    if error.retry_delay_seconds is not None:
        return True
    return error.reason in _INTERRUPTIONS if error.reason else error.code in _BROKEN_STREAM


def _details(error: grpc.RpcError) -> tuple[Any, Any, Any]:
    """ErrorInfo, BadRequest and RetryInfo of a failed call, empty where it has none."""
    found = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    try:
        status = cast("Any", rpc_status).from_call(error)
        for packed in status.details if status else ():
            for message in found:
                packed.Unpack(message)
    except (ValueError, DecodeError):
        # Details that contradict the code, or aren't details: the code alone still tells.
        pass
    return found
