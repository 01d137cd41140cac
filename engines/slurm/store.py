"""The engine's directory, which servers and nodes share: what is in it, and how it is changed.

format          of which format the directory is
jobs/<name>/    see `engines.slurm.record`
new/            what is being made, under names that nobody else uses
trash/          what is being removed
"""

import contextlib
import errno
import os
import shutil
import time
import uuid
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from engines import EngineFailed, LimitReached, Status
from engines.lifecycle import facts
from engines.lifecycle.facts import End, Intent, Key, Stop
from engines.slurm import record
from engines.slurm.queue import Batch
from engines.slurm.record import Attempt, KeptJob, Written
from engines.slurm.script import RUN

FORMAT: Final = "slurm 1"
"""Of the directory and all that is in it. A server leaves alone what has another one."""

_ABANDONED_SECONDS: Final = 3600.0
"""What was begun so long ago, nobody is making any more, by whichever clock."""

_TAKEN: Final = (errno.EEXIST, errno.ENOTEMPTY)


class Found(NamedTuple):
    """A job as its directory tells it. `end` is set where it is over."""

    kept: KeptJob
    files: tuple[str, ...]
    stop: Stop | None
    deleted: bool
    end: Status | None


class Store:
    """An engine's directory. All methods block, and may for long where it is a remote one.

    They raise OSErrors, of which `engines.slurm.disk` makes EngineErrors.
    """

    def __init__(self, directory: Path) -> None:
        self.path = os.path.abspath(directory)  # noqa: PTH100  (plain strings, for every job)
        self.tag = blake2b(self.path.encode(), digest_size=4).hexdigest()
        """What tells our jobs in Slurm from those of other directories."""

    def open(self) -> None:
        """Make the directory where it isn't there.

        Raises:
            EngineFailed: it is of another format, or it can't be used.
        """
        try:
            for name in ("", "/jobs", "/new", "/trash"):
                Path(self.path + name).mkdir(mode=0o700, parents=True, exist_ok=True)
            path = f"{self.path}/format"
            if not os.path.exists(path):  # noqa: PTH110
                self._put(path, f"{FORMAT}\n".encode())
            said = _read(path).decode(errors="replace").strip()
        except OSError as error:
            raise EngineFailed(f"the directory {self.path} can't be used: {error}") from error
        if said != FORMAT:
            raise EngineFailed(
                f"the directory {self.path} is of format {said[:20]!r}, and this engine knows "
                f"{FORMAT!r} alone: name another one by --state-dir"
            )

    def job_directory(self, name: str, uid: str) -> str:
        """Where all is that belongs to a job's life."""
        return f"{self.path}/jobs/{name}/{uid}"

    def names(self) -> dict[str, int]:
        """The jobs that there are, with what changes when one takes another's name."""
        with os.scandir(f"{self.path}/jobs") as entries:
            return {entry.name: entry.inode() for entry in entries}

    # -- jobs ---------------------------------------------------------------------------------

    def create(self, kept: KeptJob, script: str) -> bool:
        """Write a new job down durably, whole; False where its name is taken."""
        name, uid = kept.intent.name, kept.intent.uid
        new = f"{self.path}/new/{uid}"
        try:
            for path in (new, f"{new}/{uid}"):
                os.mkdir(path, 0o700)  # noqa: PTH102
            _write(f"{new}/{uid}/{RUN}", script.encode())
            _write(f"{new}/{record.JOB}", record.encode_job(kept))
            for path in (f"{new}/{uid}", new):
                _sync(path)
            os.rename(new, f"{self.path}/jobs/{name}")  # noqa: PTH104
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            if error.errno in _TAKEN:
                return False
            raise
        _sync(f"{self.path}/jobs")
        return True

    def read_job(self, name: str) -> KeptJob | None:
        """The job of this name; None if there is none. ValueError if its file is damaged."""
        try:
            return record.parse_job(_read(f"{self.path}/jobs/{name}/{record.JOB}"))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def find(self, name: str) -> Found | None:
        """All that is there of a job, as far as it is needed to carry it on."""
        kept = self.read_job(name)
        if kept is None:
            return None
        return self.look(kept)

    def look(self, kept: KeptJob) -> Found | None:
        """All that is there of a job; None if it is gone."""
        home = self.job_directory(kept.intent.name, kept.intent.uid)
        try:
            files = tuple(os.listdir(home))  # noqa: PTH208
            end = record.parse_status(_read(f"{home}/{record.END}")) if "end" in files else None
            delete = self._stop(home, record.DELETE) if record.DELETE in files else None
            stop = self._stop(home, record.STOP) if record.STOP in files else delete
        except FileNotFoundError:
            return None
        return Found(kept, files, stop, delete is not None, end)

    def _stop(self, home: str, kind: str) -> Stop:
        reason = facts.DELETED if kind == record.DELETE else facts.CANCELLED
        return record.parse_stop(_read(f"{home}/{kind}"), reason, time.time())

    def is_there(self, name: str, uid: str) -> bool:
        """Whether this job, and no other of its name, is there."""
        return os.path.isdir(self.job_directory(name, uid))  # noqa: PTH112

    def discard(self, name: str, uid: str) -> None:
        """Take a job out of sight, durably, then remove it. Can take long.

        Of several servers the one that gets to move the uid's directory moves the rest.
        """
        trash = f"{self.path}/trash/{uid}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.job_directory(name, uid), trash)  # noqa: PTH104
            os.rename(f"{self.path}/jobs/{name}", f"{trash}.job")  # noqa: PTH104
            _sync(f"{self.path}/jobs")
        for path in (trash, f"{trash}.job"):
            shutil.rmtree(path, ignore_errors=True)

    def mend(self, name: str) -> None:
        """Free a name whose job a server took half away before it was killed."""
        kept = self.read_job(name)
        if kept is None or self.is_there(name, kept.intent.uid):
            return
        trash = f"{self.path}/trash/{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            os.rename(f"{self.path}/jobs/{name}", trash)  # noqa: PTH104
            moved = record.parse_job(_read(f"{trash}/{record.JOB}"))
            if os.path.isdir(f"{trash}/{moved.intent.uid}"):  # noqa: PTH112
                os.rename(trash, f"{self.path}/jobs/{name}")  # noqa: PTH104  (another one by now)
        shutil.rmtree(trash, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what killed servers left: in the trash, and of what they were making."""
        for name in os.listdir(f"{self.path}/trash"):  # noqa: PTH208
            shutil.rmtree(f"{self.path}/trash/{name}", ignore_errors=True)
        with os.scandir(f"{self.path}/new") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS:
                        (shutil.rmtree if entry.is_dir() else os.unlink)(entry.path)

    # -- decisions: what stands in the end is what was decided first ----------------------------

    def decide_stop(self, intent: Intent, kind: str, stop: Stop) -> Stop:
        """Note that a job has to end, or to go."""
        home = self.job_directory(intent.name, intent.uid)
        self._put(f"{home}/{kind}", record.encode(stop))
        return self._stop(home, kind)

    def decide_end(self, intent: Intent, status: Status) -> Status:
        """Note how a job ended."""
        path = f"{self.job_directory(intent.name, intent.uid)}/{record.END}"
        self._put(path, record.encode_status(status))
        return record.parse_status(_read(path))

    def decide_verdict(self, intent: Intent, key: Key, end: End) -> End:
        """Note how an attempt ended."""
        home = self.job_directory(intent.name, intent.uid)
        path = f"{home}/{record.attempt_name(key)}/{record.VERDICT}"
        self._put(path, record.encode(end))
        return record.parse_verdict(_read(path), end.time)

    def take(self, intent: Intent, key: Key, end: End) -> bool:
        """End an attempt that hasn't begun, so that it never will; False if it has."""
        home = self.job_directory(intent.name, intent.uid)
        new = f"{home}/new.{uuid.uuid4().hex}"
        os.mkdir(new, 0o700)  # noqa: PTH102
        try:
            claim = record.encode_claim(time.time(), record.NOBODY, "")
            _write(f"{new}/{record.CLAIM}", claim.encode())
            _write(f"{new}/{record.VERDICT}", record.encode(end))
            os.rename(new, f"{home}/{record.attempt_name(key)}")  # noqa: PTH104
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            if error.errno in _TAKEN:
                return False
            raise
        _sync(home)
        return True

    def note_submitted(self, intent: Intent, batch: Batch, number: str) -> None:
        """Note that some attempts were submitted, as this job of Slurm's."""
        home = self.job_directory(intent.name, intent.uid)
        path = f"{home}/{record.submitted_name(batch, number)}"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            _sync(home)

    # -- attempts -----------------------------------------------------------------------------

    def read_attempt(self, intent: Intent, key: Key) -> Attempt | None:
        """An attempt that somebody has begun, with the verdict if there is one."""
        path = f"{self.job_directory(intent.name, intent.uid)}/{record.attempt_name(key)}"
        try:
            attempt = record.parse_claim(
                key, _read(f"{path}/{record.CLAIM}").decode("ascii", "replace")
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        with contextlib.suppress(FileNotFoundError):
            verdict = _read(f"{path}/{record.VERDICT}")
            return attempt._replace(end=record.parse_verdict(verdict, time.time()))
        return attempt

    def read_end(self, intent: Intent, key: Key) -> Written | None:
        """How an attempt's script says that it ended, and what to that it adds in words."""
        path = f"{self.job_directory(intent.name, intent.uid)}/{record.attempt_name(key)}"
        try:
            written = record.parse_end(_read(f"{path}/{record.END}").decode("ascii", "replace"))
            if written is None or written.end.reason != facts.START_FAILED:
                return written
            words = _read(f"{path}/failed").decode(errors="replace").strip()
            return written._replace(end=written.end._replace(message=words))
        except FileNotFoundError:
            return None

    def _put(self, path: str, data: bytes) -> None:
        """Put a file there, whole and durably, unless there is one."""
        new = f"{self.path}/new/{uuid.uuid4().hex}"
        _write(new, data)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(new, path)
                _sync(os.path.dirname(path))  # noqa: PTH120
        finally:
            os.unlink(new)  # noqa: PTH108


def unwritten(error: OSError) -> LimitReached | EngineFailed:
    """The error for what can't be written down."""
    message = f"it can't be written down: {error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LimitReached("disk space", f"{message}; free space, or delete finished jobs")
    return EngineFailed(message)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, data: bytes) -> None:
    """Write a new file, durably but for its name."""
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
