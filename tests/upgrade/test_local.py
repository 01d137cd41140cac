"""A state directory of an older release, and of one that isn't known here."""

import signal
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict

from jobengine import Client, Job, JobReason, JobState, errors, is_terminal
from tests.faults.server import FaultyServer
from tests.faults.test_disk_full import Disk, disk  # noqa: F401  (a fixture)
from tests.upgrade.conftest import Serve
from tests.upgrade.golden import golden, unpack_state

SAID = golden("local")["said"]
"""By job: what the older release's server said of it."""

OVER = sorted(name for name in SAID if name != "pending")


@pytest.fixture
def server(tmp_path: Path) -> FaultyServer:
    """Today's, on a copy of the golden directory; not started yet."""
    return FaultyServer(unpack_state(tmp_path), "--max-running", "1")


@pytest.fixture
def client(server: FaultyServer, serve: Serve) -> Client:
    """A client of that server."""
    return serve(server)


def then(name: str) -> Job:
    """A job as the older release told it."""
    return ParseDict(SAID[name]["job"], Job())


def content(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that there is below a directory, and when it was touched last."""
    return {
        str(each.relative_to(path)): (
            each.lstat().st_ino,
            each.lstat().st_mtime_ns,
            each.read_bytes() if each.is_file() else b"",
        )
        for each in (path, *path.rglob("*"))
    }


# -- one of format 1 ----------------------------------------------------------------------------


def test_jobs_that_are_over_are_told_as_before(client: Client) -> None:
    states = {name: then(name).status.state for name in OVER}
    assert set(states.values()) == {
        JobState.JOB_STATE_SUCCEEDED,
        JobState.JOB_STATE_FAILED,
        JobState.JOB_STATE_CANCELLED,
    }
    for name in OVER:
        assert client.read_job(name) == then(name)
        assert client.read_status(name, fresh=True) == then(name).status
        (event,) = client.watch_status(name)
        assert event.status == then(name).status
        assert event.cursor == SAID[name]["cursor"]
        assert list(client.watch_status(name, cursor=SAID[name]["cursor"])) == []


def test_output_is_told_as_before_and_read_on(client: Client) -> None:
    read = 0
    for name in OVER:
        for instance, chunks in enumerate(SAID[name]["logs"]):
            for cursor, stream, text in chunks:
                assert text in [
                    chunk.data.decode()
                    for chunk in client.logs(name, instance=instance, stream=stream)
                ], (cursor, stream)
            found = client.logs(name, instance=instance)
            assert [[each.cursor, each.stream, each.data.decode()] for each in found] == chunks
            for number, (cursor, _, _) in enumerate(chunks):
                rest = client.logs(name, instance=instance, cursor=cursor)
                assert [each.cursor for each in rest] == [each[0] for each in chunks[number + 1 :]]
                read += 1
    assert read >= 8


def test_jobs_are_found_by_their_labels(client: Client) -> None:
    def names(selector: str) -> list[str]:
        return [job.name for job in client.list_jobs(selector)]

    assert names("golden=yes") == ["failed", "pending"]
    assert names("team=a") == ["failed"]
    assert {*SAID, "unseen", "stopping"} <= set(names(""))


def test_a_job_that_waited_runs(client: Client) -> None:
    """Two instances, the second of which fails at first."""
    events = list(client.watch_status("pending"))
    assert {event.uid for event in events} == {then("pending").uid}
    status = events[-1].status
    assert status.state == JobState.JOB_STATE_SUCCEEDED, status
    assert (status.succeed, status.retries) == (2, 1)
    assert status.create_time == then("pending").status.create_time
    said = [b"".join(chunk.data for chunk in client.logs("pending", instance=n)) for n in (0, 1)]
    assert said == [b"ran 0.0\n", b"ran 1.0\nran 1.1\n"]


def test_an_end_that_no_server_has_seen(client: Client) -> None:
    status = client.wait("unseen")
    assert (status.state, status.exit_code) == (JobState.JOB_STATE_FAILED, 5)
    assert [chunk.data for chunk in client.logs("unseen")] == [b"unseen\n"]


def test_what_was_decided_is_carried_out(client: Client) -> None:
    status = client.wait("stopping")
    expected = (JobState.JOB_STATE_CANCELLED, JobReason.JOB_REASON_CANCELLED)
    assert (status.state, status.reason) == expected, status
    assert list(client.logs("stopping")) == []
    client.delete_job("deleting", wait=True, allow_missing=True)  # or wait for that
    with pytest.raises(errors.JobNotFound):
        client.read_job("deleting")


def test_a_repeated_creation_gives_the_same_job(client: Client) -> None:
    for name in OVER:
        again = client.create_job(then(name).spec, name=name, request_id=f"request-{name}")
        assert again.uid == then(name).uid
        with pytest.raises(errors.JobAlreadyExists):
            client.create_job(then(name).spec, name=name)


def test_all_are_deleted(server: FaultyServer, client: Client) -> None:
    for job in list(client.list_jobs()):
        client.delete_job(job.name, wait=True, allow_missing=True)
    assert list(client.list_jobs()) == []
    assert server.terminate() == 0
    for place in ("jobs", "trash", "damaged"):
        assert list((server.state_dir / place).iterdir()) == [], place


def test_the_directory_says_its_format_from_then_on(server: FaultyServer, client: Client) -> None:
    assert (server.state_dir / "format").read_bytes() == b"1\n"


# -- the file -----------------------------------------------------------------------------------


def test_a_new_directory_says_its_format(tmp_path: Path, serve: Serve) -> None:
    server = FaultyServer(tmp_path / "new" / "state")
    serve(server)
    assert (server.state_dir / "format").read_bytes() == b"1\n"
    assert not (server.state_dir / "format.new").exists()


@pytest.mark.parametrize("said", ["2\n", "10\n", "0", "1.1\n", "one\n", "\N{PILE OF POO}" * 100])
def test_a_directory_of_another_format_is_left_alone(server: FaultyServer, said: str) -> None:
    (server.state_dir / "format").write_text(said)
    before = content(server.state_dir)
    assert not any(name in before for name in ("lock", "events"))
    with server.spawn() as process:
        try:
            assert process.wait(20) == 1
            assert process.stdout is not None
            assert process.stdout.read() == ""
        finally:
            process.kill()
    assert content(server.state_dir) == before
    line = server.log.read_text().splitlines()[-1]
    assert f"is of format {said.strip()[:20]!r}" in line
    assert "use the release that wrote it, or another directory" in line
    assert len(line) < 400


@pytest.mark.parametrize("fault", ["os.rename */format.new 1", "open */format.new 1"])
def test_a_server_that_dies_as_it_writes_the_file_locks_nobody_out(
    server: FaultyServer, serve: Serve, fault: str
) -> None:
    with server.spawn(fault) as process:
        try:
            assert process.wait(20) == -signal.SIGKILL
        finally:
            process.kill()
    assert not (server.state_dir / "format").exists()
    client = serve(server)
    assert (server.state_dir / "format").read_bytes() == b"1\n"
    assert is_terminal(client.wait("pending"))


@pytest.mark.parametrize("said", ["", "\n", "1", "1\n"])
def test_what_says_nothing_else_is_format_1(server: FaultyServer, serve: Serve, said: str) -> None:
    (server.state_dir / "format").write_text(said)
    (server.state_dir / "format.new").write_text("torn")
    assert serve(server).read_job("failed") == then("failed")
    assert (server.state_dir / "format").read_text().strip() == "1"


def test_jobs_are_read_and_deleted_on_a_full_disk(disk: Disk, serve: Serve) -> None:  # noqa: F811
    """Otherwise nothing could be deleted to make room."""
    server = FaultyServer(unpack_state(disk.path), "--max-running", "1")
    first = serve(server)
    assert is_terminal(first.wait("pending"))
    server.terminate()
    (server.state_dir / "format").unlink()
    disk.fill()
    client = serve(server)
    assert not (server.state_dir / "format").exists()
    assert client.read_job("failed") == then("failed")
    client.delete_job("failed", wait=True)
    disk.free()
    server.terminate()
    serve(server)
    assert (server.state_dir / "format").read_bytes() == b"1\n"
