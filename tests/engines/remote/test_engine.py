"""A server before another one: what passes through, and what each says when the other is away."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from engines.base import Capability, Engine, Job, State
from engines.config import InvalidEngine, JobManager
from engines.errors import EngineFailed, EngineUnavailable, UidMismatch
from engines.memory import MemoryEngine
from engines.remote import connection
from jobengine import AsyncClient, JobState, RetryPolicy, errors
from jobengine.v1 import job_engine_pb2 as api
from server.app import Server
from server.config import Config
from server.settings import Settings
from tests.certificates import Authority
from tests.clients.guard import write
from tests.clients.specs import endless, fake

pytestmark = pytest.mark.engine("remote")

DEADLINE_SECONDS = 20.0
ONCE = RetryPolicy(retry_for_seconds=0)


@contextlib.asynccontextmanager
async def serving(engine: Engine, **settings: object) -> AsyncGenerator[Server]:
    config = {"listen": "127.0.0.1:0", "stop_grace_seconds": 1.0, **settings}
    async with Server(engine, Config(**config)) as server:  # type: ignore[arg-type]
        yield server


@contextlib.asynccontextmanager
async def in_touch(engine: Engine, **settings: object) -> AsyncGenerator[Server]:
    async with serving(engine, **settings) as server:
        assert await server.in_touch(DEADLINE_SECONDS), server.mirror.trouble
        yield server


@pytest.fixture
def fake_engine() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
async def far(fake_engine: MemoryEngine) -> AsyncIterator[Server]:
    async with in_touch(fake_engine) as server:
        yield server


@pytest.fixture
async def front(far: Server) -> AsyncIterator[Server]:
    async with in_touch(JobManager("remote", address=far.address)) as server:
        yield server


@pytest.fixture
async def client(front: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(front.address, retry=ONCE) as client:
        yield client


@pytest.fixture
async def of_far(far: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(far.address) as client:
        yield client


# -- what it knows of the other server -------------------------------------------------------------


async def test_the_front_tells_of_the_other_engine(client: AsyncClient, far: Server) -> None:
    about = await client.read_engine()
    assert (about.name, about.version) == ("remote", "fake")
    assert set(about.capabilities) == {int(each) for each in MemoryEngine.capabilities}
    async with (
        in_touch(JobManager("remote", address=far.address)) as middle,
        in_touch(JobManager("remote", address=middle.address)) as second,
        AsyncClient(second.address) as through_both,
    ):
        assert (await through_both.read_engine()).version == "fake"


@pytest.mark.parametrize("tracing", [False, True])
async def test_a_front_that_was_there_first(
    fake_engine: MemoryEngine, tracing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{holder.getsockname()[1]}"
    async with (
        serving(JobManager("remote", address=address), tracing=tracing) as front,
        AsyncClient(front.address, retry=ONCE) as client,
    ):
        about = await client.read_engine()
        assert about.health == api.ENGINE_HEALTH_UNREACHABLE
        # Nothing is refused for what can't be known yet.
        for call in (client.create_job(fake()), client.read_job("a"), anext(client.logs("a"))):
            with pytest.raises(errors.Unavailable) as caught:
                await call
            assert caught.value.reason == "ENGINE_UNAVAILABLE"
        async with in_touch(fake_engine, listen=address):
            assert await front.in_touch(DEADLINE_SECONDS)
            about = await client.read_engine()
            assert set(about.capabilities) == {int(each) for each in MemoryEngine.capabilities}
            assert (await client.run(fake())).state == JobState.JOB_STATE_SUCCEEDED


async def test_entering_does_not_wait_for_a_server_that_says_nothing() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        engine = JobManager("remote", address=f"127.0.0.1:{holder.getsockname()[1]}")
        began = time.monotonic()
        async with engine:
            assert time.monotonic() - began < 5
            with pytest.raises(EngineUnavailable, match="no answer from"):
                await anext(engine.watch())


async def test_what_the_other_engine_cannot_do_is_refused_here() -> None:
    class Modest(MemoryEngine):
        name = "modest"
        capabilities = MemoryEngine.capabilities - {Capability.RETRIES, Capability.LOGS}

    async with (
        in_touch(Modest()) as far,
        in_touch(JobManager("remote", address=far.address)) as front,
        AsyncClient(front.address) as client,
    ):
        spec = fake()
        spec.max_retries = 1
        with pytest.raises(errors.InvalidRequest) as refused:
            await client.create_job(spec)
        (violation,) = refused.value.violations
        assert violation.field == "spec.max_retries"
        assert violation.description == "engine 'modest' can't do this (no RETRIES): unset it"
        with pytest.raises(errors.Unsupported):
            await anext(client.logs("a"))


async def test_contact_is_contact_with_the_engine_at_the_end(
    front: Server, client: AsyncClient, fake_engine: MemoryEngine
) -> None:
    await client.create_job(endless(), name="a")
    fake_engine.disconnect()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await front.mirror.out_of_touch.wait()
    about = await client.read_engine()
    assert about.message == "the fake engine was told to be away"
    assert not await client.check_health()
    assert (await client.read_status("a")).state == JobState.JOB_STATE_RUNNING
    with pytest.raises(errors.Unavailable, match=r"^the fake engine was told to be away$"):
        await client.create_job(endless(), name="b")
    fake_engine.reconnect()
    assert await front.in_touch(DEADLINE_SECONDS)
    assert (await client.read_engine()).message == ""


# -- what passes through ---------------------------------------------------------------------------


async def test_jobs_of_both_servers_show(
    front: Server, client: AsyncClient, of_far: AsyncClient
) -> None:
    there = await of_far.create_job(endless({"team": "a"}), name="there")
    here = await client.create_job(endless({"team": "b"}), name="here")
    assert [job.uid async for job in of_far.list_jobs()] == [here.uid, there.uid]
    assert (await client.read_job("there")).uid == there.uid
    await of_far.cancel_job("here")
    assert (await client.wait("here")).state == JobState.JOB_STATE_CANCELLED
    await client.delete_job("there", uid=there.uid, wait=True)
    assert [job.uid async for job in of_far.list_jobs()] == [here.uid]


async def test_errors_read_the_same_as_without_a_server_between(
    client: AsyncClient, of_far: AsyncClient
) -> None:
    await client.create_job(endless(), name="a")

    calls: list[Callable[[AsyncClient], Awaitable[object]]] = [
        lambda through: through.create_job(fake(start_error="out of cheese"), name="b"),
        lambda through: through.delete_job("a", uid="another"),
        lambda through: through.create_job(fake(), name="a"),
        lambda through: through.read_job("missing"),
        lambda through: anext(through.logs("a", cursor="no cursor of anybody")),
        lambda through: through.create_job(fake(exit_code="many"), name="b"),
    ]
    for call in calls:
        told: list[errors.JobEngineError] = []
        for through in (client, of_far):
            with pytest.raises(errors.JobEngineError) as caught:
                await call(through)
            told.append(caught.value)
        one, other = told
        assert (type(one), str(one)) == (type(other), str(other))
        assert (one.code, one.reason, one.violations) == (
            other.code,
            other.reason,
            other.violations,
        )


async def test_a_repeat_after_a_restart_of_the_front(far: Server, of_far: AsyncClient) -> None:
    uids: set[str] = set()
    for _ in range(2):
        async with (
            in_touch(JobManager("remote", address=far.address)) as front,
            AsyncClient(front.address) as client,
        ):
            for name in ("named", ""):
                job = await client.create_job(endless(), name=name, request_id=f"request-{name}")
                uids.add(job.uid)
    assert {job.uid async for job in of_far.list_jobs()} == uids
    assert len(uids) == 2


async def test_it_is_an_engine_without_a_server(far: Server, of_far: AsyncClient) -> None:
    async with JobManager("remote", address=far.address) as engine:
        job = await engine.create_job("a", endless({"team": "blue"}), request_id="request")
        assert (job.request_id, dict(job.labels)) == ("request", {"team": "blue"})
        assert [each.uid for each in await engine.list_jobs()] == [job.uid]
        with pytest.raises(UidMismatch, match=f"has the uid {job.uid}, not another"):
            await engine.cancel_job("a", uid="another")
        await of_far.cancel_job("a")
        await of_far.wait("a")
        assert (await engine.read_status(Job("a"))).state is State.CANCELLED


# -- the way there ---------------------------------------------------------------------------------


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    for settings, says in (
        ({}, "--remote-address"),
        ({"address": "far:1", "token_file": tmp_path / "token"}, "anybody between"),
        ({"address": "far:1", "ca": tmp_path / "missing"}, "missing"),
        ({"address": "far:1", "cert": tmp_path / "cert"}, "belong together"),
    ):
        with pytest.raises(InvalidEngine, match=says):
            JobManager("remote", **settings)


@pytest.fixture
async def guarded(fake_engine: MemoryEngine, tmp_path: Path) -> AsyncIterator[Server]:
    """A server with TLS on both sides; `ca.crt` has the authority of both."""
    authority = Authority()
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    for name, issued in (("far", authority.server()), ("front", authority.client("dns:front"))):
        (tmp_path / name).mkdir()
        issued.write(tmp_path / name)
    async with in_touch(
        fake_engine,
        tls_cert=tmp_path / "far" / "tls.crt",
        tls_key=tmp_path / "far" / "tls.key",
        client_ca=tmp_path / "ca.crt",
    ) as server:
        yield server


def shown(directory: Path) -> dict[str, Path]:
    """A front's certificate."""
    return {"cert": directory / "front" / "tls.crt", "key": directory / "front" / "tls.key"}


