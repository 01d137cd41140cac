"""What failed calls raise."""

import pickle
import socket
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from jobengine import Client, JobSpec, RetryPolicy, errors
from jobengine.v1 import job_engine_pb2 as api
from tests.clients.blocking import NewClient
from tests.clients.server import Server
from tests.clients.specs import endless, fake


@pytest.fixture
def closed_port() -> Generator[str]:
    """An address at which nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


@pytest.fixture
def cancelling_server() -> Generator[str]:
    """A server that ends its first call as gRPC ends those that come while a server stops."""
    codes = iter((grpc.StatusCode.CANCELLED,))

    def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
        if (code := next(codes, None)) is not None:
            context.abort(code, code.name)
        return api.ReadEngineResponse(name="another").SerializeToString()

    with ThreadPoolExecutor() as pool:
        server = grpc.server(pool)
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(answer)
        service = grpc.method_handlers_generic_handler(
            "jobengine.v1.JobEngine", {"ReadEngine": method}
        )
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


@pytest.mark.parametrize("method", ["read_job", "read_status", "cancel_job", "delete_job", "wait"])
def test_job_not_found(client: Client, method: str) -> None:
    with pytest.raises(errors.JobNotFound, match="no-such-job") as caught:
        getattr(client, method)("no-such-job")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    assert caught.value.reason == "JOB_NOT_FOUND"


@pytest.mark.parametrize("method", ["watch_status", "logs"])
def test_job_not_found_by_streams(client: Client, method: str) -> None:
    with pytest.raises(errors.JobNotFound):
        list(getattr(client, method)("no-such-job"))


def test_name_is_taken(client: Client, name: str) -> None:
    client.create_job(fake(), name=name)
    with pytest.raises(errors.JobAlreadyExists):
        client.create_job(fake(), name=name)


def test_every_wrong_field_is_named(client: Client) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        client.create_job(JobSpec(command=["x"], max_retries=-1), name="Not A Label")
    assert {v.field for v in caught.value.violations} == {"name", "spec.max_retries"}
    assert all(v.description for v in caught.value.violations)


def test_uid_of_another_job(client: Client, name: str) -> None:
    client.create_job(endless(), name=name)
    for method in (client.cancel_job, client.delete_job):
        with pytest.raises(errors.UidMismatch):
            method(name, uid="another")
    client.delete_job(name)


def test_foreign_cursor(client: Client, name: str) -> None:
    client.create_job(fake(), name=name)
    with pytest.raises(errors.InvalidRequest) as caught:
        list(client.logs(name, cursor="not one of ours"))
    assert caught.value.reason == "INVALID_TOKEN"
    assert caught.value.violations[0].field == "cursor"


def test_engine_that_fails(client: Client, name: str) -> None:
    with pytest.raises(errors.EngineFailed, match="out of cheese"):
        client.create_job(fake(start_error="out of cheese"), name=name)


def test_engine_that_hangs(client: Client, name: str) -> None:
    with pytest.raises(errors.DeadlineExceeded) as caught:
        client.create_job(fake(hang="create_job"), name=name)
    assert caught.value.reason == "ENGINE_TIMEOUT"


def test_own_deadline(new_client: NewClient, fake_server: Server, name: str) -> None:
    client = new_client(fake_server.address, timeout_seconds=0.3)
    with pytest.raises(errors.DeadlineExceeded) as caught:
        client.create_job(fake(hang="create_job"), name=name)
    assert caught.value.reason == ""


def test_engine_without_logs(new_client: NewClient, plain_server: Server, name: str) -> None:
    client = new_client(plain_server.address)
    client.create_job(JobSpec(command=["x"]), name=name)
    with pytest.raises(errors.Unsupported) as caught:
        list(client.logs(name))
    assert caught.value.metadata["capability"]


def test_nobody_there(new_client: NewClient, closed_port: str) -> None:
    retry = RetryPolicy(retry_for_seconds=0.3)
    client = new_client(closed_port, retry=retry)
    with pytest.raises(errors.Unavailable) as caught:
        client.read_engine()
    assert caught.value.reason == ""
    with pytest.raises(errors.Unavailable):
        list(client.watch_status("x"))


def test_call_that_a_stopping_server_cancels_is_made_again(
    new_client: NewClient, cancelling_server: str
) -> None:
    assert new_client(cancelling_server).read_engine().name == "another"


def test_closed_client(new_client: NewClient, fake_server: Server) -> None:
    client = new_client(fake_server.address)
    client.read_engine()
    client.close()
    with pytest.raises(errors.ClientClosed):
        client.read_engine()


def test_errors_survive_pickling(client: Client) -> None:
    with pytest.raises(errors.JobNotFound) as caught:
        client.read_job("no-such-job")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.code, copy.reason) == (
        str(caught.value),
        grpc.StatusCode.NOT_FOUND,
        "JOB_NOT_FOUND",
    )
