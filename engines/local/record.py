"""The files of a job's directory: how they are named, written and read.

The shim shares this module with the server, so it imports no protobuf and little else.

    job             what was asked for; whole before the job counts as accepted
    stop            the server's decision that the job has to end
    <i>.<a>         attempt a of instance i: a block each for start, command and end
    <i>.<a>.log.*   its output, see `engines.local.log`
    <i>.<a>.work/   its working directory, unless the job names one

An attempt's file appears whole, by `link`, which only one process can win: that is the one
moment at which it is decided that the attempt runs. Whoever runs it holds an flock on the file,
so the kernel itself says whether it is still being looked after; a PID could be reused, and
another boot's too. The end is written in place, into space that was allocated at the start: it
needs no room on a full disk and no second sync of a directory.
"""

import fcntl
import json
import os
import time
import zlib
from typing import Any, Final, NamedTuple

from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent, Stop

JOB: Final = "job"
STOP: Final = "stop"
START_BYTES: Final = 256
COMMAND_BYTES: Final = 64
END_BYTES: Final = 1024
_END_OFFSET: Final = START_BYTES + COMMAND_BYTES
_MESSAGE_CHARACTERS: Final = 300  # at most 6 bytes each as JSON has them


class Plan(NamedTuple):
    """What the shim has to know to run an attempt. Times in seconds."""

    argv: list[str]
    env: dict[str, str]
    working_dir: str
    user: tuple[str, int, int] | None  # name (may be empty), uid, gid
    cpu_millis: int
    memory_bytes: int
    log_limit_bytes: int
    timeout: float | None


class Attempt(NamedTuple):
    """One run of one instance, as its record has it."""

    instance: int
    attempt: int
    start_time: float
    pid: int  # of the shim that looks after it
    command_pid: int = 0  # of the job's own process; 0 while that isn't known
    end: End | None = None


def attempt_name(instance: int, attempt: int) -> str:
    """The name of an attempt's file."""
    return f"{instance}.{attempt}"


def parse_attempt_name(name: str) -> tuple[int, int] | None:
    """Instance and attempt of such a name; None for any other file's."""
    instance, dot, attempt = name.partition(".")
    if dot and instance.isdecimal() and attempt.isdecimal():
        return int(instance), int(attempt)
    return None


def encode_job(intent: Intent, plan: Plan, spec: bytes) -> bytes:
    """A `job` file: a line with a checksum and the lengths, then the three parts."""
    parts = [json.dumps(part).encode() for part in (intent, plan)]
    body = b"".join((*parts, spec))
    return b"%08x %d %d %d\n" % (zlib.crc32(body), *map(len, parts), len(spec)) + body


class JobFile:
    """A `job` file as it was read."""

    def __init__(self, data: bytes) -> None:
        """Take a file's bytes; ValueError if they aren't all there."""
        head, _, body = data.partition(b"\n")
        crc, *lengths = head.split()
        self._body = body
        self._intent, self._plan, spec = map(int, lengths)
        if int(crc, 16) != zlib.crc32(body) or self._intent + self._plan + spec != len(body):
            raise ValueError("torn job file")

    @property
    def intent(self) -> Intent:
        """The server's part."""
        return Intent(*json.loads(self._body[: self._intent]))

    @property
    def plan(self) -> Plan:
        """The shim's part."""
        return Plan(*json.loads(self._body[self._intent : self._intent + self._plan]))

    @property
    def spec(self) -> bytes:
        """The spec as the caller sent it, serialised."""
        return self._body[self._intent + self._plan :]


def _block(value: tuple[Any, ...], size: int) -> bytes:
    text = json.dumps(value).encode()
    return (b"%08x " % zlib.crc32(text) + text).ljust(size - 1) + b"\n"


def _unblock(data: bytes) -> list[Any] | None:
    crc, _, text = data.strip().partition(b" ")
    return json.loads(text) if text and crc == b"%08x" % zlib.crc32(text) else None


def encode_start(start_time: float, pid: int) -> bytes:
    """An attempt's file as it is at its start, with room for the rest."""
    return _block((start_time, pid), START_BYTES).ljust(_END_OFFSET + END_BYTES)


def write_command(fd: int, pid: int) -> None:
    """Write the PID of the job's own process down. It dies with the machine: not synced."""
    os.pwrite(fd, _block((pid,), COMMAND_BYTES), START_BYTES)


def write_end(fd: int, end: End) -> None:
    """Write an attempt's end into its file, durably."""
    end = end._replace(message=end.message[:_MESSAGE_CHARACTERS])
    os.pwrite(fd, _block(end, END_BYTES), _END_OFFSET)
    fsync(fd)


def parse_attempt(instance: int, attempt: int, data: bytes) -> Attempt:
    """An attempt from its file's bytes; a torn start (another boot's) reads as lost."""
    start = _unblock(data[:START_BYTES])
    if start is None:
        return Attempt(instance, attempt, 0.0, 0, end=End(facts.LOST, 0.0))
    command = _unblock(data[START_BYTES:_END_OFFSET])
    end = _unblock(data[_END_OFFSET:])
    return Attempt(
        instance,
        attempt,
        start_time=start[0],
        pid=start[1],
        command_pid=command[0] if command else 0,
        end=End(*end) if end else None,
    )


def encode_stop(stop: Stop) -> bytes:
    """A `stop` file."""
    return _block(stop, END_BYTES)


def read_stop(directory: str = ".") -> Stop | None:
    """The decision to stop the job of this directory, if there is one.

    A damaged one still says that the job has to end; by whose wish is what can't be known.
    """
    try:
        value = _unblock(read(f"{directory}/{STOP}"))
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        value = None
    return Stop(*value) if value else Stop(facts.CANCELLED, time.time(), 0.0)


def read(path: str) -> bytes:
    """A file's bytes."""
    return _read(os.open(path, os.O_RDONLY))


def read_in(directory: int, name: str) -> bytes:
    """The bytes of a file in an open directory."""
    return _read(os.open(name, os.O_RDONLY, dir_fd=directory))


def _read(fd: int) -> bytes:
    try:
        size = os.fstat(fd).st_size
        data = os.read(fd, size + 1)
        while len(data) < size and (more := os.read(fd, size - len(data))):
            data += more
        return data
    finally:
        os.close(fd)


def fsync(fd: int) -> None:
    """Make a file's bytes durable; on macOS past the drive's cache too."""
    if hasattr(fcntl, "F_FULLFSYNC"):
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(fd)


def take(fd: int) -> bool:
    """Look after what this open file stands for; False if another process does."""
    return _lock(fd, fcntl.LOCK_EX)


def held(fd: int) -> bool:
    """Whether a process looks after the attempt of this open file.

    Asked by a shared lock, so that those who ask don't mistake one another for a shim.
    """
    return not _lock(fd, fcntl.LOCK_SH)


def _lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
