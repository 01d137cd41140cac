"""Watches jobs to their ends, one after another, and tells how late it heard of each."""

import time
from contextlib import aclosing

import uvloop

from benchmarks.loads import answer, arguments
from jobengine import AsyncClient, JobSpec, JobState, is_terminal


async def lateness(client: AsyncClient, name: str) -> float | None:
    """Seconds from the job's end by the engine's clock to the caller's hearing of it.

    None where the job had ended before the watch was there.
    """
    seen_alive = False
    async with aclosing(client.watch_status(name)) as events:
        async for event in events:
            heard = time.time()
            if is_terminal(event.status):
                assert event.status.state == JobState.JOB_STATE_SUCCEEDED, event
                ended = event.status.end_time.ToNanoseconds() / 1e9
                return heard - ended if seen_alive else None
            seen_alive = True
    raise RuntimeError(f"the watch of {name} ended without an end")


async def main(*, address: str, count: int, job_seconds: float) -> None:
    """Run and watch so many jobs."""
    late: list[float] = []
    missed = 0
    async with AsyncClient(address) as client:
        while len(late) < count:
            job = await client.create_job(JobSpec(command=["sleep", str(job_seconds)]))
            seconds = await lateness(client, job.name)
            if seconds is None:
                missed += 1
                assert missed <= count, "most jobs end before they are watched"
            else:
                late.append(seconds)
    answer(seconds=late, missed=missed)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
