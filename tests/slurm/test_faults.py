"""Controllers and nodes killed, stopped, frozen and drained, while jobs run on them."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobengine import (
    AsyncClient,
    JobReason,
    JobSpec,
    JobState,
    JobStatus,
    RetryPolicy,
    errors,
    state_name,
)
from tests.faults.processes import of_jobs, until
from tests.faults.truth import RUNS_ON, Task, release, waiting
from tests.slurm.story import Place, SlurmStory, place_on

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.slurm.cluster import SlurmCluster

pytestmark = [pytest.mark.engine("slurm"), pytest.mark.timeout(150)]

JOBS = 4
SLURMCTLD = "slurmctld"


@pytest.fixture
def cluster(make_slurm: "Callable[..., SlurmCluster]") -> "SlurmCluster":
    """A cluster of the test's own."""
    cluster = make_slurm(nodes=2)
    cluster.start()
    return cluster


@pytest.fixture
def place(cluster: "SlurmCluster", tmp_path: Path) -> Iterator[Place]:
    with place_on(cluster, tmp_path) as place:
        yield place


async def wait_until(what: str, condition: Callable[[], object], seconds: float = 60) -> None:
    await asyncio.to_thread(until, what, condition, seconds=seconds)


async def until_told(
    story: SlurmStory, name: str, state: "JobState.ValueType", words: str = ""
) -> JobStatus:
    """Wait until a watcher is told of a state, with these words in its message."""
    (task,) = [task for task in story.tasks if task.name == name]
    await wait_until(f"{name} is accepted", lambda: task.uid)
    async for event in story.client.watch_status(name):
        if event.status.state == state and words in event.status.message:
            return event.status
    raise AssertionError(f"{name} never was {JobState.Name(state)} with {words!r}")


async def until_running(story: SlurmStory, tasks: list[Task]) -> None:
    for task in tasks:
        await asyncio.to_thread(task.wait_for_start)
        await until_told(story, task.name, JobState.JOB_STATE_RUNNING)


async def until_saved(place: Place, tasks: list[Task]) -> None:
    """Wait until slurmctld has written down that these jobs run, which takes it some seconds.

    One that is killed before starts them again, or forgets them.
    """
    path = place.cluster.directory / "state/job_state"
    started = max(task.path.stat().st_mtime for task in tasks)
    await wait_until("slurmctld has saved its state", lambda: path.stat().st_mtime > started + 1)


# -- the controller ---------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["kill", "terminate"])
async def test_controller_goes_down_while_jobs_start(
    cluster: "SlurmCluster", place: Place, fault: str
) -> None:
    """One that is killed forgets what it has accepted or started a moment ago."""
    async with SlurmStory(place, may_lose=fault == "kill") as story:
        await story.begin()
        tasks = [Task(f"job-{i}", place.directory, f"leave {i}") for i in range(JOBS)]
        for task in tasks:
            story.submit(task)
        await wait_until("one has started", lambda: [task for task in tasks if task.lines("start")])
        await asyncio.to_thread(getattr(cluster, fault), SLURMCTLD)
        await asyncio.to_thread(cluster.start_component, SLURMCTLD)
        await story.settle()
        await story.check()


@pytest.mark.parametrize("fault", ["kill", "terminate"])
async def test_controller_goes_down_while_jobs_run(
    cluster: "SlurmCluster", place: Place, fault: str
) -> None:
    """They run on, and how they end is told, also of those that end meanwhile."""
    async with SlurmStory(place) as story:
        await story.begin()
        tasks = [waiting(f"job-{i}", place.directory, 40 + i) for i in range(JOBS)]
        for task in tasks:
            story.submit(task)
        await until_running(story, tasks)
        await until_saved(place, tasks)
        await asyncio.to_thread(getattr(cluster, fault), SLURMCTLD)
        for task in tasks[:2]:
            await asyncio.to_thread(release, task)
            await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(cluster.start_component, SLURMCTLD)
        for task in tasks[2:]:
            await asyncio.to_thread(release, task)
        await story.settle()
        await story.check()
        told = [story.ended[task.name].exit_code for task in tasks]
        assert told == [40, 41, 42, 43]


