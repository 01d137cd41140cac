"""The command line: what it prints where, and how it exits."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator

import pytest

from jobengine import Client, JobSpec, JobState
from tests.clients.blocking import make_client
from tests.clients.server import JOBENGINE, NewServer, Server
from tests.clients.specs import PREFIX

TIMEOUT_SECONDS = 30

RunText = Callable[..., subprocess.CompletedProcess[str]]
RunBytes = Callable[..., subprocess.CompletedProcess[bytes]]


def environment(address: str) -> dict[str, str]:
    return {**os.environ, "JOBENGINE_ADDRESS": address, "NO_COLOR": "1", "COLUMNS": "200"}


@pytest.fixture
def cli(fake_server: Server) -> RunText:
    """Runs `jobengine` on the fake engine's server."""

    def run(
        *arguments: str, address: str = fake_server.address
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [JOBENGINE, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            env=environment(address),
        )

    return run


@pytest.fixture
def local(new_server: NewServer) -> RunBytes:
    """Runs `jobengine` on a local engine's server, and gives raw bytes."""
    server = new_server("local")

    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [JOBENGINE, *arguments],
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            env=environment(server.address),
        )

    return run


@pytest.fixture
def api(fake_server: Server) -> Generator[Client]:
    with make_client("sync", fake_server.address) as client:
        yield client


def knobs(**values: object) -> list[str]:
    return [
        text
        for knob, value in values.items()
        for text in ("--annotation", f"{PREFIX}{knob.replace('_', '-')}={value}")
    ]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("kill -9 $$", 128 + 9),
        ("kill -15 $$", 128 + 15),
    ],
)
def test_run_exits_as_its_job(local: RunBytes, script: str, code: int) -> None:
    assert local("run", "--", "sh", "-c", script).returncode == code


def test_run_that_takes_too_long(local: RunBytes) -> None:
    done = local("run", "--job-timeout", "200ms", "--", "sleep", "60")
    assert done.returncode == 124
    assert b"DEADLINE_EXCEEDED" in done.stderr


def test_run_of_what_cannot_be_started(local: RunBytes) -> None:
    done = local("run", "--", "/no/such/program")
    assert done.returncode == 127
    assert b"/no/such/program" in done.stderr


def test_run_passes_output_on_byte_by_byte(local: RunBytes) -> None:
    script = r"import os; os.write(1, bytes(range(256)) * 4000); os.write(2, b'\xff\x00err\n')"
    done = local("run", "-q", "--", sys.executable, "-c", script)
    assert done.stdout == bytes(range(256)) * 4000
    assert done.stderr == b"\xff\x00err\n"
    assert done.returncode == 0


def test_run_says_on_stderr_how_it_goes(local: RunBytes) -> None:
    done = local("run", "--name", "told", "--", "echo", "out")
    assert done.stdout == b"out\n"
    assert done.stderr.splitlines()[0] == b"told: pending"
    assert done.stderr.splitlines()[-1].startswith(b"told: succeeded, exit code 0")
    assert b"\x1b" not in done.stderr


def test_run_takes_options_of_the_command_as_such(local: RunBytes) -> None:
    assert local("run", "echo", "--name", "-o", "json").stdout == b"--name -o json\n"


def test_run_sets_what_its_options_say(cli: RunText, api: Client, name: str) -> None:
    cli(
        *("run", "--name", name, "-e", "A=b=c", "--label", "app=web", "--cpu", "500m"),
        *("--memory", "256MiB", "--retries", "2", "--job-timeout", "1m30s", "--ttl", "1h"),
        *("--workdir", "/w", "--image", "i", "--", "cmd", "arg"),
    )
    spec = api.read_job(name).spec
    expected = JobSpec(
        image="i",
        command=["cmd", "arg"],
        env={"A": "b=c"},
        labels={"app": "web"},
        working_dir="/w",
        max_retries=2,
    )
    expected.resources.cpu_millis = 500
    expected.resources.memory_bytes = 256 * 1024**2
    expected.timeout.FromSeconds(90)
    expected.ttl_after_finished.FromSeconds(3600)
    assert spec == expected


