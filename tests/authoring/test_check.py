"""`jobengine engine check` and `new`, as commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).with_name("jobengine")
WORKLOAD = ("--workload", "tests.authoring.engines:Pretended")


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "engine", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def check(engine: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run("check", engine, *WORKLOAD, "--deadline", "2", *options)


def test_what_works_is_shown() -> None:
    done = check("fake")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^always +\d+ passed *$", done.stdout, re.MULTILINE)
    assert re.search(r"^LOGS +yes +7 passed *$", done.stdout, re.MULTILINE)
    assert re.search(r"^DURABLE +no *$", done.stdout, re.MULTILINE)
    assert re.search(r"^\d+ passed, 0 failed; \d+ are about what it", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("engine", "ability", "test"),
    [
        ("Forgetful", "LIST", "test_list"),
        ("Deaf", "CANCEL", "test_cancel_of_a_running_job"),
        ("Modest", "always", "test_missing_capabilities_are_told"),
    ],
)
def test_what_fails_is_shown(engine: str, ability: str, test: str) -> None:
    done = check(f"tests.authoring.engines:{engine}")
    assert done.returncode == 1, done.stdout
    assert re.search(rf"^FAILED {test}: ", done.stdout, re.MULTILINE)
    assert re.search(rf"^{ability} +(yes +)?.*\d+ failed *$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "nosuch"), "there is no engine 'nosuch'"),
        (("check", "tests.authoring.engines:Nobody"), "'Nobody' isn't there"),
        (("check", "fake", "--workload", "nosuch:Thing"), "--workload 'nosuch:Thing'"),
        (("check", "fake", "--workload", "pathlib:Path"), "inherits engines.testing.Workload"),
        (("new", "Queue!"), "use small letters"),
        (("new", "local"), "there is an engine 'local' already"),
        (("new", "queue"), "there is a Python module 'queue' already"),
    ],
)
def test_what_cannot_be_done_is_told(arguments: tuple[str, ...], words: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_project_is_never_written_over(tmp_path: Path) -> None:
    assert run("new", "some-queue", cwd=tmp_path).returncode == 0
    path = tmp_path / "some-queue" / "src" / "some_queue" / "engine.py"
    assert "class SomeQueueEngine(Engine):" in path.read_text()
    path.write_text("mine")
    again = run("new", "some-queue", cwd=tmp_path)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    assert path.read_text() == "mine"
