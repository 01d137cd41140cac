"""Daemons killed, stopped, frozen, cut off and struck by power cuts, while jobs run on them."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobengine import AsyncClient, JobSpec, JobState, RetryPolicy, errors, state_name
from tests.clients.proxy import Proxy
from tests.docker.fixtures import Reachable
from tests.docker.place import IMAGE, Place, place_on
from tests.docker.story import DockerStory, DockerTask, until_gone, waiting
from tests.faults.processes import until
from tests.faults.truth import RUNS_ON, Task, release

if TYPE_CHECKING:
    from tests.docker.daemons import Dockerd

pytestmark = [pytest.mark.engine("docker"), pytest.mark.timeout(150)]

JOBS = 4
LIVE_RESTORE = "--live-restore"


@pytest.fixture(params=["plain", "live-restore"])
def daemon(request: pytest.FixtureRequest, make_dockerd: "Callable[..., Dockerd]") -> "Dockerd":
    """A daemon of the test's own."""
    daemon = make_dockerd(*((LIVE_RESTORE,) if request.param == "live-restore" else ()))
    daemon.start()
    return daemon


@pytest.fixture
def place(daemon: "Dockerd", tmp_path: Path) -> Iterator[Place]:
    with place_on(daemon.host, tmp_path) as place:
        yield place


def written(tasks: list[DockerTask], word: str) -> list[Task]:
    return [task for task in tasks if task.lines(word)]


async def wait_until(what: str, condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, what, condition)


@pytest.mark.parametrize("fault", ["kill", "terminate"])
async def test_daemon_goes_down_while_jobs_start(
    daemon: "Dockerd", place: Place, fault: str
) -> None:
    async with DockerStory(place, may_lose=True) as story:
        await story.begin()
        tasks = [DockerTask(f"job-{i}", place.directory, f"leave {i}") for i in range(JOBS)]
        for task in tasks:
            story.submit(task)
        await wait_until("one has started", lambda: written(tasks, "start"))
        await asyncio.to_thread(getattr(daemon, fault))
        await asyncio.to_thread(daemon.start)
        await story.settle()
        await story.check()
        # Of what it had just started, Docker says `created`, or 255: nobody can know more.
        assert all("the Docker daemon" in lost for lost in story.lost), story.lost


@pytest.mark.parametrize("fault", ["kill", "terminate"])
async def test_daemon_goes_down_while_jobs_run(daemon: "Dockerd", place: Place, fault: str) -> None:
    """Those that end meanwhile keep their codes; those that run on do so, or are stopped."""
    async with DockerStory(place, may_lose=True) as story:
        await story.begin()
        tasks = [waiting(f"job-{i}", place.directory, 40 + i) for i in range(JOBS)]
        for task in tasks:
            story.submit(task)
        await wait_until("all have started", lambda: len(written(tasks, "start")) == JOBS)
        await until_running(story, tasks)
        await asyncio.to_thread(getattr(daemon, fault))
        goes_on = fault == "kill" or daemon.has_option(LIVE_RESTORE)
        for task in tasks[:2] if goes_on else ():
            await asyncio.to_thread(release, task)
            await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(daemon.start)
        for task in tasks[2:] if daemon.has_option(LIVE_RESTORE) else ():
            await asyncio.to_thread(release, task)
        await story.settle()
        await story.check()
        told = [story.ended[task.name] for task in tasks]
        if goes_on:
            assert [status.exit_code for status in told[:2]] == [40, 41]
        if daemon.has_option(LIVE_RESTORE):
            assert [status.exit_code for status in told[2:]] == [42, 43]
        assert not story.lost


async def until_running(story: DockerStory, tasks: list[DockerTask]) -> None:
    for task in tasks:
        await asyncio.to_thread(task.wait_for_start)
        async for event in story.client.watch_status(task.name):
            if event.status.state == JobState.JOB_STATE_RUNNING:
                break


@pytest.mark.parametrize("fault", ["kill", "terminate"])
async def test_daemon_goes_down_as_jobs_end(daemon: "Dockerd", place: Place, fault: str) -> None:
    async with DockerStory(place, may_lose=True) as story:
        await story.begin()
        tasks = [
            DockerTask(f"job-{i}", place.directory, f"sleep 0.5; leave {i}") for i in range(JOBS)
        ]
        for task in tasks:
            story.submit(task)
        await wait_until("one has ended", lambda: written(tasks, "exit"))
        await asyncio.to_thread(getattr(daemon, fault))
        await asyncio.to_thread(daemon.start)
        await story.settle()
        await story.check()
        assert len(story.lost) < JOBS, story.lost


async def test_power_cut(daemon: "Dockerd", place: Place) -> None:
    """What ran is LOST and not run again, what had ended stays, what waited goes on."""
    async with DockerStory(place, may_lose=True) as story:
        await story.begin()
        ended = DockerTask("ended", place.directory, "leave 7")
        running = waiting("running", place.directory)
        for task in (ended, running):
            story.submit(task)
        await asyncio.to_thread(ended.wait_for_start)
        await story.client.wait("ended")
        await until_running(story, [running])
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(daemon.crash)
        await asyncio.to_thread(daemon.start)
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()
        assert [name.partition(":")[0] for name in story.lost] == ["running"]
        assert story.ended["ended"].exit_code == 7


