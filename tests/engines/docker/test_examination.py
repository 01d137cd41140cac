"""What the Docker engine says of a daemon, at which it starts nothing."""

import gc
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engines.base import State
from engines.config import JobManager
from engines.docker.examination import _dockerd, _limits
from engines.findings import Finding
from tests.engines.docker.specs import shell

if TYPE_CHECKING:  # they need Docker's SDK
    from tests.docker.fixtures import Reachable
    from tests.docker.place import Place
    from tests.engines.docker.running import Server

on_docker = pytest.mark.engine("docker")

leaves_a_socket = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""The SDK does, where nobody listens; `gc.collect` lets go of it before the next test."""


async def examined(**settings: Any) -> dict[str, Finding]:
    engine = JobManager("docker", **settings)
    return {finding.what: finding async for finding in engine.examine()}


@on_docker
async def test_a_daemon_with_jobs_under_way(place: "Place", server: "Server") -> None:
    job = await server.engine.create_job("job", shell("sleep 300"))
    await server.watched.reaches(job, State.RUNNING)
    before = [each["Id"] for each in place.containers()], place.volumes()
    found = await examined(**place.settings)
    assert ([each["Id"] for each in place.containers()], place.volumes()) == before
    assert all(finding.fine for finding in found.values()), found
    assert "API 1." in found["Docker"].words
    assert found["jobs"].words == f"1 job in the namespace {place.namespace}"
    assert {"Docker's clock", "limits", "storage", "live-restore", "network"} <= found.keys()
    await server.engine.delete_job("job", grace_seconds=0)
    await server.watched.removal_of(job)


@on_docker
async def test_a_job_that_waits_is_left_waiting(place: "Place") -> None:
    """No server is there; whoever took the jobs up would start it."""
    from tests.engines.docker.running import serving

    async with serving(place) as server:
        spec = shell("true")
        spec.image = "127.0.0.1:1/never:1"
        await server.engine.create_job("job", spec)
    assert (await examined(**place.settings))["jobs"].fine
    assert place.containers() == []


@on_docker
async def test_settings_that_do_not_fit(place: "Place", tmp_path: Path) -> None:
    settings = place.settings | {"network": "nope", "secrets_dir": tmp_path / "nothing"}
    found = await examined(**settings)
    assert not found["network"].fine
    assert "nope isn't there" in found["network"].words
    assert not found["secrets"].fine
    assert found["jobs"].fine
    assert (await examined(**place.settings, secrets_dir=tmp_path))["secrets"].fine


@leaves_a_socket
async def test_no_daemon(tmp_path: Path) -> None:
    pytest.importorskip("docker")
    found = await examined(host=f"unix://{tmp_path}/none.sock")
    assert list(found) == ["Docker"]
    assert not found["Docker"].fine
    assert "no daemon is there; start it" in found["Docker"].words
    gc.collect()


@leaves_a_socket
async def test_a_daemon_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("docker")
    monkeypatch.setattr("engines.docker.examination.CONTACT_SECONDS", 0.2)
    address = tmp_path / "docker.sock"
    threads = set(threading.enumerate())
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(address))
        silent.listen()
        found = await examined(host=f"unix://{address}")
    assert list(found) == ["Docker"]
    assert found["Docker"].words == "no answer within 0.2 s"
    for left in set(threading.enumerate()) - threads:
        left.join(10)
        assert not left.is_alive()
    gc.collect()


@pytest.mark.engine("podman")
async def test_podman(podman_service: "Reachable") -> None:
    found = await examined(host=podman_service.host, network="podman")
    assert "API 1." in found["Podman"].words
    assert {"Podman's clock", "limits", "network", "jobs"} <= found.keys()
    assert "live-restore" not in found


GOOD: dict[str, Any] = {
    "MemoryLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "SwapLimit": True,
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Plugins": {"Log": ["json-file", "local"]},
    "InitBinary": "docker-init",
    "Driver": "overlay2",
    "LiveRestoreEnabled": True,
}


def test_a_good_daemon() -> None:
    found = [*_limits(GOOD), *_dockerd(GOOD)]
    assert [each.what for each in found] == ["limits", "storage", "live-restore"]
    assert all(each.fine for each in found)


@pytest.mark.parametrize(
    ("said", "what", "words"),
    [
        ({"MemoryLimit": False}, "limits", "memory_bytes"),
        ({"CpuCfsQuota": False, "PidsLimit": False}, "limits", "cpu_millis, the bound of 4096"),
        ({"Plugins": {"Log": ["json-file"]}}, "logs", "`local`"),
        ({"InitBinary": ""}, "init", "docker-init"),
        ({"Driver": "vfs"}, "storage", "overlay2"),
    ],
)
def test_a_daemon_that_lacks_something(said: dict[str, Any], what: str, words: str) -> None:
    (found,) = (each for each in (*_limits(GOOD | said), *_dockerd(GOOD | said)) if not each.fine)
    assert found.what == what
    assert words in found.words


def test_what_is_worth_knowing() -> None:
    said = GOOD | {"SwapLimit": False, "SecurityOptions": ["name=rootless"]}
    assert [each.what for each in _limits(said)] == ["limits", "rootless"]
    assert all(each.fine for each in _limits(said))
    assert "not of swap" in next(_limits(said)).words
