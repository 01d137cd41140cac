"""Looks at a state directory and its machine, without taking the one or changing the other."""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

import psutil

from engines.findings import Finding, amiss, fine, look, many, on_a_thread
from engines.local import record
from engines.local.cgroup import Groups
from engines.local.store import Store

MIN_FREE_BYTES: Final = 1 << 30
MIN_FREE_FILES: Final = 10_000

SLOW_SYNC_SECONDS: Final = 0.2
"""How long a disk may take to make something durable before that is worth a word."""

_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph"})
_BLOCK: Final = 4096


async def examine(store: Store) -> AsyncIterator[Finding]:
    """What is there, and what is amiss."""
    directory = Path(store.path)
    looks: tuple[tuple[str, Callable[[], Sequence[Finding]]], ...] = (
        ("state directory", lambda: [_directory(directory)]),
        ("file system", lambda: [_file_system(directory)]),
        ("disk", lambda: [_space(directory)]),
        ("durability", lambda: _durability(directory)),
        ("control groups", lambda: [_groups()]),
        ("jobs", lambda: _jobs(directory)),
        ("in use", lambda: _use(directory)),
    )
    for what, looking in looks:
        for finding in await look(what, on_a_thread(what, looking)):
            yield finding


def _nearest(directory: Path) -> Path:
    """The directory, or of those above it the first that there is."""
    return next(path for path in (directory, *directory.parents) if path.exists())


def _directory(directory: Path) -> Finding:
    there = _nearest(directory)
    if not there.is_dir():
        return amiss("state directory", f"{there} is no directory: name one by --state-dir")
    # Root may do anything that the file system allows.
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return amiss(
            "state directory",
            f"{there} can't be written by this user (uid {os.geteuid()}, it is of uid "
            f"{there.stat().st_uid}): run this as the server's user, or change its owner",
        )
    later = "" if there == directory else ", which isn't there yet: the server makes it"
    return fine("state directory", f"{directory}{later}")


def _file_system(directory: Path) -> Finding:
    there = _nearest(directory).resolve()
    mounts = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    point = next((path for path in (there, *there.parents) if path in mounts), None)
    kind = "" if point is None else mounts[point]
    if kind in _VOLATILE:
        return amiss(
            "file system",
            f"{kind} at {point}: a reboot takes all jobs with it; name a directory on a disk by "
            "--state-dir",
        )
    if kind in _REMOTE:
        return fine("file system", f"{kind} at {point}: let no two machines use the directory")
    if kind == "overlay":
        return fine("file system", "overlay: if it is a container's own, jobs end with that")
    return fine("file system", kind or "unknown")


def _space(directory: Path) -> Finding:
    there = _nearest(directory)
    free = shutil.disk_usage(there).free
    files = os.statvfs(there)
    if free < MIN_FREE_BYTES:
        return amiss("disk", f"{free // 2**20} MiB free: free some, or delete finished jobs")
    if files.f_files and files.f_favail < MIN_FREE_FILES:
        return amiss("disk", f"room for {files.f_favail} files: free some, or delete finished jobs")
    return fine("disk", f"{free / 2**30:.1f} GiB free")


def _durability(directory: Path) -> Sequence[Finding]:
    there = _nearest(directory)
    if not os.access(there, os.W_OK | os.X_OK):
        return []  # said already
    with tempfile.TemporaryFile(dir=there) as file:
        began = time.perf_counter()
        file.write(bytes(_BLOCK))
        file.flush()
        os.fsync(file.fileno())
        took = time.perf_counter() - began
    words = f"fsync took {took * 1000:.1f} ms"
    if took > SLOW_SYNC_SECONDS:
        words += ", which each CreateJob waits for: use a faster disk for many jobs"
    return [fine("durability", words)]


def _groups() -> Finding:
    groups = Groups("jobengine-doctor")
    fields = {"cpu_millis": groups.cpu, "memory_bytes": groups.memory}
    lost = [field for field, there in fields.items() if not there]
    if not lost:
        return fine("control groups", "cpu_millis and memory_bytes can be used")
    return fine(
        "control groups",
        f"jobs with {' or '.join(lost)} are refused, for no group can be made here (for systemd: "
        "Delegate=yes)",
    )


def _jobs(directory: Path) -> Sequence[Finding]:
    if not directory.exists():
        return []
    found = [fine("jobs", many(_entries(directory / "jobs"), "job"))]
    if damaged := _entries(directory / "damaged"):
        found.append(
            amiss(
                "damaged records",
                f"{damaged} in {directory / 'damaged'}, of jobs that couldn't be read: look what "
                "happened to them, and remove them",
            )
        )
    return found


def _entries(directory: Path) -> int:
    return sum(1 for _ in directory.iterdir()) if directory.exists() else 0


def _use(directory: Path) -> Sequence[Finding]:
    lock = directory / "lock"
    if not lock.exists():
        return []
    with lock.open("rb") as file:
        if (pid := _holder(file.fileno())) is not None:
            return [fine("in use", f"a server has it (process {pid}): another one couldn't start")]
        if record.held(file.fileno()):
            return [fine("in use", "a server has it: another one couldn't start")]
    return []


def _holder(fd: int) -> int | None:
    """The process that has locked this file, as Linux tells.

    It is asked first, for to try the lock could hinder a server that is just starting.
    """
    at = os.fstat(fd)
    file = f"{os.major(at.st_dev):02x}:{os.minor(at.st_dev):02x}:{at.st_ino}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        # 1: FLOCK ADVISORY WRITE 4711 fd:01:265316 0 EOF
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == file:
            return int(words[4])
    return None