async def test_daemon_and_server_go_down_together(daemon: "Dockerd", place: Place) -> None:
    async with DockerStory(place, may_lose=True) as story:
        await story.begin()
        tasks = [waiting(f"job-{i}", place.directory, 40 + i) for i in range(JOBS)]
        for task in tasks:
            story.submit(task)
        await until_running(story, tasks)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(daemon.kill)
        for task in tasks:
            await asyncio.to_thread(release, task)
            await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(daemon.start)
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()
        told = [story.ended[task.name].exit_code for task in tasks]
        assert told == [40, 41, 42, 43]


@pytest.mark.parametrize("daemon", ["plain"], indirect=True)
@pytest.mark.parametrize(
    "seconds", [25, pytest.param(140, marks=[pytest.mark.slow, pytest.mark.timeout(320)])]
)
async def test_frozen_daemon(daemon: "Dockerd", place: Place, seconds: float) -> None:
    """Longer than a call may take, and with --slow longer than any: told, waited out, no harm."""
    async with DockerStory(place) as story:
        await story.begin()
        running = waiting("running", place.directory, 3)
        story.submit(running)
        await until_running(story, [running])
        starting = DockerTask("starting", place.directory, "leave 4")
        story.submit(starting)
        await wait_until("its container is made", lambda: len(place.containers()) == 2)
        await asyncio.to_thread(daemon.freeze)
        try:
            thaw = asyncio.create_task(asyncio.sleep(seconds))
            await asyncio.to_thread(release, running)
            await story.until_away()
            impatient = RetryPolicy(retry_for_seconds=0)
            async with AsyncClient(story.server.address, retry=impatient) as client:
                with pytest.raises(errors.Unavailable):
                    await client.create_job(JobSpec(image=IMAGE, command=["true"]), name="refused")
                status = await client.read_status("running")
                assert state_name(status) == "RUNNING"
            await thaw
        finally:
            await asyncio.to_thread(daemon.thaw)
        await story.settle()
        with pytest.raises(errors.JobNotFound):
            await story.client.read_job("refused")
        await story.check()


@pytest.mark.parametrize("daemon", ["plain"], indirect=True)
async def test_daemon_takes_no_new_connections(daemon: "Dockerd", place: Place) -> None:
    """As one that is being stopped: what was claimed, and couldn't be asked for, runs later."""
    async with DockerStory(place) as story:
        await story.begin("http.client.send POST+*/start* 1 refuse")
        task = DockerTask("job", place.directory, "leave 5")
        story.submit(task)
        await asyncio.to_thread(story.server.wait_for_its_stop)
        await asyncio.to_thread(daemon.kill)
        await asyncio.to_thread(daemon.start)
        story.server.send(signal.SIGCONT)
        await story.settle()
        await story.check()
        assert story.ended["job"].exit_code == 5


@pytest.mark.parametrize("daemon", ["plain"], indirect=True)
async def test_daemon_is_away_at_the_start(daemon: "Dockerd", place: Place) -> None:
    """The server starts without it, says what is wrong, and comes up when it does."""
    await asyncio.to_thread(daemon.terminate)
    async with DockerStory(place) as story:
        await story.begin()
        about = await story.client.read_engine()
        assert "no daemon is there" in about.message
        assert daemon.host in about.message
        await asyncio.to_thread(daemon.start)
        story.submit(DockerTask("job", place.directory, "leave 5"))
        await story.settle()
        await story.check()


@pytest.fixture
def cut_place(dockerd: Reachable, tmp_path: Path) -> Iterator[tuple[Place, Proxy]]:
    """A place whose daemon is reached through a proxy."""
    with place_on(dockerd.host, tmp_path) as place, Proxy(dockerd.host) as proxy:
        place.host = f"tcp://{proxy.address}"
        yield place, proxy
        place.host = dockerd.host


async def test_connections_are_cut(cut_place: tuple[Place, Proxy]) -> None:
    """Again and again, wherever the server happens to be: every job runs once and is told."""
    place, proxy = cut_place
    async with DockerStory(place) as story:
        await story.begin()
        tasks = [DockerTask(f"job-{i}", place.directory, f"leave {i % 3}") for i in range(8)]
        async with cutting(proxy):
            for task in tasks:
                story.submit(task)
            await story.settle()
        await story.check()


async def test_connections_are_cut_while_jobs_are_removed(cut_place: tuple[Place, Proxy]) -> None:
    place, proxy = cut_place
    async with DockerStory(place) as story:
        await story.begin()
        tasks = [
            DockerTask(f"job-{i}", place.directory, RUNS_ON, act="delete", delay=i / 4)
            for i in range(8)
        ]
        async with cutting(proxy):
            for task in tasks:
                story.submit(task)
            await story.settle()
        await story.check()
    until_gone(place)


@contextlib.asynccontextmanager
async def cutting(proxy: Proxy) -> AsyncGenerator[None]:
    """Cut all connections again and again."""

    async def cut_for_ever() -> None:
        while True:
            await asyncio.sleep(0.7)
            await asyncio.to_thread(proxy.cut)

    task = asyncio.create_task(cut_for_ever())
    try:
        yield
    finally:
        task.cancel()


async def test_a_connection_falls_silent(cut_place: tuple[Place, Proxy]) -> None:
    """A half-open connection is noticed by what it doesn't answer (kcp#1148 and its like)."""
    place, proxy = cut_place
    async with DockerStory(place) as story:
        await story.begin()
        task = waiting("job", place.directory, 6)
        story.submit(task)
        await until_running(story, [task])
        await asyncio.to_thread(proxy.fall_silent)
        await asyncio.to_thread(release, task)
        await story.settle()
        await story.check()
