"""The script that runs an attempt, run by the shell of this machine without any Slurm."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from engines.lifecycle import facts
from engines.slurm import record
from engines.slurm.queue import Batch
from engines.slurm.record import Attempt, Written
from engines.slurm.script import RUN, TAKEN, UNREACHABLE, make_batch, make_run
from jobengine.v1.job_pb2 import JobSpec
from tests.engines.slurm.specs import UID, intent, shell

DEADLINE_SECONDS = 20


class Home:
    """A job's directory, and nodes that run its attempts."""

    def __init__(self, directory: Path, spec: JobSpec) -> None:
        self.path = directory
        (self.path / RUN).write_text(make_run(intent(), spec, str(self.path)))

    def start(
        self, number: str = "5", *, first: int = 0, attempt: int = 0, **variables: str
    ) -> subprocess.Popen[bytes]:
        script = make_batch(str(self.path), Batch(attempt, first, first))
        environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": number, "SLURMD_NODENAME": "n1"}
        return subprocess.Popen(
            ["/bin/sh", "-c", script], env=environment | variables, start_new_session=True
        )

    def run(self, number: str = "5", **given: object) -> int:
        return self.start(number, **given).wait(DEADLINE_SECONDS)  # type: ignore[arg-type]

    def claim(self, name: str = "0.0") -> Attempt:
        return record.parse_claim((0, 0), (self.path / name / "claim").read_text())

    def end(self, name: str = "0.0") -> Written:
        written = record.parse_end((self.path / name / "end").read_text())
        assert written is not None
        return written

    def out(self, name: str = "0.0", file: str = "out") -> str:
        return (self.path / name / file).read_text()

    def until(self, path: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (self.path / path).exists():
            assert time.monotonic() < deadline, path
            time.sleep(0.01)


def home(directory: Path, spec: JobSpec) -> Home:
    path = directory / "it's a directory"
    path.mkdir()
    return Home(path, spec)


def test_it_claims_runs_and_writes(tmp_path: Path) -> None:
    place = home(tmp_path, shell("echo out; echo err >&2; exit 3"))
    before = time.time()
    assert place.run() == 3
    claim = place.claim()
    assert abs(claim.start_time - before) < 5
    assert (claim.slurm, claim.restarts, claim.node) == ("5", 0, "n1")
    assert place.end().end[:3:2] == (facts.EXITED, 3)
    assert (place.out(), place.out(file="err")) == ("out\n", "err\n")
    assert not list(place.path.glob("new.*"))
    for file in ("claim", "end", "out"):
        assert (place.path / "0.0" / file).stat().st_mode & 0o77 == 0
    assert (place.path / "0.0").stat().st_mode & 0o77 == 0


def test_an_attempt_is_run_once(tmp_path: Path) -> None:
    place = home(tmp_path, shell(f"echo run >> {shlex.quote(str(tmp_path / 'runs'))}; sleep 0.2"))
    processes = [place.start(str(number)) for number in range(8)]
    codes = sorted(process.wait(DEADLINE_SECONDS) for process in processes)
    assert codes == [0] + [TAKEN] * 7
    assert (tmp_path / "runs").read_text() == "run\n"


@pytest.mark.parametrize("restarts", ["0", "1"])
def test_not_even_by_the_same_job(tmp_path: Path, restarts: str) -> None:
    """A controller that was killed, or a requeue, has the same id run the script again."""
    place = home(tmp_path, shell(f"echo run >> {shlex.quote(str(tmp_path / 'runs'))}"))
    assert place.run() == 0
    assert place.run(SLURM_RESTART_COUNT=restarts) == TAKEN
    assert (tmp_path / "runs").read_text() == "run\n"
    assert place.claim().restarts == 0


def test_tasks_of_an_array_are_instances(tmp_path: Path) -> None:
    place = home(tmp_path, shell("echo $JOB_COMPLETION_INDEX $JOBENGINE_JOB_ATTEMPT"))
    assert place.run(first=1001, attempt=2, SLURM_ARRAY_TASK_ID="3") == 0
    assert place.out("1004.2") == "1004 1004.2\n"


@pytest.mark.parametrize("decision", ["stop", "delete"])
def test_nothing_runs_once_the_job_has_to_end(tmp_path: Path, decision: str) -> None:
    place = home(tmp_path, shell("echo ran"))
    (place.path / decision).touch()
    assert place.run() == 0
    assert place.end().end.reason == facts.NEVER_RAN
    assert not (place.path / "0.0" / "out").exists()


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    place = home(tmp_path, shell("echo ran"))
    (place.path / RUN).unlink()
    assert place.run() == UNREACHABLE


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [
        ("exec sleep 60", None, 15),
        ("trap 'echo got; exit 4' TERM; : > here; while :; do sleep 0.05; done", 4, 0),
        ("trap '' TERM; : > here; sleep 0.5", 0, 0),
    ],
)
def test_signals_are_the_commands(
    tmp_path: Path, script: str, code: int | None, number: int
) -> None:
    place = home(tmp_path, shell(f": > here; {script}"))
    process = place.start()
    place.until("0.0/work/here")
    time.sleep(0.2)  # until its trap is set; there is nothing to see of that
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(DEADLINE_SECONDS)
    assert (place.end().end.code, place.end().end.signal) == (code, number)


