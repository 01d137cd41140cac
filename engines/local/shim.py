"""Looks after a job's processes, whether or not a server is there.

A shim runs one attempt at a time, and one after another as long as its server has some: to fork
a shim for every job would cost a third of the throughput. It reads requests from a pipe that
all shims of a server share; each request goes to one of them, and at the server's end the pipe's
end tells those that are idle to go.
"""

import contextlib
import json
import os
import signal
import time
from types import FrameType
from typing import Final, NamedTuple

from engines.lifecycle import facts
from engines.lifecycle.facts import End
from engines.local import child, record, tree
from engines.local.attempt import Supervisor
from engines.local.cgroup import Group, Hierarchy, group_name
from engines.local.log import LogWriter
from engines.local.record import JobFile, Plan

REQUEST_BYTES: Final = 256
RETIRE: Final = b"retire".ljust(REQUEST_BYTES)
EVENTS: Final = "events"
JOBS: Final = "jobs"
_CLAIM_PAUSES: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_RECORD_ATTEMPTS: Final = 120
_RECORD_MAX_SECONDS: Final = 30.0


class Request(NamedTuple):
    """An attempt that is to be run. `first_start` is that of the job's first attempt, if any."""

    name: str
    uid: str
    instance: int
    attempt: int
    first_start: float | None

    def encode(self) -> bytes:
        """The request as it goes through the pipe, always of the same length."""
        return json.dumps(self).encode().ljust(REQUEST_BYTES)


class Settings(NamedTuple):
    """What the shims of a server have in common. Times in seconds."""

    state_dir: str
    grace: float
    group_prefix: str
    hierarchies: list[Hierarchy]

    def group(self, request: Request, plan: Plan) -> Group | None:
        """The attempt's control group, None where it has no limits."""
        if not (plan.cpu_millis or plan.memory_bytes):
            return None
        attempt = record.attempt_name(request.instance, request.attempt)
        name = group_name(self.group_prefix, request.uid, attempt)
        return Group(tuple(self.hierarchies), name)


def wake(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal by nothing but the byte that goes through the wake-up pipe."""


def serve(settings: Settings, queue: int) -> None:
    """Run what the queue brings until it ends or says that there are too many of us."""
    os.setsid()
    child.become_subreaper()
    wakeup, wakeup_end = os.pipe()
    for fd in (wakeup, wakeup_end):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, wake)
    while (message := os.read(queue, REQUEST_BYTES)) not in (b"", RETIRE):
        request = Request(*json.loads(message))
        try:
            os.chdir(f"{settings.state_dir}/{JOBS}/{request.name}")
        except OSError:
            continue  # deleted meanwhile
        _run(settings, request, wakeup)
        os.chdir("/")


def _run(settings: Settings, request: Request, wakeup: int) -> None:
    job = JobFile(record.read(record.JOB))
    if job.intent.uid != request.uid or os.path.exists(record.STOP):  # noqa: PTH110
        return
    with contextlib.suppress(BlockingIOError):
        os.read(wakeup, 4096)
    fd = _claim_patiently(request)
    if fd is None:
        return
    try:
        # A server that stops a job writes `stop` and then looks for claimed attempts; we
        # claim and then look for `stop`. One of the two always sees the other. A job that is
        # removed leaves its place first, then its files, `stop` among them.
        if os.path.exists(record.STOP) or not _in_place(settings, request):  # noqa: PTH110
            end = End(facts.NEVER_RAN, time.time())
        else:
            end = _supervise(settings, request, job.plan, (fd, wakeup))
        _record(fd, end)
    finally:
        os.close(fd)
    _notify(settings, request)


def _in_place(settings: Settings, request: Request) -> bool:
    """Whether the directory that we stand in is still the job's."""
    try:
        return os.path.samefile(".", f"{settings.state_dir}/{JOBS}/{request.name}")  # noqa: PTH121
    except OSError:
        return False


def _claim_patiently(request: Request) -> int | None:
    """Claim the attempt as soon as the disk lets us; None if it isn't ours to run.

    A job that is stopped meanwhile isn't. After a while others get their turn; the server
    hands the attempt out again.
    """
    for pause in _CLAIM_PAUSES:
        if os.path.exists(record.STOP):  # noqa: PTH110
            return None
        try:
            return _claim(request)
        except OSError:
            time.sleep(pause)
    return None


def _claim(request: Request) -> int | None:
    """Make this attempt ours, durably; None if it was somebody's already."""
    name = record.attempt_name(request.instance, request.attempt)
    temporary = f"{name}.{os.getpid()}.new"
    fd = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o600)
    try:
        record.take(fd)
        os.write(fd, record.encode_start(time.time(), os.getpid()))
        os.link(temporary, name)
    except BaseException as exc:
        os.close(fd)
        if isinstance(exc, FileExistsError):
            return None
        raise
    finally:
        os.unlink(temporary)  # noqa: PTH108
    # The link too must be durable before anything runs, or after a power cut it would run again.
    os.fsync(fd)
    return fd


def _supervise(settings: Settings, request: Request, plan: Plan, fds: tuple[int, int]) -> End:
    file, wakeup = fds
    name = record.attempt_name(request.instance, request.attempt)
    work = f"{name}.work"
    group = settings.group(request, plan)
    log = LogWriter(name, plan.log_limit_bytes)
    started = request.first_start or time.time()
    try:
        os.mkdir(work, 0o700)  # noqa: PTH102
        if plan.user is not None:
            os.chown(work, plan.user[1], plan.user[2])
        if group is not None:
            group.create(plan.cpu_millis, plan.memory_bytes)
        command = child.start(plan, _environment(plan, request), work, group)
        record.write_command(file, command.pid)
        _notify(settings, request)
        supervisor = Supervisor(command, log, group, wakeup)
        seconds = plan.timeout and max(started + plan.timeout - time.time(), 0.0)
        return supervisor.run(seconds, settings.grace, (request.uid, name))
    except (child.StartError, OSError) as exc:
        return End(facts.START_FAILED, time.time(), message=str(exc))
    finally:
        log.close()
        if group is not None:
            group.remove()
        with contextlib.suppress(OSError):
            os.rmdir(work)  # noqa: PTH106  (only if the job left nothing in it)


def _environment(plan: Plan, request: Request) -> dict[str, str]:
    return {
        **plan.env,
        "JOB_COMPLETION_INDEX": str(request.instance),
        "JOBENGINE_JOB_NAME": request.name,
        tree.UID_VARIABLE: request.uid,
        tree.ATTEMPT_VARIABLE: record.attempt_name(request.instance, request.attempt),
    }


def _record(fd: int, end: End) -> None:
    """Write the end down, however long the disk refuses (about an hour)."""
    pause = 0.1
    for _ in range(_RECORD_ATTEMPTS):
        try:
            record.write_end(fd, end)
        except OSError:
            time.sleep(pause)
            pause = min(pause * 2, _RECORD_MAX_SECONDS)
        else:
            return


def _notify(settings: Settings, request: Request) -> None:
    """Tell a server, if one listens; it finds out by itself otherwise."""
    with contextlib.suppress(OSError):
        fd = os.open(f"{settings.state_dir}/{EVENTS}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(fd, f"{request.name} {request.instance}.{request.attempt}\n".encode())
        finally:
            os.close(fd)
