"""Administrators who cancel, requeue, hold and preempt jobs, and ends that nobody has seen."""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from jobengine import JobReason, JobState, state_name
from tests.faults.processes import until
from tests.faults.truth import RUNS_ON, Task, release, waiting
from tests.slurm.story import Place, SlurmStory, place_on
from tests.slurm.test_faults import until_running, until_told, wait_until

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.slurm.cluster import SlurmCluster

pytestmark = [pytest.mark.engine("slurm"), pytest.mark.timeout(150)]


@pytest.fixture
def place(slurm: "SlurmCluster", tmp_path: Path) -> Iterator[Place]:
    """A place on a cluster that nobody hurts."""
    with place_on(slurm, tmp_path) as place:
        yield place


@pytest.fixture(params=["no accounting", "accounting"])
def forgetful(
    request: pytest.FixtureRequest, make_slurm: "Callable[..., SlurmCluster]", tmp_path: Path
) -> Iterator[Place]:
    """A place on a cluster whose controller forgets jobs within ten seconds of their end."""
    accounting = request.param == "accounting"
    cluster = make_slurm(accounting=accounting, conf={"MinJobAge": "2"})
    cluster.start()
    with place_on(cluster, tmp_path) as place:
        yield place


def jobs_of(place: Place, name: str) -> list[dict[str, Any]]:
    """What Slurm has of a job that isn't over."""
    states = {"PENDING", "RUNNING"}
    found = [job for job in place.cluster.jobs() if job["job_state"] in states]
    return [job for job in found if name in job["name"]]


def id_of(place: Place, name: str) -> str:
    """The id in Slurm of a job that was submitted once."""
    (found,) = jobs_of(place, name)
    return str(found["job_id"])


async def submit_running(story: SlurmStory, task: Task) -> str:
    """Submit a job and wait until it runs; return its id in Slurm."""
    story.submit(task)
    await until_running(story, [task])
    return id_of(story.place, task.name)


# -- others meddle ----------------------------------------------------------------------------


async def test_running_job_is_cancelled_behind_the_service(place: Place) -> None:
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        number = await submit_running(story, Task("job", place.directory, RUNS_ON))
        place.cluster.run("scancel", number)
        await story.settle()
        await story.check()
        status = story.ended["job"]
        assert state_name(status) == "CANCELLED"
        assert "cancelled in Slurm" in status.message


async def test_waiting_job_is_cancelled_behind_the_service(place: Place) -> None:
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        with partition_down(place):
            task = Task("job", place.directory, "leave 0")
            story.submit(task)
            await until_told(story, "job", JobState.JOB_STATE_PENDING, "PartitionDown")
            place.cluster.run("scancel", id_of(place, "job"))
            await story.settle()
        await story.check()
        assert state_name(story.ended["job"]) == "CANCELLED"
        assert not task.runs()


async def test_one_instance_is_cancelled_behind_the_service(place: Place) -> None:
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        task = Task("job", place.directory, RUNS_ON, {"completions": 3, "parallelism": 3})
        story.submit(task)
        await wait_until("all run", lambda: len(task.runs()) == 3)
        # By its own id scancel doesn't find it, and says nothing.
        array = jobs_of(place, "job")[0]["array_job_id"]
        place.cluster.run("scancel", f"{array}_1")
        await story.settle()
        await story.check()
        assert state_name(story.ended["job"]) == "CANCELLED"
        assert "instance 1 was cancelled in Slurm" in story.ended["job"].message


async def test_job_is_requeued_behind_the_service(place: Place) -> None:
    """Slurm would run it once more: it doesn't, and its end says what was done to it."""
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        task = Task("job", place.directory, RUNS_ON)
        number = await submit_running(story, task)
        place.cluster.run("scontrol", "update", f"JobId={number}", "Requeue=1")
        place.cluster.run("scontrol", "requeue", number)
        await story.settle()
        await asyncio.to_thread(until_idle, place)
        await story.check()
        assert "requeued" in story.ended["job"].message
        assert len(task.runs()) == 1


def until_idle(place: Place) -> None:
    """Wait until nothing is left in the queue, where a requeued job would stay for 2 minutes."""
    until("the queue is empty", lambda: not place.cluster.run("squeue", "-h"), seconds=30)


async def test_job_is_held_behind_the_service(place: Place) -> None:
    async with SlurmStory(place) as story:
        await story.begin()
        with partition_down(place):
            story.submit(Task("job", place.directory, "leave 3"))
            await until_told(story, "job", JobState.JOB_STATE_PENDING, "PartitionDown")
            number = id_of(place, "job")
            place.cluster.run("scontrol", "hold", number)
        await until_told(story, "job", JobState.JOB_STATE_PENDING, "JobHeldAdmin")
        place.cluster.run("scontrol", "release", number)
        await story.settle()
        await story.check()
        assert story.ended["job"].exit_code == 3


