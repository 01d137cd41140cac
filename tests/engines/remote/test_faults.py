"""A server before another one, both real processes, killed and frozen: nothing is lost or doubled.

The random rounds print their seeds; with JOBENGINE_TEST_SEED the same test plays the same again.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest

from jobengine import AsyncClient, JobReason, JobState, JobStatus, is_terminal
from tests.engines.remote.chain import Front
from tests.faults import processes
from tests.faults.random_rounds import roll_seed
from tests.faults.rounds import KillRound
from tests.faults.server import FaultyServer
from tests.faults.story import Story
from tests.faults.truth import Task, release, waiting

pytestmark = pytest.mark.engine("remote")

ROUNDS = 6
DEADLINE_SECONDS = 30.0

T = TypeVar("T")


class TwoServers(Story):
    """A story told by the watchers of a front, of jobs that run behind another server."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.far = FaultyServer(directory / "state", *options)
        super().__init__(directory)
        self._stack.callback(self.far.close)

    def make_server(self, *options: str) -> FaultyServer:
        return Front(self.far)

    def clear(self) -> None:
        processes.kill_all(self.directory, self.far.state_dir)

    async def begin(self, fault: str = "") -> None:
        await asyncio.to_thread(self.far.start)
        await super().begin(fault)

    def check_nothing_runs(self) -> None:
        assert not processes.of_jobs(self.directory)
        for server in (self.server, self.far):
            assert server.terminate() == 0
        processes.until(
            "no launcher and no shim is left",
            lambda: not processes.of_engine(self.far.state_dir),
        )


async def story_of(directory: Path, tell: Callable[[TwoServers], Awaitable[T]]) -> T:
    """Have two servers, and something done with them; then hold what was told against the truth."""
    async with TwoServers(directory) as story:
        await story.begin()
        result = await tell(story)
        await story.settle()
        await story.check()
        return result


async def running(story: TwoServers, code: int, *, name: str = "job") -> Task:
    """A job that runs until it is released, with a watcher that knows so."""
    task = waiting(name, story.directory, code)
    story.submit(task)
    await asyncio.to_thread(task.wait_for_start)
    await until(lambda: "RUNNING" in task.said, "the watcher knows that it runs")
    return task


async def until(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(processes.until, what, condition, seconds=DEADLINE_SECONDS)


async def ends(task: Task) -> None:
    """Let the job end, and wait until it has."""
    await asyncio.to_thread(release, task)
    await asyncio.to_thread(task.wait_for, "exit")


async def test_the_other_server_is_killed_while_a_job_ends(tmp_path: Path) -> None:
    async def tell(story: TwoServers) -> None:
        task = await running(story, 3)
        await asyncio.to_thread(story.far.kill)
        await ends(task)
        assert await story.until_away()
        await asyncio.to_thread(story.far.start)
        status = await story.client.wait(task.name)
        assert status.reason == JobReason.JOB_REASON_NON_ZERO_EXIT
        assert task.said[0] in {"PENDING", "RUNNING"}

    await story_of(tmp_path, tell)


async def test_both_are_killed_while_a_job_ends(tmp_path: Path) -> None:
    async def tell(story: TwoServers) -> None:
        task = await running(story, 3)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(story.far.kill)
        await ends(task)
        await asyncio.to_thread(story.far.start)
        await asyncio.to_thread(story.server.start)

    await story_of(tmp_path, tell)


async def test_the_front_is_killed_and_its_request_repeated(tmp_path: Path) -> None:
    async def tell(story: TwoServers) -> None:
        task = await running(story, 0)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(story.server.start)
        again = await story.client.create_job(task.spec, name=task.name, request_id=task.request_id)
        assert again.uid == task.uid
        assert again.status.state == JobState.JOB_STATE_RUNNING
        await ends(task)
        assert len(task.runs()) == 1

    await story_of(tmp_path, tell)


async def test_a_front_that_starts_before_the_other_server(tmp_path: Path) -> None:
    async def tell(story: TwoServers) -> None:
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(story.far.kill)
        await asyncio.to_thread(story.server.start)
        assert await story.until_away()
        await asyncio.to_thread(story.far.start)
        await story.until_there()
        await ends(await running(story, 0))

    await story_of(tmp_path, tell)


async def test_the_other_server_is_frozen_for_longer_than_it_may_be_silent(
    tmp_path: Path,
) -> None:
    async def read(story: TwoServers, name: str) -> JobStatus:
        async with asyncio.timeout(10), AsyncClient(story.server.address) as client:
            return await client.read_status(name)

    async def tell(story: TwoServers) -> None:
        ended, stays = [await running(story, 3, name=name) for name in ("ended", "stays")]
        story.far.send(signal.SIGSTOP)
        try:
            began = time.monotonic()
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert await story.until_away()
            assert time.monotonic() - began < 25
            # What is known is told, as old as it is.
            assert (await read(story, "ended")).state == JobState.JOB_STATE_RUNNING
            await ends(ended)
        finally:
            story.far.send(signal.SIGCONT)
        await story.until_there()
        assert (await story.client.wait("ended")).exit_code == 3
        assert not is_terminal(await story.client.read_status("stays"))
        await ends(stays)

    await story_of(tmp_path, tell)


async def test_output_is_followed_over_deaths_of_either_server(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(60)]

    async def tell(story: TwoServers) -> bytes:
        body = "for n in $(seq 0 59); do echo line $n; sleep 0.05; done; leave 0"
        task = Task("talks", story.directory, body)
        story.submit(task)
        await asyncio.to_thread(task.wait_for_start)
        data = b""
        victims = [story.far, story.server]
        async with aclosing(story.client.logs("talks", follow=True)) as chunks:
            async for chunk in chunks:
                data += chunk.data
                if victims and data.count(b"\n") > 20 * (3 - len(victims)) - 15:
                    victim = victims.pop(0)
                    await asyncio.to_thread(victim.kill)
                    await asyncio.to_thread(victim.start)
        assert not victims
        return data

    assert (await story_of(tmp_path, tell)).decode().splitlines() == lines


class TwoServersRound(KillRound):
    """A round in which either server may be killed, or both."""

    def __init__(self, directory: Path, seed: int) -> None:
        super().__init__(directory, seed)
        self._story = self._both = TwoServers(directory, "--max-running", "4")

    async def _kill(self) -> None:
        roll = random.Random(self._random.random())
        for _ in range(roll.choice((1, 2, 2))):
            await self._wait_for(roll.choice(("time", "a job's start", "a job's end", "a removal")))
            front, far = self._both.server, self._both.far
            victims = roll.choice(((far,), (far,), (front,), (front, far), (far, front)))
            for victim in victims:
                await asyncio.to_thread(victim.kill)
            self.kills.append(" and ".join("front" if v is front else "far" for v in victims))
            for victim in roll.sample(victims, len(victims)):
                await asyncio.to_thread(victim.start)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_round(tmp_path: Path, number: int) -> None:
    kills = await TwoServersRound(tmp_path, roll_seed() + number).run()
    print("killed:", ", ".join(kills))
    assert kills
