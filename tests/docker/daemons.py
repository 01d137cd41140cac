"""Private Docker daemons and podman services, which tests may hurt and which leave nothing."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import docker
import psutil
from docker.errors import DockerException, ImageNotFound

from tests.docker import traces
from tests.docker.available import PATH
from tests.faults.processes import alive, until

IMAGE = "jobengine.test/busybox:1"
"""The image that every daemon of the tests has: Debian's static busybox."""

_START_SECONDS = 60.0
"""A dockerd that was killed first stops what still runs, which has 10 s to stop."""
_STOP_SECONDS = 60.0
_END_SECONDS = 20.0
_ANSWER_SECONDS = 20
_REAPER = ("docker-init", "-s", "--")
"""Shims and monitors lose their parents at once. This init reaps them, as PID 1 may not."""

_CONTAINERD = """\
version = 2
root = "{directory}/containerd"
state = "{directory}/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{directory}/run/containerd.sock"
"""

_PODMAN = """\
[containers]
# runc can't raise the limits to those that podman would choose.
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"  # locks in memory are the whole machine's
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "{directory}/networks"
"""

_PODMAN_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{directory}/data"
runroot = "{directory}/run"
"""


def connect(host: str) -> docker.DockerClient:
    """A client of the daemon of a host; to be closed.

    Raises:
        DockerException: nothing answers there.
    """
    return docker.DockerClient(base_url=host, timeout=_ANSWER_SECONDS)


def load_image(host: str) -> None:
    """Give the daemon of a host the image of the tests, unless it has it."""
    with contextlib.closing(connect(host)) as client:
        with contextlib.suppress(ImageNotFound):
            client.images.get(IMAGE)
            return
        client.images.load(_archive())


def _archive() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        archive = Path(place, "image.tar")
        subprocess.run([Path(__file__).with_name("image"), archive, IMAGE], check=True)
        return archive.read_bytes()


def in_directory(directory: Path) -> "Daemon | None":
    """The daemon of a directory, if it has one."""
    if not (directory / "bridge").exists():
        return None
    served_by_podman = (directory / "containers.conf").exists()
    return PodmanService(directory) if served_by_podman else Dockerd(directory)


class Daemon(ABC):
    """A daemon with all that it has in one directory.

    Another object on the same directory, in whatever process, has the same daemon.
    """

    program: str
    """The program that answers; it is the one that is killed and frozen."""
    argument: str
    """What its command line begins with, unlike that of its helpers."""
    socket: str
    """Its socket's name."""
    longest_directory: int
    """How long its directory's path may be, in bytes."""
    files: tuple[str, ...]
    """What it keeps in its directory besides logs and what every daemon has there."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory.resolve()
        if len(os.fsencode(self.directory)) > self.longest_directory:
            limit = f"a {self.program}'s directory has at most {self.longest_directory} bytes"
            raise ValueError(f"{self.directory} is too long: {limit}")
        self._options = options
        self._children: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def has_option(self, option: str) -> bool:
        """Whether it was made with this option of its program."""
        return option in self._options

    @property
    def host(self) -> str:
        """What clients take for DOCKER_HOST."""
        return f"unix://{self.directory / self.socket}"

    @property
    def log(self) -> Path:
        """What the daemon says, over all its starts."""
        return self.directory / f"{self.program}.log"

    @property
    def running(self) -> bool:
        """Whether it runs, be it frozen."""
        return bool(self._processes())

    @property
    def pid(self) -> int:
        return self._process().pid

    def start(self) -> None:
        """Start it, and wait until it answers and has the image."""
        assert not self.running, f"there is a {self.program} in {self.directory} already"
        self._reap()
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._bridge_file.exists():
            self._bridge_file.write_text(traces.add_bridge())
        self._launch()
        until(f"{self.program} answers; see {self.log}", self._answers, seconds=_START_SECONDS)
        load_image(self.host)

    def kill(self) -> None:
        """End the daemon itself as a crash would; containers and their shims go on."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """End it by SIGTERM."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """End it by SIGTERM, and start it again."""
        self.terminate()
        self.start()

    def freeze(self) -> None:
        """Make it hang: it still accepts connections, and answers nothing."""
        self._process().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it with its containers, and leave nothing but logs; may be repeated."""
        self._end_all()
        for path in [self.directory / name for name in self.files]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if self._bridge_file.exists():
            name = self._bridge
            until(f"the bridge {name} is gone", lambda: traces.remove_bridge(name))
            self._bridge_file.unlink()

    @property
    def _bridge(self) -> str:
        """The bridge of its containers, for which its cgroup and its subnet are named."""
        return self._bridge_file.read_text()

    @property
    def _bridge_file(self) -> Path:
        return self.directory / "bridge"

    @abstractmethod
    def _launch(self) -> None:
        """Start its processes, without waiting."""

    @abstractmethod
    def _end_all(self) -> None:
        """End its processes and its containers, at once and in whatever state they are."""

    def _spawn(self, *command: str, **environment: str) -> None:
        """Start a process in a session of its own, where no Ctrl-C reaches it."""
        program = command[len(_REAPER)] if command[: len(_REAPER)] == _REAPER else command[0]
        with (self.directory / f"{program}.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": PATH, **environment},
                start_new_session=True,
            )
        self._children.append(child)

    def _answers(self) -> bool:
        ended = [child.args for child in self._children if child.poll() is not None]
        assert not ended, f"{ended} ended:\n{self.log.read_text()[-2000:]}"
        # The SDK leaves its socket open where nobody listens yet.
        with contextlib.suppress(OSError, DockerException), socket.socket(socket.AF_UNIX) as tried:
            tried.connect(str(self.directory / self.socket))
            connect(self.host).close()
            return True
        return False

    def _end(self, number: signal.Signals) -> None:
        process = self._process()
        process.send_signal(number)
        until(f"{self.program} has ended", lambda: self._ended(process), seconds=_STOP_SECONDS)

    def _ended(self, process: psutil.Process) -> bool:
        # Of a program with threads, the first may be a zombie before the others have ended: only
        # then can it be waited for.
        self._reap()
        return not alive(process) and process.pid not in {child.pid for child in self._children}

    def _reap(self) -> None:
        """Forget the children that have ended; until then they are zombies."""
        self._children = [child for child in self._children if child.poll() is None]

    def _process(self) -> psutil.Process:
        found = self._processes()
        assert found, f"no {self.program} runs in {self.directory}"
        return found[0]

    def _processes(self) -> list[psutil.Process]:
        return [
            process
            for process in traces.processes(self.directory, self.program)
            if any(word.startswith(self.argument) for word in process.cmdline())
        ]

    def _kill_all(self) -> bool:
        """Kill what runs in its directory, and say whether nothing does any more."""
        killed = [traces.kill(process.pid) for process in traces.processes(self.directory)]
        self._reap()
        return not any(killed) and not self._children

    def _clear(self) -> None:
        """Remove what the end of processes leaves, as a reboot would."""
        directory = self.directory
        what = f"nothing is mounted in {directory}"
        until(what, lambda: traces.unmount(directory), seconds=_END_SECONDS)
        if self._bridge_file.exists():
            what, name = f"no cgroup {self._bridge}", self._bridge
            until(what, lambda: traces.remove_cgroup(name), seconds=_END_SECONDS)
        shutil.rmtree(directory / "run", ignore_errors=True)


