"""Makes jobs that end one by one, each with a watcher of its own, and times how late that hears."""

import asyncio
import time
from typing import Any

import grpc
import uvloop

from benchmarks.loads import answer, arguments
from benchmarks.loads.calls import CALL_SECONDS
from benchmarks.loads.watchers import OPENING, WATCHERS_PER_CONNECTION, Watcher, end_time, watch
from jobengine.v1.job_engine_pb2 import CreateJobRequest, WatchStatusRequest
from tests.clients.specs import fake

CREATING = 32
"""Jobs that one process makes at once."""


async def create(channel: grpc.aio.Channel, name: str, ends: float) -> None:
    """Make a job of the fake engine that ends at that time, in seconds since the epoch."""
    method: Any = channel.unary_unary("/jobengine.v1.JobEngine/CreateJob")
    spec = fake(run_for=ends - time.time())
    await method(CreateJobRequest(name=name, spec=spec).SerializeToString(), timeout=CALL_SECONDS)


async def main(*, address: str, ends: list[float], prefix: str) -> None:
    """Make a job for each end and watch it, say so, then say how late each end was told."""
    creating = asyncio.Semaphore(CREATING)
    opening, opened = asyncio.Semaphore(OPENING), asyncio.Queue[int]()
    options = (("grpc.use_local_subchannel_pool", 1),)

    async def follow(channel: grpc.aio.Channel, number: int) -> Watcher:
        name = f"{prefix}-{number}"
        async with creating:
            await create(channel, name, ends[number])
        request = WatchStatusRequest(name=name).SerializeToString()
        return await watch(channel, request, opening, opened)

    channels: list[grpc.aio.Channel] = [
        grpc.aio.insecure_channel(address, options=options)
        for _ in range(max(len(ends) // WATCHERS_PER_CONNECTION, 1))
    ]
    async with asyncio.TaskGroup() as tasks:
        streams = [
            tasks.create_task(follow(channels[number % len(channels)], number))
            for number in range(len(ends))
        ]
        for _ in ends:
            await opened.get()
        assert time.time() < ends[0], "the first job ended before all were watched"
        answer(opened=len(ends))
    await asyncio.gather(*(channel.close() for channel in channels))
    watchers = [stream.result() for stream in streams]
    answer(seconds=[w.heard - end_time(w.news, bare=False) for w in watchers])


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
