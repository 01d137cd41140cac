"""The server's life: health, reflection, the address, and what it refuses to listen on."""

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from engines.memory import MemoryEngine
from jobengine import AsyncClient, JobSpec
from server.app import Server
from server.config import Config
from server.health import NOT_SERVING, SERVING
from tests.server.conftest import Running, Start
from tests.server.scripted import ScriptedEngine

SERVICE = "jobengine.v1.JobEngine"


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    status: int = (await health_pb2_grpc.HealthStub(channel).Check(request)).status
    return status


async def test_health_follows_the_engine(running: Running, fake: MemoryEngine) -> None:
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    watch = health_pb2_grpc.HealthStub(running.channel).Watch(request)
    states: list[int] = []
    async with asyncio.timeout(20):
        while not states or states[-1] != SERVING:
            states.append((await watch.read()).status)
        fake.disconnect()
        states.append((await watch.read()).status)
        assert await health_of(running.channel, "") == SERVING
        fake.reconnect()
        states.append((await watch.read()).status)
    assert states[-3:] == [SERVING, NOT_SERVING, SERVING]


async def test_who_watches_the_health_does_not_hold_up_the_end() -> None:
    config = Config(listen="127.0.0.1:0", stop_grace_seconds=60.0)
    server = Server(MemoryEngine(), config)
    async with asyncio.timeout(20), server, grpc.aio.insecure_channel(server.address) as channel:
        assert await server.in_touch(10)
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        watch = health_pb2_grpc.HealthStub(channel).Watch(request)
        told = [(await watch.read()).status]
        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        while (message := await watch.read()) is not grpc.aio.EOF:
            told.append(message.status)
        await stopping
    assert told[-2:] == [SERVING, NOT_SERVING]


async def test_not_serving_before_the_engine_answers(start: Start) -> None:
    async with start(ScriptedEngine()) as running:
        assert not await running.server.in_touch(0.05)
        assert await health_of(running.channel, SERVICE) == NOT_SERVING
        assert await health_of(running.channel, "") == SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection(running: Running, version: str) -> None:
    call: Any = running.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    response = await call.read()
    names = {service.name for service in response.list_services_response.service}
    itself = f"grpc.reflection.{version}.ServerReflection"
    assert {SERVICE, "grpc.health.v1.Health", itself} <= names
    for symbol in (SERVICE, f"{SERVICE}.ReadStatus", "jobengine.v1.Job"):
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
        response = await call.read()
        assert response.file_descriptor_response.file_descriptor_proto, symbol
    for symbol in (f"{SERVICE}.Nothing", "nothing"):
        await call.write(reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol))
        response = await call.read()
        assert response.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0], symbol
    await call.done_writing()


async def test_a_port_in_use_is_an_error(running: Running, start: Start) -> None:
    with pytest.raises(OSError, match="another server"):
        async with start(MemoryEngine(), listen=running.server.address):
            pass


async def test_a_shared_port(start: Start) -> None:
    """Connections are spread over the servers, by the kernel."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        async with AsyncExitStack() as stack:
            for name in ("first", "second"):
                engine = MemoryEngine()
                await engine.create_job(name, JobSpec(command=["fake"]))
                running = await stack.enter_async_context(
                    start(engine, listen=address, share_port=True)
                )
                assert await running.server.in_touch(10)
            with pytest.raises(OSError, match="another server"):
                await stack.enter_async_context(start(MemoryEngine(), listen=address))
            seen: set[str] = set()
            while seen != {"first", "second"}:
                async with AsyncClient(address) as client:
                    seen |= {job.name async for job in client.list_jobs()}


@pytest.mark.parametrize("listen", ["unix:/tmp/x", "127.0.0.1:0"])
def test_a_port_that_nobody_could_share(listen: str) -> None:
    with pytest.raises(ValueError, match="no port that servers can share"):
        Config(listen=listen, share_port=True).check()


async def test_a_unix_socket(start: Start, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "socket"
    async with start(MemoryEngine(), listen=f"unix:{path}") as running:
        assert await running.server.in_touch(10)
        assert running.server.address == f"unix:{path}"
        assert await health_of(running.channel, "") == SERVING


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:1", "localhost:50051", "unix:/tmp/x"])
def test_loopback_needs_nothing(listen: str) -> None:
    Config(listen=listen).check()


FILE = Path("/tmp/x")


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1"])
def test_other_addresses_need_tls_and_authentication(listen: str) -> None:
    with pytest.raises(ValueError, match=r"--tls-cert.*--tokens.*--insecure"):
        Config(listen=listen).check()
    with pytest.raises(ValueError, match=r"which needs callers' credentials"):
        Config(listen=listen, tls_cert=FILE, tls_key=FILE).check()
    with pytest.raises(ValueError, match=r"which needs TLS"):
        Config(listen=listen, token_file=FILE).check()
    Config(listen=listen, tls_cert=FILE, tls_key=FILE, token_file=FILE).check()
    Config(listen=listen, tls_cert=FILE, tls_key=FILE, client_ca=FILE).check()
    Config(listen=listen, insecure=True).check()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tls_cert": FILE}, "--tls-key"),
        ({"tls_key": FILE}, "--tls-cert"),
        ({"client_ca": FILE}, "--client-ca needs TLS"),
        ({"policy": FILE}, "--policy needs to know who calls"),
    ],
)
def test_settings_that_belong_together(settings: dict[str, Path], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Config(**settings).check()  # type: ignore[arg-type]


@pytest.mark.parametrize("listen", ["", "50051", "localhost", ":1", "a:x", "a:70000"])
def test_malformed_addresses(listen: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Config(listen=listen, insecure=True).check()
