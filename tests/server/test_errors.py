"""The error table: every error has a code, a documented reason and its details."""

import base64
import inspect
import urllib.parse

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from engines import errors as engine_errors
from engines.errors import EngineError, FieldViolation
from jobengine.v1 import error_reason_pb2
from server.errors import (
    InvalidRequest,
    PermissionDenied,
    Reauthenticate,
    RequestError,
    ServerLimit,
    ServerStopping,
    SlowReader,
    Unauthenticated,
    to_status,
)

VIOLATION = FieldViolation("spec.image", "no")
CASES: list[tuple[EngineError | RequestError, grpc.StatusCode, str]] = [
    (InvalidRequest([VIOLATION]), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    (engine_errors.InvalidSpec([VIOLATION]), grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED_FIELD"),
    (engine_errors.InvalidToken("cursor"), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TOKEN"),
    (engine_errors.JobNotFound("a"), grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND"),
    (engine_errors.JobAlreadyExists("a"), grpc.StatusCode.ALREADY_EXISTS, "JOB_ALREADY_EXISTS"),
    (engine_errors.UidMismatch("a", "1", "2"), grpc.StatusCode.FAILED_PRECONDITION, "UID_MISMATCH"),
    (
        engine_errors.CapabilityMissing("x", "logs"),
        grpc.StatusCode.UNIMPLEMENTED,
        "UNSUPPORTED_CAPABILITY",
    ),
    (engine_errors.EngineUnavailable("a"), grpc.StatusCode.UNAVAILABLE, "ENGINE_UNAVAILABLE"),
    (engine_errors.EngineTimeout("a"), grpc.StatusCode.DEADLINE_EXCEEDED, "ENGINE_TIMEOUT"),
    (engine_errors.EngineFailed("a"), grpc.StatusCode.INTERNAL, "ENGINE_FAILED"),
    (engine_errors.LimitReached("jobs", "a"), grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED"),
    (ServerStopping(), grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING"),
    (Unauthenticated("who are you?"), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    (PermissionDenied("create", "no"), grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
    (Reauthenticate(), grpc.StatusCode.UNAVAILABLE, "REAUTHENTICATE"),
    (ServerLimit("max_streams", "full"), grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED"),
    (SlowReader(3), grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED"),
]


def details(status: status_pb2.Status) -> dict[str, object]:
    found: dict[str, object] = {}
    for packed in status.details:
        detail = getattr(error_details_pb2, packed.type_url.rpartition(".")[2])()
        assert packed.Unpack(detail)
        found[type(detail).__name__] = detail
    return found


@pytest.mark.parametrize(("error", "code", "reason"), CASES)
def test_code_and_reason(
    error: EngineError | RequestError, code: grpc.StatusCode, reason: str
) -> None:
    actual, status = to_status(error)
    assert actual is code
    assert status.code == code.value[0]
    assert status.message == str(error)
    info = details(status)["ErrorInfo"]
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == (reason, "jobengine")


def test_every_engine_error_is_covered() -> None:
    classes = {
        cls
        for _, cls in inspect.getmembers(engine_errors, inspect.isclass)
        if issubclass(cls, EngineError) and cls is not EngineError
    }
    assert classes <= {type(error) for error, _, _ in CASES}


def test_every_documented_reason_is_sent() -> None:
    values = error_reason_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"].values
    documented = {value.name.removeprefix("ERROR_REASON_") for value in values}
    assert documented - {"UNSPECIFIED"} == {reason for _, _, reason in CASES}


def test_an_unknown_subclass_keeps_its_parents_code() -> None:
    class Special(engine_errors.EngineUnavailable):
        pass

    assert to_status(Special("x"))[0] is grpc.StatusCode.UNAVAILABLE


def test_fields_resources_and_delays() -> None:
    bad = details(to_status(InvalidRequest([VIOLATION, FieldViolation("name", "b")]))[1])
    request = bad["BadRequest"]
    assert isinstance(request, error_details_pb2.BadRequest)
    assert [violation.field for violation in request.field_violations] == ["spec.image", "name"]

    missing = details(to_status(engine_errors.JobNotFound("a"))[1])["ResourceInfo"]
    assert isinstance(missing, error_details_pb2.ResourceInfo)
    assert missing.resource_name == "a"

    for error in (
        ServerStopping(),
        engine_errors.EngineUnavailable("x"),
        ServerLimit("max_streams", "full"),
    ):
        retry = details(to_status(error)[1])["RetryInfo"]
        assert isinstance(retry, error_details_pb2.RetryInfo)
        assert 0.5 <= retry.retry_delay.ToTimedelta().total_seconds() <= 1.5


@pytest.mark.parametrize("letter", ["x", "ü", "\0", "😀"])
def test_an_error_always_fits_into_the_trailers(letter: str) -> None:
    """gRPC refuses more than 8 KiB of metadata: the caller would see RESOURCE_EXHAUSTED."""
    violations = [FieldViolation(f"spec.env[{letter * 999!r}]", letter * 999) for _ in range(999)]
    for error in (
        InvalidRequest(violations),
        engine_errors.InvalidSpec(violations),
        engine_errors.EngineFailed(letter * 99_999),
        engine_errors.JobNotFound(letter * 99_999),
    ):
        _, status = to_status(error)
        message = len(urllib.parse.quote(status.message))
        assert message + len(base64.b64encode(status.SerializeToString())) < 7000
    bad = details(to_status(InvalidRequest(violations))[1])["BadRequest"]
    assert isinstance(bad, error_details_pb2.BadRequest)
    assert len(bad.field_violations) > 3
    assert "more" in bad.field_violations[-1].description
