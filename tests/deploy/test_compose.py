"""deploy/docker/compose.yaml: read by Compose itself, and brought up on a real daemon."""

import importlib
import json
import os
import subprocess
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from jobengine import TLS, Client, JobSpec, errors
from server.authentication import make_token
from tests.certificates import LOCALHOST, Authority
from tests.deploy.tools import ROOT, program
from tests.docker.fixtures import Reachable
from tests.docker.place import IMAGE as BUSYBOX
from tests.faults.processes import until

if TYPE_CHECKING:
    from docker.models.containers import Container

pytestmark = pytest.mark.timeout(420)  # one builds the image

FILE = ROOT / "deploy/docker/compose.yaml"
GROUP = {"DOCKER_GID": "999"}
SECONDS = 120
PROMPTLY_SECONDS = 20
"""Less than the engine's list or a connection's keepalive take to make up for what was missed."""

POLICY = """
[[subjects]]
name = "ci"
identities = ["token:ci"]
grants = [{ verbs = ["create", "read", "logs", "delete"], own = true }]
"""


def compose(file: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run Compose, whichever of its two there is."""
    # Debian's is a program of Debian's Python, which is to find nothing of this one's.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [program("docker-compose"), "--file", file, *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def content() -> dict[str, Any]:
    yaml: Any = importlib.import_module("yaml")  # it has no types
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def test_compose_takes_it() -> None:
    done = compose(FILE, "config", "--quiet", **GROUP)
    assert done.returncode == 0, done.stderr


def test_it_asks_for_the_group_of_the_socket() -> None:
    done = compose(FILE, "config", "--quiet", DOCKER_GID="")
    assert done.returncode != 0
    assert "the group of /var/run/docker.sock" in done.stderr


def test_its_stop_takes_longer_than_calls() -> None:
    assert content()["services"]["jobengine"]["stop_grace_period"] == "20s"  # --stop-grace: 5 s


@contextmanager
def brought_up(
    directory: Path, dockerd: Reachable, image: str, namespace: str
) -> Generator["Container"]:
    """The service; its ports, its network and the way to the socket are changed for the test."""
    from tests.docker.daemons import connect

    file = directory / "compose.json"
    changed, socket = content(), dockerd.host.removeprefix("unix://")
    service = changed["services"]["jobengine"]
    del service["build"]
    service["command"].append(f"--namespace={namespace}")
    service["ports"] = ["127.0.0.1::50051"]
    service["network_mode"] = "bridge"  # a network of its own would be one more thing to remove
    service["volumes"] = [f"{socket}:/var/run/docker.sock"]
    service["healthcheck"]["interval"] = "1s"
    file.write_text(json.dumps({"version": "3.9", **changed}))
    project = f"--project-name={namespace}"
    given = {
        "DOCKER_HOST": dockerd.host,
        "DOCKER_GID": str(Path(socket).stat().st_gid),
        "JOBENGINE_IMAGE": image,
    }
    try:
        done = compose(file, project, "up", "--detach", **given)
        assert done.returncode == 0, done.stderr
        with closing(connect(dockerd.host)) as client:
            label = f"com.docker.compose.project={namespace}"
            (container,) = client.containers.list(all=True, filters={"label": label})
            yield container
    finally:
        done = compose(file, project, "down", "--volumes", **given)
        assert done.returncode == 0, done.stderr


@pytest.mark.engine("docker")
def test_it_runs_jobs_for_callers_with_a_token(
    dockerd: Reachable, image: str, tmp_path: Path
) -> None:
    if not dockerd.host.startswith("unix://"):
        pytest.skip("the daemon has no socket on this machine")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    authority = Authority()
    authority.server(*LOCALHOST).write(secrets)
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    token, digest = make_token()
    (secrets / "tokens").write_text(f"ci {digest}\n")
    (secrets / "policy.toml").write_text(POLICY)
    for file in secrets.iterdir():
        file.chmod(0o644)  # of this machine's users, none is the container's
    with brought_up(tmp_path, dockerd, image, f"test-{uuid4().hex[:12]}") as container:

        def healthy() -> bool:
            container.reload()
            assert container.status == "running", container.logs().decode()
            return bool(container.health == "healthy")

        until("it is healthy", healthy, seconds=60)
        bindings = container.ports["50051/tcp"]
        assert bindings
        address = f"127.0.0.1:{bindings[0]['HostPort']}"
        tls = TLS(ca_file=tmp_path / "ca.crt", server_name="localhost")
        spec = JobSpec(image=BUSYBOX, command=["sh", "-c", "exit 5"])
        with Client(address, tls=tls, token=token) as client:
            job = client.create_job(spec)
            status = client.wait(job.name, timeout_seconds=PROMPTLY_SECONDS)
            assert status.exit_code == 5
            client.delete_job(job.name)
        with Client(address, tls=tls) as stranger, pytest.raises(errors.Unauthenticated):
            stranger.create_job(spec)
