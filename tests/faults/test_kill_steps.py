"""The server killed right before chosen steps of create, run, finish, cancel and delete."""

import asyncio
from pathlib import Path

import pytest

from tests.faults import processes
from tests.faults.story import Story
from tests.faults.truth import Task, release, waiting

# Audit events of Python (event, pattern of an argument, occurrence): see injected.sitecustomize.
CREATE = {
    "before its directory": "os.mkdir */jobs/job 1",
    "before its record": "open */jobs/job/job 1",
    "before it is durable": "open */jobs/job 1",
}
RUN = {
    "before it is seen running": "open */jobs/job/0.0 1",
    "before its end is seen": "open */jobs/job/0.0 2",
}
STOP = {
    "before the stop": "open */jobs/job/stop.new 1",
    "before the stop counts": "os.rename */jobs/job/stop 1",
    "before the stop is durable": "open */jobs/job 2",
}
DELETE = STOP | {
    "before the deletion": "open */jobs/job/delete 1",
    "before it goes out of sight": "os.rename */trash/* 1",
    "before its files go": "shutil.rmtree */trash/* 1",
    "before its directory goes": "os.rmdir */trash/* 1",
}


def each(steps: dict[str, str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", steps.values(), ids=steps.keys())


@each(CREATE | RUN)
async def test_run(tmp_path: Path, fault: str) -> None:
    task = Task("job", tmp_path, "sleep 0.3; leave 5")
    await Story(tmp_path).play(fault, task)
    assert [run.code for run in task.runs()] == [5]


@each(STOP)
async def test_cancel(tmp_path: Path, fault: str) -> None:
    await Story(tmp_path).play(fault, Task("job", tmp_path, "sleep 60", act="cancel", delay=0.2))


@each(DELETE)
async def test_delete(tmp_path: Path, fault: str) -> None:
    await Story(tmp_path).play(fault, Task("job", tmp_path, "sleep 60", act="delete", delay=0.2))


async def test_job_ends_while_there_is_no_server(tmp_path: Path) -> None:
    async with Story(tmp_path) as story:
        await story.begin()
        task = waiting("job", tmp_path, 7)
        story.submit(task)
        run = await asyncio.to_thread(task.wait_for_start)
        await asyncio.to_thread(story.server.kill)
        release(task)
        await asyncio.to_thread(
            processes.until, "the job is over", lambda: not processes.of_jobs(tmp_path)
        )
        assert task.runs()[0].code == 7
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()
        assert task.runs()[0].pid == run.pid


async def test_instances_are_taken_up_where_they_are(tmp_path: Path) -> None:
    """Two have ended, three run and the rest wait when the server dies: each runs once."""
    async with Story(tmp_path, "--max-running", "3") as story:
        await story.begin()
        wait = 'mkfifo "$t.$JOB_COMPLETION_INDEX"; read x < "$t.$JOB_COMPLETION_INDEX"; leave 0'
        body = f"[ $JOB_COMPLETION_INDEX -lt 2 ] && leave 0; {wait}"
        task = Task("job", tmp_path, body, {"completions": 8, "parallelism": 4, "max_retries": 8})
        story.submit(task)
        await asyncio.to_thread(
            processes.until, "three wait", lambda: len(list(tmp_path.glob("*.truth.*"))) == 3
        )
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(story.server.start)
        for number in range(2, 8):
            fifo = tmp_path / f"job.truth.{number}"
            await asyncio.to_thread(processes.until, "an instance waits", fifo.exists)
            await asyncio.to_thread(fifo.write_text, "\n")
        await story.settle()
        await story.check()
        assert len(task.runs()) == 8


async def test_queue_goes_on_after_a_kill(tmp_path: Path) -> None:
    """Jobs that had no place yet keep waiting over the restart, and run once there is one."""
    async with Story(tmp_path, "--max-running", "1") as story:
        await story.begin()
        first = waiting("first", tmp_path)
        story.submit(first)
        await asyncio.to_thread(first.wait_for_start)
        for number in range(3):
            story.submit(Task(f"later-{number}", tmp_path, f"leave {number}"))
        await asyncio.to_thread(story.server.kill)
        release(first)
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()
