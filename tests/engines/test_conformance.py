"""Every engine through the conformance suite, directly and through a real server."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from engines.base import Capability, Engine
from engines.config import JobManager
from engines.errors import JobAlreadyExists, JobNotFound
from engines.memory.knobs import PREFIX
from engines.testing import EngineConformance, ShellWorkload
from engines.workload import Workload, watching
from jobengine.v1.job_pb2 import JobSpec
from server.app import Server
from server.config import Config
from tests.cluster.fixtures import Reachable as HasKubeconfig
from tests.cluster.images import IMAGE
from tests.docker.fixtures import Reachable
from tests.engines import plain_class
from tests.remote import RemoteEngine

if TYPE_CHECKING:  # it needs Docker's SDK
    from tests.docker.place import Place

GRACE_SECONDS = 2.0
DEADLINE_SECONDS = 20.0

LOCAL_PLACES = 4
"""How many instances the local engine runs at once here."""


class FakeWorkload(Workload):
    def succeeds(self) -> JobSpec:
        return _fake()

    def fails(self, exit_code: int) -> JobSpec:
        return _fake(exit_code=exit_code)

    def lasts(self, seconds: float) -> JobSpec:
        return _fake(run_for=seconds)

    def dies_of(self, signal: int) -> JobSpec:
        return _fake(signal=signal)

    def fails_first(self, times: int) -> JobSpec:
        return _fake(exit_code=1, failures=times)

    def prints(self, stdout: Sequence[str], stderr: Sequence[str] = ()) -> JobSpec:
        return _fake(output="\n".join([*stdout, *(f"!{line}" for line in stderr)]))

    def prints_slowly(self, lines: Sequence[str]) -> JobSpec:
        return _fake(output="\n".join(lines), run_for=0.5)

    def prints_and_fails(self, line: str) -> JobSpec:
        return _fake(output=line, exit_code=1)

    def prints_index(self) -> JobSpec:
        return _fake(output="$JOB_COMPLETION_INDEX")

    async def never_starts(self, engine: Engine) -> JobSpec:
        return _fake(pending_for=300)


def _fake(**knobs: object) -> JobSpec:
    annotations = {PREFIX + knob.replace("_", "-"): str(value) for knob, value in knobs.items()}
    return JobSpec(command=["true"], annotations=annotations)


class ConformingPlain(plain_class.YourEngine):
    """The plain class, honest about what it doesn't do."""

    capabilities = (Capability.COMMANDS,)


