"""Many finished jobs on Docker beside few: memory, reads, lists, and the start."""

from pathlib import Path

from benchmarks.docker_daemon import docker_daemon, new_namespace
from benchmarks.docker_jobs import make_finished_jobs
from benchmarks.figures import Figure, Measure, Reference, at_most, ratio_at_least
from benchmarks.loads.calls import job_names
from benchmarks.processes import run_load, serving_docker
from benchmarks.rows.read_status import subject
from benchmarks.scale import Scale

FEW = 100


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
            turns = {"turns": scale.turns, "seconds": scale.turn_seconds, "servers": subjects}
            reads = run_load("calls", directory, **turns)["servers"]
            one = {"connections": 1, "outstanding": 1}
            lists = run_load("calls", directory, method="ListJobs", **turns, **one)["servers"]
    row, reference = f"docker {count:,} jobs", f"{FEW} jobs"
    return [
        Figure(
            row,
            "first page of ListJobs (100), p50",
            "ms",
            _milliseconds(lists[1]["p50_seconds"]),
            Reference(reference, _milliseconds(lists[0]["p50_seconds"])),
            at_most(50),
        ),
        Figure(
            row,
            "ReadStatus per second, all names",
            "/s",
            Measure.median(reads[1]["per_second"]),
            Reference(reference, Measure.median(reads[0]["per_second"])),
            ratio_at_least(0.9),
        ),
        Figure(
            row,
            "start to serving",
            "s",
            Measure.median([large for _, large in starts]),
            Reference(reference, Measure.median([small for small, _ in starts])),
        ),
        Figure(row, "memory per job", "KB", Measure.median([kilobytes])),
    ]


def _start(directory: Path, host: str, few: str, many: str) -> tuple[float, float]:
    with serving_docker(directory, host, few) as small:
        pass
    with serving_docker(directory, host, many) as large:
        pass
    return small.start_seconds, large.start_seconds


def _milliseconds(seconds: list[float]) -> Measure:
    return Measure.median([one * 1e3 for one in seconds])
