"""The engine's directory: what is in it, and how it is changed durably.

format          of which format the directory is, with all that is in it; 1 where it isn't there
lock            held by the one server that may use the directory
events          FIFO through which shims tell the server to look at an attempt
jobs/<name>/    see `engines.local.record`
trash/<uid>/    a job that was deleted and is being removed
damaged/        what stood among the jobs and can't be read
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from engines.errors import EngineFailed
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent, Stop
from engines.local import record, tree
from engines.local.cgroup import Group
from engines.local.record import Attempt, JobFile, Plan
from engines.local.shim import EVENTS, JOBS

FORMAT: Final = "1"
"""Of the directory and all that is in it. A server leaves alone what has another one."""

_FORMAT_FILE = "format"
_DELETE = "delete"
_TRASH = "trash"
_EXEC_SECONDS = 0.02

_log = structlog.get_logger(__name__)


class StoredJob(NamedTuple):
    """A job as its records tell it."""

    intent: Intent
    attempts: list[Attempt]
    stop: Stop | None
    deleted: bool


class Store:
    """An engine's directory. All methods block, briefly unless they say otherwise."""

    def __init__(self, state_dir: Path) -> None:
        # Plain strings, since paths are made for every job.
        self.path = os.path.abspath(state_dir)  # noqa: PTH100
        self._jobs = f"{self.path}/{JOBS}"
        self._trash = f"{self.path}/{_TRASH}"
        self._damaged = f"{self.path}/damaged"
        self._lock = -1
        self._jobs_fd = -1
        self.events = -1

    def open(self) -> None:
        """Take the directory; make it where it isn't there.

        Raises:
            EngineFailed: another server has it, it is of another format, or it can't be used.
        """
        try:
            self._check_format()
            for path in (self.path, self._jobs, self._trash, self._damaged):
                # Jobs of other users have to reach their working directories, no more.
                Path(path).mkdir(mode=0o711, parents=True, exist_ok=True)
            self._lock = os.open(f"{self.path}/lock", os.O_CREAT | os.O_RDWR, 0o600)
            self._take_lock()
            if not self._check_format():  # another release may have been here meanwhile
                self._write_format()
            with contextlib.suppress(FileExistsError):
                os.mkfifo(f"{self.path}/{EVENTS}", 0o600)
            # Opened for writing as well, so that it never reads as ended.
            self.events = os.open(f"{self.path}/{EVENTS}", os.O_RDWR | os.O_NONBLOCK)
            self._jobs_fd = os.open(self._jobs, os.O_RDONLY)
        except OSError as exc:
            self.close()
            raise EngineFailed(f"the state directory {self.path} can't be used: {exc}") from exc
        except EngineFailed:
            self.close()
            raise

    def _take_lock(self) -> None:
        if not record.take(self._lock):
            raise EngineFailed(
                f"another server uses {self.path}: stop it, or give this one a state directory "
                "of its own"
            )

    def _check_format(self) -> bool:
        """Whether the directory says of what format it is. EngineFailed if it is another one."""
        try:
            said = record.read(f"{self.path}/{_FORMAT_FILE}").decode(errors="replace").strip()
        except FileNotFoundError:
            return False
        if said and said != FORMAT:
            raise EngineFailed(
                f"the state directory {self.path} is of format {said[:20]!r}, and this release "
                f"knows format {FORMAT} alone: use the release that wrote it, or another directory"
            )
        return bool(said)  # an empty one says as little as none

    def _write_format(self) -> None:
        """Write down, durably, of what format the directory is.

        A full disk is no reason not to start: without the file it is of format 1, too.
        """
        path = f"{self.path}/{_FORMAT_FILE}"
        try:
            _sync(self._write(f"{path}.new", f"{FORMAT}\n".encode()))
            os.rename(f"{path}.new", path)  # noqa: PTH104  (so that it is never a part of one)
            _sync(os.open(self.path, os.O_RDONLY))
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _log.warning("the state directory's format can't be written down", error=str(exc))

    def close(self) -> None:
        """Give the directory back."""
        for fd in (self._jobs_fd, self.events, self._lock):
            if fd >= 0:
                os.close(fd)
        self._jobs_fd = self.events = self._lock = -1

    def scan(self) -> Iterator[StoredJob]:
        """All jobs, in no order. What was never accepted as a whole is removed."""
        for name in os.listdir(self._jobs):  # noqa: PTH208
            try:
                yield self._read_job(name)
            except (OSError, ValueError) as exc:
                self._put_aside(name, exc)

    def _put_aside(self, name: str, exc: Exception) -> None:
        """Take what can't be read out of the way, and keep it, unless it is plainly nothing."""
        path = f"{self._jobs}/{name}"
        with contextlib.suppress(OSError):
            os.rmdir(path)  # noqa: PTH106  (a server was killed as it began to write a job down)
            return
        kept = f"{self._damaged}/{name}.{time.time_ns()}"
        _log.error("a job can't be read and is put aside", job=name, error=str(exc), kept=kept)
        with contextlib.suppress(OSError):
            for attempt in self._read_attempts(path, os.listdir(path)):  # noqa: PTH208
                if attempt.end is None and self.looked_after(name, *attempt[:2]):
                    tree.kill(partial(tree.led_by, attempt.command_pid, attempt.start_time))
        with contextlib.suppress(OSError):
            os.rename(path, kept)  # noqa: PTH104

    def _read_job(self, name: str) -> StoredJob:
        path = f"{self._jobs}/{name}"
        intent = JobFile(record.read(f"{path}/{record.JOB}")).intent
        files = os.listdir(path)  # noqa: PTH208
        attempts = self._read_attempts(path, files)
        for attempt in attempts:
            if attempt.pid == 0:  # damaged: it counts as lost, so nothing of it may go on
                self._kill(intent.uid, attempt, None)
        stop = record.read_stop(path) if record.STOP in files else None
        return StoredJob(intent, attempts, stop, _DELETE in files)

    def read_spec(self, name: str) -> bytes:
        """The spec of a job, serialised."""
        return JobFile(record.read(f"{self._jobs}/{name}/{record.JOB}")).spec

    def read_attempt(self, name: str, instance: int, attempt: int) -> Attempt | None:
        """An attempt's record, None if nobody has begun it."""
        try:
            return _read_attempt(f"{self._jobs}/{name}", instance, attempt)
        except FileNotFoundError:
            return None

    @staticmethod
    def _read_attempts(path: str, files: list[str]) -> list[Attempt]:
        keys = filter(None, map(record.parse_attempt_name, files))
        return [_read_attempt(path, *key) for key in keys]

    def attempts(self, name: str) -> list[tuple[int, int]]:
        """Instance and attempt of all that anybody has begun of a job."""
        names = os.listdir(f"{self._jobs}/{name}")  # noqa: PTH208
        return [key for key in map(record.parse_attempt_name, names) if key is not None]

    def job_directory(self, name: str) -> int:
        """The job's directory, opened; it stays the same when the job is deleted."""
        return os.open(f"{self._jobs}/{name}", os.O_RDONLY | os.O_DIRECTORY)

    # Changes that have to be durable: each leaves files to sync, see engines.local.commit.

    def create(self, intent: Intent, plan: Plan, spec: bytes) -> list[int]:
        """Write a new job down."""
        path = f"{self._jobs}/{intent.name}"
        os.mkdir(path, 0o711)  # noqa: PTH102
        try:
            job = self._write(f"{path}/{record.JOB}", record.encode_job(intent, plan, spec))
            return [job, os.open(path, os.O_RDONLY)]  # the directory last, with the name in it
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            raise

    def forget(self, name: str) -> None:
        """Undo a `create` that could not be made durable."""
        shutil.rmtree(f"{self._jobs}/{name}", ignore_errors=True)

    def stop(self, name: str, stop: Stop | None, *, delete: bool) -> list[int]:
        """Write down that a job has to end, and that it is to be removed after that."""
        path = f"{self._jobs}/{name}"
        new = f"{path}/{record.STOP}.new"
        fds: list[int] = []
        try:
            if stop is not None:
                fds.append(self._write(new, record.encode_stop(stop)))
            if delete:
                fds.append(self._write(f"{path}/{_DELETE}", b""))
            if stop is not None:
                # Renamed, because a shim may look at any moment.
                os.rename(new, f"{path}/{record.STOP}")  # noqa: PTH104
            fds.append(os.open(path, os.O_RDONLY))
        except OSError:
            for fd in fds:
                os.close(fd)
            for file in (new, f"{path}/{_DELETE}") if delete else (new,):
                with contextlib.suppress(OSError):
                    os.unlink(file)  # noqa: PTH108
            raise
        return fds

    def discard(self, name: str, uid: str) -> list[int]:
        """Take a job out of sight; `empty_trash` removes it."""
        with contextlib.suppress(FileNotFoundError):  # somebody was quicker
            os.rename(f"{self._jobs}/{name}", f"{self._trash}/{uid}")  # noqa: PTH104
        return [os.open(self._trash, os.O_RDONLY)]

    def sync(self) -> None:
        """Make durable which jobs there are."""
        os.fsync(self._jobs_fd)

    def empty_trash(self, uid: str | None = None) -> None:
        """Remove a discarded job, or all. Can take long."""
        for name in [uid] if uid else os.listdir(self._trash):  # noqa: PTH208
            shutil.rmtree(f"{self._trash}/{name}", ignore_errors=True)

    def looked_after(self, name: str, instance: int, attempt: int) -> bool:
        """Whether the shim of an attempt lives."""
        try:
            fd = os.open(f"{self._jobs}/{name}/{instance}.{attempt}", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            return record.held(fd)
        finally:
            os.close(fd)

    def signal(self, name: str, attempt: Attempt, number: int) -> None:
        """Send a signal to the shim of an attempt, if it lives."""
        if self.looked_after(name, attempt.instance, attempt.attempt):
            with contextlib.suppress(ProcessLookupError):
                os.kill(attempt.pid, number)

    def settle(self, intent: Intent, attempt: Attempt, group: Group | None) -> Attempt | None:
        """End an attempt whose shim is gone; None if it isn't, after all.

        What is left of it is killed, and it is written down as lost, unless its end stands in
        its record already. Can take long.
        """
        path = f"{self._jobs}/{intent.name}/{attempt.instance}.{attempt.attempt}"
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:  # somebody has removed it behind our back
            self._kill(intent.uid, attempt, group)
            return attempt._replace(end=End(facts.LOST, time.time()))
        try:
            if record.held(fd):
                return None
            found = record.parse_attempt(*attempt[:2], record.read(path))
            if found.end is None or found.pid == 0:
                self._kill(intent.uid, found, group)
                end = End(facts.LOST, time.time())
                record.write_end(fd, end)
                found = found._replace(end=end)
            return found
        finally:
            os.close(fd)

    def _kill(self, uid: str, attempt: Attempt, group: Group | None) -> None:
        name = record.attempt_name(attempt.instance, attempt.attempt)
        if group is not None:
            group.kill()
        leader = (attempt.command_pid, attempt.start_time)
        for _ in range(2):  # a process has no marks for the moment that its exec takes
            tree.kill(lambda: tree.marked(uid, name) or (tree.led_by(*leader) if leader[0] else []))
            time.sleep(_EXEC_SECONDS)
        if group is not None:
            group.remove()

    @staticmethod
    def _write(path: str, data: bytes) -> int:
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            os.close(fd)
            raise
        return fd


def _sync(fd: int) -> None:
    """Make an open file or directory durable, and close it."""
    try:
        record.fsync(fd)
    finally:
        os.close(fd)


def _read_attempt(path: str, instance: int, attempt: int) -> Attempt:
    """An attempt of the job in this directory; what is no file reads as a damaged one."""
    try:
        data = record.read(f"{path}/{record.attempt_name(instance, attempt)}")
    except IsADirectoryError:
        data = b""
    return record.parse_attempt(instance, attempt, data)
