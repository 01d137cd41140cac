"""What runs of a private Slurm cluster: found by marks that only its own processes carry."""

import contextlib
from pathlib import Path

import psutil

from tests.faults.processes import alive

NODE = "JOBENGINE_TEST_NODE"
"""Environment variable of a slurmd, and so of the keepers of steps on its node: the node's name."""

_DAEMONS = frozenset({"munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd"})
_OFFSPRING = frozenset({"slurmstepd", "slurmscriptd"})


def daemons(directory: Path, slurm_conf: Path) -> list[psutil.Process]:
    """Its daemons, and not those of another cluster."""
    return [
        process
        for process in psutil.process_iter()
        if _is_daemon(process, directory) or _is_slurmdbd(process, slurm_conf)
    ]


def offspring(slurm_conf: Path) -> list[psutil.Process]:
    """What its daemons have started: the keepers of steps, and the processes of jobs."""
    return [process for process in psutil.process_iter() if _is_offspring(process, slurm_conf)]


def on_node(slurm_conf: Path, node: str) -> list[psutil.Process]:
    """What runs on a node besides its slurmd."""
    marks = {f"{NODE}={node}".encode(), f"SLURMD_NODENAME={node}".encode()}
    return [
        process for process in offspring(slurm_conf) if marks.intersection(_environment(process))
    ]


def keepers(slurm_conf: Path, node: str) -> list[psutil.Process]:
    """What keeps the steps on a node, and tells how they end."""
    return [process for process in on_node(slurm_conf, node) if process.name() == "slurmstepd"]


def of_job(slurm_conf: Path, job_id: int) -> list[psutil.Process]:
    """The processes of a job, and not what keeps them."""
    mark = f"SLURM_JOB_ID={job_id}".encode()
    return [
        process
        for process in offspring(slurm_conf)
        if process.name() not in _OFFSPRING and mark in _environment(process)
    ]


def _is_daemon(process: psutil.Process, directory: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        return (
            process.name() in _DAEMONS
            and any(f"{directory}/" in word for word in process.cmdline())
            and alive(process)
        )
    return False


def _is_slurmdbd(process: psutil.Process, slurm_conf: Path) -> bool:
    """Its command line doesn't tell which one it is."""
    with contextlib.suppress(psutil.Error):
        return process.name() == "slurmdbd" and _has_conf(process, slurm_conf)
    return False


def _is_offspring(process: psutil.Process, slurm_conf: Path) -> bool:
    with contextlib.suppress(psutil.Error):
        return _has_conf(process, slurm_conf) and (
            process.name() in _OFFSPRING
            or any(name.startswith(b"SLURM_JOB_ID=") for name in _environment(process))
        )
    return False


def _has_conf(process: psutil.Process, slurm_conf: Path) -> bool:
    return f"SLURM_CONF={slurm_conf}".encode() in _environment(process) and alive(process)


def _environment(process: psutil.Process) -> list[bytes]:
    """As bytes: the keeper of a step has overwritten where its own begins."""
    with contextlib.suppress(OSError):
        return Path("/proc", str(process.pid), "environ").read_bytes().split(b"\0")
    return []
