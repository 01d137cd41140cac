"""How jobs are ended, by callers and by time."""

import sys
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from engines.base import LogStream, Reason, State
from engines.errors import JobNotFound, UidMismatch
from jobengine.v1.job_pb2 import JobSpec
from tests.engines.local.place import Place, Server, processes_of, shell

DAEMON = """
import os, signal, sys
if os.fork():
    os.wait()
    open(sys.argv[1], "w").write("reached")
    signal.pause()
os.setsid()
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    signal.pause()
"""


async def test_cancel_lets_the_command_clean_up(server: Server, place: Place) -> None:
    gate = place.gate()
    script = f"trap 'echo bye; exit 0' TERM; {gate.reach}; while :; do sleep 0.01; done"
    job = await server.engine.create_job("job", shell(script))
    await gate.reached()
    await server.engine.cancel_job("job", grace_seconds=15)
    status = await server.watched.end_of(job)
    assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)
    assert await server.output(stream=LogStream.STDOUT) == b"bye\n"


async def test_cancel_kills_what_ignores_it_and_what_has_hidden(
    server: Server, place: Place
) -> None:
    gate = place.gate()
    spec = JobSpec(command=[sys.executable, "-c", DAEMON, str(place.path / "gate")])
    job = await server.engine.create_job("job", spec)
    await gate.reached()
    assert len(processes_of(job)) == 2
    await server.engine.cancel_job("job", grace_seconds=0.05)
    status = await server.watched.end_of(job)
    assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)
    assert processes_of(job) == []


async def test_a_second_cancel_may_be_less_patient(server: Server, place: Place) -> None:
    gate = place.gate()
    script = f"trap '' TERM; {gate.reach}; while :; do sleep 0.01; done"
    job = await server.engine.create_job("job", shell(script))
    await gate.reached()
    assert (await server.engine.cancel_job("job", grace_seconds=1000)).state is State.RUNNING
    await server.engine.cancel_job("job", grace_seconds=0)
    assert (await server.watched.end_of(job)).state is State.CANCELLED


async def test_cancel_before_it_runs(place: Place) -> None:
    gate = place.gate()
    async with place.server(max_running=1) as server:
        first = await server.engine.create_job("first", shell(gate.wait))
        await server.engine.create_job("second", shell(f"touch {place.path}/ran"))
        status = await server.engine.cancel_job("second")
        assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)
        assert status.start_time is None
        await gate.open()
        assert (await server.watched.end_of(first)).state is State.SUCCEEDED
        await server.run(JobSpec(command=["true"]), "third")
    assert not (place.path / "ran").exists()


async def test_cancel_of_a_finished_job_changes_nothing(server: Server) -> None:
    status = await server.run(shell("exit 3"))
    assert await server.engine.cancel_job("job") == status


async def test_the_other_instances_end_with_the_one_that_failed(
    server: Server, place: Place
) -> None:
    gate = place.gate()
    script = f"test $JOB_COMPLETION_INDEX = 0 && {{ {gate.wait}; exit 4; }}; exec sleep 1000"
    job = await server.engine.create_job("job", shell(script, completions=3, parallelism=3))
    await server.watched.until(
        lambda: any(s.active == 3 for s in server.watched.statuses(job.uid)), "three active"
    )
    await gate.open()
    status = await server.watched.end_of(job)
    assert (status.state, status.exit_code, status.failed) == (State.FAILED, 4, 1)
    assert processes_of(job) == []


async def test_timeout(server: Server) -> None:
    spec = shell(
        "echo started; exec sleep 1000", timeout=Duration(nanos=200_000_000), max_retries=3
    )
    job = await server.engine.create_job("job", spec)
    status = await server.watched.end_of(job)
    assert (status.state, status.reason) == (State.FAILED, Reason.DEADLINE_EXCEEDED)
    assert (status.failed, status.exit_code) == (1, None)
    assert await server.output() == b"started\n"


async def test_timeout_spans_retries(server: Server) -> None:
    spec = shell("sleep 0.05; exit 1", timeout=Duration(nanos=300_000_000), max_retries=10_000)
    status = await server.run(spec)
    assert (status.state, status.reason) == (State.FAILED, Reason.DEADLINE_EXCEEDED)
    assert status.retries > 0


async def test_start_timeout_while_all_places_are_taken(place: Place) -> None:
    async with place.server(max_running=1, default_start_timeout=0.2) as server:
        first = await server.engine.create_job("first", shell("exec sleep 1000"))
        await server.watched.reaches(first, State.RUNNING)
        second = await server.engine.create_job("second", shell(f"touch {place.path}/ran"))
        status = await server.watched.end_of(second)
        assert (status.state, status.reason) == (State.FAILED, Reason.START_TIMEOUT)
        assert (await server.engine.read_status(first)).state is State.RUNNING
    assert not (place.path / "ran").exists()


async def test_delete_while_running(server: Server, place: Place) -> None:
    job = await server.engine.create_job("job", shell("exec sleep 1000"))
    await server.watched.reaches(job, State.RUNNING)
    await server.engine.delete_job("job", uid=job.uid)
    await server.engine.delete_job("job")  # while that goes on
    await server.watched.removal_of(job)
    last = server.watched.statuses(job.uid)[-1]
    assert (last.state, last.reason) == (State.CANCELLED, Reason.DELETED)
    assert processes_of(job) == []
    assert not place.attempt_file().parent.exists()
    with pytest.raises(JobNotFound):
        await server.engine.read_job("job")


async def test_create_waits_for_a_deletion_of_that_name(server: Server, place: Path) -> None:
    first = await server.engine.create_job("job", shell("exec sleep 1000"))
    await server.watched.reaches(first, State.RUNNING)
    await server.engine.delete_job("job")
    second = await server.engine.create_job("job", shell("exit 6"))
    assert server.watched.removed(first.uid)
    assert (await server.watched.end_of(second)).exit_code == 6


async def test_another_uid_is_left_alone(server: Server) -> None:
    await server.run(JobSpec(command=["true"]))
    for method in (server.engine.delete_job, server.engine.cancel_job):
        with pytest.raises(UidMismatch):
            await method("job", uid="another")
