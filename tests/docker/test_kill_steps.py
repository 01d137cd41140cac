"""The server killed right before, and right after, each request of create, run, cancel, delete."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.fixtures import Reachable
from tests.docker.place import Place, place_on
from tests.docker.story import DockerStory, DockerTask, until_gone, waiting
from tests.faults.truth import RUNS_ON, release

pytestmark = [pytest.mark.engine("docker"), pytest.mark.timeout(90)]

SEND = "http.client.send"
RUN = {
    "before its record": f"{SEND} POST+*/volumes/create* 1",
    "after its record": f"{SEND} POST+*/volumes/create* 1 0.1",
    "before its container": f"{SEND} POST+*/containers/create* 1",
    "while its container is made": f"{SEND} POST+*/containers/create* 1 0.003",
    "before the claim": f"{SEND} POST+*/volumes/create* 2",
    "as it is claimed": f"{SEND} POST+*/volumes/create* 2 0.002",
    "before the start": f"{SEND} POST+*/start* 1",
    "as it starts": f"{SEND} POST+*/start* 1 0.02",
    "as it has started": f"{SEND} POST+*/start* 1 0.3",
    "before it is seen running": f"{SEND} GET+*/containers/*/json* 1",
    "before its end is noted": f"{SEND} POST+*/volumes/create* 3",
    "as its end is noted": f"{SEND} POST+*/volumes/create* 3 0.002",
}
STOP = {
    "before the decision": f"{SEND} POST+*/volumes/create* 3",
    "after the decision": f"{SEND} POST+*/volumes/create* 3 0.002",
    "before the signal": f"{SEND} POST+*/kill* 1",
}
DELETE = STOP | {
    "before its record goes": f"{SEND} DELETE+*/volumes/* 1",
    "before its container goes": f"{SEND} DELETE+*/containers/* 1",
    "before its decisions go": f"{SEND} DELETE+*/volumes/* 2",
    "before the last one goes": f"{SEND} DELETE+*/volumes/* 3",
}


def each(steps: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", steps.values(), ids=steps.keys())


@pytest.fixture
def place(dockerd: Reachable, tmp_path: Path) -> Iterator[Place]:
    with place_on(dockerd.host, tmp_path) as place:
        yield place


@each(RUN)
async def test_run(place: Place, fault: str) -> None:
    task = DockerTask("job", place.directory, "leave 5")
    await DockerStory(place).play(fault, task)
    assert [run.code for run in task.runs()] == [5]


@each(STOP)
async def test_cancel(place: Place, fault: str) -> None:
    await DockerStory(place).play(
        fault, DockerTask("job", place.directory, RUNS_ON, act="cancel", delay=0.8)
    )


@each(DELETE)
async def test_delete(place: Place, fault: str) -> None:
    await DockerStory(place).play(
        fault, DockerTask("job", place.directory, RUNS_ON, act="delete", delay=0.8)
    )
    until_gone(place)


async def test_retries_are_taken_up_where_they_are(place: Place) -> None:
    async with DockerStory(place) as story:
        await story.begin()
        body = "[ $(grep -c ^exit $t) -lt 2 ] && leave 7; " + waiting("job", place.directory).body
        task = DockerTask("job", place.directory, body, {"max_retries": 3})
        story.submit(task)
        fifo = place.directory / "job.fifo"
        while not fifo.exists():
            await asyncio.sleep(0.01)  # nobody tells
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(release, task)
        await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()
        assert [run.code for run in task.runs()] == [7, 7, 0]


async def test_instances_are_taken_up_where_they_are(place: Place) -> None:
    """Two have ended, three run and the rest wait when the server dies: each runs once."""
    async with DockerStory(place) as story:
        await story.begin()
        wait = 'mkfifo "$t.$JOB_COMPLETION_INDEX"; read x < "$t.$JOB_COMPLETION_INDEX"; leave 0'
        body = f"[ $JOB_COMPLETION_INDEX -lt 2 ] && leave 0; {wait}"
        options = {"completions": 8, "parallelism": 3, "max_retries": 8}
        task = DockerTask("job", place.directory, body, options)
        story.submit(task)
        while len(list(place.directory.glob("*.truth.*"))) < 3:
            await asyncio.sleep(0.01)  # nobody tells
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(story.server.start)
        for number in range(2, 8):
            fifo = place.directory / f"job.truth.{number}"
            while not fifo.exists():
                await asyncio.sleep(0.01)  # nobody tells
            await asyncio.to_thread(fifo.write_text, "\n")
        await story.settle()
        await story.check()
        assert len(task.runs()) == 8
