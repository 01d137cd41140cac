"""`jobengine doctor`: each fault of an installation is named, and nothing is changed by looking."""

import asyncio
import gc
import http.server
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from engines.findings import Finding, fine
from engines.memory import MemoryEngine
from jobengine import Client, JobSpec
from server.authentication import make_token
from server.doctor import examine, report
from server.doctor.certificates import _dated
from server.settings import Settings
from tests.certificates import Authority, Issued

JOBENGINE = Path(sys.executable).with_name("jobengine")
DEADLINE_SECONDS = 30.0


async def examined(**settings: Any) -> list[Finding]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await examine(Settings(**{"engine": "fake", "listen": "127.0.0.1:0"} | settings))


async def faults(**settings: Any) -> list[Finding]:
    return [finding for finding in await examined(**settings) if not finding.fine]


async def fault(what: str, **settings: Any) -> str:
    """What is said of the only thing that is amiss."""
    (found,) = await faults(**settings)
    assert found.what == what
    return found.words


async def seen(what: str, **settings: Any) -> str:
    """What is said of something that is fine, as is all the rest."""
    found = await examined(**settings)
    assert all(finding.fine for finding in found), found
    return next(finding.words for finding in found if finding.what == what)


async def test_all_is_well() -> None:
    found = await examined()
    assert [each.what for each in found] == ["versions", "settings", "address", "fake", "jobs"]
    assert all(each.fine for each in found)
    assert "jobengine-server" in found[0].words


def test_a_report() -> None:
    found = [fine("a", "is there"), Finding(fine=False, what="longer", words="isn't\n  there")]
    assert list(report(found)) == ["ok    a       is there", "FAIL  longer  isn't there"]


async def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    words = await fault("settings", listen="0.0.0.0:0")
    assert "--insecure" in words
    (first, *_) = await faults(tls_cert=tmp_path / "tls.crt")
    assert first.words == "--tls-cert and --tls-key belong together: give both"


# -- where it listens -------------------------------------------------------------------------


