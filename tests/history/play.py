"""One random run: jobs come and go, watchers follow them, and everything breaks."""

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from jobengine import AsyncClient, Job, JobSpec, RetryPolicy, errors
from tests.history.breakage import Breakage
from tests.history.check import View, view_of, view_of_list
from tests.history.record import SYNCED, History, Life, Notebook, Watch
from tests.history.stage import Script, Stage
from tests.history.watchers import HEARTBEAT_SECONDS, SMALL_WINDOW, Pace, RawWatcher, by_client

PATIENT = RetryPolicy(
    retry_for_seconds=60, resume_for_seconds=60, heartbeat_seconds=HEARTBEAT_SECONDS
)
SELECTORS = ("", "group in (a, end)", "group!=a")
_LAST = "the-last-one"
_PADDING = {f"padding-{number}": "x" * 60 for number in range(12)}
"""Makes messages large, so that readers that stop are soon waited for."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much happens in a run."""

    names: int
    lives: int
    """Jobs one after another under each name, at most."""
    watches_of_all: int
    watches_of_each: int
    restarts: int
    """How often the server is killed and how often it is told to stop, at most."""
    proxies: int = 4
    settle_seconds: float = 40


@dataclass(frozen=True, slots=True)
class _Made:
    """A job that was made, before all is over."""

    name: str
    script: Script
    act: str
    start: int
    """Of which start of the server it knew."""


