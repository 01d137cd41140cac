"""Servers and clients frozen by SIGSTOP: nothing is missed, and nobody else is held up."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from jobengine import Client, JobState, is_terminal
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.story import check_truth
from tests.faults.truth import Task, release, waiting

WATCH = """
import sys
from jobengine import Client, state_name
with Client(sys.argv[1]) as client:
    for event in client.watch_status(sys.argv[2]):
        print(state_name(event.status), flush=True)
"""


def test_server_frozen_while_jobs_end(tmp_path: Path, server: FaultyServer, client: Client) -> None:
    tasks = [waiting(f"job-{number}", tmp_path, number) for number in range(4)]
    for task in tasks:
        client.create_job(task.spec, name=task.name)
        task.wait_for_start()
    with closing(client.watch_status("job-3")) as events:
        assert next(events).status.state == JobState.JOB_STATE_RUNNING
        server.send(signal.SIGSTOP)
        try:
            for task in tasks:
                release(task)
                task.wait_for("exit")
        finally:
            server.send(signal.SIGCONT)
        assert [e.status.exit_code for e in events if is_terminal(e.status)] == [3]
    for task in tasks:
        check_truth(task, client.wait(task.name))


def test_notifications_lost_while_the_server_is_frozen(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    """The FIFO is full of nonsense when jobs end: the server finds out by itself."""
    task = waiting("job", tmp_path, 3)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    server.send(signal.SIGSTOP)
    try:
        _fill(server.state_dir / "events")
        release(task)
        task.wait_for("exit")
    finally:
        server.send(signal.SIGCONT)
    check_truth(task, client.wait("job"))


def _fill(fifo: Path) -> None:
    fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(fd, b"job 0.0\nno-such-job 7.7\n\xff\xfe job x.y\n" * 8)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)


def test_server_frozen_and_then_killed(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    task = waiting("job", tmp_path, 3)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    server.send(signal.SIGSTOP)
    release(task)
    task.wait_for("exit")
    server.kill()
    server.start()
    check_truth(task, client.wait("job"))


def _wait_for_runs(task: Task, count: int) -> None:
    processes.until(f"{count} instances have started", lambda: len(task.runs()) >= count)


def test_frozen_client_disturbs_nobody(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    task = waiting("job", tmp_path, completions=8)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    with subprocess.Popen(
        [sys.executable, "-c", WATCH, server.address, "job"], stdout=subprocess.PIPE, text=True
    ) as watcher:
        try:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == "RUNNING\n"
            watcher.send_signal(signal.SIGSTOP)
            other = Task("other", tmp_path, "leave 4")
            client.create_job(other.spec, name="other")
            check_truth(other, client.wait("other"))
            for number in range(8):
                _wait_for_runs(task, number + 1)
                release(task)
            check_truth(task, client.wait("job"))
            watcher.send_signal(signal.SIGCONT)
            told = watcher.stdout.read().splitlines()
            assert watcher.wait(20) == 0
        finally:
            watcher.kill()
    assert told[-1] == "SUCCEEDED"
    assert set(told[:-1]) <= {"RUNNING"}