async def test_addresses(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "is in use" in await seen("address", listen=f"127.0.0.1:{port}")
        assert "is in use" in await seen("metrics address", metrics_listen=f"localhost:{port}")
    assert await seen("address", listen=f"unix:{tmp_path}/socket") != ""
    assert "no directory" in await fault("address", listen="unix:/no/such/socket")
    assert "of this machine" in await fault("metrics address", metrics_listen="203.0.113.1:1")
    assert "host:port" in await fault("metrics address", metrics_listen="nonsense")
    assert list(tmp_path.iterdir()) == []


# -- certificates -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def written(issued: Issued, directory: Path) -> dict[str, Path]:
    cert, key = issued.write(directory)
    key.chmod(0o600)
    return {"tls_cert": cert, "tls_key": key}


async def test_a_certificate(authority: Authority, tmp_path: Path) -> None:
    words = await seen("certificate", **written(authority.server(), tmp_path))
    assert words.startswith("for localhost, 127.0.0.1; until ")
    assert words.endswith(" (24 hours)")


async def test_an_expired_certificate(
    authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tls = written(authority.server(seconds=-60), tmp_path)
    words = await fault("certificate", **tls)
    assert ": expired on " in words
    assert words.endswith(": renew it")
    assert capsys.readouterr() == ("", "")


async def test_a_key_of_another_certificate(authority: Authority, tmp_path: Path) -> None:
    tls = written(authority.server(), tmp_path)
    tls["tls_key"].write_bytes(authority.server().key)
    assert "isn't the key of the first certificate" in await fault("certificate", **tls)


async def test_a_certificate_that_is_none(authority: Authority, tmp_path: Path) -> None:
    tls = written(authority.server(), tmp_path)
    tls["tls_cert"].write_text("nonsense")
    assert "holds no certificate" in await fault("certificate", **tls)
    tls["tls_cert"].unlink()
    assert str(tls["tls_cert"]) in await fault("certificate", **tls)


async def test_a_certificate_without_names(authority: Authority, tmp_path: Path) -> None:
    assert "no names" in await fault("certificate", **written(authority.client(), tmp_path))


async def test_a_key_that_all_can_read(authority: Authority, tmp_path: Path) -> None:
    tls = written(authority.server(), tmp_path)
    tls["tls_key"].chmod(0o644)
    assert "open to everybody" in await fault("private key", **tls)


def aged(days: int, left: int) -> x509.Certificate:
    """A certificate that is so old, and ends in so many days."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days))
        .not_valid_after(now + timedelta(left, 60))
        .sign(key, hashes.SHA256())
    )


@pytest.mark.parametrize(
    ("days", "left", "good", "words"),
    [
        (70, 20, True, "(20 days)"),
        (80, 10, False, "(10 days): renew it"),
        (5, 3, True, "(3 days)"),
        (6, 2, False, "(2 days): renew it"),
        (-5, 90, False, "isn't valid yet"),
    ],
)
def test_a_certificate_near_its_end(days: int, left: int, good: bool, words: str) -> None:
    certificate = aged(days, left)
    found = _dated("it", "x", certificate, certificate.not_valid_after_utc.timestamp())
    assert found.fine == good
    assert words in found.words


async def test_authorities_of_clients(authority: Authority, tmp_path: Path) -> None:
    tls = written(authority.server(), tmp_path)
    tls["client_ca"] = tmp_path / "ca.pem"
    tls["client_ca"].write_bytes(authority.pem + Authority("others").pem)
    found = await examined(**tls)
    assert all(each.fine for each in found), found
    names = [each.words.partition(";")[0] for each in found if each.what == "client authority"]
    assert names == ["CN=CA of tests", "CN=CA of others"]
    tls["client_ca"].write_bytes(aged(20, 1).public_bytes(Encoding.PEM))
    assert (await fault("client authority", **tls)).endswith(": renew it")
    tls["client_ca"].write_text("nonsense")
    assert "holds no certificate" in await fault("client authorities", **tls)
    tls["client_ca"].unlink()
    assert "No such file" in await fault("client authorities", **tls)


# -- credentials ------------------------------------------------------------------------------


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A token file with two names."""
    path = tmp_path / "tokens"
    lines = [f"{name} {make_token()[1]}\n" for name in ("ci", "ci", "ops")]
    path.write_text("# ours\n" + "".join(lines))
    path.chmod(0o600)
    return path


async def test_a_token_file(tokens: Path) -> None:
    assert await seen("token file", tokens=tokens) == f"{tokens}, 2 names"


async def test_a_token_file_that_others_can_read(tokens: Path) -> None:
    tokens.chmod(0o644)
    assert (await fault("token file", tokens=tokens)).endswith(": chmod 600")


async def test_a_broken_token_file(tokens: Path) -> None:
    tokens.write_text("ci secret-in-the-clear\n")
    words = await fault("token file", tokens=tokens)
    assert "line 1" in words
    assert "secret" not in words.replace(str(tokens), "")
    tokens.write_text("# nobody\n")
    assert "jobengine token" in await fault("token file", tokens=tokens)
    tokens.unlink()
    assert "No such file" in await fault("token file", tokens=tokens)


async def test_a_file_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.doctor.LOOK_SECONDS", 0.3)
    path = tmp_path / "tokens"
    os.mkfifo(path)
    try:
        assert await fault("token file", tokens=path) == "no answer within 0.3 s"
    finally:
        os.close(os.open(path, os.O_RDWR))  # lets the thread go


def key_set() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key))
    return json.dumps({"keys": [jwk | {"kid": "one", "alg": "ES256", "use": "sig"}]})


def issuers(directory: Path, *jwks: str, label: str = "", name: str = "https://issuer") -> Path:
    path = directory / "issuers.toml"
    path.write_text(
        "".join(
            f'[[issuers]]\nissuer = "{name}{number}"\naudiences = ["us"]\njwks = "{each}"\n'
            + (f'label = "{label}{number}"\n' if label else "")
            for number, each in enumerate(jwks)
        )
    )
    return path


