"""Makes jobs come and go, and watchers with them, until told to stop; counts what it has done."""

import asyncio
import contextlib
import random
from collections import Counter
from contextlib import aclosing
from datetime import timedelta

import uvloop

from benchmarks.loads import answer, arguments
from jobengine import AsyncClient, Job, errors
from tests.clients.specs import fake

REPORT_SECONDS = 10.0
TTL = timedelta(seconds=10)


class Churn:
    """One client, and what happens over it."""

    def __init__(self, client: AsyncClient, seed: int) -> None:
        self._client = client
        self._roll = random.Random(seed)
        self.counts = Counter[str]()

    async def make_jobs(self, per_second: float) -> None:
        """Make so many jobs, each of which lives for some seconds."""
        async with asyncio.TaskGroup() as lives:
            while True:
                await asyncio.sleep(self._roll.expovariate(per_second))
                lives.create_task(self._live())

    async def _live(self) -> None:
        spec = fake(run_for=self._roll.uniform(0, 5), exit_code=self._roll.choice((0, 0, 1)))
        spec.ttl_after_finished.FromTimedelta(TTL)
        job = await self._client.create_job(spec)
        self.counts["jobs"] += 1
        act = self._roll.choice(("watch", "watch", "leave", "cancel", "delete"))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(job, stay=act != "leave"))
            await asyncio.sleep(self._roll.uniform(0, 3))
            if act == "cancel":
                await self._client.cancel_job(job.name, grace_seconds=0)
            elif act == "delete":
                await self._client.delete_job(job.name, allow_missing=True)

    async def _watch(self, job: Job, *, stay: bool) -> None:
        with contextlib.suppress(errors.JobNotFound):
            async with aclosing(self._client.watch_status(job.name)) as events:
                async for _ in events:
                    self.counts["messages"] += 1
                    if not stay:
                        return

    async def watch_all(self) -> None:
        """Watch all jobs, for some seconds each time."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with (
                    asyncio.timeout(self._roll.uniform(1, 60)),
                    aclosing(self._client.watch_jobs()) as events,
                ):
                    async for _ in events:
                        self.counts["messages"] += 1


async def main(*, address: str, per_second: float, watchers: int, seed: int) -> None:
    """Go on until killed."""
    async with AsyncClient(address) as client, asyncio.TaskGroup() as group:
        churn = Churn(client, seed)
        group.create_task(churn.make_jobs(per_second))
        for _ in range(watchers):
            group.create_task(churn.watch_all())
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            answer(**churn.counts)


if __name__ == "__main__":
    uvloop.run(main(**arguments()))
