"""Finds and ends everything that a job has started, with a control group or without."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

import psutil

UID_VARIABLE: Final = "JOBENGINE_JOB_UID"
ATTEMPT_VARIABLE: Final = "JOBENGINE_JOB_ATTEMPT"
HAS_SUBREAPER: Final = sys.platform == "linux"
_CLOCK_SECONDS: Final = 5.0
_KILL_SECONDS: Final = 30.0
_ROUND_SECONDS: Final = 0.01


def descendants(pid: int) -> list[psutil.Process]:
    """All living processes below this one."""
    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in found if alive(process)]


def marked(uid: str, attempt: str) -> list[psutil.Process]:
    """All living processes that carry an attempt's marks in their environment, and theirs.

    The way to find a tree whose shim is gone, or on a system without subreapers.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in found or process.pid == os.getpid():
                continue
            environ = process.environ()
            if environ.get(UID_VARIABLE) == uid and environ.get(ATTEMPT_VARIABLE) == attempt:
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
    return [process for process in found.values() if alive(process)]


def led_by(pid: int, started: float) -> list[psutil.Process]:
    """All living processes of a command that was started at that time, by descent and session.

    A process of that PID which began at another time is somebody else's.
    """
    try:
        leader = psutil.Process(pid)
        if abs(leader.create_time() - started) > _CLOCK_SECONDS:
            return []
        found = {child.pid: child for child in leader.children(recursive=True)}
    except psutil.NoSuchProcess:
        return []
    found[pid] = leader
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) == pid:
                found[process.pid] = process
    return [process for process in found.values() if alive(process)]


def alive(process: "psutil.Process") -> bool:
    """Whether it still runs; a zombie doesn't, and nobody may ever reap it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send(processes: list[psutil.Process], number: int) -> None:
    """Send a signal to those that are still there; psutil checks that a PID wasn't reused."""
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(number)


def kill(
    find: Callable[[], list[psutil.Process]], reap: Callable[[], object] = lambda: None
) -> bool:
    """Kill whatever `find` finds, until it finds nothing; False if that took too long.

    First everything is stopped, round after round, so that nothing forks away meanwhile.
    `reap` is called to collect children that have ended.
    """
    for _ in _rounds():
        stopped: set[int] = set()
        for _ in range(100):
            fresh = [process for process in find() if process.pid not in stopped]
            if not fresh:
                break
            send(fresh, signal.SIGSTOP)
            stopped |= {process.pid for process in fresh}
        if not stopped:
            return True
        send(find(), signal.SIGKILL)
        reap()
    return False


def _rounds() -> Iterator[None]:
    end = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < end:
        yield
        time.sleep(_ROUND_SECONDS)
