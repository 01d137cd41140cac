"""What the local engine says of its state directory, which it doesn't take."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.base import State
from engines.findings import Finding
from engines.local import LocalEngine
from tests.engines.local.place import Place, shell


async def examined(state_dir: Path) -> dict[str, Finding]:
    return {finding.what: finding async for finding in LocalEngine(state_dir).examine()}


async def test_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    found = await examined(tmp_path / "deep/state")
    assert "isn't there yet" in found["state directory"].words
    assert {"local", "file system", "disk", "durability", "control groups"} <= found.keys()
    assert all(finding.fine for finding in found.values())
    assert list(tmp_path.iterdir()) == []


async def test_beside_a_running_server(place: Place) -> None:
    async with place.server() as server:
        gate = place.gate()
        job = await server.engine.create_job("job", shell(f"{gate.wait}; exit 3"))
        await server.watched.reaches(job, State.RUNNING)
        before = files(place.state_dir)
        found = await examined(place.state_dir)
        assert files(place.state_dir) == before
        assert all(finding.fine for finding in found.values()), found
        assert found["jobs"].words == "1 job"
        assert "a server has it" in found["in use"].words
        if sys.platform == "linux":
            assert f"process {os.getpid()}" in found["in use"].words
        await gate.open()
        assert (await server.watched.end_of(job)).exit_code == 3


async def test_after_a_server(place: Place) -> None:
    async with place.server():
        pass
    found = await examined(place.state_dir)
    assert "in use" not in found
    assert found["jobs"].words == "0 jobs"


def files(directory: Path) -> set[Path]:
    return set(directory.rglob("*"))


async def test_records_that_could_not_be_read(place: Place) -> None:
    async with place.server():
        pass
    (place.state_dir / "damaged/job.1").mkdir()
    found = (await examined(place.state_dir))["damaged records"]
    assert not found.fine
    assert str(place.state_dir / "damaged") in found.words


async def test_what_is_no_directory(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text("")
    found = await examined(file)
    assert not found["state directory"].fine
    assert "no directory" in found["state directory"].words
    assert found["disk"].fine


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_directory_of_somebody_else() -> None:
    found = (await examined(Path("/")))["state directory"]
    assert not found.fine
    assert "can't be written by this user" in found.words


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
async def test_a_directory_that_nobody_can_write() -> None:
    found = (await examined(Path("/proc/self")))["state directory"]
    assert not found.fine


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that a reboot empties."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="jobengine-test") as directory:
        yield Path(directory)


async def test_a_file_system_in_memory(memory: Path) -> None:
    found = (await examined(memory / "state"))["file system"]
    assert not found.fine
    assert "a reboot takes all jobs with it" in found.words


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.local.examination.MIN_FREE_BYTES", 1 << 62)
    found = (await examined(tmp_path))["disk"]
    assert not found.fine
    assert "MiB free" in found.words


async def test_a_disk_without_room_for_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.local.examination.MIN_FREE_FILES", 1 << 62)
    found = (await examined(tmp_path))["disk"]
    assert not found.fine
    assert "files" in found.words


async def test_a_machine_without_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.local.cgroup.mounted", list)
    found = (await examined(tmp_path))["control groups"]
    assert found.fine
    assert "jobs with cpu_millis or memory_bytes are refused" in found.words
