"""Reads WatchJobs up to SYNCED, tells how that went, and holds the stream open until killed."""

import time

import grpc
import uvloop

from benchmarks.loads import answer, arguments
from jobengine.v1.job_engine_pb2 import WATCH_EVENT_SYNCED, WatchJobsRequest, WatchJobsResponse

STREAM_SECONDS = 600.0

Stream = grpc.aio.UnaryStreamMultiCallable[bytes, bytes]


async def main(*, address: str) -> None:
    """Count the messages before SYNCED, and take the seconds until it comes."""
    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        method: Stream = channel.unary_stream("/jobengine.v1.JobEngine/WatchJobs")
        messages = 0
        began = time.perf_counter()
        async for message in method(WatchJobsRequest().SerializeToString(), timeout=STREAM_SECONDS):
            if WatchJobsResponse.FromString(message).event == WATCH_EVENT_SYNCED:
                answer(messages=messages, seconds=time.perf_counter() - began)
            messages += 1


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