async def test_keys_in_a_file(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text(key_set())
    path = issuers(tmp_path, str(keys))
    assert await seen("keys", jwt_issuers=path) == f"https://issuer0: 1 key, {keys}"
    keys.write_text("{}")
    assert "isn't a JSON Web Key Set" in await fault("keys", jwt_issuers=path)
    keys.unlink()
    assert "No such file" in await fault("keys", jwt_issuers=path)


@pytest.fixture
def web() -> Iterator[str]:
    """A server of keys: its URL."""
    content = key_set().encode()

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Keys) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/keys"
        server.shutdown()
        thread.join()


async def test_keys_of_several_issuers(web: str, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/keys?key=secret"
        path = issuers(tmp_path, web, nobody, label="l")
        found = [each for each in await examined(jwt_issuers=path) if each.what == "keys"]
    assert [each.fine for each in found] == [True, False]
    assert found[0].words == f"https://issuer0: 1 key, {web}"
    assert "refused" in found[1].words
    assert "secret" not in found[1].words


async def test_a_broken_file_of_issuers(web: str, tmp_path: Path) -> None:
    path = issuers(tmp_path, web, web)
    assert "several JWT issuers need a `label`" in await fault("JWT issuers", jwt_issuers=path)
    path.write_text("= nonsense")
    assert str(path) in await fault("JWT issuers", jwt_issuers=path)


# -- policy -----------------------------------------------------------------------------------


def policy(directory: Path, *identities: str) -> Path:
    path = directory / "policy.toml"
    path.write_text(
        "".join(
            f'[[subjects]]\nname = "s{number}"\nidentities = ["{identity}"]\n'
            'grants = [{verbs = ["read"]}]\n'
            for number, identity in enumerate(identities)
        )
    )
    return path


async def test_a_policy(tokens: Path, tmp_path: Path) -> None:
    path = policy(tmp_path, "token:ci")
    words = await seen("policy", tokens=tokens, policy=path)
    assert words == f"{path}, 1 subject; these may do nothing: token:ops"
    path = policy(tmp_path, "token:c*", "*")
    assert await seen("policy", tokens=tokens, policy=path) == f"{path}, 2 subjects"


async def test_a_broken_policy(tokens: Path, tmp_path: Path) -> None:
    path = policy(tmp_path, "nonsense")
    words = await fault("policy", tokens=tokens, policy=path)
    assert words.startswith(f"{path}: subjects[0].identities[0]: ")


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        ("cert:ci.example.org", "that takes --client-ca"),
        ("jwt:somebody", "that takes --jwt-issuers"),
        ("jwt-group:*", "that takes --jwt-issuers"),
        ("token:gone", "the token file has no such name"),
        ("token:x*", "the token file has no such name"),
        ("anonymous", "every caller has to say who it is"),
    ],
)
async def test_a_subject_that_nobody_can_be(
    tokens: Path, tmp_path: Path, identity: str, why: str
) -> None:
    path = policy(tmp_path, "token:ops", identity)
    words = await fault("policy", tokens=tokens, policy=path)
    assert words == f"subject s1: nobody can be {identity}: {why}"


async def test_callers_of_issuers_with_labels(web: str, tmp_path: Path) -> None:
    settings = {"jwt_issuers": issuers(tmp_path, web, web, label="l")}
    path = policy(tmp_path, "jwt:l0:ci", "jwt:l1:*", "jwt-group:l*", "*")
    assert "4 subjects" in await seen("policy", **settings, policy=path)
    path = policy(tmp_path, "jwt:ci")
    assert "has to begin with jwt:LABEL:" in await fault("policy", **settings, policy=path)


# -- the engine -------------------------------------------------------------------------------


