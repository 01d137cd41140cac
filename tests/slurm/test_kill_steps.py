"""The server killed right before, and right after, each step of create, run, cancel, delete."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.truth import RUNS_ON, Task, release, waiting
from tests.slurm.story import Place, SlurmStory, place_on
from tests.slurm.test_faults import wait_until

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.slurm.cluster import SlurmCluster

pytestmark = [pytest.mark.engine("slurm"), pytest.mark.timeout(90)]

# Steps in the engine's directory are told by audit events, see tests/faults/injected; commands by
# the wrappers of tests/slurm/commands.py.
CREATE = {
    "before its record": "os.rename */jobs/job 1",
    "after its record": "os.rename */jobs/job 1 0.002",
    "before its id is noted": "open *.slurm.* 1",
    "as its id is noted": "open *.slurm.* 1 0.002",
}
VERDICT = {
    "before its verdict": "os.link */verdict 1",
    "as its verdict is noted": "os.link */verdict 1 0.002",
}
END = {
    "before its end is noted": "os.link */*/end 1",
    "as its end is noted": "os.link */*/end 1 0.002",
}
STOP = {
    "before the decision": "os.link */stop 1",
    "after the decision": "os.link */stop 1 0.002",
} | END
DELETE = {
    "before the decision": "os.link */delete 1",
    "after the decision": "os.link */delete 1 0.002",
    "before it goes": "os.rename */trash/* 1",
    "as it goes": "os.rename */trash/* 1 0.001",
    "as it is removed": "shutil.rmtree */trash/* 1",
} | END


def each(steps: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", steps.values(), ids=steps.keys())


@pytest.fixture
def place(slurm: "SlurmCluster", tmp_path: Path) -> Iterator[Place]:
    with place_on(slurm, tmp_path) as place:
        yield place


async def play_command(place: Place, name: str, fault: str, task: Task) -> None:
    """Have a command kill the server, and another one go on."""
    async with SlurmStory(place) as story:
        await story.begin()
        place.commands.fail_next(name, fault)
        story.submit(task)
        await asyncio.to_thread(story.server.wait_for_its_death)
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()


@each(CREATE | VERDICT | END)
async def test_run(place: Place, fault: str) -> None:
    task = Task("job", place.directory, "leave 5")
    await SlurmStory(place).play(fault, task)
    assert [run.code for run in task.runs()] == [5]


@pytest.mark.parametrize("fault", ["kill before", "kill after"])
async def test_submission(place: Place, fault: str) -> None:
    task = Task("job", place.directory, "leave 5")
    await play_command(place, "sbatch", fault, task)
    assert [run.code for run in task.runs()] == [5]


async def test_submission_of_instances(place: Place) -> None:
    task = Task("job", place.directory, "leave 0", {"completions": 4, "parallelism": 2})
    await play_command(place, "sbatch", "kill after", task)
    assert len(task.runs()) == 4


@each(STOP)
async def test_cancel(place: Place, fault: str) -> None:
    task = Task("job", place.directory, RUNS_ON, act="cancel", delay=1.5)
    await SlurmStory(place).play(fault, task)


@pytest.mark.parametrize("fault", ["kill before", "kill after"])
async def test_cancel_command(place: Place, fault: str) -> None:
    task = Task("job", place.directory, RUNS_ON, act="cancel", delay=1.5)
    await play_command(place, "scancel", fault, task)


@each(DELETE)
async def test_delete(place: Place, fault: str) -> None:
    task = Task("job", place.directory, RUNS_ON, act="delete", delay=1.5)
    await SlurmStory(place).play(fault, task)
    await wait_until("nothing of it is left", lambda: not list(left_of(place)))


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_delete_before_its_name_is_free(place: Place) -> None:
    """Others may be about to free it: it is freed after a minute."""
    task = Task("job", place.directory, RUNS_ON, act="delete", delay=1.5)
    await SlurmStory(place).play("os.rename */trash/* 2", task)
    async with SlurmStory(place) as story:
        await story.begin()
        await wait_until("its name is free", lambda: not list(left_of(place)), seconds=90)


def left_of(place: Place) -> list[Path]:
    state = place.directory / "state"
    return [*state.glob("jobs/*"), *state.glob("trash/*")]


async def test_retries_are_taken_up_where_they_are(place: Place) -> None:
    async with SlurmStory(place) as story:
        await story.begin()
        body = "[ $(grep -c ^exit $t) -lt 2 ] && leave 7; " + waiting("job", place.directory).body
        task = Task("job", place.directory, body, {"max_retries": 3})
        story.submit(task)
        await wait_until("it waits", (place.directory / "job.fifo").exists)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(release, task)
        await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()
        assert [run.code for run in task.runs()] == [7, 7, 0]


async def test_instances_are_taken_up_where_they_are(place: Place) -> None:
    """Two have ended, three run and the rest wait when the server dies: each runs once."""
    async with SlurmStory(place) as story:
        await story.begin()
        wait = 'mkfifo "$t.$JOB_COMPLETION_INDEX"; read x < "$t.$JOB_COMPLETION_INDEX"; leave 0'
        body = f"[ $JOB_COMPLETION_INDEX -lt 2 ] && leave 0; {wait}"
        options = {"completions": 8, "parallelism": 3, "max_retries": 8}
        task = Task("job", place.directory, body, options)
        story.submit(task)
        fifos = [place.directory / f"job.truth.{number}" for number in range(2, 8)]
        await wait_until("three wait", lambda: sum(fifo.exists() for fifo in fifos) == 3)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(story.server.start)
        for fifo in fifos:
            await wait_until(f"{fifo.name} is there", fifo.exists)
            await asyncio.to_thread(fifo.write_text, "\n")
        await story.settle()
        await story.check()
        assert len(task.runs()) == 8
