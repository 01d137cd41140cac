"""Labels, statuses and errors: what is sent, and what comes back of it."""

import grpc
import pytest

from engines.base import Changed, Reason, Removed, Snapshot, State
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
from engines.remote.failures import engine_error, told_by
from engines.remote.listing import Listing
from engines.remote.messages import capabilities_of, status_of
from engines.remote.owners import labels_received, spec_received, spec_to_send
from jobengine import errors
from jobengine.errors import JobEngineError
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from server.ownership import OWNER_LABEL
from server.validation import RESERVED_PREFIX

pytestmark = pytest.mark.engine("remote")

REMOTE = "remote.jobengine.dev/owner"
TWICE = "remote.remote.jobengine.dev/owner"

# -- owners ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "sent"),
    [
        ({}, {}),
        ({"team": "blue"}, {"team": "blue"}),
        ({OWNER_LABEL: "a", "team": "blue"}, {REMOTE: "a", "team": "blue"}),
        ({OWNER_LABEL: "b", REMOTE: "a"}, {REMOTE: "b", TWICE: "a"}),
        ({REMOTE: "somebody's claim"}, {TWICE: "somebody's claim"}),
        ({"remote.example/owner": "a"}, {"remote.example/owner": "a"}),
        ({"xjobengine.dev/owner": "a"}, {"xjobengine.dev/owner": "a"}),
    ],
)
def test_owners_are_renamed_at_each_step(before: dict[str, str], sent: dict[str, str]) -> None:
    spec = job_pb2.JobSpec(command=["x"], labels=before)
    wire = job_pb2.JobSpec.FromString(spec_to_send(spec).SerializeToString())
    assert dict(wire.labels) == sent
    assert dict(spec.labels) == before
    assert not any(key.startswith(RESERVED_PREFIX) for key in wire.labels)
    # The other server adds its own, of whom nobody knows here.
    wire.labels[OWNER_LABEL] = "this server"
    assert labels_received(wire.labels) == before
    assert spec_received(wire) == spec


# -- statuses --------------------------------------------------------------------------------------


def test_a_reason_of_a_newer_server() -> None:
    message = job_pb2.JobStatus(state=job_pb2.JOB_STATE_FAILED)
    message.ParseFromString(message.SerializeToString() + _varint(job_pb2.JobStatus, "reason", 99))
    assert (status_of(message).state, status_of(message).reason) == (State.FAILED, Reason.UNKNOWN)


def test_a_state_of_a_newer_server() -> None:
    message = job_pb2.JobStatus.FromString(_varint(job_pb2.JobStatus, "state", 99))
    with pytest.raises(EngineFailed, match="upgrade this one"):
        status_of(message)


def test_a_capability_of_a_newer_server() -> None:
    about = api.ReadEngineResponse(capabilities=[api.CAPABILITY_LIST, 99])  # type: ignore[list-item]
    assert [each.name for each in capabilities_of(about)] == ["LIST"]


def _varint(kind: type[job_pb2.JobStatus], field: str, value: int) -> bytes:
    return bytes([kind.DESCRIPTOR.fields_by_name[field].number << 3, value])


# -- lists -----------------------------------------------------------------------------------------


def message(
    event: "api.WatchEvent.ValueType", name: str, state: "job_pb2.JobState.ValueType"
) -> api.WatchJobsResponse:
    job = job_pb2.Job(name=name, uid=f"uid-{name}", status=job_pb2.JobStatus(state=state))
    return api.WatchJobsResponse(event=event, job=job)


SYNCED = api.WatchJobsResponse(event=api.WATCH_EVENT_SYNCED, full=True)
STATUS, DELETED = api.WATCH_EVENT_STATUS, api.WATCH_EVENT_DELETED
RUNNING, SUCCEEDED = job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_SUCCEEDED


def test_what_is_deleted_while_it_is_listed_keeps_its_end() -> None:
    listing = Listing()
    for each in (
        message(STATUS, "a", RUNNING),
        message(STATUS, "b", RUNNING),
        message(STATUS, "b", SUCCEEDED),
        message(DELETED, "a", SUCCEEDED),
        message(DELETED, "c", SUCCEEDED),
    ):
        assert list(listing.events(each)) == []
    snapshot, *gone = listing.events(SYNCED)
    assert isinstance(snapshot, Snapshot)
    told = [(job.name, job.status.state) for job in snapshot.jobs]
    assert told == [(name, State.SUCCEEDED) for name in ("a", "c", "b")]
    assert [(type(event), event.name) for event in gone if isinstance(event, Removed)] == [
        (Removed, "a"),
        (Removed, "c"),
    ]
    (changed,) = listing.events(message(STATUS, "d", RUNNING))
    assert isinstance(changed, Changed)
    (removed,) = listing.events(message(DELETED, "d", SUCCEEDED))
    assert isinstance(removed, Removed)
    assert removed.status is not None
    assert removed.status.state is State.SUCCEEDED


