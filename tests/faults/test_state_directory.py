"""The state directory: taken by another server, damaged, or with strange things in it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jobengine import Client, JobState, errors, is_terminal
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.story import check_truth
from tests.faults.truth import Task, release, waiting


def test_second_server_is_refused(tmp_path: Path, server: FaultyServer, client: Client) -> None:
    task = waiting("job", tmp_path, 3)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    address, server.address = server.address, "127.0.0.1:0"
    with server.spawn() as second:
        try:
            assert second.stdout is not None
            assert second.stdout.read() == ""
            assert second.wait(20) == 1
        finally:
            second.kill()
    server.address = address
    said = server.log.read_text().splitlines()[-1]
    assert f"another server uses {server.state_dir}" in said
    release(task)
    check_truth(task, client.wait("job"))


def test_directory_is_free_after_a_kill(server: FaultyServer) -> None:
    """The lock goes with the process, whatever its launcher and shims still do."""
    launcher = processes.launcher(server.pid, server.state_dir)
    launcher.suspend()
    try:
        server.kill()
        server.start()
    finally:
        launcher.resume()


def test_unusable_directory_is_an_error(
    tmp_path: Path, make_server: Callable[..., FaultyServer]
) -> None:
    (tmp_path / "file").touch()
    server = make_server(state_dir=tmp_path / "file" / "state")
    with pytest.raises(AssertionError, match="can't be used"):
        server.start()


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 5])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x40
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _garbage(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def _unreadable(path: Path) -> None:
    """As with a bad block: reading it is an error, whoever tries."""
    path.unlink()
    path.mkdir()


DAMAGES = pytest.mark.parametrize("damage", [_truncate, _flip, _empty, _garbage, _unreadable])


class Neighbours:
    """Jobs in the same directory that have nothing to do with the damage."""

    def __init__(self, tmp_path: Path, client: Client) -> None:
        self._client = client
        self._ended = Task("ended", tmp_path, "leave 5")
        self._running = waiting("running", tmp_path, 6)
        for task in (self._ended, self._running):
            client.create_job(task.spec, name=task.name)
        client.wait("ended")
        self._running.wait_for_start()

    def check(self) -> None:
        check_truth(self._ended, self._client.read_status("ended"))
        release(self._running)
        check_truth(self._running, self._client.wait("running"))


@DAMAGES
def test_damaged_job_record(
    tmp_path: Path, server: FaultyServer, client: Client, damage: Callable[[Path], None]
) -> None:
    """It is LOST, or the server's log names it; nothing of it runs on unseen."""
    neighbours = Neighbours(tmp_path, client)
    task = Task("broken", tmp_path, "note ready 1; sleep 60; leave 0")
    client.create_job(task.spec, name="broken")
    run = task.wait_for_start()
    server.kill()
    damage(server.state_dir / "jobs" / "broken" / "job")
    server.log.unlink()
    server.start()
    neighbours.check()
    try:
        assert client.wait("broken", timeout_seconds=5).state == JobState.JOB_STATE_LOST
    except errors.JobNotFound:
        assert "broken" in server.log.read_text(), "an accepted job is gone, and nobody is told"
    assert run.pid not in [process.pid for process in processes.of_jobs(tmp_path)]


@DAMAGES
def test_damaged_record_of_a_running_attempt(
    tmp_path: Path, server: FaultyServer, client: Client, damage: Callable[[Path], None]
) -> None:
    """It goes on where its shim makes the damage good; else it is LOST, and nothing of it runs."""
    neighbours = Neighbours(tmp_path, client)
    task = waiting("broken", tmp_path, 4)
    client.create_job(task.spec, name="broken")
    run = task.wait_for_start()
    server.kill()
    damage(server.state_dir / "jobs" / "broken" / "0.0")
    server.start()
    neighbours.check()
    if is_terminal(client.read_status("broken", fresh=True)):
        assert run.pid not in [process.pid for process in processes.of_jobs(tmp_path)]
    else:
        release(task)
    status = client.wait("broken", timeout_seconds=10)
    if status.state != JobState.JOB_STATE_LOST:
        check_truth(task, status)
    assert len(task.runs()) == 1


@DAMAGES
def test_damaged_record_of_an_end(
    tmp_path: Path, server: FaultyServer, client: Client, damage: Callable[[Path], None]
) -> None:
    """How it ended can't be known any more; it isn't run again to find out."""
    neighbours = Neighbours(tmp_path, client)
    task = Task("broken", tmp_path, "leave 0", {"max_retries": 2})
    client.create_job(task.spec, name="broken")
    client.wait("broken")
    server.kill()
    damage(server.state_dir / "jobs" / "broken" / "0.0")
    server.start()
    neighbours.check()
    status = client.wait("broken", timeout_seconds=10)
    # A flipped bit may lie in the unused part of the record.
    assert status.state in (JobState.JOB_STATE_LOST, JobState.JOB_STATE_SUCCEEDED)
    assert (status.state == JobState.JOB_STATE_SUCCEEDED) <= (damage is _flip)
    assert len(task.runs()) == 1


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty, _garbage])
def test_damaged_stop(
    tmp_path: Path, server: FaultyServer, client: Client, damage: Callable[[Path], None]
) -> None:
    """The job goes on until it is cancelled once more."""
    task = Task("job", tmp_path, "trap '' TERM; note ready 1; sleep 60 & wait; wait; leave 0")
    client.create_job(task.spec, name="job")
    task.wait_for("ready")
    client.cancel_job("job", grace_seconds=60)
    server.kill()
    damage(server.state_dir / "jobs" / "job" / "stop")
    server.start()
    client.cancel_job("job", grace_seconds=0)
    assert client.wait("job").state == JobState.JOB_STATE_CANCELLED
    assert not processes.of_jobs(tmp_path)


def test_strange_things_in_the_directory(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    """What others leave there (a file manager, a backup) doesn't keep the server from starting."""
    neighbours = Neighbours(tmp_path, client)
    server.kill()
    jobs = server.state_dir / "jobs"
    (jobs / ".DS_Store").write_bytes(b"\0")
    (jobs / "ended" / "notes.txt").write_text("mine")
    (jobs / "ended" / "1.2.3").write_text("mine")
    (server.state_dir / "trash" / "file").write_text("mine")
    (server.state_dir / "more").mkdir()
    server.start()
    neighbours.check()


def test_launcher_log_and_events_are_made_anew(
    tmp_path: Path, server: FaultyServer, client: Client
) -> None:
    neighbours = Neighbours(tmp_path, client)
    server.kill()
    (server.state_dir / "events").unlink()
    (server.state_dir / "launcher.log").unlink()
    shutil.rmtree(server.state_dir / "trash")
    server.start()
    neighbours.check()