async def test_controller_and_server_go_down_together(
    cluster: "SlurmCluster", place: Place
) -> None:
    async with SlurmStory(place) as story:
        await story.begin()
        tasks = [waiting(f"job-{i}", place.directory, 40 + i) for i in range(JOBS)]
        for task in tasks:
            story.submit(task)
        await until_running(story, tasks)
        await asyncio.to_thread(story.server.kill)
        await asyncio.to_thread(cluster.terminate, SLURMCTLD)
        for task in tasks:
            await asyncio.to_thread(release, task)
            await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(story.server.start)
        await asyncio.to_thread(cluster.start_component, SLURMCTLD)
        await story.settle()
        await story.check()
        told = [story.ended[task.name].exit_code for task in tasks]
        assert told == [40, 41, 42, 43]


async def test_killed_controller_starts_a_job_again(cluster: "SlurmCluster", place: Place) -> None:
    """It has noted that the job waits, and not yet that it runs: Slurm ends the one that runs, and
    starts it anew, by the same id. It doesn't run twice for that."""
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        task = waiting("job", place.directory, 3)
        cluster.run("scontrol", "update", "PartitionName=main", "State=DOWN")
        story.submit(task)
        await until_told(story, "job", JobState.JOB_STATE_PENDING, "PartitionDown")
        await asyncio.to_thread(cluster.restart, SLURMCTLD)  # it saves what waits
        cluster.run("scontrol", "update", "PartitionName=main", "State=UP")
        await asyncio.to_thread(task.wait_for_start)
        await asyncio.to_thread(cluster.kill, SLURMCTLD)
        await asyncio.to_thread(cluster.start_component, SLURMCTLD)
        await story.settle()
        await story.check()
        assert len(task.runs()) == 1
        print(story.ended["job"], story.lost)


async def test_killed_controller_gives_an_id_twice(cluster: "SlurmCluster", place: Place) -> None:
    """It forgets what it has just started, and the next job gets that one's id."""
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        forgotten = waiting("forgotten", place.directory, 3)
        story.submit(forgotten)
        await asyncio.to_thread(forgotten.wait_for_start)
        await asyncio.to_thread(cluster.kill, SLURMCTLD)
        await asyncio.to_thread(cluster.lose_state)
        await asyncio.to_thread(cluster.start_component, SLURMCTLD)
        other = Task("other", place.directory, "leave 4")
        story.submit(other)
        await story.settle()
        await story.check()
        assert story.ended["other"].exit_code == 4
        assert state_name(story.ended["forgotten"]) == "LOST"
        assert [run.code for run in forgotten.runs()] == [None]


async def test_killed_controller_forgets_what_waits(cluster: "SlurmCluster", place: Place) -> None:
    """What it has accepted and lost before it began is submitted again, and runs once."""
    async with SlurmStory(place) as story:
        await story.begin()
        cluster.run("scontrol", "update", "PartitionName=main", "State=DOWN")
        task = Task("job", place.directory, "leave 3")
        story.submit(task)
        await until_told(story, "job", JobState.JOB_STATE_PENDING, "PartitionDown")
        await asyncio.to_thread(cluster.kill, SLURMCTLD)
        await asyncio.to_thread(cluster.lose_state)
        await asyncio.to_thread(cluster.start_component, SLURMCTLD)
        await story.settle()
        await story.check()
        assert story.ended["job"].exit_code == 3
        assert len(task.runs()) == 1


