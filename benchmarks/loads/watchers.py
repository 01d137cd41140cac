"""Holds many watches of one job open, and times when each hears of its end."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import uvloop

from benchmarks.loads import answer, arguments
from benchmarks.loads.echo_server import TIME
from jobengine.v1.job_engine_pb2 import WatchStatusRequest, WatchStatusResponse

STREAM_SECONDS = 300.0
WATCHERS_PER_CONNECTION = 100
# Opened at once by one process; its own queue, not the server, would be measured otherwise.
OPENING = 200


Stream = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]


@dataclass(slots=True)
class Watcher:
    """One stream: when its last message came, and that message."""

    messages: int = 0
    heard: float = 0.0
    news: bytes = b""


async def watch(
    channel: grpc.aio.Channel,
    request: bytes,
    opening: asyncio.Semaphore,
    opened: asyncio.Queue[int],
) -> Watcher:
    """Read a stream to its end."""
    watcher = Watcher()
    await opening.acquire()
    method: Stream = channel.unary_stream("/jobengine.v1.JobEngine/WatchStatus")
    async for message in method(request, timeout=STREAM_SECONDS):
        watcher.heard, watcher.news = time.time(), message
        watcher.messages += 1
        if watcher.messages == 1:
            opening.release()
            opened.put_nowait(1)
    return watcher


def end_time(news: bytes, *, bare: bool) -> float:
    """When the change that the message tells of took place, by the clock of whoever made it."""
    if bare:
        (seconds,) = TIME.unpack_from(news)
        return float(seconds)
    message = WatchStatusResponse.FromString(news)
    return message.status.end_time.ToNanoseconds() / 1e9


async def main(*, address: str, count: int, name: str, bare: bool) -> None:
    """Open the watches, say so, then say how late each heard of the end."""
    request = WatchStatusRequest(name=name).SerializeToString()
    opening, opened = asyncio.Semaphore(OPENING), asyncio.Queue[int]()
    async with AsyncExitStack() as stack:
        channels: list[grpc.aio.Channel] = []
        for _ in range(max(count // WATCHERS_PER_CONNECTION, 1)):
            options = (("grpc.use_local_subchannel_pool", 1),)
            channel = grpc.aio.insecure_channel(address, options=options)
            channels.append(await stack.enter_async_context(channel))
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            streams = [
                tasks.create_task(watch(channels[i % len(channels)], request, opening, opened))
                for i in range(count)
            ]
            for _ in range(count):
                await opened.get()
            answer(opened=count, seconds=time.perf_counter() - began)
    watchers = [stream.result() for stream in streams]
    short = sum(watcher.messages < 2 for watcher in watchers)
    assert not short, f"{short} of {count} watchers were never told of the change"
    answer(
        seconds=[w.heard - end_time(w.news, bare=bare) for w in watchers],
        last=max(w.heard for w in watchers),
    )


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
