"""The daemons that tests run on: they can be hurt, and leave nothing."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import docker
import psutil
import pytest
import requests
from docker.models.containers import Container

from tests.docker import traces
from tests.docker.daemons import IMAGE, Daemon, Dockerd, PodmanService, connect
from tests.docker.fixtures import Reachable
from tests.faults.processes import alive, until

HERE = Path(__file__).parent

MakeDockerd = Callable[..., Dockerd]
Connect = Callable[[str], docker.DockerClient]

on_docker = pytest.mark.engine("docker")
on_podman = pytest.mark.engine("podman")


@pytest.fixture
def client_of() -> Iterator[Connect]:
    """Makes clients, which are closed at the end."""
    with ExitStack() as stack:
        yield lambda host: stack.enter_context(closing(connect(host)))


@pytest.fixture
def short_directory() -> Iterator[Path]:
    with TemporaryDirectory(dir="/tmp", prefix="podman") as place:
        yield Path(place)


def run(client: docker.DockerClient, script: str, **options: Any) -> Container:
    """Start a container that runs a script."""
    container = client.containers.create(IMAGE, ["sh", "-c", script], **options)
    container.start()
    return container


def process_of(container: Container) -> psutil.Process:
    container.reload()
    return psutil.Process(container.attrs["State"]["Pid"])


def exit_code(container: Container) -> int:
    """The exit code of a container that has ended."""
    container.reload()
    assert container.status == "exited"
    return int(container.attrs["State"]["ExitCode"])


def ends_while_it_is_down(daemon: Daemon, client: docker.DockerClient, place: Path) -> Container:
    """Kill the daemon, let a container end, and start the daemon again."""
    script = "until [ -e /place/go ]; do sleep 0.02; done; exit 7"
    container = run(client, script, volumes={str(place): {"bind": "/place", "mode": "ro"}})
    process = process_of(container)
    daemon.kill()
    assert alive(process)
    (place / "go").touch()
    until("the container ends", lambda: not alive(process))
    daemon.start()
    return container


def assert_nothing_is_left(daemon: Daemon, bridge: str) -> None:
    assert not traces.processes(daemon.directory)
    assert not traces.mounts(daemon.directory)
    assert not traces.cgroups(bridge)
    assert not list(Path("/sys/class/net").glob(f"{bridge}*"))
    assert {path.suffix for path in daemon.directory.iterdir()} == {".log"}


@on_docker
def test_docker_runs_a_container(dockerd: Reachable, client_of: Connect) -> None:
    container = run(client_of(dockerd.host), "echo out; echo err >&2; exit 3", init=True)
    assert container.wait()["StatusCode"] == 3
    assert container.logs(stderr=False) == b"out\n"
    assert container.logs(stdout=False) == b"err\n"
    container.remove()


@on_docker
def test_container_outlives_its_killed_dockerd(
    make_dockerd: MakeDockerd, client_of: Connect, tmp_path: Path
) -> None:
    daemon = make_dockerd()
    daemon.start()
    container = ends_while_it_is_down(daemon, client_of(daemon.host), tmp_path)
    assert exit_code(container) == 7
    first = daemon.pid
    daemon.restart()
    assert daemon.pid != first


@on_docker
def test_power_cut(make_dockerd: MakeDockerd, client_of: Connect) -> None:
    daemon = make_dockerd()
    daemon.start()
    client = client_of(daemon.host)
    container = run(client, "sleep 1000")
    process = process_of(container)
    daemon.crash()
    assert not alive(process)
    assert not traces.processes(daemon.directory)
    daemon.start()
    assert exit_code(container) == 255
    container.start()
    assert alive(process_of(container))


@on_docker
def test_frozen_dockerd_answers_nothing(make_dockerd: MakeDockerd, client_of: Connect) -> None:
    daemon = make_dockerd()
    daemon.start()
    client = client_of(daemon.host)
    daemon.freeze()
    with pytest.raises(requests.ReadTimeout):
        client.api.get(f"{client.api.base_url}/_ping", timeout=0.1)
    daemon.thaw()
    assert client.ping()


@on_docker
@pytest.mark.parametrize("hurt", [None, Dockerd.kill, Dockerd.freeze])
def test_closed_dockerd_leaves_nothing(
    make_dockerd: MakeDockerd, client_of: Connect, hurt: Callable[[Dockerd], None] | None
) -> None:
    daemon = make_dockerd()
    daemon.start()
    client = client_of(daemon.host)
    running, paused = [process_of(run(client, "sleep 1000")) for _ in range(2)]
    bridge = client.networks.get("bridge").attrs["Options"]["com.docker.network.bridge.name"]
    client.containers.list()[0].pause()
    if hurt is not None:
        hurt(daemon)
    daemon.close()
    assert not alive(running)
    assert not alive(paused)
    assert_nothing_is_left(daemon, bridge)


@on_docker
def test_daemons_side_by_side(
    dockerd: Reachable, make_dockerd: MakeDockerd, client_of: Connect
) -> None:
    other = make_dockerd()
    other.start()
    clients = [client_of(dockerd.host), client_of(other.host)]
    containers = [run(client, "sleep 1000", name="the-same") for client in clients]
    for client, container in zip(clients, containers, strict=True):
        assert container.id in [each.id for each in client.containers.list()]
    other.close()
    containers[0].reload()
    assert containers[0].status == "running"
    containers[0].remove(force=True)


@on_docker
def test_daemon_of_the_command_line(tmp_path: Path, client_of: Connect) -> None:
    try:
        line = subprocess.check_output([HERE / "up", tmp_path, "--live-restore"], text=True)
        host = line.removeprefix("export DOCKER_HOST=").strip()
        assert client_of(host).info()["LiveRestoreEnabled"]
        daemon = Dockerd(tmp_path)
        bridge = (tmp_path / "bridge").read_text()
        assert daemon.host == host
        assert psutil.pid_exists(daemon.pid)
        assert psutil.pid_exists(daemon.containerd_pid)
    finally:
        subprocess.run([HERE / "down", tmp_path], check=True)
    assert_nothing_is_left(daemon, bridge)


@on_docker
def test_a_bridge_keeps_its_address(make_dockerd: MakeDockerd) -> None:
    """Else what a container sends out may be lost for half a minute after another one has ended."""
    daemon = make_dockerd()
    daemon.start()
    bridge = (daemon.directory / "bridge").read_text()
    address = Path("/sys/class/net", bridge, "address")
    before, port = address.read_text(), f"{bridge}t"
    lowest = "02:00:00:00:00:00"
    ip("link", "add", port, "address", lowest, "type", "veth", "peer", "name", f"{port}t")
    try:
        ip("link", "set", port, "master", bridge)
        assert address.read_text() == before
    finally:
        ip("link", "delete", port)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def test_down_touches_no_other_directory(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    subprocess.run([HERE / "down", tmp_path], check=True)
    assert (tmp_path / "data").exists()


@on_podman
def test_podman_runs_a_container(podman_service: Reachable, client_of: Connect) -> None:
    client = client_of(podman_service.host)
    limits = {"mem_limit": "64m", "nano_cpus": 500_000_000, "pids_limit": 20}
    container = run(client, "echo out; echo err >&2; exit 3", init=True, **limits)
    assert container.wait()["StatusCode"] == 3
    assert container.logs(stderr=False) == b"out\n"
    assert container.logs(stdout=False) == b"err\n"
    container.remove()


@on_podman
def test_podman_can_be_hurt_and_leaves_nothing(
    short_directory: Path, client_of: Connect, tmp_path: Path
) -> None:
    with PodmanService(short_directory) as daemon:
        client = client_of(daemon.host)
        process = process_of(run(client, "sleep 1000"))
        assert exit_code(ends_while_it_is_down(daemon, client, tmp_path)) == 7
        assert alive(process)
        bridge = (daemon.directory / "bridge").read_text()
        daemon.freeze()
    assert not alive(process)
    assert_nothing_is_left(daemon, bridge)


@on_docker
def test_directory_too_long(tmp_path: Path) -> None:
    for kind in (Dockerd, PodmanService):
        with pytest.raises(ValueError, match="is too long"):
            kind(tmp_path / ("x" * 100))


@on_docker
def test_daemon_that_does_not_start_says_why(make_dockerd: MakeDockerd) -> None:
    daemon = make_dockerd("--no-such-option")
    with pytest.raises(AssertionError, match="unknown flag: --no-such-option"):
        daemon.start()
