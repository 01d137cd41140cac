"""A full disk under the state directory: jobs end as they did, requests fail with clear words."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from jobengine import Client, JobState, errors
from tests.faults import processes
from tests.faults.server import FaultyServer
from tests.faults.story import check_truth
from tests.faults.truth import Task, release, waiting

MIB = 1 << 20
SIZE = 4 * MIB

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0,
    reason="a small file system is mounted for these: run them on Linux as root",
)


class Disk:
    """A small file system that can be filled up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave not a byte."""
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        with pytest.raises(OSError, match="No space"), (self.path / "more").open("wb") as file:
            file.write(b"x")
        (self.path / "more").unlink()

    def free(self) -> None:
        """Take the filling away again."""
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "jobengine-test", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"can't mount: {done.stderr.strip()}; allow it (CAP_SYS_ADMIN) for this test")
    yield Disk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def server(disk: Disk, make_server: Callable[..., FaultyServer]) -> FaultyServer:
    server = make_server("--max-running", "1", state_dir=disk.path / "state")
    # The server's log isn't what is to suffer here.
    (disk.path / "server.log").symlink_to(disk.path.parent / "server.log")
    server.start()
    return server


@pytest.fixture
def client(new_client: Callable[[str], Client], server: FaultyServer) -> Client:
    return new_client(server.address)


def test_more_output_than_fits(tmp_path: Path, disk: Disk, client: Client) -> None:
    """The job doesn't notice; what was lost of its output is told."""
    size = 3 * SIZE
    task = Task("job", tmp_path, f"head -c {size} /dev/zero; leave 6")
    client.create_job(task.spec, name="job")
    check_truth(task, client.wait("job"))
    kept = skipped = 0
    for chunk in client.logs("job"):
        kept += len(chunk.data)
        skipped += chunk.skipped_bytes
    assert kept > 0
    assert kept + skipped == size
    client.delete_job("job", wait=True)
    after = Task("after", tmp_path, "echo fits; leave 0")
    client.create_job(after.spec, name="after")
    check_truth(after, client.wait("after"))
    assert b"".join(chunk.data for chunk in client.logs("after")) == b"fits\n"


def test_end_is_recorded(tmp_path: Path, disk: Disk, server: FaultyServer, client: Client) -> None:
    """Room for the end was taken at the start; it is there after a crash too."""
    task = waiting("job", tmp_path, 7)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    disk.fill()
    release(task)
    check_truth(task, client.wait("job"))
    server.kill()
    server.start()
    check_truth(task, client.read_status("job"))


def test_create_is_refused(
    tmp_path: Path, disk: Disk, server: FaultyServer, client: Client
) -> None:
    task = Task("job", tmp_path, "leave 0")
    disk.fill()
    for _ in range(2):
        with pytest.raises(errors.LimitReached, match="No space left on device"):
            client.create_job(task.spec, name="job", request_id="same")
    with pytest.raises(errors.JobNotFound):
        client.read_job("job")
    assert not list(client.list_jobs())
    assert not list((server.state_dir / "jobs").iterdir())
    disk.free()
    client.create_job(task.spec, name="job", request_id="same")
    check_truth(task, client.wait("job"))
    assert len(task.runs()) == 1


def test_waiting_job_runs_once_there_is_room(
    tmp_path: Path, disk: Disk, server: FaultyServer, client: Client
) -> None:
    """Until then, trying again must not eat up the machine."""
    first, second = waiting("first", tmp_path), Task("second", tmp_path, "leave 3")
    client.create_job(first.spec, name="first")
    first.wait_for_start()
    client.create_job(second.spec, name="second")
    disk.fill()
    release(first)
    check_truth(first, client.wait("first"))
    with pytest.raises(errors.DeadlineExceeded):
        client.wait("second", timeout_seconds=2)
    assert client.read_status("second").state == JobState.JOB_STATE_PENDING
    died = server.log.read_text().count("shims died")
    assert died < 20, f"shims were started and died {died} times"
    disk.free()
    check_truth(second, client.wait("second"))
    assert len(second.runs()) == 1


@pytest.mark.parametrize("restart", [False, True], ids=["", "restart"])
@pytest.mark.parametrize("action", ["cancel_job", "delete_job"])
def test_stop_that_cannot_be_noted_changes_nothing(
    tmp_path: Path, disk: Disk, server: FaultyServer, client: Client, action: str, restart: bool
) -> None:
    """The caller is told, and the job goes on as if it hadn't been asked for."""
    task = waiting("job", tmp_path, completions=2)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    disk.fill()
    with pytest.raises(errors.LimitReached, match="No space left on device"):
        getattr(client, action)("job")
    disk.free()
    if restart:
        server.kill()
        server.start()
    release(task)
    processes.until("the second instance runs", lambda: len(task.runs()) == 2)
    release(task)
    check_truth(task, client.wait("job"))
    assert client.read_job("job").status.succeed == 2


def test_stop_can_be_repeated(tmp_path: Path, disk: Disk, client: Client) -> None:
    task = waiting("job", tmp_path)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    disk.fill()
    with pytest.raises(errors.LimitReached):
        client.cancel_job("job", grace_seconds=0)
    disk.free()
    client.cancel_job("job", grace_seconds=0)
    assert client.wait("job").state == JobState.JOB_STATE_CANCELLED


def test_server_starts_on_a_full_disk(
    tmp_path: Path, disk: Disk, server: FaultyServer, client: Client
) -> None:
    task = waiting("job", tmp_path, 3)
    client.create_job(task.spec, name="job")
    task.wait_for_start()
    server.kill()
    disk.fill()
    server.start()
    release(task)
    check_truth(task, client.wait("job"))
    client.delete_job("job", wait=True)
    assert not list((server.state_dir / "jobs").iterdir())