class Play:
    """A run out of a seed. `async with` cleans up whatever comes."""

    def __init__(self, stage: Stage, seed: int, size: Size) -> None:
        self._stage = stage
        self._roll = random.Random(seed)
        self._size = size
        self._notebook = Notebook()
        self._made: dict[str, _Made] = {}
        self._deleted: set[str] = set()
        self._watchers: list[tuple[Watch, asyncio.Task[None]]] = []
        self._stack = contextlib.AsyncExitStack()
        self._breakage = Breakage(stage.server, self._roll, size.restarts)
        self._addresses: list[str] = []

    async def __aenter__(self) -> Self:
        self._stack.callback(self._stage.clear)
        self._stack.push_async_callback(asyncio.to_thread, self._stage.server.close)
        try:
            await asyncio.to_thread(self._stage.server.start)
            self._stack.callback(self._breakage.close)
            self._addresses = self._breakage.open(self._size.proxies)
            self._client = self._new_client(self._stage.server.address)
            self._shared = [self._new_client(address) for address in self._addresses]
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def __str__(self) -> str:
        told = sum(len(watch.told) for watch in self._notebook.watches)
        calls = max((e.call for w in self._notebook.watches for e in w.told), default=0)
        return (
            f"{len(self._notebook.watches)} watchers were told {told} messages about "
            f"{len(self._made)} jobs, one of them over {calls} calls; {dict(self._breakage.faults)}"
        )

    async def run(self) -> History:
        """Play it to its end; return what was seen."""
        for number in range(self._size.watches_of_all):
            self._watch(self._roll, selector=SELECTORS[number % len(SELECTORS)])
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            striking = group.create_task(self._breakage.strike(enough))
            lives = [group.create_task(self._lead(n)) for n in range(self._size.names)]
            await asyncio.wait(lives)
            enough.set()
            await striking
        await self._make_the_last()
        listed = {selector: await self._list(selector) for selector in SELECTORS}
        await self._settle(listed)
        return History(self._notebook.watches, self._lives(listed[""]), listed)

    # -- jobs ---------------------------------------------------------------------------------

    async def _lead(self, number: int) -> None:
        """Make some jobs of one name, each once the one before is gone."""
        name, roll = f"job-{number}", random.Random(self._roll.random())
        for life in range(roll.randint(1, self._size.lives)):
            if life:
                await self._delete(name)
            await asyncio.sleep(roll.uniform(0, 0.5))
            act = roll.choice(("", "", "", "cancel", "delete"))
            stopped = bool(act) and roll.random() < 0.7
            script = self._stage.script(roll, f"{name}.{life}", stopped=stopped)
            await self._create(name, script, act, group=roll.choice("ab"))
            for _ in range(self._size.watches_of_each):
                self._watch(roll, name, late=roll.choice((0, 0, 0.3, roll.uniform(0, 2))))
            if act:
                await asyncio.sleep(roll.uniform(0, 0.8))
                await self._act(name, act)
            with contextlib.suppress(errors.JobNotFound):
                await self._client.wait(name)

    async def _create(self, name: str, script: Script, act: str, group: str) -> Job:
        spec = JobSpec()
        spec.CopyFrom(script.spec)
        spec.labels.update({"group": group, **_PADDING})
        made = _Made(name, script, act, self._breakage.starts)
        job = await self._client.create_job(spec, name=name)
        self._made[job.uid] = made
        return job

    async def _act(self, name: str, act: str) -> None:
        if act == "delete":
            await self._delete(name)
            return
        with contextlib.suppress(errors.JobNotFound):
            await self._client.cancel_job(name, grace_seconds=0)

    async def _delete(self, name: str) -> None:
        self._deleted.update(uid for uid, made in self._made.items() if made.name == name)
        await self._client.delete_job(name, allow_missing=True, wait=True, grace_seconds=0)

    def _lives(self, listed: dict[str, Job]) -> dict[str, Life]:
        """What became of each job, those included whose creation was never answered."""
        lives = {uid: self._life(uid, made) for uid, made in self._made.items()}
        if not self._stage.forgets:
            return lives
        told = {(e.uid, e.name) for w in self._notebook.watches for e in w.told if e.uid}
        for uid, name in told:
            if uid not in lives and uid not in {job.uid for job in listed.values()}:
                lives[uid] = self._forgotten(uid, name)
        return lives

    def _life(self, uid: str, made: _Made) -> Life:
        forgotten = self._stage.forgets and made.start < self._breakage.starts
        return Life(
            made.name,
            uid,
            made.script.ends(),
            may_be_cancelled=bool(made.act) or uid in self._deleted,
            may_go=forgotten or uid in self._deleted,
        )

    def _forgotten(self, uid: str, name: str) -> Life:
        """A job that its server made, and then took with it before it could say so."""
        ends = (made.script.ends() for made in self._made.values() if made.name == name)
        return Life(name, uid, frozenset().union(*ends), may_be_cancelled=True, may_go=True)

    # -- watchers -----------------------------------------------------------------------------

    def _watch(
        self, roll: random.Random, name: str = "", selector: str = "", late: float = 0
    ) -> None:
        watch = self._notebook.open(name, selector, raw=roll.random() < 0.5)
        follow = self._follow(watch, Pace(roll), roll.randrange(len(self._addresses)), late)
        task = asyncio.create_task(follow)
        self._watchers.append((watch, task))
        self._stack.push_async_callback(_cancel, task)

    async def _follow(self, watch: Watch, pace: Pace, proxy: int, late: float) -> None:
        await asyncio.sleep(late)
        if watch.raw:
            await RawWatcher(self._addresses[proxy], self._notebook, watch, pace).follow()
        else:
            await by_client(self._shared[proxy], self._notebook, watch, pace)

    def _new_client(self, address: str) -> AsyncClient:
        client = AsyncClient(address, timeout_seconds=60, retry=PATIENT, options=SMALL_WINDOW)
        self._stack.push_async_callback(client.close)
        return client

    # -- the end ------------------------------------------------------------------------------

    async def _make_the_last(self) -> None:
        """Make a job after all others, so that all watchers of many have something to hear yet."""
        script = self._stage.script(random.Random(0), _LAST, stopped=False)
        await self._create(_LAST, script, "", group="end")
        await self._client.wait(_LAST)

    async def _settle(self, listed: Mapping[str, Mapping[str, Job]]) -> None:
        """Let watchers of one job come to its end, and the others know what ListJobs says.

        Those that don't in time are left to the checks.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._size.settle_seconds):
                for watch, task in self._watchers:
                    if watch.name:
                        await asyncio.wait([task])
                    else:
                        await _until_it_knows(watch, task, view_of_list(listed[watch.selector]))
        for _, task in self._watchers:
            await _cancel(task)

    async def _list(self, selector: str) -> dict[str, Job]:
        return {job.name: job async for job in self._client.list_jobs(selector)}


async def _until_it_knows(watch: Watch, task: asyncio.Task[None], listed: View) -> None:
    """Until it has been told all of that, and that this is all."""
    while not task.done():
        synced = any(each.event == SYNCED for each in watch.told)
        if synced and view_of(watch) == listed:
            return
        await asyncio.sleep(0.1)


async def _cancel(task: asyncio.Task[None]) -> None:
    """End a task. What it failed of counts more than what comes later."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error
