"""`jobengine serve` as an operator meets it: one line, settings, refusals, an orderly end."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from server.log import AUDIT, Threshold

JOBENGINE = Path(sys.executable).with_name("jobengine")
DEADLINE_SECONDS = 30


class Serving:
    """Servers that a test starts, and what stops them in the end."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, cwd: str = ".", **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [JOBENGINE, "serve", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env={**os.environ, **environment},
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


@pytest.fixture
def serving() -> Iterator[Serving]:
    serving = Serving()
    yield serving
    serving.close()


def line_of(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    line: dict[str, object] = json.loads(process.stdout.readline())
    return line


def refused(serving: Serving, *arguments: str, **environment: str) -> str:
    process = serving.start(*arguments, cwd=".", **environment)
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert out == ""
    assert process.returncode in (1, 2)
    assert "Traceback" not in err
    return " ".join(err.replace("│", " ").split())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_line_on_stdout_and_exit_0(serving: Serving, number: signal.Signals) -> None:
    process = serving.start("--engine", "fake", "--listen", "127.0.0.1:0")
    line = line_of(process)
    assert line["health"] == "SERVING"
    assert line["engine"] == "fake"
    assert line["pid"] == process.pid
    assert str(line["address"]).startswith("127.0.0.1:")
    process.send_signal(number)
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, err
    assert out == ""
    assert all("event" in json.loads(log) for log in err.splitlines())


def test_flag_beats_environment_beats_file(serving: Serving, tmp_path: Path) -> None:
    taken = serving.start("--engine", "fake", "--listen", "127.0.0.1:0")
    port = str(line_of(taken)["address"])
    file = tmp_path / "settings.toml"
    file.write_text('engine = "fake"\nlisten = "nonsense"\nstop-grace = 0.5\n')
    assert "'nonsense'" in refused(serving, "--config", str(file))
    assert port in refused(serving, "--config", str(file), JOBENGINE_LISTEN=port)
    settings = ("--config", str(file), "--listen", "127.0.0.1:0")
    assert line_of(serving.start(*settings, JOBENGINE_LISTEN=port))["engine"] == "fake"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--listen", "0.0.0.0:0"), "--insecure"),
        (("--listen", "nowhere"), "host:port"),
        (("--engine", "nope"), "local, docker, kubernetes, slurm, remote, fake"),
        (("--engine", "no.such:Engine"), "there is no module 'no'"),
        (("--engine", "fractions:Engine"), "which has Fraction"),
        (("--state-dir", "/dev/null/x"), "/dev/null/x"),
        (("--max-running", "0"), "--max-running"),
        (("--log-level", "LOUD"), "DEBUG"),
        (("--log-format", "xml"), "console"),
        (("--config", "/no/such/file"), "/no/such/file"),
        (("--nonsense",), "--nonsense"),
        (("--tls-cert", "/no/such/file"), "--tls-key"),
        (("--tls-cert", "/no/such/file", "--tls-key", "/dev/null"), "/no/such/file"),
        (("--tokens", "/no/such/file"), "/no/such/file"),
        (("--jwt-issuers", "/no/such/file"), "/no/such/file"),
        (("--policy", "/no/such/file"), "--policy needs to know who calls"),
        (("--metrics-listen", "nowhere"), "--metrics-listen"),
        (("--node-selector", "gpu"), "LABEL=VALUE"),
    ],
)
def test_wrong_settings_are_named(serving: Serving, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(serving, "--listen", "127.0.0.1:0", *arguments)


def test_an_unknown_setting_in_the_file(serving: Serving, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("colour = 'purple'\n")
    assert "colour" in refused(serving, "--config", str(file))
    file.write_text("= nonsense")
    assert str(file.name) in refused(serving, "--config", str(file)).replace(" ", "")


def test_a_port_in_use(serving: Serving) -> None:
    first = serving.start("--engine", "fake", "--listen", "127.0.0.1:0")
    address = str(line_of(first)["address"])
    assert "another server" in refused(serving, "--engine", "fake", "--listen", address)


def test_a_class_of_the_current_directory(serving: Serving, tmp_path: Path) -> None:
    (tmp_path / "mymodule.py").write_text(
        "class YourEngine:\n"
        "    def create_job(self, name, spec): ...\n"
        "    def delete_job(self, name): ...\n"
        "    def read_job(self, name): ...\n"
        "    def read_status(self, job): ...\n"
    )
    settings = ("--engine", "mymodule:YourEngine", "--listen", "127.0.0.1:0")
    assert line_of(serving.start(*settings, cwd=str(tmp_path)))["engine"] == "YourEngine"


def test_a_reader_that_left_is_no_reason_not_to_serve(serving: Serving) -> None:
    process = serving.start("--engine", "fake", "--listen", "127.0.0.1:0")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    while "engine_in_touch" not in process.stderr.readline():
        pass
    process.terminate()
    assert process.wait(DEADLINE_SECONDS) == 0
    process.stdout = None


def test_engines_are_listed() -> None:
    listed = subprocess.run(
        [JOBENGINE, "engines"], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True
    )
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [
        "local",
        "docker",
        "kubernetes",
        "slurm",
        "remote",
        "fake",
        "module:Class",
    ]


@pytest.mark.parametrize("louder", [True, False])
def test_the_log_level_changes_while_it_runs(serving: Serving, louder: bool) -> None:
    process = serving.start("--engine", "fake", "--listen", "127.0.0.1:0", "--log-level", "ERROR")
    line_of(process)
    if louder:
        process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert events == (["stopped"] if louder else [])


def test_a_token_goes_to_stdout_and_its_line_to_stderr() -> None:
    made = subprocess.run(
        [JOBENGINE, "token", "billing"], capture_output=True, text=True, check=True
    )
    token = made.stdout.strip()
    name, digest = made.stderr.split()
    assert (name, digest) == ("billing", f"sha256:{hashlib.sha256(token.encode()).hexdigest()}")
    wrong = subprocess.run(
        [JOBENGINE, "token", "no name"], capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "letters, digits" in wrong.stderr


def test_the_usual_level_comes_back() -> None:
    threshold = Threshold("WARNING")
    line = {"event": "news"}
    with pytest.raises(structlog.DropEvent):
        threshold(None, "info", line)
    threshold.tell_all()
    assert threshold(None, "debug", line) is line
    threshold.tell_the_usual()
    with pytest.raises(structlog.DropEvent):
        threshold(None, "info", line)
    assert threshold(None, "exception", line) is line
    audit = {"event": AUDIT}
    assert threshold(None, "info", audit) is audit
