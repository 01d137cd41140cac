"""Many random jobs while daemon and server are killed, stopped and frozen at random."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.docker.place import IMAGE, Place, place_on
from tests.docker.story import DockerStory, DockerTask, until_gone

if TYPE_CHECKING:
    from tests.docker.daemons import Dockerd

pytestmark = pytest.mark.engine("docker")

FAULTS = ("kill the daemon", "stop the daemon", "freeze the daemon", "kill the server", "kill both")


@pytest.fixture(params=["plain", "live-restore"])
def daemon(request: pytest.FixtureRequest, make_dockerd: "Callable[..., Dockerd]") -> "Dockerd":
    daemon = make_dockerd(*(("--live-restore",) if request.param == "live-restore" else ()))
    daemon.start()
    return daemon


@pytest.fixture
def place(daemon: "Dockerd", tmp_path: Path) -> Iterator[Place]:
    with place_on(daemon.host, tmp_path) as place:
        yield place


class Stranger:
    """A container and a volume of somebody else, named much like ours."""

    def __init__(self, place: Place) -> None:
        self._client = place.client()
        labels = {"jobengine.dev/job": "job-0"}
        volume = self._client.create_volume(f"jobengine.{place.namespace}.stranger", labels=labels)
        name = f"jobengine.{place.namespace}.stranger.0.0"
        container = self._client.create_container(IMAGE, ["true"], name=name, labels=labels)
        self._volume, self._container = volume["Name"], container["Id"]

    def check_and_remove(self) -> None:
        assert self._client.inspect_container(self._container)["State"]["Status"] == "created"
        self._client.inspect_volume(self._volume)
        self._client.remove_container(self._container)
        self._client.remove_volume(self._volume)
        self._client.close()


class Round:
    """One story out of a seed."""

    def __init__(self, place: Place, daemon: "Dockerd", seed: int) -> None:
        self._random = random.Random(seed)
        self._place = place
        self._daemon = daemon
        self._story = DockerStory(place, may_lose=True)
        self.faults: list[str] = []

    async def play(self, jobs: int) -> DockerStory:
        """Run so many jobs while things break, check every one, and delete them all."""
        stranger = Stranger(self._place)
        # They queue for places to start: on a busy machine a second each.
        self._story.settle_seconds = self._story.call_seconds = 90 + jobs
        async with self._story as story:
            await story.begin()
            enough = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._break_until(enough))
                for number in range(jobs):
                    story.submit(self._task(number))
                    await asyncio.sleep(self._random.choice((0, 0.05, 0.3)))
                enough.set()
            await story.settle()
            await story.check()
            await asyncio.to_thread(story.server.start)
            for task in story.tasks:
                await story.client.delete_job(task.name, allow_missing=True, wait=True)
        until_gone(self._place)
        stranger.check_and_remove()
        return story

    def _task(self, number: int) -> DockerTask:
        roll = self._random
        seconds = roll.choice((0, 0, 0.1, roll.uniform(0, 2)))
        body = f"sleep {seconds:.2f}; leave {roll.choice((0, 0, 1, 3, 42, 125))}"
        options: dict[str, int] = {}
        act = ""
        match roll.choice(("exit",) * 5 + ("retries", "instances", "cancel", "delete")):
            case "retries":
                body = f"[ $(grep -c ^exit $t) -lt {roll.randint(1, 2)} ] && leave 7; leave 0"
                options = {"max_retries": roll.randint(1, 3)}
            case "instances":
                completions = roll.randint(2, 4)
                options = {
                    "completions": completions,
                    "parallelism": roll.randint(1, completions),
                }
                body = f"sleep {seconds:.2f}; leave 0"
            case "cancel" | "delete" as act:
                body = "sleep 60 & wait; leave 0"
            case _:
                pass
        directory = self._place.directory
        return DockerTask(f"job-{number}", directory, body, options, act, roll.uniform(0, 1.5))

    async def _break_until(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            await asyncio.sleep(self._random.uniform(0, 2))
            fault = self._random.choice(FAULTS)
            self.faults.append(fault)
            await asyncio.to_thread(self._break, fault)
            with contextlib.suppress(TimeoutError):  # or the next one strikes while it's down
                async with asyncio.timeout(self._random.choice((0, 15, 15))):
                    while (await self._story.client.read_engine()).message:
                        await asyncio.sleep(0.2)

    def _break(self, fault: str) -> None:
        server = self._story.server
        match fault:
            case "kill the daemon":
                self._daemon.kill()
                self._daemon.start()
            case "stop the daemon":
                self._daemon.restart()
            case "freeze the daemon":
                self._daemon.freeze()
                try:
                    # It has to hang for some time; there is nothing to wait for.
                    time.sleep(self._random.uniform(0.5, 8))
                finally:
                    self._daemon.thaw()
            case "kill the server":
                server.kill()
                server.start()
            case _:
                server.kill()
                self._daemon.kill()
                self._daemon.start()
                server.start()


async def run(place: Place, daemon: "Dockerd", jobs: int) -> None:
    seed = int(os.environ.get("JOBENGINE_TEST_SEED") or random.randrange(1_000_000))
    print(f"JOBENGINE_TEST_SEED={seed}")
    played = Round(place, daemon, seed)
    story = await played.play(jobs)
    print(f"{jobs} jobs, faults: {played.faults}, lost: {story.lost}")
    assert played.faults


@pytest.mark.timeout(200)
async def test_a_few(place: Place, daemon: "Dockerd") -> None:
    await run(place, daemon, 16)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_200_jobs(place: Place, daemon: "Dockerd") -> None:
    await run(place, daemon, 200)
