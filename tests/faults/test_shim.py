"""Shims killed: the job is LOST, nothing of it is left, and it never runs again."""

import os
import signal
from pathlib import Path

import pytest

from jobengine import Client, JobReason, JobState
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.truth import Task, waiting

TREE = """\
sleep 60 &
setsid sh -c 'sleep 60 & sleep 60' &
(trap '' TERM HUP; sleep 60 & sleep 60) &
note ready 1; sleep 60; leave 0
"""


def check_lost(client: Client, task: Task) -> None:
    status = client.wait(task.name, timeout_seconds=20)
    assert status.state == JobState.JOB_STATE_LOST
    assert status.reason == JobReason.JOB_REASON_UNKNOWN
    assert not status.HasField("exit_code")
    assert status.message
    assert len(task.runs()) == 1
    assert not processes.of_jobs(task.directory)


@pytest.mark.parametrize("retries", [0, 3])
def test_killed_while_the_server_lives(
    tmp_path: Path, server: FaultyServer, client: Client, retries: int
) -> None:
    task = Task("job", tmp_path, TREE, {"max_retries": retries})
    client.create_job(task.spec, name=task.name)
    task.wait_for("ready")
    os.kill(task.wait_for_start().shim_pid, signal.SIGKILL)
    check_lost(client, task)
    server.kill()
    server.start()
    check_lost(client, task)


@pytest.mark.parametrize("first", ["shim", "server"])
def test_killed_while_there_is_no_server(
    tmp_path: Path, server: FaultyServer, client: Client, first: str
) -> None:
    task = Task("job", tmp_path, TREE)
    client.create_job(task.spec, name=task.name)
    task.wait_for("ready")
    shim_pid = task.wait_for_start().shim_pid
    if first == "server":
        server.kill()
    os.kill(shim_pid, signal.SIGKILL)
    if first == "shim":
        server.kill()
    server.start()
    check_lost(client, task)


def test_killed_with_the_server_frozen(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    task = Task("job", tmp_path, TREE)
    client.create_job(task.spec, name=task.name)
    task.wait_for("ready")
    server.send(signal.SIGSTOP)
    os.kill(task.wait_for_start().shim_pid, signal.SIGKILL)
    server.send(signal.SIGCONT)
    check_lost(client, task)


def test_only_its_own_job_is_lost(tmp_path: Path, server: FaultyServer, client: Client) -> None:
    lost, other = waiting("lost", tmp_path), Task("other", tmp_path, "sleep 1; leave 3")
    for task in (lost, other):
        client.create_job(task.spec, name=task.name)
        task.wait_for_start()
    os.kill(lost.wait_for_start().shim_pid, signal.SIGKILL)
    assert client.wait("lost").state == JobState.JOB_STATE_LOST
    assert client.wait("other").exit_code == 3


def test_one_lost_instance_ends_the_job(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    """How that instance ended can't be known: the others are stopped, the job is LOST."""
    task = waiting("job", tmp_path, completions=3, parallelism=2)
    client.create_job(task.spec, name=task.name)
    processes.until("two run", lambda: len(task.runs()) == 2)
    os.kill(task.runs()[0].shim_pid, signal.SIGKILL)
    status = client.wait("job")
    assert status.state == JobState.JOB_STATE_LOST
    assert len(task.runs()) == 2
    assert not processes.of_jobs(tmp_path)


def test_frozen_shim_is_not_lost(tmp_path: Path, server: FaultyServer, client: Client) -> None:
    """Only what is dead is lost: a job that ends meanwhile has its own exit code."""
    task = Task("job", tmp_path, "sleep 0.2; leave 4")
    client.create_job(task.spec, name=task.name)
    run = task.wait_for_start()
    os.kill(run.shim_pid, signal.SIGSTOP)
    try:
        server.kill()
        task.wait_for("exit")
        server.start()
        assert client.read_status("job", fresh=True).state == JobState.JOB_STATE_RUNNING
    finally:
        os.kill(run.shim_pid, signal.SIGCONT)
    status = client.wait("job")
    assert (status.state, status.exit_code) == (JobState.JOB_STATE_FAILED, 4)


def test_cancel_of_a_lost_job(tmp_path: Path, server: FaultyServer, client: Client) -> None:
    """Cancelled while its shim is dead already: it ends, and nothing of it runs on."""
    task = Task("job", tmp_path, TREE)
    client.create_job(task.spec, name=task.name)
    task.wait_for("ready")
    os.kill(task.wait_for_start().shim_pid, signal.SIGKILL)
    client.cancel_job("job", grace_seconds=0)
    assert client.wait("job").state in (JobState.JOB_STATE_LOST, JobState.JOB_STATE_CANCELLED)
    assert not processes.of_jobs(tmp_path)