def test_run_detached_prints_the_name_alone(cli: RunText, api: Client) -> None:
    done = cli("run", "--detach", *knobs(run_for=3600), "--", "x")
    assert done.returncode == 0
    assert done.stderr == ""
    api.delete_job(done.stdout.strip())


def test_run_on_an_engine_without_logs(cli: RunText, plain_server: Server, name: str) -> None:
    with make_client("sync", plain_server.address) as client:
        process = start(plain_server.address, "run", "--name", name, "x")
        try:
            wait_for_line(process, "no output is shown")
            client.delete_job(name)
            process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            end(process)
    assert process.returncode == 130


def start(address: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [JOBENGINE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(address),
    )


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    assert any(text in line for line in process.stderr)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_ctrl_c_cancels_the_job(
    fake_server: Server, api: Client, name: str, number: signal.Signals, code: int
) -> None:
    process = start(fake_server.address, "run", "--name", name, *knobs(run_for=3600), "x")
    try:
        wait_for_line(process, f"{name}: running")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        end(process)
    assert process.returncode == code
    assert f"{name}: cancelled" in stderr
    assert "Traceback" not in stderr
    assert api.read_status(name).state == JobState.JOB_STATE_CANCELLED


def test_second_ctrl_c_leaves_at_once(fake_server: Server, api: Client, name: str) -> None:
    settings = knobs(run_for=3600, hang="cancel_job")
    process = start(fake_server.address, "run", "--name", name, *settings, "x")
    try:
        wait_for_line(process, f"{name}: running")
        process.send_signal(signal.SIGINT)
        wait_for_line(process, "cancelling")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        end(process)
    assert process.returncode == 130
    assert api.read_status(name).state == JobState.JOB_STATE_RUNNING
    api.delete_job(name)


def test_ctrl_c_deletes_where_the_engine_cannot_cancel(plain_server: Server, name: str) -> None:
    process = start(plain_server.address, "run", "--name", name, "x")
    try:
        wait_for_line(process, "no output is shown")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        end(process)
    assert process.returncode == 130
    assert "deleting it" in stderr


def test_run_whose_output_nobody_reads_any_more(new_server: NewServer) -> None:
    server = new_server("local")
    process = start(server.address, "run", "--name", "yes", "-q", "--", "yes")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        process.wait(TIMEOUT_SECONDS)
    finally:
        end(process)
    assert process.returncode == 128 + signal.SIGPIPE
    with make_client("sync", server.address) as client:
        assert client.read_status("yes").state == JobState.JOB_STATE_CANCELLED


def test_ls_get_watch_and_logs(cli: RunText, name: str) -> None:
    cli("run", "--name", name, *knobs(exit_code=3, output="one"), "x")
    table = cli("ls")
    assert table.stdout.splitlines()[0].split()[:4] == ["NAME", "STATE", "REASON", "EXIT"]
    row = next(line for line in table.stdout.splitlines() if line.startswith(f"{name} "))
    assert row.split()[1:4] == ["FAILED", "NON_ZERO_EXIT", "3"]
    assert "\x1b" not in table.stdout
    assert "exit code    3" in cli("get", name).stdout
    assert cli("watch", name).stdout.startswith(f"{name}: failed (NON_ZERO_EXIT), exit code 3")
    assert cli("logs", name).stdout == "one\n"


def test_every_json_line_is_an_object(cli: RunText, name: str) -> None:
    cli("run", "--name", name, *knobs(output="one"), "x")
    for arguments in (("ls",), ("get", name), ("watch", name), ("logs", name), ("health",)):
        lines = cli("-o", "json", *arguments).stdout.splitlines()
        assert lines
        assert cli(*arguments, "--output=json").stdout.splitlines()
        assert all(isinstance(json.loads(line), dict) for line in lines), arguments
    job = json.loads(cli("get", name, "-o", "json").stdout)
    assert job["status"]["state"] == "JOB_STATE_SUCCEEDED"
    assert job["status"]["exit_code"] == 0


def test_ls_selects(cli: RunText, name: str) -> None:
    cli("run", "--name", name, "--label", f"test={name}", "x")
    assert len(cli("ls", "-l", f"test={name}", "-o", "json").stdout.splitlines()) == 1
    selected = cli("ls", "-l", f"test={name}", "--state", "failed", "-o", "json")
    assert selected.stdout == ""


def test_cancel_and_rm(cli: RunText, name: str) -> None:
    cli("run", "-d", "--name", name, *knobs(run_for=3600), "x")
    assert cli("cancel", name).returncode == 0
    assert cli("rm", "--wait", name).stdout == f"{name}\n"
    assert cli("rm", name).returncode == 1
    assert cli("rm", "--missing-ok", name).returncode == 0


def test_missing_job(cli: RunText) -> None:
    done = cli("get", "no-such-job")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no-such-job" in done.stderr
    assert "jobengine ls" in done.stderr


def test_wrong_request_names_each_field(cli: RunText) -> None:
    done = cli("run", "--name", "Not A Label", "--label", "=", "--", "x")
    assert done.returncode == 2
    assert "  name: " in done.stderr
    assert "  spec.labels" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--memory", "5x"), ("--cpu", "lots"), ("--job-timeout", "soon"), ("--env", "novalue")],
)
def test_wrong_usage_names_the_option(cli: RunText, option: str, value: str) -> None:
    done = cli("run", option, value, "--", "x")
    assert done.returncode == 2
    assert option in done.stderr
    assert value in done.stderr
    assert "Traceback" not in done.stderr