def test_it_tells_that_it_was_stopped(tmp_path: Path) -> None:
    place = home(tmp_path, shell(": > here; exec sleep 60"))
    process = place.start()
    place.until("0.0/work/here")
    (place.path / "stop").touch()
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(DEADLINE_SECONDS)
    assert place.end().stopped


def test_the_environment(tmp_path: Path) -> None:
    values = {
        "PLAIN": "a b",
        "QUOTES": 'it\'s "quoted" $HOME `id` \\',
        "LINES": "one\ntwo\n",
        "UMLAUT": "zwei ü",
        "EMPTY": "",
        "with.dot-and-dash": "x",
        "IFS": "y",
        "-dash": "z",
    }
    spec = JobSpec(command=["/usr/bin/env"], args=["-0"], env=values)
    place = home(tmp_path, spec)
    assert place.run(HOME="/h", SERVER="no") == 0
    found = dict(item.split("=", 1) for item in place.out().split("\0") if item)
    assert {name: found[name] for name in values} == values
    assert found["JOBENGINE_JOB_NAME"] == "job"
    assert found["JOBENGINE_JOB_UID"] == UID
    assert found["JOB_COMPLETION_INDEX"] == "0"
    assert found["SLURM_JOB_ID"] == "5"
    assert found["HOME"] == "/h"
    assert found["PWD"] == str(place.path / "0.0" / "work")


def test_its_arguments(tmp_path: Path) -> None:
    arguments = ["%s\\n", "it's", "", "-n", "a=b", "$x", "two\nlines", "*"]
    place = home(tmp_path, JobSpec(command=["printf"], args=arguments))
    assert place.run() == 0
    assert place.out() == "it's\n\n-n\na=b\n$x\ntwo\nlines\n*\n"


def test_standard_input_is_empty(tmp_path: Path) -> None:
    place = home(tmp_path, shell("cat; echo done"))
    assert place.run() == 0
    assert place.out() == "done\n"


def test_its_own_path(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "mine"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho mine\n")
    program.chmod(0o755)
    place = home(tmp_path, JobSpec(command=["mine"], env={"PATH": str(program.parent)}))
    assert place.run() == 0
    assert place.out() == "mine\n"


def test_the_working_directory(tmp_path: Path) -> None:
    there = tmp_path / "work 'ing"
    there.mkdir()
    place = home(tmp_path, shell("pwd", working_dir=str(there)))
    assert place.run() == 0
    assert place.out() == f"{there}\n"


@pytest.mark.parametrize(
    "spec",
    [
        JobSpec(command=["no-such-program"]),
        JobSpec(command=["/no/such/program"]),
        JobSpec(command=["/etc/passwd"]),
        JobSpec(command=["/"]),
        shell("true", working_dir="/no/such/directory"),
    ],
)
def test_what_cannot_start(tmp_path: Path, spec: JobSpec) -> None:
    place = home(tmp_path, spec)
    assert place.run() in (126, 127)
    assert place.end().end.reason == facts.START_FAILED
    assert (spec.working_dir or spec.command[0]) in (place.path / "0.0" / "failed").read_text()


def test_signals_that_a_shell_ignores_for_others(tmp_path: Path) -> None:
    place = home(
        tmp_path, JobSpec(command=["/usr/bin/awk", "/SigIgn/ {print $2}", "/proc/self/status"])
    )
    assert place.run() == 0
    assert int(place.out(), 16) & (1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1) == 0