def test_a_server_that_does_not_keep_to_the_rules() -> None:
    with pytest.raises(EngineFailed, match="SYNCED"):
        list(Listing().events(api.WatchJobsResponse(event=api.WATCH_EVENT_SYNCED)))


# -- errors ----------------------------------------------------------------------------------------

FIELD = errors.FieldViolation("spec.image", "unset it")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InvalidRequest("its words", reason="INVALID_FIELD"), InvalidSpec),
        (errors.InvalidRequest("its words", reason="UNSUPPORTED_FIELD"), InvalidSpec),
        (errors.InvalidRequest("its words", reason="INVALID_TOKEN"), InvalidToken),
        (errors.UidMismatch("its words", reason="UID_MISMATCH"), UidMismatch),
        (errors.Unsupported("its words", reason="UNSUPPORTED_CAPABILITY"), CapabilityMissing),
        (errors.Unavailable("its words", reason="ENGINE_UNAVAILABLE"), EngineUnavailable),
        (errors.Unavailable("its words", reason="SERVER_STOPPING"), EngineUnavailable),
        (errors.Unavailable("its words", reason="REAUTHENTICATE"), EngineUnavailable),
        (errors.Unavailable("its words"), EngineUnavailable),
        (errors.ConnectionSilent("its words"), EngineUnavailable),
        (errors.ClientClosed("its words"), EngineUnavailable),
        (errors.DeadlineExceeded("its words", reason="ENGINE_TIMEOUT"), EngineTimeout),
        (errors.DeadlineExceeded("its words"), EngineTimeout),
        (errors.EngineFailed("its words", reason="ENGINE_FAILED"), EngineFailed),
        (errors.LimitReached("its words", reason="LIMIT_REACHED"), LimitReached),
        (JobEngineError("its words", reason="OF_A_NEWER_SERVER"), EngineFailed),
    ],
)
def test_errors_keep_their_words(error: JobEngineError, kind: type[EngineError]) -> None:
    made = engine_error(error, "far:1", "job")
    assert type(made) is kind
    assert str(made) == "its words"


def test_errors_about_a_job_name_it() -> None:
    for kind, made in (("JOB_NOT_FOUND", JobNotFound), ("JOB_ALREADY_EXISTS", JobAlreadyExists)):
        error = engine_error(JobEngineError("its words", reason=kind), "far:1", "job")
        assert str(error) == str(made("job"))


def test_errors_keep_what_they_know() -> None:
    refused = errors.InvalidRequest("…", reason="UNSUPPORTED_FIELD", violations=[FIELD])
    error = engine_error(refused, "far:1")
    assert isinstance(error, InvalidSpec)
    assert error.violations == (FieldViolation("spec.image", "unset it"),)
    cursor = errors.FieldViolation("cursor", "…")
    token = engine_error(
        errors.InvalidRequest("…", reason="INVALID_TOKEN", violations=[cursor]), "far:1"
    )
    assert isinstance(token, InvalidToken)
    assert token.field == "cursor"
    limit = engine_error(
        errors.LimitReached("…", reason="LIMIT_REACHED", metadata={"limit": "max_calls"}), "far:1"
    )
    assert isinstance(limit, LimitReached)
    assert limit.limit == "max_calls"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (errors.Unauthenticated("no token"), "--remote-token-file"),
        (errors.PermissionDenied("not yours", reason="PERMISSION_DENIED"), "not yours; its policy"),
        (
            errors.PermissionDenied(
                "…",
                reason="PERMISSION_DENIED",
                violations=[errors.FieldViolation(f"spec.labels['{TWICE}']", "…"), FIELD],
            ),
            'allow.keys = ["*.jobengine.dev/owner"]',
        ),
        (
            JobEngineError("who?", code=grpc.StatusCode.UNIMPLEMENTED),
            "far:1 answers UNIMPLEMENTED: who?",
        ),
    ],
)
def test_what_the_operator_has_to_mend_says_so(error: JobEngineError, says: str) -> None:
    made = engine_error(error, "far:1")
    assert type(made) is EngineFailed
    assert says in str(made)


def test_fields_that_the_other_policy_forbids_are_the_callers() -> None:
    denied = errors.PermissionDenied("…", reason="PERMISSION_DENIED", violations=[FIELD])
    error = engine_error(denied, "far:1")
    assert isinstance(error, InvalidSpec)
    assert [each.field for each in error.violations] == ["spec.image"]


def test_files_and_deadlines() -> None:
    with (
        pytest.raises(EngineUnavailable, match="a file of the connection to far:1"),
        told_by("far:1"),
    ):
        raise FileNotFoundError("ca.crt")
    with pytest.raises(TimeoutError), told_by("far:1"):
        raise TimeoutError