class Dockerd(Daemon):
    """A dockerd with a containerd of its own, as systems have it; `options` are dockerd's.

    A containerd that dockerd starts itself would stay a zombie where nobody reaps it after
    dockerd was killed, and no dockerd would start again.
    """

    program = "dockerd"
    argument = "--exec-root="
    socket = "docker.sock"
    longest_directory = 107 - len("/run/docker/libnetwork/0123456789ab.sock")  # Linux's limit
    files = ("docker.sock", "daemon.json", "containerd.toml", "data", "containerd")

    @property
    def containerd_pid(self) -> int:
        return self._containerds()[0].pid

    def crash(self) -> None:
        """Cut the power: all ends at once, what was on disk stays, and /run is empty."""
        self._end_all()

    def _launch(self) -> None:
        (self.directory / "run").mkdir(exist_ok=True)
        if not self._containerds():
            self._launch_containerd()
        # It may name a zombie, or what has that number now, and dockerd would believe it.
        self._pid_file.unlink(missing_ok=True)
        self._spawn("dockerd", *self._arguments(), *self._options)

    def _launch_containerd(self) -> None:
        configuration = self.directory / "containerd.toml"
        configuration.write_text(_CONTAINERD.format(directory=self.directory))
        self._spawn(*_REAPER, "containerd", "--config", str(configuration))
        path = self.directory / "run/containerd.sock"
        until("containerd has a socket", path.exists, seconds=_START_SECONDS)

    def _containerds(self) -> list[psutil.Process]:
        return traces.processes(self.directory, "containerd")

    @property
    def _pid_file(self) -> Path:
        return self.directory / "run/dockerd.pid"

    def _arguments(self) -> list[str]:
        """A dockerd that meets no other one, and leaves the system's network as it is."""
        settings = self.directory / "daemon.json"  # in place of the system's
        settings.write_text("{}")
        return [
            f"--config-file={settings}",
            f"--data-root={self.directory}/data",
            f"--exec-root={self.directory}/run/docker",
            f"--pidfile={self._pid_file}",
            f"--containerd={self.directory}/run/containerd.sock",
            f"--host={self.host}",
            f"--bridge={self._bridge}",
            "--iptables=false",
            "--ip-masq=false",
            "--ip-forward=false",
            f"--cgroup-parent=/{self._bridge}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
        ]

    def _end_all(self) -> None:
        """First dockerd, which would note the end of the rest."""
        if self.running:
            self.kill()
        until("nothing runs", self._kill_everything, seconds=_END_SECONDS)
        # Shims have their sockets in the system's /run, wherever their containerd is.
        for file in (self.directory / "run").rglob("address"):
            Path(file.read_text().removeprefix("unix://")).unlink(missing_ok=True)
        self._clear()

    def _kill_everything(self) -> bool:
        ended = self._kill_all()
        return not (self._bridge_file.exists() and traces.kill_in(self._bridge)) and ended