@pytest.mark.parametrize(
    "seconds", [25, pytest.param(140, marks=[pytest.mark.slow, pytest.mark.timeout(320)])]
)
async def test_frozen_controller(cluster: "SlurmCluster", place: Place, seconds: float) -> None:
    """Longer than a command may take, with --slow longer than any: told, waited out, no harm."""
    async with SlurmStory(place) as story:
        await story.begin()
        running = waiting("running", place.directory, 3)
        story.submit(running)
        await until_running(story, [running])
        await asyncio.to_thread(cluster.freeze, SLURMCTLD)
        try:
            thaw = asyncio.create_task(asyncio.sleep(seconds))
            await asyncio.to_thread(release, running)
            # Its sbatch is accepted once the controller goes on, when nobody waits any more.
            story.submit(Task("created", place.directory, "leave 4"))
            message = await story.until_away()
            assert "Slurm" in message
            impatient = RetryPolicy(retry_for_seconds=0)
            async with AsyncClient(story.server.address, retry=impatient) as client:
                with pytest.raises(errors.Unavailable):
                    await client.create_job(JobSpec(command=["true"]), name="refused")
                assert state_name(await client.read_status("running")) in {"RUNNING", "FAILED"}
            await thaw
        finally:
            await asyncio.to_thread(cluster.thaw, SLURMCTLD)
        await story.settle()
        with pytest.raises(errors.JobNotFound):
            await story.client.read_job("refused")
        await story.check()
        assert story.ended["created"].exit_code == 4


async def test_controller_is_away_at_the_start(cluster: "SlurmCluster", place: Place) -> None:
    """The server starts without it, says what is wrong, and comes up when it does."""
    await asyncio.to_thread(cluster.terminate, SLURMCTLD)
    async with SlurmStory(place) as story:
        await story.begin()
        about = await story.client.read_engine()
        assert "Slurm can't be reached" in about.message
        await asyncio.to_thread(cluster.start_component, SLURMCTLD)
        story.submit(Task("job", place.directory, "leave 5"))
        await story.settle()
        await story.check()


@pytest.mark.slow
async def test_munged_goes_down(cluster: "SlurmCluster", place: Place) -> None:
    """Without it no command gets an answer, and none gives up by itself."""
    async with SlurmStory(place) as story:
        await story.begin()
        task = waiting("job", place.directory, 5)
        story.submit(task)
        await until_running(story, [task])
        await asyncio.to_thread(cluster.kill, "munged")
        await story.until_away()
        await asyncio.to_thread(release, task)
        await asyncio.to_thread(task.wait_for, "exit")
        await asyncio.to_thread(cluster.start_component, "munged")
        await story.settle()
        await story.check()


# -- the commands -----------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["fail before", "fail after", "hang after"])
async def test_sbatch_gets_no_answer(place: Place, fault: str) -> None:
    """Whether it was accepted or not: the job runs, and once."""
    async with SlurmStory(place) as story:
        await story.begin()
        place.commands.fail_next("sbatch", fault)
        task = Task("job", place.directory, "leave 5")
        story.submit(task)
        await wait_until("sbatch has failed", lambda: place.commands.has_failed("sbatch"))
        await story.settle()
        await story.check()
        assert [run.code for run in task.runs()] == [5]


async def test_sbatch_of_instances_gets_no_answer(place: Place) -> None:
    async with SlurmStory(place) as story:
        await story.begin()
        place.commands.fail_next("sbatch", "fail after")
        task = Task("job", place.directory, "leave 0", {"completions": 5, "parallelism": 2})
        story.submit(task)
        await story.settle()
        await story.check()
        assert len(task.runs()) == 5


@pytest.mark.parametrize("fault", ["fail before", "fail after"])
async def test_scancel_gets_no_answer(place: Place, fault: str) -> None:
    async with SlurmStory(place) as story:
        await story.begin()
        task = Task("job", place.directory, RUNS_ON, act="cancel", delay=0.5)
        place.commands.fail_next("scancel", fault)
        story.submit(task)
        await story.settle()
        await story.check()
        assert place.commands.has_failed("scancel")


# -- the nodes --------------------------------------------------------------------------------


