"""How the Python client and the command line encrypt, and show who they are."""

import os
import subprocess
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from jobengine import TLS, Client, JobState, RetryPolicy, errors
from jobengine._settings import is_loopback
from jobengine.cli.failure import exit_code, explain
from jobengine.cli.session import Session
from tests.certificates import Authority, Issued
from tests.clients.asking import AskingServer
from tests.clients.blocking import NewClient
from tests.clients.server import JOBENGINE

QUICK = RetryPolicy(retry_for_seconds=0.2)
TIMEOUT_SECONDS = 30

NewAsking = Callable[..., AskingServer]
RunCli = Callable[..., subprocess.CompletedProcess[str]]


class Certificates:
    """One authority, a server's certificate, and a client's, in files."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority()
        self.server = self.authority.server()
        self.client = self.authority.client()
        self.ca = directory / "ca.crt"
        self.ca.write_bytes(self.authority.pem)
        self.cert, self.key = self.client.write(directory)
        self.strangers_ca = directory / "stranger.crt"
        self.strangers_ca.write_bytes(Authority("strangers").pem)
        self.namesakes_ca = directory / "namesake.crt"
        self.namesakes_ca.write_bytes(Authority().pem)


def serving(issued: Issued, client_ca: bytes | None = None) -> grpc.ServerCredentials:
    """A server's credentials; with an authority, those that ask for a client's certificate."""
    return grpc.ssl_server_credentials(
        [(issued.key, issued.cert)], client_ca, require_client_auth=client_ca is not None
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def asking() -> Generator[NewAsking]:
    """Starts small servers that ask who calls."""
    with ExitStack() as stack:

        def start(credentials: grpc.ServerCredentials | None = None) -> AskingServer:
            server = AskingServer(credentials)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def cli(tmp_path: Path) -> RunCli:
    """Runs `jobengine` with nothing in the environment but what the test says."""

    def run(
        *arguments: str | Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if "JOBENGINE" not in key}
        return subprocess.run(
            [JOBENGINE, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            cwd=tmp_path,
            env={**kept, "NO_COLOR": "1", "COLUMNS": "200", **(env or {})},
        )

    return run


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("localhost:1", True),
        ("127.0.0.1:1", True),
        ("127.8.8.8:1", True),
        ("[::1]:1", True),
        ("ipv4:127.0.0.1:1", True),
        ("dns:///localhost:1", True),
        ("unix:/run/jobs", True),
        ("unix:///run/jobs:1", True),
        ("jobs.example.com:1", False),
        ("10.0.0.1:1", False),
        ("[2001:db8::1]:1", False),
        ("localhost.example.com:1", False),
        ("127.0.0.1.example.com:1", False),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("dns://10.0.0.1/localhost:1", False),
        ("unixhost:1", False),
    ],
)
def test_token_goes_to_other_machines_only_by_tls(
    new_client: NewClient, address: str, local: bool
) -> None:
    assert is_loopback(address) == local
    new_client(address, token="secret", tls=True)
    new_client(address, token="secret", credentials=grpc.ssl_channel_credentials())
    if local:
        new_client(address, token="secret")
        return
    with pytest.raises(ValueError, match="set tls") as caught:
        new_client(address, token="secret")
    assert "secret" not in str(caught.value)


def test_settings_that_cannot_work(certificates: Certificates, new_client: NewClient) -> None:
    with pytest.raises(ValueError, match="key_file"):
        TLS(cert_file=certificates.cert)
    with pytest.raises(FileNotFoundError, match="no-such-file"):
        new_client("a:1", tls=TLS(ca_file="no-such-file"))
    with pytest.raises(ValueError, match="tls and credentials"):
        new_client("a:1", tls=True, credentials=grpc.ssl_channel_credentials())


def test_token_is_sent_with_every_call(new_client: NewClient, asking: NewAsking) -> None:
    server = asking()
    server.tokens = {"one"}
    client = new_client(server.address, token="one", metadata=[("x-team", "a")])
    client.read_engine()
    assert client.check_health()
    assert server.seen == ["Bearer one"] * 2


def test_function_is_asked_for_the_token_at_each_call(
    new_client: NewClient, asking: NewAsking
) -> None:
    server, tokens = asking(), iter(("one", "two"))
    client = new_client(server.address, token=lambda: next(tokens))
    client.read_engine()
    client.read_engine()
    assert server.seen == ["Bearer one", "Bearer two"]


def test_function_that_fails_ends_the_call(new_client: NewClient, asking: NewAsking) -> None:
    def token() -> str:
        raise FileNotFoundError("no token today")

    client = new_client(asking().address, token=token)
    with pytest.raises(FileNotFoundError):
        client.read_engine()
    with pytest.raises(FileNotFoundError):
        list(client.watch_status("x"))


@pytest.mark.parametrize("token", ["wrong", None])
def test_no_good_token(new_client: NewClient, asking: NewAsking, token: str | None) -> None:
    server = asking()
    server.tokens = {"good"}
    client = new_client(server.address, token=token)
    for call in (client.read_engine, client.check_health, lambda: list(client.watch_status("x"))):
        with pytest.raises(errors.Unauthenticated) as caught:
            call()
        assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
        assert caught.value.reason == "UNAUTHENTICATED"
    assert len(server.seen) == 3, "nothing of this gets better by trying again"


def test_caller_who_may_not(new_client: NewClient, asking: NewAsking) -> None:
    with pytest.raises(errors.PermissionDenied) as caught:
        new_client(asking().address).delete_job("x")
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.reason == "PERMISSION_DENIED"
    assert caught.value.metadata == {"verb": "delete"}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UNAUTHENTICATED", errors.Unauthenticated),
        ("PERMISSION_DENIED", errors.PermissionDenied),
    ],
)
def test_refused_by_a_proxy(
    new_client: NewClient, asking: NewAsking, code: str, kind: type[errors.JobEngineError]
) -> None:
    with pytest.raises(kind) as caught:
        new_client(asking().address).cancel_job(code)
    assert (caught.value.code.name, caught.value.reason) == (code, "")


def test_watch_whose_token_was_withdrawn_goes_on_with_the_next_one(
    new_client: NewClient, asking: NewAsking
) -> None:
    server = asking()
    server.tokens = {"old", "new"}
    client = new_client(server.address, token=lambda: "old" if "old" in server.tokens else "new")
    with closing(client.watch_status("x")) as events:
        states = [event.status.state for event in events]
    assert states == [JobState.JOB_STATE_RUNNING, JobState.JOB_STATE_SUCCEEDED]
    assert server.cursors == ["", "c1"]
    assert server.seen == ["Bearer old", "Bearer new"]


def test_watch_without_another_token_ends(new_client: NewClient, asking: NewAsking) -> None:
    server = asking()
    server.tokens = {"old", "new"}
    events = new_client(server.address, token="old").watch_status("x")
    with closing(events), pytest.raises(errors.Unauthenticated):
        list(events)


def test_tls(new_client: NewClient, asking: NewAsking, certificates: Certificates) -> None:
    server = asking(serving(certificates.server))
    server.tokens = {"one"}
    client = new_client(server.address, tls=TLS(ca_file=certificates.ca), token="one")
    assert client.read_engine().name == "asking"
    assert client.check_health()
    assert [e.status.state for e in client.watch_status("x", cursor="c")] == [
        JobState.JOB_STATE_SUCCEEDED
    ]


def test_server_that_is_not_the_one(
    new_client: NewClient, asking: NewAsking, certificates: Certificates
) -> None:
    server = asking(serving(certificates.authority.server("dns:elsewhere")))
    for tls in (
        False,
        True,
        TLS(ca_file=certificates.strangers_ca),
        TLS(ca_file=certificates.ca),
        TLS(ca_file=certificates.ca, server_name="nowhere"),
    ):
        with pytest.raises(errors.Unavailable):
            new_client(server.address, tls=tls, retry=QUICK, token="secret").read_engine()
    assert server.seen == [], "the token is for that server only"
    named = TLS(ca_file=certificates.ca, server_name="elsewhere")
    assert new_client(server.address, tls=named).read_engine().name == "asking"


def test_mutual_tls(new_client: NewClient, asking: NewAsking, certificates: Certificates) -> None:
    server = asking(serving(certificates.server, certificates.authority.pem))
    ours = TLS(ca_file=certificates.ca, cert_file=certificates.cert, key_file=certificates.key)
    client = new_client(server.address, tls=ours)
    assert client.read_engine().name == "asking"
    with pytest.raises(errors.Unavailable):
        new_client(server.address, tls=TLS(ca_file=certificates.ca), retry=QUICK).read_engine()


def test_certificate_is_read_when_a_connection_is_opened(
    new_client: NewClient, asking: NewAsking, certificates: Certificates, tmp_path: Path
) -> None:
    server = asking(serving(certificates.server))
    ca = tmp_path / "ca.crt"
    ca.write_bytes(Authority().pem)
    client = new_client(server.address, tls=TLS(ca_file=ca))
    ca.write_bytes(certificates.authority.pem)
    assert client.read_engine().name == "asking"


@pytest.fixture
def by_options(certificates: Certificates, tmp_path: Path) -> dict[str, str | Path]:
    token = tmp_path / "token"
    token.write_text("one\n")
    return {
        "--ca": certificates.ca,
        "--cert": certificates.cert,
        "--key": certificates.key,
        "--token-file": token,
    }


@pytest.fixture
def mutual(asking: NewAsking, certificates: Certificates) -> AskingServer:
    """A server that wants TLS, a certificate and the token "one"."""
    server = asking(serving(certificates.server, certificates.authority.pem))
    server.tokens = {"one"}
    return server


def flat(options: Mapping[str, Any]) -> list[str]:
    return [str(part) for pair in options.items() for part in pair]


def variables(options: Mapping[str, Any]) -> dict[str, str]:
    names = {"--ca": "CA", "--cert": "CERT", "--key": "KEY", "--token-file": "TOKEN_FILE"}
    return {f"JOBENGINE_{names[option]}": str(value) for option, value in options.items()}


def test_cli_by_options_before_and_after_the_command(
    cli: RunCli, mutual: AskingServer, by_options: dict[str, Any]
) -> None:
    options = ["--tls", *flat(by_options), "--address", mutual.address]
    for arguments in (["health", *options], [*options, "health"]):
        done = cli(*arguments)
        assert done.returncode == 0, done.stderr
        assert "asking" in done.stdout
    assert set(mutual.seen) == {"Bearer one"}


def test_cli_by_the_environment(
    cli: RunCli, mutual: AskingServer, by_options: dict[str, Any], tmp_path: Path
) -> None:
    env = {"JOBENGINE_TLS": "1", "JOBENGINE_ADDRESS": mutual.address, **variables(by_options)}
    assert cli("health", env=env).returncode == 0
    (tmp_path / "token").unlink()
    assert cli("health", env=env).returncode == 2
    env.pop("JOBENGINE_TOKEN_FILE")
    assert cli("health", env={**env, "JOBENGINE_TOKEN": "one"}).returncode == 0


def test_cli_options_win_over_the_environment(
    cli: RunCli, asking: NewAsking, tmp_path: Path
) -> None:
    server = asking()
    env = {
        "JOBENGINE_ADDRESS": "127.0.0.1:1",
        "JOBENGINE_CA": str(tmp_path / "none"),
        "JOBENGINE_TLS": "1",
    }
    options = ["--address", server.address, "--no-tls"]
    for arguments in ([*options, "health"], ["health", *options]):
        assert cli(*arguments, env=env).returncode == 0
    assert cli("--address", "127.0.0.1:1", "health", "--address", server.address).returncode == 0


def test_cli_of_whom_the_server_does_not_know(cli: RunCli, asking: NewAsking) -> None:
    server = asking()
    server.tokens = {"good"}
    for command, code in (("watch", 125), ("health", 1)):
        done = cli("--address", server.address, command, *(["x"] if command == "watch" else []))
        assert done.returncode == code
        assert "it is UNAUTHENTICATED" in done.stderr
        assert "--token-file" in done.stderr
        assert "Traceback" not in done.stderr


def test_cli_of_who_may_not(cli: RunCli, asking: NewAsking) -> None:
    done = cli("--address", asking().address, "rm", "x")
    assert done.returncode == 125
    assert done.stderr == "jobengine: it is PERMISSION_DENIED\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--address", "jobs.example.com:1", "--token-file", "token"], "set tls"),
        (["--token-file", "none"], "--token-file"),
        (["--token-file", "two"], "one token and nothing else"),
        (["--cert", "token"], "key_file"),
        (["--tls", "--ca", "none"], "none"),
    ],
)
def test_cli_of_options_that_cannot_work(
    cli: RunCli, tmp_path: Path, arguments: list[str], text: str
) -> None:
    (tmp_path / "token").write_text("secret")
    (tmp_path / "two").write_text("name secret")
    done = cli(*arguments, "ls")
    assert done.returncode == 2
    assert text in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("client", "server", "hint"),
    [
        ("plain", "tls", "--tls"),
        ("plain", "mutual", "--tls"),
        ("tls", "plain", "--no-tls"),
        ("tls", "elsewhere", "--server-name"),
        ("tls", "mutual", "--cert"),
        ("stranger", "tls", "--ca or JOBENGINE_CA"),
        ("namesake", "tls", "--ca or JOBENGINE_CA"),
        ("broken", "tls", "isn't PEM"),
    ],
)
def test_cli_says_what_is_wrong_with_the_encryption(
    cli: RunCli,
    asking: NewAsking,
    certificates: Certificates,
    client: str,
    server: str,
    hint: str,
) -> None:
    credentials = {
        "plain": None,
        "tls": serving(certificates.server),
        "elsewhere": serving(certificates.authority.server("dns:elsewhere")),
        "mutual": serving(certificates.server, certificates.authority.pem),
    }
    options: dict[str, list[str | Path]] = {
        "plain": [],
        "tls": ["--ca", certificates.ca],
        "stranger": ["--ca", certificates.strangers_ca],
        "namesake": ["--ca", certificates.namesakes_ca],
        "broken": ["--ca", certificates.key],
    }
    address = asking(credentials[server]).address
    done = cli("--address", address, *options[client], "health")
    assert done.returncode == 1
    assert address in done.stderr.splitlines()[0]
    assert hint in done.stderr.splitlines()[1]


def test_cli_names_the_fields_that_a_caller_may_not_ask_for() -> None:
    image = errors.FieldViolation("spec.image", "use one of these")
    denied = errors.PermissionDenied("spec.image: use one of these", violations=[image])
    assert exit_code(denied) == 125
    assert explain(denied, Session()).splitlines() == [
        "jobengine: you may not ask for this",
        "  spec.image: use one of these",
    ]


def test_cli_reads_the_token_for_each_call(asking: NewAsking, tmp_path: Path) -> None:
    server, file = asking(), tmp_path / "token"
    file.write_text("one")
    with Session(address=server.address, token_file=file).client() as client:
        client.read_engine()
        file.write_text("two\n")
        client.read_engine()
        file.unlink()
        with pytest.raises(errors.JobEngineError, match="--token-file"):
            client.read_engine()
    assert server.seen == ["Bearer one", "Bearer two"]


def test_client_takes_only_the_address_from_the_environment(
    asking: NewAsking, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = asking()
    for name, value in {"ADDRESS": server.address, "TOKEN": "t", "TLS": "1"}.items():
        monkeypatch.setenv(f"JOBENGINE_{name}", value)
    with Client() as client:
        client.read_engine()
    assert server.seen == [""]