class PodmanService(Daemon):
    """A podman that serves Docker's API; `options` are podman's own.

    It has no state but what is on disk: every command of podman could be another service.
    """

    program = "podman"
    argument = "service"
    socket = "podman.sock"
    longest_directory = 50 - len("/run")  # as long as podman's runroot
    files = ("podman.sock", "containers.conf", "storage.conf", "networks", "data")

    def _launch(self) -> None:
        self._configure()
        serve = ("system", "service", "--time=0", self.host)
        self._spawn(*_REAPER, *self._podman(), *self._options, *serve, **self._environment())

    def _configure(self) -> None:
        """Write what takes the place of the system's settings."""
        networks = self.directory / "networks"
        networks.mkdir(exist_ok=True)
        (networks / "podman.json").write_text(json.dumps(self._network()))
        for name, template in (("containers.conf", _PODMAN), ("storage.conf", _PODMAN_STORAGE)):
            (self.directory / name).write_text(template.format(directory=self.directory))

    def _network(self) -> Mapping[str, object]:
        """The default network; the bridge itself only keeps others from its subnet.

        Podman makes a bridge of its own, and removes it with the last container.
        """
        subnet = traces.subnet_of(self._bridge)
        return {
            "name": "podman",
            "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
            "driver": "bridge",
            "network_interface": f"{self._bridge}p",
            "subnets": [{"subnet": str(subnet), "gateway": str(subnet[1])}],
            "internal": True,  # so that it leaves the system's firewall as it is
            "ipam_options": {"driver": "host-local"},
        }

    def _podman(self) -> list[str]:
        return [
            "podman",
            f"--root={self.directory}/data",
            f"--runroot={self.directory}/run",
            f"--tmpdir={self.directory}/run/libpod",
        ]

    def _environment(self) -> dict[str, str]:
        return {
            "CONTAINERS_CONF": f"{self.directory}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{self.directory}/storage.conf",
        }

    def _end_all(self) -> None:
        if self.running:
            self.kill()
        if (self.directory / "containers.conf").exists():
            self._remove_containers()
        until("nothing runs", self._kill_all, seconds=_END_SECONDS)
        self._clear()

    def _remove_containers(self) -> None:
        """Only podman itself removes what its network and its cgroups are made of."""
        remove = ("rm", "--all", "--force", "--time=0")
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*self._podman(), *remove],
                env={**os.environ, "PATH": PATH, **self._environment()},
                capture_output=True,
                check=False,
                timeout=_END_SECONDS,
            )