@pytest.mark.parametrize("partition", ["main", "requeue"])
async def test_job_is_preempted(place: Place, partition: str) -> None:
    """Also where Slurm would run it again by itself, only its own retries run it again."""
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        options = {"engine_options": {"partition": partition}, "resources": whole_node()}
        once = Task("once", place.directory, RUNS_ON, options)
        await submit_running(story, once)
        urgent = Task("urgent", place.directory, "leave 0")
        urgent.options = {"engine_options": {"partition": "urgent"}, "resources": whole_node()}
        story.submit(urgent)
        await story.settle()
        await story.check()
        assert story.ended["once"].reason == JobReason.JOB_REASON_EVICTED
        assert "preempted" in story.ended["once"].message
        assert state_name(story.ended["urgent"]) == "SUCCEEDED"
        assert len(once.runs()) == 1


async def test_preempted_job_is_retried(place: Place) -> None:
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        body = f"[ $(grep -c ^start $t) -gt 1 ] && leave 0; {RUNS_ON}"
        options = {"max_retries": 1, "resources": whole_node()}
        retried = Task("retried", place.directory, body, options)
        await submit_running(story, retried)
        urgent = Task("urgent", place.directory, "leave 0")
        urgent.options = {"engine_options": {"partition": "urgent"}, "resources": whole_node()}
        story.submit(urgent)
        await story.settle()
        await story.check()
        assert state_name(story.ended["retried"]) == "SUCCEEDED"
        assert [run.code for run in retried.runs()] == [None, 0]


def whole_node() -> dict[str, int]:
    return {"cpu_millis": 16_000}


# -- ends that nobody has seen ----------------------------------------------------------------


async def until_forgotten(place: Place) -> None:
    await wait_until("Slurm has forgotten it", lambda: not place.cluster.jobs())


async def test_end_is_told_after_slurm_has_forgotten_it(forgetful: Place) -> None:
    """No server was there: what a job came to by itself stands in the engine's directory."""
    place = forgetful
    async with SlurmStory(place) as story:
        await story.begin()
        tasks = [waiting(f"job-{code}", place.directory, code) for code in (0, 3, 130)]
        for task in tasks:
            story.submit(task)
        await until_running(story, tasks)
        await asyncio.to_thread(story.server.kill)
        for task in tasks:
            await asyncio.to_thread(release, task)
            await asyncio.to_thread(task.wait_for, "exit")
        await until_forgotten(place)
        await asyncio.to_thread(story.server.start)
        await story.settle()
        statuses = [await story.client.read_status(task.name) for task in tasks]
        assert [status.exit_code for status in statuses[:2]] == [0, 3]
        assert state_name(statuses[2]) == "FAILED"
        await asyncio.to_thread(story.check_nothing_runs)
        assert all(len(task.runs()) == 1 for task in tasks)


async def test_unnatural_end_is_told_after_slurm_has_forgotten_it(forgetful: Place) -> None:
    """What Slurm did to it is known where accounts are kept; else nobody can know."""
    place = forgetful
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        number = await submit_running(story, Task("job", place.directory, RUNS_ON))
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(kill_at_once, place.cluster.processes(int(number)))
        await until_forgotten(place)
        await asyncio.to_thread(story.server.start)
        await story.settle()
        await story.check()
        status = story.ended["job"]
        if place.cluster.accounting:
            assert state_name(status) == "FAILED"
            assert status.signal == 9
        else:
            assert state_name(status) == "LOST"
            assert "nobody saw how it ended" in status.message


def kill_at_once(processes: list[psutil.Process]) -> None:
    """Kill processes so that none of them sees another one's end."""
    for process in processes:
        process.suspend()
    for process in processes:
        process.kill()


@pytest.mark.parametrize("forgetful", ["accounting"], indirect=True)
async def test_accounting_goes_down(forgetful: Place) -> None:
    """Jobs run and end without it; what it would know is known once it is back, or never."""
    place = forgetful
    async with SlurmStory(place) as story:
        await story.begin()
        await asyncio.to_thread(place.cluster.terminate, "slurmdbd")
        task = waiting("job", place.directory, 3)
        story.submit(task)
        await until_running(story, [task])
        await asyncio.to_thread(release, task)
        story.submit(Task("other", place.directory, RUNS_ON, act="cancel", delay=1))
        await story.settle()
        await asyncio.to_thread(place.cluster.start_component, "slurmdbd")
        await story.check()


@contextlib.contextmanager
def partition_down(place: Place) -> Generator[None]:
    """The partition starts no jobs."""
    place.cluster.run("scontrol", "update", "PartitionName=main", "State=DOWN")
    try:
        yield
    finally:
        place.cluster.run("scontrol", "update", "PartitionName=main", "State=UP")
