"""Every engine through the conformance suite, directly and through a real server."""

import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Iterator,
    Sequence,
)
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

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

if TYPE_CHECKING:  # it needs Docker's SDK
    from tests.docker.place import Place
    from tests.slurm.cluster import SlurmCluster

MakeEngine = Callable[[], Engine]

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

    def fills(self, memory_bytes: int) -> JobSpec:
        return _fake(exit_code=137, reason="OOM_KILLED")

    async def never_starts(self, engine: Engine) -> JobSpec:
        return _fake(pending_for=300)


def _fake(**knobs: object) -> JobSpec:
    annotations = {PREFIX + knob.replace("_", "-"): str(value) for knob, value in knobs.items()}
    return JobSpec(command=["true"], annotations=annotations)


class ConformingPlain(plain_class.YourEngine):
    """The plain class, honest about what it doesn't do."""

    capabilities = (Capability.COMMANDS,)


class OverGrpc(EngineConformance):
    """The suite on the engine `remote`, with real servers between it and the other base class's."""

    servers: ClassVar[int] = 1

    @contextlib.asynccontextmanager
    async def enter(self, make_engine: MakeEngine) -> AsyncGenerator[Engine]:
        config = Config(listen="127.0.0.1:0", stop_grace_seconds=GRACE_SECONDS)
        engine = make_engine()
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(self.servers):
                server = await stack.enter_async_context(Server(engine, config))
                assert await server.in_touch(self.deadline_seconds)
                engine = JobManager("remote", address=server.address)
            yield await stack.enter_async_context(engine)

    async def test_request_is_remembered(
        self, engine: Engine, workload: Workload, name: str
    ) -> None:
        spec = workload.lasts(300)
        first = await engine.create_job(name, spec, request_id="request-1")
        assert (await engine.create_job(name, spec, request_id="request-1")).uid == first.uid
        for other, request_id in ((spec, "request-2"), (workload.succeeds(), "request-1")):
            with pytest.raises(JobAlreadyExists):
                await engine.create_job(name, other, request_id=request_id)


class OverTwoServers(OverGrpc):
    """The same with a server that passes its jobs on to another."""

    servers = 2


class Direct(EngineConformance):
    """The suite on the engine of the other base class itself."""


class Fake:
    capabilities: ClassVar[Collection[Capability] | None] = frozenset(Capability) - {
        Capability.DURABLE
    }

    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        return lambda: JobManager("fake")

    @pytest.fixture
    def workload(self) -> Workload:
        return FakeWorkload()


class Plain:
    capabilities: ClassVar[Collection[Capability] | None] = frozenset({Capability.COMMANDS})
    tells_exit_codes = False

    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        return lambda: JobManager(f"{__name__}:ConformingPlain")


@pytest.mark.engine("fake")
class TestFake(Fake, Direct):
    pass


@pytest.mark.engine("fake")
class TestFakeOverGrpc(Fake, OverGrpc):
    pass


@pytest.mark.engine("remote")
class TestFakeOverTwoServers(Fake, OverTwoServers):
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
    by_place: ClassVar[Collection[Capability]] = {
        Capability.CPU_LIMIT,
        Capability.MEMORY_LIMIT,
        Capability.USER,
    }
    capabilities: ClassVar[Collection[Capability] | None] = frozenset(Capability) - {
        Capability.IMAGES,
        Capability.CPU_LIMIT,
        Capability.MEMORY_LIMIT,
        Capability.GPU,
        Capability.MOUNTS,
        Capability.SECRET_ENV,
        Capability.USER,
        Capability.ENGINE_OPTIONS,
    }

    @pytest.fixture
    async def make_engine(self, tmp_path: Path) -> AsyncIterator[MakeEngine]:
        """Jobs outlive engines, so what the test left running is deleted by another."""
        state_dir = tmp_path / "state"
        yield lambda: JobManager("local", state_dir=state_dir, max_running=LOCAL_PLACES)
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


@pytest.mark.engine("remote")
class TestLocalOverTwoServers(Local, OverTwoServers):
    pass


class Docker:
    """On the daemon that the fixture `daemon_host` names."""

    capabilities: ClassVar[Collection[Capability] | None] = frozenset(Capability) - {
        Capability.COMMANDS,
        Capability.GPU,
        Capability.SECRET_ENV,
        Capability.ENGINE_OPTIONS,
    }

    deadline_seconds = 40.0

    @pytest.fixture
    def daemon(self, daemon_host: str, tmp_path: Path) -> "Iterator[Place]":
        from tests.docker.place import place_on

        with place_on(daemon_host, tmp_path) as place:
            yield place

    @pytest.fixture
    def make_engine(self, daemon: "Place") -> MakeEngine:
        return daemon.engine

    @pytest.fixture
    def workload(self, daemon: "Place") -> Iterator[Workload]:
        from tests.docker.place import DockerWorkload, SilentRegistry

        with SilentRegistry() as registry:
            yield DockerWorkload(daemon.directory, registry.address)


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
    capabilities: ClassVar[Collection[Capability] | None] = frozenset(Capability) - {
        Capability.COMMANDS,
        Capability.ENGINE_OPTIONS,
    }
    tells_streams = False
    deadline_seconds = 120.0
    """Before each retry Kubernetes waits: 10 s, 20 s, and so on."""

    @pytest.fixture
    def make_engine(
        self, cluster: HasKubeconfig, kubernetes_namespace: str, tmp_path: Path
    ) -> MakeEngine:
        return lambda: JobManager(
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


class SlurmWorkload(ShellWorkload):
    async def never_starts(self, engine: Engine) -> JobSpec:
        """No node has so many processors."""
        spec = self.succeeds()
        spec.resources.cpu_millis = 999_000
        return spec


class Slurm:
    """On the cluster that the fixture `slurm_conf` names."""

    deadline_seconds = 40.0

    capabilities: ClassVar[Collection[Capability] | None] = frozenset(Capability) - {
        Capability.IMAGES,
        Capability.MOUNTS,
        Capability.SECRET_ENV,
        Capability.USER,
    }

    @pytest.fixture
    def slurm_conf(self, slurm: "SlurmCluster") -> Path:
        return slurm.conf

    @pytest.fixture
    async def make_engine(self, slurm_conf: Path, tmp_path: Path) -> AsyncIterator[MakeEngine]:
        """Jobs outlive engines, so what the test left running is deleted by another."""

        def make() -> Engine:
            settings = {"state_dir": tmp_path / "state", "conf": slurm_conf, "grace_seconds": 2.0}
            return JobManager("slurm", **settings)

        yield make
        async with make() as engine, watching(engine, DEADLINE_SECONDS) as watched:
            for job in await engine.list_jobs():
                with contextlib.suppress(JobNotFound):
                    await engine.delete_job(job.name, grace_seconds=0)
                    await watched.removal_of(job)

    @pytest.fixture
    def workload(self, tmp_path: Path) -> Workload:
        return SlurmWorkload(tmp_path)


@pytest.mark.engine("slurm")
class TestSlurm(Slurm, Direct):
    pass


@pytest.mark.engine("slurm")
class TestSlurmOverGrpc(Slurm, OverGrpc):
    pass


@pytest.mark.engine("slurm")
class TestSlurmWithAccounting(Slurm, Direct):
    @pytest.fixture
    def slurm_conf(self, slurm_accounting: "SlurmCluster") -> Path:
        return slurm_accounting.conf
