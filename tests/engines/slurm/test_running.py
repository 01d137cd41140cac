"""Jobs on a real cluster: what they are given, what becomes of them, and what that costs Slurm."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engines import (
    Capability,
    Engine,
    InvalidSpec,
    JobAlreadyExists,
    JobNotFound,
    LogQuery,
    LogStream,
    Reason,
    State,
    Status,
)
from engines.slurm.engine import SlurmEngine
from engines.workload import Watched, watching
from jobengine.v1.job_pb2 import JobSpec, Resources
from tests.engines.slurm.specs import shell

if TYPE_CHECKING:  # it can't be started everywhere
    from tests.slurm.cluster import SlurmCluster

pytestmark = [pytest.mark.engine("slurm"), pytest.mark.timeout(120)]

DEADLINE_SECONDS = 40.0


class Place:
    """A directory on a cluster, and engines of it."""

    def __init__(self, cluster: "SlurmCluster", directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory

    def engine(self, **settings: Any) -> SlurmEngine:
        given = {"conf": self.cluster.conf, "grace_seconds": 2.0, **settings}
        return SlurmEngine(self.directory, **given)


@pytest.fixture
async def place(slurm: "SlurmCluster", tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(slurm, tmp_path / "state")
    yield place
    async with place.engine() as engine, watching(engine, DEADLINE_SECONDS) as watched:
        for job in await engine.list_jobs():
            with contextlib.suppress(JobNotFound):
                await engine.delete_job(job.name, grace_seconds=0)
                await watched.removal_of(job)


@pytest.fixture
async def engine(place: Place) -> AsyncIterator[SlurmEngine]:
    async with place.engine() as engine:
        yield engine


@pytest.fixture
async def watched(engine: Engine) -> AsyncIterator[Watched]:
    async with watching(engine, DEADLINE_SECONDS) as watched:
        yield watched


async def output(engine: Engine, name: str, **query: Any) -> str:
    async with asyncio.timeout(DEADLINE_SECONDS):
        chunks = [chunk async for chunk in engine.read_logs(name, LogQuery(**query))]
    return b"".join(chunk.data for chunk in chunks).decode()


async def end_of(engine: Engine, watched: Watched, spec: JobSpec, name: str = "job") -> Status:
    return await watched.end_of(await engine.create_job(name, spec))


async def test_what_it_is_given(
    engine: Engine, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBENGINE_TOKENS", "secret")
    spec = JobSpec(command=["/usr/bin/env"], args=["-0"], env={"LINES": "a\nb", "x.y": "z"})
    assert (await end_of(engine, watched, spec)).state is State.SUCCEEDED
    found = dict(item.split("=", 1) for item in (await output(engine, "job")).split("\0") if item)
    assert {"LINES": "a\nb", "x.y": "z", "JOBENGINE_JOB_NAME": "job"}.items() <= found.items()
    assert {"PATH", "HOME", "SLURM_JOB_ID", "JOB_COMPLETION_INDEX"} <= found.keys()
    assert "JOBENGINE_TOKENS" not in found
    assert found["PWD"].endswith("/0.0/work")


async def test_what_cannot_start(engine: Engine, watched: Watched) -> None:
    status = await end_of(engine, watched, JobSpec(command=["no-such-program"]))
    assert (status.state, status.reason) == (State.FAILED, Reason.START_FAILED)
    assert "no-such-program" in status.message


async def test_processors_memory_and_options(
    engine: Engine, watched: Watched, place: Place
) -> None:
    resources = Resources(cpu_millis=1500, memory_bytes=64 << 20, gpu_count=1)
    spec = shell(
        "echo $SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE $SLURM_GPUS_ON_NODE $SLURM_NODELIST"
    )
    spec.resources.CopyFrom(resources)
    node = place.cluster.nodes[-1]
    spec.engine_options.update({"partition": "main", "nodelist": node})
    assert Capability.GPU in engine.capabilities
    assert (await end_of(engine, watched, spec)).state is State.SUCCEEDED
    assert await output(engine, "job") == f"2 64 1 {node}\n"


@pytest.mark.parametrize(
    ("options", "resources", "field"),
    [
        ({"partition": "nowhere"}, Resources(), "spec.engine_options.partition"),
        ({"constraint": "nothing"}, Resources(), "spec.engine_options.constraint"),
        ({}, Resources(memory_bytes=1 << 50), "spec.resources.memory_bytes"),
        ({}, Resources(gpu_count=999), "spec.resources"),
    ],
)
async def test_what_slurm_refuses(
    engine: Engine, options: dict[str, str], resources: Resources, field: str
) -> None:
    spec = shell("true", resources=resources)
    spec.engine_options.update(options)
    with pytest.raises(InvalidSpec) as refusal:
        await engine.create_job("job", spec)
    assert refusal.value.violations[0].field.startswith(field)
    with pytest.raises(JobNotFound):
        await engine.read_job("job")
    assert await engine.list_jobs() == []


async def test_why_it_waits(engine: Engine, watched: Watched) -> None:
    spec = shell("true", resources=Resources(cpu_millis=999_000))
    job = await engine.create_job("job", spec)
    await watched.until(
        lambda: any(each.reason is Reason.UNSCHEDULABLE for each in watched.statuses(job.uid)),
        "told why",
    )
    status = await engine.read_status(job)
    assert (status.state, status.reason) == (State.PENDING, Reason.UNSCHEDULABLE)
    assert status.message.startswith("Slurm: ")


async def test_somebody_cancels_it(engine: Engine, watched: Watched, place: Place) -> None:
    job = await engine.create_job("job", shell("exec sleep 300"))
    await watched.reaches(job, State.RUNNING)
    place.cluster.run("scancel", "--name=job")
    status = await watched.end_of(job)
    assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)
    assert "not through this service" in status.message


async def test_somebody_cancels_it_before_it_began(
    engine: Engine, watched: Watched, place: Place
) -> None:
    job = await engine.create_job("job", shell("true", resources=Resources(cpu_millis=999_000)))
    place.cluster.run("scancel", "--name=job")
    status = await watched.end_of(job)
    assert (status.state, status.start_time) == (State.CANCELLED, None)


async def test_a_cancelled_command_may_end_by_itself(engine: Engine, watched: Watched) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo here; while :; do sleep 0.05; done"
    job = await engine.create_job("job", shell(script))
    follow = engine.read_logs("job", LogQuery(stream=LogStream.STDOUT, follow=True))
    first = await anext(aiter(follow))
    assert first.data == b"here\n"
    await engine.cancel_job("job", grace_seconds=20)
    assert b"".join([chunk.data async for chunk in follow]) == b"bye\n"
    status = await watched.end_of(job)
    assert status.state is State.SUCCEEDED  # it came to its end before it was ended


async def test_one_that_ignores_it_is_killed(engine: Engine, watched: Watched) -> None:
    script = "trap '' TERM; while :; do sleep 0.05; done"
    job = await engine.create_job("job", shell(script))
    await watched.reaches(job, State.RUNNING)
    await engine.cancel_job("job", grace_seconds=1)
    status = await watched.end_of(job)
    assert status.state is State.CANCELLED


async def test_a_decisive_failure_stops_the_others(engine: Engine, watched: Watched) -> None:
    spec = shell("test $JOB_COMPLETION_INDEX = 0 && exit 3; exec sleep 300")
    spec.completions = spec.parallelism = 3
    status = await end_of(engine, watched, spec)
    assert (status.state, status.exit_code, status.failed) == (State.FAILED, 3, 1)


async def test_cursors_outlive_the_server(place: Place) -> None:
    async with place.engine() as engine, watching(engine, DEADLINE_SECONDS) as watched:
        await end_of(engine, watched, shell("echo a; echo b; echo x >&2"))
        chunks = [chunk async for chunk in engine.read_logs("job", LogQuery())]
        assert [chunk.stream for chunk in chunks] == [LogStream.STDOUT, LogStream.STDERR]
    async with place.engine() as engine:
        assert await output(engine, "job", cursor=chunks[0].cursor) == "x\n"
        assert await output(engine, "job", cursor=chunks[1].cursor) == ""
        with pytest.raises(InvalidSpec):
            await output(engine, "job", instance=1)


async def test_instances_are_one_submission(
    engine: SlurmEngine, watched: Watched, place: Place
) -> None:
    spec = shell("true")
    spec.completions, spec.parallelism = 20, 10
    job = await engine.create_job("job", spec)
    numbers = {
        path.name.rpartition(".")[2]
        for path in (place.directory / "jobs" / "job" / job.uid).glob("*.slurm.*")
    }
    assert len(numbers) == 1
    assert (await watched.end_of(job)).succeed == 20


async def test_one_poll_serves_all(engine: SlurmEngine, watched: Watched) -> None:
    names = [f"job-{number}" for number in range(20)]
    spec = shell("exec sleep 300", resources=Resources(cpu_millis=999_000))
    for name in names:
        await engine.create_job(name, spec)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(watching(engine, DEADLINE_SECONDS))
        await asyncio.sleep(1.0)  # until what the creations had it look for is over
        before, began = engine.commands_run, time.monotonic()
        await asyncio.sleep(5.0)
        asked = engine.commands_run - before
    assert asked <= time.monotonic() - began + 1


async def test_servers_share_their_jobs(place: Place) -> None:
    async with (
        place.engine() as one,
        place.engine() as other,
        watching(one, DEADLINE_SECONDS) as watched,
        watching(other, DEADLINE_SECONDS) as also,
    ):
        job = await one.create_job("job", shell("exec sleep 300"))
        with pytest.raises(JobAlreadyExists):
            await other.create_job("job", shell("true"))
        assert (await other.read_job("job")).uid == job.uid
        await also.reaches(job, State.RUNNING)
        await other.cancel_job("job", grace_seconds=1)
        assert await watched.end_of(job) == await also.end_of(job)
        await other.delete_job("job")
        await watched.removal_of(job)
        await also.removal_of(job)


async def test_concurrent_servers_run_it_once(place: Place, tmp_path: Path) -> None:
    """Each retry is submitted by one of them, whichever, and runs once."""
    runs = tmp_path / "runs"
    spec = shell(f"echo $JOBENGINE_JOB_ATTEMPT >> {runs}; exit 1")
    spec.max_retries = 2
    async with (
        place.engine() as one,
        place.engine(),
        watching(one, DEADLINE_SECONDS) as watched,
    ):
        status = await end_of(one, watched, spec)
    assert (status.state, status.failed) == (State.FAILED, 3)
    assert runs.read_text().split() == ["0.0", "0.1", "0.2"]


async def test_it_enters_without_a_cluster(tmp_path: Path) -> None:
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=none\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort=1\n")
    began = time.monotonic()
    async with SlurmEngine(tmp_path / "state", conf=conf) as engine:
        assert time.monotonic() - began < 5
        assert not engine.check_spec(shell("true"))