class OverGrpc(EngineConformance):
    """The suite with a real server between it and the engine of the other base class."""

    keeps_owners = False

    @pytest.fixture
    async def engine(self, served: Engine) -> AsyncIterator[Engine]:
        config = Config(listen="127.0.0.1:0", stop_grace_seconds=GRACE_SECONDS)
        async with Server(served, config) as server:
            assert await server.in_touch(self.deadline_seconds)
            async with RemoteEngine(server.address) as remote:
                yield remote

    async def test_request_is_remembered(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        spec = workload.lasts(300)
        first = await engine.create_job(name, spec, request_id="request-1")
        assert (await engine.create_job(name, spec, request_id="request-1")).uid == first.uid
        for other, request_id in ((spec, "request-2"), (workload.succeeds(), "request-1")):
            with pytest.raises(JobAlreadyExists):
                await engine.create_job(name, other, request_id=request_id)


class Direct(EngineConformance):
    """The suite on the engine of the other base class itself."""

    @pytest.fixture
    async def engine(self, served: Engine) -> AsyncIterator[Engine]:
        async with served as engine:
            yield engine


class Fake:
    @pytest.fixture
    def served(self) -> Engine:
        return JobManager("fake")

    @pytest.fixture
    def workload(self) -> Workload:
        return FakeWorkload()


class Plain:
    tells_exit_codes = False

    @pytest.fixture
    def served(self) -> Engine:
        return JobManager(f"{__name__}:ConformingPlain")

    @pytest.fixture
    def workload(self, tmp_path: Path) -> Workload:
        return ShellWorkload(tmp_path)


@pytest.mark.engine("fake")
class TestFake(Fake, Direct):
    pass


@pytest.mark.engine("fake")
class TestFakeOverGrpc(Fake, OverGrpc):
    pass


@pytest.mark.engine("plain")
class TestPlain(Plain, Direct):
    pass


@pytest.mark.engine("plain")
class TestPlainOverGrpc(Plain, OverGrpc):
    pass


class LocalWorkload(ShellWorkload):
    """All places of the engine are taken before a job that is not to start."""

    async def never_starts(self, engine: Engine) -> JobSpec:
        for place in range(LOCAL_PLACES):
            await engine.create_job(f"place-{place}", self.lasts(300))
        return self.succeeds()


def _kill_processes_in(directory: Path) -> None:
    """End what a broken engine leaves behind: jobs run in directories of their own."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if directory in Path(process.cwd()).parents:
                process.kill()


class Local:
    @pytest.fixture
    async def served(self, tmp_path: Path) -> AsyncIterator[Engine]:
        """The engine; jobs outlive it, so what the test left running is deleted by another."""
        state_dir = tmp_path / "state"
        yield JobManager("local", state_dir=state_dir, max_running=LOCAL_PLACES)
        try:
            async with (
                JobManager("local", state_dir=state_dir) as engine,
                watching(engine, DEADLINE_SECONDS) as watched,
            ):
                for job in await engine.list_jobs():
                    with contextlib.suppress(JobNotFound):
                        await engine.delete_job(job.name, grace_seconds=0)
                        await watched.removal_of(job)
        finally:
            _kill_processes_in(tmp_path)

    @pytest.fixture
    def workload(self, tmp_path: Path) -> Workload:
        return LocalWorkload(tmp_path)


@pytest.mark.engine("local")
class TestLocal(Local, Direct):
    pass


@pytest.mark.engine("local")
class TestLocalOverGrpc(Local, OverGrpc):
    pass


class Docker:
    """On the daemon that the fixture `daemon_host` names."""

    deadline_seconds = 40.0

    @pytest.fixture
    def place(self, daemon_host: str, tmp_path: Path) -> "Iterator[Place]":
        from tests.docker.place import place_on

        with place_on(daemon_host, tmp_path) as place:
            yield place

    @pytest.fixture
    def served(self, place: "Place") -> Engine:
        return place.engine()

    @pytest.fixture
    def workload(self, place: "Place") -> Iterator[Workload]:
        from tests.docker.place import DockerWorkload, SilentRegistry

        with SilentRegistry() as registry:
            yield DockerWorkload(place.directory, registry.address)


class Dockerd(Docker):
    @pytest.fixture
    def daemon_host(self, dockerd: Reachable) -> str:
        return dockerd.host


class Podman(Docker):
    @pytest.fixture
    def daemon_host(self, podman_service: Reachable) -> str:
        return podman_service.host


@pytest.mark.engine("docker")
class TestDocker(Dockerd, Direct):
    pass


@pytest.mark.engine("docker")
class TestDockerOverGrpc(Dockerd, OverGrpc):
    pass


@pytest.mark.engine("podman")
class TestPodman(Podman, Direct):
    pass


@pytest.mark.engine("podman")
class TestPodmanOverGrpc(Podman, OverGrpc):
    pass


class KubernetesWorkload(ShellWorkload):
    """Shell jobs in the tests' image, which see the test's directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, image=IMAGE)

    async def never_starts(self, engine: Engine) -> JobSpec:
        """Nothing listens where its image is said to be."""
        spec = self.succeeds()
        spec.image = "127.0.0.1:1/never:1"
        return spec

    def _shell(self, script: str) -> JobSpec:
        spec = super()._shell(script)
        spec.mounts.add(target=str(self._directory), host_path=str(self._directory))
        return spec


class Kubernetes:
    tells_streams = False
    deadline_seconds = 120.0
    """Before each retry Kubernetes waits: 10 s, 20 s, and so on."""

    @pytest.fixture
    def served(self, cluster: HasKubeconfig, kubernetes_namespace: str, tmp_path: Path) -> Engine:
        return JobManager(
            "kubernetes",
            kubeconfig=cluster.kubeconfig,
            namespace=kubernetes_namespace,
            host_paths=(str(tmp_path),),
            grace_seconds=2.0,
        )

    @pytest.fixture
    def workload(self, tmp_path: Path) -> Workload:
        return KubernetesWorkload(tmp_path)


@pytest.mark.engine("kubernetes")
@pytest.mark.timeout(180)
class TestKubernetes(Kubernetes, Direct):
    pass


@pytest.mark.engine("kubernetes")
@pytest.mark.timeout(180)
class TestKubernetesOverGrpc(Kubernetes, OverGrpc):
    pass
