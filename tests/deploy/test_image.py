"""The image: built, run as an operator would run it, and looked into."""

import contextlib
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen
from uuid import uuid4

import pytest

from jobengine import TLS, Client, JobSpec, errors, state_name
from server.authentication import make_token
from tests.certificates import LOCALHOST, Authority
from tests.docker.fixtures import Reachable
from tests.docker.place import IMAGE as BUSYBOX
from tests.docker.place import place_on
from tests.faults.processes import until

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

pytestmark = [pytest.mark.engine("docker"), pytest.mark.timeout(420)]  # the first one builds it

START_SECONDS = 60.0
MIB = 1 << 20

HARDENED: dict[str, Any] = {
    "read_only": True,
    "tmpfs": {"/tmp": ""},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
"""What docs/deployment.md says to start it with."""

WRITABLE = """
import json, os
found = []
for top, directories, files in os.walk("/"):
    if top == "/":
        directories[:] = [name for name in directories if name not in ("proc", "sys", "dev")]
    for name in (*directories, *files):
        path = os.path.join(top, name)
        if not os.path.islink(path) and os.access(path, os.W_OK):
            found.append(path)
print(json.dumps(found))
"""

POLICY = """
[[subjects]]
name = "ci"
identities = ["token:ci"]
grants = [{ verbs = ["create", "read"], own = true }]
"""

Start = Callable[..., "Container"]


@pytest.fixture
def client(dockerd: Reachable) -> "Generator[docker.DockerClient]":
    from tests.docker.daemons import connect

    with contextlib.closing(connect(dockerd.host)) as found:
        yield found


@pytest.fixture
def start(client: "docker.DockerClient", image: str) -> Generator[Start]:
    """Starts containers of the image; they are removed afterwards."""
    with contextlib.ExitStack() as stack:

        def run(*arguments: str, **settings: Any) -> "Container":
            container = client.containers.create(image, list(arguments), **settings)
            stack.callback(remove, container)
            container.start()
            return container

        yield run


def remove(container: "Container") -> None:
    """Remove it with its volumes, unless a test has done that."""
    from docker.errors import NotFound

    with contextlib.suppress(NotFound):
        container.remove(force=True, v=True)


def serving(container: "Container") -> dict[str, Any]:
    """Wait until it serves, and return the line in which it says so."""

    def line() -> str:
        container.reload()
        said = container.logs(stdout=True, stderr=False).decode()
        assert container.status == "running", container.logs().decode()
        return said

    found: dict[str, Any] = json.loads(until("it serves", line, seconds=START_SECONDS))
    return found


def published(container: "Container", port: int = 50051) -> str:
    """Where this machine reaches a port of it."""
    bindings = container.ports[f"{port}/tcp"]
    assert bindings
    binding = bindings[0]
    return f"127.0.0.1:{binding['HostPort']}"


def ended(container: "Container") -> int:
    """Tell it to stop, and return its exit code."""
    container.kill("SIGTERM")
    code: int = container.wait(timeout=30)["StatusCode"]
    return code


def execute(container: "Container", *command: str) -> tuple[int, str]:
    code, output = container.exec_run(list(command))
    assert code is not None
    assert isinstance(output, bytes)
    return code, output.decode()


def test_what_it_is(client: "docker.DockerClient", image: str, capsys: Any) -> None:
    built, base = client.images.get(image), client.images.get("jobengine.test/python:1")
    size, below = (each.attrs["Size"] / MIB for each in (built, base))
    with capsys.disabled():
        print(f"\nthe image has {size:.0f} MiB, of which {below:.0f} MiB are its base")
    config = built.attrs["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["jobengine"]
    assert config["Cmd"] == ["serve"]
    assert config["Healthcheck"]["Test"] == ["CMD", "jobengine", "health"]
    assert list(config["Volumes"]) == ["/var/lib/jobengine"]
    assert built.labels["org.opencontainers.image.revision"] == "tests"
    assert built.labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_engines_that_it_brings(start: Start) -> None:
    container = start("engines")
    assert container.wait(timeout=START_SECONDS)["StatusCode"] == 0
    lines = container.logs().decode().splitlines()
    described = dict(line.split(maxsplit=1) for line in lines)
    assert {"local", "docker", "kubernetes"} <= described.keys()
    assert not [text for text in described.values() if "isn't installed" in text], described


def test_it_brings_nothing_else(start: Start) -> None:
    container = start("serve", "--engine", "fake", "--insecure")
    serving(container)
    for path in ("/src", "/wheels", "/opt/jobengine/bin/pip", "/root/.cache", "/usr/bin/gcc"):
        code, _ = execute(container, "python", "-c", f"import os; os.stat({path!r})")
        assert code != 0, f"{path} is in the image"


def test_nothing_but_its_volume_can_be_written(start: Start) -> None:
    container = start("serve", "--engine", "fake", "--insecure")
    serving(container)
    code, output = execute(container, "python", "-c", WRITABLE)
    assert code == 0, output
    scratch = ("/tmp", "/var/tmp", "/run/lock")  # of the base image
    ours = [path for path in json.loads(output) if path not in scratch]
    assert ours == ["/var/lib/jobengine"]


def test_it_refuses_to_serve_everybody(start: Start) -> None:
    container = start("serve")
    assert container.wait(timeout=START_SECONDS)["StatusCode"] == 2
    assert "can be reached from other machines" in container.logs().decode()


def test_jobs_health_and_end(start: Start) -> None:
    settings = {"ports": {"50051/tcp": ("127.0.0.1", 0)}, "healthcheck": {"interval": 10**9}}
    container = start("serve", "--insecure", **HARDENED, **settings)
    assert serving(container)["health"] == "SERVING"

    code, output = execute(
        container, "jobengine", "run", "--quiet", "--", "sh", "-c", "id -u; exit 3"
    )
    assert (code, output) == (3, "65532\n")
    with Client(published(container)) as caller:
        status = caller.run(JobSpec(command=["sh", "-c", "echo > /escape"]))
        assert status.exit_code == 1  # the root file system is read-only for jobs, too

    def healthy() -> bool:
        container.reload()
        return bool(container.health == "healthy")

    until("it is healthy", healthy, seconds=START_SECONDS)
    assert ended(container) == 0


def test_jobs_of_a_volume_outlive_the_container(
    start: Start, client: "docker.DockerClient"
) -> None:
    volume = client.volumes.create(f"test-{uuid4().hex[:12]}")
    mounts = {volume.name: {"bind": "/var/lib/jobengine", "mode": "rw"}}
    try:
        first = start("serve", "--insecure", **HARDENED, volumes=mounts)
        serving(first)
        assert execute(first, "jobengine", "run", "--name", "done", "--", "true")[0] == 0
        remove(first)
        second = start("serve", "--insecure", **HARDENED, volumes=mounts)
        serving(second)
        code, output = execute(second, "jobengine", "-o", "json", "get", "done")
        assert code == 0
        assert "JOB_STATE_SUCCEEDED" in output
        remove(second)
    finally:
        volume.remove(force=True)


def test_jobs_on_the_daemon_itself(start: Start, dockerd: Reachable, tmp_path: Path) -> None:
    if not dockerd.host.startswith("unix://"):
        pytest.skip("the daemon has no socket on this machine")
    socket = dockerd.host.removeprefix("unix://")
    with place_on(dockerd.host, tmp_path) as place:
        container = start(
            *("serve", "--engine", "docker", "--insecure", "--namespace", place.namespace),
            **HARDENED,
            volumes={socket: {"bind": "/var/run/docker.sock", "mode": "rw"}},
            group_add=[str(Path(socket).stat().st_gid)],
        )
        assert serving(container)["health"] == "SERVING"
        run = (
            "jobengine",
            "run",
            "--quiet",
            "--image",
            BUSYBOX,
            "--",
            "sh",
            "-c",
            "echo it; exit 4",
        )
        assert execute(container, *run) == (4, "it\n")
        assert ended(container) == 0


def test_tls_tokens_and_metrics(start: Start, tmp_path: Path) -> None:
    """As deploy/docker/compose.yaml starts it, but with files in place of its secrets."""
    directory = tmp_path / "secrets"
    directory.mkdir()
    authority = Authority()
    authority.server(*LOCALHOST).write(directory)
    (directory / "ca.crt").write_bytes(authority.pem)
    token, digest = make_token()
    (directory / "tokens").write_text(f"ci {digest}\n")
    (directory / "policy.toml").write_text(POLICY)
    for file in directory.iterdir():
        file.chmod(0o644)  # a container's user has another number than this one
    container = start(
        *("serve", "--engine", "fake", "--metrics-listen", "0.0.0.0:9464"),
        *("--tls-cert", "/run/secrets/tls.crt", "--tls-key", "/run/secrets/tls.key"),
        *("--tokens", "/run/secrets/tokens", "--policy", "/run/secrets/policy.toml"),
        **HARDENED,
        volumes={str(directory): {"bind": "/run/secrets", "mode": "ro"}},
        ports={"50051/tcp": ("127.0.0.1", 0), "9464/tcp": ("127.0.0.1", 0)},
    )
    serving(container)
    tls = TLS(ca_file=directory / "ca.crt", server_name="localhost")
    with Client(published(container), tls=tls, token=token) as caller:
        assert state_name(caller.run(JobSpec(command=["true"]))) == "SUCCEEDED"
    with Client(published(container), tls=tls) as stranger, pytest.raises(errors.Unauthenticated):
        list(stranger.list_jobs())
    for path in ("healthz", "readyz", "metrics"):
        with urlopen(f"http://{published(container, 9464)}/{path}", timeout=10) as answer:
            assert answer.status == 200
    assert ended(container) == 0
