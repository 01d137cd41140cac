"""Requests that meet an end which is recorded, and which the server hasn't noticed yet."""

import fcntl
import os
import signal
from pathlib import Path

import pytest

from jobengine import Client, JobState, errors
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.story import check_truth
from tests.faults.truth import Task, release, waiting


@pytest.fixture
def task(tmp_path: Path, server: FaultyServer, client: Client) -> Task:
    """A job that has ended; what should have told the server went astray."""
    task = waiting("job", tmp_path, 3)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    processes.until(
        "the server knows that it runs",
        lambda: client.read_status("job").state == JobState.JOB_STATE_RUNNING,
    )
    (server.state_dir / "events").unlink()
    release(task)
    processes.until("its end is recorded", lambda: _is_over(server))
    return task


def _is_over(server: FaultyServer) -> bool:
    """Whether the shim has let go of the record, which is the last thing that it does."""
    fd = os.open(server.state_dir / "jobs" / "job" / "0.0", os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def test_cancel(client: Client, task: Task) -> None:
    """It comes too late, which is no error."""
    client.cancel_job("job")
    check_truth(task, client.wait("job"))


def test_delete(client: Client, task: Task) -> None:
    client.delete_job("job", wait=True)
    with pytest.raises(errors.JobNotFound):
        client.read_job("job")
    assert len(task.runs()) == 1


def test_restart(server: FaultyServer, client: Client, task: Task) -> None:
    server.kill()
    server.start()
    check_truth(task, client.wait("job"))


def test_nobody_asks(client: Client, task: Task) -> None:
    """The server finds out by itself."""
    check_truth(task, client.wait("job"))


def test_killed_shim_after_the_end(server: FaultyServer, client: Client, task: Task) -> None:
    """A shim without a job may die: the end stands."""
    server.send(signal.SIGSTOP)
    try:
        os.kill(task.runs()[0].shim_pid, signal.SIGKILL)
    finally:
        server.send(signal.SIGCONT)
    check_truth(task, client.wait("job"))
