"""Watches jobs to their ends, one after another, and tells how late it heard of each."""

import time
from contextlib import aclosing
from typing import NamedTuple

import uvloop

from benchmarks.loads import answer, arguments
from jobengine import AsyncClient, JobSpec, JobState, is_terminal


class Heard(NamedTuple):
    """When the caller heard of a job's end, and when that was by the engine's clock."""

    time: float
    end_time: float


async def hear(client: AsyncClient, name: str) -> Heard | None:
    """Watch a job to its end; None where it had ended before the watch was there."""
    seen_alive = False
    async with aclosing(client.watch_status(name)) as events:
        async for event in events:
            heard = time.time()
            if is_terminal(event.status):
                assert event.status.state == JobState.JOB_STATE_SUCCEEDED, event
                ended = event.status.end_time.ToNanoseconds() / 1e9
                return Heard(heard, ended) if seen_alive else None
            seen_alive = True
    raise RuntimeError(f"the watch of {name} ended without an end")


async def main(*, address: str, count: int, job_seconds: float) -> None:
    """Run and watch so many jobs."""
    late: list[float] = []
    missed = 0
    async with AsyncClient(address) as client:
        while len(late) < count:
            job = await client.create_job(JobSpec(command=["sleep", str(job_seconds)]))
            heard = await hear(client, job.name)
            if heard is None:
                missed += 1
                assert missed <= count, "most jobs end before they are watched"
            else:
                late.append(heard.time - heard.end_time)
    answer(seconds=late, missed=missed)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
