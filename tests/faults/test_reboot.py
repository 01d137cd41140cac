"""The machine went down under running jobs, as far as that can be played without a reboot.

All that ran is gone at once, and the PIDs in the records are those of strangers by now.
"""

import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engines.local import record
from jobengine import Client, JobState
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.story import check_truth
from tests.faults.truth import Task, waiting


@pytest.fixture
def stranger() -> Generator["subprocess.Popen[bytes]"]:
    """A process that has nothing to do with any job."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def reboot(server: FaultyServer, tasks: Sequence[Task], stranger_pid: int = 0) -> None:
    """Take the machine down with these jobs running, and give a stranger their PIDs."""
    server.kill()
    processes.kill_all(tasks[0].directory, server.state_dir)
    for task in tasks:
        path = server.state_dir / "jobs" / task.name / "0.0"
        if stranger_pid:
            path.write_bytes(record.encode_start(time.time() - 60, stranger_pid))
    server.start()


def test_running_job_is_lost(
    tmp_path: Path, server: FaultyServer, client: Client, stranger: subprocess.Popen[bytes]
) -> None:
    task = waiting("job", tmp_path, max_retries=2)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    reboot(server, [task], stranger.pid)
    status = client.wait("job")
    assert status.state == JobState.JOB_STATE_LOST
    assert len(task.runs()) == 1
    assert stranger.poll() is None


def test_job_that_was_being_cancelled(
    tmp_path: Path, server: FaultyServer, client: Client, stranger: subprocess.Popen[bytes]
) -> None:
    """The stop that was noted isn't sent to whoever has the PID now."""
    task = Task("job", tmp_path, "trap '' TERM; note ready 1; sleep 60 & wait; wait; leave 0")
    client.create_job(task.spec, name="job")
    task.wait_for("ready")
    client.cancel_job("job", grace_seconds=60)
    reboot(server, [task], stranger.pid)
    assert client.wait("job").state in (JobState.JOB_STATE_CANCELLED, JobState.JOB_STATE_LOST)
    assert stranger.poll() is None


def test_strangers_survive_cancels_during_recovery(
    tmp_path: Path,
    make_server: Callable[..., FaultyServer],
    new_client: Callable[[str], Client],
    stranger: subprocess.Popen[bytes],
) -> None:
    """Many lost jobs are cancelled while the server is still finding out that they are lost."""
    server = make_server("--max-running", "16")
    server.start()
    client = new_client(server.address)
    tasks = [waiting(f"job-{number}", tmp_path) for number in range(16)]
    for task in tasks:
        client.create_job(task.spec, name=task.name)
    for task in tasks:
        task.wait_for_start()
    reboot(server, tasks, stranger.pid)
    with ThreadPoolExecutor(len(tasks)) as pool:
        list(pool.map(lambda task: client.cancel_job(task.name, grace_seconds=5), tasks))
    for task in tasks:
        assert client.wait(task.name).state in (
            JobState.JOB_STATE_CANCELLED,
            JobState.JOB_STATE_LOST,
        )
    assert stranger.poll() is None, "a process that is no job's was sent a signal"


def test_waiting_jobs_run_after_it(
    tmp_path: Path, make_server: Callable[..., FaultyServer], new_client: Callable[[str], Client]
) -> None:
    server = make_server("--max-running", "1")
    server.start()
    client = new_client(server.address)
    first, second = waiting("first", tmp_path), Task("second", tmp_path, "leave 3")
    client.create_job(first.spec, name="first")
    first.wait_for_start()
    client.create_job(second.spec, name="second")
    reboot(server, [first])
    assert client.wait("first").state == JobState.JOB_STATE_LOST
    check_truth(second, client.wait("second"))
    assert len(first.runs()) == 1


def test_torn_start_reads_as_lost(tmp_path: Path, server: FaultyServer, client: Client) -> None:
    """The machine died while the attempt's record was being written."""
    task = waiting("job", tmp_path)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    server.kill()
    processes.kill_all(tmp_path, server.state_dir)
    path = server.state_dir / "jobs" / "job" / "0.0"
    path.write_bytes(path.read_bytes()[:20])
    server.start()
    assert client.wait("job").state == JobState.JOB_STATE_LOST
    assert len(task.runs()) == 1
