"""Starts a job's command: everything between the fork and the exec."""

import ctypes
import json
import os
import signal
import sys
from typing import Final, NamedTuple, NoReturn

from engines.local.cgroup import Group
from engines.local.record import Plan

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class StartError(Exception):
    """The command could not be started; the message says why."""


class Child(NamedTuple):
    """A command that was started, and the read ends of its output."""

    pid: int
    stdout: int
    stderr: int


def become_subreaper() -> None:
    """Have orphans of our descendants handed to us, where the system knows that."""
    if _libc is not None and _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "can't become a subreaper")


def start(plan: Plan, env: dict[str, str], work: str, group: Group | None) -> Child:
    """Start the command; return once the exec has succeeded.

    Raises:
        StartError: with the errno's text.
        OSError: no process or no pipes to be had.
    """
    stdout, stdout_end = os.pipe()
    stderr, stderr_end = os.pipe()
    error, error_end = os.pipe()  # closed by the exec, unless an error comes first
    parent = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _run(plan, env, work, group, (parent, stdout_end, stderr_end, error_end))
    finally:
        for fd in (stdout_end, stderr_end, error_end):
            os.close(fd)
    with open(error, "rb") as file:
        failure = file.read()
    if not failure:
        return Child(pid, stdout, stderr)
    os.waitpid(pid, 0)
    os.close(stdout)
    os.close(stderr)
    raise StartError(json.loads(failure))


def _run(
    plan: Plan, env: dict[str, str], work: str, group: Group | None, fds: tuple[int, ...]
) -> NoReturn:
    parent, stdout, stderr, error = fds
    step = "spec.command"
    try:
        # Python's own settings must not reach the command, and a SIGTERM has to work at once.
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        step = "spec.resources"
        if group is not None:
            group.join()
        step = "the job's own working directory"
        os.chdir(work)
        if plan.user is not None:
            step = "spec.user"
            _become(*plan.user)
        if plan.working_dir:
            step = f"spec.working_dir {plan.working_dir!r}"
            os.chdir(plan.working_dir)
        _die_with(parent)
        step = "standard streams"
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        step = f"spec.command {plan.argv[0]!r}"
        os.execvpe(plan.argv[0], plan.argv, env)
    except BaseException as exc:  # noqa: BLE001  (whatever it is, the parent must hear of it)
        reason = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else str(exc)
        os.write(error, json.dumps(f"{step}: {reason}"[:2000]).encode())
    finally:
        os._exit(127)


def _become(name: str, uid: int, gid: int) -> None:
    if name:
        os.initgroups(name, gid)
    else:
        os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def _die_with(parent: int) -> None:
    # Last of all, because a change of user clears it.
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(127)