def test_server_down(cli: RunText) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        for arguments, code in ((("ls",), 125), (("run", "x"), 125), (("health",), 1)):
            done = cli(*arguments, address=address)
            assert done.returncode == code
            assert done.stdout == ""
            assert address in done.stderr
            assert "jobengine serve" in done.stderr
            assert "Traceback" not in done.stderr


def test_health(cli: RunText) -> None:
    done = cli("health")
    assert done.returncode == 0
    assert "serving" in done.stdout
    assert "fake" in done.stdout


def test_closed_stdout_is_no_error(fake_server: Server, cli: RunText, name: str) -> None:
    cli("run", "--name", f"{name}-1", "x")
    process = start(fake_server.address, "watch")
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
        cli("run", "--name", name, "x")
        assert process.wait(TIMEOUT_SECONDS) == 128 + signal.SIGPIPE
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        end(process)


def test_help_and_version() -> None:
    for arguments in (["--help"], ["run", "--help"], ["serve", "--help"], ["--version"]):
        done = subprocess.run(
            [JOBENGINE, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0
        assert done.stdout
        assert done.stderr == ""


WITHOUT_SERVER = """
import importlib.metadata, sys
importlib.metadata.entry_points = lambda **_: importlib.metadata.EntryPoints(())
from jobengine.cli import main
sys.argv = ["jobengine", "serve"]
main()
"""

IMPORTS = """
import sys
from jobengine.cli import main
sys.argv = ["jobengine", *sys.argv[1:]]
try:
    main()
except SystemExit:
    print(*sorted(sys.modules), file=sys.stderr)
"""


def test_serve_without_the_server_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVER],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install jobengine-server" in done.stderr


def test_commands_import_only_what_they_need(fake_server: Server) -> None:
    def modules(*arguments: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", IMPORTS, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
            env=environment(fake_server.address),
        )
        return set(done.stderr.split())

    assert {"grpc", "asyncio"}.isdisjoint(modules("run", "--help"))
    assert {"server.command", "engines"}.isdisjoint(modules("ls"))