async def test_slurmd_goes_down_while_a_job_runs(cluster: "SlurmCluster", place: Place) -> None:
    """The job goes on, and what it comes to is told before slurmd is back."""
    one, other = cluster.nodes
    async with SlurmStory(place) as story:
        await story.begin()
        options = {"engine_options": {"nodelist": one}}
        tasks = [waiting(name, place.directory, 5, **options) for name in ("ends", "goes-on")]
        for task in tasks:
            story.submit(task)
        await until_running(story, tasks)
        await asyncio.to_thread(cluster.kill, one)
        await asyncio.to_thread(release, tasks[0])
        assert (await story.client.wait("ends")).exit_code == 5
        elsewhere = Task("elsewhere", place.directory, "leave 4")
        elsewhere.options = {"engine_options": {"nodelist": other}}
        story.submit(elsewhere)
        await wait_until("a job runs elsewhere", lambda: elsewhere.lines("exit"))
        await asyncio.to_thread(cluster.start_component, one)
        await asyncio.to_thread(release, tasks[1])
        await story.settle()
        await story.check()


async def test_node_fails(cluster: "SlurmCluster", place: Place) -> None:
    """What was lost with its node is told so, and not run again: it may run there still."""
    one = cluster.nodes[0]
    async with SlurmStory(place, may_lose=True) as story:
        await story.begin()
        options = {"max_retries": 1, "engine_options": {"nodelist": one}}
        task = waiting("job", place.directory)
        task.options = options
        story.submit(task)
        await until_running(story, [task])
        await asyncio.to_thread(cluster.crash_node, one)
        cluster.run("scontrol", "update", f"NodeName={one}", "State=DOWN", "Reason=test")
        elsewhere = Task("elsewhere", place.directory, "leave 4")
        story.submit(elsewhere)
        await story.settle()
        await story.check()
        assert story.ended["job"].reason == JobReason.JOB_REASON_NODE_LOST
        assert one in story.ended["job"].message
        assert len(task.runs()) == 1
        assert story.ended["elsewhere"].exit_code == 4


@pytest.mark.slow
async def test_slurmd_stays_away(make_slurm: "Callable[..., SlurmCluster]", tmp_path: Path) -> None:
    """Slurm gives the node up, while the job runs on there: it ends once slurmd is back."""
    cluster = make_slurm(nodes=2, conf={"SlurmdTimeout": "8"})
    cluster.start()
    with place_on(cluster, tmp_path) as place:
        async with SlurmStory(place, may_lose=True) as story:
            await story.begin()
            task = waiting("job", tmp_path, engine_options={"nodelist": cluster.nodes[0]})
            story.submit(task)
            await until_running(story, [task])
            await asyncio.to_thread(cluster.kill, cluster.nodes[0])
            await story.settle()
            assert of_jobs(tmp_path)
            await asyncio.to_thread(cluster.start_component, cluster.nodes[0])
            await story.check()
            assert story.ended["job"].reason == JobReason.JOB_REASON_NODE_LOST


async def test_nodes_are_drained(cluster: "SlurmCluster", place: Place) -> None:
    """What runs goes on; what is created waits, says why, and runs when a node is back."""
    async with SlurmStory(place) as story:
        await story.begin()
        running = waiting("running", place.directory, 3)
        story.submit(running)
        await until_running(story, [running])
        nodes = f"NodeName={','.join(cluster.nodes)}"
        cluster.run("scontrol", "update", nodes, "State=DRAIN", "Reason=test")
        story.submit(Task("waits", place.directory, "leave 4"))
        pending = await until_told(story, "waits", JobState.JOB_STATE_PENDING, "Slurm: ")
        print(pending)
        await asyncio.to_thread(release, running)
        assert (await story.client.wait("running")).exit_code == 3
        cluster.run("scontrol", "update", nodes, "State=RESUME")
        await story.settle()
        await story.check()
        assert story.ended["waits"].exit_code == 4
