"""Starts a job's command.

A plain command is started by `posix_spawn`: that takes 0.65 ms, a fork of this interpreter with
the few steps of Python that follow in the child 2.1 ms (measured with `true`, most of it for
copying pages). Only what `posix_spawn` can't do, another user or a control group that has to be
joined before the command begins, is done by a fork.
"""

import contextlib
import ctypes
import errno
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

_RESET: Final = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
"""Python treats some in ways of its own, and what was started by `nohup` or `&` ignores others:
none of that may reach the command."""


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
    ends = (stdout_end, stderr_end)
    try:
        if plan.user is None and group is None:
            pid = _spawn(plan, env, work, ends)
        else:
            pid = _fork(plan, env, work, group, ends)
    except BaseException:
        os.close(stdout)
        os.close(stderr)
        raise
    finally:
        for fd in ends:
            os.close(fd)
    return Child(pid, stdout, stderr)


def _spawn(plan: Plan, env: dict[str, str], work: str, ends: tuple[int, int]) -> int:
    # A directory can't be handed to posix_spawn; we are in nobody's way if we go there.
    here = os.open(".", os.O_RDONLY)
    step = f"spec.working_dir {plan.working_dir!r}"
    try:
        os.chdir(plan.working_dir or work)
        step = f"spec.command {plan.argv[0]!r}"
        return os.posix_spawn(
            _find(plan.argv[0], env.get("PATH", os.defpath)),
            plan.argv,
            env,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, ends[0], 1),
                (os.POSIX_SPAWN_DUP2, ends[1], 2),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_RESET,
        )
    except (OSError, ValueError) as exc:
        raise StartError(_explain(step, exc)) from exc
    finally:
        os.fchdir(here)
        os.close(here)


def _find(program: str, path: str) -> str:
    """The file that a program's name means, as execvp has it."""
    if "/" in program:
        return program
    denied = False
    for directory in path.split(os.pathsep):
        file = os.path.join(directory or ".", program)  # noqa: PTH118
        if os.access(file, os.X_OK) and not os.path.isdir(file):  # noqa: PTH112
            return file
        denied = denied or os.path.isfile(file)  # noqa: PTH113
    number = errno.EACCES if denied else errno.ENOENT
    raise OSError(number, os.strerror(number))


def _explain(step: str, exc: BaseException) -> str:
    reason = os.strerror(exc.errno) if isinstance(exc, OSError) and exc.errno else str(exc)
    return f"{step}: {reason}"


def _fork(
    plan: Plan, env: dict[str, str], work: str, group: Group | None, ends: tuple[int, int]
) -> int:
    error, error_end = os.pipe()  # closed by the exec, unless an error comes first
    parent = os.getpid()
    try:
        pid = os.fork()
        if pid == 0:
            _run(plan, env, work, group, (parent, *ends, error_end))
    except BaseException:
        os.close(error)
        raise
    finally:
        os.close(error_end)
    with open(error, "rb") as file:
        failure = file.read()
    if failure:
        os.waitpid(pid, 0)
        raise StartError(json.loads(failure))
    return pid


def _run(
    plan: Plan, env: dict[str, str], work: str, group: Group | None, fds: tuple[int, ...]
) -> NoReturn:
    parent, stdout, stderr, error = fds
    step = "spec.command"
    try:
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        step = "spec.resources"
        if group is not None:
            group.join()
        step = "the job's own working directory"
        os.chdir(work)
        if plan.user is not None:
            step = f"spec.user {plan.user[0] or plan.user[1]!r}"
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
        program = _find(plan.argv[0], env.get("PATH", os.defpath))
        os.execve(program, plan.argv, env)  # noqa: S606
    except BaseException as exc:  # noqa: BLE001  (whatever it is, the parent must hear of it)
        with contextlib.suppress(OSError):
            os.write(error, json.dumps(_explain(step, exc)[:2000]).encode())
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
