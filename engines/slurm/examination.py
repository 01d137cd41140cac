"""Looks at a Slurm cluster and the engine's directory, without taking up any job."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import psutil

from engines.findings import Finding, amiss, fine, look, many, on_a_thread
from engines.slurm.client import Slurm
from engines.slurm.settings import About, Settings
from engines.slurm.store import Store

CONTACT_SECONDS: Final = 12.0

_COMMANDS: Final = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct")
_REMOTE: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "gpfs", "beegfs", "fuse", "afs"}
)
_VOLATILE: Final = frozenset({"tmpfs", "ramfs"})
_USABLE: Final = ("idle", "mixed", "allocated", "completing")


class Examination:
    """Of one cluster and one directory, by the engine's own settings."""

    def __init__(self, store: Store, slurm: Slurm, settings: Settings) -> None:
        self._store = store
        self._slurm = slurm
        self._settings = settings
        self._about: About | None = None

    async def findings(self) -> AsyncIterator[Finding]:
        """What is there, and what is amiss."""
        directory = Path(self._store.path)
        for finding in _commands():
            yield finding
        for finding in await look("Slurm", self._contact(), CONTACT_SECONDS):
            yield finding
        if self._about is not None:
            for finding in await look("nodes", self._nodes(), CONTACT_SECONDS):
                yield finding
        for what, looking in (
            ("state directory", lambda: _directory(directory)),
            ("jobs", lambda: [fine("jobs", many(_entries(directory / "jobs"), "job"))]),
        ):
            for finding in await look(what, on_a_thread(what, looking)):
                yield finding

    async def _contact(self) -> Sequence[Finding]:
        about = self._about = await self._slurm.connect()
        found = [fine("Slurm", f"{about.version}, the cluster {about.cluster}")]
        if about.accounting:
            found.append(fine("accounting", "there: ends are known however long no server was"))
        else:
            found.append(
                fine(
                    "accounting",
                    "none (no slurmdbd): of a run that was killed while no server was there for "
                    "longer than MinJobAge, nobody knows how it ended",
                )
            )
        if about.process_tracking.endswith("/cgroup"):
            found.append(fine("processes", "are tracked by control groups"))
        else:
            found.append(
                fine(
                    "processes",
                    f"are tracked by {about.process_tracking}: daemons that a job starts may "
                    "outlive it; proctrack/cgroup ends them",
                )
            )
        gpus = "can be asked for" if about.gpus else "none: jobs with gpu_count are refused"
        return [*found, fine("GPUs", gpus)]

    async def _nodes(self) -> Sequence[Finding]:
        states = await self._slurm.partitions()
        wanted = self._settings.partition
        names = wanted.split(",") if wanted else [name for name in states if name.endswith("*")]
        if not names:
            return [
                amiss(
                    "partition",
                    "the cluster has no default one: name one by --slurm-partition",
                )
            ]
        found: list[Finding] = []
        for name in names:
            nodes = states.get(name) or states.get(f"{name}*")
            if nodes is None:
                known = ", ".join(each.rstrip("*") for each in states) or "none"
                words = f"{name} isn't there (there are: {known}): see --slurm-partition"
                found.append(amiss("partition", words))
                continue
            usable = sum(count for state, count in nodes.items() if state.startswith(_USABLE))
            total = sum(nodes.values())
            words = f"{name.rstrip('*')}: {usable} of {many(total, 'node')} can run jobs"
            found.append(fine("partition", words) if usable else amiss("partition", words))
        return found


def _commands() -> Sequence[Finding]:
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        return [
            amiss(
                "commands",
                f"{', '.join(missing)} isn't in PATH: install Slurm's commands here (Debian: "
                "slurm-client)",
            )
        ]
    return [fine("commands", "sbatch and the others are there")]


def _directory(directory: Path) -> Sequence[Finding]:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir():
        return [amiss("state directory", f"{there} is no directory: name one by --state-dir")]
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        words = f"{there} can't be written by this user (uid {os.geteuid()})"
        return [amiss("state directory", words)]
    if there == directory:
        with tempfile.TemporaryFile(dir=there) as file:  # a full disk is seen here
            file.write(bytes(4096))
    kind = _file_system(there)
    later = "" if there == directory else ", which isn't there yet: the server makes it"
    found = [fine("state directory", f"{directory}{later}")]
    if kind in _VOLATILE:
        words = f"is on {kind}: a reboot takes all jobs with it; name another by --state-dir"
        found.append(amiss("shared", words))
    elif any(kind.startswith(remote) for remote in _REMOTE):
        found.append(fine("shared", f"it is on {kind}: the nodes must see it by the same path"))
    else:
        words = (
            f"it is on this machine's {kind or 'disk'}, which is fine where that is the only "
            "node, or is exported to the others under the same path"
        )
        found.append(fine("shared", words))
    return found


def _file_system(there: Path) -> str:
    there = there.resolve()
    mounts = {Path(each.mountpoint): each.fstype for each in psutil.disk_partitions(all=True)}
    return next((mounts[path] for path in (there, *there.parents) if path in mounts), "")


def _entries(directory: Path) -> int:
    return sum(1 for _ in directory.iterdir()) if directory.exists() else 0
