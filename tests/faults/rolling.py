"""Servers are restarted one after the other under load: no call fails, and no news is lost."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from jobengine import AsyncClient, JobState, WatchEvent
from tests.faults.replicas import Pair, until_it_runs
from tests.faults.truth import Task, release

CALLERS = 4
WATCHERS = 20

PAUSE_SECONDS = 0.02
"""Between a caller's calls: the servers and the jobs need the processors, too."""

ROUND_ROBIN = (("grpc.lb_policy_name", "round_robin"),)


@asynccontextmanager
async def round_robin(replicas: Pair) -> AsyncGenerator[AsyncClient]:
    """A client whose calls go to both in turn."""
    target = ",".join(replica.server.address for replica in replicas)
    async with AsyncClient(f"ipv4:{target}", options=ROUND_ROBIN) as client:
        yield client


@dataclass(slots=True)
class Load:
    """Callers that never stop for long."""

    client: AsyncClient
    names: list[str]
    over: asyncio.Event = field(default_factory=asyncio.Event)
    calls: int = 0

    async def call(self) -> None:
        """Read, list, and make jobs that are there already, again and again."""
        while not self.over.is_set():
            for name in self.names:
                await self.client.read_status(name)
                self.calls += 1
                await asyncio.sleep(PAUSE_SECONDS)
            async for _ in self.client.list_jobs():
                pass
            self.calls += 1


async def roll(replicas: Pair, tasks: Sequence[Task], restarts: int) -> int:
    """Restart the replicas in turn, so many times, under callers and watchers; the calls made.

    The tasks are those that wait to be released; one ends with each of the last restarts.
    """
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(round_robin(replicas))
        for task in tasks:
            await client.create_job(task.spec, name=task.name)
        load = Load(client, [task.name for task in tasks])
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(load.call())
            watches = [
                group.create_task(_follow(client, task.name))
                for task in tasks
                for _ in range(WATCHERS // len(tasks))
            ]
            await asyncio.gather(*(until_it_runs(replicas[0], task.name) for task in tasks))
            every = group.create_task(_follow_all(client, {task.name for task in tasks}))
            for number in range(restarts):
                server = replicas[number % 2].server
                assert await asyncio.to_thread(server.terminate) == 0
                if restarts - number <= len(tasks):
                    await asyncio.to_thread(release, tasks[restarts - number - 1])
                await asyncio.to_thread(server.start)
            await asyncio.gather(*watches, every)
            load.over.set()
    return load.calls


async def _follow(client: AsyncClient, name: str) -> None:
    """Each status once, in order, up to the end."""
    async with aclosing(client.watch_status(name)) as events:
        told = [event.status async for event in events]
    states = [status.state for status in told]
    assert states == sorted(states), told
    assert len({status.SerializeToString(deterministic=True) for status in told}) == len(told)
    assert states.count(JobState.JOB_STATE_SUCCEEDED) == 1


async def _follow_all(client: AsyncClient, names: set[str]) -> None:
    """The end of each job, once, over one watch of all."""
    ended: list[str] = []
    async with aclosing(client.watch_jobs()) as events:
        async for event in events:
            if event.job.status.state == JobState.JOB_STATE_SUCCEEDED:
                ended.append(event.job.name)
            assert event.event != WatchEvent.WATCH_EVENT_DELETED
            if set(ended) == names:
                break
    assert sorted(ended) == sorted(names)
