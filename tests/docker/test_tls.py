"""A daemon that is reached by TCP and TLS, with a certificate for either side."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engines.base import Engine, State
from engines.config import JobManager
from engines.errors import EngineUnavailable
from engines.workload import watching
from jobengine.v1.job_pb2 import JobSpec
from tests.docker.place import IMAGE

if TYPE_CHECKING:
    from tests.docker.daemons import Dockerd

pytestmark = [pytest.mark.engine("docker"), pytest.mark.timeout(90)]

DEADLINE_SECONDS = 30.0


class Authority:
    """A certificate authority of a test's own. Docker wants ca.pem, cert.pem and key.pem."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir()
        self._directory = directory
        self._name = name
        subject = ("-subj", f"/CN={name}", "-days", "1", "-nodes", "-newkey", "ec")
        curve = ("-pkeyopt", "ec_paramgen_curve:P-256")
        self._openssl("req", "-x509", *subject, *curve, "-keyout", "ca.key", "-out", "ca.pem")

    def issue(self, holder: str) -> Path:
        """A directory with a certificate for whoever is at 127.0.0.1."""
        directory = self._directory / holder
        directory.mkdir()
        key, request, cert = (f"{holder}/{name}" for name in ("key.pem", "request.pem", "cert.pem"))
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._openssl("req", "-subj", f"/CN={holder}", *curve, "-keyout", key, "-out", request)
        names = self._directory / "names"
        names.write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1")
        self._openssl("x509", "-req", "-in", request, *by, "-extfile", "names", "-out", cert)
        (directory / "ca.pem").write_bytes((self._directory / "ca.pem").read_bytes())
        return directory

    def _openssl(self, *arguments: str) -> None:
        made = subprocess.run(
            ["openssl", *arguments],
            check=False,
            cwd=self._directory,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority", "the test's")


@pytest.fixture
def host(authority: Authority, make_dockerd: "Callable[..., Dockerd]") -> str:
    """A daemon that takes only clients of the authority, beside its own socket."""
    certificates = authority.issue("daemon")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    daemon = make_dockerd(
        f"--host=tcp://127.0.0.1:{port}",
        "--tlsverify",
        f"--tlscacert={certificates / 'ca.pem'}",
        f"--tlscert={certificates / 'cert.pem'}",
        f"--tlskey={certificates / 'key.pem'}",
    )
    daemon.start()
    return f"tcp://127.0.0.1:{port}"


async def runs(engine: Engine) -> State:
    """How a job ends that prints something."""
    spec = JobSpec(image=IMAGE, command=["true"])
    async with engine, watching(engine, DEADLINE_SECONDS) as watched:
        job = await engine.create_job("job", spec)
        state = (await watched.end_of(job)).state
        await engine.delete_job("job")
        await watched.removal_of(job)
        return state


async def why_not(engine: Engine) -> str:
    """What a caller is told of an engine that finds no daemon."""
    async with engine, asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(EngineUnavailable) as told:
            await engine.list_jobs()
    return str(told.value)


async def test_a_job_runs_over_tls(
    host: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the engine's own settings, and by Docker's variables."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Path(__file__).with_name("nobody's.pem")))
    certificates = authority.issue("client")
    named = JobManager("docker", host=host, cert_path=certificates)
    assert await runs(named) is State.SUCCEEDED
    monkeypatch.setenv("DOCKER_HOST", host)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", os.fspath(certificates))
    assert await runs(JobManager("docker")) is State.SUCCEEDED


async def test_certificates_that_do_not_fit(
    host: str, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger", "somebody else's").issue("client")
    words = await why_not(JobManager("docker", host=host, cert_path=stranger))
    assert "--docker-cert-path" in words
    unknown = authority.issue("unknown")
    for name in ("cert.pem", "key.pem"):
        (unknown / name).write_bytes((stranger / name).read_bytes())
    words = await why_not(JobManager("docker", host=host, cert_path=unknown))
    assert "--docker-cert-path" in words


async def test_certificates_that_are_not_there(host: str, tmp_path: Path) -> None:
    words = await why_not(JobManager("docker", host=host, cert_path=tmp_path))
    assert "--docker-cert-path" in words


async def test_tls_is_wanted_and_not_spoken(host: str) -> None:
    words = await why_not(JobManager("docker", host=host))
    assert host in words
    assert "--docker-cert-path" in words
