"""What everybody may ask doesn't let anybody hold others up."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from engines.memory import MemoryEngine
from server import public, rpc
from server.app import Server
from server.config import Config
from server.health import NOT_SERVING, SERVING
from tests.http2 import Kind, Setting, connect
from tests.security.conftest import Open, refusal

WATCH = "/grpc.health.v1.Health/Watch"


async def test_a_watcher_that_reads_nothing_holds_nobody_up() -> None:
    """Neither the news of the health, nor the server's end."""
    engine = MemoryEngine()
    config = Config(listen="127.0.0.1:0", stop_grace_seconds=0.2)
    service = health_pb2.HealthCheckRequest(service=rpc.SERVICE.full_name)
    async with asyncio.timeout(20), Server(engine, config) as server:
        assert await server.in_touch(10)
        async with (
            connect(server.address, {Setting.INITIAL_WINDOW_SIZE: 0}) as closed,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            for _ in range(10):
                closed.request(WATCH, service.SerializeToString())
            await closed.drain()
            closed.frame(Kind.PING, payload=bytes(8))
            await closed.until_pong(1)
            watch: Any = health_pb2_grpc.HealthStub(channel).Watch(service)
            states = [(await watch.read()).status]
            for change in (engine.disconnect, engine.reconnect):
                change()
                states.append((await watch.read()).status)
            assert states == [SERVING, NOT_SERVING, SERVING]
            assert not closed.ended


async def test_open_calls_have_a_bound(open_door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "MAX_CALLS", 3)
    async with open_door() as door:
        stub = health_pb2_grpc.HealthStub(await door.channel())
        watches: list[Any] = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        for watch in watches:
            await watch.read()
        one_more: Any = stub.Watch(health_pb2.HealthCheckRequest())
        for call in (one_more.read(), stub.Check(health_pb2.HealthCheckRequest())):
            with pytest.raises(grpc.aio.AioRpcError, match="limit of 3") as full:
                await call
            assert refusal(full.value)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        for watch in watches:
            watch.cancel()
        async with asyncio.timeout(20):
            while True:
                try:
                    await stub.Check(health_pb2.HealthCheckRequest())
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.02)
