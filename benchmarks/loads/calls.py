"""Calls one unary method as fast as it goes, from several connections."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import uvloop
from jobengine.v1.job_engine_pb2 import ListJobsRequest, ReadStatusRequest

from benchmarks.figures import percentile
from benchmarks.loads import answer, arguments, cpu_seconds

WARM_UP_SECONDS = 0.3
CALL_SECONDS = 30.0

Call = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


def requests_of(method: str, names: list[str]) -> Iterator[bytes]:
    """Serialised requests without end; names in random order, but the same in every run."""
    if method == "ListJobs":
        return itertools.repeat(ListJobsRequest().SerializeToString())
    requests = [ReadStatusRequest(name=name).SerializeToString() for name in names]
    random.Random(1).shuffle(requests)
    return itertools.cycle(requests)


def job_names(count: int) -> list[str]:
    """The names of jobs that the rows make by number."""
    return [f"job-{number:06d}" for number in range(count)]


async def call_until(call: Call, requests: Iterator[bytes], end: float, took: list[float]) -> None:
    """Call again and again; note the seconds of each call."""
    began = time.perf_counter()
    while began < end:
        await call(next(requests), timeout=CALL_SECONDS)
        now = time.perf_counter()
        took.append(now - began)
        began = now


async def call_each(call: Call, requests: Iterator[bytes], took: list[float]) -> None:
    """Call once for each request."""
    for request in requests:
        began = time.perf_counter()
        await call(request, timeout=CALL_SECONDS)
        took.append(time.perf_counter() - began)


async def main(
    *,
    address: str,
    pid: int,
    method: str = "ReadStatus",
    names: int = 1,
    seconds: float | None = None,
    connections: int = 4,
    outstanding: int = 16,
) -> None:
    """Call for so many seconds, or once for each name where none are given."""
    requests = requests_of(method, job_names(names))
    async with AsyncExitStack() as stack:
        calls: list[Call] = []
        for _ in range(connections):
            # Channels of one process share connections unless told otherwise.
            options = (("grpc.use_local_subchannel_pool", 1),)
            channel = grpc.aio.insecure_channel(address, options=options)
            await stack.enter_async_context(channel)
            call: Any = channel.unary_unary(f"/jobengine.v1.JobEngine/{method}")
            calls += [call] * outstanding
        took: list[float] = []
        if seconds is not None:
            end = time.perf_counter() + WARM_UP_SECONDS
            await asyncio.gather(*(call_until(call, requests, end, []) for call in calls))
            began, cpu = time.perf_counter(), cpu_seconds(pid)
            end = began + seconds
            await asyncio.gather(*(call_until(call, requests, end, took) for call in calls))
        else:
            began, cpu = time.perf_counter(), cpu_seconds(pid)
            once = itertools.islice(requests, names)
            await asyncio.gather(*(call_each(call, once, took) for call in calls))
        elapsed, busy = time.perf_counter() - began, cpu_seconds(pid) - cpu
    answer(
        calls=len(took),
        per_second=len(took) / elapsed,
        p50_seconds=percentile(took, 50),
        p99_seconds=percentile(took, 99),
        server_cpu_seconds=busy / len(took),
    )


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
