"""The unit, as systemd reads it, and its example settings, as the server reads them.

Nothing here starts it under systemd, which no test machine runs.
"""

import dataclasses
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server.settings import Settings
from tests.deploy.tools import ROOT, program

UNIT = ROOT / "deploy/systemd/jobengine.service"
EXAMPLE = ROOT / "deploy/systemd/jobengine.toml"
PROGRAM = "/opt/jobengine/bin/jobengine"

MOST_EXPOSED = 25
"""Of 100, in systemd's own count: 20 when it was written, most of it for what jobs need."""


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there."""
    text = UNIT.read_text()
    assert text.count(PROGRAM) == 1
    file = tmp_path / UNIT.name
    file.write_text(text.replace(PROGRAM, sys.executable))
    return file


def setting(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def analyze(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [program("systemd-analyze"), *arguments], capture_output=True, text=True, check=False
    )


def test_systemd_understands_it(unit: Path) -> None:
    done = analyze("verify", unit)
    assert done.returncode == 0, done.stderr
    assert unit.name not in done.stderr


def test_it_is_not_more_exposed_than_it_has_to_be(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit)
    assert done.returncode == 0, done.stdout


def test_jobs_outlive_the_server() -> None:
    """Each of these would end them, or take away what they have."""
    assert setting("KillMode") == ["process"]
    assert setting("Delegate") == ["yes"]
    assert setting("OOMPolicy") == ["continue"]
    assert setting("PrivateTmp") == ["no"]
    assert not setting("DynamicUser")
    assert not setting("RuntimeDirectory")
    assert not setting("ProtectControlGroups")


def test_the_server_is_given_longer_than_its_calls() -> None:
    (seconds,) = setting("TimeoutStopSec")
    assert float(seconds) > Settings().stop_grace + 10


def test_the_example_names_settings_that_there_are() -> None:
    """Also in what is commented out."""
    settings = re.sub(r"^# (?=\w+ = )", "", EXAMPLE.read_text(), flags=re.MULTILINE)
    settings = re.sub(r'^listen = "0.*$', "", settings, flags=re.MULTILINE)  # it is there twice
    found = tomllib.loads(settings)
    assert len(found) > 15
    assert found.keys() <= {field.name for field in dataclasses.fields(Settings)}


def test_the_example_is_taken_as_it_stands(tmp_path: Path) -> None:
    """But for its ports, which may be somebody's."""
    file, state = tmp_path / EXAMPLE.name, tmp_path / "state"
    file.write_text(re.sub(r'"127\.0\.0\.1:\d+"', '"127.0.0.1:0"', EXAMPLE.read_text()))
    serve = (sys.executable, "-m", "jobengine", "serve", "--config", str(file))
    with subprocess.Popen(
        [*serve, "--state-dir", str(state)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        server.terminate()
        _, said = server.communicate(timeout=30)
    assert json.loads(line)["engine"] == "local", said.decode()
    assert server.returncode == 0
