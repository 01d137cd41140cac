"""A namespace of one test on a daemon, with what jobs need there, and nothing left afterwards."""

import contextlib
import socket
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import docker
from docker.errors import APIError

from engines.base import Engine
from engines.config import JobManager
from engines.docker.record import NAMESPACE
from engines.workload import ShellWorkload
from jobengine.v1.job_pb2 import JobSpec

IMAGE = "jobengine.test/busybox:1"


class Place:
    """A namespace on the daemon at `host`, and a directory that jobs may mount."""

    def __init__(self, host: str, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.namespace = f"test-{uuid4().hex[:12]}"

    @property
    def settings(self) -> dict[str, Any]:
        """Of an engine in this place."""
        return {
            "host": self.host,
            "namespace": self.namespace,
            "host_paths": (str(self.directory),),
            "grace_seconds": 5.0,
        }

    def engine(self, **settings: Any) -> Engine:
        return JobManager("docker", **{**self.settings, **settings})

    def client(self) -> docker.APIClient:
        return docker.APIClient(base_url=self.host, version="auto", timeout=60)

    def containers(self) -> list[dict[str, Any]]:
        with contextlib.closing(self.client()) as client:
            found: list[dict[str, Any]] = client.containers(all=True, filters=self._filter)
            return found

    def volumes(self) -> list[dict[str, Any]]:
        with contextlib.closing(self.client()) as client:
            return list(client.volumes(filters=self._filter)["Volumes"] or ())

    @property
    def _filter(self) -> dict[str, str]:
        return {"label": f"{NAMESPACE}={self.namespace}"}

    def clear(self) -> None:
        """Remove all that is in the namespace."""
        with contextlib.closing(self.client()) as client:
            for container in self.containers():
                with contextlib.suppress(APIError):
                    client.remove_container(container["Id"], v=True, force=True)
            for volume in self.volumes():
                client.remove_volume(volume["Name"], force=True)


class DockerWorkload(ShellWorkload):
    """Shell jobs in the tests' image, which see the test's directory."""

    def __init__(self, directory: Path, registry: str) -> None:
        super().__init__(directory, image=IMAGE)
        self._registry = registry

    async def never_starts(self, engine: Engine) -> JobSpec:
        """Its image is pulled for ever."""
        spec = self.succeeds()
        spec.image = f"{self._registry}/never:1"
        return spec

    def _shell(self, script: str) -> JobSpec:
        spec = super()._shell(script)
        spec.mounts.add(target=str(self._directory), host_path=str(self._directory))
        return spec


class SilentRegistry:
    """A registry that takes connections and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self.connected = threading.Event()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        for connection in (self._listener, *self._taken):
            connection.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._taken.append(self._listener.accept()[0])
                self.connected.set()


@contextlib.contextmanager
def place_on(host: str, directory: Path) -> Generator[Place]:
    """A place, cleared at the end."""
    place = Place(host, directory)
    try:
        yield place
    finally:
        place.clear()
