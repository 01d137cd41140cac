"""The processes of a run: servers under test, reference servers, load generators."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import psutil
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

if TYPE_CHECKING:  # it needs the tests' cluster
    from benchmarks.kubernetes_cluster import Place

ROOT = Path(__file__).resolve().parents[1]
JOBENGINE = Path(sys.executable).with_name("jobengine")

START_SECONDS = 300.0
"""How long a server may take to start; with many finished jobs that is long."""

LOAD_SECONDS = 600.0
"""How long a load generator may take."""

_STOP_SECONDS = 20.0
_IDLE_SECONDS = 0.7
_IDLE_LOOKS = 20


class ProcessFailed(Exception):
    """A process of the run ended too early, or took too long; the message has its stderr."""


class Process:
    """A child that tells what happens in lines of JSON on its stdout."""

    def __init__(self, command: Sequence[str | Path], errors: Path) -> None:
        self._errors = errors
        self._began = time.perf_counter()
        with errors.open("w") as stderr:
            self._child = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=ROOT
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def age_seconds(self) -> float:
        """How long ago it was started."""
        return time.perf_counter() - self._began

    def read(self, timeout_seconds: float) -> dict[str, Any]:
        """The next line.

        Raises:
            ProcessFailed: there is none within that time.
        """
        assert self._child.stdout is not None
        killer = threading.Timer(timeout_seconds, self._child.kill)
        killer.start()
        try:
            line = self._child.stdout.readline()
        finally:
            killer.cancel()
        if not line:
            command = " ".join(map(str, self._child.args))  # type: ignore[arg-type]
            raise ProcessFailed(f"{command}: {self._errors.read_text()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Stop it if it still runs."""
        assert self._child.stdout is not None
        self._child.terminate()
        try:
            self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()


@dataclass(frozen=True, slots=True)
class Server:
    """A server that has said where it listens."""

    pid: int
    address: str
    start_seconds: float

    @property
    def private_bytes(self) -> int:
        """Memory that this process alone has (without its launcher and shims)."""
        return int(psutil.Process(self.pid).memory_full_info().uss)

    @property
    def resident_bytes(self) -> int:
        """Resident memory of the process and of all that it has started, added up."""
        process = psutil.Process(self.pid)
        family = [process, *process.children(recursive=True)]
        return sum(int(one.memory_info().rss) for one in family)

    def idle_bytes(self) -> int:
        """The resident memory once it has stopped changing: the launcher needs a moment."""
        return _settled(lambda: self.resident_bytes)

    def settled_private_bytes(self) -> int:
        """The private memory once it has stopped changing: what ended may still be given back."""
        return _settled(lambda: self.private_bytes)


def _settled(look: Callable[[], int]) -> int:
    """What two looks in a row agree on."""
    before = 0
    for _ in range(_IDLE_LOOKS):
        now = look()
        if now == before:
            return now
        before = now
        time.sleep(_IDLE_SECONDS)
    raise ProcessFailed(f"the memory of the idle server keeps changing: {before} bytes")


@contextlib.contextmanager
def serving(directory: Path, *options: str) -> Iterator[Server]:
    """`jobengine serve` on the local engine, with its state below the directory."""
    state = f"--state-dir={directory / 'state'}"
    with _jobengine(directory, "--engine=local", state, *options) as server:
        yield server


@contextlib.contextmanager
def serving_fake(directory: Path) -> Iterator[Server]:
    """`jobengine serve` on the fake engine; the directory is for its log."""
    with _jobengine(directory, "--engine=fake") as server:
        yield server


@contextlib.contextmanager
def serving_docker(directory: Path, host: str, namespace: str) -> Iterator[Server]:
    """`jobengine serve` on the Docker engine; the directory is for its log."""
    daemon = (f"--docker-host={host}", f"--namespace={namespace}")
    with _jobengine(directory, "--engine=docker", *daemon) as server:
        yield server


@contextlib.contextmanager
def serving_kubernetes(directory: Path, place: "Place") -> Iterator[Server]:
    """`jobengine serve` on the Kubernetes engine; the directory is for its log."""
    cluster = (f"--kubeconfig={place.kubeconfig}", f"--namespace={place.namespace}")
    with _jobengine(directory, "--engine=kubernetes", *cluster) as server:
        yield server


@contextlib.contextmanager
def _jobengine(directory: Path, *options: str) -> Iterator[Server]:
    command: Sequence[str | Path] = (JOBENGINE, "serve", "--listen=127.0.0.1:0", *options)
    with _server(Process(command, directory / "server.log")) as server:
        yield server


@contextlib.contextmanager
def echoing(directory: Path, **settings: int) -> Iterator[Server]:
    """The bare gRPC server of `benchmarks.loads.echo_server`."""
    command = [sys.executable, "-m", "benchmarks.loads.echo_server", json.dumps(settings)]
    with _server(Process(command, directory / "echo.log")) as server:
        yield server


@contextlib.contextmanager
def _server(process: Process) -> Iterator[Server]:
    with contextlib.closing(process):
        line = process.read(START_SECONDS)
        if line.get("health", "SERVING") != "SERVING":
            _await_health(line["address"])
        yield Server(process.pid, line["address"], process.age_seconds)


def _await_health(address: str) -> None:
    """Return once the server serves; it says NOT_SERVING where its engine took long."""
    with grpc.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            HealthCheckRequest(service="jobengine.v1.JobEngine"), timeout=START_SECONDS
        )
        for answer in watch:
            if answer.status == HealthCheckResponse.SERVING:
                return


@contextlib.contextmanager
def load(module: str, directory: Path, **arguments: Any) -> Iterator[Process]:
    """A load generator of `benchmarks.loads`, for what it tells in several lines."""
    command = [sys.executable, "-m", f"benchmarks.loads.{module}", json.dumps(arguments)]
    with contextlib.closing(Process(command, directory / f"{module}.log")) as process:
        yield process


def run_load(module: str, directory: Path, **arguments: Any) -> dict[str, Any]:
    """What such a load generator tells in its only line."""
    with load(module, directory, **arguments) as process:
        return process.read(LOAD_SECONDS)