class Hanging(MemoryEngine):
    """Finds one thing, and then none any more."""

    async def examine(self) -> AsyncIterator[Finding]:
        yield fine("first", "is there")
        await asyncio.Event().wait()


class Failing(MemoryEngine):
    """Has a bug."""

    async def examine(self) -> AsyncIterator[Finding]:
        yield fine("first", "is there")
        raise KeyError("x")


class Plain:
    """Four methods of somebody else's."""

    def create_job(self, name: str, spec: object) -> None: ...
    def delete_job(self, name: str) -> None: ...
    def read_job(self, name: str) -> None: ...
    def read_status(self, job: object) -> None: ...


async def test_what_an_engine_has_found_before_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.doctor.engine.ENGINE_SECONDS", 0.3)
    found = await examined(engine=f"{__name__}:Hanging")
    assert [each.what for each in found][-2:] == ["first", f"{__name__}:Hanging"]
    assert found[-1].words.startswith("no answer within 0.3 s")


async def test_an_engine_that_fails() -> None:
    assert await fault(f"{__name__}:Failing", engine=f"{__name__}:Failing") == "KeyError: 'x'"


async def test_an_engine_of_four_methods() -> None:
    assert await seen("jobs", engine=f"{__name__}:Plain") == "0 jobs"


async def test_no_such_engine() -> None:
    assert "choose one of local, docker" in await fault("nope", engine="nope")


async def test_an_engine_whose_sdk_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = await fault("kubernetes", engine="kubernetes")
    assert words.endswith("pip install 'jobengine-server[kubernetes]'")


# The SDK leaves its socket open where nobody listens.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_daemon_and_a_cluster_that_are_away(tmp_path: Path) -> None:
    pytest.importorskip("docker")
    pytest.importorskip("kubernetes")
    words = await fault("Docker", engine="docker", docker_host=f"unix://{tmp_path}/none.sock")
    assert "no daemon is there" in words
    words = await fault("Kubernetes", engine="kubernetes", kubeconfig=tmp_path / "none")
    assert "there is no such file" in words
    gc.collect()


async def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.metadata.version
    old = {"grpcio": "1.60.1"}
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: old.get(name) or installed(name)
    )
    words = await fault("versions")
    assert words.startswith("grpcio 1.60.1 is too old, 1.80 is needed: pip install ")


# -- the command ------------------------------------------------------------------------------


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JOBENGINE, "doctor", "--listen", "127.0.0.1:0", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def test_the_exit_code_says_whether_all_is_well(tmp_path: Path) -> None:
    well = doctor("--engine", "local", "--state-dir", str(tmp_path / "state"))
    assert (well.returncode, well.stderr) == (0, ""), well.stdout
    assert all(line.startswith("ok ") for line in well.stdout.splitlines())
    assert list(tmp_path.iterdir()) == []
    ill = doctor("--engine", "fake", "--tokens", str(tmp_path / "none"))
    assert (ill.returncode, ill.stderr) == (1, "")
    assert sum(line.startswith("FAIL ") for line in ill.stdout.splitlines()) == 1


def test_beside_a_running_server(tmp_path: Path) -> None:
    """The server, and the job that it runs, go on."""
    state = ("--engine", "local", "--state-dir", str(tmp_path / "state"))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    serve = [str(JOBENGINE), "serve", *state, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            address = str(json.loads(server.stdout.readline())["address"])
            with Client(address) as client:
                script = f"read line < {gate}; exit 3"
                client.create_job(JobSpec(command=["/bin/sh", "-c", script]), name="job")
                found = doctor(*state, "--listen", address)
                assert found.returncode == 0, found.stdout
                assert f"process {server.pid}" in found.stdout
                assert f"{address} is in use" in found.stdout
                gate.write_text("go\n")
                assert client.wait("job", timeout_seconds=DEADLINE_SECONDS).exit_code == 3
                assert server.poll() is None
                client.delete_job("job")
        finally:
            server.terminate()
