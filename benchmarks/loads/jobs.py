"""Runs many short jobs through the Python client, as a caller with much to do would."""

import asyncio
import time
import uuid
from contextlib import aclosing

import uvloop

from benchmarks.loads import answer, arguments, cpu_seconds
from jobengine import AsyncClient, JobSpec, JobState, WatchEvent, is_terminal

DEADLINE_SECONDS = 300.0


async def follow(client: AsyncClient, run: str, left: int, places: asyncio.Semaphore) -> None:
    """See all jobs of the run succeed, over one WatchJobs; each end frees a place."""
    async with aclosing(client.watch_jobs(f"run={run}")) as events:
        async for event in events:
            if event.event != WatchEvent.WATCH_EVENT_STATUS or not is_terminal(event.job.status):
                continue
            if event.job.status.state != JobState.JOB_STATE_SUCCEEDED:
                raise RuntimeError(f"a job didn't succeed: {event.job}")
            places.release()
            left -= 1
            if not left:
                return


async def main(*, address: str, pid: int, count: int, outstanding: int) -> None:
    """Create the jobs, never more of them unfinished than `outstanding`."""
    run = uuid.uuid4().hex
    places = asyncio.Semaphore(outstanding)
    async with AsyncClient(address) as client, asyncio.timeout(DEADLINE_SECONDS):
        await client.read_engine()
        began, cpu = time.perf_counter(), cpu_seconds(pid)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(client, run, count, places))
            for _ in range(count):
                await places.acquire()
                spec = JobSpec(command=["true"], labels={"run": run})
                tasks.create_task(client.create_job(spec))
        elapsed, busy = time.perf_counter() - began, cpu_seconds(pid) - cpu
    answer(per_second=count / elapsed, cpu_seconds=busy / count)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
