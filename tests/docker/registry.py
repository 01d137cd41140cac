"""A registry of images on loopback, and a relay before it that is as slow as a test wants it."""

import asyncio
import base64
import contextlib
import io
import json
import re
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import docker

from tests.docker.available import PATH
from tests.docker.daemons import IMAGE
from tests.faults.processes import until

USER = "puller"
PASSWORD = "canary-7f3e51d9"  # to be found where it must not be
_HASH = "$2b$04$JUCnpv4y7HB2SUIhBaRN.empgPRKY4lKJ1/WA/4nWDq9SDBPlUf12"  # bcrypt of it

_CHUNK_BYTES = 16 * 1024
_PAUSE_SECONDS = 0.05
_TLS = b"\x16\x03"
_HELLO = (
    b"HTTP/1.1 200 OK\r\nDocker-Distribution-Api-Version: registry/2.0\r\n"
    b"Content-Length: 2\r\n\r\n{}"
)
_STOP_SECONDS = 20.0

_CONFIGURATION = """\
version: 0.1
log: {{level: info, formatter: text, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: "{directory}/images"}}
  delete: {{enabled: true}}
http: {{addr: "{address}"}}
"""
_AUTH = """\
auth:
  htpasswd: {{realm: tests, path: "{directory}/users"}}
"""


class Registry:
    """Debian's registry with its images in a directory; `locked` for those who know PASSWORD."""

    def __init__(self, directory: Path, *, locked: bool = False) -> None:
        self.address = "127.0.0.1:0"
        self._directory = directory
        self._locked = locked
        self._process: subprocess.Popen[bytes] | None = None
        self._log = directory / "registry.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it listens: at first on a free port, then on that again."""
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "users").write_text(f"{USER}:{_HASH}\n")
        template = _CONFIGURATION + (_AUTH if self._locked else "")
        configuration = self._directory / "registry.yml"
        configuration.write_text(template.format(directory=self._directory, address=self.address))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": PATH, "OTEL_TRACES_EXPORTER": "none"},
                start_new_session=True,
            )
        self.address = until("the registry listens", self._listening)

    def stop(self) -> None:
        """End it; its images stay. May be repeated."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(_STOP_SECONDS)
            self._process = None

    def _listening(self) -> str:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        found = re.search(r"listening on (127\.0\.0\.1:\d+)", self._log.read_text())
        return found[1] if found else ""

    def pulls(self, image: str) -> int:
        """How often it was asked for an image since it was started; each pull does so once."""
        repository, _, tag = image.partition("/")[2].rpartition(":")
        return self._log.read_text().count(f'"HEAD /v2/{repository}/manifests/{tag} HTTP')

    def push(self, client: docker.APIClient, image: str, name: str, tag: str = "1") -> str:
        """Put an image of a daemon here, and let the daemon forget this name of it."""
        repository = f"{self.address}/{name}"
        client.tag(image, repository, tag)
        for line in self._pushed(client, repository, tag):
            assert "error" not in line, line
        client.remove_image(f"{repository}:{tag}")
        return f"{repository}:{tag}"

    def _pushed(
        self, client: docker.APIClient, repository: str, tag: str
    ) -> Iterator[dict[str, Any]]:
        login = {"username": USER, "password": PASSWORD} if self._locked else {}
        lines: Iterator[dict[str, Any]] = client.push(
            repository, tag, stream=True, decode=True, auth_config=login
        )
        return lines


def docker_config(address: str, password: str = PASSWORD) -> str:
    """A registry's credentials as Docker and Kubernetes keep them."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return json.dumps({"auths": {address: {"auth": auth}}})


def make_image(client: docker.APIClient, name: str, content: bytes) -> str:
    """Make an image of the tests' own with this in a layer of its own, as `/content`."""
    made = client.create_container(IMAGE, ["true"])["Id"]
    try:
        client.put_archive(made, "/", _tar("content", content))
        client.commit(made, repository=name, tag="1")
    finally:
        client.remove_container(made, force=True)
    return f"{name}:1"


def _tar(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


class Relay:
    """An address of a registry's own at which it is slow, until `open` is called.

    Without a registry it is there, and never answers when it is `asked` for something.
    """

    def __init__(self, registry: str = "") -> None:
        self._registry = registry
        self._fast = asyncio.Event()
        self._change = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.address = ""
        self.asked = asyncio.Event()
        self.connections = 0
        self.sent = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def open(self) -> None:
        """Be as fast as can be from now on."""
        self._fast.set()

    async def until_left(self) -> None:
        """Wait until nobody is connected any more."""
        while self.connections:
            await self._change.wait()

    def _tell(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the server of asyncio would tell of it as of an error
        finally:
            writer.close()
            self.connections -= 1
            self._tasks.discard(task)
            self._tell()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._registry:
            await self._hang(reader, writer)
            return
        host, _, port = self._registry.partition(":")
        answers, requests = await asyncio.open_connection(host, int(port))
        there = asyncio.create_task(self._copy(reader, requests))
        back = asyncio.create_task(self._copy(answers, writer, slow=True))
        try:
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            requests.close()

    async def _hang(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if data.startswith(_TLS):
                return  # dockerd tries that first
            if data.startswith(b"GET /v2/ "):
                writer.write(_HELLO)  # for which dockerd has a deadline, unlike for the rest
            else:
                self.asked.set()

    async def _copy(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, slow: bool = False
    ) -> None:
        while data := await source.read(_CHUNK_BYTES):
            if slow and not self._fast.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._fast.wait(), _PAUSE_SECONDS)
            target.write(data)
            await target.drain()
            if slow:
                self.sent += len(data)
