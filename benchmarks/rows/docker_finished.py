"""Many finished jobs on Docker beside few: memory, reads, lists, and the start."""

from pathlib import Path

from benchmarks.docker_daemon import docker_daemon, new_namespace
from benchmarks.docker_jobs import make_finished_jobs
from benchmarks.figures import Figure, Measure, Reference
from benchmarks.loads.calls import job_names
from benchmarks.processes import serving_docker
from benchmarks.rows.finished import FEW, ask
from benchmarks.rows.read_status import subject
from benchmarks.scale import Scale


def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Two servers on one daemon, one with 100 finished jobs, one with many; asked in turns."""
    count = scale.docker_finished
    few, many = new_namespace(), new_namespace()
    with docker_daemon(directory) as host:
        make_finished_jobs(host, few, job_names(FEW))
        make_finished_jobs(host, many, job_names(count))
        starts = [_start(directory, host, few, many) for _ in range(scale.docker_rounds)]
        with (
            serving_docker(directory, host, few) as small,
            serving_docker(directory, host, many) as large,
        ):
            kilobytes = (large.private_bytes - small.private_bytes) / (count - FEW) / 1e3
            subjects = [subject(small, FEW), subject(large, count)]
            row = f"docker {count:,} jobs"
            asked = ask(row, directory, scale, subjects)
    return [
        *asked,
        Figure(
            row,
            "start to serving",
            "s",
            Measure.median([large for _, large in starts]),
            Reference(f"{FEW} jobs", Measure.median([small for small, _ in starts])),
        ),
        Figure(row, "memory per job", "KB", Measure.median([kilobytes])),
    ]


def _start(directory: Path, host: str, few: str, many: str) -> tuple[float, float]:
    with serving_docker(directory, host, few) as small:
        pass
    with serving_docker(directory, host, many) as large:
        pass
    return small.start_seconds, large.start_seconds