async def test_tls_both_ways(guarded: Server, tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    engine = JobManager("remote", address=guarded.address, ca=ca, **shown(tmp_path))
    async with in_touch(engine) as front, AsyncClient(front.address) as client:
        assert (await client.run(fake())).state == JobState.JOB_STATE_SUCCEEDED
    async with JobManager("remote", address=guarded.address, ca=ca) as engine:
        with pytest.raises(EngineUnavailable):  # the handshake fails
            await anext(engine.watch())


async def test_a_certificate_that_is_exchanged(guarded: Server, tmp_path: Path) -> None:
    """A front runs for longer than its certificate is good."""
    good = {key: file.read_bytes() for key, file in shown(tmp_path).items()}
    Authority("another").client("dns:front").write(tmp_path / "front")
    engine = JobManager(
        "remote", address=guarded.address, ca=tmp_path / "ca.crt", **shown(tmp_path)
    )
    async with serving(engine) as front:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while front.mirror.trouble == "not asked yet":
                await asyncio.sleep(0.05)  # nobody tells
        assert not front.mirror.in_touch.is_set()
        for key, file in shown(tmp_path).items():
            write(file, good[key].decode())
        assert await front.in_touch(DEADLINE_SECONDS), front.mirror.trouble
        for key, file in shown(tmp_path).items():
            write(file, good[key].decode())
        async with AsyncClient(front.address) as client:
            assert (await client.run(fake())).state == JobState.JOB_STATE_SUCCEEDED


def test_a_token_file_that_has_no_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    way = connection.Connection(address="127.0.0.1:1", token_file=file)
    with pytest.raises(EngineFailed, match=r"--remote-token-file: .*No such file"):
        way._token()
    for text in ("", "two words", "tökən"):
        file.write_text(text)
        with pytest.raises(EngineFailed, match="one token and nothing else") as caught:
            way._token()
        assert not text or text not in str(caught.value)
    file.write_text("a-token\n")
    assert way._token() == "a-token"


def test_flags_of_the_command(tmp_path: Path) -> None:
    settings = Settings(
        engine="remote",
        remote_address="far:1",
        remote_tls=True,
        remote_ca=tmp_path / "ca",
        remote_cert=tmp_path / "cert",
        remote_key=tmp_path / "key",
        remote_server_name="far.example",
        remote_token_file=tmp_path / "token",
        engine_timeout=7,
    )
    way = connection.Connection(**settings.of_engine())
    assert way == connection.Connection(
        address="far:1",
        tls=True,
        ca=tmp_path / "ca",
        cert=tmp_path / "cert",
        key=tmp_path / "key",
        server_name="far.example",
        token_file=tmp_path / "token",
        timeout_seconds=7,
    )
    assert way.encrypted
    assert connection.Connection(address="far:1", server_name="x").encrypted
    assert not connection.Connection(address="far:1", server_name="x", tls=False).encrypted
    with pytest.raises(ValueError, match="--remote-address is where this server listens itself"):
        Settings(engine="remote", remote_address="127.0.0.1:50051")
