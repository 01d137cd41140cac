"""Whether the engine slurm can be tested here; imports nothing that may be missing."""

import os
import shutil
import sys
from pathlib import Path

PATH = os.pathsep.join(
    [
        os.environ.get("PATH", os.defpath),
        *("/usr/local/sbin", "/usr/sbin", "/sbin"),  # not in every root's PATH
    ]
)
"""Where the daemons' programs are."""

_PROGRAMS = (
    *("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol"),
    *("sacct", "slurmdbd", "mariadbd", "mariadb-install-db"),
)

_MEMORY_CGROUPS = Path("/sys/fs/cgroup/memory")


def problems() -> dict[str, str]:
    """By engine: why it can't be tested here, or nothing."""
    return {"slurm": problem()}


def problem() -> str:
    """Why no private cluster can be started, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "its cluster takes root on Linux"
    missing = [name for name in _PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"{', '.join(missing)} isn't installed: run tests/slurm/install as root"
    return ""


def memory_problem() -> str:
    """Why a private cluster can't hold jobs to their memory by cgroups, or nothing.

    Slurm 22.05 makes cgroups of version 2 by way of systemd alone.
    """
    if (_MEMORY_CGROUPS / "memory.limit_in_bytes").exists() and os.access(_MEMORY_CGROUPS, os.W_OK):
        return ""
    return f"Slurm's cgroups take version 1 here, and {_MEMORY_CGROUPS} can't be written"
