"""Clients let the server end a watch: one that they cancel as it ends costs the server memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from jobengine import AsyncClient, JobState
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1 import job_pb2
from jobengine.v1.job_engine_pb2_grpc import JobEngineServicer, add_JobEngineServicer_to_server

TERMINAL = api.WatchStatusResponse(
    event=api.WATCH_EVENT_STATUS,
    status=job_pb2.JobStatus(state=job_pb2.JOB_STATE_SUCCEEDED),
    uid="1",
    cursor="c",
)


class Slow(JobEngineServicer):
    """Takes its time to end a stream whose last message it has sent; and may break it off then."""

    def __init__(self) -> None:
        self.breaks = False
        self.calls = 0
        self.ended = asyncio.Event()

    async def WatchStatus(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        del request
        self.calls += 1
        yield TERMINAL
        await asyncio.sleep(0.1)
        if self.breaks:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        self.ended.set()


@pytest.fixture
async def slow() -> AsyncIterator[tuple[Slow, str]]:
    servicer, server = Slow(), grpc.aio.server()  # type: ignore[abstract]
    add_JobEngineServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(None)


async def test_a_watch_is_read_to_its_end(slow: tuple[Slow, str]) -> None:
    servicer, address = slow
    async with AsyncClient(address) as client:
        status = await client.wait("a")
    assert status.state == JobState.JOB_STATE_SUCCEEDED
    assert servicer.ended.is_set(), "it was cancelled"


async def test_what_breaks_after_the_last_message_breaks_nothing(slow: tuple[Slow, str]) -> None:
    servicer, address = slow
    servicer.breaks = True
    async with AsyncClient(address) as client:
        told = [event async for event in client.watch_status("a")]
    assert told == [TERMINAL]
    assert servicer.calls == 1, "it called again"
