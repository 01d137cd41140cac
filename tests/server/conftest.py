"""A real server in this process, and a raw channel to it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest

from engines.base import Engine
from engines.memory import MemoryEngine
from jobengine.v1 import job_engine_pb2_grpc
from server.app import Server
from server.config import Config


@dataclass
class Running:
    """A server, its engine, and how to call it."""

    server: Server
    channel: grpc.aio.Channel
    stub: "job_engine_pb2_grpc.JobEngineAsyncStub"


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start() -> Start:
    """Starts a server on an engine, with settings of Config by name."""

    @asynccontextmanager
    async def starting(engine: Engine, **settings: object) -> AsyncIterator[Running]:
        config = Config(**{"listen": "127.0.0.1:0", "stop_grace_seconds": 1.0, **settings})  # type: ignore[arg-type]
        async with (
            Server(engine, config) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            stub = job_engine_pb2_grpc.JobEngineStub(channel)
            yield Running(server, channel, stub)  # type: ignore[arg-type]

    return starting


@pytest.fixture
async def fake() -> MemoryEngine:
    return MemoryEngine()


@pytest.fixture
async def running(start: Start, fake: MemoryEngine) -> AsyncIterator[Running]:
    """A server on the fake engine, in touch with it."""
    async with start(fake) as running:
        assert await running.server.in_touch(10)
        yield running
