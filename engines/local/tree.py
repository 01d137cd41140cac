"""Finds and ends everything that a job has started, with a control group or without."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psutil

UID_VARIABLE: Final = "JOBENGINE_JOB_UID"
ATTEMPT_VARIABLE: Final = "JOBENGINE_JOB_ATTEMPT"
HAS_SUBREAPER: Final = sys.platform == "linux"
_KILL_SECONDS: Final = 30.0
_ROUND_SECONDS: Final = 0.01


def load() -> None:
    """Import what the other functions need.

    Not at the top, because it makes every fork dearer by a half (0.5 ms to 0.95 ms); a shim
    calls it as soon as its job turns out not to be a short one, so that it doesn't depend on
    files that an upgrade may have replaced meanwhile.
    """
    import psutil  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport]


def descendants(pid: int) -> "list[psutil.Process]":
    """All living processes below this one."""
    import psutil  # noqa: PLC0415  (see load)

    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [process for process in found if alive(process)]


def marked(uid: str, attempt: str) -> "list[psutil.Process]":
    """All living processes that carry an attempt's marks in their environment, and theirs.

    The way to find a tree whose shim is gone, or on a system without subreapers.
    """
    import psutil  # noqa: PLC0415  (see load)

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


def alive(process: "psutil.Process") -> bool:
    """Whether it still runs; a zombie doesn't, and nobody may ever reap it."""
    import psutil  # noqa: PLC0415  (see load)

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send(processes: "list[psutil.Process]", number: int) -> None:
    """Send a signal to those that are still there; psutil checks that a PID wasn't reused."""
    import psutil  # noqa: PLC0415  (see load)

    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.send_signal(number)


def kill(
    find: "Callable[[], list[psutil.Process]]", reap: Callable[[], object] = lambda: None
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
