"""Holds many watches of one job open over a restart of the server, as docs/watching.md says."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc
import uvloop

from benchmarks.loads import answer, arguments
from benchmarks.loads.watchers import OPENING, STREAM_SECONDS, WATCHERS_PER_CONNECTION, Stream
from engines.backoff import Backoff
from jobengine._status import from_rpc_error
from jobengine.v1.job_engine_pb2 import WatchStatusRequest, WatchStatusResponse

PAUSE = Backoff(first=0.1, longest=10.0)
AGAIN = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


@dataclass(slots=True)
class Watches:
    """What all of them have seen."""

    name: str
    opening: asyncio.Semaphore
    opened: asyncio.Queue[int]
    broken: Counter[str] = field(default_factory=Counter[str])

    async def follow(self, channel: grpc.aio.Channel) -> float:
        """Follow the job to its end, over as many calls as that takes; return when it was told."""
        method: Stream = channel.unary_stream("/jobengine.v1.JobEngine/WatchStatus")
        cursor, failures, open_before = "", 0, False
        await self.opening.acquire()
        while True:
            request = WatchStatusRequest(name=self.name, cursor=cursor).SerializeToString()
            try:
                async for message in method(request, timeout=STREAM_SECONDS):
                    heard, failures = time.time(), 0
                    cursor = WatchStatusResponse.FromString(message).cursor
                    if not open_before:
                        open_before = True
                        self.opening.release()
                        self.opened.put_nowait(1)
            except grpc.aio.AioRpcError as error:
                self.broken[error.code().name] += 1
                if error.code() not in AGAIN:
                    raise
                failures += 1
                await asyncio.sleep(pause(error, failures))
            else:
                return heard


def pause(error: grpc.aio.AioRpcError, failures: int) -> float:
    """How long to wait before the next call, in seconds: as the server asks, or ever longer."""
    asked = from_rpc_error(error).retry_delay_seconds
    return PAUSE.after(failures) if asked is None else asked


async def main(*, address: str, count: int, name: str) -> None:
    """Open the watches, say so, then say when the last one was told of the end, and what broke."""
    watches = Watches(name, asyncio.Semaphore(OPENING), asyncio.Queue())
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=OPTIONS))
            for _ in range(max(count // WATCHERS_PER_CONNECTION, 1))
        ]
        async with asyncio.TaskGroup() as tasks:
            streams = [
                tasks.create_task(watches.follow(channels[number % len(channels)]))
                for number in range(count)
            ]
            for _ in range(count):
                await watches.opened.get()
            answer(opened=count)
    answer(last=max(stream.result() for stream in streams), broken=watches.broken)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
