"""Wrong requests to the local engine: each wrong field is named, and nothing is started."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from jobengine import EmptyDirectory, JobSpec, Mount, Resources, SecretReference
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub
from tests.faults.server import FaultyServer

HUGE = (1 << 31) - 1
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[FaultyServer]:
    server = FaultyServer(tmp_path_factory.mktemp("bad-input") / "state")
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def stub(server: FaultyServer) -> Generator[JobEngineStub]:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        yield JobEngineStub(channel)


@pytest.fixture(autouse=True)
def leave_nothing(stub: Any) -> Generator[None]:
    """Remove what a failed test has started, for the sake of the others."""
    yield
    for job in stub.ListJobs(api.ListJobsRequest(), timeout=20).jobs:
        stub.DeleteJob(api.DeleteJobRequest(name=job.name, wait=True), timeout=20)


def wrong_fields(call: Callable[..., Any], request: Message) -> set[str]:
    """The fields that an INVALID_ARGUMENT names."""
    with pytest.raises(grpc.RpcError) as caught:
        _finish(call(request, timeout=20))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, caught.value
    status = rpc_status.from_call(caught.value)
    assert status is not None
    fields: set[str] = set()
    for detail in status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            assert all(violation.description for violation in bad.field_violations)
            fields |= {violation.field for violation in bad.field_violations}
    assert all(field in status.message for field in fields)
    return fields


def _finish(answer: object) -> None:
    if isinstance(answer, Iterator):  # a stream fails when it is read
        list(answer)


def check_nothing_started(server: FaultyServer, stub: JobEngineStub) -> None:
    assert not list((server.state_dir / "jobs").iterdir())
    assert not stub.ListJobs(api.ListJobsRequest(), timeout=20).jobs


def spec(**fields: Any) -> JobSpec:
    return JobSpec(**{"command": ["true"], **fields})


def seconds(number: int, nanos: int = 0) -> Duration:
    return Duration(seconds=number, nanos=nanos)


NAMES = {
    "too long": "a" * 64,
    "upper case": "Job",
    "underscore": "a_b",
    "dot": "a.b",
    "begins with a dash": "-a",
    "ends with a dash": "a-",
    "slash": "a/b",
    "parent": "..",
    "space": "a b",
    "new line": "a\n",
    "NUL": "a\0",
    "not ASCII": "ä",
    "digits of another script": "a٣",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("method", ["CreateJob", "ReadJob", "ReadStatus", "WatchStatus"])
def test_name(server: FaultyServer, stub: Any, method: str, name: str) -> None:
    request = getattr(api, f"{method}Request")(name=name)
    if method == "CreateJob":
        request.spec.CopyFrom(spec())
    assert wrong_fields(getattr(stub, method), request) == {"name"}
    check_nothing_started(server, stub)


@pytest.mark.parametrize(
    "method",
    ["ReadJob", "ReadStatus", "WatchStatus", "CancelJob", "DeleteJob", "ReadLogs"],
)
def test_name_is_required(stub: Any, method: str) -> None:
    assert wrong_fields(getattr(stub, method), getattr(api, f"{method}Request")()) == {"name"}


SPECS = {
    "no command": (JobSpec(), "spec.command"),
    "only args": (JobSpec(args=["true"]), "spec.command"),
    "empty program": (JobSpec(command=[""]), "spec.command[0]"),
    "NUL in the command": (JobSpec(command=["true", "a\0b"]), "spec.command[1]"),
    "NUL in args": (spec(args=["a", "\0"]), "spec.args[1]"),
    "over-long argument": (spec(args=["a" * (128 * 1024 + 1)]), "spec.args[0]"),
    "NUL in an environment variable": (spec(env={"A": "\0"}), "spec.env['A']"),
    "NUL in a variable's name": (spec(env={"A\0": "1"}), r"spec.env['A\x00']"),
    "'=' in a variable's name": (spec(env={"A=B": "1"}), "spec.env['A=B']"),
    "empty variable name": (spec(env={"": "1"}), "spec.env"),
    "the service's variable": (spec(env={"JOBENGINE_JOB_UID": "1"}), "JOBENGINE_JOB_UID"),
    "another of its variables": (spec(env={"JOBENGINE_JOB_ATTEMPT": "1"}), "JOBENGINE_JOB_ATTEMPT"),
    "over-long variable": (spec(env={"A": "a" * 128 * 1024}), "spec.env['A']"),
    "negative parallelism": (spec(parallelism=-1), "spec.parallelism"),
    "negative completions": (spec(completions=-1), "spec.completions"),
    "negative retries": (spec(max_retries=-1), "spec.max_retries"),
    "huge completions": (spec(completions=HUGE), "spec.completions"),
    "huge retries": (spec(max_retries=HUGE), "spec.max_retries"),
    "parallelism above completions": (spec(parallelism=3, completions=2), "spec.parallelism"),
    "parallelism above the default": (spec(parallelism=2), "spec.parallelism"),
    "negative processors": (spec(resources=Resources(cpu_millis=-1)), "spec.resources.cpu_millis"),
    "huge memory": (
        spec(resources=Resources(memory_bytes=(1 << 63) - 1)),
        "spec.resources.memory_bytes",
    ),
    "negative memory": (
        spec(resources=Resources(memory_bytes=-(1 << 63))),
        "spec.resources.memory_bytes",
    ),
    "GPUs": (spec(resources=Resources(gpu_count=1)), "spec.resources.gpu_count"),
    "timeout of zero": (spec(timeout=seconds(0)), "spec.timeout"),
    "negative timeout": (spec(timeout=seconds(-1)), "spec.timeout"),
    "huge timeout": (spec(timeout=seconds((1 << 63) - 1)), "spec.timeout"),
    "malformed timeout": (spec(timeout=seconds(1, -1)), "spec.timeout"),
    "malformed nanoseconds": (spec(timeout=seconds(1, HUGE)), "spec.timeout"),
    "negative start_timeout": (spec(start_timeout=seconds(-1)), "spec.start_timeout"),
    "negative ttl": (spec(ttl_after_finished=seconds(0, -1)), "spec.ttl_after_finished"),
    "relative directory": (spec(working_dir="tmp"), "spec.working_dir"),
    "NUL in the directory": (spec(working_dir="/\0"), "spec.working_dir"),
    "unknown user": (spec(user="no-such-user-here"), "spec.user"),
    "malformed user": (spec(user="a b"), "spec.user"),
    "label's key": (spec(labels={"a b": "1"}), "spec.labels['a b']"),
    "label's value": (spec(labels={"a": "b c"}), "spec.labels['a']"),
    "over-long label": (spec(labels={"a": "b" * 64}), "spec.labels['a']"),
    "reserved label": (spec(labels={"jobengine.dev/a": "1"}), "spec.labels['jobengine.dev/a']"),
    "annotation's key": (spec(annotations={"": "1"}), "spec.annotations['']"),
    "image": (spec(image="debian"), "spec.image"),
    "unknown pull policy": (spec(image_pull_policy=99), "spec.image_pull_policy"),
    "negative pull policy": (spec(image_pull_policy=-1), "spec.image_pull_policy"),
    "pull policy": (spec(image_pull_policy=1), "spec.image_pull_policy"),
    "pull secret": (spec(image_pull_secret="a"), "spec.image_pull_secret"),
    "secret": (spec(secret_env={"A": SecretReference(name="a", key="b")}), "spec.secret_env"),
    "mount": (spec(mounts=[Mount(target="/a", empty_directory=EmptyDirectory())]), "spec.mounts"),
    "engine's options": (spec(engine_options=Struct()), "spec.engine_options"),
    "5 MiB of arguments": (spec(args=["a" * 100_000] * 53), "spec"),
    "5 MiB in one argument": (spec(args=["a" * 5 * MIB]), "spec"),
    "5 MiB of environment": (spec(env={f"A{n}": "a" * 100_000 for n in range(53)}), "spec"),
}


@pytest.mark.parametrize(("bad", "field"), SPECS.values(), ids=SPECS)
def test_spec(server: FaultyServer, stub: Any, bad: JobSpec, field: str) -> None:
    request = api.CreateJobRequest(name="job", spec=bad)
    fields = wrong_fields(stub.CreateJob, request)
    assert len(fields) == 1
    assert field in fields.pop()
    request.validate_only = True
    assert wrong_fields(stub.CreateJob, request)
    check_nothing_started(server, stub)


def test_no_spec(server: FaultyServer, stub: Any) -> None:
    assert wrong_fields(stub.CreateJob, api.CreateJobRequest(name="job")) >= {"spec"}
    check_nothing_started(server, stub)


def test_all_wrong_fields_at_once(server: FaultyServer, stub: Any) -> None:
    bad = spec(parallelism=-1, labels={"a": " "}, env={"=": ""}, timeout=seconds(-1))
    request = api.CreateJobRequest(name="A", request_id=" ", spec=bad)
    assert wrong_fields(stub.CreateJob, request) == {
        *("name", "request_id", "spec.parallelism", "spec.labels['a']", "spec.env['=']"),
        "spec.timeout",
    }
    check_nothing_started(server, stub)


@pytest.mark.parametrize("request_id", ["a" * 129, "a b", "ä", "\0", "\n"])
def test_request_id(server: FaultyServer, stub: Any, request_id: str) -> None:
    request = api.CreateJobRequest(name="job", request_id=request_id, spec=spec())
    assert wrong_fields(stub.CreateJob, request) == {"request_id"}
    check_nothing_started(server, stub)


def test_message_too_large(server: FaultyServer, stub: Any) -> None:
    """More than the transport takes: refused by size, before anything can name a field."""
    request = api.CreateJobRequest(name="job", spec=spec(args=["a" * 17 * MIB]))
    with pytest.raises(grpc.RpcError) as caught:
        stub.CreateJob(request, timeout=20)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    check_nothing_started(server, stub)


SELECTORS = [
    *(",", "a,", ",a", "a=b c", "a in", "a in b", "a in (b", "a in (b,,c", "notin (a)"),
    *("=b", "!", "a!b", "a=b;c=d", "(a)", "a=ä", "a\0", "a" * 5000),
]


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("method", ["ListJobs", "WatchJobs"])
def test_label_selector(stub: Any, method: str, selector: str) -> None:
    request = getattr(api, f"{method}Request")(label_selector=selector)
    assert wrong_fields(getattr(stub, method), request) == {"label_selector"}


@pytest.mark.parametrize("token", ["x", "AAAA", "ä", "====", "-" * 4096, "AAAAAAAAAAAAAAAA", "\0"])
def test_page_token(stub: Any, token: str) -> None:
    assert wrong_fields(stub.ListJobs, api.ListJobsRequest(page_token=token)) == {"page_token"}


def test_page_token_of_another_list(stub: Any) -> None:
    for name in ("first", "second"):
        stub.CreateJob(api.CreateJobRequest(name=name, spec=spec()), timeout=20)
    token = stub.ListJobs(api.ListJobsRequest(page_size=1), timeout=20).next_page_token
    assert token
    other = api.ListJobsRequest(page_size=1, page_token=token, label_selector="a=b")
    assert wrong_fields(stub.ListJobs, other) == {"page_token"}


def test_list(stub: Any) -> None:
    request = api.ListJobsRequest(page_size=-1, states=[0, 99])  # type: ignore[list-item]
    assert wrong_fields(stub.ListJobs, request) == {"page_size", "states[0]", "states[1]"}


def test_logs(stub: Any) -> None:
    request = api.ReadLogsRequest(
        name="job",
        instance=-1,
        stream=99,  # type: ignore[arg-type]
        tail_lines=-1,
        cursor="a" * 2000,
    )
    assert wrong_fields(stub.ReadLogs, request) == {"instance", "stream", "tail_lines", "cursor"}


@pytest.mark.parametrize("method", ["CancelJob", "DeleteJob"])
@pytest.mark.parametrize("grace", [seconds(-1), seconds(HUGE), seconds(1, -1)], ids=str)
def test_grace_period(stub: Any, method: str, grace: Duration) -> None:
    request = getattr(api, f"{method}Request")(name="job", grace_period=grace)
    assert wrong_fields(getattr(stub, method), request) == {"grace_period"}


@pytest.mark.parametrize("method", ["WatchStatus", "WatchJobs"])
def test_watch(stub: Any, method: str) -> None:
    request = getattr(api, f"{method}Request")(
        cursor="a" * 2000,
        heartbeat_interval=seconds(-1),
        **({"name": "a"} if method == "WatchStatus" else {}),
    )
    assert wrong_fields(getattr(stub, method), request) == {"cursor", "heartbeat_interval"}
