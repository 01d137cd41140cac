"""Two servers with the same jobs: watchers go from one to the other, and both say the same."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast

import grpc

from jobengine import AsyncClient, Job, JobState, WatchEvent, WatchStatusResponse
from jobengine._status import from_rpc_error
from jobengine.v1 import job_engine_pb2 as api
from jobengine.v1.job_engine_pb2_grpc import JobEngineStub
from tests.faults.server import FaultyServer
from tests.faults.truth import Task, release

if TYPE_CHECKING:
    from jobengine.v1.job_engine_pb2_grpc import JobEngineAsyncStub

WATCHERS_OF_EACH = 10
DELETED = WatchEvent.WATCH_EVENT_DELETED
HEARTBEAT = WatchEvent.WATCH_EVENT_HEARTBEAT
SYNCED = WatchEvent.WATCH_EVENT_SYNCED


@dataclass(slots=True)
class Replica:
    """A server, and the ways to it."""

    server: FaultyServer
    client: AsyncClient
    stub: "JobEngineAsyncStub"

    async def jobs(self) -> Mapping[str, Job]:
        return {job.uid: job async for job in self.client.list_jobs()}


Pair = tuple[Replica, Replica]


@asynccontextmanager
async def two_replicas(make: Callable[[], FaultyServer]) -> AsyncGenerator[Pair]:
    """Two of such servers, each on an address of its own."""
    async with AsyncExitStack() as stack:
        found: list[Replica] = []
        for _ in range(2):
            server = make()
            stack.push_async_callback(asyncio.to_thread, server.close)
            await asyncio.to_thread(server.start)
            client = await stack.enter_async_context(AsyncClient(server.address))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            stub = cast("JobEngineAsyncStub", JobEngineStub(channel))
            found.append(Replica(server, client, stub))
        first, second = found
        yield first, second


@dataclass(slots=True)
class Watcher:
    """Follows a job over two servers by its cursor, as docs/watching.md says, and keeps all."""

    name: str
    running: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[WatchStatusResponse] = field(default_factory=list[WatchStatusResponse])
    last: WatchStatusResponse | None = None
    broken: grpc.aio.AioRpcError | None = None

    async def follow(self, first: Replica, second: Replica) -> None:
        """Listen to the first until that breaks, then to the second until the end."""
        try:
            await self._listen(first, "")
        except grpc.aio.AioRpcError as error:
            self.broken = error
        assert self.last is not None
        self.moved.set()
        await self._listen(second, self.last.cursor)

    async def _listen(self, replica: Replica, cursor: str) -> None:
        request = api.WatchStatusRequest(name=self.name, cursor=cursor)
        async for message in replica.stub.WatchStatus(request):
            self.last = message
            if message.event != HEARTBEAT:
                self.told.append(message)
            if message.status.state == JobState.JOB_STATE_RUNNING:
                self.running.set()


async def hand_over(
    replicas: Pair, tasks: Sequence[Task], fault: Literal["terminate", "kill"]
) -> None:
    """End one replica under its watchers: at the other one they go on as if nothing had been.

    The tasks are those that wait to be released.
    """
    first, second = replicas
    for task in tasks:
        await first.client.create_job(task.spec, name=task.name)
    watchers = [Watcher(task.name) for task in tasks for _ in range(WATCHERS_OF_EACH)]
    async with asyncio.TaskGroup() as group:
        for watcher in watchers:
            group.create_task(watcher.follow(first, second))
        await asyncio.gather(*(watcher.running.wait() for watcher in watchers))
        await asyncio.to_thread(getattr(first.server, fault))
        await asyncio.gather(*(watcher.moved.wait() for watcher in watchers))
        if fault == "terminate":
            _check_farewells(watchers)
        for task in tasks:
            await asyncio.to_thread(release, task)
    ended = {job.name: job for job in (await second.jobs()).values()}
    for watcher in watchers:
        _check_told(watcher, ended[watcher.name])
    await asyncio.to_thread(first.server.start)
    assert await first.jobs() == await second.jobs()


def _check_told(watcher: Watcher, end: Job) -> None:
    """Each status once and in order, up to the end that everybody is told."""
    cursors = [message.cursor for message in watcher.told]
    assert len(set(cursors)) == len(cursors), watcher.told
    states = [message.status.state for message in watcher.told]
    assert states == sorted(states), watcher.told
    assert states.count(JobState.JOB_STATE_SUCCEEDED) == 1, watcher.told
    assert watcher.told[-1].status == end.status


def _check_farewells(watchers: list[Watcher]) -> None:
    """Each has got a cursor last, and was asked to come back elsewhere, not all at once."""
    delays: set[float] = set()
    for watcher in watchers:
        assert watcher.last is not None
        assert watcher.last.event == HEARTBEAT
        assert watcher.last.cursor == watcher.told[-1].cursor
        assert watcher.broken is not None
        assert watcher.broken.code() is grpc.StatusCode.UNAVAILABLE
        delays.add(_delay_of(watcher.broken))
    assert min(delays) >= 0.5
    assert max(delays) <= 1.5
    assert len(delays) > len(watchers) / 2


def _delay_of(error: grpc.aio.AioRpcError) -> float:
    """The delay that a server asks for, in seconds."""
    delay = from_rpc_error(error).retry_delay_seconds
    assert delay is not None, f"no RetryInfo: {error}"
    return delay


async def share(replicas: Pair, task: Task) -> None:
    """Make a job by both replicas, stop it by one, delete it by the other: each tells all of it.

    The task is one that runs until it is stopped.
    """
    first, second = replicas
    made = [
        await replica.client.create_job(task.spec, name=task.name, request_id=task.request_id)
        for replica in replicas
    ]
    (uid,) = {job.uid for job in made}
    await asyncio.gather(*(until_it_runs(replica, task.name) for replica in replicas))
    await second.client.cancel_job(task.name, grace_seconds=0)
    ends = [await replica.client.wait(task.name) for replica in replicas]
    assert ends[0] == ends[1]
    assert ends[0].state == JobState.JOB_STATE_CANCELLED
    async with aclosing(second.client.watch_jobs()) as events:
        async for event in events:
            if event.event == SYNCED:
                await first.client.delete_job(task.name, uid=uid)
            if event.event == DELETED:
                assert (event.job.uid, event.job.status) == (uid, ends[0])
                break
    assert len(task.runs()) == 1


async def until_it_runs(replica: Replica, name: str) -> None:
    """Follow a job by one replica until its command runs."""
    async with aclosing(replica.client.watch_status(name)) as events:
        async for event in events:
            if event.status.state == JobState.JOB_STATE_RUNNING:
                return
