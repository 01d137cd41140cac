"""The processes of a test: found by marks that only this test's own processes carry."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil

MARK = "JOBENGINE_FAULT_TEST"
"""Environment variable of every job of these tests: its value is the test's directory."""

_DEADLINE_SECONDS = 15.0
_LOOK_SECONDS = 0.005
_T = TypeVar("_T")


def until(what: str, condition: Callable[[], _T], *, seconds: float = _DEADLINE_SECONDS) -> _T:
    """Wait for something that nobody tells; return what the condition gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it didn't happen in {seconds:g} s: {what}"
        time.sleep(_LOOK_SECONDS)
    return found


def alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie, which nobody may ever reap, doesn't."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def of_jobs(directory: Path) -> list[psutil.Process]:
    """What runs of the jobs of a test."""
    return [process for process in psutil.process_iter() if _has_mark(process, directory)]


def of_engine(state_dir: Path) -> list[psutil.Process]:
    """The servers, launchers and shims of a state directory."""
    return [process for process in psutil.process_iter() if _uses(process, str(state_dir))]


def _has_mark(process: psutil.Process, directory: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARK) == str(directory) and alive(process)
    return False


def _uses(process: psutil.Process, state_dir: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        words = process.cmdline()
        serves = "serve" in words and state_dir in words
        launches = any("engines.local.launcher" in word for word in words)
        named = launches and any(f'"{state_dir}"' in word for word in words)
        return (serves or named) and alive(process)
    return False


def launcher(server_pid: int, state_dir: Path) -> psutil.Process:
    """The launcher of a running server."""
    return until(
        "the server has a launcher",
        lambda: [process for process in of_engine(state_dir) if process.ppid() == server_pid],
    )[0]


def kill_all(directory: Path, state_dir: Path) -> None:
    """Kill what there is of an engine and its jobs, as a power cut would."""

    def left() -> list[psutil.Process]:
        found = of_engine(state_dir) + of_jobs(directory)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return found

    until("nothing runs any more", lambda: not left())
