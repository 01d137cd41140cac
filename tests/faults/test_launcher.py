"""The launcher killed or frozen: waiting jobs go on, running ones don't notice."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from jobengine import Client, JobState
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.story import check_truth
from tests.faults.truth import Task, release, waiting


def test_killed_while_jobs_run_and_wait(
    tmp_path: Path, make_server: Callable[..., FaultyServer], new_client: Callable[[str], Client]
) -> None:
    server = make_server("--max-running", "2")
    server.start()
    client = new_client(server.address)
    running = [waiting(f"running-{number}", tmp_path, number) for number in range(2)]
    later = [Task(f"later-{number}", tmp_path, f"leave {number}") for number in range(4)]
    for task in (*running, *later):
        client.create_job(task.spec, name=task.name)
    pids = [task.wait_for_start().pid for task in running]
    launcher = processes.launcher(server.pid, server.state_dir)
    launcher.kill()
    for task in running:
        release(task)
    for task in (*running, *later):
        check_truth(task, client.wait(task.name))
    assert [task.runs()[0].pid for task in running] == pids
    assert processes.launcher(server.pid, server.state_dir).pid != launcher.pid


def test_killed_again_and_again(tmp_path: Path, server: FaultyServer, client: Client) -> None:
    for number in range(3):
        processes.launcher(server.pid, server.state_dir).kill()
        task = Task(f"job-{number}", tmp_path, f"leave {number}")
        client.create_job(task.spec, name=task.name)
        check_truth(task, client.wait(task.name))


def test_frozen_launcher_only_delays(
    tmp_path: Path, make_server: Callable[..., FaultyServer], new_client: Callable[[str], Client]
) -> None:
    server = make_server()
    server.start()
    client = new_client(server.address)
    launcher = processes.launcher(server.pid, server.state_dir)
    launcher.suspend()
    try:
        tasks = [Task(f"job-{number}", tmp_path, f"leave {number}") for number in range(3)]
        for task in tasks:
            client.create_job(task.spec, name=task.name)
            assert client.read_status(task.name).state == JobState.JOB_STATE_PENDING
    finally:
        launcher.resume()
    for task in tasks:
        check_truth(task, client.wait(task.name))


def test_server_killed_with_its_launcher_frozen(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    """What the old launcher still does when it wakes up is done by one of the two only."""
    launcher = processes.launcher(server.pid, server.state_dir)
    launcher.suspend()
    try:
        tasks = [Task(f"job-{number}", tmp_path, "sleep 0.1; leave 3") for number in range(6)]
        for task in tasks:
            client.create_job(task.spec, name=task.name)
        server.kill()
        server.start()
    finally:
        launcher.resume()
    for task in tasks:
        check_truth(task, client.wait(task.name))
        assert len(task.runs()) == 1
    processes.until("the old launcher ends", lambda: not processes.alive(launcher))


def test_cancelled_before_it_could_start(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    """A job that was handed out, but not begun, and then cancelled or deleted never runs."""
    launcher = processes.launcher(server.pid, server.state_dir)
    launcher.suspend()
    try:
        cancelled, deleted = (Task(name, tmp_path, "leave 0") for name in ("cancelled", "deleted"))
        for task in (cancelled, deleted):
            client.create_job(task.spec, name=task.name)
        client.cancel_job("cancelled")
        client.delete_job("deleted", wait=True)
        assert client.wait("cancelled").state == JobState.JOB_STATE_CANCELLED
    finally:
        launcher.resume()
    last = Task("last", tmp_path, "leave 0")
    client.create_job(last.spec, name="last")
    check_truth(last, client.wait("last"))
    assert not cancelled.runs()
    assert not deleted.runs()


def test_all_shims_killed_with_the_launcher(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    task = waiting("lost", tmp_path)
    client.create_job(task.spec, name="lost")
    run = task.wait_for_start()
    launcher = processes.launcher(server.pid, server.state_dir)
    for pid in (launcher.pid, run.shim_pid):
        os.kill(pid, signal.SIGKILL)
    assert client.wait("lost").state == JobState.JOB_STATE_LOST
    after = Task("after", tmp_path, "leave 0")
    client.create_job(after.spec, name="after")
    check_truth(after, client.wait("after"))
