"""What happens to jobs when the engine's own processes end."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from engines.base import Job, Reason, State
from engines.errors import LimitReached
from engines.local import record
from engines.local.record import Attempt
from jobengine.v1.job_pb2 import JobSpec
from tests.engines.local.place import Place, Server, gone, processes_of, shell


def attempt_of(place: Place, name: str = "job") -> Attempt:
    return record.parse_attempt(0, 0, place.attempt_file(name).read_bytes())


async def started(server: Server, place: Place, script: str) -> Job:
    gate = place.gate("started")
    job = await server.engine.create_job("job", shell(f"{gate.reach}; {script}"))
    await gate.reached()
    await server.watched.reaches(job, State.RUNNING)
    return job


async def test_a_job_goes_on_without_a_server(place: Place) -> None:
    gate = place.gate()
    async with place.server() as server:
        job = await started(server, place, f"echo one; {gate.wait}; echo two; exit 3")
    async with place.server() as server:
        assert (await server.engine.read_status(job)).state is State.RUNNING
        await gate.open()
        status = await server.watched.end_of(job)
        assert (status.state, status.exit_code) == (State.FAILED, 3)
        assert await server.output() == b"one\ntwo\n"


async def test_a_job_that_ends_while_no_server_is_there(place: Place) -> None:
    gate = place.gate()
    async with place.server() as server:
        job = await started(server, place, f"{gate.wait}; exit 3")
        shim = psutil.Process(attempt_of(place).pid)
    await gate.open()
    await gone(shim)
    async with place.server() as server:
        status = await server.engine.read_status(job)
        assert (status.state, status.exit_code) == (State.FAILED, 3)
        found = await server.engine.read_job("job")
        assert (found.uid, found.spec_hash) == (job.uid, job.spec_hash)


async def test_waiting_jobs_retries_and_deletions_are_taken_up(place: Place) -> None:
    gate = place.gate()
    async with place.server(max_running=1) as server:
        job = await started(server, place, f"{gate.wait}; test $JOB_COMPLETION_INDEX = x")
        waiting = await server.engine.create_job("waiting", shell("exit 0"), request_id="r")
        deleted = await server.engine.create_job("deleted", shell("exit 0"))
        await server.engine.delete_job("deleted")
    await gate.open()
    async with place.server(max_running=1) as server:
        assert (await server.watched.end_of(waiting)).state is State.SUCCEEDED
        assert (await server.watched.end_of(job)).exit_code == 1
        if deleted.name in {found.name for found in await server.engine.list_jobs()}:
            await server.watched.removal_of(deleted)
        assert (await server.engine.read_job("waiting")).request_id == "r"


async def test_a_deadline_is_kept_without_a_server(place: Place) -> None:
    async with place.server() as server:
        spec = JobSpec(command=["sleep", "1000"])
        spec.timeout.nanos = 300_000_000
        job = await server.engine.create_job("job", spec)
        await server.watched.reaches(job, State.RUNNING)
        shim = psutil.Process(attempt_of(place).pid)
    await gone(shim)
    assert processes_of(job) == []
    async with place.server() as server:
        assert (await server.engine.read_status(job)).reason is Reason.DEADLINE_EXCEEDED


async def test_a_killed_shim_means_lost_and_nothing_is_left(place: Place, server: Server) -> None:
    script = "trap '' TERM; (setsid sh -c 'while :; do sleep 0.1; done' &) ; exec sleep 1000"
    job = await started(server, place, script)
    processes = processes_of(job)
    os.kill(attempt_of(place).pid, signal.SIGKILL)
    status = await server.watched.end_of(job)
    assert (status.state, status.reason) == (State.LOST, Reason.UNKNOWN)
    assert status.exit_code is None
    for process in processes:
        await gone(process)
    assert processes_of(job) == []
    assert (await server.run(JobSpec(command=["true"]), "next")).state is State.SUCCEEDED


async def test_a_shim_killed_while_no_server_is_there(place: Place) -> None:
    async with place.server() as server:
        job = await started(server, place, "env -i sleep 1000")
        attempt = attempt_of(place)
    command = psutil.Process(attempt.command_pid)
    os.kill(attempt.pid, signal.SIGKILL)
    await gone(command)
    async with place.server() as server:
        assert (await server.watched.end_of(job)).state is State.LOST


async def test_shim_and_launcher_killed_while_no_server_is_there(place: Place) -> None:
    async with place.server() as server:
        job = await started(server, place, "exec env -i sleep 1000")
        attempt = attempt_of(place)
        launcher = psutil.Process(attempt.pid).parent()
        assert launcher is not None
    command = psutil.Process(attempt.command_pid)
    launcher.kill()
    await gone(launcher)
    os.kill(attempt.pid, signal.SIGKILL)
    async with place.server() as server:
        assert (await server.watched.end_of(job)).state is State.LOST
        await gone(command)


async def test_the_launcher_is_started_again(place: Place, server: Server) -> None:
    gate = place.gate()
    job = await started(server, place, f"{gate.wait}; exit 3")
    launcher = psutil.Process(attempt_of(place).pid).parent()
    assert launcher is not None
    launcher.kill()
    others = [await server.engine.create_job(f"other-{i}", shell("exit 0")) for i in range(8)]
    for other in others:
        assert (await server.watched.end_of(other)).state is State.SUCCEEDED
    await gate.open()
    assert (await server.watched.end_of(job)).exit_code == 3


async def test_nothing_runs_twice_when_requests_are_repeated(place: Place, server: Server) -> None:
    runs = place.path / "runs"
    jobs = [
        await server.engine.create_job(f"job-{i}", shell(f"echo x >> {runs}")) for i in range(9)
    ]
    for _ in range(5):
        server.engine._controller._submit_again()
    for job in jobs:
        assert (await server.watched.end_of(job)).state is State.SUCCEEDED
    assert runs.read_text() == "x\n" * 9


async def test_half_a_job_of_an_earlier_server_is_no_job(place: Place) -> None:
    async with place.server() as server:
        await server.run(JobSpec(command=["true"]))
    whole = (place.state_dir / "jobs" / "job" / "job").read_bytes()
    for name, data in (("empty", None), ("torn", whole[:-10])):
        (place.state_dir / "jobs" / name).mkdir()
        if data is not None:
            (place.state_dir / "jobs" / name / "job").write_bytes(data)
    (place.state_dir / "trash" / "old" / "0.0.work").mkdir(parents=True)
    async with place.server() as server:
        assert [job.name for job in await server.engine.list_jobs()] == ["job"]
        assert (await server.run(shell("exit 0"), "torn")).state is State.SUCCEEDED


async def test_ttl_is_kept_over_restarts(place: Place) -> None:
    async with place.server() as server:
        spec = JobSpec(command=["true"])
        spec.ttl_after_finished.nanos = 500_000_000
        job = await server.engine.create_job("job", spec)
        await server.watched.end_of(job)
    async with place.server() as server:
        names = {found.name for found in await server.engine.list_jobs()}
        if names:
            await server.watched.removal_of(job)
    assert not place.attempt_file().parent.exists()


async def test_missed_notifications_are_made_up_for(place: Place, server: Server) -> None:
    gate = place.gate()
    job = await started(server, place, gate.wait)
    (place.state_dir / "events").unlink()
    await gate.open()
    assert (await server.watched.end_of(job)).state is State.SUCCEEDED


async def fill(server: Server) -> None:
    for i in range(1000):
        await server.engine.create_job(f"job-{i}", JobSpec(command=["true"] * 3000))


def full_disk(place: Place) -> Iterator[None]:
    place.state_dir.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place.state_dir)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted; run as root to test this")
    yield
    # Lazily, because shims that are just about to go may still be in there.
    subprocess.run(["umount", "--lazy", str(place.state_dir)], check=True)


small_disk = pytest.fixture(full_disk)


async def test_a_full_disk_costs_output_but_no_job(place: Place, small_disk: None) -> None:
    async with place.server() as server:
        job = await started(server, place, "head -c 3000000 /dev/zero; echo end >&2; exit 3")
        status = await server.watched.end_of(job)
        assert (status.state, status.exit_code) == (State.FAILED, 3)
        chunks = await server.chunks()
        assert sum(len(c.data) + c.skipped_bytes for c in chunks) == 3_000_004
        with pytest.raises(LimitReached, match="free space"):
            await fill(server)
        for found in await server.engine.list_jobs():
            await server.engine.delete_job(found.name, grace_seconds=0)
            await server.watched.removal_of(found)
        assert (await server.run(shell("exit 4"), "after")).exit_code == 4
        await server.engine.delete_job("after")
        await server.watched.until(lambda: not server.engine._controller.jobs, "empty")


async def test_a_job_whose_directory_vanishes_is_lost(place: Place, server: Server) -> None:
    job = await started(server, place, "exec sleep 1000")
    shutil.rmtree(place.attempt_file().parent)
    assert (await server.watched.end_of(job)).state is State.LOST
    assert processes_of(job) == []
    await server.engine.delete_job("job")
    await server.watched.removal_of(job)
