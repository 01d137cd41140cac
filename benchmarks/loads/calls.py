"""Calls a method of several servers as fast as it goes, in turns of a fraction of a second.

The turns are that short because other programs of the machine come and go: what they take, they
take of all servers alike.
"""

import asyncio
import functools
import itertools
import random
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import uvloop

from benchmarks.figures import percentile
from benchmarks.loads import answer, arguments, cpu_seconds
from jobengine.v1.job_engine_pb2 import ListJobsRequest, ReadStatusRequest

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


@dataclass(slots=True)
class Subject:
    """A server, how it is called, and what its turns came to."""

    pid: int
    calls: list[Call]
    requests: Iterator[bytes]
    per_second: list[float] = field(default_factory=list[float])
    p50_seconds: list[float] = field(default_factory=list[float])
    cpu_seconds: list[float] = field(default_factory=list[float])

    async def turn(self, seconds: float) -> None:
        """Call for so long from all callers."""
        took: list[float] = []
        began, cpu = time.perf_counter(), cpu_seconds(self.pid)
        await asyncio.gather(
            *(call_until(call, self.requests, began + seconds, took) for call in self.calls)
        )
        elapsed, busy = time.perf_counter() - began, cpu_seconds(self.pid) - cpu
        self.per_second.append(len(took) / elapsed)
        self.p50_seconds.append(percentile(took, 50))
        self.cpu_seconds.append(busy / len(took))


async def call_until(call: Call, requests: Iterator[bytes], end: float, took: list[float]) -> None:
    """Call again and again; note the seconds of each call."""
    began = time.perf_counter()
    while began < end:
        await call(next(requests), timeout=CALL_SECONDS)
        now = time.perf_counter()
        took.append(now - began)
        began = now


async def call_each(call: Call, requests: Iterator[bytes]) -> None:
    """Call once for each request."""
    for request in requests:
        await call(request, timeout=CALL_SECONDS)


async def main(
    *,
    servers: list[dict[str, Any]],
    method: str = "ReadStatus",
    turns: int = 0,
    seconds: float = 0.0,
    connections: int = 4,
    outstanding: int = 16,
) -> None:
    """Call each server in so many turns; with no turns, call it once for each of its names.

    Of each server: its address, its pid, how many `names` of jobs there are, and the bearer token
    that it asks for, if it does.
    """
    async with AsyncExitStack() as stack:
        subjects: list[Subject] = []
        for server in servers:
            calls: list[Call] = []
            for _ in range(connections):
                # Channels of one process share connections unless told otherwise.
                options = (("grpc.use_local_subchannel_pool", 1),)
                channel = grpc.aio.insecure_channel(server["address"], options=options)
                await stack.enter_async_context(channel)
                call: Any = channel.unary_unary(f"/jobengine.v1.JobEngine/{method}")
                if token := server.get("token"):
                    metadata = (("authorization", f"Bearer {token}"),)
                    call = functools.partial(call, metadata=metadata)
                calls += [call] * outstanding
            requests = requests_of(method, job_names(server["names"]))
            if not turns:
                once = itertools.islice(requests, server["names"])
                await asyncio.gather(*(call_each(call, once) for call in calls))
            subjects.append(Subject(server["pid"], calls, requests))
        for subject in subjects:
            await subject.turn(WARM_UP_SECONDS)
        for subject in subjects * turns:
            await subject.turn(seconds)
    answer(
        servers=[
            {
                "per_second": subject.per_second[1:],
                "p50_seconds": subject.p50_seconds[1:],
                "cpu_seconds": subject.cpu_seconds[1:],
            }
            for subject in subjects
        ]
    )


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
